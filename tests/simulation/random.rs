//! Chance that repeats itself: a seed decides all of it.

use std::time::Duration;

/// A stream of numbers that its seed decides (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The stream of a seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    /// Another stream, for a part that draws in an order of its own.
    pub(crate) fn apart(&self, name: u64) -> Self {
        let mut other = Self(self.0 ^ name.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Self(other.draw())
    }

    /// The next number.
    pub(crate) const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// A number below a bound that is not nought.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// A number between these two, both included.
    pub(crate) const fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// The place of one of so many things.
    pub(crate) fn place(&mut self, of: usize) -> usize {
        usize::try_from(self.below(of as u64)).expect("a place below a usize")
    }

    /// Whether something happens that happens so many times in a hundred.
    pub(crate) const fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A time of at most so long.
    pub(crate) fn upto(&mut self, longest: Duration) -> Duration {
        let millis = u64::try_from(longest.as_millis()).expect("a short time");
        Duration::from_millis(self.below(millis + 1))
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.place(from.len())]
    }
}
