//! Why a check is answered as it is, told to whoever has to answer for it.

use bancheck::api::v1::{
    BanList, Channel, CheckInteractionRequest, CheckInteractionResponse, Consistency,
    CreateBanRequest, DeleteBanListRequest, ExplainInteractionRequest, ExplainInteractionResponse,
    Identity, IdentityKind, MatchKind, SetBanListQueuesRequest, ban::Enforcement,
    consistency::Requirement, explain_interaction_response::rule,
};
use prost_types::Timestamp;
use tonic::Code;

use crate::{
    exceptions::{id_of, sparing},
    refused::Refused,
    requests::{
        NUMBER, OTHER_NUMBER, TOKEN, add, add_on, add_to, address, after, change, connect,
        decided_by, denies, enter, identity, list, mail, micros, phone, until, visitor,
    },
    server::{Client, TENANT},
};

on_both_stores!(
    d30_at_expire_time_less_a_millisecond_the_ban_holds_and_at_expire_time_it_does_not,
    a_customer_nobody_banned_has_no_rule,
    a_denial_names_the_ban_that_decided_and_those_that_would_go_on,
    a_lifted_ban_and_an_expired_one_are_told_from_each_other,
    a_scheduled_ban_has_not_started,
    a_ban_on_another_channel_is_told,
    a_ban_in_a_list_that_is_not_checked_here_is_told,
    a_shadow_ban_is_told,
    a_ban_of_a_deleted_list_was_lifted_with_it,
    a_range_that_has_ended_is_found_by_whoever_is_in_it,
    a_lifted_ban_was_in_force_before_it_was_lifted,
    a_ban_was_not_there_before_it_was_made,
    what_was_edited_since_counts_as_edited,
    the_answer_is_what_the_check_gets,
    identities_are_told_as_they_are_compared,
    a_folded_name_that_the_tenant_does_not_fold_is_nobody,
    what_a_check_refuses_is_refused_with_its_place,
    an_answer_of_another_instant_is_of_no_use_afterwards,
    an_exception_that_saved_is_told_and_so_is_the_ban_that_it_overrode,
    an_exception_that_saves_nobody_is_told_with_the_reason,
    an_exception_that_has_ended_is_told_and_spared_before_it_did,
    a_built_in_protection_is_told_by_its_name,
);

async fn explain_at(
    client: &Client,
    check: CheckInteractionRequest,
    evaluate_time: Option<Timestamp>,
) -> ExplainInteractionResponse {
    let request = ExplainInteractionRequest {
        check: Some(check),
        evaluate_time,
    };
    let answer = client.diagnostics().explain_interaction(request).await;
    answer.expect("an explanation").into_inner()
}

async fn explain(client: &Client, check: CheckInteractionRequest) -> ExplainInteractionResponse {
    explain_at(client, check, None).await
}

/// Which rules there are: each ban's id, and what became of it.
fn rules(explained: &ExplainInteractionResponse) -> Vec<(String, &str)> {
    let told = explained.rules.iter().map(|rule| {
        let Some(rule::Rule::BanId(id)) = &rule.rule else {
            panic!("no ban: {rule:?}")
        };
        assert_eq!(
            rule.applied,
            ["DECIDED", "ALSO_MATCHED"].contains(&rule.why.as_str()),
            "{rule:?}"
        );
        (id.clone(), rule.why.as_str())
    });
    told.collect()
}

fn answer(explained: &ExplainInteractionResponse) -> &CheckInteractionResponse {
    explained.response.as_ref().expect("an answer")
}

/// So many milliseconds after an instant, or before it.
fn millis(at: Timestamp, millis: i64) -> Timestamp {
    let micros = micros(at) + millis * 1_000;
    Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap(),
    }
}

fn call() -> CheckInteractionRequest {
    connect(Channel::Call, phone(NUMBER))
}

