//! Connections to the database, lent one at a time, for which nobody waits without end.
//!
//! sqlx has a pool, but one for callers who wait for what they began and for peers that answer.
//! A future dropped while its BEGIN is under way gives back a connection that is in a transaction
//! and does not know it: the next tail on it would see a frozen snapshot and renew the lease by it,
//! the next acknowledged write would never be committed. A peer that is gone without a word keeps
//! a place in the pool for a quarter of an hour, on the way out of the pool as on the way back.
//!
//! Here a connection comes back only when all that was asked of it has been answered. One whose
//! caller went away in the middle is asked to roll back, apart from everybody and for a second at
//! the most. One that did not answer in time, or of which it is not known whether it is in a
//! transaction, is closed by letting go of its socket, which needs no answer. On the way to an
//! acknowledged write that costs nothing: its BEGIN is what an idle connection is tried by.

mod lent;
mod whose;

use std::{
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{
    AnyConnection, AssertSqlSafe, ConnectOptions, Executor, SqlSafeStr, SqlStr,
    any::AnyConnectOptions,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::{Instant, sleep, timeout_at},
};

pub(super) use self::{
    lent::{Lent, silent},
    whose::Whose,
};

type Asked<T> = Result<T, sqlx::Error>;

/// How long a connection is waited for in all; a write answers within three seconds.
const ACQUIRE: Duration = Duration::from_millis(2_500);
/// How long one attempt to connect may take; a lost packet is sent again only after a second.
const CONNECT: Duration = Duration::from_secs(1);
/// How soon a connection that was idle must show that it lives.
const SIGN: Duration = Duration::from_millis(500);
/// A connection that answered so recently is taken to live.
const TRUSTED: Duration = Duration::from_millis(100);
/// The longest pause between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(200);
/// After so long a connection is not used again: servers grow fat with age.
const LIFE: Duration = Duration::from_mins(30);
/// After so long without use a connection is closed.
const IDLE: Duration = Duration::from_mins(10);

/// What the connections of a pool are like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// The most of them at once.
    pub(super) most: usize,
    /// What each is told first.
    pub(super) greeting: Option<&'static str>,
    /// What begins the transaction that a statement which stands alone runs in, where it needs one:
    /// who asks, and about whose rows, is said of a transaction.
    pub(super) lone: Option<&'static str>,
    /// Whether each transaction says whose rows it is about.
    pub(super) says_whose: bool,
    /// Whether a server keeps what was prepared, and that is found there again.
    pub(super) prepares: bool,
    /// How long a statement may be silent.
    pub(super) answer: Duration,
    /// Whether the other end may vanish: a file's never does, but keeps one waiting for its lock.
    pub(super) remote: bool,
}

/// A pool of connections; its clones are the same pool.
#[derive(Clone)]
pub(super) struct Pool(Arc<Inner>);

struct Inner {
    options: AnyConnectOptions,
    habits: Habits,
    places: Arc<Semaphore>,
    /// The one used last is at the end.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    conn: AnyConnection,
    born: Instant,
    since: Instant,
}

impl Pool {
    /// A pool in which there is no connection yet.
    pub(super) fn new(url: &str, habits: Habits) -> Asked<Self> {
        Ok(Self(Arc::new(Inner {
            options: AnyConnectOptions::from_str(url)?,
            habits,
            places: Arc::new(Semaphore::new(habits.most)),
            idle: Mutex::default(),
        })))
    }

    /// Lends a connection for statements that stand alone.
    pub(super) async fn lend(&self, whose: Whose<'_>) -> Asked<Lent> {
        let begin = self.0.habits.lone.map(|begin| self.said(begin, whose));
        self.lend_with(begin).await
    }

    /// Lends a connection for what begins and ends a transaction by itself.
    pub(super) async fn lend_bare(&self) -> Asked<Lent> {
        self.lend_with(None).await
    }

    /// Lends a connection in a transaction that this begins.
    pub(super) async fn begin(&self, begin: &'static str, whose: Whose<'_>) -> Asked<Lent> {
        self.lend_with(Some(self.said(begin, whose))).await
    }

    /// The same, if half of the connections stay free and the work is another machine's: a file is read by this
    /// process, which a second reader would take from checks what it gives to a load.
    pub(super) async fn begin_if_to_spare(
        &self,
        begin: &'static str,
        whose: Whose<'_>,
    ) -> Option<Lent> {
        let Inner { places, habits, .. } = &*self.0;
        if !habits.remote || places.available_permits() <= habits.most / 2 {
            return None;
        }
        let place = Arc::clone(places).try_acquire_owned().ok()?;
        let until = Instant::now() + ACQUIRE;
        let begin = Some(self.said(begin, whose));
        self.lend_in(place, until, begin).await.ok()
    }

