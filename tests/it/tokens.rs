//! What a caller hands back or makes up to be told apart by: tokens, pages, ids of requests.

use bancheck::{
    api::v1::{
        Channel, CheckInteractionRequest, ConsistencyToken, CreateBanRequest, ListBanEventsRequest,
        ListBanListsRequest, ListBansRequest, ListTenantsRequest,
    },
    domain::{
        keys::MasterKey,
        revision::{Anchor, Epoch, Nonce, Position, Revision},
    },
};
use tonic::Code;

use crate::{
    freshness::at_least,
    refusals::{calls, check_refused, judge, unharmed},
    refused::Refused,
    requests::{NUMBER, OTHER_NUMBER, add, phone},
    server::{Client, MASTER_KEY, TENANT},
};

on_both_stores!(
    a_request_id_stands_for_one_request,
    a_page_token_of_somewhere_else_is_refused,
    a_negative_page_size_is_refused,
    an_order_there_is_none_of_is_refused,
    a_corrupt_token_is_refused,
    a_foreign_token_is_refused,
    a_token_of_a_lost_history_is_refused,
    a_token_that_got_lost_is_not_taken_for_no_wish,
);

async fn a_request_id_stands_for_one_request(client: Client) {
    let of = |number| CreateBanRequest {
        request_id: "r-1".to_owned(),
        ..add(phone(number))
    };
    client.ban(of(NUMBER)).await;
    let refused = Refused::read(client.admin().create_ban(of(OTHER_NUMBER)).await);
    refused.is(Code::AlreadyExists, "REQUEST_ID_REUSED");
    refused.keeps_quiet_about("777000111");
    assert!(!client.turns_away(Channel::Call, phone(OTHER_NUMBER)).await);
    assert_eq!(client.found(ListBansRequest::default()).await.1, 1);
}

async fn a_page_token_of_somewhere_else_is_refused(client: Client) {
    let why = ["PAGE_TOKEN_MISMATCH", "page_token"];
    for token in ["x", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAA", "%%%", "é"] {
        let (tenant, page_token) = (TENANT.to_owned(), token.to_owned());
        let bans = ListBansRequest {
            tenant: tenant.clone(),
            page_token: page_token.clone(),
            ..Default::default()
        };
        judge(&Refused::read(client.admin().list_bans(bans).await), why);
        let events = ListBanEventsRequest {
            tenant: tenant.clone(),
            page_token: page_token.clone(),
            ..Default::default()
        };
        judge(
            &Refused::read(client.admin().list_ban_events(events).await),
            why,
        );
        let lists = ListBanListsRequest {
            tenant,
            page_token: page_token.clone(),
            ..Default::default()
        };
        judge(
            &Refused::read(client.config().list_ban_lists(lists).await),
            why,
        );
        let tenants = ListTenantsRequest {
            page_token,
            ..Default::default()
        };
        judge(
            &Refused::read(client.config().list_tenants(tenants).await),
            why,
        );
    }
    unharmed(&client).await;
}

async fn a_negative_page_size_is_refused(client: Client) {
    let why = ["FIELD_INVALID", "page_size"];
    for page_size in [-1, i32::MIN] {
        let tenant = || TENANT.to_owned();
        let bans = ListBansRequest {
            tenant: tenant(),
            page_size,
            ..Default::default()
        };
        judge(&Refused::read(client.admin().list_bans(bans).await), why);
        let events = ListBanEventsRequest {
            tenant: tenant(),
            page_size,
            ..Default::default()
        };
        judge(
            &Refused::read(client.admin().list_ban_events(events).await),
            why,
        );
        let lists = ListBanListsRequest {
            tenant: tenant(),
            page_size,
            ..Default::default()
        };
        judge(
            &Refused::read(client.config().list_ban_lists(lists).await),
            why,
        );
        let tenants = ListTenantsRequest {
            page_size,
            ..Default::default()
        };
        judge(
            &Refused::read(client.config().list_tenants(tenants).await),
            why,
        );
    }
    client
        .found(ListBansRequest {
            page_size: i32::MAX,
            ..Default::default()
        })
        .await;
    unharmed(&client).await;
}

async fn an_order_there_is_none_of_is_refused(client: Client) {
    for order_by in ["reason", "create_time", "expire_time desc; DROP TABLE bans"] {
        let request = ListBansRequest {
            tenant: TENANT.to_owned(),
            order_by: order_by.to_owned(),
            ..Default::default()
        };
        let refused = Refused::read(client.admin().list_bans(request).await);
        judge(&refused, ["INVALID_FILTER", "order_by"]);
    }
    unharmed(&client).await;
}

const TOKEN_FIELD: &str = "consistency.at_least_as_fresh.token";

fn since(token: &str) -> CheckInteractionRequest {
    at_least(
        Some(ConsistencyToken {
            token: token.to_owned(),
        }),
        calls(),
    )
}

/// A token of a far later position, sealed with a key.
fn sealed_with(key: &[u8; 32]) -> String {
    let anchor = Anchor {
        revision: Revision(1 << 40),
        nonce: Nonce(1),
    };
    Position {
        epoch: Epoch(1),
        anchor,
    }
    .token(&MasterKey::new(key).seal("token"))
}

async fn a_corrupt_token_is_refused(client: Client) {
    let good = client.ask(calls()).await.checked_at.unwrap().token;
    let (short, upper) = (
        &good[1..],
        good.to_uppercase().replace(char::is_numeric, "F"),
    );
    for token in ["x", short, &upper, &format!("{good}00"), &"é".repeat(24)] {
        check_refused(&client, since(token), ["TOKEN_MALFORMED", TOKEN_FIELD]).await;
    }
    client.ask(since(&good)).await;
    unharmed(&client).await;
}

async fn a_foreign_token_is_refused(client: Client) {
    let good = client.ask(calls()).await.checked_at.unwrap().token;
    let forged = format!("ffff{}", &good[4..]);
    for token in [sealed_with(&[1; 32]), forged, "0".repeat(48)] {
        check_refused(&client, since(&token), ["TOKEN_FOREIGN", TOKEN_FIELD]).await;
    }
    unharmed(&client).await;
}

async fn a_token_of_a_lost_history_is_refused(client: Client) {
    let question = since(&sealed_with(&MASTER_KEY));
    let refused = Refused::read(client.check().check_interaction(question).await);
    refused.is(Code::FailedPrecondition, "TOKEN_HISTORY_LOST");
    unharmed(&client).await;
}

async fn a_token_that_got_lost_is_not_taken_for_no_wish(client: Client) {
    let refused = Refused::read(client.check().check_interaction(since("")).await);
    refused.is(Code::InvalidArgument, "TOKEN_MALFORMED");
    unharmed(&client).await;
}
