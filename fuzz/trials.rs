//! What must hold whatever a stranger sends: one function for each parser that meets strangers.
//!
//! The fuzz targets call these, and so does `tests/trials.rs` on a stable toolchain, with the seeds
//! and with made-up input. Each panics where a promise is broken.
//!
//! Input is text: a first line of words that say how to read it, then the value itself.

use bancheck::{
    desk::Pages,
    domain::{
        channel::{Channel, Channels},
        identity::{
            Caution, Form, Given, Identity, IdentityKind, MAX_VALUE_BYTES, read, read_domain,
            read_network, read_prefix,
            sets::{Reading, covers, meets},
        },
        ids::TenantId,
        keys::{MasterKey, TenantKey, Widths},
        period::CalendarPeriod,
        revision::Position,
    },
};

const READING: Reading = Reading {
    email_fold: true,
    ipv6_prefix: 64,
};

/// The hint of the first line, and what follows it.
fn hinted(data: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(data);
    match text.split_once('\n') {
        Some((hint, value)) => (hint.to_owned(), value.to_owned()),
        None => (String::new(), text.into_owned()),
    }
}

fn given<'a>(kind: IdentityKind, value: &'a str, hint: &'a str) -> Given<'a> {
    Given {
        kind: Some(kind),
        value,
        issuer: "issuer",
        region_hint: hint,
    }
}

fn key() -> TenantKey {
    MasterKey::new(&[9; 32]).tenant(&TenantId::parse("t").expect("an id"))
}

/// Whether a check of `who` finds what is filed under `banned`.
fn is_met(banned: &Identity, who: &Identity) -> bool {
    let key = key();
    let filed = key.keys(banned, READING.ipv6_prefix);
    let mut widths = Widths::default();
    for (one, _) in &filed {
        widths.note(one);
    }
    let mut met = false;
    key.probes(who, &widths, READING.email_fold, |probe| {
        met |= filed
            .iter()
            .any(|(one, _)| (one.space, one.key) == (probe.space, probe.key));
    });
    met
}

/// What holds of everything that was read.
fn sound(identity: &Identity) {
    let names = identity.aliases.iter().map(|alias| &alias.canonical);
    for name in names.chain([&identity.canonical]) {
        assert!(name.len() <= 2 * MAX_VALUE_BYTES, "too long");
        assert!(!name.chars().any(char::is_control), "a control character");
    }
    assert!(identity.canonical.len() <= MAX_VALUE_BYTES, "too long");
}

/// A value is read alike twice, its canonical form is its own, and a ban on it meets it.
fn one(kind: IdentityKind, value: &str, hint: &str, channels: Channels) {
    let given = given(kind, value, hint);
    let identity = match read(&given, channels, None) {
        Ok(identity) => identity,
        Err(unreadable) => {
            let expected = matches!(
                unreadable.caution,
                Caution::Unparseable | Caution::KindChannelMismatch
            );
            assert!(expected, "an unexpected caution");
            return;
        }
    };
    sound(&identity);
    if identity.kind == IdentityKind::Withheld {
        return;
    }
    assert!(is_met(&identity, &identity), "a ban does not meet itself");
    let canonical = Given {
        value: &identity.canonical,
        ..given
    };
    let again = read(&canonical, channels, None).expect("a canonical form is readable");
    assert_eq!(
        again.canonical, identity.canonical,
        "the form is not its own"
    );
    assert_eq!(again.kind, identity.kind, "the kind has changed");
    assert!(
        is_met(&identity, &again),
        "a ban does not meet its own form"
    );
}

/// Telephone numbers, on each of their channels.
pub(crate) fn phone(data: &[u8]) {
    let (hint, value) = hinted(data);
    for channels in [
        Channels::NONE,
        Channels::of(&[Channel::Call]),
        Channels::of(&[Channel::Whatsapp]),
    ] {
        one(IdentityKind::PhoneNumber, &value, &hint, channels);
    }
}

/// Mail addresses.
pub(crate) fn email(data: &[u8]) {
    let (hint, value) = hinted(data);
    one(IdentityKind::EmailAddress, &value, &hint, Channels::NONE);
}

/// IP addresses and networks.
pub(crate) fn address(data: &[u8]) {
    let (hint, value) = hinted(data);
    one(IdentityKind::IpAddress, &value, &hint, Channels::NONE);
    let network = given(IdentityKind::IpAddress, &value, "");
    if let Ok(network) = read_network(&network, Channels::NONE) {
        range(&network, &hint);
    }
}

