//! The world of a run: a database, its witness, and pods; built, and ended in order.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bancheck::{
    api::v1::{
        BanList, CreateBanListRequest, CreateTenantRequest,
        config_service_client::ConfigServiceClient,
    },
    domain::{ids::BanId, revision::Position},
};
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::{Instant, interval, sleep_until, timeout},
};

use crate::{
    cast::{self, Dice, LISTS, NEWCOMER, TENANTS},
    cluster::{Cluster, Stop},
    judge::Violation,
    load::{Asker, FRESH},
    pods::{Life, Seat},
    proxy::Proxy,
    record::{Fault, Question, Wish},
    run::Plan,
    witness::Witness,
};

/// Within this anything that is awaited here has happened, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the witness looks.
const LOOK: Duration = Duration::from_millis(25);

/// Everything there is.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) cluster: Cluster,
    pub(crate) seats: Vec<Seat>,
    pub(crate) witness: tokio::sync::Mutex<Witness>,
    pub(crate) faults: Mutex<Vec<Fault>>,
    /// What was found wrong before the run began.
    pub(crate) doubts: Mutex<Vec<Violation>>,
    /// What the token says that was acknowledged last.
    pub(crate) newest: Mutex<Option<Position>>,
    /// Bans that were acknowledged and may still stand.
    pub(crate) standing: Mutex<Vec<(u8, BanId)>>,
    /// Whom writers were about lately: tenants and callers, packed.
    pub(crate) lately: [AtomicU64; 64],
    /// How many questions have been asked, and how many batches.
    pub(crate) asked: AtomicU64,
    pub(crate) batches: AtomicU64,
    /// When the run began.
    pub(crate) began: OnceLock<Instant>,
    /// Writers and askers go on.
    pub(crate) writing: AtomicBool,
    pub(crate) asking: AtomicBool,
}

impl World {
    /// Builds it: pods that are warm, tenants, lists, and a first backup.
    pub(crate) async fn build(plan: Plan) -> Arc<Self> {
        let cluster = spawn_blocking(|| {
            let cluster = Cluster::make();
            cluster.start();
            cluster
        });
        let cluster = cluster.await.expect("a cluster");
        let mut seats = Vec::new();
        let mut dice = Dice::new(plan.seed, 1);
        for number in 0..plan.pods {
            let outside = number % 2 == 1;
            let proxy = Proxy::start(cluster.port).await;
            let seat = Seat::new(number, outside, proxy, plan.variables.clone());
            // Some hours, either way; the first one a fraction of a second, which no step mends.
            let off = if number == 0 {
                dice.within(-900_000, 900_000)
            } else {
                dice.within(-5 * 3_600_000_000, 5 * 3_600_000_000)
            };
            seat.clock.set(off);
            seats.push(seat);
        }
        let witness = Witness::new(cluster.port).await;
        let world = Arc::new(Self {
            plan,
            cluster,
            seats,
            witness: tokio::sync::Mutex::new(witness),
            faults: Mutex::default(),
            doubts: Mutex::default(),
            newest: Mutex::default(),
            standing: Mutex::default(),
            lately: [const { AtomicU64::new(0) }; 64],
            asked: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            began: OnceLock::new(),
            writing: AtomicBool::new(true),
            asking: AtomicBool::new(true),
        });
        world.start_pods().await;
        world.furnish().await;
        world
            .all_fresh(PATIENCE)
            .await
            .expect("pods that are FRESH");
        let all = Arc::clone(&world);
        let backed_up = spawn_blocking(move || {
            all.cluster.stop(Stop::Fast);
            all.cluster.back_up();
            all.cluster.start();
        });
        backed_up.await.expect("a backup");
        world
            .all_fresh(PATIENCE)
            .await
            .expect("pods that are FRESH");
        world
    }

