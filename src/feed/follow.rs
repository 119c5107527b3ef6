//! Following the feed, as a state machine without I/O: what a tail or a load does to the views.
//!
//! C-2: the applied revision never goes back within an epoch. C-3: what is applied has no gap.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use crate::{
    domain::{
        access::Access,
        ids::TenantId,
        record::{Change, News, TenantRecord},
        revision::{Anchor, Position, Revision},
        view::{Behind, TenantView},
    },
    store::{Directory, REMEMBERED, Tail},
    teeth::{Bug, bites},
};

/// The most bans in the news kept aside for one tenant while it loads, some 64 MiB; beyond, the
/// load starts again.
const MAX_KEPT: usize = 1 << 18;

/// Where views are put.
pub trait Shelf: Send + Sync {
    /// A tenant's view, if it is there.
    fn view(&self, tenant: &TenantId) -> Option<Arc<TenantView>>;
    /// Puts a view in the place of an older one; `false` = it is too heavy to be kept at all.
    fn put(&self, tenant: &TenantId, view: Arc<TenantView>) -> bool;
    /// Takes a view away.
    fn remove(&self, tenant: &TenantId);
    /// Whose views are there.
    fn resident(&self) -> Vec<TenantId>;
    /// About how many bytes of views there is room for.
    fn bound(&self) -> u64;
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
    /// Another server has taken over which has our row, but perhaps not all that was told elsewhere.
    Promoted,
}

/// How a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// The view is ready for the shelf.
    Ready,
    /// The feed has to catch up with it first.
    Waiting,
    /// Too much happened meanwhile: start again.
    Again,
    /// It was read in another history than ours.
    Forked,
    /// Nobody waits for it any more.
    Unasked,
}

#[derive(Default)]
struct Loading {
    /// Where the pod stood when it began: what came before is not kept.
    begun: Revision,
    kept: Vec<News>,
    /// How many bans they tell of, roughly.
    weight: usize,
    arrived: Option<(Anchor, TenantView)>,
}

impl Loading {
    fn keep(&mut self, news: &News) {
        self.weight += match &news.change {
            Change::Bans(bans) => bans.len(),
            Change::Exceptions(news) => news.exceptions.len().max(1),
            Change::List(_)
            | Change::Tenant(_)
            | Change::Queue(_)
            | Change::Access(_)
            | Change::Reload => 1,
        };
        if self.overflown() {
            self.kept.clear();
        } else {
            self.kept.push(news.clone());
        }
    }

    const fn overflown(&self) -> bool {
        self.weight > MAX_KEPT
    }
}

/// Where this pod stands, and what it is loading.
///
/// News makes views; they are put on the shelf by [`Self::shelve`], and only then may anybody be told
/// of the position that they belong to.
pub struct Follower<S> {
    shelf: S,
    /// Whether the shelf still holds the views of another history, which are not ours to look at.
    aside: bool,
    /// What is to be put on the shelf; `None` = to be taken away from it.
    made: BTreeMap<TenantId, Option<Arc<TenantView>>>,
    position: Position,
    heard_at: i64,
    tenants: Arc<Tenants>,
    access: Arc<Access>,
    loading: BTreeMap<TenantId, Loading>,
    /// Tenants of which there is news that only a load can bring.
    behind: BTreeSet<TenantId>,
    /// The newest rows, to recognise the one a load was read at.
    recent: VecDeque<Anchor>,
    /// Those of them that nobody has been told of yet.
    applied: Vec<Anchor>,
}

impl<S: Shelf> Follower<S> {
    /// Begins at a snapshot of all tenants that was asked for at this boot time; nothing is loaded.
    pub fn begin(shelf: S, directory: Directory, asked_at: i64) -> Self {
        let Directory {
            head,
            rows,
            epoch,
            clock: _,
            tenants,
            access,
        } = directory;
        Self {
            shelf,
            aside: false,
            made: BTreeMap::new(),
            position: Position {
                epoch,
                anchor: head,
            },
            heard_at: asked_at,
            tenants: Arc::new(tenants.into_iter().collect()),
            access: Arc::new(Access::of(access)),
            loading: BTreeMap::new(),
            behind: BTreeSet::new(),
            recent: rows.iter().copied().collect(),
            applied: rows,
        }
    }

    /// The same, beside a follower whose views stay on the shelf until [`Self::take_over`].
    pub fn beside(shelf: S, directory: Directory, asked_at: i64) -> Self {
        Self {
            aside: true,
            ..Self::begin(shelf, directory, asked_at)
        }
    }

    /// Has the views of the other history replaced by ours the next time we shelve.
    pub fn take_over(&mut self) {
        if std::mem::take(&mut self.aside) {
            for tenant in self.shelf.resident() {
                self.made.entry(tenant).or_insert(None);
            }
        }
    }

    /// The newest row whose news is in every view.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Boot time at which the newest complete tail was sent.
    pub const fn heard_at(&self) -> i64 {
        self.heard_at
    }

    /// The tenants there are.
    pub fn tenants(&self) -> Arc<Tenants> {
        Arc::clone(&self.tenants)
    }

