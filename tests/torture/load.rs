//! Those who ask: endlessly, of every pod, in every way there is, one question after another.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bancheck::{
    api::v1::{
        self, CheckInteractionRequest, CheckInteractionResponse, Decision, DecisionBasis,
        check_service_client::CheckServiceClient, consistency::Requirement,
    },
    domain::{decide::Basis, ids::BanId},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{
    cast::{self, Dice, NOBODY, QUEUES, Reader, boot},
    pods::Life,
    record::{Answer, Check, Question, Road, Trouble, Verdict, Wish},
    world::{World, lives},
};

/// What everybody hopes for.
pub(crate) const FRESH: Basis = Basis::Fresh;
/// How long an answer is waited for: a pod may stand still for a while and answer then.
pub(crate) const PATIENCE: Duration = Duration::from_secs(12);

/// How somebody asks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    Alone,
    InBatches,
    OnAStream,
}

/// Asks one pod, in all of its lives.
pub(crate) struct Asker {
    pub(crate) world: Arc<World>,
    seat: usize,
    life: watch::Receiver<Option<Life>>,
    client: Option<(u16, CheckServiceClient<Channel>)>,
    pub(crate) reader: Reader,
    pub(crate) dice: Dice,
    /// What was asked and answered.
    pub(crate) checks: Vec<Check>,
}

impl Asker {
    /// One of those who ask a pod.
    pub(crate) fn new(world: Arc<World>, seat: usize, number: u64) -> Self {
        let life = world.seats[seat].life();
        let dice = Dice::new(world.plan.seed, 1_000 + number * 100 + seat as u64);
        Self {
            world,
            seat,
            life,
            client: None,
            reader: Reader::new(),
            dice,
            checks: Vec::new(),
        }
    }

    /// Asks in one manner until everybody is to stop, no faster than this.
    pub(crate) async fn ask_on(mut self, manner: Manner, pace: Duration) -> Vec<Check> {
        // Not all at once.
        let some = u32::try_from(self.dice.below(200)).expect("few");
        let mut next = Instant::now() + Duration::from_millis(3) * some;
        sleep_until(next).await;
        let mut line = None;
        while self.world.asking.load(Ordering::SeqCst) {
            let before = self.checks.len();
            let answered = match manner {
                Manner::Alone => {
                    let question = self.any_question();
                    self.ask(question).await.is_some()
                }
                Manner::InBatches => self.ask_a_batch().await,
                Manner::OnAStream => self.ask_on_a_stream(&mut line).await,
            };
            let asked = (self.checks.len() - before) as u64;
            self.world.asked.fetch_add(asked, Ordering::Relaxed);
            next = (next + pace).max(Instant::now() - pace * 20);
            if !answered {
                next = next.max(Instant::now() + Duration::from_millis(5));
            }
            // Time itself: this is how fast one asks.
            sleep_until(next).await;
        }
        self.checks
    }

    pub(crate) fn any_question(&mut self) -> Question {
        let dice = &mut self.dice;
        let (mut tenant, mut first) = (dice.tenant(), dice.caller());
        if dice.chance(50) {
            let lately = &self.world.lately[dice.place(self.world.lately.len())];
            let packed = lately.load(Ordering::Relaxed);
            tenant = u8::try_from(packed >> 16 & 0xff).expect("a tenant");
            first = u16::try_from(packed & 0xffff).expect("a caller");
        }
        let second = if dice.chance(25) {
            dice.caller()
        } else {
            NOBODY
        };
        let at_queue = cast::has_lists(tenant) && dice.chance(60);
        let queue = if at_queue {
            1 + dice.below(u64::from(QUEUES))
        } else {
            0
        };
        let newest = || *self.world.newest.lock().expect("the newest token");
        let wish = match dice.below(100) {
            0..80 => Wish::Latency,
            80..95 => newest().map_or(Wish::Latency, Wish::AtLeast),
            _ => Wish::Fully,
        };
        Question {
            tenant,
            callers: [first, if second == first { NOBODY } else { second }],
            by_text: dice.chance(20),
            queue: u8::try_from(queue).expect("a queue"),
            wish,
        }
    }

    /// A client of the pod as it lives now, and which of its lives that is.
    pub(crate) async fn client(&mut self) -> Option<(u16, CheckServiceClient<Channel>)> {
        // A pod that is dead cannot be asked; the run may end meanwhile.
        let found = timeout(Duration::from_millis(200), lives(&mut self.life)).await;
        let life = found.ok()?;
        let kept = self
            .client
            .take()
            .filter(|(number, _)| *number == life.number);
        let client = kept.unwrap_or_else(|| (life.number, CheckServiceClient::new(life.check)));
        Some(self.client.insert(client).clone())
    }

