//! Forgetting a person: whom, told by keys alone, and what becomes of the bans on them.

use super::{
    clock::Timestamp,
    identity::{Form, Identity},
    ids::TenantId,
    keys::{Space, TenantKey, Widths},
    view::index::Key,
};

/// What is to be forgotten of a person. It tells nothing of whom to those without the master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// All that the person's identities are found by.
    pub keys: Vec<Key>,
    /// What becomes of bans in force; `None` = they go.
    pub keep: Option<Keep>,
}

/// Bans in force stay so, by their keys alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Until when at the most; `None` = as each ban says.
    pub until: Option<Timestamp>,
}

/// What an erasure came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Bans that are gone altogether.
    pub bans: u64,
    /// Bans kept in force by their keys.
    pub kept: u64,
    /// Entries of the history whose words are gone.
    pub events: u64,
}

/// An erasure as it is noted, to be done again should an older backup come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedErasure {
    /// Whose.
    pub tenant: TenantId,
    /// Its id, which grows with time.
    pub id: [u8; 16],
    /// When it was done.
    pub at: Timestamp,
    /// By whom.
    pub actor: String,
    /// What was erased.
    pub erasure: Erasure,
}

/// All that exactly this identity is found by; no range that holds it, for that is on many.
///
/// An IPv6 address is its network of `ipv6_prefix` bits, which one customer has alone.
pub fn keys_of(
    identity: &Identity,
    key: &TenantKey,
    email_fold: bool,
    ipv6_prefix: u8,
) -> Vec<Key> {
    let own = |width| match identity.form {
        Form::Address(_) => width == 0 || width == ipv6_prefix || width == 128,
        _ => width == 0,
    };
    let mut keys = Vec::new();
    key.probes(identity, &Widths::ALL, email_fold, |probe| {
        if probe.space == Space::Digest && own(probe.width) {
            keys.push(probe.key);
        }
    });
    keys.sort_unstable();
    keys.dedup();
    keys
}
