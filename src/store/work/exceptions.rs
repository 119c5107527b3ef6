//! Exceptions within a transaction.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::{Row, any::AnyRow};

use super::{SqlWork, Touched, reach::forget_what_stays};
use crate::{
    domain::{
        clock::Timestamp,
        exception::{Exception, Lifted},
        hex::hex,
        ids::ExceptionId,
        keys::MatchKey,
        record::{BanRecord, ExceptionNews, ProtectionRecord},
        view::index::Key,
    },
    store::{
        Event, MAX_CHUNK, Result, Work, new_id,
        rows::{self, ExceptionRow, exception_id, exception_records},
        sql,
        upkeep::NOBODY,
    },
};

/// How many exceptions that are over are marked so by one write: they are all in its feed row.
const RETIRED_AT_ONCE: usize = 500;

fn ids_text(ids: &[ExceptionId]) -> Result<String> {
    rows::to_json(&ids.iter().map(|id| hex(id.bytes())).collect::<Vec<_>>())
}

pub(super) fn hexed(keys: &[Key]) -> Result<String> {
    let texts: Vec<_> = keys
        .iter()
        .map(|key| hex(&key.bits().to_be_bytes()))
        .collect();
    rows::to_json(&texts)
}

/// An exception to be kept, with all that it is found by.
#[derive(Clone, Debug)]
pub struct NewException {
    /// The exception.
    pub exception: Exception,
    /// Its keys, as a ban's whose only target it is.
    pub keys: Vec<(u8, MatchKey, String)>,
}

/// The part of a write that is about exceptions and protections.
#[async_trait]
pub trait ExceptionWork {
    /// An exception.
    async fn exception(&mut self, id: ExceptionId) -> Result<Option<Exception>>;

    /// The exceptions whose time is not over: all, or those found by one of these keys.
    async fn standing_exceptions(&mut self, keys: Option<&[Key]>) -> Result<Vec<Exception>>;

    /// How many exceptions there are whose time is not over.
    async fn exception_count(&mut self) -> Result<i64>;

    /// Keeps an exception. Some of those whose time is over are marked ended, so that views do not
    /// grow with what is past.
    async fn add_exception(&mut self, new: &NewException) -> Result<()>;

    /// Writes that an exception was ended, by whom and why.
    async fn set_exception(&mut self, exception: &Exception) -> Result<()>;

    /// The built-in protections that are lifted, in the order of their names.
    async fn lifted(&mut self) -> Result<Vec<Lifted>>;

    /// Lifts a built-in protection; one that is lifted stays as it is.
    async fn lift(&mut self, lifted: &Lifted) -> Result<()>;

    /// Puts a built-in protection back.
    async fn put_back(&mut self, name: &str) -> Result<()>;

    /// Those of these exceptions that there are, in no order.
    async fn exceptions_named(&mut self, ids: &[ExceptionId]) -> Result<Vec<Exception>>;

    /// Files up to [`MAX_CHUNK`] exceptions under these keys instead of those they had, as
    /// [`rekey`](super::super::Work::rekey) does bans.
    async fn rekey_exceptions(&mut self, exceptions: &[NewException]) -> Result<()>;
}

impl SqlWork {
    pub(super) fn touch_exceptions(&mut self, id: Option<ExceptionId>, protection: Option<&str>) {
        if let Touched::Exceptions { ids, protections } = &mut self.touched {
            ids.extend(id);
            protections.extend(protection.map(str::to_owned));
            return;
        }
        self.touch(Touched::Exceptions {
            ids: id.into_iter().collect(),
            protections: protection.map(str::to_owned).into_iter().collect(),
        });
    }

    /// How these stand, as rows tell (S-11).
    pub(super) async fn exception_news(
        &mut self,
        ids: &[ExceptionId],
        protections: &[String],
    ) -> Result<ExceptionNews> {
        let found = sqlx::query(self.say.exception_records.clone())
            .bind(self.tenant())
            .bind(ids_text(ids)?)
            .fetch_all(&mut self.tx)
            .await?;
        let lifted = self.lifted().await?;
        let mut exceptions = std::mem::take(&mut self.gone_exceptions);
        exceptions.extend(exception_records(&found)?);
        Ok(ExceptionNews {
            exceptions,
            protections: protections
                .iter()
                .map(|name| ProtectionRecord {
                    name: name.clone(),
                    lifted: lifted.iter().any(|one| one.name == *name),
                })
                .collect(),
        })
    }

