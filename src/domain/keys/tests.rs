use super::*;
use crate::domain::{
    access::KeyId,
    channel::{Channel, Channels},
    identity::{Given, read, read_domain, read_network, read_prefix, sets::Reading},
    ids::TenantId,
};

const CHAT: Channels = Channels::of(&[Channel::WebChat]);

fn key() -> TenantKey {
    MasterKey::new(&[7; 32]).tenant(&TenantId::parse("t").unwrap())
}

fn given(value: &str) -> Given<'_> {
    Given {
        kind: Some(IdentityKind::IpAddress),
        value,
        issuer: "",
        region_hint: "",
    }
}

fn matches(ban: &Identity, met: &str, prefix: u8) -> bool {
    let keys = key().keys(ban, prefix);
    let mut widths = Widths::default();
    for (one, _) in &keys {
        widths.note(one);
    }
    let mut hit = false;
    key().probes(
        &read(&given(met), CHAT, None).unwrap(),
        &widths,
        true,
        |probe| {
            hit |= keys
                .iter()
                .any(|(one, _)| one.space == probe.space && one.key == probe.key);
        },
    );
    hit
}

#[test]
fn a_range_holds_the_addresses_inside_it_and_no_others() {
    for (net, inside, outside) in [
        ("203.0.113.0/24", "203.0.113.255", "203.0.114.0"),
        ("203.0.113.7/32", "203.0.113.7", "203.0.113.6"),
        ("128.0.0.0/1", "255.1.2.3", "127.255.255.255"),
        ("0.0.0.0/0", "203.0.113.7", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("2001:db8::/127", "2001:db8::1", "2001:db8::2"),
        ("2001:db8::5/128", "2001:db8::5", "2001:db8::4"),
        ("::ffff:192.0.2.0/120", "192.0.2.9", "192.0.3.9"),
    ] {
        let ban = read_network(&given(net), CHAT).unwrap();
        assert!(matches(&ban, inside, 64), "{net} {inside}");
        assert!(!matches(&ban, outside, 64), "{net} {outside}");
    }
}

#[test]
fn an_ipv6_address_stands_for_the_network_that_one_customer_has() {
    let ban = read(&given("2001:db8:1:2:3::4"), CHAT, None).unwrap();
    assert!(matches(&ban, "2001:db8:1:2:ffff::9", 64));
    assert!(!matches(&ban, "2001:db8:1:3::1", 64));
    assert!(!matches(&ban, "2001:db8:1:2:ffff::9", 128));
}

#[test]
fn the_digests_of_two_tenants_have_nothing_in_common() {
    let other = MasterKey::new(&[7; 32]).tenant(&TenantId::parse("u").unwrap());
    let identity = read(&given("192.0.2.1"), CHAT, None).unwrap();
    assert_ne!(key().keys(&identity, 64), other.keys(&identity, 64));
}

#[test]
fn a_seal_recognises_its_own_signature_and_no_other() {
    let seal = MasterKey::new(&[7; 32]).seal("page");
    let signature = seal.sign(b"text");
    assert!(seal.verify(b"text", &signature));
    assert!(!seal.verify(b"texts", &signature));
    assert!(
        !MasterKey::new(&[7; 32])
            .seal("token")
            .verify(b"text", &signature)
    );
}

fn ring(current: u8, others: &[u8]) -> MasterKey {
    let others: Vec<_> = others.iter().map(|one| [*one; 32]).collect();
    MasterKey::ring(&[current; 32], &others)
}

#[test]
fn what_any_key_of_the_ring_has_filed_is_looked_for() {
    let tenant = TenantId::parse("t").unwrap();
    let (old, turned) = (ring(1, &[]).tenant(&tenant), ring(2, &[1]).tenant(&tenant));
    let given = |kind, value| Given {
        kind: Some(kind),
        ..given(value)
    };
    let (phone, mail, ip) = (
        IdentityKind::PhoneNumber,
        IdentityKind::EmailAddress,
        IdentityKind::IpAddress,
    );
    let one = |kind, value| read(&given(kind, value), Channels::NONE, None);
    let net = |value| read_network(&given(ip, value), Channels::NONE);
    for identity in [
        one(phone, "+5215512345678"),
        one(mail, "a.b+c@gmail.com"),
        one(ip, "192.0.2.1"),
        one(ip, "2001:db8::1"),
        one(IdentityKind::VisitorToken, "somebody"),
        net("203.0.113.7/32"),
        net("203.0.113.0/24"),
        read_prefix(&given(phone, "+4206"), Channels::NONE),
        read_domain(&given(mail, "example.com"), Channels::NONE),
    ] {
        let identity = identity.unwrap();
        let looked_for = |key: &TenantKey| {
            let mut probes = Vec::new();
            key.probes(&identity, &Widths::ALL, true, |probe| probes.push(probe));
            probes
        };
        let reading = Reading {
            email_fold: true,
            ipv6_prefix: 64,
        };
        let (alone, both) = (looked_for(&old), looked_for(&turned));
        assert!(alone.iter().all(|probe| both.contains(probe)));
        let reach = turned.reach(&identity, reading);
        assert!(
            old.reach(&identity, reading)
                .keys
                .iter()
                .all(|key| reach.keys.contains(key))
        );
        let filed: Vec<_> = old
            .keys(&identity, 64)
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        let elsewhere = turned.keys_elsewhere(&identity, 64);
        for key in &filed {
            let in_the_clear = key.space == Space::Range;
            assert!(in_the_clear || elsewhere.contains(key));
            let own = turned.keys(&identity, 64);
            assert_eq!(own.iter().any(|(one, _)| one == key), in_the_clear);
        }
        // Its own names come before other ones, whichever key they are filed under.
        let first_other = both
            .iter()
            .position(|probe| probe.alias)
            .unwrap_or(both.len());
        let own: Vec<_> = alone
            .iter()
            .filter(|one| !one.alias && one.width == 0)
            .collect();
        assert!(own.is_empty() || both[..first_other].contains(own[0]));
        // A key alone looks for no more than it ever did.
        assert_eq!(looked_for(&ring(1, &[1]).tenant(&tenant)), alone);
    }
}

#[test]
fn what_any_key_of_the_ring_has_sealed_or_locked_is_recognised_and_made_with_the_current_one() {
    let (old, turned, after) = (ring(1, &[]), ring(2, &[3, 1]), ring(2, &[]));
    let signature = old.seal("page").sign(b"text");
    assert!(turned.seal("page").verify(b"text", &signature));
    assert!(!turned.seal("page").verify(b"texts", &signature));
    assert!(!after.seal("page").verify(b"text", &signature));
    let new = turned.seal("page").sign(b"text");
    assert!(after.seal("page").verify(b"text", &new));
    assert!(!old.seal("page").verify(b"text", &new));

    let id = KeyId::from_bytes([1; 8]);
    let lock = old.key_lock().lock(id, "secret");
    assert!(turned.key_lock().opens(&lock, id, "secret"));
    assert!(!turned.key_lock().opens(&lock, id, "secrets"));
    assert!(!after.key_lock().opens(&lock, id, "secret"));
    assert!(
        after
            .key_lock()
            .opens(&turned.key_lock().lock(id, "secret"), id, "secret")
    );
}

#[test]
fn a_ring_is_told_by_fingerprints_and_holds_each_key_once() {
    let told = ring(2, &[1, 2, 1]).fingerprints();
    assert_eq!(told.current, ring(2, &[]).fingerprints().current);
    assert_eq!(told.others, [ring(1, &[]).fingerprints().current]);
    assert!(told.holds(&told.current) && told.holds(&told.others[0]) && !told.holds(""));
    assert_eq!(Fingerprints::short(&told.current).len(), 8);
    let numbers = [&told.current, &told.others[0]].map(|one| Fingerprints::number(one));
    assert!(numbers[0] != numbers[1] && numbers.iter().all(|one| *one > 0));
}

#[test]
fn a_digest_and_a_trail_are_what_another_pod_made_of_the_same() {
    let tenant = TenantId::parse("t").unwrap();
    let (old, turned) = (ring(1, &[]).tenant(&tenant), ring(2, &[1]).tenant(&tenant));
    assert_eq!(
        turned.digests_elsewhere(&[b"body"]),
        [old.digest_of(&[b"body"])]
    );
    assert!(old.digests_elsewhere(&[b"body"]).is_empty());
    let mut trail = [0; 16];
    let mut elsewhere = Vec::new();
    for part in [&b"one"[..], b"two", b"three"] {
        trail = old.digest_of(&[&trail, part]);
        elsewhere = turned.trails_elsewhere(&elsewhere, part);
        assert_eq!(elsewhere, [trail]);
    }
}
