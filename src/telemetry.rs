//! Signals: what is logged and what is counted.
//!
//! **Invariant:** no identifier of a customer in a log, a label or an error.

mod keeping;

use std::{
    io::{IsTerminal, stderr},
    sync::atomic::AtomicU64,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

pub use self::keeping::Keeping;
use crate::domain::{channel::Channel, decide::Basis};

/// In what form logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Begins to log to standard error, as loud as `filter` says, until the guard is dropped.
///
/// Lines are written by a thread of its own and dropped when it falls behind by very many: whoever
/// reads the log cannot make a check wait.
#[must_use = "dropping the guard ends the log"]
pub fn log(format: LogFormat, filter: &str) -> WorkerGuard {
    // The database driver's news are told again, in our words, where they are handled; the parser
    // of numbers would tell the numbers.
    let filter = EnvFilter::try_new(format!("{filter},sqlx=error,rlibphonenumber=off"));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    let (writer, guard) = tracing_appender::non_blocking(stderr());
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer()
        .with_writer(writer)
        .with_target(false)
        .with_ansi(stderr().is_terminal());
    // A second call in one process, as in tests, keeps the first.
    let _ = match format {
        LogFormat::Pretty => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json()).try_init(),
    };
    guard
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CheckLabels {
    channel: &'static str,
    decision: &'static str,
    basis: &'static str,
}

const BASES: [&str; 3] = ["fresh", "stale", "failure_mode"];

/// What a pod counts. Labels are bounded: no tenant, no customer.
pub struct Counters {
    registry: Registry,
    /// By channel, decision and basis, found without a look-up on the check's path.
    checks: Vec<Counter<u64, AtomicU64>>,
    /// Writes acknowledged.
    pub writes: Counter<u64, AtomicU64>,
    /// The newest revision applied.
    pub applied_revision: Gauge,
    /// Views in memory, and what they weigh.
    pub views_resident: Gauge,
    /// See [`Self::views_resident`].
    pub views_bytes: Gauge,
    /// Views that have left memory but for whoever still holds them.
    pub views_leaving: Gauge,
    /// How house is kept.
    pub keeping: Keeping,
}

fn place(channel: Channel, denied: bool, basis: usize) -> usize {
    ((channel as usize - 1) * 2 + usize::from(denied)) * BASES.len() + basis
}

impl Counters {
    /// Everything at nought.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("bancheck");
        let family = Family::<CheckLabels, Counter<u64, AtomicU64>>::default();
        registry.register("checks", "Checks answered", family.clone());
        let mut checks = Vec::new();
        for channel in Channel::ALL {
            for decision in ["allow", "deny"] {
                for basis in BASES {
                    let labels = CheckLabels {
                        channel: channel.name(),
                        decision,
                        basis,
                    };
                    checks.push(family.get_or_create_owned(&labels));
                }
            }
        }
        let writes = Counter::default();
        registry.register("writes", "Writes acknowledged", writes.clone());
        let applied_revision = Gauge::default();
        let help = "Newest feed row that is in every view";
        registry.register("applied_revision", help, applied_revision.clone());
        let views_resident = Gauge::default();
        registry.register(
            "views_resident",
            "Tenants in memory",
            views_resident.clone(),
        );
        let views_bytes = Gauge::default();
        registry.register(
            "views_bytes",
            "Memory of the views, in bytes",
            views_bytes.clone(),
        );
        let views_leaving = Gauge::default();
        registry.register(
            "views_leaving",
            "Views replaced or evicted that somebody still looks at",
            views_leaving.clone(),
        );
        let keeping = Keeping::new(&mut registry);
        Self {
            registry,
            checks,
            writes,
            applied_revision,
            views_resident,
            views_bytes,
            views_leaving,
            keeping,
        }
    }

    /// Counts one check.
    pub fn checked(&self, channel: Channel, denied: bool, basis: Basis) {
        self.checks[place(channel, denied, basis as usize - 1)].inc();
    }

    /// Everything, as Prometheus reads it.
    pub fn exposition(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_counted_under_its_own_channel_decision_and_basis() {
        let counters = Counters::new();
        counters.checked(Channel::Vk, true, Basis::FailureMode);
        let line = "bancheck_checks_total{channel=\"VK\",decision=\"deny\",\
                    basis=\"failure_mode\"} 1";
        assert!(
            counters.exposition().contains(line),
            "{}",
            counters.exposition()
        );
    }
}
