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
//! **Invariant:** a clone never changes. **Invariant:** nothing here reads a clock or decides.

use std::array;
use std::sync::Arc;

use crate::domain::ban::BanId;

/// Bits of the key that choose a leaf within its node.
const LEAF_BITS: u32 = 6;
const LEAVES: usize = 1 << LEAF_BITS;
/// Mean length of its leaves at which a node splits; longer ones cost more to copy on a change.
const LEAF_TARGET: usize = 60;
/// Entries there must be for each slot of the directory, or keys that are not even would double it
/// for ever. Even ones need a slot for 2 000 to 4 000; a load in key order, for a while, more.
const ENTRIES_PER_SLOT: usize = 64;
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
        let root = Node { depth: 0, leaves };
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
}

impl Node {
    fn len(&self) -> usize {
        self.leaves.iter().map(|leaf| leaf.len()).sum()
    }

    fn bytes(&self) -> usize {
        let filled = self.leaves.iter().filter(|leaf| !leaf.is_empty());
        let leaves: usize = filled.map(|leaf| ARC_HEADER + size_of_val(&**leaf)).sum();
        ARC_HEADER + size_of::<Self>() + leaves
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
            Self { depth, leaves }
        })
    }
}

fn leaf_from(entries: &[Entry]) -> Leaf {
    let first = entries.first();
    first.map_or_else(Leaf::default, |_| Leaf::from(entries))
}

