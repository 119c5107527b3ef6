//! What has come of a load, and how it is told.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;
use tonic::Status;

use super::roads::Answer;
use crate::{
    api::v1::{Decision, DecisionBasis},
    cli::{
        Outcome, Session,
        failure::reason,
        output::{self, Facts, Format, Sheet},
    },
};

/// The longest latency that is told apart, in microseconds: an hour.
const LONGEST: u64 = 3_600_000_000;
/// How wide the longest bar is.
const WIDEST: u64 = 40;

/// What was measured.
pub(super) struct Measured {
    /// Of calls, in microseconds.
    latency: Histogram<u64>,
    allowed: u64,
    denied: u64,
    /// Answers that rest on less than fresh data.
    not_fresh: u64,
    errors: BTreeMap<String, u64>,
    /// The longest that a question was sent after it was due.
    latest: Duration,
}

impl Measured {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            latency: Histogram::new_with_bounds(1, LONGEST, 3)?,
            allowed: 0,
            denied: 0,
            not_fresh: 0,
            errors: BTreeMap::new(),
            latest: Duration::ZERO,
        })
    }

    /// Takes down how a call went, of so many questions.
    pub(super) fn take(
        &mut self,
        answered: Result<Vec<Answer>, Status>,
        questions: u64,
        late: Duration,
        took: Duration,
    ) {
        self.latest = self.latest.max(late);
        match answered {
            Ok(answers) => {
                let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                self.latency.saturating_record(took.max(1));
                for answer in answers {
                    self.count(answer);
                }
            }
            Err(status) => self.fail(&status, questions),
        }
    }

    fn count(&mut self, answer: Answer) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(status) => return self.fail(&status, 1),
        };
        match answer.decision() {
            Decision::Allow => self.allowed += 1,
            Decision::Deny => self.denied += 1,
            Decision::Unspecified => self.fail(&Status::internal("no decision"), 1),
        }
        if answer.basis() != DecisionBasis::Fresh {
            self.not_fresh += 1;
        }
    }

    fn fail(&mut self, status: &Status, questions: u64) {
        let reason = match reason(status) {
            none if none.is_empty() => format!("{:?}", status.code()),
            reason => reason,
        };
        *self.errors.entry(reason).or_default() += questions;
    }

    /// Adds what another has measured.
    pub(super) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.latency.add(&other.latency)?;
        self.allowed += other.allowed;
        self.denied += other.denied;
        self.not_fresh += other.not_fresh;
        for (reason, count) in &other.errors {
            *self.errors.entry(reason.clone()).or_default() += count;
        }
        self.latest = self.latest.max(other.latest);
        Ok(())
    }

    /// The longest that a question was sent after it was due.
    pub(super) fn latest(&self) -> Duration {
        self.latest
    }
}

/// What was asked for.
#[derive(Serialize)]
pub(super) struct Setup {
    pub(super) road: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) batch: Option<u32>,
    pub(super) connections: u32,
    pub(super) in_flight: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rate: Option<u32>,
    pub(super) tenants: u32,
    pub(super) server: String,
    pub(super) tenant: String,
}

/// Latencies of calls, in microseconds.
#[derive(Serialize)]
struct Latency {
    min: u64,
    mean: f64,
    p50: u64,
    p90: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
}

/// The answer.
#[derive(Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    setup: Setup,
    /// What the latencies are of, in words.
    measured: String,
    seconds: f64,
    checks: u64,
    checks_per_second: u64,
    /// Bans that were made meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes_per_second: Option<u64>,
    calls: u64,
    allowed: u64,
    denied: u64,
    not_fresh: u64,
    errors: BTreeMap<String, u64>,
    latency_us: Latency,
    #[serde(skip)]
    steps: Vec<(u64, u64)>,
}

