//! Taking a person's words out of everything that is kept.

use async_trait::async_trait;
use sqlx::{SqlStr, any::AnyRow};

use super::{SqlWork, Touched, ban_id, exceptions};
use crate::{
    domain::{
        clock::Timestamp,
        erasure::NotedErasure,
        hex::hex,
        ids::{BanId, ExceptionId},
        view::index::Key,
    },
    store::{
        MAX_CHUNK, Result,
        rows::{self, SpotRow, number},
    },
};

/// The part of a write that forgets a person.
#[async_trait]
pub trait PrivacyWork {
    /// The targets that are found by one of these keys, by ban and position, in whatever state.
    async fn targets_under(&mut self, keys: &[Key]) -> Result<Vec<(BanId, u8)>>;

    /// The exceptions that are found by one of these keys, in whatever state.
    async fn exceptions_under(&mut self, keys: &[Key]) -> Result<Vec<ExceptionId>>;

    /// Takes bans away with all that hangs on them, but for their history.
    async fn erase_bans(&mut self, bans: &[BanId]) -> Result<()>;

    /// Takes the words of these targets away, which go on holding by their keys until `until` at the
    /// latest.
    async fn hash_targets(
        &mut self,
        targets: &[(BanId, u8)],
        until: Option<Timestamp>,
    ) -> Result<()>;

    /// Takes the words of these targets away, and what they are found by; others of the same bans
    /// stay.
    async fn blank_targets(&mut self, targets: &[(BanId, u8)]) -> Result<()>;

    /// Takes exceptions away.
    async fn erase_exceptions(&mut self, exceptions: &[ExceptionId]) -> Result<()>;

    /// Takes the words of exceptions away, which go on holding by their keys.
    async fn hash_exceptions(&mut self, exceptions: &[ExceptionId]) -> Result<()>;

    /// Takes the words out of the history of bans, and tells of how many entries; and forgets every
    /// remembered answer that tells of one of them, or of one of the exceptions.
    async fn redact(&mut self, bans: &[BanId], exceptions: &[ExceptionId]) -> Result<u64>;

    /// Notes an erasure, to be done again after a restore.
    async fn note_erasure(&mut self, erasure: &NotedErasure) -> Result<()>;
}

fn exception_ids(ids: &[ExceptionId]) -> Vec<String> {
    ids.iter().map(|id| hex(id.bytes())).collect()
}

fn bans_of(targets: &[(BanId, u8)]) -> Vec<BanId> {
    let mut bans: Vec<_> = targets.iter().map(|(ban, _)| *ban).collect();
    bans.sort_unstable();
    bans.dedup();
    bans
}

impl SqlWork {
    async fn find_under(&mut self, statement: SqlStr, keys: &[Key]) -> Result<Vec<AnyRow>> {
        let found = sqlx::query(statement)
            .bind(self.tenant())
            .bind(exceptions::hexed(keys)?)
            .fetch_all(&mut self.tx)
            .await?;
        Ok(found)
    }

    /// Says a statement of these rows.
    async fn apply(&mut self, statement: &SqlStr, rows: &str) -> Result<u64> {
        let done = sqlx::query(statement.clone())
            .bind(self.tenant())
            .bind(rows.to_owned())
            .execute(&mut self.tx)
            .await?;
        Ok(done.rows_affected())
    }

    async fn apply_all(&mut self, statements: &[SqlStr], rows: &str) -> Result<()> {
        for statement in statements {
            self.apply(statement, rows).await?;
        }
        Ok(())
    }

    fn spots(&self, targets: &[(BanId, u8)]) -> Result<String> {
        let spots = targets.iter().map(|(ban, at)| SpotRow::of(*ban, *at));
        rows::entering(&spots.collect::<Vec<_>>(), self.say.by_place)
    }

    async fn blank_bans(&mut self, bans: &[BanId], until: Option<Timestamp>) -> Result<()> {
        let ids: Vec<_> = bans.iter().map(|ban| hex(ban.bytes())).collect();
        sqlx::query(self.say.blank_bans.clone())
            .bind(self.tenant())
            .bind(rows::to_json(&ids)?)
            .bind(self.intent.now.micros())
            .bind(until.map(Timestamp::micros))
            .execute(&mut self.tx)
            .await?;
        for ban in bans {
            self.touch_ban(*ban);
        }
        Ok(())
    }

    /// The feed will tell that these bans are found by their present keys no longer.
    async fn lose_keys(&mut self, bans: &[BanId]) -> Result<()> {
        for some in bans.chunks(MAX_CHUNK) {
            for mut gone in self.records(some).await? {
                gone.ended = true;
                self.gone.push(gone);
            }
        }
        if self.gone.len() > MAX_CHUNK {
            self.touch(Touched::Several);
        } else if !matches!(self.touched, Touched::Bans(_)) {
            self.touch(Touched::Bans(Vec::new()));
        }
        Ok(())
    }
}

