//! The task that follows the feed: asks the store, hands what it hears to the [`Follower`], and
//! tells where the pod stands.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Feed, LoadEnd, Source, Standing, bell,
    follow::{Follower, Heard, Loaded, Shelf},
};
use crate::{
    domain::{
        identity::phone,
        ids::TenantId,
        keys::{MasterKey, TenantKey},
        record::BanRecord,
        revision::{Anchor, Epoch, Position, Revision},
        view::TenantView,
    },
    store::{FeedLink, LoadSink, LoadedTenant, Result, Store, Tail},
};

/// How the feed is followed.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often to look without having heard the bell.
    pub poll: Duration,
    /// How long an answer is waited for before the connection counts as dead.
    pub patience: Duration,
    /// The longest pause between two attempts to connect.
    pub longest_pause: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(500),
            patience: Duration::from_secs(1),
            longest_pause: Duration::from_secs(1),
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
    let Source { feed, loads } = source;
    let rings = bell::ring(
        Arc::clone(&store),
        Arc::clone(&feed.shared.bell),
        stop.clone(),
    );
    let follows = async {
        let Some(follower) = first_look(&feed, &*store, shelf, &options).await else {
            return;
        };
        let pause = Pause::new(options.longest_pause);
        let mut task = Task {
            feed,
            store,
            follower,
            options,
            pause,
            link: None,
            loads: JoinSet::new(),
            waiting: HashMap::new(),
            warming: Vec::new(),
        };
        task.warm_up();
        task.follow(loads).await;
    };
    tokio::select! {
        () = stop.cancelled() => {}
        ((), ()) = async { tokio::join!(rings, follows) } => {}
    }
}

/// Pauses that grow up to a bound, a little different on every pod.
struct Pause {
    next: Duration,
    longest: Duration,
}

impl Pause {
    fn new(longest: Duration) -> Self {
        Self {
            next: Duration::from_millis(20),
            longest,
        }
    }

    async fn take(&mut self) {
        let mut random = [0];
        let _ = getrandom::fill(&mut random);
        sleep(self.next.mul_f64(0.5 + f64::from(random[0]) / 510.0)).await;
        self.next = (self.next * 2).min(self.longest);
    }

    fn reset(&mut self) {
        *self = Self::new(self.longest);
    }
}

/// Reads the tenants and the head they belong to, however long the store takes to appear.
async fn first_look<S: Shelf>(
    feed: &Feed,
    store: &dyn Store,
    shelf: S,
    options: &Options,
) -> Option<Follower<S>> {
    let mut pause = Pause::new(options.longest_pause);
    loop {
        let sent = feed.clock().read().boot;
        match store.directory().await {
            Ok(directory) => {
                let follower = Follower::begin(shelf, directory);
                publish(feed, &follower, sent);
                return Some(follower);
            }
            Err(error) => {
                tracing::warn!(
                    error = error.with_causes(),
                    "the store cannot be read yet; trying again"
                );
                pause.take().await;
            }
        }
    }
}

/// Tells where the pod stands: the views first, then this.
fn publish<S: Shelf>(feed: &Feed, follower: &Follower<S>, heard_at: i64) {
    let position = follower.position();
    let old = feed.standing();
    let token = match &old {
        Some(old) if old.position == position => Arc::clone(&old.token),
        _ => position.token(feed.seal()).into(),
    };
    debug_assert!(
        old.is_none_or(|old| old.position.epoch < position.epoch
            || old.position.anchor.revision <= position.anchor.revision),
        "C-2: the applied revision never goes back within an epoch"
    );
    feed.shared.tenants.store(follower.tenants());
    feed.shared.standing.store(Some(Arc::new(Standing {
        position,
        token,
        heard_at,
    })));
    feed.shared.moved.send_replace(());
}

/// A view as it was read, and the row it was read at; `None` = there is no such tenant.
type Read = Result<Option<(Anchor, TenantView)>>;

struct Task<S> {
    feed: Feed,
    store: Arc<dyn Store>,
    follower: Follower<S>,
    options: Options,
    pause: Pause,
    link: Option<Box<dyn FeedLink>>,
    loads: JoinSet<(TenantId, Position, Read)>,
    waiting: HashMap<TenantId, Vec<oneshot::Sender<LoadEnd>>>,
    /// What is still to be loaded before the pod calls itself warm.
    warming: Vec<TenantId>,
}

