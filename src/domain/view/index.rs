//! Every banned identifier of one tenant, found by its digest, in versions that never change.
//!
//! A check reads one version without a lock; the feed makes the next beside it, and the two share
//! all but what changed. It is extendible hashing on the leading bits of a digest, which are even:
//!
//! ```text
//! directory of 2^g slots: the first g bits
//!   └─ node of depth d ≤ g: the next 6 bits      in each of the 2^(g-d) slots that agree on d bits
//!        └─ leaf of about 30 to 60 entries       sorted by key, then by ban
//! ```
//!
//! A change copies one leaf, one node of 64 pointers and the directory, never the rest; what no
//! other version holds is changed in place. Emptied nodes stay: half a byte for each past entry.
//!
//! Most look-ups find nothing, those for ranges above all: one for each width in use. So a node that
//! has filled keeps a [`Sieve`] besides, which says no without a look at a leaf.
//!
//! **Invariant:** a clone never changes. **Invariant:** nothing here reads a clock or decides.

pub mod parts;
mod sieve;

use std::array;
use std::sync::Arc;

use self::sieve::Sieve;

use crate::domain::ban::BanId;

/// Bits of the key that choose a leaf within its node.
const LEAF_BITS: u32 = 6;
const LEAVES: usize = 1 << LEAF_BITS;
/// Mean length of its leaves at which a node splits; longer ones cost more to copy on a change.
const LEAF_TARGET: usize = 60;
/// Entries there must be for each slot of the directory, or keys that are not even would double it
/// for ever. Even ones need a slot for 2 000 to 4 000; a load in key order, for a while, more.
const ENTRIES_PER_SLOT: usize = 64;
/// Entries of a node from which on it keeps a sieve; smaller ones are in the near caches anyway.
const SIEVED: usize = 1_024;
/// Nodes whose leaves are made anew in one go.
const STRAIGHTENED: usize = 16;
/// The two counts an `Arc` keeps before its value.
const ARC_HEADER: usize = 2 * size_of::<usize>();

/// The digest of one canonical identifier within its tenant: what a check looks up.
///
/// Bytes, because the alignment of a `u128` would pad every [`Entry`] to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 16]);

impl Key {
    /// The digest that this number is.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits.to_be_bytes())
    }

    /// The digest as a number, whose order is that of the bytes.
    pub const fn bits(self) -> u128 {
        u128::from_be_bytes(self.0)
    }
}

impl From<u128> for Key {
    fn from(bits: u128) -> Self {
        Self::from_bits(bits)
    }
}

/// One identifier of one ban, with just what a decision needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The banned identifier.
    pub key: Key,
    /// The ban it belongs to; a ban of several identifiers has an entry for each.
    pub ban: BanId,
    /// The first instant at which the ban holds, in the view's unit of time.
    pub starts: i64,
    /// The first instant at which it no longer does.
    pub ends: i64,
    /// The ban list it stands on, by the view's numbering.
    pub list: u32,
    /// The channels it holds on, a bit for each.
    pub channels: u16,
    /// What kind of identifier is banned, by the view's numbering.
    pub kind: u8,
    /// What else bears on the decision, such as a shadow ban; the view names the bits.
    pub flags: u8,
}

const _: () = assert!(size_of::<Entry>() == 56);

impl Entry {
    /// What entries are sorted by, and what makes two of them the same.
    const fn place(&self) -> (u128, BanId) {
        (self.key.bits(), self.ban)
    }
}

/// One thing the feed says of an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The ban covers the identifier, as this entry says and no longer as one before it said.
    Put(Entry),
    /// The ban does not cover the identifier; if it never did, nothing happens.
    Remove(Key, BanId),
}

impl Change {
    const fn place(&self) -> (u128, BanId) {
        match self {
            Self::Put(entry) => entry.place(),
            Self::Remove(key, ban) => (key.bits(), *ban),
        }
    }
}

/// One version of the index; a clone costs a pointer.
#[derive(Clone)]
pub struct Index {
    /// In key order, a power of two of slots; a node stands in each of its slots.
    directory: Arc<[Arc<Node>]>,
    len: usize,
    /// Heap bytes of the nodes and their leaves.
    node_bytes: usize,
}

impl Default for Index {
    fn default() -> Self {
        let leaves = array::from_fn(|_| Leaf::default());
        let root = Node {
            depth: 0,
            leaves,
            sieve: None,
        };
        Self {
            node_bytes: root.bytes(),
            directory: Arc::new([Arc::new(root)]),
            len: 0,
        }
    }
}

impl Index {
    /// The number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody is banned here.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Heap bytes this version holds, shared or not, as asked of the allocator.
    pub fn bytes(&self) -> usize {
        ARC_HEADER + size_of_val(&*self.directory) + self.node_bytes
    }

