//! What a store needs done to it while nobody asks for anything: noting what time does to bans and
//! exceptions, and forgetting what nobody needs any more.
//!
//! Each of these is safe to be done by two pods at once; that one does it at a time saves work.

mod purge;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{Row, any::AnyRow};

pub(super) use self::purge::purge_bans;
use super::{
    Answer, Intent, Result,
    pool::{Lent, Whose},
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

/// Who is said to have done what nobody did.
pub(super) const NOBODY: &str = "system";

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

/// One step of upkeep on what a tenant has.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// Whose bans.
    pub tenant: TenantId,
    /// By when what is looked for had happened.
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
    /// How many exceptions are.
    pub exceptions: usize,
    /// Whether there may be more.
    pub more: bool,
}

/// What waits for the keeper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agenda {
    /// When time does something next that is to be noted, to whichever ban or exception; `None` =
    /// never.
    pub due: Option<Timestamp>,
    /// Whether a list, or the content of one, was dropped whose bans are not all marked.
    pub dropped: bool,
    /// Whether something is left of a deleted tenant.
    pub deleted: bool,
}

/// What was deleted in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// How many bans.
    pub bans: u64,
    /// Whether there is more to delete.
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

    /// What waits for the keeper; cheap, for it is asked all the time.
    async fn agenda(&self) -> Result<Agenda>;

    /// Tenants to whose bans or exceptions time has done something by an instant that is not noted
    /// yet.
    async fn due(&self, by: Timestamp, limit: i64) -> Result<Vec<TenantId>>;

    /// Notes what time has done to up to [`MAX_CHUNK`](super::MAX_CHUNK) bans or exceptions of a
    /// tenant, in one transaction that holds its row: marks, events and feed row together (S-3, S-11).
    ///
    /// Whatever else finds it out, each beginning and each end is noted once.
    async fn sweep(&self, sweep: &Sweep) -> Result<Swept>;

    /// Dropped numbers of lists whose bans are not all marked lifted.
    async fn dropped(&self, limit: i64) -> Result<Vec<(TenantId, u32)>>;

    /// Marks up to [`MAX_CHUNK`](super::MAX_CHUNK) bans lifted that went with their list, each with
    /// its event, in one transaction that tells the feed; `false` = none is left. What nobody was
    /// ever shown is deleted instead.
    async fn clear(&self, sweep: &Sweep, generation: u32) -> Result<bool>;

    /// Deleted tenants of which something is left.
    async fn deleted_tenants(&self, limit: i64) -> Result<Vec<TenantId>>;

    /// Deletes some of what a deleted tenant has left; once nothing is, its id alone stays, so that
    /// nobody gets it again.
    async fn purge_tenant(&self, tenant: &TenantId) -> Result<Purged>;

    /// Tenants after one that do not keep ended bans for ever, and for how many days they do.
    async fn purging(&self, after: Option<&TenantId>, limit: i64) -> Result<Vec<(TenantId, u32)>>;

    /// Deletes some of the bans of a tenant that had ended by an instant, with their events.
    async fn purge_ended(&self, sweep: &Sweep) -> Result<Purged>;

    /// Adds to how often up to [`MAX_CHUNK`](super::MAX_CHUNK) bans have matched; no tenant's row is
    /// locked for that, and no pod is told.
    async fn count_matches(&self, matched: &[Matched]) -> Result<()>;

    /// Drops what imports staged that were begun before an instant and never ended: nobody can go on
    /// with them any more. It was shown to nobody, so [`clear`](Self::clear) deletes it.
    async fn drop_staged(&self, before: Timestamp, now: Timestamp) -> Result<()>;

    /// Forgets feed rows and answers older than this; the newest row stays.
    async fn prune(&self, before: Timestamp) -> Result<()>;
}

/// A tenant, and a number that goes with it.
fn numbered(row: &AnyRow, column: &str) -> Result<(TenantId, u32)> {
    let tenant: String = row.try_get("tenant")?;
    Ok((rows::tenant_id(&tenant)?, number(row, column)?))
}

impl SqlStore {
    /// A transaction on a tenant that nobody asked for; `None` = there is no such tenant.
    async fn upkeep_of(&self, sweep: &Sweep) -> Result<Option<SqlWork>> {
        let mut tx = self.writing(Whose::Tenant(&sweep.tenant)).await?;
        let locked = sqlx::query(self.say.lock_tenant.clone())
            .bind(sweep.tenant.as_str().to_owned())
            .fetch_optional(&mut tx)
            .await?;
        let Some(row) = locked else {
            return Ok(None);
        };
        let intent = Intent {
            tenant: sweep.tenant.clone(),
            // Nobody asked for it, so nobody asks twice.
            rpc: "",
            request_id: String::new(),
            body: [0; 16],
            body_elsewhere: Vec::new(),
            nonce: sweep.nonce,
            now: sweep.now,
        };
        let settings = SettingsRow::read(&row)?.into_settings()?;
        let work = SqlWork::new(tx, Arc::clone(&self.say), intent, settings);
        Ok(Some(work))
    }
}

#[async_trait]
impl Upkeep for SqlStore {
    async fn turn(&self) -> Result<Option<Turn>> {
        let mut tx = self
            .readers
            .begin(self.dialect.begin_turn, Whose::Nobody)
            .await?;
        let row = sqlx::query(self.say.turn.clone())
            .fetch_one(&mut tx)
            .await?;
        Ok((number::<i32>(&row, "ours")? != 0).then_some(Turn(Some(tx))))
    }

