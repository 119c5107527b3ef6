//! Moving the log into the file beside whoever writes.
//!
//! SQLite would have it done by the commit that makes the log long: a sixth of an import, and on a slow disk
//! seconds for whoever bans somebody just then.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, MutexGuard, Notify},
    task::JoinSet,
    time::sleep,
};

use crate::store::{Result, pool::Pool};

/// How long commits are gathered: an import goes over the same pages again and again.
const GATHERED: Duration = Duration::from_secs(2);
/// What is read is read on, and what is written written.
const MOVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// The log of a file.
pub(super) struct Log {
    kept: Arc<Kept>,
    /// Ends with this.
    _mover: JoinSet<()>,
}

struct Kept {
    movers: Pool,
    writer: Pool,
    grown: Notify,
    /// Whoever has it moves the log; a second one SQLite would refuse.
    turn: Mutex<()>,
}

impl Log {
    /// Has the log of a file, which the `writer` makes longer, moved by one of the `movers`.
    pub(super) fn of(movers: Pool, writer: Pool) -> Self {
        let kept = Arc::new(Kept {
            movers,
            writer,
            grown: Notify::new(),
            turn: Mutex::default(),
        });
        let mut mover = JoinSet::new();
        mover.spawn(Arc::clone(&kept).keep_short());
        Self {
            kept,
            _mover: mover,
        }
    }

    /// Says that something was committed.
    pub(super) fn grew(&self) {
        self.kept.grown.notify_one();
    }

    /// Keeps it from being moved by anybody else.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.kept.turn.lock().await
    }
}

impl Kept {
    async fn keep_short(self: Arc<Self>) {
        loop {
            self.grown.notified().await;
            sleep(GATHERED).await;
            if let Err(error) = self.move_on().await {
                tracing::warn!(error = %error, "the database's log could not be moved into its file, and grows");
            }
        }
    }

    async fn move_on(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        self.movers.lend_bare().await?.batch(MOVE).await?;
        // What came meanwhile, while nothing more can: the log begins anew only where nothing is left of it when
        // the next transaction begins.
        Ok(self.writer.lend_bare().await?.batch(MOVE).await?)
    }
}
