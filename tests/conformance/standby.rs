//! A Postgres server of a test's own, and another one that follows it.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use bancheck::store::Place;
use sqlx::{Connection, Executor};

/// A server; stopped and thrown away in the end.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    port: u16,
}

impl Server {
    /// A new one, which runs.
    pub(crate) fn primary() -> Self {
        let server = Self::nowhere();
        let data = server.folder.path().join("data");
        let mut made = program("initdb");
        made.args(["-A", "trust", "-U", "postgres", "--no-sync", "-D"]);
        succeed(made.arg(data));
        server.start();
        server
    }

    /// One that follows this one from where it is now.
    pub(crate) fn standby(&self) -> Self {
        let standby = Self::nowhere();
        let data = standby.folder.path().join("data");
        let mut copied = program("pg_basebackup");
        copied.args([
            "-R",
            "-c",
            "fast",
            "--no-sync",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
        ]);
        copied.arg("-p").arg(self.port.to_string());
        succeed(copied.arg("-D").arg(data));
        standby.start();
        standby
    }

    /// Has it follow nobody any more.
    pub(crate) fn promote(&self) {
        succeed(self.control().args(["-w", "promote"]));
    }

    /// Its database, for a role.
    pub(crate) fn place(&self, role: &str) -> Place {
        Place::Postgres {
            url: format!("postgres://{role}@127.0.0.1:{}/postgres", self.port),
            bell: false,
            apart: bancheck::store::Apart::default(),
        }
    }

    /// Where it listens.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements past the store.
    pub(crate) async fn run(&self, statements: &'static str) {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", self.port);
        let mut raw = sqlx::PgConnection::connect(&url).await.expect("the server");
        raw.execute(sqlx::raw_sql(statements))
            .await
            .expect("statements past the store");
    }

    fn nowhere() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("bancheck-pg")
            .tempdir()
            .expect("a folder");
        if rustix::process::getuid().is_root() {
            succeed(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        Self { folder, port }
    }

    fn start(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off",
            self.port,
            self.folder.path().display()
        );
        succeed(self.control().args(["-w", "-o", &options, "start"]));
    }

    fn control(&self) -> Command {
        let mut control = program("pg_ctl");
        control.arg("-D").arg(self.folder.path().join("data"));
        control.arg("-l").arg(self.folder.path().join("log"));
        control
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut control = self.control();
        control.args(["-m", "immediate", "stop"]);
        // It may not have started.
        let _ = control.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// A program of Postgres, which refuses to run as root.
#[expect(
    clippy::disallowed_methods,
    reason = "the test command says here where Postgres is"
)]
fn program(name: &str) -> Command {
    let bin = std::env::var("BANCHECK_TEST_POSTGRES_BIN").expect(
        "BANCHECK_TEST_POSTGRES_BIN is not set: run the tests by `tests/run`, or set it to the \
         folder of initdb and pg_ctl",
    );
    let program = Path::new(&bin).join(name);
    let mut command = if rustix::process::getuid().is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

fn succeed(command: &mut Command) {
    // A server that inherited our pipe would keep it open for ever.
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.expect("a program").success(), "{command:?}");
}
