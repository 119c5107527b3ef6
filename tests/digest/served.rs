//! What a pod serves digests as what the database holds, and as what the other pods serve.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use bancheck::{
    api::v1::{Channel, CreateExceptionRequest, Exception},
    domain::{
        digest::{Digest, VERSION},
        ids::TenantId,
        keys::{MasterKey, TenantKey},
        record::BanRecord,
        view::TenantView,
    },
    server::Server,
    store::{self, LoadSink, LoadedTenant, Place},
};
use serde_json::Value;
use tokio::time::timeout;
use tonic::transport::Endpoint;

use crate::{
    database::{Database, Kind},
    requests::{NUMBER, add, after, phone, until},
    server::{Client, MASTER_KEY, TENANT, config, runtime},
    writes::Writer,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A pod in this process.
pub(crate) struct Pod {
    server: Option<Server>,
    pub(crate) metrics: SocketAddr,
}

impl Pod {
    pub(crate) fn start(place: &Place) -> Self {
        let mut server = Server::start(&config(place)).expect("a server");
        server.ready().expect("a server that is ready");
        Self {
            metrics: server.metrics,
            server: Some(server),
        }
    }

    pub(crate) fn client(&self) -> Client {
        let server = self.server.as_ref().expect("a server that runs");
        let connect = |address: SocketAddr| {
            let endpoint = Endpoint::from_shared(format!("http://{address}"));
            endpoint.expect("an address").connect_lazy()
        };
        Client {
            check_listener: connect(server.check),
            admin_listener: connect(server.admin),
        }
    }

    /// What plain HTTP answers.
    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.metrics).expect("a connection");
        let request = format!("GET {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        (status.expect("a status"), body.to_owned())
    }

    fn json(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.get(path);
        (status, serde_json::from_str(&body).expect("JSON"))
    }

    /// What the pod says of [`TENANT`], which is in its memory.
    fn resident(&self) -> Value {
        let (status, body) = self.json(&format!("/views?tenant={TENANT}"));
        assert_eq!(status, 200, "{body}");
        body[0].clone()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop(Duration::ZERO);
        }
    }
}

struct Load {
    key: TenantKey,
    view: Option<TenantView>,
}

impl LoadSink for Load {
    fn open(&mut self, loaded: LoadedTenant) {
        let view = TenantView::empty(loaded.head.revision, loaded.tenant, self.key.clone());
        let view = view.with_lists(loaded.lists);
        let view = view.with_queues(loaded.queues);
        self.view = Some(view.with_exceptions(&loaded.exceptions));
    }

    fn page(&mut self, bans: &[BanRecord]) {
        self.view
            .as_mut()
            .expect("a tenant before its bans")
            .file(bans);
    }
}

/// The view of [`TENANT`] that a pod started now would begin with.
async fn fresh(place: &Place) -> TenantView {
    let tenant = TenantId::parse(TENANT).expect("an id");
    let mut load = Load {
        key: MasterKey::new(&MASTER_KEY).tenant(&tenant),
        view: None,
    };
    let store = store::open(place).await.expect("a store");
    assert!(store.load(&tenant, &mut load).await.expect("a load"));
    load.view.expect("a view")
}

fn digest_of(resident: &Value) -> &str {
    resident["digest"].as_str().expect("a digest")
}

fn number(resident: &Value, field: &str) -> u64 {
    resident[field].as_u64().expect("a number")
}

async fn comes_true(mut ask: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !ask().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, asking).await.expect("it happens in time");
}

fn a_served_view_digests_as_a_fresh_load(kind: Kind) {
    let database = Database::fresh(kind);
    let pod = Pod::start(&database.place);
    runtime().block_on(async {
        let client = pod.client();
        client.make_tenant(TENANT).await;
        // Asked about once, the tenant is in memory; from here on it only follows the feed.
        assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
        let mut writer = Writer::new(7, &client).await;
        let mut seen = vec![Digest::default().to_string()];
        for turn in 0..150 {
            writer.write(&client).await;
            let resident = pod.resident();
            let fresh = fresh(&database.place).await;
            assert_eq!(
                digest_of(&resident),
                fresh.digest().to_string(),
                "after write {turn}"
            );
            assert_eq!(
                number(&resident, "keys"),
                fresh.len() as u64,
                "after write {turn}"
            );
            assert!(number(&resident, "view_revision") <= number(&resident, "revision"));
            seen.push(digest_of(&resident).to_owned());
        }
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 60, "only {} states were different", seen.len());
    });
}

#[test]
fn a_served_view_digests_as_a_fresh_load_on_sqlite() {
    a_served_view_digests_as_a_fresh_load(Kind::Sqlite);
}

#[test]
fn a_served_view_digests_as_a_fresh_load_on_postgres() {
    a_served_view_digests_as_a_fresh_load(Kind::Postgres);
}

fn a_ban_that_is_over_leaves_the_view_by_a_row_of_the_feed(kind: Kind) {
    let database = Database::fresh(kind);
    let pod = Pod::start(&database.place);
    runtime().block_on(async {
        let client = pod.client();
        client.make_tenant(TENANT).await;
        assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
        let empty = pod.resident();
        let soon = after(client.clock().await, 1);
        client.ban(until(soon, add(phone(NUMBER)))).await;
        let held = pod.resident();
        assert_eq!(number(&held, "keys"), 1);
        // Nobody asks and nobody writes.
        comes_true(async || number(&pod.resident(), "keys") == 0).await;
        let left = pod.resident();
        assert!(number(&left, "view_revision") > number(&held, "view_revision"));
        assert_eq!(digest_of(&left), digest_of(&empty));
        assert_eq!(
            fresh(&database.place).await.digest().to_string(),
            digest_of(&left)
        );
    });
}

