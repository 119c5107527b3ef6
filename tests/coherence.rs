//! Several pods on one Postgres: what one does, the others do, whatever dies.

#[path = "stage/cluster.rs"]
#[expect(dead_code, reason = "the rest is for suites that torture a cluster")]
mod cluster;
#[path = "stage/database.rs"]
#[expect(
    dead_code,
    reason = "the rest is for suites that open a store themselves"
)]
mod database;
#[path = "stage/process.rs"]
#[expect(dead_code, reason = "the rest is for suites that torture pods")]
mod process;

use std::time::Duration;

use bancheck::{
    api::v1::{
        self, CheckInteractionResponse, Decision, DecisionBasis,
        admin_service_client::AdminServiceClient, check_service_client::CheckServiceClient,
        config_service_client::ConfigServiceClient, consistency::Requirement,
    },
    store::Place,
};
use cluster::{Cluster, Stop};
use database::{Database, Kind};
use process::Pod;
use tokio::time::{Instant, timeout};
use tonic::{Code, transport::Channel};

const TENANT: &str = "acme";
/// Within this an acknowledged ban holds on every pod that says FRESH.
const LEASE: Duration = Duration::from_secs(2);
/// Within this anything that is awaited here has happened, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The clients of one pod.
struct Clients {
    check: CheckServiceClient<Channel>,
    admin: AdminServiceClient<Channel>,
    config: ConfigServiceClient<Channel>,
}

impl Clients {
    async fn of(pod: &Pod) -> Self {
        let connect = async |address: &str| {
            let endpoint = Channel::from_shared(address.to_owned()).expect("an address");
            endpoint.connect().await.expect("a connection")
        };
        let (check, admin) = (connect(&pod.check).await, connect(&pod.admin).await);
        Self {
            check: CheckServiceClient::new(check),
            admin: AdminServiceClient::new(admin.clone()),
            config: ConfigServiceClient::new(admin),
        }
    }

    /// Makes the tenant, once the pod has a database, and returns the token of the write.
    async fn make_tenant(&mut self) -> String {
        let made = until(async || {
            let request = v1::CreateTenantRequest {
                tenant: TENANT.into(),
                ..Default::default()
            };
            self.config.create_tenant(request).await.ok()
        });
        made.await.into_inner().written_at.expect("a token").token
    }

    async fn try_ban(&mut self, number: &str) -> Result<v1::CreateBanResponse, tonic::Status> {
        let target = v1::Identity {
            value: number.into(),
            ..v1::Identity::default()
        };
        let request = v1::CreateBanRequest {
            tenant: TENANT.into(),
            channels: vec![v1::Channel::Call as i32],
            targets: vec![target],
            reason: "abuse".into(),
            ..v1::CreateBanRequest::default()
        };
        self.admin
            .create_ban(request)
            .await
            .map(tonic::Response::into_inner)
    }

    /// Bans a number, and returns the token of the write.
    async fn ban(&mut self, number: &str) -> String {
        let made = self.try_ban(number).await.expect("a ban");
        made.written_at.expect("a token").token
    }

    async fn check(&mut self, number: &str, token: Option<String>) -> CheckInteractionResponse {
        self.try_check(number, token).await.expect("an answer")
    }

    async fn try_check(
        &mut self,
        number: &str,
        token: Option<String>,
    ) -> Result<CheckInteractionResponse, tonic::Status> {
        let consistency = token.map(|token| v1::Consistency {
            requirement: Some(Requirement::AtLeastAsFresh(v1::ConsistencyToken { token })),
        });
        let request = v1::CheckInteractionRequest {
            tenant: TENANT.into(),
            channel: v1::Channel::Call as i32,
            identities: vec![v1::Identity {
                value: number.into(),
                ..v1::Identity::default()
            }],
            consistency,
            ..v1::CheckInteractionRequest::default()
        };
        self.check
            .check_interaction(request)
            .await
            .map(tonic::Response::into_inner)
    }
}

/// Asks again and again until there is an answer.
async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, asking).await.expect("it happens in time")
}

fn number(at: usize) -> String {
    format!("+4206011{at:05}")
}

fn url(database: &Database) -> String {
    match &database.place {
        Place::Postgres { url, .. } => url.clone(),
        Place::Sqlite(_) => unreachable!("these tests are about Postgres"),
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(test);
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
