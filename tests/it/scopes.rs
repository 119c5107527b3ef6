//! Every RPC with every kind of credential: who is let in, who is not, and in which words.

use bancheck::api::v1::{Grant, RevokeApiKeyRequest, RotateApiKeyRequest, grant::Scope};
use prost::Message as _;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, Value};
use tonic::{Code, Request, Status, client::Grpc};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use crate::{
    guarded::{Guarded, on_tenant, shown},
    refused::Refused,
    server::TENANT,
    walk::{Bytes, Rpc, rpcs},
};

on_both_stores!(run by crate::guarded::run:
    each_rpc_lets_in_who_has_its_scope_there_and_nobody_else,
    a_refusal_is_the_same_whether_there_is_such_a_tenant_or_not,
    health_and_reflection_ask_for_no_credential,
);

/// Who may call what, as the contract has it.
const NEEDS: &[(&[Scope], &str)] = &[
    (
        &[Scope::Check],
        "CheckInteraction BatchCheckInteractions StreamCheckInteractions",
    ),
    (
        &[Scope::Support, Scope::Supervisor, Scope::Admin],
        "ExplainInteraction NormalizeIdentifier PreviewExpiration",
    ),
    (
        &[Scope::Operator, Scope::Supervisor, Scope::Admin],
        "BanInteraction GetBan ListBans TestBanPermission",
    ),
    (
        &[Scope::Supervisor, Scope::Admin],
        "UpdateBan DeactivateBan ListBanEvents",
    ),
    (
        &[Scope::Admin],
        "CreateBan PreviewBan DeactivateBans ImportBans ExportBans GetTenantSettings \
         UpdateTenantSettings CreateBanList GetBanList ListBanLists UpdateBanList DeleteBanList \
         SetBanListQueues GetQueuePolicy UpdateQueuePolicy ListQueuePolicies SetBanRights \
         ListBanRights CreateException ListExceptions DeactivateException",
    ),
    (&[Scope::Link], "LinkIdentities"),
    (&[Scope::Watch], "WatchChanges"),
    (&[Scope::Privacy], "EraseSubject ExportSubject"),
    // On all tenants.
    (
        &[],
        "CreateTenant ListTenants DeleteTenant CreateApiKey ListApiKeys RotateApiKey RevokeApiKey \
         SetGrants ListGrants",
    ),
];

const SCOPES: [Scope; 8] = [
    Scope::Check,
    Scope::Operator,
    Scope::Supervisor,
    Scope::Admin,
    Scope::Support,
    Scope::Watch,
    Scope::Privacy,
    Scope::Link,
];

/// A message whose tenant is this, wherever it has one.
fn naming(tenant: &str, of: &MessageDescriptor, depth: u8) -> Option<DynamicMessage> {
    let mut message = DynamicMessage::new(of.clone());
    if let Some(field) = of.get_field_by_name("tenant")
        && field.kind() == Kind::String
    {
        message.set_field(&field, Value::String(tenant.to_owned()));
        return Some(message);
    }
    let nested = of.fields().filter(|_| depth > 0).find_map(|field| {
        let Kind::Message(inner) = field.kind() else {
            return None;
        };
        let inner = Value::Message(naming(tenant, &inner, depth - 1)?);
        let value = if field.is_list() {
            Value::List(vec![inner])
        } else {
            inner
        };
        Some((field, value))
    });
    let (field, value) = nested?;
    message.set_field(&field, value);
    Some(message)
}

impl Guarded {
    /// What an RPC about a tenant is refused with; `None` = its caller was let in.
    async fn turned_away(&self, rpc: &Rpc, tenant: &str, credential: &str) -> Option<Status> {
        let listener = if rpc.on_check_listener {
            &self.client.check_listener
        } else {
            &self.client.admin_listener
        };
        let message = naming(tenant, &rpc.input, 3);
        let message = message
            .map(|message| message.encode_to_vec())
            .unwrap_or_default();
        let mut grpc = Grpc::new(listener.clone());
        grpc.ready().await.expect("a connection");
        let request: Request<_> = shown(credential, tokio_stream::once(message));
        let ended = async {
            let mut answers = grpc
                .streaming(request, rpc.path.clone(), Bytes)
                .await?
                .into_inner();
            answers.message().await
        };
        let ended = ended.await;
        let status = ended.err()?;
        let who = [Code::PermissionDenied, Code::Unauthenticated];
        who.contains(&status.code()).then_some(status)
    }

    #[track_caller]
    fn judge(status: Option<Status>, what: &str) -> (Code, String) {
        let status = status.unwrap_or_else(|| panic!("{what}: let in"));
        let refused = Refused::read::<()>(Err(status));
        (refused.code, refused.reason)
    }
}

/// The scopes on a tenant that an RPC lets in.
fn needed(rpc: &Rpc) -> &'static [Scope] {
    let mut rows = NEEDS
        .iter()
        .filter(|(_, names)| names.split(' ').any(|name| name == rpc.name));
    let (scopes, _) = rows
        .next()
        .unwrap_or_else(|| panic!("{} is in no row", rpc.name));
    scopes
}

/// A batch and a stream of checks answer for each of their items.
fn answers_item_by_item(rpc: &Rpc) -> bool {
    ["BatchCheckInteractions", "StreamCheckInteractions"].contains(&rpc.name.as_str())
}

