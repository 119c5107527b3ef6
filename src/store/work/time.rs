//! What time did to bans and exceptions, noted once each, in the transaction that finds it out.
//!
//! A sweep finds it out within a second; a write that needs a place which time has made free, or
//! that is about to move a beginning, does so before the sweep.

use sqlx::{Row, any::AnyRow};

use super::{SqlWork, ban_id};
use crate::{
    domain::{ban::Ban, clock::Timestamp, ids::BanId},
    store::{
        Event, MAX_CHUNK, Result, Swept, Work, new_id,
        rows::{self, number},
        sql,
        upkeep::{NOBODY, purge_bans},
    },
};

/// Something that time did to a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Deed {
    at: Timestamp,
    /// Of one ban at one instant, the beginning comes first.
    ends: bool,
    ban: BanId,
}

/// A ban that was just marked ended: its end, and its beginning where that was not noted.
fn ended(row: &AnyRow, deeds: &mut Vec<Deed>) -> Result<()> {
    let ban = ban_id(row)?;
    let start: Option<i64> = row.try_get("start_at")?;
    if let (Some(start), 0) = (start, number::<i32>(row, "started")?) {
        deeds.push(begun_at(ban, start));
    }
    deeds.push(Deed {
        at: Timestamp::from_micros(row.try_get("expire_at")?),
        ends: true,
        ban,
    });
    Ok(())
}

/// A ban that was just marked started.
fn begun(row: &AnyRow, deeds: &mut Vec<Deed>) -> Result<()> {
    deeds.push(begun_at(ban_id(row)?, row.try_get("start_at")?));
    Ok(())
}

const fn begun_at(ban: BanId, at: i64) -> Deed {
    Deed {
        at: Timestamp::from_micros(at),
        ends: false,
        ban,
    }
}

impl SqlWork {
    /// Marks bans ended whose time is over, which are in the way of others (S-10).
    pub(super) async fn retire(&mut self, over: &[String]) -> Result<()> {
        let retired = sql::about_many(&self.say.retire, over.len())
            .bind(self.tenant())
            .bind(rows::to_json(over)?)
            .fetch_all(&mut self.tx)
            .await?;
        let mut deeds = Vec::new();
        for row in &retired {
            ended(row, &mut deeds)?;
        }
        self.note_deeds(deeds).await
    }

    /// Notes that a scheduled ban has begun, before somebody moves its times.
    pub(super) async fn note_beginning(&mut self, ban: BanId) -> Result<()> {
        let found = sqlx::query(self.say.begin_one.clone())
            .bind(self.tenant())
            .bind(self.intent.now.micros())
            .bind(ban.bytes().to_vec())
            .fetch_all(&mut self.tx)
            .await?;
        let mut deeds = Vec::new();
        for row in &found {
            begun(row, &mut deeds)?;
        }
        self.note_deeds(deeds).await
    }

    /// Notes that a ban was lifted with its list, before somebody writes to it.
    pub(super) async fn note_dropped(&mut self, ban: &Ban) -> Result<()> {
        let Some(at) = ban.deactivated else {
            return Ok(());
        };
        let found = sqlx::query(self.say.end_dropped_one.clone())
            .bind(self.tenant())
            .bind(ban.ban_id.bytes().to_vec())
            .fetch_all(&mut self.tx)
            .await?;
        self.note_lifted(&found, at, &ban.deactivated_by, &ban.deactivate_reason)
            .await
    }

    /// Marks up to [`MAX_CHUNK`] bans lifted that went with their list, and commits; `false` = no
    /// more is left of it.
    pub(in crate::store) async fn clear(mut self, generation: u32) -> Result<bool> {
        let dropped = sqlx::query(self.say.dropped_one.clone())
            .bind(self.tenant())
            .bind(i64::from(generation))
            .fetch_optional(&mut self.tx)
            .await?;
        let Some(dropped) = dropped else {
            return Ok(false);
        };
        let at = Timestamp::from_micros(dropped.try_get("at")?);
        let (actor, reason): (String, String) =
            (dropped.try_get("actor")?, dropped.try_get("reason")?);
        let found = sqlx::query(self.say.end_dropped.clone())
            .bind(self.tenant())
            .bind(i64::from(generation))
            .bind(i64::try_from(MAX_CHUNK).unwrap_or(i64::MAX))
            .bind(at.micros())
            .bind(actor.clone())
            .bind(reason.clone())
            .fetch_all(&mut self.tx)
            .await?;
        let unseen = actor.is_empty();
        if unseen {
            for row in &found {
                self.touch_ban(ban_id(row)?);
            }
        } else {
            self.note_lifted(&found, at, &actor, &reason).await?;
        }
        let more = found.len() == MAX_CHUNK;
        if !more {
            sqlx::query(self.say.forget_generation.clone())
                .bind(self.tenant())
                .bind(i64::from(generation))
                .execute(&mut self.tx)
                .await?;
        }
        self.tell().await?;
        if unseen {
            // The views have heard of them, if nobody else has: the feed's row tells that they ended.
            purge_bans(&mut self.tx, &self.say, &self.intent.tenant, &found).await?;
        }
        self.tx.commit().await?;
        Ok(more)
    }

