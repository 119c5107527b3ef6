//! Sets against what checks really find, over a small world in which nearly everything meets.

use proptest::prelude::*;

use super::{Reading, covers, meets};
use crate::domain::{
    channel::Channels,
    identity::{Given, Identity, IdentityKind, read, read_domain, read_network, read_prefix},
    ids::TenantId,
    keys::{MasterKey, TenantKey, Widths},
};

fn key() -> TenantKey {
    MasterKey::new(&[5; 32]).tenant(&TenantId::parse("t").unwrap())
}

fn given(kind: IdentityKind, value: &str) -> Given<'_> {
    Given {
        kind: Some(kind),
        value,
        issuer: "",
        region_hint: "",
    }
}

fn one(kind: IdentityKind, value: &str) -> Identity {
    read(&given(kind, value), Channels::NONE, Some("CZ")).expect(value)
}

/// Those who call, write and chat in the small world.
fn people() -> Vec<Identity> {
    use IdentityKind as K;
    let mut people = Vec::new();
    for number in [
        "+420601123456",
        "+4200601123456",
        "+420601123457",
        "+5215512345678",
        "+525512345678",
        "+553196883193",
        "+5531996883193",
        "+553132123456",
        "+5491123456789",
        "+541123456789",
    ] {
        people.push(one(K::PhoneNumber, number));
        people.push(one(K::SipUri, &format!("sip:{number}@pbx;transport=udp")));
    }
    for local in ["alice", "alice+x", "a.lice", "bob"] {
        for domain in [
            "gmail.com",
            "googlemail.com",
            "example.com",
            "mail.example.com",
            "fastmail.com",
            "alice.fastmail.com",
        ] {
            people.push(one(K::EmailAddress, &format!("{local}@{domain}")));
        }
    }
    for address in [
        "203.0.113.1",
        "203.0.113.129",
        "203.0.114.1",
        "2001:db8::1",
        "2001:db8::2",
        "2001:db8:0:1::1",
        "2001:db8:1::1",
    ] {
        people.push(one(K::IpAddress, address));
    }
    people
}

/// What may be banned or excepted there: all of the people, and ranges of them.
fn sets() -> Vec<Identity> {
    let mut sets = people();
    for net in [
        "203.0.113.0/24",
        "203.0.113.0/25",
        "203.0.112.0/22",
        "203.0.113.1/32",
        "2001:db8::/32",
        "2001:db8::/64",
        "2001:db8::/96",
        "2001:db8::1/128",
    ] {
        let given = given(IdentityKind::IpAddress, net);
        sets.push(read_network(&given, Channels::NONE).expect(net));
    }
    for prefix in [
        "+420", "+4206", "+42006", "+5215", "+525", "+5531", "+55319", "+54911", "+5411",
    ] {
        let given = given(IdentityKind::PhoneNumber, prefix);
        sets.push(read_prefix(&given, Channels::NONE).expect(prefix));
    }
    for domain in [
        "gmail.com",
        "googlemail.com",
        "example.com",
        "mail.example.com",
        "fastmail.com",
        "alice.fastmail.com",
        "bob.fastmail.com",
    ] {
        let given = given(IdentityKind::EmailAddress, domain);
        sets.push(read_domain(&given, Channels::NONE).expect(domain));
    }
    sets
}

/// Whether a check of `met` finds a ban on `set`.
fn finds(set: &Identity, met: &Identity, reading: Reading) -> bool {
    let mut keys = key().keys(set, reading.ipv6_prefix);
    // As `decide` does where a tenant folds no mail.
    keys.retain(|(one, _)| {
        reading.email_fold
            || one.kind != IdentityKind::EmailAddress
            || one.matches != crate::domain::identity::MatchKind::Alias
    });
    let mut widths = Widths::default();
    for (one, _) in &keys {
        widths.note(one);
    }
    let mut found = false;
    key().probes(met, &widths, reading.email_fold, |probe| {
        found |= keys
            .iter()
            .any(|(one, _)| one.space == probe.space && one.key == probe.key);
    });
    found
}

