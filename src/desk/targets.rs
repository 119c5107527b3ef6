//! Reading whom a ban is on: through the same door as a check, but strictly.

use std::fmt::Display;

use ipnet::IpNet;

use crate::domain::{
    ban::MAX_IDENTITIES,
    channel::{Channel, Channels},
    fields,
    identity::{
        self, Caution, Form, Given, Identity, IdentityKind, MAX_VALUE_BYTES, MatchKind, Unreadable,
    },
    policy::TenantSettings,
    refusal::{Reason, Refusal},
};

/// The shortest visitor token that may be banned: a shorter one could be guessed.
const MIN_TOKEN_BYTES: usize = 16;
/// The widest networks that may be banned without insisting.
const MIN_V4_PREFIX: u8 = 16;
const MIN_V6_PREFIX: u8 = 32;
/// The shortest prefix of numbers that may be, in digits behind the `+`.
const MIN_PREFIX_DIGITS: usize = 4;
/// Peer ids of VK from here on are chats (dev.vk.com, conversation: local id = id − 2 000 000 000).
const FIRST_VK_CHAT: i64 = 2_000_000_000;

/// An identity to be banned or looked for, as it was handed over.
#[derive(Clone, Debug)]
pub struct TargetGiven {
    /// Its kind; `None` = told by the channel.
    pub kind: Option<IdentityKind>,
    /// As received.
    pub value: String,
    /// The page, business or portfolio it belongs to.
    pub issuer: String,
    /// Where a number is from.
    pub region_hint: String,
}

impl TargetGiven {
    /// The same, as the canonicaliser takes it.
    pub fn given(&self) -> Given<'_> {
        Given {
            kind: self.kind,
            value: &self.value,
            issuer: &self.issuer,
            region_hint: &self.region_hint,
        }
    }
}

/// The targets of a ban to be made.
pub(super) fn read(
    given: &[TargetGiven],
    channels: Channels,
    match_kind: MatchKind,
    settings: &TenantSettings,
    insisted: bool,
) -> Result<Vec<Identity>, Refusal> {
    if given.is_empty() {
        return Err(Refusal::required("targets"));
    }
    fields::items("targets", given, MAX_IDENTITIES)?;
    given
        .iter()
        .enumerate()
        .map(|(at, one)| {
            let field = format_args!("targets[{at}]");
            read_one(field, one, channels, match_kind, settings, insisted)
        })
        .collect()
}

/// The target in a field of a request.
pub(super) fn read_one(
    field: impl Display,
    one: &TargetGiven,
    channels: Channels,
    match_kind: MatchKind,
    settings: &TenantSettings,
    insisted: bool,
) -> Result<Identity, Refusal> {
    let region = Some(settings.default_region.as_str()).filter(|region| !region.is_empty());
    for (part, text) in [("value", &one.value), ("issuer", &one.issuer)] {
        fields::size(format_args!("{field}.{part}"), text, MAX_VALUE_BYTES)?;
    }
    let found = match match_kind {
        MatchKind::Exact => identity::read(&one.given(), channels, region),
        MatchKind::Cidr => identity::read_network(&one.given(), channels),
        MatchKind::Prefix => identity::read_prefix(&one.given(), channels),
        MatchKind::Domain => identity::read_domain(&one.given(), channels),
        MatchKind::Alias => {
            let message = "targets are matched EXACT, which finds aliases too, or as a PREFIX, \
                           a CIDR or a DOMAIN";
            return Err(Refusal::of_field(
                Reason::InvalidIdentifier,
                "match_kind",
                message,
            ));
        }
    };
    let identity = found.map_err(|unreadable| refuse(&field, match_kind, unreadable))?;
    if one.kind.is_none() && is_failed_address(&identity) {
        let message = "this looks like an address that cannot be read; a network needs CIDR, and \
                       a visitor token that looks like this needs its kind said";
        let field = format!("{field}.value");
        return Err(Refusal::of_field(Reason::InvalidIdentifier, field, message));
    }
    bannable(&field, &identity, insisted)?;
    Ok(identity)
}

