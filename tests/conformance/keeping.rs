//! The schema, the key and the epoch: what a store keeps of itself.

use std::{collections::BTreeSet, sync::Arc};

use bancheck::{
    domain::revision::Epoch,
    store::{StoreError, open},
};
use tokio::task::JoinSet;

use crate::house::{House, token_ban, within};

on_both_stores!(
    migrating_again_changes_nothing,
    a_store_opened_again_knows_what_it_knew,
    a_wrong_key_is_recognised,
    of_two_first_keys_one_is_kept,
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
            .check_key("the right one")
            .await
            .expect("the first key is kept");
    }
    for wrong in ["another one", "", "the right one "] {
        let checked = store.check_key(wrong).await;
        assert!(matches!(checked, Err(StoreError::WrongKey)), "{wrong:?}");
    }
    store
        .check_key("the right one")
        .await
        .expect("a wrong key leaves no trace");
}

async fn of_two_first_keys_one_is_kept(house: House) {
    let mut checks = JoinSet::new();
    for number in 0..6 {
        let store = Arc::clone(&house.store);
        checks.spawn(async move { store.check_key(&format!("key {number}")).await.is_ok() });
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
