//! Telling why a check is answered as it is: every ban and exception of its customer, in whatever
//! state.
//!
//! The decision is made where every check's is; the store is asked for what no view holds, the
//! reasons and what has ended. Asked about another instant, today's rows are judged at
//! it: what has ended since was in force then, while what was edited since counts as edited.

use std::{cmp::Reverse, collections::HashMap, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{Desk, Normalised};
use crate::{
    checker::{Answer, Checker, Judged, Question},
    domain::{
        ban::Ban,
        channel::Channels,
        clock::Timestamp,
        decide::{
            Query, Stage, Verdict,
            explain::{Exemption, Ruling, Why, exemptions, explain},
        },
        exception::{Exception, Exempt},
        identity::{self, Identity, IdentityKind, Unreadable},
        ids::BanId,
        keys::{TenantKey, Widths},
        record::{BanRecord, ExceptionNews, ExceptionRecord},
        refusal::Refusal,
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
    /// Every ban and exception on one of them, those first that bore on the answer.
    pub rules: Vec<Rule>,
    /// The state that was judged.
    pub judged_on: Arc<str>,
}

/// What became of a ban or an exception.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which.
    pub subject: Subject,
    /// Why it was made; empty where nobody said.
    pub reason: String,
    /// What became of it.
    pub why: Why,
    /// Whether it took part in the decision.
    pub applied: bool,
}

/// A ban or an exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A ban.
    Ban(BanId),
    /// An exception, or a built-in protection.
    Exempt(Exempt),
}

/// What became of everything that was found.
#[derive(Default)]
struct Rulings {
    bans: Vec<Ruling>,
    exemptions: Vec<Exemption>,
}

/// A question whose identities have been read.
struct Read<'a> {
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

    /// What became of everything that a view holds, if `verdict` was answered.
    fn rulings(&self, view: &TenantView, now: Timestamp, verdict: &Verdict) -> Rulings {
        let queue = Some(self.question.queue).filter(|queue| !queue.is_empty());
        let mut query = Query::new(self.question.channel, self.stage, queue);
        for (at, identity) in self.named() {
            query.ask_widely(view, at, identity);
        }
        Rulings {
            bans: explain(view, &query, now, verdict),
            exemptions: exemptions(view, &query, now, verdict),
        }
    }
}

