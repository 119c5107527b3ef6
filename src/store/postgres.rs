//! Postgres: pools for reading and writing, and one connection that listens for the bell.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{
    AnyPool, Executor, Row,
    any::{AnyPoolOptions, AnyRow},
    migrate::Migrator,
    postgres::PgListener,
};

use super::{
    FeedLink, Result, StoreError, Tail,
    shared::{Engine, SqlStore, tail_bounds, tail_of},
    sql::{self, Statements},
};
use crate::domain::revision::{Anchor, Revision};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// The channel of the bell.
const BELL: &str = "bancheck_feed";
const WRITERS: u32 = 8;
const READERS: u32 = 8;
/// How long a connection of the pool is waited for; a write answers within three seconds.
const ACQUIRE: Duration = Duration::from_millis(2_500);

struct Postgres {
    url: String,
    bell: bool,
    writers: AnyPool,
}

pub(super) fn open(url: &str, bell: bool) -> Result<SqlStore> {
    sqlx::any::install_default_drivers();
    let options = |connections| {
        AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE)
            .idle_timeout(Duration::from_mins(10))
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // Whatever the role's default: an acknowledged ban is on disk. A pod that was
                    // stopped midway must not keep its tenant's row from all the others.
                    connection
                        .execute(
                            "SET synchronous_commit = on; SET lock_timeout = '2s';
                             SET idle_in_transaction_session_timeout = '3s'",
                        )
                        .await?;
                    Ok(())
                })
            })
    };
    let writers = options(WRITERS).connect_lazy(url)?;
    let readers = options(READERS).connect_lazy(url)?;
    let engine = Postgres {
        url: url.to_owned(),
        bell,
        writers: writers.clone(),
    };
    Ok(SqlStore::new(
        Box::new(engine),
        &sql::POSTGRES,
        writers,
        readers,
    ))
}

#[async_trait]
impl Engine for Postgres {
    async fn migrate(&self) -> Result<()> {
        Ok(MIGRATIONS.run(&self.writers).await?)
    }

    async fn link(&self, say: &Arc<Statements>) -> Result<Box<dyn FeedLink>> {
        let mut listener = PgListener::connect(&self.url).await?;
        // It would reconnect by itself and lose what was said meanwhile.
        listener.eager_reconnect(false);
        if self.bell {
            listener.listen(BELL).await?;
        }
        Ok(Box::new(Link {
            listener,
            bell: self.bell,
            say: Arc::clone(say),
        }))
    }

    async fn ring(&self) -> Result<()> {
        if !self.bell {
            return Ok(());
        }
        // A transaction of its own that need not reach the disk: NOTIFY holds a lock of the whole
        // cluster while it commits, and a bell that is lost costs half a second.
        let mut tx = self.writers.begin().await?;
        tx.execute("SET LOCAL synchronous_commit = off").await?;
        tx.execute("NOTIFY bancheck_feed").await?;
        Ok(tx.commit().await?)
    }

    async fn server(&self) -> Result<Option<String>> {
        // The name of a file of its log begins with the timeline; the identifier may be kept from us.
        let timeline: String =
            sqlx::query("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline")
                .fetch_one(&self.writers)
                .await?
                .try_get("timeline")?;
        let identifier =
            sqlx::query("SELECT CAST(system_identifier AS text) AS id FROM pg_control_system()")
                .fetch_one(&self.writers)
                .await;
        let identifier: String = match identifier {
            Ok(row) => row.try_get("id")?,
            Err(sqlx::Error::Database(_)) => String::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(format!("{identifier}/{timeline}")))
    }

    fn witness(&self, _applied: Anchor) {}

    fn witnessed(&self) -> Option<Anchor> {
        None
    }
}

struct Link {
    listener: PgListener,
    bell: bool,
    say: Arc<Statements>,
}

#[async_trait]
impl FeedLink for Link {
    async fn bell(&mut self) -> Result<()> {
        if !self.bell {
            return std::future::pending().await;
        }
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
        let (from, rows, bytes) = tail_bounds(from)?;
        let found = sqlx::query(self.say.tail.clone())
            .bind(from)
            .bind(rows)
            .bind(bytes)
            .fetch_all(&mut self.listener)
            .await?;
        let found = found
            .iter()
            .map(AnyRow::try_from)
            .collect::<Result<Vec<_>, sqlx::Error>>()?;
        tail_of(&found)
    }
}
