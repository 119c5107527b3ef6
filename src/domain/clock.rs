//! Instants, and the promise of something that can tell them.

use chrono::{DateTime, Utc};

/// An instant to the microsecond, which is what both stores keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Before every instant that can be stored.
    pub const MIN: Self = Self(i64::MIN);
    /// After every instant that can be stored.
    pub const MAX: Self = Self(i64::MAX);

    /// The instant so many microseconds after the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The instant `micros` later, or the last one there is.
    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// The instant of a calendar; finer parts than a microsecond are dropped.
    pub fn from_utc(at: DateTime<Utc>) -> Self {
        Self(at.timestamp_micros())
    }

    /// The instant in a calendar; `None` beyond the calendar's own end.
    pub fn to_utc(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self.0)
    }
}

/// One look at the clock.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The wall time, as the database would tell it.
    pub now: Timestamp,
    /// Microseconds since the machine started, suspends included: what leases are counted in.
    pub boot: i64,
}

/// Whoever tells the time. One request reads it once.
pub trait Clock: Send + Sync {
    /// What the clock says.
    fn read(&self) -> Reading;
}
