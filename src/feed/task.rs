//! The task that follows the feed: hands what the ear hears and what loads bring to the
//! [`Follower`], puts the views on the shelf, and tells where the pod stands.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::{Pin, pin},
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::mpsc,
    time::{Instant, error::Elapsed, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Ask, Feed, LoadEnd, Source, Standing, bell,
    chronicle::{Begun, Ended},
    ear::{Ear, Told},
    follow::{Follower, Heard, Loaded, Shelf},
    loads::{Loads, Read},
    pause::Pause,
    warm,
};
use crate::{
    domain::{
        clock::Timestamp,
        ids::TenantId,
        revision::{Epoch, Position},
    },
    store::{Directory, Result, Store, StoreError},
    teeth::{Bug, bites, stumble},
};

/// An answer that took no longer tells the time well enough to begin with, in microseconds; how often
/// a quicker one is asked for.
const QUICK_MICROS: i64 = 50_000;
const LOOKS_AT_THE_CLOCK: usize = 3;
/// How long the store may take to tell of all tenants before it is asked again.
const LOOK: Duration = Duration::from_secs(10);
/// How long news waits for it to be known how large tenants are: well within the lease.
const AT_ONCE: Duration = Duration::from_millis(500);

/// How many keys each tenant has, if the store told.
type Sizes = std::result::Result<Result<Vec<(TenantId, u64)>>, Elapsed>;

/// How the feed is followed.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often to look without having heard the bell.
    pub poll: Duration,
    /// How long an answer is waited for before the connection counts as dead.
    pub patience: Duration,
    /// The longest pause between two attempts to connect.
    pub longest_pause: Duration,
    /// What makes this pod's pauses differ from another's.
    pub seed: u64,
    /// Where views are read, which is work; where nothing is said, on the feed's own thread.
    pub loads_on: Option<Handle>,
}

impl Default for Options {
    fn default() -> Self {
        let mut seed = [0; 8];
        // Without randomness pods that were cut off together come back together.
        let _ = getrandom::fill(&mut seed);
        Self {
            poll: Duration::from_millis(500),
            patience: Duration::from_secs(1),
            longest_pause: Duration::from_secs(1),
            seed: u64::from_be_bytes(seed),
            loads_on: None,
        }
    }
}

/// Follows the feed until told to stop; the only writer of views.
pub async fn run<S: Shelf + Clone + 'static>(
    source: Source,
    store: Arc<dyn Store>,
    shelf: S,
    options: Options,
    stop: CancellationToken,
) {
    let Source { feed, loads: asked } = source;
    let rings = bell::ring(Arc::clone(&store), Arc::clone(&feed.shared.bell));
    let follows = async {
        let mut task = Task::begin(feed, Arc::clone(&store), shelf, options).await;
        let sizes = pin!(timeout(LOOK, store.sizes()));
        task.follow(asked, sizes).await;
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = follows => {}
        () = rings => {}
    }
}

struct Task<S> {
    feed: Feed,
    store: Arc<dyn Store>,
    shelf: S,
    follower: Follower<S>,
    /// A history begun beside the one that was followed, until its views are read: only it is fed.
    renewal: Option<Follower<S>>,
    ear: Ear,
    loads: Loads,
    /// Whose views are made, and will be there once they are shelved.
    ready: BTreeSet<TenantId>,
    /// Before this the store is not asked again for what it failed to give.
    rested: Instant,
    pause: Pause,
    /// Boot time at which the store last told what we took in.
    told_at: i64,
}

impl<S: Shelf + Clone> Task<S> {
    /// Reads the tenants and the head they belong to, however long the store takes to appear.
    async fn begin(feed: Feed, store: Arc<dyn Store>, shelf: S, options: Options) -> Self {
        let mut pause = Pause::new(options.longest_pause, options.seed);
        let (directory, sent) = loop {
            let sent = feed.clock().read().boot;
            let error = match timeout(LOOK, first_look(&feed, &*store)).await {
                Ok(Ok(directory)) => break (directory, sent),
                Ok(Err(error)) => error.with_causes(),
                Err(elapsed) => elapsed.to_string(),
            };
            tracing::warn!(error, "the store cannot be read yet; trying again");
            sleep(pause.next()).await;
        };
        pause.reset();
        let on = options.loads_on.clone().unwrap_or_else(Handle::current);
        let ear = Ear::new(feed.clone(), Arc::clone(&store), options);
        let loads = Loads::new(Arc::clone(&store), feed.shared.keys.clone(), on);
        let mut task = Self {
            follower: Follower::begin(shelf.clone(), directory, sent),
            feed,
            store,
            shelf,
            renewal: None,
            ear,
            loads,
            ready: BTreeSet::new(),
            rested: Instant::now(),
            pause,
            told_at: sent,
        };
        task.feed.tell_access(task.follower.access());
        task.publish();
        task
    }

