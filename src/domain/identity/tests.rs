//! What comes through the door, and in which form.

use proptest::prelude::*;

use super::{Caution, Form, Given, Identity, IdentityKind, Unreadable};
use super::{read, read_domain, read_network, read_prefix};
use crate::domain::channel::{Channel, Channels};

fn given(kind: Option<IdentityKind>, value: &str) -> Given<'_> {
    Given {
        kind,
        value,
        issuer: "",
        region_hint: "",
    }
}

fn on(channel: Channel, value: &str) -> Result<Identity, Unreadable> {
    read(&given(None, value), Channels::of(&[channel]), Some("CZ"))
}

fn of(kind: IdentityKind, value: &str) -> Result<Identity, Unreadable> {
    read(&given(Some(kind), value), Channels::NONE, Some("CZ"))
}

#[test]
fn the_only_channel_tells_the_kind() {
    use IdentityKind as K;
    for (channel, value, kind, canonical) in [
        (
            Channel::Call,
            "601 123 456",
            K::PhoneNumber,
            "+420601123456",
        ),
        (Channel::Sms, "dhl", K::PhoneNumber, "DHL"),
        (
            Channel::Email,
            "Alice@Example.com",
            K::EmailAddress,
            "alice@example.com",
        ),
        (
            Channel::Whatsapp,
            "420601123456",
            K::PhoneNumber,
            "+420601123456",
        ),
        (
            Channel::Whatsapp,
            "US.13491208655302741918",
            K::WhatsappUserId,
            "US.13491208655302741918",
        ),
        (
            Channel::Whatsapp,
            "US.ENT.1181a",
            K::WhatsappUserId,
            "US.ENT.1181a",
        ),
        (
            Channel::AppleMessages,
            "urn:mbid:AQAAY4/=",
            K::AppleOpaqueId,
            "AQAAY4/=",
        ),
        (Channel::Messenger, "0012", K::MessengerPsid, "0012"),
        (Channel::Vk, "club123", K::VkPeerId, "-123"),
        (
            Channel::WebChat,
            " [2001:DB8::1]:443",
            K::IpAddress,
            "2001:db8::1",
        ),
        (
            Channel::WebChat,
            "b1946AC9-2d6f",
            K::VisitorToken,
            "b1946AC9-2d6f",
        ),
    ] {
        let identity = on(channel, value).unwrap();
        assert_eq!(
            (identity.kind, identity.canonical.as_str()),
            (kind, canonical)
        );
    }
}

#[test]
fn without_a_kind_two_channels_tell_nothing() {
    let unreadable = Unreadable {
        kind: None,
        caution: Caution::Unparseable,
    };
    for channels in [Channels::NONE, Channels::of(&[Channel::Call, Channel::Sms])] {
        assert_eq!(
            read(&given(None, "+420601123456"), channels, None),
            Err(unreadable)
        );
    }
}

#[test]
fn a_kind_that_no_channel_carries_is_told() {
    let given = given(Some(IdentityKind::EmailAddress), "alice@example.com");
    let mismatch = Unreadable {
        kind: Some(IdentityKind::EmailAddress),
        caution: Caution::KindChannelMismatch,
    };
    assert_eq!(
        read(&given, Channels::of(&[Channel::Call]), None),
        Err(mismatch)
    );
    assert!(read(&given, Channels::of(&[Channel::Call, Channel::Email]), None).is_ok());
}

#[test]
fn a_caller_who_hides_the_number_is_withheld_however_it_is_spelt() {
    for (kind, value) in [
        (None, "Anonymous"),
        (None, " - "),
        (Some(IdentityKind::PhoneNumber), "+266696687"),
        (Some(IdentityKind::PhoneNumber), "+266 696-687"),
        (Some(IdentityKind::PhoneNumber), "00266696687"),
        (
            Some(IdentityKind::SipUri),
            "sip:anonymous@anonymous.invalid",
        ),
        (Some(IdentityKind::Withheld), ""),
    ] {
        let identity = read(&given(kind, value), Channels::of(&[Channel::Call]), None).unwrap();
        assert_eq!(identity.kind, IdentityKind::Withheld, "{value}");
        assert_eq!(identity.canonical, "");
        assert_eq!(identity.cautions, [Caution::Withheld]);
    }
}

