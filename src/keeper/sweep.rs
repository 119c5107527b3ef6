//! Noting the beginnings and the ends of bans, and the ends of exceptions.

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::{Keeper, TURN, nonce};
use crate::{
    domain::{clock::Timestamp, ids::TenantId},
    store::{Result, Sweep},
};

/// How many tenants are swept at once, and how many in one turn.
const AT_ONCE: usize = 4;
const TENANTS: i64 = 256;

impl Keeper {
    /// Notes what is due by an instant, of each tenant that has something due; `false` = nothing was.
    pub(super) async fn sweep(&self, by: Timestamp) -> Result<bool> {
        let tenants = self.store.due(by, TENANTS).await?;
        let over = Instant::now() + TURN;
        let swept = stream::iter(tenants).map(|tenant| self.sweep_one(tenant, by, over));
        let swept = swept.buffer_unordered(AT_ONCE);
        Ok(swept.fold(false, async |any, one| any | one).await)
    }

    /// Notes what is due of one tenant, which may have its row locked by others: they go first.
    async fn sweep_one(&self, tenant: TenantId, by: Timestamp, over: Instant) -> bool {
        let mut any = false;
        while Instant::now() < over {
            let sweep = Sweep {
                tenant: tenant.clone(),
                by,
                now: self.feed.clock().read().now,
                nonce: nonce(),
            };
            match self.store.sweep(&sweep).await {
                Ok(swept) => {
                    self.counters.keeping.swept(swept);
                    self.feed.committed();
                    any = true;
                    if !swept.more {
                        break;
                    }
                }
                Err(error) => {
                    let error = error.with_causes();
                    tracing::debug!(error, %tenant, "a tenant could not be swept yet");
                    break;
                }
            }
        }
        any
    }
}
