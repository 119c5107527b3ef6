//! Bans and exceptions as sets of customers: whether two of them meet, and whether one covers
//! another, whatever they are written as.
//!
//! Both ask about everybody whom a check would find under the one and under the other: spellings,
//! folded mail addresses and the network that one IPv6 customer has are all in. Where the answer
//! cannot be told for certain, [`meets`] says yes and [`covers`] says no: neither then hides a ban
//! that an exception overrides, nor takes one for harmless.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{AliasOf, Form, Identity, IdentityKind, email, phone, range};

/// How a tenant reads identities, as far as it changes who is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Whether e-mail tags and provider dots are ignored.
    pub email_fold: bool,
    /// How many leading bits of an IPv6 address name one customer.
    pub ipv6_prefix: u8,
}

/// A set of customers, by what it is compared with.
enum Shape<'a> {
    Names(Vec<(IdentityKind, &'a str)>),
    Network(IpNet),
    Prefix(&'a str),
    Domain(&'a str),
}

impl<'a> Shape<'a> {
    fn of(identity: &'a Identity, reading: Reading) -> Self {
        match identity.form {
            Form::Network(network) => Self::Network(network),
            Form::Address(IpAddr::V4(v4)) => Self::Network(IpNet::V4(Ipv4Net::from(v4))),
            Form::Address(IpAddr::V6(v6)) => {
                let whole = Ipv6Net::new(v6, reading.ipv6_prefix).unwrap_or(Ipv6Net::from(v6));
                Self::Network(IpNet::V6(whole.trunc()))
            }
            Form::Prefix => Self::Prefix(&identity.canonical),
            Form::Domain => Self::Domain(&identity.canonical),
            Form::Text => {
                let first = (identity.kind, identity.canonical.as_str());
                let others = identity.aliases.iter().filter(|alias| match alias.of {
                    AliasOf::Spelling => true,
                    AliasOf::Folding => reading.email_fold,
                    AliasOf::Version => false,
                });
                let others = others.map(|alias| (alias.kind, alias.canonical.as_str()));
                Self::Names(std::iter::once(first).chain(others).collect())
            }
        }
    }
}

/// Whether somebody is in both sets.
pub fn meets(one: &Identity, other: &Identity, reading: Reading) -> bool {
    match (Shape::of(one, reading), Shape::of(other, reading)) {
        (Shape::Names(a), Shape::Names(b)) => {
            one.issuer == other.issuer && a.iter().any(|name| b.contains(name))
        }
        (Shape::Network(a), Shape::Network(b)) => a.contains(&b) || b.contains(&a),
        (Shape::Prefix(a), Shape::Prefix(b)) => some_pair(&ways(a), &ways(b), |a, b| {
            a.starts_with(b) || b.starts_with(a)
        }),
        (Shape::Prefix(prefix), Shape::Names(names))
        | (Shape::Names(names), Shape::Prefix(prefix)) => {
            numbers(&names).any(|number| ways(prefix).iter().any(|way| number.starts_with(way)))
        }
        (Shape::Domain(a), Shape::Domain(b)) => {
            let homes = |domain: &str| {
                let home = reading.email_fold.then(|| email::home(domain)).flatten();
                vec![domain.to_owned(), home.unwrap_or(domain).to_owned()]
            };
            some_pair(&homes(a), &homes(b), |a, b| {
                is_within(a, b) || is_within(b, a)
            })
        }
        (Shape::Domain(domain), Shape::Names(names))
        | (Shape::Names(names), Shape::Domain(domain)) => mailbox(&names).is_some_and(|mailbox| {
            let written = if reading.email_fold {
                email::domains(mailbox)
            } else {
                vec![domain_of(mailbox).to_owned()]
            };
            written.iter().any(|written| is_within(written, domain))
        }),
        _ => false,
    }
}

/// Whether everybody in `inner` is in `outer` as well.
pub fn covers(outer: &Identity, inner: &Identity, reading: Reading) -> bool {
    match (Shape::of(outer, reading), Shape::of(inner, reading)) {
        (Shape::Names(a), Shape::Names(b)) => {
            outer.issuer == inner.issuer && a.iter().any(|name| b.contains(name))
        }
        (Shape::Network(a), Shape::Network(b)) => a.contains(&b),
        (Shape::Prefix(a), Shape::Prefix(b)) => b.starts_with(a),
        (Shape::Prefix(prefix), Shape::Names(names)) => {
            // The last name is the one that all the others lead to.
            let plainest = numbers(&names).last().map(str::to_owned);
            plainest.is_some_and(|number| {
                let other = phone::spellings(&number);
                number.starts_with(prefix) || other.is_some_and(|other| other.starts_with(prefix))
            })
        }
        (Shape::Domain(a), Shape::Domain(b)) => is_within(b, a),
        (Shape::Domain(domain), Shape::Names(names)) => {
            mailbox(&names).is_some_and(|mailbox| is_within(domain_of(mailbox), domain))
        }
        _ => false,
    }
}

/// Those under whose look-ups every set is found that holds all of this one: itself where it is one
/// customer, or the first of a range in each of its spellings.
pub fn least_known(identity: &Identity, reading: Reading) -> Vec<Identity> {
    let text = |canonical| Identity::plain(identity.kind, canonical, Form::Text);
    match identity.form {
        Form::Text | Form::Address(_) => vec![identity.clone()],
        Form::Network(network) => {
            let first = network.network();
            let form = Form::Address(first);
            vec![Identity::plain(identity.kind, first.to_string(), form)]
        }
        Form::Prefix => ways(&identity.canonical).into_iter().map(text).collect(),
        Form::Domain => {
            let home = reading.email_fold.then(|| email::home(&identity.canonical));
            let others = home.flatten().filter(|home| *home != identity.canonical);
            let names = std::iter::once(identity.canonical.as_str()).chain(others);
            names.map(|domain| text(format!("x@{domain}"))).collect()
        }
    }
}

/// The telephone numbers among some names.
fn numbers<'a>(names: &[(IdentityKind, &'a str)]) -> impl Iterator<Item = &'a str> {
    names
        .iter()
        .filter(|(kind, _)| *kind == IdentityKind::PhoneNumber)
        .map(|(_, number)| *number)
}

