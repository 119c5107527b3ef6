//! The simulation: pods of the product over a model database, a bad day of theirs in some
//! milliseconds, and a judge who knows every revision of every history.
//!
//! By hand: `BANCHECK_SIMULATION_SCHEDULES=100000` plays that many, `BANCHECK_SIMULATION_SEED=7`
//! that one and tells all of it.

#[path = "simulation/seeds.rs"]
mod seeds;
#[path = "simulation/simulate.rs"]
mod simulate;
#[path = "simulation/wrong.rs"]
mod wrong;

use std::ops::Range;

use seeds::SEEDS;
use simulate::{Flaw, Plan, Trace, Violation, simulate};
use tokio::time::Instant;

/// How many schedules are played unless told otherwise.
const SCHEDULES: u64 = 1_500;
/// After so many broken promises no more are looked for.
const ENOUGH: usize = 10;

#[expect(
    clippy::disallowed_methods,
    reason = "whoever looks for a bug says here which schedules to play"
)]
fn told(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

/// Plays these schedules, tells how it went, and fails with the first promise that was broken.
fn play(seeds: Range<u64>, plan: Plan) -> Trace {
    let began = Instant::now();
    let mut all = Trace::default();
    let mut found: Vec<Box<Violation>> = Vec::new();
    let mut played = 0;
    for seed in seeds {
        played += 1;
        match simulate(seed, plan) {
            Ok(trace) => {
                all.answers += trace.answers;
                all.writes += trace.writes;
                all.raises += trace.raises;
                if plan.whole {
                    println!("{trace}");
                }
            }
            Err(violation) => found.push(violation),
        }
        if found.len() == ENOUGH {
            break;
        }
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "{played} schedules in {took:.1} s, {:.0} a second: {} answers judged, {} writes \
         acknowledged, the epoch raised {} times",
        f64::from(played) / took,
        all.answers,
        all.writes,
        all.raises
    );
    for violation in &found {
        println!(
            "seed {}: {}: {}",
            violation.seed, violation.clause, violation.what
        );
    }
    if let Some(first) = found.first() {
        panic!("{first}");
    }
    all
}

#[test]
fn every_promise_is_kept_through_thousands_of_bad_days() {
    if let Some(seed) = told("BANCHECK_SIMULATION_SEED") {
        let plan = Plan {
            whole: true,
            ..Plan::default()
        };
        play(seed..seed + 1, plan);
        return;
    }
    let count = told("BANCHECK_SIMULATION_SCHEDULES").unwrap_or(SCHEDULES);
    let all = play(0..count, Plan::default());
    assert!(
        all.answers > 0 && all.writes > 0 && all.raises > 0,
        "the schedules are too quiet to prove anything"
    );
}

#[test]
fn a_seed_is_played_the_same_way_every_time() {
    let whole = Plan {
        whole: true,
        ..Plan::default()
    };
    for seed in 0..30 {
        let [one, other] = [(); 2].map(|()| match simulate(seed, whole) {
            Ok(trace) => trace,
            Err(violation) => violation.trace,
        });
        if one.digest != other.digest {
            let differs = one.differs(&other);
            panic!("seed {seed} was played in two ways:\n{differs}");
        }
    }
}

#[test]
fn the_schedules_that_each_brought_a_bug_to_light_break_no_promise() {
    for (bug, seed, _) in SEEDS {
        if let Err(violation) = simulate(seed, Plan::default()) {
            panic!("the schedule kept for {bug:?}: {violation}");
        }
    }
}

/// The first of these seeds that breaks a promise.
fn first_broken(seeds: Range<u64>, plan: Plan) -> Option<Box<Violation>> {
    seeds
        .into_iter()
        .find_map(|seed| simulate(seed, plan).err())
}

#[test]
fn s4_revisions_that_come_from_a_sequence_do_not_go_unnoticed() {
    let plan = Plan {
        flaw: Flaw::Sequence,
        ..Plan::default()
    };
    let found = first_broken(0..100, plan).expect("a promise that is broken");
    println!("{}: {}", found.clause, found.what);
}

#[test]
fn s11_news_that_tells_what_was_asked_for_does_not_go_unnoticed() {
    let plan = Plan {
        flaw: Flaw::PayloadFromRequest,
        ..Plan::default()
    };
    let found = first_broken(0..100, plan).expect("a promise that is broken");
    println!("{}: {}", found.clause, found.what);
}
