//! Answering checks: from memory, at one revision, saying how fresh the answer is.
//!
//! The order of looks is what makes the promise of freshness: the clock, then where the pod stands,
//! then the view. A check that starts more than two seconds after a write was acknowledged and says
//! it is fresh includes that write, on any pod.

mod glance;
mod samples;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use smallvec::SmallVec;
use tokio::time::timeout;

pub use self::glance::{Glance, Seen};
use self::samples::Samples;
use crate::{
    domain::{
        ban::MAX_IDENTITIES,
        channel::{Channel, Channels},
        clock::{Reading, Timestamp},
        decide::{Basis, Match, Query, Stage, Verdict, decide},
        fields,
        hex::hex,
        identity::{self, Given, IdentityKind, MAX_VALUE_BYTES},
        ids::TenantId,
        keys::Space,
        list::Treatment,
        policy::FailureMode,
        refusal::{Reason, Refusal},
        revision::{BadToken, Position},
        view::{TenantView, index::Key},
    },
    feed::{Feed, LEASE_MICROS, LoadEnd, Standing},
    tally::Tally,
    teeth::{Bug, bites, stumble},
    telemetry::{Counters, TIMED},
    views::Views,
};

/// How long a check waits for a view that is not in memory.
const LOAD_PATIENCE: Duration = Duration::from_secs(1);
/// How long a check waits for news that its token asks for.
const NEWS_PATIENCE: Duration = Duration::from_millis(150);

/// How fresh an answer has to be.
#[derive(Clone, Copy, Debug, Default)]
pub enum Consistency<'a> {
    /// As fresh as can be told at once.
    #[default]
    MinimizeLatency,
    /// Not older than this token.
    AtLeastAsFresh(&'a str),
    /// As of after the question was asked.
    Fully,
}

/// A question about a tenant as it came in, nothing else of it trusted yet.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The tenant, which the caller may ask about.
    pub tenant: &'a TenantId,
    /// The channel.
    pub channel: Channel,
    /// Where in its life the interaction is; `None` = told by whether there is a queue.
    pub stage: Option<Stage>,
    /// The queue, if any; empty = none.
    pub queue: &'a str,
    /// Who it is, in up to eight ways.
    pub identities: &'a [Given<'a>],
    /// How fresh the answer has to be.
    pub consistency: Consistency<'a>,
    /// How long the caller waits in all.
    pub deadline: Duration,
}

impl Question<'_> {
    /// The stage of a question that is well formed.
    pub fn stage(&self) -> Result<Stage, Refusal> {
        fields::callers_id("queue", self.queue)?;
        let stage = match self.stage {
            None if self.queue.is_empty() => Stage::Connect,
            None => Stage::QueueEntry,
            Some(Stage::QueueEntry) if self.queue.is_empty() => {
                return Err(Refusal::required("queue"));
            }
            Some(stage) => stage,
        };
        match self.identities.len() {
            0 => return Err(Refusal::required("identities")),
            n if n > MAX_IDENTITIES => {
                let message =
                    format!("{n} identities; at most {MAX_IDENTITIES} are judged together");
                return Err(Refusal::of_field(
                    Reason::TooManyItems,
                    "identities",
                    message,
                ));
            }
            _ => {}
        }
        for (at, given) in self.identities.iter().enumerate() {
            for (part, text) in [("value", given.value), ("issuer", given.issuer)] {
                fields::size(
                    format_args!("identities[{at}].{part}"),
                    text,
                    MAX_VALUE_BYTES,
                )?;
            }
        }
        Ok(stage)
    }
}

