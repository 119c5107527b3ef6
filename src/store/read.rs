//! What can be asked of a store about bans and events, besides one by its id.

mod aged;
mod exceptions;

use std::collections::HashMap;

use sqlx::{
    Any, Row,
    any::{AnyArguments, AnyRow},
    query::Query,
};

pub use self::{
    aged::Aged,
    exceptions::{ExceptionFilter, ExceptionStore},
};
pub(super) use self::{
    aged::{Present, aged_bans},
    exceptions::{concerning_exceptions, exception_news},
};
use super::{
    Event, Result, StoreError, ids, load,
    pool::{Lent, Pool, Whose},
    rows::{self, BanRow, number},
    sql::{self, Statements},
};
use crate::domain::{
    ban::{Ban, Origin, State},
    channel::Channels,
    clock::Timestamp,
    hex::hex,
    ids::{BanId, ListId, TenantId},
    record::BanRecord,
    revision::{Anchor, Nonce, Revision},
    view::index::Key,
};

/// In which order bans are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BanOrder {
    /// The newest first.
    #[default]
    Creation,
    /// The one that ends soonest first, permanent ones last.
    Expiry,
}

/// The last ban of a page, after which the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// When the ban ends, as the database has it; after all others where it never does.
    pub end: i64,
    /// The ban's id, by which bans are in the order in which they were made.
    pub ban: BanId,
}

/// Which bans, in which order, from where, how many. Empty parts do not narrow.
#[derive(Clone, Debug, Default)]
pub struct BanFilter {
    /// The states looked for; empty = active ones only (M21).
    pub states: Vec<State>,
    /// The instant at which states are told.
    pub now: Option<Timestamp>,
    /// Bans that hold on one of these.
    pub channels: Channels,
    /// Bans in one of these lists.
    pub lists: Vec<ListId>,
    /// Bans that came about in one of these ways.
    pub origins: Vec<Origin>,
    /// Bans of this import.
    pub import_id: String,
    /// Bans found by one of these keys.
    pub keys: Vec<Key>,
    /// Bans with a target that ends so.
    pub ends_with: String,
    /// Bans whose reason holds this text.
    pub text: String,
    /// Bans that this person made.
    pub created_by: String,
    /// Bans made then or later.
    pub created_from: Option<Timestamp>,
    /// Bans made earlier.
    pub created_to: Option<Timestamp>,
    /// Bans that end earlier.
    pub expire_before: Option<Timestamp>,
    /// In which order.
    pub order: BanOrder,
    /// From where; `None` = from the first.
    pub after: Option<Cursor>,
    /// How many at the most.
    pub limit: i64,
    /// Whether all that match are to be counted as well.
    pub count: bool,
}

/// Some bans, and where to go on.
#[derive(Clone, Debug)]
pub struct BanPage {
    /// The bans.
    pub bans: Vec<Ban>,
    /// The last one, where there may be more.
    pub next: Option<Cursor>,
    /// How many match in all, where that was asked for.
    pub total: Option<i64>,
}

/// Which events, from where, how many.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Of this ban only.
    pub ban: Option<BanId>,
    /// By this actor only.
    pub actor: String,
    /// Then or later.
    pub from: Option<Timestamp>,
    /// Earlier.
    pub to: Option<Timestamp>,
    /// After this event.
    pub after: Option<[u8; 16]>,
    /// How many at the most.
    pub limit: i64,
}

pub(super) type Asked = Query<'static, Any, AnyArguments>;

/// Text in which nothing has a meaning of its own to LIKE.
fn literally(text: &str) -> String {
    text.replace('!', "!!")
        .replace('%', "!%")
        .replace('_', "!_")
}

fn bits(numbers: impl Iterator<Item = i32>) -> i64 {
    numbers.fold(0, |bits, number| bits | 1 << number)
}

/// The states looked for, a bit each; unless told otherwise, active ones.
fn state_bits(states: &[State]) -> i64 {
    let states = if states.is_empty() {
        &[State::Active][..]
    } else {
        states
    };
    bits(states.iter().map(|state| *state as i32))
}

