//! `bancheck bench load`: what it counts is what the server answered.

use std::{fs, path::Path, process::Command};

use bancheck::{api::v1::Channel, config::Config, store::Place};
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

#[test]
fn a_load_asks_tenants_in_turn_while_others_are_banned() {
    let database = Database::fresh(Kind::Sqlite);
    let Place::Sqlite(folder) = &database.place else {
        unreachable!("it was asked for")
    };
    let seeded = Command::new(env!("CARGO_BIN_EXE_bancheck"))
        .args(["bench", "seed", "30", "--tenants", "3", "--data-dir"])
        .arg(folder)
        .output()
        .expect("the command runs");
    let said = String::from_utf8_lossy(&seeded.stdout);
    assert!(said.starts_with("30 bans made"), "{said}");

    // The folder has the key by now that it was filled under.
    let own_key = Config {
        master_key: None,
        ..config(&database.place)
    };
    let server = Server::start(&own_key).expect("a server");
    let load = |changes: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_bancheck"))
            .args(["bench", "load", "--output", "json", "--tenants", "3"])
            .args([
                "--numbers",
                "20",
                "--rate",
                "300",
                "--seconds",
                "1",
                "--warm-up",
                "0",
            ])
            .args(["--endpoint", &server.check_address().to_string()])
            .args(["--admin-endpoint", &server.admin_address().to_string()])
            .args(changes)
            .output()
            .expect("the command runs");
        assert!(output.status.success(), "{output:?}");
        let told: Value = serde_json::from_slice(&output.stdout).expect("an answer");
        let count = |name: &str| told[name].as_u64().expect("a count");
        // Ten numbers of twenty are banned in each tenant, whichever they are drawn in.
        let share = count("checks") / 3..=count("checks") * 2 / 3;
        assert!(
            count("checks") > 0 && share.contains(&count("denied")),
            "{told}"
        );
        told
    };
    assert!(load(&[]).get("changes_per_second").is_none());
    // Twice, since the second must not ban what the first has banned.
    for _ in 0..2 {
        let made = load(&["--changes", "50"])["changes_per_second"].as_u64();
        assert!(
            made.is_some_and(|made| (5..=50).contains(&made)),
            "{made:?}"
        );
    }
}
