//! Pauses between attempts: they grow up to a bound, and differ a little from pod to pod.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(20);

/// How long to wait before the next attempt.
pub(super) struct Pause {
    next: Duration,
    longest: Duration,
    /// Where the jitter comes from; the same seed gives the same pauses.
    random: u64,
}

impl Pause {
    pub(super) const fn new(longest: Duration, seed: u64) -> Self {
        Self {
            next: FIRST,
            longest,
            random: seed,
        }
    }

    /// How long to wait now; the next time it is about twice as long.
    pub(super) fn next(&mut self) -> Duration {
        let half = self.next / 2;
        self.next = (self.next * 2).min(self.longest);
        half + half.mul_f64(self.fraction())
    }

    /// An attempt has succeeded.
    pub(super) const fn reset(&mut self) {
        self.next = FIRST;
    }

    /// A number from 0 to 1, by the generator `SplitMix64`.
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let top = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or_default();
        f64::from(top) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_bound_and_never_beyond() {
        let longest = Duration::from_secs(1);
        let mut pause = Pause::new(longest, 7);
        let taken: Vec<_> = (0..20).map(|_| pause.next()).collect();
        assert!(taken[0] <= FIRST && taken[0] >= FIRST / 2);
        assert!(taken.iter().all(|pause| *pause <= longest));
        assert!(taken[19] >= longest / 2);
        pause.reset();
        assert!(pause.next() <= FIRST);
    }
}
