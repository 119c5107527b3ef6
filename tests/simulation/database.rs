//! The model database: one server, every history it ever had, and what it answers at an instant.
//!
//! Nothing here waits. What a call looks like to a pod, late, lost or never answered, is made by
//! `network`; what a transaction does before it commits, by `work`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bancheck::{
    domain::{
        clock::Timestamp,
        ids::TenantId,
        record::{Change, News},
        revision::{Anchor, Epoch, Nonce, Revision},
    },
    store::{Answer, Directory, Intent, StoreError, Tail},
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::task::TaskTracker;

use super::history::{Meta, Row, Tenants, back_until};

/// What a table of bugs calls the ones that a database has and not a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// None: it keeps every clause.
    #[default]
    None,
    /// A feed row tells what its request asked, worked out without the tenant's lock.
    PayloadFromRequest,
    /// Revisions are handed out when a row is written, and seen when it is committed.
    Sequence,
}

/// When the run began, by the clock that only tests can stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start(Instant);

impl Start {
    /// Now.
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    /// True time since.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// The instant so long after.
    pub(crate) fn after(self, time: Duration) -> Instant {
        self.0 + time
    }
}

/// Microseconds of the Unix epoch at which every run begins.
const BEGINNING: i64 = 2_000_000_000_000_000;

/// The same moment as the Unix epoch tells it.
pub(crate) fn unix_micros(at: Duration) -> i64 {
    BEGINNING + i64::try_from(at.as_micros()).expect("a run is short")
}

/// The server that every run begins on, which a pod that is no more has noted down.
const FIRST_SERVER: u64 = 1;

/// Who waits for the bell on a connection.
pub(crate) struct Listener {
    /// A bell on its way there.
    pub(crate) rung: Notify,
    /// Whether bells get lost on the way there.
    pub(crate) deaf: Arc<AtomicBool>,
}

/// What is remembered of a request (S-9).
#[derive(Clone)]
pub(crate) struct Remembered {
    /// The newest row when it was committed, its own if it has one: forgotten when that is lost.
    pub(crate) under: Arc<Row>,
    pub(crate) body: [u8; 16],
    pub(crate) answer: Answer,
}

/// What a transaction leaves.
pub(crate) struct Commit {
    pub(crate) intent: Intent,
    /// The feed row, where there is one, and the number of the server it was begun on.
    pub(crate) change: Option<Change>,
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) answer: Answer,
}

