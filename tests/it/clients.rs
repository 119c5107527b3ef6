//! The example clients, each against a real server, and against none.
//!
//! What they are made of is installed under the target folder, once; where it cannot be had the test
//! fails and says why.

use std::{
    fs,
    io::{BufRead, BufReader, Write, pipe},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use bancheck::api::v1::{
    Channel, Grant, QueuePolicy, SetBanRightsRequest, UpdateQueuePolicyRequest, grant::Scope,
    queue_policy::RecordTo,
};

use crate::{
    database::{Database, Kind},
    guarded::{Guarded, asking, on_tenant, shown},
    requests::NUMBER,
    router,
    server::{Server, TENANT, runtime},
};

/// What a client is told, by the names that its environment has for it.
type Setting = Vec<(&'static str, String)>;

/// A client that runs: a line in, a line out.
struct Talk {
    to: Option<Box<dyn Write>>,
    from: Box<dyn BufRead>,
    child: Option<Child>,
}

impl Talk {
    fn with(mut command: Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("the client starts");
        Self {
            to: child.stdin.take().map(|to| Box::new(to) as _),
            from: Box::new(BufReader::new(child.stdout.take().expect("its output"))),
            child: Some(child),
        }
    }

    fn ask(&mut self, line: &str) -> String {
        let to = self.to.as_mut().expect("a client that listens");
        writeln!(to, "{line}").expect("it listens");
        to.flush().expect("it listens");
        let mut said = String::new();
        self.from.read_line(&mut said).expect("text");
        assert!(said.ends_with('\n'), "it ended at `{line}` after `{said}`");
        said.trim_end().to_owned()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.to = None;
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What every client must do, on a server and when it has gone away.
fn keeps_to_the_contract(start: impl Fn(&Setting) -> Talk, check: &str, ban: &str) {
    let database = Database::fresh(Kind::Sqlite);
    let server = Server::start(&asking(&database.place)).expect("a server");
    let root = server.first_key(&database.place);
    let key = runtime().block_on(async {
        let client = server.client();
        let guarded = Guarded { client, root };
        guarded.heard_of(&guarded.root).await;
        guarded.make_tenant(TENANT).await;
        let policy = QueuePolicy {
            queue: "sales".to_owned(),
            channel: Channel::Call.into(),
            record_to: RecordTo::Global.into(),
            ..QueuePolicy::default()
        };
        let request = UpdateQueuePolicyRequest {
            tenant: TENANT.to_owned(),
            queue_policy: Some(policy),
            ..UpdateQueuePolicyRequest::default()
        };
        let mut config = guarded.client.config();
        let set = config
            .update_queue_policy(shown(&guarded.root, request))
            .await;
        set.expect("a queue that bans");
        let rights = SetBanRightsRequest {
            tenant: TENANT.to_owned(),
            rights_profile: "connectors".to_owned(),
            allowed_queues: vec!["sales".to_owned()],
            ..SetBanRightsRequest::default()
        };
        let set = config.set_ban_rights(shown(&guarded.root, rights)).await;
        set.expect("the right to ban from there");
        let scopes = [Scope::Check, Scope::Operator].map(|scope| Grant {
            rights_profile: "connectors".to_owned(),
            ..on_tenant(scope)
        });
        guarded.key("connector", scopes.into()).await
    });
    let setting = |mode: &str| {
        vec![
            (
                "BANCHECK_ENDPOINT",
                format!("http://{}", server.check_address()),
            ),
            (
                "BANCHECK_ADMIN_ENDPOINT",
                format!("http://{}", server.admin_address()),
            ),
            ("BANCHECK_TENANT", TENANT.to_owned()),
            ("BANCHECK_TOKEN", key.clone()),
            // No machine is so busy; the deadline itself is not what is proved here.
            ("DEADLINE_MS", "20000".to_owned()),
            ("FAILURE_MODE", mode.to_owned()),
        ]
    };
    let (open, closed) = (setting("OPEN"), setting("CLOSED"));
    let mut lenient = start(&open);

    let question = format!("{check} {NUMBER}");
    assert_eq!(lenient.ask(&question), "ALLOW FRESH");
    // An answer may be used again for two seconds at most, which may have passed.
    while lenient.ask(&question) != "ALLOW reused" {}
    let banned = lenient.ask(&format!("{ban} {NUMBER} threats on the line"));
    let id = banned
        .strip_prefix("BANNED ")
        .unwrap_or_else(|| panic!("{banned}"));
    let denied = format!("DENY FRESH TREATMENT_END_INTERACTION {id}");
    assert_eq!(lenient.ask(&question), denied, "what was kept is forgotten");
    let elsewise = format!("{check} 00{}", NUMBER.trim_start_matches('+'));
    assert_eq!(lenient.ask(&elsewise), denied);

    let mut strict = start(&closed);
    let stranger = format!("{check} +420601999999");
    assert_eq!(strict.ask(&stranger), "ALLOW FRESH");
    drop(server);
    let other = format!("{check} +420601999998");
    assert_eq!(
        strict.ask(&other).to_uppercase(),
        "DENY NO ANSWER (UNAVAILABLE)"
    );
    assert_eq!(
        lenient.ask(&other).to_uppercase(),
        "ALLOW NO ANSWER (UNAVAILABLE)"
    );
}

/// Runs a step of an installation.
fn run(what: &str, command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{what}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{what} failed:\n{told}{said}");
}

/// A folder in which a client is installed; whether what it is made of is there already.
fn home(language: &str, made_of: &Path) -> (PathBuf, bool) {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("clients")
        .join(language);
    let same = fs::read(home.join("installed")).ok() == fs::read(made_of).ok();
    if !same && home.exists() {
        fs::remove_dir_all(&home).expect("our own folder");
    }
    fs::create_dir_all(&home).expect("a folder");
    (home, same)
}

fn installed(home: &Path, made_of: &Path) {
    fs::copy(made_of, home.join("installed")).expect("a mark");
}

#[test]
fn the_python_connector_keeps_to_the_contract() {
    let made_of = Path::new("examples/python/requirements.txt");
    let (home, is_there) = home("python", made_of);
    let python = home.join("venv/bin/python");
    if !is_there {
        let venv = home.join("venv");
        run(
            "python3 -m venv (Debian: apt-get install python3-venv)",
            Command::new("python3").args(["-m", "venv"]).arg(&venv),
        );
        run(
            "pip install",
            Command::new(&python)
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "-r",
                ])
                .arg(made_of),
        );
        installed(&home, made_of);
    }
    let stubs = tempfile::tempdir().expect("a folder");
    let out = stubs.path().display();
    let protos = fs::read_dir("proto/bancheck/v1").expect("the contract");
    let protos = protos.map(|file| file.expect("a file").path());
    run(
        "protoc",
        Command::new(&python)
            .args(["-m", "grpc_tools.protoc", "-I", "proto"])
            .args([
                format!("--python_out={out}"),
                format!("--grpc_python_out={out}"),
            ])
            .args(protos)
            .arg("proto/google/rpc/status.proto"),
    );
    let start = |setting: &Setting| {
        let mut command = Command::new(&python);
        command
            .arg("examples/python/connector.py")
            .env("PYTHONPATH", stubs.path())
            .envs(setting.iter().cloned());
        Talk::with(command)
    };
    keeps_to_the_contract(start, "check call", "ban call");
}

#[test]
fn the_typescript_connector_keeps_to_the_contract() {
    let source = Path::new("examples/typescript");
    let made_of = source.join("package-lock.json");
    let (home, is_there) = home("typescript", &made_of);
    for name in [
        "package.json",
        "package-lock.json",
        "tsconfig.json",
        "connector.ts",
    ] {
        fs::copy(source.join(name), home.join(name)).expect("a file");
    }
    if !is_there {
        run(
            "npm ci (Debian: apt-get install nodejs npm)",
            Command::new("npm")
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                .current_dir(&home),
        );
        installed(&home, &made_of);
    }
    run(
        "tsc",
        Command::new("node")
            .arg("node_modules/typescript/bin/tsc")
            .current_dir(&home),
    );
    let protos = fs::canonicalize("proto").expect("the contract");
    let start = |setting: &Setting| {
        let mut command = Command::new("node");
        command
            .arg("out/connector.js")
            .current_dir(&home)
            .env("PROTO_DIR", &protos)
            .envs(setting.iter().cloned());
        Talk::with(command)
    };
    keeps_to_the_contract(start, "check call", "ban call");
}

#[test]
fn the_rust_router_keeps_to_the_contract() {
    let start = |setting: &Setting| {
        let find = |name: &str| {
            let found = setting.iter().find(|(known, _)| *known == name);
            found.expect("a setting").1.clone()
        };
        let setting = router::Setting {
            endpoint: find("BANCHECK_ENDPOINT"),
            admin_endpoint: find("BANCHECK_ADMIN_ENDPOINT"),
            tenant: find("BANCHECK_TENANT"),
            token: Some(find("BANCHECK_TOKEN")),
            ca: None,
            deadline: Duration::from_millis(find("DEADLINE_MS").parse().expect("a number")),
            closed: find("FAILURE_MODE") == "CLOSED",
        };
        let (their_ear, to) = pipe().expect("a pipe");
        let (from, their_mouth) = pipe().expect("a pipe");
        std::thread::spawn(move || {
            let lines = BufReader::new(their_ear);
            router::run(setting, lines, their_mouth).expect("a router that runs");
        });
        Talk {
            to: Some(Box::new(to)),
            from: Box::new(BufReader::new(from)),
            child: None,
        }
    };
    keeps_to_the_contract(start, "route sales call", "ban sales call");
}
