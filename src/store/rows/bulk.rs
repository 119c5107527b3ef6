//! Rows of what comes by the thousand: changed bans, events, and what became of an import.

use serde::{Deserialize, Serialize};

use super::known;
use crate::{
    domain::{
        clock::Timestamp,
        hex::{hex, unhex},
        ids::BanId,
        import::Tally,
    },
    store::{Event, Renewal, Result},
};

entering! {
    /// A target of a ban, in the one JSON parameter of a chunk.
    pub(in crate::store) struct SpotRow {
        ban_id: String,
        position: u8,
    }

    /// A changed ban in the one JSON parameter of a chunk.
    pub(in crate::store) struct RenewalRow {
        ban_id: String,
        reason: String,
        reason_code: String,
        start_at: Option<i64>,
        expire_at: Option<i64>,
    }

    /// An event in the one JSON parameter of a chunk.
    pub(in crate::store) struct EventRow {
        event_id: String,
        ban_id: Option<String>,
        action: String,
        actor: String,
        at: i64,
        comment: String,
    }
}

/// A tally inside a remembered answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TallyRow {
    import_id: String,
    rows: u64,
    created: u64,
    updated: u64,
    duplicates: u64,
    excepted: u64,
    failed: u64,
    failures: Vec<(i32, String)>,
    trail: String,
}

impl SpotRow {
    pub(in crate::store) fn of(ban: BanId, position: u8) -> Self {
        Self {
            ban_id: hex(ban.bytes()),
            position,
        }
    }
}

impl RenewalRow {
    pub(in crate::store) fn of(renewal: &Renewal) -> Self {
        Self {
            ban_id: hex(renewal.ban.bytes()),
            reason: renewal.reason.clone(),
            reason_code: renewal.reason_code.clone(),
            start_at: renewal.start.map(Timestamp::micros),
            expire_at: renewal.expire.map(Timestamp::micros),
        }
    }
}

impl EventRow {
    pub(in crate::store) fn of(event: &Event) -> Self {
        Self {
            event_id: hex(&event.event_id),
            ban_id: event.ban.map(|ban| hex(ban.bytes())),
            action: event.action.clone(),
            actor: event.actor.clone(),
            at: event.at.micros(),
            comment: event.comment.clone(),
        }
    }
}

impl TallyRow {
    pub(super) fn of(tally: &Tally) -> Self {
        let Tally {
            import_id,
            rows,
            created,
            updated,
            duplicates,
            excepted,
            failed,
            failures,
            trail,
        } = tally;
        Self {
            import_id: import_id.clone(),
            rows: *rows,
            created: *created,
            updated: *updated,
            duplicates: *duplicates,
            excepted: *excepted,
            failed: *failed,
            failures: failures
                .iter()
                .map(|(row, told)| (*row, hex(told)))
                .collect(),
            trail: hex(trail),
        }
    }

    pub(super) fn into_tally(self) -> Result<Tally> {
        let told = |text: &str| known(unhex(text), "a remembered failure");
        let trail = known(unhex(&self.trail), "a remembered trail")?;
        Ok(Tally {
            import_id: self.import_id,
            rows: self.rows,
            created: self.created,
            updated: self.updated,
            duplicates: self.duplicates,
            excepted: self.excepted,
            failed: self.failed,
            failures: self
                .failures
                .iter()
                .map(|(row, text)| Ok((*row, told(text)?)))
                .collect::<Result<_>>()?,
            trail: known(trail.try_into().ok(), "the length of a trail")?,
        })
    }
}
