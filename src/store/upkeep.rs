//! What a store needs done to it while nobody asks for anything: noting what time does to bans, and
//! forgetting what nobody needs any more.
//!
//! Each of these is safe to be done by two pods at once; that one does it at a time saves work.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::Row;

use super::{
    Intent, Result,
    pool::Lent,
    rows::{self, MatchRow, SettingsRow, number},
    shared::SqlStore,
    work::SqlWork,
};
use crate::domain::{
    clock::Timestamp,
    ids::{BanId, TenantId},
    revision::Nonce,
};

/// How long a statement that looks at very many rows may take to find the first.
const SEARCH: Duration = Duration::from_secs(10);
/// How many rows are forgotten in one transaction.
const PRUNED_AT_ONCE: i64 = 5_000;

/// The keeper's turn, which one pod has at a time; over when dropped, or when the pod is gone.
pub struct Turn(Option<Lent>);

impl Turn {
    /// Ends it.
    pub async fn end(self) {
        if let Some(tx) = self.0 {
            // Where that fails, the connection is gone and the turn with it.
            let _ = tx.rollback().await;
        }
    }
}

/// One step of noting what time has done to a tenant's bans.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// Whose bans.
    pub tenant: TenantId,
    /// By when it was done.
    pub by: Timestamp,
    /// When it is noted.
    pub now: Timestamp,
    /// The mark that the feed row will bear.
    pub nonce: Nonce,
}

/// What a step noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many scheduled bans have begun.
    pub started: usize,
    /// How many bans are over.
    pub expired: usize,
    /// Whether there may be more.
    pub more: bool,
}

/// How often checks have named a ban since that was last written down.
#[derive(Clone, Debug)]
pub struct Matched {
    /// Whose ban.
    pub tenant: TenantId,
    /// Which.
    pub ban: BanId,
    /// How often.
    pub count: u64,
    /// When the last time was.
    pub last: Timestamp,
}

/// What is done to a store while nobody asks.
#[async_trait]
pub trait Upkeep {
    /// Takes the keeper's turn; `None` = another pod has it.
    async fn turn(&self) -> Result<Option<Turn>>;

    /// When time does something next that is to be noted, to whichever ban; `None` = never.
    async fn next_due(&self) -> Result<Option<Timestamp>>;

    /// Tenants to whose bans time has done something by an instant that is not noted yet.
    async fn due(&self, by: Timestamp, limit: i64) -> Result<Vec<TenantId>>;

    /// Notes what time has done to up to [`MAX_CHUNK`](super::MAX_CHUNK) bans of a tenant, in one
    /// transaction that holds its row: marks, events and feed row together (S-3, S-11).
    ///
    /// Whatever else finds it out, each beginning and each end is noted once.
    async fn sweep(&self, sweep: &Sweep) -> Result<Swept>;

    /// Adds to how often up to [`MAX_CHUNK`](super::MAX_CHUNK) bans have matched; no tenant's row is
    /// locked for that, and no pod is told.
    async fn count_matches(&self, matched: &[Matched]) -> Result<()>;

    /// Forgets feed rows and answers older than this; the newest row stays.
    async fn prune(&self, before: Timestamp) -> Result<()>;
}

#[async_trait]
impl Upkeep for SqlStore {
    async fn turn(&self) -> Result<Option<Turn>> {
        let mut tx = self.readers.begin(self.dialect.begin_turn).await?;
        let row = sqlx::query(self.say.turn.clone())
            .fetch_one(&mut tx)
            .await?;
        Ok((number::<i32>(&row, "ours")? != 0).then_some(Turn(Some(tx))))
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        let row = sqlx::query(self.say.next_due.clone())
            .fetch_one(&mut self.readers.lend().await?)
            .await?;
        let (begins, ends): (Option<i64>, Option<i64>) =
            (row.try_get("begins")?, row.try_get("ends")?);
        let soonest = [begins, ends].into_iter().flatten().min();
        Ok(soonest.map(Timestamp::from_micros))
    }

    async fn due(&self, by: Timestamp, limit: i64) -> Result<Vec<TenantId>> {
        let found = sqlx::query(self.say.due.clone())
            .bind(by.micros())
            .bind(limit)
            .fetch_all(&mut self.readers.lend().await?.patiently(SEARCH))
            .await?;
        found
            .iter()
            .map(|row| rows::tenant_id(&row.try_get::<String, _>("tenant")?))
            .collect()
    }

    async fn sweep(&self, sweep: &Sweep) -> Result<Swept> {
        let mut tx = self.writers.begin(self.dialect.begin_write).await?;
        let locked = sqlx::query(self.say.lock_tenant.clone())
            .bind(sweep.tenant.as_str().to_owned())
            .fetch_optional(&mut tx)
            .await?;
        let Some(row) = locked else {
            return Ok(Swept::default());
        };
        let intent = Intent {
            tenant: sweep.tenant.clone(),
            // Nobody asked for it, so nobody asks twice.
            rpc: "",
            request_id: String::new(),
            body: [0; 16],
            nonce: sweep.nonce,
            now: sweep.now,
        };
        let settings = SettingsRow::read(&row)?.into_settings()?;
        let work = SqlWork::new(tx, Arc::clone(&self.say), intent, settings);
        work.sweep(sweep.by).await
    }

    async fn count_matches(&self, matched: &[Matched]) -> Result<()> {
        let rows: Vec<_> = matched.iter().map(MatchRow::of).collect();
        let mut tx = self.writers.begin(self.dialect.begin_write).await?;
        sqlx::query(self.say.count_matches.clone())
            .bind(rows::to_json(&rows)?)
            .execute(&mut tx)
            .await?;
        Ok(tx.commit().await?)
    }

    async fn prune(&self, before: Timestamp) -> Result<()> {
        let row = sqlx::query(self.say.young.clone())
            .bind(before.micros())
            .fetch_one(&mut self.readers.lend().await?.patiently(SEARCH))
            .await?;
        let (mut lowest, young): (i64, i64) = (row.try_get("lowest")?, row.try_get("young")?);
        // From the bottom up and some at a time: nobody waits for long, no hole is ever seen (S-7).
        while lowest < young {
            lowest = young.min(lowest + PRUNED_AT_ONCE);
            let mut tx = self.writers.begin(self.dialect.begin_write).await?;
            sqlx::query(self.say.prune_feed.clone())
                .bind(lowest)
                .execute(&mut tx)
                .await?;
            tx.commit().await?;
        }
        loop {
            let mut tx = self.writers.begin(self.dialect.begin_write).await?;
            let pruned = sqlx::query(self.say.prune_requests.clone())
                .bind(before.micros())
                .bind(PRUNED_AT_ONCE)
                .execute(&mut tx)
                .await?;
            tx.commit().await?;
            if i64::try_from(pruned.rows_affected()).is_ok_and(|pruned| pruned < PRUNED_AT_ONCE) {
                return Ok(());
            }
        }
    }
}
