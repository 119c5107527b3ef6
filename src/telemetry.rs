//! Signals: what is logged, what is counted, and what of requests is traced.
//!
//! **Invariant:** no identifier of a customer in a log, a label or an error.

mod certificate;
mod keeping;
mod pod;
pub mod traces;

use std::{
    io::{IsTerminal, stderr},
    sync::{LazyLock, OnceLock, atomic::AtomicU64},
    time::{Duration, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, exemplar::HistogramWithExemplars, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use self::{certificate::Certificate, pod::Pod, traces::Spans};
pub use self::{
    certificate::Validity,
    keeping::Keeping,
    traces::{Traces, Trail},
};
use crate::{
    domain::{channel::Channel, clock::Timestamp, decide::Basis, refusal::Reason},
    feed::Feed,
    views::Views,
};

/// One check in so many is timed: to look at the clock twice costs as much as to decide.
pub const TIMED: u64 = 64;

/// Bounds of the buckets for a check, in seconds: from memory, waiting for news, for a load.
const CHECK_BUCKETS: [f64; 13] = [
    5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 0.15, 0.5, 1.0,
];
/// The same for a write.
const WRITE_BUCKETS: [f64; 10] = [1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 2.5];

/// How many lines wait to be written at the most: their places take memory from the beginning, 32 bytes each.
const LINES: usize = 32_768;
/// Lines for which there was no room, in this process, which has one log.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

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
/// Lines are written by a thread of its own, and dropped and counted when it falls behind by very many:
/// whoever reads the log cannot make a check wait.
#[must_use = "dropping the guard ends the log"]
pub fn log(format: LogFormat, filter: &str) -> WorkerGuard {
    // The database driver's news are told again, in our words, where they are handled; the parser
    // of numbers would tell the numbers.
    let filter = EnvFilter::try_new(format!("{filter},sqlx=error,rlibphonenumber=off"));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = NonBlockingBuilder::default().buffered_lines_limit(LINES);
    let (writer, guard) = lines.finish(stderr());
    // As with the log itself, the first one is kept.
    let _ = DROPPED.set(writer.error_counter());
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

fn dropped_lines() -> u64 {
    let dropped = DROPPED.get().map_or(0, ErrorCounter::dropped_lines);
    u64::try_from(dropped).unwrap_or(u64::MAX)
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CheckLabels {
    channel: &'static str,
    decision: &'static str,
    basis: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusalLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TraceLabels {
    trace_id: String,
}

/// Times, of which those that were traced are told with their traces.
#[derive(Clone, Debug)]
struct Times(HistogramWithExemplars<TraceLabels>);

impl Times {
    fn new(buckets: impl IntoIterator<Item = f64>) -> Self {
        Self(HistogramWithExemplars::new(buckets.into_iter()))
    }

    fn observe(&self, duration: Duration, now: Timestamp) {
        let trace = traces::followed().map(|trace_id| TraceLabels { trace_id });
        let since = Duration::from_micros(u64::try_from(now.micros()).unwrap_or_default());
        self.0
            .observe(duration.as_secs_f64(), trace, Some(UNIX_EPOCH + since));
    }
}

/// In what form metrics are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Prometheus' older text, which every scraper reads.
    Plain,
    /// `OpenMetrics`, which has room for traces.
    OpenMetrics,
}

impl Form {
    /// The form that is best of those that a scraper accepts.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Plain
        }
    }

    /// How it is called on the wire.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Of the process: whoever translates refusals for the wire serves no one server.
static REFUSALS: LazyLock<Family<RefusalLabels, Counter<u64, AtomicU64>>> =
    LazyLock::new(Family::default);

/// Counts an error that a caller was told.
pub fn refused(reason: Reason) {
    let (reason, _) = reason.word();
    REFUSALS.get_or_create(&RefusalLabels { reason }).inc();
}

const BASES: [&str; 3] = ["fresh", "stale", "failure_mode"];

/// What a pod counts. Labels are bounded: no tenant, no customer.
pub struct Counters {
    registry: Registry,
    /// By channel, decision and basis, found without a look-up on the check's path.
    checks: Vec<Counter<u64, AtomicU64>>,
    /// How house is kept.
    pub keeping: Keeping,
    check_duration: Times,
    writes: Counter<u64, AtomicU64>,
    write_duration: Times,
    certificate: Certificate,
    spans: Spans,
    pod: Pod,
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
        let check_duration = Times::new(CHECK_BUCKETS);
        let help = "Time of a check in the server; of one in 64";
        let Times(timed) = check_duration.clone();
        registry.register_with_unit("check_duration", help, Unit::Seconds, timed);
        let writes = Counter::default();
        registry.register("writes", "Writes acknowledged", writes.clone());
        let keeping = Keeping::new(&mut registry);
        let write_duration = Times::new(WRITE_BUCKETS);
        let help = "Time of a write until it was in force on this pod";
        let Times(timed) = write_duration.clone();
        registry.register_with_unit("write_duration", help, Unit::Seconds, timed);
        let help = "Requests answered with an error, by its reason";
        registry.register("refusals", help, REFUSALS.clone());
        // A gauge, since the older text format knows no metric of type info.
        let build = Family::<BuildLabels, Gauge>::default();
        let version = env!("CARGO_PKG_VERSION");
        build.get_or_create(&BuildLabels { version }).set(1);
        registry.register("build_info", "What runs here", build);
        let certificate = Certificate::new(&mut registry);
        let spans = Spans::new(&mut registry);
        let pod = Pod::new(&mut registry);
        Self {
            registry,
            checks,
            keeping,
            check_duration,
            writes,
            write_duration,
            certificate,
            spans,
            pod,
        }
    }

    /// Counts one check.
    pub fn checked(&self, channel: Channel, denied: bool, basis: Basis) {
        self.checks[place(channel, denied, basis as usize - 1)].inc();
    }

    /// Notes how long a timed check took, which ends now.
    pub fn check_took(&self, duration: Duration, now: Timestamp) {
        self.check_duration.observe(duration, now);
    }

    /// Counts a write that was acknowledged after so long, now.
    pub fn wrote(&self, duration: Duration, now: Timestamp) {
        self.writes.inc();
        self.write_duration.observe(duration, now);
    }

    /// Says for what time the listeners' certificate is good.
    pub fn certified(&self, validity: Validity) {
        self.certificate.is_good(validity);
    }

    /// What becomes of spans is counted here.
    pub fn spans(&self) -> Spans {
        self.spans.clone()
    }

    /// Reads off where a pod stands and what it holds.
    pub fn measure(&self, feed: &Feed, views: &Views) {
        self.pod.measure(feed, views);
    }

    /// Everything, as Prometheus reads it.
    pub fn exposition(&self, form: Form) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        match form {
            Form::Plain => plain(&text),
            Form::OpenMetrics => text,
        }
    }
}

/// The same in the older text format, which every scraper reads: there a counter is described by the name
/// that its samples have, and nobody knows of units, of traces or of an end.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let described = line
            .strip_prefix("# HELP ")
            .or(line.strip_prefix("# TYPE "));
        let Some((name, _)) = described.and_then(|rest| rest.split_once(' ')) else {
            if !line.starts_with('#') {
                let sample = line.split_once(" # ").map_or(line, |(sample, _)| sample);
                plain.extend([sample, "\n"]);
            }
            continue;
        };
        let kind = if line.starts_with("# HELP ") {
            lines.peek().copied().unwrap_or_default()
        } else {
            line
        };
        if kind.ends_with(" counter") {
            let (before, after) = line.split_at("# HELP ".len() + name.len());
            plain.extend([before, "_total", after, "\n"]);
        } else {
            plain.extend([line, "\n"]);
        }
    }
    plain
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use super::*;
    use crate::{domain::keys::MasterKey, feed::ThisMachine};

    #[test]
    fn a_check_is_counted_under_its_own_channel_decision_and_basis() {
        let counters = Counters::new();
        counters.checked(Channel::Vk, true, Basis::FailureMode);
        let line = "bancheck_checks_total{channel=\"VK\",decision=\"deny\",\
                    basis=\"failure_mode\"} 1";
        assert!(
            counters.exposition(Form::Plain).contains(line),
            "{}",
            counters.exposition(Form::Plain)
        );
    }

    #[test]
    fn the_documents_name_the_metrics_that_there_are_and_no_others() {
        let counters = Counters::new();
        refused(Reason::Internal);
        counters.certified(Validity { from: 0, until: 1 });
        let keys = MasterKey::new(&[7; 32]);
        let (feed, _source) = Feed::new(keys, Arc::new(ThisMachine));
        counters.measure(&feed, &Views::new(1 << 20));
        let exposition = counters.exposition(Form::Plain);
        let told: BTreeSet<_> = exposition
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .map(|(name, kind)| (name.to_owned(), kind))
            .collect();
        let documented: BTreeSet<_> = include_str!("../docs/metrics.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
            .filter_map(|(name, rest)| Some((name.to_owned(), rest.split_once(" |")?.0)))
            .collect();
        assert_eq!(told, documented);
    }
}
