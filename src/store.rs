//! The store: where bans are kept, and what it promises.
//!
//! | clause | promise |
//! |---|---|
//! | S-0 | (assumed) one writable primary at a time; SQLite on a local disk |
//! | S-1 | a load is one snapshot: the rows and the head of the feed belong together |
//! | S-2 | a tenant without bans is an empty view; no tenant is `None` |
//! | S-3 | rows, event and feed row commit together or not at all |
//! | S-4 | if revision r is visible, so is every smaller one |
//! | S-5 | every acknowledged write is later seen in the feed, exactly once |
//! | S-6 | a tail is a pure function of where it starts, until the feed is pruned |
//! | S-7 | asking below the floor tells the floor; never a short list passed off as whole |
//! | S-8 | instants survive to the microsecond |
//! | S-9 | the same request twice is one effect and the same answer; with another body an error |
//! | S-10 | of bans alike one stands: the others are told which, and a second one the database refuses |
//! | S-11 | the payload of a feed row equals the rows: read back under the tenant's row lock |
//!
//! No operation waits without end, whatever the network does: for a connection up to 2.5 s, then for
//! each answer up to 2.2 s where it writes, 3 s where it reads, 10 s for the first row of a load.
//!
//! Both databases keep it by the same statements (`sql`, `shared`, `work`, `read`); `pool` lends
//! the connections; `postgres` and `sqlite` add what only they can do: migrate, ring and hear the bell.
//! **Invariant:** `sqlx` lives on this floor only.

mod access;
mod error;
mod export;
mod ids;
mod keys;
mod load;
mod loaded;
mod payload;
mod pool;
mod postgres;
mod privacy;
mod queues;
mod read;
mod rows;
mod schema;
mod shared;
mod sql;
mod sqlite;
mod tail;
mod upkeep;
mod work;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;

pub use self::{
    access::AccessStore,
    error::{Result, StoreError},
    export::BanSink,
    ids::{new_ban_id, new_id},
    keys::KeyStore,
    privacy::PrivacyStore,
    read::{
        Aged, BanFilter, BanOrder, BanPage, Cursor, EventFilter, ExceptionFilter, ExceptionStore,
    },
    rows::{Added, Alike, Answer, Elsewhere, NewBan},
    upkeep::{Agenda, Matched, Purged, Sweep, Swept, Turn, Upkeep},
    work::{AccessWork, ExceptionWork, NewException, PrivacyWork},
};
use crate::domain::{
    access::AccessRecord,
    ban::Ban,
    clock::Timestamp,
    exception::Exception,
    ids::{BanId, ListId, TenantId},
    keys::{MatchKey, Reach},
    list::BanList,
    policy::TenantSettings,
    queue::{AtQueue, BanRights, QueuePolicy},
    record::{
        BanRecord, ExceptionNews, ExceptionRecord, ListRecord, News, QueueRecord, TenantRecord,
    },
    revision::{Anchor, Epoch, Nonce, Revision},
    view::index::Key,
};

/// The most bans of one transaction, and of one feed row.
pub const MAX_CHUNK: usize = 1_000;

/// Where a store is.
#[derive(Clone, Debug)]
pub enum Place {
    /// A database file in this folder.
    Sqlite(PathBuf),
    /// A database server.
    Postgres {
        /// Where it is and who we are there.
        url: String,
        /// Whether commits ring the bell; off, every pod hears by polling alone.
        bell: bool,
        /// Who else we are there, for some of it.
        apart: Apart,
    },
}

/// By whom the same database is reached for what not everybody may do, where that is somebody else.
#[derive(Clone, Debug, Default)]
pub struct Apart {
    /// Who owns the tables, and brings the schema up to date.
    pub migrate_url: Option<String>,
    /// Who only reads.
    pub reader_url: Option<String>,
}

impl Place {
    /// Whether anything was ever kept there; a server is taken at its word. To open a folder
    /// without a database would make one.
    pub fn is_there(&self) -> bool {
        match self {
            Self::Sqlite(folder) => sqlite::is_there(folder),
            Self::Postgres { .. } => true,
        }
    }
}

/// Opens a store; the schema is brought up to date only by [`Store::migrate`].
///
/// Nothing is asked of a server yet, so this succeeds while it is away.
pub async fn open(place: &Place) -> Result<Arc<dyn Store>> {
    Ok(match place {
        Place::Sqlite(folder) => Arc::new(sqlite::open(folder).await?),
        Place::Postgres { url, bell, apart } => Arc::new(postgres::open(url, *bell, apart)?),
    })
}

