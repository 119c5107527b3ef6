//! A view while its bans come in: they are gathered first, and filed once all are there.

use super::{
    TenantView, entry,
    index::gathered::{Gathered, Sorting},
};
use crate::domain::{digest::Digest, keys::Space, record::BanRecord};

/// A view that is being loaded.
pub struct Loading {
    view: TenantView,
    digests: Gathered,
    ranges: Gathered,
}

impl Loading {
    /// A load into a view that has all but bans.
    pub fn of(view: TenantView) -> Self {
        Self {
            view,
            digests: Gathered::default(),
            ranges: Gathered::default(),
        }
    }

    /// Adds bans as they stand.
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

    /// Now that all have come.
    pub fn file(self) -> Filing {
        Filing {
            view: self.view,
            digests: self.digests.sort(),
            ranges: self.ranges.sort(),
        }
    }
}

/// A view whose bans are being filed, a few at a time: a million take as long as some hundred checks.
pub struct Filing {
    view: TenantView,
    digests: Sorting,
    ranges: Sorting,
}

impl Filing {
    /// Files some; `false` = all are filed.
    pub fn go_on(&mut self) -> bool {
        let sum = &mut self.view.entries;
        let mut keep = |space, entry: &_| *sum = sum.with(Digest::of_entry(space, entry));
        let digests = self.digests.go_on(|entry| keep(Space::Digest, entry));
        let ranges = self.ranges.go_on(|entry| keep(Space::Range, entry));
        digests || ranges
    }

    /// The view, with what is not filed yet.
    pub fn view(mut self) -> TenantView {
        while self.go_on() {}
        self.view.digests = self.digests.index();
        self.view.ranges = self.ranges.index();
        self.view
    }
}
