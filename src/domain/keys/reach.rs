//! Where everything lies that could meet an identity, so that a store finds it without looking at
//! every ban: what covers it has keys that can be told, what it covers lies in one stretch.
//!
//! What is inside a range cannot be found by keys, which are mixed on purpose. So a key that a range
//! could hold has a *place* as well, a text in which a range's members are neighbours:
//!
//! | kind | key | place |
//! |---|---|---|
//! | number, prefix | `+420601123456`, `+4206*` | `+420601123456`, `+4206` |
//! | mail, domain | `a@mx.example.com`, `*@example.com` | `@com.example.mx.`, `@com.example.` |
//! | address, network | `203.0.113.7`, `203.0.113.0/24` | `4:` or `6:`, then its first address in IPv6 |

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Digester, TenantKey, mapped, prefix_key, range_key};
use crate::domain::{
    identity::{
        AliasOf, Form, Identity, IdentityKind,
        range::{labels, parents},
        sets::{self, Reading},
    },
    view::index::Key,
};

/// The longest beginning of a number that is worth a look: no prefix has more digits.
const PREFIX_DIGITS: usize = 14;

/// The places from one on, up to and without another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first of them.
    pub from: String,
    /// The first that is none of them.
    pub to: String,
}

impl Span {
    /// All places that begin so; the last byte is ASCII.
    fn beginning(with: String) -> Self {
        let mut to = with.clone();
        if let Some(last) = to.pop() {
            to.extend(char::from_u32(u32::from(last) + 1));
        }
        Self { from: with, to }
    }

    /// This place alone.
    fn only(place: String) -> Self {
        Self {
            to: format!("{place}\u{1}"),
            from: place,
        }
    }

    /// Whether a place is one of them.
    pub fn holds(&self, place: &str) -> bool {
        (self.from.as_str()..self.to.as_str()).contains(&place)
    }
}

/// Where bans and exceptions are filed that share somebody with an identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The keys of all that could cover it, its own among them.
    pub keys: Vec<Key>,
    /// The places of all that it could cover; none for what is no range.
    pub spans: Vec<Span>,
}

impl Reach {
    /// What is reached by the one or by the other.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.keys.extend(other.keys);
        self.spans.extend(other.spans);
        self.keys.sort_unstable();
        self.keys.dedup();
        self.spans.sort_unstable();
        self.spans.dedup();
        self
    }
}

/// The place of a key with this readable form; `None` = no range holds it.
pub fn place(kind: IdentityKind, text: &str) -> Option<String> {
    match kind {
        IdentityKind::PhoneNumber if text.starts_with('+') => {
            Some(text.trim_end_matches('*').to_owned())
        }
        IdentityKind::EmailAddress => {
            let (_, domain) = text.rsplit_once('@')?;
            Some(place_of_domain(domain))
        }
        IdentityKind::IpAddress => {
            let net = text.parse::<IpNet>();
            let net = net.or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            Some(place_of_address(net.ok()?.network()))
        }
        _ => None,
    }
}

fn place_of_domain(domain: &str) -> String {
    let mut place = String::with_capacity(domain.len() + 2);
    place.push('@');
    for label in domain.rsplit('.') {
        place.push_str(label);
        place.push('.');
    }
    place
}

fn place_of_address(address: IpAddr) -> String {
    let family = if address.is_ipv4() { 4 } else { 6 };
    format!("{family}:{:032x}", mapped(address).0)
}

