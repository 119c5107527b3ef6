//! Traces, as a collector receives them.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use bancheck::{
    api::v1::{
        BatchCheckInteractionsRequest, Channel::Call, CheckInteractionRequest,
        CheckInteractionResponse, CreateBanRequest, admin_service_client::AdminServiceClient,
        check_service_client::CheckServiceClient,
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
use tonic::{
    Request, Response, Status,
    transport::{Identity, ServerTlsConfig},
};

use crate::{
    database::{Database, Kind},
    process::Process,
    requests::{NUMBER, add, connect, phone},
    server::{Client, Server, TENANT, config, runtime},
    tls::{Authority, Papers},
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

type Received = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

/// A collector that keeps what it receives.
pub(crate) struct Collector {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where it is found, and the file of the roots that its certificate is verified by.
    endpoint: String,
    ca: Option<PathBuf>,
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
        let plain = tonic::transport::Server::builder();
        let collector = Self::serve(plain);
        Self {
            endpoint: format!("http://{}", collector.address),
            ..collector
        }
    }

    /// One that speaks TLS, with papers of an authority, to who knows the roots of a file.
    fn secured(authority: &Authority, ca: PathBuf) -> Self {
        let Papers { cert, key } = authority.server();
        let papers = ServerTlsConfig::new().identity(Identity::from_pem(cert, key));
        let secured = tonic::transport::Server::builder().tls_config(papers);
        let collector = Self::serve(secured.expect("papers"));
        Self {
            endpoint: format!("https://localhost:{}", collector.address.port()),
            ca: Some(ca),
            ..collector
        }
    }

    fn serve(mut built: tonic::transport::Server) -> Self {
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
        let serving = built
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        serves.spawn(serving);
        Self {
            address,
            endpoint: String::new(),
            ca: None,
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
                endpoint: self.endpoint.clone(),
                ca: self.ca.clone(),
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
fn times_are_told_with_the_traces_they_were_of_to_scrapers_that_know_of_traces() {
    let collector = Collector::start();
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(
        folder.path(),
        &[
            &format!("otlp_endpoint={}", collector.endpoint),
            "trace_checks=0",
        ],
    );
    let scraped = |accept| {
        let page = process.page("/metrics", accept);
        let traced = page.lines().filter(|line| line.contains(TRACE));
        let traced = traced.map(ToOwned::to_owned).collect::<Vec<_>>();
        (page, traced)
    };
    let modern = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    runtime().block_on(async {
        let [checks, admin] = process.channels();
        let question = |flags| {
            let question = CheckInteractionRequest {
                tenant: "default".to_owned(),
                ..question()
            };
            followed(question, flags)
        };
        let mut checks = CheckServiceClient::new(checks);
        // The first of 64 is timed.
        for flags in ["00"; 64] {
            let asked = checks.check_interaction(question(flags));
            asked.await.expect("an answer");
        }
        assert_eq!(scraped(modern).1, <[&str; 0]>::default());
        let asked = checks.check_interaction(question("01"));
        asked.await.expect("an answer");
        let ban = CreateBanRequest {
            tenant: "default".to_owned(),
            ..add(phone(NUMBER))
        };
        let mut desk = AdminServiceClient::new(admin);
        desk.create_ban(followed(ban, "01")).await.expect("a ban");
    });
    let (page, traced) = scraped(modern);
    assert!(page.contains("\r\ncontent-type: application/openmetrics-text; version=1.0.0"));
    assert!(page.ends_with("# EOF\n"), "{page}");
    let [check, write] = &traced[..] else {
        panic!("two lines: {traced:?}")
    };
    assert!(check.starts_with("bancheck_check_duration_seconds_bucket{le="));
    assert!(write.starts_with("bancheck_write_duration_seconds_bucket{le="));
    let mark = format!(" # {{trace_id=\"{TRACE}\"}} ");
    assert!(traced.iter().all(|line| line.contains(&mark)), "{traced:?}");
    let (page, traced) = scraped("text/plain");
    assert_eq!(traced, <[&str; 0]>::default());
    assert!(page.contains("\r\ncontent-type: text/plain; version=0.0.4"));
    assert!(
        page.contains("bancheck_check_duration_seconds_count 2\n"),
        "{page}"
    );
}

#[test]
fn a_collector_of_a_private_authority_is_sent_spans_by_who_knows_that_authority_and_by_nobody_else()
{
    let folder = tempfile::tempdir().expect("a folder");
    let [ours, another] = [Authority::new(), Authority::new()];
    let spans = |known: &Authority| {
        let file = folder.path().join("roots.pem");
        std::fs::write(&file, &known.pem).expect("a file");
        let collector = Collector::secured(&ours, file);
        collector.spans_of(0.0, async |client| {
            check(&client, "01").await;
        })
    };
    assert_eq!(checks(&spans(&ours)).len(), 1);
    assert_eq!(spans(&another), []);
}

#[test]
fn roots_of_a_collector_that_are_not_there_or_none_stop_a_server_at_its_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("roots.pem");
    let database = Database::fresh(Kind::Sqlite);
    let started = || {
        let traces = Some(TraceSettings {
            endpoint: "https://localhost:4317".to_owned(),
            ca: Some(file.clone()),
            share: 0.0,
        });
        Server::start(&Config {
            traces,
            ..config(&database.place)
        })
    };
    for content in [None, Some("no certificate")] {
        if let Some(content) = content {
            std::fs::write(&file, content).expect("a file");
        }
        let Err(error) = started() else {
            panic!("this server should not have started")
        };
        assert!(format!("{error:#}").contains("otlp_ca"), "{error:#}");
    }
    std::fs::write(&file, Authority::new().pem).expect("a file");
    assert!(started().is_ok());
}

#[test]
fn a_collector_that_is_away_costs_no_answer_and_no_end() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = nobody.local_addr().expect("an address");
    drop(nobody);
    let collector = Collector {
        endpoint: format!("http://{address}"),
        ..Collector::start()
    };
    let begun = tokio::time::Instant::now();
    let spans = collector.spans_of(1.0, async |client| {
        check(&client, "01").await;
    });
    assert!(spans.is_empty());
    assert!(begun.elapsed() < Duration::from_secs(15));
}
