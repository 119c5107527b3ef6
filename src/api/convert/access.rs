//! Principals, grants and keys on the wire.

use super::{timestamp, v1};
use crate::domain::{
    access::{ApiKey, MAX_GRANTS, Principal},
    caller::{Grant, Scope},
    clock::Timestamp,
    fields,
    ids::TenantId,
    refusal::{Reason, Refusal},
};

/// Reads grants.
pub(in crate::api) fn grants(given: &[v1::Grant]) -> Result<Vec<Grant>, Refusal> {
    fields::items("grants", given, MAX_GRANTS)?
        .iter()
        .enumerate()
        .map(|(at, given)| grant(&format!("grants[{at}]"), given))
        .collect()
}

fn grant(field: &str, given: &v1::Grant) -> Result<Grant, Refusal> {
    let v1::Grant {
        tenant,
        all_tenants,
        scopes,
        queues,
        may_act_for,
        rights_profile,
    } = given;
    let path = || format!("{field}.tenant");
    let tenant = match (tenant.as_str(), all_tenants) {
        ("", true) => None,
        ("", false) => return Err(Refusal::required(path())),
        (_, true) => {
            let message = "a tenant is named, or all of them are meant, not both";
            return Err(Refusal::of_field(Reason::FieldInvalid, path(), message));
        }
        (tenant, false) => Some(TenantId::parse(tenant).ok_or_else(|| {
            let message = "a tenant id has the form [a-z0-9][a-z0-9-]{0,62}";
            Refusal::of_field(Reason::FieldInvalid, path(), message)
        })?),
    };
    let scopes = super::all_known(&format!("{field}.scopes"), scopes, Scope::from_number)?;
    Ok(Grant {
        tenant,
        scopes: scopes.into_iter().collect(),
        queues: queues.clone(),
        may_act_for: *may_act_for,
        rights_profile: rights_profile.clone(),
    })
}

fn grant_message(grant: Grant) -> v1::Grant {
    let Grant {
        tenant,
        scopes,
        queues,
        may_act_for,
        rights_profile,
    } = grant;
    v1::Grant {
        all_tenants: tenant.is_none(),
        tenant: tenant.map(|tenant| tenant.to_string()).unwrap_or_default(),
        scopes: scopes.each().map(|scope| scope as i32).collect(),
        queues,
        may_act_for,
        rights_profile,
    }
}

/// A principal on the wire.
pub(in crate::api) fn principal_message(principal: Principal) -> v1::Principal {
    let Principal {
        name,
        grants,
        version,
    } = principal;
    v1::Principal {
        principal: name,
        grants: grants.into_iter().map(grant_message).collect(),
        etag: version.to_string(),
    }
}

/// A key on the wire, as it stands at an instant.
pub(crate) fn key_message(key: &ApiKey, now: Timestamp) -> v1::ApiKey {
    let state = match key {
        key if key.is_live(now) => v1::api_key::State::Live,
        key if key.revoked.is_some() => v1::api_key::State::Revoked,
        _ => v1::api_key::State::Expired,
    };
    let ApiKey {
        id,
        principal,
        display_name,
        created,
        created_by,
        expire,
        revoked,
    } = key;
    v1::ApiKey {
        key_id: id.to_string(),
        principal: principal.clone(),
        display_name: display_name.clone(),
        state: state as i32,
        create_time: Some(timestamp(*created)),
        created_by: created_by.clone(),
        expire_time: expire.map(timestamp),
        revoke_time: revoked.map(timestamp),
    }
}