/// SIP and telephone URIs.
pub(crate) fn sip(data: &[u8]) {
    let (hint, value) = hinted(data);
    one(IdentityKind::SipUri, &value, &hint, Channels::NONE);
    for scheme in ["sip:", "tel:"] {
        let uri = format!("{scheme}{value}");
        one(IdentityKind::SipUri, &uri, &hint, Channels::NONE);
        one(IdentityKind::PhoneNumber, &uri, &hint, Channels::NONE);
    }
}

/// The ids that vendors hand out.
pub(crate) fn opaque(data: &[u8]) {
    let (hint, value) = hinted(data);
    for kind in [
        IdentityKind::VisitorToken,
        IdentityKind::WhatsappUserId,
        IdentityKind::AppleOpaqueId,
        IdentityKind::MessengerPsid,
        IdentityKind::VkPeerId,
    ] {
        one(kind, &value, &hint, Channels::NONE);
    }
}

/// A range and somebody who may be in it, read as any kind that ranges have.
fn range(range: &Identity, who: &str) {
    sound(range);
    let text = Given {
        kind: Some(range.kind),
        value: &range.canonical,
        issuer: "",
        region_hint: "",
    };
    let again = match range.form {
        Form::Network(_) => read_network(&text, Channels::NONE),
        Form::Prefix => read_prefix(&text, Channels::NONE),
        _ => read_domain(&text, Channels::NONE),
    };
    assert_eq!(again.as_ref(), Ok(range), "the form is not its own");
    assert!(
        covers(range, range, READING),
        "a range does not cover itself"
    );
    let Ok(who) = read(&given(range.kind, who, ""), Channels::NONE, None) else {
        return;
    };
    // An IPv6 address stands for its network, of which a narrow range holds a part.
    let partly = matches!(who.form, Form::Address(std::net::IpAddr::V6(_)));
    let met = is_met(range, &who);
    assert!(!met || meets(range, &who, READING), "met, but no member");
    assert!(
        met || partly || !covers(range, &who, READING),
        "a member is not met"
    );
}

/// Ranges of every kind, by the value, and whoever the first line names.
pub(crate) fn ranges(data: &[u8]) {
    let (who, value) = hinted(data);
    let as_kind = |kind| given(kind, &value, "");
    for found in [
        read_network(&as_kind(IdentityKind::IpAddress), Channels::NONE),
        read_prefix(&as_kind(IdentityKind::PhoneNumber), Channels::NONE),
        read_domain(&as_kind(IdentityKind::EmailAddress), Channels::NONE),
    ]
    .into_iter()
    .flatten()
    {
        range(&found, &who);
    }
}

/// Everything by the one door, its kind given or told by the channel.
pub(crate) fn identity(data: &[u8]) {
    let (&[kind, channels], data) = data.split_first_chunk().unwrap_or((&[0, 0], data));
    let (hint, value) = hinted(data);
    let given = Given {
        kind: IdentityKind::from_number(i32::from(kind % 12)),
        value: &value,
        issuer: &hint,
        region_hint: &hint,
    };
    let channels = Channels::from_bits(u16::from(channels) << 1);
    if let Ok(identity) = read(&given, channels, Some(&hint)) {
        sound(&identity);
    }
    let _ = read_network(&given, channels);
    let _ = read_prefix(&given, channels);
    let _ = read_domain(&given, channels);
}

/// What callers carry for us, and periods as people type them: nothing is taken that was not made
/// here, and what was made here is read as it was.
pub(crate) fn tokens(data: &[u8]) {
    let keys = MasterKey::new(&[5; 32]);
    let (question, text) = hinted(data);
    let seal = keys.seal("token");
    if let Ok(position) = Position::read(&text, &seal) {
        assert_eq!(position.token(&seal), text.to_ascii_lowercase());
    }
    let pages = Pages::of(keys.seal("page"), question, 1);
    let place = pages.place(&text);
    assert!(!matches!(place, Ok(Some(_))), "a token that nobody made");
    let token = pages.next(1, Some(data.to_vec()));
    let place = pages.place(&token);
    assert!(matches!(place, Ok(Some(place)) if place == data));
    if let Ok(period) = text.parse::<CalendarPeriod>() {
        assert!(!period.is_zero() && period.validate().is_ok());
    }
}
