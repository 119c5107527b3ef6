//! Many checks in one call: each in its place, all of a tenant by one state.

use bancheck::api::v1::{
    BanList, BatchCheckInteractionsRequest, Channel, CheckInteractionRequest,
    CheckInteractionResponse, CheckStage, Consistency, ConsistencyToken, CreateBanRequest,
    DecisionBasis, Identity, batch_check_interactions_response::result::Outcome,
    consistency::Requirement,
};
use prost::Message as _;
use tokio::task::JoinSet;
use tonic::Code;
use tonic_types::{Status as RpcStatus, pb::ErrorInfo};

use crate::{
    refused::Refused,
    requests::{
        NUMBER, OTHER_NUMBER, add, add_to, connect, decided_by, denies, enter, list, mail, phone,
    },
    server::Client,
};

on_both_stores!(
    each_item_is_answered_in_its_place,
    items_of_different_tenants_are_answered_together,
    what_is_wrong_with_an_item_is_the_error_of_that_item_alone,
    a_batch_holds_one_to_a_thousand_items,
    a_batch_may_be_larger_than_a_check_and_one_above_4_mib_is_refused_in_clear_words,
    how_fresh_a_batch_is_holds_for_all_of_its_items,
    a_token_that_cannot_be_honoured_refuses_the_whole,
    c5_all_items_of_a_tenant_are_judged_by_one_state,
    p2_campaign_imports_omit_blocked_numbers,
);

/// A batch as fresh as can be told at once.
pub(crate) fn batch(requests: Vec<CheckInteractionRequest>) -> BatchCheckInteractionsRequest {
    BatchCheckInteractionsRequest {
        requests,
        consistency: None,
    }
}

fn as_fresh_as(
    token: &str,
    requests: Vec<CheckInteractionRequest>,
) -> BatchCheckInteractionsRequest {
    let token = ConsistencyToken {
        token: token.to_owned(),
    };
    BatchCheckInteractionsRequest {
        requests,
        consistency: Some(Consistency {
            requirement: Some(Requirement::AtLeastAsFresh(token)),
        }),
    }
}

/// What an error within an answer says: its code, its reason, and the fields at fault.
pub(crate) fn reason(error: &RpcStatus) -> (Code, String) {
    let info = error
        .details
        .iter()
        .find(|any| any.type_url.ends_with("google.rpc.ErrorInfo"))
        .map(|any| ErrorInfo::decode(&*any.value).expect("an ErrorInfo"))
        .expect("every error has an ErrorInfo");
    assert_eq!(info.domain, "bancheck.v1", "{error:?}");
    (Code::from_i32(error.code), info.reason)
}

impl Client {
    /// What came of each item of a batch.
    pub(crate) async fn ask_all(&self, request: BatchCheckInteractionsRequest) -> Vec<Outcome> {
        let answer = self.check().batch_check_interactions(request).await;
        let results = answer.expect("a batch is answered").into_inner().results;
        let outcome = |result: bancheck::api::v1::batch_check_interactions_response::Result| {
            result.outcome.expect("each item has an outcome")
        };
        results.into_iter().map(outcome).collect()
    }

    /// The answers to a batch in which nothing is wrong.
    async fn answers(
        &self,
        request: BatchCheckInteractionsRequest,
    ) -> Vec<CheckInteractionResponse> {
        let outcomes = self.ask_all(request).await.into_iter();
        outcomes
            .map(|outcome| match outcome {
                Outcome::Response(answer) => answer,
                Outcome::Error(error) => panic!("{error:?}"),
            })
            .collect()
    }
}

fn numbers(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|at| format!("+4206011{at:05}"))
}

async fn each_item_is_answered_in_its_place(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    let asked = [NUMBER, OTHER_NUMBER, "00420601123456", "+420 12", NUMBER];
    let items = asked.map(|number| connect(Channel::Call, phone(number)));
    let answers = client.answers(batch(items.to_vec())).await;
    let denied: Vec<_> = answers.iter().map(denies).collect();
    assert_eq!(denied, [true, false, true, false, true]);
    assert_eq!(decided_by(&answers[2]), ban.ban_id);
    assert_eq!(answers[3].warnings[0].code, "NOT_POSSIBLE_NUMBER");
    let mut ids: Vec<_> = answers.iter().map(|answer| &answer.decision_id).collect();
    ids.dedup();
    assert_eq!(ids.len(), asked.len(), "each decision has an id of its own");
}