async fn d30_at_expire_time_less_a_millisecond_the_ban_holds_and_at_expire_time_it_does_not(
    client: Client,
) {
    // Whoever is asked about an instant is asked with the clock standing still at it, and nothing
    // sweeps between two questions.
    let end = after(client.clock().await, 3_600);
    let ban = client.ban(until(end, add(phone(NUMBER)))).await;
    let at = async |by: i64| explain_at(&client, call(), Some(millis(end, by))).await;
    let before = at(-1).await;
    assert_eq!(decided_by(answer(&before)), ban.ban_id);
    assert_eq!(rules(&before), [(ban.ban_id.clone(), "DECIDED")]);
    let then = at(0).await;
    assert!(!denies(answer(&then)));
    assert_eq!(rules(&then), [(ban.ban_id, "EXPIRED")]);
}

async fn a_customer_nobody_banned_has_no_rule(client: Client) {
    client.ban(add(phone(OTHER_NUMBER))).await;
    let explained = explain(&client, call()).await;
    assert!(!denies(answer(&explained)));
    assert_eq!(explained.rules, []);
    assert!(explained.judged_on.is_some());
}

async fn a_denial_names_the_ban_that_decided_and_those_that_would_go_on(client: Client) {
    let decided = client.ban(add(phone(NUMBER))).await;
    let end = after(client.clock().await, 3_600);
    let other = client
        .ban(until(end, add_on(Channel::Call, phone(NUMBER))))
        .await;
    let explained = explain(&client, call()).await;
    let expected = [
        (decided.ban_id.clone(), "DECIDED"),
        (other.ban_id.clone(), "ALSO_MATCHED"),
    ];
    assert_eq!(rules(&explained), expected);
    assert_eq!(explained.rules[0].reason, decided.reason);
    assert_eq!(decided_by(answer(&explained)), decided.ban_id);

    client.lift(&decided).await;
    let explained = explain(&client, call()).await;
    let expected = [
        (other.ban_id.clone(), "DECIDED"),
        (decided.ban_id, "DEACTIVATED"),
    ];
    assert_eq!(rules(&explained), expected);
}

async fn a_lifted_ban_and_an_expired_one_are_told_from_each_other(client: Client) {
    let lifted = client.ban(add(phone(NUMBER))).await;
    client.lift(&lifted).await;
    let mut over = client.ban(add(phone(NUMBER))).await;
    over.expire_time = Some(after(client.clock().await, -60));
    let ended = change(over.clone(), "expire_time");
    client.admin().update_ban(ended).await.unwrap();
    let explained = explain(&client, call()).await;
    assert!(!denies(answer(&explained)));
    let expected = [
        (over.ban_id, "EXPIRED"),
        (lifted.ban_id.clone(), "DEACTIVATED"),
    ];
    assert_eq!(rules(&explained), expected);
    assert_eq!(explained.rules[1].reason, lifted.reason);
}

async fn a_scheduled_ban_has_not_started(client: Client) {
    let start = after(client.clock().await, 3_600);
    let request = CreateBanRequest {
        start_time: Some(start),
        ..add(phone(NUMBER))
    };
    let ban = client.ban(request).await;
    let explained = explain(&client, call()).await;
    assert_eq!(rules(&explained), [(ban.ban_id.clone(), "NOT_STARTED")]);
    for (by, why) in [(-1, "NOT_STARTED"), (0, "DECIDED")] {
        let explained = explain_at(&client, call(), Some(millis(start, by))).await;
        assert_eq!(rules(&explained), [(ban.ban_id.clone(), why)]);
        assert_eq!(denies(answer(&explained)), why == "DECIDED");
    }
}

async fn a_ban_on_another_channel_is_told(client: Client) {
    let ban = client.ban(add_on(Channel::Whatsapp, phone(NUMBER))).await;
    let explained = explain(&client, call()).await;
    assert_eq!(rules(&explained), [(ban.ban_id, "OTHER_CHANNEL")]);
}