/// A view of rows as they stand now, in which what has ended had not ended yet before it did, and
/// nobody was spared at `at` by what was made later.
fn as_of_the_rows(known: &Concerning, key: TenantKey, at: Option<Timestamp>) -> TenantView {
    let loaded = known.tenant.clone();
    let made = known
        .exceptions
        .iter()
        .filter(|(exception, _)| at.is_none_or(|at| exception.created <= at));
    let exceptions = made.map(|(exception, record)| {
        let ends = [record.expire, exception.deactivated];
        let ends = ends.into_iter().flatten().min();
        ExceptionRecord {
            expire: ends.or(record.ended.then_some(exception.created)),
            ended: false,
            ..record.clone()
        }
    });
    let exceptions = ExceptionNews {
        exceptions: exceptions.collect(),
        protections: loaded.exceptions.protections,
    };
    let mut view = TenantView::empty(loaded.head.revision, loaded.tenant, key);
    view = view
        .with_lists(loaded.lists)
        .with_queues(loaded.queues)
        .with_exceptions(&exceptions);
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

/// Why an exception has ended.
fn over(exception: &Exception) -> Why {
    if exception.deactivated.is_some() {
        Why::Deactivated
    } else {
        Why::Expired
    }
}

impl Desk {
    /// Tells why a check is answered as it is, or why it would be at another instant.
    pub async fn explain(
        &self,
        checker: &Checker,
        question: &Question<'_>,
        at: Option<Timestamp>,
    ) -> Result<Explanation, Refusal> {
        let (tenant, stage) = (question.tenant, question.stage()?);
        self.feed.known(tenant)?;
        let settings = self.settings(tenant, question.deadline).await?;
        let region = Some(settings.default_region.as_str()).filter(|region| !region.is_empty());
        let channels = Channels::of(&[question.channel]);
        let read_one = |given| identity::read(given, channels, region);
        let asked = Read {
            stage,
            question,
            identities: question.identities.iter().map(read_one).collect(),
        };
        let key = self.keys.tenant(asked.question.tenant);
        let keys = asked.keys(&key);
        let limit = i64::try_from(MAX_RULES).unwrap_or(i64::MAX);
        let look = self.store.concerning(asked.question.tenant, &keys, limit);
        let known = self.within(question.deadline, look).await?;
        let known = known.ok_or_else(Refusal::no_tenant)?;
        let rows = as_of_the_rows(&known, key.clone(), at);
        let (answer, rulings) = match at {
            None => self.explain_now(checker, &asked, &known, &rows).await?,
            Some(at) => self.explain_at(checker, &asked, &known, &rows, at)?,
        };
        let rules = self.with_reasons(&asked, known, rulings).await?;
        let told = |read| Normalised::of(read, &key, &settings);
        Ok(Explanation {
            judged_on: Arc::clone(&answer.token),
            identities: asked.identities.into_iter().map(told).collect(),
            answer,
            rules,
        })
    }

    /// The answer that a check gets now, and what became of all that the store knows as well.
    async fn explain_now(
        &self,
        checker: &Checker,
        asked: &Read<'_>,
        known: &Concerning,
        rows: &TenantView,
    ) -> Result<(Answer, Rulings), Refusal> {
        // So that the view that is judged has what was just read; where it does not come in time,
        // the explanation says so.
        let standing = self.feed.standing().ok_or_else(Refusal::not_ready)?;
        let seen = Position {
            anchor: known.tenant.head,
            ..standing.position
        };
        let told = self.feed.clock().read().boot;
        let _late = timeout(NEWS_PATIENCE, self.feed.includes(seen, told)).await;

        let Judged { answer, view, now } = checker.judged(asked.stage, asked.question).await?;
        let mut rulings = view.map_or_else(Rulings::default, |view| {
            asked.rulings(&view, now, &answer.verdict)
        });
        let bans: HashMap<BanId, &Ban> = by_id(known);
        for ruling in &mut rulings.bans {
            // Gone with its list, which is more than the view can tell.
            if let (Why::ListNotEnforcedHere, Some(ban)) = (ruling.why, bans.get(&ruling.ban))
                && ban.ended
            {
                ruling.why = ended(ban);
            }
        }
        let of_rows = asked.rulings(rows, now, &Verdict::default());
        for ruling in of_rows.bans {
            if rulings.bans.iter().any(|told| told.ban == ruling.ban) {
                continue;
            }
            let why = match (bans.get(&ruling.ban), ruling.why) {
                (Some(ban), _) if ban.ended => ended(ban),
                (_, Why::Expired | Why::NotStarted) => ruling.why,
                _ => Why::NotKnownYet,
            };
            rulings.bans.push(Ruling { why, ..ruling });
        }
        for exemption in of_rows.exemptions {
            let told = &mut rulings.exemptions;
            if told.iter().all(|told| told.by != exemption.by) {
                told.push(Exemption {
                    why: match exemption.why {
                        Why::Expired => Why::Expired,
                        _ => Why::NotKnownYet,
                    },
                    applied: false,
                    ..exemption
                });
            }
        }
        rulings.tell_the_ended(known);
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
    ) -> Result<(Answer, Rulings), Refusal> {
        let standing = self.feed.standing().ok_or_else(Refusal::not_ready)?;
        let position = Position {
            anchor: known.tenant.head,
            ..standing.position
        };
        let token = position.token(self.feed.seal()).into();
        let answer = checker.judge_at(rows, asked.question, asked.stage, at, token);
        let bans = by_id(known);
        let mut rulings = asked.rulings(rows, at, &answer.verdict);
        for ruling in &mut rulings.bans {
            if let (Why::Expired, Some(ban)) = (ruling.why, bans.get(&ruling.ban)) {
                ruling.why = ended(ban);
            }
        }
        rulings.tell_the_ended(known);
        let later = known.exceptions.iter();
        let later = later.filter(|(exception, _)| exception.created > at);
        rulings
            .exemptions
            .extend(later.map(|(exception, _)| Exemption {
                by: Exempt::Exception(exception.exception_id),
                why: Why::NotStarted,
                applied: false,
            }));
        Ok((answer, rulings))
    }

    /// The most important rulings, each with the reason of its ban or the comment of its exception.
    async fn with_reasons(
        &self,
        asked: &Read<'_>,
        known: Concerning,
        rulings: Rulings,
    ) -> Result<Vec<Rule>, Refusal> {
        let Rulings {
            mut bans,
            mut exemptions,
        } = rulings;
        bans.sort_by_key(|ruling| (ruling.why, Reverse(ruling.ban)));
        bans.truncate(MAX_RULES);
        let made = |exemption: &Exemption| match exemption.by {
            Exempt::Exception(id) => Some(id),
            Exempt::BuiltIn(_) => None,
        };
        exemptions.sort_by_key(|one| (one.why, Reverse(one.applied), Reverse(made(one))));

        let mut reasons: HashMap<BanId, String> = known
            .bans
            .into_iter()
            .map(|(ban, _)| (ban.ban_id, ban.reason))
            .collect();
        // Made since the store was asked.
        let newer = bans.iter().map(|ruling| ruling.ban);
        let newer: Vec<BanId> = newer.filter(|ban| !reasons.contains_key(ban)).collect();
        let newer = self.bans_of(asked.question.tenant, &newer, asked.question.deadline);
        reasons.extend(newer.await?.into_iter().map(|ban| (ban.ban_id, ban.reason)));
        let mut comments: HashMap<_, String> = known
            .exceptions
            .into_iter()
            .map(|(exception, _)| (exception.exception_id, exception.comment))
            .collect();

        let of_exemptions = exemptions.into_iter().map(|exemption| Rule {
            reason: made(&exemption)
                .and_then(|id| comments.remove(&id))
                .unwrap_or_default(),
            why: exemption.why,
            applied: exemption.applied,
            subject: Subject::Exempt(exemption.by),
        });
        let of_bans = bans.into_iter().map(|ruling| Rule {
            reason: reasons.remove(&ruling.ban).unwrap_or_default(),
            why: ruling.why,
            applied: ruling.why.applied(),
            subject: Subject::Ban(ruling.ban),
        });
        let mut rules: Vec<Rule> = of_exemptions.chain(of_bans).collect();
        // What spares is told before what it spares from.
        rules.sort_by_key(|rule| rule.why);
        rules.truncate(MAX_RULES);
        Ok(rules)
    }
}

impl Rulings {
    /// Tells exceptions that somebody ended from those whose time is over.
    fn tell_the_ended(&mut self, known: &Concerning) {
        for exemption in &mut self.exemptions {
            let Exempt::Exception(id) = exemption.by else {
                continue;
            };
            let mut rows = known.exceptions.iter();
            let row = rows.find(|(exception, _)| exception.exception_id == id);
            if let (Why::Expired, Some((exception, _))) = (exemption.why, row) {
                exemption.why = over(exception);
            }
        }
    }
}

fn by_id(known: &Concerning) -> HashMap<BanId, &Ban> {
    known
        .bans
        .iter()
        .map(|(ban, _)| (ban.ban_id, ban))
        .collect()
}