    /// Marks ended and notes up to so many exceptions that are over by an instant; how many.
    pub(super) async fn retire_exceptions(&mut self, by: Timestamp, most: usize) -> Result<usize> {
        let over = sqlx::query(self.say.retire_exceptions.clone())
            .bind(self.tenant())
            .bind(by.micros())
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(&mut self.tx)
            .await?;
        if over.is_empty() {
            return Ok(0);
        }
        let mut ends = Vec::with_capacity(over.len());
        for row in &over {
            let id = id_of(row)?;
            self.touch_exceptions(Some(id), None);
            ends.push((Timestamp::from_micros(row.try_get("expire_at")?), id));
        }
        ends.sort_unstable();
        let events: Vec<_> = ends
            .into_iter()
            .map(|(at, id)| Event {
                event_id: new_id(self.intent.now),
                ban: None,
                action: "EXCEPTION_EXPIRED".to_owned(),
                actor: NOBODY.to_owned(),
                at,
                comment: id.to_string(),
                anchor: None,
            })
            .collect();
        self.note_all(&events).await?;
        Ok(over.len())
    }

    pub(super) async fn bans_by_keys(&mut self, keys: &[Key]) -> Result<Vec<BanRecord>> {
        let row = sql::about_many(&self.say.bans_by_keys, keys.len())
            .bind(self.tenant())
            .bind(hexed(keys)?)
            .bind(self.intent.now.micros())
            .fetch_one(&mut self.tx)
            .await?;
        rows::filed(&row)
    }
}

#[async_trait]
impl ExceptionWork for SqlWork {
    async fn exception(&mut self, id: ExceptionId) -> Result<Option<Exception>> {
        let found = sqlx::query(self.say.exception.clone())
            .bind(self.tenant())
            .bind(id.bytes().to_vec())
            .fetch_optional(&mut self.tx)
            .await?;
        found
            .map(|row| ExceptionRow::read(&row)?.into_exception())
            .transpose()
    }

    async fn standing_exceptions(&mut self, keys: Option<&[Key]>) -> Result<Vec<Exception>> {
        let now = self.intent.now.micros();
        let found = match keys {
            None => {
                sqlx::query(self.say.exceptions_in_time.clone())
                    .bind(self.tenant())
                    .bind(now)
                    .fetch_all(&mut self.tx)
                    .await?
            }
            Some(keys) => {
                sqlx::query(self.say.exceptions_by_keys.clone())
                    .bind(self.tenant())
                    .bind(now)
                    .bind(hexed(keys)?)
                    .fetch_all(&mut self.tx)
                    .await?
            }
        };
        found
            .iter()
            .map(|row| ExceptionRow::read(row)?.into_exception())
            .collect()
    }

    async fn exception_count(&mut self) -> Result<i64> {
        let row = sqlx::query(self.say.count_exceptions.clone())
            .bind(self.tenant())
            .bind(self.intent.now.micros())
            .fetch_one(&mut self.tx)
            .await?;
        Ok(row.try_get("total")?)
    }

    async fn add_exception(&mut self, new: &NewException) -> Result<()> {
        self.retire_exceptions(self.intent.now, RETIRED_AT_ONCE)
            .await?;
        let NewException { exception, keys } = new;
        let row = ExceptionRow::of(exception);
        sqlx::query(self.say.add_exception.clone())
            .bind(self.tenant())
            .bind(exception.exception_id.bytes().to_vec())
            .bind(row.kind)
            .bind(row.input)
            .bind(row.canonical)
            .bind(row.issuer)
            .bind(i32::from(row.canonicaliser_version))
            .bind(row.match_kind)
            .bind(i32::from(row.channels))
            .bind(row.comment)
            .bind(row.expire_at)
            .bind(row.protected)
            .bind(row.created_at)
            .bind(row.created_by)
            .bind(self.made_under)
            .execute(&mut self.tx)
            .await?;
        let keys = rows::key_rows(exception.exception_id.bytes(), 0, keys);
        sqlx::query(self.say.add_exception_keys.clone())
            .bind(self.tenant())
            .bind(rows::entering(&keys, self.say.by_place)?)
            .execute(&mut self.tx)
            .await?;
        self.touch_exceptions(Some(exception.exception_id), None);
        Ok(())
    }

