//! What a ban does: where it holds, and what becomes of it.

use bancheck::api::v1::{
    Ban, BanMatch, Channel, CheckInteractionRequest, CreateBanRequest, GetBanRequest, Identity,
    IdentityKind, ListBansRequest, MatchKind, Treatment,
    ban::{Enforcement, Origin, State},
};
use tonic::Code;

use crate::{
    refused::Refused,
    requests::{
        NUMBER, OTHER_NUMBER, TOKEN, add, add_on, add_to, address, after, connect, decided_by,
        denies, enter, identity, list, mail, phone, until, visitor,
    },
    server::{Client, TENANT},
};

on_both_stores!(
    m3_a_customer_is_let_in_again_once_the_ban_is_deactivated,
    m6_an_administrator_bans_a_number_never_seen_before,
    m7_the_administrator_says_why,
    m8_a_banned_number_does_not_get_through,
    m9_a_ban_on_whatsapp_leaves_calls_alone_and_the_reverse,
    m10_a_ban_of_one_tenant_is_nothing_to_another,
    m11_to_m17_every_channel_knows_its_own_customers,
    m30_a_customer_can_be_banned_again_after_a_deactivation,
    d22_a_ban_without_a_list_holds_at_every_queue_by_call_and_by_text_message,
    rule_6_of_two_bans_the_one_that_ends_last_is_reported,
    rule_6_of_two_bans_that_end_together_the_older_is_reported,
    rule_6_a_permanent_ban_outlasts_every_other,
    a_lifted_ban_tells_which_others_go_on_denying,
    a_shadow_ban_is_not_among_those_that_go_on_denying,
    v2_a_shadow_ban_is_reported_and_never_decides,
    a_ban_of_several_identities_is_met_by_any_of_them,
    the_answer_says_which_identity_was_matched,
    a_check_with_a_queue_and_no_stage_is_a_queue_entry,
    the_same_ban_twice_is_refused_and_the_standing_one_named,
    a_ban_that_differs_a_little_is_allowed_and_warned_of,
    two_administrators_at_once_make_one_ban,
    a_dry_run_answers_and_writes_nothing,
);

async fn state_of(client: &Client, ban: &Ban) -> State {
    let request = GetBanRequest {
        tenant: TENANT.to_owned(),
        ban_id: ban.ban_id.clone(),
    };
    let found = client
        .admin()
        .get_ban(request)
        .await
        .expect("the ban")
        .into_inner();
    found.ban.expect("the ban").state()
}

async fn m3_a_customer_is_let_in_again_once_the_ban_is_deactivated(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);

    let lifted = client.lift(&ban).await.ban.unwrap();
    assert_eq!(lifted.state(), State::Deactivated);
    assert_eq!(lifted.deactivated_by, "anonymous");
    assert_eq!(lifted.deactivate_reason, "lifted in a test");

    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
    assert_eq!(state_of(&client, &ban).await, State::Deactivated);
}

async fn m6_an_administrator_bans_a_number_never_seen_before(client: Client) {
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
    let ban = client.ban(add(phone(NUMBER))).await;
    assert_eq!(ban.origin(), Origin::AdminEntry);
    assert_eq!(ban.state(), State::Active);
    assert_eq!(ban.created_by, "anonymous");
    assert_eq!(ban.targets[0].canonical, NUMBER);
    assert_eq!(ban.match_kind(), MatchKind::Exact);
    assert_eq!(ban.expire_time, None, "no expiry was asked for");
    assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
}

async fn m7_the_administrator_says_why(client: Client) {
    for empty in ["", "  \n"] {
        let request = CreateBanRequest {
            reason: empty.to_owned(),
            ..add(phone(NUMBER))
        };
        let refused = Refused::read(client.admin().create_ban(request).await);
        refused.is(Code::InvalidArgument, "REASON_REQUIRED");
        refused.blames("reason");
    }
    let reason = "řekl, že „přijde“\nosobně".to_owned();
    let request = CreateBanRequest {
        reason: reason.clone(),
        ..add(phone(NUMBER))
    };
    let ban = client.ban(request).await;
    assert_eq!(ban.reason, reason);
    let request = GetBanRequest {
        tenant: TENANT.to_owned(),
        ban_id: ban.ban_id.clone(),
    };
    let kept = client.admin().get_ban(request).await.unwrap().into_inner();
    assert_eq!(kept.ban.unwrap(), ban);
}