/// Codes, each with the identity it is about; `None` = the question as a whole.
type Warnings = SmallVec<[(Option<u8>, &'static str); 2]>;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The verdict; for a failure mode, without a match.
    pub verdict: Verdict,
    /// Whether it is a denial.
    pub denied: bool,
    /// What to do about a denial.
    pub treatment: Option<Treatment>,
    /// What it rests on.
    pub basis: Basis,
    /// How old the newest news is, when not fresh.
    pub stale_for: Option<Duration>,
    /// The longest it may be used again; `None` when not fresh.
    pub reuse_until: Option<Timestamp>,
    /// The state it was given in.
    pub token: Arc<str>,
    /// An id by which logs tell of it.
    pub decision_id: String,
    /// What to know of it.
    pub warnings: Warnings,
}

/// An answer, and what it was made of.
pub struct Judged {
    /// The answer.
    pub answer: Answer,
    /// The view it was judged on; `None` = there was none, and the failure mode decided.
    pub view: Option<Arc<TenantView>>,
    /// The instant at which it was judged.
    pub now: Timestamp,
}

/// What the questions about one tenant are judged by.
struct Ground {
    reading: Reading,
    standing: Arc<Standing>,
    by: By,
}

enum By {
    View(Arc<TenantView>),
    /// There is nothing else to judge by.
    FailureMode(FailureMode),
}

impl Answer {
    /// The deciding ban, if one decided.
    pub fn deciding(&self) -> Option<&Match> {
        self.verdict.deny.as_ref().map(|(found, _)| found)
    }
}

/// Answers checks.
pub struct Checker {
    feed: Feed,
    views: Views,
    counters: Arc<Counters>,
    tally: Arc<Tally>,
    /// How the ids of this pod's decisions begin.
    pod: String,
    answered: AtomicU64,
    samples: Samples,
}

impl Checker {
    /// A checker that looks at these views and tallies what matches.
    pub fn new(feed: Feed, views: Views, counters: Arc<Counters>, tally: Arc<Tally>) -> Self {
        let mut pod = [0; 4];
        // Without randomness ids of two pods may coincide, which costs a moment in a log.
        let _ = getrandom::fill(&mut pod);
        let pod = format!("{}-", hex(&pod));
        Self {
            feed,
            views,
            counters,
            tally,
            pod,
            answered: AtomicU64::new(0),
            samples: Samples::default(),
        }
    }

    /// Answers one check.
    ///
    /// A deny is an answer. Refused are only malformed questions, unknown tenants, and tokens that
    /// cannot be honoured.
    pub async fn check(&self, question: &Question<'_>) -> Result<Answer, Refusal> {
        let timed = self.answered.load(Ordering::Relaxed).is_multiple_of(TIMED);
        let began = timed.then(|| self.feed.clock().read().boot);
        let stage = question.stage()?;
        let judged = self.judged(stage, question).await?;
        let answer = self.told(stage, question, judged);
        if let Some(began) = began {
            let Reading { now, boot } = self.feed.clock().read();
            let micros = u64::try_from(boot - began).unwrap_or_default();
            self.counters.check_took(Duration::from_micros(micros), now);
        }
        Ok(answer)
    }

    /// An answer that somebody gets: counted, and a denial logged.
    fn told(&self, stage: Stage, question: &Question<'_>, judged: Judged) -> Answer {
        let (Judged { answer, view, now }, tenant) = (judged, question.tenant);
        if self.samples.are_due(now)
            && let Some(view) = view
        {
            self.samples.take(tenant, &view, question, now);
        }
        self.counters
            .checked(question.channel, answer.denied, answer.basis);
        self.tally.mark(tenant, &answer.verdict, now);
        if answer.denied {
            tracing::info!(
                decision_id = answer.decision_id,
                %tenant,
                channel = question.channel.name(),
                stage = stage.name(),
                ban_id = answer.deciding().map(|found| tracing::field::display(found.ban)),
                basis = ?answer.basis,
                "denied"
            );
        }
        answer
    }

    /// The answer that a check gets, with what it was made of; nobody counts it.
    pub async fn judged(&self, stage: Stage, question: &Question<'_>) -> Result<Judged, Refusal> {
        let (tenant, wish) = (question.tenant, question.consistency);
        self.await_freshness(wish, question.deadline).await?;
        let (reading, standing, view) = self.at_once(|| self.look(tenant, wish)).await?;
        let ground = if let Some(view) = view {
            let by = By::View(view);
            Ground {
                reading,
                standing,
                by,
            }
        } else {
            let mode = self.failure_mode(tenant)?;
            let (by, standing) = match self.load(tenant, question.deadline).await {
                Some((view, standing)) => (By::View(view), standing),
                None => (By::FailureMode(mode), standing),
            };
            Ground {
                // Time has passed since.
                reading: self.feed.clock().read(),
                standing,
                by,
            }
        };
        Ok(self.judge_by(&ground, question, stage))
    }

    /// Looks at the clock, then at where the pod stands, then at views, all of one history.
    async fn at_once<T>(
        &self,
        look: impl Fn() -> T,
    ) -> Result<(Reading, Arc<Standing>, T), Refusal> {
        loop {
            let history = self.feed.history();
            let reading = self.feed.clock().read();
            let mut standing = self.feed.standing().ok_or_else(Refusal::not_ready)?;
            stumble().await;
            let seen = look();
            if bites(Bug::LeaseAfterView) {
                stumble().await;
                standing = self.feed.standing().ok_or_else(Refusal::not_ready)?;
            }
            if history.is_some() && history == self.feed.history() {
                return Ok((reading, standing, seen));
            }
            // One history was taking the place of another.
            self.feed.one_history().await;
        }
    }

    fn failure_mode(&self, tenant: &TenantId) -> Result<FailureMode, Refusal> {
        let mode = self.feed.tenants().get(tenant).map(|t| t.failure_mode);
        mode.ok_or_else(Refusal::no_tenant)
    }

    /// A view that is not in memory, with where the pod stood when it was loaded; `None` = it did
    /// not come in time.
    async fn load(
        &self,
        tenant: &TenantId,
        deadline: Duration,
    ) -> Option<(Arc<TenantView>, Arc<Standing>)> {
        let patience = LOAD_PATIENCE.min(deadline / 2);
        match timeout(patience, self.feed.load(tenant)).await {
            Ok(LoadEnd::Done(view, standing)) => Some((view, standing)),
            Ok(LoadEnd::NoTenant | LoadEnd::Failed) | Err(_) => None,
        }
    }

    fn judge_by(&self, ground: &Ground, question: &Question<'_>, stage: Stage) -> Judged {
        let Ground {
            reading,
            standing,
            by,
        } = ground;
        let (answer, view) = match by {
            By::View(view) => {
                let answer = self.judge(view, question, stage, *reading, standing);
                (answer, Some(Arc::clone(view)))
            }
            By::FailureMode(mode) => (self.fail(*mode, *reading, standing), None),
        };
        Judged {
            answer,
            view,
            now: reading.now,
        }
    }

    /// How many of the last hour's sampled checks on these channels looked under one of these keys.
    pub fn asked_lately(
        &self,
        tenant: &TenantId,
        channels: Channels,
        keys: impl Iterator<Item = (Space, Key)>,
    ) -> u32 {
        let now = self.feed.clock().read().now;
        self.samples.matching(tenant, channels, keys, now)
    }

    /// The answer that a check would get of this view at some instant, of no use afterwards.
    pub fn judge_at(
        &self,
        view: &TenantView,
        question: &Question<'_>,
        stage: Stage,
        now: Timestamp,
        token: Arc<str>,
    ) -> Answer {
        let (verdict, warnings) = weigh(view, question, stage, now);
        Answer {
            denied: verdict.denies(),
            treatment: verdict.treatment(),
            basis: Basis::Fresh,
            stale_for: None,
            reuse_until: None,
            verdict,
            token,
            decision_id: self.next_id(),
            warnings,
        }
    }

    /// Waits for the news that a token, or the wish for all, asks for.
    async fn await_freshness(
        &self,
        wish: Consistency<'_>,
        deadline: Duration,
    ) -> Result<(), Refusal> {
        if self.feed.standing().is_none() {
            // A pod that has just begun will know in a moment. Where it does not, it says so.
            let _ = timeout(LOAD_PATIENCE.min(deadline / 2), self.feed.warm()).await;
        }
        let patience = NEWS_PATIENCE.min(deadline / 2);
        let late = |_| {
            let message = "the news that was asked for did not arrive in time; ask again, or with \
                           minimize_latency";
            Refusal::new(Reason::StoreUnavailable, message)
        };
        match wish {
            Consistency::MinimizeLatency => Ok(()),
            Consistency::Fully => {
                let asked = self.feed.clock().read().boot;
                timeout(patience, self.feed.heard_since(asked))
                    .await
                    .map_err(late)
            }
            Consistency::AtLeastAsFresh(token) => {
                let wanted = Position::read(token, self.feed.seal()).map_err(bad_token)?;
                let asked = self.feed.clock().read().boot;
                if timeout(patience, self.feed.includes(wanted, asked))
                    .await
                    .map_err(late)?
                {
                    return Ok(());
                }
                let message = "what this token speaks of is not in the database: it was lost in a \
                               restore or a failover";
                let field = "consistency.at_least_as_fresh.token";
                Err(Refusal::of_field(Reason::TokenHistoryLost, field, message))
            }
        }
    }

    /// The view of a tenant, if there is one that will do: one that has fallen behind is for those
    /// who would rather have an old answer than wait.
    fn look(&self, tenant: &TenantId, wish: Consistency<'_>) -> Option<Arc<TenantView>> {
        let any = matches!(wish, Consistency::MinimizeLatency);
        self.views
            .get(tenant)
            .filter(|view| any || view.behind.is_none())
    }

    fn judge(
        &self,
        view: &TenantView,
        question: &Question<'_>,
        stage: Stage,
        reading: Reading,
        standing: &Standing,
    ) -> Answer {
        let (verdict, warnings) = weigh(view, question, stage, reading.now);
        let fresh = standing.is_fresh(reading.boot) && view.behind.is_none();
        let (token, heard_at) = match &view.behind {
            None => (Arc::clone(&standing.token), standing.heard_at),
            Some(behind) => (behind.at.token(self.feed.seal()).into(), behind.heard_at),
        };
        let lease_end = reading
            .now
            .plus_micros(heard_at + LEASE_MICROS - reading.boot);
        Answer {
            denied: verdict.denies(),
            treatment: verdict.treatment(),
            basis: if fresh { Basis::Fresh } else { Basis::Stale },
            stale_for: (!fresh).then(|| age(heard_at, reading)),
            reuse_until: fresh.then(|| {
                verdict
                    .flips
                    .map_or(lease_end, |flips| flips.min(lease_end))
            }),
            verdict,
            token,
            decision_id: self.next_id(),
            warnings,
        }
    }

    fn fail(&self, mode: FailureMode, reading: Reading, standing: &Standing) -> Answer {
        let denied = mode == FailureMode::Closed;
        Answer {
            verdict: Verdict::default(),
            denied,
            treatment: denied.then_some(Treatment::EndInteraction),
            basis: Basis::FailureMode,
            stale_for: Some(age(standing.heard_at, reading)),
            reuse_until: None,
            token: Arc::clone(&standing.token),
            decision_id: self.next_id(),
            warnings: SmallVec::new(),
        }
    }

    /// Unique among pods, and cheap: a check has no time for a UUID, nor for `format!`.
    fn next_id(&self) -> String {
        let number = self.answered.fetch_add(1, Ordering::Relaxed);
        let length = (u64::BITS - (number | 1).leading_zeros()).div_ceil(4);
        let digit = |at| char::from_digit(u32::try_from(number >> (4 * at) & 15).ok()?, 16);
        let mut id = String::with_capacity(self.pod.len() + 16);
        id.push_str(&self.pod);
        id.extend((0..length).rev().filter_map(digit));
        id
    }
}

/// What a view makes of a question at an instant, and what to warn of.
fn weigh(
    view: &TenantView,
    question: &Question<'_>,
    stage: Stage,
    now: Timestamp,
) -> (Verdict, Warnings) {
    let queue = Some(question.queue).filter(|queue| !queue.is_empty());
    let mut query = Query::new(question.channel, stage, queue);
    let (mut warnings, mut withheld) = (SmallVec::new(), 0);
    let region = Some(view.tenant.default_region.as_str()).filter(|region| !region.is_empty());
    for (at, given) in (0u8..).zip(question.identities) {
        match identity::read(given, Channels::of(&[question.channel]), region) {
            Ok(identity) => {
                warnings.extend(identity.cautions.iter().map(|c| (Some(at), c.code())));
                if identity.kind == IdentityKind::Withheld {
                    withheld += 1;
                } else {
                    query.ask_for(view, at, &identity);
                }
            }
            Err(unreadable) => warnings.push((Some(at), unreadable.caution.code())),
        }
    }
    if withheld == question.identities.len() {
        query.withhold();
    }
    if queue.is_some_and(|queue| view.never_heard_of(queue)) {
        warnings.push((None, "UNKNOWN_QUEUE"));
    }
    (decide(view, &query, now), warnings)
}

fn age(heard_at: i64, reading: Reading) -> Duration {
    Duration::from_micros(u64::try_from(reading.boot - heard_at).unwrap_or_default())
}

fn bad_token(bad: BadToken) -> Refusal {
    let field = "consistency.at_least_as_fresh.token";
    match bad {
        BadToken::Malformed => {
            let message = "a token is 48 hexadecimal digits, handed back as it was received";
            Refusal::of_field(Reason::TokenMalformed, field, message)
        }
        BadToken::Foreign => {
            let message = "this token was made by another deployment";
            Refusal::of_field(Reason::TokenForeign, field, message)
        }
    }
}
