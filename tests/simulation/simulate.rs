//! One run: pods of the product over the model database, by the schedule of a seed, under a judge.
//!
//! All of it is one thread whose time stands still while anything is to be done and jumps to the
//! next timer when nothing is, so half a minute takes some milliseconds and is the same every time.

pub(crate) mod answers;
mod client;
pub(crate) mod database;
mod errand;
pub(crate) mod history;
pub(crate) mod judge;
mod network;
pub(crate) mod pod;
mod quiet;
mod random;
mod schedule;
mod shelf;
mod store;
#[cfg(feature = "teeth")]
mod stumble;
mod told;
mod trace;
pub(crate) mod verdict;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use bancheck::domain::{
    ban::Enforcement,
    ids::{ListId, TenantId},
    list::{BanList, WebchatBanType},
    policy::{FailureMode, TenantSettings},
};
use tokio::time::sleep_until;
use tokio_util::task::TaskTracker;

use self::{
    answers::Wish,
    client::{LIST, PEOPLE, World, about},
    database::{Database, Start},
    history::{Tenant, Tenants},
    judge::Judge,
    network::{Fault, Life, Path},
    pod::{ModelMachine, Pod},
    random::Random,
    schedule::{Action, CALM, Schedule},
};
pub(crate) use self::{
    database::Flaw,
    trace::{Trace, Violation},
};

/// What a run is to be, besides its seed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    /// What the database gets wrong.
    pub(crate) flaw: Flaw,
    /// Whether checks and the feed are held up between two steps, as threads are; only builds with
    /// the feature `teeth` can do that.
    pub(crate) stumbles: bool,
    /// Whether the whole trace is kept, not only its end.
    pub(crate) whole: bool,
}

/// Plays the schedule of a seed to its end, or to the first promise that is broken.
pub(crate) fn simulate(seed: u64, plan: Plan) -> Result<Trace, Box<Violation>> {
    #[cfg(feature = "teeth")]
    stumble::by_chance(plan.stumbles.then_some(seed));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime
        .expect("a runtime without I/O needs nothing")
        .block_on(play(seed, plan))
}

/// A run under way.
struct Run {
    world: Arc<World>,
    machines: Vec<Arc<ModelMachine>>,
    random: Random,
    /// Whose connections lead where, which outlasts a process.
    processes: Vec<usize>,
}

async fn play(seed: u64, plan: Plan) -> Result<Trace, Box<Violation>> {
    let schedule = Schedule::of(seed);
    let start = Start::now();
    let tenants = tenants(schedule.tenants);
    let names: Vec<TenantId> = tenants.keys().cloned().collect();
    let database = Database::new(start, plan.flaw, tenants);
    let judge = Judge::new(seed, &database, schedule.pods, plan);
    let mut random = Random::new(seed).apart(1);
    let machines = (0..schedule.pods)
        .map(|_| Arc::new(ModelMachine::new(start, &mut random)))
        .collect::<Vec<_>>();
    let world = Arc::new(World {
        database,
        judge: Arc::clone(&judge),
        pods: Mutex::default(),
        tenants: names,
        tokens: Mutex::default(),
        tasks: TaskTracker::new(),
    });
    let mut run = Run {
        world,
        processes: vec![0; machines.len()],
        machines,
        random,
    };
    for pod in 0..schedule.pods {
        let pod = run.process(pod);
        run.pods().push(pod);
    }
    tokio::select! {
        biased;
        () = judge.found.notified() => {}
        () = run.play(&schedule) => {}
    }
    judge.verdict()
}

fn tenants(count: usize) -> Tenants {
    let modes = [FailureMode::Open, FailureMode::Closed, FailureMode::Open];
    let list_id = ListId::parse(LIST).expect("a list id");
    let names = ["acme", "bolt", "core"].into_iter().zip(modes).take(count);
    names
        .map(|(name, failure_mode)| {
            let list = BanList {
                list_id: list_id.clone(),
                generation: 1,
                title: LIST.to_owned(),
                description: String::new(),
                default_timeout_text: String::new(),
                webchat_ban_type: WebchatBanType::default(),
                ban_contact_phones: false,
                treatment: None,
                enforcement: Enforcement::Enforced,
                enforce_outbound: false,
                repeat_ladder: Vec::new(),
                queues: BTreeSet::from([shelf::QUEUES[0].to_owned()]),
                version: 1,
            };
            let tenant = Tenant {
                settings: TenantSettings {
                    failure_mode,
                    ..TenantSettings::default()
                },
                lists: BTreeMap::from([(list_id.clone(), list)]),
                bans: BTreeMap::new(),
                exceptions: BTreeMap::new(),
            };
            let name = TenantId::parse(name).expect("a tenant id");
            (name, Arc::new(tenant))
        })
        .collect()
}