    async fn agenda(&self) -> Result<Agenda> {
        // It has nothing that it is about, and tables grow.
        let row = sqlx::query(self.say.agenda.clone())
            .persistent(false)
            .fetch_one(&mut self.readers.lend(Whose::Everybody).await?)
            .await?;
        let mut due: Option<i64> = None;
        for what in ["begins", "ends", "spares_no_more"] {
            let next: Option<i64> = row.try_get(what)?;
            due = [due, next].into_iter().flatten().min();
        }
        Ok(Agenda {
            due: due.map(Timestamp::from_micros),
            dropped: number::<i64>(&row, "dropped")? > 0,
            deleted: number::<i64>(&row, "deleted")? > 0,
        })
    }

    async fn due(&self, by: Timestamp, limit: i64) -> Result<Vec<TenantId>> {
        let found = sqlx::query(self.say.due.clone())
            .bind(by.micros())
            .bind(limit)
            .fetch_all(&mut self.readers.lend(Whose::Everybody).await?.patiently(SEARCH))
            .await?;
        found
            .iter()
            .map(|row| rows::tenant_id(&row.try_get::<String, _>("tenant")?))
            .collect()
    }

    async fn sweep(&self, sweep: &Sweep) -> Result<Swept> {
        match self.upkeep_of(sweep).await? {
            Some(work) => work.sweep(sweep.by).await,
            None => Ok(Swept::default()),
        }
    }

    async fn dropped(&self, limit: i64) -> Result<Vec<(TenantId, u32)>> {
        let found = sqlx::query(self.say.dropped.clone())
            .bind(limit)
            .fetch_all(&mut self.readers.lend(Whose::Everybody).await?)
            .await?;
        found
            .iter()
            .map(|row| numbered(row, "generation"))
            .collect()
    }

    async fn clear(&self, sweep: &Sweep, generation: u32) -> Result<bool> {
        match self.upkeep_of(sweep).await? {
            Some(work) => work.clear(generation).await,
            None => Ok(false),
        }
    }

    async fn deleted_tenants(&self, limit: i64) -> Result<Vec<TenantId>> {
        let found = sqlx::query(self.say.deleted_tenants.clone())
            .bind(limit)
            .fetch_all(&mut self.readers.lend(Whose::Everybody).await?)
            .await?;
        found
            .iter()
            .map(|row| rows::tenant_id(&row.try_get::<String, _>("tenant")?))
            .collect()
    }

    async fn purge_tenant(&self, tenant: &TenantId) -> Result<Purged> {
        self.purge_some_of(tenant).await
    }

    async fn purging(&self, after: Option<&TenantId>, limit: i64) -> Result<Vec<(TenantId, u32)>> {
        let found = sqlx::query(self.say.purging.clone())
            .bind(after.map_or_else(String::new, ToString::to_string))
            .bind(limit)
            .fetch_all(&mut self.readers.lend(Whose::Everybody).await?)
            .await?;
        found.iter().map(|row| numbered(row, "days")).collect()
    }

    async fn purge_ended(&self, sweep: &Sweep) -> Result<Purged> {
        self.purge_some_ended(sweep).await
    }

    async fn count_matches(&self, matched: &[Matched]) -> Result<()> {
        let rows: Vec<_> = matched.iter().map(MatchRow::of).collect();
        let mut tx = self.writing(Whose::Everybody).await?;
        sqlx::query(self.say.count_matches.clone())
            .bind(rows::entering(&rows, self.say.by_place)?)
            .execute(&mut tx)
            .await?;
        Ok(tx.commit().await?)
    }

    async fn drop_staged(&self, before: Timestamp, now: Timestamp) -> Result<()> {
        let begun = sqlx::query(self.say.imports_begun.clone())
            .bind(before.micros())
            .fetch_all(&mut self.readers.lend(Whose::Everybody).await?.patiently(SEARCH))
            .await?;
        for row in begun {
            let tenant = rows::tenant_id(&row.try_get::<String, _>("tenant")?)?;
            let staged = Answer::from_text(&row.try_get::<String, _>("answer")?, &tenant)?.count;
            if staged == 0 {
                continue;
            }
            let mut tx = self.writing(Whose::Tenant(&tenant)).await?;
            // So that it does not become a list's content meanwhile.
            let locked = sqlx::query(self.say.lock_tenant.clone())
                .bind(tenant.as_str().to_owned())
                .fetch_optional(&mut tx)
                .await?;
            if locked.is_some() {
                sqlx::query(self.say.drop_staged.clone())
                    .bind(tenant.as_str().to_owned())
                    .bind(i64::try_from(staged).unwrap_or(i64::MAX))
                    .bind(now.micros())
                    .bind(before.micros())
                    .execute(&mut tx)
                    .await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    async fn prune(&self, before: Timestamp) -> Result<()> {
        let row = sqlx::query(self.say.young.clone())
            .bind(before.micros())
            .fetch_one(&mut self.readers.lend(Whose::Everybody).await?.patiently(SEARCH))
            .await?;
        let (mut lowest, young): (i64, i64) = (row.try_get("lowest")?, row.try_get("young")?);
        // From the bottom up and some at a time: nobody waits for long, no hole is ever seen (S-7).
        while lowest < young {
            lowest = young.min(lowest + PRUNED_AT_ONCE);
            let mut tx = self.writing(Whose::Everybody).await?;
            sqlx::query(self.say.prune_feed.clone())
                .bind(lowest)
                .execute(&mut tx)
                .await?;
            tx.commit().await?;
        }
        loop {
            let mut tx = self.writing(Whose::Everybody).await?;
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
