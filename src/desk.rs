//! The desk: where bans, lists and tenants are changed and looked up.
//!
//! A mutation is a [`Job`] on a locked tenant. It runs in a task of its own, since a caller who
//! hangs up drops its own future, and is acknowledged once this pod's feed has applied it: whoever
//! holds the answer's token finds the change in force.

mod access;
mod change;
mod create;
mod disclose;
mod erase;
mod exceptions;
mod explain;
mod export;
mod import;
mod interaction;
mod lift;
mod link;
mod lists;
mod lookup;
mod normalise;
mod overlaps;
mod pages;
mod preview;
mod queues;
mod rekey;
mod spared;
mod targets;
mod tenants;
mod times;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub use self::{
    access::{
        CreateKey, LOCAL_ADMIN, RevokeKey, RotateKey, Seat, SetGrants, USUAL_OVERLAP, new_key,
    },
    change::{BanEdit, DeactivateBan, UpdateBan},
    create::{CreateBan, prepare},
    disclose::Disclosure,
    erase::{EraseAgain, EraseSubject},
    exceptions::{
        CreateException, DeactivateException, ExceptionQuery, Named, RestoreProtection,
        ShownException,
    },
    explain::{Explanation, Subject},
    export::{ExportPlace, ExportSink},
    import::{Import, ImportRow, ImportTerms, Judge, JudgedRows},
    interaction::{BanInteraction, MAX_CONTACT_PHONES},
    lift::DeactivateBans,
    link::LinkIdentities,
    lists::{CreateList, DeleteList, ListEdit, SetListQueues, UpdateList},
    lookup::{BanQuery, EventQuery, Page},
    normalise::Normalised,
    pages::Pages,
    preview::{BanPreview, Expiration, Length},
    queues::{PolicyEdit, SetBanRights, UpdateQueuePolicy},
    rekey::{refiled, refiled_exception},
    targets::TargetGiven,
    tenants::{DeleteTenant, SettingsEdit, UpdateSettings},
    times::End,
};
use crate::{
    domain::{
        clock::Timestamp,
        fields,
        ids::{BanId, MAX_CALLERS_ID, TenantId},
        keys::MasterKey,
        policy::TenantSettings,
        refusal::{Reason, Refusal},
        revision::Nonce,
    },
    feed::Feed,
    store::{Answer, Begun, Event, Intent, Store, StoreError, Work, new_id},
    teeth::{Bug, bites},
    telemetry::{Counters, traces},
};

/// The longest a write waits for the store, however long the caller would.
const LONGEST: Duration = Duration::from_secs(3);
/// How long before the caller's own deadline it is told that nothing came of it.
const MARGIN: Duration = Duration::from_millis(100);

/// How long before its deadline a caller is told at the latest.
fn margin(deadline: Duration) -> Duration {
    MARGIN.min(deadline / 2)
}

/// How long the store is waited for.
fn patience(deadline: Duration) -> Duration {
    deadline.saturating_sub(margin(deadline)).min(LONGEST)
}

/// What every write brings along.
#[derive(Clone, Debug)]
pub struct Order {
    /// The tenant that is written to.
    pub tenant: TenantId,
    /// Who acts.
    pub actor: String,
    /// The caller's id of this request; empty = none.
    pub request_id: String,
    /// Everything is done, judged, and undone.
    pub validate_only: bool,
    /// The request as it was received, by which a second one under the same id is recognised.
    pub body: Vec<u8>,
    /// How long the caller waits.
    pub deadline: Duration,
}

/// What a write came to.
#[derive(Clone, Debug)]
pub struct Written {
    /// What it left.
    pub answer: Answer,
    /// The state that includes it; `None` = it was only tried.
    pub token: Option<Arc<str>>,
}

