//! The ring of master keys, and all that is derived from it.
//!
//! What is made is made with the current key alone; what was made with any other key of the ring is
//! recognised as well. So a key can be replaced while pods run: first every pod recognises the new
//! one, then every pod makes things with it, then what is filed is filed anew, and then no pod needs
//! the old one (`docs/runbook.md`, "Replacing the master key").

use std::sync::Arc;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Digester, TenantKey, first};
use crate::domain::{access::KeyId, hex::hex, ids::TenantId};

/// One thing of each key: the current one's, and those of the keys that are recognised beside it.
#[derive(Clone, Debug)]
pub(super) struct Ring<T> {
    pub(super) current: T,
    pub(super) others: Arc<[T]>,
}

impl<T> Ring<T> {
    /// All of them, the current one first.
    pub(super) fn each(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.current).chain(self.others.iter())
    }

    fn map<U>(&self, make: impl Fn(&T) -> U) -> Ring<U> {
        Ring {
            current: make(&self.current),
            others: self.others.iter().map(make).collect(),
        }
    }
}

/// The secrets that every other key of a deployment is derived from.
#[derive(Clone)]
pub struct MasterKey(Ring<Secret>);

#[derive(Clone)]
struct Secret(Hkdf<Sha256>);

impl Secret {
    fn new(secret: &[u8; 32]) -> Self {
        Self(Hkdf::new(Some(b"bancheck.v1"), secret))
    }

    fn derive(&self, purpose: &str, of: &str) -> [u8; 32] {
        let mut key = [0; 32];
        self.0
            .expand_multi_info(&[purpose.as_bytes(), b"/", of.as_bytes()], &mut key)
            .expect("32 bytes are within what HKDF-SHA-256 gives");
        key
    }

    fn mac(&self, purpose: &str, of: &str) -> Hmac<Sha256> {
        let key = self.derive(purpose, of);
        Hmac::new_from_slice(&key).expect("HMAC takes a key of any length")
    }

    fn fingerprint(&self) -> String {
        hex(&self.derive("check", "")[..16])
    }
}

impl MasterKey {
    /// The key made of these 32 bytes, and no other.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self::ring(secret, &[])
    }

    /// The key made of these 32 bytes, and others that are recognised beside it.
    pub fn ring(current: &[u8; 32], others: &[[u8; 32]]) -> Self {
        let mut known = vec![current];
        let others = others.iter().filter(|one| {
            let new = !known.contains(one);
            known.push(one);
            new
        });
        Self(Ring {
            others: others.map(Secret::new).collect(),
            current: Secret::new(current),
        })
    }

    /// What makes one tenant's digests.
    pub fn tenant(&self, tenant: &TenantId) -> TenantKey {
        let digester = |one: &Secret| Digester(one.mac("match", tenant.as_str()));
        TenantKey(self.0.map(digester))
    }

    /// What signs consistency tokens and page tokens.
    pub fn seal(&self, purpose: &str) -> Seal {
        Seal(self.0.map(|one| one.mac("seal", purpose)))
    }

    /// What API keys are kept under.
    pub fn key_lock(&self) -> KeyLock {
        KeyLock(self.0.map(|one| one.mac("api-key", "")))
    }

    /// What a store keeps to recognise the keys by: without one nobody filed under it would be found.
    pub fn fingerprints(&self) -> Fingerprints {
        Fingerprints {
            current: self.0.current.fingerprint(),
            others: self.0.others.iter().map(Secret::fingerprint).collect(),
        }
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// What tells master keys apart, and nothing more of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// Of the key that everything is made with.
    pub current: String,
    /// Of those that are recognised beside it.
    pub others: Vec<String>,
}

impl Fingerprints {
    /// How much of a fingerprint people are shown, in characters.
    const SHORT: usize = 8;

    /// Whether a key is one of the ring.
    pub fn holds(&self, fingerprint: &str) -> bool {
        self.current == fingerprint || self.others.iter().any(|one| one == fingerprint)
    }

    /// A fingerprint as people are shown it.
    pub fn short(fingerprint: &str) -> &str {
        fingerprint.get(..Self::SHORT).unwrap_or(fingerprint)
    }

    /// The number by which a row says what key its digests are made with; never 0, which a row says
    /// that a version without rings of keys has written.
    pub fn number(fingerprint: &str) -> i32 {
        // FNV-1a: of a few fingerprints, which are random themselves, no two come to the same.
        let hash = fingerprint.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        (hash >> 1).cast_signed().max(1)
    }
}

impl From<&str> for Fingerprints {
    /// Of one key alone.
    fn from(current: &str) -> Self {
        Self {
            current: current.to_owned(),
            others: Vec::new(),
        }
    }
}

/// Signs what callers carry for us.
#[derive(Clone, Debug)]
pub struct Seal(Ring<Hmac<Sha256>>);

impl Seal {
    /// Eight bytes that only this deployment can make of `text`.
    pub fn sign(&self, text: &[u8]) -> [u8; 8] {
        let mut mac = self.0.current.clone();
        mac.update(text);
        first(&mac.finalize().into_bytes())
    }

    /// Whether `signature` was made here of `text`; takes the same time whatever the answer, but for
    /// which key it was.
    pub fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        let made_with = |mac: &Hmac<Sha256>| {
            let mut mac = mac.clone();
            mac.update(text);
            mac.verify_truncated_left(signature).is_ok()
        };
        signature.len() == 8 && self.0.each().any(made_with)
    }
}

/// Makes of a secret what is kept of it.
#[derive(Clone, Debug)]
pub struct KeyLock(Ring<Hmac<Sha256>>);

impl KeyLock {
    /// What is kept of the secret of this key.
    pub fn lock(&self, id: KeyId, secret: &str) -> [u8; 32] {
        let mac = Self::of(&self.0.current, id, secret);
        first(&mac.finalize().into_bytes())
    }

    /// Whether a secret is the one that was kept; takes the same time whatever the answer, but for
    /// which key it is kept under.
    pub fn opens(&self, lock: &[u8; 32], id: KeyId, secret: &str) -> bool {
        let kept_under = |mac| Self::of(mac, id, secret).verify_slice(lock).is_ok();
        self.0.each().any(kept_under)
    }

    fn of(mac: &Hmac<Sha256>, id: KeyId, secret: &str) -> Hmac<Sha256> {
        let mut mac = mac.clone();
        mac.update(id.bytes());
        mac.update(secret.as_bytes());
        mac
    }
}
