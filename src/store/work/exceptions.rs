//! Exceptions within a transaction.

use sqlx::{Row, any::AnyRow};

use super::{SqlWork, Touched};
use crate::{
    domain::{
        exception::{Exception, Lifted},
        hex::hex,
        ids::ExceptionId,
        record::{BanRecord, ExceptionNews, ProtectionRecord},
        view::index::Key,
    },
    store::{
        NewException, Result,
        rows::{self, ExceptionRow, ban_record, exception_id, exception_records},
    },
};

/// How many exceptions that are over are marked so by one write: they are all in its feed row.
const RETIRED_AT_ONCE: i64 = 500;

fn hexed(keys: &[Key]) -> Result<String> {
    let texts: Vec<_> = keys
        .iter()
        .map(|key| hex(&key.bits().to_be_bytes()))
        .collect();
    rows::to_json(&texts)
}

impl SqlWork {
    fn touch_exceptions(&mut self, id: Option<ExceptionId>, protection: Option<&str>) {
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
        let ids: Vec<_> = ids.iter().map(|id| hex(id.bytes())).collect();
        let found = sqlx::query(self.say.exception_records.clone())
            .bind(self.tenant())
            .bind(rows::to_json(&ids)?)
            .fetch_all(&mut self.tx)
            .await?;
        let lifted = self.all_lifted().await?;
        Ok(ExceptionNews {
            exceptions: exception_records(&found)?,
            protections: protections
                .iter()
                .map(|name| ProtectionRecord {
                    name: name.clone(),
                    lifted: lifted.iter().any(|one| one.name == *name),
                })
                .collect(),
        })
    }

    pub(super) async fn insert_exception(&mut self, new: &NewException) -> Result<()> {
        let over = sqlx::query(self.say.retire_exceptions.clone())
            .bind(self.tenant())
            .bind(self.intent.now.micros())
            .bind(RETIRED_AT_ONCE)
            .fetch_all(&mut self.tx)
            .await?;
        for row in &over {
            self.touch_exceptions(Some(id_of(row)?), None);
        }
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

    pub(super) async fn end_exception(&mut self, exception: &Exception) -> Result<()> {
        sqlx::query(self.say.end_exception.clone())
            .bind(self.tenant())
            .bind(exception.exception_id.bytes().to_vec())
            .bind(i32::from(exception.ended))
            .bind(
                exception
                    .deactivated
                    .map(crate::domain::clock::Timestamp::micros),
            )
            .bind(exception.deactivated_by.clone())
            .bind(exception.deactivate_reason.clone())
            .execute(&mut self.tx)
            .await?;
        self.touch_exceptions(Some(exception.exception_id), None);
        Ok(())
    }

    pub(super) async fn find_exception(&mut self, id: ExceptionId) -> Result<Option<Exception>> {
        let found = sqlx::query(self.say.exception.clone())
            .bind(self.tenant())
            .bind(id.bytes().to_vec())
            .fetch_optional(&mut self.tx)
            .await?;
        found
            .map(|row| ExceptionRow::read(&row)?.into_exception())
            .transpose()
    }

    pub(super) async fn exceptions_in_time(
        &mut self,
        keys: Option<&[Key]>,
    ) -> Result<Vec<Exception>> {
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

    pub(super) async fn count_exceptions(&mut self) -> Result<i64> {
        let row = sqlx::query(self.say.count_exceptions.clone())
            .bind(self.tenant())
            .bind(self.intent.now.micros())
            .fetch_one(&mut self.tx)
            .await?;
        Ok(row.try_get("total")?)
    }

    pub(super) async fn all_lifted(&mut self) -> Result<Vec<Lifted>> {
        let found = sqlx::query(self.say.lifted.clone())
            .bind(self.tenant())
            .fetch_all(&mut self.tx)
            .await?;
        found.iter().map(rows::lifted).collect()
    }

    pub(super) async fn lift_one(&mut self, lifted: &Lifted) -> Result<()> {
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

    pub(super) async fn put_one_back(&mut self, name: &str) -> Result<()> {
        sqlx::query(self.say.put_back.clone())
            .bind(self.tenant())
            .bind(name.to_owned())
            .execute(&mut self.tx)
            .await?;
        self.touch_exceptions(None, Some(name));
        Ok(())
    }

    pub(super) async fn bans_by_keys(&mut self, keys: &[Key]) -> Result<Vec<BanRecord>> {
        let found = sqlx::query(self.say.bans_by_keys.clone())
            .bind(self.tenant())
            .bind(hexed(keys)?)
            .bind(self.intent.now.micros())
            .fetch_all(&mut self.tx)
            .await?;
        found.iter().map(ban_record).collect()
    }
}

fn id_of(row: &AnyRow) -> Result<ExceptionId> {
    exception_id(row.try_get::<&[u8], _>("exception_id")?)
}