/// Why a job was not done.
#[derive(Debug)]
pub enum Failure {
    /// It may not be.
    Refused(Refusal),
    /// The store did not do it.
    Store(StoreError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What a job may know besides its tenant.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// The instant of the write.
    pub now: Timestamp,
    /// Whose it is.
    pub tenant: TenantId,
    /// Who acts.
    pub actor: String,
    /// What digests are made with.
    pub keys: MasterKey,
}

impl Circumstances {
    /// An event of this write.
    pub fn event(&self, ban: Option<BanId>, action: &str, comment: &str) -> Event {
        Event {
            event_id: new_id(self.now),
            ban,
            action: action.to_owned(),
            actor: self.actor.clone(),
            at: self.now,
            comment: comment.to_owned(),
            anchor: None,
        }
    }
}

/// A change to one tenant.
#[async_trait]
pub trait Job: Send + 'static {
    /// The operation's name, under which its requests are remembered.
    const RPC: &'static str;

    /// Does it, on a tenant that nobody else writes to meanwhile.
    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure>;
}

/// How far a write has come, so that giving up and committing exclude each other.
#[derive(Default)]
struct Progress(AtomicU8);

impl Progress {
    const COMMITTING: u8 = 1;
    const GIVEN_UP: u8 = 2;

    fn step(&self, to: u8) -> bool {
        self.0
            .compare_exchange(0, to, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }
}

enum Outcome {
    /// It is done, now or by an earlier try.
    Committed(Answer),
    /// It could be done.
    Tried(Answer),
}

/// The desk.
#[derive(Clone)]
pub struct Desk {
    store: Arc<dyn Store>,
    feed: Feed,
    keys: MasterKey,
    counters: Arc<Counters>,
    tasks: TaskTracker,
    imports: import::Places,
    exports: export::Places,
}

impl Desk {
    /// A desk over a store, acknowledging by way of a feed; its tasks are tracked.
    pub fn new(
        store: Arc<dyn Store>,
        feed: Feed,
        keys: MasterKey,
        counters: Arc<Counters>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            store,
            feed,
            keys,
            counters,
            tasks,
            imports: import::Places::default(),
            exports: export::Places::default(),
        }
    }

    /// The instant it is, to the pod.
    pub fn now(&self) -> Timestamp {
        self.feed.clock().read().now
    }

    /// Does a job and acknowledges it.
    pub async fn write<J: Job>(&self, order: Order, job: J) -> Result<Written, Refusal> {
        self.carry_out(order, None, job).await
    }

    async fn carry_out<J: Job>(
        &self,
        order: Order,
        new_tenant: Option<TenantSettings>,
        job: J,
    ) -> Result<Written, Refusal> {
        fields::request_id(&order.request_id)?;
        fields::bytes("actor", &order.actor, MAX_CALLERS_ID)?;
        let patience = patience(order.deadline);
        let margin = margin(order.deadline);
        let begun = Instant::now();
        // In a box: a caller's future need not have room for all of it.
        let attempt = Box::pin(self.carry_through(order, new_tenant, job));
        let (outcome, intent) = attempt.await?;
        let answer = match outcome {
            Outcome::Tried(answer) => {
                return Ok(Written {
                    answer,
                    token: None,
                });
            }
            Outcome::Committed(answer) => answer,
        };
        // What a complete tail brings that is sent from now on includes the write, also one that
        // was found done already, by another pod, a moment ago.
        let committed = self.feed.clock().read().boot;
        self.feed.committed();
        let left = patience.saturating_sub(begun.elapsed()).max(margin / 2);
        let step = traces::step("hear of it");
        if !bites(Bug::AcknowledgedBeforeApplied) {
            let heard = timeout(left, self.feed.heard_since(committed)).await;
            heard.map_err(|_| outcome_unknown())?;
            if !self.feed.told_of(intent.nonce) {
                // A snapshot may have stepped over it; or the server that committed it was replaced
                // by one that never heard of it, and what was just heard was the other's word.
                let left = patience.saturating_sub(begun.elapsed()).max(margin / 2);
                let kept = Box::pin(timeout(left, self.store.outcome(&intent))).await;
                if !matches!(kept, Ok(Ok(Some(_)))) {
                    return Err(outcome_unknown());
                }
            }
        }
        drop(step);
        let standing = self.feed.standing().ok_or_else(outcome_unknown)?;
        let token = Arc::clone(&standing.token);
        let now = self.feed.clock().read().now;
        self.counters.wrote(begun.elapsed(), now);
        Ok(Written {
            answer,
            token: Some(token),
        })
    }

