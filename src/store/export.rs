//! Reading very many bans whole, in one snapshot and in the order of their ids.
//!
//! Targets and keys are read in ranges beside their bans and joined here: all three are kept in
//! that order, while a look-up for each ban would be most of the work.

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use sqlx::Row as _;

use super::{
    BanFilter, Result,
    pool::Lent,
    read::Asked,
    rows::{BanRow, TargetRow, bytes, from_json},
    sql::Statements,
};
use crate::domain::{ban::Ban, ids::TenantId, revision::Anchor};

/// How many bans are read at once.
const PAGE: i64 = 2_000;

/// Who takes the bans of an export.
#[async_trait]
pub trait BanSink: Send + 'static {
    /// The newest row of the feed that the snapshot has; comes first.
    fn open(&mut self, head: Anchor);
    /// Some of them, or none where there are none; `false` = nobody wants the rest.
    async fn take(&mut self, bans: Vec<Ban>) -> bool;
}

/// All bans that a filter finds, in a transaction that reads one snapshot; `false` = there is no
/// such tenant.
pub(super) async fn all(
    mut tx: Lent,
    say: &Statements,
    tenant: &TenantId,
    filter: &BanFilter,
    head: Anchor,
    sink: &mut dyn BanSink,
) -> Result<bool> {
    let found = sqlx::query(say.settings.clone())
        .bind(tenant.as_str().to_owned())
        .fetch_optional(&mut tx)
        .await?;
    if found.is_none() {
        return Ok(false);
    }
    sink.open(head);
    bans(&mut tx, say, tenant, filter, sink).await?;
    tx.commit().await?;
    Ok(true)
}

async fn bans(
    tx: &mut Lent,
    say: &Statements,
    tenant: &TenantId,
    filter: &BanFilter,
    sink: &mut dyn BanSink,
) -> Result<()> {
    let mut after = Vec::new();
    loop {
        let asked = filter.bind(sqlx::query(say.export_bans.clone()), tenant)?;
        let found: Vec<BanRow> = page(tx, asked.bind(after).bind(PAGE)).await?;
        let (Some(first), Some(last)) = (found.first(), found.last()) else {
            sink.take(Vec::new()).await;
            return Ok(());
        };
        let (first, last) = (bytes(&first.ban_id)?, bytes(&last.ban_id)?);
        let beside = |statement: &sqlx::SqlStr| {
            sqlx::query(statement.clone())
                .bind(tenant.as_str().to_owned())
                .bind(first.clone())
                .bind(last.clone())
        };
        let targets: Vec<(String, TargetRow)> = page(tx, beside(&say.export_targets)).await?;
        let keys: Vec<(String, usize, Option<String>)> = page(tx, beside(&say.export_keys)).await?;
        let (mut targets, mut keys) = (targets.into_iter().peekable(), keys.into_iter().peekable());
        let full = i64::try_from(found.len()).is_ok_and(|found| found == PAGE);
        let mut bans = Vec::with_capacity(found.len());
        for mut row in found {
            // What is of bans before it, which nobody asked for, is passed.
            while let Some((of, target)) = targets.next_if(|(of, _)| *of <= row.ban_id) {
                if of == row.ban_id {
                    row.targets.push(target);
                }
            }
            while let Some((of, at, text)) = keys.next_if(|(of, ..)| *of <= row.ban_id) {
                if of == row.ban_id {
                    row.key_texts.push((at, text));
                }
            }
            bans.push(row.into_ban(tenant)?);
        }
        after = last;
        if !sink.take(bans).await || !full {
            return Ok(());
        }
    }
}

/// What a statement has in its one column, which is NULL where it found nothing.
async fn page<T: DeserializeOwned>(tx: &mut Lent, asked: Asked) -> Result<Vec<T>> {
    let row = asked.fetch_one(tx).await?;
    let page: Option<String> = row.try_get("page")?;
    page.map_or(Ok(Vec::new()), |page| from_json(&page))
}
