//! Rows, and the things they stand for.
//!
//! A ban row travels in three ways, and has one shape for all of them: decoded from a result, as
//! part of the one JSON parameter that brings a chunk in, and inside a remembered answer.

#[macro_use]
mod entering;

mod access;
mod ban;
mod bulk;
mod config;
mod exception;
mod filed;
mod queue;

use serde::{Deserialize, Serialize};
use sqlx::{Row, any::AnyRow};

use self::bulk::TallyRow;
#[cfg(test)]
pub(super) use self::queue::FormRow;
pub(super) use self::{
    access::{ApiKeyRow, GrantRow, PrincipalRow, grants_text, key_record, principal},
    ban::{
        BanRow, KeyRow, LikenessRow, NewBanRow, NewTargetRow, TargetRow, key, key_rows,
        number_from, parts, target_row,
    },
    bulk::{EventRow, RenewalRow, SpotRow},
    config::{ListRow, SettingsRow, list_record, tenant_record},
    entering::{Cell, Entering, entering},
    exception::{ExceptionRow, ProtectionRow, exception_records, lifted},
    filed::{BanColumns, KeyColumns, filed, ids},
    queue::{PolicyRow, at_queue, ban_rights, forms, queue_record},
};
use super::{Matched, Result, StoreError};
use crate::domain::{
    access::{ApiKey, Principal},
    ban::Ban,
    erasure::Erased,
    exception::{Exception, Protection},
    hex::{hex, unhex},
    identity::MatchKind,
    ids::{BanId, ExceptionId, ListId, TenantId},
    import::Tally,
    keys::MatchKey,
    list::{BanList, Treatment},
    policy::TenantSettings,
    queue::QueuePolicy,
    view::index::Key,
};

entering! {
    /// How often a ban has matched, in the one JSON parameter of a chunk.
    pub(super) struct MatchRow {
        tenant: String,
        ban_id: String,
        matches: u64,
        last_at: i64,
    }
}

impl MatchRow {
    pub(super) fn of(matched: &Matched) -> Self {
        Self {
            tenant: matched.tenant.as_str().to_owned(),
            ban_id: hex(matched.ban.bytes()),
            matches: matched.count,
            last_at: matched.last.micros(),
        }
    }
}

/// A ban to be kept, with all that it is found by.
#[derive(Clone, Debug)]
pub struct NewBan {
    /// The ban.
    pub ban: Ban,
    /// The generation of its list; 0 without one.
    pub generation: u32,
    /// One digest of list, match kind, enforcement, channels and targets.
    pub likeness: [u8; 16],
    /// Its keys: of which target, the key, and its readable form.
    pub keys: Vec<(u8, MatchKey, String)>,
    /// What it would be known by under the other master keys of the ring.
    pub elsewhere: Elsewhere,
}

/// By what a ban in being is known that is like some other: it has one of these likenesses, and one of these
/// keys.
#[derive(Clone, Debug)]
pub struct Alike {
    /// The likeness under the current key.
    pub current: [u8; 16],
    /// The same under the other keys of the ring.
    pub others: Vec<[u8; 16]>,
    /// What bans on one of its targets are found by in that one's own name, under each.
    pub keys: Vec<Key>,
}

impl Alike {
    pub(super) fn likenesses(&self) -> impl Iterator<Item = &[u8; 16]> {
        std::iter::once(&self.current).chain(&self.others)
    }
}

impl NewBan {
    /// By what one is known that is like it.
    pub fn alike(&self) -> Alike {
        let keys = self.keys.iter().map(|(_, key, _)| key);
        let keys = keys.chain(self.elsewhere.keys.iter().map(|(_, key)| key));
        let own = keys.filter(|key| key.matches != MatchKind::Alias);
        Alike {
            current: self.likeness,
            others: self.elsewhere.likenesses.clone(),
            keys: own.map(|key| key.key).collect(),
        }
    }
}