async fn a_ban_in_a_list_that_is_not_checked_here_is_told(client: Client) {
    client.make_list(list("debtors")).await;
    client.relate("debtors", &["sales"]).await;
    let ban = client.ban(add_to("debtors", phone(NUMBER))).await;
    for elsewhere in [call(), enter("support", Channel::Call, phone(NUMBER))] {
        let explained = explain(&client, elsewhere).await;
        assert!(!denies(answer(&explained)));
        let expected = [(ban.ban_id.clone(), "LIST_NOT_ENFORCED_HERE")];
        assert_eq!(rules(&explained), expected);
    }
    let explained = explain(&client, enter("sales", Channel::Call, phone(NUMBER))).await;
    assert_eq!(rules(&explained), [(ban.ban_id, "DECIDED")]);
}

async fn a_shadow_ban_is_told(client: Client) {
    let request = CreateBanRequest {
        enforcement: Enforcement::Shadow as i32,
        ..add(phone(NUMBER))
    };
    let ban = client.ban(request).await;
    let watching = BanList {
        enforcement: Enforcement::Shadow as i32,
        ..list("trial")
    };
    client.make_list(watching).await;
    client.relate("trial", &["sales"]).await;
    let listed = client.ban(add_to("trial", phone(NUMBER))).await;
    let explained = explain(&client, enter("sales", Channel::Call, phone(NUMBER))).await;
    assert!(!denies(answer(&explained)));
    let expected = [(listed.ban_id, "SHADOW"), (ban.ban_id, "SHADOW")];
    assert_eq!(rules(&explained), expected);
    assert_eq!(answer(&explained).shadow_matches.len(), 2);
}

async fn a_ban_of_a_deleted_list_was_lifted_with_it(client: Client) {
    client.make_list(list("debtors")).await;
    client.relate("debtors", &["sales"]).await;
    let ban = client.ban(add_to("debtors", phone(NUMBER))).await;
    let request = DeleteBanListRequest {
        tenant: TENANT.to_owned(),
        list_id: "debtors".to_owned(),
        force: true,
        ..Default::default()
    };
    client.config().delete_ban_list(request).await.unwrap();
    for check in [call(), enter("sales", Channel::Call, phone(NUMBER))] {
        let explained = explain(&client, check).await;
        assert!(!denies(answer(&explained)));
        assert_eq!(rules(&explained), [(ban.ban_id.clone(), "DEACTIVATED")]);
    }
}

async fn a_range_that_has_ended_is_found_by_whoever_is_in_it(client: Client) {
    use IdentityKind as Kind;
    for (channel, kind, range, matched, who) in [
        (
            Channel::WebChat,
            Kind::IpAddress,
            "203.0.113.0/25",
            MatchKind::Cidr,
            address("203.0.113.9"),
        ),
        (
            Channel::WebChat,
            Kind::IpAddress,
            "2001:db8:7::/48",
            MatchKind::Cidr,
            address("2001:db8:7::9"),
        ),
        (
            Channel::Call,
            Kind::PhoneNumber,
            "+420601",
            MatchKind::Prefix,
            phone(NUMBER),
        ),
        (
            Channel::Email,
            Kind::EmailAddress,
            "trolls.example",
            MatchKind::Domain,
            mail("a@deep.trolls.example"),
        ),
    ] {
        let request = CreateBanRequest {
            match_kind: matched as i32,
            override_warnings: true,
            ..add(identity(kind, range))
        };
        let ban = client.ban(request).await;
        let check = connect(channel, who);
        let explained = explain(&client, check.clone()).await;
        assert_eq!(rules(&explained), [(ban.ban_id.clone(), "DECIDED")]);
        client.lift(&ban).await;
        let explained = explain(&client, check).await;
        assert_eq!(rules(&explained), [(ban.ban_id, "DEACTIVATED")]);
    }
}

