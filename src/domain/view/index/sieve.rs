//! Which keys a node does not hold, in few enough bits to stay in the near caches.
//!
//! One cache line for each leaf, in which every key of the leaf sets four bits (a Bloom filter in
//! blocks). Of the 60 entries that a leaf holds at most, about one key in fifty that is not there
//! gets past; of 43, the mean, one in a hundred and fifty. A line is filled anew with its leaf, so
//! what was taken out leaves nothing behind.

use super::{Entry, Key, LEAVES, Leaf};

/// Bits of a line, by the number of bits that say which.
const LINE_BITS: u32 = 9;
const WORDS: usize = (1 << LINE_BITS) / 64;
/// Bits that a key sets.
const SET: u32 = 4;

type Line = [u64; WORDS];

/// The lines of a node's leaves.
#[derive(Clone)]
#[repr(align(64))]
pub(super) struct Sieve([Line; LEAVES]);

/// The bits of a key within its line: word and mask, from the end that no leaf goes by.
fn bits(key: Key) -> impl Iterator<Item = (usize, u64)> {
    let low = u64::try_from(key.bits() & u128::from(u64::MAX)).unwrap_or_default();
    (0..SET).map(move |nth| {
        let bit = (low >> (nth * LINE_BITS)) & ((1 << LINE_BITS) - 1);
        (
            usize::try_from(bit / 64).unwrap_or_default(),
            1 << (bit % 64),
        )
    })
}

/// What an `Arc` of one asks of the allocator: its two counts are padded to the alignment.
pub(super) const BYTES: usize = align_of::<Sieve>() + size_of::<Sieve>();

impl Sieve {
    /// The sieve of these leaves.
    pub(super) fn of(leaves: &[Leaf; LEAVES]) -> Self {
        let mut sieve = Self([[0; WORDS]; LEAVES]);
        for (at, leaf) in leaves.iter().enumerate() {
            sieve.fill(at, leaf);
        }
        sieve
    }

    /// Fills the line of a leaf anew.
    pub(super) fn fill(&mut self, leaf: usize, entries: &[Entry]) {
        let mut line = [0; WORDS];
        for entry in entries {
            for (word, mask) in bits(entry.key) {
                line[word] |= mask;
            }
        }
        self.0[leaf] = line;
    }

    /// Whether a key of this leaf may be there.
    pub(super) fn may_hold(&self, leaf: usize, key: Key) -> bool {
        let line = &self.0[leaf];
        // All of them and no sooner: where to stop would be guessed wrong too often.
        let missing = bits(key).fold(0, |missing, (word, mask)| missing | (!line[word] & mask));
        missing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ids::BanId, view::index::Leaf};

    fn entry(bits: u128) -> Entry {
        Entry {
            key: Key::from(bits),
            ban: BanId::from_bytes([0; 16]),
            starts: 0,
            ends: 0,
            list: 0,
            channels: 0,
            kind: 0,
            flags: 0,
        }
    }

    /// Odd multiples of the golden ratio: even, and the same every time.
    fn key(number: u128) -> u128 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }

    #[test]
    fn what_is_there_passes_and_of_what_is_not_hardly_anything() {
        let full: Vec<Entry> = (1..=60).map(|at| entry(key(at))).collect();
        let mut leaves: [Leaf; LEAVES] = std::array::from_fn(|_| Leaf::default());
        leaves[5] = Leaf::from(full.as_slice());
        let sieve = Sieve::of(&leaves);
        assert!(full.iter().all(|entry| sieve.may_hold(5, entry.key)));
        let strangers = 1_000..101_000_u128;
        let passed = strangers
            .filter(|at| sieve.may_hold(5, Key::from(key(*at))))
            .count();
        assert!(passed < 4_000, "{passed} of 100 000 pass");
        assert!(!sieve.may_hold(6, full[0].key));
    }

    #[test]
    fn what_was_taken_out_leaves_nothing_behind() {
        let leaves: [Leaf; LEAVES] = std::array::from_fn(|_| Leaf::default());
        let mut sieve = Sieve::of(&leaves);
        sieve.fill(0, &[entry(key(1)), entry(key(2))]);
        sieve.fill(0, &[entry(key(2))]);
        assert!(!sieve.may_hold(0, Key::from(key(1))));
        assert!(sieve.may_hold(0, Key::from(key(2))));
    }
}
