//! Whether the database is the one that was there last time, in the same history.

use std::{path::Path, sync::Arc};

use bancheck::{
    domain::{
        clock::Timestamp,
        policy::TenantSettings,
        revision::{Anchor, Epoch, Nonce, Revision},
    },
    store::{Answer, Place, Store, StoreError, open},
};

use crate::{
    database::Kind,
    house::{House, intent, opened as work_of, tenant_id, token_ban},
    replica::Replica,
    standby::Server,
};

on_both_stores!(
    a_new_database_is_unbroken_and_stays_so,
    pruning_breaks_no_history,
    after_a_fork_the_history_is_whole_again,
);

async fn is_unbroken(store: &Arc<dyn Store>) -> bool {
    store.unbroken().await.expect("a look at the history")
}

async fn opened(place: &Place) -> Arc<dyn Store> {
    open(place).await.expect("the store again")
}

/// Leaves word of the newest row, as the feed does when it has applied it.
async fn witness(house: &House) -> Anchor {
    let head = house.last_news().await.anchor;
    house.store.witness(head);
    head
}

async fn a_new_database_is_unbroken_and_stays_so(house: House) {
    assert!(is_unbroken(&house.store).await);
    let tenant = house.tenant("one").await;
    for number in 1..4 {
        assert!(is_unbroken(&opened(&house.database.place).await).await);
        witness(&house).await;
        // What was committed after the last word of it is no break.
        house.place(&tenant, token_ban(&tenant, number)).await;
        assert!(is_unbroken(&opened(&house.database.place).await).await);
    }
}

async fn pruning_breaks_no_history(house: House) {
    let tenant = house.tenant("one").await;
    assert!(is_unbroken(&house.store).await);
    witness(&house).await;
    for number in 1..4 {
        house.place(&tenant, token_ban(&tenant, number)).await;
    }
    house.store.prune(Timestamp::MAX).await.expect("pruned");
    assert_eq!(house.feed().await.len(), 1, "the row left word of is gone");
    assert!(is_unbroken(&opened(&house.database.place).await).await);
}

async fn after_a_fork_the_history_is_whole_again(house: House) {
    let tenant = house.tenant("one").await;
    house.place(&tenant, token_ban(&tenant, 1)).await;
    assert!(is_unbroken(&house.store).await);
    let head = witness(&house).await;
    match house.kind {
        // A row that was never here: of a newer history than the file's.
        Kind::Sqlite => house.store.witness(Anchor {
            revision: Revision(head.revision.0 + 1),
            ..head
        }),
        Kind::Postgres => {
            house
                .run("UPDATE meta SET value = '1/00000001' WHERE name = 'server'")
                .await;
        }
    }
    let again = opened(&house.database.place).await;
    assert!(!is_unbroken(&again).await);
    assert!(!is_unbroken(&again).await, "until somebody sees to it");
    let seen = house.tail(1).await.epoch;
    let raised = again.raise_epoch(seen, Epoch(0)).await.expect("an epoch");
    assert!(raised > seen);
    assert!(is_unbroken(&again).await);
    assert!(is_unbroken(&opened(&house.database.place).await).await);
}

/// A copy of a database file in another folder, beside what is said to have been left there.
async fn copied(house: &House, to: &Path, left: Option<&[u8]>) -> Arc<dyn Store> {
    let copy = to.join("bancheck.db");
    std::fs::remove_file(&copy).ok();
    let mut raw = house.raw().await;
    sqlx::query("VACUUM INTO $1")
        .bind(copy.to_str().expect("a path").to_owned())
        .execute(&mut raw)
        .await
        .expect("a copy");
    match left {
        Some(left) => std::fs::write(to.join("feed.position"), left).expect("the word left"),
        None => std::fs::remove_file(to.join("feed.position")).unwrap_or_default(),
    }
    opened(&Place::Sqlite(to.to_owned())).await
}

