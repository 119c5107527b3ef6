//! The rows applied lately: by them a write knows that it was heard of, and a token that it speaks
//! of this history and not of one that had the same revisions.

use std::collections::VecDeque;

use crate::{
    domain::revision::{Anchor, Epoch, Nonce, Revision},
    store::REMEMBERED,
};

/// How many of them a write looks for its own among: more than are under way at any time.
const LATELY: usize = 4_096;

/// Rows of one epoch, one after another.
#[derive(Default)]
pub(super) struct Applied {
    epoch: Epoch,
    rows: VecDeque<Anchor>,
}

impl Applied {
    /// Notes rows that follow one another; what they do not follow is forgotten.
    pub(super) fn note(&mut self, epoch: Epoch, rows: &[Anchor]) {
        let next = rows.first().map(|first| first.revision.0);
        let follows = |last: &Anchor| Some(last.revision.0 + 1) == next;
        let broken = next.is_some() && !self.rows.back().is_some_and(follows);
        if broken || self.epoch != epoch {
            self.rows.clear();
        }
        self.epoch = epoch;
        self.rows.extend(rows);
        let surplus = self.rows.len().saturating_sub(REMEMBERED);
        self.rows.drain(..surplus);
    }

    /// The row that was applied in this place, if it is remembered.
    pub(super) fn at(&self, revision: Revision) -> Option<Anchor> {
        let first = self.rows.front()?.revision.0;
        let place = usize::try_from(revision.0.checked_sub(first)?).ok()?;
        self.rows.get(place).copied()
    }

    /// Whether a row that bears this mark was applied lately.
    pub(super) fn bears(&self, nonce: Nonce) -> bool {
        let mut lately = self.rows.iter().rev().take(LATELY);
        lately.any(|row| row.nonce == nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(revision: u64, nonce: u32) -> Anchor {
        Anchor {
            revision: Revision(revision),
            nonce: Nonce(nonce),
        }
    }

    #[test]
    fn rows_are_known_by_their_place_and_their_mark_until_another_history_begins() {
        let mut applied = Applied::default();
        applied.note(Epoch(1), &[row(7, 70)]);
        applied.note(Epoch(1), &[row(8, 80), row(9, 90)]);
        assert_eq!(applied.at(Revision(8)), Some(row(8, 80)));
        assert_eq!(
            (applied.at(Revision(6)), applied.at(Revision(10))),
            (None, None)
        );
        assert!(applied.bears(Nonce(90)) && !applied.bears(Nonce(91)));
        // A snapshot stepped over some.
        applied.note(Epoch(1), &[row(12, 120)]);
        assert_eq!(applied.at(Revision(9)), None);
        applied.note(Epoch(2), &[row(13, 130)]);
        assert_eq!(
            (applied.at(Revision(12)), applied.at(Revision(13))),
            (None, Some(row(13, 130)))
        );
    }
}
