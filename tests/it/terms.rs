//! The terms of a ban or a list that cannot be: times, ranges, masks.

use bancheck::api::v1::{
    Ban, BanList, CalendarPeriod, CreateBanListRequest, CreateBanRequest, MatchKind,
    UpdateBanListRequest, UpdateBanRequest, create_ban_request::Expiry,
};
use prost_types::{FieldMask, Timestamp};

use crate::{
    refusals::{ban_refused, judge, unharmed},
    refused::Refused,
    requests::{NUMBER, add, address, after, change, list, making, phone, visitor},
    server::{Client, TENANT},
};

on_both_stores!(
    a_ban_ends_after_it_is_made_and_after_it_starts,
    a_ban_ends_within_fifty_years,
    a_time_that_is_none_is_refused,
    a_range_too_broad_is_refused_unless_insisted_on,
    a_network_needs_the_match_kind_for_it,
    a_visitor_token_that_could_be_guessed_is_not_banned,
    a_ban_of_nobody_in_particular_to_be_changed_is_refused,
    a_field_mask_names_what_can_be_changed,
);

fn ending(end: Timestamp, start_time: Option<Timestamp>) -> CreateBanRequest {
    CreateBanRequest {
        start_time,
        expiry: Some(Expiry::ExpireTime(end)),
        ..add(phone(NUMBER))
    }
}

async fn a_ban_ends_after_it_is_made_and_after_it_starts(client: Client) {
    let now = client.clock().await;
    let past = ["EXPIRE_TIME_IN_PAST", "expire_time"];
    ban_refused(&client, ending(now, None), past).await;
    ban_refused(&client, ending(after(now, -3600), None), past).await;
    ban_refused(&client, ending(Timestamp::default(), None), past).await;
    let start = after(now, 7200);
    let before = ["EXPIRE_BEFORE_START", "expire_time"];
    ban_refused(&client, ending(after(now, 3600), Some(start)), before).await;
    ban_refused(&client, ending(start, Some(start)), before).await;
    unharmed(&client).await;
}

async fn a_ban_ends_within_fifty_years(client: Client) {
    let now = client.clock().await;
    let years = |years: i64| after(now, years * 31_557_600);
    let out_of = |field| ["TIMEOUT_OUT_OF_RANGE", field];
    ban_refused(&client, ending(years(51), None), out_of("expire_time")).await;
    ban_refused(
        &client,
        ending(years(9_000 - 2_026), None),
        out_of("expire_time"),
    )
    .await;
    let starting = CreateBanRequest {
        start_time: Some(years(51)),
        ..add(phone(NUMBER))
    };
    ban_refused(&client, starting, out_of("start_time")).await;
    let lasting = |years, days| CreateBanRequest {
        expiry: Some(Expiry::Timeout(CalendarPeriod {
            years,
            days,
            ..Default::default()
        })),
        validate_only: true,
        ..add(phone(NUMBER))
    };
    for (years, days) in [(50, 1), (i32::MAX, 0), (0, i32::MAX)] {
        ban_refused(&client, lasting(years, days), out_of("timeout")).await;
    }
    for (years, days) in [(0, 0), (-1, 0), (1, -1), (i32::MIN, 0)] {
        ban_refused(
            &client,
            lasting(years, days),
            ["INVALID_TIMEOUT", "timeout"],
        )
        .await;
    }
    client.ban(lasting(50, 0)).await;
    unharmed(&client).await;
}

async fn a_time_that_is_none_is_refused(client: Client) {
    for (seconds, nanos) in [(i64::MAX, 0), (i64::MIN, 0), (0, -1), (0, 1_000_000_000)] {
        let none = Timestamp { seconds, nanos };
        ban_refused(
            &client,
            ending(none, None),
            ["FIELD_INVALID", "expire_time"],
        )
        .await;
        let starting = CreateBanRequest {
            start_time: Some(none),
            ..add(phone(NUMBER))
        };
        ban_refused(&client, starting, ["FIELD_INVALID", "start_time"]).await;
    }
    unharmed(&client).await;
}

