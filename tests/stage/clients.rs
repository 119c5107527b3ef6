//! The clients of a pod, and waiting for something without a pause.

use std::time::Duration;

use bancheck::api::v1::{
    self, CheckInteractionResponse, admin_service_client::AdminServiceClient,
    check_service_client::CheckServiceClient, config_service_client::ConfigServiceClient,
    consistency::Requirement,
};
use tokio::time::timeout;
use tonic::{Status, transport::Channel};

use crate::process::Pod;

/// The tenant of these tests.
pub(crate) const TENANT: &str = "acme";
/// Within this anything that is awaited here has happened, on however slow a machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The clients of one pod.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) check: CheckServiceClient<Channel>,
    pub(crate) admin: AdminServiceClient<Channel>,
    pub(crate) config: ConfigServiceClient<Channel>,
}

impl Clients {
    pub(crate) async fn of(pod: &Pod) -> Self {
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
    pub(crate) async fn make_tenant(&mut self) -> String {
        let made = until(async || {
            let request = v1::CreateTenantRequest {
                tenant: TENANT.into(),
                ..Default::default()
            };
            self.config.create_tenant(request).await.ok()
        });
        made.await.into_inner().written_at.expect("a token").token
    }

    pub(crate) async fn try_ban(&mut self, number: &str) -> Result<v1::CreateBanResponse, Status> {
        self.try_ban_as(number, "").await
    }

    /// The same, under a request id.
    pub(crate) async fn try_ban_as(
        &mut self,
        number: &str,
        request_id: &str,
    ) -> Result<v1::CreateBanResponse, Status> {
        let target = v1::Identity {
            value: number.into(),
            ..v1::Identity::default()
        };
        let request = v1::CreateBanRequest {
            tenant: TENANT.into(),
            request_id: request_id.into(),
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
    pub(crate) async fn ban(&mut self, number: &str) -> String {
        let made = self.try_ban(number).await.expect("a ban");
        made.written_at.expect("a token").token
    }

    pub(crate) async fn check(
        &mut self,
        number: &str,
        token: Option<String>,
    ) -> CheckInteractionResponse {
        self.try_check(number, token).await.expect("an answer")
    }

    pub(crate) async fn try_check(
        &mut self,
        number: &str,
        token: Option<String>,
    ) -> Result<CheckInteractionResponse, Status> {
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
pub(crate) async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
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

/// A telephone number.
pub(crate) fn number(at: usize) -> String {
    format!("+4206011{at:05}")
}

/// Runs a test.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(test);
}