async fn a_lifted_ban_was_in_force_before_it_was_lifted(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    let meanwhile = client.clock().await;
    let lifted = client.lift(&ban).await.ban.unwrap();
    let explained = explain_at(&client, call(), Some(meanwhile)).await;
    assert_eq!(decided_by(answer(&explained)), ban.ban_id);
    assert_eq!(rules(&explained), [(ban.ban_id.clone(), "DECIDED")]);
    let explained = explain_at(&client, call(), lifted.deactivate_time).await;
    assert!(!denies(answer(&explained)));
    assert_eq!(rules(&explained), [(ban.ban_id, "DEACTIVATED")]);
}

async fn a_ban_was_not_there_before_it_was_made(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    let made = ban.create_time.unwrap();
    for (by, why) in [(-1, "NOT_STARTED"), (0, "DECIDED")] {
        let explained = explain_at(&client, call(), Some(millis(made, by))).await;
        assert_eq!(rules(&explained), [(ban.ban_id.clone(), why)]);
    }
}

async fn what_was_edited_since_counts_as_edited(client: Client) {
    client.make_list(list("debtors")).await;
    client.relate("debtors", &["sales"]).await;
    let ban = client.ban(add_to("debtors", phone(NUMBER))).await;
    let meanwhile = client.clock().await;
    let none = SetBanListQueuesRequest {
        tenant: TENANT.to_owned(),
        list_id: "debtors".to_owned(),
        ..Default::default()
    };
    client.config().set_ban_list_queues(none).await.unwrap();
    let check = enter("sales", Channel::Call, phone(NUMBER));
    let explained = explain_at(&client, check, Some(meanwhile)).await;
    let expected = [(ban.ban_id, "LIST_NOT_ENFORCED_HERE")];
    assert_eq!(rules(&explained), expected);
}

async fn the_answer_is_what_the_check_gets(client: Client) {
    client.make_list(list("debtors")).await;
    client.relate("debtors", &["sales"]).await;
    client.ban(add_to("debtors", phone(NUMBER))).await;
    client.ban(add(visitor(TOKEN))).await;
    client.ban(add_on(Channel::Call, phone(OTHER_NUMBER))).await;
    let strange = identity(IdentityKind::IpAddress, "nowhere");
    for check in [
        call(),
        enter("sales", Channel::Call, phone(NUMBER)),
        enter("unheard-of", Channel::Call, phone(NUMBER)),
        connect(Channel::Call, phone(OTHER_NUMBER)),
        connect(Channel::WebChat, visitor(TOKEN)),
        connect(Channel::WebChat, strange),
        connect(Channel::Call, phone("anonymous")),
    ] {
        let check = CheckInteractionRequest {
            consistency: Some(Consistency {
                requirement: Some(Requirement::FullyConsistent(true)),
            }),
            ..check
        };
        let explained = explain(&client, check.clone()).await;
        let checked = client.ask(check).await;
        // What differs with every answer, and with every tail that is heard, is made the same.
        let plain = |answer: &CheckInteractionResponse| CheckInteractionResponse {
            decision_id: String::new(),
            reuse_until: None,
            ..answer.clone()
        };
        assert_eq!(plain(answer(&explained)), plain(&checked));
        assert_eq!(explained.judged_on, checked.checked_at);
        let decided = explained.rules.iter().find(|rule| rule.why == "DECIDED");
        assert_eq!(decided.is_some(), denies(&checked));
    }
}

async fn identities_are_told_as_they_are_compared(client: Client) {
    let check = CheckInteractionRequest {
        identities: vec![
            Identity {
                value: "601 123 456".to_owned(),
                ..Default::default()
            },
            Identity {
                value: "?".to_owned(),
                ..Default::default()
            },
        ],
        ..call()
    };
    let explained = explain(&client, check).await;
    let [number, nonsense] = explained.identities.as_slice() else {
        panic!("{explained:?}")
    };
    assert_eq!(number.canonical, NUMBER);
    assert_eq!(number.match_keys, [NUMBER]);
    let told = number.input.as_ref().unwrap();
    assert_eq!(told.kind(), IdentityKind::PhoneNumber, "inferred");
    assert_eq!(
        (nonsense.canonical.as_str(), nonsense.match_keys.len()),
        ("", 0)
    );
    assert_eq!(nonsense.warnings[0].code, "UNPARSEABLE");
    assert_eq!(nonsense.warnings[0].identity_index, Some(1));
}

