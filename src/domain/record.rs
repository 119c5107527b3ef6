//! Decision records: what a view needs to know of each thing, and the news that brings them.
//!
//! A record tells how things stand after a change, so hearing it twice does no harm. None holds an
//! identity, a reason or a customer's name: erasing a person leaves the feed alone.

use super::{
    access::AccessRecord,
    ban::Enforcement,
    channel::{Channel, Channels},
    clock::Timestamp,
    ids::{BanId, ExceptionId, ListId, TenantId},
    keys::MatchKey,
    list::Treatment,
    policy::FailureMode,
    queue::WithheldPolicy,
    revision::Anchor,
};

/// A ban, as far as a decision needs it.
///
/// One whose keys were made again comes twice in a row of the feed: ended under the keys that are
/// gone, then as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanRecord {
    /// Which.
    pub ban: BanId,
    /// All that it is found by, also once it has ended, so that a view can take it out again.
    pub keys: Vec<MatchKey>,
    /// When it begins; `None` = at once.
    pub start: Option<Timestamp>,
    /// When it ends; `None` = never.
    pub expire: Option<Timestamp>,
    /// The generation of its list; 0 = holds in the whole tenant.
    pub generation: u32,
    /// Where it holds.
    pub channels: Channels,
    /// Whether it holds or only watches.
    pub enforcement: Enforcement,
    /// Whether it is out for good.
    pub ended: bool,
}

/// A list, as far as a decision needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRecord {
    /// Which.
    pub list_id: ListId,
    /// The number its bans carry.
    pub generation: u32,
    /// Whether it is gone, its bans with it.
    pub deleted: bool,
    /// What connectors should do, where the list has a say.
    pub treatment: Option<Treatment>,
    /// Whether its bans hold or only watch.
    pub enforcement: Enforcement,
    /// Whether its bans stop outgoing interactions.
    pub enforce_outbound: bool,
    /// The queues that check it.
    pub queues: Vec<String>,
}

/// A tenant, as far as a decision needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRecord {
    /// What happens while bans cannot be known.
    pub failure_mode: FailureMode,
    /// Where a number without a country code is from; empty = nowhere.
    pub default_region: String,
    /// Whether e-mail tags and provider dots are folded.
    pub email_fold: bool,
    /// Whether it is gone.
    pub deleted: bool,
}

/// A queue's policy, as far as a decision needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRecord {
    /// Which queue.
    pub queue: String,
    /// The channel that the policy is about.
    pub channel: Channel,
    /// What becomes of those who tell nothing of themselves.
    pub withheld: WithheldPolicy,
}

/// An exception, as far as a decision needs it; one whose keys were made again comes twice, as a ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExceptionRecord {
    /// Which.
    pub exception: ExceptionId,
    /// All that it is found by.
    pub keys: Vec<MatchKey>,
    /// When it ends; `None` = never.
    pub expire: Option<Timestamp>,
    /// Where it holds.
    pub channels: Channels,
    /// Whether it wins over every ban, however closely that names its customer.
    pub protected: bool,
    /// Whether it is out for good.
    pub ended: bool,
}

/// A built-in protection that somebody has lifted, or put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectionRecord {
    /// Its name, as `emergency-CZ-112`.
    pub name: String,
    /// Whether it is lifted.
    pub lifted: bool,
}

/// Exceptions and protections, as far as a decision needs them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExceptionNews {
    /// Those that somebody made.
    pub exceptions: Vec<ExceptionRecord>,
    /// Those that are built in, where they do not stand as built.
    pub protections: Vec<ProtectionRecord>,
}

/// What a feed row tells of one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// How these bans stand now.
    Bans(Vec<BanRecord>),
    /// How this list stands now.
    List(ListRecord),
    /// How the tenant stands now.
    Tenant(TenantRecord),
    /// How this queue's policy stands now.
    Queue(QueueRecord),
    /// How these exceptions and protections stand now.
    Exceptions(ExceptionNews),
    /// How this principal stands now; it is about no tenant.
    Access(AccessRecord),
    /// Something this binary cannot read: only the store knows.
    Reload,
}

/// A row of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Its place and mark.
    pub anchor: Anchor,
    /// Whom it is about; `None` = all tenants, as in the row that opened the feed.
    pub tenant: Option<TenantId>,
    /// What it tells.
    pub change: Change,
}
