//! Pods under torture on a real Postgres: killed, frozen, cut off, lied to about the time, their
//! database stopped, stalled and put back to an older backup; every answer is judged by the feed.
//!
//! A minute and four pods in a test run; ten minutes and eight pods by hand:
//!
//! ```text
//! BANCHECK_TORTURE_SECONDS=600 BANCHECK_TORTURE_PODS=8 tests/run torture --no-capture
//! ```
//!
//! Meanwhile a tenant moves in by an import of `BANCHECK_TORTURE_ROWS` rows, which is broken off and
//! goes on elsewhere. `BANCHECK_TORTURE_SEED` decides who does what in which order; the default never changes. Pods
//! with even numbers live in this process, with wall clocks that are hours off; odd ones are
//! processes of the real binary.

#[path = "torture/audit.rs"]
mod audit;
#[path = "torture/cast.rs"]
mod cast;
#[path = "stage/cluster.rs"]
#[expect(dead_code, reason = "the rest is for suites about failovers")]
mod cluster;
#[path = "torture/faults.rs"]
mod faults;
#[path = "torture/judge.rs"]
mod judge;
#[path = "torture/judged.rs"]
mod judged;
#[path = "torture/load.rs"]
mod load;
#[path = "torture/model.rs"]
mod model;
#[path = "torture/mover.rs"]
mod mover;
#[path = "torture/pods.rs"]
mod pods;
#[path = "stage/process.rs"]
#[expect(dead_code, reason = "the rest is for suites with pods of one kind")]
mod process;
#[path = "stage/proxy.rs"]
#[expect(dead_code, reason = "the rest is for suites about failovers")]
mod proxy;
#[path = "torture/record.rs"]
mod record;
#[path = "torture/report.rs"]
mod report;
#[path = "torture/roads.rs"]
mod roads;
#[path = "torture/run.rs"]
mod run;
#[path = "torture/witness.rs"]
mod witness;
#[path = "torture/world.rs"]
mod world;
#[path = "torture/writers.rs"]
mod writers;

use std::time::Duration;

use run::{Plan, torture};

/// Who does what in which order, unless told otherwise.
const SEED: u64 = 20_260_101;

/// What a whole run does and asks at least. Where a machine is too slow for that it goes on for up to
/// thrice its time.
const FAULTS: usize = 20;
const CHECKS: u64 = 100_000;

/// Rows of the import that goes on meanwhile.
const ROWS: u64 = 10_000;

/// A number from the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs this by hand says here how long and how hard"
)]
fn told(name: &str, otherwise: u64) -> u64 {
    let Ok(text) = std::env::var(name) else {
        return otherwise;
    };
    text.parse()
        .unwrap_or_else(|_| panic!("{name} is a number, not `{text}`"))
}

#[test]
fn every_answer_is_that_of_one_revision_within_its_bounds_whatever_is_done_to_pods_and_database() {
    let seconds = told("BANCHECK_TORTURE_SECONDS", 60);
    // A shorter one is for whoever looks at something.
    let whole = seconds >= 60;
    let report = torture(Plan {
        seed: told("BANCHECK_TORTURE_SEED", SEED),
        pods: u8::try_from(told("BANCHECK_TORTURE_PODS", 4)).expect("a few pods"),
        time: Duration::from_secs(seconds),
        least: if whole { CHECKS } else { 0 },
        rows: u16::try_from(told("BANCHECK_TORTURE_ROWS", ROWS)).expect("at most 65535 rows"),
        faults: None,
        variables: Vec::new(),
    });
    println!("{report}");
    assert!(report.violations.is_empty(), "{report}");
    if whole {
        assert!(report.faults >= FAULTS, "too little was done: {report}");
        assert!(
            report.breaks > 0,
            "the import was never broken off: {report}"
        );
        assert!(
            u64::try_from(report.checks).expect("a number") >= CHECKS,
            "too little was asked, in thrice the time: {report}"
        );
    }
}