async fn a_folded_name_that_the_tenant_does_not_fold_is_nobody(client: Client) {
    let ban = client.ban(add(mail("a.lice+shop@gmail.com"))).await;
    let check = connect(Channel::Email, mail("alice@gmail.com"));
    let explained = explain(&client, check.clone()).await;
    assert_eq!(rules(&explained), [(ban.ban_id, "DECIDED")]);
    let settings = bancheck::api::v1::TenantSettings {
        tenant: TENANT.to_owned(),
        email_fold: Some(false),
        ..Default::default()
    };
    let request = bancheck::api::v1::UpdateTenantSettingsRequest {
        tenant_settings: Some(settings),
        ..Default::default()
    };
    client
        .config()
        .update_tenant_settings(request)
        .await
        .unwrap();
    assert_eq!(explain(&client, check).await.rules, []);
}

async fn what_a_check_refuses_is_refused_with_its_place(client: Client) {
    let ask = async |check: Option<CheckInteractionRequest>| {
        let request = ExplainInteractionRequest {
            check,
            evaluate_time: None,
        };
        Refused::read(client.diagnostics().explain_interaction(request).await)
    };
    let nobody = CheckInteractionRequest {
        identities: Vec::new(),
        ..call()
    };
    for (check, reason, field) in [
        (None, "FIELD_REQUIRED", "check"),
        (Some(nobody), "FIELD_REQUIRED", "check.identities"),
        (
            Some(CheckInteractionRequest {
                channel: 99,
                ..call()
            }),
            "FIELD_INVALID",
            "check.channel",
        ),
    ] {
        let refused = ask(check).await;
        refused.is(Code::InvalidArgument, reason);
        refused.blames(field);
    }
    let elsewhere = CheckInteractionRequest {
        tenant: "nowhere".to_owned(),
        ..call()
    };
    ask(Some(elsewhere))
        .await
        .is(Code::NotFound, "TENANT_NOT_FOUND");
}

async fn an_answer_of_another_instant_is_of_no_use_afterwards(client: Client) {
    let made = client.ban_fully(add(phone(NUMBER))).await;
    let tomorrow = after(client.clock().await, 86_400);
    let explained = explain_at(&client, call(), Some(tomorrow)).await;
    assert!(denies(answer(&explained)));
    assert_eq!(answer(&explained).reuse_until, None);
    assert_eq!(answer(&explained).checked_at, explained.judged_on);
    let (judged, written) = (explained.judged_on.unwrap(), made.written_at.unwrap());
    assert!(judged.token >= written.token, "the rows had the ban");
}

/// All rules: what became of each, whose it is, whether it took part, and why it was made.
fn all_rules(explained: &ExplainInteractionResponse) -> Vec<(&str, String, bool, &str)> {
    let told = explained.rules.iter().map(|one| {
        let whose = match one.rule.as_ref().expect("a ban or an exception") {
            rule::Rule::BanId(id) => format!("ban {id}"),
            rule::Rule::ExceptionId(id) => format!("exception {id}"),
        };
        (one.why.as_str(), whose, one.applied, one.reason.as_str())
    });
    told.collect()
}