#[test]
fn a_ban_that_is_over_leaves_the_view_by_a_row_of_the_feed_on_sqlite() {
    a_ban_that_is_over_leaves_the_view_by_a_row_of_the_feed(Kind::Sqlite);
}

#[test]
fn a_ban_that_is_over_leaves_the_view_by_a_row_of_the_feed_on_postgres() {
    a_ban_that_is_over_leaves_the_view_by_a_row_of_the_feed(Kind::Postgres);
}

fn an_exception_that_is_over_leaves_the_view_by_a_row_of_the_feed(kind: Kind) {
    let database = Database::fresh(kind);
    let pod = Pod::start(&database.place);
    runtime().block_on(async {
        let client = pod.client();
        client.make_tenant(TENANT).await;
        client.ban(add(phone(NUMBER))).await;
        assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
        let without = pod.resident();
        let request = CreateExceptionRequest {
            tenant: TENANT.to_owned(),
            exception: Some(Exception {
                target: Some(phone(NUMBER)),
                expire_time: Some(after(client.clock().await, 1)),
                ..Exception::default()
            }),
            ..CreateExceptionRequest::default()
        };
        let made = client.config().create_exception(request).await;
        made.expect("an exception");
        let held = pod.resident();
        assert_ne!(digest_of(&held), digest_of(&without));
        // Nobody asks and nobody writes.
        comes_true(async || digest_of(&pod.resident()) == digest_of(&without)).await;
        let left = pod.resident();
        assert!(number(&left, "view_revision") > number(&held, "view_revision"));
        assert_eq!(
            fresh(&database.place).await.digest().to_string(),
            digest_of(&left)
        );
    });
}

#[test]
fn an_exception_that_is_over_leaves_the_view_by_a_row_of_the_feed_on_sqlite() {
    an_exception_that_is_over_leaves_the_view_by_a_row_of_the_feed(Kind::Sqlite);
}

#[test]
fn an_exception_that_is_over_leaves_the_view_by_a_row_of_the_feed_on_postgres() {
    an_exception_that_is_over_leaves_the_view_by_a_row_of_the_feed(Kind::Postgres);
}

#[test]
fn two_pods_that_stand_at_one_revision_digest_alike_whoever_wrote() {
    let database = Database::fresh(Kind::Postgres);
    let pods = [
        Pod::start(&database.place),
        Pod::start(&database.silenced()),
    ];
    runtime().block_on(async {
        let clients = [pods[0].client(), pods[1].client()];
        clients[0].make_tenant(TENANT).await;
        for client in &clients {
            // The other pod may not have heard of the tenant yet.
            comes_true(async || {
                let question = crate::requests::connect(Channel::Call, phone(NUMBER));
                client.check().check_interaction(question).await.is_ok()
            })
            .await;
        }
        let mut writer = Writer::new(11, &clients[0]).await;
        for _ in 0..60 {
            let client = usize::try_from(writer.dice.below(2)).expect("one of two");
            writer.write(&clients[client]).await;
        }
        comes_true(async || {
            let [one, other] = [pods[0].resident(), pods[1].resident()];
            number(&one, "revision") == number(&other, "revision")
        })
        .await;
        let [one, other] = [pods[0].resident(), pods[1].resident()];
        assert_eq!(one["token"], other["token"]);
        assert_eq!(one["epoch"], other["epoch"]);
        assert_eq!(digest_of(&one), digest_of(&other));
        assert_eq!(
            digest_of(&one),
            fresh(&database.place).await.digest().to_string()
        );
    });
}

#[test]
fn the_views_are_told_by_tenant_and_without_a_word_about_anybody() {
    let database = Database::fresh(Kind::Sqlite);
    let pod = Pod::start(&database.place);
    runtime().block_on(async {
        let client = pod.client();
        client.make_tenant("globex").await;
        client.make_tenant(TENANT).await;
        client.turns_away(Channel::Call, phone(NUMBER)).await;
        client.ban(add(phone(NUMBER))).await;
        let (status, body) = pod.get("/views");
        assert_eq!(status, 200);
        for secret in [&NUMBER[1..], "threatened", "601123456"] {
            assert!(!body.contains(secret), "{body}");
        }
        let all: Value = serde_json::from_str(&body).expect("JSON");
        let names: Vec<_> = all
            .as_array()
            .expect("an array")
            .iter()
            .map(|v| &v["tenant"])
            .collect();
        assert!(names.is_sorted_by_key(|name| name.as_str()));
        let acme = pod.resident();
        assert!(all.as_array().expect("an array").contains(&acme));
        let fields: Vec<_> = acme.as_object().expect("an object").keys().collect();
        let known = [
            "behind",
            "bytes",
            "digest",
            "epoch",
            "keys",
            "revision",
            "tenant",
            "token",
            "view_revision",
        ];
        assert_eq!(fields, known);
        assert_eq!(number(&acme, "keys"), 1);
        assert!(
            digest_of(&acme).starts_with(&format!("v{VERSION}:")) && digest_of(&acme).len() == 35
        );

        // Made after the pod was warm and never asked about, it is not in memory.
        client.make_tenant("initech").await;
        let (status, body) = pod.json("/views?tenant=initech");
        assert_eq!(status, 404);
        assert!(
            body["error"]
                .as_str()
                .is_some_and(|error| error.contains("not in memory"))
        );
        for nobody in ["nobody", "", "%2B420601123456"] {
            let (status, body) = pod.json(&format!("/views?tenant={nobody}"));
            assert_eq!(status, 404);
            assert!(
                body["error"]
                    .as_str()
                    .is_some_and(|error| error.contains("no tenant"))
            );
        }
    });
}
