//! What a load tells of a tenant before its bans.

use super::{LoadedTenant, Result, pool::Lent, read, rows, shared::SqlStore};
use crate::domain::ids::TenantId;

impl SqlStore {
    /// All of a tenant but its bans.
    pub(super) async fn loaded_tenant(
        &self,
        tenant: &TenantId,
        tx: &mut Lent,
    ) -> Result<Option<LoadedTenant>> {
        let name = tenant.as_str().to_owned();
        let (head, _) = self.primary_head(tx).await?;
        let found = sqlx::query(self.say.settings.clone())
            .bind(name.clone())
            .fetch_optional(&mut *tx)
            .await?;
        let Some(row) = found else { return Ok(None) };
        let lists = sqlx::query(self.say.list_records.clone())
            .bind(name.clone())
            .fetch_all(&mut *tx)
            .await?;
        let queues = sqlx::query(self.say.queue_records.clone())
            .bind(name.clone())
            .fetch_all(&mut *tx)
            .await?;
        let exceptions = read::exception_news(tx, &self.say, &name).await?;
        Ok(Some(LoadedTenant {
            head,
            tenant: rows::tenant_record(&row)?,
            lists: lists.iter().map(rows::list_record).collect::<Result<_>>()?,
            queues: queues
                .iter()
                .map(rows::queue_record)
                .collect::<Result<_>>()?,
            exceptions,
        }))
    }
}
