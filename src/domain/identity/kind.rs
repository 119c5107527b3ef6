//! What an identity is, and how a ban compares it.

use crate::domain::channel::{Channel, Channels};

/// The channels of the telephone network, where a number can be withheld.
pub(super) const TELEPHONE: Channels = Channels::of(&[Channel::Call, Channel::Sms]);

/// What an identity is; the numbers are those of the wire and of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum IdentityKind {
    /// What the chat widget keeps in the visitor's browser.
    VisitorToken = 1,
    /// An IP address, of version 4 or 6.
    IpAddress = 2,
    /// An e-mail address.
    EmailAddress = 3,
    /// A telephone number, or the text an SMS gives as its sender.
    PhoneNumber = 4,
    /// A SIP address.
    SipUri = 5,
    /// The business-scoped user id of `WhatsApp`, as `US.13491208655302741918`.
    WhatsappUserId = 6,
    /// The opaque id of Apple Messages for Business.
    AppleOpaqueId = 7,
    /// The page-scoped id of Facebook Messenger.
    MessengerPsid = 8,
    /// The peer id of `VKontakte`; communities are negative.
    VkPeerId = 9,
    /// A caller who hides the number.
    Withheld = 10,
}

impl IdentityKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::VisitorToken,
        Self::IpAddress,
        Self::EmailAddress,
        Self::PhoneNumber,
        Self::SipUri,
        Self::WhatsappUserId,
        Self::AppleOpaqueId,
        Self::MessengerPsid,
        Self::VkPeerId,
        Self::Withheld,
    ];

    /// The kind with this number.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as i32 == number)
    }

    /// The name used on the wire, without its prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::VisitorToken => "VISITOR_TOKEN",
            Self::IpAddress => "IP_ADDRESS",
            Self::EmailAddress => "EMAIL_ADDRESS",
            Self::PhoneNumber => "PHONE_NUMBER",
            Self::SipUri => "SIP_URI",
            Self::WhatsappUserId => "WHATSAPP_USER_ID",
            Self::AppleOpaqueId => "APPLE_OPAQUE_ID",
            Self::MessengerPsid => "MESSENGER_PSID",
            Self::VkPeerId => "VK_PEER_ID",
            Self::Withheld => "WITHHELD",
        }
    }

    /// The channels that carry identities of this kind.
    pub const fn channels(self) -> Channels {
        match self {
            Self::VisitorToken | Self::IpAddress => Channels::of(&[Channel::WebChat]),
            Self::EmailAddress => Channels::of(&[Channel::Email]),
            Self::PhoneNumber => Channels::of(&[Channel::Call, Channel::Sms, Channel::Whatsapp]),
            Self::SipUri => Channels::of(&[Channel::Call]),
            Self::WhatsappUserId => Channels::of(&[Channel::Whatsapp]),
            Self::AppleOpaqueId => Channels::of(&[Channel::AppleMessages]),
            Self::MessengerPsid => Channels::of(&[Channel::Messenger]),
            Self::VkPeerId => Channels::of(&[Channel::Vk]),
            Self::Withheld => TELEPHONE,
        }
    }

    /// Whether the issuer is part of the key: the same id from another page is another person.
    pub const fn takes_issuer(self) -> bool {
        matches!(
            self,
            Self::MessengerPsid | Self::AppleOpaqueId | Self::WhatsappUserId
        )
    }

    /// Whether the vendor hands the value out as opaque and wants it back byte for byte.
    pub(super) const fn is_opaque(self) -> bool {
        matches!(
            self,
            Self::VisitorToken | Self::AppleOpaqueId | Self::MessengerPsid | Self::WhatsappUserId
        )
    }
}

/// How a ban compares its targets; the numbers are those of the wire and of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MatchKind {
    /// The same identity.
    Exact = 1,
    /// Another spelling of the same identity, as an address with a +tag.
    Alias = 2,
    /// Numbers that begin alike.
    Prefix = 3,
    /// Addresses of one network.
    Cidr = 4,
    /// E-mail addresses of one domain.
    Domain = 5,
}

impl MatchKind {
    /// Every match kind, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::Exact,
        Self::Alias,
        Self::Prefix,
        Self::Cidr,
        Self::Domain,
    ];

    /// The match kind with this number.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as i32 == number)
    }

    /// The name used on the wire, without its prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "EXACT",
            Self::Alias => "ALIAS",
            Self::Prefix => "PREFIX",
            Self::Cidr => "CIDR",
            Self::Domain => "DOMAIN",
        }
    }
}

/// Whether this is `^[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}$`, Meta's form of a user id.
pub(super) fn is_whatsapp_user_id(value: &str) -> bool {
    let Some((country, id)) = value.split_once('.') else {
        return false;
    };
    let id = id.strip_prefix("ENT.").unwrap_or(id);
    country.len() == 2
        && country.bytes().all(|b| b.is_ascii_uppercase())
        && (1..=128).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::{IdentityKind, MatchKind, is_whatsapp_user_id};

    #[test]
    fn numbers_and_names_of_kinds_are_those_of_the_wire() {
        for kind in IdentityKind::ALL {
            assert_eq!(IdentityKind::from_number(kind as i32), Some(kind));
            assert!(!kind.channels().is_empty());
        }
        for kind in MatchKind::ALL {
            assert_eq!(MatchKind::from_number(kind as i32), Some(kind));
        }
        assert_eq!(
            (IdentityKind::from_number(0), IdentityKind::from_number(11)),
            (None, None)
        );
        assert_eq!(IdentityKind::PhoneNumber.name(), "PHONE_NUMBER");
        assert_eq!(MatchKind::Cidr.name(), "CIDR");
    }

    #[test]
    fn a_whatsapp_user_id_is_told_from_a_number_by_its_form() {
        for value in [
            "US.1",
            "US.13491208655302741918",
            "US.ENT.11815799212886844830",
        ] {
            assert!(is_whatsapp_user_id(value), "{value}");
        }
        let long = format!("US.{}", "1".repeat(129));
        for value in [
            "420601123456",
            "us.1",
            "USA.1",
            "US.",
            "US.ENT.",
            "US.1.2",
            " US.1",
            &long,
        ] {
            assert!(!is_whatsapp_user_id(value), "{value}");
        }
    }
}
