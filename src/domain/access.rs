//! Principals, their keys and their grants, and what a pod knows of them all.

use std::{collections::HashMap, fmt, sync::Arc};

use super::{
    caller::{Caller, Grant},
    clock::Timestamp,
    hex::{hex, unhex},
    keys::KeyLock,
    refusal::{Reason, Refusal},
};

/// The most keys that one principal has at a time, ended ones apart.
pub const MAX_LIVE_KEYS: usize = 16;
/// The most grants of one principal.
pub const MAX_GRANTS: usize = 100;
/// The most queues that one grant names.
pub const MAX_GRANT_QUEUES: usize = 100;
/// The most principals of a deployment: every pod has them all in memory.
pub const MAX_PRINCIPALS: usize = 10_000;
/// How many bytes of a key are secret.
pub const SECRET_BYTES: usize = 32;

/// What a key is called: it is no secret, and stands in the key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// The id of its eight bytes.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Its eight bytes.
    pub const fn bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// Reads 16 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        unhex(text)?.try_into().ok().map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// A key as its holder shows it: `bk_`, its id, `_`, its secret.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    /// Which key it says it is.
    pub id: KeyId,
    /// What shows that it is.
    pub secret: &'a str,
}

impl<'a> Shown<'a> {
    /// Whether a credential is meant to be a key at all.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("bk_")
    }

    /// Reads a key.
    pub fn read(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix("bk_")?.split_once('_')?;
        let id = KeyId::parse(id)?;
        (secret.len() == 2 * SECRET_BYTES).then_some(Self { id, secret })
    }
}

/// A key just made; the only time that its secret is at hand.
pub struct NewKey {
    /// Its id.
    pub id: KeyId,
    /// What is kept of its secret.
    pub lock: [u8; 32],
    /// All of it, for its holder.
    pub text: String,
}

impl NewKey {
    /// A key made of random bytes.
    pub fn of(id: [u8; 8], secret: &[u8; SECRET_BYTES], locks: &KeyLock) -> Self {
        let (id, secret) = (KeyId(id), hex(secret));
        Self {
            id,
            lock: locks.lock(id, &secret),
            text: format!("bk_{id}_{secret}"),
        }
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewKey({})", self.id)
    }
}

/// A principal: who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// How often it was written.
    pub version: i64,
}

/// A key, but for what shows that somebody holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// What it is called.
    pub id: KeyId,
    /// Whose it is.
    pub principal: String,
    /// What people call it.
    pub display_name: String,
    /// When it was made.
    pub created: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it ends; `None` = when it is revoked.
    pub expire: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

impl ApiKey {
    /// Whether it opens anything at this instant.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expire.is_none_or(|end| now < end)
    }
}

/// A key, as far as telling its holder needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Which.
    pub id: KeyId,
    /// What its secret is compared with.
    pub lock: [u8; 32],
    /// When it ends.
    pub expire: Option<Timestamp>,
}

/// A principal with the keys that are not revoked: how it stands after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRecord {
    /// What it is called.
    pub principal: String,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// Its keys.
    pub keys: Vec<KeyRecord>,
}

#[derive(Clone, Debug)]
struct Held {
    principal: Arc<str>,
    lock: [u8; 32],
    expire: Option<Timestamp>,
}

/// All that a pod knows of principals and keys.
#[derive(Clone, Debug, Default)]
pub struct Access {
    keys: HashMap<KeyId, Held>,
    principals: HashMap<Arc<str>, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    grants: Arc<[Grant]>,
    keys: Vec<KeyId>,
}

/// Somebody who has shown who they are, and until when that may be remembered.
#[derive(Clone, Debug)]
pub struct Recognised {
    /// Who.
    pub caller: Caller,
    /// When the credential ends; `None` = never of itself.
    pub until: Option<Timestamp>,
}

impl Access {
    /// All that some records say.
    pub fn of(records: impl IntoIterator<Item = AccessRecord>) -> Self {
        let mut access = Self::default();
        for record in records {
            access.put(record);
        }
        access
    }

    /// Takes in how a principal stands now.
    pub fn put(&mut self, record: AccessRecord) {
        let AccessRecord {
            principal,
            grants,
            keys,
        } = record;
        let principal: Arc<str> = principal.into();
        let known = Known {
            grants: grants.into(),
            keys: keys.iter().map(|key| key.id).collect(),
        };
        let before = self.principals.insert(Arc::clone(&principal), known);
        for gone in before.into_iter().flat_map(|known| known.keys) {
            self.keys.remove(&gone);
        }
        for KeyRecord { id, lock, expire } in keys {
            let principal = Arc::clone(&principal);
            let held = Held {
                principal,
                lock,
                expire,
            };
            self.keys.insert(id, held);
        }
    }

