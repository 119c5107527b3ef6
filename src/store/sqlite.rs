//! SQLite in a file of this process's own: one writer connection, an in-process bell.

use std::{fs::File, os::unix::fs::FileExt, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{Row, migrate::Migrator};
use tokio::sync::Notify;

use super::{
    FeedLink, Result, Tail,
    keys::Shown,
    pool::{Habits, Pool},
    schema::{APPLIED, Schema},
    shared::{Engine, SqlStore},
    sql::{self, Statements},
    tail::tail_with,
};
use crate::domain::revision::{Anchor, Nonce, Revision};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// The name of the database file inside its folder.
const FILE: &str = "bancheck.db";
/// Whether anything has been done to it.
const HAS_APPLIED: &str =
    "SELECT count(*) AS there FROM sqlite_master WHERE name = '_sqlx_migrations'";
/// Beside it: the newest row of its feed that was applied, in decimals.
const SIDECAR: &str = "feed.position";
const SIDECAR_BYTES: usize = 32;
const READERS: usize = 4;
/// How a connection begins. FULL: an acknowledged ban survives a power cut, not only a crash. The log is
/// moved into the file every 64 MiB, not every 4: an import touches the same pages over and over. Not later,
/// for whoever commits then waits for it, on a disk of 3 000 writes a second for most of [`ANSWER`].
macro_rules! greeting {
    (cache of $kib:literal KiB) => {
        concat!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;
            PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA case_sensitive_like = ON;
            PRAGMA secure_delete = ON; PRAGMA wal_autocheckpoint = 16384; PRAGMA cache_size = -",
            $kib
        )
    };
}
/// An import goes over the same pages of its indexes again and again.
const WRITER: &str = greeting!(cache of 65536 KiB);
/// What is read of a file is in the system's cache as well, and mostly read once.
const READER: &str = greeting!(cache of 2048 KiB);
const SCRUB: &str = "PRAGMA wal_checkpoint(TRUNCATE)";
/// How long a disk may take over a statement.
const ANSWER: Duration = Duration::from_secs(3);

struct Sqlite {
    writer: Pool,
    readers: Pool,
    bell: Arc<Notify>,
    sidecar: File,
}

pub(super) fn is_there(folder: &Path) -> bool {
    folder.join(FILE).is_file()
}

pub(super) async fn open(folder: &Path) -> Result<SqlStore> {
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}?mode=rwc", folder.join(FILE).display());
    let habits = |most, greeting| Habits {
        most,
        greeting: Some(greeting),
        lone: None,
        says_whose: false,
        prepares: true,
        answer: ANSWER,
        remote: false,
    };
    let writer = Pool::new(&url, habits(1, WRITER))?;
    let readers = Pool::new(&url, habits(READERS, READER))?;
    // The writer goes first: only it may turn the file to WAL.
    drop(writer.lend_bare().await?);
    let sidecar = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(folder.join(SIDECAR))
        .map_err(sqlx::Error::Io)?;
    let engine = Sqlite {
        writer: writer.clone(),
        readers: readers.clone(),
        bell: Arc::new(Notify::new()),
        sidecar,
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
        let mut lent = self.writer.lend_bare().await?;
        let there: i64 = sqlx::query(HAS_APPLIED)
            .fetch_one(&mut lent)
            .await?
            .try_get("there")?;
        if there > 0 {
            let applied = sqlx::query(APPLIED).fetch_all(&mut lent).await?;
            if Schema::of(&applied, &MIGRATIONS)?.is_there() {
                return Ok(());
            }
        }
        MIGRATIONS.run_direct(None, lent.itself()?, false).await?;
        lent.done();
        Ok(())
    }

    async fn link(&self, say: &Arc<Statements>, ring: &Arc<Shown>) -> Result<Box<dyn FeedLink>> {
        Ok(Box::new(Link {
            readers: self.readers.clone(),
            bell: Arc::clone(&self.bell),
            say: Arc::clone(say),
            ring: Arc::clone(ring),
        }))
    }

    async fn ring(&self) -> Result<()> {
        self.bell.notify_one();
        Ok(())
    }

    async fn scrub(&self) -> Result<()> {
        // Deleted rows are overwritten in the file, and stand in its log until that is begun anew.
        Ok(self.writer.lend_bare().await?.batch(SCRUB).await?)
    }

    async fn server(&self) -> Result<Option<String>> {
        Ok(None)
    }

    fn is_ours_alone(&self) -> bool {
        true
    }

    fn witness(&self, applied: Anchor) {
        let line = format!("{:020} {:010}\n", applied.revision.0, applied.nonce.0);
        // Lost or torn, a copy put back is not noticed at the next start: no reason to fail now.
        let _ = self.sidecar.write_all_at(line.as_bytes(), 0);
    }

    fn witnessed(&self) -> Option<Anchor> {
        let mut line = [0; SIDECAR_BYTES];
        self.sidecar.read_exact_at(&mut line, 0).ok()?;
        let (revision, nonce) = std::str::from_utf8(&line)
            .ok()?
            .trim_end()
            .split_once(' ')?;
        Some(Anchor {
            revision: Revision(revision.parse().ok()?),
            nonce: Nonce(nonce.parse().ok()?),
        })
    }
}

struct Link {
    readers: Pool,
    bell: Arc<Notify>,
    say: Arc<Statements>,
    ring: Arc<Shown>,
}

#[async_trait]
impl FeedLink for Link {
    async fn bell(&mut self) -> Result<()> {
        self.bell.notified().await;
        Ok(())
    }

    async fn tail(&mut self, from: Revision) -> Result<Tail> {
        tail_with(&self.readers, &self.say, &self.ring, from).await
    }
}