impl Report {
    pub(super) fn of(
        setup: Setup,
        measured: &Measured,
        changes: Option<u64>,
        lasting: Duration,
    ) -> Self {
        let Measured {
            latency,
            allowed,
            denied,
            not_fresh,
            errors,
            latest: _,
        } = measured;
        let checks = allowed + denied;
        let seconds = lasting.as_secs_f64();
        let from = if setup.rate.is_some() {
            "at the client, from when a call was due until its answer had come: what a stall delays \
             counts (corrected for coordinated omission)"
        } else {
            "at the client, from sending a call until its answer had come, each place asking again at \
             once: latencies under full load, not those of a calm server"
        };
        let per_second = |count: u64| {
            let each = u128::from(count) * 1_000 / lasting.as_millis().max(1);
            u64::try_from(each).unwrap_or(u64::MAX)
        };
        Self {
            setup,
            measured: from.to_owned(),
            seconds,
            checks,
            checks_per_second: per_second(checks),
            changes_per_second: changes.map(per_second),
            calls: latency.len(),
            allowed: *allowed,
            denied: *denied,
            not_fresh: *not_fresh,
            errors: errors.clone(),
            latency_us: Latency {
                min: latency.min(),
                mean: latency.mean(),
                p50: latency.value_at_quantile(0.5),
                p90: latency.value_at_quantile(0.9),
                p99: latency.value_at_quantile(0.99),
                p99_9: latency.value_at_quantile(0.999),
                max: latency.max(),
            },
            steps: steps(latency),
        }
    }

    /// Shows it, and says whether all questions were answered.
    pub(super) fn show(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        match session.display.format() {
            Format::Json => output::json(&self)?,
            Format::Csv => output::print(&self.sheet().to_csv()?)?,
            Format::Table => output::print(&self.text())?,
        }
        Ok(if self.errors.is_empty() && self.checks > 0 {
            Outcome::Done
        } else {
            Outcome::Failed
        })
    }

    fn text(&self) -> String {
        let Setup {
            road,
            batch,
            connections,
            in_flight,
            rate,
            tenants,
            server,
            tenant,
        } = &self.setup;
        let whose = if *tenants == 1 {
            format!("tenant {tenant}")
        } else {
            format!("{tenants} tenants of {tenant}")
        };
        let changes = self.changes_per_second;
        let changes = changes.map_or(String::new(), |each| format!("{each} bans made a second"));
        let of = batch.map_or(String::new(), |batch| format!(" of {batch}"));
        let pace = rate.map_or("as fast as it goes".to_owned(), |rate| {
            format!("{rate} checks a second asked for")
        });
        let errors: Vec<_> = self
            .errors
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        let latency = &self.latency_us;
        let mut facts = Facts::default();
        facts
            .add(
                "what",
                format!("{road}{of}, {connections} connections × {in_flight} in flight, {pace}"),
            )
            .add("whom", format!("{server}, {whose}"))
            .add("measured", self.measured.as_str())
            .add("checks", format!("{} in {} s", self.checks, self.seconds))
            .add("throughput", format!("{} checks/s", self.checks_per_second))
            .add("meanwhile", changes)
            .add(
                "answers",
                format!("{} allowed, {} denied", self.allowed, self.denied),
            )
            .add("not fresh", none_unless(self.not_fresh))
            .add(
                "latency of a call",
                format!(
                    "median {}, 90 % {}, 99 % {}, 99.9 % {}, longest {}",
                    told(latency.p50),
                    told(latency.p90),
                    told(latency.p99),
                    told(latency.p99_9),
                    told(latency.max)
                ),
            )
            .add(
                "errors",
                if errors.is_empty() {
                    "none".to_owned()
                } else {
                    errors.join(", ")
                },
            );
        facts.to_text() + "\n" + &bars(&self.steps)
    }