#[test]
fn white_space_and_invisible_marks_around_a_number_are_not_part_of_it() {
    let wrapped = "\u{202a}\u{a0}+420 601\u{200b} 123 456\u{202c}\n";
    assert_eq!(
        on(Channel::Call, wrapped).unwrap().canonical,
        "+420601123456"
    );
}

#[test]
fn an_opaque_id_is_kept_byte_for_byte() {
    for kind in [
        IdentityKind::VisitorToken,
        IdentityKind::AppleOpaqueId,
        IdentityKind::MessengerPsid,
    ] {
        let value = " Ab\u{200b}%2F= ";
        assert_eq!(of(kind, value).unwrap().canonical, value);
    }
    for value in [
        "US.13491208655302741918",
        "US.ENT.11815799212886844830",
        "MX.5215512345678",
    ] {
        let identity = of(IdentityKind::WhatsappUserId, value).unwrap();
        assert_eq!(identity.canonical, value);
        assert_eq!(identity.aliases, []);
    }
}

/// A user name can be changed by its owner, so whoever banned one would soon ban another.
#[test]
fn a_whatsapp_user_name_is_no_identity() {
    for value in ["alice", "@alice.example", "us.123", "420601123456"] {
        assert!(of(IdentityKind::WhatsappUserId, value).is_err(), "{value}");
    }
    assert!(on(Channel::Whatsapp, "alice").is_err());
}

#[test]
fn of_an_apple_id_only_the_prefix_is_set_aside() {
    for value in [
        "urn:mbid:AQAAY45/PVG4jg+a=",
        "AQAAY45/PVG4jg+a=",
        "urn:mbid:urn:mbid:AQAAY45/PVG4jg+a=",
    ] {
        let identity = of(IdentityKind::AppleOpaqueId, value).unwrap();
        assert_eq!(identity.canonical, "AQAAY45/PVG4jg+a=", "{value}");
    }
    // Neither case nor escapes are touched: another text is another customer.
    for value in [
        "AQAAY45%2FPVG4jg+a=",
        "aqaay45/PVG4jg+a=",
        "AQAAY45/PVG4jg+a",
    ] {
        assert_eq!(
            of(IdentityKind::AppleOpaqueId, value).unwrap().canonical,
            value
        );
    }
    for nobody in ["urn:mbid:", "urn:mbid: ", "urn:mbid:urn:mbid:\u{2003}"] {
        assert!(of(IdentityKind::AppleOpaqueId, nobody).is_err());
    }
}

/// The other names an identity is looked up under.
fn others(kind: IdentityKind, value: &str) -> Vec<(IdentityKind, String)> {
    let aliases = of(kind, value).unwrap().aliases.into_iter();
    aliases.map(|alias| (alias.kind, alias.canonical)).collect()
}

