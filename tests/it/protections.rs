//! Who is protected: what is built in, what somebody protects, and what a ban is told of both.

use bancheck::api::v1::{
    Channel, CreateBanRequest, Exception, Identity, IdentityKind, ListExceptionsRequest, MatchKind,
    TenantSettings, UpdateTenantSettingsRequest,
    ban::State,
    import_bans_request::{Header, Row},
};
use tonic::Code;

use crate::{
    exceptions::{banning, codes, id_of, making, range, sparing},
    imports::{header, rows},
    refused::Refused,
    requests::{NUMBER, OTHER_NUMBER, TOKEN, add, address, after, connect, phone, visitor},
    server::{Client, TENANT},
};

on_both_stores!(
    a_protected_exception_wins_over_any_ban_and_no_ban_may_be_on_whom_it_protects,
    emergency_numbers_and_own_networks_are_never_banned_by_accident,
    a_protection_is_lifted_by_its_name_and_put_back_by_it,
    protections_follow_the_tenants_region,
    a_ban_is_told_which_exceptions_it_meets,
    exceptions_are_listed_with_those_that_are_built_in_first,
    a_row_of_an_import_whom_exceptions_spare_is_left_out_and_counted,
);

async fn a_protected_exception_wins_over_any_ban_and_no_ban_may_be_on_whom_it_protects(
    client: Client,
) {
    client.ban(add(phone(NUMBER))).await;
    let made = client
        .spare(Exception {
            protected: true,
            ..range(MatchKind::Prefix, phone("+42060"))
        })
        .await;
    assert!(made.exception.as_ref().unwrap().protected);
    let asked = connect(Channel::Call, phone(NUMBER));
    assert_eq!(client.answer(asked).await, (false, id_of(&made)));
    for inside in [
        add(phone("+420602000001")),
        banning(MatchKind::Prefix, phone("+420603")),
    ] {
        let refused = Refused::read(client.admin().create_ban(inside).await);
        refused.is(Code::FailedPrecondition, "PROTECTED_IDENTIFIER");
        assert!(
            refused.message.starts_with("targets[0]"),
            "{}",
            refused.message
        );
        assert_eq!(refused.facts["exception_id"], id_of(&made));
    }
    let wider = client
        .ban_fully(banning(MatchKind::Prefix, phone("+4206")))
        .await;
    assert!(codes(&wider.warnings).contains(&"COVERS_EXCEPTION"));
    client.spare_no_more(&id_of(&made)).await;
    client.ban(add(phone("+420602000001"))).await;
}

async fn emergency_numbers_and_own_networks_are_never_banned_by_accident(client: Client) {
    let protected = [
        (add(phone("112")), "emergency-CZ-112"),
        (add(phone("+420112")), "emergency-CZ-112"),
        (add(phone("155")), "emergency-CZ-155"),
        (add(address("127.0.0.1")), "loopback-v4"),
        (add(address("::1")), "loopback-v6"),
        (add(address("10.1.2.3")), "private-10"),
        (add(address("192.168.1.1")), "private-192"),
        (add(address("fd00::1")), "private-v6"),
        (
            banning(MatchKind::Cidr, address("172.16.4.0/24")),
            "private-172",
        ),
    ];
    for (request, name) in protected {
        for override_warnings in [false, true] {
            let request = CreateBanRequest {
                override_warnings,
                ..request.clone()
            };
            let refused = Refused::read(client.admin().create_ban(request).await);
            refused.is(Code::FailedPrecondition, "PROTECTED_IDENTIFIER");
            assert!(
                refused.message.starts_with("targets[0]"),
                "{}",
                refused.message
            );
            assert_eq!(refused.facts["exception_id"], name);
        }
    }
    // What carriers share among strangers, and what documents are written with, is not theirs.
    for other in ["100.64.0.1", "192.0.2.1", "172.32.0.1"] {
        client.ban(add(address(other))).await;
    }
    // A range that takes some of them in holds the rest of it only.
    let wide = CreateBanRequest {
        override_warnings: true,
        ..banning(MatchKind::Cidr, address("8.0.0.0/6"))
    };
    let wide = client.ban_fully(wide).await;
    assert!(codes(&wide.warnings).contains(&"COVERS_EXCEPTION"));
    let numbers = client
        .ban_fully(banning(MatchKind::Prefix, phone("+4201")))
        .await;
    assert!(codes(&numbers.warnings).contains(&"COVERS_EXCEPTION"));
    let asked = connect(Channel::WebChat, address("10.9.8.7"));
    assert_eq!(client.answer(asked).await, (false, "private-10".to_owned()));
    let asked = connect(Channel::Call, phone("112"));
    assert_eq!(
        client.answer(asked).await,
        (false, "emergency-CZ-112".to_owned())
    );
    assert!(
        client
            .turns_away(Channel::WebChat, address("11.1.1.1"))
            .await
    );
}

