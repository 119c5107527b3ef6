//! A view while its bans come in, filed many at a time.

use super::{
    TenantView, entry,
    index::{Entry, parts::Parts},
};
use crate::domain::{keys::Space, record::BanRecord};

/// A view that is being loaded.
pub struct Loading {
    view: TenantView,
    digests: Parts,
    ranges: Parts,
    /// How far the leaves of digests, by far the most, have been put side by side; `None` = to the end.
    straight: Option<usize>,
}

impl Loading {
    /// A load into a view that has all but bans.
    pub fn of(view: TenantView) -> Self {
        Self {
            view,
            digests: Parts::default(),
            ranges: Parts::default(),
            straight: Some(0),
        }
    }

    /// Adds bans as they stand.
    pub fn add(&mut self, bans: &[BanRecord]) {
        for ban in bans.iter().filter(|ban| !ban.ended) {
            for key in &ban.keys {
                self.view.widths.note(key);
                self.keep(key.space, entry(ban, key));
            }
        }
    }

    fn keep(&mut self, space: Space, entry: Entry) {
        let due = match space {
            Space::Digest => self.digests.add(entry).map(|due| (due, Vec::new())),
            Space::Range => self.ranges.add(entry).map(|due| (Vec::new(), due)),
        };
        if let Some((digests, ranges)) = due {
            self.view.edit(digests, ranges);
        }
    }

    /// Files some of what waits, once all have come, and then puts some of it in order; `false` = all is.
    pub fn go_on(&mut self) -> bool {
        let (digests, ranges) = (self.digests.rest(), self.ranges.rest());
        if digests.is_some() || ranges.is_some() {
            let [digests, ranges] = [digests, ranges].map(Option::unwrap_or_default);
            self.view.edit(digests, ranges);
            return true;
        }
        if let Some(slot) = self.straight {
            self.straight = self.view.digests.straighten(slot);
        }
        self.straight.is_some()
    }

    /// The view, with what is not filed yet.
    pub fn view(mut self) -> TenantView {
        while self.go_on() {}
        self.view
    }
}
