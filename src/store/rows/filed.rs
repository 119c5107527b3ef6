//! What a view needs of very many bans: a page of them in one JSON column.

use serde::Deserialize;

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

/// A key of a ban, its parts in the order of the array.
#[derive(Deserialize)]
struct Filed<'a> {
    ban_id: &'a str,
    match_key: &'a str,
    start_at: Option<i64>,
    expire_at: Option<i64>,
    generation: u32,
    channels: u16,
    enforcement: i32,
    space: i32,
    width: u8,
    kind: i32,
    matches: i32,
}

/// The bans of a page, a record a key.
pub(in crate::store) fn filed(page: &str) -> Result<Vec<BanRecord>> {
    let keys: Vec<Filed<'_>> = from_json(page)?;
    keys.iter().map(Filed::record).collect()
}

impl Filed<'_> {
    fn record(&self) -> Result<BanRecord> {
        Ok(BanRecord {
            ban: BanId::from_bytes(number(self.ban_id)?.to_be_bytes()),
            keys: vec![self.key()?],
            start: self.start_at.map(Timestamp::from_micros),
            expire: self.expire_at.map(Timestamp::from_micros),
            generation: self.generation,
            channels: Channels::from_bits(self.channels),
            enforcement: known(Enforcement::from_number(self.enforcement), "an enforcement")?,
            ended: false,
        })
    }

    fn key(&self) -> Result<MatchKey> {
        Ok(MatchKey {
            space: space(self.space)?,
            width: self.width,
            key: Key::from(number(self.match_key)?),
            kind: known(IdentityKind::from_number(self.kind), "an identity kind")?,
            matches: known(MatchKind::from_number(self.matches), "a match kind")?,
        })
    }
}

/// Sixteen bytes as hexadecimal digits, of either case.
fn number(digits: &str) -> Result<u128> {
    let number = u128::from_str_radix(digits, 16).ok();
    let number = number.filter(|_| digits.len() == 32);
    number.ok_or(StoreError::Corrupt("the length of a key or an id"))
}
