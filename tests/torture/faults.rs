//! What is done to the pods and to their database, in an order that the seed decides.
//!
//! Three lanes run at once: one does things to the pods with even numbers, one to those with odd
//! ones, one to the database; within a lane one fault ends before the next begins.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    cast::{Dice, boot},
    cluster::{Stop, free_port},
    proxy::Mode,
    record::Fault,
    world::World,
};

/// How many of the newest rows pruning leaves.
const KEPT: i64 = 20;

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A pod's process is killed and started again.
    Kill,
    /// A pod in this process is ended in order and started again, on a machine whose clock is off.
    Again,
    /// A pod's process stands still for a while.
    Freeze,
    /// A pod's bytes wait.
    Stall,
    /// A pod's bytes are late.
    Delay,
    /// A pod's connections are reset.
    Cut,
    /// A pod's connections lead nowhere, without a word.
    HalfOpen,
    /// A pod is refused.
    Refuse,
    /// A pod's wall clock is set wrong in another way.
    Clock,
    /// A pod is cut off and what it misses is pruned.
    HistoryLost,
    /// The database is stopped and started; a backup is taken meanwhile.
    Restart,
    /// The database stands still for a while.
    DatabaseStall,
    /// An older backup is put in the database's place.
    Restore,
    /// The connections that follow the feed are ended.
    KillListeners,
    /// The connections that are in a transaction are ended.
    KillWriters,
}

impl Kind {
    /// What a pod in this process can suffer.
    pub(crate) const INSIDE: [Self; 8] = [
        Self::Again,
        Self::Stall,
        Self::Delay,
        Self::Cut,
        Self::HalfOpen,
        Self::Refuse,
        Self::Clock,
        Self::HistoryLost,
    ];
    /// What a process can suffer.
    pub(crate) const OUTSIDE: [Self; 8] = [
        Self::Kill,
        Self::Freeze,
        Self::Stall,
        Self::Delay,
        Self::Cut,
        Self::HalfOpen,
        Self::Refuse,
        Self::HistoryLost,
    ];
    /// What the database can suffer.
    pub(crate) const DATABASE: [Self; 5] = [
        Self::Restart,
        Self::DatabaseStall,
        Self::Restore,
        Self::KillListeners,
        Self::KillWriters,
    ];

    /// Its name in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::Again => "stop and start",
            Self::Freeze => "SIGSTOP",
            Self::Stall => "stall",
            Self::Delay => "delay",
            Self::Cut => "cut",
            Self::HalfOpen => "half-open",
            Self::Refuse => "refuse",
            Self::Clock => "wall clock",
            Self::HistoryLost => "history lost",
            Self::Restart => "database restart",
            Self::DatabaseStall => "database stall",
            Self::Restore => "restore (fork)",
            Self::KillListeners => "listeners ended",
            Self::KillWriters => "writers ended",
        }
    }
}

/// One thing to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Planned {
    kind: Kind,
    seat: usize,
    /// Milliseconds before it begins.
    rest: i64,
    /// Milliseconds that it lasts, where that is for us to say.
    lasts: i64,
}

/// A row of things to be done, one after another, without end.
struct Lane {
    dice: Dice,
    seats: Vec<(usize, bool)>,
    only: Option<&'static [Kind]>,
    deck: Vec<Planned>,
}

impl Lane {
    /// One whose seats are these, each with whether it is a process; none = the database's.
    fn new(
        seed: u64,
        number: u64,
        seats: Vec<(usize, bool)>,
        only: Option<&'static [Kind]>,
    ) -> Self {
        Self {
            dice: Dice::new(seed, 10 + number),
            seats,
            only,
            deck: Vec::new(),
        }
    }

    /// The next one; every kind comes once before any comes again.
    fn next(&mut self) -> Option<Planned> {
        if self.deck.is_empty() {
            let mut deck = Vec::new();
            let mut deal = |seat: usize, kinds: &[Kind]| {
                for kind in kinds {
                    if self.only.is_none_or(|only| only.contains(kind)) {
                        deck.push((*kind, seat));
                    }
                }
            };
            if self.seats.is_empty() {
                deal(0, &Kind::DATABASE);
            }
            for (seat, outside) in &self.seats {
                deal(
                    *seat,
                    if *outside {
                        &Kind::OUTSIDE
                    } else {
                        &Kind::INSIDE
                    },
                );
            }
            self.dice.shuffle(&mut deck);
            for (kind, seat) in deck {
                let rests = if self.seats.is_empty() {
                    1_500..3_500
                } else {
                    500..1_800
                };
                let lasts = match kind {
                    Kind::Freeze => 500..4_000,
                    Kind::HistoryLost => 900..1_600,
                    Kind::Cut | Kind::KillListeners | Kind::Kill | Kind::Again => 0..1,
                    Kind::KillWriters => 300..600,
                    _ => 300..3_200,
                };
                self.deck.push(Planned {
                    kind,
                    seat,
                    rest: self.dice.within(rests.start, rests.end),
                    lasts: self.dice.within(lasts.start, lasts.end),
                });
            }
        }
        self.deck.pop()
    }
}

