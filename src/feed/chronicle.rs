//! What the feed has been through, counted for the telemetry.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a history was begun anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The rows followed are not in the feed any more: it was restored, or a standby was promoted.
    Fork,
    /// What comes after the rows followed was pruned.
    HistoryLost,
    /// Another server took over without a loss for this pod.
    Promotion,
    /// Found at start: the database is not the one that was there last time.
    PutBack,
}

impl Begun {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Fork,
        Self::HistoryLost,
        Self::Promotion,
        Self::PutBack,
    ];

    /// The word in a metric's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::HistoryLost => "history_lost",
            Self::Promotion => "promotion",
            Self::PutBack => "put_back",
        }
    }
}

/// How the read of a tenant ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its view was made.
    Done,
    /// The store did not give it.
    Failed,
    /// It is too heavy for the memory there is.
    Refused,
}

impl Ended {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Done, Self::Failed, Self::Refused];

    /// The word in a metric's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// Counts since the process began.
#[derive(Debug, Default)]
pub struct Chronicle {
    begun: [AtomicU64; Begun::ALL.len()],
    ended: [AtomicU64; Ended::ALL.len()],
    /// Rows that the feed held when it was heard last.
    rows: AtomicU64,
}

impl Chronicle {
    pub(super) fn begin(&self, why: Begun) {
        self.begun[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self, how: Ended) {
        self.ended[how as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn hold(&self, rows: u64) {
        self.rows.store(rows, Ordering::Relaxed);
    }

    /// How often a history was begun for this reason.
    pub fn begun(&self, why: Begun) -> u64 {
        self.begun[why as usize].load(Ordering::Relaxed)
    }

    /// How many reads of a tenant ended so.
    pub fn ended(&self, how: Ended) -> u64 {
        self.ended[how as usize].load(Ordering::Relaxed)
    }

    /// How many rows the feed held when it was heard last.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
}
