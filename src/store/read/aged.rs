//! What an older version of the canonicaliser has read, or is made under another master key.

use sqlx::{Row, SqlStr};

use crate::{
    domain::ids::{BanId, ExceptionId, TenantId},
    store::{
        Result,
        pool::{Pool, Whose},
        rows,
        sql::Statements,
    },
};

/// How many targets are looked at in one statement.
const AT_ONCE: i64 = 8_192;

/// Some bans or exceptions, by the version of the canonicaliser that read their targets and by the
/// master key that these are filed under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aged<Id> {
    /// Those that an older version read, or that are filed under another key.
    pub ids: Vec<Id>,
    /// How many others such cannot be read again, for their text was erased.
    pub erased: usize,
    /// Those that hold by a digest under another key alone, for the text behind it was erased.
    pub bound: Vec<Id>,
    /// How many were looked at.
    pub seen: usize,
    /// The last of them, after which to go on; `None` = there are no more.
    pub last: Option<Id>,
}

/// What has not aged.
pub(in crate::store) struct Present {
    pub(in crate::store) version: u16,
    /// The numbers that rows say the current key by.
    pub(in crate::store) keys: [i32; 2],
}

pub(in crate::store) async fn aged_bans(
    readers: &Pool,
    say: &Statements,
    tenant: &TenantId,
    than: &Present,
    after: BanId,
) -> Result<Aged<BanId>> {
    let (say, after) = (say.aged_bans.clone(), after.bytes());
    aged(readers, say, tenant, than, after, rows::ban_id).await
}

pub(in crate::store) async fn aged_exceptions(
    readers: &Pool,
    say: &Statements,
    tenant: &TenantId,
    than: &Present,
    after: ExceptionId,
) -> Result<Aged<ExceptionId>> {
    let (say, after) = (say.aged_exceptions.clone(), after.bytes());
    aged(readers, say, tenant, than, after, rows::exception_id).await
}

async fn aged<Id: Copy>(
    readers: &Pool,
    say: SqlStr,
    tenant: &TenantId,
    than: &Present,
    after: &[u8; 16],
    id: fn(&[u8]) -> Result<Id>,
) -> Result<Aged<Id>> {
    let found = sqlx::query(say)
        .bind(tenant.as_str().to_owned())
        .bind(after.to_vec())
        .bind(AT_ONCE)
        .bind(i32::from(than.version))
        .bind(than.keys[0])
        .bind(than.keys[1])
        .fetch_all(&mut readers.lend(Whose::Tenant(tenant)).await?)
        .await?;
    let mut targets: i64 = 0;
    for row in &found {
        targets += rows::number::<i64>(row, "targets")?;
    }
    let full = targets == AT_ONCE;
    // The last one's other targets may be beyond the edge: it comes first the next time.
    let whole = found.len() - usize::from(full);
    let mut aged = Aged {
        ids: Vec::new(),
        erased: 0,
        bound: Vec::new(),
        seen: whole,
        last: None,
    };
    for row in &found[..whole] {
        let id = id(row.try_get::<&[u8], _>("id")?)?;
        if rows::number::<i32>(row, "old")? != 0 {
            aged.ids.push(id);
        } else if rows::number::<i32>(row, "erased")? != 0 {
            aged.erased += 1;
        }
        if rows::number::<i32>(row, "bound")? != 0 {
            aged.bound.push(id);
        }
        aged.last = full.then_some(id);
    }
    Ok(aged)
}