impl BanFilter {
    /// Tells a statement all this, and between which ids the bans are to be, besides.
    pub(super) fn bind(
        &self,
        query: Asked,
        tenant: &TenantId,
        after: Option<Vec<u8>>,
        before: Option<Vec<u8>>,
    ) -> Result<Asked> {
        let (from, to) = ids::made_between(self.created_from, self.created_to);
        let lists: Vec<&str> = self.lists.iter().map(ListId::as_str).collect();
        let ends_with = match self.ends_with.as_str() {
            "" => String::new(),
            ending => format!("%{}", literally(ending)),
        };
        let text = match self.text.as_str() {
            "" => String::new(),
            text => format!("%{}%", literally(text)),
        };
        let keys: Vec<_> = self
            .keys
            .iter()
            .map(|key| hex(&key.bits().to_be_bytes()))
            .collect();
        Ok(query
            .bind(tenant.as_str().to_owned())
            .bind(state_bits(&self.states))
            .bind(self.now.map_or(0, Timestamp::micros))
            .bind(i64::from(self.channels.bits()))
            .bind(rows::to_json(&lists)?)
            .bind(bits(self.origins.iter().map(|origin| *origin as i32)))
            .bind(self.import_id.clone())
            .bind(i64::from(!keys.is_empty()))
            .bind(rows::to_json(&keys)?)
            .bind(ends_with)
            .bind(text)
            .bind(self.created_by.clone())
            .bind(self.created_from.map_or(i64::MIN, Timestamp::micros))
            .bind(self.created_to.map_or(i64::MAX, Timestamp::micros))
            .bind(
                self.expire_before
                    .map_or(-1, |before| before.micros().max(0)),
            )
            .bind(after.unwrap_or(from))
            .bind(before.unwrap_or(to)))
    }
}

/// What a decision needs of these bans, in the order of their ids.
pub(super) async fn records(
    tx: &mut Lent,
    say: &Statements,
    tenant: &TenantId,
    bans: &[BanId],
) -> Result<Vec<BanRecord>> {
    if let Some(records) = load::made_together(tx, say, tenant.as_str(), bans).await? {
        return Ok(records);
    }
    let ids: Vec<String> = bans.iter().map(|ban| hex(ban.bytes())).collect();
    let row = sql::about_many(&say.records, ids.len())
        .bind(tenant.as_str().to_owned())
        .bind(rows::to_json(&ids)?)
        .fetch_one(tx)
        .await?;
    rows::filed(&row)
}

/// The bans filed under one of these keys, each with its record.
pub(super) async fn concerning(
    tx: &mut Lent,
    say: &Statements,
    tenant: &TenantId,
    keys: &[Key],
    limit: i64,
) -> Result<Vec<(Ban, BanRecord)>> {
    let keys: Vec<String> = keys
        .iter()
        .map(|key| hex(&key.bits().to_be_bytes()))
        .collect();
    let found = sqlx::query(say.concerning.clone())
        .bind(tenant.as_str().to_owned())
        .bind(rows::to_json(&keys)?)
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
    let bans = found
        .iter()
        .map(|row| BanRow::read(row)?.into_ban(tenant))
        .collect::<Result<Vec<_>>>()?;
    let ids: Vec<BanId> = bans.iter().map(|ban| ban.ban_id).collect();
    let mut records = records(tx, say, tenant, &ids).await?;
    bans.into_iter()
        .map(|ban| {
            let at = records.iter().position(|record| record.ban == ban.ban_id);
            let at = at.ok_or(StoreError::Corrupt("a ban without keys"))?;
            Ok((ban, records.swap_remove(at)))
        })
        .collect()
}

pub(super) async fn bans(
    readers: &Pool,
    say: &Statements,
    tenant: &TenantId,
    filter: &BanFilter,
) -> Result<BanPage> {
    let mut lent = readers.lend(Whose::Tenant(tenant)).await?;
    let total = if filter.count {
        let text = match filter.keys.as_slice() {
            [] => &say.count_bans,
            _ => &say.count_found,
        };
        let count = filter.bind(sqlx::query(text.clone()), tenant, None, None)?;
        Some(count.fetch_one(&mut lent).await?.try_get("total")?)
    } else {
        None
    };
    let text = match (filter.order, filter.keys.as_slice()) {
        (BanOrder::Creation, []) => &say.bans_newest_first,
        (BanOrder::Expiry, []) => &say.bans_soonest_over,
        (BanOrder::Creation, _) => &say.found_newest_first,
        (BanOrder::Expiry, _) => &say.found_soonest_over,
    };
    let asked = sqlx::query(text.clone());
    let last = filter.after.map(|cursor| cursor.ban.bytes().to_vec());
    let asked = match filter.order {
        BanOrder::Creation => filter.bind(asked, tenant, None, last)?,
        BanOrder::Expiry => filter
            .bind(asked, tenant, None, None)?
            .bind(i64::from(last.is_some()))
            .bind(filter.after.map_or(0, |cursor| cursor.end))
            .bind(last.unwrap_or_default()),
    };
    let found = asked.bind(filter.limit).fetch_all(&mut lent).await?;
    let bans = found
        .iter()
        .map(|row| BanRow::read(row)?.into_ban(tenant))
        .collect::<Result<Vec<_>>>()?;
    let full = i64::try_from(bans.len()).is_ok_and(|found| found == filter.limit);
    let next = bans.last().filter(|_| full).map(|last| Cursor {
        end: last.expire.unwrap_or(Timestamp::MAX).micros(),
        ban: last.ban_id,
    });
    Ok(BanPage { bans, next, total })
}

