//! Ban lists: how bans in them are made, and where they hold.

use bancheck::api::v1::{
    BanList, Channel, CheckInteractionRequest, CheckStage, CreateBanListRequest, CreateBanRequest,
    GetBanListRequest, ListBanListsRequest, TenantSettings, Treatment, UpdateBanListRequest,
    UpdateTenantSettingsRequest, ban::Enforcement, ban_list::WebchatBanType,
    create_ban_request::Expiry,
};
use prost::Message as _;
use prost_types::FieldMask;
use tonic::Code;

use crate::{
    refused::Refused,
    requests::{
        NUMBER, OTHER_NUMBER, TOKEN, add, add_to, address, connect, decided_by, denies, enter,
        list, making, micros, phone, visitor, when,
    },
    server::{Client, TENANT},
};

on_both_stores!(
    d1_the_same_number_in_two_lists_is_two_bans,
    d5_two_lists_have_two_titles_whatever_the_case_of_their_letters,
    d6_the_description_stays_inside,
    d7_a_ban_takes_the_default_timeout_of_its_list,
    d7_a_timeout_is_read_as_people_write_it,
    d8_beside_the_timeout_stands_an_example,
    d8_the_example_is_reckoned_in_the_zone_of_the_tenant,
    d11_a_banned_visitor_token_disables_the_widget,
    d12_a_banned_visitor_token_is_stopped_at_every_queue,
    d14_a_banned_ip_may_connect,
    d14_a_banned_ip_is_stopped_at_a_related_queue,
    d14_a_banned_ip_enters_an_unrelated_queue,
    d28_a_relation_added_denies_the_next_check_and_removed_allows_it,
    d32_a_visitor_token_needs_no_relation,
    d33_a_list_that_no_queue_checks_blocks_nothing_and_says_so,
    d35_a_queue_may_check_two_lists_and_either_denies,
    d39_a_new_timeout_leaves_standing_bans_alone,
    p2_a_list_may_also_stop_outgoing_calls,
    v2_a_list_that_only_watches_denies_nothing,
    a_list_may_say_what_to_do_with_the_denied,
    a_list_is_changed_field_by_field,
    a_list_id_is_taken_once,
);

fn day_and_a_half() -> BanList {
    BanList {
        default_timeout_text: "+1 day, 12 hours".to_owned(),
        ..list("trolls")
    }
}

async fn change(client: &Client, edited: BanList, fields: &[&str]) -> BanList {
    let request = UpdateBanListRequest {
        tenant: TENANT.to_owned(),
        ban_list: Some(edited),
        update_mask: Some(FieldMask {
            paths: fields.iter().map(ToString::to_string).collect(),
        }),
        ..Default::default()
    };
    let changed = client
        .config()
        .update_ban_list(request)
        .await
        .expect("a list")
        .into_inner();
    changed.ban_list.expect("the list changed")
}

async fn d1_the_same_number_in_two_lists_is_two_bans(client: Client) {
    client.make_list(list("trolls")).await;
    client.make_list(list("debtors")).await;
    let one = client.ban(add_to("trolls", phone(NUMBER))).await;
    let other = client.ban(add_to("debtors", phone(NUMBER))).await;
    assert_eq!(
        (one.list_id.as_str(), other.list_id.as_str()),
        ("trolls", "debtors")
    );
    let refused = Refused::read(
        client
            .admin()
            .create_ban(add_to("trolls", phone(NUMBER)))
            .await,
    );
    refused.is(Code::AlreadyExists, "DUPLICATE_ACTIVE_BAN");
}

