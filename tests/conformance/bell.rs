//! The bell: a word that there is news, and nothing more.

use bancheck::{
    domain::revision::Revision,
    store::{FeedLink, Place, open},
};
use futures_util::FutureExt;

use crate::{
    database::Kind,
    house::{House, token_ban, within},
};

on_both_stores!(
    a_bell_that_is_rung_wakes_a_link,
    a_bell_rung_before_anybody_listened_is_not_lost_on_a_link,
    a_commit_alone_rings_no_bell,
);

fn rings(link: &mut dyn FeedLink) -> bool {
    link.bell().now_or_never().is_some()
}

async fn hear(link: &mut dyn FeedLink) {
    within("the bell", link.bell())
        .await
        .expect("a link that works");
}

async fn a_bell_that_is_rung_wakes_a_link(house: House) {
    let mut link = house.store.link().await.expect("a link");
    for _ in 0..3 {
        let listening = hear(&mut *link);
        tokio::pin!(listening);
        assert!(listening.as_mut().now_or_never().is_none(), "nobody rang");
        house.store.ring().await.expect("a ring");
        listening.await;
    }
}

async fn a_bell_rung_before_anybody_listened_is_not_lost_on_a_link(house: House) {
    let mut link = house.store.link().await.expect("a link");
    house.store.ring().await.expect("a ring");
    link.tail(Revision(1)).await.expect("a tail");
    hear(&mut *link).await;
}

async fn a_commit_alone_rings_no_bell(house: House) {
    let tenant = house.tenant("one").await;
    let mut link = house.store.link().await.expect("a link");
    house.place(&tenant, token_ban(&tenant, 1)).await;
    // What was sent to this connection has come with the answer to this.
    link.tail(Revision(1)).await.expect("a tail");
    assert!(!rings(&mut *link));
}

#[tokio::test]
async fn on_postgres_one_ring_wakes_every_pod() {
    let house = House::new(Kind::Postgres).await;
    let other = open(&house.database.place).await.expect("another pod");
    let mut here = house.store.link().await.expect("a link");
    let mut there = other.link().await.expect("a link of the other pod");
    house.store.ring().await.expect("a ring");
    hear(&mut *here).await;
    hear(&mut *there).await;
}

#[tokio::test]
async fn on_postgres_a_pod_without_a_bell_neither_rings_nor_hears() {
    let house = House::new(Kind::Postgres).await;
    let silent = open(&house.database.silenced())
        .await
        .expect("a silent pod");
    let mut deaf = silent.link().await.expect("a link of the silent pod");
    let mut loud = house.store.link().await.expect("a link");

    silent.ring().await.expect("a ring that is none");
    loud.tail(Revision(1)).await.expect("a tail");
    assert!(!rings(&mut *loud), "the silent pod did not ring");

    house.store.ring().await.expect("a ring");
    hear(&mut *loud).await;
    let tail = deaf.tail(Revision(1)).await.expect("a tail");
    assert_eq!(tail.head, Revision(1), "it reads all the same");
    assert!(!rings(&mut *deaf), "the silent pod did not hear");
}

#[tokio::test]
async fn on_postgres_a_link_that_was_cut_says_so() {
    let house = House::new(Kind::Postgres).await;
    let mut link = house.store.link().await.expect("a link");
    link.tail(Revision(1)).await.expect("a tail");
    house
        .run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    within("word of the cut", link.bell())
        .await
        .expect_err("a link that was cut");
    let mut next = within("another link", house.store.link())
        .await
        .expect("another link");
    next.tail(Revision(1)).await.expect("a tail");
    assert!(matches!(house.database.place, Place::Postgres { .. }));
}
