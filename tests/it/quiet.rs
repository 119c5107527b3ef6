//! What nobody must read: every RPC is sent messages full of a mark, and everything that the process
//! wrote and answered is searched for it.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use bancheck::api::DESCRIPTORS;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, Value};
use tokio::time::timeout;
use tonic::{
    Request, Status, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel,
    transport::Endpoint,
};

use crate::{guarded::shown, server::runtime, walk::Bytes};

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

/// The binary, on a store of its own; killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn start(folder: &Path, auth: &str) -> (Self, [Channel; 2]) {
        let log = folder.join("log");
        let child = Command::new(env!("CARGO_BIN_EXE_bancheck"))
            .args(["serve", "--set", "log=debug", "--set", "log_format=json"])
            .args(["--set", &format!("auth={auth}")])
            .args([
                "--check-listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
            ])
            .args(["--metrics-listen", "127.0.0.1:0", "--database-url", ""])
            .arg("--data-dir")
            .arg(folder.join("data"))
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("the server starts");
        let process = Self(child);
        let listening = loop {
            let told = lines(folder);
            let ready = told.iter().any(|line| said(line).starts_with("ready"));
            if let Some(line) = told
                .into_iter()
                .find(|line| ready && said(line) == "listening")
            {
                break line;
            }
        };
        let channel = |name: &str| {
            let address = listening["fields"][name].as_str().expect("an address");
            let endpoint = Endpoint::from_shared(format!("http://{address}"));
            endpoint.expect("an address").connect_lazy()
        };
        (process, [channel("check"), channel("admin")])
    }
}

fn lines(folder: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("log")).expect("the log");
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn said(line: &serde_json::Value) -> &str {
    line["fields"]["message"].as_str().unwrap_or_default()
}

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
        let (process, [check, admin]) = Process::start(folder.path(), auth);
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
        drop(process);
        let log = std::fs::read_to_string(folder.path().join("log")).expect("the log");
        assert!(log.lines().count() > 3, "it is a log: {log}");
        let secret = root.rsplit('_').next().expect("a secret");
        for trace in TRACES.iter().chain([&secret]) {
            let line = log.lines().find(|line| line.contains(trace));
            assert!(line.is_none(), "with authentication {auth}: {line:?}");
        }
    }
}
