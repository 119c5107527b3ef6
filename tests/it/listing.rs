//! The list of bans: what it shows by default, what can be asked for, and its pages.

use bancheck::api::v1::{
    Ban, Channel, CreateBanRequest, GetTenantSettingsRequest, ListBansRequest, ListTenantsRequest,
    TenantSettings, UpdateTenantSettingsRequest,
    ban::{Origin, State},
};
use prost_types::FieldMask;
use tonic::Code;

use crate::{
    refused::Refused,
    requests::{
        NUMBER, OTHER_NUMBER, TOKEN, add, add_on, add_to, address, after, change, list, mail,
        phone, until, visitor,
    },
    server::{Client, TENANT},
};

on_both_stores!(
    m20_a_deactivated_ban_leaves_the_list_and_is_still_there,
    m21_the_list_shows_active_bans_unless_told_otherwise,
    m22_active_and_inactive_can_be_asked_for_together,
    m23_a_page_token_is_good_for_its_own_question_only,
    m24_a_ban_is_in_exactly_one_state,
    m2_every_ban_there_ever_was_can_be_listed,
    the_list_comes_in_pages_without_gaps_or_repetitions,
    a_page_is_not_disturbed_by_bans_made_meanwhile,
    bans_are_listed_by_end_with_permanent_ones_last,
    the_list_is_narrowed_by_channel_list_and_origin,
    the_list_is_narrowed_by_identity,
    the_list_is_narrowed_by_last_digits_and_by_text,
    the_list_is_narrowed_by_author_and_time,
    a_percent_sign_in_a_filter_means_itself,
    m27_two_tenants_keep_settings_of_their_own,
    settings_have_their_defaults_filled_in,
);

const EVERY_STATE: [State; 4] = [
    State::Scheduled,
    State::Active,
    State::Expired,
    State::Deactivated,
];

fn in_states(states: &[State]) -> ListBansRequest {
    let states = states.iter().map(|state| *state as i32).collect();
    ListBansRequest {
        states,
        ..Default::default()
    }
}

/// A ban in each state, in the order of [`EVERY_STATE`].
async fn one_in_each_state(client: &Client) -> [String; 4] {
    let start_time = Some(after(client.clock().await, 3600));
    let scheduled = CreateBanRequest {
        start_time,
        ..add(phone("+420601000001"))
    };
    let scheduled = client.ban(scheduled).await;
    let active = client.ban(add(phone("+420601000002"))).await;
    let expired = client.ban(add(phone("+420601000003"))).await;
    let past = Ban {
        expire_time: Some(after(client.clock().await, -1)),
        ..expired
    };
    let ended = client.admin().update_ban(change(past, "expire_time")).await;
    let expired = ended.expect("a change").into_inner().ban.expect("the ban");
    let deactivated = client.ban(add(phone("+420601000004"))).await;
    client.lift(&deactivated).await;
    [scheduled, active, expired, deactivated].map(|ban| ban.ban_id)
}

async fn m20_a_deactivated_ban_leaves_the_list_and_is_still_there(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    assert_eq!(client.found(ListBansRequest::default()).await.1, 1);
    client.lift(&ban).await;
    assert_eq!(client.found(ListBansRequest::default()).await.1, 0);
    let inactive = in_states(&[State::Scheduled, State::Expired, State::Deactivated]);
    assert_eq!(client.found(inactive).await.0, [ban.ban_id]);
}

async fn m21_the_list_shows_active_bans_unless_told_otherwise(client: Client) {
    let [_, active, _, _] = one_in_each_state(&client).await;
    assert_eq!(
        client.found(ListBansRequest::default()).await,
        (vec![active.clone()], 1)
    );
    assert_eq!(client.found(in_states(&[State::Active])).await.0, [active]);
}

