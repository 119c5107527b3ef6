//! A network between a store and its server, in which connections die without a word.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// What is lost of the question that a [`Proxy::trap`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It never reaches the server.
    Question,
    /// The server does what it is asked, and nobody hears of it.
    Answer,
    /// Nothing, until [`Proxy::release`].
    Nothing,
}

#[derive(Default)]
struct Rules {
    /// The connections made so far, of which those below `dead` carry nothing any more.
    made: usize,
    dead: usize,
    /// Connections made now are dead from birth.
    silent: bool,
    trap: Option<(Vec<u8>, Lost)>,
    sprung: bool,
    /// Answers are kept back.
    held: bool,
}

/// A proxy to one server; everything ends with it.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) port: u16,
    rules: Arc<Rule>,
    _task: JoinSet<()>,
}

struct Rule {
    rules: Mutex<Rules>,
    changed: watch::Sender<()>,
}

impl Rule {
    fn with<T>(&self, look: impl FnOnce(&mut Rules) -> T) -> T {
        let seen = look(&mut self.rules.lock().expect("the rules"));
        self.changed.send_replace(());
        seen
    }

    async fn until(&self, mut is: impl FnMut(&Rules) -> bool) {
        let mut changed = self.changed.subscribe();
        while !is(&self.rules.lock().expect("the rules")) {
            changed.changed().await.expect("the rules are there");
        }
    }
}

impl Proxy {
    /// One that lets everything through to a server on this machine.
    pub(crate) async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let rules = Arc::new(Rule {
            rules: Mutex::default(),
            changed: watch::Sender::default(),
        });
        let shared = Arc::clone(&rules);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut carried = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.expect("a connection");
                let number = shared.with(|rules| {
                    rules.made += 1;
                    if rules.silent {
                        rules.dead = rules.made;
                    }
                    rules.made - 1
                });
                carried.spawn(carry(Arc::clone(&shared), number, near, server.clone()));
            }
        });
        Self {
            port,
            rules,
            _task: task,
        }
    }

    /// Kills every connection there is; those made from now on live.
    pub(crate) fn kill(&self) {
        self.rules.with(|rules| rules.dead = rules.made);
    }

    /// Kills every connection there is, and those to come.
    pub(crate) fn silence(&self) {
        self.kill();
        self.rules.with(|rules| rules.silent = true);
    }

    /// Lets connections to come live.
    pub(crate) fn heal(&self) {
        self.rules.with(|rules| rules.silent = false);
    }

    /// Waits for a question that holds these words, and kills its connection there.
    pub(crate) fn trap(&self, words: &str, lost: Lost) {
        self.rules.with(|rules| {
            rules.sprung = false;
            rules.trap = Some((words.as_bytes().to_vec(), lost));
        });
    }

    /// Waits until a trap has caught something.
    pub(crate) async fn sprung(&self) {
        self.rules.until(|rules| rules.sprung).await;
    }

    /// Hands over what was kept back.
    pub(crate) fn release(&self) {
        self.rules.with(|rules| rules.held = false);
    }
}

async fn carry(rule: Arc<Rule>, number: usize, near: TcpStream, server: String) {
    let far = TcpStream::connect(server).await.expect("the server");
    let (near, far) = (near.into_split(), far.into_split());
    let (dead, _) = watch::channel(false);
    tokio::join!(
        questions(&rule, number, near.0, far.1, dead.clone()),
        answers(&rule, number, far.0, near.1, dead),
    );
}

fn is_dead(rule: &Rule, number: usize, dead: &watch::Sender<bool>) -> bool {
    *dead.borrow() || number < rule.rules.lock().expect("the rules").dead
}

async fn questions(
    rule: &Rule,
    number: usize,
    mut near: OwnedReadHalf,
    mut far: OwnedWriteHalf,
    dead: watch::Sender<bool>,
) {
    let mut bytes = vec![0; 1 << 16];
    loop {
        let read = near.read(&mut bytes).await.unwrap_or(0);
        if is_dead(rule, number, &dead) {
            // Not even the end of it is told.
            return std::future::pending().await;
        }
        if read == 0 {
            // Gone on the other side already.
            let _ = far.shutdown().await;
            return;
        }
        let caught = rule.with(|rules| {
            let (words, lost) = rules.trap.take()?;
            if bytes[..read].windows(words.len()).any(|here| here == words) {
                rules.held = lost == Lost::Nothing;
                return Some(lost);
            }
            rules.trap = Some((words, lost));
            None
        });
        if matches!(caught, Some(Lost::Question | Lost::Answer)) {
            dead.send_replace(true);
        }
        if caught != Some(Lost::Question) && far.write_all(&bytes[..read]).await.is_err() {
            return;
        }
        if caught.is_some() {
            rule.with(|rules| rules.sprung = true);
        }
    }
}

async fn answers(
    rule: &Rule,
    number: usize,
    mut far: OwnedReadHalf,
    mut near: OwnedWriteHalf,
    dead: watch::Sender<bool>,
) {
    let mut bytes = vec![0; 1 << 16];
    loop {
        let read = far.read(&mut bytes).await.unwrap_or(0);
        rule.until(|rules| !rules.held).await;
        if is_dead(rule, number, &dead) {
            return std::future::pending().await;
        }
        if read == 0 || near.write_all(&bytes[..read]).await.is_err() {
            let _ = near.shutdown().await;
            return;
        }
    }
}
