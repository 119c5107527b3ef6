//! S-7: what a feed says of what it no longer holds.

use bancheck::{
    domain::{clock::Timestamp, revision::Revision},
    store::{Added, Answer, Begun},
};

use crate::{
    house::{House, NOW, SECOND, intent, token_ban},
    replica::Replica,
};

on_both_stores!(
    s7_asking_below_the_floor_tells_the_floor,
    s7_the_feed_is_never_empty_however_much_is_pruned,
    s7_only_what_is_older_is_pruned,
    s7_pruning_leaves_no_hole_when_a_clock_went_back,
    s7_revisions_go_on_after_pruning,
    s7_a_load_does_not_need_what_was_pruned,
    s7_however_much_is_pruned_no_tail_ever_misses_a_row,
    answers_are_forgotten_with_their_age,
);

/// A tenant and so many rows of the feed, the last one told at `NOW`, each a second after the last.
async fn told(house: &House, rows: usize) {
    let tenant = house.tenant("one").await;
    for number in 2..rows {
        house.place(&tenant, token_ban(&tenant, number)).await;
    }
    let last = u64::try_from(rows).expect("few rows");
    assert_eq!(house.tail(1).await.head, Revision(last));
    let mut raw = house.raw().await;
    let dated = sqlx::query("UPDATE feed SET at = $1 + rev * $2")
        .bind(NOW.micros())
        .bind(SECOND)
        .execute(&mut raw)
        .await;
    dated.expect("the rows dated");
}

fn second(number: i64) -> Timestamp {
    NOW.plus_micros(number * SECOND)
}

async fn revisions(house: &House, from: u64) -> (u64, Vec<u64>) {
    let tail = house.tail(from).await;
    let news = tail.news.iter().map(|news| news.anchor.revision.0);
    (tail.floor.0, news.collect())
}

async fn s7_asking_below_the_floor_tells_the_floor(house: House) {
    told(&house, 10).await;
    house.store.prune(second(6)).await.expect("pruned");
    assert_eq!(revisions(&house, 3).await, (6, vec![6, 7, 8, 9, 10]));
    assert_eq!(revisions(&house, 6).await, (6, vec![6, 7, 8, 9, 10]));
    assert_eq!(revisions(&house, 8).await, (6, vec![8, 9, 10]));
    let mut link = house.store.link().await.expect("a link");
    let tail = link.tail(Revision(3)).await.expect("a tail");
    assert_eq!(tail.floor, Revision(6));
}

async fn s7_the_feed_is_never_empty_however_much_is_pruned(house: House) {
    assert_eq!(
        revisions(&house, 1).await,
        (1, vec![1]),
        "not even at first"
    );
    house.store.prune(Timestamp::MAX).await.expect("pruned");
    assert_eq!(revisions(&house, 1).await, (1, vec![1]));
    told(&house, 5).await;
    let head = house.last_news().await;
    for _ in 0..2 {
        house.store.prune(Timestamp::MAX).await.expect("pruned");
        assert_eq!(house.feed().await, std::slice::from_ref(&head));
    }
}

async fn s7_only_what_is_older_is_pruned(house: House) {
    told(&house, 5).await;
    house.store.prune(second(1)).await.expect("pruned");
    assert_eq!(revisions(&house, 1).await, (1, vec![1, 2, 3, 4, 5]));
    house
        .store
        .prune(second(1).plus_micros(1))
        .await
        .expect("pruned");
    assert_eq!(revisions(&house, 1).await, (2, vec![2, 3, 4, 5]));
}

async fn s7_pruning_leaves_no_hole_when_a_clock_went_back(house: House) {
    told(&house, 10).await;
    // A new primary whose clock is behind told rows 6 and 7.
    house
        .run("UPDATE feed SET at = at - 60000000 WHERE rev IN (6, 7)")
        .await;
    house.store.prune(second(4)).await.expect("pruned");
    assert_eq!(revisions(&house, 4).await, (4, vec![4, 5, 6, 7, 8, 9, 10]));
}

async fn s7_revisions_go_on_after_pruning(house: House) {
    told(&house, 5).await;
    house.store.prune(Timestamp::MAX).await.expect("pruned");
    let tenant = crate::house::tenant_id("one");
    house.place(&tenant, token_ban(&tenant, 99)).await;
    assert_eq!(revisions(&house, 5).await, (5, vec![5, 6]));
}

async fn s7_a_load_does_not_need_what_was_pruned(house: House) {
    told(&house, 6).await;
    let tenant = crate::house::tenant_id("one");
    let before = Replica::load(&*house.store, &tenant).await;
    house.store.prune(Timestamp::MAX).await.expect("pruned");
    assert_eq!(Replica::load(&*house.store, &tenant).await, before);
}

/// More than is forgotten in one transaction.
const MANY: u64 = 12_000;

async fn s7_however_much_is_pruned_no_tail_ever_misses_a_row(house: House) {
    let tenant = house.tenant("one").await;
    house
        .run(
            "WITH RECURSIVE g(n) AS (SELECT 3 UNION ALL SELECT n + 1 FROM g WHERE n < 12000)
             INSERT INTO feed SELECT n, n, n, '', 0, (SELECT payload FROM feed WHERE rev = 1) FROM g",
        )
        .await;
    house
        .run(
            "WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 12000)
             INSERT INTO requests SELECT 'one', 'old', CAST(n AS TEXT), body, answer, n
             FROM g CROSS JOIN requests WHERE rpc = 'Test'",
        )
        .await;
    house.run("UPDATE feed SET at = rev").await;
    let pruning = async {
        let young = Timestamp::from_micros(11_000);
        house.store.prune(young).await.expect("pruned");
    };
    let mut floors = Vec::new();
    let following = async {
        loop {
            for from in [1, 2_500, 11_000, MANY - 10] {
                let (floor, rows) = revisions(&house, from).await;
                let first = from.max(floor);
                let whole: Vec<_> = (first..).take(rows.len()).collect();
                assert_eq!(rows, whole, "from {from}, floor {floor}");
                assert!(rows.len() == 512 || rows.last() >= Some(&MANY));
                floors.push(floor);
            }
            let written = token_ban(&tenant, floors.len());
            house.place(&tenant, written).await;
        }
    };
    tokio::select! {
        () = pruning => {}
        () = following => {}
    }
    assert!(floors.is_sorted(), "a floor never sinks");
    assert_eq!(revisions(&house, 1).await.0, 11_000);
    let kept = house
        .number("SELECT count(*) FROM requests WHERE rpc = 'old'")
        .await;
    assert_eq!(kept, 12_001 - 11_000);
}

async fn answers_are_forgotten_with_their_age(house: House) {
    let tenant = house.tenant("one").await;
    let intent = intent(&tenant);
    let new = token_ban(&tenant, 1);
    assert_eq!(
        house.add(&intent, std::slice::from_ref(&new)).await,
        [Added::Made]
    );
    house.store.prune(NOW).await.expect("pruned");
    let begun = house.store.begin(&intent).await.expect("a look");
    assert!(matches!(begun, Begun::Replay(answer) if *answer == Answer::default()));
    house.store.prune(NOW.plus_micros(1)).await.expect("pruned");
    assert_eq!(house.store.outcome(&intent).await.expect("a look"), None);
    let added = house.add(&intent, &[token_ban(&tenant, 1)]).await;
    assert_eq!(
        added,
        [Added::Alike(new.ban.ban_id)],
        "it was a new request"
    );
}
