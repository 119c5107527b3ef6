//! A queue: where a ban made from it is recorded, and who may make one (D19–D26, D38, M18).

use super::{
    channel::Channel,
    ids::ListId,
    policy::{RecordTo, TenantSettings},
    refusal::{Reason, Refusal},
};

/// The most queues of a tenant that have a policy.
pub const MAX_POLICIES: usize = 10_000;
/// The most pairs of rights profile and queue that a tenant may keep.
pub const MAX_RIGHTS: usize = 100_000;
/// The most queues that one profile may ban from.
pub const MAX_ALLOWED: usize = 10_000;
/// The most queues that one question about rights may name.
pub const MAX_ASKED: usize = 1_000;

/// What becomes at a queue of those who tell nothing of themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum WithheldPolicy {
    /// They are let in.
    #[default]
    Allow = 1,
    /// They are turned away.
    Deny = 2,
}

impl WithheldPolicy {
    /// The policy with this number.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::Allow, Self::Deny]
            .into_iter()
            .find(|policy| *policy as i32 == number)
    }
}

/// What a queue does about bans, as an administrator sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueuePolicy {
    /// The queue, by the caller's own id.
    pub queue: String,
    /// The channel that the policy is about; `None` = the queue was never configured.
    pub channel: Option<Channel>,
    /// Whether it is a campaign's, from which nobody bans (D20).
    pub campaign: bool,
    /// Where bans are recorded; `None` = as the tenant has it for the channel.
    pub record_to: Option<RecordTo>,
    /// The list they are recorded in; `None` also where that list is gone.
    pub list_id: Option<ListId>,
    /// The lists that the queue checks.
    pub enforced: Vec<ListId>,
    /// What becomes of those who tell nothing of themselves.
    pub withheld: WithheldPolicy,
}

/// A queue, as far as it matters to somebody who would ban from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtQueue {
    /// What the queue does.
    pub policy: QueuePolicy,
    /// Whether the rights profile asked about may ban from it (D26).
    pub allowed: bool,
}

/// The queues that one rights profile may ban from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanRights {
    /// The profile, by the caller's own id.
    pub rights_profile: String,
    /// The queues.
    pub queues: Vec<String>,
}

/// Where a ban that may be made is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// In no list: it holds in the whole tenant.
    TenantWide,
    /// In this list, whose settings then apply (D23, D25).
    In(ListId),
}

/// Whether somebody may ban from an interaction, and where the ban would be recorded (D19).
///
/// `at` is the queue that the interaction is in; `None` = in none, where only the tenant's switch
/// counts.
pub fn may_ban(
    settings: &TenantSettings,
    channel: Channel,
    at: Option<&AtQueue>,
) -> Result<Recorded, Refusal> {
    if !settings.operator_banning_enabled {
        let message = "this tenant's operators do not ban; an administrator turns that on in the \
                       tenant's settings, or adds the ban";
        return Err(Refusal::new(Reason::OperatorBanningDisabled, message));
    }
    let Some(AtQueue { policy, allowed }) = at else {
        return Ok(Recorded::TenantWide);
    };
    if !allowed {
        let message = "the rights profile may not ban from this queue; SetBanRights allows it";
        let reason = Reason::BanNotAllowedOnQueue;
        return Err(Refusal::of_field(reason, "rights_profile", message));
    }
    let applies = policy.channel == Some(channel);
    if applies && policy.campaign {
        let message = "nobody bans from a campaign's queue";
        return Err(Refusal::of_field(Reason::CampaignQueue, "queue", message));
    }
    let chosen = policy.record_to.filter(|_| applies);
    let record_to = chosen.unwrap_or_else(|| settings.record_to(channel));
    let nowhere = |message| {
        let reason = Reason::QueueHasNoBanList;
        Err(Refusal::of_field(reason, "queue", message))
    };
    match (record_to, &policy.list_id) {
        (RecordTo::Global, _) => Ok(Recorded::TenantWide),
        (RecordTo::BanList, Some(list)) => Ok(Recorded::In(list.clone())),
        (RecordTo::BanList, None) => nowhere(
            "the list that this queue records to is no more; UpdateQueuePolicy names another",
        ),
        (RecordTo::None, _) => {
            nowhere("this queue records no bans on this channel; UpdateQueuePolicy says where to")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(policy: QueuePolicy) -> AtQueue {
        AtQueue {
            policy,
            allowed: true,
        }
    }

    fn reason(outcome: Result<Recorded, Refusal>) -> Reason {
        outcome.expect_err("a refusal").reason
    }

    #[test]
    fn d22_d24_a_queue_never_configured_does_as_the_tenant_does() {
        let settings = TenantSettings::default();
        let queue = at(QueuePolicy::default());
        for channel in Channel::ALL {
            let outcome = may_ban(&settings, channel, Some(&queue));
            match channel {
                Channel::WebChat => assert_eq!(reason(outcome), Reason::QueueHasNoBanList),
                _ => assert_eq!(outcome.unwrap(), Recorded::TenantWide),
            }
        }
    }

    #[test]
    fn a_policy_is_about_its_own_channel_only() {
        let settings = TenantSettings::default();
        let queue = at(QueuePolicy {
            channel: Some(Channel::Call),
            campaign: true,
            ..QueuePolicy::default()
        });
        let outcome = may_ban(&settings, Channel::Call, Some(&queue));
        assert_eq!(reason(outcome), Reason::CampaignQueue);
        assert!(may_ban(&settings, Channel::Sms, Some(&queue)).is_ok());
    }

    #[test]
    fn the_reasons_come_in_their_order() {
        let off = TenantSettings {
            operator_banning_enabled: false,
            ..TenantSettings::default()
        };
        let mut queue = AtQueue {
            policy: QueuePolicy {
                channel: Some(Channel::WebChat),
                campaign: true,
                record_to: Some(RecordTo::None),
                ..QueuePolicy::default()
            },
            allowed: false,
        };
        let ask =
            |settings, queue: &AtQueue| reason(may_ban(settings, Channel::WebChat, Some(queue)));
        let on = TenantSettings::default();
        assert_eq!(ask(&off, &queue), Reason::OperatorBanningDisabled);
        assert_eq!(ask(&on, &queue), Reason::BanNotAllowedOnQueue);
        queue.allowed = true;
        assert_eq!(ask(&on, &queue), Reason::CampaignQueue);
        queue.policy.campaign = false;
        assert_eq!(ask(&on, &queue), Reason::QueueHasNoBanList);
        queue.policy.record_to = Some(RecordTo::BanList);
        assert_eq!(ask(&on, &queue), Reason::QueueHasNoBanList);
    }
}
