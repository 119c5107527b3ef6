//! Who is asking: the identities a connector hands over, and the one canonical form of each.
//!
//! There is one door, [`read`], and every identity of the service comes through it: at a check, at
//! a ban, in an import. Two spellings of one person must meet there, so the form is made here, on
//! the server, by one function with one version, and never by a client. Ranges of addresses have a
//! door of their own, [`read_network`], because a check never hands one over.
//!
//! The door never rejects a check. What it cannot read is an [`Unreadable`] with the reason, which
//! a check turns into a warning and a ban into an error; what it can read but would not swear to
//! carries its [`Caution`]s along.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::domain::channel::{Channel, Channels};

mod email;
mod ip;
mod kind;
pub mod phone;
mod sip;
mod vk;

pub use kind::{IdentityKind, MatchKind};
use kind::{TELEPHONE, is_whatsapp_user_id};

/// Version of the canonicaliser, stored with every key.
///
/// It grows by one whenever any input would get another canonical form than before, so that a
/// store can tell which of its keys to make again.
pub const CANONICALISER_VERSION: u16 = 1;

/// The longest value, and the longest issuer, that is read at all.
pub const MAX_VALUE_BYTES: usize = 1024;

/// An identity as a connector handed it over.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// What it is, where the connector said so.
    pub kind: Option<IdentityKind>,
    /// The value as received.
    pub value: &'a str,
    /// The page, portfolio, business or community it comes from; empty where there is none.
    pub issuer: &'a str,
    /// Two letters of the country the value was written in; anything else is no hint.
    pub region_hint: &'a str,
}

/// What a reader of an answer should know about an identity in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caution {
    /// Nothing could be made of the value.
    Unparseable,
    /// A telephone number that nobody can have; it still matches a ban of the very same one.
    NotPossibleNumber,
    /// The kind is scoped by an issuer and none was given, so no ban with an issuer matches.
    MissingIssuer,
    /// No channel asked about carries this kind.
    KindChannelMismatch,
    /// The caller hides the number.
    Withheld,
    /// Letters of two scripts in one name, as `аlice` with a Cyrillic а: warned of, not folded.
    Homoglyph,
}

impl Caution {
    /// The warning code used on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unparseable => "UNPARSEABLE",
            Self::NotPossibleNumber => "NOT_POSSIBLE_NUMBER",
            Self::MissingIssuer => "MISSING_ISSUER",
            Self::KindChannelMismatch => "KIND_CHANNEL_MISMATCH",
            Self::Withheld => "WITHHELD",
            Self::Homoglyph => "HOMOGLYPH",
        }
    }
}

/// The one canonical form of an identity: kind, canonical and issuer are the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it is.
    pub kind: IdentityKind,
    /// The text that two spellings of one identity share; empty when the caller hides the number.
    pub canonical: String,
    /// The issuer byte for byte; empty for kinds that are not scoped by one.
    pub issuer: String,
    /// The same in the shape that ranges are compared in.
    pub form: Form,
    /// What to know about it; mostly nothing.
    pub cautions: Vec<Caution>,
}

/// The shape of an identity beyond its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Text and nothing more: all that is not an IP address.
    Text,
    /// One IP address.
    Address(IpAddr),
    /// A network of them.
    Network(IpNet),
}

/// What the door answers when nothing can be matched: why, and the kind if it could be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no identity to match: {}", .caution.code())]
pub struct Unreadable {
    /// The kind, given or inferred.
    pub kind: Option<IdentityKind>,
    /// Why.
    pub caution: Caution,
}

/// Reads one address, number or id: at a check, and at a ban that matches exactly.
///
/// `channels` are those asked about or banned on; empty means any. `default_region` is the
/// tenant's, used for a number when the connector gave no region of its own.
///
/// ```
/// use bancheck::domain::channel::{Channel, Channels};
/// use bancheck::domain::identity::{Given, IdentityKind, read};
///
/// let given = Given { kind: None, value: "601 123 456", issuer: "", region_hint: "" };
/// let caller = read(&given, Channels::of(&[Channel::Call]), Some("CZ"))?;
/// assert_eq!(caller.kind, IdentityKind::PhoneNumber);
/// assert_eq!(caller.canonical, "+420601123456");
/// # Ok::<(), bancheck::domain::identity::Unreadable>(())
/// ```
pub fn read(
    given: &Given<'_>,
    channels: Channels,
    default_region: Option<&str>,
) -> Result<Identity, Unreadable> {
    let kind = kind_of(given, channels)?;
    if kind == IdentityKind::Withheld {
        return Ok(withheld());
    }
    let unparseable = Unreadable {
        kind: Some(kind),
        caution: Caution::Unparseable,
    };
    let text = legible(given, kind).ok_or(unparseable)?;
    let on_telephone = channels.is_empty() || !channels.and(TELEPHONE).is_empty();
    let mut cautions = Vec::new();
    let mut form = Form::Text;
    let canonical = match kind {
        IdentityKind::PhoneNumber | IdentityKind::SipUri
            if on_telephone && phone::is_withheld(&text) =>
        {
            return Ok(withheld());
        }
        IdentityKind::PhoneNumber => {
            let region = phone::region(given.region_hint, default_region);
            let number = phone::read(&text, channels, region).ok_or(unparseable)?;
            if !number.possible {
                cautions.push(Caution::NotPossibleNumber);
            }
            number.canonical
        }
        IdentityKind::EmailAddress => {
            let address = email::read(&text).ok_or(unparseable)?;
            if address.mixes_scripts {
                cautions.push(Caution::Homoglyph);
            }
            address.canonical
        }
        IdentityKind::IpAddress => {
            let address = ip::address(&text).ok_or(unparseable)?;
            form = Form::Address(address);
            address.to_string()
        }
        IdentityKind::SipUri => sip::read(&text).ok_or(unparseable)?,
        IdentityKind::VkPeerId => vk::read(&text).ok_or(unparseable)?,
        // Some providers hand the id on with its URN prefix, some without: one person either way.
        IdentityKind::AppleOpaqueId => match text.strip_prefix("urn:mbid:").unwrap_or(&text) {
            "" => return Err(unparseable),
            id => id.to_owned(),
        },
        IdentityKind::VisitorToken
        | IdentityKind::WhatsappUserId
        | IdentityKind::MessengerPsid
        | IdentityKind::Withheld => text.into_owned(),
    };
    let issuer = if kind.takes_issuer() {
        given.issuer
    } else {
        ""
    };
    if kind.takes_issuer() && issuer.is_empty() {
        cautions.push(Caution::MissingIssuer);
    }
    Ok(Identity {
        kind,
        canonical,
        issuer: issuer.to_owned(),
        form,
        cautions,
    })
}

