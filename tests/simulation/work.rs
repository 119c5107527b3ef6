//! A transaction on the model database, as the desk's jobs need it.

mod spared;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bancheck::{
    domain::{
        access::{ApiKey, KeyId, Principal},
        ban::Ban,
        clock::Timestamp,
        erasure::NotedErasure,
        ids::{BanId, ExceptionId, ListId},
        keys::{MatchKey, Reach},
        list::BanList,
        policy::TenantSettings,
        queue::{AtQueue, BanRights, QueuePolicy},
        record::{BanRecord, Change},
        view::index::Key,
    },
    store::{
        AccessWork, Added, Alike, Answer, Event, Intent, Lifting, NewBan, PrivacyWork, Renewal,
        Result, StoreError, Work,
    },
};
use tokio::{
    sync::{OwnedMutexGuard, oneshot},
    time::{Instant, sleep_until},
};

use super::{
    database::{Commit, Database, Flaw},
    history::{Kept, Tenant},
    network::{Network, Path, WRITING, Way, broken, within},
    told::{Touched, merged, told},
};

/// How long the server keeps a tenant's row locked for a session that says nothing.
const IDLE: Duration = Duration::from_secs(3);
/// How often of a hundred times a row is one that this version of the program cannot read.
const UNREADABLE: u64 = 3;

/// The server's side of a transaction; without its lock it is dead.
pub(crate) struct Session {
    lock: Mutex<Option<OwnedMutexGuard<()>>>,
    used: Mutex<Instant>,
    /// The restart of the server that it was begun after.
    life: u64,
}

/// An open transaction.
pub(crate) struct ModelWork {
    database: Arc<Database>,
    network: Arc<Network>,
    session: Arc<Session>,
    intent: Intent,
    /// The tenant when the transaction began, and as it would leave it.
    before: Arc<Tenant>,
    after: Tenant,
    touched: Touched,
}

impl Session {
    fn new(lock: Option<OwnedMutexGuard<()>>, life: u64) -> Self {
        Self {
            lock: Mutex::new(lock),
            used: Mutex::new(Instant::now()),
            life,
        }
    }

