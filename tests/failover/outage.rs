//! A database that is away for a while: stopped, or standing still. Checks go on.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use bancheck::api::v1::{Decision, DecisionBasis};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    clients::{Clients, number, run, until},
    cluster::{Cluster, Stop},
    process::Pod,
};

/// How many ask at once, and how long each rests between two questions.
const ASKERS: usize = 4;
const REST: Duration = Duration::from_millis(2);
/// FRESH again within this of the database accepting connections.
const RECOVERY: Duration = Duration::from_secs(3);

/// What was measured: when it was sent, how long it took, in which part, and what it rests on.
struct Asked {
    second: u64,
    took: Duration,
    part: u8,
    basis: Result<DecisionBasis, tonic::Status>,
}

const BEFORE: u8 = 0;
const DURING: u8 = 1;
const AFTER: u8 = 2;

#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs this by hand says here for how long"
)]
fn away_for() -> Duration {
    let told = std::env::var("BANCHECK_TORTURE_OUTAGE").ok();
    let seconds = told.map_or(5, |text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds)
}

async fn asks(
    mut clients: Clients,
    begun: Instant,
    part: Arc<AtomicU8>,
    on: Arc<AtomicBool>,
) -> Vec<Asked> {
    let mut asked = Vec::new();
    let mut banned = false;
    while on.load(Ordering::SeqCst) {
        banned = !banned;
        let (sent, part) = (Instant::now(), part.load(Ordering::SeqCst));
        let answer = clients.try_check(&number(usize::from(banned)), None).await;
        let right = if banned {
            Decision::Deny
        } else {
            Decision::Allow
        };
        asked.push(Asked {
            second: sent.duration_since(begun).as_secs(),
            took: sent.elapsed(),
            part,
            basis: answer.map(|answer| {
                assert_eq!(answer.decision(), right, "memory does not forget");
                answer.basis()
            }),
        });
        // Time itself: this is how fast one asks.
        sleep_until(sent + REST).await;
    }
    asked
}

fn p99(asked: &[Asked], part: u8) -> Duration {
    let mut took: Vec<_> = asked
        .iter()
        .filter(|one| one.part == part)
        .map(|one| one.took)
        .collect();
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

/// Asks before, while and after the database is away.
async fn goes_on(what: &str, leaves: fn(&Cluster), returns: fn(&Cluster)) {
    let cluster = Cluster::make();
    cluster.start();
    let pod = Pod::start(&cluster.url(), true);
    let mut clients = Clients::of(&pod).await;
    clients.make_tenant().await;
    clients.ban(&number(1)).await;

    let (part, on) = (
        Arc::new(AtomicU8::new(BEFORE)),
        Arc::new(AtomicBool::new(true)),
    );
    let begun = Instant::now();
    let mut asking = JoinSet::new();
    for _ in 0..ASKERS {
        asking.spawn(asks(
            clients.clone(),
            begun,
            Arc::clone(&part),
            Arc::clone(&on),
        ));
    }
    // Time itself: how long the database is there, and away.
    sleep_until(begun + Duration::from_secs(3)).await;
    part.store(DURING, Ordering::SeqCst);
    leaves(&cluster);
    sleep_until(Instant::now() + away_for()).await;
    returns(&cluster);
    part.store(AFTER, Ordering::SeqCst);
    let accepts = Instant::now();
    let fresh = until(async || {
        let answer = clients.try_check(&number(1), None).await.ok()?;
        (answer.basis() == DecisionBasis::Fresh).then_some(())
    });
    timeout(RECOVERY, fresh).await.expect("FRESH again in time");
    let back = accepts.elapsed();
    sleep_until(Instant::now() + Duration::from_secs(1)).await;
    on.store(false, Ordering::SeqCst);
    let asked: Vec<Asked> = asking.join_all().await.into_iter().flatten().collect();

    let mut over_time: BTreeMap<u64, BTreeMap<&str, usize>> = BTreeMap::new();
    for one in &asked {
        let basis = one
            .basis
            .as_ref()
            .map_or("error", |basis| basis.as_str_name());
        let basis = basis.strip_prefix("DECISION_BASIS_").unwrap_or(basis);
        *over_time
            .entry(one.second)
            .or_default()
            .entry(basis)
            .or_default() += 1;
    }
    let (before, during) = (p99(&asked, BEFORE), p99(&asked, DURING));
    println!(
        "database {what} for {:?}: {} checks, p99 {before:?} before and {during:?} meanwhile; \
              FRESH again after {back:?}",
        away_for(),
        asked.len()
    );
    for (second, counts) in over_time {
        println!("    second {second}: {counts:?}");
    }
    let errors: Vec<_> = asked
        .iter()
        .filter_map(|one| one.basis.as_ref().err())
        .collect();
    assert!(
        errors.is_empty(),
        "{} errors, the first: {:?}",
        errors.len(),
        errors[0]
    );
    let stale = |one: &&Asked| one.part == DURING && matches!(one.basis, Ok(DecisionBasis::Stale));
    assert!(
        asked.iter().filter(stale).count() > 0,
        "C-4: it says that it hears nothing"
    );
    let most = before * 5 + Duration::from_millis(30);
    assert!(
        during < most,
        "checks do not wait for a database: {during:?} after {before:?}"
    );
}

fn run_on_threads(test: impl Future<Output = ()>) {
    // The calls to the cluster block, and those who ask go on meanwhile.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(test);
}

#[test]
fn checks_go_on_without_an_error_while_the_database_is_stopped() {
    run_on_threads(goes_on(
        "stopped",
        |cluster| cluster.stop(Stop::Immediate),
        Cluster::start,
    ));
}

#[test]
fn checks_go_on_without_an_error_while_the_database_stands_still() {
    run_on_threads(goes_on("standing still", Cluster::stall, Cluster::resume));
}

#[test]
fn a_write_is_refused_in_time_while_the_database_stands_still() {
    run(async {
        let cluster = Cluster::make();
        cluster.start();
        let pod = Pod::start(&cluster.url(), true);
        let mut clients = Clients::of(&pod).await;
        clients.make_tenant().await;
        cluster.stall();
        let begun = Instant::now();
        let refusal = clients
            .try_ban_as(&number(1), "once")
            .await
            .expect_err("no database");
        let took = begun.elapsed();
        println!(
            "a write to a database that stands still: {:?} after {took:?}",
            refusal.code()
        );
        assert_eq!(refusal.code(), tonic::Code::Unavailable);
        assert!(took < RECOVERY + Duration::from_millis(500), "{took:?}");
        cluster.resume();
        until(async || clients.try_ban_as(&number(1), "once").await.ok()).await;
    });
}
