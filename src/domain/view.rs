//! A tenant's bans at one revision, laid out for the question "is this one banned here?".
//!
//! A view never changes. News makes a new one that shares nearly all of its memory with the old,
//! so readers hold theirs as long as they like and nobody waits.

mod exceptions;
pub mod index;
mod loading;
mod queues;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

pub use self::loading::Loading;
use self::{
    exceptions::{Exceptions, PROTECTED},
    index::{Change as Edit, Entry, Index, Key},
    queues::Queues,
};
use super::{
    ban::Enforcement,
    channel::Channels,
    clock::Timestamp,
    digest::Digest,
    identity::{MatchKind, protected::Guard},
    ids::ListId,
    keys::{MatchKey, Space, TenantKey, Widths},
    list::Treatment,
    record::{BanRecord, Change, ExceptionNews, ListRecord, News, QueueRecord, TenantRecord},
    revision::{Position, Revision},
};

const SHADOW: u8 = 1;
const MATCH_SHIFT: u8 = 1;
const MATCH_BITS: u8 = 0b111;

impl Entry {
    /// Whether the ban only watches.
    pub const fn is_shadow(&self) -> bool {
        self.flags & SHADOW != 0
    }

    /// Whether this is of an exception that wins over every ban.
    pub const fn is_protected(&self) -> bool {
        self.flags & PROTECTED != 0
    }

    /// How the ban was matched when this entry is hit.
    pub fn match_kind(&self) -> MatchKind {
        let number = (self.flags >> MATCH_SHIFT) & MATCH_BITS;
        MatchKind::from_number(i32::from(number)).unwrap_or(MatchKind::Exact)
    }

    /// The channels that the ban holds on.
    pub fn channels(&self) -> Channels {
        Channels::from_bits(self.channels)
    }
}

/// What a list means to a decision.
#[derive(Debug)]
pub struct ListRules {
    /// Which list.
    pub list_id: ListId,
    /// What connectors should do, where the list has a say.
    pub treatment: Option<Treatment>,
    /// Whether its bans hold or only watch.
    pub enforcement: Enforcement,
    /// Whether its bans stop outgoing interactions.
    pub enforce_outbound: bool,
}

/// The tenant's lists, compiled two ways: by the number that bans carry, and by queue.
#[derive(Debug, Default)]
struct Lists {
    records: HashMap<ListId, Arc<ListRecord>>,
    rules: HashMap<u32, ListRules>,
    queues: HashMap<String, Vec<u32>>,
    digest: Digest,
}

impl Lists {
    fn compile(records: HashMap<ListId, Arc<ListRecord>>) -> Self {
        let mut lists = Self::default();
        for record in records.values() {
            lists.digest = lists.digest.with(Digest::of_list(record));
            let rules = ListRules {
                list_id: record.list_id.clone(),
                treatment: record.treatment,
                enforcement: record.enforcement,
                enforce_outbound: record.enforce_outbound,
            };
            lists.rules.insert(record.generation, rules);
            for queue in &record.queues {
                lists
                    .queues
                    .entry(queue.clone())
                    .or_default()
                    .push(record.generation);
            }
        }
        Self { records, ..lists }
    }

    fn with(&self, record: &ListRecord) -> Self {
        let mut records = self.records.clone();
        if record.deleted {
            records.remove(&record.list_id);
        } else {
            records.insert(record.list_id.clone(), Arc::new(record.clone()));
        }
        Self::compile(records)
    }
}

/// Since when a view misses news that only a load can bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The last position whose news it has.
    pub at: Position,
    /// Boot time at which that was known to be all there was.
    pub heard_at: i64,
}

/// All that one tenant's checks need, at one revision.
#[derive(Clone)]
pub struct TenantView {
    /// The newest feed row of this tenant that the view includes.
    pub revision: Revision,
    /// The tenant's own settings.
    pub tenant: Arc<TenantRecord>,
    /// Set while it stays in use only until a newer one has been loaded.
    pub behind: Option<Behind>,
    key: TenantKey,
    lists: Arc<Lists>,
    queues: Arc<Queues>,
    /// `None` where nobody ever made an exception or lifted a protection.
    exceptions: Option<Arc<Exceptions>>,
    guard: Arc<Guard>,
    digests: Index,
    ranges: Index,
    widths: Widths,
    /// Of the entries alone, kept up with each change to them.
    entries: Digest,
}