impl<S: Shelf> Task<S> {
    async fn follow(
        &mut self,
        mut asked: tokio::sync::mpsc::UnboundedReceiver<(TenantId, oneshot::Sender<LoadEnd>)>,
    ) {
        let mut poll = interval(self.options.poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let feed = self.feed.clone();
        loop {
            if self.link.is_none() {
                self.connect().await;
            }
            let news = tokio::select! {
                asked = asked.recv() => {
                    let Some((tenant, reply)) = asked else { return };
                    self.ask(tenant, reply);
                    false
                }
                Some(ended) = self.loads.join_next() => {
                    if let Ok((tenant, at, ended)) = ended {
                        self.loaded(&tenant, at, ended);
                    }
                    // A view read ahead of us waits for the feed to catch up with it.
                    true
                }
                rang = rings(&mut self.link) => {
                    if let Err(error) = rang {
                        self.cut(&error.with_causes());
                    }
                    true
                }
                () = feed.shared.nudge.notified() => true,
                _ = poll.tick() => true,
            };
            if news {
                while self.tail().await {}
            }
        }
    }

    async fn connect(&mut self) {
        match timeout(self.options.patience, self.store.link()).await {
            Ok(Ok(link)) => {
                self.link = Some(link);
                self.pause.reset();
            }
            Ok(Err(error)) => self.cut(&error.with_causes()),
            Err(_) => tracing::debug!("the feed's connection was not made in time"),
        }
    }

    fn cut(&mut self, error: &str) {
        if self.link.take().is_some() {
            tracing::warn!(error, "lost the feed's connection; making another");
        }
    }

    /// Asks for what is new, on the feed's own connection or, that being dead, on any other.
    async fn ask_store(&mut self, from: Revision) -> Option<(Tail, i64)> {
        if let Some(link) = &mut self.link {
            let sent = self.feed.clock().read().boot;
            match timeout(self.options.patience, link.tail(from)).await {
                Ok(Ok(tail)) => return Some((tail, sent)),
                Ok(Err(error)) => self.cut(&error.with_causes()),
                Err(elapsed) => self.cut(&elapsed.to_string()),
            }
        }
        let sent = self.feed.clock().read().boot;
        match timeout(self.options.patience, self.store.tail(from)).await {
            Ok(Ok(tail)) => Some((tail, sent)),
            Ok(Err(error)) => {
                tracing::debug!(error = error.with_causes(), "the feed cannot be read");
                self.pause.take().await;
                None
            }
            Err(_) => {
                self.pause.take().await;
                None
            }
        }
    }

    /// Takes one tail in; `true` = there is more at once.
    async fn tail(&mut self) -> bool {
        let from = self.follower.position().anchor.revision;
        let Some((tail, sent)) = self.ask_store(from).await else {
            return false;
        };
        let received = self.feed.clock().read().boot;
        let heard = self.follower.absorb(&tail);
        match heard {
            Heard::All => {
                self.feed.shared.clock.heard(tail.clock, sent, received);
                publish(&self.feed, &self.follower, sent);
            }
            Heard::Some => {
                let before = self.feed.standing().map_or(0, |standing| standing.heard_at);
                publish(&self.feed, &self.follower, before);
            }
            Heard::FromStandby => {
                self.link = None;
                self.pause.take().await;
            }
            Heard::Lost | Heard::Forked => self.begin_again(heard).await,
        }
        for (tenant, end) in self.follower.settle_loads() {
            self.settled(&tenant, end);
        }
        heard == Heard::Some
    }

    /// Starts from a new snapshot: what we held belongs to a history that is gone.
    async fn begin_again(&mut self, heard: Heard) {
        tracing::error!(
            ?heard,
            "the feed's history is not the one followed so far; loading anew"
        );
        let own = self.follower.position().epoch;
        let sent = self.feed.clock().read();
        let begin = async {
            if heard == Heard::Forked {
                let seconds = sent.now.micros() / 1_000_000;
                let seconds = Epoch(u32::try_from(seconds).unwrap_or_default());
                self.store
                    .raise_epoch(own, Epoch(own.0 + 1).max(seconds))
                    .await?;
            }
            self.store.directory().await
        };
        match begin.await {
            Ok(mut directory) => {
                directory.epoch = directory.epoch.max(own);
                self.loads.abort_all();
                self.follower.restart(directory);
                publish(&self.feed, &self.follower, sent.boot);
                for tenant in self.waiting.keys().cloned().collect::<Vec<_>>() {
                    self.start_load(tenant);
                }
            }
            Err(error) => {
                tracing::warn!(error = error.with_causes(), "cannot load anew yet");
                self.pause.take().await;
            }
        }
    }

    fn warm_up(&mut self) {
        self.warming = self.follower.tenants().keys().cloned().collect();
        self.warm_next();
    }

    /// One tenant at a time, so that checks for others find a connection free.
    fn warm_next(&mut self) {
        match self.warming.pop() {
            Some(tenant) => self.start_load(tenant),
            None => {
                self.feed.shared.warm.send_replace(true);
            }
        }
    }

    fn ask(&mut self, tenant: TenantId, reply: oneshot::Sender<LoadEnd>) {
        self.waiting.entry(tenant.clone()).or_default().push(reply);
        self.start_load(tenant);
    }

    fn start_load(&mut self, tenant: TenantId) {
        if !self.follower.begin_load(&tenant) {
            return;
        }
        let store = Arc::clone(&self.store);
        let keys = self.feed.shared.keys.clone();
        let at = self.follower.position();
        self.loads.spawn(async move {
            let ended = load(&*store, &keys, &tenant).await;
            (tenant, at, ended)
        });
    }

    fn loaded(&mut self, tenant: &TenantId, begun: Position, ended: Read) {
        match ended {
            _ if begun.epoch != self.follower.position().epoch => {}
            Ok(Some((head, view))) => {
                let end = self.follower.finish_load(tenant, head, view);
                self.settled(tenant, end);
            }
            Ok(None) => self.give_up(tenant, LoadEnd::NoTenant),
            Err(error) => {
                tracing::warn!(error = error.with_causes(), %tenant, "a tenant could not be loaded");
                self.give_up(tenant, LoadEnd::Failed);
            }
        }
    }

    fn settled(&mut self, tenant: &TenantId, end: Loaded) {
        match end {
            Loaded::Waiting => {}
            Loaded::Published => self.answer(tenant, LoadEnd::Done),
            Loaded::Unasked => self.answer(tenant, LoadEnd::NoTenant),
            Loaded::TooHeavy => {
                tracing::error!(%tenant, "a tenant's bans do not fit into the memory for views");
                self.answer(tenant, LoadEnd::Failed);
            }
            Loaded::Again | Loaded::Forked => self.start_load(tenant.clone()),
        }
    }

    fn give_up(&mut self, tenant: &TenantId, end: LoadEnd) {
        self.follower.abort_load(tenant);
        self.answer(tenant, end);
    }

    fn answer(&mut self, tenant: &TenantId, end: LoadEnd) {
        for reply in self.waiting.remove(tenant).unwrap_or_default() {
            // Nobody there: the check gave up waiting.
            let _ = reply.send(end);
        }
        if !self.feed.is_warm() {
            self.warm_next();
        }
    }
}

async fn rings(link: &mut Option<Box<dyn FeedLink>>) -> Result<()> {
    match link {
        Some(link) => link.bell().await,
        None => std::future::pending().await,
    }
}

/// Builds a view while its pages come in.
struct Building {
    key: TenantKey,
    view: Option<(Anchor, TenantView)>,
}

impl LoadSink for Building {
    fn open(&mut self, loaded: LoadedTenant) {
        let LoadedTenant {
            head,
            tenant,
            lists,
        } = loaded;
        if !tenant.default_region.is_empty() {
            phone::warm(&tenant.default_region);
        }
        let view = TenantView::empty(head.revision, tenant, self.key.clone()).with_lists(lists);
        self.view = Some((head, view));
    }

    fn page(&mut self, bans: &[BanRecord]) {
        if let Some((_, view)) = &mut self.view {
            view.file(bans);
        }
    }
}

async fn load(store: &dyn Store, keys: &MasterKey, tenant: &TenantId) -> Read {
    let mut building = Building {
        key: keys.tenant(tenant),
        view: None,
    };
    let found = store.load(tenant, &mut building).await?;
    Ok(building.view.filter(|_| found))
}
