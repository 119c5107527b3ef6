//! Rows, and the things they stand for.
//!
//! A ban row travels in three ways, and has one shape for all of them: decoded from a result, as
//! part of the one JSON parameter that brings a chunk in, and inside a remembered answer.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sqlx::{Row, any::AnyRow};

use super::{NewBan, Result, StoreError};
use crate::domain::{
    ban::{Ban, Enforcement, Origin, Target},
    channel::{Channel, Channels},
    clock::Timestamp,
    hex::{hex, unhex},
    identity::{IdentityKind, MatchKind},
    ids::{BanId, ListId, TenantId},
    keys::{MatchKey, Space},
    list::{BanList, Treatment, WebchatBanType},
    period::CalendarPeriod,
    policy::{FailureMode, RecordTo, TenantSettings},
    record::{ListRecord, TenantRecord},
    view::index::Key,
};

/// What a write answered, as it is remembered under the request's id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The ban that was written.
    pub ban: Option<Ban>,
    /// The list that was written.
    pub list: Option<BanList>,
    /// The settings that were written.
    pub settings: Option<TenantSettings>,
    /// Codes worth a second look, each with the index of the identity it is about.
    pub warnings: Vec<(u32, String)>,
    /// Other bans that still hold.
    pub others: Vec<BanId>,
    /// Queues that began to check a list.
    pub added: Vec<String>,
    /// Queues that ceased to.
    pub removed: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct AnswerRow {
    ban: Option<BanRow>,
    list: Option<ListRow>,
    settings: Option<SettingsRow>,
    warnings: Vec<(u32, String)>,
    others: Vec<String>,
    added: Vec<String>,
    removed: Vec<String>,
}

impl Answer {
    pub(super) fn to_text(&self) -> Result<String> {
        let Self {
            ban,
            list,
            settings,
            warnings,
            others,
            added,
            removed,
        } = self;
        serde_json::to_string(&AnswerRow {
            ban: ban.as_ref().map(BanRow::of),
            list: list.as_ref().map(ListRow::of),
            settings: settings.as_ref().map(SettingsRow::of),
            warnings: warnings.clone(),
            others: others.iter().map(|ban| hex(ban.bytes())).collect(),
            added: added.clone(),
            removed: removed.clone(),
        })
        .map_err(|_| StoreError::Corrupt("an answer that cannot be written down"))
    }

    pub(super) fn from_text(text: &str, tenant: &TenantId) -> Result<Self> {
        let row: AnswerRow =
            serde_json::from_str(text).map_err(|_| StoreError::Corrupt("a remembered answer"))?;
        let AnswerRow {
            ban,
            list,
            settings,
            warnings,
            others,
            added,
            removed,
        } = row;
        Ok(Self {
            ban: ban.map(|row| row.into_ban(tenant)).transpose()?,
            list: list.map(ListRow::into_list).transpose()?,
            settings: settings.map(SettingsRow::into_settings).transpose()?,
            warnings,
            others: others
                .iter()
                .map(|text| ban_id(&bytes(text)?))
                .collect::<Result<_>>()?,
            added,
            removed,
        })
    }
}

/// A ban with its targets, and the readable forms of its keys.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BanRow {
    pub(super) ban_id: String,
    list_id: Option<String>,
    generation: u32,
    channels: u16,
    match_kind: i32,
    reason: String,
    reason_code: String,
    enforcement: i32,
    origin: i32,
    start_at: Option<i64>,
    expire_at: Option<i64>,
    ended: i32,
    created_at: i64,
    updated_at: i64,
    created_by: String,
    deactivated_at: Option<i64>,
    deactivated_by: String,
    deactivate_reason: String,
    source_interaction: String,
    source_queue: String,
    parent: Option<String>,
    import_id: String,
    likeness: String,
    version: i64,
    targets: Vec<TargetRow>,
    key_texts: Vec<(usize, Option<String>)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct TargetRow {
    kind: i32,
    input: String,
    canonical: String,
    issuer: String,
    version: u16,
}

/// A key of a ban in the one JSON parameter of a chunk.
#[derive(Debug, Serialize)]
pub(super) struct KeyRow {
    ban_id: String,
    ordinal: usize,
    position: u8,
    space: u8,
    width: u8,
    match_key: String,
    kind: u8,
    matches: u8,
    key_text: String,
    version: u16,
}

