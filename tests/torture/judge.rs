//! Judges every recorded answer: it must be what the model says at some single revision, and at some
//! instant, inside the answer's own bounds.
//!
//! The lower bound of the revision is the answer's own token, the token or the consistency that was
//! asked for, and what the basis claims: all that was known two seconds before the question was
//! sent for FRESH, all that was known `stale_for` before it for STALE. The upper bound is what had
//! been committed when the answer arrived. Of instants, those between question and answer count,
//! and [`TOLERANCE`] to both sides, since a pod's clock follows the database's by a round trip.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use bancheck::domain::{
    decide::Basis,
    revision::{Epoch, Position},
};

use crate::{
    model::Model,
    record::{Answer, Check, End, Fault, Record, Road, Trouble, Wish},
    witness::History,
};

/// By how much a pod's clock may differ from the database's, in microseconds.
pub(crate) const TOLERANCE: i64 = 50_000;
/// C-4: the lease, in microseconds.
const LEASE: i64 = 2_000_000;
/// For how long after a fault its consequences are excused.
const AFTERMATH: i64 = 3_500_000;
/// Of so many questions, one may get no news in time though nothing was done to its pod: 150 ms are
/// little on a machine that is busy with something else.
const PUNCTUAL: usize = 500;

/// News that was asked for did not come in time, and nothing was done to the pod.
const LATE: &str = "late";

/// Nothing was done to the pod, and it had not heard anything for the length of the lease.
const STALE: &str = "stale";

/// A promise that was broken.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    /// Which.
    pub(crate) clause: &'static str,
    /// Who broke it.
    pub(crate) whose: String,
    /// All there is to know about it.
    pub(crate) told: String,
}

/// What is known to have been in a history at a time: each revision no later than it was seen.
#[derive(Debug, Default)]
struct Known(Vec<(i64, u64)>);

impl Known {
    fn of(mut seen: Vec<(i64, u64)>) -> Self {
        seen.sort_unstable();
        let mut most = 0;
        for (_, revision) in &mut seen {
            most = most.max(*revision);
            *revision = most;
        }
        Self(seen)
    }

    fn by(&self, time: i64) -> u64 {
        let after = self.0.partition_point(|(at, _)| *at <= time);
        after.checked_sub(1).map_or(0, |last| self.0[last].1)
    }
}

/// A history, its model, and what was known of it when.
struct Past<'a> {
    history: &'a History,
    model: Model,
    known: Known,
}

/// The judge of one run.
pub(crate) struct Judge<'a> {
    pasts: Vec<Past<'a>>,
    faults: &'a [Fault],
    to_wall: i64,
    /// When each life of each pod first answered from memory, by tenant.
    awake: HashMap<(u8, u16, u8), i64>,
}

/// Why an answer cannot be what it claims, in one history.
struct Misfit {
    clause: &'static str,
    why: String,
}

impl<'a> Judge<'a> {
    /// A judge of these histories.
    pub(crate) fn new(
        histories: &'a [History],
        targets: &HashMap<bancheck::domain::ids::BanId, (u8, Vec<u16>)>,
        record: &'a Record,
        to_wall: i64,
    ) -> Self {
        let pasts = histories
            .iter()
            .map(|history| {
                let mut seen = history.seen.clone();
                for write in &record.writes {
                    if let End::Acknowledged { token, .. } = &write.end
                        && history.holds(token.anchor)
                    {
                        seen.push((write.received, token.anchor.revision.0));
                    }
                }
                Past {
                    history,
                    model: Model::of(history, targets),
                    known: Known::of(seen),
                }
            })
            .collect();
        let mut awake: HashMap<(u8, u16, u8), i64> = HashMap::new();
        for check in &record.checks {
            if let Ok(answer) = &check.outcome
                && answer.basis != Basis::FailureMode
            {
                let first = awake
                    .entry((check.pod, check.life, check.question.tenant))
                    .or_insert(i64::MAX);
                *first = check.received.min(*first);
            }
        }
        Self {
            pasts,
            faults: &record.faults,
            to_wall,
            awake,
        }
    }

