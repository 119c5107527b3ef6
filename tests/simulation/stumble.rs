//! Holding checks and the feed up between two of their steps, as a scheduler of threads may.

use std::{cell::RefCell, time::Duration};

use bancheck::teeth::{Stumble, stumble_by};
use tokio::time::{Instant, sleep_until};

use super::random::Random;

thread_local! {
    /// What decides how long; `None` = nobody is held up.
    static CHANCE: RefCell<Option<Random>> = const { RefCell::new(None) };
}

/// Holds them up by this seed on this thread from now on, or no more.
pub(super) fn by_chance(seed: Option<u64>) {
    CHANCE.set(seed.map(|seed| Random::new(seed).apart(2)));
    stumble_by(pause);
}

fn pause() -> Stumble {
    let wait = CHANCE.with_borrow_mut(|chance| {
        let random = chance.as_mut()?;
        match random.below(20) {
            0..12 => None,
            12..17 => Some(random.between(1, 30)),
            _ => Some(random.between(30, 1_500)),
        }
    });
    Box::pin(async move {
        if let Some(wait) = wait {
            sleep_until(Instant::now() + Duration::from_millis(wait)).await;
        }
    })
}
