//! Which tenants are worth reading before a pod calls itself warm, and in which order.

use super::Tenants;
use crate::domain::ids::TenantId;

/// All of them, the largest first.
pub(super) fn order(tenants: &Tenants, sizes: &[(TenantId, u64)], _bound: u64) -> Vec<TenantId> {
    let mut order: Vec<_> = sizes.iter().map(|(tenant, _)| tenant.clone()).collect();
    order.retain(|tenant| tenants.contains_key(tenant));
    let mut rest: Vec<_> = tenants
        .keys()
        .filter(|t| !order.contains(t))
        .cloned()
        .collect();
    rest.sort();
    order.extend(rest);
    order
}
