use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::domain::{
    channel::Channels,
    identity::{Given, read, read_domain, read_network, read_prefix, sets::meets},
    ids::TenantId,
    keys::MasterKey,
};

fn key() -> TenantKey {
    MasterKey::new(&[3; 32]).tenant(&TenantId::parse("t").unwrap())
}

fn given(kind: IdentityKind, value: &str) -> Given<'_> {
    Given {
        kind: Some(kind),
        value,
        issuer: "",
        region_hint: "",
    }
}

fn exact(kind: IdentityKind, value: &str) -> Identity {
    read(&given(kind, value), Channels::NONE, None).unwrap()
}

fn network(value: &str) -> Identity {
    read_network(&given(IdentityKind::IpAddress, value), Channels::NONE).unwrap()
}

fn prefix(value: &str) -> Identity {
    read_prefix(&given(IdentityKind::PhoneNumber, value), Channels::NONE).unwrap()
}

fn domain(value: &str) -> Identity {
    read_domain(&given(IdentityKind::EmailAddress, value), Channels::NONE).unwrap()
}

/// Whether a store that has `filed` finds it from `asked`.
fn finds(asked: &Identity, filed: &Identity, reading: Reading) -> bool {
    let reach = key().reach(asked, reading);
    key()
        .keys(filed, reading.ipv6_prefix)
        .iter()
        .filter(|(one, _)| {
            // As the store does where mail is not folded.
            reading.email_fold
                || one.kind != IdentityKind::EmailAddress
                || one.matches != crate::domain::identity::MatchKind::Alias
        })
        .any(|(one, text)| {
            let place = place(one.kind, text);
            reach.keys.contains(&one.key)
                || place.is_some_and(|place| reach.spans.iter().any(|span| span.holds(&place)))
        })
}

/// A small world, in which many meet and many only nearly do. One 0 too much is looked for in it, but
/// not two.
fn anybody() -> impl Strategy<Value = Identity> {
    let number = prop_oneof![
        "\\+4200?60[1679][0-9]{6}",
        "\\+521?55[1679][0-9]{7}",
        "\\+549?11[1679][0-9]{7}",
        "\\+55119?[679][0-9]{7}",
    ]
    .prop_map(|text| exact(IdentityKind::PhoneNumber, &text))
    .prop_filter("somebody's", |number| number.cautions.is_empty());
    let beginning =
        "\\+(420|52|521|54|549|5511|55119|4)0?[1679]{0,2}".prop_map(|text| prefix(&text));
    let mailbox = "[ab.]{0,2}[ab](\\+x)?@([ab]\\.)?(gmail\\.com|googlemail\\.com|fastmail\\.com|example\\.com)"
        .prop_map(|text| exact(IdentityKind::EmailAddress, &text));
    let home = "([ab]\\.)?(gmail\\.com|googlemail\\.com|fastmail\\.com|example\\.com|com)"
        .prop_map(|text| domain(&text));
    let v4 = (0_u32..64).prop_map(|low| {
        exact(
            IdentityKind::IpAddress,
            &Ipv4Addr::from(0xcb00_7100 | low).to_string(),
        )
    });
    let v6 = (0_u128..4, 0_u128..4).prop_map(|(high, low)| {
        let bits = (0x2001_0db8 << 96) | (high << 63) | low;
        exact(
            IdentityKind::IpAddress,
            &Ipv6Addr::from_bits(bits).to_string(),
        )
    });
    let net4 = (0_u32..64, 1_u8..=32)
        .prop_map(|(low, len)| network(&format!("{}/{len}", Ipv4Addr::from(0xcb00_7100 | low))));
    let net6 = (0_u128..4, 0_u128..4, 1_u8..=128).prop_map(|(high, low, len)| {
        let bits = (0x2001_0db8 << 96) | (high << 63) | low;
        network(&format!("{}/{len}", Ipv6Addr::from_bits(bits)))
    });
    prop_oneof![number, beginning, mailbox, home, v4, v6, net4, net6]
}

#[test]
fn ranges_are_seen_from_inside_and_from_outside() {
    let reading = Reading {
        email_fold: true,
        ipv6_prefix: 64,
    };
    let phone = |text| exact(IdentityKind::PhoneNumber, text);
    let mail = |text| exact(IdentityKind::EmailAddress, text);
    let ip = |text| exact(IdentityKind::IpAddress, text);
    for (one, other) in [
        (prefix("+4206"), phone("+420601123456")),
        (prefix("+4206"), prefix("+420601")),
        (prefix("+5255"), phone("+5215512345678")),
        (prefix("+52155"), prefix("+5255")),
        (
            prefix("+4206"),
            exact(IdentityKind::SipUri, "sip:+420601123456@pbx"),
        ),
        (domain("example.com"), mail("a@mx.example.com")),
        (domain("example.com"), domain("a.example.com")),
        (domain("googlemail.com"), mail("alice@gmail.com")),
        (domain("gmail.com"), domain("googlemail.com")),
        (domain("alice.fastmail.com"), mail("alice@fastmail.com")),
        (network("203.0.113.0/24"), ip("203.0.113.7")),
        (network("203.0.113.0/24"), network("203.0.113.64/28")),
        (network("203.0.113.7/32"), ip("203.0.113.7")),
        (network("2001:db8::/32"), ip("2001:db8::1")),
        (network("2001:db8::5/128"), ip("2001:db8::1")),
        (network("2001:db8::/72"), ip("2001:db8::1")),
    ] {
        assert!(meets(&one, &other, reading), "{one:?} {other:?}");
        assert!(finds(&one, &other, reading), "{one:?} → {other:?}");
        assert!(finds(&other, &one, reading), "{other:?} → {one:?}");
    }
    for (one, other) in [
        (prefix("+4206"), phone("+420701123456")),
        (domain("example.com"), mail("a@notexample.com")),
        (domain("example.com"), domain("example.com.cz")),
        (network("203.0.113.0/24"), ip("203.0.114.0")),
        (network("203.0.113.0/24"), ip("2001:db8::1")),
        (network("2001:db8::/32"), ip("2001:db9::1")),
    ] {
        assert!(!finds(&one, &other, reading) && !finds(&other, &one, reading));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn whoever_meets_is_found_from_either_side(
        one in anybody(),
        other in anybody(),
        email_fold in any::<bool>(),
        ipv6_prefix in prop::sample::select(vec![48, 64, 128]),
    ) {
        let reading = Reading { email_fold, ipv6_prefix };
        let meet = meets(&one, &other, reading);
        let found = [finds(&one, &other, reading), finds(&other, &one, reading)];
        // Where prefixes have several spellings, and of a domain below a provider's and the provider's
        // second name, `meets` is not certain; what a prefix holds plainly is found all the same.
        let names = |identity: &Identity| -> Vec<String> {
            let others = identity.aliases.iter().map(|alias| alias.canonical.clone());
            others.chain([identity.canonical.clone()]).collect()
        };
        let begins = |one: &Identity, other: &Identity| {
            other.form == Form::Prefix
                && names(one).iter().any(|name| name.starts_with(&other.canonical))
        };
        let uncertain = match (one.form, other.form) {
            (Form::Prefix, _) | (_, Form::Prefix) => !begins(&one, &other) && !begins(&other, &one),
            (Form::Domain, Form::Domain) => true,
            _ => false,
        };
        let right = |found| found == meet || (meet && uncertain);
        prop_assert!(found.into_iter().all(right), "{:?}: {:?} {:?}", found, one, other);
    }
}
