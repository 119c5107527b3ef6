//! A view while its bans come in: they are gathered, and filed all at once.

use super::{TenantView, entry, index::gathered::Gathered};
use crate::domain::{digest::Digest, keys::Space, record::BanRecord};

/// A view that is being loaded.
pub struct Loading {
    view: TenantView,
    digests: Gathered,
    ranges: Gathered,
}

impl Loading {
    /// A load into a view that has all but bans.
    pub fn into(view: TenantView) -> Self {
        Self {
            view,
            digests: Gathered::default(),
            ranges: Gathered::default(),
        }
    }

    /// Adds bans as they stand, each once.
    pub fn add(&mut self, bans: &[BanRecord]) {
        for ban in bans.iter().filter(|ban| !ban.ended) {
            for key in &ban.keys {
                self.view.widths.note(key);
                match key.space {
                    Space::Digest => self.digests.add(entry(ban, key)),
                    Space::Range => self.ranges.add(entry(ban, key)),
                }
            }
        }
    }

    /// The view of them. Of a million it takes a moment.
    pub fn finish(self) -> TenantView {
        let Self {
            mut view,
            digests,
            ranges,
        } = self;
        let mut sum = view.entries;
        let mut keep = |space, entry: &_| sum = sum.with(Digest::of_entry(space, entry));
        view.digests = digests.into_index(|entry| keep(Space::Digest, entry));
        view.ranges = ranges.into_index(|entry| keep(Space::Range, entry));
        view.entries = sum;
        view
    }
}
