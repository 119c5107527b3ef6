//! What lies between one pod and the database: it delays, hangs, cuts, loses answers and bells.

use std::{
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use bancheck::store::{Result, StoreError};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};

use super::random::Random;

/// Which connections of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// The feed's own.
    Link = 0,
    /// All the others.
    Pool = 1,
}

/// Which way something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToDatabase,
    Back,
}

/// What is wrong with a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// Connections break, and no new one is made.
    Cut,
    /// Nothing arrives, and nobody is told.
    Stalled,
    /// Answers take so long; what is asked arrives as ever.
    SlowAnswers(Duration),
    /// What is asked arrives and is done; the answer never comes.
    LostAnswers,
}

/// The life of a pod's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// Stopped, its clocks going on.
    Paused,
    /// Gone for good.
    Dead,
}

#[derive(Clone, Copy, Debug)]
struct Wires {
    faults: [Fault; 2],
    /// Counts the times that connections broke.
    breaks: [u64; 2],
    life: Life,
}

/// The wires of one process of a pod.
pub(crate) struct Network {
    wires: Mutex<Wires>,
    /// Told whenever the wires have changed. It wakes in the order in which others began to wait,
    /// which tokio's `watch` does not.
    changed: Notify,
    random: [Mutex<Random>; 2],
    /// Whether bells get lost.
    pub(crate) deaf: Arc<AtomicBool>,
    /// How far the server lags behind that this pod's connections lead to; `None` = the primary.
    pub(crate) standby: Mutex<Option<Duration>>,
}

/// The connection broke.
pub(crate) fn broken() -> StoreError {
    StoreError::Unavailable(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()))
}

/// How long a statement that writes, one that reads, and a load may be silent until the pool gives
/// their connection up.
pub(crate) const WRITING: Duration = Duration::from_millis(2_200);
pub(crate) const READING: Duration = Duration::from_secs(3);
pub(crate) const SEARCH: Duration = Duration::from_secs(10);

/// Waits for an answer no longer than the pool would.
pub(crate) async fn within<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T>>,
) -> Result<T> {
    let answered = timeout_at(Instant::now() + patience, answer).await;
    answered.unwrap_or_else(|_| Err(broken()))
}

/// How long something takes that only the wires delay: mostly a moment.
///
/// What goes to the database takes a moment at least: nothing is sent and done in one microsecond,
/// which is as finely as a pod's clock can tell two moments apart.
fn delay(random: &mut Random, way: Way) -> Duration {
    let least = u64::from(way == Way::ToDatabase);
    Duration::from_millis(match random.below(20) {
        0..8 => least,
        8..15 => 1,
        15..19 => random.between(2, 9),
        _ => random.between(10, 40),
    })
}

impl Network {
    /// Wires with nothing wrong.
    pub(crate) fn new(random: &Random) -> Self {
        Self {
            wires: Mutex::new(Wires {
                faults: [Fault::None; 2],
                breaks: [0; 2],
                life: Life::Running,
            }),
            changed: Notify::new(),
            random: [1, 2].map(|path| Mutex::new(random.apart(path))),
            deaf: Arc::default(),
            standby: Mutex::default(),
        }
    }

    fn wires(&self) -> Wires {
        *self.wires.lock().expect("nobody panics with the wires")
    }

    fn change(&self, change: impl FnOnce(&mut Wires)) {
        change(&mut self.wires.lock().expect("nobody panics with the wires"));
        self.changed.notify_waiters();
    }

    async fn until(&self, holds: impl Fn(Wires) -> bool) {
        loop {
            let changed = self.changed.notified();
            if holds(self.wires()) {
                return;
            }
            changed.await;
        }
    }

    /// Does something to a path.
    pub(crate) fn suffer(&self, path: Path, fault: Fault) {
        self.change(|wires| {
            wires.faults[path as usize] = fault;
            if fault == Fault::Cut {
                wires.breaks[path as usize] += 1;
            }
        });
    }

    /// Breaks every connection; new ones can be made.
    pub(crate) fn reset(&self) {
        self.change(|wires| wires.breaks = wires.breaks.map(|count| count + 1));
    }

    /// Pauses the process, lets it go on, or ends it.
    pub(crate) fn live(&self, life: Life) {
        self.change(|wires| {
            if wires.life != Life::Dead {
                wires.life = life;
            }
        });
    }

    /// How the process is.
    pub(crate) fn life(&self) -> Life {
        self.wires().life
    }

    /// Waits until the process runs; for ever, where it is dead.
    pub(crate) async fn awake(&self) {
        self.until(|wires| wires.life == Life::Running).await;
    }

    /// A number from a path's own chance.
    pub(crate) fn drawn<T>(&self, path: Path, draw: impl FnOnce(&mut Random) -> T) -> T {
        let mut random = self.random[path as usize]
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        draw(&mut random)
    }

    /// How often the connections of a path have broken so far.
    pub(crate) fn breaks(&self, path: Path) -> u64 {
        self.wires().breaks[path as usize]
    }

    /// Waits until the connections of a path have broken more often than that.
    pub(crate) async fn breaking(&self, path: Path, before: u64) {
        self.until(|wires| wires.breaks[path as usize] != before)
            .await;
    }

    /// Carries something one way on a connection that the pod still holds.
    pub(crate) async fn carry(&self, path: Path, way: Way) -> Result<()> {
        let before = self.breaks(path);
        if self.fault(path) == Fault::Cut {
            return Err(broken());
        }
        let arrives = self.travel(path, way);
        tokio::select! {
            biased;
            () = self.breaking(path, before) => Err(broken()),
            () = arrives => Ok(()),
        }
    }

    /// The same, whether or not the pod still holds the connection: what is under way may arrive
    /// long after it broke, or never; `false` = never.
    pub(crate) async fn carry_blindly(&self, path: Path, way: Way) -> bool {
        if self.carry(path, way).await.is_ok() {
            return true;
        }
        let late = self.drawn(path, |random| {
            random.chance(50).then(|| random.between(1, 1_500))
        });
        match late {
            None => false,
            Some(late) => {
                sleep_until(Instant::now() + Duration::from_millis(late)).await;
                true
            }
        }
    }

    fn fault(&self, path: Path) -> Fault {
        self.wires().faults[path as usize]
    }

    async fn travel(&self, path: Path, way: Way) {
        let mut wait = self.drawn(path, |random| delay(random, way));
        loop {
            match self.fault(path) {
                Fault::SlowAnswers(slow) if way == Way::Back => {
                    wait = self.drawn(path, |random| random.upto(slow));
                }
                Fault::LostAnswers if way == Way::Back => std::future::pending().await,
                Fault::Stalled => {
                    self.until(|wires| wires.faults[path as usize] != Fault::Stalled)
                        .await;
                }
                _ => {}
            }
            if wait.is_zero() {
                return;
            }
            // What hangs while it is under way hangs on the way: the rest of its time comes after.
            let due = Instant::now() + wait;
            let stalls = timeout_at(
                due,
                self.until(|wires| wires.faults[path as usize] == Fault::Stalled),
            );
            if stalls.await.is_err() {
                return;
            }
            wait = due.saturating_duration_since(Instant::now());
        }
    }

    /// Has new connections lead to a standby that lags so far behind, or to the primary; old ones
    /// break.
    pub(crate) fn lead_to(&self, standby: Option<Duration>) {
        let mut leads = self.standby.lock().expect("nobody panics with it");
        if *leads != standby {
            *leads = standby;
            drop(leads);
            self.reset();
        }
    }
}