async fn items_of_different_tenants_are_answered_together(client: Client) {
    client.make_tenant("globex").await;
    client.ban(add(phone(NUMBER))).await;
    let item = connect(Channel::Call, phone(NUMBER));
    let elsewhere = CheckInteractionRequest {
        tenant: "globex".to_owned(),
        ..item.clone()
    };
    let items = vec![item.clone(), elsewhere.clone(), item, elsewhere];
    let denied: Vec<_> = client
        .answers(batch(items))
        .await
        .iter()
        .map(denies)
        .collect();
    assert_eq!(denied, [true, false, true, false]);
}

/// Questions with something wrong, and what is said of each.
pub(crate) fn wrong_questions() -> Vec<(CheckInteractionRequest, Code, &'static str)> {
    let right = || connect(Channel::Call, phone(NUMBER));
    let long = "x".repeat(1_025);
    let argument = Code::InvalidArgument;
    let tenant = |tenant: &str| CheckInteractionRequest {
        tenant: tenant.to_owned(),
        ..right()
    };
    let who = |identities: Vec<Identity>| CheckInteractionRequest {
        identities,
        ..right()
    };
    vec![
        (tenant(""), argument, "FIELD_REQUIRED"),
        (tenant("No Such Form"), argument, "FIELD_INVALID"),
        (tenant("nobody"), Code::NotFound, "TENANT_NOT_FOUND"),
        (who(Vec::new()), argument, "FIELD_REQUIRED"),
        (who(vec![phone(NUMBER); 9]), argument, "TOO_MANY_ITEMS"),
        (who(vec![phone(&long)]), argument, "VALUE_TOO_LONG"),
        (
            CheckInteractionRequest {
                channel: 0,
                ..right()
            },
            argument,
            "FIELD_REQUIRED",
        ),
        (
            CheckInteractionRequest {
                channel: 77,
                ..right()
            },
            argument,
            "FIELD_INVALID",
        ),
        (
            CheckInteractionRequest {
                stage: CheckStage::QueueEntry as i32,
                ..right()
            },
            argument,
            "FIELD_REQUIRED",
        ),
        (
            CheckInteractionRequest {
                interaction_id: "a\nb".to_owned(),
                ..right()
            },
            argument,
            "FIELD_INVALID",
        ),
    ]
}

async fn what_is_wrong_with_an_item_is_the_error_of_that_item_alone(client: Client) {
    client.ban(add(phone(NUMBER))).await;
    let right = connect(Channel::Call, phone(NUMBER));
    let mut wrong = wrong_questions();
    wrong.push((
        CheckInteractionRequest {
            consistency: Some(Consistency::default()),
            ..right.clone()
        },
        Code::InvalidArgument,
        "FIELD_INVALID",
    ));
    let items = wrong
        .iter()
        .flat_map(|(item, ..)| [item.clone(), right.clone()]);
    let outcomes = client.ask_all(batch(items.collect())).await;
    for (pair, (item, code, word)) in outcomes.chunks(2).zip(&wrong) {
        let [Outcome::Error(error), Outcome::Response(answer)] = pair else {
            panic!("{item:?} was answered: {pair:?}");
        };
        assert_eq!(reason(error), (*code, (*word).to_owned()), "{error:?}");
        assert!(denies(answer), "its neighbour is answered");
    }
}

async fn a_batch_holds_one_to_a_thousand_items(client: Client) {
    let none = client
        .check()
        .batch_check_interactions(batch(Vec::new()))
        .await;
    let none = Refused::read(none);
    none.is(Code::InvalidArgument, "FIELD_REQUIRED");
    none.blames("requests");
    client.ban(add(phone("+420601100999"))).await;
    let items = |count| {
        let items = numbers(count).map(|number| connect(Channel::Call, phone(&number)));
        batch(items.collect())
    };
    let answers = client.answers(items(1_000)).await;
    let denied: Vec<_> = (0..1_000).filter(|at| denies(&answers[*at])).collect();
    assert_eq!(denied, [999]);
    let more = Refused::read(client.check().batch_check_interactions(items(1_001)).await);
    more.is(Code::InvalidArgument, "TOO_MANY_ITEMS");
    more.blames("requests");
}

