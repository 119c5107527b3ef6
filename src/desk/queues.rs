//! What queues do about bans, and who may ban from them (D19–D26).

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;

use super::{Circumstances, Desk, Failure, Job, lists::no_list, pages};
use crate::{
    desk::Page,
    domain::{
        channel::Channel,
        fields,
        ids::{ListId, TenantId},
        policy::RecordTo,
        queue::{
            AtQueue, BanRights, MAX_POLICIES, MAX_RIGHTS, QueuePolicy, WithheldPolicy, may_ban,
        },
        refusal::{Reason, Refusal},
    },
    store::{Answer, Work},
};

/// What of a queue's policy is to be changed; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct PolicyEdit {
    /// The channel that it is about.
    pub channel: Option<Channel>,
    /// Whether the queue is a campaign's.
    pub campaign: Option<bool>,
    /// Where bans are recorded; `Some(None)` = as the tenant has it.
    pub record_to: Option<Option<RecordTo>>,
    /// The list they are recorded in; `Some(None)` = in none.
    pub list_id: Option<Option<ListId>>,
    /// What becomes of those who tell nothing of themselves.
    pub withheld: Option<WithheldPolicy>,
}

/// Changes what a queue does, or says it for the first time.
#[derive(Clone, Debug)]
pub struct UpdateQueuePolicy {
    /// Which queue.
    pub queue: String,
    /// What is to be different.
    pub edit: PolicyEdit,
}

/// Says from which queues a rights profile may ban, all of them.
#[derive(Clone, Debug)]
pub struct SetBanRights {
    /// The profile.
    pub rights_profile: String,
    /// The queues.
    pub allowed_queues: BTreeSet<String>,
}

fn is_over(count: i64, most: usize) -> bool {
    usize::try_from(count).is_ok_and(|count| count > most)
}

impl PolicyEdit {
    fn apply(self, policy: &mut QueuePolicy) -> Result<(), Refusal> {
        let Self {
            channel,
            campaign,
            record_to,
            list_id,
            withheld,
        } = self;
        policy.channel = channel.or(policy.channel);
        policy.campaign = campaign.unwrap_or(policy.campaign);
        policy.withheld = withheld.unwrap_or(policy.withheld);
        policy.record_to = record_to.unwrap_or(policy.record_to);
        if policy.channel.is_none() {
            return Err(Refusal::required("queue_policy.channel"));
        }
        let into_list = policy.record_to == Some(RecordTo::BanList);
        match list_id {
            Some(Some(_)) if !into_list => {
                let message = "a list is named only where record_to is BAN_LIST";
                let field = "queue_policy.list_id";
                return Err(Refusal::of_field(Reason::FieldInvalid, field, message));
            }
            Some(list) => policy.list_id = list,
            None if !into_list => policy.list_id = None,
            None => {}
        }
        if into_list && policy.list_id.is_none() {
            return Err(Refusal::required("queue_policy.list_id"));
        }
        Ok(())
    }
}

/// What is known of one queue, in a transaction.
pub(super) async fn at_queue(
    work: &mut dyn Work,
    queue: &str,
    rights_profile: &str,
) -> Result<AtQueue, Failure> {
    let found = work.at_queues(&[queue.to_owned()], rights_profile).await?;
    Ok(found.into_iter().next().unwrap_or_default())
}

#[async_trait]
impl Job for UpdateQueuePolicy {
    const RPC: &'static str = "UpdateQueuePolicy";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let before = at_queue(work, &self.queue, "").await?.policy;
        let mut policy = before.clone();
        self.edit.apply(&mut policy)?;
        if policy != before {
            if let Some(list) = policy.list_id.as_ref() {
                let named = |refusal| Refusal {
                    field: "queue_policy.list_id".to_owned(),
                    ..refusal
                };
                work.list(list).await?.ok_or_else(|| named(no_list()))?;
            }
            let (policies, _) = work.queue_counts("").await?;
            if before.channel.is_none() && is_over(policies + 1, MAX_POLICIES) {
                let message = format!("{MAX_POLICIES} queues have a policy, the most there may be");
                return Err(Refusal::new(Reason::Quota, message).into());
            }
            work.set_queue_policy(&policy).await?;
            work.note(&about.event(None, "QUEUE_POLICY_UPDATED", &policy.queue))
                .await?;
        }
        Ok(Answer {
            queue: Some(policy),
            ..Answer::default()
        })
    }
}

