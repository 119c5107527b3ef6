//! What each RPC needs of its caller, and among which requests it counts: the one table.

use std::{collections::HashMap, sync::LazyLock};

use super::Load;
use crate::domain::caller::Scope;

/// An RPC of the contract.
#[derive(Clone, Copy, Debug)]
pub struct Rpc {
    /// The full name of its service.
    pub service: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The scope that its caller needs.
    pub scope: Scope,
    /// Among which requests in flight it counts.
    pub load: Load,
    /// Whether it is about all tenants, so that a grant on one does not do.
    pub all_tenants: bool,
}

const fn rpc(service: &'static str, name: &'static str, scope: Scope, load: Load) -> Rpc {
    Rpc {
        service,
        name,
        scope,
        load,
        all_tenants: false,
    }
}

const fn of_all_tenants(service: &'static str, name: &'static str) -> Rpc {
    Rpc {
        all_tenants: true,
        ..rpc(service, name, Scope::Admin, Load::Desk)
    }
}

const CHECK: &str = "bancheck.v1.CheckService";
const DIAGNOSTIC: &str = "bancheck.v1.DiagnosticService";
const ADMIN: &str = "bancheck.v1.AdminService";
const CONFIG: &str = "bancheck.v1.ConfigService";
const WATCH: &str = "bancheck.v1.WatchService";
const PRIVACY: &str = "bancheck.v1.PrivacyService";
const ACCESS: &str = "bancheck.v1.AccessService";

/// Every RPC that anybody may be let in to.
pub const RPCS: &[Rpc] = &[
    rpc(CHECK, "CheckInteraction", Scope::Check, Load::Check),
    rpc(CHECK, "BatchCheckInteractions", Scope::Check, Load::Check),
    rpc(CHECK, "StreamCheckInteractions", Scope::Check, Load::Stream),
    rpc(DIAGNOSTIC, "ExplainInteraction", Scope::Support, Load::Desk),
    rpc(
        DIAGNOSTIC,
        "NormalizeIdentifier",
        Scope::Support,
        Load::Desk,
    ),
    rpc(DIAGNOSTIC, "PreviewExpiration", Scope::Support, Load::Desk),
    rpc(ADMIN, "BanInteraction", Scope::Operator, Load::Desk),
    rpc(ADMIN, "GetBan", Scope::Operator, Load::Desk),
    rpc(ADMIN, "ListBans", Scope::Operator, Load::Desk),
    rpc(ADMIN, "UpdateBan", Scope::Supervisor, Load::Desk),
    rpc(ADMIN, "DeactivateBan", Scope::Supervisor, Load::Desk),
    rpc(ADMIN, "ListBanEvents", Scope::Supervisor, Load::Desk),
    rpc(ADMIN, "CreateBan", Scope::Admin, Load::Desk),
    rpc(ADMIN, "PreviewBan", Scope::Admin, Load::Desk),
    rpc(ADMIN, "DeactivateBans", Scope::Admin, Load::Desk),
    rpc(ADMIN, "ImportBans", Scope::Admin, Load::Bulk),
    rpc(ADMIN, "ExportBans", Scope::Admin, Load::Bulk),
    of_all_tenants(CONFIG, "CreateTenant"),
    of_all_tenants(CONFIG, "ListTenants"),
    of_all_tenants(CONFIG, "DeleteTenant"),
    rpc(CONFIG, "GetTenantSettings", Scope::Admin, Load::Desk),
    rpc(CONFIG, "UpdateTenantSettings", Scope::Admin, Load::Desk),
    rpc(CONFIG, "CreateBanList", Scope::Admin, Load::Desk),
    rpc(CONFIG, "GetBanList", Scope::Admin, Load::Desk),
    rpc(CONFIG, "ListBanLists", Scope::Admin, Load::Desk),
    rpc(CONFIG, "UpdateBanList", Scope::Admin, Load::Desk),
    rpc(CONFIG, "DeleteBanList", Scope::Admin, Load::Desk),
    rpc(CONFIG, "SetBanListQueues", Scope::Admin, Load::Desk),
    rpc(CONFIG, "GetQueuePolicy", Scope::Admin, Load::Desk),
    rpc(CONFIG, "UpdateQueuePolicy", Scope::Admin, Load::Desk),
    rpc(CONFIG, "ListQueuePolicies", Scope::Admin, Load::Desk),
    rpc(CONFIG, "SetBanRights", Scope::Admin, Load::Desk),
    rpc(CONFIG, "ListBanRights", Scope::Admin, Load::Desk),
    rpc(CONFIG, "CreateException", Scope::Admin, Load::Desk),
    rpc(CONFIG, "ListExceptions", Scope::Admin, Load::Desk),
    rpc(CONFIG, "DeactivateException", Scope::Admin, Load::Desk),
    rpc(CONFIG, "TestBanPermission", Scope::Operator, Load::Desk),
    rpc(CONFIG, "LinkIdentities", Scope::Link, Load::Desk),
    rpc(WATCH, "WatchChanges", Scope::Watch, Load::Stream),
    rpc(PRIVACY, "EraseSubject", Scope::Privacy, Load::Desk),
    rpc(PRIVACY, "ExportSubject", Scope::Privacy, Load::Bulk),
    of_all_tenants(ACCESS, "CreateApiKey"),
    of_all_tenants(ACCESS, "ListApiKeys"),
    of_all_tenants(ACCESS, "RotateApiKey"),
    of_all_tenants(ACCESS, "RevokeApiKey"),
    of_all_tenants(ACCESS, "SetGrants"),
    of_all_tenants(ACCESS, "ListGrants"),
];

/// What a path on the wire is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked {
    /// An RPC of the table.
    For(&'static Rpc),
    /// Health or reflection, which anybody may ask.
    Standard,
    /// Nothing that is served here.
    Unknown,
}

static BY_PATH: LazyLock<HashMap<String, &'static Rpc>> = LazyLock::new(|| {
    let path = |rpc: &Rpc| format!("/{}/{}", rpc.service, rpc.name);
    RPCS.iter().map(|rpc| (path(rpc), rpc)).collect()
});

impl Asked {
    pub(crate) fn of(path: &str) -> Self {
        match BY_PATH.get(path) {
            Some(rpc) => Self::For(rpc),
            None if path.starts_with("/grpc.") => Self::Standard,
            None => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_rpc_of_the_contract_names_the_scope_it_needs() {
        let contract = FileDescriptorSet::decode(crate::api::DESCRIPTORS).unwrap();
        let mut asked = 0;
        for file in &contract.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let found = Asked::of(&path);
                    assert!(
                        matches!(found, Asked::For(_)),
                        "{path} has no row: nobody may call it"
                    );
                    asked += 1;
                }
            }
        }
        assert!(asked >= 16, "{asked}");
    }

    #[test]
    fn no_rpc_has_two_rows() {
        assert_eq!(BY_PATH.len(), RPCS.len());
    }

    #[test]
    fn whatever_streams_counts_among_what_lasts() {
        let contract = FileDescriptorSet::decode(crate::api::DESCRIPTORS).unwrap();
        let services = contract.file.iter().flat_map(|file| &file.service);
        for method in services.flat_map(|service| &service.method) {
            let row = RPCS.iter().find(|rpc| rpc.name == method.name()).unwrap();
            let lasts = matches!(row.load, Load::Stream | Load::Bulk);
            let streams = method.client_streaming() || method.server_streaming();
            assert_eq!(lasts, streams, "{}", row.name);
        }
    }
}