impl TenantKey {
    /// Where all is filed that meets `identity`, as [`sets::meets`] has it.
    ///
    /// It takes a few keys for a number or a mail address, up to 256 for IPv6, whichever widths are
    /// in use: a store looks up so many in a moment, and counting widths would take a look at all.
    pub fn reach(&self, identity: &Identity, reading: Reading) -> Reach {
        let found = match identity.form {
            Form::Network(net) => self.reach_of_network(net),
            Form::Address(IpAddr::V4(v4)) => self.reach_of_network(IpAddr::V4(v4).into()),
            Form::Address(IpAddr::V6(v6)) => {
                let whole = IpNet::new(v6.into(), reading.ipv6_prefix);
                self.reach_of_network(whole.unwrap_or(IpAddr::V6(v6).into()).trunc())
            }
            Form::Prefix => {
                let mut reach = Reach::default();
                for beginning in sets::beginnings(&identity.canonical) {
                    reach.keys.extend(prefixes(&beginning));
                    reach.spans.push(Span::beginning(beginning));
                }
                reach
            }
            Form::Domain => {
                let mut reach = Reach::default();
                let (domains, mailbox) = sets::homes(&identity.canonical, reading);
                for domain in domains {
                    reach.keys.extend(self.domains(&domain));
                    let place = place_of_domain(&domain);
                    // A provider's second name says nothing of the domains below the first.
                    reach.spans.push(if domain == identity.canonical {
                        Span::beginning(place)
                    } else {
                        Span::only(place)
                    });
                }
                if let Some(mailbox) = mailbox {
                    let digest = |key: &Digester| key.digest(identity.kind, "", &mailbox);
                    reach.keys.extend(self.0.each().map(digest));
                }
                reach
            }
            Form::Text => self.reach_of_names(identity, reading),
        };
        Reach::default().and(found)
    }

    fn reach_of_network(&self, net: IpNet) -> Reach {
        let (bits, fixed) = mapped(net.network());
        let width = fixed + net.prefix_len();
        let mut keys: Vec<Key> = (fixed.max(1)..=width.min(127))
            .map(|width| range_key(bits, width))
            .collect();
        match net.network() {
            IpAddr::V6(v6) => {
                for one in self.0.each() {
                    keys.extend((1..=width).map(|width| one.v6_digest(v6, width)));
                }
            }
            IpAddr::V4(v4) if width == 128 => {
                let text = v4.to_string();
                let digest = |key: &Digester| key.digest(IdentityKind::IpAddress, "", &text);
                keys.extend(self.0.each().map(digest));
            }
            IpAddr::V4(_) => {}
        }
        let inside = (width < 128).then(|| Span {
            from: place_of_address(net.network()),
            to: place_of_address(net.broadcast()) + "~",
        });
        Reach {
            keys,
            spans: Vec::from_iter(inside),
        }
    }

    fn reach_of_names(&self, identity: &Identity, reading: Reading) -> Reach {
        let mut keys = Vec::new();
        let others = identity
            .aliases
            .iter()
            .filter(|alias| reading.email_fold || alias.of != AliasOf::Folding)
            .map(|alias| (alias.kind, alias.canonical.as_str()));
        for (kind, name) in
            std::iter::once((identity.kind, identity.canonical.as_str())).chain(others)
        {
            let digest = |key: &Digester| key.digest(kind, &identity.issuer, name);
            keys.extend(self.0.each().map(digest));
            match kind {
                IdentityKind::PhoneNumber if name.starts_with('+') => {
                    keys.extend(prefixes(name));
                    // Dialled so, it is found under its own name all the same.
                    keys.extend(sets::with_zero(name).iter().flat_map(|one| prefixes(one)));
                }
                IdentityKind::EmailAddress => {
                    for domain in sets::written_domains(name, reading) {
                        keys.extend(self.domains(&domain));
                    }
                }
                _ => {}
            }
        }
        Reach {
            keys,
            spans: Vec::new(),
        }
    }

    /// The keys of a domain and of those above it.
    fn domains(&self, domain: &str) -> impl Iterator<Item = Key> {
        debug_assert!(labels(domain) <= 128, "the DNS has no longer names");
        parents(domain).flat_map(|one| self.0.each().map(move |key| key.domain_digest(one)))
    }
}

/// The keys of the beginnings of a number.
fn prefixes(number: &str) -> impl Iterator<Item = Key> {
    let digits = number.as_bytes().get(1..).unwrap_or_default();
    (1..=digits.len().min(PREFIX_DIGITS)).map(|width| prefix_key(&digits[..width]))
}

#[cfg(test)]
mod tests;