#[async_trait]
impl Job for SetBanRights {
    const RPC: &'static str = "SetBanRights";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let (_, others) = work.queue_counts(&self.rights_profile).await?;
        let asked = i64::try_from(self.allowed_queues.len()).unwrap_or(i64::MAX);
        if is_over(others.saturating_add(asked), MAX_RIGHTS) {
            let message =
                format!("a tenant has at most {MAX_RIGHTS} pairs of rights profile and queue");
            return Err(Refusal::of_field(Reason::Quota, "allowed_queues", message).into());
        }
        let rights = BanRights {
            rights_profile: self.rights_profile,
            queues: self.allowed_queues.into_iter().collect(),
        };
        work.set_ban_rights(&rights).await?;
        let comment = format!("{}: {} queues", rights.rights_profile, rights.queues.len());
        work.note(&about.event(None, "BAN_RIGHTS_SET", &comment))
            .await?;
        Ok(Answer {
            added: rights.queues,
            ..Answer::default()
        })
    }
}

impl Desk {
    /// What a queue does, configured or not.
    pub async fn queue_policy(
        &self,
        tenant: &TenantId,
        queue: &str,
        deadline: Duration,
    ) -> Result<QueuePolicy, Refusal> {
        fields::needed("queue", queue)?;
        self.feed.known(tenant)?;
        let queues = [queue.to_owned()];
        let found = self
            .within(deadline, self.store.at_queues(tenant, &queues, ""))
            .await?;
        Ok(found.into_iter().next().unwrap_or_default().policy)
    }

    /// A page of queues' policies, in the order of the queues.
    pub async fn queue_policies(
        &self,
        tenant: &TenantId,
        page_size: i32,
        page_token: &str,
        deadline: Duration,
    ) -> Result<Page<QueuePolicy>, Refusal> {
        self.feed.known(tenant)?;
        let limit = pages::size(page_size)?;
        let pages = self.pages(format!("queue policies of {tenant}"), limit);
        let after = super::lookup::name_after(pages.place(page_token)?);
        let items = self
            .within(deadline, self.store.queue_policies(tenant, &after, limit))
            .await?;
        let last = items.last().map(|policy| policy.queue.as_bytes().to_vec());
        Ok(Page {
            next: pages.next(items.len(), last),
            items,
            total: 0,
        })
    }

    /// A page of rights, in the order of the profiles.
    pub async fn ban_rights(
        &self,
        tenant: &TenantId,
        page_size: i32,
        page_token: &str,
        deadline: Duration,
    ) -> Result<Page<BanRights>, Refusal> {
        self.feed.known(tenant)?;
        let limit = pages::size(page_size)?;
        let pages = self.pages(format!("ban rights of {tenant}"), limit);
        let after = super::lookup::name_after(pages.place(page_token)?);
        let items = self
            .within(deadline, self.store.ban_rights(tenant, &after, limit))
            .await?;
        let profile = |rights: &BanRights| rights.rights_profile.as_bytes().to_vec();
        let last = items.last().map(profile);
        Ok(Page {
            next: pages.next(items.len(), last),
            items,
            total: 0,
        })
    }

    /// Whether somebody under a rights profile may ban from these queues, an answer each (D19).
    pub async fn test_permission(
        &self,
        tenant: &TenantId,
        channel: Channel,
        rights_profile: &str,
        queues: &[String],
        deadline: Duration,
    ) -> Result<Vec<Result<(), Reason>>, Refusal> {
        let settings = self.settings(tenant, deadline).await?;
        let asked = self.store.at_queues(tenant, queues, rights_profile);
        let found = self.within(deadline, asked).await?;
        let judge = |at: &AtQueue| match may_ban(&settings, channel, Some(at)) {
            Ok(_) => Ok(()),
            Err(refusal) => Err(refusal.reason),
        };
        Ok(found.iter().map(judge).collect())
    }
}
