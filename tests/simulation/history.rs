//! What the model database knows of every history: each row, and what stood in it after each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bancheck::domain::{
    ban::Ban,
    exception::Exception,
    ids::{BanId, ExceptionId, ListId, TenantId},
    keys::MatchKey,
    list::BanList,
    policy::TenantSettings,
    record::{BanRecord, ExceptionRecord, ListRecord, News, TenantRecord},
    revision::{Anchor, Epoch, Revision},
};

/// A row of the feed, with the history that led to it.
pub(crate) struct Row {
    /// Counts the commits of all histories: a name that is the same whenever a seed is run.
    pub(crate) number: usize,
    /// How many rows lie before it in its own history.
    pub(crate) depth: usize,
    /// Its place and mark.
    pub(crate) anchor: Anchor,
    /// The row before; `None` = it opened the feed.
    pub(crate) before: Option<Arc<Self>>,
    /// What the feed tells.
    pub(crate) news: News,
    /// What stands in every tenant once it is committed.
    pub(crate) tenants: Arc<Tenants>,
    /// When it was committed, in true time.
    pub(crate) at: Duration,
    /// What a backup taken just then holds besides: the epoch, the floor, the server known.
    pub(crate) meta: Meta,
}

/// Every tenant there is.
pub(crate) type Tenants = BTreeMap<TenantId, Arc<Tenant>>;

/// What the database keeps beside its rows; a restore brings the old values back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(crate) epoch: Epoch,
    pub(crate) floor: Revision,
    /// The server that the epoch was agreed on.
    pub(crate) server: Option<u64>,
}

/// What is kept of a tenant.
#[derive(Clone)]
pub(crate) struct Tenant {
    pub(crate) settings: TenantSettings,
    pub(crate) lists: BTreeMap<ListId, BanList>,
    pub(crate) bans: BTreeMap<BanId, Arc<Kept>>,
    pub(crate) exceptions: BTreeMap<ExceptionId, Arc<KeptException>>,
}

/// An exception as it is kept, with what it is found by.
#[derive(Clone)]
pub(crate) struct KeptException {
    /// The number of the row that made it.
    pub(crate) made: usize,
    pub(crate) exception: Exception,
    pub(crate) keys: Vec<MatchKey>,
}

impl KeptException {
    /// What a view needs of it.
    pub(crate) fn record(&self) -> ExceptionRecord {
        ExceptionRecord {
            exception: self.exception.exception_id,
            keys: self.keys.clone(),
            expire: self.exception.expire,
            channels: self.exception.channels,
            protected: self.exception.protected,
            ended: self.exception.ended,
        }
    }
}

/// A ban as it is kept, with what it is found by.
#[derive(Clone)]
pub(crate) struct Kept {
    /// The number of the row that made it.
    pub(crate) made: usize,
    pub(crate) ban: Ban,
    pub(crate) generation: u32,
    pub(crate) likeness: [u8; 16],
    pub(crate) keys: Vec<MatchKey>,
}

impl Row {
    /// Whether another row is this one or lies before it in the same history.
    pub(crate) fn includes(&self, earlier: &Self) -> bool {
        self.back_to(earlier.depth)
            .is_some_and(|row| row.number == earlier.number)
    }

    /// The row of this history that so many lie before.
    pub(crate) fn back_to(&self, depth: usize) -> Option<&Self> {
        let mut row = self;
        while row.depth > depth {
            row = row.before.as_deref()?;
        }
        (row.depth == depth).then_some(row)
    }

    /// The rows from this one back to the first, newest first.
    pub(crate) fn back(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |row| row.before.as_deref())
    }
}

/// The newest row from this one back for which something holds, or else the first of all.
pub(crate) fn back_until(row: &Arc<Row>, holds: impl Fn(&Row) -> bool) -> Arc<Row> {
    let mut row = row;
    while let Some(before) = row.before.as_ref().filter(|_| !holds(row)) {
        row = before;
    }
    Arc::clone(row)
}

impl Kept {
    /// What a view needs of it.
    pub(crate) fn record(&self) -> BanRecord {
        let Ban {
            ban_id,
            start,
            expire,
            channels,
            enforcement,
            ended,
            ..
        } = self.ban;
        BanRecord {
            ban: ban_id,
            keys: self.keys.clone(),
            start,
            expire,
            generation: self.generation,
            channels,
            enforcement,
            ended,
        }
    }
}

impl Tenant {
    /// What decisions need of the tenant itself.
    pub(crate) fn record(&self) -> TenantRecord {
        TenantRecord {
            failure_mode: self.settings.failure_mode,
            default_region: self.settings.default_region.clone(),
            email_fold: self.settings.email_fold,
            deleted: false,
        }
    }

    /// The bans that have not been marked ended.
    pub(crate) fn standing(&self) -> impl Iterator<Item = &Arc<Kept>> {
        self.bans.values().filter(|kept| !kept.ban.ended)
    }

    /// The exceptions that have not been marked ended.
    pub(crate) fn excepted(&self) -> impl Iterator<Item = &Arc<KeptException>> {
        let all = self.exceptions.values();
        all.filter(|kept| !kept.exception.ended)
    }

    /// The ban that stands and is alike, other than this one.
    pub(crate) fn alike(&self, likeness: [u8; 16], but: BanId) -> Option<BanId> {
        self.standing()
            .find(|kept| kept.likeness == likeness && kept.ban.ban_id != but)
            .map(|kept| kept.ban.ban_id)
    }

    /// Bans in the order in which they were made, which is the same whenever a seed is run.
    pub(crate) fn by_age(&self) -> Vec<&Arc<Kept>> {
        let mut bans: Vec<_> = self.bans.values().collect();
        bans.sort_by_key(|kept| kept.made);
        bans
    }
}

/// What decisions need of a list.
pub(crate) fn list_record(list: &BanList) -> ListRecord {
    ListRecord {
        list_id: list.list_id.clone(),
        generation: list.generation,
        deleted: false,
        treatment: list.treatment,
        enforcement: list.enforcement,
        enforce_outbound: list.enforce_outbound,
        queues: list.queues.iter().cloned().collect(),
    }
}

/// The numbers of the lists that a queue checks.
pub(crate) fn checked_at(tenant: &Tenant, queue: &str) -> BTreeSet<u32> {
    tenant
        .lists
        .values()
        .filter(|list| list.queues.contains(queue))
        .map(|list| list.generation)
        .collect()
}