    fn said(&self, begin: &'static str, whose: Whose<'_>) -> SqlStr {
        if self.0.habits.says_whose {
            AssertSqlSafe(whose.said_by(begin)).into_sql_str()
        } else {
            SqlStr::from_static(begin)
        }
    }

    async fn lend_with(&self, begin: Option<SqlStr>) -> Asked<Lent> {
        let until = Instant::now() + ACQUIRE;
        let place = Arc::clone(&self.0.places).acquire_owned();
        match timeout_at(until, place).await {
            Ok(Ok(place)) => self.lend_in(place, until, begin).await,
            Ok(Err(_)) => Err(sqlx::Error::PoolClosed),
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// Lends the first connection that shows that it lives: the one used last, else a new one.
    async fn lend_in(
        &self,
        mut place: OwnedSemaphorePermit,
        until: Instant,
        begin: Option<SqlStr>,
    ) -> Asked<Lent> {
        let idle = self.idle().pop();
        if let Some(Idle { conn, born, since }) = idle {
            let mut lent = Lent::new(self.clone(), place, conn, born);
            let limit = if self.0.habits.remote {
                until.min(Instant::now() + SIGN)
            } else {
                until
            };
            let shown = async {
                match &begin {
                    Some(begin) => lent.begin(begin.clone()).await,
                    None if since.elapsed() > TRUSTED => lent.ping().await,
                    None => Ok(()),
                }
            };
            let error = match timeout_at(limit, shown).await {
                Ok(Ok(())) => return Ok(lent),
                Ok(Err(error)) => error,
                Err(_) => silent(),
            };
            place = lent.close()?;
            // The others have been silent for longer still.
            self.forget(&error);
        }
        let conn = self.connect(until).await?;
        let mut lent = Lent::new(self.clone(), place, conn, Instant::now());
        if let Some(begin) = begin {
            let answer = timeout_at(until, lent.begin(begin)).await;
            answer.map_err(|_| silent())??;
        }
        Ok(lent)
    }

    async fn connect(&self, until: Instant) -> Asked<AnyConnection> {
        let mut pause = Duration::from_millis(10);
        loop {
            let limit = until.min(Instant::now() + CONNECT);
            let error = match timeout_at(limit, self.greet()).await {
                Ok(Ok(conn)) => return Ok(conn),
                Ok(Err(error)) if !may_pass(&error) => return Err(error),
                Ok(Err(error)) => error,
                Err(_) => sqlx::Error::PoolTimedOut,
            };
            if Instant::now() + pause >= until {
                return Err(error);
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE);
        }
    }

    async fn greet(&self) -> Asked<AnyConnection> {
        let options = self.0.options.clone();
        let connecting = async move { options.connect().await };
        let mut conn = if self.0.habits.remote {
            connecting.await?
        } else {
            // A file is read by a thread of its own, which has the rank of the one that began it; those that may
            // block give way to checks and to the feed.
            let handle = Handle::current();
            let connected = spawn_blocking(move || handle.block_on(connecting)).await;
            connected.unwrap_or(Err(sqlx::Error::WorkerCrashed))?
        };
        if let Some(greeting) = self.0.habits.greeting {
            conn.execute(greeting).await?;
        }
        Ok(conn)
    }

    /// Whether a statement that was prepared finds its server again.
    fn keeps_statements(&self) -> bool {
        self.0.habits.prepares
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back a connection of which all is known.
    fn keep(&self, conn: AnyConnection, born: Instant) {
        if !self.0.habits.remote {
            let since = Instant::now();
            return self.idle().push(Idle { conn, born, since });
        }
        if born.elapsed() > LIFE {
            return;
        }
        let since = Instant::now();
        let mut idle = self.idle();
        idle.retain(|one| one.since.elapsed() < IDLE);
        idle.push(Idle { conn, born, since });
    }

    /// Closes the connections that nobody uses.
    fn forget(&self, error: &sqlx::Error) {
        let idle = std::mem::take(&mut *self.idle());
        let others = idle.len();
        tracing::info!(%error, others, "an idle connection to the database was dead");
    }
}

/// Whether to try again may help: nobody there yet, or the server is starting up.
fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => true,
        sqlx::Error::Database(error) => error.is_transient_in_connect_phase(),
        _ => false,
    }
}
