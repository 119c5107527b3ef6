//! The button: who is banned by it, where, and what is told.

use bancheck::api::{
    DESCRIPTORS,
    v1::{
        BanInteractionRequest, BanList, Channel, CheckInteractionRequest, CheckStage,
        CreateBanRequest, Identity, IdentityKind, ListBanEventsRequest, ListBansRequest, MatchKind,
        TenantSettings, Treatment, UpdateBanListRequest, UpdateTenantSettingsRequest,
        ban::{Enforcement, Origin, State},
        ban_list::WebchatBanType,
    },
};
use prost::Message as _;
use prost_types::{FieldDescriptorProto, FileDescriptorSet};
use tonic::Code;

use crate::{
    button::{
        ADDRESS, by_address, call_at, chat_at, codes, into_list, on, press, press_at, with_phones,
    },
    freshness::at_least,
    refusals::ban_refused,
    refused::Refused,
    requests::{
        NUMBER, OTHER_NUMBER, TOKEN, add, address, connect, decided_by, denies, enter, identity,
        list, mail, phone, visitor,
    },
    server::{Client, TENANT},
};

on_both_stores!(
    m1_the_list_shows_who_banned,
    m4_a_customer_of_a_past_session_is_banned,
    m5_m8_a_customer_is_banned_during_the_session_and_the_next_check_denies,
    m9_a_ban_from_no_queue_holds_on_its_own_channel,
    m10_a_ban_by_an_operator_is_nothing_to_another_tenant,
    m11_to_m17_an_operator_bans_on_every_channel,
    m18_operators_can_be_kept_from_banning,
    m19_without_the_button_bans_stand_and_the_administrator_adds,
    m28_p12_the_client_of_a_web_chat_is_the_device,
    m31_a_ban_meets_the_next_interaction_of_the_same_customer,
    m32_every_connector_denies_before_any_queue,
    d2_d13_d40_an_ip_ban_stays_an_ip_ban,
    d3_an_operator_cannot_choose_list_end_or_type,
    d11_a_ban_in_local_storage_disables_the_widget,
    d14_a_banned_ip_connects_and_is_stopped_at_a_related_queue_only,
    d29_d41_a_list_says_what_becomes_of_the_interaction,
    d10_the_type_of_a_list_matters_for_web_chats_only,
    d10_the_kind_that_the_list_needs_is_missing,
    the_button_names_every_identity_but_the_withheld,
    a_sip_caller_is_banned_by_call_alone,
    a_shadow_list_leaves_the_interaction_alone,
    two_operators_at_once_make_one_ban,
    the_same_request_again_is_answered_with_the_first_answer,
    a_dry_press_writes_nothing,
    an_operator_need_not_say_why,
);

async fn m1_the_list_shows_who_banned(client: Client) {
    let by_hand = client.ban(add(phone(OTHER_NUMBER))).await;
    let pressed = client
        .press_once(press(Channel::Call, vec![phone(NUMBER)]))
        .await;
    assert_eq!(pressed.created_by, "eva");
    for (created_by, ban) in [("eva", &pressed), ("anonymous", &by_hand)] {
        let filter = ListBansRequest {
            created_by: created_by.to_owned(),
            ..Default::default()
        };
        assert_eq!(client.found(filter).await, (vec![ban.ban_id.clone()], 1));
    }
    let filter = ListBansRequest {
        origins: vec![Origin::LiveInteraction as i32],
        ..Default::default()
    };
    assert_eq!(client.found(filter).await.0, [pressed.ban_id]);
}

async fn m4_a_customer_of_a_past_session_is_banned(client: Client) {
    let request = BanInteractionRequest {
        live: false,
        ..press(Channel::Call, vec![phone("601 123 456")])
    };
    let ban = client.press_once(request).await;
    assert_eq!(ban.origin(), Origin::PastSession);
    assert_eq!(ban.source_interaction_id, "interaction-1");
    assert_eq!(on(&ban), [NUMBER]);
    assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
}

