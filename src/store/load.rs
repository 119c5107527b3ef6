//! Reading what a view needs of all bans that can still hold, in the order of their ids.

use futures_util::future::join;
use sqlx::any::AnyRow;

use super::{
    LoadSink, Result,
    pool::Lent,
    rows::{BanColumns, KeyColumns, bytes, ids, to_json},
    sql::{self, Statements},
};
use crate::domain::record::BanRecord;

/// How many bans are read at once.
const PAGE: i64 = 4_096;
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
    let mut read = Page::read(tx, say, tenant, Vec::new()).await?;
    while let Some(page) = read {
        let last = page.last.clone();
        let filed = async {
            sink.page(&page.records()?);
            Ok(())
        };
        // The database reads on while a page is filed.
        let (next, filed) = join(Page::read(tx, say, tenant, last), filed).await;
        read = filed.and(next)?;
    }
    Ok(())
}

/// Some bans, and beside them keys, theirs among them, as they were told.
struct Page {
    bans: AnyRow,
    keys: AnyRow,
    last: Vec<u8>,
}

impl Page {
    /// The bans that come after an id; `None` = there are no more.
    async fn read(
        tx: &mut Lent,
        say: &Statements,
        tenant: &str,
        after: Vec<u8>,
    ) -> Result<Option<Self>> {
        let bans = sqlx::query(say.load.clone())
            .bind(tenant.to_owned())
            .bind(after.clone())
            .bind(PAGE)
            .fetch_one(&mut *tx)
            .await?;
        let Some(last) = ids(&bans)?.next_back() else {
            return Ok(None);
        };
        let last = bytes(&last.to_lowercase())?;
        let mut keys = sqlx::query(say.load_keys.clone())
            .bind(tenant.to_owned())
            .bind(after)
            .bind(last.clone())
            .bind(i64::try_from(KEYS).unwrap_or(i64::MAX))
            .fetch_one(&mut *tx)
            .await?;
        if ids(&keys)?.len() >= KEYS {
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
