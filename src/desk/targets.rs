//! Reading whom a ban is on: through the same door as a check, but strictly.

use ipnet::IpNet;

use crate::domain::{
    ban::MAX_IDENTITIES,
    channel::Channels,
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
    let region = Some(settings.default_region.as_str()).filter(|region| !region.is_empty());
    let read_one = |(at, one): (usize, &TargetGiven)| {
        for (part, text) in [("value", &one.value), ("issuer", &one.issuer)] {
            fields::size(format_args!("targets[{at}].{part}"), text, MAX_VALUE_BYTES)?;
        }
        let found = match match_kind {
            MatchKind::Exact => identity::read(&one.given(), channels, region),
            MatchKind::Cidr => identity::read_network(&one.given(), channels),
            MatchKind::Alias | MatchKind::Prefix | MatchKind::Domain => {
                let message = "targets are matched EXACT or CIDR";
                return Err(Refusal::of_field(
                    Reason::InvalidIdentifier,
                    "match_kind",
                    message,
                ));
            }
        };
        let identity = found.map_err(|unreadable| refuse(at, match_kind, unreadable))?;
        bannable(at, &identity, insisted)?;
        Ok(identity)
    };
    given.iter().enumerate().map(read_one).collect()
}

fn refuse(at: usize, match_kind: MatchKind, unreadable: Unreadable) -> Refusal {
    match (unreadable.caution, unreadable.kind) {
        (Caution::KindChannelMismatch, _) => {
            let message = "an identity of this kind is not met on these channels";
            Refusal::of_field(
                Reason::KindChannelMismatch,
                format!("targets[{at}].kind"),
                message,
            )
        }
        (_, None) => {
            let message = "say of what kind it is, or name exactly one channel";
            Refusal::of_field(
                Reason::InvalidIdentifier,
                format!("targets[{at}].kind"),
                message,
            )
        }
        (_, Some(_)) => {
            let message = match match_kind {
                MatchKind::Cidr => "this is not a network like 203.0.113.0/24",
                _ => "this cannot be read as an identity of its kind; a network needs CIDR",
            };
            Refusal::of_field(
                Reason::InvalidIdentifier,
                format!("targets[{at}].value"),
                message,
            )
        }
    }
}

/// What may be matched at a check may still be no target of a ban.
fn bannable(at: usize, identity: &Identity, insisted: bool) -> Result<(), Refusal> {
    let value = || format!("targets[{at}].value");
    if identity.kind == IdentityKind::Withheld {
        let message = "a withheld number names nobody, so nobody can be banned by it";
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
    if identity.cautions.contains(&Caution::MissingIssuer) {
        let message = "an identity of this kind means nothing without its issuer";
        let field = format!("targets[{at}].issuer");
        return Err(Refusal::of_field(Reason::MissingIssuer, field, message));
    }
    if let Form::Network(net) = identity.form {
        let least = match net {
            IpNet::V4(_) => MIN_V4_PREFIX,
            IpNet::V6(_) => MIN_V6_PREFIX,
        };
        let prefix = net.prefix_len();
        if prefix == 0 || (prefix < least && !insisted) {
            let message = format!(
                "a network of /{prefix} is wider than /{least}; override_warnings lifts this for \
                 all but /0"
            );
            return Err(Refusal::of_field(Reason::RangeTooBroad, value(), message));
        }
    }
    Ok(())
}
