//! Who is asking: the identities a connector hands over, and the one canonical form of each.
//!
//! There is one door, [`read`], and every identity of the service comes through it: at a check, at
//! a ban, in an import. Two spellings of one person must meet there, so the form is made here, on
//! the server, by one function with one version, and never by a client. Ranges have doors of their
//! own, [`read_network`], [`read_prefix`] and [`read_domain`], because a check never hands one over.
//!
//! Where one customer is known under several names, as `alice+shop@example.com` is Alice, the
//! others come along as [`Alias`]es: keys to look under, never a rewrite of what was received.
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
pub mod protected;
pub mod range;
pub mod sets;
mod sip;
mod vk;

pub use email::{is_freemail, is_public_suffix};
pub use kind::{IdentityKind, MatchKind};
use kind::{TELEPHONE, is_whatsapp_user_id};
pub use range::{read_domain, read_network, read_prefix};

/// Version of the canonicaliser, stored with every key.
///
/// It grows by one whenever any input would get another canonical form or other keys than before, so
/// that a store can tell which of its keys to make again. What an older version made of an input is looked
/// up as long as that version's keys may stand in a store ([`AliasOf::Version`]).
///
/// 2: aliases, and e-mail addresses without the quotes that they do not need.
/// 3: keys have a place, by which a range finds what is inside it; a word spelt on a keypad hides its
/// caller however it is spaced.
pub const CANONICALISER_VERSION: u16 = 3;

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
    /// What else it is looked up under; mostly nothing.
    pub aliases: Vec<Alias>,
    /// What to know about it; mostly nothing.
    pub cautions: Vec<Caution>,
}

/// Another name of the same customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// What the name is; a SIP address can be a telephone number as well.
    pub kind: IdentityKind,
    /// The name in its own canonical form.
    pub canonical: String,
    /// Why it is the same customer.
    pub of: AliasOf,
}

/// Why two names are one customer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasOf {
    /// It is the same number or address, written otherwise.
    Spelling,
    /// The mail provider ignores the difference; a tenant may wish not to.
    Folding,
    /// An older version of the canonicaliser filed it so. Nothing is filed under it any more.
    Version,
}

impl Identity {
    /// An identity without an issuer, aliases or cautions.
    fn plain(kind: IdentityKind, canonical: String, form: Form) -> Self {
        Self {
            kind,
            canonical,
            issuer: String::new(),
            form,
            aliases: Vec::new(),
            cautions: Vec::new(),
        }
    }

    fn alias(&mut self, kind: IdentityKind, canonical: Option<String>, of: AliasOf) {
        let new = |one: &String| {
            (kind, one) != (self.kind, &self.canonical)
                && self
                    .aliases
                    .iter()
                    .all(|alias| (alias.kind, &alias.canonical) != (kind, one))
        };
        if let Some(canonical) = canonical.filter(new) {
            self.aliases.push(Alias {
                kind,
                canonical,
                of,
            });
        }
    }
}

/// The shape of an identity beyond its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Text and nothing more: all that is neither an IP address nor a range.
    Text,
    /// One IP address.
    Address(IpAddr),
    /// A network of them.
    Network(IpNet),
    /// The telephone numbers that begin with this, `+` and digits.
    Prefix,
    /// The mail addresses of a domain and of those below it.
    Domain,
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
    let mut identity = match kind {
        IdentityKind::PhoneNumber | IdentityKind::SipUri => {
            telephone(given, kind, &text, channels, default_region)
        }
        IdentityKind::EmailAddress => mailbox(&text),
        IdentityKind::IpAddress => ip::address(&text)
            .map(|address| Identity::plain(kind, address.to_string(), Form::Address(address))),
        _ => opaque(kind, &text),
    }
    .filter(|identity| identity.canonical.len() <= MAX_VALUE_BYTES)
    .ok_or(unparseable)?;
    if kind.takes_issuer() {
        given.issuer.clone_into(&mut identity.issuer);
        if given.issuer.is_empty() {
            identity.cautions.push(Caution::MissingIssuer);
        }
    }
    Ok(identity)
}

/// A caller, by number or by SIP address.
fn telephone(
    given: &Given<'_>,
    kind: IdentityKind,
    text: &str,
    channels: Channels,
    default_region: Option<&str>,
) -> Option<Identity> {
    let region = phone::region(given.region_hint, default_region);
    let on_telephone = channels.is_empty() || !channels.and(TELEPHONE).is_empty();
    if on_telephone && phone::is_withheld(text, region) {
        return Some(withheld());
    }
    if kind == IdentityKind::SipUri {
        let mut identity = Identity::plain(kind, sip::read(text)?, Form::Text);
        identity.alias(kind, sip::bare(&identity.canonical), AliasOf::Spelling);
        let number = sip::number(&identity.canonical)
            .and_then(|number| phone::read(&number, channels, region))
            .filter(|number| number.canonical.starts_with('+'));
        if let Some(number) = number {
            let other = phone::spellings(&number.canonical);
            let kind = IdentityKind::PhoneNumber;
            for spelling in [Some(number.canonical), other, number.without_zero] {
                identity.alias(kind, spelling, AliasOf::Spelling);
            }
        }
        return Some(identity);
    }
    let number = phone::read(text, channels, region)?;
    // Written with spaces, it hides its caller as well.
    if on_telephone && phone::is_spelt(&number.canonical) {
        return Some(withheld());
    }
    let mut identity = Identity::plain(kind, number.canonical, Form::Text);
    let other = phone::spellings(&identity.canonical);
    // The old form of a Mexican mobile is too long for the metadata, and still somebody's.
    if !number.possible && other.is_none() {
        identity.cautions.push(Caution::NotPossibleNumber);
    }
    identity.alias(kind, other, AliasOf::Spelling);
    identity.alias(kind, number.without_zero, AliasOf::Spelling);
    Some(identity)
}

/// A mail address.
fn mailbox(text: &str) -> Option<Identity> {
    let kind = IdentityKind::EmailAddress;
    let address = email::read(text)?;
    let mut identity = Identity::plain(kind, address.canonical, Form::Text);
    if address.mixes_scripts {
        identity.cautions.push(Caution::Homoglyph);
    }
    identity.alias(kind, email::fold(&identity.canonical), AliasOf::Folding);
    identity.alias(kind, address.former, AliasOf::Version);
    Some(identity)
}

/// An id that the vendor hands out and only the vendor understands.
fn opaque(kind: IdentityKind, text: &str) -> Option<Identity> {
    let canonical = match kind {
        IdentityKind::VkPeerId => vk::read(text)?,
        // Some providers hand the id on with its URN prefix, some without: one person either way.
        IdentityKind::AppleOpaqueId => text.trim_start_matches("urn:mbid:").to_owned(),
        // A user name has not this form: its owner can change it, and it is no identity.
        IdentityKind::WhatsappUserId if !is_whatsapp_user_id(text) => return None,
        _ => text.to_owned(),
    };
    // What is left without its prefix has to be something, as `legible` asks of the whole.
    let blank = canonical.trim().is_empty();
    (!blank).then(|| Identity::plain(kind, canonical, Form::Text))
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
    let mut identity = Identity::plain(IdentityKind::Withheld, String::new(), Form::Text);
    identity.cautions.push(Caution::Withheld);
    identity
}

#[cfg(test)]
mod tests;