/// What a ban is known by where it was made under a master key that is not the current one: nothing
/// where there is no other.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    /// What makes another ban the same.
    pub likenesses: Vec<[u8; 16]>,
    /// What another ban on one of its targets is found by.
    pub keys: Vec<(u8, MatchKey)>,
}

/// What became of a ban that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is kept.
    Made,
    /// One just like it stands (S-10).
    Alike(BanId),
}

/// What a write answered, as it is remembered under the request's id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The ban that was written.
    pub ban: Option<Ban>,
    /// The bans that were carried over from it, or stood already in their stead.
    pub cascade: Vec<Ban>,
    /// What to do with the interaction that the ban was made from.
    pub treatment: Option<Treatment>,
    /// The queue's policy that was written.
    pub queue: Option<QueuePolicy>,
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
    /// What became of an import, or of a part of it.
    pub tally: Option<Tally>,
    /// How many things were changed together.
    pub count: u64,
    /// The exception that was written.
    pub exception: Option<Exception>,
    /// The built-in protection that was lifted or put back.
    pub protection: Option<Protection>,
    /// How many bans it overrides.
    pub overridden: u64,
    /// Bans that were left as they were, each with the reason.
    pub skipped: Vec<(BanId, String)>,
    /// The principal that was written.
    pub principal: Option<Principal>,
    /// The key that was made or ended.
    pub api_key: Option<ApiKey>,
    /// The key that it takes the place of.
    pub replaced_key: Option<ApiKey>,
    /// What was erased.
    pub erased: Option<Erased>,
}

#[derive(Serialize, Deserialize)]
struct AnswerRow {
    ban: Option<BanRow>,
    #[serde(default)]
    cascade: Vec<BanRow>,
    #[serde(default)]
    treatment: Option<i32>,
    #[serde(default)]
    queue: Option<PolicyRow>,
    list: Option<ListRow>,
    settings: Option<SettingsRow>,
    warnings: Vec<(u32, String)>,
    others: Vec<String>,
    added: Vec<String>,
    removed: Vec<String>,
    #[serde(default)]
    tally: Option<TallyRow>,
    #[serde(default)]
    count: u64,
    // An answer of an earlier version may be remembered still.
    #[serde(default)]
    exception: Option<ExceptionRow>,
    #[serde(default)]
    protection: Option<ProtectionRow>,
    #[serde(default)]
    overridden: u64,
    #[serde(default)]
    skipped: Vec<(String, String)>,
    #[serde(default)]
    principal: Option<PrincipalRow>,
    #[serde(default)]
    api_key: Option<ApiKeyRow>,
    #[serde(default)]
    replaced_key: Option<ApiKeyRow>,
    /// Bans gone, bans kept, events without their words.
    #[serde(default)]
    erased: Option<(u64, u64, u64)>,
}

impl Answer {
    pub(super) fn to_text(&self) -> Result<String> {
        let Self {
            ban,
            cascade,
            treatment,
            queue,
            list,
            settings,
            warnings,
            others,
            added,
            removed,
            tally,
            count,
            exception,
            protection,
            overridden,
            skipped,
            principal,
            api_key,
            replaced_key,
            erased,
        } = self;
        serde_json::to_string(&AnswerRow {
            ban: ban.as_ref().map(BanRow::of),
            cascade: cascade.iter().map(BanRow::of).collect(),
            treatment: treatment.map(|treatment| treatment as i32),
            queue: queue.as_ref().map(PolicyRow::of),
            list: list.as_ref().map(ListRow::of),
            settings: settings.as_ref().map(SettingsRow::of),
            warnings: warnings.clone(),
            others: others.iter().map(|ban| hex(ban.bytes())).collect(),
            added: added.clone(),
            removed: removed.clone(),
            tally: tally.as_ref().map(TallyRow::of),
            count: *count,
            exception: exception.as_ref().map(ExceptionRow::of),
            protection: protection.as_ref().map(ProtectionRow::of),
            overridden: *overridden,
            skipped: skipped
                .iter()
                .map(|(ban, why)| (hex(ban.bytes()), why.clone()))
                .collect(),
            principal: principal.as_ref().map(PrincipalRow::of),
            api_key: api_key.as_ref().map(ApiKeyRow::of),
            replaced_key: replaced_key.as_ref().map(ApiKeyRow::of),
            erased: erased.map(|all| (all.bans, all.kept, all.events)),
        })
        .map_err(|_| StoreError::Corrupt("an answer that cannot be written down"))
    }

