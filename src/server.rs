//! The server: everything is built first, then run, and ended in order.
//!
//! Checks are answered on threads of their own, one runtime and one listening socket each; the feed
//! has a thread of its own, the desk and everything else share a pool. Nothing on the admin side or
//! in the feed can delay a check.

mod boot;
mod listen;
mod services;

use std::{net::SocketAddr, sync::Arc, thread::JoinHandle, time::Duration};

use anyhow::Context;
use tokio::{runtime::Runtime, sync::oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::boot::{data_lock, master_key};
use self::{listen::Bound, services::Services};
use crate::{
    checker::Checker,
    config::Config,
    desk::Desk,
    domain::keys::MasterKey,
    feed::{self, Feed},
    store::{self, Store},
    telemetry::Counters,
    views::Views,
};

/// How long requests in flight may take to finish once the server is ending.
const FINISH: Duration = Duration::from_secs(10);

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
    stop: CancellationToken,
    tasks: TaskTracker,
    admin_runtime: Runtime,
    threads: Vec<JoinHandle<()>>,
    /// An embedded store's first tenant being made.
    first_tenant: Option<tokio::task::JoinHandle<()>>,
    failed: oneshot::Receiver<anyhow::Error>,
    _data: Option<std::fs::File>,
}

impl Server {
    /// Builds a server and sets it going. It answers `NOT_SERVING` until its store has been read.
    ///
    /// Whatever can fail for good fails here; a database that is away is waited for.
    pub fn start(config: &Config) -> anyhow::Result<Self> {
        let data = boot::data_lock(&config.place)?;
        let keys = MasterKey::new(&boot::master_key(config)?);
        let bound = Bound::bind(config)?;
        let admin_runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("admin")
            .enable_all()
            .build()
            .context("cannot start threads")?;
        let store: Arc<dyn Store> = admin_runtime.block_on(store::open(&config.place))?;

        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let counters = Arc::new(Counters::new());
        let views = Views::new(config.view_bytes);
        let (feed, source) = Feed::new(keys.clone());
        let checker = Arc::new(Checker::new(
            feed.clone(),
            views.clone(),
            Arc::clone(&counters),
        ));
        let desk = Desk::new(
            Arc::clone(&store),
            feed.clone(),
            keys.clone(),
            Arc::clone(&counters),
            tasks.clone(),
        );
        let services = Services::new(checker, desk.clone(), feed.clone(), counters, views.clone())?;

        let (fail, failed) = oneshot::channel();
        let mut threads = Vec::new();
        let embedded = matches!(config.place, store::Place::Sqlite(_));
        let follows = {
            let stop = stop.clone();
            async move {
                match boot::prepare(&*store, &keys, &stop).await {
                    Ok(true) => {
                        let options = feed::Options::default();
                        feed::run(source, store, views, options, stop).await;
                    }
                    Ok(false) => {}
                    // Nobody listens any more: the server is ending anyway.
                    Err(error) => drop(fail.send(error)),
                }
            }
        };
        threads.push(listen::on_thread("feed", follows)?);
        let first_tenant =
            embedded.then(|| tasks.spawn_on(boot::first_tenant(desk), admin_runtime.handle()));
        let (check, admin, metrics) = bound.addresses()?;
        threads.extend(listen::serve(
            bound,
            &services,
            &admin_runtime,
            &tasks,
            &stop,
        )?);
        tasks.spawn_on(
            services.clone().tell_health(stop.clone()),
            admin_runtime.handle(),
        );
        Ok(Self {
            check,
            admin,
            metrics,
            feed,
            services,
            drain_delay: config.drain_delay,
            stop,
            tasks,
            admin_runtime,
            threads,
            first_tenant,
            failed,
            _data: data,
        })
    }

    /// Waits until the server can answer checks, or has failed.
    pub fn ready(&mut self) -> anyhow::Result<()> {
        let Self {
            admin_runtime,
            feed,
            first_tenant,
            failed,
            ..
        } = self;
        let ready = async {
            feed.warm().await;
            if let Some(made) = first_tenant.take() {
                // Its failure has been logged, and tenants can be made by hand.
                let _ = made.await;
            }
        };
        admin_runtime.block_on(async {
            tokio::select! {
                () = ready => Ok(()),
                error = failed => Err(error.unwrap_or_else(|_| anyhow::anyhow!("the feed ended"))),
            }
        })
    }

    /// Runs until a signal or a failure, then ends in order.
    pub fn run(mut self) -> anyhow::Result<()> {
        let ended = {
            let Self {
                admin_runtime,
                failed,
                ..
            } = &mut self;
            admin_runtime.block_on(async {
                tokio::select! {
                    signal = boot::signal() => signal.map(|()| None),
                    Ok(error) = failed => Ok(Some(error)),
                }
            })?
        };
        if let Some(error) = ended {
            self.stop(Duration::ZERO);
            return Err(error);
        }
        tracing::info!("ending: no new work is taken");
        let delay = self.drain_delay;
        self.stop(delay);
        tracing::info!("ended");
        Ok(())
    }

    /// Ends in order: health says no, the delay passes, listeners close, what is in flight finishes.
    pub fn stop(self, delay: Duration) {
        let Self {
            services,
            stop,
            tasks,
            admin_runtime,
            threads,
            ..
        } = self;
        admin_runtime.block_on(async {
            services.not_serving().await;
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                // A second signal ends at once.
                _ = boot::signal(), if !delay.is_zero() => {}
            }
            stop.cancel();
            tasks.close();
            let finished = tokio::time::timeout(FINISH, tasks.wait()).await;
            if finished.is_err() {
                tracing::warn!("some requests did not finish in time");
            }
        });
        for thread in threads {
            // A thread that panicked has said so; there is nothing left to end.
            let _ = thread.join();
        }
        admin_runtime.shutdown_timeout(Duration::from_secs(1));
    }
}
