//! The clock of a pod: boot time, which no one sets, moved to the database's time.

use std::sync::atomic::{AtomicI64, Ordering};

use rustix::time::{ClockId, clock_gettime};

use crate::domain::clock::{Clock, Reading, Timestamp};

/// Beyond this difference the clock steps; below it slews.
const STEP_MICROS: i64 = 1_000_000;
/// How much of a second the clock may slew in that second.
const SLEW_PER_MILLE: i64 = 1;

/// Tells the time as the database would, without asking it.
#[derive(Debug)]
pub struct PodClock {
    /// Database time less boot time, in microseconds; written by the feed task only.
    offset: AtomicI64,
    /// Boot time of the last correction; written by the feed task only.
    corrected: AtomicI64,
}

fn micros(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}

impl PodClock {
    /// A clock that tells this machine's own time until it hears the database's.
    pub fn new() -> Self {
        let boot = micros(ClockId::Boottime);
        Self {
            offset: AtomicI64::new(micros(ClockId::Realtime) - boot),
            corrected: AtomicI64::new(boot),
        }
    }

    /// Takes note that the database's clock said `theirs` between these two moments of boot time.
    ///
    /// The answer may be off by half the round trip, so only what lies beyond that is corrected.
    pub(super) fn heard(&self, theirs: Timestamp, sent: i64, received: i64) {
        let offset = self.offset.load(Ordering::Relaxed);
        let error = theirs.micros() - (sent + (received - sent) / 2) - offset;
        let doubt = (received - sent) / 2;
        let elapsed = received - self.corrected.swap(received, Ordering::Relaxed);
        let correction = if error.abs() > STEP_MICROS + doubt {
            tracing::warn!(
                error_ms = error / 1_000,
                "stepped the clock to the database's"
            );
            error
        } else if error.abs() > doubt {
            let most = (elapsed * SLEW_PER_MILLE / 1_000).max(0);
            error.clamp(-most, most)
        } else {
            0
        };
        self.offset.store(offset + correction, Ordering::Relaxed);
    }
}

impl Default for PodClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for PodClock {
    fn read(&self) -> Reading {
        let boot = micros(ClockId::Boottime);
        let now = Timestamp::from_micros(boot + self.offset.load(Ordering::Relaxed));
        Reading { now, boot }
    }
}
