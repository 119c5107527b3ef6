//! What an identity is found by: keyed digests, and ranges by their leading bits.
//!
//! A digest is HMAC-SHA-256 under a key of the tenant's own, cut to 16 bytes, so neither the store
//! nor a memory dump tells whom a ban is on. A range is kept in the clear: it is found by its own
//! leading bits, one probe for each width that the tenant's bans use.

mod master;
mod reach;

use std::net::{IpAddr, Ipv6Addr};

use hmac::{Hmac, Mac};
use ipnet::IpNet;
use sha2::Sha256;

use self::master::Ring;
pub use self::{
    master::{Fingerprints, KeyLock, MasterKey, Seal},
    reach::{Reach, Span, place},
};
use super::{
    identity::{Alias, AliasOf, Form, Identity, IdentityKind, MatchKind, range},
    view::index::Key,
};

/// Where a key is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Space {
    /// Among the digests.
    Digest = 1,
    /// Among the ranges.
    Range = 2,
}

/// One form that a ban is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchKey {
    /// Where it is looked up.
    pub space: Space,
    /// How much of an identity it says: leading bits of an address, digits of a number, labels of a
    /// domain; 0 where it says all.
    pub width: u8,
    /// The key itself.
    pub key: Key,
    /// What kind of identity it comes from.
    pub kind: IdentityKind,
    /// What a hit is called.
    pub matches: MatchKind,
}

/// The widths of a view's keys: a check probes these and no others.
///
/// A width stays once seen; a stale one costs a probe and never a wrong answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Widths {
    /// Of IPv6 digests; bit n stands for n + 1 leading bits, and so below.
    digests: u128,
    /// Of networks, IPv4 counted as mapped into IPv6.
    ranges: u128,
    /// Of prefixes of numbers, in digits.
    prefixes: u128,
    /// Of domains, in labels.
    domains: u128,
}

impl Widths {
    /// Every width there can be: for those who look for more than one view holds.
    pub const ALL: Self = Self {
        digests: u128::MAX,
        // A network of all 128 bits is an address, and kept as a digest.
        ranges: u128::MAX >> 1,
        prefixes: u128::MAX,
        domains: u128::MAX,
    };

    /// Notes that a key is in use.
    pub fn note(&mut self, key: &MatchKey) {
        let Some(bit) = key.width.checked_sub(1).filter(|bit| *bit < 128) else {
            return;
        };
        let used = match (key.space, key.kind) {
            (Space::Digest, IdentityKind::EmailAddress) => &mut self.domains,
            (Space::Digest, _) => &mut self.digests,
            (Space::Range, IdentityKind::PhoneNumber) => &mut self.prefixes,
            (Space::Range, _) => &mut self.ranges,
        };
        *used |= 1 << bit;
    }
}

fn each_width(mut bits: u128) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        (bits != 0).then(|| {
            let bit = bits.trailing_zeros();
            bits &= bits - 1;
            u8::try_from(bit + 1).unwrap_or(u8::MAX)
        })
    })
}

/// One look-up of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Where.
    pub space: Space,
    /// For what.
    pub key: Key,
    /// How much of the identity it says, as [`MatchKey::width`] has it.
    pub width: u8,
    /// Whether it is for another name of the identity than its own.
    pub alias: bool,
}

/// What makes the digests of one tenant: with the current key all that is filed, and with the others
/// of the ring what is looked for besides.
#[derive(Clone, Debug)]
pub struct TenantKey(Ring<Digester>);

/// One key of a tenant's digests, its state prepared once.
#[derive(Clone, Debug)]
struct Digester(Hmac<Sha256>);

impl Digester {
    fn digest_of(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        first(&mac.finalize().into_bytes())
    }

    fn digest(&self, kind: IdentityKind, issuer: &str, canonical: &str) -> Key {
        let mut mac = self.0.clone();
        mac.update(&[kind as u8]);
        if !issuer.is_empty() {
            mac.update(issuer.as_bytes());
        }
        mac.update(&[0]);
        mac.update(canonical.as_bytes());
        Key::from(u128::from_be_bytes(first(&mac.finalize().into_bytes())))
    }

    fn own_digest(&self, identity: &Identity) -> Key {
        self.digest(identity.kind, &identity.issuer, &identity.canonical)
    }

    fn v6_digest(&self, address: Ipv6Addr, width: u8) -> Key {
        self.digest(IdentityKind::IpAddress, "", &prefix_text(address, width))
    }

    /// No mail address begins with `@`, so a domain is told from every one of them.
    fn domain_digest(&self, domain: &str) -> Key {
        let mut mac = self.0.clone();
        mac.update(&[IdentityKind::EmailAddress as u8, 0, b'@']);
        mac.update(domain.as_bytes());
        Key::from(u128::from_be_bytes(first(&mac.finalize().into_bytes())))
    }