/// One intended write: whose it is, and what makes a second try recognisable.
#[derive(Clone, Debug)]
pub struct Intent {
    /// The tenant that is written to.
    pub tenant: TenantId,
    /// The operation, so that ids of different ones do not collide.
    pub rpc: &'static str,
    /// The caller's id of this request, or one made for it.
    pub request_id: String,
    /// A digest of all that was asked for.
    pub body: [u8; 16],
    /// The same under the other master keys of the ring: an earlier try may have been made with one.
    pub body_elsewhere: Vec<[u8; 16]>,
    /// The mark that the feed row will bear.
    pub nonce: Nonce,
    /// The instant of the write.
    pub now: Timestamp,
}

impl Intent {
    /// Whether what was asked for under its id was this.
    fn is_of(&self, body: &[u8]) -> bool {
        self.body == body || self.body_elsewhere.iter().any(|one| one == body)
    }
}

/// How a write begins.
pub enum Begun {
    /// The tenant is locked and the work can be done.
    Open(Box<dyn Work>),
    /// It was done before; this was the answer (S-9).
    Replay(Box<Answer>),
    /// The request's id was used for something else (S-9).
    Reused,
    /// There is no such tenant.
    NoTenant,
}

/// What an import has a ban become that stands already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// Which ban.
    pub ban: BanId,
    /// Why; empty = as before.
    pub reason: String,
    /// Why, as a code; empty = as before.
    pub reason_code: String,
    /// When it begins.
    pub start: Option<Timestamp>,
    /// When it ends.
    pub expire: Option<Timestamp>,
}

/// The lifting of many bans at once.
#[derive(Clone, Debug)]
pub struct Lifting {
    /// Which.
    pub bans: Vec<BanId>,
    /// Who lifts them.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Something that happened, for the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id; sorts by time.
    pub event_id: [u8; 16],
    /// The ban it is about; `None` = the tenant's configuration.
    pub ban: Option<BanId>,
    /// What was done.
    pub action: String,
    /// Who did it.
    pub actor: String,
    /// When.
    pub at: Timestamp,
    /// In words.
    pub comment: String,
    /// Where in the feed it stands, while the feed still holds it.
    pub anchor: Option<Anchor>,
}

/// One transaction on one tenant, whose row is locked while it lasts (S-11).
///
/// Dropped without [`Self::commit`], nothing of it remains.
#[async_trait]
pub trait Work: AccessWork + ExceptionWork + PrivacyWork + Send {
    /// Says when the work happens, read once the tenant is locked: on one pod the order of instants
    /// is then that of commits.
    fn at(&mut self, now: Timestamp);

    /// The tenant's settings, as locked.
    fn settings(&self) -> &TenantSettings;

    /// A list that is not deleted.
    async fn list(&mut self, list_id: &ListId) -> Result<Option<BanList>>;

    /// How many lists, and how many pairs of list and queue, the tenant has.
    async fn list_counts(&mut self) -> Result<(i64, i64)>;

    /// A number no list of the tenant has carried yet.
    async fn next_generation(&mut self) -> Result<u32>;

    /// Keeps up to [`MAX_CHUNK`] bans, one answer each in their order.
    ///
    /// Bans alike whose time is over are marked ended first, so that one can be made again at the
    /// very instant the old one expires. Their ids are new: nothing was ever kept under them.
    async fn add_bans(&mut self, bans: &[NewBan]) -> Result<Vec<Added>>;

    /// A ban.
    async fn ban(&mut self, ban: BanId) -> Result<Option<Ban>>;

    /// Writes a ban's changed fields; its targets stay. [`StoreError::Alike`]: it became like another,
    /// be that one's time over or not.
    async fn set_ban(&mut self, ban: &Ban, likeness: [u8; 16]) -> Result<()>;

    /// Changes up to [`MAX_CHUNK`] bans that stand, each named once.
    async fn renew_bans(&mut self, renewals: &[Renewal]) -> Result<()>;

    /// Lifts up to [`MAX_CHUNK`] bans, and tells which of them had not ended before.
    async fn lift_bans(&mut self, lifting: &Lifting) -> Result<Vec<BanId>>;

    /// The bans carried over from this one.
    async fn children(&mut self, ban: BanId) -> Result<Vec<BanId>>;

