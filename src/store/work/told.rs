//! What the feed is told of a transaction.

use super::{SqlWork, Touched};
use crate::store::{Result, StoreError, access, payload, payload::Kind, rows};

impl SqlWork {
    /// The payload, read back from what was written (S-11).
    async fn payload(&mut self) -> Result<Option<(Kind, Vec<u8>)>> {
        let tenant = self.tenant();
        Ok(match std::mem::take(&mut self.touched) {
            Touched::Nothing => None,
            Touched::Several => Some((Kind::Everything, Vec::new())),
            Touched::Bans(mut bans) => {
                bans.sort_unstable();
                bans.dedup();
                let mut records = std::mem::take(&mut self.gone);
                records.extend(self.records(&bans).await?);
                Some((Kind::Bans, payload::bans(&records)?))
            }
            Touched::List(list_id) => {
                let row = sqlx::query(self.say.list_record.clone())
                    .bind(tenant)
                    .bind(list_id.as_str().to_owned())
                    .fetch_one(&mut self.tx)
                    .await?;
                Some((Kind::List, payload::list(&rows::list_record(&row)?)?))
            }
            Touched::Queue(queue) => {
                let row = sqlx::query(self.say.queue_record.clone())
                    .bind(tenant)
                    .bind(queue)
                    .fetch_one(&mut self.tx)
                    .await?;
                Some((Kind::Queue, payload::queue(&rows::queue_record(&row)?)?))
            }
            Touched::Access(principal) => {
                let now = self.intent.now;
                let found = access::record(&mut self.tx, &self.say, &principal, now).await?;
                let record = found.ok_or(StoreError::Corrupt("a principal that was written"))?;
                Some((Kind::Access, payload::access(&record)?))
            }
            Touched::Tenant => {
                let row = sqlx::query(self.say.tenant_record.clone())
                    .bind(tenant)
                    .fetch_one(&mut self.tx)
                    .await?;
                Some((Kind::Tenant, payload::tenant(&rows::tenant_record(&row)?)?))
            }
            Touched::Exceptions { ids, protections } => {
                let news = self.exception_news(&ids, &protections).await?;
                Some((Kind::Exceptions, payload::exceptions(&news)?))
            }
        })
    }

    /// Tells the feed how things stand now.
    pub(super) async fn tell(&mut self) -> Result<()> {
        if let Some((kind, payload)) = self.payload().await? {
            sqlx::query(self.say.tell.clone())
                .bind(i64::from(self.intent.nonce.0))
                .bind(self.tenant())
                .bind(kind as i32)
                .bind(payload)
                .execute(&mut self.tx)
                .await?;
        }
        Ok(())
    }
}