async fn each_rpc_lets_in_who_has_its_scope_there_and_nobody_else(all: Guarded) {
    all.make_tenant("beta").await;
    let mut keys = Vec::new();
    for scope in SCOPES {
        let key = all.key(scope.as_str_name(), vec![on_tenant(scope)]).await;
        keys.push((scope, key));
    }
    let everything = |tenant: &str| Grant {
        tenant: tenant.to_owned(),
        all_tenants: tenant.is_empty(),
        scopes: SCOPES.map(|scope| scope as i32).to_vec(),
        ..Grant::default()
    };
    let of_beta = all.key("beta", vec![everything("beta")]).await;
    let of_all = all.key("all", vec![everything("")]).await;
    let without = all.key_without_grants("nobody").await;
    let revoked = all.key("revoked", vec![everything("")]).await;
    all.revoke(&revoked).await;
    let expired = all.expired_key("expired", everything("")).await;

    let rpcs = rpcs();
    assert!(rpcs.len() >= 22, "{}", rpcs.len());
    for rpc in rpcs {
        let name = &rpc.name;
        let told = async |credential: &str, tenant: &str| {
            Guarded::judge(all.turned_away(&rpc, tenant, credential).await, name)
        };
        let unknown = |reason: &str| (Code::Unauthenticated, reason.to_owned());
        let denied = |reason: &str| (Code::PermissionDenied, reason.to_owned());
        assert_eq!(
            told("", TENANT).await,
            unknown("CREDENTIAL_MISSING"),
            "{name}"
        );
        for forged in [
            "x",
            "bk_0000000000000000_0",
            &forged(&of_all),
            "eyJhbGciOiJub25lIn0.e30.",
        ] {
            assert_eq!(
                told(forged, TENANT).await,
                unknown("CREDENTIAL_INVALID"),
                "{name}"
            );
        }
        assert_eq!(
            told(&revoked, TENANT).await,
            unknown("CREDENTIAL_INVALID"),
            "{name}"
        );
        assert_eq!(
            told(&expired, TENANT).await,
            unknown("CREDENTIAL_EXPIRED"),
            "{name}"
        );
        assert_eq!(
            told(&without, TENANT).await,
            denied("SCOPE_MISSING"),
            "{name}"
        );
        let needed = needed(&rpc);
        for (scope, key) in &keys {
            let met = all.turned_away(&rpc, TENANT, key).await;
            let of_all_tenants = needed.is_empty() && *scope == Scope::Admin;
            if of_all_tenants {
                assert_eq!(
                    Guarded::judge(met, name),
                    denied("TENANT_MISMATCH"),
                    "{name}"
                );
            } else if needed.contains(scope) {
                assert!(met.is_none(), "{name} with {scope:?}: {met:?}");
            } else {
                assert_eq!(
                    Guarded::judge(met, name),
                    denied("SCOPE_MISSING"),
                    "{name} {scope:?}"
                );
            }
        }
        if !answers_item_by_item(&rpc) {
            assert_eq!(
                told(&of_beta, TENANT).await,
                denied("TENANT_MISMATCH"),
                "{name}"
            );
        }
        let met = all.turned_away(&rpc, TENANT, &of_all).await;
        assert!(met.is_none(), "{name}: {met:?}");
    }
}

/// The same key with another secret.
fn forged(key: &str) -> String {
    let (kept, last) = key.split_at(key.len() - 1);
    format!("{kept}{}", if last == "0" { "1" } else { "0" })
}

async fn a_refusal_is_the_same_whether_there_is_such_a_tenant_or_not(all: Guarded) {
    let of_beta = Grant {
        tenant: "beta".to_owned(),
        ..on_tenant(Scope::Admin)
    };
    let of_beta = all.key("beta", vec![of_beta]).await;
    for rpc in rpcs() {
        if needed(&rpc).contains(&Scope::Admin) {
            let there = all
                .turned_away(&rpc, TENANT, &of_beta)
                .await
                .expect("a refusal");
            let nowhere = all
                .turned_away(&rpc, "nowhere", &of_beta)
                .await
                .expect("a refusal");
            assert_eq!(there.message(), nowhere.message(), "{}", rpc.name);
            assert_eq!(there.details(), nowhere.details(), "{}", rpc.name);
        }
    }
}

async fn health_and_reflection_ask_for_no_credential(all: Guarded) {
    for mut health in all.client.health() {
        let request = tonic_health::pb::HealthCheckRequest::default();
        health.check(request).await.expect("health");
    }
    for listener in [&all.client.check_listener, &all.client.admin_listener] {
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new(listener.clone());
        let told = client
            .server_reflection_info(tokio_stream::once(request))
            .await;
        told.expect("reflection");
    }
}

impl Guarded {
    async fn key_without_grants(&self, principal: &str) -> String {
        let key = self.key(principal, vec![on_tenant(Scope::Check)]).await;
        self.set_grants(principal, Vec::new()).await;
        key
    }

    pub(crate) async fn revoke(&self, key: &str) {
        let request = RevokeApiKeyRequest {
            key_id: id_of(key).to_owned(),
            ..RevokeApiKeyRequest::default()
        };
        let revoked = self
            .access()
            .revoke_api_key(shown(&self.root, request))
            .await;
        revoked.expect("a revoked key");
    }

    /// A key whose time is over.
    pub(crate) async fn expired_key(&self, principal: &str, grant: Grant) -> String {
        let key = self.key(principal, vec![grant]).await;
        let request = RotateApiKeyRequest {
            key_id: id_of(&key).to_owned(),
            overlap: Some(prost_types::Duration::default()),
            ..RotateApiKeyRequest::default()
        };
        let rotated = self
            .access()
            .rotate_api_key(shown(&self.root, request))
            .await;
        rotated.expect("a successor");
        key
    }
}

/// The id in a key.
pub(crate) fn id_of(key: &str) -> &str {
    key.split('_').nth(1).expect("bk_<id>_<secret>")
}
