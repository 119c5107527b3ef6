//! Telling why a check is answered as it is: every ban of its customer, in whatever state.
//!
//! The decision is made where every check's is; the store is asked for what no view holds, the
//! reasons and the bans that have ended. Asked about another instant, today's rows are judged at
//! it: what has ended since was in force then, while what was edited since counts as edited.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{Desk, Normalised, no_tenant};
use crate::{
    checker::{Answer, Checker, Judged, Question},
    domain::{
        ban::Ban,
        caller::{Caller, Reach, Scope},
        channel::Channels,
        clock::Timestamp,
        decide::{
            Query, Stage, Verdict,
            explain::{Ruling, Why, explain},
        },
        identity::{self, Identity, IdentityKind, Unreadable},
        ids::{BanId, TenantId},
        keys::{TenantKey, Widths},
        record::BanRecord,
        refusal::{Reason, Refusal},
        revision::Position,
        view::{TenantView, index::Key},
    },
    store::Concerning,
};

/// The most rules that are told of one check.
const MAX_RULES: usize = 500;
/// How long the pod is given to hear what the store was just seen to hold.
const NEWS_PATIENCE: Duration = Duration::from_millis(150);

/// Why a check is answered as it is.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What the check is answered.
    pub answer: Answer,
    /// What is made of each identity.
    pub identities: Vec<Normalised>,
    /// Every ban on one of them, with its reason, those first that bore on the answer.
    pub rules: Vec<(Ruling, String)>,
    /// The state that was judged.
    pub judged_on: Arc<str>,
}

/// A question whose identities have been read.
struct Read<'a> {
    tenant: TenantId,
    stage: Stage,
    question: &'a Question<'a>,
    identities: Vec<Result<Identity, Unreadable>>,
}

impl Read<'_> {
    fn named(&self) -> impl Iterator<Item = (u8, &Identity)> {
        let read = (0..).zip(&self.identities);
        read.filter_map(|(at, one)| Some((at, one.as_ref().ok()?)))
            .filter(|(_, one)| one.kind != IdentityKind::Withheld)
    }

    /// Everything that a ban on one of them could be filed under.
    fn keys(&self, key: &TenantKey) -> Vec<Key> {
        let mut keys = Vec::new();
        for (_, identity) in self.named() {
            key.probes(identity, &Widths::ALL, true, |probe| keys.push(probe.key));
        }
        keys
    }

    /// What became of every ban that a view holds, if `verdict` was answered.
    fn rulings(&self, view: &TenantView, now: Timestamp, verdict: &Verdict) -> Vec<Ruling> {
        let queue = Some(self.question.queue).filter(|queue| !queue.is_empty());
        let mut query = Query::new(self.question.channel, self.stage, queue);
        for (at, identity) in self.named() {
            query.ask_widely(view, at, identity);
        }
        explain(view, &query, now, verdict)
    }
}

/// A view of rows as they stand now, in which what has ended had not ended yet before it did.
fn as_of_the_rows(known: &Concerning, key: TenantKey) -> TenantView {
    let loaded = known.tenant.clone();
    let mut view = TenantView::empty(loaded.head.revision, loaded.tenant, key);
    view = view
        .with_lists(loaded.lists)
        .with_queues(loaded.queues)
        .with_exceptions(&loaded.exceptions);
    let records = known.bans.iter().map(|(ban, record)| {
        let ends = [record.expire, ban.deactivated].into_iter().flatten().min();
        BanRecord {
            start: Some(record.start.unwrap_or(ban.created)),
            // What says of itself that it is over, and not since when, was never seen otherwise.
            expire: ends.or(record.ended.then_some(ban.updated)),
            ended: false,
            ..record.clone()
        }
    });
    view.file(&records.collect::<Vec<_>>());
    view
}

/// Why a ban that has ended does nothing.
fn ended(ban: &Ban) -> Why {
    if ban.deactivated.is_some() {
        Why::Deactivated
    } else {
        Why::Expired
    }
}

impl Desk {
    /// Tells why a check is answered as it is, or why it would be at another instant.
    pub async fn explain(
        &self,
        caller: &Caller,
        checker: &Checker,
        question: &Question<'_>,
        at: Option<Timestamp>,
    ) -> Result<Explanation, Refusal> {
        let (tenant, stage) = question.read()?;
        caller.needs(Scope::Support, Reach::Tenant(&tenant))?;
        self.known(&tenant)?;
        let settings = self.settings(&tenant, question.deadline).await?;
        let region = Some(settings.default_region.as_str()).filter(|region| !region.is_empty());
        let channels = Channels::of(&[question.channel]);
        let read_one = |given| identity::read(given, channels, region);
        let asked = Read {
            tenant,
            stage,
            question,
            identities: question.identities.iter().map(read_one).collect(),
        };
        let key = self.keys.tenant(&asked.tenant);
        let keys = asked.keys(&key);
        let limit = i64::try_from(MAX_RULES).unwrap_or(i64::MAX);
        let look = self.store.concerning(&asked.tenant, &keys, limit);
        let known = self.within(question.deadline, look).await?;
        let known = known.ok_or_else(no_tenant)?;
        let rows = as_of_the_rows(&known, key.clone());
        let (answer, mut rulings) = match at {
            None => self.explain_now(checker, &asked, &known, &rows).await?,
            Some(at) => self.explain_at(checker, &asked, &known, &rows, at)?,
        };
        rulings.sort_by_key(|ruling| (ruling.why, std::cmp::Reverse(ruling.ban)));
        rulings.truncate(MAX_RULES);
        let rules = self.with_reasons(&asked, known, rulings).await?;
        let told = |read| Normalised::of(read, &key, &settings);
        Ok(Explanation {
            judged_on: Arc::clone(&answer.token),
            identities: asked.identities.into_iter().map(told).collect(),
            answer,
            rules,
        })
    }