#[test]
fn another_name_of_a_customer_is_looked_up_and_never_written_over_the_first() {
    use IdentityKind as K;
    for (kind, value, canonical, other) in [
        (
            K::PhoneNumber,
            "+5215512345678",
            "+5215512345678",
            "+525512345678",
        ),
        (
            K::PhoneNumber,
            "+525512345678",
            "+525512345678",
            "+5215512345678",
        ),
        (
            K::PhoneNumber,
            "+553196883193",
            "+553196883193",
            "+5531996883193",
        ),
        (
            K::PhoneNumber,
            "+5491123456789",
            "+5491123456789",
            "+541123456789",
        ),
        (
            K::PhoneNumber,
            "0601123456",
            "+4200601123456",
            "+420601123456",
        ),
        (
            K::EmailAddress,
            "Alice+x@Example.com",
            "alice+x@example.com",
            "alice@example.com",
        ),
        (
            K::EmailAddress,
            "a.lice@googlemail.com",
            "a.lice@googlemail.com",
            "alice@gmail.com",
        ),
    ] {
        assert_eq!(of(kind, value).unwrap().canonical, canonical);
        assert_eq!(others(kind, value), [(kind, other.to_owned())], "{value}");
    }
    assert_eq!(
        others(K::SipUri, "sip:+420601123456@pbx:5060;user=phone"),
        [
            (K::SipUri, "sip:+420601123456@pbx".to_owned()),
            (K::PhoneNumber, "+420601123456".to_owned()),
        ]
    );
    assert_eq!(others(K::SipUri, "sip:101@pbx"), []);
    assert_eq!(others(K::PhoneNumber, "+420601123456"), []);
    assert_eq!(others(K::EmailAddress, "alice@example.com"), []);
}

/// Version 1 is gone, but a store may hold what it filed: those forms are still looked up.
#[test]
fn what_version_1_of_the_canonicaliser_filed_is_still_found() {
    use IdentityKind as K;
    for (kind, value, filed) in [
        (
            K::EmailAddress,
            "\"Alice\"@Example.com",
            "\"alice\"@example.com",
        ),
        (
            K::EmailAddress,
            "\"a\\lice\"@example.com",
            "\"a\\lice\"@example.com",
        ),
        (
            K::EmailAddress,
            "Alice+x@Example.com.",
            "alice+x@example.com",
        ),
        (K::PhoneNumber, "601 123 456", "+420601123456"),
        (K::PhoneNumber, "0601123456", "+4200601123456"),
        (K::PhoneNumber, "dhl", "DHL"),
        (K::SipUri, "SIP:Alice@PBX:5060", "sip:Alice@pbx:5060"),
        (K::AppleOpaqueId, "urn:mbid:AQ/=", "AQ/="),
        (K::VkPeerId, "club5", "-5"),
        (K::IpAddress, "::ffff:192.0.2.1", "192.0.2.1"),
    ] {
        let identity = of(kind, value).unwrap();
        let found = identity.canonical == filed
            || identity
                .aliases
                .iter()
                .any(|alias| alias.canonical == filed);
        assert!(found, "{value}: {identity:?}");
    }
}

#[test]
fn nothing_is_read_from_an_empty_an_overlong_or_a_garbled_value() {
    let long = "1".repeat(super::MAX_VALUE_BYTES + 1);
    for kind in IdentityKind::ALL
        .into_iter()
        .filter(|kind| *kind != IdentityKind::Withheld)
    {
        for value in [
            "",
            " \u{200b}",
            "\u{feff}",
            "a\0b",
            "+420\u{7}601123456",
            &long,
        ] {
            if kind.is_opaque() && value.contains(['\u{200b}', '\u{feff}']) {
                continue;
            }
            let unparseable = Unreadable {
                kind: Some(kind),
                caution: Caution::Unparseable,
            };
            assert_eq!(of(kind, value), Err(unparseable), "{kind:?} {value:?}");
        }
    }
}

#[test]
fn the_issuer_is_part_of_the_key_only_where_ids_are_scoped() {
    let from_page = |kind, value| {
        let given = Given {
            kind: Some(kind),
            value,
            issuer: "Page 1",
            region_hint: "",
        };
        read(&given, Channels::NONE, None).unwrap()
    };
    assert_eq!(
        from_page(IdentityKind::MessengerPsid, "12").issuer,
        "Page 1"
    );
    assert_eq!(from_page(IdentityKind::MessengerPsid, "12").cautions, []);
    assert_eq!(
        from_page(IdentityKind::EmailAddress, "a@example.com").issuer,
        ""
    );
    let without = of(IdentityKind::MessengerPsid, "12").unwrap();
    assert_eq!(without.cautions, [Caution::MissingIssuer]);
}

