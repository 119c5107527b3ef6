//! Listeners and the threads behind them.

use std::{
    convert::Infallible,
    future::Future,
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context;
use http::{Request, Response};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Runtime;
use tokio_stream::StreamExt as _;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;
use tower::{Layer as _, Service};

use super::{
    Ending,
    incoming::{Room, incoming},
    rounds::Rounds,
    services::Services,
    talk::talk,
    tls::Tls,
    traced::TraceLayer,
};
use crate::{auth::GateLayer, config::Config};

const BACKLOG: i32 = 1_024;
/// How many files are for others than connections: the database's, the listeners, the log.
const OTHER_FILES: u64 = 256;
/// How long connections may take to close once asked to; one without a preface never would.
const GOODBYE: Duration = Duration::from_secs(5);

/// The listeners, bound and not yet served.
pub(super) struct Bound {
    /// One for each thread that answers checks; none where the admin listener serves all.
    checks: Vec<TcpListener>,
    admin: TcpListener,
    metrics: TcpListener,
    /// The most at the listener of checks, and at the other.
    connections: usize,
    /// How old one may get.
    age: Option<Duration>,
}

impl Bound {
    pub(super) fn bind(config: &Config) -> anyhow::Result<Self> {
        let admin = bind(config.admin_listen, false)?;
        let metrics = bind(config.metrics_listen, false)?;
        let shared = config.check_listen == config.admin_listen && config.check_listen.port() != 0;
        let mut checks = Vec::new();
        if !shared {
            // Alone first: a port that somebody else shares among threads would be shared with us.
            let alone = bind(config.check_listen, false)?;
            let address = alone.local_addr()?;
            drop(alone);
            for _ in 0..config.check_threads {
                checks.push(bind(address, true)?);
            }
        }
        Ok(Self {
            checks,
            admin,
            metrics,
            connections: connections(config.limits.connections),
            age: config.connection_age,
        })
    }

    pub(super) fn addresses(&self) -> anyhow::Result<(SocketAddr, SocketAddr, SocketAddr)> {
        let admin = self.admin.local_addr()?;
        let check = self
            .checks
            .first()
            .map_or(Ok(admin), TcpListener::local_addr)?;
        Ok((check, admin, self.metrics.local_addr()?))
    }
}

fn bind(address: SocketAddr, shared: bool) -> anyhow::Result<TcpListener> {
    let bound = || -> std::io::Result<TcpListener> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bound().with_context(|| format!("cannot listen on {address}"))
}

/// Has the threads that answer checks go before this one where there are too few cores for both: a tenth
/// of a core is left to it, so that whoever bans somebody in the middle of a flood is served all the same.
pub(super) fn give_way() {
    // Elsewhere it would be the whole process.
    #[cfg(target_os = "linux")]
    // Set and not added: a thread has what the one had that began it. Where it is forbidden all are alike.
    let _ = rustix::process::setpriority_process(None, 10);
}

/// Runs a future on a thread and a runtime of its own; what would block it has other threads, which give way.
pub(super) fn on_thread(
    name: &str,
    future: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_start(give_way)
        .build()?;
    let thread = std::thread::Builder::new().name(name.to_owned());
    Ok(thread.spawn(move || {
        runtime.block_on(future);
        runtime.shutdown_timeout(Duration::from_secs(1));
    })?)
}

/// How many connections each of two listeners may have of so many that are wanted: as many as the
/// system lets this process have files for, which is asked for all that there are.
fn connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        // Some systems give fewer than they say.
        Err(_) => limit.current,
    };
    let Some(files) = files else {
        return wanted;
    };
    let most = usize::try_from(files.saturating_sub(OTHER_FILES) / 2).unwrap_or(usize::MAX);
    let most = most.max(16);
    if most < wanted {
        tracing::warn!(
            files,
            "the system gives this process too few files for max_connections: each listener takes \
             {most}"
        );
    }
    most.min(wanted)
}

/// What is before the services of every listener.
#[derive(Clone)]
pub(super) struct Front {
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) traces: TraceLayer,
    pub(super) gate: GateLayer,
}

/// Serves every listener until told to stop; checks on threads of their own.
pub(super) fn serve(
    bound: Bound,
    services: &Services,
    front: &Front,
    admin_runtime: &Runtime,
    tasks: &TaskTracker,
    ending: &Ending,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let Bound {
        checks,
        admin,
        metrics,
        connections,
        age,
    } = bound;
    let house = |room, age| House {
        front: front.clone(),
        room,
        age,
        ending: ending.clone(),
    };
    let (on_admin, room) = (admin_runtime.handle(), Room::of(connections));
    if checks.is_empty() {
        let answers = serve_grpc(admin, services.all(), house(room, age));
        tasks.spawn_on(answers, on_admin);
    } else {
        // Callers need not be spread over pods here, and most of what lasts is here.
        let answers = serve_grpc(admin, services.admin(), house(room, None));
        tasks.spawn_on(answers, on_admin);
    }
    tasks.spawn_on(
        serve_http(metrics, services.http_routes(), ending.close.clone()),
        on_admin,
    );
    let room = Room::of(connections);
    let on_its_own = |(number, listener): (usize, TcpListener)| {
        let answers = serve_grpc(listener, services.checks(), house(Arc::clone(&room), age));
        on_thread(&format!("check-{number}"), answers)
    };
    checks.into_iter().enumerate().map(on_its_own).collect()
}

/// How connections to a listener are received, and sent off.
struct House {
    front: Front,
    room: Arc<Room>,
    age: Option<Duration>,
    ending: Ending,
}

async fn serve_grpc<S>(listener: TcpListener, services: S, house: House)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let House {
        front: Front { tls, traces, gate },
        room,
        age,
        ending: Ending { close, at_once, .. },
    } = house;
    let services = traces.layer(gate.layer(services));
    let (talks, rounds) = (TaskTracker::new(), Rounds::new());
    // They go on as long as this runtime does, and are not waited for.
    TaskTracker::new().spawn({
        let rounds = Arc::clone(&rounds);
        async move { rounds.run().await }
    });
    // Only as long as connections are taken: then the port is closed, and callers go elsewhere.
    {
        let Ok(incoming) = incoming(listener, tls, room, close.clone()) else {
            return;
        };
        let mut incoming = pin!(incoming);
        loop {
            let taken = tokio::select! {
                () = close.cancelled() => break,
                taken = incoming.next() => taken,
            };
            match taken {
                Some(Ok(connection)) => {
                    let (services, rounds) = (services.clone(), Arc::clone(&rounds));
                    let talk = talk(connection, services, rounds, age, close.clone());
                    talks.spawn(talk);
                }
                // It has been said already, and another may come.
                Some(Err(_)) => {}
                None => break,
            }
        }
    }
    talks.close();
    tokio::select! {
        () = talks.wait() => {}
        // Either way it is over.
        _ = tokio::time::timeout(GOODBYE, at_once.cancelled()) => {
            tracing::warn!("some connections did not close in time");
        }
    }
}

async fn serve_http(listener: TcpListener, routes: axum::Router, stop: CancellationToken) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    tokio::select! {
        served = async { axum::serve(listener, routes).await } => {
            if let Err(error) = served {
                tracing::error!(%error, "the metrics listener failed");
            }
        }
        () = stop.cancelled() => {}
    }
}
