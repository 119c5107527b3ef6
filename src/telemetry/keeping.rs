//! What the keeper counts.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::store::Swept;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SweptLabels {
    event: &'static str,
}

/// How house is kept.
pub struct Keeping {
    started: Counter<u64, AtomicU64>,
    expired: Counter<u64, AtomicU64>,
    exceptions: Counter<u64, AtomicU64>,
    lag: Gauge<f64, AtomicU64>,
    matches_written: Counter<u64, AtomicU64>,
    matches_dropped: Counter<u64, AtomicU64>,
    purged_bans: Counter<u64, AtomicU64>,
    purged_tenants: Counter<u64, AtomicU64>,
}

impl Keeping {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let swept = Family::<SweptLabels, Counter<u64, AtomicU64>>::default();
        let help = "Beginnings and ends of bans, and ends of exceptions, noted by this pod";
        registry.register("swept", help, swept.clone());
        let of = |event| swept.get_or_create_owned(&SweptLabels { event });
        let lag = Gauge::default();
        registry.register(
            "sweep_lag_seconds",
            "How long ago the oldest beginning or end was that nobody had noted at the last look",
            lag.clone(),
        );
        let matches_written = Counter::default();
        registry.register(
            "match_counts_written",
            "Matches of bans that this pod has written down",
            matches_written.clone(),
        );
        let matches_dropped = Counter::default();
        registry.register(
            "match_counts_dropped",
            "Matches of bans that nobody will ever count, for there was no room for them",
            matches_dropped.clone(),
        );
        let purged = |name, help, registry: &mut Registry| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let help = "Bans deleted for good, of deleted tenants and past their retention";
        let purged_bans = purged("purged_bans", help, registry);
        let help = "Deleted tenants of which nothing is left but their ids";
        let purged_tenants = purged("purged_tenants", help, registry);
        Self {
            started: of("started"),
            expired: of("expired"),
            exceptions: of("exception_expired"),
            lag,
            matches_written,
            matches_dropped,
            purged_bans,
            purged_tenants,
        }
    }

    /// Counts what was noted.
    pub fn swept(&self, swept: Swept) {
        self.started.inc_by(swept.started as u64);
        self.expired.inc_by(swept.expired as u64);
        self.exceptions.inc_by(swept.exceptions as u64);
    }

    /// Counts bans deleted for good.
    pub fn purged_bans(&self, bans: u64) {
        self.purged_bans.inc_by(bans);
    }

    /// Counts a deleted tenant of which nothing is left.
    pub fn purged_tenant(&self) {
        self.purged_tenants.inc();
    }

    /// Counts matches written down.
    pub fn wrote_matches(&self, matches: u64) {
        self.matches_written.inc_by(matches);
    }

    /// Counts matches for which there was no room.
    pub fn forgot_matches(&self, matches: u64) {
        self.matches_dropped.inc_by(matches);
    }

    /// Says how long ago the oldest thing was that is not noted, in microseconds.
    pub fn lags(&self, micros: i64) {
        let micros = u64::try_from(micros).unwrap_or_default();
        self.lag
            .set(std::time::Duration::from_micros(micros).as_secs_f64());
    }
}
