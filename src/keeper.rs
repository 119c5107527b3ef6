//! The keeper: notes what time does to bans, and forgets what nobody needs any more.
//!
//! Every pod has one, and one of them works at a time: whoever finds something due takes the turn,
//! which goes with the pod that holds it. No decision waits for the keeper or depends on it: a ban
//! that is over decides nothing, noted or not.

mod sweep;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    feed::Feed,
    store::{Result, Store, Turn},
    telemetry::Counters,
};

/// How often it is looked whether anything is due: what is written meanwhile may be due soon.
const BEAT: Duration = Duration::from_millis(250);
/// How long the store is left alone after it failed.
const REST: Duration = Duration::from_secs(1);
/// How long feed rows and remembered answers are kept.
const KEPT: Duration = Duration::from_hours(24);
/// How often what is older is forgotten.
const TIDY: Duration = Duration::from_mins(10);

/// Keeps house until told to stop.
pub struct Keeper {
    store: Arc<dyn Store>,
    feed: Feed,
    counters: Arc<Counters>,
}

impl Keeper {
    /// A keeper of a store, timed by a feed's clock and telling it of what was written.
    pub const fn new(store: Arc<dyn Store>, feed: Feed, counters: Arc<Counters>) -> Self {
        Self {
            store,
            feed,
            counters,
        }
    }

    /// Works until told to stop; what is under way then is undone or done, never half.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.work() => {}
        }
    }

    async fn work(self) {
        // Before it has heard the database's clock, a pod does not know what time it is.
        self.feed.warm().await;
        let mut tidied = Instant::now();
        loop {
            let mut pause = self.sweep().await;
            if tidied.elapsed() >= TIDY {
                tidied = Instant::now();
                pause = self.tidy().await.map(|()| Duration::ZERO);
            }
            let pause = pause.unwrap_or_else(|error| {
                // The feed says aloud that the store is away.
                let error = error.with_causes();
                tracing::debug!(error, "the keeper could not work; trying again later");
                REST
            });
            sleep(pause).await;
        }
    }

    /// Forgets feed rows and answers that nobody will ask for any more.
    async fn tidy(&self) -> Result<()> {
        let Some(turn) = self.store.turn().await? else {
            return Ok(());
        };
        let kept = i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX);
        let before = self.feed.clock().read().now.plus_micros(-kept);
        let pruned = self.store.prune(before).await;
        end(turn, pruned).await
    }
}

/// Ends a turn, whatever came of it.
async fn end<T>(turn: Turn, result: Result<T>) -> Result<T> {
    turn.end().await;
    result
}
