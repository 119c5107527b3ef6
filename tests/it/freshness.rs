//! How fresh an answer is, and how a caller makes sure of it.

use bancheck::api::v1::{
    BanEvent, Channel, CheckInteractionRequest, Consistency, ConsistencyToken, CreateBanRequest,
    DecisionBasis, ListBanEventsRequest, ListBansRequest, consistency::Requirement,
};
use tonic::Code;

use crate::{
    refused::Refused,
    requests::{NUMBER, OTHER_NUMBER, add, connect, decided_by, denies, phone},
    server::{Client, TENANT},
};

on_both_stores!(
    a_token_of_a_ban_makes_the_very_next_check_deny,
    a_token_of_a_deactivation_makes_the_very_next_check_allow,
    an_old_token_is_honoured_by_newer_data,
    a_fully_consistent_check_sees_all_that_was_committed,
    the_position_of_an_answer_never_goes_back,
    an_answer_of_a_pod_that_hears_its_store_is_fresh,
    every_decision_has_an_id_of_its_own,
    a_token_is_as_good_in_another_tenant,
    a_repeated_request_gives_the_same_ban_and_a_token_that_can_be_used,
    a_repeated_deactivation_gives_the_same_answer,
    a_request_id_is_remembered_for_its_tenant_and_rpc_only,
);

/// The same question, to be answered from data that includes a write.
pub(crate) fn at_least(
    token: Option<ConsistencyToken>,
    question: CheckInteractionRequest,
) -> CheckInteractionRequest {
    let requirement = Some(Requirement::AtLeastAsFresh(token.expect("a token")));
    CheckInteractionRequest {
        consistency: Some(Consistency { requirement }),
        ..question
    }
}

fn fully(question: CheckInteractionRequest) -> CheckInteractionRequest {
    let requirement = Some(Requirement::FullyConsistent(true));
    CheckInteractionRequest {
        consistency: Some(Consistency { requirement }),
        ..question
    }
}

async fn a_token_of_a_ban_makes_the_very_next_check_deny(client: Client) {
    for last in 0..10 {
        let number = phone(&format!("+42060122233{last}"));
        let made = client.ban_fully(add(number.clone())).await;
        let question = at_least(made.written_at.clone(), connect(Channel::Call, number));
        let answer = client.ask(question).await;
        assert_eq!(decided_by(&answer), made.ban.unwrap().ban_id);
        assert!(answer.checked_at.unwrap().token >= made.written_at.unwrap().token);
    }
}

async fn a_token_of_a_deactivation_makes_the_very_next_check_allow(client: Client) {
    for _ in 0..5 {
        let ban = client.ban(add(phone(NUMBER))).await;
        let lifted = client.lift(&ban).await;
        let question = at_least(lifted.written_at, connect(Channel::Call, phone(NUMBER)));
        assert!(!denies(&client.ask(question).await));
    }
}

async fn an_old_token_is_honoured_by_newer_data(client: Client) {
    let old = client.ban_fully(add(phone(NUMBER))).await;
    let new = client.ban_fully(add(phone(OTHER_NUMBER))).await;
    let question = at_least(old.written_at, connect(Channel::Call, phone(OTHER_NUMBER)));
    let answer = client.ask(question).await;
    assert!(denies(&answer));
    assert!(answer.checked_at.unwrap().token >= new.written_at.unwrap().token);
}

async fn a_fully_consistent_check_sees_all_that_was_committed(client: Client) {
    client.ban(add(phone(NUMBER))).await;
    let answer = client
        .ask(fully(connect(Channel::Call, phone(NUMBER))))
        .await;
    assert!(denies(&answer));
    assert_eq!(answer.basis(), DecisionBasis::Fresh);
}

async fn the_position_of_an_answer_never_goes_back(client: Client) {
    let mut last = String::new();
    for round in 0..5 {
        client
            .ban(add(phone(&format!("+42060122244{round}"))))
            .await;
        for question in [
            connect(Channel::Call, phone(NUMBER)),
            fully(connect(Channel::Call, phone(NUMBER))),
        ] {
            let token = client.ask(question).await.checked_at.unwrap().token;
            assert!(token >= last, "{token} after {last}");
            last = token;
        }
    }
}

