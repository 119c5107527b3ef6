//! A tenant that does not fit: the whole server says so, and goes on.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

/// At 57 bytes a key these are more than one MiB.
const BANS: &str = "20000";

/// The real binary, on a database in this folder.
fn bancheck(folder: &tempfile::TempDir, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bancheck"));
    command
        .args(words)
        .args(["--database-url", "", "--data-dir"]);
    command.arg(folder.path());
    command
}

/// A server that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_tenant_heavier_than_the_memory_for_views_raises_an_alarm_and_is_answered_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let seeded = bancheck(&folder, &["bench", "seed", BANS])
        .output()
        .expect("a seeded store");
    assert!(
        seeded.status.success(),
        "{}",
        String::from_utf8_lossy(&seeded.stderr)
    );

    let any_port = "127.0.0.1:0";
    let listen = ["--check-listen", "--admin-listen", "--metrics-listen"];
    let mut server = bancheck(&folder, &["serve", "--set", "view_memory_mib=1"])
        .args(["--set", "log_format=json"])
        .args(listen.into_iter().flat_map(|flag| [flag, any_port]))
        .stderr(Stdio::piped())
        .spawn()
        .expect("a server");
    let log = BufReader::new(server.stderr.take().expect("its log"));
    let _server = Killed(server);
    let mut asked = false;
    let mut check = String::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let message = line["fields"]["message"].as_str().unwrap_or_default();
        if message == "listening" {
            check = format!(
                "http://{}",
                line["fields"]["check"].as_str().expect("an address")
            );
        } else if message.starts_with("ready") {
            let answer = Command::new(env!("CARGO_BIN_EXE_bancheck"))
                .args([
                    "check",
                    "--endpoint",
                    &check,
                    "--channel",
                    "call",
                    "+9990000000001",
                ])
                .args(["--output", "json"])
                .output()
                .expect("an answer");
            let answer: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
            assert_eq!(answer["basis"], "DECISION_BASIS_FAILURE_MODE", "{answer}");
            asked = true;
        } else if asked && message.contains("do not fit into the memory for views") {
            assert_eq!(line["level"], "ERROR");
            assert_eq!(line["fields"]["tenant"], "default");
            return;
        }
    }
    panic!("the server ended, and raised no alarm");
}
