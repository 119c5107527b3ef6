//! Queues' policies and rights.

use prost_types::FieldMask;

use super::Mask;
use crate::{
    api::v1,
    desk::PolicyEdit,
    domain::{
        channel::Channel,
        fields,
        ids::ListId,
        policy::RecordTo,
        queue::{BanRights, QueuePolicy, WithheldPolicy},
        refusal::{Reason, Refusal},
    },
};

/// The changes to a queue's policy that a message asks for.
pub(in crate::api) fn edit(
    policy: &v1::QueuePolicy,
    mask: Option<&FieldMask>,
) -> Result<PolicyEdit, Refusal> {
    const CHANGEABLE: [&str; 5] = [
        "channel",
        "campaign",
        "record_to",
        "list_id",
        "withheld_policy",
    ];
    let v1::QueuePolicy {
        queue: _,
        channel,
        campaign,
        record_to,
        list_id,
        enforced_list_ids: _,
        withheld_policy,
    } = policy;
    let mask = Mask::read(mask, &CHANGEABLE)?;
    let on = fields::known("queue_policy.channel", *channel, Channel::from_number)?;
    if mask.wants("channel", false) && on.is_none() {
        return Err(Refusal::required("queue_policy.channel"));
    }
    let to = fields::known("queue_policy.record_to", *record_to, RecordTo::from_number)?;
    let withheld = fields::known(
        "queue_policy.withheld_policy",
        *withheld_policy,
        WithheldPolicy::from_number,
    )?;
    let list: Option<ListId> = match list_id.as_str() {
        "" => None,
        text => Some(fields::list_id("queue_policy.list_id", text)?),
    };
    Ok(PolicyEdit {
        channel: on.filter(|_| mask.wants("channel", true)),
        campaign: mask.pick("campaign", *campaign, *campaign),
        record_to: mask.pick("record_to", to.is_some(), to),
        list_id: mask.pick("list_id", list.is_some(), list),
        withheld: mask.pick(
            "withheld_policy",
            withheld.is_some(),
            withheld.unwrap_or_default(),
        ),
    })
}

/// A queue's policy on the wire.
pub(in crate::api) fn message(policy: QueuePolicy) -> v1::QueuePolicy {
    let QueuePolicy {
        queue,
        channel,
        campaign,
        record_to,
        list_id,
        enforced,
        withheld,
    } = policy;
    v1::QueuePolicy {
        queue,
        channel: channel.map_or(0, |channel| channel as i32),
        campaign,
        record_to: record_to.map_or(0, |to| to as i32),
        list_id: list_id.map(|list| list.to_string()).unwrap_or_default(),
        enforced_list_ids: enforced.iter().map(ToString::to_string).collect(),
        withheld_policy: withheld as i32,
    }
}

/// Rights on the wire.
pub(in crate::api) fn rights(rights: BanRights) -> v1::BanRights {
    let BanRights {
        rights_profile,
        queues,
    } = rights;
    v1::BanRights {
        rights_profile,
        allowed_queues: queues,
    }
}

/// Whether one may ban from a queue, on the wire.
pub(in crate::api) fn permission(
    queue: &str,
    permitted: Result<(), Reason>,
) -> v1::test_ban_permission_response::Permission {
    let reason = permitted.err().map_or("", |reason| reason.word().0);
    v1::test_ban_permission_response::Permission {
        queue: queue.to_owned(),
        allowed: permitted.is_ok(),
        reason: reason.to_owned(),
    }
}