    /// Judges all checks.
    pub(crate) fn judge(&self, checks: &[Check]) -> Vec<Violation> {
        let mut found: Vec<Violation> = checks
            .iter()
            .filter_map(|check| self.check(check).err().map(|no| self.told(check, &no)))
            .collect();
        let asked = checks
            .iter()
            .filter(|check| check.question.wish != Wish::Latency);
        forgive(&mut found, LATE, asked.count());
        let stale = |check: &&Check| {
            let stale = |answer: &Answer| answer.basis == Basis::Stale;
            check.outcome.as_ref().is_ok_and(stale) && !self.touched(check)
        };
        let mut sleepy: Vec<Violation> = checks
            .iter()
            .filter(stale)
            .map(|check| {
                let why = "STALE, and nothing had been done to its pod".to_owned();
                self.told(check, &Misfit { clause: STALE, why })
            })
            .collect();
        forgive(&mut sleepy, STALE, checks.len());
        found.extend(sleepy);
        found.extend(self.tokens_never_go_back(checks));
        found.extend(self.batches_are_of_one_state(checks));
        found.extend(self.one_epoch_a_fork(checks));
        found
    }

    fn check(&self, check: &Check) -> Result<(), Misfit> {
        let answer = match &check.outcome {
            Ok(answer) => answer,
            Err(trouble) => return self.excuse(check, trouble),
        };
        if !self
            .pasts
            .iter()
            .any(|past| could(past.history, check, answer))
        {
            return Err(Misfit {
                clause: "C-3",
                why: "its token is of no history there ever was".to_owned(),
            });
        }
        if answer.basis == Basis::FailureMode {
            let woke = (check.pod, check.life, check.question.tenant);
            return match self.awake.get(&woke) {
                Some(woke) if *woke < check.sent => Err(Misfit {
                    clause: "doubt",
                    why: "the failure mode decided though the view was there before".to_owned(),
                }),
                _ => Ok(()),
            };
        }
        let mut misfit = None;
        for past in self.pasts.iter().rev() {
            if could(past.history, check, answer) {
                match self.fits(past, check, answer) {
                    Ok(()) => return Ok(()),
                    Err(no) => misfit = misfit.or(Some(no)),
                }
            }
        }
        misfit.map_or(Ok(()), Err)
    }

    /// Whether an answer can have been given in this history.
    fn fits(&self, past: &Past<'_>, check: &Check, answer: &Answer) -> Result<(), Misfit> {
        let own = answer.token.anchor.revision.0;
        let mut bounds = vec![("C-1", own, "its own token")];
        // Whatever it claims to have heard of at this time, it must have heard in this history.
        let mut heard = |clause, since: i64, of| {
            if past.history.ended.is_some_and(|ended| ended < since) {
                let why = format!("{of}, yet its history was over by then");
                return Err(Misfit { clause, why });
            }
            bounds.push((clause, past.known.by(since), of));
            Ok(())
        };
        match answer.basis {
            Basis::Fresh => heard("C-4", check.sent - LEASE, "FRESH, so heard in the lease")?,
            Basis::Stale => heard(
                "C-4",
                check.sent - answer.stale_for,
                "heard `stale_for` ago",
            )?,
            Basis::FailureMode => {}
        }
        match check.question.wish {
            Wish::Latency => {}
            Wish::Fully => heard("fully", check.sent, "fully consistent")?,
            Wish::AtLeast(token) if past.history.holds(token.anchor) => {
                bounds.push(("token", token.anchor.revision.0, "the token asked for"));
            }
            Wish::AtLeast(token) if token.epoch < answer.token.epoch => {
                heard("token", check.sent, "a token of an older epoch")?;
            }
            Wish::AtLeast(_) => {
                return Err(Misfit {
                    clause: "token",
                    why: "a token of a history that is lost was taken for one of this".to_owned(),
                });
            }
        }
        let (_, from, _) = bounds.iter().max_by_key(|bound| bound.1).expect("one");
        let to = past
            .history
            .committed_by(check.received + self.to_wall + 1_000);
        if self.explained(past, check, answer, *from, to, TOLERANCE) {
            return Ok(());
        }
        Err(self.diagnose(past, check, answer, &bounds, to))
    }

    fn explained(
        &self,
        past: &Past<'_>,
        check: &Check,
        answer: &Answer,
        from: u64,
        to: u64,
        tolerance: i64,
    ) -> bool {
        let (asked, got) = (check.sent + self.to_wall, check.received + self.to_wall);
        let instants = past
            .model
            .instants(&check.question, asked - tolerance, got + tolerance);
        past.model
            .turns(&check.question, from, to)
            .into_iter()
            .rev()
            .any(|revision| {
                instants.iter().any(|now| {
                    past.model.verdict(&check.question, revision, *now) == answer.verdict
                })
            })
    }