async fn m8_a_banned_number_does_not_get_through(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    let answer = client.ask(connect(Channel::Call, phone(NUMBER))).await;
    assert!(denies(&answer));
    assert_eq!(answer.treatment(), Treatment::EndInteraction);
    let expected = BanMatch {
        ban_id: ban.ban_id,
        list_id: String::new(),
        match_kind: MatchKind::Exact as i32,
        identity_index: 0,
        expire_time: None,
    };
    assert_eq!(answer.r#match, Some(expected));

    let answer = client
        .ask(connect(Channel::Call, phone(OTHER_NUMBER)))
        .await;
    assert!(!denies(&answer));
    assert_eq!(
        (answer.treatment(), &answer.r#match),
        (Treatment::Unspecified, &None)
    );
}

async fn m9_a_ban_on_whatsapp_leaves_calls_alone_and_the_reverse(client: Client) {
    for (banned, free, number) in [
        (Channel::Whatsapp, Channel::Call, NUMBER),
        (Channel::Call, Channel::Whatsapp, OTHER_NUMBER),
    ] {
        let ban = client.ban(add_on(banned, phone(number))).await;
        assert_eq!(ban.channels, [banned as i32]);
        assert!(client.turns_away(banned, phone(number)).await);
        assert!(!client.turns_away(free, phone(number)).await);
    }
}

async fn m10_a_ban_of_one_tenant_is_nothing_to_another(client: Client) {
    client.make_tenant("globex").await;
    let ban = client.ban(add(phone(NUMBER))).await;
    let elsewhere = CheckInteractionRequest {
        tenant: "globex".to_owned(),
        ..connect(Channel::Call, phone(NUMBER))
    };
    assert!(!denies(&client.ask(elsewhere).await));
    assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);

    let request = GetBanRequest {
        tenant: "globex".to_owned(),
        ban_id: ban.ban_id,
    };
    let refused = Refused::read(client.admin().get_ban(request).await);
    refused.is(Code::NotFound, "BAN_NOT_FOUND");
}

async fn m11_to_m17_every_channel_knows_its_own_customers(client: Client) {
    let of = |kind, value, issuer: &str| Identity {
        issuer: issuer.to_owned(),
        ..identity(kind, value)
    };
    for (channel, customer) in [
        (Channel::WebChat, visitor(TOKEN)),
        (Channel::Email, mail("alice@example.com")),
        (Channel::Call, phone(NUMBER)),
        (Channel::Sms, phone(NUMBER)),
        (Channel::Whatsapp, phone("420601123456")),
        (
            Channel::Whatsapp,
            of(
                IdentityKind::WhatsappUserId,
                "US.13491208655302741918",
                "portfolio-1",
            ),
        ),
        (
            Channel::AppleMessages,
            of(IdentityKind::AppleOpaqueId, "urn:mbid:AQAAY4/=", "biz"),
        ),
        (
            Channel::Messenger,
            of(IdentityKind::MessengerPsid, "7391400000001", "page-1"),
        ),
        (Channel::Vk, identity(IdentityKind::VkPeerId, "id12345")),
    ] {
        let ban = client.ban(add_on(channel, customer.clone())).await;
        assert!(
            client.turns_away(channel, customer.clone()).await,
            "{customer:?}"
        );
        client.lift(&ban).await;
        assert!(
            !client.turns_away(channel, customer.clone()).await,
            "{customer:?}"
        );
    }
}

async fn m30_a_customer_can_be_banned_again_after_a_deactivation(client: Client) {
    let first = client.ban(add(phone(NUMBER))).await;
    client.lift(&first).await;
    let second = client.ban(add(phone(NUMBER))).await;
    assert_ne!(first.ban_id, second.ban_id);
    assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);

    let states = vec![State::Active as i32, State::Deactivated as i32];
    let both = ListBansRequest {
        states,
        ..Default::default()
    };
    let (ids, total) = client.found(both).await;
    assert_eq!((ids, total), (vec![second.ban_id.clone(), first.ban_id], 2));
    assert_eq!(
        client.found(ListBansRequest::default()).await,
        (vec![second.ban_id], 1)
    );
}

async fn d22_a_ban_without_a_list_holds_at_every_queue_by_call_and_by_text_message(client: Client) {
    let channels = vec![Channel::Call as i32, Channel::Sms as i32];
    client
        .ban(CreateBanRequest {
            channels,
            ..add(phone(NUMBER))
        })
        .await;
    for channel in [Channel::Call, Channel::Sms] {
        assert!(client.turns_away(channel, phone(NUMBER)).await);
        for queue in ["sales", "support"] {
            assert!(denies(
                &client.ask(enter(queue, channel, phone(NUMBER))).await
            ));
        }
    }
    assert!(!client.turns_away(Channel::Whatsapp, phone(NUMBER)).await);
}

