//! What a view needs of bans, a page of them at a time, column by column: to put a row together for each
//! costs a database several times what it costs to read it.

use serde::de::DeserializeOwned;
use sqlx::{Row, any::AnyRow};

use super::{ban::space, from_json, known};
use crate::{
    domain::{
        ban::Enforcement,
        channel::Channels,
        clock::Timestamp,
        identity::{IdentityKind, MatchKind},
        ids::BanId,
        keys::MatchKey,
        record::BanRecord,
        view::index::Key,
    },
    store::{Result, StoreError},
};

/// How many hexadecimal digits an id has, and a key.
const DIGITS: usize = 32;

/// Bans in the order of their ids, without their keys.
pub(in crate::store) struct BanColumns {
    ids: Vec<u128>,
    starts: Vec<Option<i64>>,
    expires: Vec<Option<i64>>,
    generations: Vec<u32>,
    channels: Vec<u16>,
    enforcements: Vec<i32>,
    ended: Vec<i32>,
}

/// Keys in the order of the ids of their bans.
pub(in crate::store) struct KeyColumns {
    bans: Vec<u128>,
    match_keys: Vec<u128>,
    spaces: Vec<i32>,
    widths: Vec<u8>,
    kinds: Vec<i32>,
    matches: Vec<i32>,
}

impl BanColumns {
    /// Of a row that says `{ban_columns}`.
    pub(in crate::store) fn read(row: &AnyRow) -> Result<Self> {
        let columns = Self {
            ids: numbers(row, "ids")?,
            starts: column(row, "starts")?,
            expires: column(row, "expires")?,
            generations: column(row, "generations")?,
            channels: column(row, "channels")?,
            enforcements: column(row, "enforcements")?,
            ended: column(row, "ended")?,
        };
        let lengths = [
            columns.starts.len(),
            columns.expires.len(),
            columns.generations.len(),
            columns.channels.len(),
            columns.enforcements.len(),
            columns.ended.len(),
        ];
        of_one_length(columns.ids.len(), &lengths)?;
        Ok(columns)
    }

    /// One of them, with no keys yet.
    fn record(&self, at: usize) -> Result<BanRecord> {
        Ok(BanRecord {
            ban: BanId::from_bytes(self.ids[at].to_be_bytes()),
            keys: Vec::new(),
            start: self.starts[at].map(Timestamp::from_micros),
            expire: self.expires[at].map(Timestamp::from_micros),
            generation: self.generations[at],
            channels: Channels::from_bits(self.channels[at]),
            enforcement: known(
                Enforcement::from_number(self.enforcements[at]),
                "an enforcement",
            )?,
            ended: self.ended[at] != 0,
        })
    }

    /// Them with their keys, which may be among those of others.
    pub(in crate::store) fn with(&self, keys: &KeyColumns) -> Result<Vec<BanRecord>> {
        let mut next = 0;
        let mut records = Vec::with_capacity(self.ids.len());
        for (at, id) in self.ids.iter().enumerate() {
            let mut record = self.record(at)?;
            next += keys.bans[next..].iter().take_while(|ban| *ban < id).count();
            while keys.bans.get(next) == Some(id) {
                record.keys.push(keys.key(next)?);
                next += 1;
            }
            records.push(record);
        }
        Ok(records)
    }
}

impl KeyColumns {
    /// Of a row that says whose they are and `{key_columns}`.
    pub(in crate::store) fn read(row: &AnyRow) -> Result<Self> {
        let columns = Self {
            bans: numbers(row, "ids")?,
            match_keys: numbers(row, "match_keys")?,
            spaces: column(row, "spaces")?,
            widths: column(row, "widths")?,
            kinds: column(row, "kinds")?,
            matches: column(row, "matches")?,
        };
        let lengths = [
            columns.match_keys.len(),
            columns.spaces.len(),
            columns.widths.len(),
            columns.kinds.len(),
            columns.matches.len(),
        ];
        of_one_length(columns.bans.len(), &lengths)?;
        Ok(columns)
    }

    fn key(&self, at: usize) -> Result<MatchKey> {
        Ok(MatchKey {
            space: space(self.spaces[at])?,
            width: self.widths[at],
            key: Key::from(self.match_keys[at]),
            kind: known(
                IdentityKind::from_number(self.kinds[at]),
                "an identity kind",
            )?,
            matches: known(MatchKind::from_number(self.matches[at]), "a match kind")?,
        })
    }
}

/// The bans of a row that has one key of a ban after another, and beside each what the ban is.
pub(in crate::store) fn filed(row: &AnyRow) -> Result<Vec<BanRecord>> {
    let (bans, keys) = (BanColumns::read(row)?, KeyColumns::read(row)?);
    let mut records: Vec<BanRecord> = Vec::with_capacity(bans.ids.len());
    for at in 0..bans.ids.len() {
        let key = keys.key(at)?;
        let record = bans.record(at)?;
        match records.last_mut().filter(|last| last.ban == record.ban) {
            Some(last) => last.keys.push(key),
            None => records.push(BanRecord {
                keys: vec![key],
                ..record
            }),
        }
    }
    Ok(records)
}

/// What a database gathered; of nothing it may say nothing.
fn column<T: DeserializeOwned>(row: &AnyRow, name: &str) -> Result<Vec<T>> {
    let text: Option<&str> = row.try_get(name)?;
    text.map_or_else(|| Ok(Vec::new()), from_json)
}

/// Numbers of sixteen bytes, one after another as hexadecimal digits of either case.
fn numbers(row: &AnyRow, name: &str) -> Result<Vec<u128>> {
    let digits: Option<&str> = row.try_get(name)?;
    let digits = digits.unwrap_or_default().as_bytes();
    let numbers = digits.chunks(DIGITS).map(|digits| {
        let digits = std::str::from_utf8(digits).ok();
        let digits = digits.filter(|digits| digits.len() == DIGITS);
        digits.and_then(|digits| u128::from_str_radix(digits, 16).ok())
    });
    let numbers: Option<Vec<u128>> = numbers.collect();
    numbers.ok_or(StoreError::Corrupt("the length of a key or an id"))
}

fn of_one_length(length: usize, others: &[usize]) -> Result<()> {
    if others.iter().all(|other| *other == length) {
        return Ok(());
    }
    Err(StoreError::Corrupt("the lengths of columns"))
}
