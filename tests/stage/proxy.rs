//! A TCP proxy in front of a database, one for each pod, that does to its connections what networks
//! do: lets bytes wait, delays them, cuts, goes silent without a word, refuses.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// What the network does at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything goes through.
    Pass,
    /// Bytes wait until the mode changes, and so do new connections.
    Stall,
    /// Every piece is this late, each way.
    Delay(Duration),
    /// The connections there are lead nowhere from now on, and neither end is told; nor do new ones
    /// lead anywhere while this lasts.
    HalfOpen,
    /// Connections are reset, new ones refused.
    Refuse,
}

/// A place in a conversation at which the proxy holds its breath, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trap {
    /// The client has said COMMIT and the server has not heard it.
    BeforeCommit,
    /// The server has heard COMMIT and the client does not hear the answer.
    AfterCommit,
    /// The client has heard the answer to COMMIT, and from then on all bytes wait.
    OnceCommitted,
}

/// What every connection looks at.
struct Shared {
    upstream: AtomicU16,
    mode: watch::Sender<Mode>,
    /// Ticks when all connections are to be reset.
    cut: watch::Sender<u64>,
    trap: watch::Sender<Option<Trap>>,
    /// Somebody has walked into the trap.
    caught: Notify,
}

/// A running proxy; it ends when dropped.
pub(crate) struct Proxy {
    /// Where clients connect.
    pub(crate) port: u16,
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

impl Proxy {
    /// A proxy that lets everything through to a port of this machine.
    pub(crate) async fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port for a proxy");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            upstream: AtomicU16::new(upstream),
            mode: watch::Sender::new(Mode::Pass),
            cut: watch::Sender::new(0),
            trap: watch::Sender::new(None),
            caught: Notify::new(),
        });
        let mut task = JoinSet::new();
        task.spawn(accept(listener, address, Arc::clone(&shared)));
        Self {
            port: address.port(),
            shared,
            _task: task,
        }
    }

    /// The URL of the database behind it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Changes what the network does.
    pub(crate) fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
        if mode == Mode::Refuse {
            self.cut();
        }
    }

    /// Resets every connection there is.
    pub(crate) fn cut(&self) {
        self.shared.cut.send_modify(|cuts| *cuts += 1);
    }

    /// Leads connections made from now on to another port.
    pub(crate) fn lead_to(&self, upstream: u16) {
        self.shared.upstream.store(upstream, Ordering::SeqCst);
    }

    /// Holds the next COMMIT at this place, and lets go of whatever was held when `None`.
    pub(crate) fn set_trap(&self, trap: Option<Trap>) {
        self.shared.trap.send_replace(trap);
    }

    /// Waits until a COMMIT is held.
    pub(crate) async fn caught(&self) {
        self.shared.caught.notified().await;
    }
}

async fn accept(listener: TcpListener, address: SocketAddr, shared: Arc<Shared>) {
    let mut listener = Some(listener);
    let mut mode = shared.mode.subscribe();
    let mut carried = JoinSet::new();
    loop {
        while carried.try_join_next().is_some() {}
        let refuses = *mode.borrow_and_update() == Mode::Refuse;
        if refuses {
            // With nobody listening the kernel itself refuses.
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        let Some(listening) = &listener else {
            let retry = Instant::now() + Duration::from_millis(20);
            tokio::select! {
                changed = mode.changed() => if changed.is_err() { return },
                // The port may be taken for a moment; time is all there is to wait for.
                () = sleep_until(retry), if !refuses => {}
            }
            continue;
        };
        tokio::select! {
            changed = mode.changed() => if changed.is_err() { return },
            client = listening.accept() => {
                if let Ok((client, _)) = client {
                    carried.spawn(carry(client, Arc::clone(&shared)));
                }
            }
        }
    }
}

/// Carries one connection to its end.
async fn carry(client: TcpStream, shared: Arc<Shared>) {
    let mut cut = shared.cut.subscribe();
    cut.mark_unchanged();
    let ended = tokio::select! {
        ended = converse(&client, &shared) => ended,
        _ = cut.changed() => Err(io::ErrorKind::ConnectionReset.into()),
    };
    if ended.is_err() {
        // A reset, not a farewell.
        let _ = client.set_zero_linger();
    }
}

async fn converse(client: &TcpStream, shared: &Shared) -> io::Result<()> {
    let mut mode = shared.mode.subscribe();
    let at_first = *mode
        .wait_for(|mode| *mode != Mode::Stall)
        .await
        .map_err(io::Error::other)?;
    match at_first {
        Mode::HalfOpen => return swallow(client).await,
        Mode::Refuse => return Err(io::ErrorKind::ConnectionReset.into()),
        Mode::Pass | Mode::Stall | Mode::Delay(_) => {}
    }
    let upstream = (Ipv4Addr::LOCALHOST, shared.upstream.load(Ordering::SeqCst));
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ended = tokio::select! {
        ended = pump(client, &server, shared, true) => Some(ended),
        ended = pump(&server, client, shared, false) => Some(ended),
        _ = mode.wait_for(|mode| *mode == Mode::HalfOpen) => None,
    };
    match ended {
        Some(ended) => ended,
        // The server's end stays open too, holding what it holds.
        None => swallow(client).await,
    }
}

/// Reads and forgets until the client itself gives up.
async fn swallow(client: &TcpStream) -> io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        client.readable().await?;
        match client.try_read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Carries bytes one way, as the mode allows. `outward` says that this is the client's way.
async fn pump(from: &TcpStream, to: &TcpStream, shared: &Shared, outward: bool) -> io::Result<()> {
    let mut mode = shared.mode.subscribe();
    let mut bytes = vec![0; 16 << 10];
    loop {
        from.readable().await?;
        let read = match from.try_read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let now = *mode.borrow();
        if let Mode::Delay(late) = now {
            // Time itself: this is how late it is.
            sleep_until(Instant::now() + late).await;
        }
        let passes = |mode: &Mode| matches!(mode, Mode::Pass | Mode::Delay(_));
        mode.wait_for(passes).await.map_err(io::Error::other)?;
        spring(shared, &bytes[..read], outward).await?;
        let answered = !outward && holds(&bytes[..read], b"COMMIT\0");
        let last = answered && *shared.trap.borrow() == Some(Trap::OnceCommitted);
        let mut rest = &bytes[..read];
        while !rest.is_empty() {
            to.writable().await?;
            match to.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if last {
            shared.trap.send_replace(None);
            shared.mode.send_replace(Mode::Stall);
            shared.caught.notify_one();
        }
    }
}

fn holds(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|at| at == word)
}

/// Holds what was read for as long as the trap is set, where it is the trap's prey.
async fn spring(shared: &Shared, bytes: &[u8], outward: bool) -> io::Result<()> {
    let prey = match *shared.trap.borrow() {
        Some(Trap::BeforeCommit) => outward && holds(bytes, b"COMMIT"),
        // The tag of the command's answer.
        Some(Trap::AfterCommit) => !outward && holds(bytes, b"COMMIT\0"),
        Some(Trap::OnceCommitted) | None => false,
    };
    if prey {
        let mut trap = shared.trap.subscribe();
        shared.caught.notify_one();
        trap.wait_for(Option::is_none)
            .await
            .map_err(io::Error::other)?;
    }
    Ok(())
}
