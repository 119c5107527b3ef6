//! S-1 of tenants with many bans, which Postgres is asked for from both ends at once.

use std::{collections::BTreeMap, sync::Arc};

use bancheck::{
    domain::{
        ids::{BanId, TenantId},
        record::BanRecord,
    },
    store::{LoadSink, LoadedTenant, NewBan},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    database::Kind,
    house::{House, intent, lifted, token_ban, within},
    replica::Replica,
};

on_both_stores!(
    s1_many_bans_are_loaded_from_both_ends_and_each_comes_once,
    s1_a_load_of_many_tells_what_the_feed_told_up_to_its_head_while_others_write,
);

/// How many come at once; the pages that begin with the first ban begin with a multiple of it.
const AT_ONCE: usize = 512;

/// Six pages of them and more, in the order in which they were made.
async fn many(house: &House, tenant: &TenantId) -> Vec<NewBan> {
    let mut made = Vec::new();
    for chunk in 0..13 {
        let bans = (0..1_000).map(|number| token_ban(tenant, chunk * 1_000 + number));
        let bans: Vec<_> = bans.collect();
        house.add(&intent(tenant), &bans).await;
        made.extend(bans);
    }
    made
}

/// How often each ban came, and the first one of each page.
#[derive(Default)]
struct Pages {
    came: BTreeMap<BanId, u32>,
    firsts: Vec<BanId>,
}

impl LoadSink for Pages {
    fn open(&mut self, _: LoadedTenant) {}

    fn page(&mut self, bans: &[BanRecord]) {
        self.firsts.extend(bans.first().map(|ban| ban.ban));
        for ban in bans {
            *self.came.entry(ban.ban).or_default() += 1;
        }
    }
}

async fn s1_many_bans_are_loaded_from_both_ends_and_each_comes_once(house: House) {
    let tenant = house.tenant("one").await;
    let made = many(&house, &tenant).await;
    let mut from_the_back = 0;
    // The other end is slow where a connection has just been opened for it.
    for _ in 0..3 {
        let mut pages = Pages::default();
        assert!(house.store.load(&tenant, &mut pages).await.expect("a load"));
        let once = made.iter().map(|new| (new.ban.ban_id, 1));
        assert!(pages.came == once.collect());
        let places = pages.firsts.iter().map(|first| {
            let place = made.iter().position(|new| new.ban.ban_id == *first);
            place.expect("a ban that was made")
        });
        from_the_back += places
            .filter(|place| !place.is_multiple_of(AT_ONCE))
            .count();
    }
    let both = house.kind == Kind::Postgres;
    assert_eq!(from_the_back > 0, both, "a file is read by one at a time");
}

/// Lifts bans from the last one on, and makes new ones after it.
async fn write(house: Arc<House>, made: Vec<NewBan>, enough: CancellationToken) {
    for (round, new) in made.iter().rev().enumerate() {
        if enough.is_cancelled() {
            return;
        }
        house.change(&lifted(&new.ban), new.likeness).await;
        let tenant = &new.ban.tenant;
        house.place(tenant, token_ban(tenant, 20_000 + round)).await;
    }
}

async fn s1_a_load_of_many_tells_what_the_feed_told_up_to_its_head_while_others_write(
    house: House,
) {
    let (house, enough) = (Arc::new(house), CancellationToken::new());
    let tenant = house.tenant("one").await;
    let made = many(&house, &tenant).await;
    let mut writers = JoinSet::new();
    writers.spawn(write(Arc::clone(&house), made, enough.clone()));
    let mut loads = Vec::new();
    for _ in 0..8 {
        let loaded = within("a load", Replica::load(&*house.store, &tenant)).await;
        loads.push(loaded.expect("the tenant"));
    }
    enough.cancel();
    while let Some(wrote) = within("the writer", writers.join_next()).await {
        wrote.expect("a writer");
    }
    let feed = house.feed().await;
    for loaded in &loads {
        assert!(*loaded == Replica::hear(&feed, &tenant, loaded.head));
    }
    let heads = loads.iter().map(|loaded| loaded.head.revision);
    assert!(heads.is_sorted() && loads[0].head != loads[7].head);
}