    /// Does a job in a task of its own, up to its commit.
    async fn carry_through<J: Job>(
        &self,
        order: Order,
        new_tenant: Option<TenantSettings>,
        job: J,
    ) -> Result<(Outcome, Intent), Refusal> {
        let patience = patience(order.deadline);
        let validate_only = order.validate_only;
        let attempt = self.attempt(order, J::RPC, new_tenant)?;
        let progress = Arc::clone(&attempt.progress);
        let intent = attempt.intent.clone();
        let run = Box::pin(attempt.run(Arc::clone(&self.store), job, validate_only));
        let ended = if bites(Bug::WriteInTheHandlerFuture) {
            timeout(patience, run).await.map(Ok)
        } else {
            timeout(patience, self.tasks.spawn(traces::carried(run))).await
        };
        match ended {
            Ok(Ok(outcome)) => Ok((outcome?, intent)),
            Ok(Err(_)) => Err(internal()),
            Err(_) if progress.step(Progress::GIVEN_UP) => Err(store_unavailable()),
            Err(_) => Err(outcome_unknown()),
        }
    }

    fn attempt(
        &self,
        order: Order,
        rpc: &'static str,
        new_tenant: Option<TenantSettings>,
    ) -> Result<Attempt, Refusal> {
        let Order {
            tenant,
            actor,
            request_id,
            body,
            validate_only: _,
            deadline,
        } = order;
        let now = self.now();
        let mut nonce = [0; 4];
        getrandom::fill(&mut nonce).map_err(|_| internal())?;
        let key = self.keys.tenant(&tenant);
        let intent = Intent {
            body: key.digest_of(&[&body]),
            body_elsewhere: key.digests_elsewhere(&[&body]),
            tenant: tenant.clone(),
            rpc,
            request_id: match request_id.as_str() {
                // An id of its own, by which the outcome of a broken commit can be looked up.
                "" => Uuid::now_v7().to_string(),
                _ => request_id,
            },
            nonce: Nonce(u32::from_be_bytes(nonce)),
            now,
        };
        let about = Circumstances {
            now,
            tenant,
            actor,
            keys: self.keys.clone(),
        };
        Ok(Attempt {
            feed: self.feed.clone(),
            intent,
            about,
            new_tenant,
            patience: patience(deadline),
            progress: Arc::default(),
        })
    }

    /// Bounds a look-up by the caller's patience.
    async fn within<T>(
        &self,
        deadline: Duration,
        look: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Refusal> {
        match timeout(patience(deadline), look).await {
            Ok(found) => found.map_err(|error| refused(&error)),
            Err(_) => Err(store_unavailable()),
        }
    }
}

/// One try at a write, in a task of its own.
struct Attempt {
    feed: Feed,
    intent: Intent,
    about: Circumstances,
    new_tenant: Option<TenantSettings>,
    /// How long it may take until its commit.
    patience: Duration,
    progress: Arc<Progress>,
}

/// What is left to do once a job has run.
enum Prepared {
    Commit(Box<dyn Work>, Answer),
    Nothing(Outcome),
}

impl Attempt {
    async fn run<J: Job>(
        mut self,
        store: Arc<dyn Store>,
        job: J,
        validate_only: bool,
    ) -> Result<Outcome, Refusal> {
        // Its caller will be gone, and the tenant must be free for whoever tries again.
        let step = traces::step("prepare");
        let prepared = timeout(self.patience, self.prepare(&*store, job, validate_only)).await;
        drop(step);
        let (work, answer) = match prepared.map_err(|_| store_unavailable())?? {
            Prepared::Nothing(outcome) => return Ok(outcome),
            Prepared::Commit(work, answer) => (work, answer),
        };
        if !self.progress.step(Progress::COMMITTING) {
            return Err(store_unavailable());
        }
        let step = traces::step("commit");
        let ended = timeout(LONGEST, work.commit(&answer)).await;
        drop(step);
        let error = match ended {
            Ok(Ok(())) => return Ok(Outcome::Committed(answer)),
            // Somebody else committed the same request a moment before.
            Ok(Err(StoreError::Taken)) => {
                return match timeout(LONGEST, store.outcome(&self.intent)).await {
                    Ok(Ok(Some(answer))) => Ok(Outcome::Committed(answer)),
                    Ok(Ok(None)) => Err(request_id_reused()),
                    Ok(Err(_)) | Err(_) => Err(outcome_unknown()),
                };
            }
            Ok(Err(error)) => error.with_causes(),
            Err(elapsed) => elapsed.to_string(),
        };
        tracing::warn!(
            error,
            "a commit got no answer; looking up what became of it"
        );
        match timeout(LONGEST, store.outcome(&self.intent)).await {
            Ok(Ok(Some(answer))) => Ok(Outcome::Committed(answer)),
            _ => Err(outcome_unknown()),
        }
    }

