//! The clock of a pod: boot time, which no one sets, moved to the database's time, so that all pods
//! compare times alike.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use rustix::time::{ClockId, clock_gettime};

use crate::{
    domain::clock::{Clock, Reading, Timestamp},
    teeth::{Bug, bites},
};

/// Beyond this difference the clock steps; below it slews.
const STEP_MICROS: i64 = 1_000_000;
/// How much of a second the clock may slew in that second.
const SLEW_PER_MILLE: i64 = 1;
/// How long a quick answer is worth more than a later, slower one.
const MINUTE_MICROS: i64 = 60_000_000;

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

fn micros(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}

impl Machine for ThisMachine {
    fn boot(&self) -> i64 {
        micros(ClockId::Boottime)
    }

    fn wall(&self) -> i64 {
        micros(ClockId::Realtime)
    }
}

/// What one answer of the database told of its clock.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Boot time at which it came.
    at: i64,
    /// Database time less boot time, by this answer.
    offset: i64,
    /// By how much that may be wrong: half the round trip.
    doubt: i64,
}

/// How far the database's clock is from boot time, as far as answers tell.
#[derive(Debug)]
struct Estimate {
    /// The answers of the last minute of which no later one was as quick.
    samples: VecDeque<Sample>,
    /// Boot time of the last correction.
    corrected: Option<i64>,
    /// By how much the offset in use may be wrong; the machine's own word may be wrong by anything.
    doubt: i64,
}

impl Default for Estimate {
    fn default() -> Self {
        Self {
            samples: VecDeque::new(),
            corrected: None,
            doubt: i64::MAX,
        }
    }
}

impl Estimate {
    /// The offset after an answer, given the one in use.
    fn after(&mut self, sample: Sample, used: i64) -> i64 {
        let Sample { at, offset, doubt } = sample;
        // The clock at the other end was set, or is another one: what was told before is void.
        self.samples
            .retain(|old| (old.offset - offset).abs() <= old.doubt + doubt + STEP_MICROS / 1_000);
        while self.samples.back().is_some_and(|last| last.doubt >= doubt) {
            self.samples.pop_back();
        }
        self.samples.push_back(sample);
        while self
            .samples
            .front()
            .is_some_and(|first| first.at < at - MINUTE_MICROS)
        {
            self.samples.pop_front();
        }
        let best = self.samples.front().copied().unwrap_or(sample);
        let error = best.offset - used;
        let elapsed = self.corrected.map_or(0, |last| at - last).max(0);
        self.corrected = Some(at);
        if error.abs() <= best.doubt {
            self.doubt = self.doubt.min(best.doubt + error.abs());
            return used;
        }
        // What was never known any better is not worth a gentle correction.
        let known = error.abs() > self.doubt.saturating_add(best.doubt);
        if known && error.abs() <= STEP_MICROS + best.doubt {
            let most = elapsed * SLEW_PER_MILLE / 1_000;
            return used + error.clamp(-most, most);
        }
        if error.abs() > STEP_MICROS {
            tracing::warn!(
                error_ms = error / 1_000,
                "stepped the clock to the database's"
            );
        }
        self.doubt = best.doubt;
        best.offset
    }
}

/// Tells the time as the database would, without asking it. It never goes back: where it is too
/// fast it stands still until the time has come.
pub struct PodClock {
    machine: Arc<dyn Machine>,
    estimate: Mutex<Estimate>,
    /// Odd while the two below are being written; a reader whose look was crossed looks again.
    version: AtomicU64,
    /// Database time less boot time, in microseconds.
    offset: AtomicI64,
    /// The latest instant that may have been told under an earlier offset.
    floor: AtomicI64,
}

impl PodClock {
    /// A clock that tells a machine's own time until it hears the database's.
    pub fn new(machine: Arc<dyn Machine>) -> Self {
        Self {
            offset: AtomicI64::new(machine.wall() - machine.boot()),
            machine,
            estimate: Mutex::default(),
            version: AtomicU64::new(0),
            floor: AtomicI64::new(i64::MIN),
        }
    }

    fn boot(&self) -> i64 {
        if bites(Bug::WallClockInTheLease) {
            return self.machine.wall();
        }
        self.machine.boot()
    }

