//! What a run came to, for people.

use std::{collections::BTreeMap, fmt};

use bancheck::domain::decide::Basis;

use crate::{
    judge::Violation,
    mover::Moved,
    record::{Answer, Check, End, Fault, Record, Road, Trouble, Wish},
    witness::History,
};

/// How many violations of one clause are told in full.
const TOLD: usize = 3;
/// A pod that was touched so shortly before an acknowledgement is not a healthy one.
const BEFORE: i64 = 1_500_000;
/// Nor is one that is touched so shortly after it.
const AFTER: i64 = 500_000;

/// Durations in order, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Spread(Vec<i64>);

impl Spread {
    fn of(mut micros: Vec<i64>) -> Self {
        micros.sort_unstable();
        Self(micros)
    }

    fn at(&self, per_mille: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let micros = self.0.get(last * per_mille / 1_000).copied();
        micros.map_or(f64::NAN, |micros| {
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let micros = micros as f64;
            micros / 1_000.0
        })
    }
}

/// The report of a run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) pods: u8,
    pub(crate) seconds: u64,
    pub(crate) violations: Vec<Violation>,
    /// How many checks were made.
    pub(crate) checks: usize,
    /// How many things were done to pods and database.
    pub(crate) faults: usize,
    /// How often the import was broken off.
    pub(crate) breaks: u32,
    lines: Vec<String>,
}

fn counted<K: Ord + fmt::Display>(of: impl Iterator<Item = K>) -> String {
    let mut counts: BTreeMap<K, usize> = BTreeMap::new();
    for key in of {
        *counts.entry(key).or_default() += 1;
    }
    let told: Vec<_> = counts
        .iter()
        .map(|(key, count)| format!("{key} {count}"))
        .collect();
    told.join(" · ")
}

fn wish(wish: Wish) -> &'static str {
    match wish {
        Wish::Latency => "minimize_latency",
        Wish::AtLeast(_) => "at_least_as_fresh",
        Wish::Fully => "fully_consistent",
    }
}

fn road(road: Road) -> &'static str {
    match road {
        Road::Alone => "alone",
        Road::Batch(_) => "in batches",
        Road::Stream => "on streams",
    }
}

fn outcome(check: &Check) -> String {
    match &check.outcome {
        Ok(answer) => match answer.basis {
            Basis::Fresh => "FRESH".to_owned(),
            Basis::Stale => "STALE".to_owned(),
            Basis::FailureMode => "FAILURE_MODE".to_owned(),
        },
        Err(Trouble::Refused(reason)) => reason.clone(),
        Err(Trouble::Broken(_)) => "broken".to_owned(),
        Err(Trouble::Silent) => "silent".to_owned(),
        Err(Trouble::Odd(_)) => "odd".to_owned(),
    }
}

impl Report {
    /// Of everything that was recorded and judged.
    pub(crate) fn of(
        (seed, pods, seconds): (u64, u8, u64),
        record: &Record,
        histories: &[History],
        violations: Vec<Violation>,
        lost_by_restore: usize,
        moved: &Moved,
        back: &str,
    ) -> Self {
        let Record {
            checks,
            writes,
            faults,
        } = record;
        let mut lines = vec![
            format!(
                "faults {}: {}",
                faults.len(),
                counted(faults.iter().map(|one| one.kind))
            ),
            format!(
                "checks {}: {}",
                checks.len(),
                counted(checks.iter().map(|one| wish(one.question.wish)))
            ),
            format!(
                "asked: {}",
                counted(checks.iter().map(|one| road(one.road)))
            ),
            format!("answered: {}", counted(checks.iter().map(outcome))),
            format!(
                "writes {} in {} tries: {}; acknowledged and lost by a restore {lost_by_restore}",
                writes.len(),
                writes.iter().map(|one| one.tries).sum::<u32>(),
                counted(writes.iter().map(|one| match &one.end {
                    End::Acknowledged { .. } => "acknowledged",
                    End::Refused(reason) => reason.as_str(),
                    End::Unknown => "unknown",
                })),
            ),
            format!(
                "histories {}, heads {:?}",
                histories.len(),
                histories.iter().map(History::head).collect::<Vec<_>>()
            ),
        ];
        let spread = propagation(record, pods);
        lines.push(format!(
            "propagation to healthy pods ({}): p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            spread.0.len(),
            spread.at(500),
            spread.at(990),
            spread.at(1_000)
        ));
        let quick = record.writes.iter().filter(|one| one.tries == 1);
        let acknowledged = quick.filter(|one| matches!(one.end, End::Acknowledged { .. }));
        let spread = Spread::of(acknowledged.map(|one| one.received - one.sent).collect());
        lines.push(format!(
            "acknowledged at the first try: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            spread.at(500),
            spread.at(990),
            spread.at(1_000)
        ));
        lines.push("recovery, from a fault's end to the next FRESH:".to_owned());
        for (kind, spread) in recovery(checks, faults, pods) {
            lines.push(format!(
                "    {kind}: {} times, median {:.0} ms, worst {:.0} ms",
                spread.0.len(),
                spread.at(500),
                spread.at(1_000)
            ));
        }
        lines.push(moved.told.clone());
        lines.push(format!("after the last fault {back}"));
        Self {
            seed,
            pods,
            seconds,
            violations,
            checks: checks.len(),
            faults: faults.len(),
            breaks: moved.breaks,
            lines,
        }
    }
}

