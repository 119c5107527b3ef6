//! Loads: who waits for which tenant, what is being read, and what is still to be read.

use std::{
    collections::{BTreeMap, VecDeque},
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::OptionFuture;
use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::{JoinSet, yield_now},
    time::{Instant, sleep, sleep_until},
};

use super::LoadEnd;
use crate::{
    domain::{
        identity::phone,
        ids::TenantId,
        keys::{MasterKey, TenantKey},
        record::BanRecord,
        revision::Anchor,
        view::{Loading, TenantView},
    },
    store::{LoadSink, LoadedTenant, Result, Store},
};

/// How many loads nobody waits for run at once, so that those somebody waits for find a connection.
const IN_BACKGROUND: usize = 2;
/// How long a load may give no sign of life before the tenant is read once more beside it.
const SILENCE: Duration = Duration::from_secs(2);
/// How long after a load what it left free is handed back: mimalloc keeps it for a second.
const FREE: Duration = Duration::from_millis(1_500);
/// A piece of memory in bytes that does not fit in what mimalloc keeps for smaller ones.
const LARGE: usize = 32 << 20;
/// For how long a tenant whose view is too heavy is not read again, in microseconds.
const REFUSED_FOR: i64 = 30_000_000;

/// A view as it was read, and the row it was read at; `None` = there is no such tenant.
pub(super) type Read = Result<Option<(Anchor, TenantView)>>;

/// The loads of one history.
pub(super) struct Loads {
    store: Arc<dyn Store>,
    keys: MasterKey,
    /// Where they run.
    on: Handle,
    /// What was begun under an older round was read for a history that is no more.
    round: u64,
    running: JoinSet<(TenantId, u64, Read)>,
    /// What is done once the last of them has ended.
    afterwards: JoinSet<()>,
    waiting: BTreeMap<TenantId, Vec<oneshot::Sender<LoadEnd>>>,
    /// Those that nobody need wait for: before the pod is warm, or beside the views of a history
    /// that is gone.
    queue: VecDeque<TenantId>,
    /// Whether it is known which those are.
    planned: bool,
    in_background: Vec<TenantId>,
    refused: BTreeMap<TenantId, i64>,
}