async fn m5_m8_a_customer_is_banned_during_the_session_and_the_next_check_denies(client: Client) {
    let answer = client
        .press(press(Channel::Call, vec![phone(NUMBER)]))
        .await;
    assert_eq!(answer.client_action(), Treatment::EndInteraction);
    assert_eq!(answer.bans[0].origin(), Origin::LiveInteraction);
    assert_eq!(codes(&answer), Vec::<&str>::new());
    let next = at_least(
        answer.written_at.clone(),
        connect(Channel::Call, phone(NUMBER)),
    );
    let denied = client.ask(next).await;
    assert_eq!(decided_by(&denied), answer.bans[0].ban_id);
    let request = ListBanEventsRequest {
        tenant: TENANT.to_owned(),
        ban_id: answer.bans[0].ban_id.clone(),
        ..Default::default()
    };
    let told = client.admin().list_ban_events(request).await.unwrap();
    let told = told.into_inner().events;
    let told: Vec<_> = told
        .iter()
        .map(|event| [&event.action, &event.actor, &event.comment].map(String::as_str))
        .collect();
    assert_eq!(told, [["CREATED", "eva", "threats"]]);
}

async fn m9_a_ban_from_no_queue_holds_on_its_own_channel(client: Client) {
    for (channel, others) in [
        (Channel::Call, [Channel::Sms, Channel::Whatsapp]),
        (Channel::Whatsapp, [Channel::Call, Channel::Sms]),
    ] {
        let ban = client.press_once(press(channel, vec![phone(NUMBER)])).await;
        assert_eq!(ban.channels, [channel as i32]);
        assert_eq!((ban.list_id.as_str(), ban.expire_time), ("", None));
        assert!(client.turns_away(channel, phone(NUMBER)).await);
        for other in others {
            assert!(!client.turns_away(other, phone(NUMBER)).await, "{other:?}");
        }
        client.lift(&ban).await;
    }
}

async fn m10_a_ban_by_an_operator_is_nothing_to_another_tenant(client: Client) {
    client.make_tenant("other").await;
    let request = BanInteractionRequest {
        tenant: "other".to_owned(),
        ..press(Channel::Call, vec![phone(NUMBER)])
    };
    client.press(request).await;
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
    let question = CheckInteractionRequest {
        tenant: "other".to_owned(),
        ..connect(Channel::Call, phone(NUMBER))
    };
    assert!(denies(&client.ask(question).await));
}