    /// Up to `most` other bans in force that lie within reach of this one, or share a key with it,
    /// and hold on one of its channels, but for those that only watch.
    ///
    /// Of what a range covers no more than the first 10 000 keys are looked at, ended bans' included.
    async fn overlapping(&mut self, ban: BanId, reach: &Reach, most: usize) -> Result<Vec<BanId>>;

    /// Those of these bans that there are, in no order.
    async fn bans_named(&mut self, bans: &[BanId]) -> Result<Vec<Ban>>;

    /// Files up to [`MAX_CHUNK`] bans under these keys instead of those they had, with the canonical
    /// forms of their targets.
    ///
    /// The feed tells each ban twice: ended under the keys that are gone, then as it stands. One that
    /// has become like another keeps its likeness, and both stand.
    async fn rekey(&mut self, bans: &[NewBan]) -> Result<()>;

    /// How often an identity with one of these keys was ever banned in a list, bans that have ended
    /// included; of several identities, told apart by their numbers, the one banned most often.
    async fn times_banned(&mut self, list_id: &ListId, keys: &[(u8, MatchKey)]) -> Result<usize>;

    /// Some queues, each with whether a rights profile may ban from it.
    async fn at_queues(&mut self, queues: &[String], rights_profile: &str) -> Result<Vec<AtQueue>>;

    /// How many queues have a policy, and how many pairs of profile and queue there are beside those
    /// of one profile.
    async fn queue_counts(&mut self, but_of: &str) -> Result<(i64, i64)>;

    /// Whether a queue records its bans in a list.
    async fn list_is_recorded_to(&mut self, list_id: &ListId) -> Result<bool>;

    /// How many parts of an import are remembered.
    async fn import_parts(&mut self, import_id: &str) -> Result<u64>;

    /// Writes what a queue does, the lists that it checks apart.
    async fn set_queue_policy(&mut self, policy: &QueuePolicy) -> Result<()>;

    /// Writes the whole set of queues that a profile may ban from. No check asks for it, so the feed
    /// is told nothing.
    async fn set_ban_rights(&mut self, rights: &BanRights) -> Result<()>;
    /// What views know of the bans whose time is not over that are found by one of these keys, a
    /// record for each such key of a ban.
    async fn found_by(&mut self, keys: &[Key]) -> Result<Vec<BanRecord>>;

    /// The ban that has not ended and is like this one as it is going to be, in the same content of a list,
    /// once those whose time is over are marked ended.
    async fn stands_alike(&mut self, ban: BanId, alike: &Alike) -> Result<Option<BanId>>;

    /// Writes a ban that has one target more, its last, which is found by these keys.
    /// [`StoreError::Alike`]: it became like another.
    async fn extend_ban(
        &mut self,
        ban: &Ban,
        likeness: [u8; 16],
        keys: &[(u8, MatchKey, String)],
    ) -> Result<()>;

    /// Writes the tenant's settings.
    async fn set_settings(&mut self, settings: &TenantSettings) -> Result<()>;

    /// Makes a list. [`StoreError::Taken`]: its id or title is in use.
    async fn add_list(&mut self, list: &BanList) -> Result<()>;

    /// Writes a list, its queues apart. [`StoreError::Taken`]: its title is in use.
    async fn set_list(&mut self, list: &BanList) -> Result<()>;

    /// Writes the whole set of queues that check a list.
    async fn set_list_queues(&mut self, list: &BanList) -> Result<()>;

    /// Whether there is, or was, a list of this id.
    async fn had_list(&mut self, list_id: &ListId) -> Result<bool>;

    /// Whether a list's present content has bans that are not over.
    async fn list_holds_bans(&mut self, list: &BanList) -> Result<bool>;

    /// Lifts the bans that carry this number, which no list carries from here on: they count as
    /// lifted at once, and are marked so in the background ([`Upkeep::clear`]).
    async fn drop_generation(&mut self, generation: u32, by: &str, reason: &str) -> Result<()>;

    /// Takes a list out for good, and its relations with it; its id stays taken, its title is free.
    async fn delete_list(&mut self, list: &BanList) -> Result<()>;

    /// Takes the tenant out for good: nobody finds it from the commit on, and what it has is purged
    /// in the background ([`Upkeep::purge_tenant`]).
    async fn delete_tenant(&mut self) -> Result<()>;

    /// Notes what happened, in the same transaction (S-3).
    async fn note(&mut self, event: &Event) -> Result<()>;