async fn m22_active_and_inactive_can_be_asked_for_together(client: Client) {
    let [scheduled, active, expired, deactivated] = one_in_each_state(&client).await;
    let inactive = in_states(&[State::Scheduled, State::Expired, State::Deactivated]);
    let newest_first = [deactivated.clone(), expired.clone(), scheduled.clone()];
    assert_eq!(client.found(inactive).await.0, newest_first);
    let newest_first = [deactivated, expired, active, scheduled];
    assert_eq!(client.found(in_states(&EVERY_STATE)).await.0, newest_first);
    let twice = in_states(&[State::Active, State::Active]);
    assert_eq!(client.found(twice).await.1, 1, "no duplicates");
}

async fn m23_a_page_token_is_good_for_its_own_question_only(client: Client) {
    client.make_tenant("globex").await;
    client.ban(add(phone(NUMBER))).await;
    client.ban(add(phone(OTHER_NUMBER))).await;
    let question = ListBansRequest {
        tenant: TENANT.to_owned(),
        page_size: 1,
        ..Default::default()
    };
    let page = client
        .admin()
        .list_bans(question.clone())
        .await
        .unwrap()
        .into_inner();
    let next = ListBansRequest {
        page_token: page.next_page_token,
        ..question
    };
    client.admin().list_bans(next.clone()).await.unwrap();
    for other in [
        ListBansRequest {
            states: vec![State::Expired as i32],
            ..next.clone()
        },
        ListBansRequest {
            channels: vec![Channel::Call as i32],
            ..next.clone()
        },
        ListBansRequest {
            text: "operator".to_owned(),
            ..next.clone()
        },
        ListBansRequest {
            order_by: "expire_time".to_owned(),
            ..next.clone()
        },
        ListBansRequest {
            identity: Some(phone(NUMBER)),
            ..next.clone()
        },
        ListBansRequest {
            tenant: "globex".to_owned(),
            ..next
        },
    ] {
        let refused = Refused::read(client.admin().list_bans(other).await);
        refused.is(Code::InvalidArgument, "PAGE_TOKEN_MISMATCH");
        refused.blames("page_token");
    }
}

async fn m24_a_ban_is_in_exactly_one_state(client: Client) {
    let ids = one_in_each_state(&client).await;
    for (state, id) in EVERY_STATE.into_iter().zip(ids) {
        let request = ListBansRequest {
            tenant: TENANT.to_owned(),
            ..in_states(&[state])
        };
        let found = client
            .admin()
            .list_bans(request)
            .await
            .unwrap()
            .into_inner()
            .bans;
        assert_eq!(found.len(), 1, "{state:?}");
        assert_eq!((found[0].state(), &found[0].ban_id), (state, &id));
    }
}

async fn m2_every_ban_there_ever_was_can_be_listed(client: Client) {
    for _ in 0..3 {
        let ban = client.ban(add(phone(NUMBER))).await;
        client.lift(&ban).await;
    }
    assert_eq!(client.found(in_states(&EVERY_STATE)).await.1, 3);
}

async fn the_list_comes_in_pages_without_gaps_or_repetitions(client: Client) {
    for last in 0..7 {
        client.ban(add(phone(&format!("+42060133344{last}")))).await;
    }
    for order_by in ["", "create_time desc", "expire_time"] {
        let whole = ListBansRequest {
            order_by: order_by.to_owned(),
            ..Default::default()
        };
        let (all, _) = client.found(whole.clone()).await;
        let (mut seen, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListBansRequest {
                tenant: TENANT.to_owned(),
                page_size: 3,
                page_token,
                ..whole.clone()
            };
            let page = client
                .admin()
                .list_bans(request)
                .await
                .unwrap()
                .into_inner();
            assert_eq!(page.total_size, 7);
            seen.extend(page.bans.into_iter().map(|ban| ban.ban_id));
            if page.next_page_token.is_empty() {
                break;
            }
            page_token = page.next_page_token;
        }
        assert_eq!((seen.len(), seen), (7, all), "{order_by}");
    }
}

