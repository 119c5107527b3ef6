//! Pods that are replaced one after the other while they are asked, as a rollout does it.

use std::{
    array,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bancheck::{
    api::v1::{self, Channel::Call},
    store::Place,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc::Sender,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tonic::{
    Status,
    transport::{Channel, Endpoint, channel::Change},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    database::{Database, Kind},
    process::Process,
    requests::{NUMBER, add, connect, denies, phone},
    server::{Client, TENANT},
};

const PODS: usize = 3;
const ASKERS: usize = 4;
/// How long each rests between two questions.
const REST: Duration = Duration::from_millis(5);
/// No caller waits longer from one answer to the next, on a busy machine either.
const LONGEST: Duration = Duration::from_secs(3);

/// A client that balances for itself, as behind the headless Service.
struct Balanced {
    client: Client,
    members: [Sender<Change<usize, Endpoint>>; 2],
}

impl Balanced {
    fn new() -> Self {
        let (check_listener, of_checks) = Channel::balance_channel(PODS);
        let (admin_listener, of_admin) = Channel::balance_channel(PODS);
        Self {
            client: Client {
                check_listener,
                admin_listener,
            },
            members: [of_checks, of_admin],
        }
    }

    async fn change(&self, changes: [Change<usize, Endpoint>; 2]) {
        for (members, change) in self.members.iter().zip(changes) {
            members.send(change).await.expect("a balancer");
        }
    }

    async fn joins(&self, number: usize, pod: &Process) {
        let endpoint = |listener: usize| {
            let address = format!("http://{}", pod.addresses[listener]);
            Change::Insert(number, Endpoint::from_shared(address).expect("an address"))
        };
        self.change([endpoint(0), endpoint(1)]).await;
    }

    async fn leaves(&self, number: usize) {
        self.change([Change::Remove(number), Change::Remove(number)])
            .await;
    }
}

/// What one caller was told.
#[derive(Default)]
struct Told {
    answers: usize,
    errors: Vec<Status>,
    longest: Duration,
}

impl Told {
    /// Asks again and again, and takes the time from each answer to the next.
    async fn of<F>(on: Arc<AtomicBool>, ask: impl Fn(usize) -> F) -> Self
    where
        F: Future<Output = Result<(), Status>>,
    {
        let mut told = Self::default();
        let mut last = Instant::now();
        while on.load(Ordering::SeqCst) {
            match ask(told.answers).await {
                Ok(()) => told.answers += 1,
                Err(status) => told.errors.push(status),
            }
            told.longest = told.longest.max(last.elapsed());
            last = Instant::now();
            // Time itself: this is how fast one asks.
            sleep_until(last + REST).await;
        }
        told
    }
}

async fn checks(client: Client, on: Arc<AtomicBool>) -> Told {
    Told::of(on, |_| {
        let mut checks = client.check();
        async move {
            let asked = checks.check_interaction(connect(Call, phone(NUMBER)));
            let answer = asked.await?.into_inner();
            assert!(denies(&answer), "no pod forgets: {answer:?}");
            Ok(())
        }
    })
    .await
}

async fn writes(client: Client, on: Arc<AtomicBool>) -> Told {
    Told::of(on, |written| {
        let mut desk = client.admin();
        async move {
            let ban = add(phone(&format!("+420777{written:06}")));
            desk.create_ban(ban).await.map(drop)
        }
    })
    .await
}

/// Waits until a pod's health says something of checks.
async fn says(pod: &Process, wanted: ServingStatus) {
    let [check, _] = pod.channels();
    let request = HealthCheckRequest {
        service: "bancheck.v1.CheckService".to_owned(),
    };
    let health = HealthClient::new(check).watch(request).await;
    let mut health = health.expect("health").into_inner();
    loop {
        let told = health.message().await.expect("health").expect("a status");
        if told.status() == wanted {
            return;
        }
    }
}

async fn turned_away_by(pod: &Process) {
    let [check, _] = pod.channels();
    let mut checks = v1::check_service_client::CheckServiceClient::new(check);
    loop {
        let asked = checks.check_interaction(connect(Call, phone(NUMBER)));
        if denies(asked.await.expect("an answer").get_ref()) {
            return;
        }
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

#[test]
fn pods_are_restarted_in_turn_under_load_without_an_error_or_a_long_pause() {
    let database = Database::fresh(Kind::Postgres);
    let Place::Postgres { url, .. } = &database.place else {
        unreachable!("a database on Postgres")
    };
    let folders: [_; PODS] = array::from_fn(|_| tempfile::tempdir().expect("a folder"));
    let start = |number: usize| {
        let settings = ["drain_delay_seconds=1", "check_threads=1"];
        Process::start_on(url, folders[number].path(), &settings)
    };
    let mut pods: [_; PODS] = array::from_fn(start);
    let runtime = runtime();
    let on = Arc::new(AtomicBool::new(true));
    let mut callers = JoinSet::new();
    let balanced = runtime.block_on(async {
        let balanced = Balanced::new();
        for (number, pod) in pods.iter().enumerate() {
            balanced.joins(number, pod).await;
        }
        let client = &balanced.client;
        client.make_tenant(TENANT).await;
        client.ban(add(phone(NUMBER))).await;
        for pod in &pods {
            turned_away_by(pod).await;
        }
        for _ in 0..ASKERS {
            callers.spawn(checks(client.clone(), Arc::clone(&on)));
        }
        callers.spawn(writes(client.clone(), Arc::clone(&on)));
        balanced
    });
    for (number, pod) in pods.iter_mut().enumerate() {
        runtime.block_on(async {
            says(pod, ServingStatus::Serving).await;
            pod.terminate();
            says(pod, ServingStatus::NotServing).await;
            balanced.leaves(number).await;
        });
        assert!(pod.ended().success());
        *pod = start(number);
        runtime.block_on(async {
            balanced.joins(number, pod).await;
            turned_away_by(pod).await;
        });
    }
    on.store(false, Ordering::SeqCst);
    let told = runtime.block_on(callers.join_all());
    let errors: Vec<_> = told.iter().flat_map(|told| &told.errors).collect();
    let answers: usize = told.iter().map(|told| told.answers).sum();
    let longest = told.iter().map(|told| told.longest).max();
    println!(
        "{answers} answers, {} errors, the longest pause {longest:?}",
        errors.len()
    );
    assert!(errors.is_empty(), "{errors:?}");
    assert!(told.iter().all(|told| told.answers > 0));
    assert!(longest < Some(LONGEST), "{longest:?}");
}