    /// See [`TenantKey::keys`].
    fn keys(&self, identity: &Identity, ipv6_prefix: u8) -> Vec<(MatchKey, String)> {
        let key = |space, width, key, matches| MatchKey {
            space,
            width,
            key,
            kind: identity.kind,
            matches,
        };
        let canonical = || identity.canonical.clone();
        let own = match identity.form {
            Form::Network(net) if net.prefix_len() < net.max_prefix_len() => {
                let (bits, width) = range_of(net);
                (key(Space::Range, width, bits, MatchKind::Cidr), canonical())
            }
            Form::Network(IpNet::V6(net)) => {
                let digest = self.v6_digest(net.addr(), 128);
                (
                    key(Space::Digest, 128, digest, MatchKind::Cidr),
                    canonical(),
                )
            }
            Form::Network(IpNet::V4(net)) => {
                let digest = self.digest(identity.kind, "", &net.addr().to_string());
                (key(Space::Digest, 0, digest, MatchKind::Cidr), canonical())
            }
            Form::Address(IpAddr::V6(address)) => {
                let digest = self.v6_digest(address, ipv6_prefix);
                let text = prefix_text(address, ipv6_prefix);
                (
                    key(Space::Digest, ipv6_prefix, digest, MatchKind::Exact),
                    text,
                )
            }
            Form::Address(IpAddr::V4(_)) | Form::Text => {
                let digest = self.own_digest(identity);
                (key(Space::Digest, 0, digest, MatchKind::Exact), canonical())
            }
            Form::Prefix => {
                let digits = identity.canonical.as_bytes().get(1..).unwrap_or_default();
                let width = u8::try_from(digits.len()).unwrap_or(u8::MAX);
                let found = prefix_key(digits);
                (
                    key(Space::Range, width, found, MatchKind::Prefix),
                    format!("{}*", identity.canonical),
                )
            }
            Form::Domain => {
                let labels = range::labels(&identity.canonical);
                let width = u8::try_from(labels).unwrap_or(u8::MAX);
                let digest = self.domain_digest(&identity.canonical);
                (
                    key(Space::Digest, width, digest, MatchKind::Domain),
                    format!("*@{}", identity.canonical),
                )
            }
        };
        let stored = |alias: &&Alias| alias.of != AliasOf::Version;
        let others = identity.aliases.iter().filter(stored).map(|alias| {
            let digest = self.digest(alias.kind, &identity.issuer, &alias.canonical);
            let key = MatchKey {
                kind: alias.kind,
                ..key(Space::Digest, 0, digest, MatchKind::Alias)
            };
            (key, alias.canonical.clone())
        });
        std::iter::once(own).chain(others).collect()
    }
}

impl TenantKey {
    /// The digest of some parts, told apart by their lengths.
    pub fn digest_of(&self, parts: &[&[u8]]) -> [u8; 16] {
        self.0.current.digest_of(parts)
    }

    /// What [`Self::digest_of`] is where another key of the ring is the current one.
    pub fn digests_elsewhere(&self, parts: &[&[u8]]) -> Vec<[u8; 16]> {
        let others = self.0.others.iter();
        others.map(|one| one.digest_of(parts)).collect()
    }

    /// The same, each made of what was made before with the same key, and of one part more; at first
    /// there is nothing before.
    pub fn trails_elsewhere(&self, before: &[[u8; 16]], part: &[u8]) -> Vec<[u8; 16]> {
        let before = before.iter().copied().chain(std::iter::repeat([0; 16]));
        let trails = self.0.others.iter().zip(before);
        trails
            .map(|(one, before)| one.digest_of(&[&before, part]))
            .collect()
    }

    /// The forms a ban on `identity` is found by, with their readable texts; its own comes first.
    ///
    /// An IPv6 address stands for its network of `ipv6_prefix` bits, since one customer has it all.
    pub fn keys(&self, identity: &Identity, ipv6_prefix: u8) -> Vec<(MatchKey, String)> {
        self.0.current.keys(identity, ipv6_prefix)
    }

    /// What a ban on `identity` is found by in its own name, under each key of the ring.
    pub fn own_keys(&self, identity: &Identity, ipv6_prefix: u8) -> Vec<Key> {
        let own = self.0.each().filter_map(|one| {
            let (key, _) = one.keys(identity, ipv6_prefix).into_iter().next()?;
            Some(key.key)
        });
        own.collect()
    }

    /// What else the same ban is found by where another key of the ring is the current one.
    pub fn keys_elsewhere(&self, identity: &Identity, ipv6_prefix: u8) -> Vec<MatchKey> {
        let filed = self
            .0
            .others
            .iter()
            .flat_map(|one| one.keys(identity, ipv6_prefix));
        // A range is kept in the clear: no key makes another one of it.
        filed
            .map(|(key, _)| key)
            .filter(|key| key.space == Space::Digest)
            .collect()
    }

