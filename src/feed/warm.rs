//! Which tenants a pod loads before it calls itself warm, and in which order.

use std::collections::HashMap;

use super::Tenants;
use crate::domain::ids::TenantId;

/// About what a ban takes in a view: 57 bytes a key, and some bans have more than one.
const BYTES_A_BAN: u64 = 64;
/// About what a view takes before its first ban, its lists included.
const BYTES_A_TENANT: u64 = 8 << 10;
/// The part of the bound, one in so many, that is left for what bans and tenants grow by.
const HEAD_ROOM: u64 = 8;

/// The tenants to warm, in their order: the largest first, for a check that had to wait for it
/// would wait longest; those without a ban last, for they cost nearly nothing.
///
/// Only as many as fit into the bound together, or the first would be evicted for the last. A
/// tenant that would not fit alone is left out, with one warning for all such.
pub(super) fn order(
    tenants: &Tenants,
    sizes: &[(TenantId, u64)],
    bound_bytes: u64,
) -> Vec<TenantId> {
    let Plan { order, too_large } = plan(tenants, sizes, bound_bytes);
    if !too_large.is_empty() {
        let tenants: Vec<&str> = too_large.iter().map(TenantId::as_str).collect();
        tracing::warn!(
            tenants = tenants.join(", "),
            "tenants with more bans than the memory for views holds are not loaded; raise \
             view_memory_mib"
        );
    }
    order
}

struct Plan {
    order: Vec<TenantId>,
    too_large: Vec<TenantId>,
}

fn plan(tenants: &Tenants, sizes: &[(TenantId, u64)], bound_bytes: u64) -> Plan {
    let bans: HashMap<&TenantId, u64> =
        sizes.iter().map(|(tenant, bans)| (tenant, *bans)).collect();
    let mut all: Vec<(u64, &TenantId)> = tenants
        .keys()
        .map(|tenant| (bans.get(tenant).copied().unwrap_or_default(), tenant))
        .collect();
    // By id among equals, so that every pod does the same.
    all.sort_unstable_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.cmp(other)));

    let mut room = bound_bytes - bound_bytes / HEAD_ROOM;
    let (mut order, mut too_large) = (Vec::new(), Vec::new());
    for (bans, tenant) in all {
        let bytes = bans
            .saturating_mul(BYTES_A_BAN)
            .saturating_add(BYTES_A_TENANT);
        if bans > 0 && bytes > bound_bytes {
            too_large.push(tenant.clone());
        } else if bytes <= room {
            room -= bytes;
            order.push(tenant.clone());
        }
    }
    Plan { order, too_large }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{policy::FailureMode, record::TenantRecord};

    const MIB: u64 = 1 << 20;

    fn id(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    fn tenants(names: &[&str]) -> Tenants {
        let record = TenantRecord {
            failure_mode: FailureMode::Open,
            default_region: String::new(),
            email_fold: true,
            deleted: false,
        };
        names
            .iter()
            .map(|name| (id(name), record.clone()))
            .collect()
    }

    fn planned(names: &[&str], sizes: &[(&str, u64)], bound: u64) -> (Vec<String>, Vec<String>) {
        let sizes: Vec<_> = sizes.iter().map(|(name, bans)| (id(name), *bans)).collect();
        let Plan { order, too_large } = plan(&tenants(names), &sizes, bound);
        let ids = |all: Vec<TenantId>| all.iter().map(ToString::to_string).collect();
        (ids(order), ids(too_large))
    }

    #[test]
    fn the_largest_comes_first_and_those_without_a_ban_last() {
        let names = ["d", "a", "c", "b", "e"];
        let (order, too_large) = planned(&names, &[("b", 10), ("c", 30), ("a", 10)], 64 * MIB);
        assert_eq!(order, ["c", "a", "b", "d", "e"]);
        assert!(too_large.is_empty());
    }

    #[test]
    fn what_would_not_fit_beside_the_others_waits_to_be_asked_for() {
        // 10 MiB, 8.75 of them to be filled: 6 MiB and 2 MiB fit, 3 MiB beside them do not.
        let bans = |mib: u64| mib * MIB / BYTES_A_BAN;
        let sizes = [("a", bans(6)), ("b", bans(3)), ("c", bans(2))];
        let (order, too_large) = planned(&["a", "b", "c", "d"], &sizes, 10 * MIB);
        assert_eq!(order, ["a", "c", "d"]);
        assert!(too_large.is_empty(), "alone it would fit");
    }

    #[test]
    fn a_tenant_larger_than_all_the_memory_is_left_out_and_told_of() {
        let (order, too_large) = planned(
            &["a", "b", "c"],
            &[("a", MIB), ("c", u64::MAX), ("b", 5)],
            MIB,
        );
        assert_eq!(order, ["b"]);
        assert_eq!(too_large, ["c", "a"]);
    }

    #[test]
    fn a_size_of_a_tenant_that_is_gone_takes_no_room() {
        let sizes = [("gone", 10 * MIB / BYTES_A_BAN), ("a", 5)];
        assert_eq!(planned(&["a"], &sizes, 10 * MIB).0, ["a"]);
    }

    #[test]
    fn what_is_planned_stays_below_the_bound_with_thousands_of_tenants() {
        let names: Vec<String> = (0..5_000).map(|at| format!("t{at:04}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let sizes: Vec<(&str, u64)> = names.iter().map(|name| (*name, 1_000)).collect();
        let (order, _) = planned(&names, &sizes, 32 * MIB);
        let each = 1_000 * BYTES_A_BAN + BYTES_A_TENANT;
        assert!(order.len() as u64 * each <= 28 * MIB);
        assert!((order.len() as u64 + 1) * each > 28 * MIB, "as many as fit");
        assert_eq!(order[..2], ["t0000", "t0001"]);
    }
}