/// One of the identities of an interaction that a ban is put on.
pub(super) struct Customer {
    /// Where it stands in the request.
    pub(super) place: usize,
    /// Of what kind it is.
    pub(super) kind: IdentityKind,
    /// As it was handed over, of a kind that is told where two channels leave it open.
    pub(super) given: TargetGiven,
}

/// The identities of an interaction that a ban is put on: those of one kind, or all that are not
/// withheld.
pub(super) fn of_customer(
    identities: &[TargetGiven],
    channel: Channel,
    wanted: Option<IdentityKind>,
    settings: &TenantSettings,
) -> Result<Vec<Customer>, Refusal> {
    let region = Some(settings.default_region.as_str()).filter(|region| !region.is_empty());
    let mut found = Vec::new();
    for (place, one) in identities.iter().enumerate() {
        let read = identity::read(&one.given(), Channels::of(&[channel]), region);
        let kind = match (wanted, read) {
            (None, Ok(identity)) => identity.kind,
            (None, Err(unreadable)) => {
                let field = format_args!("identities[{place}]");
                return Err(refuse(&field, MatchKind::Exact, unreadable));
            }
            (Some(wanted), read) => {
                let kind = read.map_or_else(|unreadable| unreadable.kind, |read| Some(read.kind));
                if kind != Some(wanted) {
                    continue;
                }
                wanted
            }
        };
        if kind != IdentityKind::Withheld {
            let mut given = one.clone();
            given.kind = given.kind.or(wanted.is_none().then_some(kind));
            found.push(Customer { place, kind, given });
        }
    }
    if found.is_empty() {
        let message = match wanted {
            Some(IdentityKind::IpAddress) => {
                "the queue's list bans IP addresses, and there is none among these"
            }
            Some(_) => "the ban is put on the visitor token, and there is none among these",
            None => "whoever withholds the number names nobody, so nobody can be banned by it",
        };
        let reason = Reason::InvalidIdentifier;
        return Err(Refusal::of_field(reason, "identities", message));
    }
    Ok(found)
}

fn refuse(field: &impl Display, match_kind: MatchKind, unreadable: Unreadable) -> Refusal {
    match (unreadable.caution, unreadable.kind) {
        (Caution::KindChannelMismatch, _) => {
            let message = "an identity of this kind is not met on these channels";
            Refusal::of_field(
                Reason::KindChannelMismatch,
                format!("{field}.kind"),
                message,
            )
        }
        (_, None) => {
            let message = "say of what kind it is, or name exactly one channel";
            Refusal::of_field(Reason::InvalidIdentifier, format!("{field}.kind"), message)
        }
        (_, Some(_)) => {
            let message = match match_kind {
                MatchKind::Cidr => "this is not a network like 203.0.113.0/24",
                MatchKind::Prefix => "this is not the beginning of telephone numbers, like +4206",
                MatchKind::Domain => "this is not a domain of mail addresses, like example.com",
                MatchKind::Exact | MatchKind::Alias => {
                    "this cannot be read as an identity of its kind; a range needs its match kind"
                }
            };
            Refusal::of_field(Reason::InvalidIdentifier, format!("{field}.value"), message)
        }
    }
}

/// Whether something that was taken for a visitor token was rather meant to be an address: banned
/// as a token it would stop nobody.
fn is_failed_address(identity: &Identity) -> bool {
    let of_addresses = |c: char| c.is_ascii_hexdigit() || ".:/%[]".contains(c);
    identity.kind == IdentityKind::VisitorToken
        && identity.canonical.contains(['.', ':', '/'])
        && identity.canonical.chars().all(of_addresses)
}

