//! What is taken out for good: lists, tenants, and bans that ended long ago.

use bancheck::{
    desk::{CreateBan, End},
    domain::{
        ban::{Ban, State},
        clock::Timestamp,
        ids::TenantId,
        keys::Reach,
        list::BanList,
        record::Change,
    },
    store::{
        Agenda, Answer, Begun, EventFilter, Intent, MAX_CHUNK, NewBan, Purged, StoreError, Sweep,
    },
};

use crate::house::{
    House, NOW, SECOND, asked, intent, intent_at, lifted, list, made_at, token, token_ban,
};

on_both_stores!(
    s3_a_list_that_goes_takes_its_bans_along_by_one_small_row,
    the_bans_of_a_list_that_went_are_marked_lifted_in_chunks_and_once,
    a_ban_that_was_over_before_its_list_went_is_not_lifted_but_expires,
    a_ban_that_went_with_its_list_can_be_written_to_and_is_noted_first,
    what_an_import_staged_and_nobody_can_go_on_with_goes_unseen,
    the_id_of_a_list_stays_taken_and_its_title_is_free,
    a_ban_of_a_list_that_went_holds_nobody,
    s9_a_deleted_tenant_is_nobodys_and_its_deletion_is_remembered,
    nothing_is_left_of_a_purged_tenant_but_its_id,
    ended_bans_go_with_all_that_is_theirs_once_they_are_old_enough,
);

fn second(number: i64) -> Timestamp {
    NOW.plus_micros(number * SECOND)
}

/// A ban of the token of this number in a list, until a second.
fn listed(tenant: &TenantId, list: &BanList, number: usize, to: Option<i64>) -> NewBan {
    let asked = CreateBan {
        end: to.map_or(End::Never, |to| End::At(second(to))),
        ..asked(&token(number))
    };
    let mut new = made_at(tenant, &asked, NOW);
    new.ban.list_id = Some(list.list_id.clone());
    new.generation = list.generation;
    new
}

/// Takes a list out, with its bans.
async fn delete(house: &House, tenant: &TenantId, list: &BanList, at: i64) {
    let mut work = house.begin(&intent_at(tenant, second(at))).await;
    let dropped = work.drop_generation(list.generation, "eva", "it went");
    dropped.await.expect("a content dropped");
    work.delete_list(list).await.expect("a list deleted");
    work.commit(&Answer::default()).await.expect("a commit");
}

fn sweep_at(tenant: &TenantId, by: i64) -> Sweep {
    Sweep {
        tenant: tenant.clone(),
        by: second(by),
        now: second(by),
        nonce: intent(tenant).nonce,
    }
}

async fn agenda(house: &House) -> Agenda {
    house.store.agenda().await.expect("a look")
}

/// What is noted of bans, by whom, and when it happened, in seconds.
async fn noted(house: &House, tenant: &TenantId, ban: Option<&Ban>) -> Vec<(String, String, i64)> {
    let filter = EventFilter {
        ban: ban.map(|ban| ban.ban_id),
        limit: 10_000,
        ..EventFilter::default()
    };
    let events = house.store.events(tenant, &filter).await.expect("events");
    let since = |at: Timestamp| (at.micros() - NOW.micros()) / SECOND;
    events
        .into_iter()
        .map(|event| (event.action, event.actor, since(event.at)))
        .collect()
}

async fn s3_a_list_that_goes_takes_its_bans_along_by_one_small_row(house: House) {
    let tenant = house.tenant("one").await;
    let list = house.list(&tenant, "rude").await;
    let ban = house.place(&tenant, listed(&tenant, &list, 1, None)).await;
    let rows = house.feed().await.len();
    delete(&house, &tenant, &list, 5).await;
    assert_eq!(house.feed().await.len(), rows + 1);
    let Change::List(record) = house.last_news().await.change else {
        panic!("a list is told of");
    };
    assert!(record.deleted && record.queues.is_empty());

    // Nothing is marked yet, and everything is told as if it were.
    let kept = house.kept(&ban).await;
    assert_eq!(kept.state(second(5)), State::Deactivated);
    assert_eq!(kept.deactivated, Some(second(5)));
    assert_eq!(
        (&*kept.deactivated_by, &*kept.deactivate_reason),
        ("eva", "it went")
    );
    let in_state = async |state: State| {
        let filter = bancheck::store::BanFilter {
            states: vec![state],
            now: Some(second(6)),
            ..crate::filters::all()
        };
        let page = house.store.bans(&tenant, &filter).await.expect("a page");
        page.bans.len()
    };
    assert_eq!(in_state(State::Active).await, 0);
    assert_eq!(in_state(State::Deactivated).await, 1);

    assert!(agenda(&house).await.dropped);
    assert!(
        !house
            .store
            .clear(&sweep_at(&tenant, 6), list.generation)
            .await
            .expect("cleared")
    );
    assert_eq!(
        house.kept(&ban).await,
        kept,
        "marked, it is what it was told to be"
    );
    assert!(!agenda(&house).await.dropped);
}