    fn used(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.used
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<OwnedMutexGuard<()>>> {
        self.lock
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn lives(&self, database: &Database) -> bool {
        let locked = database.flaw == Flaw::PayloadFromRequest || self.lock().is_some();
        locked && database.ground().life == self.life
    }
}

/// Ends a session that its pod has forgotten about.
async fn watch(session: std::sync::Weak<Session>) {
    loop {
        let Some(due) = session.upgrade().map(|session| *session.used() + IDLE) else {
            return;
        };
        sleep_until(due).await;
        let Some(session) = session.upgrade() else {
            return;
        };
        if session.used().elapsed() >= IDLE {
            session.lock().take();
            return;
        }
    }
}

impl ModelWork {
    /// Opens a transaction on a tenant whose row is locked, unless the flaw is that it is not.
    pub(crate) fn new(
        database: &Arc<Database>,
        network: &Arc<Network>,
        intent: &Intent,
        lock: Option<OwnedMutexGuard<()>>,
    ) -> Option<Self> {
        let (tenant, life) = {
            let ground = database.ground();
            (
                Arc::clone(ground.head.tenants.get(&intent.tenant)?),
                ground.life,
            )
        };
        let session = Arc::new(Session::new(lock, life));
        database.tasks.spawn(watch(Arc::downgrade(&session)));
        Some(Self {
            database: Arc::clone(database),
            network: Arc::clone(network),
            session,
            intent: intent.clone(),
            after: (*tenant).clone(),
            before: tenant,
            touched: Touched::Nothing,
        })
    }

    /// One statement: there and back.
    async fn statement(&self) -> Result<()> {
        self.network.awake().await;
        let answered = within(WRITING, async {
            self.network.carry(Path::Pool, Way::ToDatabase).await?;
            *self.session.used() = Instant::now();
            if !self.session.lives(&self.database) {
                return Err(broken());
            }
            self.network.carry(Path::Pool, Way::Back).await
        });
        let answered = answered.await;
        self.network.awake().await;
        answered
    }

    fn touch(&mut self, ban: BanId) {
        match &mut self.touched {
            Touched::Bans(bans) => {
                bans.insert(ban);
            }
            Touched::Nothing => self.touched = Touched::Bans(BTreeSet::from([ban])),
            _ => self.touched = Touched::Several,
        }
    }

    fn touch_exception(&mut self, id: ExceptionId) {
        match &mut self.touched {
            Touched::Exceptions(ids) => {
                ids.insert(id);
            }
            Touched::Nothing => self.touched = Touched::Exceptions(BTreeSet::from([id])),
            _ => self.touched = Touched::Several,
        }
    }

    /// Marks ended what is alike and over (S-10).
    fn retire(&mut self, likeness: [u8; 16]) {
        let over = |ban: &Ban| ban.expire.is_some_and(|expire| expire <= self.intent.now);
        let retired: Vec<BanId> = self
            .after
            .standing()
            .filter(|kept| kept.likeness == likeness && over(&kept.ban))
            .map(|kept| kept.ban.ban_id)
            .collect();
        for ban in retired {
            self.change(ban, |kept| kept.ban.ended = true);
        }
    }

    fn change(&mut self, ban: BanId, change: impl FnOnce(&mut Kept)) {
        if let Some(kept) = self.after.bans.get_mut(&ban) {
            change(Arc::make_mut(kept));
            self.touch(ban);
        }
    }
}

fn unneeded(what: &str) -> ! {
    unreachable!("{what}: no job of the simulation does this")
}

#[async_trait]
impl Work for ModelWork {
    fn at(&mut self, now: Timestamp) {
        self.intent.now = now;
    }

    fn settings(&self) -> &TenantSettings {
        &self.after.settings
    }

    async fn list(&mut self, list_id: &ListId) -> Result<Option<BanList>> {
        self.statement().await?;
        Ok(self.after.lists.get(list_id).cloned())
    }

    async fn list_counts(&mut self) -> Result<(i64, i64)> {
        let relations: usize = self
            .after
            .lists
            .values()
            .map(|list| list.queues.len())
            .sum();
        let count = |n: usize| i64::try_from(n).expect("a small number");
        Ok((count(self.after.lists.len()), count(relations)))
    }

    async fn next_generation(&mut self) -> Result<u32> {
        unneeded("next_generation")
    }

    async fn add_bans(&mut self, bans: &[NewBan]) -> Result<Vec<Added>> {
        self.statement().await?;
        let mut added = Vec::new();
        for new in bans {
            self.retire(new.likeness);
            if let Some(standing) = self.after.alike(new.likeness, new.ban.ban_id) {
                added.push(Added::Alike(standing));
                continue;
            }
            let kept = Kept {
                made: self.database.next_row(),
                ban: new.ban.clone(),
                generation: new.generation,
                likeness: new.likeness,
                keys: new.keys.iter().map(|(_, key, _)| key.clone()).collect(),
            };
            self.after.bans.insert(new.ban.ban_id, Arc::new(kept));
            self.touch(new.ban.ban_id);
            added.push(Added::Made);
        }
        Ok(added)
    }

    async fn ban(&mut self, ban: BanId) -> Result<Option<Ban>> {
        self.statement().await?;
        Ok(self.after.bans.get(&ban).map(|kept| kept.ban.clone()))
    }

    async fn set_ban(&mut self, ban: &Ban, likeness: [u8; 16]) -> Result<()> {
        self.statement().await?;
        if !ban.ended && self.after.alike(likeness, ban.ban_id).is_some() {
            return Err(StoreError::Alike);
        }
        self.change(ban.ban_id, |kept| {
            kept.ban = ban.clone();
            kept.likeness = likeness;
        });
        Ok(())
    }

    async fn renew_bans(&mut self, _renewals: &[Renewal]) -> Result<()> {
        unneeded("renew_bans")
    }

    async fn lift_bans(&mut self, _lifting: &Lifting) -> Result<Vec<BanId>> {
        unneeded("lift_bans")
    }

    async fn children(&mut self, _ban: BanId) -> Result<Vec<BanId>> {
        unneeded("children")
    }

    async fn bans_named(&mut self, _bans: &[BanId]) -> Result<Vec<Ban>> {
        unneeded("bans_named")
    }

    async fn rekey(&mut self, _bans: &[NewBan]) -> Result<()> {
        unneeded("rekey")
    }

    async fn overlapping(
        &mut self,
        _ban: BanId,
        _reach: &Reach,
        _most: usize,
    ) -> Result<Vec<BanId>> {
        // It calls for a warning only, and no answer is judged by its warnings.
        self.statement().await?;
        Ok(Vec::new())
    }

    async fn times_banned(&mut self, _list: &ListId, _keys: &[(u8, MatchKey)]) -> Result<usize> {
        unneeded("times_banned")
    }

    async fn at_queues(&mut self, _queues: &[String], _profile: &str) -> Result<Vec<AtQueue>> {
        unneeded("at_queues")
    }

    async fn queue_counts(&mut self, _but_of: &str) -> Result<(i64, i64)> {
        unneeded("queue_counts")
    }

    async fn list_is_recorded_to(&mut self, _list_id: &ListId) -> Result<bool> {
        unneeded("list_is_recorded_to")
    }

    async fn import_parts(&mut self, _import_id: &str) -> Result<u64> {
        unneeded("import_parts")
    }

    async fn set_queue_policy(&mut self, _policy: &QueuePolicy) -> Result<()> {
        unneeded("set_queue_policy")
    }

    async fn set_ban_rights(&mut self, _rights: &BanRights) -> Result<()> {
        unneeded("set_ban_rights")
    }

    async fn found_by(&mut self, keys: &[Key]) -> Result<Vec<BanRecord>> {
        self.statement().await?;
        let now = self.intent.now;
        let in_time = |kept: &&Arc<Kept>| kept.ban.expire.is_none_or(|expire| expire > now);
        let found = self.after.standing().filter(in_time).map(|kept| {
            let mut record = kept.record();
            record.keys.retain(|key| keys.contains(&key.key));
            record
        });
        Ok(found.filter(|record| !record.keys.is_empty()).collect())
    }

    async fn stands_alike(&mut self, ban: BanId, alike: &Alike) -> Result<Option<BanId>> {
        self.statement().await?;
        self.retire(alike.current);
        Ok(self.after.alike(alike.current, ban))
    }

    async fn extend_ban(
        &mut self,
        _ban: &Ban,
        _likeness: [u8; 16],
        _keys: &[(u8, MatchKey, String)],
    ) -> Result<()> {
        unneeded("extend_ban")
    }

    async fn set_settings(&mut self, _settings: &TenantSettings) -> Result<()> {
        unneeded("set_settings")
    }

    async fn add_list(&mut self, _list: &BanList) -> Result<()> {
        unneeded("add_list")
    }

    async fn set_list(&mut self, _list: &BanList) -> Result<()> {
        unneeded("set_list")
    }

    async fn set_list_queues(&mut self, list: &BanList) -> Result<()> {
        self.statement().await?;
        self.after.lists.insert(list.list_id.clone(), list.clone());
        self.touched = match self.touched {
            Touched::Nothing | Touched::List(_) => Touched::List(list.list_id.clone()),
            _ => Touched::Several,
        };
        Ok(())
    }

    async fn had_list(&mut self, _list_id: &ListId) -> Result<bool> {
        unneeded("had_list")
    }

    async fn list_holds_bans(&mut self, _list: &BanList) -> Result<bool> {
        unneeded("list_holds_bans")
    }

    async fn drop_generation(&mut self, _generation: u32, _by: &str, _why: &str) -> Result<()> {
        unneeded("drop_generation")
    }

    async fn delete_list(&mut self, _list: &BanList) -> Result<()> {
        unneeded("delete_list")
    }

    async fn delete_tenant(&mut self) -> Result<()> {
        unneeded("delete_tenant")
    }

    async fn note(&mut self, _event: &Event) -> Result<()> {
        // Events are in no view and no answer.
        self.statement().await
    }

    async fn note_all(&mut self, _events: &[Event]) -> Result<()> {
        unneeded("note_all")
    }

    async fn commit(self: Box<Self>, answer: &Answer) -> Result<()> {
        let network = Arc::clone(&self.network);
        network.awake().await;
        let before = network.breaks(Path::Pool);
        let (reply, replied) = oneshot::channel();
        let tasks = self.database.tasks.clone();
        let answer = answer.clone();
        // In the server, which goes on whatever becomes of whoever asked it.
        tasks.spawn(async move {
            let network = Arc::clone(&self.network);
            if !network.carry_blindly(Path::Pool, Way::ToDatabase).await {
                return;
            }
            let committed = self.commit_there(answer).await;
            if network.carry(Path::Pool, Way::Back).await.is_ok() {
                // Nobody waits for it any more where the pod's connection broke.
                let _ = reply.send(committed);
            }
        });
        let committed = within(WRITING, async {
            tokio::select! {
                biased;
                replied = replied => replied.unwrap_or_else(|_| Err(broken())),
                () = network.breaking(Path::Pool, before) => Err(broken()),
            }
        });
        let committed = committed.await;
        network.awake().await;
        committed
    }

    async fn abandon(self: Box<Self>) -> Result<()> {
        self.statement().await
    }
}

impl ModelWork {
    /// What the server does when it is told to commit.
    async fn commit_there(self, answer: Answer) -> Result<()> {
        let Self {
            database,
            network,
            session,
            intent,
            before,
            after,
            touched,
        } = self;
        *session.used() = Instant::now();
        let mut change = told(&touched, &after);
        if change.is_some() && network.drawn(Path::Pool, |random| random.chance(UNREADABLE)) {
            change = Some(Change::Reload);
        }
        let numbered = match database.flaw {
            Flaw::Sequence => {
                let number = database.next_number();
                let wait = network.drawn(Path::Pool, |random| random.between(1, 30));
                sleep_until(Instant::now() + Duration::from_millis(wait)).await;
                Some(number)
            }
            _ => None,
        };
        if !session.lives(&database) {
            return Err(broken());
        }
        let tenants = {
            let ground = database.ground();
            let mut tenants = (*ground.head.tenants).clone();
            let now = tenants.get(&intent.tenant).map(Arc::clone);
            let rows = match (database.flaw, now) {
                (Flaw::PayloadFromRequest, Some(now)) => merged(&before, &after, &now),
                _ => after,
            };
            tenants.insert(intent.tenant.clone(), Arc::new(rows));
            Arc::new(tenants)
        };
        let commit = Commit {
            intent,
            change,
            tenants,
            answer,
        };
        database.commit(commit, numbered)
    }
}

#[async_trait]
impl AccessWork for ModelWork {
    async fn principal(&mut self, _name: &str) -> Result<Option<Principal>> {
        unneeded("principal")
    }

    async fn count_principals(&mut self) -> Result<i64> {
        unneeded("count_principals")
    }

    async fn set_principal(&mut self, _principal: &Principal) -> Result<()> {
        unneeded("set_principal")
    }

    async fn api_key(&mut self, _id: KeyId) -> Result<Option<ApiKey>> {
        unneeded("api_key")
    }

    async fn api_keys_of(&mut self, _principal: &str) -> Result<Vec<ApiKey>> {
        unneeded("api_keys_of")
    }

    async fn add_api_key(&mut self, _key: &ApiKey, _lock: [u8; 32]) -> Result<()> {
        unneeded("add_api_key")
    }

    async fn end_api_key(&mut self, _key: &ApiKey) -> Result<()> {
        unneeded("end_api_key")
    }
}

#[async_trait]
impl PrivacyWork for ModelWork {
    async fn targets_under(&mut self, _keys: &[Key]) -> Result<Vec<(BanId, u8)>> {
        unneeded("targets_under")
    }

    async fn exceptions_under(&mut self, _keys: &[Key]) -> Result<Vec<ExceptionId>> {
        unneeded("exceptions_under")
    }

    async fn erase_bans(&mut self, _bans: &[BanId]) -> Result<()> {
        unneeded("erase_bans")
    }

    async fn hash_targets(
        &mut self,
        _targets: &[(BanId, u8)],
        _until: Option<Timestamp>,
    ) -> Result<()> {
        unneeded("hash_targets")
    }

    async fn blank_targets(&mut self, _targets: &[(BanId, u8)]) -> Result<()> {
        unneeded("blank_targets")
    }

    async fn erase_exceptions(&mut self, _exceptions: &[ExceptionId]) -> Result<()> {
        unneeded("erase_exceptions")
    }

    async fn hash_exceptions(&mut self, _exceptions: &[ExceptionId]) -> Result<()> {
        unneeded("hash_exceptions")
    }

    async fn redact(&mut self, _bans: &[BanId], _exceptions: &[ExceptionId]) -> Result<u64> {
        unneeded("redact")
    }

    async fn note_erasure(&mut self, _erasure: &NotedErasure) -> Result<()> {
        unneeded("note_erasure")
    }
}
