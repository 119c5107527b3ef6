//! Rows of exceptions, and of the protections that are lifted.

use serde::{Deserialize, Serialize};
use sqlx::{Row, any::AnyRow};

use super::{ban::match_key, bytes, exception_id, from_json, known, number};
use crate::{
    domain::{
        ban::Target,
        channel::Channels,
        clock::Timestamp,
        exception::{Exception, Lifted, Protection},
        hex::hex,
        identity::{IdentityKind, MatchKind},
        record::ExceptionRecord,
    },
    store::Result,
};

/// An exception with the readable forms of its keys.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct ExceptionRow {
    exception_id: String,
    pub(in crate::store) kind: i32,
    pub(in crate::store) input: String,
    pub(in crate::store) canonical: String,
    pub(in crate::store) issuer: String,
    pub(in crate::store) canonicaliser_version: u16,
    pub(in crate::store) match_kind: i32,
    pub(in crate::store) channels: u16,
    pub(in crate::store) comment: String,
    pub(in crate::store) expire_at: Option<i64>,
    pub(in crate::store) protected: i32,
    pub(in crate::store) ended: i32,
    pub(in crate::store) created_at: i64,
    pub(in crate::store) created_by: String,
    deactivated_at: Option<i64>,
    deactivated_by: String,
    deactivate_reason: String,
    key_texts: Vec<Option<String>>,
}

impl ExceptionRow {
    pub(in crate::store) fn of(exception: &Exception) -> Self {
        let Exception {
            exception_id,
            target,
            match_kind,
            channels,
            comment,
            expire,
            protected,
            ended,
            created,
            created_by,
            deactivated,
            deactivated_by,
            deactivate_reason,
        } = exception;
        Self {
            exception_id: hex(exception_id.bytes()),
            kind: target.kind as i32,
            input: target.input.clone(),
            canonical: target.canonical.clone(),
            issuer: target.issuer.clone(),
            canonicaliser_version: target.canonicaliser_version,
            match_kind: *match_kind as i32,
            channels: channels.bits(),
            comment: comment.clone(),
            expire_at: expire.map(Timestamp::micros),
            protected: i32::from(*protected),
            ended: i32::from(*ended),
            created_at: created.micros(),
            created_by: created_by.clone(),
            deactivated_at: deactivated.map(Timestamp::micros),
            deactivated_by: deactivated_by.clone(),
            deactivate_reason: deactivate_reason.clone(),
            key_texts: target.match_keys.iter().cloned().map(Some).collect(),
        }
    }

    pub(in crate::store) fn read(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            exception_id: hex(row.try_get::<&[u8], _>("exception_id")?),
            kind: number(row, "kind")?,
            input: row.try_get("input")?,
            canonical: row.try_get("canonical")?,
            issuer: row.try_get("issuer")?,
            canonicaliser_version: number(row, "canonicaliser_version")?,
            match_kind: number(row, "match_kind")?,
            channels: number(row, "channels")?,
            comment: row.try_get("comment")?,
            expire_at: row.try_get("expire_at")?,
            protected: number(row, "protected")?,
            ended: number(row, "ended")?,
            created_at: row.try_get("created_at")?,
            created_by: row.try_get("created_by")?,
            deactivated_at: row.try_get("deactivated_at")?,
            deactivated_by: row.try_get("deactivated_by")?,
            deactivate_reason: row.try_get("deactivate_reason")?,
            key_texts: from_json(&row.try_get::<String, _>("key_texts")?)?,
        })
    }

    pub(in crate::store) fn into_exception(self) -> Result<Exception> {
        Ok(Exception {
            exception_id: exception_id(&bytes(&self.exception_id)?)?,
            target: Target {
                kind: known(IdentityKind::from_number(self.kind), "an identity kind")?,
                input: self.input,
                canonical: self.canonical,
                issuer: self.issuer,
                canonicaliser_version: self.canonicaliser_version,
                match_keys: self.key_texts.into_iter().flatten().collect(),
            },
            match_kind: known(MatchKind::from_number(self.match_kind), "a match kind")?,
            channels: Channels::from_bits(self.channels),
            comment: self.comment,
            expire: self.expire_at.map(Timestamp::from_micros),
            protected: self.protected != 0,
            ended: self.ended != 0,
            created: Timestamp::from_micros(self.created_at),
            created_by: self.created_by,
            deactivated: self.deactivated_at.map(Timestamp::from_micros),
            deactivated_by: self.deactivated_by,
            deactivate_reason: self.deactivate_reason,
        })
    }
}

/// What a view needs of exceptions, from the rows of a join with their keys, in their order.
pub(in crate::store) fn exception_records(rows: &[AnyRow]) -> Result<Vec<ExceptionRecord>> {
    let mut records: Vec<ExceptionRecord> = Vec::new();
    for row in rows {
        let exception = exception_id(row.try_get::<&[u8], _>("exception_id")?)?;
        let key = match_key(row)?;
        if let Some(last) = records.last_mut().filter(|one| one.exception == exception) {
            last.keys.push(key);
            continue;
        }
        let expire: Option<i64> = row.try_get("expire_at")?;
        records.push(ExceptionRecord {
            exception,
            keys: vec![key],
            expire: expire.map(Timestamp::from_micros),
            channels: Channels::from_bits(number(row, "channels")?),
            protected: number::<i32>(row, "protected")? != 0,
            ended: number::<i32>(row, "ended")? != 0,
        });
    }
    Ok(records)
}

/// A built-in protection inside a remembered answer.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct ProtectionRow {
    name: String,
    lifted: Option<(i64, String, String)>,
}

impl ProtectionRow {
    pub(in crate::store) fn of(protection: &Protection) -> Self {
        let Protection { name, lifted } = protection;
        let lifted = lifted.as_ref();
        Self {
            name: name.clone(),
            lifted: lifted.map(|one| (one.at.micros(), one.by.clone(), one.reason.clone())),
        }
    }

    pub(in crate::store) fn into_protection(self) -> Protection {
        let Self { name, lifted } = self;
        let lifted = lifted.map(|(at, by, reason)| Lifted {
            name: name.clone(),
            at: Timestamp::from_micros(at),
            by,
            reason,
        });
        Protection { name, lifted }
    }
}

pub(in crate::store) fn lifted(row: &AnyRow) -> Result<Lifted> {
    Ok(Lifted {
        name: row.try_get("name")?,
        at: Timestamp::from_micros(row.try_get("lifted_at")?),
        by: row.try_get("lifted_by")?,
        reason: row.try_get("reason")?,
    })
}
