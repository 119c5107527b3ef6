//! Traces, as a collector receives them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bancheck::{
    api::v1::{
        BatchCheckInteractionsRequest, Channel::Call, CheckInteractionRequest,
        CheckInteractionResponse,
    },
    config::{Config, TraceSettings},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::{
    database::{Database, Kind},
    requests::{NUMBER, add, connect, phone},
    server::{Client, Server, TENANT, config, runtime},
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

type Received = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

/// A collector that keeps what it receives.
pub(crate) struct Collector {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    received: Received,
    _serves: Runtime,
}

struct Keeps(Received);

#[tonic::async_trait]
impl TraceService for Keeps {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub(crate) fn start() -> Self {
        let serves = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listens = tokio::net::TcpListener::bind("127.0.0.1:0");
        let listener = serves.block_on(listens).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let received = Received::default();
        let service = TraceServiceServer::new(Keeps(Arc::clone(&received)));
        let serving = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        serves.spawn(serving);
        Self {
            address,
            received,
            _serves: serves,
        }
    }

    /// All that it received.
    pub(crate) fn text(&self) -> String {
        format!("{:?}", self.received.lock().unwrap())
    }

    /// The spans of all that is done with a server that sends them here, until it has ended.
    fn spans_of(&self, share: f64, work: impl AsyncFnOnce(Client)) -> Vec<Span> {
        let database = Database::fresh(Kind::Sqlite);
        let config = Config {
            traces: Some(TraceSettings {
                endpoint: format!("http://{}", self.address),
                share,
            }),
            ..config(&database.place)
        };
        let server = Server::start(&config).expect("a server");
        runtime().block_on(async {
            let client = server.client();
            client.make_tenant(TENANT).await;
            work(client).await;
        });
        drop(server);
        let received = self.received.lock().unwrap();
        let resources = received.iter().flat_map(|one| &one.resource_spans);
        let scopes = resources.flat_map(|one| &one.scope_spans);
        scopes.flat_map(|one| one.spans.clone()).collect()
    }
}

fn followed<T>(message: T, flags: &str) -> Request<T> {
    let mut request = Request::new(message);
    let parent = format!("00-{TRACE}-{PARENT}-{flags}");
    let parent = parent.parse().expect("ASCII");
    request.metadata_mut().insert("traceparent", parent);
    request
}

fn question() -> CheckInteractionRequest {
    connect(Call, phone(NUMBER))
}

async fn check(client: &Client, flags: &str) -> CheckInteractionResponse {
    let mut checks = client.check();
    let asked = checks.check_interaction(followed(question(), flags));
    asked.await.expect("an answer").into_inner()
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn checks(spans: &[Span]) -> Vec<&Span> {
    named(spans, "bancheck.v1.CheckService/CheckInteraction")
}

fn attribute(span: &Span, name: &str) -> String {
    let found = span
        .attributes
        .iter()
        .find(|one: &&KeyValue| one.key == name);
    let value = found.and_then(|one| one.value.clone()?.value);
    match value.unwrap_or_else(|| panic!("{name} in {span:?}")) {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    }
}

fn hex(id: &[u8]) -> String {
    id.iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[test]
fn a_check_is_followed_from_its_callers_span_to_the_decision() {
    let mut answer = None;
    let collector = Collector::start();
    let spans = collector.spans_of(0.0, async |client| {
        client.ban(add(phone(NUMBER))).await;
        answer = Some(check(&client, "01").await);
    });
    let [span] = checks(&spans)[..] else {
        panic!("one span: {spans:?}")
    };
    assert_eq!(
        (&*hex(&span.trace_id), &*hex(&span.parent_span_id)),
        (TRACE, PARENT)
    );
    assert_eq!(span.kind, SpanKind::Server as i32);
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    let answer = answer.expect("an answer");
    for (name, value) in [
        ("bancheck.decision", "deny"),
        ("bancheck.basis", "fresh"),
        ("bancheck.channel", "CALL"),
        ("bancheck.decision_id", &*answer.decision_id),
        ("rpc.grpc.status_code", "0"),
    ] {
        assert_eq!(attribute(span, name), value);
    }
}

#[test]
fn a_checks_caller_decides_whether_it_is_followed_else_a_share_does() {
    let followed = |share, flags: &'static [&str]| {
        let spans = Collector::start().spans_of(share, async |client| {
            for flags in flags {
                check(&client, flags).await;
            }
        });
        checks(&spans).len()
    };
    assert_eq!(followed(1.0, &["00", "00"]), 0);
    assert_eq!(followed(0.0, &["01", "00", "01"]), 2);
    // What cannot be read says nothing.
    assert_eq!(followed(1.0, &["zz", "01"]), 2);
    assert_eq!(followed(0.0, &["zz"]), 0);
}

#[test]
fn a_write_is_always_followed_with_its_parts_and_tells_of_nobody() {
    let collector = Collector::start();
    let spans = collector.spans_of(0.0, async |client| {
        client.ban(add(phone(NUMBER))).await;
        let again = client.admin().create_ban(add(phone(NUMBER))).await;
        again.expect_err("it stands already");
        let batch = BatchCheckInteractionsRequest {
            requests: vec![question(); 3],
            ..Default::default()
        };
        let mut checks = client.check();
        let judged = checks.batch_check_interactions(followed(batch, "01"));
        judged.await.expect("answers");
    });
    let [first, second] = named(&spans, "bancheck.v1.AdminService/CreateBan")[..] else {
        panic!("two writes: {spans:?}")
    };
    assert_eq!(attribute(first, "rpc.grpc.status_code"), "0");
    assert_eq!(attribute(second, "rpc.grpc.status_code"), "6");
    let parts = |of: &Span| {
        let parts = spans
            .iter()
            .filter(|span| span.parent_span_id == of.span_id);
        parts.map(|span| span.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(parts(first), ["prepare", "commit", "hear of it"]);
    assert_eq!(parts(second), ["prepare"]);
    let [batch] = named(&spans, "bancheck.v1.CheckService/BatchCheckInteractions")[..] else {
        panic!("one batch: {spans:?}")
    };
    assert_eq!(attribute(batch, "bancheck.questions"), "3");
    let all = collector.text();
    let question = question();
    for secret in [&*question.identities[0].value, "601123456", TENANT] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[test]
fn a_collector_that_is_away_costs_no_answer_and_no_end() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = nobody.local_addr().expect("an address");
    drop(nobody);
    let collector = Collector {
        address,
        ..Collector::start()
    };
    let begun = tokio::time::Instant::now();
    let spans = collector.spans_of(1.0, async |client| {
        check(&client, "01").await;
    });
    assert!(spans.is_empty());
    assert!(begun.elapsed() < Duration::from_secs(15));
}