async fn the_bans_of_a_list_that_went_are_marked_lifted_in_chunks_and_once(house: House) {
    let tenant = house.tenant("one").await;
    let list = house.list(&tenant, "rude").await;
    let bans: Vec<_> = (0..MAX_CHUNK + 5)
        .map(|number| listed(&tenant, &list, number, None))
        .collect();
    for chunk in bans.chunks(MAX_CHUNK) {
        house.add(&intent(&tenant), chunk).await;
    }
    delete(&house, &tenant, &list, 5).await;
    let dropped = house.store.dropped(10).await.expect("a look");
    assert_eq!(dropped, [(tenant.clone(), list.generation)]);
    let clear = async || {
        let sweep = sweep_at(&tenant, 6);
        let more = house.store.clear(&sweep, list.generation).await;
        (more.expect("a step"), sweep.nonce)
    };
    let (more, nonce) = clear().await;
    assert!(more);
    let news = house.last_news().await;
    assert_eq!(news.anchor.nonce, nonce);
    let Change::Bans(records) = news.change else {
        panic!("bans are told of");
    };
    assert_eq!(records.len(), MAX_CHUNK);
    assert!(records.iter().all(|record| record.ended));
    assert!(!clear().await.0);
    let rows = house.feed().await.len();
    assert!(!clear().await.0);
    assert_eq!(house.feed().await.len(), rows, "nothing is left to tell");
    let events = noted(&house, &tenant, None).await;
    assert_eq!(events.len(), bans.len());
    let each = ("DEACTIVATED".to_owned(), "eva".to_owned(), 5);
    assert!(events.iter().all(|event| *event == each));
}

/// Begins an import that stages what it brings, at a second, and stages bans there.
async fn staged(house: &House, tenant: &TenantId, list: &BanList, at: i64, bans: usize) -> u32 {
    let intent = Intent {
        rpc: "ImportBans/open",
        ..intent_at(tenant, second(at))
    };
    let mut work = house.begin(&intent).await;
    let generation = work.next_generation().await.expect("a number");
    let answer = Answer {
        count: generation.into(),
        ..Answer::default()
    };
    work.commit(&answer).await.expect("a commit");
    let bans: Vec<_> = (0..bans)
        .map(|number| {
            let mut new = listed(tenant, list, number, None);
            new.ban.created = second(at);
            new.generation = generation;
            new
        })
        .collect();
    for chunk in bans.chunks(MAX_CHUNK) {
        house.add(&intent_at(tenant, second(at)), chunk).await;
    }
    generation
}