    /// Has the views read that fit, the largest first, before the pod calls itself warm.
    fn warm_up(&mut self, sizes: Sizes) {
        // In any other order they are warm as well.
        let sizes = sizes.ok().and_then(Result::ok).unwrap_or_default();
        let order = warm::order(&self.follower.tenants(), &sizes, self.shelf.bound());
        self.loads.queue(order);
    }

    async fn follow(
        &mut self,
        mut asked: mpsc::UnboundedReceiver<Ask>,
        mut sizes: Pin<&mut impl Future<Output = Sizes>>,
    ) {
        let feed = self.feed.clone();
        // Mostly they are known at once. Where not, news is not to wait for them.
        if let Ok(sizes) = timeout(AT_ONCE, &mut sizes).await {
            self.warm_up(sizes);
        }
        loop {
            self.start_queued();
            let from = self.current().position().anchor;
            let rests = self.loads.has_queue() && Instant::now() < self.rested;
            tokio::select! {
                biased;
                told = self.ear.next(from) => self.told(&told).await,
                (tenant, read) = self.loads.ended() => self.loaded(&tenant, read).await,
                // A history begun anew meanwhile has its own to read.
                sizes = &mut sizes, if !self.loads.are_planned() => {
                    self.warm_up(sizes);
                    self.ear.want();
                }
                asked = asked.recv() => {
                    let Some((tenant, reply)) = asked else { return };
                    let boot = feed.clock().read().boot;
                    if self.loads.wait(&tenant, reply, boot) {
                        self.start_load(tenant);
                    }
                }
                () = feed.shared.nudge.notified() => self.ear.want(),
                () = sleep_until(self.rested), if rests => {}
            }
        }
    }

    /// The one that is fed with news and loads.
    fn current(&mut self) -> &mut Follower<S> {
        self.renewal.as_mut().unwrap_or(&mut self.follower)
    }

    async fn told(&mut self, told: &Told) {
        if told.from != self.current().position().anchor {
            // It was asked before what another road told since.
            return self.ear.want();
        }
        let older = told.tail.epoch < self.current().position().epoch || !told.tail.agreed;
        if older && told.sent < self.told_at {
            // It was asked on one road before the other told of this epoch, and may be an answer
            // from before it was begun: that is no fork of its own.
            return self.ear.want();
        }
        let sent = if bites(Bug::LeaseFromReceipt) {
            told.received
        } else {
            told.sent
        };
        let heard = self.current().absorb(&told.tail, sent);
        match heard {
            Heard::All => {}
            Heard::Some => self.ear.want(),
            Heard::FromStandby => return self.ear.distrust(),
            Heard::Lost | Heard::Forked => return self.begin_again(heard).await,
            Heard::Promoted => return self.raise_epoch().await,
        }
        // Ahead of the lease that is about to be renewed, and not held up by the loads of a history
        // that is taking over: a key revoked in it opens nothing from now on.
        let access = self.current().access();
        self.feed.tell_access(access);
        self.told_at = told.received;
        let kept = told.tail.head.0 + 1 - told.tail.floor.0;
        self.feed.shared.chronicle.hold(kept);
        let clock = &self.feed.shared.clock;
        clock.heard(told.tail.clock, told.sent, told.received);
        for (tenant, end) in self.current().settle_loads() {
            self.settled(tenant, end);
        }
        self.shelve().await;
        for tenant in self.current().take_behind() {
            self.loads.queue_too(tenant);
        }
    }