    /// Everything that a ban on `identity` could be filed under, one look-up each.
    ///
    /// The identity's own name goes first, so that a ban found under several is called exact if it
    /// is. `email_fold` is whether the tenant takes tags and provider dots for nothing.
    pub fn probes(
        &self,
        identity: &Identity,
        widths: &Widths,
        email_fold: bool,
        mut each: impl FnMut(Probe),
    ) {
        let mut probe = |space, width, key, alias| {
            each(Probe {
                space,
                key,
                width,
                alias,
            });
        };
        match identity.form {
            Form::Address(address) => {
                match address {
                    IpAddr::V4(_) => {
                        for one in self.0.each() {
                            probe(Space::Digest, 0, one.own_digest(identity), false);
                        }
                    }
                    IpAddr::V6(v6) => {
                        for width in each_width(widths.digests) {
                            for one in self.0.each() {
                                probe(Space::Digest, width, one.v6_digest(v6, width), false);
                            }
                        }
                    }
                }
                let (mapped, least) = mapped(address);
                for width in each_width(widths.ranges).filter(|width| *width >= least) {
                    probe(Space::Range, width, range_key(mapped, width), false);
                }
            }
            Form::Text => {
                for one in self.0.each() {
                    probe(Space::Digest, 0, one.own_digest(identity), false);
                }
                let asked = |alias: &&Alias| alias.of != AliasOf::Folding || email_fold;
                for alias in identity.aliases.iter().filter(asked) {
                    for one in self.0.each() {
                        let digest = one.digest(alias.kind, &identity.issuer, &alias.canonical);
                        probe(Space::Digest, 0, digest, true);
                    }
                    let (kind, name) = (alias.kind, &alias.canonical);
                    self.range_probes(kind, name, widths, |space, width, key| {
                        probe(space, width, key, true);
                    });
                }
                let (kind, name) = (identity.kind, &identity.canonical);
                self.range_probes(kind, name, widths, |space, width, key| {
                    probe(space, width, key, false);
                });
            }
            Form::Network(_) | Form::Prefix | Form::Domain => {
                let filed = self.keys(identity, 128).into_iter().map(|(key, _)| key);
                for key in filed.chain(self.keys_elsewhere(identity, 128)) {
                    probe(key.space, key.width, key.key, false);
                }
            }
        }
    }

    /// The prefixes of a number, or the domains of a mail address, that are in use.
    fn range_probes(
        &self,
        kind: IdentityKind,
        canonical: &str,
        widths: &Widths,
        mut probe: impl FnMut(Space, u8, Key),
    ) {
        match kind {
            IdentityKind::PhoneNumber if widths.prefixes != 0 => {
                let Some(digits) = canonical.strip_prefix('+').map(str::as_bytes) else {
                    return;
                };
                for width in each_width(widths.prefixes) {
                    let Some(prefix) = digits.get(..usize::from(width)) else {
                        return;
                    };
                    probe(Space::Range, width, prefix_key(prefix));
                }
            }
            IdentityKind::EmailAddress if widths.domains != 0 => {
                let Some((_, domain)) = canonical.rsplit_once('@') else {
                    return;
                };
                let mut labels = range::labels(domain);
                for parent in range::parents(domain) {
                    let in_use = labels
                        .checked_sub(1)
                        .is_some_and(|bit| bit < 128 && widths.domains & (1 << bit) != 0);
                    if in_use {
                        let width = u8::try_from(labels).unwrap_or(u8::MAX);
                        for one in self.0.each() {
                            probe(Space::Digest, width, one.domain_digest(parent));
                        }
                    }
                    labels -= 1;
                }
            }
            _ => {}
        }
    }
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes[..N]
        .try_into()
        .expect("a digest is longer than any part we take")
}

fn prefix_text(address: Ipv6Addr, width: u8) -> String {
    let bits = address.to_bits() & u128::MAX.checked_shl(128 - u32::from(width)).unwrap_or(0);
    format!("{}/{width}", Ipv6Addr::from_bits(bits))
}

/// The address as IPv6, and how many bits its family fixes.
fn mapped(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(v4) => (v4.to_ipv6_mapped().to_bits(), 96),
        IpAddr::V6(v6) => (v6.to_bits(), 0),
    }
}

fn range_of(net: IpNet) -> (Key, u8) {
    let (bits, fixed) = mapped(net.network());
    let width = fixed + net.prefix_len();
    (range_key(bits, width), width)
}

/// One key for one network of 0 to 127 bits, and no other.
///
/// The leading bits are closed with a one and padded with zeros, which no two networks share; then
/// they are mixed, without loss, because the index wants its keys spread evenly.
fn range_key(address: u128, width: u8) -> Key {
    let closing = 1u128 << (127 - width);
    mixed((address & !(closing | (closing - 1))) | closing)
}

/// One key for one prefix of a number: its digits behind a one, so that `06` is not `6`.
///
/// Turned over, for as a small number it would be the key of a network that is not routed but can
/// be written.
fn prefix_key(digits: &[u8]) -> Key {
    let number = digits.iter().fold(1u128, |number, digit| {
        number.wrapping_mul(10).wrapping_add(u128::from(digit & 15))
    });
    mixed(!number)
}

fn mixed(mut bits: u128) -> Key {
    const ODD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    for _ in 0..2 {
        bits = (bits ^ (bits >> 64)).wrapping_mul(ODD);
    }
    Key::from(bits ^ (bits >> 64))
}

#[cfg(test)]
mod tests;
