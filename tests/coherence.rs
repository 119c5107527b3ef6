//! Several pods on one Postgres: what one does, the others do, whatever dies.

#[path = "stage/clients.rs"]
mod clients;
#[path = "stage/cluster.rs"]
#[expect(dead_code, reason = "the rest is for suites that torture a cluster")]
mod cluster;
#[path = "stage/database.rs"]
#[expect(
    dead_code,
    reason = "the rest is for suites that open a store themselves"
)]
mod database;
#[path = "coherence/imports.rs"]
mod imports;
#[path = "stage/process.rs"]
#[expect(dead_code, reason = "the rest is for suites that torture pods")]
mod process;

use std::time::Duration;

use bancheck::{
    api::v1::{Decision, DecisionBasis},
    store::Place,
};
use clients::{Clients, PATIENCE, number, run, until};
use cluster::{Cluster, Stop};
use database::{Database, Kind};
use process::Pod;
use tokio::time::Instant;
use tonic::Code;

/// Within this an acknowledged ban holds on every pod that says FRESH.
const LEASE: Duration = Duration::from_secs(2);

fn url(database: &Database) -> String {
    match &database.place {
        Place::Postgres { url, .. } => url.clone(),
        Place::Sqlite(_) => unreachable!("these tests are about Postgres"),
    }
}

/// Bans on one pod and asks the other, without a token, until it denies; never later than the lease.
async fn meets_without_a_token(bell: bool) {
    let database = Database::fresh(Kind::Postgres);
    let (here, there) = (
        Pod::start(&url(&database), bell),
        Pod::start(&url(&database), bell),
    );
    let (mut here, mut there) = (Clients::of(&here).await, Clients::of(&there).await);
    let token = here.make_tenant().await;
    // The other pod may still be starting; from here on it knows the tenant.
    until(async || there.try_check(&number(0), Some(token.clone())).await.ok()).await;
    for at in 0..10 {
        let token = here.ban(&number(at)).await;
        let acknowledged = Instant::now();
        loop {
            let asked = Instant::now();
            let answer = there.check(&number(at), None).await;
            if answer.decision() == Decision::Deny {
                break;
            }
            let late = asked.duration_since(acknowledged) > LEASE;
            assert!(
                !late || answer.basis() != DecisionBasis::Fresh,
                "C-4: FRESH without the ban"
            );
            assert!(acknowledged.elapsed() < PATIENCE, "the ban never got there");
        }
        let answer = there.check(&number(at), Some(token)).await;
        assert_eq!(answer.decision(), Decision::Deny);
    }
}

#[test]
fn a_ban_made_on_one_pod_holds_at_once_on_another_for_whoever_has_its_token() {
    run(async {
        let database = Database::fresh(Kind::Postgres);
        let (here, there) = (
            Pod::start(&url(&database), true),
            Pod::start(&url(&database), true),
        );
        let (mut here, mut there) = (Clients::of(&here).await, Clients::of(&there).await);
        let token = here.make_tenant().await;
        until(async || there.try_check(&number(0), Some(token.clone())).await.ok()).await;
        for at in 0..50 {
            let token = here.ban(&number(at)).await;
            let answer = there.check(&number(at), Some(token)).await;
            assert_eq!(answer.decision(), Decision::Deny, "ban {at}");
        }
    });
}

#[test]
fn a_ban_made_on_one_pod_holds_on_another_that_says_fresh_two_seconds_later() {
    run(meets_without_a_token(true));
}

#[test]
fn with_the_bell_silenced_a_ban_still_holds_on_the_other_pod_within_the_lease() {
    run(meets_without_a_token(false));
}

#[test]
fn c6_an_acknowledged_ban_survives_the_death_of_the_pod_that_made_it() {
    run(async {
        let database = Database::fresh(Kind::Postgres);
        let pod = Pod::start(&url(&database), true);
        let mut clients = Clients::of(&pod).await;
        clients.make_tenant().await;
        clients.ban(&number(1)).await;
        pod.kill();
        let again = Pod::start(&url(&database), true);
        let mut clients = Clients::of(&again).await;
        let answer = until(async || {
            let answer = clients.try_check(&number(1), None).await.ok()?;
            (answer.decision() == Decision::Deny).then_some(answer)
        });
        assert_eq!(answer.await.basis(), DecisionBasis::Fresh);
    });
}

#[test]
fn without_a_database_checks_go_on_from_memory_and_say_so_until_it_is_back() {
    run(async {
        let cluster = Cluster::make();
        // Absent at the start: the pod waits, and does not give up.
        let pod = Pod::start(&cluster.url(), true);
        let mut clients = Clients::of(&pod).await;
        let refusal = clients.try_ban(&number(1)).await.expect_err("no database");
        assert_eq!(refusal.code(), Code::Unavailable);
        cluster.start();
        clients.make_tenant().await;
        clients.ban(&number(1)).await;
        // Asked about once, the tenant is in memory.
        assert_eq!(
            clients.check(&number(1), None).await.decision(),
            Decision::Deny
        );

        cluster.stop(Stop::Immediate);
        let stale = until(async || {
            let answer = clients.check(&number(1), None).await;
            assert_eq!(answer.decision(), Decision::Deny, "memory does not forget");
            (answer.basis() == DecisionBasis::Stale).then_some(answer)
        })
        .await;
        assert!(stale.stale_for.is_some() && stale.reuse_until.is_none());
        let refusal = clients.try_ban(&number(2)).await.expect_err("no database");
        assert_eq!(refusal.code(), Code::Unavailable);

        cluster.start();
        until(async || {
            let answer = clients.check(&number(1), None).await;
            (answer.basis() == DecisionBasis::Fresh).then_some(())
        })
        .await;
        until(async || clients.try_ban(&number(2)).await.ok()).await;
        assert_eq!(
            clients.check(&number(2), None).await.decision(),
            Decision::Deny
        );
    });
}