    /// Notes up to [`MAX_CHUNK`] things that happened.
    async fn note_all(&mut self, events: &[Event]) -> Result<()>;

    /// Tells the feed how things stand now, remembers the answer, and commits (S-3, S-9, S-11).
    async fn commit(self: Box<Self>, answer: &Answer) -> Result<()>;

    /// Undoes everything.
    async fn abandon(self: Box<Self>) -> Result<()>;
}

/// What a tail brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The oldest row still kept.
    pub floor: Revision,
    /// The newest row there is.
    pub head: Revision,
    /// The history that the rows belong to, as last agreed.
    pub epoch: Epoch,
    /// The rows from the one asked for on, itself included, as many as fit.
    pub news: Vec<News>,
    /// Whether this database only follows another one.
    pub in_recovery: bool,
    /// Whether this is the server, on the timeline, that the epoch was agreed on.
    pub agreed: bool,
    /// What the database's clock said.
    pub clock: Timestamp,
}

/// How many of the newest rows of the feed a pod remembers by their marks.
pub const REMEMBERED: usize = 65_536;

/// Every tenant, at one place in the feed.
#[derive(Clone, Debug)]
pub struct Directory {
    /// The newest row of the snapshot.
    pub head: Anchor,
    /// The newest rows that are still kept, at most [`REMEMBERED`], one after another, the head last.
    pub rows: Vec<Anchor>,
    /// The history it belongs to.
    pub epoch: Epoch,
    /// What the database's clock said.
    pub clock: Timestamp,
    /// The tenants and what decisions need to know of them.
    pub tenants: Vec<(TenantId, TenantRecord)>,
    /// The principals and their keys.
    pub access: Vec<AccessRecord>,
}

/// All that is kept of some identities, in one snapshot.
#[derive(Clone, Debug)]
pub struct Concerning {
    /// What a load of the tenant would tell before its bans.
    pub tenant: LoadedTenant,
    /// The bans, in whatever state, each with what a decision needs of it.
    pub bans: Vec<(Ban, BanRecord)>,
    /// The exceptions, in whatever state, in the same way.
    pub exceptions: Vec<(Exception, ExceptionRecord)>,
}

/// What a load tells before its bans come, page by page.
#[derive(Clone, Debug)]
pub struct LoadedTenant {
    /// The newest row of the snapshot.
    pub head: Anchor,
    /// The tenant.
    pub tenant: TenantRecord,
    /// Its lists.
    pub lists: Vec<ListRecord>,
    /// The policies of its queues.
    pub queues: Vec<QueueRecord>,
    /// Its exceptions, and the protections that it has lifted.
    pub exceptions: ExceptionNews,
}

/// Who takes the pages of a load.
pub trait LoadSink: Send {
    /// The tenant itself; comes first.
    fn open(&mut self, tenant: LoadedTenant);
    /// Some of its bans; a ban with several keys may come in several records.
    fn page(&mut self, bans: &[BanRecord]);
}

/// A connection of the feed's own. A tail that is dropped midway breaks it.
#[async_trait]
pub trait FeedLink: Send {
    /// Waits until the bell rings. An error: the link is broken, make another.
    async fn bell(&mut self) -> Result<()>;
    /// See [`Store::tail`].
    async fn tail(&mut self, from: Revision) -> Result<Tail>;
}