/// A target of a ban in the one JSON parameter of a chunk.
#[derive(Debug, Serialize)]
pub(super) struct NewTargetRow {
    ban_id: String,
    position: usize,
    #[serde(flatten)]
    target: TargetRow,
}

impl BanRow {
    fn of(ban: &Ban) -> Self {
        Self {
            ban_id: hex(ban.ban_id.bytes()),
            list_id: ban.list_id.as_ref().map(|list| list.as_str().to_owned()),
            generation: 0,
            channels: ban.channels.bits(),
            match_kind: ban.match_kind as i32,
            reason: ban.reason.clone(),
            reason_code: ban.reason_code.clone(),
            enforcement: ban.enforcement as i32,
            origin: ban.origin as i32,
            start_at: ban.start.map(Timestamp::micros),
            expire_at: ban.expire.map(Timestamp::micros),
            ended: i32::from(ban.ended),
            created_at: ban.created.micros(),
            updated_at: ban.updated.micros(),
            created_by: ban.created_by.clone(),
            deactivated_at: ban.deactivated.map(Timestamp::micros),
            deactivated_by: ban.deactivated_by.clone(),
            deactivate_reason: ban.deactivate_reason.clone(),
            source_interaction: ban.source_interaction.clone(),
            source_queue: ban.source_queue.clone(),
            parent: ban.parent.map(|parent| hex(parent.bytes())),
            import_id: ban.import_id.clone(),
            likeness: String::new(),
            version: ban.version,
            targets: ban.targets.iter().map(TargetRow::of).collect(),
            key_texts: ban
                .targets
                .iter()
                .enumerate()
                .flat_map(|(at, target)| {
                    target.match_keys.iter().map(move |t| (at, Some(t.clone())))
                })
                .collect(),
        }
    }

    pub(super) fn of_new(new: &NewBan) -> Self {
        Self {
            generation: new.generation,
            likeness: hex(&new.likeness),
            ..Self::of(&new.ban)
        }
    }

    pub(super) fn read(row: &AnyRow) -> Result<Self> {
        let json = |column| -> Result<String> { Ok(row.try_get::<String, _>(column)?) };
        Ok(Self {
            ban_id: hex(&row.try_get::<Vec<u8>, _>("ban_id")?),
            list_id: row.try_get("list_id")?,
            generation: 0,
            channels: number(row, "channels")?,
            match_kind: number(row, "match_kind")?,
            reason: row.try_get("reason")?,
            reason_code: row.try_get("reason_code")?,
            enforcement: number(row, "enforcement")?,
            origin: number(row, "origin")?,
            start_at: row.try_get("start_at")?,
            expire_at: row.try_get("expire_at")?,
            ended: number(row, "ended")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            created_by: row.try_get("created_by")?,
            deactivated_at: row.try_get("deactivated_at")?,
            deactivated_by: row.try_get("deactivated_by")?,
            deactivate_reason: row.try_get("deactivate_reason")?,
            source_interaction: row.try_get("source_interaction")?,
            source_queue: row.try_get("source_queue")?,
            parent: row
                .try_get::<Option<Vec<u8>>, _>("parent")?
                .map(|parent| hex(&parent)),
            import_id: row.try_get("import_id")?,
            likeness: String::new(),
            version: row.try_get("version")?,
            targets: from_json(&json("targets")?)?,
            key_texts: from_json::<Vec<(usize, Option<String>)>>(&json("key_texts")?)?,
        })
    }

