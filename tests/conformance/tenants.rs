//! Row security on Postgres: what a statement that forgets its tenant reaches. A transaction that says
//! whose rows it is about finds and writes no others; one that says nothing finds nothing.

use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::{database::Kind, house::House};

/// What is read of everybody at once, which is about what time does, or about all tenants.
const READ_OF_EVERYBODY: [&str; 8] = [
    "ban_keys",
    "ban_matches",
    "bans",
    "dropped_generations",
    "exceptions",
    "feed",
    "requests",
    "tenants",
];

/// A table with a tenant's rows, by its columns and what they hold.
struct Table {
    name: String,
    columns: Vec<(String, String)>,
}

impl Table {
    /// A row of this tenant, told from others by a number.
    fn row(&self, tenant: &str, number: usize) -> String {
        let values: Vec<_> = { self.columns.iter() }
            .map(|(name, holds)| match (name.as_str(), holds.as_str()) {
                ("tenant", _) => format!("'{tenant}'"),
                (_, "text") => format!("'x{number}'"),
                (_, "bytea") => format!("'\\x0{number}'::bytea"),
                _ => format!("2000{number}"),
            })
            .collect();
        format!("INSERT INTO {} VALUES ({})", self.name, values.join(", "))
    }
}

/// Every table that has a column for the tenant, those of later versions included.
async fn tables(raw: &mut AnyConnection) -> Vec<Table> {
    let found = sqlx::query(
        "SELECT CAST(c.table_name AS text) AS tab, CAST(c.column_name AS text) AS col,
             CAST(c.data_type AS text) AS holds
         FROM information_schema.columns c
         WHERE c.table_schema = current_schema() AND c.table_name IN (
             SELECT t.table_name FROM information_schema.columns t
             WHERE t.table_schema = current_schema() AND t.column_name = 'tenant')
         ORDER BY c.table_name, c.ordinal_position",
    );
    let mut tables: Vec<Table> = Vec::new();
    for row in found.fetch_all(raw).await.expect("the columns") {
        let text = |column| row.try_get::<String, _>(column).expect("a name");
        let column = (text("col"), text("holds"));
        match tables.last_mut().filter(|last| last.name == text("tab")) {
            Some(last) => last.columns.push(column),
            None => tables.push(Table {
                name: text("tab"),
                columns: vec![column],
            }),
        }
    }
    tables
}

/// A house with rows of two tenants and of none in every table.
async fn inhabited() -> (House, Vec<Table>) {
    let house = House::new(Kind::Postgres).await;
    let mut raw = house.raw().await;
    let tables = tables(&mut raw).await;
    assert!(
        tables.len() >= 18,
        "the tables were found: {}",
        tables.len()
    );
    for table in &tables {
        for (number, tenant) in ["one", "two", ""].into_iter().enumerate() {
            // Rows that hang on nothing: it is asked who may see them, not what they mean.
            let made = format!(
                "SET session_replication_role = replica; {}",
                table.row(tenant, number)
            );
            sqlx::raw_sql(AssertSqlSafe(made))
                .execute(&mut raw)
                .await
                .expect("a row");
        }
    }
    (house, tables)
}

/// Somebody in a transaction, who has said something about whose rows it is about, or nothing.
struct Someone {
    raw: AnyConnection,
}

impl Someone {
    async fn new(house: &House, role: &str, whose: Option<&str>) -> Self {
        let mut raw = house.raw().await;
        let said = whose.map_or_else(String::new, |whose| {
            format!("; SET LOCAL bancheck.tenant = '{whose}'")
        });
        let begin = format!("BEGIN; SET LOCAL ROLE {role}{said}");
        let open = sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut raw).await;
        open.expect("a transaction");
        Self { raw }
    }

    async fn seen(&mut self, table: &Table, what: &str) -> i64 {
        let question = format!("SELECT count(*) FROM {} WHERE {what}", table.name);
        let row = sqlx::query(AssertSqlSafe(question)).fetch_one(&mut self.raw);
        row.await.expect("a count").try_get(0).expect("a number")
    }

    /// How many rows a statement reached, which is undone, or why it was not done.
    async fn tries(&mut self, statement: &str) -> Result<u64, String> {
        let tried = format!("SAVEPOINT before; {statement}");
        let tried = sqlx::raw_sql(AssertSqlSafe(tried));
        let told = tried.execute(&mut self.raw).await;
        let back = sqlx::raw_sql("ROLLBACK TO before");
        back.execute(&mut self.raw).await.expect("to be undone");
        told.map(|done| done.rows_affected())
            .map_err(|error| error.to_string())
    }
}

