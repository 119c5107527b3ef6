//! What Postgres looks at to find some bans, under row security and whatever its planner knows.

use std::sync::Arc;

use bancheck::{
    domain::view::index::Key,
    store::{
        Added, Answer, BanFilter, EventFilter, ExceptionFilter, Lifting, Place, Renewal, Store,
        open,
    },
};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};

use crate::{
    database::{Database, Kind},
    house::{House, NOW, intent, opened, token_ban, within},
};

/// How many bans a tenant has whose look-ups are counted: so many that looking at each of them is dear.
const MANY: i64 = 30_000;

/// A tenant with very many bans like one, in a database whose planner knows of them.
async fn crowded() -> (Database, bancheck::store::NewBan) {
    let house = House::new(Kind::Postgres).await;
    let tenant = house.tenant("one").await;
    let new = token_ban(&tenant, 1);
    house.place(&tenant, new.clone()).await;
    let mut raw = house.raw().await;
    for (table, own) in [
        ("bans", "'likeness', '\\x' || md5('l' || n)"),
        ("ban_targets", "'input', n::text"),
        ("ban_keys", "'match_key', '\\x' || md5('k' || n)"),
    ] {
        let many = format!(
            "INSERT INTO {table} SELECT r.* FROM {table} o, generate_series(1, {MANY}) n,
                 LATERAL jsonb_populate_record(o, jsonb_build_object(
                     'ban_id', '\\x' || md5(n::text), {own})) r;
             ALTER TABLE {table} SET (autovacuum_enabled = false)"
        );
        let made = sqlx::raw_sql(AssertSqlSafe(many)).execute(&mut raw).await;
        made.expect("many of them");
    }
    // As a disk that seeks for nothing; elsewhere it takes more bans until an index pays.
    house
        .run(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET random_page_cost = 1',
                 current_database()); END $$; ANALYZE",
        )
        .await;
    let House { database, .. } = house;
    (database, new)
}