    pub(super) fn into_ban(self, tenant: &TenantId) -> Result<Ban> {
        let mut targets = self
            .targets
            .into_iter()
            .map(TargetRow::into_target)
            .collect::<Result<Vec<_>>>()?;
        for (at, text) in self.key_texts {
            if let (Some(target), Some(text)) = (targets.get_mut(at), text) {
                target.match_keys.push(text);
            }
        }
        Ok(Ban {
            ban_id: ban_id(&bytes(&self.ban_id)?)?,
            tenant: tenant.clone(),
            list_id: self.list_id.as_deref().map(list_id).transpose()?,
            channels: Channels::from_bits(self.channels),
            targets,
            match_kind: known(MatchKind::from_number(self.match_kind), "a match kind")?,
            reason: self.reason,
            reason_code: self.reason_code,
            enforcement: known(Enforcement::from_number(self.enforcement), "an enforcement")?,
            origin: known(Origin::from_number(self.origin), "an origin")?,
            start: self.start_at.map(Timestamp::from_micros),
            expire: self.expire_at.map(Timestamp::from_micros),
            ended: self.ended != 0,
            created: Timestamp::from_micros(self.created_at),
            updated: Timestamp::from_micros(self.updated_at),
            created_by: self.created_by,
            deactivated: self.deactivated_at.map(Timestamp::from_micros),
            deactivated_by: self.deactivated_by,
            deactivate_reason: self.deactivate_reason,
            source_interaction: self.source_interaction,
            source_queue: self.source_queue,
            parent: self
                .parent
                .as_deref()
                .map(|parent| ban_id(&bytes(parent)?))
                .transpose()?,
            import_id: self.import_id,
            version: self.version,
        })
    }
}

impl TargetRow {
    fn of(target: &Target) -> Self {
        Self {
            kind: target.kind as i32,
            input: target.input.clone(),
            canonical: target.canonical.clone(),
            issuer: target.issuer.clone(),
            version: target.canonicaliser_version,
        }
    }

    fn into_target(self) -> Result<Target> {
        Ok(Target {
            kind: known(IdentityKind::from_number(self.kind), "an identity kind")?,
            input: self.input,
            canonical: self.canonical,
            issuer: self.issuer,
            canonicaliser_version: self.version,
            match_keys: Vec::new(),
        })
    }
}

/// The targets and keys of a new ban, as they enter the store.
pub(super) fn parts(new: &NewBan) -> (Vec<NewTargetRow>, Vec<KeyRow>) {
    let ban_id = hex(new.ban.ban_id.bytes());
    let targets = new
        .ban
        .targets
        .iter()
        .enumerate()
        .map(|(position, target)| NewTargetRow {
            ban_id: ban_id.clone(),
            position,
            target: TargetRow::of(target),
        });
    let keys = new
        .keys
        .iter()
        .enumerate()
        .map(|(ordinal, (position, key, text))| KeyRow {
            ban_id: ban_id.clone(),
            ordinal,
            position: *position,
            space: key.space as u8,
            width: key.width,
            match_key: hex(&key.key.bits().to_be_bytes()),
            kind: key.kind as u8,
            matches: key.matches as u8,
            key_text: text.clone(),
            version: crate::domain::identity::CANONICALISER_VERSION,
        });
    (targets.collect(), keys.collect())
}

/// A key as a view needs it.
pub(super) fn match_key(row: &AnyRow) -> Result<MatchKey> {
    let space = match number::<i32>(row, "space")? {
        1 => Space::Digest,
        2 => Space::Range,
        _ => return Err(StoreError::Corrupt("the space of a key")),
    };
    Ok(MatchKey {
        space,
        width: number(row, "width")?,
        key: key(row.try_get::<&[u8], _>("match_key")?)?,
        kind: known(
            IdentityKind::from_number(number(row, "kind")?),
            "an identity kind",
        )?,
        matches: known(
            MatchKind::from_number(number(row, "matches")?),
            "a match kind",
        )?,
    })
}

pub(super) fn key(bytes: &[u8]) -> Result<Key> {
    let bytes = bytes
        .try_into()
        .map_err(|_| StoreError::Corrupt("the length of a key"))?;
    Ok(Key::from(u128::from_be_bytes(bytes)))
}

/// A list as stored, but for its queues.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ListRow {
    list_id: String,
    pub(super) generation: u32,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) default_timeout_text: String,
    pub(super) webchat_ban_type: i32,
    pub(super) ban_contact_phones: i32,
    pub(super) treatment: Option<i32>,
    pub(super) enforcement: i32,
    pub(super) enforce_outbound: i32,
    pub(super) repeat_ladder: String,
    pub(super) version: i64,
    queues: Vec<String>,
}