/// Does things until so long before the run is over; everything is as before when this ends.
pub(crate) async fn play(world: Arc<World>, before: Duration) {
    let (even, odd): (Vec<_>, Vec<_>) = world
        .seats
        .iter()
        .enumerate()
        .map(|(at, seat)| (at, seat.outside))
        .partition(|(at, _)| at % 4 < 2);
    let mut lanes = JoinSet::new();
    for (number, seats) in (0..).zip([Vec::new(), even, odd]) {
        if number > 0 && seats.is_empty() {
            continue;
        }
        let mut lane = Lane::new(world.plan.seed, number, seats, world.plan.faults);
        let world = Arc::clone(&world);
        lanes.spawn(async move {
            while let Some(planned) = lane.next() {
                let lasts = millis(planned.lasts);
                // Time itself: what comes between two faults.
                sleep_until(Instant::now() + millis(planned.rest)).await;
                if world.is_over(lasts + before) {
                    return;
                }
                let begun = boot();
                perform(&world, planned).await;
                let on_pod = !Kind::DATABASE.contains(&planned.kind);
                world.faults.lock().expect("the faults").push(Fault {
                    kind: planned.kind.name(),
                    pod: on_pod.then_some(world.seats[planned.seat].number),
                    begun,
                    ended: boot(),
                });
            }
        });
    }
    lanes.join_all().await;
}

fn millis(millis: i64) -> Duration {
    Duration::from_millis(millis.unsigned_abs())
}

async fn perform(world: &Arc<World>, planned: Planned) {
    let Planned {
        kind, seat, lasts, ..
    } = planned;
    let proxy = &world.seats[seat].proxy;
    // Time itself: how long a fault lasts.
    let it_lasts = || sleep_until(Instant::now() + millis(lasts));
    match kind {
        Kind::Stall | Kind::Delay | Kind::HalfOpen | Kind::Refuse | Kind::HistoryLost => {
            proxy.set(match kind {
                Kind::Stall => Mode::Stall,
                Kind::Delay => Mode::Delay(millis(lasts % 180 + 5)),
                Kind::HalfOpen => Mode::HalfOpen,
                _ => Mode::Refuse,
            });
            it_lasts().await;
            if kind == Kind::HistoryLost {
                prune(world).await;
            }
            proxy.set(Mode::Pass);
        }
        Kind::Cut => proxy.cut(),
        Kind::Clock => {
            let hours = lasts % 11 - 5;
            world.seats[seat].clock.set(hours * 3_600_000_000);
        }
        Kind::Kill | Kind::Again => {
            let (all, runtime) = (Arc::clone(world), tokio::runtime::Handle::current());
            let again = spawn_blocking(move || {
                all.seats[seat].end();
                all.seats[seat].start(&runtime);
            });
            again.await.expect("another life");
        }
        Kind::Freeze => {
            world.seats[seat].freeze(true);
            it_lasts().await;
            world.seats[seat].freeze(false);
        }
        Kind::DatabaseStall => {
            world.cluster.stall();
            it_lasts().await;
            world.cluster.resume();
        }
        Kind::Restart => {
            let how = if lasts % 2 == 0 {
                Stop::Immediate
            } else {
                Stop::Fast
            };
            at_the_database(world, move |world| {
                world.cluster.stop(how);
                world.cluster.back_up();
            })
            .await;
            it_lasts().await;
            at_the_database(world, |world| world.cluster.start()).await;
        }
        Kind::Restore => restore(world).await,
        Kind::KillListeners => end_backends(world, "query LIKE '%pg_is_in_recovery%'").await,
        Kind::KillWriters => {
            let until = Instant::now() + millis(lasts);
            while Instant::now() < until {
                end_backends(world, "xact_start IS NOT NULL").await;
                sleep_until(Instant::now() + Duration::from_millis(20)).await;
            }
        }
    }
}

async fn at_the_database(world: &Arc<World>, act: impl FnOnce(&World) + Send + 'static) {
    let world = Arc::clone(world);
    let done = spawn_blocking(move || act(&world));
    done.await.expect("something done to the database");
}

/// Puts the last backup in the database's place, once the witness has read what will be lost.
async fn restore(world: &Arc<World>) {
    let mut witness = world.witness.lock().await;
    let aside = free_port();
    at_the_database(world, move |world| {
        world.cluster.stop(Stop::Immediate);
        // Where no pod finds it, it tells what was committed to the very last.
        world.cluster.start_at(aside);
    })
    .await;
    let ended = boot();
    witness.look_at(aside).await;
    assert!(
        witness.catch_up().await,
        "the database tells its last words"
    );
    witness.read_targets().await;
    at_the_database(world, |world| {
        world.cluster.stop(Stop::Fast);
        world.cluster.restore();
        world.cluster.start();
    })
    .await;
    witness.look_at(world.cluster.port).await;
    witness.fork(ended).await;
}

/// Prunes the feed, but for what the witness has not read and the newest rows.
async fn prune(world: &World) {
    let mut witness = world.witness.lock().await;
    if !witness.catch_up().await {
        return;
    }
    let head = i64::try_from(witness.present().head()).expect("a revision");
    let delete = sqlx::query("DELETE FROM feed WHERE rev < $1")
        .bind(head - KEPT)
        .execute(&witness.pool);
    // A database that is away keeps its rows.
    let _ = timeout(Duration::from_secs(2), delete).await;
}

async fn end_backends(world: &World, which: &'static str) {
    let pool = world.witness.lock().await.pool.clone();
    let text = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND {which}"
    );
    let ended = sqlx::query(sqlx::AssertSqlSafe(text));
    // A database that is away has none.
    let _ = timeout(Duration::from_secs(2), ended.execute(&pool)).await;
}
