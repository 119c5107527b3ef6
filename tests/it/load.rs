//! `bancheck bench load`: what it counts is what the server answered.

use std::{fs, path::Path, process::Command};

use bancheck::api::v1::Channel;
use serde_json::Value;

use crate::{
    database::{Database, Kind},
    requests::{NUMBER, add, phone},
    server::{Server, TENANT, config, runtime},
};

/// A load of a second on a server that knows one ban, told of two customers.
fn load(server: &Server, tenant: &str, file: &Path, more: &[&str]) -> (Value, bool) {
    let output = Command::new(env!("CARGO_BIN_EXE_bancheck"))
        .args(["bench", "load", "--output", "json", "--tenant", tenant])
        .arg("--endpoint")
        .arg(server.check_address().to_string())
        .args(["--seconds", "1", "--warm-up", "0", "--identities"])
        .arg(file)
        .args(more)
        .output()
        .expect("the command runs");
    let told = serde_json::from_slice(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    (
        told.unwrap_or_else(|_| panic!("{said}")),
        output.status.success(),
    )
}

#[test]
fn a_load_counts_what_was_answered_on_every_road() {
    let database = Database::fresh(Kind::Sqlite);
    let server = Server::start(&config(&database.place)).expect("a server");
    runtime().block_on(async {
        let client = server.client();
        client.make_tenant(TENANT).await;
        client.ban(add(phone(NUMBER))).await;
        assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("customers.txt");
    fs::write(&file, format!("{NUMBER}\n+420601999999\n")).expect("a file");

    for road in ["unary", "batch", "stream"] {
        let (told, whole) = load(&server, TENANT, &file, &["--road", road, "--batch", "10"]);
        let count = |name: &str| told[name].as_u64().expect("a count");
        assert!(whole, "{told}");
        let (checks, denied) = (count("checks"), count("denied"));
        assert!(checks > 0 && checks == count("allowed") + denied, "{told}");
        // They are asked about in turn; what was in flight at the ends may be off by its number.
        assert!(denied.abs_diff(count("allowed")) <= 320, "{told}");
        let calls = if road == "batch" { checks / 10 } else { checks };
        assert_eq!(count("calls"), calls, "{told}");
        assert_eq!(told["errors"], serde_json::json!({}));
    }

    let (told, whole) = load(&server, TENANT, &file, &["--rate", "50"]);
    assert!(whole, "{told}");
    assert_eq!(
        told["checks"], 50,
        "one every 20 ms, however quick the server is"
    );

    let (told, whole) = load(&server, "nobody", &file, &["--rate", "50"]);
    assert!(!whole, "what failed is no throughput");
    assert_eq!(told["errors"], serde_json::json!({"TENANT_NOT_FOUND": 50}));
}
