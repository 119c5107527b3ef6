//! The server: everything is built first, then run, and ended in order.
//!
//! Checks are answered on threads of their own, one runtime and one listening socket each; the feed
//! has a thread of its own, the desk and everything else share a pool. Nothing on the admin side or
//! in the feed can delay a check.

mod boot;
mod incoming;
mod listen;
mod resident;
mod rounds;
mod services;
mod talk;
mod tls;
mod traced;
mod unread;

use std::{fs::File, net::SocketAddr, sync::Arc, thread::JoinHandle, time::Duration};

use anyhow::Context;
use tokio::{runtime::Runtime, sync::oneshot, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::boot::{data_lock, forget_own_keys, master_key, new_own_key};
use self::{
    listen::{Bound, Front},
    services::Services,
    tls::Tls,
    traced::TraceLayer,
};
use crate::{
    auth::{Door, GateLayer, Guard, Issuer},
    checker::Checker,
    config::Config,
    desk::Desk,
    domain::keys::MasterKey,
    feed::{self, Feed, Machine, Source, ThisMachine},
    keeper::Keeper,
    store::{Place, Store},
    tally::{self, Tally},
    telemetry::{Counters, Traces},
    views::Views,
    watcher::Watcher,
};

/// How long requests in flight may take to finish once the listeners are closing.
const FINISH: Duration = Duration::from_secs(10);

/// The ends of a server, in their order.
#[derive(Clone, Default)]
struct Ending {
    /// Health says no; everything still answers.
    drain: CancellationToken,
    /// The listeners close; what is in flight finishes.
    close: CancellationToken,
    /// No check is answered any more: the last counts are written down.
    counted: CancellationToken,
    /// Nobody waits for news any more, so the feed ends.
    quiet: CancellationToken,
    /// Nothing is waited for any more.
    at_once: CancellationToken,
}

/// A server that runs.
pub struct Server {
    /// Where checks are answered.
    pub check: SocketAddr,
    /// Where everything else is.
    pub admin: SocketAddr,
    /// Where metrics are.
    pub metrics: SocketAddr,
    feed: Feed,
    services: Services,
    drain_delay: Duration,
    ending: Ending,
    tasks: TaskTracker,
    admin_runtime: Runtime,
    feed_thread: JoinHandle<()>,
    /// Those that answer checks.
    check_threads: Vec<JoinHandle<()>>,
    /// Matches being written down, until no check is answered any more.
    counting: tokio::task::JoinHandle<()>,
    traces: Option<Arc<Traces>>,
    /// What an embedded store begins with being made.
    first_start: Option<tokio::task::JoinHandle<()>>,
    failed: oneshot::Receiver<anyhow::Error>,
    _data: Option<File>,
}

impl Server {
    /// Builds a server and sets it going. It answers `NOT_SERVING` until its store has been read.
    ///
    /// Whatever can fail for good fails here; a database that is away is waited for.
    pub fn start(config: &Config) -> anyhow::Result<Self> {
        Self::start_on(config, Arc::new(ThisMachine))
    }

    /// The same, timed by the clocks of some machine.
    pub fn start_on(config: &Config, machine: Arc<dyn Machine>) -> anyhow::Result<Self> {
        let data = boot::data_lock(&config.place)?;
        let keys = boot::master_key(config)?;
        let bound = Bound::bind(config)?;
        let admin_runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("admin")
            .on_thread_start(listen::give_way)
            .enable_all()
            .build()
            .context("cannot start threads")?;
        let tasks = TaskTracker::new();
        let store = admin_runtime.block_on(boot::store(&config.place))?;

        let ending = Ending::default();
        let counters = Arc::new(Counters::new());
        let tally = Arc::new(Tally::new(Arc::clone(&counters)));
        let views = Views::new(config.view_bytes);
        let (feed, source) = Feed::new(keys.clone(), machine);
        let load = |files| Tls::load(files, Arc::clone(&counters));
        let tls = config.tls.as_ref().map(load).transpose()?;
        let traces = traced::begin(config.traces.as_ref(), &counters, &admin_runtime)?;
        let (door, issuer) = admin_runtime.block_on(door(config, &feed, &keys))?;
        let gate = GateLayer::new(door, config.limits, ending.close.clone());
        let checker = Checker::new(
            feed.clone(),
            views.clone(),
            Arc::clone(&counters),
            Arc::clone(&tally),
        );
        let desk = Desk::new(
            Arc::clone(&store),
            feed.clone(),
            keys.clone(),
            Arc::clone(&counters),
            tasks.clone(),
        );
        let keeper = Keeper::new(Arc::clone(&store), feed.clone(), Arc::clone(&counters));
        let watcher = Watcher::new(
            Arc::clone(&store),
            feed.clone(),
            tasks.clone(),
            ending.close.clone(),
        );
        let services = Services::new(
            Arc::new(checker),
            desk.clone(),
            watcher,
            feed.clone(),
            counters,
            views.clone(),
            ending.clone(),
        )?;

        let (fail, failed) = oneshot::channel();
        let (base, quiet) = (Arc::clone(&store), ending.quiet.clone());
        let options = feed::Options {
            loads_on: Some(admin_runtime.handle().clone()),
            ..feed::Options::default()
        };
        let follows = follow(source, base, views, options, keys, fail, quiet);
        let feed_thread = listen::on_thread("feed", follows)?;
        let front = Front {
            tls: tls.clone(),
            traces: TraceLayer(traces.clone()),
            gate,
        };
        let (check, admin, metrics) = bound.addresses()?;
        let check_threads =
            listen::serve(bound, &services, &front, &admin_runtime, &tasks, &ending)?;
        let on_admin = admin_runtime.handle();
        tasks.spawn_on(services.clone().tell_health(), on_admin);
        tasks.spawn_on(keeper.run(ending.close.clone()), on_admin);
        let counting = tally::run(tally, store, ending.counted.clone());
        let counting = on_admin.spawn(counting);
        tasks.spawn_on(keep_up(issuer, tls, ending.close.clone()), on_admin);
        let first_start = match &config.place {
            Place::Sqlite(folder) => {
                let begins = boot::first_start(desk, folder.clone());
                let close = ending.close.clone();
                // A server that cannot begin would wait for it at its end.
                let begins = async move { close.run_until_cancelled(begins).await.unwrap_or(()) };
                Some(tasks.spawn_on(begins, on_admin))
            }
            Place::Postgres { .. } => None,
        };
        Ok(Self {
            check,
            admin,
            metrics,
            feed,
            services,
            drain_delay: config.drain_delay,
            ending,
            tasks,
            admin_runtime,
            feed_thread,
            check_threads,
            counting,
            traces,
            first_start,
            failed,
            _data: data,
        })
    }

    /// Waits until the server can answer checks, or has failed.
    pub fn ready(&mut self) -> anyhow::Result<()> {
        let Self {
            admin_runtime,
            feed,
            first_start,
            failed,
            ..
        } = self;
        admin_runtime.block_on(wait_until_ready(feed, first_start, failed))
    }

    /// Runs until a signal or a failure, then ends in order; says once when it is ready.
    pub fn run(mut self, say_ready: impl FnOnce()) -> anyhow::Result<()> {
        let Self {
            admin_runtime,
            feed,
            first_start,
            failed,
            ..
        } = &mut self;
        let ended = admin_runtime.block_on(async {
            let runs = async {
                wait_until_ready(feed, first_start, failed).await?;
                say_ready();
                match failed.await {
                    Ok(error) => Err(error),
                    // The feed will not fail any more.
                    Err(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                signal = boot::signal() => signal,
                failed = runs => failed,
            }
        });
        let delay = if ended.is_ok() {
            self.drain_delay
        } else {
            Duration::ZERO
        };
        tracing::info!("ending: no new work is taken");
        self.stop(delay);
        tracing::info!("ended");
        ended
    }

    /// Ends in order: health says no, the delay passes, listeners close, what is in flight
    /// finishes, and only then does the feed fall silent, for writes wait for it.
    pub fn stop(self, delay: Duration) {
        let Self {
            services,
            ending,
            tasks,
            admin_runtime,
            feed_thread,
            check_threads,
            counting,
            traces,
            ..
        } = self;
        admin_runtime.block_on(async {
            let in_order = async {
                ending.drain.cancel();
                services.not_serving().await;
                tokio::time::sleep(delay).await;
                services.forget_health().await;
                ending.close.cancel();
                tasks.close();
                if timeout(FINISH, tasks.wait()).await.is_err() {
                    tracing::warn!("some requests did not finish in time");
                }
            };
            tokio::select! {
                () = in_order => {}
                _ = boot::signal() => {
                    tracing::warn!("a second signal: what is in flight is not waited for");
                    ending.drain.cancel();
                    ending.close.cancel();
                    ending.at_once.cancel();
                }
            }
        });
        // A thread or a task that panicked has said so; there is nothing left to end.
        for thread in check_threads {
            let _ = thread.join();
        }
        // Before the feed: connections that it opened are the store's too, and are carried by its thread.
        ending.counted.cancel();
        let _ = admin_runtime.block_on(counting);
        ending.quiet.cancel();
        let _ = feed_thread.join();
        if let Some(traces) = traces {
            traces.finish();
        }
        admin_runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

/// Who decides whose a request is, and the issuer of tokens, its keys read for the first time.
async fn door(
    config: &Config,
    feed: &Feed,
    keys: &MasterKey,
) -> anyhow::Result<(Door, Option<Issuer>)> {
    if !config.auth {
        return Ok((Door::open(), None));
    }
    let issuer = match &config.jwt {
        Some(settings) => {
            let begun = Issuer::begin(settings).await;
            Some(
                begun
                    .map_err(anyhow::Error::from_boxed)
                    .context("jwt_jwks")?,
            )
        }
        None => None,
    };
    let guard = Guard::new(feed.clone(), keys, issuer.as_ref());
    Ok((Door::Guarded(Box::new(guard)), issuer))
}

/// Has the views follow the feed until all is quiet; tells what fails for good.
async fn follow(
    source: Source,
    store: Arc<dyn Store>,
    views: Views,
    options: feed::Options,
    keys: MasterKey,
    fail: oneshot::Sender<anyhow::Error>,
    quiet: CancellationToken,
) {
    match boot::prepare(&*store, &keys, &quiet).await {
        Ok(true) => feed::run(source, store, views, options, quiet).await,
        Ok(false) => {}
        // Nobody listens any more: the server is ending anyway.
        Err(error) => drop(fail.send(error)),
    }
}

/// Takes over the issuer's keys and the TLS files as they change.
async fn keep_up(issuer: Option<Issuer>, tls: Option<Arc<Tls>>, stop: CancellationToken) {
    let keys = async {
        if let Some(issuer) = issuer {
            issuer.follow(stop.clone()).await;
        }
    };
    let files = async {
        if let Some(tls) = tls {
            tls.follow(stop.clone()).await;
        }
    };
    tokio::join!(keys, files);
}

async fn wait_until_ready(
    feed: &Feed,
    first_start: &mut Option<tokio::task::JoinHandle<()>>,
    failed: &mut oneshot::Receiver<anyhow::Error>,
) -> anyhow::Result<()> {
    let ready = async {
        feed.warm().await;
        if let Some(made) = first_start.take() {
            // Its failure has been logged, and tenants can be made by hand.
            let _ = made.await;
        }
    };
    tokio::select! {
        () = ready => Ok(()),
        error = failed => Err(error.unwrap_or_else(|_| anyhow::anyhow!("the feed ended"))),
    }
}
