//! Reading what a view needs of bans that can still hold, in the order of their ids: of all there are, or
//! of some that were made one after another.

use futures_util::future::join;
use sqlx::any::AnyRow;

use super::{
    LoadSink, Result,
    ids::{AFTER_ALL, are_close, just_before},
    pool::Lent,
    rows::{BanColumns, KeyColumns, bytes, ids, to_json},
    sql::{self, Statements},
};
use crate::domain::{ids::BanId, record::BanRecord};

/// How many bans are read at once.
const PAGE: usize = 4_096;
/// The most keys that are read at once for lying between those bans. Where there are as many, most may be
/// of bans that have ended.
const KEYS: usize = 4 * 4_096;

/// All of a tenant's bans that can still hold, in a transaction that reads one snapshot.
pub(super) async fn all(
    tx: &mut Lent,
    say: &Statements,
    tenant: &str,
    sink: &mut dyn LoadSink,
) -> Result<()> {
    let mut read = Page::read(tx, say, tenant, Vec::new(), &AFTER_ALL, PAGE).await?;
    while let Some(page) = read {
        let last = page.last.clone();
        let filed = async {
            sink.page(&page.records()?);
            Ok(())
        };
        // The database reads on while a page is filed.
        let next = Page::read(tx, say, tenant, last, &AFTER_ALL, PAGE);
        let (next, filed) = join(next, filed).await;
        read = filed.and(next)?;
    }
    Ok(())
}

/// These bans, if they are many and no other is between the first and the last, as it is with what a chunk
/// of an import has made; else `None`.
pub(super) async fn made_together(
    tx: &mut Lent,
    say: &Statements,
    tenant: &str,
    bans: &[BanId],
) -> Result<Option<Vec<BanRecord>>> {
    let (Some(first), Some(last)) = (bans.first(), bans.last()) else {
        return Ok(None);
    };
    if bans.len() <= sql::FEW || !are_close(*first, *last) {
        return Ok(None);
    }
    let after = just_before(*first);
    let read = Page::read(tx, say, tenant, after, last.bytes(), bans.len()).await?;
    let records = read.map_or_else(|| Ok(Vec::new()), |page| page.records())?;
    let are_these = records
        .iter()
        .map(|record| record.ban)
        .eq(bans.iter().copied())
        && records.iter().all(|record| !record.keys.is_empty());
    Ok(are_these.then_some(records))
}

/// Some bans, and beside them keys, theirs among them, as they were told.
struct Page {
    bans: AnyRow,
    keys: AnyRow,
    last: Vec<u8>,
}

impl Page {
    /// So many bans that come after an id and up to another; `None` = there are no more.
    async fn read(
        tx: &mut Lent,
        say: &Statements,
        tenant: &str,
        after: Vec<u8>,
        until: &[u8],
        many: usize,
    ) -> Result<Option<Self>> {
        let bans = sql::about_many(&say.load, many)
            .bind(tenant.to_owned())
            .bind(after.clone())
            .bind(until.to_vec())
            .bind(i64::try_from(many).unwrap_or(i64::MAX))
            .fetch_one(&mut *tx)
            .await?;
        let Some(last) = ids(&bans)?.next_back() else {
            return Ok(None);
        };
        let last = bytes(&last.to_lowercase())?;
        let mut keys = sql::about_many(&say.load_keys, many)
            .bind(tenant.to_owned())
            .bind(after)
            .bind(last.clone())
            .bind(i64::try_from(KEYS).unwrap_or(i64::MAX))
            .fetch_one(&mut *tx)
            .await?;
        if KeyColumns::count(&keys)? >= KEYS {
            let ids: Vec<&str> = ids(&bans)?.collect();
            keys = sql::about_many(&say.load_keys_of, ids.len())
                .bind(tenant.to_owned())
                .bind(to_json(&ids)?)
                .fetch_one(tx)
                .await?;
        }
        Ok(Some(Self { bans, keys, last }))
    }

    fn records(&self) -> Result<Vec<BanRecord>> {
        BanColumns::read(&self.bans)?.with(&KeyColumns::read(&self.keys)?)
    }
}
