//! A server in this process, on free ports, and a client that comes in by the front door.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bancheck::{
    api::v1::{
        Ban, BanList, CheckInteractionRequest, CheckInteractionResponse, CreateBanListRequest,
        CreateBanRequest, CreateBanResponse, CreateTenantRequest, DeactivateBanRequest,
        DeactivateBanResponse, TenantSettings, admin_service_client::AdminServiceClient,
        check_service_client::CheckServiceClient, config_service_client::ConfigServiceClient,
        diagnostic_service_client::DiagnosticServiceClient,
    },
    auth::Limits,
    config::Config,
    feed::{Machine, ThisMachine},
    store::Place,
    telemetry::LogFormat,
};
use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::health_client::HealthClient;

use crate::database::{Database, Kind};

/// The tenant that every test finds; its national numbers are Czech.
pub(crate) const TENANT: &str = "acme";
/// The key of every server of the tests.
pub(crate) const MASTER_KEY: [u8; 32] = [42; 32];

/// What a server of the tests runs on.
pub(crate) fn config(place: &Place) -> Config {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        check_listen: any_port,
        admin_listen: any_port,
        metrics_listen: any_port,
        place: place.clone(),
        master_key: Some(MASTER_KEY),
        other_master_keys: Vec::new(),
        check_threads: 1,
        view_bytes: 64 << 20,
        auth: false,
        jwt: None,
        tls: None,
        traces: None,
        limits: Limits::default(),
        connection_age: None,
        drain_delay: Duration::ZERO,
        unknown_variables: Vec::new(),
        log: "off".to_owned(),
        log_format: LogFormat::Pretty,
    }
}

/// A server that is ready; it is stopped when this is dropped, which must not be in a runtime.
pub(crate) struct Server(Option<bancheck::server::Server>);

impl Server {
    /// Starts one and waits until it is ready.
    pub(crate) fn start(config: &Config) -> anyhow::Result<Self> {
        Self::start_on(config, Arc::new(ThisMachine))
    }

    /// The same, timed by the clocks of some machine.
    pub(crate) fn start_on(config: &Config, machine: Arc<dyn Machine>) -> anyhow::Result<Self> {
        let server = bancheck::server::Server::start_on(config, machine)?;
        let mut server = Self(Some(server));
        server.0.as_mut().expect("a server just started").ready()?;
        Ok(server)
    }

    /// Where everything but checks is.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.0.as_ref().expect("a server that runs").admin
    }

    /// Where checks are answered.
    pub(crate) fn check_address(&self) -> SocketAddr {
        self.0.as_ref().expect("a server that runs").check
    }

    /// A client of both listeners, to be used in the runtime that this is called in.
    pub(crate) fn client(&self) -> Client {
        let server = self.0.as_ref().expect("a server that runs");
        let connect = |address: SocketAddr| {
            Endpoint::from_shared(format!("http://{address}"))
                .expect("an address")
                .connect_lazy()
        };
        Client {
            check_listener: connect(server.check),
            admin_listener: connect(server.admin),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(server) = self.0.take() {
            server.stop(Duration::ZERO);
        }
    }
}

/// The runtime of a test: its clients live in it, and it ends before the server does.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Runs a test against a server on a database of its own, where [`TENANT`] has been made.
pub(crate) fn run(kind: Kind, test: impl AsyncFnOnce(Client)) {
    let database = Database::fresh(kind);
    let server = Server::start(&config(&database.place)).expect("a server");
    runtime().block_on(async {
        let client = server.client();
        client.make_tenant(TENANT).await;
        test(client).await;
    });
}

/// A client of a server.
#[derive(Clone)]
pub(crate) struct Client {
    /// Where checks are answered.
    pub(crate) check_listener: Channel,
    /// Where everything else is.
    pub(crate) admin_listener: Channel,
}

impl Client {
    pub(crate) fn check(&self) -> CheckServiceClient<Channel> {
        CheckServiceClient::new(self.check_listener.clone())
    }

    pub(crate) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.admin_listener.clone())
    }

    pub(crate) fn config(&self) -> ConfigServiceClient<Channel> {
        ConfigServiceClient::new(self.admin_listener.clone())
    }

    pub(crate) fn diagnostics(&self) -> DiagnosticServiceClient<Channel> {
        DiagnosticServiceClient::new(self.admin_listener.clone())
    }

    /// The health of both listeners: that of checks, then the other.
    pub(crate) fn health(&self) -> [HealthClient<Channel>; 2] {
        [&self.check_listener, &self.admin_listener].map(|one| HealthClient::new(one.clone()))
    }

    /// Makes a tenant whose national numbers are Czech.
    pub(crate) async fn make_tenant(&self, tenant: &str) {
        let settings = TenantSettings {
            default_region: "CZ".to_owned(),
            ..Default::default()
        };
        let request = CreateTenantRequest {
            tenant: tenant.to_owned(),
            settings: Some(settings),
            ..Default::default()
        };
        self.config()
            .create_tenant(request)
            .await
            .expect("a tenant");
    }

    /// Makes a list in [`TENANT`].
    pub(crate) async fn make_list(&self, list: BanList) -> BanList {
        let request = CreateBanListRequest {
            tenant: TENANT.to_owned(),
            ban_list: Some(list),
            ..Default::default()
        };
        let made = self
            .config()
            .create_ban_list(request)
            .await
            .expect("a list")
            .into_inner();
        made.ban_list.expect("the list made")
    }

    /// Bans somebody.
    pub(crate) async fn ban(&self, request: CreateBanRequest) -> Ban {
        self.ban_fully(request).await.ban.expect("the ban made")
    }

    /// Bans somebody, and tells all that was answered.
    pub(crate) async fn ban_fully(&self, request: CreateBanRequest) -> CreateBanResponse {
        self.admin()
            .create_ban(request)
            .await
            .expect("a ban")
            .into_inner()
    }

    /// Lifts a ban of [`TENANT`].
    pub(crate) async fn lift(&self, ban: &Ban) -> DeactivateBanResponse {
        let request = DeactivateBanRequest {
            tenant: TENANT.to_owned(),
            ban_id: ban.ban_id.clone(),
            reason: "lifted in a test".to_owned(),
            ..Default::default()
        };
        self.admin()
            .deactivate_ban(request)
            .await
            .expect("a lifted ban")
            .into_inner()
    }

    /// Asks whether somebody is banned.
    pub(crate) async fn ask(&self, question: CheckInteractionRequest) -> CheckInteractionResponse {
        self.check()
            .check_interaction(question)
            .await
            .expect("an answer")
            .into_inner()
    }
}