async fn d5_two_lists_have_two_titles_whatever_the_case_of_their_letters(client: Client) {
    client
        .make_list(BanList {
            title: "Žluté karty".to_owned(),
            ..list("first")
        })
        .await;
    let second = BanList {
        title: "ŽLUTÉ KARTY".to_owned(),
        ..list("second")
    };
    let request = making(second.clone());
    let refused = Refused::read(client.config().create_ban_list(request.clone()).await);
    refused.is(Code::AlreadyExists, "DUPLICATE_TITLE");

    // Another tenant may have it, and so may the same list.
    client.make_tenant("globex").await;
    let elsewhere = CreateBanListRequest {
        tenant: "globex".to_owned(),
        ..request
    };
    client.config().create_ban_list(elsewhere).await.unwrap();
    let same = BanList {
        list_id: "first".to_owned(),
        ..second
    };
    assert_eq!(change(&client, same, &["title"]).await.title, "ŽLUTÉ KARTY");

    client.make_list(list("third")).await;
    let taken = BanList {
        title: "žluté karty".to_owned(),
        ..list("third")
    };
    let request = UpdateBanListRequest {
        tenant: TENANT.to_owned(),
        ban_list: Some(taken),
        ..Default::default()
    };
    let refused = Refused::read(client.config().update_ban_list(request).await);
    refused.is(Code::AlreadyExists, "DUPLICATE_TITLE");
}

async fn d6_the_description_stays_inside(client: Client) {
    let description = "for those who owe us".to_owned();
    let made = client
        .make_list(BanList {
            description: description.clone(),
            ..list("debtors")
        })
        .await;
    assert_eq!(made.description, description);
    client.relate("debtors", &["sales"]).await;
    client.ban(add_to("debtors", phone(NUMBER))).await;
    let answer = client
        .ask(enter("sales", Channel::Call, phone(NUMBER)))
        .await;
    assert!(denies(&answer));
    let wire = String::from_utf8_lossy(&answer.encode_to_vec()).into_owned();
    assert!(
        !wire.contains("owe us") && !wire.contains("The list"),
        "{wire}"
    );
    assert!(!wire.contains("threatened"), "nor why, nor who");
}

async fn d7_a_ban_takes_the_default_timeout_of_its_list(client: Client) {
    client.make_list(day_and_a_half()).await;
    let ban = client.ban(add_to("trolls", phone(NUMBER))).await;
    assert_eq!(
        when(ban.expire_time) - when(ban.create_time),
        129_600_000_000
    );
    // D9: numbers and addresses alike.
    let ban = client.ban(add_to("trolls", address("198.51.100.7"))).await;
    assert_eq!(
        when(ban.expire_time) - when(ban.create_time),
        129_600_000_000
    );

    let request = CreateBanRequest {
        expiry: Some(Expiry::Permanent(true)),
        ..add_to("trolls", phone(OTHER_NUMBER))
    };
    assert_eq!(
        client.ban(request).await.expire_time,
        None,
        "what is said wins"
    );
}

async fn d7_a_timeout_is_read_as_people_write_it(client: Client) {
    for (text, months, days) in [
        ("+6 days", 0, 6),
        ("19 months", 19, 0),
        ("1 month ,2 day", 1, 2),
        ("+ 1 Month", 1, 0),
    ] {
        let list_id = format!("list-{months}-{days}");
        let typed = BanList {
            default_timeout_text: text.to_owned(),
            ..list(&list_id)
        };
        let made = client.make_list(typed).await;
        assert_eq!(made.default_timeout_text, text, "kept as typed");
        let read = made.default_timeout.unwrap();
        assert_eq!(
            (read.years, read.months, read.weeks, read.days),
            (0, months, 0, days)
        );
    }
    for (text, reason) in [
        ("soon", "INVALID_TIMEOUT"),
        ("-6 days", "INVALID_TIMEOUT"),
        ("0 days", "INVALID_TIMEOUT"),
        ("51 years", "TIMEOUT_OUT_OF_RANGE"),
    ] {
        let typed = BanList {
            default_timeout_text: text.to_owned(),
            ..list("bad")
        };
        let request = making(typed);
        let refused = Refused::read(client.config().create_ban_list(request).await);
        refused.is(Code::InvalidArgument, reason);
        refused.blames("ban_list.default_timeout_text");
    }
}

