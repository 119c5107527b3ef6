//! Deleting rows: of tenants that are no more, and of bans that ended long ago.

use sqlx::Row;

use super::{Purged, Sweep};
use crate::{
    domain::{hex::hex, ids::TenantId},
    store::{
        Result, new_id,
        pool::{Lent, Whose},
        rows,
        shared::SqlStore,
        sql::Statements,
    },
};

const DAY_MICROS: i64 = 86_400_000_000;
/// How many bans go in one transaction: each takes its keys, targets and events along.
const BANS: i64 = 500;
/// How many events or answers go in one.
const ROWS: i64 = 5_000;

impl SqlStore {
    /// Deletes some of what a deleted tenant has left, its id apart.
    pub(super) async fn purge_some_of(&self, tenant: &TenantId) -> Result<Purged> {
        let name = tenant.as_str().to_owned();
        let mut tx = self.writing(Whose::Tenant(tenant)).await?;
        let locked = sqlx::query(self.say.lock_deleted.clone())
            .bind(name.clone())
            .fetch_optional(&mut tx)
            .await?;
        if locked.is_none() {
            return Ok(Purged::default());
        }
        let found = sqlx::query(self.say.any_bans.clone())
            .bind(name.clone())
            .bind(BANS)
            .fetch_all(&mut tx)
            .await?;
        let bans = purge_bans(&mut tx, &self.say, tenant, &found).await?;
        if bans > 0 {
            tx.commit().await?;
            return Ok(Purged { bans, more: true });
        }
        for statement in [&self.say.purge_other_events, &self.say.purge_requests] {
            let purged = sqlx::query(statement.clone())
                .bind(name.clone())
                .bind(ROWS)
                .execute(&mut tx)
                .await?;
            if purged.rows_affected() > 0 {
                tx.commit().await?;
                return Ok(Purged {
                    bans: 0,
                    more: true,
                });
            }
        }
        for statement in self
            .say
            .purge_configuration
            .iter()
            .chain([&self.say.tenant_purged])
        {
            sqlx::query(statement.clone())
                .bind(name.clone())
                .execute(&mut tx)
                .await?;
        }
        tx.commit().await?;
        Ok(Purged::default())
    }

    /// Deletes some of the bans of a tenant that had ended by an instant, and notes how many.
    pub(super) async fn purge_some_ended(&self, sweep: &Sweep) -> Result<Purged> {
        let name = sweep.tenant.as_str().to_owned();
        let mut tx = self.writing(Whose::Tenant(&sweep.tenant)).await?;
        let locked = sqlx::query(self.say.lock_tenant.clone())
            .bind(name.clone())
            .fetch_optional(&mut tx)
            .await?;
        if locked.is_none() {
            return Ok(Purged::default());
        }
        let found = sqlx::query(self.say.ended_bans.clone())
            .bind(name.clone())
            .bind(sweep.by.micros())
            .bind(BANS)
            .fetch_all(&mut tx)
            .await?;
        let bans = purge_bans(&mut tx, &self.say, &sweep.tenant, &found).await?;
        if bans > 0 {
            let days = (sweep.now.micros() - sweep.by.micros()) / DAY_MICROS;
            sqlx::query(self.say.add_event.clone())
                .bind(name)
                .bind(new_id(sweep.now).to_vec())
                .bind(None::<Vec<u8>>)
                .bind("BANS_PURGED")
                .bind(super::NOBODY)
                .bind(sweep.now.micros())
                .bind(format!("{bans} that ended {days} days ago or earlier"))
                .bind(i64::from(sweep.nonce.0))
                .execute(&mut tx)
                .await?;
        }
        tx.commit().await?;
        let more = i64::try_from(bans).is_ok_and(|bans| bans == BANS);
        Ok(Purged { bans, more })
    }
}

/// Deletes bans with all that hangs on them, and tells how many.
pub(in crate::store) async fn purge_bans(
    tx: &mut Lent,
    say: &Statements,
    tenant: &TenantId,
    found: &[sqlx::any::AnyRow],
) -> Result<u64> {
    if found.is_empty() {
        return Ok(0);
    }
    let ids = found
        .iter()
        .map(|row| Ok(hex(row.try_get::<&[u8], _>("ban_id")?)))
        .collect::<Result<Vec<_>>>()?;
    let ids = rows::to_json(&ids)?;
    for statement in [
        &say.purge_keys,
        &say.purge_targets,
        &say.purge_matches,
        &say.purge_events,
        &say.purge_bans,
    ] {
        sqlx::query(statement.clone())
            .bind(tenant.as_str().to_owned())
            .bind(ids.clone())
            .execute(&mut *tx)
            .await?;
    }
    Ok(found.len() as u64)
}
