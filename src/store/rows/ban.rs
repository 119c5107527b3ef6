//! Rows of bans, their targets and their keys.

use serde::{Deserialize, Serialize};
use sqlx::{Row, any::AnyRow};

use super::{ban_id, bytes, from_json, known, list_id, number};
use crate::{
    domain::{
        ban::{Ban, Enforcement, Origin, Target},
        channel::Channels,
        clock::Timestamp,
        hex::hex,
        identity::{CANONICALISER_VERSION, IdentityKind, MatchKind},
        ids::TenantId,
        keys::{self, MatchKey, Space},
        view::index::Key,
    },
    store::{NewBan, Result, StoreError},
};

/// A ban with its targets, and the readable forms of its keys. An export has it as an array, its parts
/// in this order.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct BanRow {
    pub(in crate::store) ban_id: String,
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
    version: i64,
    pub(in crate::store) targets: Vec<TargetRow>,
    pub(in crate::store) key_texts: Vec<(usize, Option<String>)>,
    #[serde(default)]
    match_count: i64,
    #[serde(default)]
    last_match_at: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct TargetRow {
    kind: i32,
    input: String,
    canonical: String,
    issuer: String,
    version: u16,
}

entering! {
    /// A ban in the one JSON parameter of a chunk, its targets and keys apart.
    pub(in crate::store) struct NewBanRow {
        ban_id: String,
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
        source_interaction: String,
        source_queue: String,
        parent: Option<String>,
        import_id: String,
        likeness: String,
        version: i64,
    }

    /// A target of a ban in the one JSON parameter of a chunk.
    pub(in crate::store) struct NewTargetRow {
        ban_id: String,
        position: usize,
        kind: i32,
        input: String,
        canonical: String,
        issuer: String,
        version: u16,
    }

    /// A key of a ban in the one JSON parameter of a chunk.
    pub(in crate::store) struct KeyRow {
        ban_id: String,
        ordinal: usize,
        position: u8,
        space: u8,
        width: u8,
        match_key: String,
        kind: u8,
        matches: u8,
        key_text: String,
        place: Option<String>,
        version: u16,
    }

    /// What a ban is like now, in the one JSON parameter of a chunk.
    pub(in crate::store) struct LikenessRow {
        ban_id: String,
        likeness: String,
    }
}

impl LikenessRow {
    pub(in crate::store) fn of(new: &NewBan) -> Self {
        Self {
            ban_id: hex(new.ban.ban_id.bytes()),
            likeness: hex(&new.likeness),
        }
    }
}

impl NewBanRow {
    pub(in crate::store) fn of(new: &NewBan) -> Self {
        let ban = &new.ban;
        Self {
            ban_id: hex(ban.ban_id.bytes()),
            list_id: ban.list_id.as_ref().map(|list| list.as_str().to_owned()),
            generation: new.generation,
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
            source_interaction: ban.source_interaction.clone(),
            source_queue: ban.source_queue.clone(),
            parent: ban.parent.map(|parent| hex(parent.bytes())),
            import_id: ban.import_id.clone(),
            likeness: hex(&new.likeness),
            version: ban.version,
        }
    }
}

impl BanRow {
    pub(super) fn of(ban: &Ban) -> Self {
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
            match_count: i64::try_from(ban.match_count).unwrap_or(i64::MAX),
            last_match_at: ban.last_match.map(Timestamp::micros),
        }
    }

    pub(in crate::store) fn read(row: &AnyRow) -> Result<Self> {
        let json = |column| -> Result<String> { Ok(row.try_get::<String, _>(column)?) };
        let read = Self {
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
            version: row.try_get("version")?,
            targets: from_json(&json("targets")?)?,
            key_texts: from_json(&json("key_texts")?)?,
            match_count: row
                .try_get::<Option<i64>, _>("match_count")?
                .unwrap_or_default(),
            last_match_at: row.try_get("last_match_at")?,
        };
        let dropped: Option<i64> = row.try_get("dropped_at")?;
        let Some(dropped) = dropped else {
            return Ok(read);
        };
        // As it will be once it is marked, which may take a while where there are very many.
        Ok(Self {
            ended: 1,
            deactivated_at: Some(dropped),
            deactivated_by: row.try_get("dropped_by")?,
            deactivate_reason: row.try_get("dropped_why")?,
            updated_at: dropped,
            version: read.version + 1,
            ..read
        })
    }

    pub(in crate::store) fn into_ban(self, tenant: &TenantId) -> Result<Ban> {
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
            match_count: u64::try_from(self.match_count).unwrap_or_default(),
            last_match: self.last_match_at.map(Timestamp::from_micros),
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
pub(in crate::store) fn parts(new: &NewBan) -> (Vec<NewTargetRow>, Vec<KeyRow>) {
    let id = new.ban.ban_id.bytes();
    let targets = new.ban.targets.iter().enumerate();
    let targets = targets.map(|(position, target)| target_row(id, position, target));
    let version_of = |position: u8| {
        let target = new.ban.targets.get(usize::from(position));
        target.map_or(0, |target| target.canonicaliser_version)
    };
    let mut keys = key_rows(id, 0, &new.keys);
    for key in &mut keys {
        key.version = version_of(key.position);
    }
    (targets.collect(), keys)
}

/// A target of a ban or an exception, as it enters the store.
pub(in crate::store) fn target_row(
    id: &[u8; 16],
    position: usize,
    target: &Target,
) -> NewTargetRow {
    NewTargetRow {
        ban_id: hex(id),
        position,
        kind: target.kind as i32,
        input: target.input.clone(),
        canonical: target.canonical.clone(),
        issuer: target.issuer.clone(),
        version: target.canonicaliser_version,
    }
}

/// The keys of a ban or an exception, as they enter the store, numbered from `first` on.
pub(in crate::store) fn key_rows(
    id: &[u8; 16],
    first: usize,
    keys: &[(u8, MatchKey, String)],
) -> Vec<KeyRow> {
    let row = |(ordinal, (position, key, text)): (usize, &(u8, MatchKey, String))| KeyRow {
        ban_id: hex(id),
        ordinal,
        position: *position,
        space: key.space as u8,
        width: key.width,
        match_key: hex(&key.key.bits().to_be_bytes()),
        kind: key.kind as u8,
        matches: key.matches as u8,
        key_text: text.clone(),
        place: keys::place(key.kind, text),
        version: CANONICALISER_VERSION,
    };
    (first..).zip(keys).map(row).collect()
}

/// Numbers keys from another number on.
pub(in crate::store) fn number_from(keys: &mut [KeyRow], first: usize) {
    for key in keys {
        key.ordinal += first;
    }
}

impl NewTargetRow {
    /// Which of the ban's targets it is.
    pub(in crate::store) const fn position(&self) -> usize {
        self.position
    }
}

/// A key as a view needs it.
pub(super) fn match_key(row: &AnyRow) -> Result<MatchKey> {
    Ok(MatchKey {
        space: space(number(row, "space")?)?,
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

pub(super) fn space(number: i32) -> Result<Space> {
    match number {
        1 => Ok(Space::Digest),
        2 => Ok(Space::Range),
        _ => Err(StoreError::Corrupt("the space of a key")),
    }
}

pub(in crate::store) fn key(bytes: &[u8]) -> Result<Key> {
    let bytes = bytes
        .try_into()
        .map_err(|_| StoreError::Corrupt("the length of a key"))?;
    Ok(Key::from(u128::from_be_bytes(bytes)))
}
