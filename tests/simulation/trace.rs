//! What happened, for whoever has to understand it, and what was wrong.

use std::{
    collections::VecDeque,
    fmt::{self, Write as _},
    time::Duration,
};

/// How much of a trace is told with a violation.
const TOLD: usize = 30;

/// What happened in a run, in its order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    /// The last events, or all of them where that was asked for.
    events: VecDeque<String>,
    /// Whether all are kept.
    whole: bool,
    /// A digest of all events: the same whenever the same seed is run.
    pub(crate) digest: u64,
    /// How many there were.
    pub(crate) length: usize,
    /// How many answers were judged.
    pub(crate) answers: usize,
    /// How many writes were acknowledged.
    pub(crate) writes: usize,
    /// How often the epoch was raised.
    pub(crate) raises: usize,
}

impl Trace {
    /// An empty one, of which all is kept or the end.
    pub(crate) fn new(whole: bool) -> Self {
        Self {
            whole,
            ..Self::default()
        }
    }

    /// Takes an event down.
    pub(crate) fn note(&mut self, at: Duration, event: fmt::Arguments<'_>) {
        let mut line = if self.whole || self.events.len() < TOLD {
            String::new()
        } else {
            self.events.pop_front().unwrap_or_default()
        };
        line.clear();
        // Writing to a string does not fail.
        let _ = write!(line, "{:>9.3} s  {event}", at.as_secs_f64());
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.length += 1;
        self.events.push_back(line);
    }
}

impl Trace {
    /// Where another run of the same seed first went otherwise.
    pub(crate) fn differs(&self, other: &Self) -> String {
        let both = self.events.iter().zip(&other.events);
        let first = both.take_while(|(one, other)| one == other).count();
        let around = |trace: &Self| {
            let events = trace.events.iter().skip(first.saturating_sub(5)).take(8);
            events.fold(String::new(), |text, event| format!("{text}  {event}\n"))
        };
        format!("{}and\n{}", around(self), around(other))
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.events {
            writeln!(f, "  {event}")?;
        }
        Ok(())
    }
}

/// A promise that was broken.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    /// The run that shows it.
    pub(crate) seed: u64,
    /// Which promise: a clause, or a word for those that have no number.
    pub(crate) clause: &'static str,
    /// When, in the run's own time.
    pub(crate) at: Duration,
    /// What was seen.
    pub(crate) what: String,
    /// What led to it.
    pub(crate) trace: Trace,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            clause,
            at,
            what,
            trace,
        } = self;
        writeln!(
            f,
            "{clause} is broken at {:.3} s of seed {seed}:",
            at.as_secs_f64()
        )?;
        writeln!(f, "  {what}")?;
        writeln!(f, "the last events:\n{trace}")?;
        write!(
            f,
            "play it again, every event told: BANCHECK_SIMULATION_SEED={seed} cargo test --test \
             simulation thousands -- --nocapture"
        )
    }
}
