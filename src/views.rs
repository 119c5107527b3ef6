//! The views in memory, one a tenant, within a bound.
//!
//! **Invariant:** only the feed puts views in or takes them out; everybody else looks. moka lives
//! here only. Nothing expires: an old view is replaced by news, never by a clock.

mod reaper;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use moka::{notification::RemovalCause, policy::EvictionPolicy, sync::Cache};

use self::reaper::Reaper;
use crate::{
    domain::{ids::TenantId, view::TenantView},
    feed::Shelf,
};

/// How much memory views may take, unless told otherwise.
pub const DEFAULT_BYTES: u64 = 2 << 30;

/// The views of the tenants that were asked about lately.
#[derive(Clone)]
pub struct Views {
    cache: Cache<TenantId, Arc<TenantView>>,
    /// Frees what has left, so that no check does; the last one to go.
    reaper: Arc<Reaper<TenantView>>,
    max_bytes: u64,
    /// How many had to leave for want of room.
    evicted: Arc<AtomicU64>,
}

impl Views {
    /// An empty shelf that holds about so many bytes, the least recently used leaving first.
    pub fn new(max_bytes: u64) -> Self {
        let reaper = Reaper::start();
        let left = reaper.scythe().clone();
        let evicted = Arc::new(AtomicU64::new(0));
        let evictions = Arc::clone(&evicted);
        let cache = Cache::builder()
            // moka weighs in 32 bits: KiB leave room for a tenant of four terabytes.
            .weigher(|_, view: &Arc<TenantView>| kib(view))
            .max_capacity(max_bytes / 1024)
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(move |_, view, cause| {
                if cause == RemovalCause::Size {
                    evictions.fetch_add(1, Ordering::Relaxed);
                }
                left.take(view);
            })
            .build();
        Self {
            cache,
            reaper: Arc::new(reaper),
            max_bytes,
            evicted,
        }
    }

    /// The view of a tenant, if it is in memory.
    pub fn get(&self, tenant: &TenantId) -> Option<Arc<TenantView>> {
        self.cache.get(tenant)
    }

    /// Every view in memory, by tenant. To be looked at like this does not count as being used.
    pub fn all(&self) -> Vec<(TenantId, Arc<TenantView>)> {
        let mut all: Vec<_> = self
            .cache
            .iter()
            .map(|(tenant, view)| (TenantId::clone(&tenant), view))
            .collect();
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// How many views are in memory, and their weight in KiB, once what is due has been evicted.
    pub fn size(&self) -> (u64, u64) {
        self.do_chores();
        (self.cache.entry_count(), self.cache.weighted_size())
    }

    /// How many views have left and are still held by somebody, or were until a moment ago.
    pub fn leaving(&self) -> usize {
        self.reaper.held()
    }

    /// How many views had to leave for want of room since the process began.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Evicts what is over the bound here and now. moka would leave it to whoever comes next, once
    /// 64 changes have come together or some time has passed: to a check, with memory overrun by as
    /// many views until then.
    fn do_chores(&self) {
        self.cache.run_pending_tasks();
    }
}

fn kib(view: &TenantView) -> u32 {
    u32::try_from(view.bytes() / 1024 + 1).unwrap_or(u32::MAX)
}

impl Shelf for Views {
    fn view(&self, tenant: &TenantId) -> Option<Arc<TenantView>> {
        self.cache.get(tenant)
    }

    fn put(&self, tenant: &TenantId, view: Arc<TenantView>) -> bool {
        // moka would let a heavier one go at once, and every check would load it again.
        let fits = u64::from(kib(&view)) <= self.cache.policy().max_capacity().unwrap_or(u64::MAX);
        if fits {
            self.cache.insert(tenant.clone(), view);
        } else {
            self.cache.invalidate(tenant);
            self.reaper.scythe().take(view);
        }
        self.do_chores();
        fits
    }

    fn remove(&self, tenant: &TenantId) {
        self.cache.invalidate(tenant);
        self.do_chores();
    }

    fn resident(&self) -> Vec<TenantId> {
        self.all().into_iter().map(|(tenant, _)| tenant).collect()
    }

    fn bound(&self) -> u64 {
        self.max_bytes
    }
}