type RequestKey = (TenantId, &'static str, String);

/// So long after an epoch was raised there is no fork: epochs count seconds, and nobody puts a backup back
/// so soon.
const APART: Duration = Duration::from_secs(2);

/// What stands in the database, and what no restore can undo.
pub(crate) struct Ground {
    pub(crate) head: Arc<Row>,
    pub(crate) meta: Meta,
    /// The server as it is: another after each restore and failover.
    pub(crate) server: u64,
    /// Counts restarts: sessions and connections of an earlier one are dead.
    pub(crate) life: u64,
    /// What its clock differs by from true time, in microseconds.
    pub(crate) clock_off: i64,
    /// The oldest row that a fork, or what may be one, has gone on from since the epoch was last raised.
    pub(crate) unnoticed: Option<Revision>,
    /// How often the epoch was raised.
    pub(crate) raises: usize,
    /// What the epoch was raised from and to lately, and whether there was a fork to raise it for.
    pub(crate) raised: Option<(Epoch, Epoch, bool)>,
    /// When it was last raised.
    raised_at: Option<Duration>,
    rows: HashMap<Anchor, Arc<Row>>,
    requests: HashMap<RequestKey, Vec<Remembered>>,
    listeners: Vec<Weak<Listener>>,
    locks: BTreeMap<TenantId, Arc<tokio::sync::Mutex<()>>>,
    /// The number last handed out, where revisions come from a sequence.
    sequence: u64,
}

/// The one database of all pods.
pub(crate) struct Database {
    pub(crate) start: Start,
    pub(crate) flaw: Flaw,
    /// What goes on in the server whoever waits for it.
    pub(crate) tasks: TaskTracker,
    ground: Mutex<Ground>,
}

impl Database {
    /// A database with these tenants in it.
    pub(crate) fn new(start: Start, flaw: Flaw, tenants: Tenants) -> Arc<Self> {
        let anchor = Anchor {
            revision: Revision(1),
            nonce: Nonce(0x5eed),
        };
        let meta = Meta {
            epoch: Epoch(1),
            floor: Revision(1),
            server: Some(FIRST_SERVER),
        };
        let first = Arc::new(Row {
            number: 0,
            depth: 0,
            anchor,
            before: None,
            news: News {
                anchor,
                tenant: None,
                change: Change::Reload,
            },
            tenants: Arc::new(tenants),
            at: Duration::ZERO,
            meta,
        });
        let locks = first.tenants.keys().cloned();
        let ground = Ground {
            meta,
            server: FIRST_SERVER,
            life: 0,
            clock_off: 0,
            unnoticed: None,
            raises: 0,
            raised: None,
            raised_at: None,
            rows: HashMap::from([(anchor, Arc::clone(&first))]),
            requests: HashMap::new(),
            listeners: Vec::new(),
            locks: locks.map(|tenant| (tenant, Arc::default())).collect(),
            sequence: 1,
            head: first,
        };
        Arc::new(Self {
            start,
            flaw,
            tasks: TaskTracker::new(),
            ground: Mutex::new(ground),
        })
    }

    /// What stands there now.
    pub(crate) fn ground(&self) -> MutexGuard<'_, Ground> {
        self.ground
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The newest row.
    pub(crate) fn head(&self) -> Arc<Row> {
        Arc::clone(&self.ground().head)
    }

    /// The lock of a tenant's row; `None` = there is no such tenant.
    pub(crate) fn lock_of(&self, tenant: &TenantId) -> Option<Arc<tokio::sync::Mutex<()>>> {
        self.ground().locks.get(tenant).map(Arc::clone)
    }

    /// What a server tells that stands at `head`; a standby's is older than the primary's.
    pub(crate) fn tail(
        &self,
        head: &Arc<Row>,
        from: Revision,
        limit: usize,
        in_recovery: bool,
    ) -> Tail {
        let ground = self.ground();
        let meta = if in_recovery { head.meta } else { ground.meta };
        let floor = meta.floor.max(ground.meta.floor.min(head.anchor.revision));
        let least = from.max(floor);
        let mut news: Vec<News> = match self.flaw {
            Flaw::Sequence => head
                .back()
                .filter(|row| row.anchor.revision >= least)
                .map(|row| row.news.clone())
                .collect(),
            _ => head
                .back()
                .take_while(|row| row.anchor.revision >= least)
                .map(|row| row.news.clone())
                .collect(),
        };
        news.sort_by_key(|news| news.anchor.revision);
        news.truncate(limit);
        let highest = match self.flaw {
            Flaw::Sequence => head.back().map(|row| row.anchor.revision).max(),
            _ => None,
        };
        Tail {
            floor,
            head: highest.unwrap_or(head.anchor.revision),
            epoch: meta.epoch,
            news,
            in_recovery,
            agreed: in_recovery || meta.server.is_none_or(|server| server == ground.server),
            clock: Timestamp::from_micros(unix_micros(self.start.elapsed()) + ground.clock_off),
        }
    }

    /// Every tenant, as the primary tells it.
    pub(crate) fn directory(&self) -> Directory {
        let ground = self.ground();
        let tenants = ground.head.tenants.iter();
        let kept = |anchor: &Anchor| anchor.revision >= ground.meta.floor;
        let newest_first = ground.head.back().map(|row| row.anchor);
        let mut rows: Vec<_> = newest_first.take_while(kept).collect();
        rows.reverse();
        Directory {
            head: ground.head.anchor,
            rows,
            epoch: ground.meta.epoch,
            clock: Timestamp::from_micros(unix_micros(self.start.elapsed()) + ground.clock_off),
            tenants: tenants
                .map(|(id, tenant)| (id.clone(), tenant.record()))
                .collect(),
            access: Vec::new(),
        }
    }

    /// What is remembered of a request in the history that stands.
    pub(crate) fn remembered(&self, intent: &Intent) -> Option<Remembered> {
        self.request(&intent.tenant, intent.rpc, &intent.request_id)
    }

    /// The same, by its parts.
    pub(crate) fn request(
        &self,
        tenant: &TenantId,
        rpc: &'static str,
        id: &str,
    ) -> Option<Remembered> {
        let ground = self.ground();
        let all = ground.requests.get(&(tenant.clone(), rpc, id.to_owned()))?;
        let standing = all.iter().find(|one| ground.head.includes(&one.under));
        standing.cloned()
    }

    /// Every row that a request was ever committed under, of whatever history.
    pub(crate) fn committed(
        &self,
        tenant: &TenantId,
        rpc: &'static str,
        id: &str,
    ) -> Vec<Arc<Row>> {
        let ground = self.ground();
        let all = ground.requests.get(&(tenant.clone(), rpc, id.to_owned()));
        all.map_or_else(Vec::new, |all| {
            all.iter().map(|one| Arc::clone(&one.under)).collect()
        })
    }

    /// The row that bears this place and mark, of whatever history.
    pub(crate) fn row(&self, anchor: Anchor) -> Option<Arc<Row>> {
        self.ground().rows.get(&anchor).map(Arc::clone)
    }

    /// Every row of every history, the newest first.
    pub(crate) fn all_rows(&self) -> Vec<Arc<Row>> {
        let mut rows: Vec<_> = self.ground().rows.values().map(Arc::clone).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.number));
        rows
    }

    /// Hands out the number of a row before it can be seen.
    pub(crate) fn next_number(&self) -> u64 {
        let mut ground = self.ground();
        ground.sequence = ground.sequence.max(ground.head.anchor.revision.0) + 1;
        ground.sequence
    }

    /// Commits: from this instant on everybody can see it (S-3, S-4).
    pub(crate) fn commit(&self, commit: Commit, numbered: Option<u64>) -> Result<(), StoreError> {
        let at = self.start.elapsed();
        let mut ground = self.ground();
        let Commit {
            intent,
            change,
            tenants,
            answer,
        } = commit;
        let key = (intent.tenant.clone(), intent.rpc, intent.request_id.clone());
        let head = Arc::clone(&ground.head);
        let done = ground
            .requests
            .get(&key)
            .is_some_and(|all| all.iter().any(|one| head.includes(&one.under)));
        if done {
            return Err(StoreError::Taken);
        }
        if let Some(change) = change {
            let anchor = Anchor {
                revision: Revision(numbered.unwrap_or(head.anchor.revision.0 + 1)),
                nonce: intent.nonce,
            };
            let row = Arc::new(Row {
                number: ground.rows.len(),
                depth: head.depth + 1,
                anchor,
                news: News {
                    anchor,
                    tenant: Some(intent.tenant.clone()),
                    change,
                },
                before: Some(head),
                tenants,
                at,
                meta: ground.meta,
            });
            ground.rows.insert(anchor, Arc::clone(&row));
            ground.head = row;
        }
        let under = Arc::clone(&ground.head);
        ground.requests.entry(key).or_default().push(Remembered {
            under,
            body: intent.body,
            answer,
        });
        Ok(())
    }

    /// The number that the next row will bear as its name.
    pub(crate) fn next_row(&self) -> usize {
        self.ground().rows.len()
    }

    /// Raises the epoch as the promise says.
    pub(crate) fn raise_epoch(&self, seen: Epoch, to: Epoch) -> Epoch {
        let mut ground = self.ground();
        if ground.meta.epoch <= seen {
            let from = ground.meta.epoch;
            ground.meta.epoch = Epoch(from.0 + 1).max(to);
            let forked = ground.unnoticed.take().is_some();
            ground.raised = Some((from, ground.meta.epoch, forked));
            ground.raised_at = Some(self.start.elapsed());
            ground.raises += 1;
        }
        ground.meta.server = Some(ground.server);
        ground.meta.epoch
    }

    /// Whether the server is the one that the epoch was agreed on; the first one is noted.
    pub(crate) fn unbroken(&self) -> bool {
        let mut ground = self.ground();
        let server = ground.server;
        // Files put back that no pod has noticed yet cannot be told by one that begins then: that is
        // known, and left out of the schedules.
        *ground.meta.server.get_or_insert(server) == server && ground.unnoticed.is_none()
    }

    /// Forgets feed rows, but for the newest so many.
    pub(crate) fn prune(&self, keep: u64) {
        let mut ground = self.ground();
        // Rows are kept for hours: a fork is noticed while there is something to tell it by.
        let newest = ground.unnoticed.unwrap_or(ground.head.anchor.revision);
        let floor = Revision(newest.0.saturating_sub(keep).max(1));
        ground.meta.floor = ground.meta.floor.max(floor);
    }

    /// Goes on from an older row on another server, as after a restore or a failover that lost
    /// something; what was written since is in no history that stands. `false` = it is too soon for it.
    pub(crate) fn fork(&self, to: &Arc<Row>, clock_off: i64) -> bool {
        let mut ground = self.ground();
        let just = |raised| self.start.elapsed() < raised + APART;
        if ground.raised_at.is_some_and(just) {
            return false;
        }
        // Nobody can tell a failover that lost nothing from one that did.
        let from = to.anchor.revision;
        ground.unnoticed = Some(ground.unnoticed.map_or(from, |before| before.min(from)));
        ground.head = Arc::clone(to);
        ground.meta = to.meta;
        ground.clock_off = clock_off;
        // Every other time the files of the same server are put back, which looks no different.
        ground.server += ground.life % 2;
        ground.life += 1;
        true
    }

    /// The row that a backup of so many rows ago holds.
    pub(crate) fn backup(&self, rows: usize) -> Arc<Row> {
        let ground = self.ground();
        let depth = ground.head.depth.saturating_sub(rows);
        back_until(&ground.head, |row| row.depth <= depth)
    }

    /// The row that a standby has come to which lags so far behind.
    pub(crate) fn lagging(&self, lag: Duration) -> Arc<Row> {
        let now = self.start.elapsed();
        back_until(&self.ground().head, |row| row.at + lag <= now)
    }

    /// Ends every session, as a restart does.
    pub(crate) fn restart(&self) {
        self.ground().life += 1;
    }

    /// Begins to listen for the bell.
    pub(crate) fn listen(&self, deaf: &Arc<AtomicBool>) -> Arc<Listener> {
        let listener = Arc::new(Listener {
            rung: Notify::new(),
            deaf: Arc::clone(deaf),
        });
        let mut ground = self.ground();
        ground.listeners.retain(|other| other.strong_count() > 0);
        ground.listeners.push(Arc::downgrade(&listener));
        listener
    }

    /// Rings for everybody who is not deaf.
    pub(crate) fn ring(&self) {
        let listeners = self.ground().listeners.clone();
        for listener in listeners.iter().filter_map(Weak::upgrade) {
            if !listener.deaf.load(Ordering::Relaxed) {
                listener.rung.notify_one();
            }
        }
    }
}