impl ListRow {
    pub(super) fn of(list: &BanList) -> Self {
        let ladder: Vec<String> = list.repeat_ladder.iter().map(ToString::to_string).collect();
        Self {
            list_id: list.list_id.as_str().to_owned(),
            generation: list.generation,
            title: list.title.clone(),
            description: list.description.clone(),
            default_timeout_text: list.default_timeout_text.clone(),
            webchat_ban_type: list.webchat_ban_type as i32,
            ban_contact_phones: i32::from(list.ban_contact_phones),
            treatment: list.treatment.map(|treatment| treatment as i32),
            enforcement: list.enforcement as i32,
            enforce_outbound: i32::from(list.enforce_outbound),
            repeat_ladder: ladder.join("; "),
            version: list.version,
            queues: list.queues.iter().cloned().collect(),
        }
    }

    pub(super) fn read(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            list_id: row.try_get("list_id")?,
            generation: number(row, "generation")?,
            title: row.try_get("title")?,
            description: row.try_get("description")?,
            default_timeout_text: row.try_get("default_timeout_text")?,
            webchat_ban_type: number(row, "webchat_ban_type")?,
            ban_contact_phones: number(row, "ban_contact_phones")?,
            treatment: treatment_number(row)?,
            enforcement: number(row, "enforcement")?,
            enforce_outbound: number(row, "enforce_outbound")?,
            repeat_ladder: row.try_get("repeat_ladder")?,
            version: row.try_get("version")?,
            queues: from_json(&row.try_get::<String, _>("queues")?)?,
        })
    }

    pub(super) fn into_list(self) -> Result<BanList> {
        Ok(BanList {
            list_id: list_id(&self.list_id)?,
            generation: self.generation,
            title: self.title,
            description: self.description,
            default_timeout_text: self.default_timeout_text,
            webchat_ban_type: known(
                WebchatBanType::from_number(self.webchat_ban_type),
                "a web chat ban type",
            )?,
            ban_contact_phones: self.ban_contact_phones != 0,
            treatment: treatment(self.treatment)?,
            enforcement: known(Enforcement::from_number(self.enforcement), "an enforcement")?,
            enforce_outbound: self.enforce_outbound != 0,
            repeat_ladder: self
                .repeat_ladder
                .split("; ")
                .filter(|step| !step.is_empty())
                .map(|step| CalendarPeriod::from_str(step).ok())
                .collect::<Option<_>>()
                .ok_or(StoreError::Corrupt("a repeat ladder"))?,
            queues: self.queues.into_iter().collect(),
            version: self.version,
        })
    }
}

/// What a view needs of a list, deleted ones included.
pub(super) fn list_record(row: &AnyRow) -> Result<ListRecord> {
    Ok(ListRecord {
        list_id: list_id(&row.try_get::<String, _>("list_id")?)?,
        generation: number(row, "generation")?,
        deleted: number::<i32>(row, "deleted")? != 0,
        treatment: treatment(treatment_number(row)?)?,
        enforcement: known(
            Enforcement::from_number(number(row, "enforcement")?),
            "an enforcement",
        )?,
        enforce_outbound: number::<i32>(row, "enforce_outbound")? != 0,
        queues: from_json(&row.try_get::<String, _>("queues")?)?,
    })
}

fn treatment_number(row: &AnyRow) -> Result<Option<i32>> {
    let stored: Option<i64> = row.try_get("treatment")?;
    stored
        .map(|t| i32::try_from(t).map_err(|_| StoreError::Corrupt("a treatment")))
        .transpose()
}

fn treatment(number: Option<i32>) -> Result<Option<Treatment>> {
    number
        .map(|number| known(Treatment::from_number(number), "a treatment"))
        .transpose()
}

/// A tenant's settings as stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SettingsRow {
    pub(super) display_name: String,
    pub(super) operator_banning_enabled: i32,
    pub(super) default_region: String,
    pub(super) time_zone: String,
    pub(super) failure_mode: i32,
    pub(super) default_record_to: String,
    pub(super) ended_ban_retention_days: u32,
    pub(super) email_fold: i32,
    pub(super) ipv6_prefix: u8,
    pub(super) version: i64,
}

