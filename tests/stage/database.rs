//! An empty database for one test, gone when the test is over.

use bancheck::store::{Apart, Place, Store, open};
use std::sync::Arc;

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

fn psql(url: &str, statement: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        use sqlx::{AssertSqlSafe, Connection, Executor};
        let mut connection = sqlx::PgConnection::connect(url)
            .await
            .expect("the test server");
        connection
            .execute(AssertSqlSafe(statement.to_owned()))
            .await
            .expect("a statement");
    });
}

impl Database {
    /// A new one, without a schema.
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
                let maker = server.clone();
                let statement = format!("CREATE DATABASE {name}");
                // On a thread of its own: the test may be inside a runtime already.
                std::thread::spawn(move || psql(&maker, &statement))
                    .join()
                    .expect("a database");
                let (base, _) = server.rsplit_once('/').expect("postgres://host/database");
                let url = format!("{base}/{name}");
                let place = Place::Postgres {
                    url,
                    bell: true,
                    apart: Apart::default(),
                };
                Self {
                    place,
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
            let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            // The cluster is thrown away in the end, so a database left behind does no harm.
            let _ = std::thread::spawn(move || psql(&server, &statement)).join();
        }
    }
}