    /// Which bound an answer breaks, for people.
    fn diagnose(
        &self,
        past: &Past<'_>,
        check: &Check,
        answer: &Answer,
        bounds: &[(&'static str, u64, &str)],
        to: u64,
    ) -> Misfit {
        let older = (0..to)
            .rev()
            .find(|revision| self.explained(past, check, answer, *revision, *revision, TOLERANCE));
        let said = bounds
            .iter()
            .map(|(_, revision, of)| format!("≥ {revision} ({of})"))
            .collect::<Vec<_>>()
            .join(", ");
        let from = bounds.iter().map(|bound| bound.1).max().unwrap_or_default();
        let now = check.received + self.to_wall;
        let model = format!(
            "revision must be {said}, ≤ {to}; the model says {:?} at {from} and {:?} at {to}, {now}\n    \
             bans there: {}",
            past.model.verdict(&check.question, from, now),
            past.model.verdict(&check.question, to, now),
            past.model.told(&check.question, to),
        );
        if let Some(late) = [200_000, 1_000_000, 5_000_000, 4 * 3_600_000_000]
            .into_iter()
            .find(|late| self.explained(past, check, answer, from, to, *late))
        {
            let why = format!("only a clock that is up to {late} µs wrong explains it; {model}");
            return Misfit { clause: "V-1", why };
        }
        match older {
            Some(older) => {
                let broken = bounds.iter().find(|bound| older < bound.1);
                Misfit {
                    clause: broken.map_or("C-5", |bound| bound.0),
                    why: format!("it is the answer of revision {older}; {model}"),
                }
            }
            None => Misfit {
                clause: "C-5",
                why: format!("it is the answer of no revision; {model}"),
            },
        }
    }

    fn touched(&self, check: &Check) -> bool {
        let (from, to) = (check.sent - AFTERMATH, check.received);
        self.faults
            .iter()
            .any(|fault| fault.touches(check.pod, from, to))
    }

    /// Whether there may be no answer.
    fn excuse(&self, check: &Check, trouble: &Trouble) -> Result<(), Misfit> {
        let awake = self
            .awake
            .get(&(check.pod, check.life, check.question.tenant))
            .is_some_and(|woke| *woke < check.sent);
        let asks_for_news = check.question.wish != Wish::Latency;
        let mut clause = "answers";
        let excused = match trouble {
            Trouble::Refused(reason) => match reason.as_str() {
                "STORE_UNAVAILABLE" if asks_for_news => {
                    clause = LATE;
                    self.touched(check)
                }
                // A stream ends with its pod, and says so.
                "NOT_READY" if check.road == Road::Stream => !awake || self.touched(check),
                "NOT_READY" | "TENANT_NOT_FOUND" => !awake,
                "TOKEN_HISTORY_LOST" => match check.question.wish {
                    Wish::AtLeast(token) => !self.lives_on(token),
                    Wish::Latency | Wish::Fully => false,
                },
                _ => false,
            },
            Trouble::Broken(_) | Trouble::Silent => self.touched(check),
            Trouble::Odd(_) => false,
        };
        if excused {
            return Ok(());
        }
        Err(Misfit {
            clause,
            why: "there was no answer, and no reason for there being none".to_owned(),
        })
    }

    /// Whether a token is of the history that is there in the end.
    fn lives_on(&self, token: Position) -> bool {
        let last = self.pasts.last().expect("there is always one");
        last.history.holds(token.anchor)
    }

    fn told(&self, check: &Check, no: &Misfit) -> Violation {
        let (from, to) = (check.sent - 5_000_000, check.received);
        let around: Vec<String> = self
            .faults
            .iter()
            .filter(|fault| fault.touches(check.pod, from, to))
            .map(|fault| {
                let (begun, ended) = (fault.begun - check.sent, fault.ended - check.sent);
                format!("{} {begun}..{ended} µs of the question", fault.kind)
            })
            .collect();
        Violation {
            clause: no.clause,
            whose: format!("pod {}", check.pod),
            told: format!(
                "{}\n    {check:?}\n    faults around it: {around:?}",
                no.why
            ),
        }
    }

    /// C-2, as far as it can be seen: what a pod answered before a question was sent is no newer
    /// than what it answers to that question.
    fn tokens_never_go_back(&self, checks: &[Check]) -> Vec<Violation> {
        let mut lives: HashMap<(u8, u16), Vec<(&Check, &Answer)>> = HashMap::new();
        for check in checks {
            if let Ok(answer) = &check.outcome {
                let life = lives.entry((check.pod, check.life)).or_default();
                life.push((check, answer));
            }
        }
        let place = |answer: &Answer| (answer.token.epoch, answer.token.anchor.revision);
        let mut found = Vec::new();
        for life in lives.values_mut() {
            life.sort_unstable_by_key(|(check, _)| check.received);
            let mut most = Vec::with_capacity(life.len());
            for (check, answer) in life.iter() {
                let before = most.last().map_or(place(answer), |(_, most)| *most);
                most.push((check.received, before.max(place(answer))));
            }
            for (check, answer) in life.iter() {
                let before = most.partition_point(|(received, _)| *received < check.sent);
                if let Some((_, newest)) = before.checked_sub(1).map(|at| most[at])
                    && place(answer) < newest
                {
                    let why = format!("this pod had answered at {newest:?} before");
                    found.push(self.told(check, &Misfit { clause: "C-2", why }));
                }
            }
        }
        found
    }

    /// C-5 of a batch: its answers about one tenant are those of one revision and one instant.
    fn batches_are_of_one_state(&self, checks: &[Check]) -> Vec<Violation> {
        let mut batches: HashMap<(u64, u8), Vec<(&Check, &Answer)>> = HashMap::new();
        for check in checks {
            if let (Road::Batch(number), Ok(answer)) = (check.road, &check.outcome) {
                let batch = batches.entry((number, check.question.tenant)).or_default();
                batch.push((check, answer));
            }
        }
        let mut found = Vec::new();
        for batch in batches.values().filter(|batch| batch.len() > 1) {
            let (check, first) = batch[0];
            let rests = |answer: &Answer| (answer.token, answer.basis, answer.stale_for);
            let same = batch.iter().all(|(_, one)| rests(one) == rests(first));
            let why = if !same {
                "the answers of a batch do not all rest on the same"
            } else if first.basis != Basis::FailureMode && !self.is_one_state(batch) {
                "no revision at any instant explains all answers of a batch"
            } else {
                continue;
            };
            let why = why.to_owned();
            found.push(self.told(check, &Misfit { clause: "C-5", why }));
        }
        found
    }

    fn is_one_state(&self, batch: &[(&Check, &Answer)]) -> bool {
        let (check, first) = batch[0];
        let asked = check.sent + self.to_wall - TOLERANCE;
        let got = check.received + self.to_wall + TOLERANCE;
        let homes = self
            .pasts
            .iter()
            .filter(|past| could(past.history, check, first));
        homes.into_iter().any(|past| {
            let from = first.token.anchor.revision.0;
            let to = past
                .history
                .committed_by(check.received + self.to_wall + 1_000);
            let questions = || batch.iter().map(|(check, _)| &check.question);
            let revisions: BTreeSet<u64> = questions()
                .flat_map(|question| past.model.turns(question, from, to))
                .collect();
            let instants: BTreeSet<i64> = questions()
                .flat_map(|question| past.model.instants(question, asked, got))
                .collect();
            let explains = |revision: u64, now: i64| {
                batch.iter().all(|(check, answer)| {
                    past.model.verdict(&check.question, revision, now) == answer.verdict
                })
            };
            revisions
                .iter()
                .rev()
                .any(|revision| instants.iter().any(|now| explains(*revision, *now)))
        })
    }

    /// After a fork, pods that know of it agree on one new epoch.
    fn one_epoch_a_fork(&self, checks: &[Check]) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut old = Epoch::default();
        for (at, past) in self.pasts.iter().enumerate() {
            let mut epochs: HashMap<Epoch, &Check> = HashMap::new();
            // What the next one has too may be told of it.
            let next = self.pasts.get(at + 1).map(|next| next.history);
            for check in checks {
                if let Ok(answer) = &check.outcome
                    && answer.token.anchor.revision.0 > past.history.forked_at
                    && past.history.holds(answer.token.anchor)
                    && !next.is_some_and(|next| next.holds(answer.token.anchor))
                    && answer.token.epoch > old
                {
                    epochs.entry(answer.token.epoch).or_insert(check);
                }
            }
            if epochs.len() > 1 {
                let why = format!("epochs of history {at}: {:?}", epochs.keys());
                let check = epochs.values().next().expect("one of several");
                found.push(self.told(
                    check,
                    &Misfit {
                        clause: "fork",
                        why,
                    },
                ));
            }
            old = epochs.keys().copied().max().unwrap_or_default().max(old);
        }
        found
    }
}

/// Forgives the few that a busy machine explains.
fn forgive(found: &mut Vec<Violation>, clause: &str, asked: usize) {
    let of_it = found.iter().filter(|one| one.clause == clause).count();
    if of_it <= asked / PUNCTUAL {
        found.retain(|one| one.clause != clause);
    }
}

/// Whether an answer can be of this history at all.
fn could(history: &History, check: &Check, answer: &Answer) -> bool {
    history.holds(answer.token.anchor) && history.began <= check.received
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.clause, self.told)
    }
}