/// Reads a network of IP addresses, as `203.0.113.0/24` or `2001:db8::/32`.
///
/// Host bits are masked away. A value without `/` is one address, which [`read`] is for.
pub fn read_network(given: &Given<'_>, channels: Channels) -> Result<Identity, Unreadable> {
    let kind = match given.kind {
        // No single address holds a '/', so inference would take the network for a token.
        None if channels.only() == Some(Channel::WebChat) => IdentityKind::IpAddress,
        _ => kind_of(given, channels)?,
    };
    let unparseable = Unreadable {
        kind: Some(kind),
        caution: Caution::Unparseable,
    };
    if kind != IdentityKind::IpAddress {
        return Err(unparseable);
    }
    let network = legible(given, kind)
        .and_then(|text| ip::network(&text))
        .ok_or(unparseable)?;
    Ok(Identity {
        kind,
        canonical: network.to_string(),
        issuer: String::new(),
        form: Form::Network(network),
        cautions: Vec::new(),
    })
}

/// The kind given, or the one that follows from the only channel.
fn kind_of(given: &Given<'_>, channels: Channels) -> Result<IdentityKind, Unreadable> {
    let Some(kind) = given.kind else {
        return match channels.only() {
            Some(channel) => Ok(inferred(given.value, channel)),
            None => Err(Unreadable {
                kind: None,
                caution: Caution::Unparseable,
            }),
        };
    };
    if channels.is_empty() || !kind.channels().and(channels).is_empty() {
        Ok(kind)
    } else {
        Err(Unreadable {
            kind: Some(kind),
            caution: Caution::KindChannelMismatch,
        })
    }
}

/// The kind that a value on this channel has when nobody says.
fn inferred(value: &str, channel: Channel) -> IdentityKind {
    match channel {
        Channel::Whatsapp if is_whatsapp_user_id(value) => IdentityKind::WhatsappUserId,
        Channel::Call | Channel::Sms | Channel::Whatsapp => IdentityKind::PhoneNumber,
        Channel::Email => IdentityKind::EmailAddress,
        Channel::AppleMessages => IdentityKind::AppleOpaqueId,
        Channel::Messenger => IdentityKind::MessengerPsid,
        Channel::Vk => IdentityKind::VkPeerId,
        Channel::WebChat if ip::address(&cleaned(value)).is_some() => IdentityKind::IpAddress,
        Channel::WebChat => IdentityKind::VisitorToken,
    }
}

/// The value fit for its parser; nothing if it is empty, over-long or holds a control character.
///
/// A control character is never part of an identity, and a NUL cannot even be stored.
fn legible<'a>(given: &Given<'a>, kind: IdentityKind) -> Option<Cow<'a, str>> {
    if given.value.len() > MAX_VALUE_BYTES || given.issuer.len() > MAX_VALUE_BYTES {
        return None;
    }
    let text = if kind.is_opaque() {
        Cow::Borrowed(given.value)
    } else {
        cleaned(given.value)
    };
    let holds_control = |text: &str| text.chars().any(char::is_control);
    let blank = text.trim().is_empty();
    (!blank && !holds_control(&text) && !holds_control(given.issuer)).then_some(text)
}

/// The value without surrounding white space and without characters that show nothing.
fn cleaned(value: &str) -> Cow<'_, str> {
    if value.is_ascii() {
        return Cow::Borrowed(value.trim());
    }
    let shown: String = value.chars().filter(|c| !is_invisible(*c)).collect();
    Cow::Owned(shown.trim().to_owned())
}

/// Unicode's bidirectional controls, zero-width characters and soft hyphen.
///
/// A number copied from a phone's address book often comes wrapped in them.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    )
}

/// The one identity that all who hide their number share; the literal is never banned.
fn withheld() -> Identity {
    Identity {
        kind: IdentityKind::Withheld,
        canonical: String::new(),
        issuer: String::new(),
        form: Form::Text,
        cautions: vec![Caution::Withheld],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Caution, Form, Given, Identity, IdentityKind, Unreadable};
    use super::{read, read_network};
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
        for kind in IdentityKind::ALL
            .into_iter()
            .filter(|kind| kind.is_opaque())
        {
            let value = " Ab\u{200b}%2F= ";
            assert_eq!(of(kind, value).unwrap().canonical, value);
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
        }
    }
}