async fn what_an_import_staged_and_nobody_can_go_on_with_goes_unseen(house: House) {
    let tenant = house.tenant("one").await;
    let list = house.list(&tenant, "rude").await;
    let shown = listed(&tenant, &list, 1, None);
    house
        .add(&intent(&tenant), std::slice::from_ref(&shown))
        .await;
    let mut other = house.list(&tenant, "loud").await;
    let finished = staged(&house, &tenant, &other, 1, 1).await;
    other.generation = finished;
    let mut work = house.begin(&intent(&tenant)).await;
    work.set_list(&other).await.expect("its new content");
    work.commit(&Answer::default()).await.expect("a commit");
    let abandoned = staged(&house, &tenant, &list, 2, MAX_CHUNK + 1).await;
    staged(&house, &tenant, &list, 9, 1).await;

    let drop = async |before: i64| {
        let dropped = house.store.drop_staged(second(before), second(before + 5));
        dropped.await.expect("a look");
        house.store.dropped(10).await.expect("a look")
    };
    assert_eq!(
        drop(2).await,
        [],
        "as long as it is remembered it may go on"
    );
    assert_eq!(drop(3).await, [(tenant.clone(), abandoned)]);
    assert_eq!(drop(3).await, [(tenant.clone(), abandoned)], "once");

    let events = noted(&house, &tenant, None).await.len();
    let clear = async || {
        let sweep = sweep_at(&tenant, 9);
        let more = house.store.clear(&sweep, abandoned).await;
        let Change::Bans(records) = house.last_news().await.change else {
            panic!("views are told that the bans are over");
        };
        assert!(records.iter().all(|record| record.ended));
        (more.expect("a step"), records.len())
    };
    assert_eq!(clear().await, (true, MAX_CHUNK));
    assert_eq!(clear().await, (false, 1));
    assert_eq!(drop(3).await, [], "nothing is left to drop");
    let left = house.census().await;
    let left = left.iter().find(|(table, _)| *table == "bans");
    assert_eq!(left.expect("a table").1, 3, "shown, finished and young");
    assert_eq!(noted(&house, &tenant, None).await.len(), events, "unseen");
}

async fn a_ban_that_was_over_before_its_list_went_is_not_lifted_but_expires(house: House) {
    let tenant = house.tenant("one").await;
    let list = house.list(&tenant, "rude").await;
    let ban = house
        .place(&tenant, listed(&tenant, &list, 1, Some(4)))
        .await;
    delete(&house, &tenant, &list, 5).await;
    assert_eq!(house.kept(&ban).await.state(second(5)), State::Expired);
    house
        .store
        .clear(&sweep_at(&tenant, 6), list.generation)
        .await
        .expect("cleared");
    house
        .store
        .sweep(&sweep_at(&tenant, 6))
        .await
        .expect("a sweep");
    assert_eq!(house.kept(&ban).await.deactivated, None);
    let expired = ("EXPIRED".to_owned(), "system".to_owned(), 4);
    assert_eq!(noted(&house, &tenant, Some(&ban)).await, [expired]);
}

async fn a_ban_that_went_with_its_list_can_be_written_to_and_is_noted_first(house: House) {
    let tenant = house.tenant("one").await;
    let list = house.list(&tenant, "rude").await;
    let new = listed(&tenant, &list, 1, None);
    let likeness = new.likeness;
    let ban = house.place(&tenant, new).await;
    delete(&house, &tenant, &list, 5).await;
    let renamed = Ban {
        reason: "another".to_owned(),
        ..house.kept(&ban).await
    };
    house.change(&renamed, likeness).await;
    let told = [("DEACTIVATED".to_owned(), "eva".to_owned(), 5)];
    assert_eq!(noted(&house, &tenant, Some(&ban)).await, told);
    house
        .store
        .clear(&sweep_at(&tenant, 6), list.generation)
        .await
        .expect("cleared");
    assert_eq!(noted(&house, &tenant, Some(&ban)).await, told);
    assert_eq!(house.kept(&ban).await, renamed);
}

async fn the_id_of_a_list_stays_taken_and_its_title_is_free(house: House) {
    let tenant = house.tenant("one").await;
    let first = house.list(&tenant, "rude").await;
    delete(&house, &tenant, &first, 5).await;
    let found = house.store.list(&tenant, &first.list_id).await;
    assert_eq!(found.expect("a look"), None);
    let mut work = house.begin(&intent(&tenant)).await;
    assert!(work.had_list(&first.list_id).await.expect("a look"));
    assert_eq!(work.list_counts().await.expect("counts"), (0, 0));
    let again = work.add_list(&list("rude", 9)).await;
    assert!(matches!(again, Err(StoreError::Taken)));
    drop(work);
    let mut work = house.begin(&intent(&tenant)).await;
    let twin = BanList {
        title: first.title.clone(),
        ..list("calm", 9)
    };
    work.add_list(&twin).await.expect("the title is free");
    work.commit(&Answer::default()).await.expect("a commit");
}

