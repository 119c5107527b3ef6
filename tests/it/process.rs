//! The binary as a process of its own.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, ExitStatus},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tonic::transport::{Channel, Endpoint};

use crate::server::MASTER_KEY;

/// The binary; killed when dropped.
pub(crate) struct Process {
    child: Child,
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
        let listen = ["--check-listen", "--admin-listen", "--metrics-listen"];
        let mut child = Command::new(env!("CARGO_BIN_EXE_bancheck"))
            .args(["serve", "--set", "log_format=json", "--database-url", url])
            .args([
                "--set",
                &format!("master_key={}", BASE64_STANDARD.encode(MASTER_KEY)),
            ])
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .args(listen.iter().flat_map(|flag| [flag, "127.0.0.1:0"]))
            .arg("--data-dir")
            .arg(folder.join("data"))
            .stderr(log)
            .spawn()
            .expect("the server starts");
        loop {
            let told = lines(folder);
            let ready = told.iter().any(|line| said(line).starts_with("ready"));
            let listening = told.iter().find(|line| said(line) == "listening");
            if let (true, Some(line)) = (ready, listening) {
                let address = |name| {
                    line["fields"][name]
                        .as_str()
                        .expect("an address")
                        .to_owned()
                };
                let addresses = ["check", "admin", "metrics"].map(address);
                return Self { child, addresses };
            }
            let ended = child.try_wait().expect("a process");
            assert!(ended.is_none(), "it ended: {told:?}");
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