/// How many rows of bans were ever looked at by those who have gone since.
async fn looked_at(place: &Place) -> i64 {
    let Place::Postgres { url, .. } = place else {
        panic!("a database on a server")
    };
    let mut raw = AnyConnection::connect(url).await.expect("a connection");
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    within("everybody to go", async {
        loop {
            let row = sqlx::query(others).fetch_one(&mut raw).await;
            if row.expect("a look").try_get::<i64, _>(0).expect("a number") == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let rows = "SELECT CAST(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) AS bigint)
        FROM pg_stat_user_tables WHERE relname IN ('bans', 'ban_keys', 'ban_targets')";
    let row = sqlx::query(rows).fetch_one(&mut raw).await;
    row.expect("a sum").try_get(0).expect("a number")
}

/// Every way in which some bans are looked for.
async fn looks_for_some(store: &Arc<dyn Store>, new: &bancheck::store::NewBan) {
    let (tenant, id) = (&new.ban.tenant, new.ban.ban_id);
    let keys: Vec<Key> = new.keys.iter().map(|(_, key, _)| key.key).collect();
    let found = store
        .concerning(tenant, &keys, 10)
        .await
        .expect("an answer");
    assert_eq!(found.expect("the tenant").bans.len(), 1);
    assert_eq!(store.bans_of(tenant, &[id]).await.expect("bans").len(), 1);
    assert!(store.ban(tenant, id).await.expect("a ban").is_some());
    let newest = BanFilter {
        limit: 10,
        now: Some(NOW),
        ..BanFilter::default()
    };
    let page = store.bans(tenant, &newest).await.expect("a page");
    assert_eq!(page.bans.len(), 10);
    let events = EventFilter {
        ban: Some(id),
        limit: 10,
        ..EventFilter::default()
    };
    store.events(tenant, &events).await.expect("events");
    let spared = ExceptionFilter {
        limit: 10,
        ..ExceptionFilter::default()
    };
    store.exceptions(tenant, &spared).await.expect("exceptions");
    store.agenda().await.expect("an agenda");
    store.due(NOW, 10).await.expect("nobody");

    let mut work = opened(store.begin(&intent(tenant)).await.expect("a write begun"));
    assert_eq!(work.found_by(&keys).await.expect("records").len(), 1);
    assert_eq!(work.bans_named(&[id]).await.expect("bans").len(), 1);
    assert_eq!(work.targets_under(&keys).await.expect("targets").len(), 1);
    let renewal = Renewal {
        ban: id,
        reason: "again".to_owned(),
        reason_code: String::new(),
        start: None,
        expire: None,
    };
    work.renew_bans(&[renewal]).await.expect("it is renewed");
    let both = [token_ban(tenant, 1), token_ban(tenant, 2)];
    let added = work.add_bans(&both).await.expect("one more");
    assert_eq!(added, [Added::Alike(id), Added::Made]);
    work.redact(&[id], &[]).await.expect("words taken away");
    work.hash_targets(&[(id, 0)], None).await.expect("hashed");
    let lifting = Lifting {
        bans: vec![id],
        by: "bob".to_owned(),
        reason: String::new(),
    };
    assert_eq!(work.lift_bans(&lifting).await.expect("lifted"), [id]);
    work.commit(&Answer::default()).await.expect("a commit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_find_some_bans_not_all_of_a_tenants_are_looked_at() {
    let (database, new) = crowded().await;
    let before = looked_at(&database.place).await;
    let store = open(&database.place).await.expect("a store");
    looks_for_some(&store, &new).await;
    drop(store);
    let rows = looked_at(&database.place).await - before;
    assert!(rows > 0 && rows < MANY / 20, "{rows} rows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_lift_an_old_import_what_has_ended_since_is_not_looked_at() {
    let (database, new) = crowded().await;
    let Place::Postgres { url, .. } = &database.place else {
        panic!("a database on a server")
    };
    let mut raw = AnyConnection::connect(url).await.expect("a connection");
    // Ids are drawn from all there can be; those that come first have ended.
    let ended = r"UPDATE bans SET ended = 1 WHERE ban_id < '\x80'; ANALYZE bans";
    let ended = sqlx::raw_sql(ended).execute(&mut raw).await;
    ended.expect("half of them have ended");
    drop(raw);
    let tenant = &new.ban.tenant;
    let store = open(&database.place).await.expect("a store");
    let mut work = opened(store.begin(&intent(tenant)).await.expect("a write begun"));
    let bans: Vec<_> = (10..110).map(|number| token_ban(tenant, number)).collect();
    work.add_bans(&bans).await.expect("bans added");
    work.commit(&Answer::default()).await.expect("a commit");
    drop(store);

    let before = looked_at(&database.place).await;
    let store = open(&database.place).await.expect("a store");
    let mut work = opened(store.begin(&intent(tenant)).await.expect("a write begun"));
    let lifting = Lifting {
        bans: bans.iter().map(|new| new.ban.ban_id).collect(),
        by: "bob".to_owned(),
        reason: String::new(),
    };
    let lifted = work.lift_bans(&lifting).await.expect("lifted");
    assert_eq!(lifted.len(), bans.len());
    work.commit(&Answer::default()).await.expect("a commit");
    drop(store);
    let rows = looked_at(&database.place).await - before;
    assert!(rows > 0 && rows < MANY / 20, "{rows} rows");
}

/// Takes statistics of what there is, and none later.
async fn take_statistics_once(house: &House) {
    for statement in [
        "ALTER TABLE bans SET (autovacuum_enabled = false)",
        "ALTER TABLE ban_targets SET (autovacuum_enabled = false)",
        "ALTER TABLE ban_keys SET (autovacuum_enabled = false)",
        "VACUUM ANALYZE",
    ] {
        house.run(statement).await;
    }
}

/// How many bans come at once where a tenant grows, and how many times they do.
const AT_ONCE: usize = 500;
const TIMES: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_planned_while_a_tenant_was_small_serves_it_once_it_is_large() {
    let house = House::new(Kind::Postgres).await;
    // As it is a day after a deployment was begun, when statistics are there and say: nothing.
    take_statistics_once(&house).await;
    let tenant = house.tenant("one").await;
    let bans = |from: usize, many: usize| -> Vec<_> {
        { from..from + many }
            .map(|number| token_ban(&tenant, number))
            .collect()
    };
    for number in 0..10 {
        house.add(&intent(&tenant), &bans(number, 1)).await;
        house.store.agenda().await.expect("an agenda");
    }
    for time in 1..=TIMES {
        house
            .add(&intent(&tenant), &bans(time * AT_ONCE, AT_ONCE))
            .await;
        house.store.agenda().await.expect("an agenda");
    }
    let House {
        store, database, ..
    } = house;
    drop(store);
    let rows = looked_at(&database.place).await;
    let made = i64::try_from(TIMES * AT_ONCE).expect("a small number");
    assert!(
        rows > made && rows < 5 * made,
        "{rows} rows for {made} bans"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_statistics_have_not_heard_of_is_served_as_well() {
    let house = House::new(Kind::Postgres).await;
    let (known, unknown) = (house.tenant("one").await, house.tenant("two").await);
    let bans = |tenant, from: usize, many: usize| -> Vec<_> {
        let numbers = from..from + many;
        numbers.map(|number| token_ban(tenant, number)).collect()
    };
    for time in 0..4 {
        let bans = bans(&known, time * AT_ONCE, AT_ONCE);
        house.add(&intent(&known), &bans).await;
    }
    take_statistics_once(&house).await;
    let House {
        store, database, ..
    } = house;
    drop(store);
    let before = looked_at(&database.place).await;
    let store = open(&database.place).await.expect("a store");
    let mut added = 0;
    for many in [1_000, 1, 1, 1_000, 1, 1, 1, 1_000, 1, 1] {
        let bans = bans(&unknown, added, many);
        let mut work = opened(store.begin(&intent(&unknown)).await.expect("a write begun"));
        work.add_bans(&bans).await.expect("bans added");
        let keys: Vec<Key> = bans[0].keys.iter().map(|(_, key, _)| key.key).collect();
        assert_eq!(work.found_by(&keys).await.expect("records").len(), 1);
        work.commit(&Answer::default()).await.expect("a commit");
        added += many;
    }
    drop(store);
    let rows = looked_at(&database.place).await - before;
    let made = i64::try_from(added).expect("a small number");
    assert!(
        rows > made && rows < 5 * made,
        "{rows} rows for {made} bans"
    );
}
