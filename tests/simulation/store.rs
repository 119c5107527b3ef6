//! The model database as one pod reaches it: the promise, over wires that fail.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bancheck::{
    domain::{
        access::{ApiKey, Principal},
        ban::Ban,
        clock::Timestamp,
        erasure::NotedErasure,
        exception::{Exception, Lifted},
        ids::{BanId, ExceptionId, ListId, TenantId},
        keys::Fingerprints,
        list::BanList,
        policy::TenantSettings,
        queue::{AtQueue, BanRights, QueuePolicy},
        record::ExceptionNews,
        revision::{Anchor, Epoch, Nonce, Revision},
        view::index::Key,
    },
    store::{
        AccessStore, Aged, Agenda, Answer, BanFilter, BanPage, BanSink, Begun, Concerning,
        Directory, Event, EventFilter, ExceptionFilter, ExceptionStore, FeedLink, Intent, KeyStore,
        LoadSink, LoadedTenant, Matched, PrivacyStore, Purged, Result, Store, StoreError, Sweep,
        Swept, Tail, Turn, Upkeep,
    },
};
use tokio::time::{Instant, timeout_at};

use super::{
    database::{Database, Flaw, Listener},
    history::{Row, list_record},
    network::{Network, Path, READING, SEARCH, WRITING, Way, broken, within},
    work::ModelWork,
};

/// How long the pool waits for a connection that is in a transaction, and its first answer.
const BEGINNING: Duration = Duration::from_millis(4_700);
/// How long the server lets a session wait for a tenant's row.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// The store of one process of a pod.
#[derive(Clone)]
pub(crate) struct PodStore {
    pub(crate) database: Arc<Database>,
    pub(crate) network: Arc<Network>,
}

/// The feed's own connection.
struct Link {
    store: PodStore,
    listener: Arc<Listener>,
    /// How often the path had broken when it was made, and how often the server had restarted.
    breaks: u64,
    life: u64,
    /// A connection leads where it led when it was made.
    standby: Option<Duration>,
}

fn unneeded(what: &str) -> ! {
    unreachable!("{what}: neither the feed nor a job of the simulation asks for it")
}

impl PodStore {
    fn standby(&self) -> Option<Duration> {
        *self.network.standby.lock().expect("nobody panics with it")
    }

    /// The newest row of the server that the pod's pool leads to.
    fn head(&self, standby: Option<Duration>) -> Arc<Row> {
        match standby {
            Some(lag) => self.database.lagging(lag),
            None => self.database.head(),
        }
    }

    /// Asks the server something that it answers at one instant.
    async fn ask<T>(&self, path: Path, answer: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        self.ask_for(READING, path, answer).await
    }

    /// The same, with more patience or less.
    async fn ask_for<T>(
        &self,
        patience: Duration,
        path: Path,
        answer: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<T> {
        self.network.awake().await;
        let answered = within(patience, async {
            self.network.carry(path, Way::ToDatabase).await?;
            let answer = answer(self);
            self.network.carry(path, Way::Back).await?;
            answer
        });
        let answered = answered.await;
        self.network.awake().await;
        answered
    }

    /// The same, for what a server in recovery cannot do.
    async fn tell<T>(&self, tell: impl FnOnce(&Database) -> T) -> Result<T> {
        self.ask_for(WRITING, Path::Pool, |store| match store.standby() {
            Some(_) => Err(broken()),
            None => Ok(tell(&store.database)),
        })
        .await
    }

    fn tail_now(&self, from: Revision, standby: Option<Duration>) -> Tail {
        let limit = self
            .network
            .drawn(Path::Link, |random| *random.pick(&[2, 5, 512, 512]));
        let head = self.head(standby);
        self.database.tail(&head, from, limit, standby.is_some())
    }
}

#[async_trait]
impl FeedLink for Link {
    async fn bell(&mut self) -> Result<()> {
        let Self { store, breaks, .. } = self;
        tokio::select! {
            biased;
            () = store.network.breaking(Path::Link, *breaks) => return Err(broken()),
            () = self.listener.rung.notified() => {}
        }
        store.network.carry(Path::Link, Way::Back).await
    }

