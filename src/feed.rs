//! The feed: how news reaches this pod's views, and how fresh they are.
//!
//! One task follows the store's feed and alone publishes views, on the writer's own pod as on any
//! other, also when they are loaded: one road for news. Everybody else holds a [`Feed`], which can
//! look at where the pod stands, ask for a load, and wait for news.

mod applied;
mod bell;
mod chronicle;
mod clock;
mod ear;
mod follow;
mod loads;
mod pause;

mod task;
mod warm;

use std::{
    cmp::Ordering as Cmp,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use self::applied::Applied;
pub use self::{
    chronicle::{Begun, Chronicle, Ended},
    clock::{Machine, PodClock, ThisMachine},
    follow::{Follower, Heard, Loaded, Shelf, Tenants},
    task::{Options, run},
};
use crate::{
    domain::{
        access::Access,
        clock::Clock,
        ids::TenantId,
        keys::{MasterKey, Seal},
        refusal::Refusal,
        revision::{Anchor, Nonce, Position},
        view::TenantView,
    },
    teeth::{Bug, bites},
};

/// For how long after a complete tail was sent the pod may call itself fresh, in microseconds.
pub const LEASE_MICROS: i64 = 2_000_000;

/// Where the pod stands: what it has applied, and until when that counts as fresh.
///
/// Published after the views it speaks of, so whoever reads it first and a view next never has a
/// view older than it says (C-1).
#[derive(Clone, Debug)]
pub struct Standing {
    /// The newest row that is in every view.
    pub position: Position,
    /// The token that says so; made once a revision.
    pub token: Arc<str>,
    /// Boot time at which the last complete tail was sent.
    pub heard_at: i64,
}

impl Standing {
    /// Whether the pod is fresh at this boot time (C-4).
    pub const fn is_fresh(&self, boot: i64) -> bool {
        boot < self.heard_at + LEASE_MICROS
    }

    /// Whether this includes a position that was told to somebody before this boot time; `None` =
    /// only a later look at the store can tell.
    ///
    /// `known` is the row that was applied in the place of the position's, if that is remembered:
    /// one epoch may be of two histories until whoever has lost something finds out. Where it is
    /// not, what the store says after the position was told must bear our history out.
    fn includes(&self, position: Position, told: i64, known: Option<Anchor>) -> Option<bool> {
        let here = self.position;
        let (rows, heard) = (position.anchor, self.heard_at >= told);
        match (
            here.epoch.cmp(&position.epoch),
            here.anchor.revision.cmp(&rows.revision),
        ) {
            // The newer history may lack it, but has all that there is.
            (Cmp::Greater, _) => heard.then_some(true),
            (Cmp::Equal, Cmp::Greater) if bites(Bug::TokenByItsPlaceAlone) => Some(true),
            (Cmp::Equal, Cmp::Greater) if known == Some(rows) => Some(true),
            (Cmp::Equal, Cmp::Greater) if known.is_none() => heard.then_some(true),
            (Cmp::Equal, Cmp::Equal) if here.anchor.nonce == rows.nonce => Some(true),
            // A complete look that began later would have brought it, had it been there.
            _ => heard.then_some(false),
        }
    }
}

/// Who may ask what, and a number that is another after each change.
#[derive(Clone, Debug, Default)]
pub struct AccessNow {
    /// The number.
    pub number: u64,
    /// Who may ask what.
    pub access: Arc<Access>,
}

/// How a load that was asked for ended.
#[derive(Clone)]
pub enum LoadEnd {
    /// The view is there; handed over, for memory may be so short that it is gone again at once.
    ///
    /// With it comes where the pod stood then.
    Done(Arc<TenantView>, Arc<Standing>),
    /// There is no such tenant.
    NoTenant,
    /// The store did not give it, or it is too heavy.
    Failed,
}

/// A tenant that somebody waits for.
type Ask = (TenantId, oneshot::Sender<LoadEnd>);

struct Shared {
    clock: PodClock,
    seal: Seal,
    keys: MasterKey,
    standing: ArcSwapOption<Standing>,
    tenants: ArcSwap<Tenants>,
    access: ArcSwap<AccessNow>,
    /// The number of `access`, for whoever waits until it is another.
    access_number: watch::Sender<u64>,
    /// Odd while the views and the standing of one history take the place of another's.
    changes: AtomicU64,
    /// The rows applied lately; written before `standing`.
    applied: RwLock<Applied>,
    /// Told whenever `standing` has changed; wakes those who wait in the order in which they came.
    moved: Notify,
    /// True once the tenants that fit have been loaded.
    warm: watch::Sender<bool>,
    nudge: Notify,
    bell: Arc<Notify>,
    loads: mpsc::UnboundedSender<Ask>,
    chronicle: Chronicle,
}

/// A hold on the feed, for everybody but the task that follows it.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

/// What [`run`] needs besides the store: made together with the [`Feed`] by [`Feed::new`].
pub struct Source {
    feed: Feed,
    loads: mpsc::UnboundedReceiver<Ask>,
}

impl Feed {
    /// A feed that nobody follows yet, timed by a machine's clocks, and what following it takes.
    pub fn new(keys: MasterKey, machine: Arc<dyn Machine>) -> (Self, Source) {
        let (loads, asked) = mpsc::unbounded_channel();
        let shared = Shared {
            clock: PodClock::new(machine),
            seal: keys.seal("token"),
            keys,
            standing: ArcSwapOption::empty(),
            tenants: ArcSwap::default(),
            access: ArcSwap::default(),
            access_number: watch::Sender::new(0),
            changes: AtomicU64::new(0),
            applied: RwLock::default(),
            moved: Notify::new(),
            warm: watch::Sender::new(false),
            nudge: Notify::new(),
            bell: Arc::default(),
            loads,
            chronicle: Chronicle::default(),
        };
        let feed = Self {
            shared: Arc::new(shared),
        };
        (feed.clone(), Source { feed, loads: asked })
    }

    /// The pod's clock.
    pub fn clock(&self) -> &dyn Clock {
        &self.shared.clock
    }

    /// The key that signs consistency tokens.
    pub fn seal(&self) -> &Seal {
        &self.shared.seal
    }

    /// What the feed has been through.
    pub fn chronicle(&self) -> &Chronicle {
        &self.shared.chronicle
    }

    /// Where the pod stands; `None` until it has heard of the store for the first time.
    pub fn standing(&self) -> Option<Arc<Standing>> {
        self.shared.standing.load_full()
    }

    /// A number of the history that views and standing are of; `None` while they change to another.
    ///
    /// Whoever finds the same number after a look at both has looked at one history.
    pub fn history(&self) -> Option<u64> {
        let changes = self.shared.changes.load(Ordering::SeqCst);
        changes.is_multiple_of(2).then_some(changes)
    }

    /// Waits until views and standing are of one history.
    pub async fn one_history(&self) {
        loop {
            let moved = self.shared.moved.notified();
            if self.history().is_some() {
                return;
            }
            moved.await;
        }
    }

    /// Has nobody look at views and standing together until what this returns is dropped.
    fn change_history(&self) -> impl Drop + use<> {
        struct Changing(Arc<Shared>);
        impl Drop for Changing {
            fn drop(&mut self) {
                self.0.changes.fetch_add(1, Ordering::SeqCst);
                self.0.moved.notify_waiters();
            }
        }
        self.shared.changes.fetch_add(1, Ordering::SeqCst);
        Changing(Arc::clone(&self.shared))
    }

    /// The tenants there are, as of the applied revision.
    pub fn tenants(&self) -> arc_swap::Guard<Arc<Tenants>> {
        self.shared.tenants.load()
    }

    /// Refuses a tenant that there is not, as far as the pod has heard.
    pub fn known(&self, tenant: &TenantId) -> Result<(), Refusal> {
        // In this order: who has heard of the store has heard of its tenants before.
        let heard = self.standing().is_some();
        if self.tenants().contains_key(tenant) {
            Ok(())
        } else if heard {
            Err(Refusal::no_tenant())
        } else {
            Err(Refusal::not_ready())
        }
    }

    /// Who may ask what, as of the newest row that was heard of.
    pub fn access(&self) -> arc_swap::Guard<Arc<AccessNow>> {
        self.shared.access.load()
    }

    /// Tells who may ask what.
    fn tell_access(&self, access: Arc<Access>) {
        let before = self.shared.access.load();
        if !Arc::ptr_eq(&before.access, &access) {
            let number = before.number + 1;
            self.shared
                .access
                .store(Arc::new(AccessNow { number, access }));
            self.shared.access_number.send_replace(number);
        }
    }

    /// Tells of each change of who may ask what.
    pub fn access_news(&self) -> watch::Receiver<u64> {
        self.shared.access_number.subscribe()
    }

    /// Waits until the pod is warm.
    pub async fn warm(&self) {
        let mut warm = self.shared.warm.subscribe();
        // The sender lives in `shared`, which this borrows: it cannot be gone.
        let _ = warm.wait_for(|warm| *warm).await;
    }

    /// Whether the pod is warm.
    pub fn is_warm(&self) -> bool {
        *self.shared.warm.borrow()
    }

    /// Has a tenant's view loaded, with whoever else asks for it.
    pub async fn load(&self, tenant: &TenantId) -> LoadEnd {
        let (reply, end) = oneshot::channel();
        if self.shared.loads.send((tenant.clone(), reply)).is_err() {
            return LoadEnd::Failed;
        }
        end.await.unwrap_or(LoadEnd::Failed)
    }

    /// Whether the feed told of a write that bears this mark, lately and in the history that is
    /// followed; one that a snapshot stepped over it did not tell of.
    pub fn told_of(&self, nonce: Nonce) -> bool {
        self.applied(|applied| applied.bears(nonce))
    }

    fn applied<T>(&self, look: impl FnOnce(&Applied) -> T) -> T {
        let applied = self.shared.applied.read();
        look(&applied.unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until a complete tail that was sent at or after this boot time has been applied.
    pub async fn heard_since(&self, boot: i64) {
        self.until(|standing| (standing.heard_at >= boot).then_some(()))
            .await;
    }

    /// Waits until it is known whether what the pod holds includes a position that was told to
    /// somebody before this boot time; `false` = that position is in no history there is.
    pub async fn includes(&self, position: Position, told: i64) -> bool {
        self.until(|standing| {
            let known = self.applied(|applied| applied.at(position.anchor.revision));
            standing.includes(position, told, known)
        })
        .await
    }

    /// Waits until the pod stands elsewhere than here; asks for nothing.
    pub async fn left(&self, here: Position) {
        loop {
            let moved = self.shared.moved.notified();
            if self
                .standing()
                .is_some_and(|standing| standing.position != here)
            {
                return;
            }
            moved.await;
        }
    }

    /// Asks for news until where the pod stands is enough to judge by.
    async fn until<T>(&self, judge: impl Fn(&Standing) -> Option<T>) -> T {
        loop {
            let moved = self.shared.moved.notified();
            if let Some(known) = self.standing().and_then(|standing| judge(&standing)) {
                return known;
            }
            self.shared.nudge.notify_one();
            moved.await;
        }
    }

    /// Says that something was committed: this pod looks at once, the others are rung for.
    pub fn committed(&self) {
        self.shared.nudge.notify_one();
        self.shared.bell.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::revision::{Epoch, Revision};

    const fn row(revision: u64, nonce: u32) -> Anchor {
        Anchor {
            revision: Revision(revision),
            nonce: Nonce(nonce),
        }
    }

    const fn at(epoch: u32, anchor: Anchor) -> Position {
        Position {
            epoch: Epoch(epoch),
            anchor,
        }
    }

    #[test]
    fn a_position_is_included_where_memory_or_a_later_look_bears_it_out() {
        let standing = Standing {
            position: at(5, row(100, 1)),
            token: "".into(),
            heard_at: 1_000,
        };
        // Told before the last complete look, and after it.
        let (before, after) = (999, 1_001);
        let old = at(5, row(90, 9));
        for (position, known, told, included) in [
            (old, Some(row(90, 9)), after, Some(true)),
            // The same place of a history that began unnoticed: only a look can tell.
            (old, Some(row(90, 8)), after, None),
            (old, Some(row(90, 8)), before, Some(false)),
            // Older than all that is remembered: it may be of that history as well.
            (old, None, after, None),
            (old, None, before, Some(true)),
            (at(5, row(100, 1)), None, after, Some(true)),
            (at(5, row(100, 2)), None, after, None),
            (at(5, row(100, 2)), None, before, Some(false)),
            (at(5, row(101, 1)), None, after, None),
            (at(4, row(200, 1)), None, after, None),
            (at(4, row(200, 1)), None, before, Some(true)),
            (at(6, row(1, 1)), None, after, None),
            (at(6, row(1, 1)), None, before, Some(false)),
        ] {
            let found = standing.includes(position, told, known);
            assert_eq!(found, included, "{position:?} {known:?} {told}");
        }
    }
}