    async fn set_exception(&mut self, exception: &Exception) -> Result<()> {
        sqlx::query(self.say.end_exception.clone())
            .bind(self.tenant())
            .bind(exception.exception_id.bytes().to_vec())
            .bind(i32::from(exception.ended))
            .bind(exception.deactivated.map(Timestamp::micros))
            .bind(exception.deactivated_by.clone())
            .bind(exception.deactivate_reason.clone())
            .execute(&mut self.tx)
            .await?;
        self.touch_exceptions(Some(exception.exception_id), None);
        Ok(())
    }

    async fn lifted(&mut self) -> Result<Vec<Lifted>> {
        let found = sqlx::query(self.say.lifted.clone())
            .bind(self.tenant())
            .fetch_all(&mut self.tx)
            .await?;
        found.iter().map(rows::lifted).collect()
    }

    async fn lift(&mut self, lifted: &Lifted) -> Result<()> {
        sqlx::query(self.say.lift.clone())
            .bind(self.tenant())
            .bind(lifted.name.clone())
            .bind(lifted.at.micros())
            .bind(lifted.by.clone())
            .bind(lifted.reason.clone())
            .execute(&mut self.tx)
            .await?;
        self.touch_exceptions(None, Some(&lifted.name));
        Ok(())
    }

    async fn put_back(&mut self, name: &str) -> Result<()> {
        sqlx::query(self.say.put_back.clone())
            .bind(self.tenant())
            .bind(name.to_owned())
            .execute(&mut self.tx)
            .await?;
        self.touch_exceptions(None, Some(name));
        Ok(())
    }

    async fn exceptions_named(&mut self, ids: &[ExceptionId]) -> Result<Vec<Exception>> {
        let found = sqlx::query(self.say.exceptions_named.clone())
            .bind(self.tenant())
            .bind(ids_text(ids)?)
            .fetch_all(&mut self.tx)
            .await?;
        found
            .iter()
            .map(|row| ExceptionRow::read(row)?.into_exception())
            .collect()
    }

    async fn rekey_exceptions(&mut self, all: &[NewException]) -> Result<()> {
        debug_assert!(
            all.len() <= MAX_CHUNK,
            "a chunk holds at most {MAX_CHUNK} exceptions"
        );
        let ids: Vec<_> = all.iter().map(|new| new.exception.exception_id).collect();
        let ids_text = ids_text(&ids)?;
        let before = sqlx::query(self.say.exception_records.clone())
            .bind(self.tenant())
            .bind(ids_text.clone())
            .fetch_all(&mut self.tx)
            .await?;
        let (mut targets, mut keys) = (Vec::new(), Vec::new());
        for NewException {
            exception,
            keys: own,
        } in all
        {
            let id = exception.exception_id.bytes();
            targets.push(rows::target_row(id, 0, &exception.target));
            keys.extend(rows::key_rows(id, 0, own));
        }
        let by_place = self.say.by_place;
        sqlx::query(self.say.set_exception_targets.clone())
            .bind(self.tenant())
            .bind(rows::entering(&targets, by_place)?)
            .bind(self.made_under)
            .execute(&mut self.tx)
            .await?;
        for (statement, rows) in [
            (&self.say.drop_exception_keys, ids_text),
            (
                &self.say.add_exception_keys,
                rows::entering(&keys, by_place)?,
            ),
        ] {
            sqlx::query(statement.clone())
                .bind(self.intent.tenant.as_str().to_owned())
                .bind(rows)
                .execute(&mut self.tx)
                .await?;
        }
        let now: HashMap<_, _> = ids.iter().zip(all).collect();
        for mut gone in exception_records(&before)? {
            if let Some(new) = now.get(&gone.exception) {
                forget_what_stays(&mut gone.keys, &new.keys);
            }
            gone.ended = true;
            if !gone.keys.is_empty() {
                self.gone_exceptions.push(gone);
            }
        }
        for id in &ids {
            self.touch_exceptions(Some(*id), None);
        }
        Ok(())
    }
}

pub(super) fn id_of(row: &AnyRow) -> Result<ExceptionId> {
    exception_id(row.try_get::<&[u8], _>("exception_id")?)
}