    async fn tail(&mut self, from: Revision) -> Result<Tail> {
        let standby = self.standby;
        let dead = |store: &PodStore| {
            store.network.breaks(Path::Link) != self.breaks
                || store.database.ground().life != self.life
        };
        if dead(&self.store) {
            return Err(broken());
        }
        let tail = self
            .store
            .ask(Path::Link, |store| {
                if dead(store) {
                    return Err(broken());
                }
                Ok(store.tail_now(from, standby))
            })
            .await;
        if dead(&self.store) {
            return Err(broken());
        }
        tail
    }
}

#[async_trait]
impl Store for PodStore {
    async fn migrate(&self) -> Result<()> {
        Ok(())
    }

    async fn begin_tenant(&self, _intent: &Intent, _settings: &TenantSettings) -> Result<Begun> {
        unneeded("begin_tenant")
    }

    async fn begin(&self, intent: &Intent) -> Result<Begun> {
        self.network.awake().await;
        let begun = within(BEGINNING, async {
            self.network.carry(Path::Pool, Way::ToDatabase).await?;
            if self.standby().is_some() {
                return Err(broken());
            }
            let Some(lock) = self.database.lock_of(&intent.tenant) else {
                return Ok(Begun::NoTenant);
            };
            let lock = if self.database.flaw == Flaw::PayloadFromRequest {
                None
            } else {
                let waits = timeout_at(Instant::now() + LOCK_PATIENCE, lock.lock_owned());
                Some(waits.await.map_err(|_| broken())?)
            };
            let begun = match self.database.remembered(intent) {
                Some(known) if known.body != intent.body => Begun::Reused,
                Some(known) => Begun::Replay(Box::new(known.answer)),
                None => match ModelWork::new(&self.database, &self.network, intent, lock) {
                    Some(work) => Begun::Open(Box::new(work)),
                    None => Begun::NoTenant,
                },
            };
            self.network.carry(Path::Pool, Way::Back).await?;
            Ok(begun)
        });
        let begun = begun.await;
        self.network.awake().await;
        begun
    }

    async fn outcome(&self, intent: &Intent) -> Result<Option<Answer>> {
        self.tell(|database| {
            let known = database.remembered(intent);
            // Under this id something else may have been done since.
            let same = known.filter(|known| known.body == intent.body);
            same.map(|known| known.answer)
        })
        .await
    }

    async fn directory(&self) -> Result<Directory> {
        self.ask(Path::Pool, |store| match store.standby() {
            Some(_) => Err(StoreError::Following),
            None => Ok(store.database.directory()),
        })
        .await
    }

    async fn load(&self, tenant: &TenantId, sink: &mut dyn LoadSink) -> Result<bool> {
        let head = self.ask_for(SEARCH, Path::Pool, |store| match store.standby() {
            Some(_) => Err(StoreError::Following),
            None => Ok(store.database.head()),
        });
        let head = head.await?;
        // One snapshot, that arrives in pages (S-1).
        let Some(there) = head.tenants.get(tenant) else {
            return Ok(false);
        };
        sink.open(LoadedTenant {
            head: head.anchor,
            tenant: there.record(),
            lists: there.lists.values().map(list_record).collect(),
            queues: Vec::new(),
            exceptions: ExceptionNews {
                exceptions: there.excepted().map(|kept| kept.record()).collect(),
                protections: Vec::new(),
            },
        });
        for kept in there.standing() {
            let mut record = kept.record();
            for key in kept.keys.iter().rev() {
                record.keys = vec![key.clone()];
                sink.page(std::slice::from_ref(&record));
            }
        }
        within(READING, self.network.carry(Path::Pool, Way::Back)).await?;
        self.network.awake().await;
        Ok(true)
    }

    async fn tail(&self, from: Revision) -> Result<Tail> {
        let standby = self.standby();
        self.ask(Path::Pool, |store| Ok(store.tail_now(from, standby)))
            .await
    }