async fn a_batch_may_be_larger_than_a_check_and_one_above_4_mib_is_refused_in_clear_words(
    client: Client,
) {
    let large = |count: usize| {
        let value = "x".repeat(1_024);
        let item = CheckInteractionRequest {
            identities: vec![mail(&value); 8],
            ..connect(Channel::Email, mail(&value))
        };
        batch(vec![item; count])
    };
    assert_eq!(client.answers(large(100)).await.len(), 100, "some 800 KiB");
    let refused = Refused::read(client.check().batch_check_interactions(large(600)).await);
    refused.is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
    assert!(refused.message.contains("4194304"), "{}", refused.message);
    // One check is bounded more tightly.
    let long = connect(Channel::Call, phone(&"6".repeat(65 << 10)));
    let refused = Refused::read(client.check().check_interaction(long).await);
    refused.is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
    assert!(refused.message.contains("65536"), "{}", refused.message);
}

async fn how_fresh_a_batch_is_holds_for_all_of_its_items(client: Client) {
    for last in 0..10 {
        let number = phone(&format!("+42060155667{last}"));
        let made = client.ban_fully(add(number.clone())).await;
        let token = made.written_at.expect("a token").token;
        let items = vec![
            connect(Channel::Call, number.clone()),
            connect(Channel::Call, phone(OTHER_NUMBER)),
            connect(Channel::Sms, number),
        ];
        let answers = client.answers(as_fresh_as(&token, items)).await;
        let denied: Vec<_> = answers.iter().map(denies).collect();
        assert_eq!(denied, [true, false, true]);
        for answer in answers {
            assert_eq!(answer.basis(), DecisionBasis::Fresh);
            assert!(answer.checked_at.expect("a token").token >= token);
        }
    }
}

async fn a_token_that_cannot_be_honoured_refuses_the_whole(client: Client) {
    let items = vec![connect(Channel::Call, phone(NUMBER))];
    let request = as_fresh_as("no token", items);
    let refused = Refused::read(client.check().batch_check_interactions(request).await);
    refused.is(Code::InvalidArgument, "TOKEN_MALFORMED");
    refused.blames("consistency.at_least_as_fresh.token");
}

async fn c5_all_items_of_a_tenant_are_judged_by_one_state(client: Client) {
    // One ban on many: whoever looks sees all of them banned by it, or none.
    let several: Vec<_> = numbers(8).map(|number| phone(&number)).collect();
    let desk = client.clone();
    let targets = several.clone();
    let mut writing = JoinSet::new();
    writing.spawn(async move {
        for _ in 0..25 {
            let request = CreateBanRequest {
                targets: targets.clone(),
                ..add(phone(NUMBER))
            };
            let ban = desk.ban(request).await;
            desk.lift(&ban).await;
        }
    });
    let items: Vec<_> = (0..400)
        .map(|at| connect(Channel::Call, several[at % several.len()].clone()))
        .collect();
    let (mut denied, mut allowed) = (0, 0);
    while writing.try_join_next().map(Result::unwrap).is_none() {
        let answers = client.answers(batch(items.clone())).await;
        let first = decided_by(&answers[0]);
        let at = answers[0].checked_at.clone();
        for answer in &answers {
            assert_eq!(decided_by(answer), first, "one state");
            assert_eq!(answer.checked_at, at, "one position");
        }
        if first.is_empty() {
            allowed += 1;
        } else {
            denied += 1;
        }
    }
    assert!(denied > 0 && allowed > 0, "{denied} denied, {allowed} not");
}

async fn p2_campaign_imports_omit_blocked_numbers(client: Client) {
    let outbound = BanList {
        enforce_outbound: true,
        ..list("do-not-call")
    };
    client.make_list(outbound).await;
    client.make_list(list("rude")).await;
    client.relate("rude", &["sales"]).await;
    client
        .ban(add_to("do-not-call", phone("+420601100007")))
        .await;
    client.ban(add_to("rude", phone("+420601100008"))).await;
    client.ban(add(phone("+420601100009"))).await;

    // The campaign's own spelling of its numbers.
    let campaign: Vec<String> = numbers(300)
        .map(|number| number.replace("+420", ""))
        .collect();
    let dial = |number: &String| CheckInteractionRequest {
        stage: CheckStage::Outbound as i32,
        ..connect(Channel::Call, phone(number))
    };
    let answers = client
        .answers(batch(campaign.iter().map(dial).collect()))
        .await;
    let omitted: Vec<_> = campaign
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| denies(answer))
        .map(|(number, _)| number.as_str())
        .collect();
    // A list that does not act outwards stops nobody here, though it does in its queue.
    assert_eq!(omitted, ["601100007", "601100009"]);
    let entering = enter("sales", Channel::Call, phone("+420601100008"));
    assert!(denies(&client.ask(entering).await));
}
