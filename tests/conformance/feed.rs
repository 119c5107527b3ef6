//! S-4, S-5 and S-6: what a tail brings.

use std::{collections::BTreeMap, sync::Arc};

use bancheck::{
    domain::{
        ids::TenantId,
        record::Change,
        revision::{Anchor, Nonce, Revision},
    },
    store::{Answer, Tail},
};
use tokio::task::JoinSet;

use crate::{
    database::Kind,
    house::{House, intent, token_ban, within},
};

on_both_stores!(
    s4_a_reader_never_sees_a_revision_before_every_smaller_one,
    s4_a_writer_that_is_still_open_hides_no_revision_of_another,
    s5_every_committed_write_is_in_the_feed_exactly_once,
    s6_a_tail_from_one_row_is_the_same_every_time,
    s6_tails_in_parts_are_the_whole_feed,
    s6_a_tail_holds_about_a_mebibyte_and_never_nothing,
    s6_a_tail_from_beyond_the_head_tells_the_head,
    s6_a_link_tails_as_the_store_does,
    a_row_of_an_unknown_kind_or_version_asks_for_a_reload,
    a_tail_tells_the_clock_and_who_leads,
);

/// Follows the feed as a pod does, and stops at the first gap.
struct Reader {
    last: Anchor,
    seen: Vec<Anchor>,
}

impl Reader {
    async fn at_head(house: &House) -> Self {
        let last = house.last_news().await.anchor;
        Self {
            last,
            seen: Vec::new(),
        }
    }

    fn take(&mut self, tail: &Tail) {
        let mut news = tail.news.iter().map(|news| news.anchor);
        assert_eq!(
            news.next(),
            Some(self.last),
            "a tail begins with the row asked for"
        );
        for anchor in news {
            assert_eq!(
                anchor.revision.0,
                self.last.revision.0 + 1,
                "a revision was skipped"
            );
            self.last = anchor;
            self.seen.push(anchor);
        }
        assert!(tail.head >= self.last.revision);
    }
}

const WRITERS: u32 = 6;
const WRITES: usize = 25;

/// Writers on four tenants, who give up every fourth time; the nonces that they committed.
fn writers(house: &Arc<House>, tenants: &[TenantId]) -> JoinSet<Vec<Nonce>> {
    let mut writers = JoinSet::new();
    for (writer, tenant) in (0..WRITERS).zip(tenants.iter().cycle()) {
        let (house, tenant) = (Arc::clone(house), tenant.clone());
        writers.spawn(async move {
            let mut committed = Vec::new();
            for round in 0..WRITES {
                let intent = intent(&tenant);
                let mut work = house.begin(&intent).await;
                let number = usize::try_from(writer).expect("few writers") * 1_000 + round;
                work.add_bans(&[token_ban(&tenant, number)])
                    .await
                    .expect("a ban added");
                if round % 4 == 3 {
                    work.abandon().await.expect("undone");
                } else {
                    work.commit(&Answer::default()).await.expect("a commit");
                    committed.push(intent.nonce);
                }
            }
            committed
        });
    }
    writers
}

async fn four_tenants(house: &House) -> Vec<TenantId> {
    let mut tenants = Vec::new();
    for name in ["one", "two", "three", "four"] {
        tenants.push(house.tenant(name).await);
    }
    tenants
}

async fn s4_a_reader_never_sees_a_revision_before_every_smaller_one(house: House) {
    let house = Arc::new(house);
    let tenants = four_tenants(&house).await;
    let mut link = house.store.link().await.expect("a link");
    let mut pooled = Reader::at_head(&house).await;
    let mut linked = Reader::at_head(&house).await;
    let mut writers = writers(&house, &tenants);
    let mut committed = 0;
    within("all that was committed", async {
        while !writers.is_empty() || linked.seen.len() < committed {
            pooled.take(&house.tail(pooled.last.revision.0).await);
            linked.take(&link.tail(linked.last.revision).await.expect("a tail"));
            while let Some(wrote) = writers.try_join_next() {
                committed += wrote.expect("a writer").len();
            }
        }
    })
    .await;
    pooled.take(&house.tail(pooled.last.revision.0).await);
    assert_eq!(pooled.seen, linked.seen);
    assert_eq!(
        pooled.seen.len(),
        committed,
        "what was given up took no revision"
    );
}