    /// Notes that bans were lifted together, at an instant, by somebody.
    async fn note_lifted(
        &mut self,
        rows: &[AnyRow],
        at: Timestamp,
        actor: &str,
        reason: &str,
    ) -> Result<()> {
        let (mut deeds, mut lifted) = (Vec::new(), Vec::with_capacity(rows.len()));
        for row in rows {
            let ban = ban_id(row)?;
            let start: Option<i64> = row.try_get("start_at")?;
            if let (Some(start), 0) = (start, number::<i32>(row, "started")?)
                && start <= at.micros()
            {
                deeds.push(begun_at(ban, start));
            }
            self.touch_ban(ban);
            lifted.push((ban, "DEACTIVATED", at));
        }
        self.note_deeds(deeds).await?;
        self.note_each(&lifted, actor, reason).await
    }

    /// Notes what time has done by an instant to up to [`MAX_CHUNK`] exceptions or bans, and commits.
    ///
    /// A feed row tells of one or the other: bans wait for the next sweep where exceptions are over.
    pub(in crate::store) async fn sweep(mut self, by: Timestamp) -> Result<Swept> {
        let exceptions = self.retire_exceptions(by, MAX_CHUNK).await?;
        if exceptions > 0 {
            self.tell().await?;
            self.tx.commit().await?;
            return Ok(Swept {
                exceptions,
                more: true,
                ..Swept::default()
            });
        }
        let mut deeds = Vec::new();
        let ends = self.due(self.say.end_due.clone(), by, MAX_CHUNK).await?;
        for row in &ends {
            ended(row, &mut deeds)?;
        }
        let left = MAX_CHUNK - ends.len();
        let begins = self.due(self.say.begin_due.clone(), by, left).await?;
        for row in &begins {
            begun(row, &mut deeds)?;
        }
        let expired = ends.len();
        let swept = Swept {
            started: deeds.len() - expired,
            expired,
            exceptions,
            more: begins.len() == left,
        };
        self.note_deeds(deeds).await?;
        self.tell().await?;
        self.tx.commit().await?;
        Ok(swept)
    }

    async fn due(&mut self, say: sqlx::SqlStr, by: Timestamp, most: usize) -> Result<Vec<AnyRow>> {
        let found = sqlx::query(say)
            .bind(self.tenant())
            .bind(by.micros())
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(&mut self.tx)
            .await?;
        Ok(found)
    }

    /// Puts what time did into the history, in its order, and into this transaction's feed row.
    async fn note_deeds(&mut self, mut deeds: Vec<Deed>) -> Result<()> {
        deeds.sort_unstable();
        let mut events = Vec::with_capacity(deeds.len());
        for deed in deeds {
            self.touch_ban(deed.ban);
            let action = if deed.ends { "EXPIRED" } else { "STARTED" };
            events.push((deed.ban, action, deed.at));
        }
        self.note_each(&events, NOBODY, "").await
    }

    /// Notes that something was done to each of these bans, in this order.
    async fn note_each(
        &mut self,
        done: &[(BanId, &'static str, Timestamp)],
        actor: &str,
        comment: &str,
    ) -> Result<()> {
        if done.is_empty() {
            return Ok(());
        }
        let events: Vec<_> = done
            .iter()
            .map(|(ban, action, at)| Event {
                event_id: new_id(self.intent.now),
                ban: Some(*ban),
                action: (*action).to_owned(),
                actor: actor.to_owned(),
                at: *at,
                comment: comment.to_owned(),
                anchor: None,
            })
            .collect();
        self.note_all(&events).await
    }
}