impl TenantView {
    /// The view of a tenant without lists and bans.
    pub fn empty(revision: Revision, tenant: TenantRecord, key: TenantKey) -> Self {
        Self {
            revision,
            guard: Guard::of(&tenant.default_region, &BTreeSet::new()),
            tenant: Arc::new(tenant),
            behind: None,
            key,
            lists: Arc::default(),
            queues: Arc::default(),
            exceptions: None,
            digests: Index::default(),
            ranges: Index::default(),
            widths: Widths::default(),
            entries: Digest::default(),
        }
    }

    /// Puts the lists of a load in.
    #[must_use]
    pub fn with_lists(self, lists: Vec<ListRecord>) -> Self {
        let records = lists
            .into_iter()
            .map(|list| (list.list_id.clone(), Arc::new(list)))
            .collect();
        Self {
            lists: Arc::new(Lists::compile(records)),
            ..self
        }
    }

    /// Puts the queues' policies of a load in.
    #[must_use]
    pub fn with_queues(self, queues: Vec<QueueRecord>) -> Self {
        Self {
            queues: Arc::new(queues.into_iter().collect()),
            ..self
        }
    }

    /// Puts the exceptions of a load in.
    #[must_use]
    pub fn with_exceptions(mut self, exceptions: &ExceptionNews) -> Self {
        self.except(exceptions);
        self
    }

    /// Takes in how exceptions stand now, replacing what was known of them.
    fn except(&mut self, news: &ExceptionNews) {
        if news.exceptions.is_empty() && news.protections.is_empty() {
            return;
        }
        let exceptions = Arc::make_mut(self.exceptions.get_or_insert_default());
        exceptions.take_in(news, &mut self.widths);
        if !news.protections.is_empty() {
            self.guard = Guard::of(&self.tenant.default_region, exceptions.lifted());
        }
    }

    /// The same, whose own settings stand otherwise.
    fn settle(&mut self, tenant: &TenantRecord) {
        if tenant.default_region != self.tenant.default_region {
            let none = BTreeSet::new();
            let lifted = self.exceptions.as_ref().map_or(&none, |all| all.lifted());
            self.guard = Guard::of(&tenant.default_region, lifted);
        }
        self.tenant = Arc::new(tenant.clone());
    }

    /// The view after a feed row; `None` where only a load can tell.
    pub fn after(&self, news: &News) -> Option<Self> {
        let mut next = Self {
            revision: news.anchor.revision,
            ..self.clone()
        };
        match &news.change {
            Change::Bans(bans) => next.file(bans),
            Change::List(list) => next.lists = Arc::new(self.lists.with(list)),
            Change::Tenant(tenant) => next.settle(tenant),
            Change::Queue(queue) => next.queues = Arc::new(self.queues.with(queue)),
            Change::Exceptions(news) => next.except(news),
            // About no tenant, so never about this one.
            Change::Access(_) => {}
            Change::Reload => return None,
        }
        Some(next)
    }

    /// The same, in use only until a newer one has been loaded.
    #[must_use]
    pub fn fallen(&self, behind: Behind) -> Self {
        Self {
            behind: Some(behind),
            ..self.clone()
        }
    }

    /// Files bans as they stand now, replacing what was known of them.
    pub fn file(&mut self, bans: &[BanRecord]) {
        let (mut digests, mut ranges) = (Vec::with_capacity(bans.len()), Vec::new());
        for ban in bans {
            for key in &ban.keys {
                let edits = match key.space {
                    Space::Digest => &mut digests,
                    Space::Range => &mut ranges,
                };
                if ban.ended {
                    edits.push(Edit::Remove(key.key, ban.ban));
                    continue;
                }
                self.widths.note(key);
                edits.push(Edit::Put(entry(ban, key)));
            }
        }
        self.edit(digests, ranges);
    }

    /// The same tenant with these entries filed and no others.
    #[must_use]
    pub fn holding(&self, entries: &[(Space, Entry)]) -> Self {
        let mut alone = Self {
            digests: Index::default(),
            ranges: Index::default(),
            entries: Digest::default(),
            ..self.clone()
        };
        let put = |wanted| {
            let of = entries.iter().filter(move |(space, _)| *space == wanted);
            of.map(|(_, entry)| Edit::Put(*entry)).collect::<Vec<_>>()
        };
        alone.edit(put(Space::Digest), put(Space::Range));
        alone
    }

