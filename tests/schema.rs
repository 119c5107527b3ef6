//! Both databases are migrated alike and come to the same tables.

#[path = "stage/database.rs"]
#[expect(dead_code, reason = "the rest is for suites that need a silent bell")]
mod database;

use std::collections::{BTreeMap, BTreeSet};

use bancheck::store::Place;
use sqlx::{AnyConnection, Connection, Row, any::AnyRow, migrate::Migrator};

use database::{Database, Kind};

static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

/// What a column is to both databases.
#[derive(Debug, PartialEq, Eq)]
struct Column {
    /// In SQLite's words.
    holds: String,
    may_be_null: bool,
    has_default: bool,
}

/// An index by its name: on which columns, whether unique, whether of some rows only.
type Indexes = BTreeMap<String, (Vec<String>, bool, bool)>;

async fn connection(database: &Database) -> AnyConnection {
    drop(database.store().await);
    let url = match &database.place {
        Place::Sqlite(folder) => format!("sqlite://{}/bancheck.db", folder.display()),
        Place::Postgres { url, .. } => url.clone(),
    };
    AnyConnection::connect(&url).await.expect("a connection")
}

async fn ask(raw: &mut AnyConnection, question: &'static str) -> Vec<AnyRow> {
    sqlx::query(question)
        .fetch_all(raw)
        .await
        .expect("an answer")
}

fn text(row: &AnyRow, column: &str) -> String {
    row.try_get(column).expect("a text")
}

fn flag(row: &AnyRow, column: &str) -> bool {
    row.try_get::<i64, _>(column).expect("a number") != 0
}