/// Each channel with a customer of its own, as its connector names him.
fn customers() -> [(Channel, Identity); 8] {
    let of = |kind, value: &str, issuer: &str| Identity {
        issuer: issuer.to_owned(),
        ..identity(kind, value)
    };
    [
        (Channel::WebChat, visitor(TOKEN)),
        (Channel::Email, mail("mallory@example.com")),
        (Channel::Call, phone(NUMBER)),
        (Channel::Sms, phone(OTHER_NUMBER)),
        (
            Channel::Whatsapp,
            of(
                IdentityKind::WhatsappUserId,
                "US.13491208655302741918",
                "biz",
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
        (Channel::Vk, identity(IdentityKind::VkPeerId, "12345")),
    ]
}

async fn m11_to_m17_an_operator_bans_on_every_channel(client: Client) {
    for (channel, customer) in customers() {
        let ban = client
            .press_once(press(channel, vec![customer.clone()]))
            .await;
        assert_eq!(ban.channels, [channel as i32]);
        assert!(client.turns_away(channel, customer.clone()).await);
        client.lift(&ban).await;
        assert!(!client.turns_away(channel, customer).await);
    }
}

/// Turns the button of all operators on or off.
pub(crate) async fn switch(client: &Client, on: bool) {
    let request = UpdateTenantSettingsRequest {
        tenant_settings: Some(TenantSettings {
            tenant: TENANT.to_owned(),
            operator_banning_enabled: Some(on),
            ..Default::default()
        }),
        ..Default::default()
    };
    let set = client.config().update_tenant_settings(request).await;
    set.expect("settings");
}

async fn m18_operators_can_be_kept_from_banning(client: Client) {
    client.allow(&["calls"]).await;
    switch(&client, false).await;
    for request in [press(Channel::Call, vec![phone(NUMBER)]), call_at("calls")] {
        client
            .press_refused(
                request,
                Code::FailedPrecondition,
                "OPERATOR_BANNING_DISABLED",
            )
            .await;
    }
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
    switch(&client, true).await;
    client.press(call_at("calls")).await;
    assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
}

async fn m19_without_the_button_bans_stand_and_the_administrator_adds(client: Client) {
    client
        .press(press(Channel::Call, vec![phone(NUMBER)]))
        .await;
    switch(&client, false).await;
    assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
    client.ban(add(phone(OTHER_NUMBER))).await;
    assert!(client.turns_away(Channel::Call, phone(OTHER_NUMBER)).await);
}

async fn m28_p12_the_client_of_a_web_chat_is_the_device(client: Client) {
    let who = vec![address(ADDRESS), visitor(TOKEN)];
    let answer = client.press(press(Channel::WebChat, who)).await;
    assert_eq!(on(&answer.bans[0]), [TOKEN]);
    assert_eq!(answer.client_action(), Treatment::DisableWidget);
    let moved = CheckInteractionRequest {
        identities: vec![visitor(TOKEN), address("198.51.100.99")],
        ..connect(Channel::WebChat, visitor(TOKEN))
    };
    let denied = client.ask(moved).await;
    assert_eq!(denied.treatment(), Treatment::DisableWidget);
    // Another device at the same address is another client.
    assert!(!client.turns_away(Channel::WebChat, address(ADDRESS)).await);
}

async fn m31_a_ban_meets_the_next_interaction_of_the_same_customer(client: Client) {
    // Nobody types: what the connector handed over, in whatever spelling, is handed over again.
    let untold = |value: &str| identity(IdentityKind::Unspecified, value);
    for (channel, spelling) in [
        (Channel::Call, "00420 601-123-456"),
        (Channel::Call, "sip:+420777000111@gw.example.com;user=phone"),
        (Channel::Email, "Mallory+shop@GoogleMail.com"),
        (Channel::WebChat, TOKEN),
        (Channel::Whatsapp, "420601123456"),
        (Channel::Vk, "id12345"),
    ] {
        let who = vec![untold(spelling)];
        let ban = client.press_once(press(channel, who.clone())).await;
        assert_eq!(ban.match_kind(), MatchKind::Exact);
        let answer = client.ask(connect(channel, who[0].clone())).await;
        assert_eq!(decided_by(&answer), ban.ban_id, "{spelling}");
    }
}

async fn m32_every_connector_denies_before_any_queue(client: Client) {
    for (channel, customer) in customers() {
        client.press(press(channel, vec![customer.clone()])).await;
        let question = connect(channel, customer);
        assert_eq!(
            (question.stage(), question.queue.as_str()),
            (CheckStage::Connect, "")
        );
        assert!(denies(&client.ask(question).await), "{channel:?}");
    }
}

/// A web chat queue that records to this list.
async fn chat_queue(client: &Client, list: BanList) {
    let list_id = client.make_list(list).await.list_id;
    client
        .set_queue(into_list("chat", Channel::WebChat, &list_id))
        .await;
    client.allow(&["chat"]).await;
}

async fn d2_d13_d40_an_ip_ban_stays_an_ip_ban(client: Client) {
    chat_queue(&client, by_address("rude")).await;
    client.relate("rude", &["chat"]).await;
    let first = client.press(chat_at("chat")).await;
    assert_eq!(on(&first.bans[0]), [ADDRESS]);
    assert_eq!(first.bans[0].source_queue, "chat");
    assert_eq!(first.client_action(), Treatment::EndInteraction);

    let request = UpdateBanListRequest {
        tenant: TENANT.to_owned(),
        ban_list: Some(BanList {
            list_id: "rude".to_owned(),
            webchat_ban_type: WebchatBanType::LocalStorage as i32,
            ..Default::default()
        }),
        ..Default::default()
    };
    client.config().update_ban_list(request).await.unwrap();
    let entry = enter("chat", Channel::WebChat, address(ADDRESS));
    assert_eq!(decided_by(&client.ask(entry).await), first.bans[0].ban_id);
    assert!(!client.turns_away(Channel::WebChat, visitor(TOKEN)).await);
    // What comes later is of the other kind.
    let second = client.press_once(chat_at("chat")).await;
    assert_eq!(on(&second), [TOKEN]);
}

async fn d3_an_operator_cannot_choose_list_end_or_type(client: Client) {
    let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    let message = files
        .iter()
        .flat_map(|file| &file.message_type)
        .find(|message| message.name() == "BanInteractionRequest")
        .expect("the message");
    let fields: Vec<_> = message
        .field
        .iter()
        .map(FieldDescriptorProto::name)
        .collect();
    assert_eq!(
        fields,
        [
            "tenant",
            "actor",
            "request_id",
            "validate_only",
            "rights_profile",
            "queue",
            "channel",
            "interaction_id",
            "live",
            "identities",
            "contact_phones",
            "reason",
        ]
    );
    // What another program puts under other numbers is nobody's wish: the list decides.
    chat_queue(
        &client,
        BanList {
            default_timeout_text: "+6 days".to_owned(),
            ..list("rude")
        },
    )
    .await;
    let ban = client.press_once(chat_at("chat")).await;
    let lasted = ban.expire_time.unwrap().seconds - ban.create_time.unwrap().seconds;
    assert_eq!((ban.list_id.as_str(), lasted), ("rude", 6 * 86_400));
    assert_eq!(ban.enforcement(), Enforcement::Enforced);
}

async fn d11_a_ban_in_local_storage_disables_the_widget(client: Client) {
    chat_queue(&client, list("rude")).await;
    let answer = client.press(chat_at("chat")).await;
    assert_eq!(answer.client_action(), Treatment::DisableWidget);
    assert_eq!(on(&answer.bans[0]), [TOKEN]);
    assert_eq!(codes(&answer), Vec::<&str>::new(), "it needs no relation");
    let denied = client.ask(connect(Channel::WebChat, visitor(TOKEN))).await;
    assert_eq!(denied.treatment(), Treatment::DisableWidget);
}

async fn d14_a_banned_ip_connects_and_is_stopped_at_a_related_queue_only(client: Client) {
    chat_queue(&client, by_address("rude")).await;
    client.relate("rude", &["chat"]).await;
    let ban = client.press_once(chat_at("chat")).await;
    assert!(!client.turns_away(Channel::WebChat, address(ADDRESS)).await);
    let stopped = client
        .ask(enter("chat", Channel::WebChat, address(ADDRESS)))
        .await;
    assert_eq!(decided_by(&stopped), ban.ban_id);
    assert_eq!(stopped.treatment(), Treatment::EndInteraction);
    let elsewhere = enter("sales", Channel::WebChat, address(ADDRESS));
    assert!(!denies(&client.ask(elsewhere).await));
}

async fn d29_d41_a_list_says_what_becomes_of_the_interaction(client: Client) {
    for (list_id, treatment, expected) in [
        ("usual", Treatment::Unspecified, Treatment::EndInteraction),
        ("silent", Treatment::DropSilently, Treatment::DropSilently),
        (
            "told",
            Treatment::PlayAnnouncement,
            Treatment::PlayAnnouncement,
        ),
    ] {
        let made = BanList {
            treatment: treatment as i32,
            ..list(list_id)
        };
        client.make_list(made).await;
        client.relate(list_id, &["calls"]).await;
        client
            .set_queue(into_list("calls", Channel::Call, list_id))
            .await;
        client.allow(&["calls"]).await;
        let answer = client.press(call_at("calls")).await;
        assert_eq!(answer.client_action(), expected, "{list_id}");
        let denied = client
            .ask(enter("calls", Channel::Call, phone(NUMBER)))
            .await;
        assert_eq!(denied.treatment(), expected, "{list_id}");
        client.lift(&answer.bans[0]).await;
    }
}

async fn d10_the_type_of_a_list_matters_for_web_chats_only(client: Client) {
    client.allow(&["calls"]).await;
    for (list_id, made) in [("l", list("l")), ("ip", by_address("ip"))] {
        client.make_list(made).await;
        client
            .set_queue(into_list("calls", Channel::Call, list_id))
            .await;
        let ban = client.press_once(call_at("calls")).await;
        assert_eq!((ban.list_id.as_str(), on(&ban)), (list_id, vec![NUMBER]));
    }
}

async fn d10_the_kind_that_the_list_needs_is_missing(client: Client) {
    let chat = |who| press_at("chat", Channel::WebChat, who);
    chat_queue(&client, by_address("rude")).await;
    let code = Code::InvalidArgument;
    let reason = "INVALID_IDENTIFIER";
    let refused = client
        .press_refused(chat(vec![visitor(TOKEN)]), code, reason)
        .await;
    refused.blames("identities");
    client
        .set_queue(into_list(
            "chat",
            Channel::WebChat,
            &client.make_list(list("l")).await.list_id,
        ))
        .await;
    let refused = client
        .press_refused(chat(vec![address(ADDRESS)]), code, reason)
        .await;
    refused.blames("identities");
    let hidden = identity(IdentityKind::Withheld, "");
    let refused = client
        .press_refused(press(Channel::Call, vec![hidden]), code, reason)
        .await;
    refused.blames("identities");
    // One that is there and cannot be banned is told by its own place.
    let who = vec![address(ADDRESS), visitor("short")];
    let refused = client.press_refused(chat(who), code, reason).await;
    refused.blames("identities[1].value");
    let who = vec![phone(NUMBER), phone("not a number at all")];
    let refused = client
        .press_refused(press(Channel::Call, who), code, reason)
        .await;
    refused.blames("identities[1].value");
    let who = vec![identity(IdentityKind::MessengerPsid, "7391400000001")];
    let refused = client
        .press_refused(press(Channel::Messenger, who), code, "MISSING_ISSUER")
        .await;
    refused.blames("identities[0].issuer");
    let who = vec![phone(NUMBER), mail("mallory@example.com")];
    let refused = client
        .press_refused(press(Channel::Call, who), code, "KIND_CHANNEL_MISMATCH")
        .await;
    refused.blames("identities[1].kind");
    let states = (1..=4).collect();
    let all = ListBansRequest {
        states,
        ..Default::default()
    };
    assert_eq!(client.found(all).await.1, 0);
}

async fn the_button_names_every_identity_but_the_withheld(client: Client) {
    let hidden = identity(IdentityKind::Withheld, "");
    let who = vec![
        hidden,
        phone(NUMBER),
        phone("+420 601 12"),
        phone(OTHER_NUMBER),
    ];
    let answer = client.press(press(Channel::Call, who)).await;
    let [ban] = answer.bans.as_slice() else {
        panic!("{answer:?}");
    };
    assert_eq!(ban.targets.len(), 3);
    let told: Vec<_> = answer
        .warnings
        .iter()
        .map(|warning| (warning.identity_index, warning.code.as_str()))
        .collect();
    assert_eq!(told, [(Some(2), "NOT_POSSIBLE_NUMBER")]);
    for number in [NUMBER, OTHER_NUMBER] {
        assert!(client.turns_away(Channel::Call, phone(number)).await);
    }
}

async fn a_sip_caller_is_banned_by_call_alone(client: Client) {
    client.allow(&["calls"]).await;
    let caller = identity(IdentityKind::SipUri, "sip:mallory@example.com");
    let request = press_at("calls", Channel::Call, vec![caller.clone()]);
    let ban = client.press_once(request).await;
    assert_eq!(ban.channels, [Channel::Call as i32]);
    assert!(client.turns_away(Channel::Call, caller).await);
}

async fn a_shadow_list_leaves_the_interaction_alone(client: Client) {
    chat_queue(
        &client,
        BanList {
            enforcement: Enforcement::Shadow as i32,
            ..list("rude")
        },
    )
    .await;
    let answer = client.press(chat_at("chat")).await;
    assert_eq!(answer.client_action(), Treatment::Unspecified);
    assert!(!client.turns_away(Channel::WebChat, visitor(TOKEN)).await);
}

async fn two_operators_at_once_make_one_ban(client: Client) {
    client.allow(&["calls"]).await;
    let (mut one, mut other) = (client.admin(), client.admin());
    let by = |actor: &str| BanInteractionRequest {
        actor: actor.to_owned(),
        ..call_at("calls")
    };
    let (first, second) = tokio::join!(
        one.ban_interaction(by("eva")),
        other.ban_interaction(by("jan"))
    );
    let (made, refused) = match (first, second) {
        (Ok(made), refused) | (refused, Ok(made)) => (made.into_inner(), refused),
        (Err(first), Err(second)) => panic!("{first:?} {second:?}"),
    };
    let refused = Refused::read(refused);
    refused.is(Code::AlreadyExists, "DUPLICATE_ACTIVE_BAN");
    assert_eq!(refused.facts.get("ban_id"), Some(&made.bans[0].ban_id));
    assert_eq!(client.found(ListBansRequest::default()).await.1, 1);
}

async fn the_same_request_again_is_answered_with_the_first_answer(client: Client) {
    let list = with_phones(list("rude"));
    chat_queue(&client, list).await;
    let request = BanInteractionRequest {
        request_id: "press-1".to_owned(),
        contact_phones: vec![NUMBER.to_owned(), OTHER_NUMBER.to_owned()],
        ..chat_at("chat")
    };
    let first = client.press(request.clone()).await;
    let second = client.press(request.clone()).await;
    assert_eq!(first.bans.len(), 3);
    assert_eq!(second.bans, first.bans);
    assert_eq!(second.warnings, first.warnings);
    assert_eq!(second.client_action, first.client_action);
    assert_eq!(client.found(ListBansRequest::default()).await.1, 3);
    let other = BanInteractionRequest {
        reason: "something else".to_owned(),
        ..request
    };
    client
        .press_refused(other, Code::AlreadyExists, "REQUEST_ID_REUSED")
        .await;
}

async fn a_dry_press_writes_nothing(client: Client) {
    let request = BanInteractionRequest {
        validate_only: true,
        ..press(Channel::Call, vec![phone(NUMBER)])
    };
    let tried = client.press(request.clone()).await;
    assert_eq!((&tried.written_at, tried.bans.len()), (&None, 1));
    assert_eq!(tried.client_action(), Treatment::EndInteraction);
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
    // What would be refused is refused.
    client
        .press(press(Channel::Call, vec![phone(NUMBER)]))
        .await;
    client
        .press_refused(request, Code::AlreadyExists, "DUPLICATE_ACTIVE_BAN")
        .await;
}

async fn an_operator_need_not_say_why(client: Client) {
    let request = BanInteractionRequest {
        reason: String::new(),
        ..press(Channel::Call, vec![phone(NUMBER)])
    };
    let ban = client.press_once(request).await;
    assert_eq!((ban.reason.as_str(), ban.state()), ("", State::Active));
    // The one who adds by hand has to.
    let silent = CreateBanRequest {
        reason: String::new(),
        ..add(phone(OTHER_NUMBER))
    };
    ban_refused(&client, silent, ["REASON_REQUIRED", "reason"]).await;
}