async fn an_answer_of_a_pod_that_hears_its_store_is_fresh(client: Client) {
    let answer = client.ask(connect(Channel::Call, phone(NUMBER))).await;
    assert_eq!(
        (answer.basis(), answer.stale_for),
        (DecisionBasis::Fresh, None)
    );
    assert!(answer.reuse_until.is_some());
}

async fn every_decision_has_an_id_of_its_own(client: Client) {
    let one = client
        .ask(connect(Channel::Call, phone(NUMBER)))
        .await
        .decision_id;
    let other = client
        .ask(connect(Channel::Call, phone(NUMBER)))
        .await
        .decision_id;
    assert!(!one.is_empty() && one != other, "{one} {other}");
}

async fn a_token_is_as_good_in_another_tenant(client: Client) {
    client.make_tenant("globex").await;
    let made = client.ban_fully(add(phone(NUMBER))).await;
    let question = CheckInteractionRequest {
        tenant: "globex".to_owned(),
        ..at_least(made.written_at, connect(Channel::Call, phone(NUMBER)))
    };
    assert!(!denies(&client.ask(question).await));
}

async fn a_repeated_request_gives_the_same_ban_and_a_token_that_can_be_used(client: Client) {
    let request = CreateBanRequest {
        request_id: "retry-1".to_owned(),
        ..add(phone(NUMBER))
    };
    let first = client.ban_fully(request.clone()).await;
    let second = client.ban_fully(request).await;
    assert_eq!(first.ban, second.ban);
    assert_eq!(first.warnings, second.warnings);
    assert!(second.written_at.as_ref().unwrap().token >= first.written_at.unwrap().token);
    let question = at_least(second.written_at, connect(Channel::Call, phone(NUMBER)));
    assert_eq!(
        decided_by(&client.ask(question).await),
        first.ban.unwrap().ban_id
    );
    assert_eq!(client.found(ListBansRequest::default()).await.1, 1);
    let request = ListBanEventsRequest {
        tenant: TENANT.to_owned(),
        ..Default::default()
    };
    let told: Vec<BanEvent> = client
        .admin()
        .list_ban_events(request)
        .await
        .unwrap()
        .into_inner()
        .events;
    assert_eq!(
        told.iter()
            .filter(|event| event.action == "CREATED")
            .count(),
        1
    );
}

async fn a_repeated_deactivation_gives_the_same_answer(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    let mut request = bancheck::api::v1::DeactivateBanRequest {
        tenant: TENANT.to_owned(),
        request_id: "retry-2".to_owned(),
        ban_id: ban.ban_id,
        reason: "a mistake".to_owned(),
        ..Default::default()
    };
    let first = client
        .admin()
        .deactivate_ban(request.clone())
        .await
        .unwrap()
        .into_inner();
    let second = client
        .admin()
        .deactivate_ban(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first.ban, second.ban);
    "another thing under the same id".clone_into(&mut request.reason);
    let refused = Refused::read(client.admin().deactivate_ban(request).await);
    refused.is(Code::AlreadyExists, "REQUEST_ID_REUSED");
}

async fn a_request_id_is_remembered_for_its_tenant_and_rpc_only(client: Client) {
    client.make_tenant("globex").await;
    let request_id = "retry-3".to_owned();
    let request = CreateBanRequest {
        request_id: request_id.clone(),
        ..add(phone(NUMBER))
    };
    let here = client.ban(request.clone()).await;
    let there = client
        .ban(CreateBanRequest {
            tenant: "globex".to_owned(),
            ..request
        })
        .await;
    assert_ne!(here.ban_id, there.ban_id);
    let request = bancheck::api::v1::DeactivateBanRequest {
        tenant: TENANT.to_owned(),
        request_id,
        ban_id: here.ban_id,
        ..Default::default()
    };
    client.admin().deactivate_ban(request).await.unwrap();
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
}
