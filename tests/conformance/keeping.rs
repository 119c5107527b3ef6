//! The schema, the key and the epoch: what a store keeps of itself.

use std::{collections::BTreeSet, sync::Arc};

use bancheck::{
    domain::{
        identity::CANONICALISER_VERSION,
        ids::{BanId, TenantId},
        keys::Fingerprints,
        revision::Epoch,
    },
    store::{Place, Store, StoreError, open},
};
use tokio::task::JoinSet;

use crate::house::{House, intent, token_ban, within};

on_both_stores!(
    migrating_again_changes_nothing,
    a_store_opened_again_knows_what_it_knew,
    a_wrong_key_is_recognised,
    of_two_first_keys_one_is_kept,
    a_key_is_used_once_others_are_said_to_recognise_it,
    what_is_filed_under_a_key_that_was_let_go_is_written_no_more,
    an_epoch_is_raised_past_what_was_and_to_what_is_asked,
    an_epoch_raised_by_many_at_once_is_raised_once,
);

async fn migrating_again_changes_nothing(house: House) {
    let tenant = house.tenant("one").await;
    house.place(&tenant, token_ban(&tenant, 1)).await;
    let (before, feed) = (house.census().await, house.feed().await);
    let mut migrations = JoinSet::new();
    for _ in 0..3 {
        let store = Arc::clone(&house.store);
        migrations.spawn(async move { store.migrate().await });
    }
    while let Some(migrated) = within("three migrations", migrations.join_next()).await {
        migrated.expect("a task").expect("a schema up to date");
    }
    assert_eq!(house.census().await, before);
    assert_eq!(house.feed().await, feed);
}

async fn a_store_opened_again_knows_what_it_knew(house: House) {
    let tenant = house.tenant("one").await;
    let ban = house.place(&tenant, token_ban(&tenant, 1)).await;
    let again = open(&house.database.place).await.expect("the store again");
    let known = again.ban(&tenant, ban.ban_id).await.expect("a look");
    assert_eq!(known, Some(ban));
    assert_eq!(
        again.directory().await.expect("a directory").tenants.len(),
        1
    );
}

async fn a_wrong_key_is_recognised(house: House) {
    let store = &house.store;
    for _ in 0..2 {
        store
            .check_key(&"the right one".into())
            .await
            .expect("the first key is kept");
    }
    for wrong in ["another one", "", "the right one "] {
        let checked = store.check_key(&wrong.into()).await;
        assert!(matches!(checked, Err(StoreError::WrongKey)), "{wrong:?}");
    }
    store
        .check_key(&"the right one".into())
        .await
        .expect("a wrong key leaves no trace");
}

fn ring(current: &str, others: &[&str]) -> Fingerprints {
    Fingerprints {
        current: current.to_owned(),
        others: others.iter().map(ToString::to_string).collect(),
    }
}

async fn a_key_is_used_once_others_are_said_to_recognise_it(house: House) {
    let store = &house.store;
    let (ready, turned) = (ring("old", &["new"]), ring("new", &["old"]));
    store.check_key(&"old".into()).await.expect("the first key");
    if let Place::Postgres { .. } = house.database.place {
        let early = store.check_key(&turned).await;
        assert!(
            matches!(early, Err(StoreError::KeyUnheard(..))),
            "{early:?}"
        );
        store.check_key(&ready).await.expect("a ring");
        store.check_key(&"old".into()).await.expect("a step back");
        let early = store.check_key(&turned).await;
        assert!(
            matches!(early, Err(StoreError::KeyUnheard(..))),
            "{early:?}"
        );
    }
    for _ in 0..2 {
        store.check_key(&ready).await.expect("a ring");
    }
    assert_eq!(store.other_keys_in_use().await.expect("a look"), [""; 0]);
    for ring in [&turned, &ready, &turned] {
        store.check_key(ring).await.expect("both are known");
        assert_eq!(store.other_keys_in_use().await.expect("a look").len(), 1);
    }
    for alone in ["old", "new"] {
        let wanting = store.check_key(&alone.into()).await;
        assert!(
            matches!(wanting, Err(StoreError::KeyWanting(_))),
            "{wanting:?}"
        );
    }
    let foreign = store.check_key(&"foreign".into()).await;
    assert!(matches!(foreign, Err(StoreError::WrongKey)), "{foreign:?}");
    store
        .let_go_of_other_keys()
        .await
        .expect("the old one goes");
    store.check_key(&"new".into()).await.expect("it is alone");
    let gone = store.check_key(&"old".into()).await;
    assert!(matches!(gone, Err(StoreError::WrongKey)), "{gone:?}");
}

