//! Whether the tests of coherence would notice: each bug by name, given to the product or to the
//! model database, is to be found by the simulation's own first schedules within a minute.
//!
//! `cargo nextest run --features teeth --test teeth`; a build without that feature can have none.

#[path = "simulation/seeds.rs"]
mod seeds;
#[path = "simulation/simulate.rs"]
#[expect(dead_code, reason = "what the judge's own tests look at")]
mod simulate;

use std::time::Duration;

use bancheck::teeth::{Bug, inject};
use seeds::SEEDS;
use simulate::{Flaw, Plan, simulate};
use tokio::time::Instant;

/// Within this a bug is found.
const PATIENCE: Duration = Duration::from_mins(1);

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

/// Plays the first schedules to a product that has this bug until a promise is broken; then the one
/// that is kept for it, which must be found by the same clause for ever.
fn is_found(bug: Bug) {
    inject(Some(bug));
    let began = Instant::now();
    let found = (0..)
        .take_while(|_| began.elapsed() < PATIENCE)
        .find_map(|seed| simulate(seed, plan(bug)).err());
    let took = began.elapsed().as_secs_f64();
    let found = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
    let (seed, clause, what) = (found.seed, found.clause, found.what);
    println!("{bug:?}: {took:.1} s, seed {seed}: {clause}: {what}");
    let (_, kept, by) = SEEDS
        .into_iter()
        .find(|(kept, ..)| *kept == bug)
        .expect("a seed a bug");
    let again = simulate(kept, plan(bug)).err();
    inject(None);
    let broken = again.map(|violation| violation.clause);
    assert!(
        broken == Some(by),
        "the schedule of seed {kept} breaks {broken:?} and not {by}: schedules are drawn otherwise now; \
         keep `(Bug::{bug:?}, {seed}, \"{clause}\")` in tests/simulation/seeds.rs instead"
    );
}

macro_rules! found {
    ($($test:ident: $bug:ident,)+) => {
        $(#[test] fn $test() { is_found(Bug::$bug); })+
    };
}

found!(
    revisions_from_a_sequence_are_found: SequenceTail,
    a_bell_without_a_poll_is_found: BellWithoutPoll,
    a_tail_without_its_anchor_is_found: TailWithoutAnchor,
    a_look_aside_fill_is_found: LookAsideFill,
    a_view_ahead_of_the_feed_is_found: ViewAheadOfFeed,
    a_payload_from_the_request_is_found: PayloadFromRequest,
    a_revision_applied_before_its_views_is_found: AppliedBeforeViews,
    a_lease_read_after_the_view_is_found: LeaseAfterView,
    a_lease_from_receipt_is_found: LeaseFromReceipt,
    a_wall_clock_in_the_lease_is_found: WallClockInTheLease,
    a_write_in_the_handlers_future_is_found: WriteInTheHandlerFuture,
    a_prune_taken_for_a_fork_is_found: PruneTakenForAFork,
    an_epoch_from_the_row_alone_is_found: EpochFromTheRowAlone,
    a_wrong_identity_key_is_found: WrongIdentityKey,
    a_write_acknowledged_before_it_is_applied_is_found: AcknowledgedBeforeApplied,
    a_token_honoured_by_its_place_alone_is_found: TokenByItsPlaceAlone,
);

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "whoever looks for a bug says here which schedule to play"
)]
fn without_a_bug_nothing_is_found_however_threads_are_held_up() {
    let told = std::env::var("BANCHECK_SIMULATION_SEED").ok();
    let told = told.map(|seed| seed.parse::<u64>().expect("a number"));
    let plan = Plan {
        stumbles: true,
        whole: told.is_some(),
        ..Plan::default()
    };
    let seeds = told.map_or(0..200, |seed| seed..seed + 1);
    for seed in seeds {
        if let Err(violation) = simulate(seed, plan) {
            panic!("{violation}");
        }
    }
}