impl Loads {
    pub(super) fn new(store: Arc<dyn Store>, keys: MasterKey, on: Handle) -> Self {
        Self {
            store,
            keys,
            on,
            round: 0,
            running: JoinSet::new(),
            afterwards: JoinSet::new(),
            waiting: BTreeMap::new(),
            queue: VecDeque::new(),
            planned: false,
            in_background: Vec::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Has these read one after another, the first ones first, instead of what was queued before.
    pub(super) fn queue(&mut self, tenants: impl IntoIterator<Item = TenantId>) {
        self.queue = tenants.into_iter().collect();
        self.planned = true;
        self.in_background.clear();
    }

    /// Has this one read too: somebody may be content with what is there, so nobody need ask.
    pub(super) fn queue_too(&mut self, tenant: TenantId) {
        if !self.queue.contains(&tenant) {
            self.queue.push_back(tenant);
        }
    }

    /// Forgets what is being read, which is of a history that is gone, and has these read.
    pub(super) fn begin_again(&mut self, tenants: impl IntoIterator<Item = TenantId>) {
        self.round += 1;
        self.queue(tenants);
    }

    /// Queues a load again that failed; `false` = it was none of the queue.
    pub(super) fn queue_again(&mut self, tenant: &TenantId) -> bool {
        let queued = self.in_background.contains(tenant);
        if queued {
            self.queue.push_back(tenant.clone());
        }
        queued
    }

    /// Whether something is still to be started.
    pub(super) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Notes that a load has ended, however it did.
    pub(super) fn finished(&mut self, tenant: &TenantId) {
        self.in_background.retain(|running| running != tenant);
        self.afterwards.abort_all();
        while self.afterwards.try_join_next().is_some() {}
        self.afterwards.spawn(hand_back());
    }

    /// The next one of the queue that may be started.
    pub(super) fn next_queued(&mut self) -> Option<TenantId> {
        if self.in_background.len() >= IN_BACKGROUND {
            return None;
        }
        let next = self.queue.pop_front()?;
        self.in_background.push(next.clone());
        Some(next)
    }

    /// Whether all that was queued has been read.
    pub(super) fn queue_is_done(&self) -> bool {
        self.planned && self.queue.is_empty() && self.in_background.is_empty()
    }

    /// Whether it is known which are to be read that nobody need wait for.
    pub(super) fn are_planned(&self) -> bool {
        self.planned
    }

    /// Notes that somebody waits; `false` = it was answered at once, for it was refused lately.
    pub(super) fn wait(
        &mut self,
        tenant: &TenantId,
        reply: oneshot::Sender<LoadEnd>,
        boot: i64,
    ) -> bool {
        self.refused.retain(|_, at| boot < *at + REFUSED_FOR);
        if self.refused.contains_key(tenant) {
            // Nobody there: the check gave up waiting.
            let _ = reply.send(LoadEnd::Failed);
            return false;
        }
        self.waiting.entry(tenant.clone()).or_default().push(reply);
        true
    }

    /// Those whom somebody waits for.
    pub(super) fn awaited(&self) -> Vec<TenantId> {
        self.waiting.keys().cloned().collect()
    }

    /// Reads a tenant, in a task of its own.
    pub(super) fn start(&mut self, tenant: TenantId) {
        let (store, round) = (Arc::clone(&self.store), self.round);
        let key = self.keys.tenant(&tenant);
        let reads = async move {
            let read = read(&*store, key, &tenant).await;
            (tenant, round, read)
        };
        self.running.spawn_on(reads, &self.on);
    }

    /// Waits for a load to end. Dropped halfway, nothing is lost.
    pub(super) async fn ended(&mut self) -> (TenantId, Read) {
        loop {
            match self.running.join_next().await {
                Some(Ok((tenant, round, read))) if round == self.round => return (tenant, read),
                // Of another round, or cut off by a panic that has been told.
                Some(_) => {}
                None => return std::future::pending().await,
            }
        }
    }

    /// Tells those who wait how it ended.
    pub(super) fn answer(&mut self, tenant: &TenantId, end: &LoadEnd) {
        for reply in self.waiting.remove(tenant).unwrap_or_default() {
            // Nobody there: the check gave up waiting.
            let _ = reply.send(end.clone());
        }
    }

    /// Notes that a tenant is not worth reading for a while.
    pub(super) fn refuse(&mut self, tenant: &TenantId, boot: i64) {
        self.refused.insert(tenant.clone(), boot);
        self.answer(tenant, &LoadEnd::Failed);
    }
}

/// Builds a view while its pages come in.
struct Building<'a> {
    key: TenantKey,
    view: Option<(Anchor, Loading)>,
    sign: &'a Sign,
}

/// When a read of a tenant last gave a sign of life.
struct Sign {
    begun: Instant,
    millis: AtomicU64,
}

impl Sign {
    fn now(&self) {
        let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.millis.fetch_max(millis, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.begun + Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }
}

impl LoadSink for Building<'_> {
    fn open(&mut self, loaded: LoadedTenant) {
        let LoadedTenant {
            head,
            tenant,
            lists,
            queues,
            exceptions,
        } = loaded;
        self.sign.now();
        if !tenant.default_region.is_empty() {
            phone::warm(&tenant.default_region);
        }
        let view = TenantView::empty(head.revision, tenant, self.key.clone())
            .with_lists(lists)
            .with_queues(queues)
            .with_exceptions(&exceptions);
        self.view = Some((head, Loading::of(view)));
    }

    fn page(&mut self, bans: &[BanRecord]) {
        self.sign.now();
        if let Some((_, view)) = &mut self.view {
            view.add(bans);
        }
    }
}

async fn attempt(store: &dyn Store, key: TenantKey, tenant: &TenantId, sign: &Sign) -> Read {
    let view = None;
    let mut building = Building { key, view, sign };
    let found = store.load(tenant, &mut building).await?;
    let Some((head, mut view)) = building.view.filter(|_| found) else {
        return Ok(None);
    };
    while view.go_on() {
        sign.now();
        // Others of the pool have something to do meanwhile.
        yield_now().await;
    }
    Ok(Some((head, view.view())))
}

/// Has the allocator hand back what a load needed on the way: it does so with what has been free for a
/// moment, but only when something large is freed again, which on a quiet pod is never.
async fn hand_back() {
    sleep(FREE).await;
    drop(black_box(Vec::<u8>::with_capacity(LARGE)));
}

/// Reads a tenant, and where nothing comes for a while reads it again beside that: a connection
/// that has lost its other end without a word is not waited for until it is known to be dead.
///
/// The eldest read stays, for one that is only slow is to win in the end; the one beside it is begun
/// anew as often as it is silent too.
async fn read(store: &dyn Store, key: TenantKey, tenant: &TenantId) -> Read {
    let sign = Sign {
        begun: Instant::now(),
        millis: AtomicU64::new(0),
    };
    let begin = || Box::pin(attempt(store, key.clone(), tenant, &sign));
    let (mut eldest, mut beside) = (begin(), None);
    loop {
        let last = sign.last();
        tokio::select! {
            biased;
            end = &mut eldest => match (end, beside.take()) {
                (Err(_), Some(other)) => eldest = other,
                (end, _) => return end,
            },
            Some(end) = OptionFuture::from(beside.as_mut()) => match end {
                Err(_) => beside = None,
                end => return end,
            },
            () = sleep_until(last + SILENCE) => {
                if sign.last() == last {
                    beside = Some(begin());
                    sign.now();
                }
            }
        }
    }
}