#[tokio::test]
async fn an_older_copy_of_a_file_put_back_is_a_break_and_nothing_less() {
    let house = House::new(Kind::Sqlite).await;
    let Place::Sqlite(folder) = &house.database.place else {
        panic!("a folder");
    };
    let left = || std::fs::read(folder.join("feed.position")).expect("the word left");
    let tenant = house.tenant("one").await;
    house.place(&tenant, token_ban(&tenant, 1)).await;
    let head = witness(&house).await;
    let elsewhere = || tempfile::tempdir().expect("a folder");

    let same = elsewhere();
    assert!(is_unbroken(&copied(&house, same.path(), Some(&left())).await).await);
    let older = elsewhere();
    let older_store = copied(&house, older.path(), None).await;
    assert!(is_unbroken(&older_store).await, "there is no word of it");

    house.place(&tenant, token_ban(&tenant, 2)).await;
    witness(&house).await;
    std::fs::write(older.path().join("feed.position"), left()).expect("the word left");
    let put_back = opened(&Place::Sqlite(older.path().to_owned())).await;
    assert!(!is_unbroken(&put_back).await, "its newest row is not there");

    let seen = put_back.tail(Revision(1)).await.expect("a tail").epoch;
    put_back
        .raise_epoch(seen, Epoch(0))
        .await
        .expect("an epoch");
    assert!(is_unbroken(&opened(&Place::Sqlite(older.path().to_owned())).await).await);

    let other = Anchor {
        nonce: Nonce(head.nonce.0 ^ 1),
        ..head
    };
    house.store.witness(other);
    let twin = elsewhere();
    let twin = copied(&house, twin.path(), Some(&left())).await;
    assert!(!is_unbroken(&twin).await, "another row in its place");
}

#[tokio::test]
async fn a_word_that_cannot_be_read_is_no_break_and_no_failure() {
    let house = House::new(Kind::Sqlite).await;
    let long = [b'9'; 4_096];
    for torn in [
        &b""[..],
        b"00000000000000000002 00000",
        b"00000000000000000002",
        &[0; 32],
        &[0xff; 32],
        &long,
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let store = copied(&house, folder.path(), Some(torn)).await;
        assert!(is_unbroken(&store).await, "{torn:?}");
        let head = store.directory().await.expect("a directory").head;
        store.witness(head);
        assert!(is_unbroken(&opened(&Place::Sqlite(folder.path().to_owned())).await).await);
    }
}

#[tokio::test]
async fn s1_a_server_that_only_follows_is_not_read_from_and_promoted_is_a_break() {
    let primary = Server::primary();
    let store = opened(&primary.place("postgres")).await;
    store.migrate().await.expect("a schema");
    assert!(is_unbroken(&store).await);
    let tenant = tenant_id("one");
    let intent = intent(&tenant);
    let begun = store
        .begin_tenant(&intent, &TenantSettings::default())
        .await;
    let work = work_of(begun.expect("a tenant begun"));
    work.commit(&Answer::default()).await.expect("a tenant");

    let standby = primary.standby();
    let behind = opened(&standby.place("postgres")).await;
    behind.migrate().await.expect("nothing to be done");
    assert!(behind.tail(Revision(1)).await.expect("a tail").in_recovery);
    let directory = behind.directory().await;
    assert!(matches!(directory, Err(StoreError::Following)));
    let load = behind.load(&tenant, &mut Replica::default()).await;
    assert!(matches!(load, Err(StoreError::Following)));
    assert!(behind.unbroken().await.is_err(), "nobody knows yet");
    assert!(behind.begin(&intent).await.is_err());

    standby.promote();
    assert!(!behind.tail(Revision(1)).await.expect("a tail").in_recovery);
    assert!(
        !is_unbroken(&behind).await,
        "it is on a timeline of its own"
    );
    assert!(is_unbroken(&store).await);
    let seen = behind.directory().await.expect("a directory").epoch;
    behind.raise_epoch(seen, Epoch(0)).await.expect("an epoch");
    assert!(is_unbroken(&opened(&standby.place("postgres")).await).await);
}

#[tokio::test]
async fn a_role_that_may_not_read_the_servers_identifier_goes_by_its_timeline() {
    let server = Server::primary();
    let store = opened(&server.place("postgres")).await;
    store.migrate().await.expect("a schema");
    server
        .run(
            "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC;
             CREATE ROLE pod LOGIN;
             GRANT bancheck_app, bancheck_reader TO pod",
        )
        .await;
    let modest = opened(&server.place("pod")).await;
    modest.migrate().await.expect("nothing to be done");
    modest.check_key(&"a key".into()).await.expect("a key");
    // Whoever comes first, and whichever of them may read more.
    for store in [&modest, &store, &modest] {
        assert!(is_unbroken(store).await);
    }
    server
        .run("UPDATE meta SET value = '/00000002' WHERE name = 'server'")
        .await;
    for store in [&modest, &store] {
        assert!(!is_unbroken(store).await, "another timeline");
    }
}
