//! Whether the tests of coherence would notice: each bug by name, given to the product or to the
//! model database, is to be found by the simulation's own first schedules.
//!
//! `cargo test --features teeth --test teeth`; a build without that feature can have none of them.

#[path = "simulation/simulate.rs"]
#[expect(dead_code, reason = "what the judge's own tests look at")]
mod simulate;

use std::time::Duration;

use bancheck::teeth::{Bug, inject};
use simulate::{Flaw, Plan, simulate};
use tokio::time::Instant;

/// Within this a bug is found.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many schedules the product is played without a bug, its threads held up.
const SOUND: u64 = 200;

/// What a bug takes besides itself: a database that has it, or threads that are held up.
fn plan(bug: Bug) -> Plan {
    Plan {
        flaw: match bug {
            Bug::SequenceTail => Flaw::Sequence,
            Bug::PayloadFromRequest => Flaw::PayloadFromRequest,
            _ => Flaw::None,
        },
        stumbles: matches!(bug, Bug::AppliedBeforeViews | Bug::LeaseAfterView),
        whole: false,
    }
}

/// One test, since a bug is the whole process's.
#[test]
fn every_bug_by_name_is_found_within_a_minute_and_without_one_nothing_is() {
    let stumbling = Plan {
        stumbles: true,
        ..Plan::default()
    };
    for seed in 0..SOUND {
        if let Err(violation) = simulate(seed, stumbling) {
            panic!("{violation}");
        }
    }
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        inject(Some(bug));
        let began = Instant::now();
        let found = (0..)
            .take_while(|_| began.elapsed() < PATIENCE)
            .find_map(|seed| simulate(seed, plan(bug)).err());
        let took = began.elapsed().as_secs_f64();
        match found {
            Some(found) => println!(
                "{bug:?}: {took:.1} s, seed {}: {}: {}",
                found.seed, found.clause, found.what
            ),
            None => missed.push(bug),
        }
    }
    inject(None);
    assert!(missed.is_empty(), "not found: {missed:?}");
}