    /// Whether there may be entries of that key; a no is certain, and quicker than to look.
    pub fn may_hold(&self, key: Key) -> bool {
        self.node(key.bits()).may_hold(key)
    }

    /// Every entry of that key, sorted by ban; none is the usual answer. Nothing is allocated.
    pub fn get(&self, key: Key) -> &[Entry] {
        let rest = self.node(key.bits()).not_below(key);
        let same = rest.iter().take_while(|entry| entry.key == key);
        &rest[..same.count()]
    }

    /// Every entry, in order of key, then of ban.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        let runs = self.directory.chunk_by(Arc::ptr_eq);
        runs.flat_map(|run| run[0].leaves.iter().flat_map(|leaf| leaf.iter()))
    }

    /// Makes this the next version and empties `changes`, whose room the caller may use again.
    ///
    /// Of several changes to one ban of one key the last counts. A leaf, a node and the directory
    /// are copied at most once for all of them, so a batch is far cheaper than one by one. `told`
    /// hears of every place that was changed: what stood there before, and what stands there now.
    pub fn apply(
        &mut self,
        changes: &mut Vec<Change>,
        mut told: impl FnMut(Option<&Entry>, Option<&Entry>),
    ) {
        // Stable: the last of several changes to one place stays the last of them.
        changes.sort_by_key(Change::place);
        let (mut scratch, mut rest) = (Vec::new(), changes.as_slice());
        while let Some((bits, _)) = rest.first().map(Change::place) {
            let slots = self.slots(bits);
            let node = Arc::make_mut(&mut slots[0]);
            let within = |change: &Change| (change.place().0 ^ bits).leading_zeros() >= node.depth;
            let (ours, others) = rest.split_at(rest.partition_point(within));
            let (len, bytes) = (node.len(), node.bytes());
            node.apply(ours, &mut scratch, &mut told);
            let (new_len, new_bytes) = (node.len(), node.bytes());
            let node = Arc::clone(&slots[0]);
            slots[1..].fill(node);
            self.len = self.len - len + new_len;
            self.node_bytes = self.node_bytes - bytes + new_bytes;
            self.split_while_overfull(bits);
            rest = others;
        }
        changes.clear();
    }

    /// Makes the leaves of some nodes anew, each after the one before it, from a slot of the directory on;
    /// returns the next slot, unless those were the last.
    ///
    /// Where they were made while entries came, some lie where something shorter was, with holes between.
    pub fn straighten(&mut self, mut slot: usize) -> Option<usize> {
        for _ in 0..STRAIGHTENED {
            let node = self.directory.get(slot)?;
            let width = self.directory.len() >> node.depth;
            let straight = Arc::new(node.straight());
            Arc::make_mut(&mut self.directory)[slot..slot + width].fill(straight);
            slot += width;
        }
        Some(slot)
    }

    /// Splits the node those bits lead to, then its halves, until none is overfull.
    fn split_while_overfull(&mut self, bits: u128) {
        let node = self.node(bits);
        let lens = node.leaves.iter().map(|leaf| leaf.len());
        // All of the fullest leaf may be one key's, which no split would part.
        let others = node.len() - lens.max().unwrap_or_default();
        let room = (self.len / ENTRIES_PER_SLOT) >> (node.depth + 1) > 0;
        if others <= LEAVES * LEAF_TARGET || !room {
            return;
        }
        let half = 1 << (u128::BITS - 1 - node.depth);
        let [low, high] = node.split();
        self.node_bytes = self.node_bytes - node.bytes() + low.bytes() + high.bytes();
        if self.slots(bits).len() == 1 {
            let twice = |node| [Arc::clone(node), Arc::clone(node)];
            self.directory = self.directory.iter().flat_map(twice).collect();
        }
        let slots = self.slots(bits);
        let (lows, highs) = slots.split_at_mut(slots.len() / 2);
        lows.fill(Arc::new(low));
        highs.fill(Arc::new(high));
        self.split_while_overfull(bits & !half);
        self.split_while_overfull(bits | half);
    }

    fn node(&self, bits: u128) -> &Node {
        &self.directory[take(bits, 0, self.directory.len().trailing_zeros())]
    }

    /// The slots that share the node those bits lead to, in a directory no other version holds.
    fn slots(&mut self, bits: u128) -> &mut [Arc<Node>] {
        let depth = self.node(bits).depth;
        let width = self.directory.len() >> depth;
        let start = take(bits, 0, depth) * width;
        &mut Arc::make_mut(&mut self.directory)[start..start + width]
    }
}

/// By key, then by ban. The empty ones are all one allocation, made by `std`.
type Leaf = Arc<[Entry]>;

/// The entries whose keys agree on the first `depth` bits, in leaves by the next [`LEAF_BITS`].
#[derive(Clone)]
struct Node {
    depth: u32,
    leaves: [Leaf; LEAVES],
    sieve: Option<Arc<Sieve>>,
}

