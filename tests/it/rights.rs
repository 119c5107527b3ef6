//! Who may ban from which queue; what the button is shown by is what guards it (D19, D26, D38).

use bancheck::api::v1::{
    BanRights, Channel, ListBanRightsRequest, QueuePolicy, SetBanRightsRequest, TenantSettings,
    TestBanPermissionRequest, UpdateTenantSettingsRequest, queue_policy::RecordTo,
};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};
use tonic::Code;

use crate::{
    button::{PROFILE, call_at, chat_at, into_list, policy, press_at},
    interaction::switch,
    refused::Refused,
    requests::{NUMBER, list, phone, visitor},
    server::{Client, TENANT},
};

on_both_stores!(
    d26_rights_and_the_queues_list_are_both_needed,
    d38_a_queue_that_records_nothing_wins_over_rights,
    d19_the_button_is_shown_where_it_works,
    d19_the_test_and_the_guard_never_disagree,
    m27_two_tenants_may_differ_on_the_button,
    the_reasons_come_in_the_order_of_the_contract,
    rights_are_set_whole_and_listed_by_profile,
    a_question_about_rights_that_makes_no_sense_is_refused,
);

async fn d26_rights_and_the_queues_list_are_both_needed(client: Client) {
    client.make_list(list("rude")).await;
    for (queue, to) in [("listed", "rude"), ("none", "")] {
        let policy = match to {
            "" => policy(queue, Channel::WebChat, RecordTo::None),
            list_id => into_list(queue, Channel::WebChat, list_id),
        };
        client.set_queue(policy).await;
    }
    let denied = (Code::PermissionDenied, "BAN_NOT_ALLOWED_ON_QUEUE");
    let nowhere = (Code::FailedPrecondition, "QUEUE_HAS_NO_BAN_LIST");
    for (right, queue, expected) in [
        (false, "listed", Some(denied)),
        (false, "none", Some(denied)),
        (true, "none", Some(nowhere)),
        (true, "listed", None),
    ] {
        client
            .allow(if right { &["listed", "none"] } else { &[] })
            .await;
        let told = client.may(PROFILE, queue, Channel::WebChat).await;
        if let Some((code, reason)) = expected {
            client.press_refused(chat_at(queue), code, reason).await;
            assert_eq!(told, reason);
        } else {
            assert_eq!(told, "");
            client.press_once(chat_at(queue)).await;
        }
    }
}

async fn d38_a_queue_that_records_nothing_wins_over_rights(client: Client) {
    client.allow(&["chat"]).await;
    let reason = "QUEUE_HAS_NO_BAN_LIST";
    assert_eq!(client.may(PROFILE, "chat", Channel::WebChat).await, reason);
    client
        .press_refused(chat_at("chat"), Code::FailedPrecondition, reason)
        .await;
}

async fn d19_the_button_is_shown_where_it_works(client: Client) {
    client.allow(&["calls", "dialler"]).await;
    client
        .set_queue(QueuePolicy {
            campaign: true,
            ..policy("dialler", Channel::Call, RecordTo::Global)
        })
        .await;
    let request = TestBanPermissionRequest {
        tenant: TENANT.to_owned(),
        rights_profile: PROFILE.to_owned(),
        queues: ["others", "calls", "dialler", "calls"]
            .map(str::to_owned)
            .to_vec(),
        channel: Channel::Call as i32,
        ..Default::default()
    };
    let told = client.config().test_ban_permission(request).await.unwrap();
    let told = told.into_inner().permissions;
    let told: Vec<_> = told
        .iter()
        .map(|one| (one.queue.as_str(), one.allowed, one.reason.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("others", false, "BAN_NOT_ALLOWED_ON_QUEUE"),
            ("calls", true, ""),
            ("dialler", false, "CAMPAIGN_QUEUE"),
            ("calls", true, ""),
        ]
    );
    // Without a profile there is no right, and another profile's is another's.
    for profile in ["", "supervisors"] {
        let told = client.may(profile, "calls", Channel::Call).await;
        assert_eq!(told, "BAN_NOT_ALLOWED_ON_QUEUE");
    }
}