    /// Who may ask what.
    pub fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access)
    }

    /// A tenant's view, on the shelf or ready for it.
    pub fn view(&self, tenant: &TenantId) -> Option<Arc<TenantView>> {
        match self.made.get(tenant) {
            Some(made) => made.clone(),
            None if self.aside => None,
            None => self.shelf.view(tenant),
        }
    }

    /// Takes in what a tail brought that was sent at this boot time, from where we stand.
    pub fn absorb(&mut self, tail: &Tail, sent: i64) -> Heard {
        if tail.in_recovery {
            return Heard::FromStandby;
        }
        let here = self.position.anchor;
        match tail.news.first() {
            // A copy that was put back may hold our row and yet not know of the epoch.
            Some(first) if first.anchor == here && tail.epoch >= self.position.epoch => {}
            _ if bites(Bug::TailWithoutAnchor) => {}
            _ if here.revision < tail.floor => return Heard::Lost,
            _ => return Heard::Forked,
        }
        if !tail.agreed {
            return Heard::Promoted;
        }
        self.position.epoch = tail.epoch;
        for news in tail
            .news
            .iter()
            .filter(|news| news.anchor.revision > here.revision)
        {
            let next = Revision(self.position.anchor.revision.0 + 1);
            if news.anchor.revision != next && !bites(Bug::SequenceTail) {
                return Heard::Forked;
            }
            if news.tenant.is_none() && news.change == Change::Reload {
                // About all tenants, and only the store knows what.
                return Heard::Lost;
            }
            self.apply(news);
            self.position.anchor = news.anchor;
            self.recent.push_back(news.anchor);
            self.applied.push(news.anchor);
            if self.recent.len() > REMEMBERED {
                self.recent.pop_front();
            }
        }
        if self.position.anchor.revision == tail.head {
            // A road that was held up may tell of an earlier moment than another has told already.
            self.heard_at = self.heard_at.max(sent);
            Heard::All
        } else {
            Heard::Some
        }
    }

    fn apply(&mut self, news: &News) {
        let Some(tenant) = &news.tenant else {
            if let Change::Access(record) = &news.change {
                Arc::make_mut(&mut self.access).put(record.clone());
            }
            return;
        };
        if let Change::Tenant(record) = &news.change {
            let tenants = Arc::make_mut(&mut self.tenants);
            if record.deleted {
                tenants.remove(tenant);
                self.made.insert(tenant.clone(), None);
                return;
            }
            tenants.insert(tenant.clone(), record.clone());
        }
        if let Some(loading) = self.loading.get_mut(tenant) {
            loading.keep(news);
        }
        let Some(view) = self.view(tenant).filter(|view| view.behind.is_none()) else {
            return;
        };
        let next = view.after(news).unwrap_or_else(|| {
            self.behind.insert(tenant.clone());
            view.fallen(Behind {
                at: self.position,
                heard_at: self.heard_at,
            })
        });
        self.made.insert(tenant.clone(), Some(Arc::new(next)));
    }

    /// Puts on the shelf what was made since, and tells whose views are too heavy for it.
    pub fn shelve(&mut self) -> Vec<TenantId> {
        if self.aside {
            return Vec::new();
        }
        let mut refused = Vec::new();
        for (tenant, made) in std::mem::take(&mut self.made) {
            match made {
                Some(view) => {
                    if !self.shelf.put(&tenant, view) {
                        refused.push(tenant);
                    }
                }
                None => self.shelf.remove(&tenant),
            }
        }
        refused
    }

    /// The rows applied since this was asked last.
    pub fn take_applied(&mut self) -> Vec<Anchor> {
        std::mem::take(&mut self.applied)
    }

    /// The tenants that have fallen behind since this was asked last, to be loaded anew.
    pub fn take_behind(&mut self) -> BTreeSet<TenantId> {
        std::mem::take(&mut self.behind)
    }

    /// Notes that a tenant is to be loaded; `true` = somebody has to start it.
    pub fn begin_load(&mut self, tenant: &TenantId) -> bool {
        let asked = self.loading.contains_key(tenant);
        if !asked {
            let loading = Loading {
                begun: self.position.anchor.revision,
                ..Loading::default()
            };
            self.loading.insert(tenant.clone(), loading);
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
        let arrived: Vec<TenantId> = self
            .loading
            .iter()
            .filter(|(_, loading)| loading.arrived.is_some())
            .map(|(tenant, _)| tenant.clone())
            .collect();
        arrived
            .into_iter()
            .map(|tenant| {
                let end = self.settle(&tenant);
                (tenant, end)
            })
            .filter(|(_, end)| *end != Loaded::Waiting)
            .collect()
    }

    /// Makes a load ready once the feed has passed the row it was read at, so that every view on the
    /// shelf is its tenant's state at this pod's applied revision, and never ahead of it.
    fn settle(&mut self, tenant: &TenantId) -> Loaded {
        let here = self.position.anchor.revision;
        let loading = self.loading.get(tenant);
        let Some((head, _)) = loading.and_then(|loading| loading.arrived.as_ref()) else {
            return Loaded::Waiting;
        };
        let hasty = bites(Bug::LookAsideFill) || bites(Bug::ViewAheadOfFeed);
        if head.revision > here && !hasty {
            return Loaded::Waiting;
        }
        let known = self
            .recent
            .iter()
            .rev()
            .find(|anchor| anchor.revision == head.revision)
            .copied();
        let Some(loading) = self.loading.remove(tenant) else {
            return Loaded::Unasked;
        };
        let (overflown, begun) = (loading.overflown(), loading.begun);
        let Some((head, mut view)) = loading.arrived else {
            return Loaded::Unasked;
        };
        if known.is_some_and(|known| known != head) {
            return Loaded::Forked;
        }
        // A copy that was put back may tell how things stood before all that was kept.
        if (overflown || known.is_none() || head.revision < begun) && !hasty {
            return Loaded::Again;
        }
        for news in loading
            .kept
            .iter()
            .filter(|news| news.anchor.revision > head.revision && !bites(Bug::LookAsideFill))
        {
            match view.after(news) {
                Some(next) => view = next,
                None => return Loaded::Again,
            }
        }
        if !self.tenants.contains_key(tenant) {
            return Loaded::Unasked;
        }
        self.made.insert(tenant.clone(), Some(Arc::new(view)));
        Loaded::Ready
    }
}
