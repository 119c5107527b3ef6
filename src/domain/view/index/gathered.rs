//! An index of many entries at once: each leaf is made but once, of just its size.
//!
//! Entries that come one after another in no order would touch every leaf over and over, and leave the
//! allocator full of holes where the shorter ones were.

use std::{array, mem, sync::Arc};

use super::{Entry, Index, LEAF_BITS, LEAF_TARGET, LEAVES, Node, leaf_from, take};

/// Leading bits by which entries are put apart as they come: what is sorted, and held twice for a
/// moment, is one such part.
const PART_BITS: u32 = 6;

/// Entries on the way to an index.
pub struct Gathered {
    parts: [Vec<Entry>; 1 << PART_BITS],
}

impl Default for Gathered {
    fn default() -> Self {
        Self {
            parts: array::from_fn(|_| Vec::new()),
        }
    }
}

impl Gathered {
    /// Adds an entry; of several of one ban and one key the last counts.
    pub fn add(&mut self, entry: Entry) {
        self.parts[take(entry.key.bits(), 0, PART_BITS)].push(entry);
    }

    /// The index of them. `told` hears of every entry that is in it.
    pub fn into_index(mut self, mut told: impl FnMut(&Entry)) -> Index {
        let len = self.parts.iter().map(Vec::len).sum();
        let depth = depth_of(len);
        let shared = depth.min(PART_BITS);
        let (mut nodes, mut len) = (Vec::with_capacity(1 << depth), 0);
        for parts in self.parts.chunks_mut(1 << (PART_BITS - shared)) {
            let mut entries = mem::take(&mut parts[0]);
            for part in &mut parts[1..] {
                entries.append(part);
                *part = Vec::new();
            }
            // Stable, and then of equal ones the last is kept.
            entries.sort_by_key(Entry::place);
            entries.reverse();
            entries.dedup_by_key(|entry| entry.place());
            entries.reverse();
            entries.iter().for_each(&mut told);
            len += entries.len();
            let mut rest = entries.as_slice();
            for number in 0..1 << (depth - shared) {
                let ours = |entry: &Entry| take(entry.key.bits(), shared, depth - shared) <= number;
                let (node, others) = rest.split_at(rest.partition_point(ours));
                nodes.push(Arc::new(node_of(depth, node)));
                rest = others;
            }
        }
        Index {
            node_bytes: nodes.iter().map(|node| node.bytes()).sum(),
            directory: nodes.into(),
            len,
        }
    }
}

/// How many leading bits lead to a node, where keys are even.
fn depth_of(len: usize) -> u32 {
    let nodes = len.div_ceil(LEAVES * LEAF_TARGET).max(1);
    nodes.next_power_of_two().trailing_zeros()
}

fn node_of(depth: u32, entries: &[Entry]) -> Node {
    let mut rest = entries;
    let leaves = array::from_fn(|number| {
        let ours = |entry: &Entry| take(entry.key.bits(), depth, LEAF_BITS) <= number;
        let (leaf, others) = rest.split_at(rest.partition_point(ours));
        rest = others;
        leaf_from(leaf)
    });
    let mut node = Node {
        depth,
        leaves,
        sieve: None,
    };
    node.sift();
    node
}