/// The promise; see the module's clauses.
#[async_trait]
pub trait Store:
    AccessStore + ExceptionStore + KeyStore + PrivacyStore + Upkeep + Send + Sync + 'static
{
    /// Brings the schema up to date, one process at a time.
    async fn migrate(&self) -> Result<()>;

    /// Begins the write that makes a tenant. [`StoreError::Taken`]: it exists.
    async fn begin_tenant(&self, intent: &Intent, settings: &TenantSettings) -> Result<Begun>;

    /// Begins a write on a tenant, and locks its row; or one on what is about all tenants, of which
    /// there is one at a time.
    async fn begin(&self, intent: &Intent) -> Result<Begun>;

    /// What became of a write whose commit got no answer; `None` = it is not known to have been done.
    async fn outcome(&self, intent: &Intent) -> Result<Option<Answer>>;

    /// Every tenant, and the head that belongs to them (S-1).
    async fn directory(&self) -> Result<Directory>;

    /// Reads a tenant in one snapshot (S-1); `false` = there is none (S-2).
    async fn load(&self, tenant: &TenantId, sink: &mut dyn LoadSink) -> Result<bool>;

    /// The feed from a row on, that row included (S-6, S-7).
    async fn tail(&self, from: Revision) -> Result<Tail>;

    /// Opens a connection for the feed.
    async fn link(&self) -> Result<Box<dyn FeedLink>>;

    /// Wakes every pod's feed. Lost, it costs half a second.
    async fn ring(&self) -> Result<()>;

    /// Raises the epoch to at least `to`, unless another pod has raised it since it was `seen`, and
    /// tells what it is then. The server as it is now counts as known from here on.
    async fn raise_epoch(&self, seen: Epoch, to: Epoch) -> Result<Epoch>;

    /// Whether this is the database that was there last time, in the same history, as far as its
    /// server, or for a file what [`Self::witness`] left beside it, can tell. Asked once, at start.
    async fn unbroken(&self) -> Result<bool>;

    /// Leaves beside a database file how far its feed has come, which a copy put back in its place
    /// will not have. Quick, and a matter of best effort; a server needs none.
    fn witness(&self, applied: Anchor);

    /// How many keys of each tenant a view would hold, the largest first.
    async fn sizes(&self) -> Result<Vec<(TenantId, u64)>>;

    /// The bans after one, some thousands, whose targets another version of the canonicaliser than
    /// this or a later one has read, or are filed under another master key than the current one.
    async fn aged_bans(&self, tenant: &TenantId, version: u16, after: BanId)
    -> Result<Aged<BanId>>;

    /// A tenant's settings.
    async fn settings(&self, tenant: &TenantId) -> Result<Option<TenantSettings>>;

    /// Tenants from one on, in the order of their ids.
    async fn tenants(&self, after: &str, limit: i64) -> Result<Vec<(TenantId, TenantSettings)>>;

    /// A list.
    async fn list(&self, tenant: &TenantId, list_id: &ListId) -> Result<Option<BanList>>;

    /// Lists from one on, in the order of their ids.
    async fn lists(&self, tenant: &TenantId, after: &str, limit: i64) -> Result<Vec<BanList>>;

    /// Some queues, each with whether a rights profile may ban from it.
    async fn at_queues(
        &self,
        tenant: &TenantId,
        queues: &[String],
        rights_profile: &str,
    ) -> Result<Vec<AtQueue>>;

    /// Queues' policies from one on, in the order of the queues.
    async fn queue_policies(
        &self,
        tenant: &TenantId,
        after: &str,
        limit: i64,
    ) -> Result<Vec<QueuePolicy>>;

    /// Rights from one profile on, in the order of the profiles; one without any is not there.
    async fn ban_rights(
        &self,
        tenant: &TenantId,
        after: &str,
        limit: i64,
    ) -> Result<Vec<BanRights>>;

    /// A ban.
    async fn ban(&self, tenant: &TenantId, ban: BanId) -> Result<Option<Ban>>;

    /// The bans filed under one of these keys, in one snapshot (S-1): those that have not ended
    /// first, then the newest; `None` = there is no such tenant.
    async fn concerning(
        &self,
        tenant: &TenantId,
        keys: &[Key],
        limit: i64,
    ) -> Result<Option<Concerning>>;
    /// Bans by their ids, in the order of these; those that are not there are left out.
    async fn bans_of(&self, tenant: &TenantId, bans: &[BanId]) -> Result<Vec<Ban>>;

    /// The ids of up to `limit` bans that a filter finds, from one on, in their own order.
    async fn ban_ids(
        &self,
        tenant: &TenantId,
        filter: &BanFilter,
        after: Option<BanId>,
        limit: i64,
    ) -> Result<Vec<BanId>>;

    /// Every ban that a filter finds, in the order of their ids and all of one snapshot (S-1);
    /// `false` = there is no such tenant.
    ///
    /// The snapshot is held for as long as the sink takes: it must not wait for a caller.
    async fn export(
        &self,
        tenant: &TenantId,
        filter: &BanFilter,
        sink: &mut dyn BanSink,
    ) -> Result<bool>;

    /// What happened in the transactions that bear these marks.
    async fn events_of(&self, tenant: &TenantId, nonces: &[Nonce]) -> Result<Vec<(Nonce, Event)>>;

    /// A page of bans.
    async fn bans(&self, tenant: &TenantId, filter: &BanFilter) -> Result<BanPage>;

    /// A page of events, oldest first.
    async fn events(&self, tenant: &TenantId, filter: &EventFilter) -> Result<Vec<Event>>;
}
