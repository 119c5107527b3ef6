//! The views in memory, one a tenant, within a bound.
//!
//! **Invariant:** only the feed puts views in or takes them out; everybody else looks. moka lives
//! here only. Nothing expires: an old view is replaced by news, never by a clock.

use std::sync::Arc;

use moka::{policy::EvictionPolicy, sync::Cache};

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
}

impl Views {
    /// An empty shelf that holds about so many bytes, the least used leaving first.
    pub fn new(max_bytes: u64) -> Self {
        let cache = Cache::builder()
            // moka weighs in 32 bits: KiB leave room for a tenant of four terabytes.
            .weigher(|_, view: &Arc<TenantView>| kib(view))
            .max_capacity(max_bytes / 1024)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { cache }
    }

    /// The view of a tenant, if it is in memory.
    pub fn get(&self, tenant: &TenantId) -> Option<Arc<TenantView>> {
        self.cache.get(tenant)
    }

    /// How many views are in memory, and their weight in KiB; both lag a little.
    pub fn size(&self) -> (u64, u64) {
        (self.cache.entry_count(), self.cache.weighted_size())
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
        }
        fits
    }

    fn remove(&self, tenant: &TenantId) {
        self.cache.invalidate(tenant);
    }

    fn resident(&self) -> Vec<TenantId> {
        self.cache
            .iter()
            .map(|(tenant, _)| (*tenant).clone())
            .collect()
    }

    fn bound(&self) -> u64 {
        self.cache
            .policy()
            .max_capacity()
            .unwrap_or(u64::MAX)
            .saturating_mul(1024)
    }
}
