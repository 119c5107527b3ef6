//! Postgres: pools for reading and writing, and one connection that listens for the bell.
//!
//! Whoever we are when we connect, we write as `bancheck_app` and read as `bancheck_reader`, which own
//! nothing: neither can change the schema, nor what has happened (`ban_events`), and row security shows
//! them the rows that their transaction says it is about. Only the schema is brought up to date as who
//! connects.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{Connection, Executor, Row, any::AnyRow, migrate::Migrator, postgres::PgListener};
use tokio::time::timeout;

use super::{
    Apart, FeedLink, Result, StoreError, Tail,
    keys::Shown,
    pool::{Habits, Pool, Whose, silent},
    schema::{APPLIED, Schema},
    shared::{Engine, SqlStore},
    sql::{self, Statements},
    tail::{tail_bounds, tail_of, tail_with},
};
use crate::domain::revision::{Anchor, Revision};

static MIGRATIONS: Migrator = Migrator {
    locking: false,
    ..sqlx::migrate!("migrations/postgres")
};

/// The channel of the bell.
const BELL: &str = "bancheck_feed";
/// A transaction of its own that need not reach the disk: NOTIFY holds a lock of the whole cluster
/// while it commits, and a bell that is lost costs half a second.
const RING: &str = "BEGIN; SET LOCAL synchronous_commit = off; NOTIFY bancheck_feed; COMMIT";
/// What in a URL says that statements are not to be kept prepared.
const NO_STATEMENTS: &str = "statement-cache-capacity=0";
const WRITERS: usize = 8;
const READERS: usize = 8;
/// How long a statement that writes may be silent: longer than it may wait for a lock, and short
/// enough that a write is refused within three seconds.
const WRITING: Duration = Duration::from_millis(2_200);
/// How long one that reads may be.
const READING: Duration = Duration::from_secs(3);
/// How long changes of the schema may take.
const MIGRATING: Duration = Duration::from_mins(10);
/// One database's migrations at a time.
const MIGRATION_LOCK: i64 = 7_166_011_403_264_135_526;

/// Begins what a statement that stands alone runs in.
const BEGIN_AS_LOGIN: &str = "BEGIN READ ONLY";
const BEGIN_AS_READER: &str = "BEGIN READ ONLY; \
    SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL ROLE bancheck_reader";
/// Who follows the feed, of all tenants, on a connection that does nothing else and is no pooler's:
/// there a transaction around each tail would cost more than the tail.
const AS_FOLLOWER: &str = "SET ROLE bancheck_reader; SET bancheck.tenant = '*'";

struct Postgres {
    /// Where is read, and listened.
    url: String,
    bell: bool,
    migrators: Pool,
    writers: Pool,
    readers: Pool,
}

pub(super) fn open(url: &str, bell: bool, apart: &Apart) -> Result<SqlStore> {
    sqlx::any::install_default_drivers();
    let pool = |url: &str, most, answer, lone| {
        Pool::new(
            url,
            Habits {
                most,
                greeting: None,
                lone: Some(lone),
                says_whose: true,
                // Asked for by whoever puts a pooler between that gives each transaction another
                // server.
                prepares: !url.contains(NO_STATEMENTS),
                answer,
                remote: true,
            },
        )
    };
    let migrate_url = apart.migrate_url.as_deref().unwrap_or(url);
    let reader_url = apart.reader_url.as_deref().unwrap_or(url);
    let migrators = pool(migrate_url, 1, READING, BEGIN_AS_LOGIN)?;
    // Nothing is written but in a transaction.
    let writers = pool(url, WRITERS, WRITING, BEGIN_AS_LOGIN)?;
    let readers = pool(reader_url, READERS, READING, BEGIN_AS_READER)?;
    let engine = Postgres {
        url: reader_url.to_owned(),
        bell,
        migrators,
        writers: writers.clone(),
        readers: readers.clone(),
    };
    Ok(SqlStore::new(
        Box::new(engine),
        &sql::POSTGRES,
        writers,
        readers,
    ))
}