async fn s4_a_writer_that_is_still_open_hides_no_revision_of_another(house: House) {
    let house = Arc::new(house);
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    let mut reader = Reader::at_head(&house).await;
    let (slow, quick) = (intent(&one), intent(&two));
    let mut open = house.begin(&slow).await;
    open.add_bans(&[token_ban(&one, 1)])
        .await
        .expect("a ban added");

    let mut writers = JoinSet::new();
    let (busy, two_of_it, nonce) = (Arc::clone(&house), two.clone(), quick.nonce);
    writers.spawn(async move { busy.add(&quick, &[token_ban(&two_of_it, 1)]).await });
    let expected = if house.kind == Kind::Postgres {
        // Both are open at once: the second one commits first, and is seen at once.
        let wrote = within("the quick writer", writers.join_next()).await;
        wrote.expect("a writer").expect("a writer that ended well");
        reader.take(&house.tail(reader.last.revision.0).await);
        assert_eq!(reader.last.nonce, nonce);
        [nonce, slow.nonce]
    } else {
        // There is one writer at a time: the second one waits.
        reader.take(&house.tail(reader.last.revision.0).await);
        assert!(reader.seen.is_empty());
        [slow.nonce, nonce]
    };
    open.commit(&Answer::default()).await.expect("a commit");
    while let Some(wrote) = within("the other writer", writers.join_next()).await {
        wrote.expect("a writer that ended well");
    }
    reader.take(&house.tail(reader.last.revision.0).await);
    let seen: Vec<_> = reader.seen.iter().map(|anchor| anchor.nonce).collect();
    assert_eq!(seen, expected);
}

async fn s5_every_committed_write_is_in_the_feed_exactly_once(house: House) {
    let house = Arc::new(house);
    let tenants = four_tenants(&house).await;
    let before = house.feed().await.len();
    let mut writers = writers(&house, &tenants);
    let mut committed: BTreeMap<u32, usize> = BTreeMap::new();
    while let Some(wrote) = within("the writers", writers.join_next()).await {
        for nonce in wrote.expect("a writer") {
            *committed.entry(nonce.0).or_default() += 1;
        }
    }
    let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
    for news in &house.feed().await[before..] {
        *seen.entry(news.anchor.nonce.0).or_default() += 1;
    }
    assert_eq!(seen, committed);
    assert!(committed.values().all(|times| *times == 1));
}

async fn s6_a_tail_from_one_row_is_the_same_every_time(house: House) {
    let tenant = house.tenant("one").await;
    for number in 0..5 {
        house.place(&tenant, token_ban(&tenant, number)).await;
    }
    let first = house.tail(3).await;
    let again = house.tail(3).await;
    assert_eq!(
        again,
        Tail {
            clock: again.clock,
            ..first.clone()
        }
    );
    house.place(&tenant, token_ban(&tenant, 9)).await;
    let later = house.tail(3).await;
    assert_eq!(later.news[..first.news.len()], first.news[..]);
    assert_eq!(later.news.len(), first.news.len() + 1);
}

/// Rows of a kind from the future, each with a payload of so many bytes.
async fn tell_much(house: &House, rows: i64, bytes: usize) {
    let mut raw = house.raw().await;
    let told = sqlx::query(
        "INSERT INTO feed_intents (nonce, tenant, kind, payload)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
         SELECT 1000000 + i, 'one', 99, $2 FROM n",
    )
    .bind(rows)
    .bind(vec![1_u8; bytes])
    .execute(&mut raw)
    .await;
    told.expect("rows of the feed");
}