async fn a_protection_is_lifted_by_its_name_and_put_back_by_it(client: Client) {
    let lifted = client.spare_no_more("private-10").await;
    assert_eq!(
        (lifted.exception_id.as_str(), lifted.state()),
        ("private-10", State::Deactivated)
    );
    assert_eq!(
        (lifted.protected, lifted.deactivated_by.as_str()),
        (true, "anonymous")
    );
    assert_eq!(lifted.deactivate_reason, "no longer ours");
    let ban = client.ban(add(address("10.1.2.3"))).await;
    assert!(
        client
            .turns_away(Channel::WebChat, address("10.1.2.3"))
            .await
    );
    let names = |all: &[Exception]| -> Vec<String> {
        all.iter().map(|one| one.exception_id.clone()).collect()
    };
    assert!(!names(&client.exceptions(&[]).await).contains(&lifted.exception_id));
    assert_eq!(
        client.exceptions(&[State::Deactivated]).await,
        std::slice::from_ref(&lifted)
    );

    let back = Exception {
        exception_id: "private-10".to_owned(),
        ..Default::default()
    };
    let made = client.spare(back.clone()).await;
    assert_eq!(made.exception.clone().unwrap().state(), State::Active);
    let asked = connect(Channel::WebChat, address("10.1.2.3"));
    assert_eq!(client.answer(asked).await, (false, "private-10".to_owned()));
    assert!(names(&client.exceptions(&[]).await).contains(&lifted.exception_id));
    // The history tells of both.
    let events = client
        .admin()
        .list_ban_events(bancheck::api::v1::ListBanEventsRequest {
            tenant: TENANT.to_owned(),
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    let actions: Vec<_> = events
        .events
        .iter()
        .map(|event| event.action.as_str())
        .collect();
    assert_eq!(
        actions,
        [
            "TENANT_CREATED",
            "PROTECTION_LIFTED",
            "CREATED",
            "PROTECTION_RESTORED"
        ]
    );
    client.lift(&ban).await;

    for (bad, field) in [
        (
            Exception {
                comment: "x".to_owned(),
                ..back
            },
            "exception.exception_id",
        ),
        (
            Exception {
                exception_id: "private-11".to_owned(),
                ..Default::default()
            },
            "exception.exception_id",
        ),
    ] {
        let refused = Refused::read(client.config().create_exception(making(bad)).await);
        refused.is(Code::InvalidArgument, "FIELD_INVALID");
        refused.blames(field);
    }
}

async fn protections_follow_the_tenants_region(client: Client) {
    client.ban(banning(MatchKind::Prefix, phone("+4201"))).await;
    assert!(!client.turns_away(Channel::Call, phone("+420155")).await);
    let update = |region: &str| UpdateTenantSettingsRequest {
        tenant_settings: Some(TenantSettings {
            tenant: TENANT.to_owned(),
            default_region: region.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    client
        .config()
        .update_tenant_settings(update("US"))
        .await
        .unwrap();
    assert!(client.turns_away(Channel::Call, phone("+420155")).await);
    let refused = Refused::read(client.admin().create_ban(add(phone("911"))).await);
    refused.is(Code::FailedPrecondition, "PROTECTED_IDENTIFIER");
    let all = client.exceptions(&[]).await;
    assert!(all.iter().any(|one| one.exception_id == "emergency-US-911"));
    assert!(
        !all.iter()
            .any(|one| one.exception_id.starts_with("emergency-CZ"))
    );
}

async fn a_ban_is_told_which_exceptions_it_meets(client: Client) {
    client.spare(sparing(phone(NUMBER))).await;
    client
        .spare(range(MatchKind::Prefix, phone("+420777")))
        .await;
    client
        .spare(range(MatchKind::Cidr, address("203.0.113.0/28")))
        .await;
    for (ban, code) in [
        (add(phone(NUMBER)), "SPARED_BY_EXCEPTION"),
        (add(phone(OTHER_NUMBER)), "OVERRIDES_EXCEPTION"),
        (
            banning(MatchKind::Prefix, phone("+4207")),
            "COVERS_EXCEPTION",
        ),
        (
            banning(MatchKind::Prefix, phone("+420777")),
            "SPARED_BY_EXCEPTION",
        ),
        (
            banning(MatchKind::Cidr, address("203.0.113.0/24")),
            "COVERS_EXCEPTION",
        ),
    ] {
        let made = client.ban_fully(ban.clone()).await;
        let warning = made
            .warnings
            .iter()
            .find(|one| one.code.ends_with("EXCEPTION"));
        let warning = warning.unwrap_or_else(|| panic!("{ban:?} is warned of nothing"));
        assert_eq!(
            (warning.code.as_str(), warning.identity_index),
            (code, Some(0)),
            "{ban:?}"
        );
        client.lift(&made.ban.unwrap()).await;
    }
    for ban in [
        add(phone("+420608999999")),
        add(address("203.0.113.77")),
        add(visitor(TOKEN)),
    ] {
        let made = client.ban_fully(ban).await;
        assert!(made.warnings.is_empty(), "{:?}", made.warnings);
    }
}

async fn exceptions_are_listed_with_those_that_are_built_in_first(client: Client) {
    let mut made = Vec::new();
    for number in [NUMBER, OTHER_NUMBER, "+420608000000"] {
        made.push(id_of(&client.spare(sparing(phone(number))).await));
    }
    let all = client.exceptions(&[]).await;
    let (built_in, others) = all.split_at(all.len() - made.len());
    let ids: Vec<_> = others.iter().map(|one| one.exception_id.clone()).collect();
    assert_eq!(ids, made);
    assert!(
        built_in
            .iter()
            .all(|one| one.protected && one.created_by.is_empty())
    );
    assert!(built_in.is_sorted_by_key(|one| one.exception_id.clone()));
    let emergency = built_in
        .iter()
        .find(|one| one.exception_id == "emergency-CZ-112");
    let emergency = emergency.expect("the emergency number");
    assert_eq!(emergency.target.as_ref().unwrap().value, "112");
    assert!(
        emergency
            .normalized
            .as_ref()
            .unwrap()
            .match_keys
            .contains(&"+420112".to_owned())
    );
    let network = built_in
        .iter()
        .find(|one| one.exception_id == "private-10")
        .unwrap();
    assert_eq!(
        network.target,
        Some(Identity {
            kind: IdentityKind::IpAddress as i32,
            value: "10.0.0.0/8".to_owned(),
            ..Default::default()
        })
    );
    assert_eq!(network.match_kind(), MatchKind::Cidr);

    let mut paged = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListExceptionsRequest {
            tenant: TENANT.to_owned(),
            page_size: 4,
            page_token,
            ..Default::default()
        };
        let page = client
            .config()
            .list_exceptions(request)
            .await
            .unwrap()
            .into_inner();
        paged.extend(page.exceptions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, all);
    let foreign = ListExceptionsRequest {
        tenant: TENANT.to_owned(),
        page_token: "AAAAAAAAAAAAAAAA".to_owned(),
        ..Default::default()
    };
    let refused = Refused::read(client.config().list_exceptions(foreign).await);
    refused.is(Code::InvalidArgument, "PAGE_TOKEN_MISMATCH");
}

async fn a_row_of_an_import_whom_exceptions_spare_is_left_out_and_counted(client: Client) {
    let (soon, never) = (phone("+420601000111"), phone("+420601000222"));
    client.spare(sparing(phone(NUMBER))).await;
    let on_sms = Exception {
        channels: vec![Channel::Sms as i32],
        ..sparing(phone(OTHER_NUMBER))
    };
    client.spare(on_sms).await;
    // When it ends, the ban is to be there.
    let for_an_hour = Exception {
        expire_time: Some(after(client.clock().await, 3_600)),
        ..sparing(soon.clone())
    };
    client.spare(for_an_hour).await;

    let row = |channel: Channel, targets: Vec<Identity>| Row {
        targets,
        channels: vec![channel as i32],
        ..rows(1).remove(0)
    };
    let file = vec![
        row(Channel::Call, vec![phone(NUMBER)]),
        row(Channel::Call, vec![phone("00420 601 123 456")]),
        row(Channel::WebChat, vec![address("10.1.2.3")]),
        row(Channel::Call, vec![phone(OTHER_NUMBER)]),
        row(Channel::Call, vec![soon]),
        row(Channel::Call, vec![phone(NUMBER), never.clone()]),
        row(
            Channel::WebChat,
            vec![address("10.1.2.3"), address("203.0.113.7")],
        ),
    ];
    let trying = Header {
        validate_only: true,
        ..header()
    };
    let tried = client.import(trying, file.clone()).await;
    let done = client.import(header(), file).await;
    for told in [&tried, &done] {
        let counts = [told.created_count, told.excepted_count, told.failed_count];
        assert_eq!(counts, [3, 3, 1], "{told:?}");
    }
    assert!(client.turns_away(Channel::Call, phone(OTHER_NUMBER)).await);
    assert!(client.turns_away(Channel::Call, never).await);
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
}