async fn what_is_filed_under_a_key_that_was_let_go_is_written_no_more(house: House) {
    let tenant = house.tenant("one").await;
    let store = &house.store;
    store.check_key(&"old".into()).await.expect("the first key");
    store
        .check_key(&ring("old", &["new"]))
        .await
        .expect("a ring");
    house.place(&tenant, token_ban(&tenant, 1)).await;
    let first = BanId::from_bytes([0; 16]);
    let aged = async |store: &dyn Store| {
        let aged = store.aged_bans(&tenant, CANONICALISER_VERSION, first).await;
        aged.expect("a look").ids.len()
    };
    assert_eq!(aged(&**store).await, 0);

    let other = open(&house.database.place).await.expect("another pod");
    other
        .check_key(&ring("new", &["old"]))
        .await
        .expect("a ring");
    assert_eq!((aged(&**store).await, aged(&*other).await), (0, 1));
    other
        .let_go_of_other_keys()
        .await
        .expect("the old one goes");
    for of in [intent(&tenant), intent(&TenantId::deployment())] {
        let begun = store.begin(&of).await;
        assert!(matches!(begun, Err(StoreError::WrongKey)));
        assert!(other.begin(&of).await.is_ok());
    }
}

async fn of_two_first_keys_one_is_kept(house: House) {
    let mut checks = JoinSet::new();
    for number in 0..6 {
        let store = Arc::clone(&house.store);
        checks.spawn(async move {
            store
                .check_key(&(&*format!("key {number}")).into())
                .await
                .is_ok()
        });
    }
    let mut right = 0;
    while let Some(checked) = within("six keys", checks.join_next()).await {
        right += u32::from(checked.expect("a check"));
    }
    assert_eq!(right, 1);
}

async fn an_epoch_is_raised_past_what_was_and_to_what_is_asked(house: House) {
    let store = &house.store;
    let epoch = async || store.directory().await.expect("a directory").epoch;
    let first = epoch().await;
    let raised = async |to| {
        let raised = store.raise_epoch(epoch().await, Epoch(to)).await;
        raised.expect("an epoch")
    };
    assert_eq!(raised(0).await, Epoch(first.0 + 1), "never the same again");
    assert_eq!(raised(1_760_000_000).await, Epoch(1_760_000_000));
    assert_eq!(raised(5).await, Epoch(1_760_000_001), "never back");
    assert_eq!(
        raised(1_760_000_001).await,
        Epoch(1_760_000_002),
        "never the same again"
    );
    assert_eq!(epoch().await, Epoch(1_760_000_002));
    assert_eq!(house.tail(1).await.epoch, epoch().await);
}

async fn an_epoch_raised_by_many_at_once_is_raised_once(house: House) {
    let seen = house.tail(1).await.epoch;
    let mut raisers = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&house.store);
        raisers.spawn(async move {
            let raised = store.raise_epoch(seen, Epoch(100)).await;
            raised.expect("an epoch")
        });
    }
    let mut raised = BTreeSet::new();
    while let Some(epoch) = within("eight epochs", raisers.join_next()).await {
        raised.insert(epoch.expect("a raiser"));
    }
    assert_eq!(raised, BTreeSet::from([Epoch(100)]));
    let directory = house.store.directory().await.expect("a directory");
    assert_eq!(Some(&directory.epoch), raised.last());
}
