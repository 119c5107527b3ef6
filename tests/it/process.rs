//! The binary as a process of its own.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tonic::transport::{Channel, Endpoint};

use crate::server::MASTER_KEY;

/// The binary; killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// What it says and nobody reads.
    _unread: Option<BufReader<ChildStderr>>,
    /// Where checks are answered, everything else is, and metrics are.
    pub(crate) addresses: [String; 3],
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts one with its store and its log in a folder, and waits until it is ready.
    pub(crate) fn start(folder: &Path, settings: &[&str]) -> Self {
        Self::start_on("", folder, settings)
    }

    /// The same on a database of Postgres, where a URL names one.
    pub(crate) fn start_on(url: &str, folder: &Path, settings: &[&str]) -> Self {
        let log = File::create(folder.join("log")).expect("a log");
        let mut command = command(url, folder, settings);
        let mut child = command.stderr(log).spawn().expect("the server starts");
        loop {
            let told = lines(folder);
            if let Some(addresses) = ready(&told) {
                return Self {
                    child,
                    _unread: None,
                    addresses,
                };
            }
            let ended = child.try_wait().expect("a process");
            assert!(ended.is_none(), "it ended: {told:?}");
        }
    }

    /// Starts one whose log is read until it is ready, and no further.
    pub(crate) fn start_unread(folder: &Path) -> Self {
        let mut command = command("", folder, &[]);
        let piped = command.stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the server starts");
        let mut log = BufReader::new(child.stderr.take().expect("its log"));
        let mut told = Vec::new();
        let addresses = loop {
            if let Some(addresses) = ready(&told) {
                break addresses;
            }
            let mut line = String::new();
            let read = log.read_line(&mut line).expect("its log");
            assert!(read > 0, "it ended: {told:?}");
            told.extend(serde_json::from_str(&line));
        };
        Self {
            child,
            _unread: Some(log),
            addresses,
        }
    }

    /// The listeners of checks and of everything else.
    pub(crate) fn channels(&self) -> [Channel; 2] {
        let [check, admin, _] = &self.addresses;
        [check, admin].map(|address| {
            let endpoint = Endpoint::from_shared(format!("http://{address}"));
            endpoint.expect("an address").connect_lazy()
        })
    }

    /// What the metrics listener answers, with its head, to who takes these forms of it.
    pub(crate) fn page(&self, path: &str, accept: &str) -> String {
        let mut stream = TcpStream::connect(&self.addresses[2]).expect("the metrics listener");
        let question = format!(
            "GET {path} HTTP/1.1\r\nhost: here\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(question.as_bytes()).expect("a question");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops it where it stands, all of its threads.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        let pid = Pid::from_child(&self.child);
        let stopped = waitpid(Some(pid), WaitOptions::UNTRACED).expect("a child");
        assert!(stopped.is_some_and(|(_, status)| status.stopped()));
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a process");
    }

    /// Waits until it has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.wait().expect("a process")
    }
}

fn command(url: &str, folder: &Path, settings: &[&str]) -> Command {
    let listen = ["--check-listen", "--admin-listen", "--metrics-listen"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_bancheck"));
    command
        .args(["serve", "--set", "log_format=json", "--database-url", url])
        .args([
            "--set",
            &format!("master_key={}", BASE64_STANDARD.encode(MASTER_KEY)),
        ])
        .args(settings.iter().flat_map(|setting| ["--set", setting]))
        .args(listen.iter().flat_map(|flag| [flag, "127.0.0.1:0"]))
        .arg("--data-dir")
        .arg(folder.join("data"));
    command
}

/// Where it listens, once it has said that it is ready.
fn ready(told: &[serde_json::Value]) -> Option<[String; 3]> {
    let listening = told.iter().find(|line| said(line) == "listening")?;
    let address = |name| {
        let address = listening["fields"][name].as_str();
        address.expect("an address").to_owned()
    };
    let is_ready = told.iter().any(|line| said(line).starts_with("ready"));
    is_ready.then(|| ["check", "admin", "metrics"].map(address))
}

/// What it has logged.
pub(crate) fn lines(folder: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("log")).expect("the log");
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn said(line: &serde_json::Value) -> &str {
    line["fields"]["message"].as_str().unwrap_or_default()
}
