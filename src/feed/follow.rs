//! Following the feed, as a state machine without I/O: what a tail or a load does to the views.
//!
//! C-2: the applied revision never goes back within an epoch. C-3: what is applied has no gap.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{
    domain::{
        ids::TenantId,
        record::{Change, News, TenantRecord},
        revision::{Anchor, Position, Revision},
        view::TenantView,
    },
    store::{Directory, Tail},
};

/// The most news kept aside for one tenant while it loads; beyond, the load starts again.
const MAX_KEPT: usize = 4_096;
/// How many applied rows are remembered, to recognise the one a load was read at.
const REMEMBERED: usize = 65_536;

/// Where views are put.
pub trait Shelf: Send + Sync {
    /// A tenant's view, if it is there.
    fn view(&self, tenant: &TenantId) -> Option<Arc<TenantView>>;
    /// Puts a view in the place of an older one; `false` = it is too heavy to be kept at all.
    fn put(&self, tenant: &TenantId, view: Arc<TenantView>) -> bool;
    /// Takes a view away.
    fn remove(&self, tenant: &TenantId);
    /// Takes all views away.
    fn clear(&self);
}

/// The tenants there are, and what a decision needs to know of each without its view.
pub type Tenants = HashMap<TenantId, TenantRecord>;

/// What a tail amounted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Everything there was.
    All,
    /// As much as fitted; there is more.
    Some,
    /// Nothing: this server only follows another one and may lag behind it.
    FromStandby,
    /// The rows after ours have been pruned away.
    Lost,
    /// Another history goes by our revision.
    Forked,
}

/// How a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// The view is on the shelf.
    Published,
    /// The feed has to catch up with it first.
    Waiting,
    /// Too much happened meanwhile: start again.
    Again,
    /// The view is heavier than everything the shelf may hold.
    TooHeavy,
    /// It was read in another history than ours.
    Forked,
    /// Nobody waits for it any more.
    Unasked,
}

#[derive(Default)]
struct Loading {
    kept: Vec<News>,
    overflown: bool,
    arrived: Option<(Anchor, TenantView)>,
}

/// Where this pod stands, and what it is loading.
pub struct Follower<S> {
    shelf: S,
    position: Position,
    tenants: Arc<Tenants>,
    loading: HashMap<TenantId, Loading>,
    recent: VecDeque<Anchor>,
}

impl<S: Shelf> Follower<S> {
    /// Begins at a snapshot of all tenants; nothing is loaded yet.
    pub fn begin(shelf: S, directory: Directory) -> Self {
        let mut follower = Self {
            shelf,
            position: Position::default(),
            tenants: Arc::default(),
            loading: HashMap::new(),
            recent: VecDeque::new(),
        };
        follower.restart(directory);
        follower
    }

    /// Begins again at a newer snapshot, with no view kept; loads under way are void.
    pub fn restart(&mut self, directory: Directory) {
        let Directory {
            head,
            epoch,
            tenants,
        } = directory;
        self.shelf.clear();
        self.loading.clear();
        self.recent = VecDeque::from([head]);
        self.tenants = Arc::new(tenants.into_iter().collect());
        self.position = Position {
            epoch,
            anchor: head,
        };
    }

    /// The newest row whose news is in every view.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The tenants there are.
    pub fn tenants(&self) -> Arc<Tenants> {
        Arc::clone(&self.tenants)
    }

    /// Takes in what a tail brought.
    pub fn absorb(&mut self, tail: &Tail) -> Heard {
        if tail.in_recovery {
            return Heard::FromStandby;
        }
        let here = self.position.anchor;
        match tail.news.first() {
            Some(first) if first.anchor == here => {}
            _ if here.revision < tail.floor => return Heard::Lost,
            _ => return Heard::Forked,
        }
        for news in &tail.news[1..] {
            let next = Revision(self.position.anchor.revision.0 + 1);
            if news.anchor.revision != next {
                return Heard::Forked;
            }
            self.apply(news);
            self.position.anchor = news.anchor;
            self.recent.push_back(news.anchor);
            if self.recent.len() > REMEMBERED {
                self.recent.pop_front();
            }
        }
        if self.position.anchor.revision == tail.head {
            Heard::All
        } else {
            Heard::Some
        }
    }