/// As a number, the `count` bits that follow the first `skip`.
const fn take(bits: u128, skip: u32, count: u32) -> usize {
    // In two steps, because to take no bits at all would be a shift by 128.
    (((bits << skip) >> 1) >> (u128::BITS - 1 - count)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<(u128, [u8; 16]), Entry>;

    /// Marsaglia's xorshift: the same surprises on every run.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, sides: u64) -> u64 {
            self.roll() % sides
        }

        fn index(&mut self, len: usize) -> usize {
            usize::try_from(self.below(len as u64)).unwrap()
        }

        fn digest(&mut self) -> u128 {
            u128::from(self.roll()) << 64 | u128::from(self.roll())
        }
    }

    fn ban(number: u64) -> [u8; 16] {
        u128::from(number).to_be_bytes()
    }

    fn entry(key: u128, ban: [u8; 16], starts: i64) -> Entry {
        Entry {
            key: Key::from(key),
            ban: BanId::from_bytes(ban),
            starts,
            ends: i64::MAX,
            list: 7,
            channels: 0b101,
            kind: 1,
            flags: 0,
        }
    }

    fn put(key: u128, number: u64) -> Change {
        Change::Put(entry(key, ban(number), 0))
    }

    fn remove(key: u128, number: u64) -> Change {
        Change::Remove(Key::from(key), BanId::from_bytes(ban(number)))
    }

    fn index_of(mut changes: Vec<Change>) -> Index {
        let mut index = Index::default();
        index.apply(&mut changes, |_, _| ());
        index
    }

    /// Bytes as anyone would count them who walked every allocation.
    fn counted_bytes(index: &Index) -> usize {
        let mut nodes: Vec<_> = index.directory.iter().collect();
        nodes.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let leaves = nodes
            .iter()
            .flat_map(|node| node.leaves.iter().filter(|l| !l.is_empty()));
        let leaves: usize = leaves.map(|leaf| ARC_HEADER + size_of_val(&**leaf)).sum();
        let directory = ARC_HEADER + index.directory.len() * size_of::<usize>();
        directory + nodes.len() * (ARC_HEADER + size_of::<Node>()) + leaves
    }

    fn assert_same(index: &Index, model: &Model, strangers: &[u128]) {
        assert!(index.iter().eq(model.values()), "the walk differs");
        assert_eq!(index.len(), model.len());
        assert_eq!(index.is_empty(), model.is_empty());
        assert_eq!(index.bytes(), counted_bytes(index));
        for key in model.keys().map(|(key, _)| key).chain(strangers) {
            let expected = model
                .range((*key, [0; 16])..=(*key, [255; 16]))
                .map(|(_, e)| e);
            assert!(
                index.get(Key::from(*key)).iter().eq(expected),
                "{key:032x} differs"
            );
        }
    }

    /// Random batches over the keys that `draw` makes; every version kept is compared at the end.
    fn live_through(seed: u64, rounds: u64, batch: u64, draw: impl Fn(&mut Dice) -> u128) {
        let mut dice = Dice(seed);
        let (mut index, mut model) = (Index::default(), Model::new());
        let (mut past, mut changes, mut known) = (Vec::new(), Vec::new(), Vec::new());
        let mut heard = Model::new();
        for round in 0..rounds {
            // Every other version is kept, so that some batches work in place and some copy.
            if round % 2 == 0 {
                past.push((index.clone(), model.clone()));
            }
            // The last third of the rounds mostly removes.
            let removals = if round * 3 > rounds * 2 { 8 } else { 3 };
            for turn in 0..dice.below(batch) {
                let again = known.len() as u64 > dice.below(batch);
                let key = if again {
                    known[dice.index(known.len())]
                } else {
                    draw(&mut dice)
                };
                let ban = ban(dice.below(3));
                if dice.below(10) < removals {
                    model.remove(&(key, ban));
                    changes.push(Change::Remove(Key::from(key), BanId::from_bytes(ban)));
                } else {
                    let entry = entry(key, ban, (round * batch + turn).cast_signed());
                    model.insert((key, ban), entry);
                    changes.push(Change::Put(entry));
                    known.push(key);
                }
            }
            index.apply(&mut changes, |before, after| {
                let place = |e: &Entry| (e.key.bits(), *e.ban.bytes());
                let gone = before.map(|e| (heard.remove(&place(e)), e));
                assert!(gone.is_none_or(|(gone, e)| gone == Some(*e)));
                let over = after.map(|e| heard.insert(place(e), *e));
                assert!(over.is_none_or(|over| over.is_none()));
            });
            assert!(changes.is_empty());
            assert_eq!(heard, model, "whoever only listens knows as much");
            let strangers: Vec<_> = (0..50).map(|_| draw(&mut dice)).collect();
            assert_same(&index, &model, &strangers);
        }
        for (version, model) in &past {
            assert_same(version, model, &[]);
        }
    }

    #[test]
    fn it_answers_as_an_ordered_map_would_for_even_keys() {
        live_through(1, 60, 1_500, Dice::digest);
    }

    #[test]
    fn it_answers_as_an_ordered_map_would_when_keys_repeat() {
        live_through(2, 400, 40, |dice| u128::from(dice.below(12)) << 122);
        live_through(3, 400, 40, |dice| u128::from(dice.below(12)));
    }

    #[test]
    fn it_answers_as_an_ordered_map_would_when_keys_agree_on_many_bits() {
        live_through(4, 40, 1_500, |dice| dice.digest() >> 40);
        live_through(5, 40, 1_500, |dice| dice.digest() >> 100);
        live_through(6, 40, 1_500, |dice| dice.digest() >> dice.below(128));
        live_through(7, 40, 1_500, |dice| !(dice.digest() >> dice.below(128)));
    }

    #[test]
    fn an_empty_index_bans_nobody() {
        let index = index_of(vec![remove(5, 1)]);
        assert!(index.is_empty());
        assert_eq!(index.get(Key::from(5)), []);
        assert_eq!(index.iter().count(), 0);
        assert!(index.bytes() < 2_000);
    }

    #[test]
    fn of_two_changes_to_one_ban_the_later_counts() {
        let again = entry(1, ban(1), 99);
        let index = index_of(vec![put(1, 1), remove(1, 1), put(2, 1), Change::Put(again)]);
        assert_eq!(index.get(Key::from(1)), [again]);
        let index = index_of(vec![
            put(1, 1),
            put(1, 2),
            remove(1, 1),
            remove(2, 1),
            put(2, 1),
        ]);
        assert_eq!(index.get(Key::from(1)), [entry(1, ban(2), 0)]);
        assert_eq!(index.len(), 2);
    }

    #[test]
    fn two_hundred_thousand_bans_made_one_by_one_are_all_found() {
        let (mut dice, mut index, mut changes) = (Dice(8), Index::default(), Vec::new());
        let keys: Vec<_> = (0..200_000).map(|_| dice.digest()).collect();
        let mut before = index.clone();
        for (made, key) in keys.iter().enumerate() {
            if made % 1_000 == 0 {
                assert_eq!(before.len(), made.saturating_sub(1_000));
                before = index.clone();
            }
            changes.push(put(*key, 1));
            index.apply(&mut changes, |_, _| ());
        }
        assert_eq!(index.len(), keys.len());
        assert!(
            keys.iter()
                .all(|key| index.get(Key::from(*key)) == [entry(*key, ban(1), 0)])
        );
        assert!(index.iter().is_sorted_by_key(Entry::place));
        assert_eq!(index.bytes(), counted_bytes(&index));
    }

    #[test]
    fn ten_thousand_bans_of_one_customer_do_not_widen_the_directory() {
        let mut dice = Dice(9);
        let mut changes: Vec<_> = (0..10_000)
            .map(|number| put(u128::MAX / 3, number))
            .collect();
        let mut index = index_of(changes.clone());
        let bans: Vec<_> = index
            .get(Key::from(u128::MAX / 3))
            .iter()
            .map(|e| e.ban)
            .collect();
        assert_eq!(bans.len(), 10_000);
        assert!(bans.is_sorted());
        assert_eq!(index.directory.len(), 1);
        changes.extend((0..50_000).map(|_| put(dice.digest(), 1)));
        index.apply(&mut changes, |_, _| ());
        assert_eq!(index.len(), 60_000);
        assert!(index.directory.len() <= 32);
        assert_eq!(index.get(Key::from(u128::MAX / 3)).len(), 10_000);
        assert_eq!(index.get(Key::from(u128::MAX / 3 + 1)), []);
    }

    #[test]
    fn a_load_in_key_order_ends_as_small_as_one_in_any_order() {
        let mut dice = Dice(10);
        let mut keys: Vec<_> = (0..100_000).map(|_| dice.digest()).collect();
        let load = |keys: &[u128]| {
            let mut index = Index::default();
            for page in keys.chunks(4_096) {
                index.apply(
                    &mut page.iter().map(|key| put(*key, 1)).collect(),
                    |_, _| (),
                );
            }
            index
        };
        let scattered = load(&keys);
        keys.sort_unstable();
        let ordered = load(&keys);
        assert!(ordered.iter().eq(scattered.iter()));
        for index in [scattered, ordered] {
            assert!((56 * keys.len()..58 * keys.len()).contains(&index.bytes()));
            assert_eq!(index.bytes(), counted_bytes(&index));
            assert!(index.directory.len() <= 128);
            let leaves = index.directory.iter().flat_map(|node| &node.leaves);
            assert!(leaves.map(|leaf| leaf.len()).max() < Some(4 * LEAF_TARGET));
        }
    }

    #[test]
    fn keys_crowded_at_ever_deeper_bits_cannot_widen_the_directory_for_ever() {
        let crowded = |key: u128| (1 << (127 - 5 * (key % 5))) | key;
        let index = index_of((0..20_000).map(|key| put(crowded(key), 1)).collect());
        assert!(index.directory.len() > 1);
        assert!(index.directory.len() <= 20_000 / ENTRIES_PER_SLOT);
        assert!((0..20_000).all(|key| index.get(Key::from(crowded(key))).len() == 1));
    }

    #[test]
    fn a_version_shares_with_the_next_all_but_what_changed() {
        let mut dice = Dice(11);
        let before = index_of((0..50_000).map(|_| put(dice.digest(), 1)).collect());
        let mut after = before.clone();
        after.apply(&mut vec![put(dice.digest(), 2)], |_, _| ());
        let leaves = |index: &Index| -> Vec<Leaf> {
            let runs = index.directory.chunk_by(Arc::ptr_eq);
            runs.flat_map(|run| run[0].leaves.iter().map(Arc::clone))
                .collect()
        };
        let pairs = leaves(&before).into_iter().zip(leaves(&after));
        assert_eq!(pairs.filter(|(old, new)| !Arc::ptr_eq(old, new)).count(), 1);
        assert_eq!(before.len() + 1, after.len());
    }
}