    /// Takes note that the database's clock said `theirs` between these two moments of boot time.
    pub(super) fn heard(&self, theirs: Timestamp, sent: i64, received: i64) {
        let doubt = (received - sent) / 2;
        let sample = Sample {
            at: received,
            offset: theirs.micros() - (sent + doubt),
            doubt,
        };
        let used = self.offset.load(Ordering::SeqCst);
        let mut estimate = self.estimate.lock().unwrap_or_else(PoisonError::into_inner);
        let first = estimate.corrected.is_none();
        let offset = estimate.after(sample, used);
        if offset == used {
            return;
        }
        self.version.fetch_add(1, Ordering::SeqCst);
        if !first {
            // Nobody who looked before now was told more than this. What the machine itself said at
            // first binds nobody: hours ahead, the clock would stand still for hours.
            let told = self.boot() + used;
            self.floor.fetch_max(told, Ordering::SeqCst);
        }
        self.offset.store(offset, Ordering::SeqCst);
        self.version.fetch_add(1, Ordering::SeqCst);
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
        loop {
            let version = self.version.load(Ordering::SeqCst);
            let (offset, floor) = (
                self.offset.load(Ordering::SeqCst),
                self.floor.load(Ordering::SeqCst),
            );
            let boot = self.boot();
            if version.is_multiple_of(2) && version == self.version.load(Ordering::SeqCst) {
                let now = Timestamp::from_micros((boot + offset).max(floor));
                return Reading { now, boot };
            }
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// A machine whose clocks are set by hand.
    #[derive(Default)]
    struct ByHand {
        boot: AtomicI64,
        wall: AtomicI64,
    }

    impl ByHand {
        fn pass(&self, micros: i64) {
            self.boot.fetch_add(micros, Ordering::SeqCst);
        }
    }

    impl Machine for ByHand {
        fn boot(&self) -> i64 {
            self.boot.load(Ordering::SeqCst)
        }

        fn wall(&self) -> i64 {
            self.wall.load(Ordering::SeqCst)
        }
    }

    fn clock() -> (Arc<ByHand>, PodClock) {
        let machine = Arc::new(ByHand::default());
        let clock = PodClock::new(Arc::clone(&machine) as Arc<dyn Machine>);
        (machine, clock)
    }

    /// Has the clock hear that the database is so far ahead of boot time, after a round trip.
    fn hear(machine: &ByHand, clock: &PodClock, ahead: i64, trip: i64) {
        let sent = machine.boot();
        machine.pass(trip);
        let theirs = Timestamp::from_micros(sent + trip / 2 + ahead);
        clock.heard(theirs, sent, machine.boot());
    }

    fn ahead(clock: &PodClock) -> i64 {
        let Reading { now, boot } = clock.read();
        now.micros() - boot
    }

    #[test]
    fn a_wall_clock_that_is_off_steps_to_the_databases_at_the_first_answer() {
        for wall in [-7_200_000_000, 4_500_000, 5_500_000, 7_200_000_000] {
            let machine = Arc::new(ByHand::default());
            machine.wall.store(wall, Ordering::SeqCst);
            let clock = PodClock::new(Arc::clone(&machine) as Arc<dyn Machine>);
            hear(&machine, &clock, 5_000_000, 300);
            assert_eq!(ahead(&clock), 5_000_000);
        }
    }

    #[test]
    fn a_slow_first_answer_is_mended_at_once_by_a_quick_one_and_unsettles_no_clock_that_is_right() {
        let (machine, clock) = clock();
        // It lies by 200 ms of the 300 ms that it may.
        hear(&machine, &clock, 10_000_000 + 200_000, 600_000);
        assert_eq!(ahead(&clock), 10_200_000);
        hear(&machine, &clock, 10_000_000, 300);
        machine.pass(200_000);
        assert_eq!(ahead(&clock), 10_000_000);

        let machine = Arc::new(ByHand::default());
        machine.wall.store(10_000_000, Ordering::SeqCst);
        let clock = PodClock::new(Arc::clone(&machine) as Arc<dyn Machine>);
        hear(&machine, &clock, 10_000_000 + 200_000, 600_000);
        assert_eq!(ahead(&clock), 10_000_000);
    }

    #[test]
    fn the_quickest_answer_of_the_last_minute_counts() {
        let (machine, clock) = clock();
        hear(&machine, &clock, 10_000_000, 200);
        for _ in 0..50 {
            // Slow ones that lie by nearly half their round trip.
            machine.pass(1_000_000);
            hear(&machine, &clock, 10_000_000 + 40_000, 90_000);
        }
        assert_eq!(ahead(&clock), 10_000_000);
    }

    #[test]
    fn a_small_difference_is_slewed_by_a_thousandth_at_most() {
        let (machine, clock) = clock();
        hear(&machine, &clock, 10_000_000, 200);
        for second in 1..=20 {
            machine.pass(1_000_000);
            hear(&machine, &clock, 10_010_000, 200);
            assert!(ahead(&clock) <= 10_000_000 + second * 1_001);
        }
        assert!((ahead(&clock) - 10_010_000).abs() <= 100);
    }

    #[test]
    fn time_never_goes_back_while_another_thread_sets_it() {
        let clock = Arc::new(PodClock::default());
        // What it says before it has heard anything binds nobody.
        let boot = ThisMachine.boot();
        clock.heard(Timestamp::from_micros(boot), boot, boot);
        let stop = Arc::new(AtomicBool::new(false));
        let reader = {
            let (clock, stop) = (Arc::clone(&clock), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut last = clock.read().now;
                while !stop.load(Ordering::SeqCst) {
                    let now = clock.read().now;
                    assert!(now >= last, "{last:?} then {now:?}");
                    last = now;
                }
            })
        };
        for round in 0..20_000 {
            let boot = ThisMachine.boot();
            // Now an hour ahead, now back.
            let ahead = if round % 2 == 0 { 3_600_000_000 } else { 0 };
            clock.heard(Timestamp::from_micros(boot + ahead), boot, boot);
        }
        stop.store(true, Ordering::SeqCst);
        reader.join().expect("time never goes back");
    }

    #[test]
    fn a_clock_that_was_too_fast_stands_still_until_the_time_has_come() {
        let (machine, clock) = clock();
        hear(&machine, &clock, 60_000_000, 200);
        let before = clock.read().now;
        hear(&machine, &clock, 50_000_000, 200);
        assert!(clock.read().now >= before);
        machine.pass(11_000_000);
        assert_eq!(ahead(&clock), 50_000_000);
    }
}
