//! Watching: what becomes of bans, told to whoever mirrors them.
//!
//! One task follows the feed's rows for all watchers of the pod: it wakes when the pod has applied
//! news, reads the rows once, looks up once how the bans of each stand now, and hands that to the
//! rooms, one for each tenant that is watched and one for all. A watcher that begins in the past
//! reads the rows by itself until it has come as far as that task, and then listens. Who falls
//! behind what a room keeps is told so and cut: the last token it was given is where it goes on.
//!
//! The feed holds no identity, so a change is told as the ban stands when it is looked up, which
//! may be later; what happened in between is then told once more.

mod changes;
mod watching;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::broadcast,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::changes::Step;
pub use self::{
    changes::{BanChange, ChangeKind},
    watching::{Item, Watch, Watching},
};
use crate::{
    domain::{
        ids::TenantId,
        refusal::{Reason, Refusal},
        revision::Position,
    },
    feed::Feed,
    store::Store,
};

/// The most watchers of one tenant, and of all tenants together.
const MAX_WATCHERS: usize = 1_000;
/// How many steps a room keeps for watchers that are slow; each has some thousand bans at the most.
const KEPT: usize = 16;
/// How long the store is left alone after it failed.
const REST: Duration = Duration::from_millis(500);

/// What a room is about: one tenant, or all of them.
type Subject = Option<TenantId>;

/// What was done in some rows of the feed, to those who listen.
#[derive(Debug)]
struct Told {
    /// Every change up to here had been told before.
    before: Position,
    /// Every change up to here has been told now.
    through: Position,
    changes: Vec<Arc<BanChange>>,
}

struct Room {
    news: broadcast::Sender<Arc<Told>>,
    watchers: usize,
}

#[derive(Default)]
struct Rooms {
    by_subject: HashMap<Subject, Room>,
    /// How far the task has told, while it runs.
    told: Option<Position>,
}

struct Shared {
    store: Arc<dyn Store>,
    feed: Feed,
    tasks: TaskTracker,
    stop: CancellationToken,
    rooms: Mutex<Rooms>,
}

/// Where bans are watched.
#[derive(Clone)]
pub struct Watcher(Arc<Shared>);

impl Watcher {
    /// A watcher of a store by way of a feed; all watching ends with `stop`.
    pub fn new(
        store: Arc<dyn Store>,
        feed: Feed,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self(Arc::new(Shared {
            store,
            feed,
            tasks,
            stop,
            rooms: Mutex::default(),
        }))
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to a room from here on, unless the task has told already what came after `at`.
    fn listen(&self, subject: &Subject, at: Position) -> Option<broadcast::Receiver<Arc<Told>>> {
        let here = self.0.feed.standing()?.position;
        let mut rooms = self.rooms();
        let runs = rooms.told.is_some();
        let told = *rooms.told.get_or_insert(here);
        if !runs {
            self.0.tasks.spawn(self.clone().follow(told));
        }
        if told.epoch != at.epoch || told.anchor.revision > at.anchor.revision {
            return None;
        }
        rooms
            .by_subject
            .get(subject)
            .map(|room| room.news.subscribe())
    }

    /// Follows the feed for as long as anybody watches.
    async fn follow(self, mut at: Position) {
        loop {
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                () = self.0.feed.left(at) => {}
            }
            if self.nobody_watches() {
                return;
            }
            match self.tell_from(at).await {
                Some(through) => at = through,
                None => sleep(REST).await,
            }
        }
    }

    /// Whether the task may end; rooms that nobody is in are closed.
    fn nobody_watches(&self) -> bool {
        let mut rooms = self.rooms();
        rooms.by_subject.retain(|_, room| room.watchers > 0);
        if rooms.by_subject.is_empty() {
            rooms.told = None;
        }
        rooms.told.is_none()
    }

    /// Tells the rooms what came after a position, as far as one look at the feed goes, and returns
    /// how far that was; `None` = the store does not say.
    async fn tell_from(&self, at: Position) -> Option<Position> {
        let here = self.0.feed.standing()?.position;
        let rows = match changes::rows(&*self.0.store, at, here).await {
            Ok(rows) => rows,
            Err(refusal) if refusal.reason == Reason::StoreUnavailable => return None,
            Err(_) => {
                // Another history: whoever listens finds out by the epoch and is told so.
                let mut rooms = self.rooms();
                rooms.by_subject.values_mut().for_each(|room| {
                    room.news = broadcast::Sender::new(KEPT);
                });
                rooms.told = Some(here);
                return Some(here);
            }
        };
        let mut before = at;
        for Step { through, rows } in changes::steps(at, rows) {
            let watched: Vec<Subject> = self.rooms().by_subject.keys().cloned().collect();
            let all = watched.contains(&None);
            let wanted = |tenant: &TenantId| all || watched.contains(&Some(tenant.clone()));
            let found = changes::of(&*self.0.store, &rows, wanted).await.ok()?;
            let mut rooms = self.rooms();
            for (subject, room) in &rooms.by_subject {
                let about = |change: &&Arc<BanChange>| {
                    let subject = subject.as_ref();
                    subject.is_none_or(|subject| *subject == change.tenant)
                };
                let told = Told {
                    before,
                    through,
                    changes: found.iter().filter(about).cloned().collect(),
                };
                // Nobody may listen just now.
                let _ = room.news.send(Arc::new(told));
            }
            rooms.told = Some(through);
            before = through;
        }
        Some(before)
    }

    /// Goes into a room.
    fn enter(&self, subject: &Subject) -> Result<Place, Refusal> {
        let mut rooms = self.rooms();
        let room = rooms
            .by_subject
            .entry(subject.clone())
            .or_insert_with(|| Room {
                news: broadcast::Sender::new(KEPT),
                watchers: 0,
            });
        if room.watchers >= MAX_WATCHERS {
            let message =
                format!("{MAX_WATCHERS} watch here already, the most that may; try again");
            return Err(Refusal::new(Reason::Overloaded, message));
        }
        room.watchers += 1;
        Ok(Place {
            watcher: self.clone(),
            subject: subject.clone(),
        })
    }
}

/// One watcher's place in a room.
struct Place {
    watcher: Watcher,
    subject: Subject,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut rooms = self.watcher.rooms();
        if let Some(room) = rooms.by_subject.get_mut(&self.subject) {
            room.watchers = room.watchers.saturating_sub(1);
        }
    }
}

/// Waits until this pod's history includes a position that was told to somebody.
async fn reach(feed: &Feed, position: Position) -> Result<(), Refusal> {
    const PATIENCE: Duration = Duration::from_secs(3);
    let asked = feed.clock().read().boot;
    match timeout(PATIENCE, feed.includes(position, asked)).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(history_lost()),
        Err(_) => {
            let message = "this pod has not heard of that position yet; try again";
            Err(Refusal::new(Reason::StoreUnavailable, message))
        }
    }
}

fn history_lost() -> Refusal {
    let message = "the history that this token speaks of was replaced in a restore or a failover; \
                   begin again with a snapshot";
    Refusal::of_field(Reason::TokenHistoryLost, "start_after.token", message)
}

fn cursor_expired() -> Refusal {
    let message = "what came after this token is not kept any more (24 hours are); begin again with \
                   a snapshot";
    Refusal::of_field(Reason::WatchCursorExpired, "start_after.token", message)
}