async fn an_exception_that_saved_is_told_and_so_is_the_ban_that_it_overrode(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    let made = client.spare(sparing(phone(NUMBER))).await;
    let explained = explain(&client, call()).await;
    assert!(!denies(answer(&explained)));
    assert_eq!(answer(&explained).exception_id, id_of(&made));
    let exception = format!("exception {}", id_of(&made));
    let ban = format!("ban {}", ban.ban_id);
    assert_eq!(
        all_rules(&explained),
        [
            ("DECIDED", exception.clone(), true, "our test line"),
            (
                "OVERRIDDEN_BY_EXCEPTION",
                ban.clone(),
                false,
                "threatened the operator"
            ),
        ]
    );

    // Another identity of the same customer is banned: the exception took part, and saved nobody.
    let other = client.ban(add(phone(OTHER_NUMBER))).await;
    let both = CheckInteractionRequest {
        identities: vec![phone(NUMBER), phone(OTHER_NUMBER)],
        ..call()
    };
    let explained = explain(&client, both).await;
    assert_eq!(decided_by(answer(&explained)), other.ban_id);
    let told = all_rules(&explained);
    assert_eq!(told[0].1, format!("ban {}", other.ban_id));
    assert_eq!(told[1], ("ALSO_MATCHED", exception, true, "our test line"));
    assert_eq!((told[2].0, &told[2].1), ("OVERRIDDEN_BY_EXCEPTION", &ban));
}

async fn an_exception_that_saves_nobody_is_told_with_the_reason(client: Client) {
    let on_sms = bancheck::api::v1::Exception {
        channels: vec![Channel::Sms as i32],
        ..sparing(phone(NUMBER))
    };
    let on_sms = client.spare(on_sms).await;
    let ban = client.ban(add(phone(NUMBER))).await;
    let explained = explain(&client, call()).await;
    assert_eq!(decided_by(answer(&explained)), ban.ban_id);
    let told = all_rules(&explained);
    assert_eq!(told[0].1, format!("ban {}", ban.ban_id));
    let exception = format!("exception {}", id_of(&on_sms));
    assert_eq!(
        told[1..],
        [("OTHER_CHANNEL", exception, false, "our test line")]
    );

    let idle = client.spare(sparing(phone(OTHER_NUMBER))).await;
    let explained = explain(&client, connect(Channel::Call, phone(OTHER_NUMBER))).await;
    let exception = format!("exception {}", id_of(&idle));
    assert_eq!(
        all_rules(&explained),
        [("ALSO_MATCHED", exception, false, "our test line")]
    );
}

async fn an_exception_that_has_ended_is_told_and_spared_before_it_did(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    let made = client.spare(sparing(phone(NUMBER))).await;
    let created = made.exception.as_ref().unwrap().create_time.unwrap();
    client.spare_no_more(&id_of(&made)).await;
    let exception = format!("exception {}", id_of(&made));
    let ban = format!("ban {}", ban.ban_id);
    let told = |explained: &ExplainInteractionResponse| -> Vec<(String, String)> {
        let told = all_rules(explained).into_iter();
        told.map(|(why, whose, ..)| (why.to_owned(), whose))
            .collect()
    };
    let word = |why: &str, whose: &String| (why.to_owned(), whose.clone());

    let now = explain(&client, call()).await;
    assert!(denies(answer(&now)));
    assert_eq!(
        told(&now),
        [word("DECIDED", &ban), word("DEACTIVATED", &exception)]
    );
    let then = explain_at(&client, call(), Some(created)).await;
    assert_eq!(answer(&then).exception_id, id_of(&made));
    assert_eq!(
        told(&then),
        [
            word("DECIDED", &exception),
            word("OVERRIDDEN_BY_EXCEPTION", &ban)
        ]
    );
    let before = explain_at(&client, call(), Some(millis(created, -1))).await;
    assert!(told(&before).contains(&word("NOT_STARTED", &exception)));
    assert_eq!(answer(&before).exception_id, "");
}

async fn a_built_in_protection_is_told_by_its_name(client: Client) {
    let explained = explain(&client, connect(Channel::WebChat, address("10.1.2.3"))).await;
    let name = "exception private-10".to_owned();
    assert_eq!(all_rules(&explained), [("ALSO_MATCHED", name, false, "")]);
}
