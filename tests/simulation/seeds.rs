//! One schedule for each bug by name that brings it to light: with the bug it breaks this promise
//! (`tests/teeth.rs`), and without it none (`tests/simulation.rs`).

use bancheck::teeth::Bug;

/// The bug, the seed of the schedule, and the clause that it is found by.
pub(crate) const SEEDS: [(Bug, u64, &str); 16] = [
    (Bug::SequenceTail, 2, "a token includes its write"),
    (Bug::BellWithoutPoll, 0, "fresh when nothing is wrong"),
    (Bug::TailWithoutAnchor, 2, "C-2"),
    (Bug::LookAsideFill, 1, "C-5"),
    (Bug::ViewAheadOfFeed, 1, "C-5"),
    (Bug::PayloadFromRequest, 0, "C-5"),
    (Bug::AppliedBeforeViews, 1, "C-1"),
    (Bug::LeaseAfterView, 2, "C-1"),
    (Bug::LeaseFromReceipt, 1, "a token includes its write"),
    (Bug::WallClockInTheLease, 6, "C-4"),
    (
        Bug::WriteInTheHandlerFuture,
        0,
        "a write once begun is done",
    ),
    (Bug::PruneTakenForAFork, 7, "an epoch is one history"),
    (Bug::EpochFromTheRowAlone, 155, "C-2"),
    (Bug::WrongIdentityKey, 1, "C-3"),
    (
        Bug::AcknowledgedBeforeApplied,
        0,
        "a token includes its write",
    ),
    (Bug::TokenByItsPlaceAlone, 5, "C-4"),
];
