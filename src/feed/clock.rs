//! The clock of a pod: boot time, which no one sets, moved to the database's time.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use rustix::time::{ClockId, clock_gettime};

use crate::domain::clock::{Clock, Reading, Timestamp};

/// Beyond this difference the clock steps; below it slews.
const STEP_MICROS: i64 = 1_000_000;
/// How much of a second the clock may slew in that second.
const SLEW_PER_MILLE: i64 = 1;

/// The clocks of the machine that a pod runs on, in microseconds.
pub trait Machine: Send + Sync {
    /// Since the machine started, suspends included: nobody sets it.
    fn boot(&self) -> i64;
    /// Since the Unix epoch, as far as the machine knows: anybody may set it.
    fn wall(&self) -> i64;
}

/// The machine that this process runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisMachine;

impl Machine for ThisMachine {
    fn boot(&self) -> i64 {
        micros(ClockId::Boottime)
    }

    fn wall(&self) -> i64 {
        micros(ClockId::Realtime)
    }
}

/// Tells the time as the database would, without asking it.
pub struct PodClock {
    machine: Arc<dyn Machine>,
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
    pub fn new(machine: Arc<dyn Machine>) -> Self {
        let boot = machine.boot();
        Self {
            offset: AtomicI64::new(machine.wall() - boot),
            corrected: AtomicI64::new(boot),
            machine,
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
    /// The clock of a pod on this machine.
    fn default() -> Self {
        Self::new(Arc::new(ThisMachine))
    }
}

impl Clock for PodClock {
    fn read(&self) -> Reading {
        let boot = self.machine.boot();
        let now = Timestamp::from_micros(boot + self.offset.load(Ordering::Relaxed));
        Reading { now, boot }
    }
}