fn of(kind: IdentityKind, value: &str) -> Identity {
    match kind {
        IdentityKind::IpAddress if value.contains('/') => {
            read_network(&given(kind, value), Channels::NONE).unwrap()
        }
        IdentityKind::EmailAddress if !value.contains('@') => {
            read_domain(&given(kind, value), Channels::NONE).unwrap()
        }
        IdentityKind::PhoneNumber if value.len() < 8 => {
            read_prefix(&given(kind, value), Channels::NONE).unwrap()
        }
        _ => one(kind, value),
    }
}

const READING: Reading = Reading {
    email_fold: true,
    ipv6_prefix: 64,
};

#[test]
fn two_sets_meet_and_cover_each_other_as_one_would_say() {
    use IdentityKind as K;
    for (kind, outer, inner, meet, cover) in [
        (K::PhoneNumber, "+4206", "+420601123456", true, true),
        (K::PhoneNumber, "+4207", "+420601123456", false, false),
        (K::PhoneNumber, "+420601123456", "+4206", true, false),
        (K::PhoneNumber, "+420", "+4206", true, true),
        (K::PhoneNumber, "+5255", "+5215512345678", true, true),
        (
            K::PhoneNumber,
            "+525512345678",
            "+5215512345678",
            true,
            true,
        ),
        (
            K::EmailAddress,
            "example.com",
            "a@mail.example.com",
            true,
            true,
        ),
        (
            K::EmailAddress,
            "mail.example.com",
            "a@example.com",
            false,
            false,
        ),
        (
            K::EmailAddress,
            "example.com",
            "mail.example.com",
            true,
            true,
        ),
        (K::EmailAddress, "ample.com", "a@example.com", false, false),
        (K::EmailAddress, "gmail.com", "a@googlemail.com", true, true),
        (
            K::EmailAddress,
            "googlemail.com",
            "a@gmail.com",
            true,
            false,
        ),
        (K::IpAddress, "203.0.113.0/24", "203.0.113.7", true, true),
        (K::IpAddress, "203.0.113.7", "203.0.113.0/24", true, false),
        (K::IpAddress, "2001:db8::/64", "2001:db8::7", true, true),
        (K::IpAddress, "2001:db8::/96", "2001:db8::7", true, false),
        (
            K::IpAddress,
            "203.0.113.0/24",
            "::ffff:203.0.113.7",
            true,
            true,
        ),
        (K::IpAddress, "::/0", "203.0.113.7", false, false),
    ] {
        let (outer, inner) = (of(kind, outer), of(kind, inner));
        assert_eq!(meets(&outer, &inner, READING), meet, "{outer:?} {inner:?}");
        assert_eq!(
            covers(&outer, &inner, READING),
            cover,
            "{outer:?} {inner:?}"
        );
    }
}

#[test]
fn ids_of_two_issuers_never_meet() {
    let psid = |issuer| {
        let given = Given {
            issuer,
            ..given(IdentityKind::MessengerPsid, "123456")
        };
        read(&given, Channels::NONE, None).unwrap()
    };
    assert!(covers(&psid("page-1"), &psid("page-1"), READING));
    assert!(!meets(&psid("page-1"), &psid("page-2"), READING));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn what_a_check_finds_under_both_is_where_two_sets_meet(
        a in prop::sample::select(sets()),
        b in prop::sample::select(sets()),
        email_fold in any::<bool>(),
        ipv6_prefix in prop::sample::select(vec![48u8, 64, 128]),
    ) {
        let reading = Reading { email_fold, ipv6_prefix };
        let (mut both, mut only_b) = (None, None);
        for met in people() {
            match (finds(&a, &met, reading), finds(&b, &met, reading)) {
                (true, true) => both = Some(met),
                (false, true) => only_b = Some(met),
                _ => {}
            }
        }
        if let Some(met) = both {
            prop_assert!(meets(&a, &b, reading), "both find {met:?}");
        }
        if let Some(met) = only_b {
            prop_assert!(!covers(&a, &b, reading), "only the second finds {met:?}");
        }
        prop_assert_eq!(meets(&a, &b, reading), meets(&b, &a, reading));
        prop_assert!(!covers(&a, &b, reading) || meets(&a, &b, reading));
        prop_assert!(covers(&a, &a, reading));
    }
}
