//! How often callers may ask about one tenant, where that is limited: each tenant has a bucket of one
//! second's worth that fills with time, one for checks and one for everything else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::Instant;

use super::{Limits, Load};
use crate::domain::{
    ids::TenantId,
    refusal::{Reason, Refusal},
};

/// The most tenants with a bucket; beyond, all are forgotten, which is to say filled.
const MOST: usize = 10_000;

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// The buckets of one kind of request.
#[derive(Debug)]
struct Buckets {
    a_second: f64,
    of: Mutex<HashMap<TenantId, Bucket>>,
}

impl Buckets {
    fn of(a_second: u32) -> Option<Self> {
        (a_second > 0).then(|| Self {
            a_second: f64::from(a_second),
            of: Mutex::default(),
        })
    }

    fn take(&self, tenant: &TenantId, now: Instant) -> bool {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of.len() >= MOST && !of.contains_key(tenant) {
            of.clear();
        }
        let bucket = of.entry(tenant.clone()).or_insert(Bucket {
            left: self.a_second,
            at: now,
        });
        let come = now.duration_since(bucket.at).as_secs_f64() * self.a_second;
        bucket.left = (bucket.left + come).min(self.a_second);
        bucket.at = now;
        let enough = bucket.left >= 1.0;
        if enough {
            bucket.left -= 1.0;
        }
        enough
    }
}

/// Counts what is asked about each tenant.
#[derive(Debug)]
pub(crate) struct Meter {
    checks: Option<Buckets>,
    writes: Option<Buckets>,
}

impl Meter {
    /// A meter, where anything is limited.
    pub(super) fn of(limits: &Limits) -> Option<Arc<Self>> {
        let meter = Self {
            checks: Buckets::of(limits.tenant_checks_per_second),
            writes: Buckets::of(limits.tenant_writes_per_second),
        };
        let limited = meter.checks.is_some() || meter.writes.is_some();
        limited.then(|| Arc::new(meter))
    }

    /// Counts one request, or refuses it.
    pub(crate) fn take(&self, tenant: &TenantId, load: Load) -> Result<(), Refusal> {
        let buckets = match load {
            Load::Check | Load::Stream => &self.checks,
            Load::Desk | Load::Bulk => &self.writes,
        };
        let within = buckets
            .as_ref()
            .is_none_or(|buckets| buckets.take(tenant, Instant::now()));
        if within {
            return Ok(());
        }
        let message = "more is asked about this tenant than this pod takes in a second";
        Err(Refusal::new(Reason::RateLimited, message))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_tenant_has_a_seconds_worth_and_gets_it_back_with_time() {
        let buckets = Buckets::of(10).unwrap();
        let [acme, beta] = ["acme", "beta"].map(|id| TenantId::parse(id).unwrap());
        let begun = Instant::now();
        let taken = |tenant, after| {
            let now = begun + Duration::from_millis(after);
            (0..20).filter(|_| buckets.take(tenant, now)).count()
        };
        assert_eq!(taken(&acme, 0), 10);
        assert_eq!(taken(&beta, 0), 10, "one tenant takes nothing from another");
        assert_eq!(taken(&acme, 500), 5);
        assert_eq!(
            taken(&acme, 60_000),
            10,
            "no more than a second's worth is saved"
        );
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        assert!(Meter::of(&Limits::default()).is_none());
        let limits = Limits {
            tenant_checks_per_second: 1,
            ..Limits::default()
        };
        let (meter, acme) = (
            Meter::of(&limits).unwrap(),
            TenantId::parse("acme").unwrap(),
        );
        assert!(meter.take(&acme, Load::Check).is_ok());
        let refused = meter.take(&acme, Load::Check).unwrap_err();
        assert_eq!(refused.reason, Reason::RateLimited);
        assert!(meter.take(&acme, Load::Desk).is_ok());
    }
}
