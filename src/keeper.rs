//! The keeper: notes what time does to bans and exceptions, and forgets what nobody needs any more.
//!
//! Every pod has one, and one of them works at a time: whoever finds something due takes the turn,
//! which goes with the pod that holds it. No decision waits for the keeper or depends on it: a ban
//! that is over decides nothing, noted or not.

mod purge;
mod sweep;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{clock::Timestamp, revision::Nonce},
    feed::Feed,
    store::{Agenda, Result, Store, Turn},
    telemetry::Counters,
};

/// How long after its instant something is noted at the earliest: pods' clocks differ by less, so a
/// ban's end is in no view before each of them has seen it by its own clock.
const GRACE_MICROS: i64 = 200_000;
/// How often it is looked whether anything is due: what is written meanwhile may be due soon.
const BEAT: Duration = Duration::from_millis(250);
/// How long a turn lasts, but for the steps that are under way then.
const TURN: Duration = Duration::from_secs(2);
/// How long the store is left alone after it failed.
const REST: Duration = Duration::from_secs(1);
/// How long feed rows and remembered answers are kept.
const KEPT: Duration = Duration::from_hours(24);
/// How often what is older is forgotten, for at most half of that time.
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
        let mut tidied: Option<Instant> = None;
        loop {
            let mut pause = self.look().await;
            if tidied.is_none_or(|tidied| tidied.elapsed() >= TIDY) {
                tidied = Some(Instant::now());
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

    /// Does what there is to do, and tells how long there will be nothing.
    async fn look(&self) -> Result<Duration> {
        let agenda = self.store.agenda().await?;
        let now = self.feed.clock().read().now;
        let late = agenda.due.map_or(0, |due| now.micros() - due.micros());
        self.counters.keeping.lags(late);
        let early = u64::try_from(GRACE_MICROS - late).unwrap_or_default();
        if early > 0 && !agenda.dropped && !agenda.deleted {
            return Ok(match agenda.due {
                Some(_) => Duration::from_micros(early).min(BEAT),
                None => BEAT,
            });
        }
        let Some(turn) = self.store.turn().await? else {
            return Ok(BEAT);
        };
        let done = self.take_turn(&agenda, now).await;
        end(turn, done).await
    }

    /// Does some of what there is to do.
    async fn take_turn(&self, agenda: &Agenda, now: Timestamp) -> Result<Duration> {
        let swept = self.sweep(now.plus_micros(-GRACE_MICROS)).await?;
        if agenda.dropped {
            self.clear().await?;
        }
        if agenda.deleted {
            self.purge_tenants().await?;
        }
        // What came due meanwhile, or was too much for one turn, is looked for at once.
        let busy = swept || agenda.dropped || agenda.deleted;
        Ok(if busy { Duration::ZERO } else { BEAT })
    }

    /// Forgets feed rows and answers that nobody will ask for any more, and ended bans that their
    /// tenant does not want to keep.
    async fn tidy(&self) -> Result<()> {
        let Some(turn) = self.store.turn().await? else {
            return Ok(());
        };
        let kept = i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX);
        let now = self.feed.clock().read().now;
        let before = now.plus_micros(-kept);
        let tidied = async {
            // As long as it is remembered that an import was begun, it can be gone on with.
            self.store.drop_staged(before, now).await?;
            self.store.prune(before).await?;
            self.purge_ended(TIDY / 2).await
        };
        let tidied = tidied.await;
        end(turn, tidied).await
    }
}

/// The mark of a feed row.
fn nonce() -> Nonce {
    let mut nonce = [0; 4];
    // Without randomness the row bears a mark that others may bear.
    let _ = getrandom::fill(&mut nonce);
    Nonce(u32::from_be_bytes(nonce))
}

/// Ends a turn, whatever came of it.
async fn end<T>(turn: Turn, result: Result<T>) -> Result<T> {
    turn.end().await;
    result
}