/// Bans by their ids, in the order of these.
pub(super) async fn bans_of(
    readers: &Pool,
    say: &Statements,
    tenant: &TenantId,
    bans: &[BanId],
) -> Result<Vec<Ban>> {
    let ids: Vec<_> = bans.iter().map(|ban| hex(ban.bytes())).collect();
    let found = sqlx::query(say.bans_of.clone())
        .bind(tenant.as_str().to_owned())
        .bind(rows::to_json(&ids)?)
        .fetch_all(&mut readers.lend(Whose::Tenant(tenant)).await?)
        .await?;
    let mut found = found
        .iter()
        .map(|row| {
            let ban = BanRow::read(row)?.into_ban(tenant)?;
            Ok((ban.ban_id, ban))
        })
        .collect::<Result<HashMap<_, _>>>()?;
    Ok(bans.iter().filter_map(|ban| found.remove(ban)).collect())
}

/// The ids of bans that a filter finds, from one on.
pub(super) async fn ban_ids(
    lent: &mut Lent,
    say: &Statements,
    tenant: &TenantId,
    filter: &BanFilter,
    after: Option<BanId>,
    limit: i64,
) -> Result<Vec<BanId>> {
    let after = after.map(|ban| ban.bytes().to_vec());
    let found = filter
        .bind(sqlx::query(say.ban_ids.clone()), tenant, after, None)?
        .bind(limit)
        .fetch_all(lent)
        .await?;
    found
        .iter()
        .map(|row| rows::ban_id(row.try_get::<&[u8], _>("ban_id")?))
        .collect()
}

pub(super) async fn events(
    readers: &Pool,
    say: &Statements,
    tenant: &TenantId,
    filter: &EventFilter,
) -> Result<Vec<Event>> {
    let mut lent = readers.lend(Whose::Tenant(tenant)).await?;
    let found = sqlx::query(say.events.clone())
        .bind(tenant.as_str().to_owned())
        .bind(i64::from(filter.ban.is_some()))
        .bind(filter.ban.map_or_else(Vec::new, |ban| ban.bytes().to_vec()))
        .bind(filter.actor.clone())
        .bind(filter.from.map_or(i64::MIN, Timestamp::micros))
        .bind(filter.to.map_or(i64::MAX, Timestamp::micros))
        .bind(filter.after.map_or_else(Vec::new, |event| event.to_vec()))
        .bind(filter.limit)
        .fetch_all(&mut lent)
        .await?;
    found.iter().map(event).collect()
}

/// What happened in the transactions that bear these marks.
pub(super) async fn events_of(
    readers: &Pool,
    say: &Statements,
    tenant: &TenantId,
    nonces: &[Nonce],
) -> Result<Vec<(Nonce, Event)>> {
    let marks: Vec<_> = nonces.iter().map(|nonce| nonce.0.to_string()).collect();
    let found = sqlx::query(say.events_of.clone())
        .bind(tenant.as_str().to_owned())
        .bind(rows::to_json(&marks)?)
        .fetch_all(&mut readers.lend(Whose::Tenant(tenant)).await?)
        .await?;
    found
        .iter()
        .map(|row| Ok((Nonce(number(row, "nonce")?), event(row)?)))
        .collect()
}

fn event(row: &AnyRow) -> Result<Event> {
    let nonce: i64 = row.try_get("nonce")?;
    let revision: Option<i64> = row.try_get("rev")?;
    let event_id: Vec<u8> = row.try_get("event_id")?;
    Ok(Event {
        event_id: event_id
            .try_into()
            .map_err(|_| StoreError::Corrupt("the length of an event id"))?,
        ban: row
            .try_get::<Option<Vec<u8>>, _>("ban_id")?
            .map(|ban| rows::ban_id(&ban))
            .transpose()?,
        action: row.try_get("action")?,
        actor: row.try_get("actor")?,
        at: Timestamp::from_micros(row.try_get("at")?),
        comment: row.try_get("comment")?,
        anchor: revision
            .map(|revision| {
                let wrong = |_| StoreError::Corrupt("a feed row");
                Ok::<_, StoreError>(Anchor {
                    revision: Revision(u64::try_from(revision).map_err(wrong)?),
                    nonce: Nonce(u32::try_from(nonce).map_err(wrong)?),
                })
            })
            .transpose()?,
    })
}
