//! Reading very many bans whole, in one snapshot and in the order of their ids.
//!
//! Targets and keys are read in ranges beside their bans and joined here: all three are kept in
//! that order, while a look-up for each ban would be most of the work.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join;
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

/// How many bans are read at once: a page is whole in memory, and comes at once or not at all.
const PAGE: i64 = 500;
/// How long a page may take, over a slow link or past many bans that a filter does not want.
const PATIENCE: Duration = Duration::from_secs(30);

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
    tx: Lent,
    say: &Statements,
    tenant: &TenantId,
    filter: &BanFilter,
    head: Anchor,
    sink: &mut dyn BanSink,
) -> Result<bool> {
    let mut tx = tx.patiently(PATIENCE);
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
    let mut page = Page::read(tx, say, tenant, filter, None).await?;
    loop {
        let Some(after) = page.last()?.filter(|_| page.is_full()) else {
            take(sink, page, tenant).await?;
            return Ok(());
        };
        // The database has the next one ready by the time that this one has been taken.
        let next = Page::read(tx, say, tenant, filter, Some(after));
        let (next, wanted) = join(next, take(sink, page, tenant)).await;
        if !wanted? {
            return Ok(());
        }
        page = next?;
    }
}

async fn take(sink: &mut dyn BanSink, page: Page, tenant: &TenantId) -> Result<bool> {
    Ok(sink.take(page.into_bans(tenant)?).await)
}

/// Some bans, and beside them what is theirs, all in one order.
struct Page {
    bans: Vec<BanRow>,
    targets: Vec<(String, TargetRow)>,
    keys: Vec<(String, usize, Option<String>)>,
}

impl Page {
    /// The bans that come after an id.
    async fn read(
        tx: &mut Lent,
        say: &Statements,
        tenant: &TenantId,
        filter: &BanFilter,
        after: Option<Vec<u8>>,
    ) -> Result<Self> {
        let asked = filter.bind(sqlx::query(say.export_bans.clone()), tenant, after, None)?;
        let mut page = Self {
            bans: rows_of(tx, asked.bind(PAGE)).await?,
            targets: Vec::new(),
            keys: Vec::new(),
        };
        if let (Some(first), Some(last)) = (page.bans.first(), page.last()?) {
            let first = bytes(&first.ban_id)?;
            let beside = |statement: &sqlx::SqlStr| {
                sqlx::query(statement.clone())
                    .bind(tenant.as_str().to_owned())
                    .bind(first.clone())
                    .bind(last.clone())
            };
            page.targets = rows_of(tx, beside(&say.export_targets)).await?;
            page.keys = rows_of(tx, beside(&say.export_keys)).await?;
        }
        Ok(page)
    }

    fn last(&self) -> Result<Option<Vec<u8>>> {
        self.bans.last().map(|ban| bytes(&ban.ban_id)).transpose()
    }

    fn is_full(&self) -> bool {
        i64::try_from(self.bans.len()).is_ok_and(|found| found == PAGE)
    }

    fn into_bans(self, tenant: &TenantId) -> Result<Vec<Ban>> {
        let mut targets = self.targets.into_iter().peekable();
        let mut keys = self.keys.into_iter().peekable();
        let whole = |mut ban: BanRow| {
            // What is of bans before it, which nobody asked for, is passed.
            while let Some((of, target)) = targets.next_if(|(of, _)| *of <= ban.ban_id) {
                if of == ban.ban_id {
                    ban.targets.push(target);
                }
            }
            while let Some((of, at, text)) = keys.next_if(|(of, ..)| *of <= ban.ban_id) {
                if of == ban.ban_id {
                    ban.key_texts.push((at, text));
                }
            }
            ban.into_ban(tenant)
        };
        self.bans.into_iter().map(whole).collect()
    }
}

/// What a statement has in its one column, which is NULL where it found nothing.
async fn rows_of<T: DeserializeOwned>(tx: &mut Lent, asked: Asked) -> Result<Vec<T>> {
    let row = asked.fetch_one(tx).await?;
    let page: Option<String> = row.try_get("page")?;
    page.map_or(Ok(Vec::new()), |page| from_json(&page))
}