    /// Puts the views on the shelf, then tells where the pod stands, then those who wait for a view.
    async fn shelve(&mut self) {
        let done = self.loads.queue_is_done();
        if self.renewal.is_some() && !done {
            return;
        }
        let changing = self.renewal.take().map(|mut renewal| {
            renewal.take_over();
            self.follower = renewal;
            tracing::info!("loaded anew");
            self.feed.change_history()
        });
        let ready = std::mem::take(&mut self.ready);
        let mut ends: BTreeMap<_, _> = ready
            .into_iter()
            .map(|tenant| {
                let view = self.follower.view(&tenant);
                (tenant, view)
            })
            .collect();
        if bites(Bug::AppliedBeforeViews) {
            self.publish();
            stumble().await;
        }
        let refused = self.follower.shelve();
        stumble().await;
        let standing = self.publish();
        drop(changing);
        let boot = self.feed.clock().read().boot;
        for tenant in refused {
            tracing::error!(%tenant, "a tenant's bans do not fit into the memory for views");
            self.feed.shared.chronicle.end(Ended::Refused);
            ends.remove(&tenant);
            self.loads.refuse(&tenant, boot);
        }
        for (tenant, view) in ends {
            self.feed.shared.chronicle.end(Ended::Done);
            let standing = Arc::clone(&standing);
            let end = view.map_or(LoadEnd::Failed, |view| LoadEnd::Done(view, standing));
            self.loads.answer(&tenant, &end);
        }
        if self.loads.queue_is_done() {
            self.feed
                .shared
                .warm
                .send_if_modified(|warm| !std::mem::replace(warm, true));
        }
    }

    /// Tells where the pod stands.
    fn publish(&mut self) -> Arc<Standing> {
        let (position, heard_at) = (self.follower.position(), self.follower.heard_at());
        let old = self.feed.standing();
        debug_assert!(
            old.as_ref()
                .is_none_or(|old| goes_on(old.position, position)),
            "C-2: the applied revision never goes back within an epoch"
        );
        let moved = old.as_ref().is_none_or(|old| old.position != position);
        let applied = self.follower.take_applied();
        let told = self.feed.shared.applied.write();
        let mut told = told.unwrap_or_else(PoisonError::into_inner);
        told.note(position.epoch, &applied);
        drop(told);
        let token = match old {
            Some(old) if !moved => Arc::clone(&old.token),
            _ => position.token(self.feed.seal()).into(),
        };
        self.feed.shared.tenants.store(self.follower.tenants());
        let standing = Arc::new(Standing {
            position,
            token,
            heard_at,
        });
        self.feed.shared.standing.store(Some(Arc::clone(&standing)));
        self.feed.shared.moved.notify_waiters();
        if moved {
            self.store.witness(position.anchor);
        }
        standing
    }

    /// Begins at a new snapshot: what we hold belongs to a history that is gone. The views stay in
    /// use meanwhile, and their lease lapses.
    async fn begin_again(&mut self, heard: Heard) {
        if Instant::now() < self.rested {
            return;
        }
        tracing::error!(
            ?heard,
            "the feed's history is not the one followed so far; loading anew"
        );
        let sent = self.feed.clock().read();
        let own = self.current().position().epoch;
        let next = if bites(Bug::EpochFromTheRowAlone) {
            Epoch::default()
        } else {
            own.after_fork(sent.now)
        };
        let look = async {
            if heard == Heard::Forked || bites(Bug::PruneTakenForAFork) {
                self.store.raise_epoch(own, next).await?;
            }
            self.store.directory().await
        };
        let error = match timeout(LOOK, look).await {
            Ok(Ok(directory)) => {
                self.pause.reset();
                self.feed.shared.chronicle.begin(match heard {
                    Heard::Forked => Begun::Fork,
                    _ => Begun::HistoryLost,
                });
                return self.renew(directory, sent.boot);
            }
            Ok(Err(error)) => error.with_causes(),
            Err(elapsed) => elapsed.to_string(),
        };
        tracing::warn!(error, "cannot load anew yet");
        self.rested = Instant::now() + self.pause.next();
    }

    /// Begins a new epoch on a server that took over: what this pod holds is in its history, but
    /// tokens of what it never received are about.
    async fn raise_epoch(&mut self) {
        if Instant::now() < self.rested {
            return;
        }
        tracing::error!("another server has taken over: a new epoch begins");
        let own = self.current().position().epoch;
        let next = own.after_fork(self.feed.clock().read().now);
        let raised = timeout(LOOK, self.store.raise_epoch(own, next)).await;
        if matches!(raised, Ok(Ok(_))) {
            self.feed.shared.chronicle.begin(Begun::Promotion);
            self.told_at = self.feed.clock().read().boot;
            self.ear.want();
        } else {
            tracing::warn!("the new epoch could not be begun yet");
            self.rested = Instant::now() + self.pause.next();
        }
    }

