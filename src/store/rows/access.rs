//! Rows of principals and of their keys.

use serde::{Deserialize, Serialize};
use sqlx::{Row, any::AnyRow};

use super::{from_json, known, to_json};
use crate::{
    domain::{
        access::{ApiKey, KeyId, KeyRecord, Principal},
        caller::{Grant, Scopes},
        clock::Timestamp,
        ids::TenantId,
    },
    store::{Result, StoreError},
};

/// A grant as it is stored, remembered and told.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct GrantRow {
    /// None = every tenant.
    tenant: Option<String>,
    scopes: u16,
    queues: Vec<String>,
    may_act_for: bool,
    rights_profile: String,
}

impl GrantRow {
    pub(in crate::store) fn of(grant: &Grant) -> Self {
        let Grant {
            tenant,
            scopes,
            queues,
            may_act_for,
            rights_profile,
        } = grant;
        Self {
            tenant: tenant.as_ref().map(ToString::to_string),
            scopes: scopes.bits(),
            queues: queues.clone(),
            may_act_for: *may_act_for,
            rights_profile: rights_profile.clone(),
        }
    }

    pub(in crate::store) fn into_grant(self) -> Option<Grant> {
        let Self {
            tenant,
            scopes,
            queues,
            may_act_for,
            rights_profile,
        } = self;
        Some(Grant {
            tenant: match tenant {
                Some(tenant) => Some(TenantId::parse(&tenant)?),
                None => None,
            },
            scopes: Scopes::from_bits(scopes),
            queues,
            may_act_for,
            rights_profile,
        })
    }
}

/// A principal as it is remembered.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct PrincipalRow {
    name: String,
    grants: Vec<GrantRow>,
    version: i64,
}

impl PrincipalRow {
    pub(in crate::store) fn of(principal: &Principal) -> Self {
        Self {
            name: principal.name.clone(),
            grants: principal.grants.iter().map(GrantRow::of).collect(),
            version: principal.version,
        }
    }

    pub(in crate::store) fn into_principal(self) -> Result<Principal> {
        let Self {
            name,
            grants,
            version,
        } = self;
        let grants = grants.into_iter().map(GrantRow::into_grant);
        Ok(Principal {
            name,
            grants: known(grants.collect::<Option<_>>(), "a grant")?,
            version,
        })
    }
}

pub(in crate::store) fn grants_text(grants: &[Grant]) -> Result<String> {
    to_json(&grants.iter().map(GrantRow::of).collect::<Vec<_>>())
}

pub(in crate::store) fn principal(row: &AnyRow) -> Result<Principal> {
    PrincipalRow {
        name: row.try_get("principal")?,
        grants: from_json(&row.try_get::<String, _>("grants")?)?,
        version: row.try_get("version")?,
    }
    .into_principal()
}

/// A key as it is stored and remembered, but for its lock.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct ApiKeyRow {
    key_id: String,
    principal: String,
    display_name: String,
    created_at: i64,
    created_by: String,
    expire_at: Option<i64>,
    revoked_at: Option<i64>,
}

impl ApiKeyRow {
    pub(in crate::store) fn of(key: &ApiKey) -> Self {
        let ApiKey {
            id,
            principal,
            display_name,
            created,
            created_by,
            expire,
            revoked,
        } = key;
        Self {
            key_id: id.to_string(),
            principal: principal.clone(),
            display_name: display_name.clone(),
            created_at: created.micros(),
            created_by: created_by.clone(),
            expire_at: expire.map(Timestamp::micros),
            revoked_at: revoked.map(Timestamp::micros),
        }
    }

    pub(in crate::store) fn read(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            key_id: row.try_get("key_id")?,
            principal: row.try_get("principal")?,
            display_name: row.try_get("display_name")?,
            created_at: row.try_get("created_at")?,
            created_by: row.try_get("created_by")?,
            expire_at: row.try_get("expire_at")?,
            revoked_at: row.try_get("revoked_at")?,
        })
    }

    pub(in crate::store) fn into_key(self) -> Result<ApiKey> {
        let Self {
            key_id,
            principal,
            display_name,
            created_at,
            created_by,
            expire_at,
            revoked_at,
        } = self;
        Ok(ApiKey {
            id: known(KeyId::parse(&key_id), "a key id")?,
            principal,
            display_name,
            created: Timestamp::from_micros(created_at),
            created_by,
            expire: expire_at.map(Timestamp::from_micros),
            revoked: revoked_at.map(Timestamp::from_micros),
        })
    }
}

/// What recognising a key's holder needs, and whose it is.
pub(in crate::store) fn key_record(row: &AnyRow) -> Result<(String, KeyRecord)> {
    let lock = row.try_get::<Vec<u8>, _>("lock")?.try_into();
    let expire: Option<i64> = row.try_get("expire_at")?;
    let record = KeyRecord {
        id: known(KeyId::parse(row.try_get::<&str, _>("key_id")?), "a key id")?,
        lock: lock.map_err(|_| StoreError::Corrupt("the length of a key's lock"))?,
        expire: expire.map(Timestamp::from_micros),
    };
    Ok((row.try_get("principal")?, record))
}
