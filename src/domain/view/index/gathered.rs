//! An index of many entries at once: each leaf is made but once, of just its size.
//!
//! Entries that came one after another in no order would touch every leaf over and over, and leave the
//! allocator full of holes where the shorter ones were.

use std::{array, mem, sync::Arc};

use super::{Entry, Index, LEAF_BITS, LEAF_TARGET, LEAVES, Node, leaf_from, take};

/// Leading bits by which entries are put apart as they come: what is sorted, and held twice for a
/// moment, is one such part.
const PART_BITS: u32 = 6;
/// Entries that are kept together, since a longer run would be copied whenever it grows.
const RUN: usize = 1_024;

/// The entries whose keys agree on their first [`PART_BITS`], in the order in which they came.
#[derive(Default)]
struct Part {
    full: Vec<Vec<Entry>>,
    last: Vec<Entry>,
}

/// Entries on the way to an index.
pub struct Gathered {
    parts: [Part; 1 << PART_BITS],
    len: usize,
}

impl Default for Gathered {
    fn default() -> Self {
        Self {
            parts: array::from_fn(|_| Part::default()),
            len: 0,
        }
    }
}

impl Gathered {
    /// Adds an entry; of several of one ban and one key the last counts.
    pub fn add(&mut self, entry: Entry) {
        let part = &mut self.parts[take(entry.key.bits(), 0, PART_BITS)];
        if part.last.len() == RUN {
            part.full.push(mem::take(&mut part.last));
        }
        part.last.push(entry);
        self.len += 1;
    }

    /// Now that all have come.
    pub fn sort(self) -> Sorting {
        let nodes = self.len.div_ceil(LEAVES * LEAF_TARGET).max(1);
        // So many leading bits lead to a node, where keys are even.
        let depth = nodes.next_power_of_two().trailing_zeros();
        Sorting {
            parts: Vec::from(self.parts).into_iter(),
            depth,
            nodes: Vec::with_capacity(1 << depth),
            len: 0,
        }
    }
}

/// An index being made, a few nodes at a time, for whoever has something else to do between.
pub struct Sorting {
    parts: std::vec::IntoIter<Part>,
    depth: u32,
    nodes: Vec<Arc<Node>>,
    len: usize,
}

impl Sorting {
    /// Makes some nodes; `false` = there are all of them. `told` hears of every entry in them.
    pub fn go_on(&mut self, told: impl FnMut(&Entry)) -> bool {
        if self.parts.len() == 0 {
            return false;
        }
        let shared = self.depth.min(PART_BITS);
        let mut entries = Vec::new();
        for part in self.parts.by_ref().take(1 << (PART_BITS - shared)) {
            for run in part.full.into_iter().chain([part.last]) {
                entries.extend(run);
            }
        }
        // Stable, and then of equal ones the last is kept.
        entries.sort_by_key(Entry::place);
        entries.reverse();
        entries.dedup_by_key(|entry| entry.place());
        entries.reverse();
        entries.iter().for_each(told);
        self.len += entries.len();
        let mut rest = entries.as_slice();
        for number in 0..1 << (self.depth - shared) {
            let bits = self.depth - shared;
            let ours = |entry: &Entry| take(entry.key.bits(), shared, bits) <= number;
            let (node, others) = rest.split_at(rest.partition_point(ours));
            self.nodes.push(Arc::new(node_of(self.depth, node)));
            rest = others;
        }
        self.parts.len() > 0
    }

    /// The index of all nodes, once they are made.
    pub fn index(self) -> Index {
        debug_assert_eq!(self.parts.len(), 0, "it has gone on to the end");
        Index {
            node_bytes: self.nodes.iter().map(|node| node.bytes()).sum(),
            directory: self.nodes.into(),
            len: self.len,
        }
    }
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
