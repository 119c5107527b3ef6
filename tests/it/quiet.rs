//! What nobody must read: every RPC is sent messages full of a mark, and everything that the process
//! wrote and answered is searched for it.

use std::time::Duration;

use bancheck::api::DESCRIPTORS;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, Value};
use tokio::time::timeout;
use tonic::{Request, Status, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};

use crate::{guarded::shown, process::Process, server::runtime, traces::Collector, walk::Bytes};

/// A number, a mail address and a name at once, as far as reading goes; and nothing else says it.
const MARKS: [&str; 4] = [
    "+420601987654",
    "marked.person@secret-marked.example",
    "198.51.100.237",
    "marked-by-the-test-7f3a",
];
/// What of them a log would hold in whatever form.
const TRACES: [&str; 4] = [
    "601987654",
    "marked.person",
    "198.51.100.237",
    "marked-by-the-test",
];

/// A message that says the mark wherever it can, but for the tenant.
fn marked(of: &MessageDescriptor, mark: &str, depth: u8) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    for field in of.fields() {
        let one = match field.kind() {
            Kind::String if field.name() == "tenant" => Value::String("default".to_owned()),
            Kind::String => Value::String(mark.to_owned()),
            Kind::Message(inner) if depth > 0 => Value::Message(marked(&inner, mark, depth - 1)),
            Kind::Enum(_) => Value::EnumNumber(3),
            _ => continue,
        };
        if field.is_map() || (field.name() == "validate_only") {
            continue;
        }
        let value = if field.is_list() {
            Value::List(vec![one])
        } else {
            one
        };
        message.set_field(&field, value);
    }
    message
}

/// Everything that an RPC answers with, as text.
async fn answered(
    listener: Channel,
    path: PathAndQuery,
    message: Vec<u8>,
    key: &str,
) -> Result<(), Status> {
    let mut grpc = Grpc::new(listener);
    grpc.ready().await.expect("a connection");
    let request: Request<_> = shown(key, tokio_stream::once(message));
    let mut answers = grpc.streaming(request, path, Bytes).await?.into_inner();
    while answers.message().await?.is_some() {}
    Ok(())
}

#[test]
fn no_identity_and_no_credential_is_written_or_told_in_an_error() {
    let pool = DescriptorPool::decode(DESCRIPTORS).expect("the contract");
    for auth in ["off", "on"] {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = runtime();
        // Its clients begin here already.
        let entered = runtime.enter();
        let collector = Collector::start();
        let settings = [
            "log=debug",
            &format!("auth={auth}"),
            &format!("otlp_endpoint=http://{}", collector.address),
            "trace_checks=1",
        ];
        let mut process = Process::start(folder.path(), &settings);
        let [check, admin] = process.channels();
        let token = folder.path().join("data/admin.token");
        let root = std::fs::read_to_string(token).expect("the folder's key");
        let root = root.trim();
        let mut refused = 0;
        drop(entered);
        runtime.block_on(async {
            for service in pool.services() {
                for method in service.methods() {
                    let full = service.full_name();
                    let listener = if full.ends_with(".CheckService") {
                        &check
                    } else {
                        &admin
                    };
                    for mark in MARKS {
                        for key in [root, "", mark, &format!("bk_{mark}")] {
                            let path = format!("/{full}/{}", method.name());
                            let path = PathAndQuery::try_from(path).expect("a path");
                            let message = marked(&method.input(), mark, 4).encode_to_vec();
                            let asked = answered(listener.clone(), path, message, key);
                            // What follows changes would do so for ever.
                            let ended = timeout(Duration::from_secs(2), asked).await;
                            let Ok(Err(status)) = ended else { continue };
                            refused += 1;
                            let details = String::from_utf8_lossy(status.details()).into_owned();
                            let told = format!("{} {details}", status.message());
                            for trace in TRACES.iter().chain([&root]) {
                                assert!(!told.contains(trace), "{}: {told}", method.name());
                            }
                        }
                    }
                }
            }
        });
        assert!(refused > 100, "{refused}");
        // The last spans are sent at its end.
        process.terminate();
        process.ended();
        let log = std::fs::read_to_string(folder.path().join("log")).expect("the log");
        assert!(log.lines().count() > 3, "it is a log: {log}");
        let secret = root.rsplit('_').next().expect("a secret");
        for trace in TRACES.iter().chain([&secret]) {
            let line = log.lines().find(|line| line.contains(trace));
            assert!(line.is_none(), "with authentication {auth}: {line:?}");
            let spans = collector.text();
            assert!(
                spans.contains("AdminService/CreateBan") && !spans.contains(trace),
                "with authentication {auth}: {trace} in {spans}"
            );
        }
    }
}
