//! Writing straight into the database, beside whatever servers run on it.

use anyhow::bail;
use uuid::Uuid;

use crate::{
    desk::Circumstances,
    domain::{clock::Clock as _, ids::TenantId, keys::MasterKey, revision::Nonce},
    feed::PodClock,
    store::{Begun, Intent, Store, Work},
};

/// Who writes without a server.
pub(super) struct Writer<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) keys: &'a MasterKey,
    clock: PodClock,
}

impl<'a> Writer<'a> {
    pub(super) fn new(store: &'a dyn Store, keys: &'a MasterKey) -> Self {
        Self {
            store,
            keys,
            clock: PodClock::default(),
        }
    }

    /// Begins a write on a tenant; `None` = there is no such tenant, or not any more.
    pub(super) async fn begin(
        &self,
        tenant: &TenantId,
        rpc: &'static str,
        actor: &str,
    ) -> anyhow::Result<Option<(Box<dyn Work>, Circumstances)>> {
        let about = Circumstances {
            now: self.clock.read().now,
            tenant: tenant.clone(),
            actor: actor.to_owned(),
            keys: self.keys.clone(),
        };
        let mut nonce = [0; 4];
        getrandom::fill(&mut nonce)?;
        let intent = Intent {
            tenant: tenant.clone(),
            rpc,
            request_id: Uuid::now_v7().to_string(),
            body: [0; 16],
            body_elsewhere: Vec::new(),
            nonce: Nonce(u32::from_be_bytes(nonce)),
            now: about.now,
        };
        match self.store.begin(&intent).await? {
            Begun::Open(work) => Ok(Some((work, about))),
            Begun::NoTenant => Ok(None),
            Begun::Replay(_) | Begun::Reused => {
                bail!("an id that was made up a moment ago is in use")
            }
        }
    }
}