#[async_trait]
impl PrivacyWork for SqlWork {
    async fn targets_under(&mut self, keys: &[Key]) -> Result<Vec<(BanId, u8)>> {
        let found = self
            .find_under(self.say.targets_under.clone(), keys)
            .await?;
        found
            .iter()
            .map(|row| Ok((ban_id(row)?, number(row, "position")?)))
            .collect()
    }

    async fn exceptions_under(&mut self, keys: &[Key]) -> Result<Vec<ExceptionId>> {
        let statement = self.say.exceptions_under.clone();
        let found = self.find_under(statement, keys).await?;
        found.iter().map(exceptions::id_of).collect()
    }

    async fn erase_bans(&mut self, bans: &[BanId]) -> Result<()> {
        if bans.is_empty() {
            return Ok(());
        }
        self.lose_keys(bans).await?;
        let ids: Vec<_> = bans.iter().map(|ban| hex(ban.bytes())).collect();
        let say = &self.say;
        let statements = [
            say.purge_keys.clone(),
            say.purge_targets.clone(),
            say.purge_matches.clone(),
            say.purge_bans.clone(),
        ];
        self.apply_all(&statements, &rows::to_json(&ids)?).await
    }

    async fn hash_targets(
        &mut self,
        targets: &[(BanId, u8)],
        until: Option<Timestamp>,
    ) -> Result<()> {
        if targets.is_empty() {
            return Ok(());
        }
        let spots = self.spots(targets)?;
        let statements = [self.say.blank_targets.clone(), self.say.blank_keys.clone()];
        self.apply_all(&statements, &spots).await?;
        self.blank_bans(&bans_of(targets), until).await
    }

    async fn blank_targets(&mut self, targets: &[(BanId, u8)]) -> Result<()> {
        if targets.is_empty() {
            return Ok(());
        }
        let bans = bans_of(targets);
        self.lose_keys(&bans).await?;
        let spots = self.spots(targets)?;
        let say = &self.say;
        let statements = [say.blank_targets.clone(), say.drop_target_keys.clone()];
        self.apply_all(&statements, &spots).await?;
        let ids: Vec<_> = bans.iter().map(|ban| hex(ban.bytes())).collect();
        let unlike = self.say.unlike.clone();
        self.apply(&unlike, &rows::to_json(&ids)?).await?;
        self.blank_bans(&bans, None).await
    }

    async fn erase_exceptions(&mut self, exceptions: &[ExceptionId]) -> Result<()> {
        if exceptions.is_empty() {
            return Ok(());
        }
        let news = self.exception_news(exceptions, &[]).await?;
        for mut gone in news.exceptions {
            gone.ended = true;
            self.gone_exceptions.push(gone);
        }
        let say = &self.say;
        let statements = [say.drop_exception_keys.clone(), say.drop_exceptions.clone()];
        let ids = rows::to_json(&exception_ids(exceptions))?;
        self.apply_all(&statements, &ids).await?;
        self.touch_exceptions(None, None);
        Ok(())
    }

    async fn hash_exceptions(&mut self, exceptions: &[ExceptionId]) -> Result<()> {
        let ids = rows::to_json(&exception_ids(exceptions))?;
        let say = &self.say;
        let statements = [
            say.blank_exceptions.clone(),
            say.blank_exception_keys.clone(),
        ];
        // Nothing that a decision needs has changed.
        self.apply_all(&statements, &ids).await
    }

    async fn redact(&mut self, bans: &[BanId], exceptions: &[ExceptionId]) -> Result<u64> {
        let ids: Vec<_> = bans.iter().map(|ban| hex(ban.bytes())).collect();
        let statement = self.say.blank_events.clone();
        let events = self.apply(&statement, &rows::to_json(&ids)?).await?;
        let names: Vec<_> = exceptions.iter().map(ToString::to_string).collect();
        let statement = self.say.blank_exception_events.clone();
        let events = events + self.apply(&statement, &rows::to_json(&names)?).await?;
        let ids = [ids, exception_ids(exceptions)].concat();
        let statement = self.say.forget_answers.clone();
        self.apply(&statement, &rows::to_json(&ids)?).await?;
        Ok(events)
    }

    async fn note_erasure(&mut self, erasure: &NotedErasure) -> Result<()> {
        let NotedErasure {
            tenant,
            id,
            at,
            actor,
            erasure,
        } = erasure;
        let until = erasure.keep.and_then(|keep| keep.until);
        sqlx::query(self.say.note_erasure.clone())
            .bind(tenant.as_str().to_owned())
            .bind(id.to_vec())
            .bind(at.micros())
            .bind(actor.clone())
            .bind(exceptions::hexed(&erasure.keys)?)
            .bind(i32::from(erasure.keep.is_some()))
            .bind(until.map(Timestamp::micros))
            .execute(&mut self.tx)
            .await?;
        Ok(())
    }
}