    /// Somebody who has shown by other means to be this principal; a stranger has no grants.
    pub fn principal(&self, name: &str) -> Caller {
        let known = self.principals.get(name);
        let grants = known.map(|known| Arc::clone(&known.grants));
        Caller::known(name, grants.unwrap_or_else(|| [].into()))
    }

    /// Whose key this is.
    pub fn key(
        &self,
        shown: Shown<'_>,
        locks: &KeyLock,
        now: Timestamp,
    ) -> Result<Recognised, Refusal> {
        let invalid = || {
            let message = "this key opens nothing: it was never made here, or has been revoked";
            Refusal::new(Reason::CredentialInvalid, message)
        };
        let held = self.keys.get(&shown.id).ok_or_else(invalid)?;
        if !locks.opens(&held.lock, shown.id, shown.secret) {
            return Err(invalid());
        }
        if held.expire.is_some_and(|end| end <= now) {
            let message = "this key has expired; rotate keys before they do";
            return Err(Refusal::new(Reason::CredentialExpired, message));
        }
        Ok(Recognised {
            caller: self.principal(&held.principal),
            until: held.expire,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        caller::{Reach, Scope},
        keys::MasterKey,
    };

    const NOW: Timestamp = Timestamp::from_micros(1_000);

    fn locks() -> KeyLock {
        MasterKey::new(&[7; 32]).key_lock()
    }

    fn record(keys: Vec<KeyRecord>) -> AccessRecord {
        let grant = Grant {
            tenant: None,
            scopes: [Scope::Admin].into_iter().collect(),
            queues: Vec::new(),
            may_act_for: false,
            rights_profile: String::new(),
        };
        AccessRecord {
            principal: "ann".to_owned(),
            grants: vec![grant],
            keys,
        }
    }

    fn kept(key: &NewKey, expire: Option<Timestamp>) -> KeyRecord {
        KeyRecord {
            id: key.id,
            lock: key.lock,
            expire,
        }
    }

    fn reason(access: &Access, text: &str) -> Option<Reason> {
        let shown = Shown::read(text).unwrap();
        access
            .key(shown, &locks(), NOW)
            .err()
            .map(|refusal| refusal.reason)
    }

    #[test]
    fn a_key_opens_as_long_as_it_is_neither_over_nor_revoked() {
        let (one, other) = (
            NewKey::of([1; 8], &[1; 32], &locks()),
            NewKey::of([2; 8], &[2; 32], &locks()),
        );
        let soon = Some(NOW.plus_micros(1));
        let mut access = Access::of([record(vec![kept(&one, None), kept(&other, soon)])]);
        let known = access
            .key(Shown::read(&one.text).unwrap(), &locks(), NOW)
            .unwrap();
        assert_eq!(known.caller.principal(), "ann");
        assert!(known.caller.needs(Scope::Admin, Reach::Deployment).is_ok());
        assert_eq!(reason(&access, &other.text), None);
        let late = access.key(
            Shown::read(&other.text).unwrap(),
            &locks(),
            NOW.plus_micros(1),
        );
        assert_eq!(late.unwrap_err().reason, Reason::CredentialExpired);
        access.put(record(vec![kept(&other, soon)]));
        assert_eq!(reason(&access, &one.text), Some(Reason::CredentialInvalid));
        assert_eq!(reason(&access, &other.text), None);
    }

    #[test]
    fn a_key_is_good_with_its_own_secret_only_and_its_end_is_told_to_nobody_else() {
        let key = NewKey::of([1; 8], &[1; 32], &locks());
        let access = Access::of([record(vec![kept(&key, Some(NOW))])]);
        let forged = format!("bk_{}_{}", key.id, "0".repeat(64));
        assert_eq!(reason(&access, &forged), Some(Reason::CredentialInvalid));
        assert_eq!(reason(&access, &key.text), Some(Reason::CredentialExpired));
        // A lock of another deployment is no lock here.
        let foreign = NewKey::of([1; 8], &[1; 32], &MasterKey::new(&[8; 32]).key_lock());
        let access = Access::of([record(vec![kept(&foreign, None)])]);
        assert_eq!(reason(&access, &key.text), Some(Reason::CredentialInvalid));
    }

    #[test]
    fn what_is_no_key_is_not_read_as_one() {
        for bad in [
            "",
            "bk_",
            "bk_00_11",
            "bk_0000000000000000_",
            "xx_0000000000000000_0",
        ] {
            assert!(Shown::read(bad).is_none(), "{bad}");
        }
        let key = NewKey::of([9; 8], &[9; 32], &locks());
        assert_eq!(Shown::read(&key.text).unwrap().id, key.id);
        assert!(
            !format!("{key:?}").contains("0909090909090909090909"),
            "{key:?}"
        );
    }
}
