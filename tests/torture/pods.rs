//! The pods: some in this process, their wall clocks off, some processes of the real binary; each
//! behind a proxy of its own.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bancheck::{
    auth::Limits,
    config::Config,
    feed::{Machine, ThisMachine},
    server::Server,
    store::Place,
    telemetry::LogFormat,
};
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};

use crate::{
    process::{MASTER_KEY, Pod},
    proxy::Proxy,
};

/// A machine whose wall clock somebody has set wrong.
#[derive(Default)]
pub(crate) struct WrongClock(AtomicI64);

impl WrongClock {
    /// Sets it wrong by so many microseconds.
    pub(crate) fn set(&self, off: i64) {
        self.0.store(off, Ordering::SeqCst);
    }
}

impl Machine for WrongClock {
    fn boot(&self) -> i64 {
        ThisMachine.boot()
    }

    fn wall(&self) -> i64 {
        ThisMachine.wall() + self.0.load(Ordering::SeqCst)
    }
}

/// Where a pod is reached while it lives.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    /// Counts from 1.
    pub(crate) number: u16,
    pub(crate) check: Channel,
    pub(crate) admin: Channel,
}

/// What there is of a pod at the moment.
enum Body {
    Inside(Box<Server>),
    Outside(Pod),
    Dead,
}

/// A place for a pod.
pub(crate) struct Seat {
    pub(crate) number: u8,
    pub(crate) proxy: Proxy,
    /// Whether it is a process of its own.
    pub(crate) outside: bool,
    pub(crate) clock: Arc<WrongClock>,
    life: watch::Sender<Option<Life>>,
    body: Mutex<Body>,
    lives: AtomicI64,
    variables: Vec<(String, String)>,
}

impl Seat {
    /// A place that is empty yet; the variables are for processes.
    pub(crate) fn new(
        number: u8,
        outside: bool,
        proxy: Proxy,
        variables: Vec<(String, String)>,
    ) -> Self {
        Self {
            number,
            proxy,
            outside,
            clock: Arc::default(),
            life: watch::Sender::new(None),
            body: Mutex::new(Body::Dead),
            lives: AtomicI64::new(0),
            variables,
        }
    }

    /// Where the pod is reached, now and later.
    pub(crate) fn life(&self) -> watch::Receiver<Option<Life>> {
        self.life.subscribe()
    }

    /// Starts a pod; blocks until it listens. `runtime` is where its clients live.
    pub(crate) fn start(&self, runtime: &tokio::runtime::Handle) {
        let (body, check, admin) = if self.outside {
            let log = "warn,bancheck::cli=info";
            let pod = Pod::start_with(&self.proxy.url(), true, log, &self.variables);
            let (check, admin) = (pod.check.clone(), pod.admin.clone());
            (Body::Outside(pod), check, admin)
        } else {
            let config = config(&self.proxy.url());
            let machine: Arc<dyn Machine> = Arc::<WrongClock>::clone(&self.clock);
            // A free port may be somebody else's a moment later.
            let server = (0..5)
                .find_map(|_| Server::start_on(&config, Arc::clone(&machine)).ok())
                .expect("a server");
            let (check, admin) = (server.check, server.admin);
            let url = |address: SocketAddr| format!("http://{address}");
            (Body::Inside(Box::new(server)), url(check), url(admin))
        };
        let _in = runtime.enter();
        let connect = |url: String| Endpoint::from_shared(url).expect("a URL").connect_lazy();
        let life = Life {
            number: u16::try_from(self.lives.fetch_add(1, Ordering::SeqCst) + 1).expect("lives"),
            check: connect(check),
            admin: connect(admin),
        };
        *self.body.lock().expect("a body") = body;
        self.life.send_replace(Some(life));
    }

    /// Stops the process where it stands, or lets it go on.
    pub(crate) fn freeze(&self, still: bool) {
        if let Body::Outside(pod) = &*self.body.lock().expect("a body") {
            if still { pod.freeze() } else { pod.thaw() }
        }
    }

    /// The newest lines of its log, where it keeps one.
    pub(crate) fn log(&self) -> Vec<String> {
        match &*self.body.lock().expect("a body") {
            Body::Outside(pod) => pod.log(),
            Body::Inside(_) | Body::Dead => Vec::new(),
        }
    }

    /// Ends the pod: a process as a crash would, one in this process in order; blocks.
    pub(crate) fn end(&self) {
        self.life.send_replace(None);
        let body = std::mem::replace(&mut *self.body.lock().expect("a body"), Body::Dead);
        match body {
            Body::Inside(server) => server.stop(Duration::ZERO),
            Body::Outside(pod) => pod.kill(),
            Body::Dead => {}
        }
    }
}

/// What a pod in this process runs on.
fn config(url: &str) -> Config {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        check_listen: any_port,
        admin_listen: any_port,
        metrics_listen: any_port,
        place: Place::Postgres {
            url: url.to_owned(),
            bell: true,
            apart: bancheck::store::Apart::default(),
        },
        master_key: Some(MASTER_KEY),
        other_master_keys: Vec::new(),
        check_threads: 1,
        view_bytes: 64 << 20,
        auth: false,
        jwt: None,
        tls: None,
        traces: None,
        limits: Limits::default(),
        connection_age: None,
        drain_delay: Duration::ZERO,
        unknown_variables: Vec::new(),
        log: "off".to_owned(),
        log_format: LogFormat::Pretty,
    }
}
