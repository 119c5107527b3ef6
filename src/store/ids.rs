//! Ids that tell when what they stand for was made (`UUIDv7`, RFC 9562), by the clock that all pods share.

use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};

use uuid::{Builder, ContextV7, Uuid};

use crate::domain::{clock::Timestamp, ids::BanId};

/// The last instant that an id can tell, in microseconds: milliseconds have 48 bits.
const LAST: i64 = (1 << 48) * 1_000 - 1;
/// What comes after every id.
pub(super) const AFTER_ALL: [u8; 17] = [u8::MAX; 17];
/// How far the id of a ban may be from the time at which it was made, in microseconds. Ids of older bans
/// never went back where a clock did.
const SLACK: i64 = 3_600_000_000;

/// A fresh id, after all that this pod has made before.
pub fn new_id(now: Timestamp) -> [u8; 16] {
    static BEFORE: Mutex<ContextV7> = Mutex::new(ContextV7::new());
    let micros = now.micros().unsigned_abs();
    let nanos = u32::try_from(micros % 1_000_000).unwrap_or_default() * 1_000;
    let at = uuid::Timestamp::from_unix(&BEFORE, micros / 1_000_000, nanos);
    Uuid::new_v7(at).into_bytes()
}

/// A fresh id of a ban. Bans are listed by their ids, so these sort by the very instant at which a ban was
/// made; those of one instant by the order in which this pod made them.
pub fn new_ban_id(made: Timestamp) -> BanId {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = u128::from(COUNT.fetch_add(1, Ordering::Relaxed));
    let chance = Uuid::new_v4().as_u128() & u128::from(u32::MAX);
    ban_id(made, count << 32 | chance)
}

/// Ids between which all bans are that were made from one instant on and before another.
pub(super) fn made_between(from: Option<Timestamp>, to: Option<Timestamp>) -> (Vec<u8>, Vec<u8>) {
    let least = |at: Timestamp| ban_id(at, 0).bytes().to_vec();
    (
        from.map_or_else(Vec::new, |from| least(from.plus_micros(-SLACK))),
        to.map_or_else(|| AFTER_ALL.to_vec(), |to| least(to.plus_micros(SLACK))),
    )
}

/// Whether two bans were made within a second.
pub(super) fn are_close(one: BanId, other: BanId) -> bool {
    let millis = |id: BanId| number(id) >> 80;
    millis(one).abs_diff(millis(other)) <= 1_000
}

/// What comes right before the id of a ban.
pub(super) fn just_before(ban: BanId) -> Vec<u8> {
    number(ban).saturating_sub(1).to_be_bytes().to_vec()
}

fn number(id: BanId) -> u128 {
    u128::from_be_bytes(*id.bytes())
}

/// The id of a ban with the microseconds of its instant after the milliseconds, as RFC 9562 has it in
/// section 6.2, method 3, and after them what tells those of one instant apart, less its first two bits of 64.
fn ban_id(made: Timestamp, apart: u128) -> BanId {
    let micros = made.micros().clamp(0, LAST).unsigned_abs();
    let finer = u128::from(micros % 1_000 * 4_096 / 1_000);
    let [_, _, _, _, _, _, rest @ ..] = (finer << 64 | apart).to_be_bytes();
    let id = Builder::from_unix_timestamp_millis(micros / 1_000, &rest).into_uuid();
    BanId::from_bytes(id.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: i64 = 1_795_000_000_123_456;

    fn made(micros: i64) -> BanId {
        new_ban_id(Timestamp::from_micros(micros))
    }

    #[test]
    fn bans_are_in_the_order_of_the_microseconds_in_which_they_were_made() {
        let later: Vec<_> = (0..2_000).rev().map(|micro| made(THEN + micro)).collect();
        assert!(later.is_sorted_by(|later, sooner| later > sooner));
        let id = Uuid::from_bytes(*later[0].bytes());
        assert_eq!(id.get_version_num(), 7);
        let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanos), (1_795_000_000, 125_000_000));
    }

    #[test]
    fn bans_of_one_instant_are_in_the_order_in_which_they_were_made() {
        let ids: Vec<_> = (0..2_000).map(|_| made(THEN)).collect();
        assert!(ids.is_sorted_by(|sooner, later| sooner < later));
    }

    #[test]
    fn a_ban_is_between_the_ids_of_what_it_was_made_between_whatever_the_instants() {
        let is_between = |micros, from: i64, to: i64| {
            let [from, to] = [from, to].map(|at| Some(Timestamp::from_micros(at)));
            let (from, to) = made_between(from, to);
            let id = made(micros).bytes().to_vec();
            from <= id && id < to
        };
        assert!(is_between(THEN, THEN, THEN + 1));
        assert!(is_between(THEN, i64::MIN, i64::MAX));
        assert!(is_between(0, -1, 1));
        assert!(!is_between(THEN, THEN + 2 * SLACK, i64::MAX));
        assert!(!is_between(THEN, 0, THEN - 2 * SLACK));
        let (from, to) = made_between(None, None);
        let ids = [made(0), made(i64::MAX)].map(|id| id.bytes().to_vec());
        assert!(ids.iter().all(|id| (&from..&to).contains(&id)));
    }
}