    async fn link(&self) -> Result<Box<dyn FeedLink>> {
        let link = self
            .ask(Path::Link, |store| {
                Ok(Link {
                    store: store.clone(),
                    listener: store.database.listen(&store.network.deaf),
                    breaks: store.network.breaks(Path::Link),
                    life: store.database.ground().life,
                    standby: store.standby(),
                })
            })
            .await?;
        Ok(Box::new(link))
    }

    async fn ring(&self) -> Result<()> {
        self.tell(Database::ring).await
    }

    async fn raise_epoch(&self, seen: Epoch, to: Epoch) -> Result<Epoch> {
        self.tell(|database| database.raise_epoch(seen, to)).await
    }

    async fn unbroken(&self) -> Result<bool> {
        self.tell(Database::unbroken).await
    }

    fn witness(&self, _applied: Anchor) {
        // A server needs none.
    }

    async fn sizes(&self) -> Result<Vec<(TenantId, u64)>> {
        let standby = self.standby();
        self.ask(Path::Pool, |store| {
            let head = store.head(standby);
            let mut sizes: Vec<_> = head
                .tenants
                .iter()
                .map(|(id, tenant)| (id.clone(), tenant.standing().count() as u64))
                .collect();
            sizes.sort_by(|(a, n), (b, m)| (m, a).cmp(&(n, b)));
            Ok(sizes)
        })
        .await
    }

    async fn aged_bans(
        &self,
        _tenant: &TenantId,
        _version: u16,
        _after: BanId,
    ) -> Result<Aged<BanId>> {
        unneeded("aged_bans")
    }

    async fn settings(&self, _tenant: &TenantId) -> Result<Option<TenantSettings>> {
        unneeded("settings")
    }

    async fn tenants(&self, _after: &str, _limit: i64) -> Result<Vec<(TenantId, TenantSettings)>> {
        unneeded("tenants")
    }

    async fn list(&self, _tenant: &TenantId, _list_id: &ListId) -> Result<Option<BanList>> {
        unneeded("list")
    }

    async fn lists(&self, _tenant: &TenantId, _after: &str, _limit: i64) -> Result<Vec<BanList>> {
        unneeded("lists")
    }

    async fn at_queues(
        &self,
        _tenant: &TenantId,
        _queues: &[String],
        _rights_profile: &str,
    ) -> Result<Vec<AtQueue>> {
        unneeded("at_queues")
    }

    async fn queue_policies(
        &self,
        _tenant: &TenantId,
        _after: &str,
        _limit: i64,
    ) -> Result<Vec<QueuePolicy>> {
        unneeded("queue_policies")
    }

    async fn ban_rights(
        &self,
        _tenant: &TenantId,
        _after: &str,
        _limit: i64,
    ) -> Result<Vec<BanRights>> {
        unneeded("ban_rights")
    }

    async fn ban(&self, _tenant: &TenantId, _ban: BanId) -> Result<Option<Ban>> {
        unneeded("ban")
    }

    async fn concerning(
        &self,
        _tenant: &TenantId,
        _keys: &[Key],
        _limit: i64,
    ) -> Result<Option<Concerning>> {
        unneeded("concerning")
    }

    async fn bans_of(&self, _tenant: &TenantId, _bans: &[BanId]) -> Result<Vec<Ban>> {
        unneeded("bans_of")
    }

    async fn ban_ids(
        &self,
        _tenant: &TenantId,
        _filter: &BanFilter,
        _after: Option<BanId>,
        _limit: i64,
    ) -> Result<Vec<BanId>> {
        unneeded("ban_ids")
    }

    async fn export(
        &self,
        _tenant: &TenantId,
        _filter: &BanFilter,
        _sink: &mut dyn BanSink,
    ) -> Result<bool> {
        unneeded("export")
    }

    async fn events_of(
        &self,
        _tenant: &TenantId,
        _nonces: &[Nonce],
    ) -> Result<Vec<(Nonce, Event)>> {
        unneeded("events_of")
    }

