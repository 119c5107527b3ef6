//! A Postgres cluster of a test's own: to stop and start, to stall, to copy and put back, to be
//! followed by another.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// A throw-away Postgres cluster; stopped and gone when dropped.
pub(crate) struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    /// Where it listens, unless told otherwise.
    pub(crate) port: u16,
    _keep: tempfile::TempDir,
}

/// How a cluster is stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    /// As a crash would.
    Immediate,
    /// In order, its clients thrown out.
    Fast,
}

impl Cluster {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test command says here where Postgres is"
    )]
    fn empty() -> Self {
        let bin = std::env::var("BANCHECK_TEST_POSTGRES_BIN").expect(
            "BANCHECK_TEST_POSTGRES_BIN is not set: run the tests by `tests/run`, or set it to the \
             folder of initdb and pg_ctl",
        );
        let keep = tempfile::Builder::new()
            .prefix("bancheck-pg")
            .tempdir()
            .expect("a folder");
        let folder = keep.path().to_owned();
        let cluster = Self {
            folder,
            bin: bin.into(),
            port: free_port(),
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
        cluster
    }

    /// Makes a cluster that does not run yet.
    pub(crate) fn make() -> Self {
        let cluster = Self::empty();
        let made = cluster
            .as_owner("initdb")
            .args(["-A", "trust", "-U", "postgres", "--no-sync", "-D"])
            .arg(cluster.data())
            .output();
        assert!(made.expect("initdb").status.success(), "a cluster is made");
        cluster
    }

    /// Makes one that follows the cluster behind a port, as asynchronously as Postgres does unless
    /// told otherwise; it does not run yet.
    pub(crate) fn following(primary: u16) -> Self {
        let cluster = Self::empty();
        let primary = primary.to_string();
        let made = cluster
            .as_owner("pg_basebackup")
            .args(["-h", "127.0.0.1", "-U", "postgres", "-p", &primary])
            .args(["-R", "-X", "stream", "-c", "fast", "--no-sync", "-D"])
            .arg(cluster.data())
            .output()
            .expect("pg_basebackup");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "a standby is made: {said}");
        cluster
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The URL of its database.
    pub(crate) fn url(&self) -> String {
        url_at(self.port)
    }

    /// Starts it, and waits until it accepts connections.
    pub(crate) fn start(&self) {
        self.start_at(self.port);
    }

    /// The same, where nobody else looks for it.
    pub(crate) fn start_at(&self, port: u16) {
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off \
             -c max_connections=300",
            self.folder.display()
        );
        self.control(&["-o", &options, "-w", "start"]);
    }

    /// Stops it.
    pub(crate) fn stop(&self, how: Stop) {
        let how = match how {
            Stop::Immediate => "immediate",
            Stop::Fast => "fast",
        };
        self.control(&["-m", how, "-w", "stop"]);
    }

    /// Makes a standby the primary of a history of its own.
    pub(crate) fn promote(&self) {
        self.control(&["-w", "promote"]);
    }

    /// Stops every one of its processes where it stands; nothing is closed, nothing answers.
    pub(crate) fn stall(&self) {
        // The one that makes the others first.
        for pid in self.processes() {
            // One that has ended meanwhile needs no stopping.
            let _ = kill_process(pid, Signal::STOP);
        }
    }

    /// Lets them go on.
    pub(crate) fn resume(&self) {
        for pid in self.processes().into_iter().rev() {
            let _ = kill_process(pid, Signal::CONT);
        }
    }

    fn processes(&self) -> Vec<Pid> {
        let Ok(file) = fs::read_to_string(self.data().join("postmaster.pid")) else {
            return Vec::new();
        };
        let Some(first) = file.lines().next().and_then(|line| line.parse().ok()) else {
            return Vec::new();
        };
        let children = fs::read_dir("/proc")
            .expect("/proc")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid: &i32| parent(*pid) == Some(first));
        std::iter::once(first)
            .chain(children)
            .filter_map(Pid::from_raw)
            .collect()
    }

    /// Copies what a stopped cluster holds, in place of an earlier copy.
    pub(crate) fn back_up(&self) {
        self.copy("data", "backup");
    }

    /// Puts the copy in the place of what a stopped cluster holds.
    pub(crate) fn restore(&self) {
        self.copy("backup", "data");
    }

    fn copy(&self, from: &str, to: &str) {
        let (from, to) = (self.folder.join(from), self.folder.join(to));
        if to.exists() {
            fs::remove_dir_all(&to).expect("the old copy goes");
        }
        let copied = Command::new("cp").arg("-a").args([from, to]).status();
        assert!(copied.expect("cp").success(), "a copy is made");
    }

    fn control(&self, words: &[&str]) {
        let (data, log) = (self.data(), self.folder.join("log"));
        let mut command = self.as_owner("pg_ctl");
        command.arg("-D").arg(data).arg("-l").arg(log).args(words);
        // A server that inherited our pipe would keep it open for ever.
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        assert!(
            status.expect("pg_ctl").success(),
            "pg_ctl {words:?}\n{}",
            log()
        );
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
        // A stalled one would not hear that it is to end.
        self.resume();
        let data = self.data();
        let mut command = self.as_owner("pg_ctl");
        command
            .arg("-D")
            .arg(data)
            .args(["-m", "immediate", "stop"]);
        // It may have been stopped already.
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// The URL of the database at a port of this machine.
pub(crate) fn url_at(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

/// A port that nobody listens at.
pub(crate) fn free_port() -> u16 {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr();
    port.expect("an address").port()
}

/// The process that a process came from.
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(1)?.parse().ok()
}