impl Run {
    fn pods(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Pod>>> {
        let pods = self.world.pods.lock();
        pods.expect("nobody panics with the pods")
    }

    /// Starts a process of a pod.
    fn process(&mut self, name: usize) -> Arc<Pod> {
        let process = self.processes[name];
        self.processes[name] += 1;
        let random = self.random.apart((name * 1_000 + process) as u64 + 7);
        Pod::start(
            name,
            process,
            &self.machines[name],
            &self.world.database,
            &self.world.judge,
            &random,
        )
    }

    async fn play(&mut self, schedule: &Schedule) {
        let start = self.world.database.start;
        for (number, (at, action)) in schedule.actions.iter().enumerate() {
            sleep_until(start.after(*at)).await;
            self.act(number, action);
        }
        sleep_until(start.after(schedule.length)).await;
        self.heal();
        quiet::settle(&self.world, schedule.length + CALM).await;
        self.world.judge.close();
    }

    fn act(&mut self, number: usize, action: &Action) {
        let world = &self.world;
        if !matches!(action, Action::Check { .. } | Action::Write(_)) {
            world.judge.note(format_args!("{action:?}"));
        }
        match *action {
            Action::Check { pod, tenant, draw } => {
                let world = Arc::clone(world);
                world
                    .tasks
                    .clone()
                    .spawn(async move { ask(&world, pod, tenant, draw).await });
            }
            Action::Write(ref errand) => {
                let run = errand::run(Arc::clone(world), number, errand.clone());
                world.tasks.spawn(run);
            }
            Action::Wires(pod, path, fault) => {
                let network = &world.pod(pod).network;
                for one in [Path::Link, Path::Pool] {
                    if path.is_none_or(|path| path == one) {
                        network.suffer(one, fault);
                    }
                }
            }
            Action::Deaf(pod, deaf) => world.pod(pod).network.deaf.store(deaf, Ordering::Relaxed),
            Action::Reset(pod) => world.pod(pod).network.reset(),
            Action::Standby(pod, lag) => world.pod(pod).network.lead_to(lag),
            Action::Away(away) => self.away(away),
            Action::Fork(rows, clock_off) => {
                let backup = world.database.backup(rows);
                if !world.database.fork(&backup, clock_off) {
                    return world.judge.note(format_args!("no fork so soon"));
                }
                let number = backup.number;
                world.judge.note(format_args!("goes on from row #{number}"));
                for pod in self.pods().iter() {
                    pod.network.reset();
                }
            }
            Action::Prune(keep) => world.database.prune(keep),
            Action::Pause(pod) => world.pod(pod).network.live(Life::Paused),
            Action::Resume(pod) => world.pod(pod).network.live(Life::Running),
            Action::Kill(pod) => {
                world.pod(pod).network.live(Life::Dead);
                let process = self.process(pod);
                self.pods()[pod] = process;
            }
            Action::Evict(pod, tenant) => world.pod(pod).evict(&world.tenants[tenant]),
            Action::StepWall(pod, micros) => self.machines[pod].step_wall(micros),
        }
    }

    fn away(&self, away: bool) {
        let fault = if away { Fault::Cut } else { Fault::None };
        if away {
            self.world.database.restart();
        }
        for pod in self.pods().iter() {
            for path in [Path::Link, Path::Pool] {
                pod.network.suffer(path, fault);
            }
        }
    }

    /// Ends whatever is wrong.
    fn heal(&self) {
        #[cfg(feature = "teeth")]
        stumble::by_chance(None);
        self.world.judge.note(format_args!("all is well"));
        for pod in self.pods().iter() {
            pod.network.lead_to(None);
            pod.network.deaf.store(false, Ordering::Relaxed);
            for path in [Path::Link, Path::Pool] {
                pod.network.suffer(path, Fault::None);
            }
            pod.network.live(Life::Running);
        }
    }
}

/// One check, drawn when it is made.
async fn ask(world: &World, pod: usize, tenant: usize, draw: u64) {
    let mut random = Random::new(draw);
    let who = random.below(PEOPLE);
    let asked = about(&world.tenants[tenant], who, &mut random);
    let wish = match random.below(10) {
        0..2 => world.token(&mut random).map_or(Wish::Fully, Wish::Token),
        2 => Wish::Fully,
        _ => Wish::Whatever,
    };
    let deadline = Duration::from_millis(*random.pick(&[50, 300, 3_000]));
    let pod = world.pod(pod);
    if !random.chance(20) {
        client::check(world, &pod, &asked, &wish, deadline).await;
        return;
    }
    let mut batch = vec![asked];
    for _ in 0..random.between(1, 4) {
        let other = if random.chance(70) {
            tenant
        } else {
            random.place(world.tenants.len())
        };
        let who = random.below(PEOPLE);
        batch.push(about(&world.tenants[other], who, &mut random));
    }
    client::check_all(world, &pod, batch, &wish, deadline).await;
}