    fn edit(&mut self, mut digests: Vec<Edit>, mut ranges: Vec<Edit>) {
        let mut sum = self.entries;
        let mut keep = |space, before: Option<&Entry>, after: Option<&Entry>| {
            if let Some(entry) = before {
                sum = sum.without(Digest::of_entry(space, entry));
            }
            if let Some(entry) = after {
                sum = sum.with(Digest::of_entry(space, entry));
            }
        };
        self.digests.apply(&mut digests, |before, after| {
            keep(Space::Digest, before, after);
        });
        self.ranges.apply(&mut ranges, |before, after| {
            keep(Space::Range, before, after);
        });
        self.entries = sum;
    }

    /// The digest of all that the view holds, its revision apart.
    ///
    /// Whatever the clock says: a ban counts until a feed row takes it out.
    pub fn digest(&self) -> Digest {
        let exceptions = self.exceptions.as_ref();
        self.entries
            .with(self.lists.digest)
            .with(self.queues.digest())
            .with(Digest::of_tenant(&self.tenant))
            .with(exceptions.map_or_else(Digest::default, |all| all.digest()))
    }

    /// The key of this tenant's digests.
    pub const fn key(&self) -> &TenantKey {
        &self.key
    }

    /// The widths of keys in use.
    pub const fn widths(&self) -> &Widths {
        &self.widths
    }

    /// Whether something may be filed under a key; a no is certain, and quicker than to look.
    pub fn may_find(&self, space: Space, key: Key) -> bool {
        let of_bans = match space {
            Space::Digest => self.digests.may_hold(key),
            Space::Range => self.ranges.may_hold(key),
        };
        let exceptions = self.exceptions.as_ref();
        of_bans || exceptions.is_some_and(|all| all.may_find(space, key))
    }

    /// What is filed under a key.
    pub fn find(&self, space: Space, key: Key) -> &[Entry] {
        match space {
            Space::Digest => self.digests.get(key),
            Space::Range => self.ranges.get(key),
        }
    }

    /// Whether somebody made an exception.
    pub fn has_exceptions(&self) -> bool {
        self.exceptions.as_ref().is_some_and(|all| !all.is_empty())
    }

    /// What exceptions are filed under a key; the ban of such an entry is the exception's id.
    pub fn find_exceptions(&self, space: Space, key: Key) -> &[Entry] {
        self.exceptions
            .as_ref()
            .map_or(&[], |all| all.find(space, key))
    }

    /// The built-in protections that stand.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The rules of the list that a ban carries the number of; `None` where that list is no more.
    pub fn list(&self, generation: u32) -> Option<&ListRules> {
        self.lists.rules.get(&generation)
    }

    /// The numbers of the lists that a queue checks; empty for a queue nobody has heard of.
    pub fn lists_at(&self, queue: &str) -> &[u32] {
        self.lists.queues.get(queue).map_or(&[], Vec::as_slice)
    }

    /// What a queue does, where it was ever configured.
    pub fn queue(&self, queue: &str) -> Option<&QueueRecord> {
        self.queues.get(queue)
    }

    /// Whether a queue is one that this tenant, which names some, never named.
    pub fn never_heard_of(&self, queue: &str) -> bool {
        let names_some = !self.lists.queues.is_empty() || self.queues.len() > 0;
        names_some && !self.lists.queues.contains_key(queue) && self.queues.get(queue).is_none()
    }

    /// How many keys are filed.
    pub fn len(&self) -> usize {
        self.digests.len() + self.ranges.len()
    }

    /// Whether nobody is banned.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that the view holds, in bytes, lists reckoned roughly.
    pub fn bytes(&self) -> usize {
        const LIST: usize = 512;
        const QUEUE: usize = 160;
        self.digests.bytes()
            + self.ranges.bytes()
            + self.exceptions.as_ref().map_or(0, |all| all.bytes())
            + self.lists.records.len() * LIST
            + (self.lists.queues.len() + self.queues.len()) * QUEUE
            + size_of::<Self>()
    }
}

/// What is filed of a ban under one of its keys.
fn entry(ban: &BanRecord, key: &MatchKey) -> Entry {
    let shadow = if ban.enforcement == Enforcement::Shadow {
        SHADOW
    } else {
        0
    };
    Entry {
        key: key.key,
        ban: ban.ban,
        starts: ban.start.unwrap_or(Timestamp::MIN).micros(),
        ends: ban.expire.unwrap_or(Timestamp::MAX).micros(),
        list: ban.generation,
        channels: ban.channels.bits(),
        kind: key.kind as u8,
        flags: shadow | (key.matches as u8) << MATCH_SHIFT,
    }
}