async fn s6_tails_in_parts_are_the_whole_feed(house: House) {
    house.tenant("one").await;
    tell_much(&house, 1_200, 3).await;
    let first = house.tail(1).await;
    assert!(first.news.len() < 1_000, "a tail has an end");
    assert_eq!(first.head, Revision(1_202), "and tells how much there is");
    let feed = house.feed().await;
    let revisions: Vec<_> = feed.iter().map(|news| news.anchor.revision.0).collect();
    assert_eq!(revisions, (1..=1_202).collect::<Vec<_>>());
}

async fn s6_a_tail_holds_about_a_mebibyte_and_never_nothing(house: House) {
    house.tenant("one").await;
    tell_much(&house, 30, 100_000).await;
    // Rows 3 to 32 are the heavy ones; the row that passes the bound still comes.
    assert_eq!(house.tail(3).await.news.len(), 11);
    assert_eq!(house.feed().await.len(), 32);
    tell_more_than_fits(&house).await;
    let alone = house.tail(33).await;
    assert_eq!(alone.news.len(), 1, "one row comes, however heavy");
    assert_eq!(alone.head, Revision(33));
}

async fn tell_more_than_fits(house: &House) {
    let mut raw = house.raw().await;
    let told = sqlx::query(
        "INSERT INTO feed_intents (nonce, tenant, kind, payload) VALUES (7000000, 'one', 99, $1)",
    )
    .bind(vec![1_u8; 3 << 20])
    .execute(&mut raw)
    .await;
    told.expect("a row of the feed");
}

async fn s6_a_tail_from_beyond_the_head_tells_the_head(house: House) {
    house.tenant("one").await;
    let beyond = house.tail(1_000_000).await;
    assert_eq!((beyond.floor, beyond.head), (Revision(1), Revision(2)));
    assert!(beyond.news.is_empty());
}

async fn s6_a_link_tails_as_the_store_does(house: House) {
    let tenant = house.tenant("one").await;
    house.place(&tenant, token_ban(&tenant, 1)).await;
    let mut link = house.store.link().await.expect("a link");
    for from in [1, 2, 3, 9] {
        let linked = link.tail(Revision(from)).await.expect("a tail");
        let pooled = house.tail(from).await;
        assert_eq!(
            linked,
            Tail {
                clock: linked.clock,
                ..pooled
            }
        );
    }
}

async fn a_row_of_an_unknown_kind_or_version_asks_for_a_reload(house: House) {
    let tenant = house.tenant("one").await;
    // A kind from the future, a version from the future, and a row without a payload.
    house
        .run(
            "INSERT INTO feed_intents (nonce, tenant, kind, payload)
             VALUES (1000001, 'one', 99, unhex('0100'));
             INSERT INTO feed_intents (nonce, tenant, kind, payload)
             VALUES (1000002, 'one', 1, unhex('FF00'));
             INSERT INTO feed_intents (nonce, tenant, kind, payload)
             VALUES (1000003, 'one', 1, unhex(''))",
        )
        .await;
    let feed = house.feed().await;
    let unknown = &feed[2..];
    assert_eq!(unknown.len(), 3);
    for news in unknown {
        assert_eq!(
            (&news.tenant, &news.change),
            (&Some(tenant.clone()), &Change::Reload)
        );
    }
    assert_eq!(
        feed[0].tenant, None,
        "the row that opened the feed is about nobody"
    );
}

async fn a_tail_tells_the_clock_and_who_leads(house: House) {
    let first = house.tail(1).await;
    let second = house.tail(1).await;
    assert!(!first.in_recovery);
    assert!(first.clock <= second.clock);
    // Between the years 2024 and 2100: microseconds, and not another unit.
    assert!((1_704_067_200_000_000..4_102_444_800_000_000).contains(&first.clock.micros()));
}
