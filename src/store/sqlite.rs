//! SQLite in a file of this process's own: one writer connection, an in-process bell.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use sqlx::{AnyPool, Executor, any::AnyPoolOptions, migrate::Migrator};
use tokio::sync::Notify;

use super::{
    FeedLink, Result, Tail,
    shared::{Engine, SqlStore, tail_with},
    sql::{self, Statements},
};
use crate::domain::revision::Revision;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// The name of the database file inside its folder.
const FILE: &str = "bancheck.db";
const READERS: u32 = 4;

struct Sqlite {
    writer: AnyPool,
    readers: AnyPool,
    bell: Arc<Notify>,
}

pub(super) async fn open(folder: &Path) -> Result<SqlStore> {
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}?mode=rwc", folder.join(FILE).display());
    let options = |connections| {
        AnyPoolOptions::new()
            .max_connections(connections)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // FULL: an acknowledged ban survives a power cut, not only a crash.
                    connection
                        .execute(
                            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                             PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON;
                             PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;
                             PRAGMA case_sensitive_like = ON;",
                        )
                        .await?;
                    Ok(())
                })
            })
    };
    // The writer goes first: only it may turn the file to WAL.
    let writer = options(1).connect(&url).await?;
    let readers = options(READERS).connect_lazy(&url)?;
    let engine = Sqlite {
        writer: writer.clone(),
        readers: readers.clone(),
        bell: Arc::new(Notify::new()),
    };
    Ok(SqlStore::new(
        Box::new(engine),
        &sql::SQLITE,
        writer,
        readers,
    ))
}

#[async_trait]
impl Engine for Sqlite {
    async fn migrate(&self) -> Result<()> {
        Ok(MIGRATIONS.run(&self.writer).await?)
    }

    async fn link(&self, say: &Arc<Statements>) -> Result<Box<dyn FeedLink>> {
        Ok(Box::new(Link {
            readers: self.readers.clone(),
            bell: Arc::clone(&self.bell),
            say: Arc::clone(say),
        }))
    }

    async fn ring(&self) -> Result<()> {
        self.bell.notify_one();
        Ok(())
    }
}

struct Link {
    readers: AnyPool,
    bell: Arc<Notify>,
    say: Arc<Statements>,
}

#[async_trait]
impl FeedLink for Link {
    async fn bell(&mut self) -> Result<()> {
        self.bell.notified().await;
        Ok(())
    }

    async fn tail(&mut self, from: Revision) -> Result<Tail> {
        tail_with(&self.readers, &self.say, from).await
    }
}
