//! A pod: the product's own feed, checker and desk in a process that can be stopped and killed.

use std::{
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Poll},
};

use bancheck::{
    checker::Checker,
    desk::Desk,
    domain::{
        ids::TenantId,
        keys::{MasterKey, Seal},
    },
    feed::{self, Feed, Machine, Shelf},
    tally::Tally,
    teeth::{Bug, bites},
    telemetry::Counters,
    views::Views,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    database::{Database, Start, unix_micros},
    judge::Judge,
    network::{Life, Network},
    random::Random,
    store::PodStore,
};

/// The key of every pod.
pub(crate) static KEY: LazyLock<MasterKey> = LazyLock::new(|| MasterKey::new(&[7; 32]));

/// What signs every pod's tokens.
pub(crate) static SEAL: LazyLock<Seal> = LazyLock::new(|| KEY.seal("token"));

/// Counting is not what is looked at here, and making the counters takes longer than a check.
static COUNTERS: LazyLock<Arc<Counters>> = LazyLock::new(|| Arc::new(Counters::new()));

/// Nor is tallying: nobody empties it, so it is full after a while.
static TALLY: LazyLock<Arc<Tally>> = LazyLock::new(|| Arc::new(Tally::new(Arc::clone(&COUNTERS))));

const ROOM: u64 = 1 << 30;

/// The machine that a pod runs on: nobody sets its boot time, which drifts; anybody its wall clock.
pub(crate) struct ModelMachine {
    start: Start,
    since_boot: i64,
    drift_per_million: i64,
    wall_off: AtomicI64,
}

impl ModelMachine {
    /// A machine of its own making.
    pub(crate) fn new(start: Start, random: &mut Random) -> Self {
        let signed = |number: u64, middle: i64| number.cast_signed() - middle;
        Self {
            start,
            since_boot: signed(random.below(1_000_000_000_000), 0),
            drift_per_million: signed(random.below(201), 100),
            wall_off: AtomicI64::new(signed(random.below(7_200_000_000), 3_600_000_000)),
        }
    }

    /// Somebody sets the clock.
    pub(crate) fn step_wall(&self, micros: i64) {
        self.wall_off.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Machine for ModelMachine {
    fn boot(&self) -> i64 {
        let elapsed = i64::try_from(self.start.elapsed().as_micros()).expect("a run is short");
        self.since_boot + elapsed + elapsed * self.drift_per_million / 1_000_000
    }

    fn wall(&self) -> i64 {
        unix_micros(self.start.elapsed()) + self.wall_off.load(Ordering::Relaxed)
    }
}

/// One process of a pod.
pub(crate) struct Pod {
    /// Which pod.
    pub(crate) name: usize,
    /// Which of its processes: counts the restarts.
    pub(crate) process: usize,
    pub(crate) network: Arc<Network>,
    pub(crate) feed: Feed,
    pub(crate) views: Views,
    pub(crate) checker: Checker,
    pub(crate) desk: Desk,
}

impl Pod {
    /// Starts a process; it runs until it is dead.
    pub(crate) fn start(
        name: usize,
        process: usize,
        machine: &Arc<ModelMachine>,
        database: &Arc<Database>,
        judge: &Arc<Judge>,
        random: &Random,
    ) -> Arc<Self> {
        let network = Arc::new(Network::new(random));
        let store = Arc::new(PodStore {
            database: Arc::clone(database),
            network: Arc::clone(&network),
        });
        // A server compares its key with the database's before it begins; this is one that did not.
        let stranger = name > 0 && bites(Bug::WrongIdentityKey);
        let key = if stranger {
            MasterKey::new(&[8; 32])
        } else {
            KEY.clone()
        };
        let (feed, source) = Feed::new(key.clone(), Arc::clone(machine) as Arc<dyn Machine>);
        let views = Views::new(ROOM);
        let checker = Checker::new(
            feed.clone(),
            views.clone(),
            Arc::clone(&COUNTERS),
            Arc::clone(&TALLY),
        );
        let desk = Desk::new(
            Arc::clone(&store) as Arc<dyn bancheck::store::Store>,
            feed.clone(),
            key,
            Arc::clone(&COUNTERS),
            TaskTracker::new(),
        );
        let pod = Arc::new(Self {
            name,
            process,
            network: Arc::clone(&network),
            feed,
            views: views.clone(),
            checker,
            desk,
        });
        let follows = feed::run(
            source,
            store,
            views,
            feed::Options {
                seed: random.apart(3).draw(),
                ..feed::Options::default()
            },
            CancellationToken::new(),
        );
        let watched = Watched {
            inner: Box::pin(follows),
            judge: Arc::clone(judge),
            pod: Arc::clone(&pod),
        };
        judge.started(name);
        database.tasks.spawn(Pausable::new(&network, watched));
        pod
    }

    /// Loses a view, as when memory is short.
    pub(crate) fn evict(&self, tenant: &TenantId) {
        self.views.remove(tenant);
    }
}

/// A future of a process: while the process does not run, it is not polled.
pub(crate) struct Pausable<F> {
    inner: Pin<Box<F>>,
    network: Arc<Network>,
    wakes: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<F: Future> Pausable<F> {
    pub(crate) fn new(network: &Arc<Network>, inner: F) -> Self {
        Self {
            inner: Box::pin(inner),
            network: Arc::clone(network),
            wakes: None,
        }
    }
}

impl<F: Future> Future for Pausable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.network.life() != Life::Running {
            let network = Arc::clone(&self.network);
            let wakes = self
                .wakes
                .get_or_insert_with(|| Box::pin(async move { network.awake().await }));
            if wakes.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        self.wakes = None;
        self.inner.as_mut().poll(context)
    }
}

/// A feed that the judge looks at whenever it has done something.
struct Watched<F> {
    inner: Pin<Box<F>>,
    judge: Arc<Judge>,
    pod: Arc<Pod>,
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let done = self.inner.as_mut().poll(context);
        self.judge.look(&self.pod);
        done
    }
}
