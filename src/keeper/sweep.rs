//! Noting the beginnings and the ends of bans.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::{BEAT, Keeper, end};
use crate::{
    domain::{clock::Timestamp, ids::TenantId, revision::Nonce},
    store::{Result, Sweep},
};

/// How long after its instant something is noted at the earliest: pods' clocks differ by less, so a
/// ban's end is in no view before each of them has seen it by its own clock.
const GRACE_MICROS: i64 = 200_000;
/// How many tenants are swept at once, and how many in one turn.
const AT_ONCE: usize = 4;
const TENANTS: i64 = 256;
/// How long a turn lasts, but for the steps that are under way then.
const TURN: Duration = Duration::from_secs(2);

impl Keeper {
    /// Notes what is due, and tells how long nothing will be.
    pub(super) async fn sweep(&self) -> Result<Duration> {
        let now = self.feed.clock().read().now;
        let by = now.plus_micros(-GRACE_MICROS);
        let due = self.store.next_due().await?;
        let late = due.map_or(0, |due| now.micros() - due.micros());
        self.counters.keeping.lags(late);
        if let Some(early) = u64::try_from(GRACE_MICROS - late).ok().filter(|n| *n > 0) {
            let early = Duration::from_micros(early);
            return Ok(if due.is_some() { early.min(BEAT) } else { BEAT });
        }
        let Some(turn) = self.store.turn().await? else {
            return Ok(BEAT);
        };
        let swept = self.sweep_all(by).await;
        end(turn, swept).await
    }

    /// Notes what is due by an instant, of each tenant that has something due.
    async fn sweep_all(&self, by: Timestamp) -> Result<Duration> {
        let tenants = self.store.due(by, TENANTS).await?;
        if tenants.is_empty() {
            // Somebody else has noted it, or it is a deleted tenant's.
            return Ok(BEAT);
        }
        let over = Instant::now() + TURN;
        let swept = stream::iter(tenants).map(|tenant| self.sweep_one(tenant, by, over));
        swept
            .buffer_unordered(AT_ONCE)
            .for_each(async |()| {})
            .await;
        // What came due meanwhile, or was too much for one turn, is looked for at once.
        Ok(Duration::ZERO)
    }

    /// Notes what is due of one tenant, which may have its row locked by others: they go first.
    async fn sweep_one(&self, tenant: TenantId, by: Timestamp, over: Instant) {
        while Instant::now() < over {
            let mut nonce = [0; 4];
            // Without randomness the row bears a mark that others may bear.
            let _ = getrandom::fill(&mut nonce);
            let sweep = Sweep {
                tenant: tenant.clone(),
                by,
                now: self.feed.clock().read().now,
                nonce: Nonce(u32::from_be_bytes(nonce)),
            };
            match self.store.sweep(&sweep).await {
                Ok(swept) => {
                    self.counters.keeping.swept(swept);
                    self.feed.committed();
                    if !swept.more {
                        return;
                    }
                }
                Err(error) => {
                    let error = error.with_causes();
                    tracing::debug!(error, %tenant, "a tenant could not be swept yet");
                    return;
                }
            }
        }
    }
}
