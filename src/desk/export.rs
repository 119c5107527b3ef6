//! Exporting: every ban that a filter finds, of one snapshot.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{BanQuery, Desk, lookup::Narrowed, refused};
use crate::{
    domain::{
        ids::TenantId,
        refusal::{Reason, Refusal},
        revision::{Anchor, Position},
    },
    store::{BanFilter, BanSink},
};

/// The most exports under way at once; each may take a file of some gigabytes.
const AT_ONCE: usize = 4;

/// Where exports wait for one another.
#[derive(Clone)]
pub(super) struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// The right to be exporting, until it is dropped.
pub struct ExportPlace(#[expect(dead_code, reason = "held, and let go of")] OwnedSemaphorePermit);

/// Who takes an export, and is told how it ended.
pub trait ExportSink: BanSink {
    /// Everything has come, or not everything will.
    fn end(self, ended: Result<(), Refusal>);
}

impl Desk {
    /// A place among the exports under way.
    pub fn export_place(&self) -> Result<ExportPlace, Refusal> {
        let place = Arc::clone(&self.exports.0).try_acquire_owned();
        place.map(ExportPlace).map_err(|_| {
            let message =
                format!("{AT_ONCE} exports are under way here, the most there may be; try again");
            Refusal::new(Reason::Overloaded, message)
        })
    }

    /// Judges what narrows an export.
    pub async fn export_filter(
        &self,
        tenant: &TenantId,
        query: BanQuery,
        deadline: Duration,
    ) -> Result<BanFilter, Refusal> {
        let Narrowed { mut filter, .. } = self.narrow(tenant, query, deadline).await?;
        filter.now = Some(self.now());
        Ok(filter)
    }

    /// Has a sink take all bans that a filter finds, in a task of its own.
    pub fn export<S: ExportSink>(&self, tenant: TenantId, filter: BanFilter, mut sink: S) {
        let store = Arc::clone(&self.store);
        self.tasks.spawn(async move {
            let read = store.export(&tenant, &filter, &mut sink).await;
            sink.end(match read {
                Ok(true) => Ok(()),
                Ok(false) => Err(Refusal::no_tenant()),
                Err(error) => Err(refused(&error)),
            });
        });
    }

    /// The token of a row of the feed, in the history that this pod follows.
    pub fn token_of(&self, anchor: Anchor) -> Option<String> {
        let standing = self.feed.standing()?;
        let position = Position {
            epoch: standing.position.epoch,
            anchor,
        };
        Some(position.token(self.feed.seal()))
    }
}