    /// Notes what came of a question.
    pub(crate) fn note(
        &mut self,
        life: u16,
        road: Road,
        sent: i64,
        question: Question,
        outcome: Result<Answer, Trouble>,
    ) {
        self.checks.push(Check {
            pod: self.world.seats[self.seat].number,
            life,
            sent,
            received: boot(),
            question,
            road,
            outcome,
        });
    }

    /// Asks one question; the basis of the answer, if there was one.
    pub(crate) async fn ask(&mut self, question: Question) -> Option<Basis> {
        let (number, mut client) = self.client().await?;
        let request = self.reader.request(question);
        let sent = boot();
        let answered = timeout(PATIENCE, client.check_interaction(request)).await;
        let outcome = match answered {
            Ok(Ok(answer)) => self.reader.answer(&answer.into_inner()),
            Ok(Err(status)) => Err(trouble(&status)),
            Err(_) => Err(Trouble::Silent),
        };
        let basis = outcome.as_ref().ok().map(|answer| answer.basis);
        self.note(number, Road::Alone, sent, question, outcome);
        basis
    }
}

impl Reader {
    pub(crate) fn request(&self, question: Question) -> CheckInteractionRequest {
        let Question {
            tenant,
            callers,
            by_text,
            queue,
            wish,
        } = question;
        let requirement = match wish {
            Wish::Latency => None,
            Wish::Fully => Some(Requirement::FullyConsistent(true)),
            Wish::AtLeast(position) => Some(Requirement::AtLeastAsFresh(v1::ConsistencyToken {
                token: self.write(position),
            })),
        };
        let channel = if by_text {
            v1::Channel::Sms
        } else {
            v1::Channel::Call
        };
        CheckInteractionRequest {
            tenant: cast::tenant(tenant),
            channel: channel as i32,
            queue: if queue == 0 {
                String::new()
            } else {
                cast::queue(queue)
            },
            identities: callers
                .into_iter()
                .filter(|caller| *caller != NOBODY)
                .map(|caller| v1::Identity {
                    value: cast::caller(caller),
                    ..v1::Identity::default()
                })
                .collect(),
            consistency: requirement.map(|requirement| v1::Consistency {
                requirement: Some(requirement),
            }),
            ..CheckInteractionRequest::default()
        }
    }

    pub(crate) fn answer(&mut self, answer: &CheckInteractionResponse) -> Result<Answer, Trouble> {
        let odd = || Trouble::Odd(format!("{answer:?}"));
        let ban = |found: &v1::BanMatch| BanId::parse(&found.ban_id).ok_or_else(odd);
        let basis = match answer.basis() {
            DecisionBasis::Fresh => Basis::Fresh,
            DecisionBasis::Stale => Basis::Stale,
            DecisionBasis::FailureMode => Basis::FailureMode,
            DecisionBasis::Unspecified => return Err(odd()),
        };
        let deny = match &answer.r#match {
            Some(found) => {
                let end = found.expire_time.map_or(i64::MAX, |at| {
                    at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000
                });
                Some((ban(found)?, end))
            }
            None => None,
        };
        let denied = answer.decision() == Decision::Deny;
        if denied != deny.is_some() && basis != Basis::FailureMode {
            return Err(odd());
        }
        let mut shadows: Vec<BanId> = answer
            .shadow_matches
            .iter()
            .map(ban)
            .collect::<Result<_, _>>()?;
        shadows.sort_unstable();
        let token = answer.checked_at.as_ref().ok_or_else(odd)?;
        Ok(Answer {
            verdict: Verdict { deny, shadows },
            basis,
            stale_for: answer.stale_for.map_or(0, |age| {
                age.seconds * 1_000_000 + i64::from(age.nanos) / 1_000
            }),
            token: self.read(&token.token),
        })
    }
}

/// What kind of failure a status tells of.
pub(crate) fn trouble(status: &Status) -> Trouble {
    match status.get_details_error_info() {
        Some(info) => Trouble::Refused(info.reason),
        None => Trouble::Broken(format!("{:?}: {}", status.code(), status.message())),
    }
}

/// Remembers that a caller was written about, so that many ask about them.
pub(crate) fn note(lately: &[AtomicU64; 64], place: u64, tenant: u8, caller: u16) {
    let place = usize::try_from(place % 64).expect("a place");
    lately[place].store(
        u64::from(tenant) << 16 | u64::from(caller),
        Ordering::Relaxed,
    );
}
