//! Clients that ask, and hand all they hear to the judge.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bancheck::{
    checker::{Consistency, Question, Seen},
    domain::{
        caller::Caller,
        channel::Channel,
        identity::{Given, IdentityKind},
        ids::TenantId,
        refusal::Refusal,
    },
};
use tokio_util::task::TaskTracker;

use super::{
    answers::Wish,
    database::Database,
    judge::Judge,
    pod::{Pausable, Pod},
    random::Random,
    shelf::QUEUES,
    verdict::{Asked, Said},
};

/// The list of every tenant.
pub(crate) const LIST: &str = "calls";

/// Where people are met: at none of the queues, or at one.
const ASKED_AT: [&str; 3] = ["", QUEUES[0], QUEUES[1]];

/// Who may be banned: everybody can be met in a chat and by e-mail.
pub(crate) const PEOPLE: u64 = 8;

/// Everything that takes part in a run.
pub(crate) struct World {
    pub(crate) database: Arc<Database>,
    pub(crate) judge: Arc<Judge>,
    pub(crate) pods: Mutex<Vec<Arc<Pod>>>,
    pub(crate) tenants: Vec<TenantId>,
    /// The tokens that clients were handed lately.
    pub(crate) tokens: Mutex<Vec<String>>,
    pub(crate) tasks: TaskTracker,
}

impl World {
    /// The present process of a pod.
    pub(crate) fn pod(&self, name: usize) -> Arc<Pod> {
        let pods = self.pods.lock().expect("nobody panics with the pods");
        Arc::clone(&pods[name % pods.len()])
    }

    pub(super) fn keep(&self, token: &str) {
        let mut tokens = self.tokens.lock().expect("nobody panics with the tokens");
        if tokens.last().is_none_or(|last| last != token) {
            tokens.push(token.to_owned());
        }
    }

    /// A token handed out lately, the last ones most often.
    pub(crate) fn token(&self, random: &mut Random) -> Option<String> {
        let tokens = self.tokens.lock().expect("nobody panics with the tokens");
        let back = random.place(4).min(random.place(12));
        tokens
            .len()
            .checked_sub(back + 1)
            .map(|at| tokens[at].clone())
    }
}

/// How a person is known on a channel.
pub(super) fn identity(who: u64, channel: Channel) -> (IdentityKind, String) {
    match channel {
        Channel::WebChat => (
            IdentityKind::VisitorToken,
            format!("visitor-token-000{who}"),
        ),
        _ => (
            IdentityKind::EmailAddress,
            format!("person-{who}@example.com"),
        ),
    }
}

/// A question about a person.
pub(crate) fn about(tenant: &TenantId, who: u64, random: &mut Random) -> Asked {
    let channel = *random.pick(&[Channel::WebChat, Channel::Email]);
    let mut identities = vec![identity(who, channel)];
    if random.chance(20) {
        identities.push(identity((who + 1) % PEOPLE, channel));
    }
    Asked {
        tenant: tenant.clone(),
        channel,
        queue: ASKED_AT[random.place(3)],
        identities,
    }
}

/// The identities of a question, as they are handed over.
fn given(asked: &Asked) -> Vec<Given<'_>> {
    asked
        .identities
        .iter()
        .map(|(kind, value)| Given {
            kind: Some(*kind),
            value,
            issuer: "",
            region_hint: "",
        })
        .collect()
}

fn consistency(wish: &Wish) -> Consistency<'_> {
    match wish {
        Wish::Whatever => Consistency::MinimizeLatency,
        Wish::Token(token) => Consistency::AtLeastAsFresh(token),
        Wish::Fully => Consistency::Fully,
    }
}

fn question<'a>(
    asked: &'a Asked,
    identities: &'a [Given<'a>],
    consistency: Consistency<'a>,
    deadline: Duration,
) -> Question<'a> {
    Question {
        tenant: &asked.tenant,
        channel: asked.channel,
        stage: None,
        queue: asked.queue,
        identities,
        consistency,
        deadline,
    }
}

/// Asks a pod, and has the judge look at what it says.
pub(crate) async fn check(
    world: &World,
    pod: &Arc<Pod>,
    asked: &Asked,
    wish: &Wish,
    deadline: Duration,
) -> Option<Said> {
    let asking = async {
        world.judge.look(pod);
        let opened = world.judge.open(pod.name, pod.feed.clock().read().now);
        let identities = given(asked);
        let question = question(asked, &identities, consistency(wish), deadline);
        let answer = pod.checker.check(&question).await;
        // The answer stands; from here on it is looked at in the same instant.
        world.judge.look(pod);
        match answer {
            Ok(answer) => {
                let said = Said::of(&answer);
                let now = pod.feed.clock().read().now;
                world.judge.answered(&opened, asked, wish, now, &said);
                world.keep(&said.token);
                Some(said)
            }
            Err(refusal) => {
                world.judge.refused(&opened, wish, refusal.reason);
                None
            }
        }
    };
    Pausable::new(&pod.network, asking).await
}

/// Asks a pod about many at once, and has the judge look at what it says.
pub(crate) async fn check_all(
    world: &World,
    pod: &Arc<Pod>,
    batch: Vec<Asked>,
    wish: &Wish,
    deadline: Duration,
) {
    let asking = async {
        world.judge.look(pod);
        let opened = world.judge.open(pod.name, pod.feed.clock().read().now);
        let tenants = batch.iter().map(|asked| asked.tenant.as_str());
        let caller = Caller::anonymous();
        let glance = pod
            .checker
            .glance(&caller, tenants, consistency(wish), deadline);
        match glance.await {
            Ok(glance) => {
                let said = |(asked, seen): (&Asked, Result<Seen<'_>, Refusal>)| {
                    let identities = given(asked);
                    let question =
                        question(asked, &identities, Consistency::MinimizeLatency, deadline);
                    let seen = seen.expect("a tenant that may be asked about");
                    assert_eq!(seen.tenant, &asked.tenant);
                    let answer = seen.check(&question);
                    Said::of(&answer.expect("what is well formed is answered"))
                };
                let said: Vec<Said> = batch.iter().zip(glance.seen()).map(said).collect();
                assert_eq!(said.len(), batch.len(), "as many answers as questions");
                world.judge.look(pod);
                let now = pod.feed.clock().read().now;
                let batch: Vec<(Asked, Said)> = batch.iter().cloned().zip(said).collect();
                world.judge.answered_together(&opened, &batch, wish, now);
                for (_, said) in &batch {
                    world.keep(&said.token);
                }
            }
            Err(refusal) => {
                world.judge.look(pod);
                world.judge.refused(&opened, wish, refusal.reason);
            }
        }
    };
    Pausable::new(&pod.network, asking).await;
}