async fn a_ban_of_a_list_that_went_holds_nobody(house: House) {
    let tenant = house.tenant("one").await;
    let list = house.list(&tenant, "rude").await;
    let mut work = house.begin(&intent(&tenant)).await;
    assert!(!work.list_holds_bans(&list).await.expect("a look"));
    drop(work);
    let mut inside = listed(&tenant, &list, 1, Some(5));
    inside.likeness = [9; 16];
    house.place(&tenant, inside).await;
    let outside = house.place(&tenant, token_ban(&tenant, 1)).await;
    let holds = async |at: i64| {
        let mut work = house.begin(&intent_at(&tenant, second(at))).await;
        let holds = work.list_holds_bans(&list).await.expect("a look");
        let others = work
            .overlapping(outside.ban_id, &Reach::default(), 100)
            .await;
        let others = others.expect("a look");
        (holds, others.len())
    };
    assert_eq!(holds(4).await, (true, 1));
    assert_eq!(holds(5).await, (false, 0), "over, swept or not");
    delete(&house, &tenant, &list, 3).await;
    assert_eq!(holds(4).await.1, 0);
}

async fn s9_a_deleted_tenant_is_nobodys_and_its_deletion_is_remembered(house: House) {
    let tenant = house.tenant("one").await;
    let intent = Intent {
        rpc: "DeleteTenant",
        ..intent(&tenant)
    };
    let mut work = house.begin(&intent).await;
    work.delete_tenant().await.expect("deleted");
    work.commit(&Answer::default()).await.expect("a commit");
    let Change::Tenant(record) = house.last_news().await.change else {
        panic!("a tenant is told of");
    };
    assert!(record.deleted);
    assert_eq!(house.store.settings(&tenant).await.expect("a look"), None);
    assert!(
        house
            .store
            .directory()
            .await
            .expect("all")
            .tenants
            .is_empty()
    );
    let begun = |intent: Intent| {
        let store = std::sync::Arc::clone(&house.store);
        async move { store.begin(&intent).await.expect("an answer") }
    };
    assert!(matches!(
        begun(crate::house::intent(&tenant)).await,
        Begun::NoTenant
    ));
    assert!(matches!(begun(intent.clone()).await, Begun::Replay(_)));
    while house
        .store
        .purge_tenant(&tenant)
        .await
        .expect("a step")
        .more
    {}
    assert!(
        matches!(begun(intent).await, Begun::Replay(_)),
        "purged or not"
    );
    let again = crate::house::intent(&tenant);
    let settings = bancheck::domain::policy::TenantSettings::default();
    let made = house.store.begin_tenant(&again, &settings).await;
    assert!(
        matches!(made, Err(StoreError::Taken)),
        "its id is not used again"
    );
}

/// The tables that hold anything of a tenant, each of which a purge empties, but for the first two.
const EMPTIED: [&str; 18] = [
    "tenants",
    "feed",
    // A row is there only while it is being told.
    "feed_intents",
    "bans",
    "ban_targets",
    "ban_keys",
    "ban_events",
    "ban_matches",
    "ban_lists",
    "ban_list_queues",
    "dropped_generations",
    "requests",
    "queue_policies",
    "ban_rights",
    "exceptions",
    "exception_keys",
    "lifted_protections",
    "erasures",
];

/// The tables that hold anything of a tenant, as the database itself knows them.
async fn tenants_tables(house: &House) -> Vec<String> {
    use sqlx::Row;
    let question = match house.kind {
        crate::database::Kind::Sqlite => {
            "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
             WHERE m.type = 'table' AND c.name = 'tenant'"
        }
        crate::database::Kind::Postgres => {
            "SELECT CAST(table_name AS text) FROM information_schema.columns
             WHERE table_schema = 'public' AND column_name = 'tenant'"
        }
    };
    let mut raw = house.raw().await;
    let rows = sqlx::query(question).fetch_all(&mut raw).await;
    rows.expect("tables").iter().map(|row| row.get(0)).collect()
}

