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

/// Bans, without their keys.
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
    /// Whose each is, and it.
    match_keys: Vec<(u128, u128)>,
    spaces: Vec<i32>,
    widths: Vec<u8>,
    kinds: Vec<i32>,
    matches: Vec<i32>,
}

impl BanColumns {
    /// Of a row that says `{bans_by_column}`.
    pub(in crate::store) fn read(row: &AnyRow) -> Result<Self> {
        let ids = ids(row)?.map(number).collect::<Result<Vec<_>>>()?;
        let many = ids.len();
        Ok(Self {
            ids,
            starts: column(row, "starts", many)?,
            expires: column(row, "expires", many)?,
            generations: column(row, "generations", many)?,
            channels: column(row, "channels", many)?,
            enforcements: column(row, "enforcements", many)?,
            ended: column(row, "ended", many)?,
        })
    }

    /// The last one first.
    pub(in crate::store) fn reversed(mut self) -> Self {
        let Self {
            ids,
            starts,
            expires,
            generations,
            channels,
            enforcements,
            ended,
        } = &mut self;
        ids.reverse();
        starts.reverse();
        expires.reverse();
        generations.reverse();
        channels.reverse();
        enforcements.reverse();
        ended.reverse();
        self
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

    /// Them, in the order of their ids, with their keys, which may be among those of others.
    pub(in crate::store) fn with(&self, keys: &KeyColumns) -> Result<Vec<BanRecord>> {
        let mut next = 0;
        let mut records = Vec::with_capacity(self.ids.len());
        for (at, id) in self.ids.iter().enumerate() {
            let mut record = self.record(at)?;
            let earlier = |(ban, _): &&(u128, u128)| ban < id;
            next += keys.match_keys[next..].iter().take_while(earlier).count();
            while keys.match_keys.get(next).is_some_and(|(ban, _)| ban == id) {
                record.keys.push(keys.key(next)?);
                next += 1;
            }
            records.push(record);
        }
        Ok(records)
    }
}

impl KeyColumns {
    /// Of a row that says `{keys_by_column}`.
    pub(in crate::store) fn read(row: &AnyRow) -> Result<Self> {
        let pair = |digits: &str| match digits.split_at_checked(DIGITS) {
            Some((ban, key)) => Ok((number(ban)?, number(key)?)),
            None => Err(StoreError::Corrupt("the length of a key")),
        };
        let match_keys = parted(row, "match_keys", 2 * DIGITS)?.map(pair);
        let match_keys = match_keys.collect::<Result<Vec<_>>>()?;
        let many = match_keys.len();
        Ok(Self {
            match_keys,
            spaces: column(row, "spaces", many)?,
            widths: column(row, "widths", many)?,
            kinds: column(row, "kinds", many)?,
            matches: column(row, "matches", many)?,
        })
    }

    /// How many such a row tells of.
    pub(in crate::store) fn count(row: &AnyRow) -> Result<usize> {
        Ok(parted(row, "match_keys", 2 * DIGITS)?.len())
    }

    fn key(&self, at: usize) -> Result<MatchKey> {
        Ok(MatchKey {
            space: space(self.spaces[at])?,
            width: self.widths[at],
            key: Key::from(self.match_keys[at].1),
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

/// The ids in a row, each as hexadecimal digits of either case.
pub(in crate::store) fn ids(
    row: &AnyRow,
) -> Result<impl DoubleEndedIterator<Item = &str> + ExactSizeIterator> {
    parted(row, "ids", DIGITS)
}

/// What came in texts of so many hexadecimal digits, one after another.
fn parted<'a>(
    row: &'a AnyRow,
    name: &str,
    digits: usize,
) -> Result<impl DoubleEndedIterator<Item = &'a str> + ExactSizeIterator> {
    let text: Option<&str> = row.try_get(name)?;
    let parts = text.unwrap_or_default().as_bytes().chunks(digits);
    Ok(parts.map(|part| str::from_utf8(part).unwrap_or_default()))
}

fn number(digits: &str) -> Result<u128> {
    let number = u128::from_str_radix(digits, 16).ok();
    let number = number.filter(|_| digits.len() == DIGITS);
    number.ok_or(StoreError::Corrupt("the length of a key or an id"))
}

/// What a database gathered of so many; of nothing it may say nothing.
fn column<T: DeserializeOwned>(row: &AnyRow, name: &str, many: usize) -> Result<Vec<T>> {
    let text: Option<&str> = row.try_get(name)?;
    let column: Vec<T> = text.map_or_else(|| Ok(Vec::new()), from_json)?;
    is_so_many(column.len(), many)?;
    Ok(column)
}

fn is_so_many(length: usize, many: usize) -> Result<()> {
    if length == many {
        return Ok(());
    }
    Err(StoreError::Corrupt("the length of a column"))
}