/// A small world of rights and queues, and who asks in it.
#[derive(Clone, Debug)]
struct World {
    button: bool,
    rights: Vec<&'static str>,
    policies: Vec<(&'static str, Channel, bool, Option<RecordTo>)>,
    questions: Vec<(&'static str, Channel, bool)>,
}

fn worlds() -> impl Strategy<Value = World> {
    let queue = || prop::sample::select(vec!["one", "two", "three"]);
    let channel = || {
        prop::sample::select(vec![
            Channel::WebChat,
            Channel::Call,
            Channel::Sms,
            Channel::Email,
        ])
    };
    let to = prop::sample::select(vec![
        None,
        Some(RecordTo::None),
        Some(RecordTo::Global),
        Some(RecordTo::BanList),
    ]);
    let policies = prop::collection::vec((queue(), channel(), any::<bool>(), to), 0..4);
    let questions = prop::collection::vec((queue(), channel(), any::<bool>()), 1..6);
    let rights = prop::collection::btree_set(queue(), 0..4);
    (prop::bool::weighted(0.8), rights, policies, questions).prop_map(
        |(button, rights, policies, questions)| World {
            button,
            rights: rights.into_iter().collect(),
            policies,
            questions,
        },
    )
}

async fn d19_the_test_and_the_guard_never_disagree(client: Client) {
    client.make_list(list("rude")).await;
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        prop::test_runner::TestRng::deterministic_rng(prop::test_runner::RngAlgorithm::ChaCha),
    );
    let (mut allowed, mut refusals) = (0, std::collections::BTreeSet::new());
    for _ in 0..40 {
        let world = worlds().new_tree(&mut runner).unwrap().current();
        switch(&client, world.button).await;
        client.allow(&world.rights).await;
        for (queue, channel, campaign, to) in &world.policies {
            let to_list = *to == Some(RecordTo::BanList);
            let policy = QueuePolicy {
                campaign: *campaign,
                list_id: if to_list { "rude" } else { "" }.to_owned(),
                ..policy(queue, *channel, to.unwrap_or(RecordTo::Unspecified))
            };
            client.set_queue(policy).await;
        }
        for (queue, channel, profiled) in &world.questions {
            let profile = if *profiled { PROFILE } else { "" };
            let told = client.may(profile, queue, *channel).await;
            let who = match channel {
                Channel::WebChat => visitor("the-token-of-a-browser"),
                Channel::Email => crate::requests::mail("mallory@example.com"),
                _ => phone(NUMBER),
            };
            let request = bancheck::api::v1::BanInteractionRequest {
                validate_only: true,
                rights_profile: profile.to_owned(),
                ..press_at(queue, *channel, vec![who])
            };
            match client.admin().ban_interaction(request).await {
                Ok(_) => {
                    assert_eq!(told, "", "{world:?}");
                    allowed += 1;
                }
                Err(status) => {
                    let refused = Refused::read::<()>(Err(status));
                    assert_eq!(told, refused.reason, "{world:?}");
                    refusals.insert(told);
                }
            }
        }
    }
    assert!(allowed > 0, "somebody may ban somewhere");
    assert_eq!(refusals.len(), 4, "each reason comes up: {refusals:?}");
}

async fn m27_two_tenants_may_differ_on_the_button(client: Client) {
    client.make_tenant("other").await;
    switch(&client, false).await;
    let elsewhere = bancheck::api::v1::BanInteractionRequest {
        tenant: "other".to_owned(),
        queue: String::new(),
        ..call_at("")
    };
    client.press_once(elsewhere).await;
    let here = press_at("", Channel::Call, vec![phone(NUMBER)]);
    client
        .press_refused(here, Code::FailedPrecondition, "OPERATOR_BANNING_DISABLED")
        .await;
    let request = UpdateTenantSettingsRequest {
        tenant_settings: Some(TenantSettings {
            tenant: "other".to_owned(),
            operator_banning_enabled: Some(true),
            ..Default::default()
        }),
        ..Default::default()
    };
    let settings = client
        .config()
        .update_tenant_settings(request)
        .await
        .unwrap();
    let settings = settings.into_inner().tenant_settings.unwrap();
    assert_eq!(settings.operator_banning_enabled, Some(true));
}

async fn the_reasons_come_in_the_order_of_the_contract(client: Client) {
    switch(&client, false).await;
    client
        .set_queue(QueuePolicy {
            campaign: true,
            ..policy("chat", Channel::WebChat, RecordTo::None)
        })
        .await;
    // What the request itself is to blame for comes before whether there is such a tenant.
    let nowhere = bancheck::api::v1::BanInteractionRequest {
        tenant: "nobody".to_owned(),
        channel: 0,
        ..chat_at("chat")
    };
    let refused = client
        .press_refused(nowhere.clone(), Code::InvalidArgument, "FIELD_REQUIRED")
        .await;
    refused.blames("channel");
    let nowhere = bancheck::api::v1::BanInteractionRequest {
        channel: Channel::WebChat as i32,
        ..nowhere
    };
    client
        .press_refused(nowhere, Code::NotFound, "TENANT_NOT_FOUND")
        .await;
    let (state, denied) = (Code::FailedPrecondition, Code::PermissionDenied);
    // None of these can be banned at all, which is looked at last.
    let nobody = || press_at("chat", Channel::WebChat, vec![phone(NUMBER)]);
    client
        .press_refused(nobody(), state, "OPERATOR_BANNING_DISABLED")
        .await;
    switch(&client, true).await;
    client
        .press_refused(nobody(), denied, "BAN_NOT_ALLOWED_ON_QUEUE")
        .await;
    client.allow(&["chat"]).await;
    client
        .press_refused(nobody(), state, "CAMPAIGN_QUEUE")
        .await;
    let ordinary = policy("chat", Channel::WebChat, RecordTo::None);
    let request = bancheck::api::v1::UpdateQueuePolicyRequest {
        tenant: TENANT.to_owned(),
        queue_policy: Some(ordinary),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["campaign".to_owned()],
        }),
        ..Default::default()
    };
    client.config().update_queue_policy(request).await.unwrap();
    client
        .press_refused(nobody(), state, "QUEUE_HAS_NO_BAN_LIST")
        .await;
    client
        .set_queue(policy("chat", Channel::WebChat, RecordTo::Global))
        .await;
    client
        .press_refused(nobody(), Code::InvalidArgument, "INVALID_IDENTIFIER")
        .await;
}