async fn d8_beside_the_timeout_stands_an_example(client: Client) {
    let before = micros(client.clock().await);
    let made = client.make_list(day_and_a_half()).await;
    let example = when(made.example_expire_time);
    let ban = client.ban(add_to("trolls", phone(NUMBER))).await;
    assert!((before + 129_600_000_000..=when(ban.expire_time)).contains(&example));

    let endless = client.make_list(list("debtors")).await;
    assert_eq!(
        (endless.default_timeout, endless.example_expire_time),
        (None, None)
    );
    let request = ListBanListsRequest {
        tenant: TENANT.to_owned(),
        ..Default::default()
    };
    let lists = client
        .config()
        .list_ban_lists(request)
        .await
        .unwrap()
        .into_inner()
        .ban_lists;
    let shown: Vec<_> = lists
        .iter()
        .map(|one| one.example_expire_time.is_some())
        .collect();
    assert_eq!(shown, [false, true], "debtors, trolls");
}

async fn d8_the_example_is_reckoned_in_the_zone_of_the_tenant(client: Client) {
    let made = client.make_list(BanList {
        default_timeout_text: "6 months".to_owned(),
        ..list("trolls")
    });
    // From winter to summer, or back, half a year of a zone with summer time is an hour off.
    let utc = when(made.await.example_expire_time);
    let settings = TenantSettings {
        tenant: TENANT.to_owned(),
        time_zone: Some("Europe/Prague".to_owned()),
        ..Default::default()
    };
    let request = UpdateTenantSettingsRequest {
        tenant_settings: Some(settings),
        ..Default::default()
    };
    client
        .config()
        .update_tenant_settings(request)
        .await
        .unwrap();
    let request = GetBanListRequest {
        tenant: TENANT.to_owned(),
        list_id: "trolls".to_owned(),
    };
    let local = client
        .config()
        .get_ban_list(request)
        .await
        .unwrap()
        .into_inner()
        .ban_list;
    let local = when(local.unwrap().example_expire_time);
    let ban = client.ban(add_to("trolls", phone(NUMBER))).await;
    assert!((local - utc).abs() < 2 * 3_600_000_000, "{utc} {local}");
    assert!(
        (when(ban.expire_time) - local) < 60_000_000,
        "the ban agrees with the example"
    );
}

async fn d11_a_banned_visitor_token_disables_the_widget(client: Client) {
    client.make_list(list("trolls")).await;
    client.ban(add_to("trolls", visitor(TOKEN))).await;
    let answer = client.ask(connect(Channel::WebChat, visitor(TOKEN))).await;
    assert!(denies(&answer));
    assert_eq!(answer.treatment(), Treatment::DisableWidget);
}

async fn d12_a_banned_visitor_token_is_stopped_at_every_queue(client: Client) {
    client.make_list(list("trolls")).await;
    client.relate("trolls", &["sales"]).await;
    client.ban(add_to("trolls", visitor(TOKEN))).await;
    for queue in ["sales", "support"] {
        assert!(denies(
            &client
                .ask(enter(queue, Channel::WebChat, visitor(TOKEN)))
                .await
        ));
    }
}

/// A list of addresses that the queue `chat` checks, with one address in it.
async fn an_address_banned_at_the_chat_queue(client: &Client) {
    let webchat_ban_type = WebchatBanType::Ip as i32;
    client
        .make_list(BanList {
            webchat_ban_type,
            ..list("trolls")
        })
        .await;
    client.relate("trolls", &["chat"]).await;
    client.ban(add_to("trolls", address("198.51.100.7"))).await;
}

async fn d14_a_banned_ip_may_connect(client: Client) {
    an_address_banned_at_the_chat_queue(&client).await;
    let answer = client
        .ask(connect(Channel::WebChat, address("198.51.100.7")))
        .await;
    assert!(!denies(&answer));
}