/// Whether it holds for some one of either.
fn some_pair(ones: &[String], others: &[String], holds: impl Fn(&str, &str) -> bool) -> bool {
    ones.iter()
        .any(|one| others.iter().any(|other| holds(one, other)))
}

/// The beginnings that numbers which begin so can have in another spelling, and this one.
fn ways(prefix: &str) -> Vec<String> {
    let mut ways = vec![prefix.to_owned()];
    ways.extend(other_way(prefix));
    ways.extend(without_zero(prefix));
    ways
}

/// The beginnings under which numbers are filed that begin so, in any of their spellings.
///
/// Beyond [`meets`]'s ways, which it compares from both sides: the one with a 0 too much.
pub(in crate::domain) fn beginnings(prefix: &str) -> Vec<String> {
    let mut all = ways(prefix);
    all.extend(with_zero(prefix));
    all
}

/// The beginning of the same numbers with a 0 dialled too much.
pub(in crate::domain) fn with_zero(prefix: &str) -> Option<String> {
    let digits = prefix.strip_prefix('+')?;
    let (code, national) = digits.split_at_checked(phone::country_code_length(digits)?)?;
    Some(format!("+{code}0{national}"))
}

/// The domains that a ban of `domain` shares addresses with, themselves or below them, and the
/// mailbox that a domain of one customer stands for.
pub(in crate::domain) fn homes(domain: &str, reading: Reading) -> (Vec<String>, Option<String>) {
    if !reading.email_fold {
        return (vec![domain.to_owned()], None);
    }
    let mut homes = vec![domain.to_owned()];
    homes.extend(email::kin(domain).map(str::to_owned));
    (homes, email::fold(&format!("x@{domain}")))
}

/// The domains that the mail of an address can be written under.
pub(in crate::domain) fn written_domains(address: &str, reading: Reading) -> Vec<String> {
    let mut all = vec![domain_of(address).to_owned()];
    if reading.email_fold {
        all.extend(email::domains(address));
    }
    all
}

/// The beginning of the same numbers without a 0 that was dialled too much.
fn without_zero(prefix: &str) -> Option<String> {
    let digits = prefix.strip_prefix('+')?;
    let (code, national) = digits.split_at_checked(phone::country_code_length(digits)?)?;
    let rest = national.strip_prefix('0')?.trim_start_matches('0');
    Some(format!("+{code}{rest}"))
}

/// The beginning of the same numbers in the other way of their country.
fn other_way(prefix: &str) -> Option<String> {
    let rest = |code: &str| prefix.strip_prefix(code).filter(|rest| !rest.is_empty());
    if let Some(rest) = rest("+521") {
        return Some(format!("+52{rest}"));
    }
    if let Some(rest) = rest("+52") {
        return Some(format!("+521{rest}"));
    }
    if let Some(rest) = rest("+549") {
        return Some(format!("+54{rest}"));
    }
    if let Some(rest) = rest("+54") {
        return Some(format!("+549{rest}"));
    }
    let (area, own) = rest("+55")?.split_at_checked(2)?;
    match own.strip_prefix('9') {
        Some(own) => Some(format!("+55{area}{own}")),
        None => (!own.is_empty()).then(|| format!("+55{area}9{own}")),
    }
}

/// The mailbox that all names of a mail address lead to.
fn mailbox<'a>(names: &[(IdentityKind, &'a str)]) -> Option<&'a str> {
    let (kind, last) = names.last()?;
    (*kind == IdentityKind::EmailAddress).then_some(*last)
}

fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

/// Whether `domain` is `parent` or lies below it, label by label.
fn is_within(domain: &str, parent: &str) -> bool {
    range::parents(domain).any(|one| one == parent)
}

#[cfg(test)]
mod tests;
