//! What can be asked about queues and rights, in a transaction or beside one.

use std::collections::HashMap;

use sqlx::{
    Any,
    any::{AnyArguments, AnyRow},
    query::Query,
};

use super::{
    Result, StoreError,
    pool::{Pool, Whose},
    rows,
    sql::Statements,
};
use crate::domain::{
    ids::TenantId,
    queue::{AtQueue, BanRights, QueuePolicy},
};

/// The question for some queues, and whether a rights profile may ban from them.
pub(super) fn ask(
    say: &Statements,
    tenant: &TenantId,
    queues: &[String],
    rights_profile: &str,
) -> Result<Query<'static, Any, AnyArguments>> {
    Ok(sqlx::query(say.at_queues.clone())
        .bind(tenant.as_str().to_owned())
        .bind(rows::to_json(&queues)?)
        .bind(rights_profile.to_owned()))
}

/// What was found of each queue, in the order in which they were asked for.
pub(super) fn in_order(found: &[AnyRow], queues: &[String]) -> Result<Vec<AtQueue>> {
    let found = found
        .iter()
        .map(|row| rows::at_queue(row).map(|at| (at.policy.queue.clone(), at)))
        .collect::<Result<HashMap<_, _>>>()?;
    queues
        .iter()
        .map(|queue| found.get(queue).cloned())
        .collect::<Option<_>>()
        .ok_or(StoreError::Corrupt("a queue under another name"))
}

pub(super) async fn policies(
    readers: &Pool,
    say: &Statements,
    tenant: &TenantId,
    after: &str,
    limit: i64,
) -> Result<Vec<QueuePolicy>> {
    let found = sqlx::query(say.queue_policies.clone())
        .bind(tenant.as_str().to_owned())
        .bind(after.to_owned())
        .bind(limit)
        .fetch_all(&mut readers.lend(Whose::Tenant(tenant)).await?)
        .await?;
    found
        .iter()
        .map(|row| Ok(rows::at_queue(row)?.policy))
        .collect()
}

pub(super) async fn rights(
    readers: &Pool,
    say: &Statements,
    tenant: &TenantId,
    after: &str,
    limit: i64,
) -> Result<Vec<BanRights>> {
    let found = sqlx::query(say.ban_rights.clone())
        .bind(tenant.as_str().to_owned())
        .bind(after.to_owned())
        .bind(limit)
        .fetch_all(&mut readers.lend(Whose::Tenant(tenant)).await?)
        .await?;
    found.iter().map(rows::ban_rights).collect()
}