fn network(cidr: &str) -> CreateBanRequest {
    CreateBanRequest {
        match_kind: MatchKind::Cidr as i32,
        ..add(address(cidr))
    }
}

async fn a_range_too_broad_is_refused_unless_insisted_on(client: Client) {
    let insisted = |cidr| CreateBanRequest {
        override_warnings: true,
        validate_only: true,
        ..network(cidr)
    };
    let broad = ["RANGE_TOO_BROAD", "targets[0].value"];
    for cidr in ["198.0.0.0/15", "2001:d00::/31"] {
        ban_refused(&client, network(cidr), broad).await;
        client.ban(insisted(cidr)).await;
    }
    for cidr in ["0.0.0.0/0", "::/0"] {
        ban_refused(&client, insisted(cidr), broad).await;
    }
    unharmed(&client).await;
}

async fn a_network_needs_the_match_kind_for_it(client: Client) {
    let bad = ["INVALID_IDENTIFIER", "targets[0].value"];
    ban_refused(&client, add(address("198.51.100.0/24")), bad).await;
    for odd in [
        "198.51.100.0/33",
        "2001:db8::/129",
        "198.51.100.0/-1",
        "nowhere/24",
    ] {
        ban_refused(&client, network(odd), bad).await;
    }
    let request = CreateBanRequest {
        match_kind: MatchKind::Cidr as i32,
        ..add(phone(NUMBER))
    };
    ban_refused(&client, request, bad).await;
    let request = CreateBanRequest {
        match_kind: MatchKind::Alias as i32,
        ..add(phone(NUMBER))
    };
    ban_refused(&client, request, ["INVALID_IDENTIFIER", "match_kind"]).await;
    unharmed(&client).await;
}

async fn a_visitor_token_that_could_be_guessed_is_not_banned(client: Client) {
    let bad = ["INVALID_IDENTIFIER", "targets[0].value"];
    ban_refused(&client, add(visitor("short")), bad).await;
    unharmed(&client).await;
}

async fn a_ban_of_nobody_in_particular_to_be_changed_is_refused(client: Client) {
    let refused = Refused::read(client.admin().update_ban(UpdateBanRequest::default()).await);
    judge(&refused, ["FIELD_REQUIRED", "ban"]);
    let request = CreateBanListRequest {
        tenant: TENANT.to_owned(),
        ..Default::default()
    };
    let refused = Refused::read(client.config().create_ban_list(request).await);
    judge(&refused, ["FIELD_REQUIRED", "ban_list"]);
    let untitled = BanList {
        title: "  ".to_owned(),
        ..list("l")
    };
    let request = making(untitled);
    let refused = Refused::read(client.config().create_ban_list(request).await);
    judge(&refused, ["FIELD_REQUIRED", "ban_list.title"]);
    unharmed(&client).await;
}

async fn a_field_mask_names_what_can_be_changed(client: Client) {
    let ban_id = uuid::Uuid::now_v7().to_string();
    for field in [
        "origin",
        "targets",
        "ban_id",
        "nonsense",
        "reason.length",
        "ban.reason",
    ] {
        let ban = Ban {
            tenant: TENANT.to_owned(),
            ban_id: ban_id.clone(),
            ..Default::default()
        };
        let refused = Refused::read(client.admin().update_ban(change(ban, field)).await);
        judge(&refused, ["INVALID_FIELD_MASK", "update_mask"]);
    }
    let request = UpdateBanListRequest {
        tenant: TENANT.to_owned(),
        ban_list: Some(list("l")),
        update_mask: Some(FieldMask {
            paths: vec!["title".to_owned(), "queues".to_owned()],
        }),
        ..Default::default()
    };
    let refused = Refused::read(client.config().update_ban_list(request).await);
    judge(&refused, ["INVALID_FIELD_MASK", "update_mask"]);
    unharmed(&client).await;
}