    /// Does all but commit.
    async fn prepare<J: Job>(
        &mut self,
        store: &dyn Store,
        job: J,
        validate_only: bool,
    ) -> Result<Prepared, Refusal> {
        let begun = match &self.new_tenant {
            Some(settings) => store.begin_tenant(&self.intent, settings).await,
            None => store.begin(&self.intent).await,
        };
        let mut work = match begun {
            Ok(Begun::Open(work)) => work,
            Ok(Begun::Replay(answer)) => {
                return Ok(Prepared::Nothing(Outcome::Committed(*answer)));
            }
            Ok(Begun::Reused) => return Err(request_id_reused()),
            Ok(Begun::NoTenant) => return Err(Refusal::no_tenant()),
            Err(StoreError::Taken) if self.new_tenant.is_some() => {
                let message = "a tenant of this id exists already";
                return Err(Refusal::of_field(Reason::TenantExists, "tenant", message));
            }
            Err(error) => return Err(refused(&error)),
        };
        self.about.now = self.feed.clock().read().now;
        work.at(self.about.now);
        let answer = match job.run(&mut *work, &self.about).await {
            Ok(answer) => answer,
            Err(Failure::Refused(refusal)) => return Err(refusal),
            Err(Failure::Store(StoreError::Alike)) => return Err(create::duplicate(None)),
            Err(Failure::Store(error)) => return Err(refused(&error)),
        };
        if validate_only {
            work.abandon().await.map_err(|error| refused(&error))?;
            return Ok(Prepared::Nothing(Outcome::Tried(answer)));
        }
        Ok(Prepared::Commit(work, answer))
    }
}

fn refused(error: &StoreError) -> Refusal {
    if let StoreError::Unavailable(_) | StoreError::Following = error {
        tracing::warn!(error = error.with_causes(), "the store is not available");
        store_unavailable()
    } else {
        tracing::error!(error = error.with_causes(), "the store failed");
        internal()
    }
}

fn store_unavailable() -> Refusal {
    Refusal::new(
        Reason::StoreUnavailable,
        "the database does not answer; nothing was written",
    )
}

fn outcome_unknown() -> Refusal {
    let message = "the database did not confirm the write; try again with the same request_id";
    Refusal::new(Reason::CommitOutcomeUnknown, message)
}

fn internal() -> Refusal {
    Refusal::new(
        Reason::Internal,
        "something went wrong here; the log says what",
    )
}

fn request_id_reused() -> Refusal {
    let message = "this request_id was used for another request within the last 24 hours";
    Refusal::of_field(Reason::RequestIdReused, "request_id", message)
}

/// Compares an etag, where the caller gave one.
fn check_etag(field: &str, given: &str, version: i64) -> Result<(), Refusal> {
    if given.is_empty() || given == version.to_string() {
        return Ok(());
    }
    let message = "it was changed meanwhile; read it again and decide anew";
    Err(Refusal::of_field(Reason::EtagMismatch, field, message))
}