/// Whether a statement did nothing to anybody.
fn is_vain(told: &Result<u64, String>) -> bool {
    match told {
        Ok(rows) => *rows == 0,
        Err(words) => {
            words.contains("row-level security policy") || words.contains("permission denied")
        }
    }
}

#[tokio::test]
async fn in_no_table_one_tenant_sees_or_writes_what_is_anothers() {
    let (house, tables) = inhabited().await;
    let mut app = Someone::new(&house, "bancheck_app", Some("one")).await;
    let mut reader = Someone::new(&house, "bancheck_reader", Some("one")).await;
    for table in &tables {
        let name = &table.name;
        for someone in [&mut app, &mut reader] {
            assert!(someone.seen(table, "tenant = 'one'").await > 0, "{name}");
            assert_eq!(someone.seen(table, "tenant <> 'one'").await, 0, "{name}");
        }
        for statement in [
            table.row("two", 7),
            table.row("", 7),
            format!("UPDATE {name} SET tenant = tenant WHERE tenant = 'two'"),
            format!("UPDATE {name} SET tenant = 'two' WHERE tenant <> 'one'"),
            format!("DELETE FROM {name} WHERE tenant <> 'one'"),
            format!("SELECT 1 FROM {name} WHERE tenant <> 'one' FOR UPDATE"),
        ] {
            let told = app.tries(&statement).await;
            assert!(is_vain(&told), "{statement}: {told:?}");
        }
        // It is no other's by being handed over.
        let given = format!("UPDATE {name} SET tenant = 'two' WHERE tenant = 'one'");
        let told = app.tries(&given).await;
        assert!(told.is_err(), "{given}: {told:?}");
        let own = app.tries(&table.row("one", 7)).await;
        let barred = matches!(&own, Err(words) if words.contains("row-level security"));
        assert!(!barred, "{name}: {own:?}");
    }
    // Nor is it put aside.
    assert_eq!(app.tries("SET LOCAL row_security = off").await, Ok(0));
    let aside = "SET LOCAL row_security = off; DELETE FROM bans";
    let told = app
        .tries(aside)
        .await
        .expect_err("it is said that it holds");
    assert!(told.contains("row-level security"), "{told}");
}

#[tokio::test]
async fn who_says_nothing_of_whose_rows_it_is_about_finds_none_and_writes_none() {
    let (house, tables) = inhabited().await;
    for whose in [None, Some("")] {
        let mut app = Someone::new(&house, "bancheck_app", whose).await;
        let mut reader = Someone::new(&house, "bancheck_reader", whose).await;
        for table in &tables {
            let name = &table.name;
            for someone in [&mut app, &mut reader] {
                assert_eq!(someone.seen(table, "true").await, 0, "{name}");
            }
            for statement in [
                table.row("one", 7),
                table.row("", 7),
                format!("UPDATE {name} SET tenant = tenant"),
                format!("DELETE FROM {name}"),
            ] {
                let told = app.tries(&statement).await;
                assert!(is_vain(&told), "{statement}: {told:?}");
            }
        }
    }
}

#[tokio::test]
async fn of_everybody_little_is_read_and_hardly_anything_written() {
    let (house, tables) = inhabited().await;
    let mut app = Someone::new(&house, "bancheck_app", Some("*")).await;
    let mut reader = Someone::new(&house, "bancheck_reader", Some("*")).await;
    let mut read = Vec::new();
    for table in &tables {
        let name = table.name.as_str();
        let seen = app.seen(table, "true").await;
        assert_eq!(reader.seen(table, "true").await, seen, "{name}");
        if seen > 0 {
            assert!(seen >= 3, "{name}: all or nothing");
            read.push(name);
        }
        for (statement, may) in [
            (table.row("one", 7), name == "ban_matches"),
            (
                format!("UPDATE {name} SET tenant = tenant"),
                name == "ban_matches",
            ),
            (
                format!("DELETE FROM {name}"),
                ["feed", "requests"].contains(&name),
            ),
        ] {
            let told = app.tries(&statement).await;
            assert_eq!(is_vain(&told), !may, "{statement}: {told:?}");
        }
    }
    assert_eq!(read, READ_OF_EVERYBODY);
}

#[tokio::test]
async fn what_is_the_deployments_own_is_no_tenants() {
    let (house, tables) = inhabited().await;
    let mut app = Someone::new(&house, "bancheck_app", Some("-")).await;
    for table in &tables {
        let name = &table.name;
        assert!(app.seen(table, "tenant = ''").await > 0, "{name}");
        assert_eq!(app.seen(table, "tenant <> ''").await, 0, "{name}");
        let told = app.tries(&table.row("one", 7)).await;
        assert!(is_vain(&told), "{name}: {told:?}");
    }
}
