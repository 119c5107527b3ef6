//! What is known of a tenant by a load, or by hearing its feed; the two must come to the same.

use std::collections::{BTreeMap, BTreeSet};

use bancheck::{
    domain::{
        ids::{BanId, ExceptionId, ListId, TenantId},
        record::{
            BanRecord, Change, ExceptionNews, ExceptionRecord, ListRecord, News, QueueRecord,
            TenantRecord,
        },
        revision::Anchor,
    },
    store::{LoadSink, LoadedTenant, Store},
};

/// A tenant, as far as decisions need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replica {
    /// The row of the feed it stands at.
    pub(crate) head: Anchor,
    /// The tenant.
    pub(crate) tenant: Option<TenantRecord>,
    /// Its lists.
    pub(crate) lists: BTreeMap<ListId, ListRecord>,
    /// The policies of its queues.
    pub(crate) queues: BTreeMap<String, QueueRecord>,
    /// Its bans that have not ended.
    pub(crate) bans: BTreeMap<BanId, BanRecord>,
    /// Its exceptions that have not ended.
    pub(crate) exceptions: BTreeMap<ExceptionId, ExceptionRecord>,
    /// The built-in protections that it has lifted.
    pub(crate) lifted: BTreeSet<String>,
}

impl Replica {
    /// By a load; `None` = there is no such tenant.
    pub(crate) async fn load(store: &dyn Store, tenant: &TenantId) -> Option<Self> {
        let mut loaded = Self::default();
        let there = store.load(tenant, &mut loaded).await.expect("a load");
        if !there {
            assert_eq!(loaded, Self::default(), "nothing is told of no tenant");
            return None;
        }
        for ban in loaded.bans.values_mut() {
            ban.keys.sort_by_key(|key| key.key.bits());
        }
        Some(loaded)
    }

    /// By the news of the feed up to a row, that row included.
    pub(crate) fn hear(feed: &[News], tenant: &TenantId, last: Anchor) -> Self {
        let mut replica = Self {
            head: last,
            ..Self::default()
        };
        let until = feed
            .iter()
            .take_while(|news| news.anchor.revision <= last.revision);
        for news in until.filter(|news| news.tenant.as_ref() == Some(tenant)) {
            replica.apply(&news.change);
        }
        replica
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Bans(bans) => {
                for ban in bans {
                    let mut ban = ban.clone();
                    ban.keys.sort_by_key(|key| key.key.bits());
                    if ban.ended {
                        self.bans.remove(&ban.ban);
                    } else {
                        self.bans.insert(ban.ban, ban);
                    }
                }
            }
            Change::List(list) if list.deleted => {
                self.lists.remove(&list.list_id);
            }
            Change::List(list) => {
                self.lists.insert(list.list_id.clone(), list.clone());
            }
            Change::Tenant(tenant) => self.tenant = Some(tenant.clone()),
            Change::Queue(queue) => {
                self.queues.insert(queue.queue.clone(), queue.clone());
            }
            Change::Exceptions(news) => self.except(news),
            Change::Access(_) => {}
            Change::Reload => panic!("these tests write nothing that must be reloaded"),
        }
    }
}

impl Replica {
    fn except(&mut self, news: &ExceptionNews) {
        for exception in &news.exceptions {
            if exception.ended {
                self.exceptions.remove(&exception.exception);
            } else {
                let mut exception = exception.clone();
                exception.keys.sort_by_key(|key| key.key.bits());
                self.exceptions.insert(exception.exception, exception);
            }
        }
        for protection in &news.protections {
            if protection.lifted {
                self.lifted.insert(protection.name.clone());
            } else {
                self.lifted.remove(&protection.name);
            }
        }
    }
}

impl LoadSink for Replica {
    fn open(&mut self, tenant: LoadedTenant) {
        let LoadedTenant {
            head,
            tenant,
            lists,
            queues,
            exceptions,
        } = tenant;
        assert!(self.tenant.is_none(), "a tenant is told once");
        assert!(self.bans.is_empty(), "a tenant is told before its bans");
        self.head = head;
        self.except(&exceptions);
        self.tenant = Some(tenant);
        self.lists = lists
            .into_iter()
            .map(|list| (list.list_id.clone(), list))
            .collect();
        self.queues = queues
            .into_iter()
            .map(|queue| (queue.queue.clone(), queue))
            .collect();
    }

    fn page(&mut self, bans: &[BanRecord]) {
        for ban in bans {
            match self.bans.get_mut(&ban.ban) {
                Some(known) => known.keys.extend(ban.keys.iter().cloned()),
                None => {
                    self.bans.insert(ban.ban, ban.clone());
                }
            }
        }
    }
}
