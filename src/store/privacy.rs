//! Reading what was erased.

use async_trait::async_trait;
use sqlx::{Row, any::AnyRow};

use super::{Result, StoreError, pool::Whose, rows, shared::SqlStore};
use crate::domain::{
    clock::Timestamp,
    erasure::{Erasure, Keep, NotedErasure},
    ids::TenantId,
};

/// Reading what was erased.
#[async_trait]
pub trait PrivacyStore {
    /// Erasures of a tenant, oldest first, after one of them.
    async fn erasures(
        &self,
        tenant: &TenantId,
        after: [u8; 16],
        limit: i64,
    ) -> Result<Vec<NotedErasure>>;

    /// Overwrites what was deleted, as far as this database can be told to.
    async fn scrub(&self) -> Result<()>;
}

#[async_trait]
impl PrivacyStore for SqlStore {
    async fn erasures(
        &self,
        tenant: &TenantId,
        after: [u8; 16],
        limit: i64,
    ) -> Result<Vec<NotedErasure>> {
        let found = sqlx::query(self.say.erasures.clone())
            .bind(tenant.as_str().to_owned())
            .bind(after.to_vec())
            .bind(limit)
            .fetch_all(&mut self.readers.lend(Whose::Tenant(tenant)).await?)
            .await?;
        found.iter().map(|row| noted(tenant, row)).collect()
    }

    async fn scrub(&self) -> Result<()> {
        self.engine.scrub().await
    }
}

fn noted(tenant: &TenantId, row: &AnyRow) -> Result<NotedErasure> {
    let id = row.try_get::<&[u8], _>("erasure_id")?;
    let until: Option<i64> = row.try_get("hash_expire_at")?;
    let until = until.map(Timestamp::from_micros);
    let kept = rows::number::<i32>(row, "kept")? != 0;
    Ok(NotedErasure {
        tenant: tenant.clone(),
        id: id
            .try_into()
            .map_err(|_| StoreError::Corrupt("the length of an erasure's id"))?,
        at: Timestamp::from_micros(row.try_get("at")?),
        actor: row.try_get("actor")?,
        erasure: Erasure {
            keys: rows::match_keys(row.try_get("match_keys")?)?,
            keep: kept.then_some(Keep { until }),
        },
    })
}