/// The columns of every table, by the table's and the column's name.
async fn columns(raw: &mut AnyConnection, kind: Kind) -> BTreeMap<(String, String), Column> {
    let question = match kind {
        // A part of a primary key is never written as NULL, though an old quirk would allow it.
        Kind::Sqlite => {
            "SELECT m.name AS tab, c.name AS col, lower(c.type) AS holds,
                 (c.\"notnull\" = 0 AND c.pk = 0) AS may_be_null,
                 c.dflt_value IS NOT NULL AS has_default
             FROM sqlite_schema m JOIN pragma_table_info(m.name) c
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> '_sqlx_migrations'"
        }
        Kind::Postgres => {
            "SELECT table_name::text AS tab, column_name::text AS col,
                 CASE data_type WHEN 'bytea' THEN 'blob' WHEN 'smallint' THEN 'integer'
                     WHEN 'bigint' THEN 'integer' ELSE data_type END::text AS holds,
                 (is_nullable = 'YES')::int::bigint AS may_be_null,
                 (column_default IS NOT NULL)::int::bigint AS has_default
             FROM information_schema.columns
             WHERE table_schema = current_schema() AND table_name <> '_sqlx_migrations'"
        }
    };
    ask(raw, question)
        .await
        .iter()
        .map(|row| {
            let column = Column {
                holds: text(row, "holds"),
                may_be_null: flag(row, "may_be_null"),
                has_default: flag(row, "has_default"),
            };
            ((text(row, "tab"), text(row, "col")), column)
        })
        .collect()
}

/// The named indexes of every table.
async fn indexes(raw: &mut AnyConnection, kind: Kind) -> Indexes {
    let question = match kind {
        Kind::Sqlite => {
            "SELECT i.name AS name, coalesce(c.name, 'coalesce') AS col, i.\"unique\" AS uniq, i.partial AS partial
             FROM sqlite_schema m JOIN pragma_index_list(m.name) i JOIN pragma_index_info(i.name) c
             WHERE m.type = 'table' AND i.origin = 'c' ORDER BY i.name, c.seqno"
        }
        Kind::Postgres => {
            "SELECT n.relname::text AS name, a.attname::text AS col,
                 i.indisunique::int::bigint AS uniq,
                 (i.indpred IS NOT NULL)::int::bigint AS partial
             FROM pg_index i JOIN pg_class n ON n.oid = i.indexrelid
             JOIN pg_attribute a ON a.attrelid = n.oid
             WHERE n.relnamespace = current_schema()::regnamespace AND NOT i.indisprimary
             ORDER BY n.relname, a.attnum"
        }
    };
    let mut indexes = Indexes::new();
    for row in ask(raw, question).await {
        let flags = (flag(&row, "uniq"), flag(&row, "partial"));
        let index = indexes.entry(text(&row, "name"));
        let (columns, unique, partial) = index.or_insert((Vec::new(), flags.0, flags.1));
        columns.push(text(&row, "col"));
        assert_eq!((*unique, *partial), flags);
    }
    indexes
}

/// The primary key of every table, its columns in their order.
async fn keys(raw: &mut AnyConnection, kind: Kind) -> BTreeMap<String, Vec<String>> {
    let question = match kind {
        Kind::Sqlite => {
            "SELECT m.name AS tab, c.name AS col FROM sqlite_schema m
             JOIN pragma_table_info(m.name) c
             WHERE m.type = 'table' AND c.pk > 0 AND m.name <> '_sqlx_migrations'
             ORDER BY m.name, c.pk"
        }
        Kind::Postgres => {
            "SELECT t.relname::text AS tab, a.attname::text AS col
             FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
             JOIN pg_attribute a ON a.attrelid = i.indexrelid
             WHERE t.relnamespace = current_schema()::regnamespace AND i.indisprimary
                 AND t.relname <> '_sqlx_migrations'
             ORDER BY t.relname, a.attnum"
        }
    };
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in ask(raw, question).await {
        keys.entry(text(&row, "tab"))
            .or_default()
            .push(text(&row, "col"));
    }
    keys
}

#[test]
fn both_folders_hold_the_same_versions_under_the_same_names() {
    let named = |migrations: &Migrator| -> Vec<(i64, String)> {
        let each = migrations.iter();
        each.map(|one| (one.version, one.description.to_string()))
            .collect()
    };
    let (postgres, mut sqlite) = (named(&POSTGRES), named(&SQLITE));
    for (version, name) in &mut sqlite {
        // Of this Postgres keeps what SQLite does without.
        if *version == 15 {
            *name = name.replace("contract ", "");
        }
    }
    assert_eq!(postgres, sqlite);
    assert!(!postgres.is_empty());
    let versions: BTreeSet<i64> = postgres.iter().map(|(version, _)| *version).collect();
    let dense: BTreeSet<i64> = (1..).take(postgres.len()).collect();
    assert_eq!(versions, dense, "numbered from one on, without a gap");
}

#[tokio::test]
async fn both_databases_have_the_same_tables_columns_keys_and_indexes() {
    let (postgres, sqlite) = (
        Database::fresh(Kind::Postgres),
        Database::fresh(Kind::Sqlite),
    );
    let (mut there, mut here) = (connection(&postgres).await, connection(&sqlite).await);

    let postgres_columns = columns(&mut there, Kind::Postgres).await;
    let sqlite_columns = columns(&mut here, Kind::Sqlite).await;
    assert!(
        postgres_columns.len() > 50,
        "the tables were found: {}",
        postgres_columns.len()
    );
    for (name, column) in &postgres_columns {
        assert_eq!(
            sqlite_columns.get(name),
            Some(column),
            "{name:?} in SQLite and in Postgres"
        );
    }
    let only_here: Vec<_> = sqlite_columns
        .keys()
        .filter(|name| !postgres_columns.contains_key(*name))
        .collect();
    assert!(only_here.is_empty(), "only in SQLite: {only_here:?}");

    assert_eq!(
        keys(&mut here, Kind::Sqlite).await,
        keys(&mut there, Kind::Postgres).await
    );
    let mut there = indexes(&mut there, Kind::Postgres).await;
    let likeness = there.remove("bans_one_alike");
    assert!(likeness.is_some(), "SQLite has triggers instead");
    assert_eq!(indexes(&mut here, Kind::Sqlite).await, there);
}

#[tokio::test]
async fn a_bans_parts_and_the_ban_itself_refer_to_nothing_that_would_be_looked_for_at_each() {
    let sqlite = Database::fresh(Kind::Sqlite);
    let question = "SELECT m.name, count(f.\"table\") AS refers FROM sqlite_schema m
        LEFT JOIN pragma_foreign_key_list(m.name) f
        WHERE m.name IN ('bans', 'ban_targets', 'ban_keys', 'exceptions') GROUP BY m.name ORDER BY m.name";
    let found = ask(&mut connection(&sqlite).await, question).await;
    let refers: Vec<_> = found
        .iter()
        .map(|row| (text(row, "name"), flag(row, "refers")))
        .collect();
    let expected = [
        ("ban_keys", false),
        ("ban_targets", false),
        ("bans", false),
        ("exceptions", true),
    ];
    assert_eq!(
        refers,
        expected.map(|(name, refers)| (name.to_owned(), refers))
    );
}
