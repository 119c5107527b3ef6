//! Principals and their keys, by the statements of one store.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use sqlx::Row;

use super::{
    Begun, Intent, Result,
    pool::{Lent, Whose},
    rows::{self, ApiKeyRow},
    shared::SqlStore,
    sql::Statements,
    work::SqlWork,
};
use crate::domain::{
    access::{AccessRecord, ApiKey, KeyId, KeyRecord, Principal},
    clock::Timestamp,
    policy::TenantSettings,
};

/// For how long a key that is over is still told from one that never was, in microseconds: a week.
const REMEMBERED: i64 = 7 * 86_400 * 1_000_000;

pub(super) async fn principal(
    conn: &mut Lent,
    say: &Statements,
    name: &str,
) -> Result<Option<Principal>> {
    let found = sqlx::query(say.principal.clone())
        .bind(name.to_owned())
        .fetch_optional(conn)
        .await?;
    found.as_ref().map(rows::principal).transpose()
}

pub(super) async fn count_principals(conn: &mut Lent, say: &Statements) -> Result<i64> {
    let row = sqlx::query(say.count_principals.clone())
        .fetch_one(conn)
        .await?;
    Ok(row.try_get("total")?)
}

pub(super) async fn principals(
    conn: &mut Lent,
    say: &Statements,
    after: &str,
    limit: i64,
) -> Result<Vec<Principal>> {
    let found = sqlx::query(say.principals.clone())
        .bind(after.to_owned())
        .bind(limit)
        .fetch_all(conn)
        .await?;
    found.iter().map(rows::principal).collect()
}

pub(super) async fn set_principal(
    conn: &mut Lent,
    say: &Statements,
    principal: &Principal,
) -> Result<()> {
    sqlx::query(say.set_principal.clone())
        .bind(principal.name.clone())
        .bind(rows::grants_text(&principal.grants)?)
        .bind(principal.version)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn api_key(
    conn: &mut Lent,
    say: &Statements,
    id: KeyId,
) -> Result<Option<ApiKey>> {
    let found = sqlx::query(say.api_key.clone())
        .bind(id.to_string())
        .fetch_optional(conn)
        .await?;
    found
        .map(|row| ApiKeyRow::read(&row)?.into_key())
        .transpose()
}

pub(super) async fn api_keys(
    conn: &mut Lent,
    say: &Statements,
    principal: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<ApiKey>> {
    let found = sqlx::query(say.api_keys.clone())
        .bind(principal.to_owned())
        .bind(after.to_owned())
        .bind(limit)
        .fetch_all(conn)
        .await?;
    found
        .iter()
        .map(|row| ApiKeyRow::read(row)?.into_key())
        .collect()
}

pub(super) async fn add_api_key(
    conn: &mut Lent,
    say: &Statements,
    key: &ApiKey,
    lock: [u8; 32],
    made_under: i32,
) -> Result<()> {
    sqlx::query(say.add_api_key.clone())
        .bind(key.id.to_string())
        .bind(key.principal.clone())
        .bind(key.display_name.clone())
        .bind(lock.to_vec())
        .bind(key.created.micros())
        .bind(key.created_by.clone())
        .bind(key.expire.map(Timestamp::micros))
        .bind(key.revoked.map(Timestamp::micros))
        .bind(made_under)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn end_api_key(conn: &mut Lent, say: &Statements, key: &ApiKey) -> Result<()> {
    sqlx::query(say.end_api_key.clone())
        .bind(key.id.to_string())
        .bind(key.expire.map(Timestamp::micros))
        .bind(key.revoked.map(Timestamp::micros))
        .execute(conn)
        .await?;
    Ok(())
}

/// How a principal stands, its keys included, as the feed tells it.
pub(super) async fn record(
    conn: &mut Lent,
    say: &Statements,
    name: &str,
    now: Timestamp,
) -> Result<Option<AccessRecord>> {
    let Some(principal) = principal(conn, say, name).await? else {
        return Ok(None);
    };
    let keys = keys(conn, say, name, now).await?;
    let record = AccessRecord {
        principal: principal.name,
        grants: principal.grants,
        keys: keys.into_iter().map(|(_, key)| key).collect(),
    };
    Ok(Some(record))
}

/// How all of them stand.
pub(super) async fn records(
    conn: &mut Lent,
    say: &Statements,
    now: Timestamp,
) -> Result<Vec<AccessRecord>> {
    let mut keys_of: HashMap<String, Vec<KeyRecord>> = HashMap::new();
    for (principal, key) in keys(conn, say, "", now).await? {
        keys_of.entry(principal).or_default().push(key);
    }
    let all = principals(conn, say, "", i64::MAX).await?;
    let record = |principal: Principal| AccessRecord {
        keys: keys_of.remove(&principal.name).unwrap_or_default(),
        principal: principal.name,
        grants: principal.grants,
    };
    Ok(all.into_iter().map(record).collect())
}

async fn keys(
    conn: &mut Lent,
    say: &Statements,
    principal: &str,
    now: Timestamp,
) -> Result<Vec<(String, KeyRecord)>> {
    let found = sqlx::query(say.key_records.clone())
        .bind(principal.to_owned())
        .bind(now.plus_micros(-REMEMBERED).micros())
        .fetch_all(conn)
        .await?;
    found.iter().map(rows::key_record).collect()
}

/// Reading who may ask what.
#[async_trait]
pub trait AccessStore {
    /// A principal.
    async fn principal(&self, name: &str) -> Result<Option<Principal>>;

    /// Principals from one on, in the order of their names.
    async fn principals(&self, after: &str, limit: i64) -> Result<Vec<Principal>>;

    /// Keys from one on, in the order of their ids; of one principal, or of all where none is named.
    async fn api_keys(&self, principal: &str, after: &str, limit: i64) -> Result<Vec<ApiKey>>;
}

#[async_trait]
impl AccessStore for SqlStore {
    async fn principal(&self, name: &str) -> Result<Option<Principal>> {
        principal(
            &mut self.readers.lend(Whose::Nobody).await?,
            &self.say,
            name,
        )
        .await
    }

    async fn principals(&self, after: &str, limit: i64) -> Result<Vec<Principal>> {
        principals(
            &mut self.readers.lend(Whose::Nobody).await?,
            &self.say,
            after,
            limit,
        )
        .await
    }

    async fn api_keys(&self, principal: &str, after: &str, limit: i64) -> Result<Vec<ApiKey>> {
        let mut lent = self.readers.lend(Whose::Nobody).await?;
        api_keys(&mut lent, &self.say, principal, after, limit).await
    }
}

impl SqlStore {
    /// Begins a write on what is about all tenants.
    pub(super) async fn begin_access(&self, mut tx: Lent, intent: &Intent) -> Result<Begun> {
        let locked = sqlx::query(self.say.lock_access.clone())
            .fetch_one(&mut tx)
            .await?;
        let filing = self.filing(&locked)?;
        if let Some(begun) = self.replayed(intent, &mut tx).await? {
            return Ok(begun);
        }
        let (say, settings) = (Arc::clone(&self.say), TenantSettings::default());
        let work = SqlWork::new(tx, say, intent.clone(), settings).under(filing.number);
        Ok(Begun::Open(Box::new(work)))
    }
}
