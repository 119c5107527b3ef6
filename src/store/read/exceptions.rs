//! Exceptions, and the protections that are lifted.

use async_trait::async_trait;
use sqlx::{Row, any::AnyRow};

use super::{Aged, aged::aged_exceptions, state_bits};
use crate::{
    domain::{
        ban::State,
        clock::Timestamp,
        exception::{Exception, ExceptionId, Lifted},
        hex::hex,
        ids::TenantId,
        record::{ExceptionNews, ExceptionRecord, ProtectionRecord},
        view::index::Key,
    },
    store::{
        Result, StoreError,
        pool::{Lent, Whose},
        rows::{self, ExceptionRow, exception_records},
        shared::SqlStore,
        sql::Statements,
    },
};

/// Which exceptions, from where, how many.
#[derive(Clone, Debug, Default)]
pub struct ExceptionFilter {
    /// The states looked for; empty = active ones only.
    pub states: Vec<State>,
    /// The instant at which states are told.
    pub now: Option<Timestamp>,
    /// After this one.
    pub after: Option<ExceptionId>,
    /// How many at the most.
    pub limit: i64,
}

/// The part of a store that is about exceptions and protections.
#[async_trait]
pub trait ExceptionStore {
    /// Some exceptions, in the order in which they were made.
    async fn exceptions(
        &self,
        tenant: &TenantId,
        filter: &ExceptionFilter,
    ) -> Result<Vec<Exception>>;

    /// The built-in protections that a tenant has lifted, in the order of their names.
    async fn lifted(&self, tenant: &TenantId) -> Result<Vec<Lifted>>;

    /// The exceptions after one, some thousands, whose targets another version of the canonicaliser
    /// than this or a later one has read.
    async fn aged_exceptions(
        &self,
        tenant: &TenantId,
        version: u16,
        after: ExceptionId,
    ) -> Result<Aged<ExceptionId>>;
}

#[async_trait]
impl ExceptionStore for SqlStore {
    async fn exceptions(
        &self,
        tenant: &TenantId,
        filter: &ExceptionFilter,
    ) -> Result<Vec<Exception>> {
        let mut lent = self.readers.lend(Whose::Tenant(tenant)).await?;
        let found = sqlx::query(self.say.exceptions.clone())
            .bind(tenant.as_str().to_owned())
            .bind(state_bits(&filter.states))
            .bind(filter.now.map_or(0, Timestamp::micros))
            .bind(
                filter
                    .after
                    .map_or_else(Vec::new, |one| one.bytes().to_vec()),
            )
            .bind(filter.limit)
            .fetch_all(&mut lent)
            .await?;
        found
            .iter()
            .map(|row| ExceptionRow::read(row)?.into_exception())
            .collect()
    }

    async fn lifted(&self, tenant: &TenantId) -> Result<Vec<Lifted>> {
        let found = sqlx::query(self.say.lifted.clone())
            .bind(tenant.as_str().to_owned())
            .fetch_all(&mut self.readers.lend(Whose::Tenant(tenant)).await?)
            .await?;
        found.iter().map(rows::lifted).collect()
    }

    async fn aged_exceptions(
        &self,
        tenant: &TenantId,
        version: u16,
        after: ExceptionId,
    ) -> Result<Aged<ExceptionId>> {
        let than = self.ring.now().present(version);
        aged_exceptions(&self.readers, &self.say, tenant, &than, after).await
    }
}

/// The exceptions filed under one of these keys, each with its record.
pub(in crate::store) async fn concerning_exceptions(
    tx: &mut Lent,
    say: &Statements,
    tenant: &TenantId,
    keys: &[Key],
    limit: i64,
) -> Result<Vec<(Exception, ExceptionRecord)>> {
    let keys: Vec<String> = keys
        .iter()
        .map(|key| hex(&key.bits().to_be_bytes()))
        .collect();
    let found = sqlx::query(say.concerning_exceptions.clone())
        .bind(tenant.as_str().to_owned())
        .bind(rows::to_json(&keys)?)
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
    let exceptions = found
        .iter()
        .map(|row| ExceptionRow::read(row)?.into_exception())
        .collect::<Result<Vec<_>>>()?;
    if exceptions.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<String> = exceptions
        .iter()
        .map(|one| hex(one.exception_id.bytes()))
        .collect();
    let found = sqlx::query(say.exception_records.clone())
        .bind(tenant.as_str().to_owned())
        .bind(rows::to_json(&ids)?)
        .fetch_all(&mut *tx)
        .await?;
    let mut records = exception_records(&found)?;
    exceptions
        .into_iter()
        .map(|one| {
            let own = |record: &ExceptionRecord| record.exception == one.exception_id;
            let at = records.iter().position(own);
            let at = at.ok_or(StoreError::Corrupt("an exception without keys"))?;
            Ok((one, records.swap_remove(at)))
        })
        .collect()
}

/// A tenant's exceptions, and the protections that it has lifted.
pub(in crate::store) async fn exception_news(
    tx: &mut Lent,
    say: &Statements,
    tenant: &str,
) -> Result<ExceptionNews> {
    let exceptions = sqlx::query(say.load_exceptions.clone())
        .bind(tenant.to_owned())
        .fetch_all(&mut *tx)
        .await?;
    let lifted = sqlx::query(say.lifted.clone())
        .bind(tenant.to_owned())
        .fetch_all(&mut *tx)
        .await?;
    let protection = |row: &AnyRow| {
        let name = row.try_get("name")?;
        Ok(ProtectionRecord { name, lifted: true })
    };
    Ok(ExceptionNews {
        exceptions: exception_records(&exceptions)?,
        protections: lifted.iter().map(protection).collect::<Result<_>>()?,
    })
}