async fn a_page_is_not_disturbed_by_bans_made_meanwhile(client: Client) {
    let old = client.ban(add(phone(NUMBER))).await;
    let middle = client.ban(add(phone(OTHER_NUMBER))).await;
    let question = ListBansRequest {
        tenant: TENANT.to_owned(),
        page_size: 1,
        ..Default::default()
    };
    let first = client
        .admin()
        .list_bans(question.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first.bans[0].ban_id, middle.ban_id);
    client.ban(add(mail("alice@example.com"))).await;
    let next = ListBansRequest {
        page_token: first.next_page_token,
        ..question
    };
    let second = client.admin().list_bans(next).await.unwrap().into_inner();
    assert_eq!(second.bans[0].ban_id, old.ban_id);
}

async fn bans_are_listed_by_end_with_permanent_ones_last(client: Client) {
    let now = client.clock().await;
    let permanent = client.ban(add(phone("+420601000001"))).await;
    let late = client
        .ban(until(after(now, 7200), add(phone("+420601000002"))))
        .await;
    let soon = client
        .ban(until(after(now, 3600), add(phone("+420601000003"))))
        .await;
    let by_end = ListBansRequest {
        order_by: "expire_time".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        client.found(by_end).await.0,
        [&soon, &late, &permanent].map(|b| b.ban_id.clone())
    );
    let ending = ListBansRequest {
        expire_before: Some(after(now, 5000)),
        ..Default::default()
    };
    assert_eq!(client.found(ending).await.0, [soon.ban_id]);
}

async fn the_list_is_narrowed_by_channel_list_and_origin(client: Client) {
    client.make_list(list("trolls")).await;
    let listed = client.ban(add_to("trolls", phone(NUMBER))).await;
    let by_mail = client.ban(add(mail("alice@example.com"))).await;
    let by_call = client.ban(add_on(Channel::Call, phone(OTHER_NUMBER))).await;

    let channels = vec![Channel::Call as i32, Channel::Sms as i32];
    let on = ListBansRequest {
        channels,
        ..Default::default()
    };
    assert_eq!(
        client.found(on).await.0,
        [&by_call, &listed].map(|ban| ban.ban_id.clone())
    );
    let list_ids = vec!["trolls".to_owned()];
    let in_list = ListBansRequest {
        list_ids,
        ..Default::default()
    };
    assert_eq!(client.found(in_list).await.0, [listed.ban_id]);
    let origins = vec![Origin::AdminEntry as i32];
    assert_eq!(
        client
            .found(ListBansRequest {
                origins,
                ..Default::default()
            })
            .await
            .1,
        3
    );
    let origins = vec![Origin::Import as i32];
    assert_eq!(
        client
            .found(ListBansRequest {
                origins,
                ..Default::default()
            })
            .await
            .1,
        0
    );
    assert!(
        by_mail.ban_id < by_call.ban_id,
        "ids sort by the time they were made"
    );
}

async fn the_list_is_narrowed_by_identity(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    client.ban(add(phone(OTHER_NUMBER))).await;
    for spelling in ["601 123 456", "+420 601 123 456", "00420601123456"] {
        let identity = Some(phone(spelling));
        let found = client
            .found(ListBansRequest {
                identity,
                ..Default::default()
            })
            .await
            .0;
        assert_eq!(found, [&*ban.ban_id], "{spelling}");
    }
    let token = client.ban(add(visitor(TOKEN))).await;
    let identity = Some(visitor(TOKEN));
    let found = client
        .found(ListBansRequest {
            identity,
            ..Default::default()
        })
        .await
        .0;
    assert_eq!(found, [token.ban_id]);
    let identity = Some(address("198.51.100.7"));
    assert_eq!(
        client
            .found(ListBansRequest {
                identity,
                ..Default::default()
            })
            .await
            .1,
        0
    );
}

async fn the_list_is_narrowed_by_last_digits_and_by_text(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    let reason = "Spam & nothing else".to_owned();
    let spam = client
        .ban(CreateBanRequest {
            reason,
            ..add(phone(OTHER_NUMBER))
        })
        .await;
    let ends = ListBansRequest {
        target_ends_with: "3456".to_owned(),
        ..Default::default()
    };
    assert_eq!(client.found(ends).await.0, [ban.ban_id]);
    let says = ListBansRequest {
        text: "Spam &".to_owned(),
        ..Default::default()
    };
    assert_eq!(client.found(says).await.0, [spam.ban_id]);
}