/// What may be matched at a check may still be no target of a ban, or of an exception.
fn bannable(field: &impl Display, identity: &Identity, insisted: bool) -> Result<(), Refusal> {
    let value = || format!("{field}.value");
    if identity.kind == IdentityKind::Withheld {
        let message = "a withheld number names nobody, so nobody can be banned or spared by it";
        return Err(Refusal::of_field(
            Reason::InvalidIdentifier,
            value(),
            message,
        ));
    }
    if identity.kind == IdentityKind::VisitorToken && identity.canonical.len() < MIN_TOKEN_BYTES {
        let message = format!("a visitor token has {MIN_TOKEN_BYTES} bytes or more");
        return Err(Refusal::of_field(
            Reason::InvalidIdentifier,
            value(),
            message,
        ));
    }
    let chat = |id: i64| id >= FIRST_VK_CHAT;
    if identity.kind == IdentityKind::VkPeerId && identity.canonical.parse().is_ok_and(chat) {
        let message = "this is a chat of many people; name the one who wrote";
        return Err(Refusal::of_field(
            Reason::InvalidIdentifier,
            value(),
            message,
        ));
    }
    if identity.cautions.contains(&Caution::MissingIssuer) {
        let message = "an identity of this kind means nothing without its issuer";
        let field = format!("{field}.issuer");
        return Err(Refusal::of_field(Reason::MissingIssuer, field, message));
    }
    match breadth(identity) {
        Breadth::Fine => Ok(()),
        Breadth::Unwise(_) if insisted => Ok(()),
        Breadth::Unwise(what) => {
            let message = format!("{what}; override_warnings lifts this");
            Err(Refusal::of_field(Reason::RangeTooBroad, value(), message))
        }
        Breadth::Everybody(what) => {
            let message = format!("{what}; nothing lifts this");
            Err(Refusal::of_field(Reason::RangeTooBroad, value(), message))
        }
    }
}

/// How many strangers a target would hit.
enum Breadth {
    /// No more than its customer, or few.
    Fine,
    /// So many that somebody must insist.
    Unwise(String),
    /// All of them.
    Everybody(&'static str),
}

/// Judges the width of a target; what is said names the limit and never the target.
fn breadth(identity: &Identity) -> Breadth {
    match identity.form {
        Form::Network(net) => {
            let least = match net {
                IpNet::V4(_) => MIN_V4_PREFIX,
                IpNet::V6(_) => MIN_V6_PREFIX,
            };
            match net.prefix_len() {
                0 => Breadth::Everybody("a network of /0 is everybody"),
                prefix if prefix < least => {
                    Breadth::Unwise(format!("a network of /{prefix} is wider than /{least}"))
                }
                _ => Breadth::Fine,
            }
        }
        Form::Prefix => match identity.canonical.len() - 1 {
            digits if digits < MIN_PREFIX_DIGITS => Breadth::Unwise(format!(
                "a prefix of {digits} digits is shorter than {MIN_PREFIX_DIGITS}"
            )),
            _ => Breadth::Fine,
        },
        Form::Domain if !identity.canonical.contains('.') => {
            Breadth::Everybody("a top-level domain is everybody below it")
        }
        Form::Domain if identity::is_public_suffix(&identity.canonical) => {
            Breadth::Unwise("strangers register domains below a public suffix".to_owned())
        }
        Form::Domain if identity::is_freemail(&identity.canonical) => {
            Breadth::Unwise("strangers share the domain of a freemail provider".to_owned())
        }
        Form::Domain | Form::Text | Form::Address(_) => Breadth::Fine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn meant_as_address(value: &str) -> bool {
        let given = Given {
            kind: None,
            value,
            issuer: "",
            region_hint: "",
        };
        let read = identity::read(&given, Channels::of(&[Channel::WebChat]), None);
        read.is_ok_and(|identity| is_failed_address(&identity))
    }

    #[test]
    fn a_network_without_its_match_kind_is_not_taken_for_a_visitor() {
        for network in [
            "203.0.113.128/25",
            "2001:db8:1234::/48",
            "198.51.100.300:8080",
            "2001:db8:1234:5678::0000:0000:0000:0000",
        ] {
            assert!(meant_as_address(network), "{network}");
        }
        for token in [
            "01a1fc8c-4b02-7790-9ad2-369d8eb434e5",
            "deadbeefdeadbeefdeadbeef",
            "v1.visitor.token.8912",
            "203.0.113.7",
        ] {
            assert!(!meant_as_address(token), "{token}");
        }
    }
}
