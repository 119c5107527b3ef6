//! Credentials that were judged good lately: the second time, one is looked up and not judged anew.
//!
//! What is remembered holds until the credential ends or anything changes about who may ask what; a
//! key revoked is forgotten with the news of it.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{PoisonError, RwLock},
};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::domain::{access::Recognised, clock::Timestamp};

/// So many parts, so that threads seldom meet.
const SHARDS: usize = 16;
/// The most credentials that one part remembers: 16 384 in all. A full part forgets everything, and
/// what is still in use is judged once more.
const MOST: usize = 1_024;
/// Credentials longer than this are judged anew each time.
const LONGEST: usize = 4_096;

/// What a credential was judged by: it is good no longer once any of it has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ground {
    /// The number of who may ask what.
    pub(super) access: u64,
    /// The number of the keys that tokens are signed with.
    pub(super) issuers: u64,
}

#[derive(Debug)]
struct Remembered {
    credential: Box<[u8]>,
    ground: Ground,
    recognised: Recognised,
}

/// By a hash of the credential. Only what was found good is remembered, and of two with the same hash the later
/// one: the other is judged anew each time.
type Shard = RwLock<HashMap<u64, Remembered>>;

/// The credentials that are remembered.
#[derive(Debug)]
pub(super) struct Known {
    shards: [Shard; SHARDS],
    seed: u64,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            shards: Default::default(),
            seed: RandomState::new().hash_one(()),
        }
    }
}

impl Known {
    /// The hash of a credential, and the part that it is in.
    fn place(&self, credential: &[u8]) -> (u64, &Shard) {
        let hash = xxh3_64_with_seed(credential, self.seed);
        let shard = usize::try_from(hash % SHARDS as u64);
        (hash, &self.shards[shard.unwrap_or_default()])
    }

    /// Whose a credential is, if it was judged on this ground and is not over.
    pub(super) fn get(
        &self,
        credential: &[u8],
        ground: Ground,
        now: impl FnOnce() -> Timestamp,
    ) -> Option<Recognised> {
        let (hash, shard) = self.place(credential);
        let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
        let found = shard.get(&hash)?;
        if *found.credential != *credential {
            return None;
        }
        let over = found.recognised.until.is_some_and(|end| end <= now());
        (found.ground == ground && !over).then(|| found.recognised.clone())
    }

    /// Remembers whose a credential is.
    pub(super) fn put(&self, credential: &[u8], ground: Ground, recognised: Recognised) {
        if credential.len() > LONGEST {
            return;
        }
        let (hash, shard) = self.place(credential);
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= MOST && !shard.contains_key(&hash) {
            shard.clear();
        }
        let remembered = Remembered {
            credential: credential.into(),
            ground,
            recognised,
        };
        shard.insert(hash, remembered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::caller::Caller;

    const NOW: Timestamp = Timestamp::from_micros(1_000);

    fn ground(access: u64) -> Ground {
        Ground { access, issuers: 0 }
    }

    fn ann(until: Option<Timestamp>) -> Recognised {
        Recognised {
            caller: Caller::known("ann", [].into()),
            until,
        }
    }

    #[test]
    fn a_credential_is_remembered_until_it_ends_or_something_changes() {
        let known = Known::default();
        known.put(b"one", ground(1), ann(Some(NOW.plus_micros(1))));
        let found = |ground, now| known.get(b"one", ground, || now).map(|ann| ann.caller);
        assert_eq!(found(ground(1), NOW).unwrap().principal(), "ann");
        assert!(found(ground(2), NOW).is_none());
        assert!(found(ground(1), NOW.plus_micros(1)).is_none());
        assert!(known.get(b"other", ground(1), || NOW).is_none());
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let known = Known::default();
        for number in 0..(2 * SHARDS * MOST) {
            known.put(&number.to_be_bytes(), ground(1), ann(None));
        }
        known.put(&[b'x'; LONGEST + 1], ground(1), ann(None));
        let held: usize = known
            .shards
            .iter()
            .map(|shard| shard.read().unwrap().len())
            .sum();
        assert!(held <= SHARDS * MOST, "{held}");
        assert!(known.get(&[b'x'; LONGEST + 1], ground(1), || NOW).is_none());
    }
}