async fn the_list_is_narrowed_by_author_and_time(client: Client) {
    let request = CreateBanRequest {
        actor: "adam".to_owned(),
        ..add(phone(NUMBER))
    };
    let by_adam = client.ban(request).await;
    let later = client.ban(add(phone(OTHER_NUMBER))).await;
    let filter = ListBansRequest {
        created_by: "adam".to_owned(),
        ..Default::default()
    };
    assert_eq!(client.found(filter).await.0, [&*by_adam.ban_id]);
    let before = ListBansRequest {
        create_time_to: later.create_time,
        ..Default::default()
    };
    assert_eq!(client.found(before).await.0, [by_adam.ban_id]);
    let since = ListBansRequest {
        create_time_from: later.create_time,
        ..Default::default()
    };
    assert_eq!(client.found(since).await.0, [later.ban_id]);
}

async fn a_percent_sign_in_a_filter_means_itself(client: Client) {
    client.ban(add(phone(NUMBER))).await;
    let reason = "100% rude_ness! isn't it".to_owned();
    let ban = client
        .ban(CreateBanRequest {
            reason,
            ..add(phone(OTHER_NUMBER))
        })
        .await;
    for text in ["%", "_", "!", "'", "0% r"] {
        let filter = ListBansRequest {
            text: text.to_owned(),
            ..Default::default()
        };
        assert_eq!(client.found(filter).await.0, [&*ban.ban_id], "{text}");
    }
    let filter = ListBansRequest {
        target_ends_with: "%".to_owned(),
        ..Default::default()
    };
    assert_eq!(client.found(filter).await.1, 0);
}

async fn settings_of(client: &Client, tenant: &str) -> TenantSettings {
    let request = GetTenantSettingsRequest {
        tenant: tenant.to_owned(),
    };
    let found = client
        .config()
        .get_tenant_settings(request)
        .await
        .expect("settings");
    found.into_inner().tenant_settings.expect("settings")
}

async fn m27_two_tenants_keep_settings_of_their_own(client: Client) {
    client.make_tenant("globex").await;
    let off = TenantSettings {
        tenant: "globex".to_owned(),
        operator_banning_enabled: Some(false),
        ..Default::default()
    };
    let request = UpdateTenantSettingsRequest {
        tenant_settings: Some(off),
        update_mask: Some(FieldMask {
            paths: vec!["operator_banning_enabled".to_owned()],
        }),
        ..Default::default()
    };
    client
        .config()
        .update_tenant_settings(request)
        .await
        .unwrap();
    assert_eq!(
        settings_of(&client, "globex")
            .await
            .operator_banning_enabled,
        Some(false)
    );
    assert_eq!(
        settings_of(&client, "globex").await.default_region,
        "CZ",
        "not in the mask"
    );
    assert_eq!(
        settings_of(&client, TENANT).await.operator_banning_enabled,
        Some(true)
    );

    let request = ListTenantsRequest::default();
    let all = client
        .config()
        .list_tenants(request)
        .await
        .unwrap()
        .into_inner()
        .tenants;
    let names: Vec<_> = all
        .iter()
        .map(|settings| settings.tenant.as_str())
        .collect();
    assert!(names.is_sorted() && names.contains(&"globex") && names.contains(&TENANT));
}

async fn settings_have_their_defaults_filled_in(client: Client) {
    let settings = settings_of(&client, TENANT).await;
    assert_eq!(settings.operator_banning_enabled, Some(true));
    assert_eq!(settings.time_zone.as_deref(), Some("UTC"));
    assert_eq!(settings.failure_mode, Some(1), "OPEN");
    assert_eq!(settings.ended_ban_retention_days, Some(0));
    assert_eq!(
        (settings.email_fold, settings.ipv6_prefix),
        (Some(true), Some(64))
    );
    assert_eq!(settings.default_record_to.len(), 8, "one a channel");
}