    async fn bans(&self, _tenant: &TenantId, _filter: &BanFilter) -> Result<BanPage> {
        unneeded("bans")
    }

    async fn events(&self, _tenant: &TenantId, _filter: &EventFilter) -> Result<Vec<Event>> {
        unneeded("events")
    }
}

#[async_trait]
impl Upkeep for PodStore {
    async fn turn(&self) -> Result<Option<Turn>> {
        unneeded("turn")
    }

    async fn agenda(&self) -> Result<Agenda> {
        unneeded("agenda")
    }

    async fn due(&self, _by: Timestamp, _limit: i64) -> Result<Vec<TenantId>> {
        unneeded("due")
    }

    async fn sweep(&self, _sweep: &Sweep) -> Result<Swept> {
        unneeded("sweep")
    }

    async fn dropped(&self, _limit: i64) -> Result<Vec<(TenantId, u32)>> {
        unneeded("dropped")
    }

    async fn clear(&self, _sweep: &Sweep, _generation: u32) -> Result<bool> {
        unneeded("clear")
    }

    async fn drop_staged(&self, _before: Timestamp, _now: Timestamp) -> Result<()> {
        unneeded("drop_staged")
    }

    async fn deleted_tenants(&self, _limit: i64) -> Result<Vec<TenantId>> {
        unneeded("deleted_tenants")
    }

    async fn purge_tenant(&self, _tenant: &TenantId) -> Result<Purged> {
        unneeded("purge_tenant")
    }

    async fn purging(
        &self,
        _after: Option<&TenantId>,
        _limit: i64,
    ) -> Result<Vec<(TenantId, u32)>> {
        unneeded("purging")
    }

    async fn purge_ended(&self, _sweep: &Sweep) -> Result<Purged> {
        unneeded("purge_ended")
    }

    async fn count_matches(&self, _matched: &[Matched]) -> Result<()> {
        unneeded("count_matches")
    }

    async fn prune(&self, _before: Timestamp) -> Result<()> {
        unneeded("prune")
    }
}

#[async_trait]
impl KeyStore for PodStore {
    async fn check_key(&self, _keys: &Fingerprints) -> Result<()> {
        Ok(())
    }

    async fn other_keys_in_use(&self) -> Result<Vec<String>> {
        unneeded("other_keys_in_use")
    }

    async fn keys_locked_elsewhere(&self, _now: Timestamp) -> Result<Vec<ApiKey>> {
        unneeded("keys_locked_elsewhere")
    }

    async fn let_go_of_other_keys(&self) -> Result<()> {
        unneeded("let_go_of_other_keys")
    }
}

#[async_trait]
impl AccessStore for PodStore {
    async fn principal(&self, _name: &str) -> Result<Option<Principal>> {
        unneeded("principal")
    }

    async fn principals(&self, _after: &str, _limit: i64) -> Result<Vec<Principal>> {
        unneeded("principals")
    }

    async fn api_keys(&self, _of: &str, _after: &str, _limit: i64) -> Result<Vec<ApiKey>> {
        unneeded("api_keys")
    }
}

#[async_trait]
impl ExceptionStore for PodStore {
    async fn exceptions(
        &self,
        _tenant: &TenantId,
        _filter: &ExceptionFilter,
    ) -> Result<Vec<Exception>> {
        unneeded("exceptions")
    }

    async fn lifted(&self, _tenant: &TenantId) -> Result<Vec<Lifted>> {
        unneeded("lifted")
    }

    async fn aged_exceptions(
        &self,
        _tenant: &TenantId,
        _version: u16,
        _after: ExceptionId,
    ) -> Result<Aged<ExceptionId>> {
        unneeded("aged_exceptions")
    }
}

#[async_trait]
impl PrivacyStore for PodStore {
    async fn erasures(
        &self,
        _tenant: &TenantId,
        _after: [u8; 16],
        _limit: i64,
    ) -> Result<Vec<NotedErasure>> {
        unneeded("erasures")
    }

    async fn scrub(&self) -> Result<()> {
        unneeded("scrub")
    }
}