async fn rule_6_of_two_bans_the_one_that_ends_last_is_reported(client: Client) {
    client.make_list(list("short")).await;
    client.relate("short", &["sales"]).await;
    let now = client.clock().await;
    let longer = client
        .ban(until(after(now, 7200), add(phone(NUMBER))))
        .await;
    let shorter = client
        .ban(until(after(now, 3600), add_to("short", phone(NUMBER))))
        .await;

    let question = enter("sales", Channel::Call, phone(NUMBER));
    let answer = client.ask(question.clone()).await;
    assert_eq!(decided_by(&answer), longer.ban_id);
    assert_eq!(answer.r#match.unwrap().expire_time, longer.expire_time);

    client.lift(&shorter).await;
    assert_eq!(
        decided_by(&client.ask(question.clone()).await),
        longer.ban_id
    );
    client.lift(&longer).await;
    assert!(!denies(&client.ask(question).await));
}

async fn rule_6_of_two_bans_that_end_together_the_older_is_reported(client: Client) {
    let end = after(client.clock().await, 3600);
    let older = client
        .ban(until(end, add_on(Channel::Call, phone(NUMBER))))
        .await;
    client.ban(until(end, add(phone(NUMBER)))).await;
    let answer = client.ask(connect(Channel::Call, phone(NUMBER))).await;
    assert_eq!(decided_by(&answer), older.ban_id);
}

async fn rule_6_a_permanent_ban_outlasts_every_other(client: Client) {
    let end = after(client.clock().await, 1_000_000_000);
    let long = client
        .ban(until(end, add_on(Channel::Call, phone(NUMBER))))
        .await;
    let permanent = client.ban(add(phone(NUMBER))).await;
    let question = connect(Channel::Call, phone(NUMBER));
    assert_eq!(
        decided_by(&client.ask(question.clone()).await),
        permanent.ban_id
    );
    client.lift(&permanent).await;
    assert_eq!(decided_by(&client.ask(question).await), long.ban_id);
}

async fn a_lifted_ban_tells_which_others_go_on_denying(client: Client) {
    let one = client.ban(add_on(Channel::Call, phone(NUMBER))).await;
    let other = client.ban(add(phone(NUMBER))).await;
    // On another channel, on another number, and one that has been lifted already.
    client.ban(add_on(Channel::Whatsapp, phone(NUMBER))).await;
    client.ban(add(phone(OTHER_NUMBER))).await;
    let gone = client.ban(add_on(Channel::Sms, phone(NUMBER))).await;
    client.lift(&gone).await;

    let lifted = client.lift(&one).await;
    let still: Vec<_> = lifted
        .still_banned_by
        .iter()
        .map(|ban| &ban.ban_id)
        .collect();
    assert_eq!(still, [&other.ban_id]);
    assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
    client.lift(&other).await;
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
}

async fn a_shadow_ban_is_not_among_those_that_go_on_denying(client: Client) {
    let shadow = Enforcement::Shadow as i32;
    client
        .ban(CreateBanRequest {
            enforcement: shadow,
            ..add(phone(NUMBER))
        })
        .await;
    let ban = client.ban(add(phone(NUMBER))).await;
    assert_eq!(client.lift(&ban).await.still_banned_by, []);
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
}

async fn v2_a_shadow_ban_is_reported_and_never_decides(client: Client) {
    let shadow = Enforcement::Shadow as i32;
    let watching = client
        .ban(CreateBanRequest {
            enforcement: shadow,
            ..add(phone(NUMBER))
        })
        .await;
    let question = connect(Channel::Call, phone(NUMBER));
    let answer = client.ask(question.clone()).await;
    assert!(!denies(&answer));
    let seen: Vec<_> = answer
        .shadow_matches
        .iter()
        .map(|found| &found.ban_id)
        .collect();
    assert_eq!(seen, [&watching.ban_id]);

    // Beside a ban that holds it stays a report, though it ends later.
    let end = after(client.clock().await, 3600);
    let holding = client.ban(until(end, add(phone(NUMBER)))).await;
    let answer = client.ask(question).await;
    assert_eq!(decided_by(&answer), holding.ban_id);
    assert_eq!(answer.shadow_matches.len(), 1);
}

async fn a_ban_of_several_identities_is_met_by_any_of_them(client: Client) {
    let targets = vec![visitor(TOKEN), address("198.51.100.7")];
    client
        .ban(CreateBanRequest {
            targets,
            ..add(visitor(TOKEN))
        })
        .await;
    for customer in [visitor(TOKEN), address("198.51.100.7")] {
        assert!(client.turns_away(Channel::WebChat, customer).await);
    }
    assert!(
        !client
            .turns_away(Channel::WebChat, address("198.51.100.8"))
            .await
    );
}

async fn the_answer_says_which_identity_was_matched(client: Client) {
    client.ban(add(address("198.51.100.7"))).await;
    let question = CheckInteractionRequest {
        identities: vec![visitor(TOKEN), address("198.51.100.7")],
        ..connect(Channel::WebChat, visitor(TOKEN))
    };
    assert_eq!(
        client.ask(question).await.r#match.unwrap().identity_index,
        1
    );
}

async fn a_check_with_a_queue_and_no_stage_is_a_queue_entry(client: Client) {
    client.make_list(list("trolls")).await;
    client.relate("trolls", &["sales"]).await;
    client.ban(add_to("trolls", phone(NUMBER))).await;
    let entry = CheckInteractionRequest {
        stage: 0,
        queue: "sales".to_owned(),
        ..connect(Channel::Call, phone(NUMBER))
    };
    assert!(denies(&client.ask(entry.clone()).await));
    let door = CheckInteractionRequest {
        queue: String::new(),
        ..entry
    };
    assert!(!denies(&client.ask(door).await));
}

async fn the_same_ban_twice_is_refused_and_the_standing_one_named(client: Client) {
    let standing = client.ban(add(phone(NUMBER))).await;
    // The same number in other words, with another reason and another end, is the same ban.
    let again = until(
        after(client.clock().await, 60),
        CreateBanRequest {
            reason: "once more".to_owned(),
            ..add(phone("601 123 456"))
        },
    );
    let refused = Refused::read(client.admin().create_ban(again).await);
    refused.is(Code::AlreadyExists, "DUPLICATE_ACTIVE_BAN");
    assert_eq!(refused.facts.get("ban_id"), Some(&standing.ban_id));
    refused.keeps_quiet_about("601123456");
    assert_eq!(client.found(ListBansRequest::default()).await.1, 1);
}

async fn a_ban_that_differs_a_little_is_allowed_and_warned_of(client: Client) {
    client.make_list(list("trolls")).await;
    client.relate("trolls", &["sales"]).await;
    assert_eq!(client.ban_fully(add(phone(NUMBER))).await.warnings, []);
    let shadow = Enforcement::Shadow as i32;
    for overlapping in [
        add_to("trolls", phone(NUMBER)),
        add_on(Channel::Call, phone(NUMBER)),
        CreateBanRequest {
            enforcement: shadow,
            ..add(phone(NUMBER))
        },
        CreateBanRequest {
            targets: vec![phone(NUMBER), phone(OTHER_NUMBER)],
            ..add(phone(NUMBER))
        },
    ] {
        let warnings = client.ban_fully(overlapping).await.warnings;
        assert!(
            warnings
                .iter()
                .any(|warning| warning.code == "OVERLAPS_BAN"),
            "{warnings:?}"
        );
    }
}

async fn two_administrators_at_once_make_one_ban(client: Client) {
    let (mut one, mut other) = (client.admin(), client.admin());
    let (first, second) = tokio::join!(
        one.create_ban(add(phone(NUMBER))),
        other.create_ban(add(phone(NUMBER)))
    );
    let (made, refused) = match (first, second) {
        (Ok(made), refused) | (refused, Ok(made)) => (made.into_inner(), Refused::read(refused)),
        (Err(first), Err(second)) => panic!("{first:?} {second:?}"),
    };
    refused.is(Code::AlreadyExists, "DUPLICATE_ACTIVE_BAN");
    assert_eq!(refused.facts.get("ban_id"), Some(&made.ban.unwrap().ban_id));
}

async fn a_dry_run_answers_and_writes_nothing(client: Client) {
    let request = CreateBanRequest {
        validate_only: true,
        ..add(phone(NUMBER))
    };
    let tried = client.ban_fully(request).await;
    assert_eq!(tried.written_at, None);
    assert_eq!(tried.ban.unwrap().targets[0].canonical, NUMBER);
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
    let states = [
        State::Scheduled,
        State::Active,
        State::Expired,
        State::Deactivated,
    ];
    let all = ListBansRequest {
        states: states.map(|state| state as i32).to_vec(),
        ..Default::default()
    };
    assert_eq!(client.found(all).await.1, 0);

    // What would be refused is refused.
    client.ban(add(phone(NUMBER))).await;
    let request = CreateBanRequest {
        validate_only: true,
        ..add(phone(NUMBER))
    };
    let refused = Refused::read(client.admin().create_ban(request).await);
    refused.is(Code::AlreadyExists, "DUPLICATE_ACTIVE_BAN");
}
