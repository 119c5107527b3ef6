//! Entries on their way into an index, kept apart by their keys until many of a part can be filed at once.
//!
//! Filed as they come, in no order, they would touch leaves all over again and again, and leave the
//! allocator full of holes where the shorter ones were; filed once all are there, they would be held twice.
//! A part's leaves are made anew one after another, so what they leave free is mostly whole pages of memory.

use std::{array, mem};

use super::{Change, Entry, take};

/// Leading bits of a key that say of which part it is: the more parts, the less is filed at once.
const PART_BITS: u32 = 5;
/// So many are filed for each that waits: with more of them leaves would be copied too often, with fewer much memory
/// would only wait.
const FILED_FOR_EACH: usize = 4;
/// So many may wait where next to none are filed.
const FEW: usize = 64;

/// The entries whose keys agree on their first [`PART_BITS`].
#[derive(Default)]
struct Part {
    waiting: Vec<Change>,
    filed: usize,
}

impl Part {
    fn room(&self) -> usize {
        FEW.max(self.filed / FILED_FOR_EACH)
    }
}

/// What waits to be filed.
pub struct Parts {
    parts: [Part; 1 << PART_BITS],
    /// Those of which all has been given away in the end.
    done: usize,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            parts: array::from_fn(|_| Part::default()),
            done: 0,
        }
    }
}

impl Parts {
    /// Keeps an entry, or gives back all that waits with it, in the order in which they came, to be filed.
    pub fn add(&mut self, entry: Entry) -> Option<Vec<Change>> {
        let part = &mut self.parts[take(entry.key.bits(), 0, PART_BITS)];
        part.waiting.push(Change::Put(entry));
        if part.waiting.len() < part.room() {
            return None;
        }
        part.filed += part.waiting.len();
        let room = Vec::with_capacity(part.room());
        Some(mem::replace(&mut part.waiting, room))
    }

    /// Some of what still waits; `None` = nothing does.
    pub fn rest(&mut self) -> Option<Vec<Change>> {
        let part = self.parts.get_mut(self.done)?;
        self.done += 1;
        Some(mem::take(&mut part.waiting))
    }
}
