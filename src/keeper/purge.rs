//! Clearing away: bans that went with their list, what deleted tenants have left, and ended bans
//! that their tenant does not keep for ever.

use std::time::Duration;

use tokio::time::Instant;

use super::{Keeper, TURN, nonce};
use crate::{
    domain::ids::TenantId,
    store::{Result, Sweep},
};

/// How many lists and tenants are seen to in one turn.
const AT_ONCE: i64 = 64;
/// How many tenants are asked about at once.
const PAGE: i64 = 1_000;
const DAY_MICROS: i64 = 86_400_000_000;

impl Keeper {
    /// Marks lifted what went with its list, for as long as a turn lasts.
    pub(super) async fn clear(&self) -> Result<()> {
        let over = Instant::now() + TURN;
        for (tenant, generation) in self.store.dropped(AT_ONCE).await? {
            while Instant::now() < over {
                let now = self.feed.clock().read().now;
                let sweep = Sweep {
                    tenant: tenant.clone(),
                    by: now,
                    now,
                    nonce: nonce(),
                };
                let more = self.store.clear(&sweep, generation).await?;
                self.feed.committed();
                if !more {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Purges deleted tenants, for as long as a turn lasts.
    pub(super) async fn purge_tenants(&self) -> Result<()> {
        let over = Instant::now() + TURN;
        for tenant in self.store.deleted_tenants(AT_ONCE).await? {
            while Instant::now() < over {
                let purged = self.store.purge_tenant(&tenant).await?;
                self.counters.keeping.purged_bans(purged.bans);
                if !purged.more {
                    self.counters.keeping.purged_tenant();
                    tracing::info!(%tenant, "nothing is left of a deleted tenant but its id");
                    break;
                }
            }
        }
        Ok(())
    }

    /// Purges the ended bans that are older than their tenant wants them, for so long at the most.
    pub(super) async fn purge_ended(&self, patience: Duration) -> Result<()> {
        let over = Instant::now() + patience;
        let mut last: Option<TenantId> = None;
        loop {
            let page = self.store.purging(last.as_ref(), PAGE).await?;
            if page.is_empty() {
                return Ok(());
            }
            for (tenant, days) in page {
                while Instant::now() < over {
                    let now = self.feed.clock().read().now;
                    let sweep = Sweep {
                        by: now.plus_micros(-i64::from(days) * DAY_MICROS),
                        tenant: tenant.clone(),
                        now,
                        nonce: nonce(),
                    };
                    let purged = self.store.purge_ended(&sweep).await?;
                    self.counters.keeping.purged_bans(purged.bans);
                    if !purged.more {
                        break;
                    }
                }
                last = Some(tenant);
            }
        }
    }
}
