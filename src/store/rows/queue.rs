//! Rows of queues' policies and of rights.

use serde::{Deserialize, Serialize};
use sqlx::{Row, any::AnyRow};

use super::{from_json, known, list_id, number};
use crate::{
    domain::{
        channel::Channel,
        hex::hex,
        ids::ListId,
        keys::MatchKey,
        policy::RecordTo,
        queue::{AtQueue, BanRights, QueuePolicy, WithheldPolicy},
        record::QueueRecord,
    },
    store::{Result, StoreError},
};

/// A queue's policy inside a remembered answer, and in the parameters of a write.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct PolicyRow {
    queue: String,
    pub(in crate::store) channel: Option<i32>,
    pub(in crate::store) campaign: i32,
    pub(in crate::store) record_to: Option<i32>,
    pub(in crate::store) list_id: Option<String>,
    enforced: Vec<String>,
    pub(in crate::store) withheld: i32,
}

impl PolicyRow {
    pub(in crate::store) fn of(policy: &QueuePolicy) -> Self {
        let text = |list: &ListId| list.as_str().to_owned();
        Self {
            queue: policy.queue.clone(),
            channel: policy.channel.map(|channel| channel as i32),
            campaign: i32::from(policy.campaign),
            record_to: policy.record_to.map(|to| to as i32),
            list_id: policy.list_id.as_ref().map(text),
            enforced: policy.enforced.iter().map(text).collect(),
            withheld: policy.withheld as i32,
        }
    }

    pub(in crate::store) fn into_policy(self) -> Result<QueuePolicy> {
        let record_to = |number| known(RecordTo::from_number(number), "where bans are recorded");
        let enforced = self.enforced.iter().map(|text| list_id(text));
        Ok(QueuePolicy {
            queue: self.queue,
            channel: self.channel.map(channel).transpose()?,
            campaign: self.campaign != 0,
            record_to: self.record_to.map(record_to).transpose()?,
            list_id: self.list_id.as_deref().map(list_id).transpose()?,
            enforced: enforced.collect::<Result<_>>()?,
            withheld: withheld(self.withheld)?,
        })
    }
}

fn channel(number: i32) -> Result<Channel> {
    known(Channel::from_number(number), "a channel")
}

fn withheld(number: i32) -> Result<WithheldPolicy> {
    known(WithheldPolicy::from_number(number), "a withheld policy")
}

fn maybe(row: &AnyRow, column: &str) -> Result<Option<i32>> {
    let stored: Option<i64> = row.try_get(column)?;
    stored
        .map(|n| i32::try_from(n).map_err(|_| StoreError::Corrupt("a number out of range")))
        .transpose()
}

/// A queue, configured or not.
pub(in crate::store) fn at_queue(row: &AnyRow) -> Result<AtQueue> {
    let policy = PolicyRow {
        queue: row.try_get("queue")?,
        channel: maybe(row, "channel")?,
        campaign: maybe(row, "campaign")?.unwrap_or_default(),
        record_to: maybe(row, "record_to")?,
        list_id: row.try_get("list_id")?,
        enforced: from_json(&row.try_get::<String, _>("enforced")?)?,
        withheld: maybe(row, "withheld")?.unwrap_or(WithheldPolicy::Allow as i32),
    };
    Ok(AtQueue {
        policy: policy.into_policy()?,
        allowed: number::<i64>(row, "allowed")? > 0,
    })
}

/// What a view needs of a queue's policy.
pub(in crate::store) fn queue_record(row: &AnyRow) -> Result<QueueRecord> {
    Ok(QueueRecord {
        queue: row.try_get("queue")?,
        channel: channel(number(row, "channel")?)?,
        withheld: withheld(number(row, "withheld")?)?,
    })
}

/// The queues that a profile may ban from.
pub(in crate::store) fn ban_rights(row: &AnyRow) -> Result<BanRights> {
    Ok(BanRights {
        rights_profile: row.try_get("rights_profile")?,
        queues: from_json(&row.try_get::<String, _>("queues")?)?,
    })
}

entering! {
    /// A form of an identity, in the one JSON parameter of a count.
    pub(in crate::store) struct FormRow {
        position: u8,
        space: u8,
        match_key: String,
    }
}

/// The forms that some identities are found by, each with the position of its identity.
pub(in crate::store) fn forms(keys: &[(u8, MatchKey)]) -> Vec<FormRow> {
    keys.iter()
        .map(|(position, key)| FormRow {
            position: *position,
            space: key.space as u8,
            match_key: hex(&key.key.bits().to_be_bytes()),
        })
        .collect()
}