    fn renew(&mut self, directory: Directory, sent: i64) {
        let renewal = Follower::beside(self.shelf.clone(), directory, sent);
        self.feed.tell_access(renewal.access());
        let tenants = renewal.tenants();
        let mut anew: BTreeSet<_> = self.shelf.resident().into_iter().collect();
        anew.retain(|tenant| tenants.contains_key(tenant));
        self.renewal = Some(renewal);
        self.told_at = self.feed.clock().read().boot;
        self.ready.clear();
        self.loads.begin_again(anew);
        for tenant in self.loads.awaited() {
            self.start_load(tenant);
        }
        self.ear.want();
    }

    fn start_queued(&mut self) {
        while Instant::now() >= self.rested
            && let Some(tenant) = self.loads.next_queued()
        {
            self.start_load(tenant);
        }
    }

    fn start_load(&mut self, tenant: TenantId) {
        if self.current().begin_load(&tenant) {
            self.loads.start(tenant);
        }
    }

    async fn loaded(&mut self, tenant: &TenantId, read: Read) {
        match read {
            Ok(Some((head, view))) => {
                self.pause.reset();
                let end = self.current().finish_load(tenant, head, view);
                self.settled(tenant.clone(), end);
                self.shelve().await;
            }
            Ok(None) => self.give_up(tenant, &LoadEnd::NoTenant).await,
            Err(error) => {
                let again = matches!(error, StoreError::Unavailable(_) | StoreError::Following);
                let error = error.with_causes();
                tracing::warn!(error, %tenant, "a tenant could not be loaded");
                self.feed.shared.chronicle.end(Ended::Failed);
                if again && self.loads.queue_again(tenant) {
                    self.rested = Instant::now() + self.pause.next();
                }
                self.give_up(tenant, &LoadEnd::Failed).await;
            }
        }
    }

    fn settled(&mut self, tenant: TenantId, end: Loaded) {
        match end {
            Loaded::Waiting => self.ear.want(),
            Loaded::Ready => {
                self.loads.finished(&tenant);
                self.ready.insert(tenant);
            }
            Loaded::Unasked => {
                self.loads.finished(&tenant);
                self.loads.answer(&tenant, &LoadEnd::NoTenant);
            }
            Loaded::Again | Loaded::Forked => {
                self.ear.want();
                self.start_load(tenant);
            }
        }
    }

    async fn give_up(&mut self, tenant: &TenantId, end: &LoadEnd) {
        self.current().abort_load(tenant);
        self.loads.finished(tenant);
        self.loads.answer(tenant, end);
        self.shelve().await;
    }
}

/// Reads the tenants, and begins a history of its own where the database is not the one it was.
async fn first_look(feed: &Feed, store: &dyn Store) -> Result<Directory> {
    // Asked first: what another pod begins meanwhile is then in the directory.
    let unbroken = store.unbroken().await?;
    let sent = feed.clock().read().boot;
    let directory = store.directory().await?;
    // Before anybody is told where the pod stands, so that nobody is judged by the machine's time.
    let received = feed.clock().read().boot;
    let (clock, sent, received) = quickest(feed, store, &directory, (sent, received)).await?;
    feed.shared.clock.heard(clock, sent, received);
    if unbroken {
        return Ok(directory);
    }
    tracing::error!(
        "the database was put back or taken over by another server: a new epoch begins"
    );
    let epoch = directory.epoch;
    let next = epoch.after_fork(directory.clock);
    store.raise_epoch(epoch, next).await?;
    feed.shared.chronicle.begin(Begun::PutBack);
    store.directory().await
}

/// What the database's clock said at first, and between which two moments of boot time. An answer that
/// was long under way may be wrong by half of that, and what was once told by it cannot be taken back:
/// then it is asked again.
async fn quickest(
    feed: &Feed,
    store: &dyn Store,
    directory: &Directory,
    (sent, received): (i64, i64),
) -> Result<(Timestamp, i64, i64)> {
    let mut best = (directory.clock, sent, received);
    for _ in 0..LOOKS_AT_THE_CLOCK {
        if best.2 - best.1 <= QUICK_MICROS {
            break;
        }
        let sent = feed.clock().read().boot;
        let tail = store.tail(directory.head.revision).await?;
        let received = feed.clock().read().boot;
        if received - sent < best.2 - best.1 && !tail.in_recovery {
            best = (tail.clock, sent, received);
        }
    }
    Ok(best)
}

fn goes_on(old: Position, new: Position) -> bool {
    (old.epoch, old.anchor.revision) <= (new.epoch, new.anchor.revision)
}
