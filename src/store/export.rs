//! Reading very many bans whole, in one snapshot and in the order of their ids.
//!
//! Targets and keys are read in ranges beside their bans and joined here: all three are kept in
//! that order, while a look-up for each ban would be most of the work.

use async_trait::async_trait;
use sqlx::{Row, any::AnyRow};

use super::{
    BanFilter, Result,
    pool::Lent,
    rows::{self, BanRow, TargetRow, number},
    sql::Statements,
};
use crate::domain::{
    ban::Ban,
    ids::{BanId, TenantId},
    revision::Anchor,
};

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
    let mut after: Option<BanId> = None;
    loop {
        let found = filter
            .bind(sqlx::query(say.export_bans.clone()), tenant)?
            .bind(after.map_or_else(Vec::new, |ban| ban.bytes().to_vec()))
            .bind(PAGE)
            .fetch_all(&mut *tx)
            .await?;
        let ids = found
            .iter()
            .map(|row| rows::ban_id(row.try_get::<&[u8], _>("ban_id")?))
            .collect::<Result<Vec<_>>>()?;
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
            sink.take(Vec::new()).await;
            return Ok(());
        };
        let range = async |tx: &mut Lent, statement: &sqlx::SqlStr| -> Result<Vec<AnyRow>> {
            Ok(sqlx::query(statement.clone())
                .bind(tenant.as_str().to_owned())
                .bind(first.bytes().to_vec())
                .bind(last.bytes().to_vec())
                .fetch_all(tx)
                .await?)
        };
        let targets = range(tx, &say.export_targets).await?;
        let keys = range(tx, &say.export_keys).await?;
        let (mut targets, mut keys) = (targets.iter().peekable(), keys.iter().peekable());
        let mut bans = Vec::with_capacity(found.len());
        for (row, id) in found.iter().zip(&ids) {
            let mut parts = (Vec::new(), Vec::new());
            while let Some(target) = next_of(&mut targets, *id)? {
                parts.0.push(TargetRow::read(target)?);
            }
            while let Some(key) = next_of(&mut keys, *id)? {
                parts
                    .1
                    .push((number(key, "position")?, key.try_get("key_text")?));
            }
            bans.push(BanRow::read_with(row, parts.0, parts.1)?.into_ban(tenant)?);
        }
        after = Some(*last);
        let full = i64::try_from(found.len()).is_ok_and(|found| found == PAGE);
        if !sink.take(bans).await || !full {
            return Ok(());
        }
    }
}

/// The next row that is of this ban; those of bans before it, which nobody asked for, are passed.
fn next_of<'a>(
    rows: &mut std::iter::Peekable<impl Iterator<Item = &'a AnyRow>>,
    ban: BanId,
) -> Result<Option<&'a AnyRow>> {
    while let Some(row) = rows.peek() {
        let of: &[u8] = row.try_get("ban_id")?;
        match of.cmp(ban.bytes().as_slice()) {
            std::cmp::Ordering::Less => drop(rows.next()),
            std::cmp::Ordering::Equal => return Ok(rows.next()),
            std::cmp::Ordering::Greater => return Ok(None),
        }
    }
    Ok(None)
}
