//! Exceptions: customers who are never banned, whatever ban they fall under.
//!
//! Of a ban and an exception on one identity the one that names it more closely wins, and where both
//! name it alike the exception does. A protected exception always wins. Some protections are built
//! in ([`super::identity::protected`]) and known by their names.

use std::{fmt, sync::Arc};

pub use super::ids::ExceptionId;
use super::{
    ban::{State, Target},
    channel::Channels,
    clock::Timestamp,
    identity::{Form, Identity, IdentityKind, MatchKind},
};

/// The most exceptions of a tenant that have not ended.
pub const MAX_EXCEPTIONS: usize = 10_000;
/// The longest comment, in characters.
pub const MAX_COMMENT: usize = 500;

/// An exception as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Its id.
    pub exception_id: ExceptionId,
    /// Who is spared.
    pub target: Target,
    /// How the target is matched.
    pub match_kind: MatchKind,
    /// The channels it holds on; never empty.
    pub channels: Channels,
    /// Why, in words; may be empty.
    pub comment: String,
    /// When it ends; `None` = when somebody ends it.
    pub expire: Option<Timestamp>,
    /// Whether it wins over every ban, however closely that names its customer.
    pub protected: bool,
    /// Whether it can never hold again.
    pub ended: bool,
    /// When it was made.
    pub created: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it was ended by somebody.
    pub deactivated: Option<Timestamp>,
    /// Who ended it.
    pub deactivated_by: String,
    /// Why it was ended.
    pub deactivate_reason: String,
}

impl Exception {
    /// Whom it spares, read again; see [`Target::identity`].
    pub fn identity(&self) -> Option<Identity> {
        self.target.identity(self.match_kind, self.channels)
    }

    /// Where it stands at `now`: at `expire` itself it is over.
    pub fn state(&self, now: Timestamp) -> State {
        if self.deactivated.is_some() {
            State::Deactivated
        } else if self.ended || self.expire.is_some_and(|expire| expire <= now) {
            State::Expired
        } else {
            State::Active
        }
    }
}

/// A built-in protection that somebody has lifted in a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifted {
    /// Its name.
    pub name: String,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A built-in protection as it stands in a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// Its name.
    pub name: String,
    /// By whom it is lifted, where it is.
    pub lifted: Option<Lifted>,
}

/// What overrode a ban.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Exempt {
    /// An exception that somebody made.
    Exception(ExceptionId),
    /// A built-in protection, by its name.
    BuiltIn(Arc<str>),
}

impl fmt::Display for Exempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exception(id) => id.fmt(f),
            Self::BuiltIn(name) => f.write_str(name),
        }
    }
}

/// How closely something names a customer: exactly, by another name, or by a range of some width.
///
/// Two are compared only where they name one identity, so widths are of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Closeness(u8);

impl Closeness {
    /// By its very name.
    pub const EXACT: Self = Self(u8::MAX);
    const ALIAS: Self = Self(u8::MAX - 1);
    const ONE_ADDRESS: u8 = 128;

    /// How closely a ban names whom it is found by: `width` is that of the key.
    ///
    /// A ban of one address stands for the network that its customer has, and no closer than that:
    /// an exception on a part of the network is closer.
    pub fn of_ban(kind: IdentityKind, matches: MatchKind, width: u8) -> Self {
        let width = if width == 0 { Self::ONE_ADDRESS } else { width };
        match (kind, matches) {
            (IdentityKind::IpAddress, _) | (_, MatchKind::Cidr) => Self(width),
            (_, MatchKind::Exact) => Self::EXACT,
            (_, MatchKind::Alias) => Self::ALIAS,
            (_, MatchKind::Prefix | MatchKind::Domain) => Self(width.min(Self::ALIAS.0 - 1)),
        }
    }

    /// How closely an exception does: one on an address was meant for that very one.
    pub fn of_exception(kind: IdentityKind, matches: MatchKind, width: u8) -> Self {
        match matches {
            MatchKind::Exact => Self::EXACT,
            _ => Self::of_ban(kind, matches, width),
        }
    }

    /// The width that it stands for, in a range.
    pub const fn width(self) -> u8 {
        self.0
    }

    /// How closely an exception on this names the least known of those it is for.
    pub fn of_target(identity: &Identity) -> Self {
        let width = |width: usize| u8::try_from(width).unwrap_or(u8::MAX);
        let (matches, width) = match identity.form {
            Form::Text | Form::Address(_) => return Self::EXACT,
            Form::Network(net) => {
                let fixed = Self::ONE_ADDRESS - net.max_prefix_len();
                (MatchKind::Cidr, fixed + net.prefix_len())
            }
            Form::Prefix => (MatchKind::Prefix, width(identity.canonical.len() - 1)),
            Form::Domain => {
                let labels = super::identity::range::labels(&identity.canonical);
                (MatchKind::Domain, width(labels))
            }
        };
        Self::of_ban(identity.kind, matches, width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_is_closer_than_another_and_that_than_any_range() {
        let phone = |matches, width| Closeness::of_ban(IdentityKind::PhoneNumber, matches, width);
        let order = [
            phone(MatchKind::Exact, 0),
            phone(MatchKind::Alias, 0),
            phone(MatchKind::Prefix, 6),
            phone(MatchKind::Prefix, 4),
        ];
        assert!(order.is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn a_part_of_the_network_that_a_banned_address_stands_for_is_closer() {
        let (ip, exact, cidr) = (IdentityKind::IpAddress, MatchKind::Exact, MatchKind::Cidr);
        assert!(Closeness::of_exception(ip, cidr, 128) > Closeness::of_ban(ip, exact, 64));
        assert!(Closeness::of_exception(ip, cidr, 48) < Closeness::of_ban(ip, exact, 64));
        assert!(Closeness::of_exception(ip, exact, 64) > Closeness::of_ban(ip, cidr, 127));
        // One IPv4 address is the same set, however it is written.
        assert!(Closeness::of_exception(ip, cidr, 0) == Closeness::of_ban(ip, exact, 0));
    }
}
