//! A server that asks for credentials, and the keys that tests show it.

use std::process::Command;

use bancheck::{
    api::v1::{
        CreateApiKeyRequest, Grant, ListGrantsRequest, access_service_client::AccessServiceClient,
        grant::Scope,
    },
    config::Config,
    store::Place,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use tonic::{Request, transport::Channel};

use crate::{
    database::{Database, Kind},
    server::{Client, MASTER_KEY, Server, TENANT, config, runtime},
};

/// A client of a server that asks for credentials.
#[derive(Clone)]
pub(crate) struct Guarded {
    pub(crate) client: Client,
    /// A key to everything.
    pub(crate) root: String,
}

/// A request with a credential.
pub(crate) fn shown<T>(credential: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !credential.is_empty() {
        let value = format!("Bearer {credential}").parse().expect("a header");
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// A grant of one scope on [`TENANT`].
pub(crate) fn on_tenant(scope: Scope) -> Grant {
    Grant {
        tenant: TENANT.to_owned(),
        scopes: vec![scope as i32],
        ..Grant::default()
    }
}

/// What the settings of a test are, but that callers show who they are.
pub(crate) fn asking(place: &Place) -> Config {
    Config {
        auth: true,
        ..config(place)
    }
}

impl Server {
    /// The first key, made as an administrator makes it: by the command, on the server's machine.
    pub(crate) fn first_key(&self, place: &Place) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bancheck"));
        command
            .args(["key", "add", "--output", "csv", "--admin-endpoint"])
            .arg(format!("http://{}", self.admin_address()))
            .env("BANCHECK_MASTER_KEY", BASE64_STANDARD.encode(MASTER_KEY));
        match place {
            Place::Sqlite(folder) => command.env("BANCHECK_DATA_DIR", folder),
            Place::Postgres { url, .. } => command.env("BANCHECK_DATABASE_URL", url),
        };
        let made = command.output().expect("the command runs");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{said}");
        let told = String::from_utf8(made.stdout).expect("text");
        told.lines().nth(1).expect("the key").to_owned()
    }
}

/// Runs a test against a server that asks for credentials, where [`TENANT`] has been made.
pub(crate) fn run(kind: Kind, test: impl AsyncFnOnce(Guarded)) {
    let database = Database::fresh(kind);
    let server = Server::start(&asking(&database.place)).expect("a server");
    let root = server.first_key(&database.place);
    runtime().block_on(async {
        let client = server.client();
        let guarded = Guarded { client, root };
        guarded.heard_of(&guarded.root).await;
        guarded.make_tenant(TENANT).await;
        test(guarded).await;
    });
}

impl Guarded {
    pub(crate) fn access(&self) -> AccessServiceClient<Channel> {
        AccessServiceClient::new(self.client.admin_listener.clone())
    }

    /// Waits until the pod has heard of a key that was made straight in its database.
    pub(crate) async fn heard_of(&self, key: &str) {
        let ask = async || {
            self.access()
                .list_grants(shown(key, ListGrantsRequest::default()))
                .await
        };
        while ask().await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn make_tenant(&self, tenant: &str) {
        let request = bancheck::api::v1::CreateTenantRequest {
            tenant: tenant.to_owned(),
            ..Default::default()
        };
        let made = self
            .client
            .config()
            .create_tenant(shown(&self.root, request))
            .await;
        made.expect("a tenant");
    }

    /// A key of a principal that may do this.
    pub(crate) async fn key(&self, principal: &str, grants: Vec<Grant>) -> String {
        let request = CreateApiKeyRequest {
            principal: principal.to_owned(),
            grants,
            ..CreateApiKeyRequest::default()
        };
        let made = self
            .access()
            .create_api_key(shown(&self.root, request))
            .await;
        made.expect("a key").into_inner().secret
    }
}
