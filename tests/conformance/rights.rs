//! What nobody may do to a database, whoever got at it: change what has happened; and what the roles
//! may that the server takes on.

use bancheck::{
    domain::{
        erasure::{Erasure, NotedErasure},
        view::index::Key,
    },
    store::{Answer, Apart, Event, Place, StoreError, open},
};
use sqlx::{AnyConnection, AssertSqlSafe};

use crate::{
    database::Kind,
    house::{House, NOW, event, intent, lifted, token_ban},
};

on_both_stores!(
    what_has_happened_can_neither_be_changed_nor_taken_away,
    of_what_has_happened_the_words_of_a_person_can_be_taken_away,
    what_was_erased_stays_written_until_its_tenant_goes,
);

/// What a database says to a statement; empty = it was done.
async fn told(raw: &mut AnyConnection, statement: &str) -> String {
    let ran = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
    match ran.execute(raw).await {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

/// A house in which something has happened, to a ban in force and to one that is over.
async fn lived_in(house: &House) {
    let tenant = house.tenant("one").await;
    let standing = house.place(&tenant, token_ban(&tenant, 1)).await;
    let new = token_ban(&tenant, 2);
    let likeness = new.likeness;
    let ban = house.place(&tenant, new).await;
    house.change(&lifted(&ban), likeness).await;
    let mut work = house.begin(&intent(&tenant)).await;
    for happened in [
        event(1, Some(standing.ban_id), "CREATED"),
        event(2, Some(ban.ban_id), "DEACTIVATED"),
        event(3, None, "TENANT_UPDATED"),
    ] {
        let said = Event {
            comment: "what somebody wrote".to_owned(),
            ..happened
        };
        work.note(&said).await.expect("an event");
    }
    work.commit(&Answer::default()).await.expect("a commit");
}

async fn what_has_happened_can_neither_be_changed_nor_taken_away(house: House) {
    lived_in(&house).await;
    let events = "SELECT count(*) FROM ban_events";
    let before = house.number(events).await;
    assert_eq!(before, 3);
    let mut raw = house.raw().await;
    for statement in [
        "UPDATE ban_events SET actor = 'somebody else'",
        "UPDATE ban_events SET at = at - 1",
        "UPDATE ban_events SET action = 'UPDATED'",
        "UPDATE ban_events SET comment = 'what was never said'",
        "UPDATE ban_events SET ban_id = NULL WHERE ban_id IS NOT NULL",
        "UPDATE ban_events SET tenant = 'two'",
        "DELETE FROM ban_events",
        // Not even the history of what is over, in a tenant that keeps it for ever.
        "DELETE FROM ban_events WHERE ban_id IN (SELECT ban_id FROM bans WHERE ended = 1)",
    ] {
        let told = told(&mut raw, statement).await;
        assert!(told.contains("stays written"), "{statement}: {told}");
    }
    assert_eq!(house.number(events).await, before);
}

async fn of_what_has_happened_the_words_of_a_person_can_be_taken_away(house: House) {
    lived_in(&house).await;
    let said = "SELECT count(*) FROM ban_events WHERE comment <> ''";
    assert_eq!(house.number(said).await, 3);
    house.run("UPDATE ban_events SET comment = ''").await;
    assert_eq!(house.number(said).await, 0);
}

async fn what_was_erased_stays_written_until_its_tenant_goes(house: House) {
    let tenant = house.tenant("one").await;
    let noted = NotedErasure {
        tenant: tenant.clone(),
        id: [7; 16],
        at: NOW,
        actor: "alice".to_owned(),
        erasure: Erasure {
            keys: vec![Key::from_bits(7)],
            keep: None,
        },
    };
    let mut work = house.begin(&intent(&tenant)).await;
    work.note_erasure(&noted).await.expect("an erasure");
    work.commit(&Answer::default()).await.expect("a commit");
    let mut raw = house.raw().await;
    for statement in [
        "UPDATE erasures SET actor = 'somebody else'",
        "UPDATE erasures SET match_keys = '[]'",
        "DELETE FROM erasures",
    ] {
        let told = told(&mut raw, statement).await;
        assert!(told.contains("stays written"), "{statement}: {told}");
    }
    let kept = house.store.erasures(&tenant, [0; 16], 10).await;
    assert_eq!(kept.expect("erasures"), [noted]);
    let mut work = house.begin(&intent(&tenant)).await;
    work.delete_tenant().await.expect("a tenant deleted");
    work.commit(&Answer::default()).await.expect("a commit");
    while house
        .store
        .purge_tenant(&tenant)
        .await
        .expect("purged")
        .more
    {}
    assert_eq!(house.number("SELECT count(*) FROM erasures").await, 0);
}

#[tokio::test]
async fn who_writes_owns_nothing_and_who_reads_writes_nothing() {
    let house = House::new(Kind::Postgres).await;
    lived_in(&house).await;
    let mut app = house.raw().await;
    assert_eq!(told(&mut app, "SET ROLE bancheck_app").await, "");
    for statement in [
        "UPDATE ban_events SET actor = 'somebody else'",
        "TRUNCATE ban_events",
        "DROP TABLE bans CASCADE",
        "ALTER TABLE ban_events DISABLE TRIGGER ban_events_stay",
        "DROP TRIGGER ban_events_stay ON ban_events",
        "CREATE OR REPLACE FUNCTION ban_events_stay() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RETURN OLD; END $$",
        "UPDATE feed SET tenant = 'two'",
        "INSERT INTO feed (rev, nonce, at, tenant, kind, payload) VALUES (9, 9, 9, 'one', 1, '')",
        "UPDATE erasures SET actor = 'somebody else'",
        "ALTER TABLE bans DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenants_read ON bans",
        "CREATE OR REPLACE FUNCTION asked_everybody() RETURNS boolean LANGUAGE sql RETURN true",
        "DELETE FROM tenants",
        "DELETE FROM principals",
        "DELETE FROM api_keys",
        "DELETE FROM meta",
        "DELETE FROM _sqlx_migrations",
    ] {
        let told = told(&mut app, statement).await;
        let refused = told.contains("permission denied") || told.contains("must be owner");
        assert!(refused, "{statement}: {told}");
    }
    let mut reader = house.raw().await;
    assert_eq!(told(&mut reader, "SET ROLE bancheck_reader").await, "");
    let tables = house.tables().await;
    assert!(tables.len() > 16, "{tables:?}");
    for table in tables {
        let read = told(&mut reader, &format!("SELECT count(*) FROM {table}")).await;
        assert_eq!(read, "", "{table}");
        for statement in [
            format!("DELETE FROM {table}"),
            format!("INSERT INTO {table} SELECT * FROM {table}"),
            format!("SELECT 1 FROM {table} FOR UPDATE"),
        ] {
            let told = told(&mut reader, &statement).await;
            assert!(told.contains("permission denied"), "{statement}: {told}");
        }
    }
}

/// A login role of the test's own, that may do nothing yet.
async fn login(house: &House) -> String {
    let name = format!("login_{}", uuid::Uuid::now_v7().simple());
    let mut raw = house.raw().await;
    let made = told(&mut raw, &format!("CREATE ROLE {name} LOGIN")).await;
    assert_eq!(made, "");
    name
}

impl House {
    /// Its database as somebody reaches it.
    fn url_of(&self, role: &str) -> String {
        let Place::Postgres { url, .. } = &self.database.place else {
            panic!("a database on a server")
        };
        url.replace("postgres://postgres@", &format!("postgres://{role}@"))
    }

    async fn tables(&self) -> Vec<String> {
        use sqlx::Row as _;
        let mut raw = self.raw().await;
        let found = sqlx::query(
            "SELECT CAST(table_name AS text) AS name FROM information_schema.tables
             WHERE table_schema = current_schema()",
        );
        let found = found.fetch_all(&mut raw).await.expect("the tables");
        let name = |row: &sqlx::any::AnyRow| row.try_get("name").expect("a name");
        found.iter().map(name).collect()
    }
}

#[tokio::test]
async fn a_role_that_owns_nothing_and_one_that_only_reads_are_enough_for_a_pod() {
    let house = House::new(Kind::Postgres).await;
    let (writer, reader) = (login(&house).await, login(&house).await);
    let mut raw = house.raw().await;
    for (role, to) in [("bancheck_app", &writer), ("bancheck_reader", &reader)] {
        assert_eq!(told(&mut raw, &format!("GRANT {role} TO {to}")).await, "");
    }
    // Who writes does not read by the same name.
    let place = |reader_url| Place::Postgres {
        url: house.url_of(&writer),
        bell: true,
        apart: Apart {
            migrate_url: Some(house.url_of("postgres")),
            reader_url,
        },
    };
    let store = open(&place(None)).await.expect("a store");
    let refused = store.migrate().await.expect_err("it may not read so");
    assert!(
        matches!(refused, StoreError::NotOurRole("bancheck_reader")),
        "{refused}"
    );
    let store = open(&place(Some(house.url_of(&reader))))
        .await
        .expect("a store");
    store.migrate().await.expect("nothing is to be done");
    let mut lives = house;
    lives.store = store;
    lived_in(&lives).await;
    assert!(lives.feed().await.len() > 3, "the feed is read");
    let mut link = lives.store.link().await.expect("a connection that listens");
    lives.store.ring().await.expect("a bell");
    link.bell().await.expect("it is heard");
}

#[tokio::test]
async fn an_owner_that_may_make_no_roles_is_told_what_an_administrator_runs() {
    let house = House::new(Kind::Postgres).await;
    let owner = login(&house).await;
    let mut raw = house.raw().await;
    let emptied = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
    assert_eq!(told(&mut raw, emptied).await, "");
    let given = format!("ALTER SCHEMA public OWNER TO {owner}");
    assert_eq!(told(&mut raw, &given).await, "");
    let place = Place::Postgres {
        url: house.url_of(&owner),
        bell: true,
        apart: Apart::default(),
    };
    let store = open(&place).await.expect("a store");
    let refused = store.migrate().await.expect_err("it is nobody's member");
    let words = refused.with_causes();
    let remedy = format!("GRANT bancheck_app, bancheck_reader TO {owner};");
    assert!(words.contains(&remedy), "{words}");
    assert_eq!(told(&mut raw, &remedy).await, "");
    store.migrate().await.expect("a schema");
}
