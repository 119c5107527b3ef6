//! V-4: one check, a batch and a stream say the same of the same question, over random worlds.

use bancheck::api::v1::{
    BanList, Channel, CheckInteractionRequest, CheckInteractionResponse, CreateBanListRequest,
    CreateBanRequest, Identity, IdentityKind, SetBanListQueuesRequest,
    StreamCheckInteractionsRequest, ban::Enforcement,
    batch_check_interactions_response::result::Outcome as Item,
    stream_check_interactions_response::Outcome as Streamed,
};
use proptest::{
    collection::vec, prelude::*, sample::select, strategy::ValueTree as _, test_runner::TestRunner,
};
use tokio_stream::iter;
use tonic::Code;

use crate::{
    batch::{batch, reason, wrong_questions},
    refused::Refused,
    requests::{add, identity, list},
    server::Client,
};

on_both_stores!(v4_one_check_a_batch_and_a_stream_agree);

/// How many worlds, and how many questions are asked in each.
const WORLDS: usize = 12;
const QUESTIONS: usize = 60;

const LISTS: [&str; 3] = ["", "rude", "do-not-call"];
const QUEUES: [&str; 3] = ["", "sales", "support"];
const CHANNELS: [Channel; 4] = [
    Channel::WebChat,
    Channel::Email,
    Channel::Call,
    Channel::Sms,
];

/// The people there are, each in two spellings, and one whom nobody can read.
const PEOPLE: [(IdentityKind, &str, &str); 7] = [
    (IdentityKind::PhoneNumber, "+420601123456", "601 123 456"),
    (IdentityKind::PhoneNumber, "+420777000111", "00420777000111"),
    (
        IdentityKind::EmailAddress,
        "a.lice@gmail.com",
        "alice+shop@gmail.com",
    ),
    (
        IdentityKind::EmailAddress,
        "bob@example.com",
        "BOB@EXAMPLE.COM",
    ),
    (IdentityKind::IpAddress, "203.0.113.7", "203.0.113.8"),
    (
        IdentityKind::VisitorToken,
        "visitor-token-0001",
        "visitor-token-0001",
    ),
    (IdentityKind::PhoneNumber, "+420602333444", "not a number"),
];

fn person() -> impl Strategy<Value = Identity> {
    (select(&PEOPLE[..]), any::<bool>())
        .prop_map(|((kind, one, other), spelt)| identity(kind, if spelt { one } else { other }))
}

fn ban() -> impl Strategy<Value = CreateBanRequest> {
    (select(&PEOPLE[..6]), select(&LISTS[..]), any::<bool>()).prop_map(
        |((kind, value, _), list, shadow)| CreateBanRequest {
            list_id: list.to_owned(),
            enforcement: if shadow {
                Enforcement::Shadow as i32
            } else {
                Enforcement::Enforced as i32
            },
            ..add(identity(kind, value))
        },
    )
}

fn question() -> impl Strategy<Value = CheckInteractionRequest> {
    let channel = select(&CHANNELS[..]);
    let stage = select(&[0, 1, 2, 3][..]);
    (channel, stage, select(&QUEUES[..]), vec(person(), 1..4)).prop_map(
        |(channel, stage, queue, identities)| CheckInteractionRequest {
            channel: channel as i32,
            // An entry without a queue is refused, by all three alike.
            stage,
            queue: queue.to_owned(),
            identities,
            ..Default::default()
        },
    )
}

/// What came of a question, but for what differs between two answers to the same: the id, and the
/// moment up to which it may be used.
type Said = Result<CheckInteractionResponse, (Code, String)>;

fn alike(answer: CheckInteractionResponse) -> CheckInteractionResponse {
    CheckInteractionResponse {
        decision_id: String::new(),
        reuse_until: None,
        ..answer
    }
}

impl Client {
    async fn each_alone(&self, questions: &[CheckInteractionRequest]) -> Vec<Said> {
        let mut said = Vec::new();
        for question in questions {
            let answer = self.check().check_interaction(question.clone()).await;
            said.push(match answer {
                Ok(answer) => Ok(alike(answer.into_inner())),
                refused => {
                    let refused = Refused::read(refused);
                    Err((refused.code, refused.reason))
                }
            });
        }
        said
    }