impl Postgres {
    /// Whether the schema is what this program works with, which needs no lock and no right to change it.
    async fn is_migrated(&self) -> Result<bool> {
        let mut lent = self.migrators.lend(Whose::Nobody).await?;
        let applied = sqlx::query(APPLIED).fetch_all(&mut lent).await;
        // So that it is closed: nobody else asks anything of this pool.
        lent.itself()?;
        match applied {
            Ok(applied) => Ok(Schema::of(&applied, &MIGRATIONS)?.is_there()),
            // There is no such table.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn bring_up_to_date(&self) -> Result<()> {
        let mut lent = self.migrators.lend_bare().await?;
        let migrated = async {
            let mut tx = lent.itself()?.begin().await?;
            // A lock of the transaction's own goes with it; sqlx's of the session might stay
            // behind in a pooler.
            sqlx::query("SELECT pg_advisory_xact_lock($1)")
                .bind(MIGRATION_LOCK)
                .execute(&mut *tx)
                .await?;
            MIGRATIONS.run_direct(None, &mut *tx, false).await?;
            // A pooler would hand what sqlx prepared to the next who prepares.
            sqlx::raw_sql("DEALLOCATE ALL").execute(&mut *tx).await?;
            Ok(tx.commit().await?)
        };
        let migrated: Result<()> = timeout(MIGRATING, migrated)
            .await
            .unwrap_or_else(|_| Err(silent().into()));
        // The connection goes, for sqlx still counts on what was prepared.
        migrated
    }

    /// Becomes who writes and who reads, for once, so that it is known at the start whether we may.
    async fn is_who_it_should_be(&self) -> Result<()> {
        for (pool, begin, role) in [
            (&self.writers, sql::POSTGRES.begin_write, "bancheck_app"),
            (&self.readers, sql::POSTGRES.begin_read, "bancheck_reader"),
        ] {
            let begun = pool.begin(begin, Whose::Nobody).await;
            let mut tx = begun.map_err(|error| match error.as_database_error() {
                Some(cause) if cause.code().is_some_and(|code| code == "42501") => {
                    StoreError::NotOurRole(role)
                }
                _ => error.into(),
            })?;
            let row = sqlx::query(
                "SELECT CAST(rolsuper AS int) AS almighty FROM pg_roles WHERE rolname = session_user",
            )
            .fetch_one(&mut tx)
            .await?;
            let almighty: i32 = row.try_get("almighty")?;
            tx.rollback().await?;
            if almighty != 0 {
                tracing::warn!(
                    "a superuser connects to Postgres: give bancheck a role that owns no more than \
                     its own tables"
                );
                break;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Engine for Postgres {
    async fn migrate(&self) -> Result<()> {
        if !self.is_migrated().await? {
            self.bring_up_to_date().await?;
        }
        self.is_who_it_should_be().await
    }

    async fn link(&self, say: &Arc<Statements>, ring: &Arc<Shown>) -> Result<Box<dyn FeedLink>> {
        let (say, ring) = (Arc::clone(say), Arc::clone(ring));
        if !self.bell {
            // Who hears no bell needs no session of its own, which a pooler would not give.
            let readers = self.readers.clone();
            return Ok(Box::new(Polling { readers, say, ring }));
        }
        let listener = timeout(READING, async {
            let mut listener = PgListener::connect(&self.url).await?;
            // It would reconnect by itself and lose what was said meanwhile.
            listener.eager_reconnect(false);
            listener.execute(AS_FOLLOWER).await?;
            listener.listen(BELL).await?;
            Ok::<_, sqlx::Error>(listener)
        });
        let listener = listener.await.unwrap_or_else(|_| Err(silent()))?;
        Ok(Box::new(Listening {
            listener,
            midway: false,
            say,
            ring,
        }))
    }

    async fn ring(&self) -> Result<()> {
        if !self.bell {
            return Ok(());
        }
        // A transaction of its own that need not reach the disk: NOTIFY holds a lock of the whole
        // cluster while it commits, and a bell that is lost costs half a second.
        Ok(self.writers.lend_bare().await?.batch(RING).await?)
    }

    async fn scrub(&self) -> Result<()> {
        // VACUUM does, in its own time.
        Ok(())
    }

    async fn server(&self) -> Result<Option<String>> {
        // The name of a file of its log begins with the timeline; the identifier may be kept from us.
        let timeline: String =
            sqlx::query("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline")
                .fetch_one(&mut self.readers.lend(Whose::Nobody).await?)
                .await?
                .try_get("timeline")?;
        let identifier =
            sqlx::query("SELECT CAST(system_identifier AS text) AS id FROM pg_control_system()")
                .fetch_one(&mut self.readers.lend(Whose::Nobody).await?)
                .await;
        let identifier: String = match identifier {
            Ok(row) => row.try_get("id")?,
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => {
                String::new()
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Some(format!("{identifier}/{timeline}")))
    }

    fn is_ours_alone(&self) -> bool {
        false
    }

    fn witness(&self, _applied: Anchor) {}

    fn witnessed(&self) -> Option<Anchor> {
        None
    }
}

/// Hears the bell, on a connection of its own.
struct Listening {
    listener: PgListener,
    /// Whether a tail was asked for whose answer has not been read to its end: the bell would take
    /// the rest of it for its own.
    midway: bool,
    say: Arc<Statements>,
    ring: Arc<Shown>,
}

impl Listening {
    fn must_be_whole(&self) -> Result<()> {
        if self.midway {
            return Err(StoreError::Unavailable(sqlx::Error::WorkerCrashed));
        }
        Ok(())
    }
}

#[async_trait]
impl FeedLink for Listening {
    async fn bell(&mut self) -> Result<()> {
        self.must_be_whole()?;
        match self.listener.try_recv().await? {
            Some(_) => {
                // Bells that rang together are one.
                while self.listener.next_buffered().is_some() {}
                Ok(())
            }
            None => Err(StoreError::Unavailable(sqlx::Error::WorkerCrashed)),
        }
    }

    async fn tail(&mut self, from: Revision) -> Result<Tail> {
        // On the listener's own connection, so that a dead socket shows.
        self.must_be_whole()?;
        self.midway = true;
        let (from, rows, bytes) = tail_bounds(from)?;
        let found = sqlx::query(self.say.tail.clone())
            .bind(from)
            .bind(rows)
            .bind(bytes)
            .fetch_all(&mut self.listener);
        let found = timeout(READING, found).await.map_err(|_| silent())??;
        self.midway = false;
        let found = found
            .iter()
            .map(AnyRow::try_from)
            .collect::<Result<Vec<_>, sqlx::Error>>()?;
        tail_of(&found, &self.ring)
    }
}

/// Hears no bell.
struct Polling {
    readers: Pool,
    say: Arc<Statements>,
    ring: Arc<Shown>,
}

#[async_trait]
impl FeedLink for Polling {
    async fn bell(&mut self) -> Result<()> {
        std::future::pending().await
    }

    async fn tail(&mut self, from: Revision) -> Result<Tail> {
        tail_with(&self.readers, &self.say, &self.ring, from).await
    }
}
