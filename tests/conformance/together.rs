//! S-3: rows, event, feed row and answer come together or not at all.

use bancheck::store::{Added, Answer, StoreError};

use crate::{
    house::{House, TABLES, event, intent, list, tenant_id, token_ban, within},
    replica::Replica,
};

on_both_stores!(
    s3_a_work_dropped_before_its_commit_leaves_nothing,
    s3_an_abandoned_work_leaves_nothing,
    s3_a_work_that_was_refused_midway_leaves_nothing,
    s3_a_tenant_whose_making_was_dropped_was_never_made,
    s3_nothing_is_seen_before_the_commit_and_everything_after,
    s3_a_work_that_changed_nothing_tells_nothing_but_its_answer,
    s3_a_chunk_of_a_thousand_bans_is_one_row_of_the_feed,
);

async fn s3_a_work_dropped_before_its_commit_leaves_nothing(house: House) {
    let tenant = house.tenant("one").await;
    let before = house.census().await;
    let intent = intent(&tenant);
    let new = token_ban(&tenant, 1);
    {
        let mut work = house.begin(&intent).await;
        work.add_bans(std::slice::from_ref(&new))
            .await
            .expect("a ban added");
        let generation = work.next_generation().await.expect("a generation");
        let list = list("vip", generation);
        work.add_list(&list).await.expect("a list added");
        work.set_list_queues(&list).await.expect("queues set");
        work.note(&event(1, Some(new.ban.ban_id), "CREATED"))
            .await
            .expect("an event");
    }
    // Whoever begins next waits until the dropped one is undone.
    let next = within("the tenant's row", house.begin(&intent)).await;
    next.abandon().await.expect("undone");
    assert_eq!(house.census().await, before);
    assert_eq!(house.store.outcome(&intent).await.expect("a look"), None);
    assert_eq!(
        house.add(&intent, &[new]).await,
        [Added::Made],
        "it can be done anew"
    );
}

async fn s3_an_abandoned_work_leaves_nothing(house: House) {
    let tenant = house.tenant("one").await;
    let before = house.census().await;
    let intent = intent(&tenant);
    let new = token_ban(&tenant, 1);
    let mut work = house.begin(&intent).await;
    work.add_bans(std::slice::from_ref(&new))
        .await
        .expect("a ban added");
    work.note(&event(1, Some(new.ban.ban_id), "CREATED"))
        .await
        .expect("an event");
    work.abandon().await.expect("undone");
    assert_eq!(house.census().await, before);
    assert_eq!(house.store.outcome(&intent).await.expect("a look"), None);
}

async fn s3_a_work_that_was_refused_midway_leaves_nothing(house: House) {
    let tenant = house.tenant("one").await;
    house.list(&tenant, "vip").await;
    let before = house.census().await;
    let mut work = house.begin(&intent(&tenant)).await;
    work.add_bans(&[token_ban(&tenant, 1)])
        .await
        .expect("a ban added");
    let twin = work.add_list(&list("vip", 9)).await;
    assert!(matches!(twin, Err(StoreError::Taken)));
    drop(work);
    let next = within("the tenant's row", house.begin(&intent(&tenant))).await;
    next.abandon().await.expect("undone");
    assert_eq!(house.census().await, before);
}

async fn s3_a_tenant_whose_making_was_dropped_was_never_made(house: House) {
    let before = house.census().await;
    let intent = intent(&tenant_id("one"));
    let settings = bancheck::domain::policy::TenantSettings::default();
    let begun = house.store.begin_tenant(&intent, &settings).await;
    drop(begun.expect("a tenant begun"));
    house.tenant("one").await;
    let after = house.census().await;
    let grown = before
        .iter()
        .zip(&after)
        .map(|((_, before), (_, after))| after - before);
    let grown: Vec<_> = TABLES
        .into_iter()
        .zip(grown)
        .filter(|(_, rows)| *rows != 0)
        .collect();
    assert_eq!(grown, [("tenants", 1), ("requests", 1), ("feed", 1)]);
}

async fn s3_nothing_is_seen_before_the_commit_and_everything_after(house: House) {
    let tenant = house.tenant("one").await;
    let before = house.census().await;
    let new = token_ban(&tenant, 1);
    let ban = new.ban.ban_id;
    let mut work = house.begin(&intent(&tenant)).await;
    work.add_bans(&[new]).await.expect("a ban added");
    work.note(&event(1, Some(ban), "CREATED"))
        .await
        .expect("an event");
    assert_eq!(house.census().await, before, "nothing is seen from outside");
    assert_eq!(house.store.ban(&tenant, ban).await.expect("a look"), None);

    work.commit(&Answer::default()).await.expect("a commit");
    let after = house.census().await;
    let grown = before
        .iter()
        .zip(&after)
        .map(|((_, before), (_, after))| after - before);
    let grown: Vec<_> = TABLES
        .into_iter()
        .zip(grown)
        .filter(|(_, rows)| *rows != 0)
        .collect();
    let expected = [
        "bans",
        "ban_targets",
        "ban_keys",
        "ban_events",
        "requests",
        "feed",
    ];
    assert_eq!(
        grown,
        expected.map(|table| (table, 1)),
        "no intent is left behind either"
    );
}

async fn s3_a_work_that_changed_nothing_tells_nothing_but_its_answer(house: House) {
    let tenant = house.tenant("one").await;
    let head = house.tail(1).await.head;
    let intent = intent(&tenant);
    let answer = Answer {
        warnings: vec![(1, "UNWISE".to_owned())],
        ..Answer::default()
    };
    let work = house.begin(&intent).await;
    work.commit(&answer).await.expect("a commit");
    assert_eq!(house.tail(1).await.head, head, "nothing was told");
    assert_eq!(
        house.store.outcome(&intent).await.expect("a look"),
        Some(answer)
    );
}

async fn s3_a_chunk_of_a_thousand_bans_is_one_row_of_the_feed(house: House) {
    let tenant = house.tenant("one").await;
    let head = house.tail(1).await.head;
    let chunk: Vec<_> = (0..bancheck::store::MAX_CHUNK)
        .map(|number| token_ban(&tenant, number))
        .collect();
    let added = house.add(&intent(&tenant), &chunk).await;
    assert_eq!(added, vec![Added::Made; chunk.len()]);
    let tail = house.tail(head.0).await;
    assert_eq!(tail.head.0, head.0 + 1);
    let told = tail.news.last().expect("news");
    let bancheck::domain::record::Change::Bans(records) = &told.change else {
        panic!("a chunk is told as bans, not as {:?}", told.change);
    };
    assert_eq!(records.len(), chunk.len());
    let loaded = Replica::load(&*house.store, &tenant)
        .await
        .expect("the tenant");
    let retold = Replica::hear(&house.feed().await, &tenant, loaded.head);
    assert_eq!(loaded, retold);
    assert_eq!(loaded.bans.len(), chunk.len());
}