async fn nothing_is_left_of_a_purged_tenant_but_its_id(house: House) {
    let (tenant, other) = (house.tenant("one").await, house.tenant("two").await);
    for tenant in [&tenant, &other] {
        let list = house.list(tenant, "rude").await;
        let bans: Vec<_> = (0..700)
            .map(|n| listed(tenant, &list, n, Some(9)))
            .collect();
        house.add(&intent(tenant), &bans).await;
        delete(&house, tenant, &list, 5).await;
        house
            .store
            .sweep(&sweep_at(tenant, 9))
            .await
            .expect("a sweep");
    }
    assert_eq!(
        house.store.purge_tenant(&tenant).await.expect("none"),
        Purged::default()
    );
    let mut work = house.begin(&intent(&tenant)).await;
    work.delete_tenant().await.expect("deleted");
    work.commit(&Answer::default()).await.expect("a commit");
    assert!(agenda(&house).await.deleted);
    assert_eq!(
        house.store.deleted_tenants(9).await.expect("one"),
        std::slice::from_ref(&tenant)
    );

    let mut bans = 0;
    loop {
        let purged = house.store.purge_tenant(&tenant).await.expect("a step");
        bans += purged.bans;
        if !purged.more {
            break;
        }
    }
    assert_eq!(bans, 700);
    assert!(!agenda(&house).await.deleted);
    let tables = tenants_tables(&house).await;
    let unknown: Vec<_> = tables
        .iter()
        .filter(|table| !EMPTIED.contains(&&***table))
        .collect();
    assert!(
        unknown.is_empty(),
        "have a purge empty {unknown:?} too (CONFIGURATION in store/sql/pieces.rs), and name them here"
    );
    for table in tables {
        let rows = async |tenant: &TenantId| {
            let count = format!("SELECT count(*) FROM {table} WHERE tenant = '{tenant}'");
            house.number(&count).await
        };
        match table.as_str() {
            // Without a word about anybody, and gone in a day.
            "feed" => {}
            "tenants" => assert_eq!(rows(&tenant).await, 1),
            _ => assert_eq!(rows(&tenant).await, 0, "{table}"),
        }
        if ["bans", "ban_keys", "ban_lists"].contains(&&*table) {
            assert!(rows(&other).await > 0, "another's {table} stay");
        }
    }
}

async fn ended_bans_go_with_all_that_is_theirs_once_they_are_old_enough(house: House) {
    let tenant = house.tenant("one").await;
    let settings = bancheck::domain::policy::TenantSettings {
        ended_ban_retention_days: 30,
        ..bancheck::domain::policy::TenantSettings::default()
    };
    assert_eq!(house.store.purging(None, 9).await.expect("none"), []);
    let mut work = house.begin(&intent(&tenant)).await;
    work.set_settings(&settings).await.expect("settings");
    work.commit(&Answer::default()).await.expect("a commit");
    assert_eq!(
        house.store.purging(None, 9).await.expect("one"),
        [(tenant.clone(), 30)]
    );
    assert_eq!(
        house.store.purging(Some(&tenant), 9).await.expect("none"),
        []
    );

    let until = |number, to: i64| {
        let mut asked = asked(&token(number));
        asked.end = End::At(second(to));
        made_at(&tenant, &asked, NOW)
    };
    let old = house.place(&tenant, until(1, 5)).await;
    let young = house.place(&tenant, until(2, 9)).await;
    let new = token_ban(&tenant, 3);
    let likeness = new.likeness;
    let ban = house.place(&tenant, new).await;
    house.change(&lifted(&ban), likeness).await;
    house.place(&tenant, token_ban(&tenant, 4)).await;
    house
        .store
        .sweep(&sweep_at(&tenant, 9))
        .await
        .expect("a sweep");
    let feed = house.feed().await;
    let purge = async |by: i64| {
        let sweep = Sweep {
            by: second(by),
            ..sweep_at(&tenant, 100)
        };
        house.store.purge_ended(&sweep).await.expect("a step")
    };
    // The one that was lifted at once, and the one that ended at the fifth second.
    assert_eq!(
        purge(6).await,
        Purged {
            bans: 2,
            more: false
        }
    );
    assert_eq!(purge(6).await, Purged::default());
    let found = house.store.ban(&tenant, old.ban_id).await.expect("a look");
    assert_eq!(found, None);
    assert_eq!(house.kept(&young).await.ban_id, young.ban_id);
    for (table, left) in [("bans", 2), ("ban_keys", 2), ("ban_targets", 2)] {
        let rows = house.number(&format!("SELECT count(*) FROM {table}")).await;
        assert_eq!(rows, left, "{table}");
    }
    assert_eq!(noted(&house, &tenant, Some(&old)).await, []);
    let events = noted(&house, &tenant, None).await;
    let actions: Vec<_> = events.iter().map(|(action, ..)| &**action).collect();
    assert_eq!(actions, ["EXPIRED", "BANS_PURGED"]);
    assert_eq!(house.feed().await, feed, "no view had them");
}
