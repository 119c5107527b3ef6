//! Queues: where bans from them are recorded, where they hold, and what they do with the nameless.

use bancheck::api::v1::{
    Ban, BanList, Channel, CheckInteractionRequest, CheckStage, DeleteBanListRequest,
    ExplainInteractionRequest, GetQueuePolicyRequest, Identity, IdentityKind, ListBansRequest,
    ListQueuePoliciesRequest, QueuePolicy, TenantSettings, Treatment, UpdateQueuePolicyRequest,
    UpdateTenantSettingsRequest,
    queue_policy::{RecordTo, WithheldPolicy},
    tenant_settings::DefaultRecordTo,
};
use prost_types::FieldMask;
use tonic::Code;

use crate::{
    button::{by_address, call_at, chat_at, codes, into_list, policy, press_at},
    refused::Refused,
    requests::{NUMBER, OTHER_NUMBER, decided_by, denies, enter, identity, list, phone, when},
    server::{Client, TENANT},
};

on_both_stores!(
    d2_d21_where_bans_are_recorded_acts_on_later_bans_only,
    d22_d36_calls_and_text_messages_are_banned_in_the_whole_tenant_unless_told_otherwise,
    d23_a_queue_of_calls_may_record_to_a_list_whose_settings_then_apply,
    d24_a_queue_of_web_chats_records_nothing_unless_told_otherwise,
    d25_a_queue_of_web_chats_may_record_to_a_list_whose_settings_then_apply,
    d20_nobody_bans_from_a_campaigns_queue,
    d27_bans_of_a_list_are_listed_by_it,
    d34_a_ban_recorded_at_one_queue_may_hold_at_another_only,
    d37_a_ban_of_calls_stops_text_messages_that_come_in,
    the_tenant_says_where_bans_are_recorded_by_default,
    a_queue_never_configured_has_a_policy_that_says_nothing,
    a_policy_is_changed_field_by_field,
    a_policy_that_makes_no_sense_is_refused,
    policies_come_page_by_page_in_the_order_of_their_queues,
    a_queue_turns_away_those_who_withhold_everything_where_it_says_so,
    an_unknown_queue_is_warned_of_where_queues_are_known,
    a_list_that_a_queue_records_to_is_deleted_by_force_only,
);