async fn listed(client: &Client, page_size: i32) -> Vec<BanRights> {
    let mut request = ListBanRightsRequest {
        tenant: TENANT.to_owned(),
        page_size,
        ..Default::default()
    };
    let mut rights = Vec::new();
    loop {
        let page = client.config().list_ban_rights(request.clone()).await;
        let page = page.unwrap().into_inner();
        rights.extend(page.rights);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return rights;
        }
    }
}

async fn set(client: &Client, profile: &str, queues: &[&str]) -> Vec<String> {
    let request = SetBanRightsRequest {
        tenant: TENANT.to_owned(),
        rights_profile: profile.to_owned(),
        allowed_queues: queues.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    let set = client.config().set_ban_rights(request).await.unwrap();
    let set = set.into_inner();
    assert!(set.written_at.is_some());
    set.allowed_queues
}

async fn rights_are_set_whole_and_listed_by_profile(client: Client) {
    let of = |profile: &str, queues: &[&str]| BanRights {
        rights_profile: profile.to_owned(),
        allowed_queues: queues.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(listed(&client, 0).await, []);
    assert_eq!(
        set(&client, "b", &["two", "one", "two"]).await,
        ["one", "two"]
    );
    set(&client, "a", &["three"]).await;
    set(&client, "č \"1\"", &["ž", "Z"]).await;
    let all = [
        of("a", &["three"]),
        of("b", &["one", "two"]),
        of("č \"1\"", &["Z", "ž"]),
    ];
    assert_eq!(listed(&client, 0).await, all);
    assert_eq!(listed(&client, 1).await, all);
    assert_eq!(set(&client, "b", &["three"]).await, ["three"]);
    assert_eq!(set(&client, "a", &[]).await, Vec::<String>::new());
    let left = [of("b", &["three"]), of("č \"1\"", &["Z", "ž"])];
    assert_eq!(listed(&client, 0).await, left);
    client.make_tenant("other").await;
    let request = ListBanRightsRequest {
        tenant: "other".to_owned(),
        ..Default::default()
    };
    let others = client.config().list_ban_rights(request).await.unwrap();
    assert_eq!(others.into_inner().rights, []);
}

async fn a_question_about_rights_that_makes_no_sense_is_refused(client: Client) {
    let ask = |queues: Vec<String>, channel: i32| TestBanPermissionRequest {
        tenant: TENANT.to_owned(),
        rights_profile: PROFILE.to_owned(),
        queues,
        channel,
        ..Default::default()
    };
    let call = Channel::Call as i32;
    for (request, reason, field) in [
        (
            ask(vec![String::new()], call),
            "FIELD_REQUIRED",
            "queues[0]",
        ),
        (
            ask(vec!["q".repeat(129)], call),
            "VALUE_TOO_LONG",
            "queues[0]",
        ),
        (
            ask(vec!["q".to_owned(); 1_001], call),
            "TOO_MANY_ITEMS",
            "queues",
        ),
        (ask(vec!["q".to_owned()], 0), "FIELD_REQUIRED", "channel"),
        (ask(vec!["q".to_owned()], 99), "FIELD_INVALID", "channel"),
    ] {
        let refused = Refused::read(client.config().test_ban_permission(request).await);
        refused.is(Code::InvalidArgument, reason);
        refused.blames(field);
    }
    let set = |profile: &str, queue: &str| SetBanRightsRequest {
        tenant: TENANT.to_owned(),
        rights_profile: profile.to_owned(),
        allowed_queues: vec![queue.to_owned()],
        ..Default::default()
    };
    for (request, reason, field) in [
        (set("", "q"), "FIELD_REQUIRED", "rights_profile"),
        (
            set(&"p".repeat(129), "q"),
            "VALUE_TOO_LONG",
            "rights_profile",
        ),
        (set("p", ""), "FIELD_REQUIRED", "allowed_queues[0]"),
        (set("p", "a\nb"), "FIELD_INVALID", "allowed_queues[0]"),
    ] {
        let refused = Refused::read(client.config().set_ban_rights(request).await);
        refused.is(Code::InvalidArgument, reason);
        refused.blames(field);
    }
    assert_eq!(listed(&client, 0).await, []);
}
