//! Lifting many bans at once, such as those of a wrong import.

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    BanQuery, Circumstances, Desk, Failure, Job, Order, Outcome, Written, lookup::Narrowed, refused,
};
use crate::{
    domain::{
        ban::{BanId, MAX_REASON, State},
        fields,
        ids::MAX_CALLERS_ID,
        refusal::Refusal,
    },
    store::{Answer, Lifting, MAX_CHUNK, Work},
};

/// Lifts all bans that a filter finds.
#[derive(Clone, Debug)]
pub struct DeactivateBans {
    /// Which; its page is not looked at.
    pub query: BanQuery,
    /// Why.
    pub reason: String,
}

/// Lifts some of them.
struct LiftPart {
    bans: Vec<BanId>,
    reason: String,
}

/// Remembers how many they were.
struct LiftedAll(u64);

impl Desk {
    /// Lifts all bans that a filter finds and that have not ended, some at a time; [`Answer::count`]
    /// tells how many.
    pub async fn lift_all(&self, order: Order, job: DeactivateBans) -> Result<Written, Refusal> {
        fields::request_id(&order.request_id)?;
        fields::bytes("actor", &order.actor, MAX_CALLERS_ID)?;
        fields::text("reason", &job.reason, MAX_REASON)?;
        let Narrowed { mut filter, .. } = self
            .narrow(&order.tenant, job.query, order.deadline)
            .await?;
        if filter.states.is_empty() {
            filter.states = vec![State::Active];
        }
        filter
            .states
            .retain(|state| matches!(state, State::Active | State::Scheduled));
        filter.now = Some(self.now());
        let again = !order.request_id.is_empty();
        let order = Order {
            request_id: if again {
                order.request_id
            } else {
                Uuid::now_v7().to_string()
            },
            ..order
        };
        if order.validate_only {
            let mut count = 0;
            if !filter.states.is_empty() {
                filter.count = true;
                let page = self.within(order.deadline, self.store.bans(&order.tenant, &filter));
                count = page.await?.total.unwrap_or_default();
            }
            let answer = Answer {
                count: u64::try_from(count).unwrap_or_default(),
                ..Answer::default()
            };
            return Ok(Written {
                answer,
                token: None,
            });
        }
        if again {
            let intent = self.attempt(order.clone(), LiftedAll::RPC, None)?.intent;
            let done = self.within(order.deadline, self.store.outcome(&intent));
            if let Some(answer) = done.await? {
                // What matches by now was not asked for then.
                return self.write(order, LiftedAll(answer.count)).await;
            }
        }
        let mut count = 0;
        let mut part = 0_u64;
        if again {
            (count, part) = self.lifted_before(&order).await?;
        }
        let mut after = None;
        while !filter.states.is_empty() {
            let limit = i64::try_from(MAX_CHUNK).unwrap_or(i64::MAX);
            // As long as the store takes: it may have to look through very many.
            let found = self.store.ban_ids(&order.tenant, &filter, after, limit);
            let bans = found.await.map_err(|error| refused(&error))?;
            after = bans.last().copied();
            if after.is_none() {
                break;
            }
            let full = bans.len() == MAX_CHUNK;
            let job = LiftPart {
                bans,
                reason: job.reason.clone(),
            };
            let (Outcome::Committed(answer) | Outcome::Tried(answer)) = self
                .carry_through(part_of(&order, part), None, job)
                .await?
                .0;
            self.feed.committed();
            count += answer.count;
            part += 1;
            if !full {
                break;
            }
        }
        self.write(order, LiftedAll(count)).await
    }
}

impl Desk {
    /// What an earlier try has lifted, and in how many parts: it is found no more, and counted from
    /// what the try left.
    async fn lifted_before(&self, order: &Order) -> Result<(u64, u64), Refusal> {
        let (mut count, mut part) = (0, 0);
        loop {
            let intent = self
                .attempt(part_of(order, part), LiftPart::RPC, None)?
                .intent;
            let done = self.within(order.deadline, self.store.outcome(&intent));
            let Some(answer) = done.await? else {
                return Ok((count, part));
            };
            count += answer.count;
            part += 1;
        }
    }
}

fn part_of(order: &Order, part: u64) -> Order {
    Order {
        request_id: format!("{part}#{}", order.request_id),
        ..order.clone()
    }
}

#[async_trait]
impl Job for LiftPart {
    const RPC: &'static str = "DeactivateBans/part";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let lifting = Lifting {
            bans: self.bans,
            by: about.actor.clone(),
            reason: self.reason,
        };
        let lifted = work.lift_bans(&lifting).await?;
        let reason = lifting.reason.as_str();
        let events: Vec<_> = lifted
            .iter()
            .map(|ban| about.event(Some(*ban), "DEACTIVATED", reason))
            .collect();
        if !events.is_empty() {
            work.note_all(&events).await?;
        }
        Ok(Answer {
            count: u64::try_from(lifted.len()).unwrap_or(u64::MAX),
            ..Answer::default()
        })
    }
}

#[async_trait]
impl Job for LiftedAll {
    const RPC: &'static str = "DeactivateBans";

    async fn run(self, _work: &mut dyn Work, _about: &Circumstances) -> Result<Answer, Failure> {
        Ok(Answer {
            count: self.0,
            ..Answer::default()
        })
    }
}