#[test]
fn the_connectors_region_goes_before_the_tenants() {
    let given = Given {
        kind: Some(IdentityKind::PhoneNumber),
        value: "020 7183 8750",
        issuer: "",
        region_hint: "gb",
    };
    let identity = read(&given, Channels::NONE, Some("CZ")).unwrap();
    assert_eq!(identity.canonical, "+442071838750");
    let no_hint = Given {
        region_hint: "Britain",
        ..given
    };
    let identity = read(&no_hint, Channels::NONE, Some("GB")).unwrap();
    assert_eq!(identity.canonical, "+442071838750");
}

#[test]
fn doubts_are_told_and_do_not_stop_a_match() {
    let short = on(Channel::Call, "+420123").unwrap();
    assert_eq!(short.cautions, [Caution::NotPossibleNumber]);
    let mixed = on(Channel::Email, "\u{430}lice@example.com").unwrap();
    assert_eq!(mixed.cautions, [Caution::Homoglyph]);
}

#[test]
fn an_address_and_a_network_have_each_their_door() {
    let web = Channels::of(&[Channel::WebChat]);
    let network = given(None, "::ffff:203.0.113.77/120");
    let identity = read_network(&network, web).unwrap();
    assert_eq!(identity.canonical, "203.0.113.0/24");
    assert_eq!(
        identity.form,
        Form::Network("203.0.113.0/24".parse().unwrap())
    );
    assert!(of(IdentityKind::IpAddress, "203.0.113.0/24").is_err());

    let address = given(Some(IdentityKind::IpAddress), "203.0.113.7");
    assert!(read_network(&address, web).is_err());
    let identity = read(&address, web, None).unwrap();
    assert_eq!(identity.form, Form::Address("203.0.113.7".parse().unwrap()));
    assert_eq!(
        read_network(&network, Channels::of(&[Channel::Call]))
            .unwrap_err()
            .kind,
        Some(IdentityKind::PhoneNumber)
    );
}

proptest! {
    #[test]
    fn reading_what_was_read_changes_nothing(
        kind in prop::sample::select(IdentityKind::ALL.to_vec()),
        value in "\\PC{1,40}|[+0-9a-zA-Z:;=@./\\[\\]%#\" -]{1,40}|[a-z.+\"]{1,9}@[a-zA-Zß.]{1,12}|(urn:mbid:)?[A-Za-z=/]{1,20}|(id|club|-|\\+)?[0-9]{1,20}",
    ) {
        prop_assume!(kind != IdentityKind::Withheld);
        if let Ok(first) = of(kind, &value) {
            prop_assume!(first.kind == kind);
            let again = of(kind, &first.canonical);
            prop_assert_eq!(again.as_ref().map(|one| (one.kind, &one.canonical)), Ok((kind, &first.canonical)));
            // Another name is canonical too, so both meet under it.
            for alias in first.aliases.iter().filter(|alias| alias.of != super::AliasOf::Version) {
                let other = of(alias.kind, &alias.canonical);
                prop_assert_eq!(other.map(|one| one.canonical), Ok(alias.canonical.clone()));
            }
        }
    }

    #[test]
    fn no_value_panics_whatever_its_kind_and_channels(
        kind in 0_i32..=10,
        bits in any::<u16>(),
        value in "\\PC*|[+0-9a-z:;=@./\\[\\]%# -]{0,40}",
        issuer in "\\PC{0,4}",
        region_hint in "[A-Z]{2}|\\PC{0,3}",
    ) {
        let kind = IdentityKind::from_number(kind);
        let given = Given { kind, value: &value, issuer: &issuer, region_hint: &region_hint };
        let channels = Channels::from_bits(bits);
        let _ = read(&given, channels, Some("CZ"));
        let _ = read_network(&given, channels);
        let _ = read_prefix(&given, channels);
        let _ = read_domain(&given, channels);
    }
}