impl Node {
    fn len(&self) -> usize {
        self.leaves.iter().map(|leaf| leaf.len()).sum()
    }

    fn bytes(&self) -> usize {
        let filled = self.leaves.iter().filter(|leaf| !leaf.is_empty());
        let leaves: usize = filled.map(|leaf| ARC_HEADER + size_of_val(&**leaf)).sum();
        let sieve = self.sieve.as_ref().map_or(0, |_| sieve::BYTES);
        ARC_HEADER + size_of::<Self>() + leaves + sieve
    }

    fn may_hold(&self, key: Key) -> bool {
        let leaf = take(key.bits(), self.depth, LEAF_BITS);
        self.sieve
            .as_ref()
            .is_none_or(|sieve| sieve.may_hold(leaf, key))
    }

    fn straight(&self) -> Self {
        Self {
            depth: self.depth,
            leaves: array::from_fn(|at| leaf_from(&self.leaves[at])),
            sieve: self.sieve.clone(),
        }
    }

    /// Makes a sieve, if the node is worth one by now.
    fn sift(&mut self) {
        if self.len() >= SIEVED {
            self.sieve = Some(Arc::new(Sieve::of(&self.leaves)));
        }
    }

    /// The entries of its leaf from that key on.
    ///
    /// Even digests lie about where their next bits say. Walking from there reads two or three
    /// cache lines in a row, halving the leaf five apart: at a million entries 160 ns, not 450. A
    /// key of thousands of bans makes the walk long, but then its reader has as many to weigh.
    fn not_below(&self, key: Key) -> &[Entry] {
        let leaf = &*self.leaves[take(key.bits(), self.depth, LEAF_BITS)];
        let below = |entry: &Entry| entry.key < key;
        let guess = (take(key.bits(), self.depth + LEAF_BITS, 32) * leaf.len()) >> 32;
        let (before, after) = leaf.split_at(guess);
        let back = before.iter().rev().take_while(|e| !below(e)).count();
        let ahead = after.iter().take_while(|e| below(e)).count();
        &leaf[guess - back + ahead..]
    }

    /// Merges sorted changes into the leaves they belong to.
    fn apply(
        &mut self,
        changes: &[Change],
        scratch: &mut Vec<Entry>,
        told: &mut impl FnMut(Option<&Entry>, Option<&Entry>),
    ) {
        let depth = self.depth;
        let leaf_of = |change: &Change| take(change.place().0, depth, LEAF_BITS);
        for ours in changes.chunk_by(|a, b| leaf_of(a) == leaf_of(b)) {
            let leaf = &mut self.leaves[leaf_of(&ours[0])];
            let mut rest = &leaf[..];
            scratch.clear();
            for same in ours.chunk_by(|a, b| a.place() == b.place()) {
                let last = &same[same.len() - 1];
                let found = rest.binary_search_by_key(&last.place(), Entry::place);
                let (Ok(at) | Err(at)) = found;
                scratch.extend_from_slice(&rest[..at]);
                let before = found.is_ok().then(|| &rest[at]);
                let after = match last {
                    Change::Put(entry) => Some(entry),
                    Change::Remove(..) => None,
                };
                told(before, after);
                scratch.extend(after);
                rest = &rest[at + usize::from(before.is_some())..];
            }
            scratch.extend_from_slice(rest);
            *leaf = leaf_from(scratch);
            if let Some(sieve) = &mut self.sieve {
                Arc::make_mut(sieve).fill(leaf_of(&ours[0]), scratch);
            }
        }
        if self.sieve.is_none() {
            self.sift();
        }
    }

    /// The two nodes one bit deeper; either has half of the leaves, each as two.
    fn split(&self) -> [Self; 2] {
        let (depth, next) = (self.depth + 1, self.depth + LEAF_BITS);
        [0, LEAVES / 2].map(|first| {
            let leaves = array::from_fn(|at| {
                let leaf = &self.leaves[first + at / 2];
                let cut = leaf.partition_point(|e| take(e.key.bits(), next, 1) == 0);
                leaf_from([&leaf[..cut], &leaf[cut..]][at % 2])
            });
            let mut half = Self {
                depth,
                leaves,
                sieve: None,
            };
            half.sift();
            half
        })
    }
}

fn leaf_from(entries: &[Entry]) -> Leaf {
    let first = entries.first();
    first.map_or_else(Leaf::default, |_| Leaf::from(entries))
}

/// As a number, the `count` bits that follow the first `skip`; all of them are of the upper half,
/// which is quicker to shift than the whole.
const fn take(bits: u128, skip: u32, count: u32) -> usize {
    debug_assert!(skip + count <= u64::BITS, "no index is as deep as that");
    let upper = (bits >> u64::BITS) as u64;
    // In two steps, because to take no bits at all would be a shift by 64.
    (((upper << skip) >> 1) >> (u64::BITS - 1 - count)) as usize
}

#[cfg(test)]
mod tests;
