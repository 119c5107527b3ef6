//! Named bugs, to find out whether the simulation and the torture run would find them.
//!
//! Only a build with the feature `teeth`, which is for tests alone, can have one: in every other,
//! [`bites`] is always false, and what it guards is not in the program.

/// A bug that a system like this could have, and some have had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// Revisions come from a sequence, in the order of inserts rather than of commits.
    SequenceTail = 1,
    /// Without having heard the bell nobody looks.
    BellWithoutPoll,
    /// A tail begins after the row held last, so nobody sees that it became another.
    TailWithoutAnchor,
    /// Whoever misses a view puts the one it read into the cache, whatever was heard meanwhile.
    LookAsideFill,
    /// A view that was read is used before the feed has come as far.
    ViewAheadOfFeed,
    /// The feed tells what was asked for rather than what was written.
    PayloadFromRequest,
    /// The applied revision is told before the views are there.
    AppliedBeforeViews,
    /// A check looks at the view first and at the lease later.
    LeaseAfterView,
    /// The lease counts from when the tail came rather than from when it was sent.
    LeaseFromReceipt,
    /// The lease is counted on a clock that people set.
    WallClockInTheLease,
    /// A write runs in the future of the request, and ends halfway when the caller hangs up.
    WriteInTheHandlerFuture,
    /// Rows that were pruned are taken for another history.
    PruneTakenForAFork,
    /// A new epoch is one more than the database remembers.
    EpochFromTheRowAlone,
    /// A pod begins with another master key than the database was filled under.
    WrongIdentityKey,
    /// A write is acknowledged before the pod itself has applied it.
    AcknowledgedBeforeApplied,
    /// A token is honoured by whatever row has its place, of whichever history that is.
    TokenByItsPlaceAlone,
}

impl Bug {
    /// All there are.
    pub const ALL: [Self; 16] = [
        Self::SequenceTail,
        Self::BellWithoutPoll,
        Self::TailWithoutAnchor,
        Self::LookAsideFill,
        Self::ViewAheadOfFeed,
        Self::PayloadFromRequest,
        Self::AppliedBeforeViews,
        Self::LeaseAfterView,
        Self::LeaseFromReceipt,
        Self::WallClockInTheLease,
        Self::WriteInTheHandlerFuture,
        Self::PruneTakenForAFork,
        Self::EpochFromTheRowAlone,
        Self::WrongIdentityKey,
        Self::AcknowledgedBeforeApplied,
        Self::TokenByItsPlaceAlone,
    ];
}

#[cfg(not(feature = "teeth"))]
mod jaw {
    /// Whether this program has this bug: never.
    #[inline]
    pub const fn bites(_: super::Bug) -> bool {
        false
    }

    /// Where a check or the feed may be held up between two steps: nowhere.
    #[inline]
    pub async fn stumble() {}
}

#[cfg(feature = "teeth")]
mod jaw {
    use std::{
        pin::Pin,
        sync::{
            Mutex, PoisonError,
            atomic::{AtomicU8, Ordering},
        },
    };

    use super::Bug;

    /// A pause between two steps.
    pub type Stumble = Pin<Box<dyn Future<Output = ()> + Send>>;

    static INJECTED: AtomicU8 = AtomicU8::new(0);
    static STUMBLE: Mutex<Option<fn() -> Stumble>> = Mutex::new(None);

    /// Gives this process a bug, or none.
    pub fn inject(bug: Option<Bug>) {
        INJECTED.store(bug.map_or(0, |bug| bug as u8), Ordering::SeqCst);
    }

    /// Gives this process the bug that the environment variable `BANCHECK_TEETH` numbers.
    #[expect(
        clippy::disallowed_methods,
        reason = "for tests alone, so it is not one of the settings"
    )]
    pub fn inject_from_environment() {
        let number = std::env::var("BANCHECK_TEETH").ok();
        let number = number.and_then(|number| number.parse::<u8>().ok());
        inject(Bug::ALL.into_iter().find(|bug| Some(*bug as u8) == number));
    }

    /// Holds checks and the feed up between two steps of theirs, at will.
    pub fn stumble_by(pause: fn() -> Stumble) {
        *STUMBLE.lock().unwrap_or_else(PoisonError::into_inner) = Some(pause);
    }

    /// Whether this process has this bug.
    pub fn bites(bug: Bug) -> bool {
        INJECTED.load(Ordering::Relaxed) == bug as u8
    }

    /// Where a check or the feed may be held up between two steps.
    pub async fn stumble() {
        let pause = *STUMBLE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pause) = pause {
            pause().await;
        }
    }
}

pub use jaw::*;
