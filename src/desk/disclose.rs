//! Telling all that is kept of a person.

use std::time::Duration;

use super::{Desk, ShownException, TargetGiven, erase};
use crate::{
    domain::{
        ban::Ban,
        ids::{BanId, TenantId},
        refusal::Refusal,
    },
    store::{Concerning, Event, EventFilter},
};

/// Events asked for at a time.
const PAGE: i64 = 1_000;

/// All that is kept of a person.
#[derive(Clone, Debug, Default)]
pub struct Disclosure {
    /// The bans, in whatever state.
    pub bans: Vec<Ban>,
    /// The exceptions, in whatever state.
    pub exceptions: Vec<ShownException>,
    /// The history of the bans.
    pub events: Vec<Event>,
}

impl Desk {
    /// All that is kept of whoever these identities are.
    pub async fn disclose(
        &self,
        tenant: &TenantId,
        identities: &[TargetGiven],
        deadline: Duration,
    ) -> Result<Disclosure, Refusal> {
        self.feed.known(tenant)?;
        let settings = self.settings(tenant, deadline).await?;
        let key = self.keys.tenant(tenant);
        let keys = erase::keys(&erase::read(identities, &settings)?, &key, &settings);
        let look = self.store.concerning(tenant, &keys, i64::MAX);
        let found = self
            .within(deadline, look)
            .await?
            .ok_or_else(Refusal::no_tenant)?;
        let Concerning {
            tenant: _,
            bans,
            exceptions,
        } = found;
        let meant = |ban: &Ban| {
            let mut positions = (0u8..).zip(&ban.targets);
            positions.any(|(at, _)| erase::is_meant(ban, at, &keys, &key, &settings))
        };
        let bans: Vec<_> = { bans.into_iter().map(|(ban, _)| ban).filter(meant) }.collect();
        let mut events = Vec::new();
        for ban in &bans {
            self.history(tenant, ban.ban_id, deadline, &mut events)
                .await?;
        }
        let exceptions = exceptions.into_iter();
        Ok(Disclosure {
            bans,
            exceptions: exceptions
                .map(|(exception, _)| ShownException::Made(exception))
                .collect(),
            events,
        })
    }

    async fn history(
        &self,
        tenant: &TenantId,
        ban: BanId,
        deadline: Duration,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        let mut filter = EventFilter {
            ban: Some(ban),
            limit: PAGE,
            ..EventFilter::default()
        };
        loop {
            let some = self
                .within(deadline, self.store.events(tenant, &filter))
                .await?;
            filter.after = some.last().map(|event| event.event_id);
            let more = i64::try_from(some.len()).is_ok_and(|found| found >= PAGE);
            events.extend(some);
            if !more {
                return Ok(());
            }
        }
    }
}
