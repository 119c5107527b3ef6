//! Server processes of the real binary, and a Postgres cluster of a test's own to stop and start.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

/// Any 32 bytes, the same for every pod of a test.
const MASTER_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
/// How long a process may take to say where it listens.
const START: Duration = Duration::from_secs(30);

/// A running server process; killed when dropped.
pub(crate) struct Pod {
    child: Child,
    /// Where it answers checks.
    pub(crate) check: String,
    /// Where everything else is.
    pub(crate) admin: String,
}

impl Pod {
    /// Starts the binary on a database, at ports that are free.
    pub(crate) fn start(database: &str, bell: bool) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bancheck"))
            .args([
                "serve",
                "--database-url",
                database,
                "--set",
                "log_format=json",
            ])
            .args([
                "--set",
                if bell {
                    "feed_bell=on"
                } else {
                    "feed_bell=off"
                },
            ])
            .args([
                "--check-listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
            ])
            .args(["--metrics-listen", "127.0.0.1:0"])
            .env("BANCHECK_MASTER_KEY", MASTER_KEY)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let log = BufReader::new(child.stderr.take().expect("its log"));
        let (tell, told) = mpsc::channel();
        // Reads on to the end, so that the process never waits for its log to be read.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else {
                    continue;
                };
                let fields = &line["fields"];
                if fields["message"] == "listening" {
                    let address =
                        |name: &str| format!("http://{}", fields[name].as_str().unwrap_or(""));
                    // Nobody waits any more: the test has given up.
                    let _ = tell.send((address("check"), address("admin")));
                }
            }
        });
        let (check, admin) = told
            .recv_timeout(START)
            .expect("the server says where it listens");
        Self {
            child,
            check,
            admin,
        }
    }

    /// Ends the process as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("its end");
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A throw-away Postgres cluster that a test may stop and start.
pub(crate) struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    port: u16,
    _keep: tempfile::TempDir,
}

impl Cluster {
    /// Makes a cluster that does not run yet.
    #[expect(
        clippy::disallowed_methods,
        reason = "the test command says here where Postgres is"
    )]
    pub(crate) fn make() -> Self {
        let bin = std::env::var("BANCHECK_TEST_POSTGRES_BIN").expect(
            "BANCHECK_TEST_POSTGRES_BIN is not set: run the tests by `tests/run`, or set it to the \
             folder of initdb and pg_ctl",
        );
        let keep = tempfile::Builder::new()
            .prefix("bancheck-pg")
            .tempdir()
            .expect("a folder");
        let folder = keep.path().to_owned();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr();
        let port = port.expect("an address").port();
        let cluster = Self {
            folder,
            bin: bin.into(),
            port,
            _keep: keep,
        };
        if rustix::process::getuid().is_root() {
            let owner = Command::new("chown")
                .arg("postgres")
                .arg(&cluster.folder)
                .status();
            assert!(
                owner.expect("chown").success(),
                "the user `postgres` is there"
            );
        }
        let data = cluster.folder.join("data");
        let made = cluster
            .as_owner("initdb")
            .args(["-A", "trust", "-U", "postgres", "-D"])
            .arg(data)
            .output();
        assert!(made.expect("initdb").status.success(), "a cluster is made");
        cluster
    }

    /// The URL of its database.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it, and waits until it accepts connections.
    pub(crate) fn start(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off",
            self.port,
            self.folder.display()
        );
        self.control(&["-o", &options, "-w", "start"]);
    }

    /// Stops it at once, as a crash would.
    pub(crate) fn stop(&self) {
        self.control(&["-m", "immediate", "-w", "stop"]);
    }

    fn control(&self, words: &[&str]) {
        let (data, log) = (self.folder.join("data"), self.folder.join("log"));
        let mut command = self.as_owner("pg_ctl");
        command.arg("-D").arg(data).arg("-l").arg(log).args(words);
        // A server that inherited our pipe would keep it open for ever.
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.expect("pg_ctl").success(), "pg_ctl {words:?}");
    }

    /// A program of Postgres, which refuses to run as root.
    fn as_owner(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let mut command = if rustix::process::getuid().is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(Path::new("/"));
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.folder.join("data");
        let mut command = self.as_owner("pg_ctl");
        command
            .arg("-D")
            .arg(data)
            .args(["-m", "immediate", "stop"]);
        // It may have been stopped already.
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