impl SettingsRow {
    pub(super) fn of(settings: &TenantSettings) -> Self {
        let record_to: serde_json::Value = settings
            .default_record_to
            .iter()
            .map(|(channel, to)| serde_json::json!([*channel as u8, *to as i32]))
            .collect();
        Self {
            display_name: settings.display_name.clone(),
            operator_banning_enabled: i32::from(settings.operator_banning_enabled),
            default_region: settings.default_region.clone(),
            time_zone: settings.time_zone.name().to_owned(),
            failure_mode: settings.failure_mode as i32,
            default_record_to: record_to.to_string(),
            ended_ban_retention_days: settings.ended_ban_retention_days,
            email_fold: i32::from(settings.email_fold),
            ipv6_prefix: settings.ipv6_prefix,
            version: settings.version,
        }
    }

    pub(super) fn read(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            display_name: row.try_get("display_name")?,
            operator_banning_enabled: number(row, "operator_banning_enabled")?,
            default_region: row.try_get("default_region")?,
            time_zone: row.try_get("time_zone")?,
            failure_mode: number(row, "failure_mode")?,
            default_record_to: row.try_get("default_record_to")?,
            ended_ban_retention_days: number(row, "ended_ban_retention_days")?,
            email_fold: number(row, "email_fold")?,
            ipv6_prefix: number(row, "ipv6_prefix")?,
            version: row.try_get("version")?,
        })
    }

    pub(super) fn into_settings(self) -> Result<TenantSettings> {
        let record_to: Vec<(i32, i32)> = from_json(&self.default_record_to)?;
        Ok(TenantSettings {
            display_name: self.display_name,
            operator_banning_enabled: self.operator_banning_enabled != 0,
            default_region: self.default_region,
            time_zone: self
                .time_zone
                .parse()
                .map_err(|_| StoreError::Corrupt("a time zone"))?,
            failure_mode: known(
                FailureMode::from_number(self.failure_mode),
                "a failure mode",
            )?,
            default_record_to: record_to
                .into_iter()
                .map(|(channel, to)| Channel::from_number(channel).zip(RecordTo::from_number(to)))
                .collect::<Option<_>>()
                .ok_or(StoreError::Corrupt("where bans are recorded"))?,
            ended_ban_retention_days: self.ended_ban_retention_days,
            email_fold: self.email_fold != 0,
            ipv6_prefix: self.ipv6_prefix,
            version: self.version,
        })
    }
}

/// What a view needs of a tenant.
pub(super) fn tenant_record(row: &AnyRow) -> Result<TenantRecord> {
    Ok(TenantRecord {
        failure_mode: known(
            FailureMode::from_number(number(row, "failure_mode")?),
            "a failure mode",
        )?,
        default_region: row.try_get("default_region")?,
        email_fold: number::<i32>(row, "email_fold")? != 0,
        deleted: number::<i32>(row, "deleted")? != 0,
    })
}

pub(super) fn number<T: TryFrom<i64>>(row: &AnyRow, column: &str) -> Result<T> {
    let number: i64 = row.try_get(column)?;
    T::try_from(number).map_err(|_| StoreError::Corrupt("a number out of range"))
}

pub(super) fn known<T>(found: Option<T>, what: &'static str) -> Result<T> {
    found.ok_or(StoreError::Corrupt(what))
}

pub(super) fn ban_id(bytes: &[u8]) -> Result<BanId> {
    let bytes = bytes
        .try_into()
        .map_err(|_| StoreError::Corrupt("the length of a ban id"))?;
    Ok(BanId::from_bytes(bytes))
}

fn list_id(text: &str) -> Result<ListId> {
    known(ListId::parse(text), "a list id")
}

pub(super) fn tenant_id(text: &str) -> Result<TenantId> {
    known(TenantId::parse(text), "a tenant id")
}

fn from_json<T: for<'a> Deserialize<'a>>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("a JSON column"))
}

/// Rows as the one JSON parameter of a statement.
pub(super) fn to_json<T: Serialize>(rows: &T) -> Result<String> {
    serde_json::to_string(rows).map_err(|_| StoreError::Corrupt("rows that cannot be written down"))
}

fn bytes(text: &str) -> Result<Vec<u8>> {
    known(unhex(text), "hexadecimal digits")
}