async fn d14_a_banned_ip_is_stopped_at_a_related_queue(client: Client) {
    an_address_banned_at_the_chat_queue(&client).await;
    let answer = client
        .ask(enter("chat", Channel::WebChat, address("198.51.100.7")))
        .await;
    assert!(denies(&answer));
    assert_eq!(answer.treatment(), Treatment::EndInteraction);
    assert_eq!(answer.r#match.unwrap().list_id, "trolls");
}

async fn d14_a_banned_ip_enters_an_unrelated_queue(client: Client) {
    an_address_banned_at_the_chat_queue(&client).await;
    let answer = client
        .ask(enter("sales", Channel::WebChat, address("198.51.100.7")))
        .await;
    assert!(!denies(&answer));
    let codes: Vec<_> = answer
        .warnings
        .iter()
        .map(|warning| warning.code.as_str())
        .collect();
    assert_eq!(codes, ["UNKNOWN_QUEUE"], "no list has heard of this queue");
}

async fn d28_a_relation_added_denies_the_next_check_and_removed_allows_it(client: Client) {
    client.make_list(list("trolls")).await;
    client.ban(add_to("trolls", phone(NUMBER))).await;
    let question = enter("sales", Channel::Call, phone(NUMBER));
    assert!(!denies(&client.ask(question.clone()).await));

    let related = client.relate("trolls", &["sales", "support"]).await;
    assert_eq!(related.queues, ["sales", "support"]);
    assert_eq!(related.added, ["sales", "support"]);
    let seen = crate::freshness::at_least(related.written_at, question.clone());
    assert!(denies(&client.ask(seen).await));

    let related = client.relate("trolls", &["support"]).await;
    assert_eq!(
        (related.added, related.removed),
        (vec![], vec!["sales".to_owned()])
    );
    let seen = crate::freshness::at_least(related.written_at, question);
    assert!(!denies(&client.ask(seen).await));
}

async fn d32_a_visitor_token_needs_no_relation(client: Client) {
    client.make_list(list("trolls")).await;
    let made = client.ban_fully(add_to("trolls", visitor(TOKEN))).await;
    assert_eq!(
        made.warnings,
        [],
        "it holds, so there is nothing to warn of"
    );
    assert!(client.turns_away(Channel::WebChat, visitor(TOKEN)).await);
}

async fn d33_a_list_that_no_queue_checks_blocks_nothing_and_says_so(client: Client) {
    let made = client.make_list(list("trolls")).await;
    assert_eq!(made.warnings[0].code, "LIST_NOT_ENFORCED_ANYWHERE");
    let made = client.ban_fully(add_to("trolls", phone(NUMBER))).await;
    let codes: Vec<_> = made
        .warnings
        .iter()
        .map(|warning| warning.code.as_str())
        .collect();
    assert_eq!(codes, ["LIST_NOT_ENFORCED_ANYWHERE"]);
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
    assert!(!denies(
        &client
            .ask(enter("sales", Channel::Call, phone(NUMBER)))
            .await
    ));

    client.relate("trolls", &["sales"]).await;
    let request = GetBanListRequest {
        tenant: TENANT.to_owned(),
        list_id: "trolls".to_owned(),
    };
    let related = client
        .config()
        .get_ban_list(request)
        .await
        .unwrap()
        .into_inner();
    let related = related.ban_list.unwrap();
    assert_eq!(
        (related.queues, related.warnings),
        (vec!["sales".to_owned()], vec![])
    );
}

async fn d35_a_queue_may_check_two_lists_and_either_denies(client: Client) {
    for (list_id, number) in [("trolls", NUMBER), ("debtors", OTHER_NUMBER)] {
        client.make_list(list(list_id)).await;
        client.relate(list_id, &["sales"]).await;
        let ban = client.ban(add_to(list_id, phone(number))).await;
        let answer = client
            .ask(enter("sales", Channel::Call, phone(number)))
            .await;
        assert_eq!(decided_by(&answer), ban.ban_id);
    }
    assert!(denies(
        &client
            .ask(enter("sales", Channel::Call, phone(NUMBER)))
            .await
    ));
}

async fn d39_a_new_timeout_leaves_standing_bans_alone(client: Client) {
    client.make_list(day_and_a_half()).await;
    client.relate("trolls", &["sales"]).await;
    let ban = client.ban(add_to("trolls", phone(NUMBER))).await;
    let hour = BanList {
        default_timeout_text: "1 hour".to_owned(),
        ..list("trolls")
    };
    change(&client, hour, &["default_timeout_text"]).await;

    let answer = client
        .ask(enter("sales", Channel::Call, phone(NUMBER)))
        .await;
    assert_eq!(answer.r#match.unwrap().expire_time, ban.expire_time);
    let later = client.ban(add_to("trolls", phone(OTHER_NUMBER))).await;
    assert_eq!(
        when(later.expire_time) - when(later.create_time),
        3_600_000_000
    );
}

async fn p2_a_list_may_also_stop_outgoing_calls(client: Client) {
    client.make_list(list("trolls")).await;
    client.ban(add_to("trolls", phone(NUMBER))).await;
    let dial = CheckInteractionRequest {
        stage: CheckStage::Outbound as i32,
        ..connect(Channel::Call, phone(NUMBER))
    };
    assert!(!denies(&client.ask(dial.clone()).await));
    let outbound = BanList {
        enforce_outbound: true,
        ..list("trolls")
    };
    assert!(
        change(&client, outbound, &["enforce_outbound"])
            .await
            .enforce_outbound
    );
    assert!(denies(&client.ask(dial.clone()).await));

    client.ban(add(phone(OTHER_NUMBER))).await;
    let dial = CheckInteractionRequest {
        identities: vec![phone(OTHER_NUMBER)],
        ..dial
    };
    assert!(
        denies(&client.ask(dial).await),
        "a ban without a list holds at every stage"
    );
}

async fn v2_a_list_that_only_watches_denies_nothing(client: Client) {
    let enforcement = Enforcement::Shadow as i32;
    client
        .make_list(BanList {
            enforcement,
            ..list("trial")
        })
        .await;
    client.relate("trial", &["sales"]).await;
    let ban = client.ban(add_to("trial", phone(NUMBER))).await;
    let answer = client
        .ask(enter("sales", Channel::Call, phone(NUMBER)))
        .await;
    assert!(!denies(&answer));
    assert_eq!(answer.shadow_matches[0].ban_id, ban.ban_id);

    let enforcement = Enforcement::Enforced as i32;
    change(
        &client,
        BanList {
            enforcement,
            ..list("trial")
        },
        &["enforcement"],
    )
    .await;
    let answer = client
        .ask(enter("sales", Channel::Call, phone(NUMBER)))
        .await;
    assert_eq!(decided_by(&answer), ban.ban_id);
}

async fn a_list_may_say_what_to_do_with_the_denied(client: Client) {
    let treatment = Treatment::PlayAnnouncement as i32;
    client
        .make_list(BanList {
            treatment,
            ..list("debtors")
        })
        .await;
    client.relate("debtors", &["sales"]).await;
    client.ban(add_to("debtors", phone(NUMBER))).await;
    let answer = client
        .ask(enter("sales", Channel::Call, phone(NUMBER)))
        .await;
    assert_eq!(answer.treatment(), Treatment::PlayAnnouncement);
}

async fn a_list_is_changed_field_by_field(client: Client) {
    let made = client.make_list(day_and_a_half()).await;
    let edited = BanList {
        description: "internal".to_owned(),
        title: "not named in the mask".to_owned(),
        ..list("trolls")
    };
    let changed = change(&client, edited, &["description"]).await;
    assert_eq!(
        (changed.description.as_str(), &changed.title),
        ("internal", &made.title)
    );
    assert_eq!(changed.default_timeout_text, made.default_timeout_text);
    assert_ne!(changed.etag, made.etag);

    let stale = BanList {
        etag: made.etag,
        title: "Too late".to_owned(),
        ..list("trolls")
    };
    let request = UpdateBanListRequest {
        tenant: TENANT.to_owned(),
        ban_list: Some(stale),
        ..Default::default()
    };
    let refused = Refused::read(client.config().update_ban_list(request).await);
    refused.is(Code::Aborted, "ETAG_MISMATCH");
}

async fn a_list_id_is_taken_once(client: Client) {
    client.make_list(list("trolls")).await;
    let again = BanList {
        title: "Another title".to_owned(),
        ..list("trolls")
    };
    let request = making(again);
    let refused = Refused::read(client.config().create_ban_list(request).await);
    refused.is(Code::AlreadyExists, "DUPLICATE_LIST");
}