    async fn all_at_once(&self, questions: &[CheckInteractionRequest]) -> Vec<Said> {
        let outcomes = self.ask_all(batch(questions.to_vec())).await.into_iter();
        outcomes
            .map(|outcome| match outcome {
                Item::Response(answer) => Ok(alike(answer)),
                Item::Error(error) => Err(reason(&error)),
            })
            .collect()
    }

    async fn one_after_another(&self, questions: &[CheckInteractionRequest]) -> Vec<Said> {
        let asked =
            questions
                .iter()
                .enumerate()
                .map(|(at, question)| StreamCheckInteractionsRequest {
                    correlation_id: at.to_string(),
                    request: Some(question.clone()),
                });
        let asked: Vec<_> = asked.collect();
        let answers = self.check().stream_check_interactions(iter(asked)).await;
        let mut answers = answers.expect("a stream").into_inner();
        let mut said: Vec<Option<Said>> = vec![None; questions.len()];
        while let Some(answer) = answers.message().await.expect("a good end") {
            let at: usize = answer.correlation_id.parse().expect("an id of ours");
            said[at] = Some(match answer.outcome.expect("an outcome") {
                Streamed::Response(answer) => Ok(alike(answer)),
                Streamed::Error(error) => Err(reason(&error)),
            });
        }
        said.into_iter()
            .map(|said| said.expect("an answer"))
            .collect()
    }
}

async fn v4_one_check_a_batch_and_a_stream_agree(client: Client) {
    let mut runner = TestRunner::deterministic();
    let (mut denied, mut refused) = (0, 0);
    for world in 0..WORLDS {
        let tenant = format!("world-{world}");
        client.make_tenant(&tenant).await;
        let drawn = (vec(ban(), 2..14), vec(question(), QUESTIONS));
        let drawn = drawn.new_tree(&mut runner).expect("a world").current();
        let (bans, mut questions) = drawn;
        furnish(&client, &tenant, bans).await;
        for question in &mut questions {
            question.tenant.clone_from(&tenant);
        }
        questions.extend(wrong_questions().into_iter().map(|(wrong, ..)| wrong));

        let alone = client.each_alone(&questions).await;
        let together = client.all_at_once(&questions).await;
        let streamed = client.one_after_another(&questions).await;
        for (at, question) in questions.iter().enumerate() {
            assert_eq!(alone[at], together[at], "in a batch: {question:?}");
            assert_eq!(alone[at], streamed[at], "on a stream: {question:?}");
        }
        let by_a_ban = |said: &&Said| said.as_ref().is_ok_and(|answer| answer.r#match.is_some());
        denied += alone.iter().filter(by_a_ban).count();
        refused += alone.iter().filter(|said| said.is_err()).count();
    }
    let all = WORLDS * QUESTIONS;
    assert!(
        denied > all / 40 && denied < all / 2 && refused > 0,
        "{denied} denied, {refused}"
    );
}

/// Lists, one that a queue checks and one that acts outwards, and bans.
async fn furnish(client: &Client, tenant: &str, bans: Vec<CreateBanRequest>) {
    let mut config = client.config();
    for (list_id, enforce_outbound) in [("rude", false), ("do-not-call", true)] {
        let request = CreateBanListRequest {
            tenant: tenant.to_owned(),
            ban_list: Some(BanList {
                enforce_outbound,
                ..list(list_id)
            }),
            ..Default::default()
        };
        config.create_ban_list(request).await.expect("a list");
    }
    let request = SetBanListQueuesRequest {
        tenant: tenant.to_owned(),
        list_id: "rude".to_owned(),
        queues: vec!["sales".to_owned()],
        ..Default::default()
    };
    config
        .set_ban_list_queues(request)
        .await
        .expect("a relation");
    for ban in bans {
        let request = CreateBanRequest {
            tenant: tenant.to_owned(),
            ..ban
        };
        // The same may be drawn twice.
        let made = client.admin().create_ban(request).await;
        if made.is_err() {
            Refused::read(made).is(Code::AlreadyExists, "DUPLICATE_ACTIVE_BAN");
        }
    }
}