    pub(super) fn from_text(text: &str, tenant: &TenantId) -> Result<Self> {
        let row: AnswerRow =
            serde_json::from_str(text).map_err(|_| StoreError::Corrupt("a remembered answer"))?;
        let AnswerRow {
            ban,
            cascade,
            treatment,
            queue,
            list,
            settings,
            warnings,
            others,
            added,
            removed,
            tally,
            count,
            exception,
            protection,
            overridden,
            skipped,
            principal,
            api_key,
            replaced_key,
            erased,
        } = row;
        Ok(Self {
            ban: ban.map(|row| row.into_ban(tenant)).transpose()?,
            cascade: cascade
                .into_iter()
                .map(|row| row.into_ban(tenant))
                .collect::<Result<_>>()?,
            treatment: treatment
                .map(|number| known(Treatment::from_number(number), "a treatment"))
                .transpose()?,
            queue: queue.map(PolicyRow::into_policy).transpose()?,
            list: list.map(ListRow::into_list).transpose()?,
            settings: settings.map(SettingsRow::into_settings).transpose()?,
            warnings,
            others: others
                .iter()
                .map(|text| ban_id(&bytes(text)?))
                .collect::<Result<_>>()?,
            added,
            removed,
            tally: tally.map(TallyRow::into_tally).transpose()?,
            count,
            exception: exception.map(ExceptionRow::into_exception).transpose()?,
            protection: protection.map(ProtectionRow::into_protection),
            overridden,
            skipped: skipped
                .into_iter()
                .map(|(ban, why)| Ok((ban_id(&bytes(&ban)?)?, why)))
                .collect::<Result<_>>()?,
            principal: principal.map(PrincipalRow::into_principal).transpose()?,
            api_key: api_key.map(ApiKeyRow::into_key).transpose()?,
            replaced_key: replaced_key.map(ApiKeyRow::into_key).transpose()?,
            erased: erased.map(|(bans, kept, events)| Erased { bans, kept, events }),
        })
    }
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

pub(super) fn exception_id(bytes: &[u8]) -> Result<ExceptionId> {
    let bytes = bytes
        .try_into()
        .map_err(|_| StoreError::Corrupt("the length of an exception's id"))?;
    Ok(ExceptionId::from_bytes(bytes))
}

fn list_id(text: &str) -> Result<ListId> {
    known(ListId::parse(text), "a list id")
}

pub(super) fn tenant_id(text: &str) -> Result<TenantId> {
    known(TenantId::parse(text), "a tenant id")
}

pub(super) fn from_json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("a JSON column"))
}

/// Values as the one JSON parameter of a statement.
pub(super) fn to_json<T: Serialize + ?Sized>(rows: &T) -> Result<String> {
    serde_json::to_string(rows).map_err(|_| StoreError::Corrupt("rows that cannot be written down"))
}

/// Match keys of a JSON array of hexadecimal digits.
pub(super) fn match_keys(text: &str) -> Result<Vec<Key>> {
    let texts: Vec<String> = from_json(text)?;
    let key = |text: &String| {
        let bits = bytes(text)?.try_into();
        let bits = bits.map_err(|_| StoreError::Corrupt("the length of a match key"))?;
        Ok(Key::from_bits(u128::from_be_bytes(bits)))
    };
    texts.iter().map(key).collect()
}

pub(super) fn bytes(text: &str) -> Result<Vec<u8>> {
    known(unhex(text), "hexadecimal digits")
}
