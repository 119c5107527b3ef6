//! `bancheck doctor`, as somebody runs it who gets no answer and wants to know why.

use std::process::Command;

use bancheck::api::v1::grant::Scope;
use serde_json::Value;

use crate::{
    database::{Database, Kind},
    guarded::{Guarded, asking, on_tenant},
    server::{Server, TENANT, config, runtime},
};

/// What the doctor says: each line by what it is about, and whether all is well.
struct Told {
    lines: Vec<Value>,
    fine: bool,
}

impl Told {
    fn line(&self, what: &str) -> &Value {
        let mut lines = self.lines.iter();
        let found = lines.find(|line| line["what"] == what);
        found.unwrap_or_else(|| panic!("no line about {what} in {:?}", self.lines))
    }

    fn state(&self, what: &str) -> &str {
        self.line(what)["state"].as_str().expect("a state")
    }
}

fn doctor(check: &str, admin: &str, token: &str, more: &[&str]) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bancheck"));
    command
        .args(["doctor", "--output", "json", "--tenant", TENANT])
        .args(["--endpoint", check, "--admin-endpoint", admin])
        .args(more)
        .env("BANCHECK_TOKEN", token)
        // A folder without a key of its own.
        .env("BANCHECK_DATA_DIR", "tests");
    let output = command.output().expect("the command runs");
    let lines = serde_json::from_slice(&output.stdout).expect("an array");
    Told {
        lines,
        fine: output.status.success(),
    }
}

fn of(server: &Server, token: &str, more: &[&str]) -> Told {
    let address = |at: std::net::SocketAddr| format!("http://{at}");
    let (check, admin) = (server.check_address(), server.admin_address());
    doctor(&address(check), &address(admin), token, more)
}

/// Health is told a moment after the server is ready.
fn healthy(server: &Server) {
    while !of(server, "", &["--reach-only"]).fine {
        std::thread::yield_now();
    }
}

#[test]
fn the_doctor_finds_nothing_wrong_with_a_server_that_is_well() {
    let database = Database::fresh(Kind::Sqlite);
    let server = Server::start(&config(&database.place)).expect("a server");
    healthy(&server);
    let strange = of(&server, "", &[]);
    assert_eq!(strange.state("tenant"), "failed", "nobody has made it yet");
    assert!(!strange.fine);
    runtime().block_on(async { server.client().make_tenant(TENANT).await });
    let told = of(&server, "", &[]);
    for what in [
        "check listener",
        "checks",
        "admin listener",
        "database",
        "credential",
        "allowed",
        "tenant",
        "freshness",
        "clock",
        "version",
    ] {
        assert_eq!(told.state(what), "ok", "{}", told.line(what));
    }
    assert!(told.fine);
    let allowed = told.line("allowed")["found"].as_str().expect("text");
    assert!(
        allowed.starts_with("check, operator, supervisor, admin, support, watch, privacy, link"),
        "{allowed}"
    );
}

#[test]
fn the_doctor_says_what_to_do_where_nobody_answers() {
    // Reserved, and listened at by nobody.
    let told = doctor("http://127.0.0.1:1", "http://127.0.0.1:1", "", &[]);
    assert!(!told.fine);
    for what in ["check listener", "admin listener"] {
        assert_eq!(told.state(what), "failed");
        let advice = told.line(what)["what_to_do"].as_str().expect("advice");
        assert!(advice.contains("bancheck serve"), "{advice}");
    }
    assert_eq!(told.state("freshness"), "unknown");
}

#[test]
fn the_doctor_tells_what_a_credential_may_do() {
    let database = Database::fresh(Kind::Sqlite);
    let server = Server::start(&asking(&database.place)).expect("a server");
    let root = server.first_key(&database.place);
    let key = runtime().block_on(async {
        let client = server.client();
        let guarded = Guarded { client, root };
        guarded.heard_of(&guarded.root).await;
        guarded.make_tenant(TENANT).await;
        guarded.key("ivr", vec![on_tenant(Scope::Check)]).await
    });

    healthy(&server);
    let told = of(&server, &key, &["--need", "check"]);
    assert!(told.fine, "{:?}", told.lines);
    assert_eq!(told.line("allowed")["found"], "check in tenant acme");
    let who = told.line("credential")["found"].as_str().expect("text");
    assert!(who.starts_with("API key "), "{who}");
    let secret = key.rsplit('_').next().expect("a secret");
    assert!(!format!("{:?}", told.lines).contains(secret));

    let told = of(&server, &key, &["--need", "check,watch"]);
    assert!(!told.fine);
    let allowed = told.line("allowed");
    assert_eq!(allowed["found"], "check in tenant acme, but not watch");
    let advice = allowed["what_to_do"].as_str().expect("advice");
    assert!(advice.contains("grant set --add --scope watch"), "{advice}");

    let told = of(&server, "", &[]);
    assert!(!told.fine);
    assert_eq!(told.state("credential"), "failed");
    assert!(
        of(&server, "", &["--reach-only"]).fine,
        "nobody is asked who"
    );
}
