//! Ranges: networks of addresses, numbers that begin alike, mail of a domain.
//!
//! A check never hands one over; only a ban or an exception is on a range. How wide one may be is
//! not judged here.

use super::{Caution, Form, Given, Identity, IdentityKind, MAX_VALUE_BYTES, Unreadable};
use super::{email, ip, kind_of, legible};
use crate::domain::channel::{Channel, Channels};

/// The longest prefix: a whole number in E.164 is no range.
pub const MAX_PREFIX_DIGITS: usize = 14;

const fn unparseable(kind: IdentityKind) -> Unreadable {
    Unreadable {
        kind: Some(kind),
        caution: Caution::Unparseable,
    }
}

/// Reads a network of IP addresses, as `203.0.113.0/24` or `2001:db8::/32`.
///
/// Host bits are masked away. A value without `/` is one address, which [`super::read`] is for.
pub fn read_network(given: &Given<'_>, channels: Channels) -> Result<Identity, Unreadable> {
    let kind = match given.kind {
        // No single address holds a '/', so inference would take the network for a token.
        None if channels.only() == Some(Channel::WebChat) => IdentityKind::IpAddress,
        _ => kind_of(given, channels)?,
    };
    if kind != IdentityKind::IpAddress {
        return Err(unparseable(kind));
    }
    let network = legible(given, kind)
        .and_then(|text| ip::network(&text))
        .ok_or(unparseable(kind))?;
    Ok(Identity::plain(
        kind,
        network.to_string(),
        Form::Network(network),
    ))
}

/// Reads the beginning of telephone numbers, as `+4206`: always international, `+` and digits.
///
/// What people put between digits is set aside; a national form is not read, for nobody can say
/// where in it the country's own prefix ends.
pub fn read_prefix(given: &Given<'_>, channels: Channels) -> Result<Identity, Unreadable> {
    let kind = kind_of(given, channels)?;
    if kind != IdentityKind::PhoneNumber {
        return Err(unparseable(kind));
    }
    let text = legible(given, kind).ok_or(unparseable(kind))?;
    let digits = text
        .strip_prefix('+')
        .map(|rest| rest.replace([' ', '-', '.', '(', ')'], ""))
        .filter(|digits| (1..=MAX_PREFIX_DIGITS).contains(&digits.len()))
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0'))
        .ok_or(unparseable(kind))?;
    Ok(Identity::plain(kind, format!("+{digits}"), Form::Prefix))
}

/// Reads a domain of mail addresses, as `example.com`: bare, without `@` or `*`.
pub fn read_domain(given: &Given<'_>, channels: Channels) -> Result<Identity, Unreadable> {
    let kind = kind_of(given, channels)?;
    if kind != IdentityKind::EmailAddress {
        return Err(unparseable(kind));
    }
    let domain = legible(given, kind)
        .and_then(|text| email::domain(&text))
        .filter(|domain| !domain.contains(['@', '*', '"']))
        // Labels grow when they are written in ASCII.
        .filter(|domain| domain.len() <= MAX_VALUE_BYTES)
        .ok_or(unparseable(kind))?;
    Ok(Identity::plain(kind, domain, Form::Domain))
}

/// The domains that mail of `domain` is filed under: itself and those above it, top level last.
pub fn parents(domain: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(domain), |domain| {
        domain.split_once('.').map(|(_, parent)| parent)
    })
}

/// How many labels a domain has.
pub fn labels(domain: &str) -> usize {
    domain.split('.').count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{parents, read_domain, read_network, read_prefix};
    use crate::domain::channel::Channels;
    use crate::domain::identity::{Given, IdentityKind};

    fn given(kind: IdentityKind, value: &str) -> Given<'_> {
        Given {
            kind: Some(kind),
            value,
            issuer: "",
            region_hint: "",
        }
    }

    fn prefix(value: &str) -> Option<String> {
        let read = read_prefix(&given(IdentityKind::PhoneNumber, value), Channels::NONE);
        read.ok().map(|identity| identity.canonical)
    }

    fn domain(value: &str) -> Option<String> {
        let read = read_domain(&given(IdentityKind::EmailAddress, value), Channels::NONE);
        read.ok().map(|identity| identity.canonical)
    }

    #[test]
    fn a_prefix_is_international() {
        assert_eq!(prefix("+4206").as_deref(), Some("+4206"));
        assert_eq!(prefix(" +420 (6)-01 ").as_deref(), Some("+420601"));
        for text in [
            "4206",
            "004206",
            "+",
            "+0420",
            "+420x",
            "+420601123456789",
            "",
            "+٤٢٠",
        ] {
            assert_eq!(prefix(text), None, "{text}");
        }
    }

    #[test]
    fn a_domain_is_bare() {
        assert_eq!(domain("Example.COM.").as_deref(), Some("example.com"));
        assert_eq!(
            domain("Bücher.example").as_deref(),
            Some("xn--bcher-kva.example")
        );
        assert_eq!(domain("com").as_deref(), Some("com"));
        for text in [
            "a@example.com",
            "@example.com",
            "*.example.com",
            "exa mple.com",
            ".",
            "",
            "a..b",
        ] {
            assert_eq!(domain(text), None, "{text}");
        }
        let parents: Vec<_> = parents("a.b.example.com").collect();
        assert_eq!(
            parents,
            ["a.b.example.com", "b.example.com", "example.com", "com"]
        );
    }

    #[test]
    fn a_range_of_another_kind_is_not_read() {
        for kind in IdentityKind::ALL {
            let (number, host) = (given(kind, "+4206"), given(kind, "example.com"));
            let network = given(kind, "203.0.113.0/24");
            assert_eq!(
                read_prefix(&number, Channels::NONE).is_ok(),
                kind == IdentityKind::PhoneNumber
            );
            assert_eq!(
                read_domain(&host, Channels::NONE).is_ok(),
                kind == IdentityKind::EmailAddress
            );
            assert_eq!(
                read_network(&network, Channels::NONE).is_ok(),
                kind == IdentityKind::IpAddress
            );
        }
    }

    proptest! {
        #[test]
        fn reading_a_range_again_changes_nothing(text in "\\PC{0,20}|\\+[0-9 .-]{1,16}|[a-zA-Z.ß-]{1,20}") {
            if let Some(first) = prefix(&text) {
                prop_assert_eq!(prefix(&first), Some(first));
            }
            if let Some(first) = domain(&text) {
                prop_assert_eq!(domain(&first), Some(first));
            }
        }
    }
}
