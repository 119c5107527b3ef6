//! A database for one test, without a tenant, and gone when the test is over.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    thread,
};

use bancheck::store::{Apart, Place, Store, open};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

/// Which of the two kinds of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file in a folder of its own.
    Sqlite,
    /// A database of its own on the test server.
    Postgres,
}

/// A database of one test's own.
pub(crate) struct Database {
    /// Where it is.
    pub(crate) place: Place,
    folder: Option<tempfile::TempDir>,
    drop_with: Option<(String, String)>,
}

/// Where the test server is: the tests need it, so its absence is a failure and not a skip.
#[expect(
    clippy::disallowed_methods,
    reason = "the test command says here where Postgres is"
)]
pub(crate) fn postgres_url() -> String {
    std::env::var("BANCHECK_TEST_POSTGRES_URL").expect(
        "BANCHECK_TEST_POSTGRES_URL is not set: run the tests by `tests/run`, which starts a \
         throw-away Postgres, or set it to a server where databases may be made",
    )
}

/// The lock of whoever looks for the template, and makes it if there is none.
const TEMPLATE_LOCK: i64 = 7_166_011_403_264_135;

/// Does something with a connection to the server, on a thread of its own: the test may be inside a runtime
/// already.
fn on_server(
    url: &str,
    act: impl AsyncFnOnce(sqlx::PgConnection) + Send + 'static,
) -> thread::Result<()> {
    let url = url.to_owned();
    let acting = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let connection = sqlx::PgConnection::connect(&url).await;
            act(connection.expect("the test server")).await;
        });
    });
    acting.join()
}

async fn execute(connection: &mut sqlx::PgConnection, statement: String) {
    let executed = connection.execute(AssertSqlSafe(statement)).await;
    executed.expect("a statement");
}

/// Where a database of this name is on the test server.
fn beside(server: &str, name: &str) -> Place {
    let (base, _) = server.rsplit_once('/').expect("postgres://host/database");
    Place::Postgres {
        url: format!("{base}/{name}"),
        bell: true,
        apart: Apart::default(),
    }
}

/// A database on the server that has the schema, of which others are copies: to bring each up to date would
/// take most tests as long as what they are about. The first row of their feeds is the same.
async fn template(server: &str, connection: &mut sqlx::PgConnection) -> String {
    let mut digest = DefaultHasher::new();
    for migration in sqlx::migrate!("migrations/postgres").iter() {
        migration.checksum.hash(&mut digest);
    }
    let name = format!("template_{:016x}", digest.finish());
    execute(
        connection,
        format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})"),
    )
    .await;
    let there = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1")
        .bind(&name)
        .fetch_optional(&mut *connection)
        .await;
    if there.expect("an answer").is_none() {
        let begun = format!("{name}_begun");
        execute(
            connection,
            format!("DROP DATABASE IF EXISTS {begun} WITH (FORCE)"),
        )
        .await;
        execute(connection, format!("CREATE DATABASE {begun}")).await;
        let store = open(&beside(server, &begun)).await.expect("a store");
        store.migrate().await.expect("a schema");
        drop(store);
        execute(
            connection,
            format!("ALTER DATABASE {begun} RENAME TO {name}"),
        )
        .await;
    }
    execute(
        connection,
        format!("SELECT pg_advisory_unlock({TEMPLATE_LOCK})"),
    )
    .await;
    name
}

impl Database {
    /// A new one; on Postgres it has its schema already.
    pub(crate) fn fresh(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => {
                let folder = tempfile::tempdir().expect("a folder");
                let place = Place::Sqlite(folder.path().to_owned());
                Self {
                    place,
                    folder: Some(folder),
                    drop_with: None,
                }
            }
            Kind::Postgres => {
                let server = postgres_url();
                let name = format!("test_{}", uuid::Uuid::now_v7().simple());
                let (maker, copy) = (server.clone(), name.clone());
                let copying = async move |mut connection: sqlx::PgConnection| {
                    let template = template(&maker, &mut connection).await;
                    let statement = format!("CREATE DATABASE {copy} TEMPLATE {template}");
                    execute(&mut connection, statement).await;
                };
                on_server(&server, copying).expect("a database");
                Self {
                    place: beside(&server, &name),
                    folder: None,
                    drop_with: Some((server, name)),
                }
            }
        }
    }

    /// The same database, where commits ring no bell.
    pub(crate) fn silenced(&self) -> Place {
        match &self.place {
            Place::Postgres { url, .. } => Place::Postgres {
                url: url.clone(),
                bell: false,
                apart: Apart::default(),
            },
            place @ Place::Sqlite(_) => place.clone(),
        }
    }

    /// The store in it, its schema up to date.
    pub(crate) async fn store(&self) -> Arc<dyn Store> {
        let store = open(&self.place).await.expect("a store");
        store.migrate().await.expect("a schema");
        store
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        drop(self.folder.take());
        if let Some((server, name)) = self.drop_with.take() {
            // The cluster is thrown away in the end, so a database left behind does no harm.
            let _ = on_server(&server, async move |mut connection: sqlx::PgConnection| {
                execute(
                    &mut connection,
                    format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
                )
                .await;
            });
        }
    }
}