    fn apply(&mut self, news: &News) {
        let Some(tenant) = &news.tenant else { return };
        if let Change::Tenant(record) = &news.change {
            let tenants = Arc::make_mut(&mut self.tenants);
            if record.deleted {
                tenants.remove(tenant);
                self.shelf.remove(tenant);
            } else {
                tenants.insert(tenant.clone(), record.clone());
            }
        }
        if let Some(loading) = self.loading.get_mut(tenant) {
            if loading.kept.len() < MAX_KEPT {
                loading.kept.push(news.clone());
            } else {
                loading.overflown = true;
            }
        }
        if let Some(view) = self.shelf.view(tenant) {
            match view.after(news) {
                Some(next) => {
                    self.shelf.put(tenant, Arc::new(next));
                }
                None => self.shelf.remove(tenant),
            }
        }
    }

    /// Notes that a tenant is to be loaded; `true` = somebody has to start it.
    pub fn begin_load(&mut self, tenant: &TenantId) -> bool {
        let asked = self.loading.contains_key(tenant);
        if !asked {
            self.loading.insert(tenant.clone(), Loading::default());
        }
        !asked
    }

    /// Gives a load up.
    pub fn abort_load(&mut self, tenant: &TenantId) {
        self.loading.remove(tenant);
    }

    /// Takes in a view that was read at a head.
    pub fn finish_load(&mut self, tenant: &TenantId, head: Anchor, view: TenantView) -> Loaded {
        let Some(loading) = self.loading.get_mut(tenant) else {
            return Loaded::Unasked;
        };
        loading.arrived = Some((head, view));
        self.settle(tenant)
    }

    /// The loads that the feed has caught up with since, and how each ended.
    pub fn settle_loads(&mut self) -> Vec<(TenantId, Loaded)> {
        let here = self.position.anchor.revision;
        let ripe: Vec<TenantId> = self
            .loading
            .iter()
            .filter(|(_, loading)| {
                loading
                    .arrived
                    .as_ref()
                    .is_some_and(|(head, _)| head.revision <= here)
            })
            .map(|(tenant, _)| tenant.clone())
            .collect();
        ripe.into_iter()
            .map(|tenant| {
                let end = self.settle(&tenant);
                (tenant, end)
            })
            .collect()
    }

    /// Publishes a load once the feed has passed the row it was read at, so that every view on the
    /// shelf is its tenant's state at this pod's applied revision, and never ahead of it.
    fn settle(&mut self, tenant: &TenantId) -> Loaded {
        let here = self.position.anchor.revision;
        let Some(loading) = self.loading.get(tenant) else {
            return Loaded::Unasked;
        };
        let Some((head, _)) = &loading.arrived else {
            return Loaded::Waiting;
        };
        if head.revision > here {
            return Loaded::Waiting;
        }
        let known = self
            .recent
            .iter()
            .rev()
            .find(|anchor| anchor.revision == head.revision);
        let (forked, forgotten) = (known.is_some_and(|anchor| anchor != head), known.is_none());
        let Some(Loading {
            kept,
            overflown,
            arrived: Some((head, mut view)),
        }) = self.loading.remove(tenant)
        else {
            return Loaded::Unasked;
        };
        if forked {
            return Loaded::Forked;
        }
        if overflown || forgotten {
            return Loaded::Again;
        }
        for news in kept
            .iter()
            .filter(|news| news.anchor.revision > head.revision)
        {
            match view.after(news) {
                Some(next) => view = next,
                None => return Loaded::Again,
            }
        }
        if !self.tenants.contains_key(tenant) {
            return Loaded::Unasked;
        }
        if self.shelf.put(tenant, Arc::new(view)) {
            Loaded::Published
        } else {
            Loaded::TooHeavy
        }
    }
}
