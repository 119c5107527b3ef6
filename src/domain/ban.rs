//! A ban: who, where, why, from when until when.

pub use super::ids::BanId;
use super::{
    channel::Channels,
    clock::Timestamp,
    identity::{self, Given, Identity, IdentityKind, MatchKind},
    ids::{ListId, TenantId},
};

/// The most targets of one ban, and identities of one check.
pub const MAX_IDENTITIES: usize = 8;
/// The longest reason, in characters (M7).
pub const MAX_REASON: usize = 500;
/// The longest reason code, in bytes.
pub const MAX_REASON_CODE: usize = 64;

/// Whether a ban holds or only watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Enforcement {
    /// It denies.
    #[default]
    Enforced = 1,
    /// It is only reported.
    Shadow = 2,
}

/// How a ban came about (M4–M6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Origin {
    /// By an operator during the interaction.
    LiveInteraction = 1,
    /// By an operator from a past session.
    PastSession = 2,
    /// By an administrator.
    AdminEntry = 3,
    /// From a file.
    Import = 4,
    /// Carried over from a web chat to the contact's phones.
    ContactCascade = 5,
}

/// Where a ban stands at one instant; computed, never stored (M24).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// It starts later.
    Scheduled = 1,
    /// It is in force.
    Active = 2,
    /// Its time is over.
    Expired = 3,
    /// Somebody lifted it.
    Deactivated = 4,
}

/// What a ban is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What kind of identity.
    pub kind: IdentityKind,
    /// As it was handed over; empty once erased.
    pub input: String,
    /// Its one canonical form; empty once erased.
    pub canonical: String,
    /// The page, business or portfolio that the identity belongs to.
    pub issuer: String,
    /// Version of the canonicaliser that read it.
    pub canonicaliser_version: u16,
    /// The forms that it is found by, readable.
    pub match_keys: Vec<String>,
}

impl Target {
    /// What it is, read again from its canonical form; `None` once that was erased, or where this
    /// version of the canonicaliser makes nothing of it.
    ///
    /// What was handed over is no help: it may have been written in a region nobody remembers.
    pub fn identity(&self, match_kind: MatchKind, channels: Channels) -> Option<Identity> {
        let given = Given {
            kind: Some(self.kind),
            value: &self.canonical,
            issuer: &self.issuer,
            region_hint: "",
        };
        // What a hidden number is spelt like on the telephone is a number elsewhere.
        let channels = channels.and(self.kind.channels());
        let read = match match_kind {
            MatchKind::Exact | MatchKind::Alias => identity::read(&given, channels, None),
            MatchKind::Cidr => identity::read_network(&given, channels),
            MatchKind::Prefix => identity::read_prefix(&given, channels),
            MatchKind::Domain => identity::read_domain(&given, channels),
        };
        read.ok().filter(|identity| identity.kind == self.kind)
    }

    /// Whether the person has been erased; the keys may go on holding.
    pub const fn is_erased(&self) -> bool {
        self.canonical.is_empty()
    }

    /// How many leading bits of its IPv6 address the ban is on, whatever the tenant's are by now.
    pub fn ipv6_prefix(&self) -> Option<u8> {
        let own = self.match_keys.first()?;
        let (address, bits) = own.rsplit_once('/')?;
        let is_v6 = self.kind == IdentityKind::IpAddress && address.contains(':');
        bits.parse().ok().filter(|_| is_v6)
    }
}

/// A ban as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Its id.
    pub ban_id: BanId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The list it is in; `None` = holds in the whole tenant.
    pub list_id: Option<ListId>,
    /// The channels it holds on; never empty.
    pub channels: Channels,
    /// What it is on; any of them matches.
    pub targets: Vec<Target>,
    /// How targets are matched.
    pub match_kind: MatchKind,
    /// Why, in words.
    pub reason: String,
    /// Why, as a code of the tenant's own.
    pub reason_code: String,
    /// Whether it holds or only watches.
    pub enforcement: Enforcement,
    /// How it came about.
    pub origin: Origin,
    /// When it begins; `None` = when it was made.
    pub start: Option<Timestamp>,
    /// When it ends; `None` = when somebody lifts it (M25).
    pub expire: Option<Timestamp>,
    /// Whether it can never hold again.
    pub ended: bool,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it was lifted.
    pub deactivated: Option<Timestamp>,
    /// Who lifted it.
    pub deactivated_by: String,
    /// Why it was lifted.
    pub deactivate_reason: String,
    /// The interaction it was made from.
    pub source_interaction: String,
    /// The queue it was made in.
    pub source_queue: String,
    /// The web chat ban that this one was carried over from.
    pub parent: Option<BanId>,
    /// The import that brought it.
    pub import_id: String,
    /// How many checks have named it, as far as that is written down; no part of the etag.
    pub match_count: u64,
    /// When one did last.
    pub last_match: Option<Timestamp>,
    /// Counts the edits; the etag is made of it.
    pub version: i64,
}

impl Ban {
    /// What a target of it is, read again; see [`Target::identity`].
    pub fn identity(&self, target: &Target) -> Option<Identity> {
        target.identity(self.match_kind, self.channels)
    }

    /// Where the ban stands at `now` (M24, D30): at `expire` itself it is over.
    pub fn state(&self, now: Timestamp) -> State {
        if self.deactivated.is_some() {
            State::Deactivated
        } else if self.ended || self.expire.is_some_and(|expire| expire <= now) {
            State::Expired
        } else if self.start.is_some_and(|start| now < start) {
            State::Scheduled
        } else {
            State::Active
        }
    }
}

macro_rules! numbered {
    ($name:ident: $($variant:ident $text:literal),+) => {
        impl $name {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The one with this number.
            pub fn from_number(number: i32) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| *one as i32 == number)
            }

            /// The name used on the wire, without its prefix.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

numbered!(Enforcement: Enforced "ENFORCED", Shadow "SHADOW");
numbered!(Origin: LiveInteraction "LIVE_INTERACTION", PastSession "PAST_SESSION",
    AdminEntry "ADMIN_ENTRY", Import "IMPORT", ContactCascade "CONTACT_CASCADE");
numbered!(State: Scheduled "SCHEDULED", Active "ACTIVE", Expired "EXPIRED", Deactivated "DEACTIVATED");
