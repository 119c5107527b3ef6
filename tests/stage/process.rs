//! Server processes of the real binary.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// Any 32 bytes, the same for every pod of a test.
pub(crate) const MASTER_KEY: [u8; 32] = *b"0123456789abcdef0123456789abcdef";
/// The same, as the server reads it.
const MASTER_KEY_TEXT: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
/// How long a process may take to say where it listens.
const START: Duration = Duration::from_secs(30);
/// How many lines of a log are remembered.
const LINES: usize = 200;

/// A running server process; killed when dropped.
pub(crate) struct Pod {
    child: Child,
    /// Where it answers checks.
    pub(crate) check: String,
    /// Where everything else is.
    pub(crate) admin: String,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl Pod {
    /// Starts the binary on a database, at ports that are free.
    pub(crate) fn start(database: &str, bell: bool) -> Self {
        Self::start_with(database, bell, "info", &[])
    }

    /// The same, with a filter of its log and more variables.
    pub(crate) fn start_with(
        database: &str,
        bell: bool,
        log: &str,
        variables: &[(String, String)],
    ) -> Self {
        // A free port may be somebody else's a moment later: then it ends at once.
        (0..5)
            .find_map(|_| Self::try_start(database, bell, log, variables))
            .expect("the server says where it listens")
    }

    fn try_start(
        database: &str,
        bell: bool,
        log: &str,
        variables: &[(String, String)],
    ) -> Option<Self> {
        let bell = if bell {
            "feed_bell=on"
        } else {
            "feed_bell=off"
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_bancheck"))
            .args(["serve", "--database-url", database])
            .args(["--set", "log_format=json", "--set", bell])
            .args(["--set", &format!("log={log}")])
            .args(["--check-listen", "127.0.0.1:0"])
            .args(["--admin-listen", "127.0.0.1:0"])
            .args(["--metrics-listen", "127.0.0.1:0"])
            .env("BANCHECK_MASTER_KEY", MASTER_KEY_TEXT)
            .envs(variables.iter().cloned())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let lines = BufReader::new(child.stderr.take().expect("its log"));
        let (tell, told) = mpsc::channel();
        let log = Arc::<Mutex<VecDeque<String>>>::default();
        let kept = Arc::clone(&log);
        // Reads on to the end, so that the process never waits for its log to be read.
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) {
                    let fields = &line["fields"];
                    if fields["message"] == "listening" {
                        let address =
                            |name: &str| format!("http://{}", fields[name].as_str().unwrap_or(""));
                        // Nobody waits any more: the test has given up.
                        let _ = tell.send((address("check"), address("admin")));
                    }
                }
                let mut kept = kept.lock().expect("a log");
                if kept.len() == LINES {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        let Ok((check, admin)) = told.recv_timeout(START) else {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            return None;
        };
        Some(Self {
            child,
            check,
            admin,
            log,
        })
    }

    /// The newest lines of its log.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().expect("a log").iter().cloned().collect()
    }

    /// Ends the process as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("its end");
    }

    /// Stops the process where it stands.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal to our own child");
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