    async fn start_pods(self: &Arc<Self>) {
        let runtime = tokio::runtime::Handle::current();
        let mut starting = JoinSet::new();
        for at in 0..self.seats.len() {
            let (world, runtime) = (Arc::clone(self), runtime.clone());
            starting.spawn_blocking(move || world.seats[at].start(&runtime));
        }
        starting.join_all().await;
    }

    /// Makes tenants and lists.
    async fn furnish(&self) {
        let life = lives(&mut self.seats[0].life()).await;
        let mut config = ConfigServiceClient::new(life.admin);
        for tenant in 0..=NEWCOMER {
            let request = CreateTenantRequest {
                tenant: cast::tenant(tenant),
                ..CreateTenantRequest::default()
            };
            // The pod may not have a database yet.
            let made = async {
                while config.create_tenant(request.clone()).await.is_err() {
                    tokio::task::yield_now().await;
                }
            };
            timeout(PATIENCE, made).await.expect("a tenant");
            let has_lists = tenant < TENANTS && cast::has_lists(tenant);
            for list in (0..LISTS).filter(|_| has_lists) {
                let list = BanList {
                    list_id: cast::list(list),
                    title: cast::list(list),
                    ..BanList::default()
                };
                let request = CreateBanListRequest {
                    tenant: cast::tenant(tenant),
                    ban_list: Some(list),
                    ..CreateBanListRequest::default()
                };
                config.create_ban_list(request).await.expect("a list");
            }
        }
    }

    /// Waits until every pod answers FRESH about every tenant; tells which do not in time.
    pub(crate) async fn all_fresh(self: &Arc<Self>, within: Duration) -> Result<Duration, Vec<u8>> {
        let begun = Instant::now();
        let mut waiting = JoinSet::new();
        for at in 0..self.seats.len() {
            let world = Arc::clone(self);
            waiting.spawn(async move {
                let mut asker = Asker::new(Arc::clone(&world), at, 0);
                let asks = async {
                    for tenant in 0..TENANTS {
                        let question = Question {
                            tenant,
                            callers: [0, cast::NOBODY],
                            by_text: false,
                            queue: 0,
                            wish: Wish::Latency,
                        };
                        while asker.ask(question).await != Some(FRESH) {
                            sleep_until(Instant::now() + Duration::from_millis(5)).await;
                        }
                    }
                };
                (at, timeout(within, asks).await.is_ok())
            });
        }
        let ended = waiting.join_all().await;
        let late: Vec<u8> = ended
            .into_iter()
            .filter(|(_, fresh)| !fresh)
            .map(|(at, _)| self.seats[at].number)
            .collect();
        if late.is_empty() {
            Ok(begun.elapsed())
        } else {
            Err(late)
        }
    }

    /// Has the witness look again and again until everybody is done asking.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut looks = interval(LOOK);
        while self.asking.load(Ordering::SeqCst) {
            looks.tick().await;
            // A database that is away is looked at again.
            let _ = self.witness.lock().await.catch_up().await;
        }
    }

    /// Whether the run is over so long from now: its time has passed and enough has been asked, or,
    /// where the machine is slow, thrice its time has.
    pub(crate) fn is_over(&self, in_a_while: Duration) -> bool {
        let Plan { time, least, .. } = self.plan;
        let begun = *self.began.get_or_init(Instant::now);
        let passed = begun.elapsed() + in_a_while;
        passed >= time && (self.asked.load(Ordering::Relaxed) >= least || passed >= 3 * time)
    }

    /// Ends all pods; the database goes on until the world is dropped.
    pub(crate) async fn end(self: Arc<Self>) {
        let ended = spawn_blocking(move || {
            for seat in &self.seats {
                seat.end();
            }
        });
        ended.await.expect("the end of all pods");
    }
}

/// Waits until a pod lives.
pub(crate) async fn lives(life: &mut watch::Receiver<Option<Life>>) -> Life {
    let found = life.wait_for(Option::is_some).await;
    found
        .ok()
        .and_then(|life| life.clone())
        .expect("a seat outlives its watchers")
}