    /// The answer that a check gets now, and what became of every ban that the store knows as well.
    async fn explain_now(
        &self,
        checker: &Checker,
        asked: &Read<'_>,
        known: &Concerning,
        rows: &TenantView,
    ) -> Result<(Answer, Vec<Ruling>), Refusal> {
        // So that the view that is judged has what was just read; where it does not come in time,
        // the explanation says so.
        let standing = self.feed.standing().ok_or_else(not_ready)?;
        let seen = Position {
            anchor: known.tenant.head,
            ..standing.position
        };
        let told = self.feed.clock().read().boot;
        let _late = timeout(NEWS_PATIENCE, self.feed.includes(seen, told)).await;

        let Judged { answer, view, now } = checker
            .judged(&asked.tenant, asked.stage, asked.question)
            .await?;
        let mut rulings =
            view.map_or_else(Vec::new, |view| asked.rulings(&view, now, &answer.verdict));
        let bans: HashMap<BanId, &Ban> = by_id(known);
        for ruling in &mut rulings {
            // Gone with its list, which is more than the view can tell.
            if let (Why::ListNotEnforcedHere, Some(ban)) = (ruling.why, bans.get(&ruling.ban))
                && ban.ended
            {
                ruling.why = ended(ban);
            }
        }
        for ruling in asked.rulings(rows, now, &Verdict::default()) {
            if rulings.iter().any(|told| told.ban == ruling.ban) {
                continue;
            }
            let why = match (bans.get(&ruling.ban), ruling.why) {
                (Some(ban), _) if ban.ended => ended(ban),
                (_, Why::Expired | Why::NotStarted) => ruling.why,
                _ => Why::NotKnownYet,
            };
            rulings.push(Ruling { why, ..ruling });
        }
        Ok((answer, rulings))
    }

    /// The answer that a check would have got, or will get, of today's rows.
    fn explain_at(
        &self,
        checker: &Checker,
        asked: &Read<'_>,
        known: &Concerning,
        rows: &TenantView,
        at: Timestamp,
    ) -> Result<(Answer, Vec<Ruling>), Refusal> {
        let standing = self.feed.standing().ok_or_else(not_ready)?;
        let position = Position {
            anchor: known.tenant.head,
            ..standing.position
        };
        let token = position.token(self.feed.seal()).into();
        let answer = checker.judge_at(rows, asked.question, asked.stage, at, token);
        let bans = by_id(known);
        let mut rulings = asked.rulings(rows, at, &answer.verdict);
        for ruling in &mut rulings {
            if let (Why::Expired, Some(ban)) = (ruling.why, bans.get(&ruling.ban)) {
                ruling.why = ended(ban);
            }
        }
        Ok((answer, rulings))
    }

    /// The rulings, each with the reason of its ban.
    async fn with_reasons(
        &self,
        asked: &Read<'_>,
        known: Concerning,
        rulings: Vec<Ruling>,
    ) -> Result<Vec<(Ruling, String)>, Refusal> {
        let mut reasons: HashMap<BanId, String> = known
            .bans
            .into_iter()
            .map(|(ban, _)| (ban.ban_id, ban.reason))
            .collect();
        // Made since the store was asked.
        let newer = rulings.iter().map(|ruling| ruling.ban);
        let newer: Vec<BanId> = newer.filter(|ban| !reasons.contains_key(ban)).collect();
        let newer = self.bans_of(&asked.tenant, &newer, asked.question.deadline);
        reasons.extend(newer.await?.into_iter().map(|ban| (ban.ban_id, ban.reason)));
        let told = |ruling: Ruling| {
            let reason = reasons.remove(&ruling.ban).unwrap_or_default();
            (ruling, reason)
        };
        Ok(rulings.into_iter().map(told).collect())
    }
}

fn by_id(known: &Concerning) -> HashMap<BanId, &Ban> {
    known
        .bans
        .iter()
        .map(|(ban, _)| (ban.ban_id, ban))
        .collect()
}

fn not_ready() -> Refusal {
    let message = "this pod has not heard of its database yet; try another";
    Refusal::new(Reason::NotReady, message)
}
