//! The repeat ladder: each ban of one customer in a list lasts longer than the one before.

use bancheck::api::v1::{
    Ban, BanList, CalendarPeriod, Channel, CreateBanRequest, Identity, TenantSettings,
    UpdateBanRequest, UpdateTenantSettingsRequest, create_ban_request::Expiry,
};

use crate::{
    button::{call_at, into_list, press_at},
    requests::{
        NUMBER, OTHER_NUMBER, add_to, address, after, change, list, mail, phone, visitor, when,
    },
    server::{Client, TENANT},
};

on_both_stores!(
    each_ban_of_one_customer_lasts_as_the_ladder_has_it,
    bans_of_administrators_are_on_the_ladder_too,
    each_customer_and_each_list_has_a_ladder_of_its_own,
    of_several_identities_the_one_banned_most_often_counts,
    a_customer_is_known_by_other_names_where_the_tenant_folds_them,
    an_end_that_somebody_names_is_kept,
    the_example_beside_a_list_is_of_its_first_step,
);

const DAY: i64 = 86_400;

/// A list whose bans last a day, then two, then a week, whatever its timeout.
pub(crate) fn ladder(list_id: &str) -> BanList {
    let days = |days| CalendarPeriod {
        days,
        ..Default::default()
    };
    BanList {
        default_timeout_text: "+10 days".to_owned(),
        repeat_ladder: vec![days(1), days(2), days(7)],
        ..list(list_id)
    }
}

/// How many days a ban was made for.
pub(crate) fn days(ban: &Ban) -> i64 {
    let micros = when(ban.expire_time) - when(ban.create_time);
    assert_eq!(micros % (DAY * 1_000_000), 0, "{ban:?}");
    micros / (DAY * 1_000_000)
}

async fn set_up(client: &Client) {
    client.make_list(ladder("rude")).await;
    client
        .set_queue(into_list("calls", Channel::Call, "rude"))
        .await;
    client.allow(&["calls"]).await;
}

async fn each_ban_of_one_customer_lasts_as_the_ladder_has_it(client: Client) {
    set_up(&client).await;
    for (turn, expected) in [1, 2, 7, 7, 7].into_iter().enumerate() {
        let ban = client.press_once(call_at("calls")).await;
        assert_eq!(days(&ban), expected);
        // However it ended: lifted, or its time over.
        if turn % 2 == 0 {
            client.lift(&ban).await;
        } else {
            let past = Ban {
                expire_time: ban.create_time.map(|made| after(made, -60)),
                ..ban
            };
            let request: UpdateBanRequest = change(past, "expire_time");
            client.admin().update_ban(request).await.unwrap();
        }
    }
    // A try that is undone is no ban.
    let dry = bancheck::api::v1::BanInteractionRequest {
        validate_only: true,
        ..press_at("calls", Channel::Call, vec![phone(OTHER_NUMBER)])
    };
    assert_eq!(days(&client.press_once(dry.clone()).await), 1);
    assert_eq!(days(&client.press_once(dry).await), 1);
}

async fn bans_of_administrators_are_on_the_ladder_too(client: Client) {
    set_up(&client).await;
    let first = client.ban(add_to("rude", phone(NUMBER))).await;
    assert_eq!(days(&first), 1);
    client.lift(&first).await;
    let second = client.press_once(call_at("calls")).await;
    assert_eq!(days(&second), 2);
    client.lift(&second).await;
    assert_eq!(days(&client.ban(add_to("rude", phone(NUMBER))).await), 7);
}

async fn each_customer_and_each_list_has_a_ladder_of_its_own(client: Client) {
    set_up(&client).await;
    client.make_list(ladder("loud")).await;
    client.press(call_at("calls")).await;
    let other = client.ban(add_to("rude", phone(OTHER_NUMBER))).await;
    let elsewhere = client.ban(add_to("loud", phone(NUMBER))).await;
    assert_eq!([days(&other), days(&elsewhere)], [1, 1]);
    let list_of_another_kind = client.ban(add_to("rude", address("203.0.113.7"))).await;
    assert_eq!(days(&list_of_another_kind), 1);
}

async fn of_several_identities_the_one_banned_most_often_counts(client: Client) {
    set_up(&client).await;
    for _ in 0..2 {
        let ban = client.ban(add_to("rude", phone(OTHER_NUMBER))).await;
        client.lift(&ban).await;
    }
    let both = vec![phone(NUMBER), phone(OTHER_NUMBER)];
    let ban = client
        .press_once(press_at("calls", Channel::Call, both))
        .await;
    assert_eq!(days(&ban), 7);
    // The other one of the two was banned once by that.
    assert_eq!(days(&client.ban(add_to("rude", phone(NUMBER))).await), 2);
}

async fn a_customer_is_known_by_other_names_where_the_tenant_folds_them(client: Client) {
    set_up(&client).await;
    let banned = async |customer: Identity| days(&client.ban(add_to("rude", customer)).await);
    assert_eq!(banned(mail("mallory+one@gmail.com")).await, 1);
    assert_eq!(banned(mail("m.allory@gmail.com")).await, 2);
    assert_eq!(banned(address("2001:db8:0:1::1")).await, 1);
    assert_eq!(banned(address("2001:db8:0:1::2")).await, 2);
    let request = UpdateTenantSettingsRequest {
        tenant_settings: Some(TenantSettings {
            tenant: TENANT.to_owned(),
            email_fold: Some(false),
            ..Default::default()
        }),
        ..Default::default()
    };
    client
        .config()
        .update_tenant_settings(request)
        .await
        .unwrap();
    assert_eq!(banned(mail("mallory+two@gmail.com")).await, 1);
    assert_eq!(banned(mail("mallory@gmail.com")).await, 1);
}

async fn an_end_that_somebody_names_is_kept(client: Client) {
    set_up(&client).await;
    let months = CalendarPeriod {
        weeks: 4,
        ..Default::default()
    };
    let named = CreateBanRequest {
        expiry: Some(Expiry::Timeout(months)),
        ..add_to("rude", phone(NUMBER))
    };
    assert_eq!(days(&client.ban(named).await), 28);
    let permanent = CreateBanRequest {
        expiry: Some(Expiry::Permanent(true)),
        ..add_to("rude", visitor("the-token-of-a-browser"))
    };
    assert_eq!(client.ban(permanent).await.expire_time, None);
}

async fn the_example_beside_a_list_is_of_its_first_step(client: Client) {
    let made = client.make_list(ladder("rude")).await;
    let now = client.clock().await;
    let example = made.example_expire_time.expect("an example");
    let ahead = example.seconds - now.seconds;
    assert!((DAY - 60..=DAY).contains(&ahead), "{ahead}");
}
