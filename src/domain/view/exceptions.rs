//! A tenant's exceptions, filed like its bans and found by the same keys.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    MATCH_SHIFT,
    index::{Change as Edit, Entry, Index, Key},
};
use crate::domain::{
    clock::Timestamp,
    digest::Digest,
    ids::BanId,
    keys::{Space, Widths},
    record::{ExceptionNews, ExceptionRecord},
};

/// Set in the flags of an exception that wins over every ban.
pub(super) const PROTECTED: u8 = 1 << 7;

/// All exceptions of one tenant, and the built-in protections that it has lifted.
#[derive(Clone, Default)]
pub(super) struct Exceptions {
    digests: Index,
    ranges: Index,
    lifted: Arc<BTreeSet<String>>,
    digest: Digest,
}

impl Exceptions {
    /// Takes in how exceptions and protections stand now.
    pub(super) fn take_in(&mut self, news: &ExceptionNews, widths: &mut Widths) {
        let ExceptionNews {
            exceptions,
            protections,
        } = news;
        self.file(exceptions, widths);
        for protection in protections {
            if self.lifted.contains(&protection.name) == protection.lifted {
                continue;
            }
            let part = Digest::of_lifted(&protection.name);
            let lifted = Arc::make_mut(&mut self.lifted);
            if protection.lifted {
                lifted.insert(protection.name.clone());
                self.digest = self.digest.with(part);
            } else {
                lifted.remove(&protection.name);
                self.digest = self.digest.without(part);
            }
        }
    }

    fn file(&mut self, exceptions: &[ExceptionRecord], widths: &mut Widths) {
        let (mut digests, mut ranges) = (Vec::new(), Vec::new());
        for exception in exceptions {
            // The index knows its entries by their keys and sixteen bytes of whose they are.
            let id = BanId::from_bytes(*exception.exception.bytes());
            let protected = if exception.protected { PROTECTED } else { 0 };
            for key in &exception.keys {
                let edits = match key.space {
                    Space::Digest => &mut digests,
                    Space::Range => &mut ranges,
                };
                if exception.ended {
                    edits.push(Edit::Remove(key.key, id));
                    continue;
                }
                widths.note(key);
                edits.push(Edit::Put(Entry {
                    key: key.key,
                    ban: id,
                    starts: Timestamp::MIN.micros(),
                    ends: exception.expire.unwrap_or(Timestamp::MAX).micros(),
                    list: 0,
                    channels: exception.channels.bits(),
                    kind: key.kind as u8,
                    flags: protected | (key.matches as u8) << MATCH_SHIFT,
                }));
            }
        }
        let mut sum = self.digest;
        let mut keep = |space, before: Option<&Entry>, after: Option<&Entry>| {
            if let Some(entry) = before {
                sum = sum.without(Digest::of_exception(space, entry));
            }
            if let Some(entry) = after {
                sum = sum.with(Digest::of_exception(space, entry));
            }
        };
        self.digests.apply(&mut digests, |before, after| {
            keep(Space::Digest, before, after);
        });
        self.ranges.apply(&mut ranges, |before, after| {
            keep(Space::Range, before, after);
        });
        self.digest = sum;
    }

    /// Whether nobody made an exception.
    pub(super) fn is_empty(&self) -> bool {
        self.digests.is_empty() && self.ranges.is_empty()
    }

    /// Whether something may be filed under a key; a no is certain.
    pub(super) fn may_find(&self, space: Space, key: Key) -> bool {
        match space {
            Space::Digest => self.digests.may_hold(key),
            Space::Range => self.ranges.may_hold(key),
        }
    }

    /// What is filed under a key.
    pub(super) fn find(&self, space: Space, key: Key) -> &[Entry] {
        match space {
            Space::Digest => self.digests.get(key),
            Space::Range => self.ranges.get(key),
        }
    }

    /// The built-in protections that are lifted.
    pub(super) fn lifted(&self) -> &BTreeSet<String> {
        &self.lifted
    }

    pub(super) const fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) fn bytes(&self) -> usize {
        const LIFTED: usize = 64;
        self.digests.bytes() + self.ranges.bytes() + self.lifted.len() * LIFTED + size_of::<Self>()
    }
}
