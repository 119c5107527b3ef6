//! One schedule for each bug by name that brings it to light: with the bug it breaks this promise
//! (`tests/teeth.rs`), and without it none (`tests/simulation.rs`).

use bancheck::teeth::Bug;

/// The bug, the seed of the schedule, and the clause that it is found by.
pub(crate) const SEEDS: [(Bug, u64, &str); 16] = [
    (Bug::SequenceTail, 0, ""),
    (Bug::BellWithoutPoll, 0, ""),
    (Bug::TailWithoutAnchor, 0, ""),
    (Bug::LookAsideFill, 0, ""),
    (Bug::ViewAheadOfFeed, 0, ""),
    (Bug::PayloadFromRequest, 0, ""),
    (Bug::AppliedBeforeViews, 0, ""),
    (Bug::LeaseAfterView, 0, ""),
    (Bug::LeaseFromReceipt, 0, ""),
    (Bug::WallClockInTheLease, 0, ""),
    (Bug::WriteInTheHandlerFuture, 0, ""),
    (Bug::PruneTakenForAFork, 0, ""),
    (Bug::EpochFromTheRowAlone, 0, ""),
    (Bug::WrongIdentityKey, 0, ""),
    (Bug::AcknowledgedBeforeApplied, 0, ""),
    (Bug::TokenByItsPlaceAlone, 0, ""),
];