    fn sheet(&self) -> Sheet {
        let latency = &self.latency_us;
        let row = [
            self.setup.road.to_owned(),
            self.setup.connections.to_string(),
            self.setup.in_flight.to_string(),
            self.setup
                .rate
                .map(|rate| rate.to_string())
                .unwrap_or_default(),
            self.seconds.to_string(),
            self.checks.to_string(),
            self.checks_per_second.to_string(),
            self.denied.to_string(),
            self.not_fresh.to_string(),
            self.errors.values().sum::<u64>().to_string(),
            latency.p50.to_string(),
            latency.p90.to_string(),
            latency.p99.to_string(),
            latency.p99_9.to_string(),
            latency.max.to_string(),
        ];
        let header = [
            "road",
            "connections",
            "in_flight",
            "rate",
            "seconds",
            "checks",
            "checks_per_second",
            "denied",
            "not_fresh",
            "errors",
            "p50_us",
            "p90_us",
            "p99_us",
            "p99_9_us",
            "max_us",
        ];
        Sheet::new(header, [row])
    }
}

fn none_unless(count: u64) -> String {
    if count == 0 {
        String::new()
    } else {
        count.to_string()
    }
}

/// A latency in words.
fn told(microseconds: u64) -> String {
    match microseconds {
        0..1_000 => format!("{microseconds} µs"),
        1_000..10_000_000 => {
            format!("{}.{} ms", microseconds / 1_000, microseconds % 1_000 / 100)
        }
        _ => format!("{} s", microseconds / 1_000_000),
    }
}

/// How many calls took no longer than each step, and longer than the one before; steps double.
fn steps(latency: &Histogram<u64>) -> Vec<(u64, u64)> {
    let mut steps = Vec::new();
    let (mut below, mut step) = (0, 125);
    while below < latency.len() && step <= 2 * LONGEST {
        let up_to = latency.count_between(0, step);
        if up_to > below || !steps.is_empty() {
            steps.push((step, up_to - below));
        }
        (below, step) = (up_to, step * 2);
    }
    steps
}

fn bars(steps: &[(u64, u64)]) -> String {
    let all: u64 = steps.iter().map(|(_, count)| count).sum();
    let most = steps
        .iter()
        .map(|(_, count)| *count)
        .max()
        .unwrap_or(1)
        .max(1);
    let mut text = String::new();
    for (step, count) in steps {
        let wide = usize::try_from(count * WIDEST / most).unwrap_or(0);
        let tenths = count * 1_000 / all.max(1);
        let line = format!(
            "  ≤ {:>9}  {:>3}.{} %  {}",
            told(*step),
            tenths / 10,
            tenths % 10,
            "█".repeat(wide)
        );
        // Writing to a string never fails.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::v1::CheckInteractionResponse;

    fn answer(decision: Decision) -> CheckInteractionResponse {
        CheckInteractionResponse {
            decision: decision.into(),
            basis: DecisionBasis::Fresh.into(),
            ..CheckInteractionResponse::default()
        }
    }

    #[test]
    fn every_question_is_counted_once_whatever_came_of_it() {
        let mut measured = Measured::new().unwrap();
        let ms = Duration::from_millis;
        let some = vec![
            Ok(answer(Decision::Allow)),
            Ok(answer(Decision::Deny)),
            Err(Status::not_found("")),
        ];
        measured.take(Ok(some), 3, ms(0), ms(2));
        measured.take(Err(Status::unavailable("")), 3, ms(7), ms(9));
        let mut all = Measured::new().unwrap();
        all.add(&measured).unwrap();
        assert_eq!((all.allowed, all.denied, all.not_fresh), (1, 1, 0));
        assert_eq!(all.errors["NotFound"], 1);
        assert_eq!(all.errors["Unavailable"], 3);
        assert_eq!((all.latency.len(), all.latest()), (1, ms(7)));
    }

    #[test]
    fn the_bars_hold_every_call() {
        let mut latency = Histogram::new_with_bounds(1, LONGEST, 3).unwrap();
        for took in [90, 200, 240, 900, 3_000_000] {
            latency.record(took).unwrap();
        }
        let steps = steps(&latency);
        assert_eq!(steps.iter().map(|(_, count)| count).sum::<u64>(), 5);
        assert_eq!(steps[..2], [(125, 1), (250, 2)]);
        assert!(bars(&steps).contains("40.0 %"), "{}", bars(&steps));
        assert_eq!(told(12_345), "12.3 ms");
    }
}