async fn d2_d21_where_bans_are_recorded_acts_on_later_bans_only(client: Client) {
    client.make_list(list("rude")).await;
    client.allow(&["calls"]).await;
    let global = client.press_once(call_at("calls")).await;
    client
        .set_queue(into_list("calls", Channel::Call, "rude"))
        .await;
    let listed = client.press_once(call_at("calls")).await;
    assert_eq!([global.list_id.as_str(), &listed.list_id], ["", "rude"]);
    let recorded = |list_ids: &[&str]| ListBansRequest {
        list_ids: list_ids.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    assert_eq!(client.found(recorded(&["rude"])).await.0, [listed.ban_id]);
    assert_eq!(client.found(recorded(&[])).await.1, 2);
}

async fn d22_d36_calls_and_text_messages_are_banned_in_the_whole_tenant_unless_told_otherwise(
    client: Client,
) {
    client.allow(&["calls", "texts"]).await;
    for (queue, channel, number) in [
        ("calls", Channel::Call, NUMBER),
        ("texts", Channel::Sms, OTHER_NUMBER),
    ] {
        let answer = client
            .press(press_at(queue, channel, vec![phone(number)]))
            .await;
        let ban = &answer.bans[0];
        assert_eq!(ban.channels, [Channel::Call as i32, Channel::Sms as i32]);
        assert_eq!((ban.list_id.as_str(), ban.expire_time), ("", None));
        assert_eq!(codes(&answer), Vec::<&str>::new());
        for met in [Channel::Call, Channel::Sms] {
            assert!(client.turns_away(met, phone(number)).await);
            // No relation was set up.
            assert!(denies(
                &client.ask(enter("another", met, phone(number))).await
            ));
        }
        assert!(!client.turns_away(Channel::Whatsapp, phone(number)).await);
    }
}

async fn d23_a_queue_of_calls_may_record_to_a_list_whose_settings_then_apply(client: Client) {
    let week = BanList {
        default_timeout_text: "+1 week".to_owned(),
        treatment: Treatment::PlayAnnouncement as i32,
        ..list("rude")
    };
    client.make_list(week).await;
    client.relate("rude", &["calls"]).await;
    client
        .set_queue(into_list("calls", Channel::Call, "rude"))
        .await;
    client.allow(&["calls"]).await;
    let answer = client.press(call_at("calls")).await;
    let ban = &answer.bans[0];
    assert_eq!(ban.channels, [Channel::Call as i32, Channel::Sms as i32]);
    assert_eq!(lasting(ban), 7 * 86_400);
    assert_eq!(answer.client_action(), Treatment::PlayAnnouncement);
    for channel in [Channel::Call, Channel::Sms] {
        let stopped = client.ask(enter("calls", channel, phone(NUMBER))).await;
        assert_eq!(decided_by(&stopped), ban.ban_id);
        assert!(!client.turns_away(channel, phone(NUMBER)).await);
    }
}

async fn d24_a_queue_of_web_chats_records_nothing_unless_told_otherwise(client: Client) {
    client.allow(&["chat", "set"]).await;
    client
        .set_queue(policy("set", Channel::WebChat, RecordTo::None))
        .await;
    for queue in ["chat", "set"] {
        client
            .press_refused(
                chat_at(queue),
                Code::FailedPrecondition,
                "QUEUE_HAS_NO_BAN_LIST",
            )
            .await;
    }
    assert_eq!(client.found(ListBansRequest::default()).await.1, 0);
}

async fn d25_a_queue_of_web_chats_may_record_to_a_list_whose_settings_then_apply(client: Client) {
    let months = BanList {
        default_timeout_text: "19 months".to_owned(),
        ..by_address("rude")
    };
    client.make_list(months).await;
    client
        .set_queue(into_list("chat", Channel::WebChat, "rude"))
        .await;
    client.allow(&["chat"]).await;
    let ban = client.press_once(chat_at("chat")).await;
    assert_eq!(ban.channels, [Channel::WebChat as i32]);
    assert_eq!(ban.list_id, "rude");
    assert!(lasting(&ban) > 570 * 86_400);
    // The tenant's own list of browsers is as good for a ban in the whole tenant.
    client
        .set_queue(policy("chat", Channel::WebChat, RecordTo::Global))
        .await;
    assert_eq!(client.press_once(chat_at("chat")).await.list_id, "");
}

async fn d20_nobody_bans_from_a_campaigns_queue(client: Client) {
    client
        .set_queue(QueuePolicy {
            campaign: true,
            ..policy("dialler", Channel::Call, RecordTo::Global)
        })
        .await;
    client.allow(&["dialler"]).await;
    client
        .press_refused(
            call_at("dialler"),
            Code::FailedPrecondition,
            "CAMPAIGN_QUEUE",
        )
        .await;
    // Its policy is about calls; a text message that strays there is the tenant's.
    let text = press_at("dialler", Channel::Sms, vec![phone(NUMBER)]);
    client.press_once(text).await;
}

async fn d27_bans_of_a_list_are_listed_by_it(client: Client) {
    client.allow(&["one", "two"]).await;
    let mut made = Vec::new();
    for (queue, number) in [("one", NUMBER), ("two", OTHER_NUMBER)] {
        client.make_list(list(queue)).await;
        client
            .set_queue(into_list(queue, Channel::Call, queue))
            .await;
        let request = press_at(queue, Channel::Call, vec![phone(number)]);
        made.push(client.press_once(request).await);
    }
    for ban in made {
        let filter = ListBansRequest {
            list_ids: vec![ban.source_queue.clone()],
            ..Default::default()
        };
        assert_eq!(client.found(filter).await, (vec![ban.ban_id], 1));
    }
}

async fn d34_a_ban_recorded_at_one_queue_may_hold_at_another_only(client: Client) {
    client.make_list(list("rude")).await;
    client.relate("rude", &["two"]).await;
    client
        .set_queue(into_list("one", Channel::Call, "rude"))
        .await;
    client.allow(&["one"]).await;
    let answer = client.press(call_at("one")).await;
    assert_eq!(codes(&answer), ["NOT_ENFORCED_ON_SOURCE_QUEUE"]);
    assert!(!denies(
        &client.ask(enter("one", Channel::Call, phone(NUMBER))).await
    ));
    assert!(denies(
        &client.ask(enter("two", Channel::Call, phone(NUMBER))).await
    ));

    client.relate("rude", &[]).await;
    let other = press_at("one", Channel::Call, vec![phone(OTHER_NUMBER)]);
    let answer = client.press(other).await;
    assert_eq!(
        codes(&answer),
        ["LIST_NOT_ENFORCED_ANYWHERE", "NOT_ENFORCED_ON_SOURCE_QUEUE"]
    );
    client.relate("rude", &["one"]).await;
    client.lift(&answer.bans[0]).await;
    let other = press_at("one", Channel::Call, vec![phone(OTHER_NUMBER)]);
    assert_eq!(codes(&client.press(other).await), Vec::<&str>::new());
}

async fn d37_a_ban_of_calls_stops_text_messages_that_come_in(client: Client) {
    client.allow(&["calls"]).await;
    client.press(call_at("calls")).await;
    assert!(client.turns_away(Channel::Sms, phone(NUMBER)).await);
    let text = enter("texts", Channel::Sms, phone(NUMBER));
    assert!(denies(&client.ask(text.clone()).await));
    // The manual says nothing of those that go out; a ban in no list stops them too.
    let reply = CheckInteractionRequest {
        stage: CheckStage::Outbound as i32,
        ..text
    };
    assert!(denies(&client.ask(reply).await));
}

async fn record_by_default(client: Client, defaults: &[(Channel, RecordTo)]) {
    let defaults = defaults.iter().map(|(channel, to)| DefaultRecordTo {
        channel: *channel as i32,
        record_to: *to as i32,
    });
    let request = UpdateTenantSettingsRequest {
        tenant_settings: Some(TenantSettings {
            tenant: TENANT.to_owned(),
            default_record_to: defaults.collect(),
            ..Default::default()
        }),
        ..Default::default()
    };
    client
        .config()
        .update_tenant_settings(request)
        .await
        .unwrap();
}

async fn the_tenant_says_where_bans_are_recorded_by_default(client: Client) {
    client.allow(&["chat", "calls", "set"]).await;
    let turned = [
        (Channel::WebChat, RecordTo::Global),
        (Channel::Call, RecordTo::None),
    ];
    record_by_default(client.clone(), &turned).await;
    assert_eq!(client.press_once(chat_at("chat")).await.list_id, "");
    let refused = "QUEUE_HAS_NO_BAN_LIST";
    client
        .press_refused(call_at("calls"), Code::FailedPrecondition, refused)
        .await;
    // A policy that leaves it open does as the tenant does, one that says something does that.
    client
        .set_queue(policy("calls", Channel::Call, RecordTo::Unspecified))
        .await;
    client
        .press_refused(call_at("calls"), Code::FailedPrecondition, refused)
        .await;
    client
        .set_queue(policy("set", Channel::Call, RecordTo::Global))
        .await;
    client.press_once(call_at("set")).await;
}

async fn a_queue_never_configured_has_a_policy_that_says_nothing(client: Client) {
    let nothing = QueuePolicy {
        queue: "nobody's".to_owned(),
        withheld_policy: WithheldPolicy::Allow as i32,
        ..Default::default()
    };
    assert_eq!(client.queue("nobody's").await, nothing);
    for list_id in ["b", "a"] {
        client.make_list(list(list_id)).await;
        client.relate(list_id, &["nobody's"]).await;
    }
    let enforced = client.queue("nobody's").await.enforced_list_ids;
    assert_eq!(enforced, ["a", "b"]);
    let request = ListQueuePoliciesRequest {
        tenant: TENANT.to_owned(),
        ..Default::default()
    };
    let listed = client.config().list_queue_policies(request).await.unwrap();
    assert_eq!(listed.into_inner().queue_policies, []);
}

async fn change(client: &Client, edited: QueuePolicy, fields: &[&str]) -> QueuePolicy {
    let request = UpdateQueuePolicyRequest {
        tenant: TENANT.to_owned(),
        queue_policy: Some(edited),
        update_mask: Some(FieldMask {
            paths: fields.iter().map(ToString::to_string).collect(),
        }),
        ..Default::default()
    };
    let changed = client.config().update_queue_policy(request).await;
    changed
        .expect("a policy")
        .into_inner()
        .queue_policy
        .unwrap()
}

async fn a_policy_is_changed_field_by_field(client: Client) {
    client.make_list(list("rude")).await;
    client.relate("rude", &["chat"]).await;
    let whole = QueuePolicy {
        campaign: true,
        withheld_policy: WithheldPolicy::Deny as i32,
        enforced_list_ids: vec!["rude".to_owned()],
        ..into_list("chat", Channel::WebChat, "rude")
    };
    assert_eq!(client.set_queue(whole.clone()).await, whole);
    assert_eq!(client.queue("chat").await, whole);
    let only = |campaign| QueuePolicy {
        queue: "chat".to_owned(),
        campaign,
        ..Default::default()
    };
    let changed = change(&client, only(false), &["campaign"]).await;
    let expected = QueuePolicy {
        campaign: false,
        ..whole.clone()
    };
    assert_eq!(changed, expected);
    // Another place than a list takes the list away; the tenant's own does too.
    let global = policy("chat", Channel::WebChat, RecordTo::Global);
    assert_eq!(client.set_queue(global).await.list_id, "");
    let back = change(&client, whole.clone(), &["record_to", "list_id"]).await;
    assert_eq!(back, expected);
    let reset = change(&client, only(false), &["record_to"]).await;
    assert_eq!(
        (reset.record_to(), reset.list_id.as_str()),
        (RecordTo::Unspecified, "")
    );
    // All of it; what is unset goes back to its default.
    let all = policy("chat", Channel::Call, RecordTo::None);
    let replaced = change(&client, all.clone(), &["*"]).await;
    let expected = QueuePolicy {
        withheld_policy: WithheldPolicy::Allow as i32,
        enforced_list_ids: vec!["rude".to_owned()],
        ..all
    };
    assert_eq!(replaced, expected);
    assert_eq!(client.queue("chat").await, expected);
}

async fn refused(client: &Client, policy: QueuePolicy, code: Code, reason: &str) -> Refused {
    let request = UpdateQueuePolicyRequest {
        tenant: TENANT.to_owned(),
        queue_policy: Some(policy),
        ..Default::default()
    };
    let refused = Refused::read(client.config().update_queue_policy(request).await);
    refused.is(code, reason);
    refused
}

async fn a_policy_that_makes_no_sense_is_refused(client: Client) {
    let bad = Code::InvalidArgument;
    let of = |queue: &str| policy(queue, Channel::Call, RecordTo::Global);
    refused(&client, of(""), bad, "FIELD_REQUIRED")
        .await
        .blames("queue_policy.queue");
    refused(&client, of(&"q".repeat(129)), bad, "VALUE_TOO_LONG").await;
    refused(&client, of("a\u{7}b"), bad, "FIELD_INVALID").await;
    let nowhere = QueuePolicy {
        channel: 0,
        ..of("calls")
    };
    refused(&client, nowhere, bad, "FIELD_REQUIRED")
        .await
        .blames("queue_policy.channel");
    for field in ["channel", "record_to", "withheld_policy"] {
        let mut odd = of("calls");
        match field {
            "channel" => odd.channel = 99,
            "record_to" => odd.record_to = 99,
            _ => odd.withheld_policy = -1,
        }
        refused(&client, odd, bad, "FIELD_INVALID")
            .await
            .blames(&format!("queue_policy.{field}"));
    }
    let listless = policy("calls", Channel::Call, RecordTo::BanList);
    refused(&client, listless, bad, "FIELD_REQUIRED")
        .await
        .blames("queue_policy.list_id");
    let both = QueuePolicy {
        list_id: "rude".to_owned(),
        ..of("calls")
    };
    refused(&client, both, bad, "FIELD_INVALID")
        .await
        .blames("queue_policy.list_id");
    let unknown = into_list("calls", Channel::Call, "rude");
    refused(&client, unknown, Code::NotFound, "BAN_LIST_NOT_FOUND").await;
    let request = UpdateQueuePolicyRequest {
        tenant: TENANT.to_owned(),
        queue_policy: Some(of("calls")),
        update_mask: Some(FieldMask {
            paths: vec!["enforced_list_ids".to_owned()],
        }),
        ..Default::default()
    };
    let answer = Refused::read(client.config().update_queue_policy(request).await);
    answer.is(bad, "INVALID_FIELD_MASK");
    let request = GetQueuePolicyRequest {
        tenant: "nobody".to_owned(),
        queue: "calls".to_owned(),
    };
    Refused::read(client.config().get_queue_policy(request).await)
        .is(Code::NotFound, "TENANT_NOT_FOUND");
    assert_eq!(client.queue("calls").await.channel(), Channel::Unspecified);
}

async fn policies_come_page_by_page_in_the_order_of_their_queues(client: Client) {
    for queue in ["b", "Z", "ž", "a", "10", "9"] {
        client
            .set_queue(policy(queue, Channel::Call, RecordTo::Global))
            .await;
    }
    let mut request = ListQueuePoliciesRequest {
        tenant: TENANT.to_owned(),
        page_size: 4,
        ..Default::default()
    };
    let mut queues = Vec::new();
    loop {
        let page = client.config().list_queue_policies(request.clone()).await;
        let page = page.unwrap().into_inner();
        queues.extend(page.queue_policies.into_iter().map(|policy| policy.queue));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(queues, ["10", "9", "Z", "a", "b", "ž"]);
}

async fn a_queue_turns_away_those_who_withhold_everything_where_it_says_so(client: Client) {
    let hidden = || identity(IdentityKind::Withheld, "");
    let ask = |queue: &str, channel: Channel, identities: Vec<Identity>| CheckInteractionRequest {
        identities,
        ..enter(queue, channel, hidden())
    };
    let calls = QueuePolicy {
        withheld_policy: WithheldPolicy::Deny as i32,
        ..policy("calls", Channel::Call, RecordTo::Global)
    };
    client.set_queue(calls.clone()).await;
    for who in [vec![hidden()], vec![phone("anonymous"), hidden()]] {
        let answer = client.ask(ask("calls", Channel::Call, who)).await;
        assert!(denies(&answer));
        assert_eq!(
            (&answer.r#match, answer.treatment()),
            (&None, Treatment::EndInteraction)
        );
    }
    let request = ExplainInteractionRequest {
        check: Some(ask("calls", Channel::Call, vec![hidden()])),
        ..Default::default()
    };
    let explained = client.diagnostics().explain_interaction(request).await;
    let explained = explained.expect("an explanation").into_inner();
    assert!(denies(&explained.response.expect("the answer")));
    assert_eq!(explained.rules, []);
    // Some of it told, another channel, another stage, another queue.
    let telling = vec![hidden(), phone(NUMBER)];
    assert!(!denies(
        &client.ask(ask("calls", Channel::Call, telling)).await
    ));
    let unreadable = vec![phone("::")];
    assert!(!denies(
        &client.ask(ask("calls", Channel::Call, unreadable)).await
    ));
    assert!(!denies(
        &client.ask(ask("calls", Channel::Sms, vec![hidden()])).await
    ));
    assert!(!denies(
        &client
            .ask(ask("other", Channel::Call, vec![hidden()]))
            .await
    ));
    for stage in [CheckStage::Connect, CheckStage::Outbound] {
        let question = CheckInteractionRequest {
            stage: stage as i32,
            ..ask("calls", Channel::Call, vec![hidden()])
        };
        assert!(!denies(&client.ask(question).await), "{stage:?}");
    }
    let open = QueuePolicy {
        withheld_policy: WithheldPolicy::Allow as i32,
        ..calls
    };
    client.set_queue(open).await;
    assert!(!denies(
        &client
            .ask(ask("calls", Channel::Call, vec![hidden()]))
            .await
    ));
}

async fn an_unknown_queue_is_warned_of_where_queues_are_known(client: Client) {
    let warned = async |queue: &str| {
        let answer = client.ask(enter(queue, Channel::Call, phone(NUMBER))).await;
        let codes = answer.warnings.into_iter().map(|warning| warning.code);
        codes.collect::<Vec<_>>()
    };
    assert_eq!(warned("calls").await, Vec::<String>::new());
    client
        .set_queue(policy("calls", Channel::Call, RecordTo::Global))
        .await;
    assert_eq!(warned("calls").await, Vec::<String>::new());
    assert_eq!(warned("others").await, ["UNKNOWN_QUEUE"]);
    client.make_list(list("rude")).await;
    client.relate("rude", &["others"]).await;
    assert_eq!(warned("others").await, Vec::<String>::new());
    assert_eq!(warned("thirds").await, ["UNKNOWN_QUEUE"]);
}

/// How many seconds a ban lasts.
fn lasting(ban: &Ban) -> i64 {
    (when(ban.expire_time) - when(ban.create_time)) / 1_000_000
}

async fn a_list_that_a_queue_records_to_is_deleted_by_force_only(client: Client) {
    client.make_list(list("rude")).await;
    client
        .set_queue(into_list("calls", Channel::Call, "rude"))
        .await;
    client.allow(&["calls"]).await;
    let delete = |force| DeleteBanListRequest {
        tenant: TENANT.to_owned(),
        list_id: "rude".to_owned(),
        force,
        ..Default::default()
    };
    let refused = Refused::read(client.config().delete_ban_list(delete(false)).await);
    refused.is(Code::FailedPrecondition, "BAN_LIST_IN_USE");
    client.config().delete_ban_list(delete(true)).await.unwrap();
    // The queue is left without a place, and says so rather than ban somewhere else.
    let left = client.queue("calls").await;
    assert_eq!(
        (left.record_to(), left.list_id.as_str()),
        (RecordTo::BanList, "")
    );
    let reason = "QUEUE_HAS_NO_BAN_LIST";
    client
        .press_refused(call_at("calls"), Code::FailedPrecondition, reason)
        .await;
    client
        .set_queue(policy("calls", Channel::Call, RecordTo::Global))
        .await;
    client.press_once(call_at("calls")).await;
}
