//! Tails of the feed, from what the statement of that name gives.

use sqlx::{Row, any::AnyRow};

use super::{
    Result, StoreError, Tail,
    keys::Shown,
    payload,
    pool::{Pool, Whose},
    rows::number,
    sql::Statements,
};
use crate::domain::{
    clock::Timestamp,
    ids::TenantId,
    record::News,
    revision::{Anchor, Epoch, Nonce, Revision},
};

/// The most rows of one tail, and about the most bytes of their payloads together.
const TAIL_ROWS: i64 = 512;
const TAIL_BYTES: i64 = 1 << 20;

pub(super) fn head(row: &AnyRow) -> Result<Anchor> {
    Ok(Anchor {
        revision: Revision(number(row, "rev")?),
        nonce: Nonce(number(row, "nonce")?),
    })
}

/// A tail from the rows that a statement of this name gave.
pub(super) fn tail_of(found: &[AnyRow], ring: &Shown) -> Result<Tail> {
    let first = found.first().ok_or(StoreError::Corrupt("an empty feed"))?;
    ring.judge(first.try_get("keys")?)?;
    let mut news = Vec::with_capacity(found.len());
    for row in found {
        if row.try_get::<Option<i64>, _>("rev")?.is_none() {
            continue;
        }
        let tenant: String = row.try_get("tenant")?;
        let tenant = TenantId::parse(&tenant);
        let change = payload::read(row.try_get("kind")?, row.try_get::<&[u8], _>("payload")?);
        news.push(News {
            anchor: head(row)?,
            tenant,
            change,
        });
    }
    Ok(Tail {
        floor: Revision(number(first, "lowest")?),
        head: Revision(number(first, "highest")?),
        epoch: epoch_of(&first.try_get::<String, _>("epoch")?)?,
        news,
        in_recovery: number::<i32>(first, "in_recovery")? != 0,
        agreed: number::<i32>(first, "agreed")? != 0,
        clock: Timestamp::from_micros(first.try_get("clock")?),
    })
}

pub(super) fn epoch_of(value: &str) -> Result<Epoch> {
    let number = value.parse();
    number
        .map(Epoch)
        .map_err(|_| StoreError::Corrupt("the epoch"))
}

pub(super) async fn tail_with(
    pool: &Pool,
    say: &Statements,
    ring: &Shown,
    from: Revision,
) -> Result<Tail> {
    let (from, rows, bytes) = tail_bounds(from)?;
    let found = sqlx::query(say.tail.clone())
        .bind(from)
        .bind(rows)
        .bind(bytes)
        .fetch_all(&mut pool.lend(Whose::Everybody).await?)
        .await?;
    tail_of(&found, ring)
}

/// The tail's parameters, for those who run it on a connection of their own.
pub(super) fn tail_bounds(from: Revision) -> Result<(i64, i64, i64)> {
    Ok((row_number(from)?, TAIL_ROWS, TAIL_BYTES))
}

pub(super) fn row_number(revision: Revision) -> Result<i64> {
    i64::try_from(revision.0).map_err(|_| StoreError::Corrupt("a revision"))
}