/// The answers of each pod, in the order they came.
fn by_pod(checks: &[Check], pods: u8) -> Vec<Vec<&Check>> {
    let mut by_pod: Vec<Vec<&Check>> = (0..pods).map(|_| Vec::new()).collect();
    for check in checks {
        by_pod[usize::from(check.pod)].push(check);
    }
    for its in &mut by_pod {
        its.sort_unstable_by_key(|check| check.received);
    }
    by_pod
}

/// From an acknowledgement to the first answer of each other healthy pod that includes it.
fn propagation(record: &Record, pods: u8) -> Spread {
    let by_pod = by_pod(&record.checks, pods);
    let mut took = Vec::new();
    for write in &record.writes {
        let End::Acknowledged { token, .. } = &write.end else {
            continue;
        };
        let since = write.received;
        for pod in (0..pods).filter(|pod| *pod != write.pod) {
            let touched = |fault: &Fault| fault.touches(pod, since - BEFORE, since + AFTER);
            if record.faults.iter().any(touched) {
                continue;
            }
            let its = &by_pod[usize::from(pod)];
            let first = its.partition_point(|check| check.received < since);
            let includes = its[first..].iter().find(|check| {
                check.outcome.as_ref().is_ok_and(|answer| {
                    answer.token.epoch == token.epoch
                        && answer.token.anchor.revision >= token.anchor.revision
                })
            });
            if let Some(check) = includes {
                took.push(check.received - since);
            }
        }
    }
    Spread::of(took)
}

/// From the end of each kind of fault to the first FRESH answer of each pod it touched.
fn recovery(checks: &[Check], faults: &[Fault], pods: u8) -> BTreeMap<&'static str, Spread> {
    let by_pod = by_pod(checks, pods);
    let mut took: BTreeMap<&'static str, Vec<i64>> = BTreeMap::new();
    for fault in faults {
        for pod in (0..pods).filter(|pod| fault.pod.is_none_or(|its| its == *pod)) {
            let others = |other: &&Fault| !std::ptr::eq(*other, fault);
            let its = &by_pod[usize::from(pod)];
            let first = its.partition_point(|check| check.received < fault.ended);
            let fresh = its[first..].iter().find(|check| {
                let fresh = |answer: &Answer| answer.basis == Basis::Fresh;
                check.sent >= fault.ended && check.outcome.as_ref().is_ok_and(fresh)
            });
            let Some(fresh) = fresh else { continue };
            // Another fault, before or meanwhile, would be counted as this one's.
            let alone = faults
                .iter()
                .filter(others)
                .all(|other| !other.touches(pod, fault.begun - BEFORE, fresh.received));
            if alone {
                let its = took.entry(fault.kind).or_default();
                its.push(fresh.received - fault.ended);
            }
        }
    }
    took.into_iter()
        .map(|(kind, took)| (kind, Spread::of(took)))
        .collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            pods,
            seconds,
            violations,
            lines,
            checks: _,
            faults: _,
            breaks: _,
        } = self;
        writeln!(f, "torture: seed {seed}, {pods} pods, {seconds} s")?;
        for line in lines {
            writeln!(f, "  {line}")?;
        }
        let clauses = counted(violations.iter().map(|one| one.clause));
        let pods = counted(violations.iter().map(|one| one.whose.as_str()));
        writeln!(f, "  violations {}: {clauses}; {pods}", violations.len())?;
        let mut told: BTreeMap<&str, usize> = BTreeMap::new();
        for violation in violations {
            let told = told.entry(violation.clause).or_default();
            *told += 1;
            if *told <= TOLD {
                writeln!(f, "  {violation}")?;
            }
        }
        Ok(())
    }
}
