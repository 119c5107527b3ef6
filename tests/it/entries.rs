//! Entries of the blacklist as its administrators know them: what is filled in, what is unique.

use bancheck::api::v1::{
    Ban, BanList, Channel, CreateBanRequest, GetBanRequest, Identity, ListBansRequest, MatchKind,
    UpdateBanRequest,
    ban::{Origin, State},
};
use tonic::Code;

use crate::{
    button::{by_address, call_at, chat_at, into_list},
    refused::Refused,
    requests::{
        NUMBER, OTHER_NUMBER, add, add_to, address, after, change, list, micros, phone, when,
    },
    server::{Client, TENANT},
};

on_both_stores!(
    d4_an_administrator_makes_a_list,
    d9_one_timeout_serves_numbers_and_addresses_alike,
    m30_a_customer_can_be_banned_by_the_button_again_once_the_ban_is_over,
    p1_only_the_number_is_needed_beside_the_reason,
    p3_p5_a_number_is_unique_in_whatever_spelling,
    p4_an_expired_entry_stays,
    p6_an_entry_is_found_by_its_last_digits,
    p7_who_and_when_are_filled_in,
    p9_an_entry_is_the_template_of_another,
);

async fn found(client: &Client, ban: &Ban) -> Ban {
    let request = GetBanRequest {
        tenant: TENANT.to_owned(),
        ban_id: ban.ban_id.clone(),
    };
    let found = client.admin().get_ban(request).await.expect("the ban");
    found.into_inner().ban.expect("the ban")
}

async fn d4_an_administrator_makes_a_list(client: Client) {
    let made = client
        .make_list(BanList {
            description: "who shouts".to_owned(),
            default_timeout_text: "+6 days".to_owned(),
            ..list("rude")
        })
        .await;
    assert_eq!(made.title, "The list rude");
    client
        .set_queue(into_list("calls", Channel::Call, "rude"))
        .await;
    client.allow(&["calls"]).await;
    assert_eq!(client.press_once(call_at("calls")).await.list_id, "rude");
}

async fn d9_one_timeout_serves_numbers_and_addresses_alike(client: Client) {
    client
        .make_list(BanList {
            default_timeout_text: "+6 days".to_owned(),
            ..by_address("rude")
        })
        .await;
    client
        .set_queue(into_list("calls", Channel::Call, "rude"))
        .await;
    client
        .set_queue(into_list("chat", Channel::WebChat, "rude"))
        .await;
    client.allow(&["calls", "chat"]).await;
    for request in [call_at("calls"), chat_at("chat")] {
        let ban = client.press_once(request).await;
        let lasts = when(ban.expire_time) - when(ban.create_time);
        assert_eq!(lasts, 6 * 86_400 * 1_000_000);
    }
}

async fn m30_a_customer_can_be_banned_by_the_button_again_once_the_ban_is_over(client: Client) {
    client.allow(&["calls"]).await;
    let first = client.press_once(call_at("calls")).await;
    client.lift(&first).await;
    let second = client.press_once(call_at("calls")).await;
    // Its time is over a moment later, and no sweep has marked it so when it is made again.
    let now = micros(client.clock().await);
    let end = now + 300_000;
    let short = Ban {
        expire_time: Some(prost_types::Timestamp {
            seconds: end / 1_000_000,
            nanos: i32::try_from(end % 1_000_000 * 1_000).unwrap(),
        }),
        ..second.clone()
    };
    let request: UpdateBanRequest = change(short, "expire_time");
    client.admin().update_ban(request).await.unwrap();
    let third = loop {
        match client.admin().ban_interaction(call_at("calls")).await {
            Ok(answer) => break answer.into_inner().bans.remove(0),
            Err(status) => {
                let refused = Refused::read::<()>(Err(status));
                refused.is(Code::AlreadyExists, "DUPLICATE_ACTIVE_BAN");
                assert_eq!(refused.facts.get("ban_id"), Some(&second.ban_id));
            }
        }
    };
    assert!(when(third.create_time) >= end, "not a moment before");
    assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
    let states = [State::Active, State::Expired, State::Deactivated];
    let all = ListBansRequest {
        states: states.map(|state| state as i32).to_vec(),
        ..Default::default()
    };
    let ids = [third, second, first].map(|ban| ban.ban_id);
    assert_eq!(client.found(all).await, (ids.to_vec(), 3));
}

async fn p1_only_the_number_is_needed_beside_the_reason(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    assert_eq!(
        (ban.state(), ban.origin()),
        (State::Active, Origin::AdminEntry)
    );
    assert_eq!((ban.list_id.as_str(), ban.expire_time), ("", None));
    let nobody = CreateBanRequest {
        targets: Vec::new(),
        ..add(phone(NUMBER))
    };
    crate::refusals::ban_refused(&client, nobody, ["FIELD_REQUIRED", "targets"]).await;
}

async fn p3_p5_a_number_is_unique_in_whatever_spelling(client: Client) {
    let ban = client.ban(add(phone("601 123 456"))).await;
    let target = &ban.targets[0];
    assert_eq!(target.canonical, NUMBER);
    assert_eq!(target.input.as_ref().unwrap().value, "601 123 456");
    for spelling in [NUMBER, "00420601123456", "601123456", "+420 601-123-456"] {
        let refused = Refused::read(client.admin().create_ban(add(phone(spelling))).await);
        refused.is(Code::AlreadyExists, "DUPLICATE_ACTIVE_BAN");
        assert_eq!(refused.facts.get("ban_id"), Some(&ban.ban_id));
    }
    assert_eq!(client.found(ListBansRequest::default()).await.1, 1);
}

async fn p4_an_expired_entry_stays(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    let past = Ban {
        expire_time: ban.create_time.map(|made| after(made, -60)),
        ..ban.clone()
    };
    let request: UpdateBanRequest = change(past, "expire_time");
    client.admin().update_ban(request).await.unwrap();
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
    let kept = found(&client, &ban).await;
    assert_eq!(
        (kept.state(), &kept.targets),
        (State::Expired, &ban.targets)
    );
}

async fn p6_an_entry_is_found_by_its_last_digits(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    client.ban(add(phone(OTHER_NUMBER))).await;
    let filter = ListBansRequest {
        target_ends_with: "3456".to_owned(),
        ..Default::default()
    };
    assert_eq!(client.found(filter).await, (vec![ban.ban_id], 1));
}

async fn p7_who_and_when_are_filled_in(client: Client) {
    client.allow(&["calls"]).await;
    let before = micros(client.clock().await);
    let by_hand = client
        .ban(CreateBanRequest {
            actor: "jan".to_owned(),
            ..add(phone(OTHER_NUMBER))
        })
        .await;
    let pressed = client.press_once(call_at("calls")).await;
    let now = micros(client.clock().await);
    for (ban, who) in [(by_hand, "jan"), (pressed, "eva")] {
        assert_eq!(ban.created_by, who);
        assert!((before..=now).contains(&when(ban.create_time)));
    }
}

async fn p9_an_entry_is_the_template_of_another(client: Client) {
    client.make_list(list("rude")).await;
    let ban = client
        .ban(CreateBanRequest {
            reason_code: "R7".to_owned(),
            match_kind: MatchKind::Cidr as i32,
            ..add_to("rude", address("203.0.113.0/24"))
        })
        .await;
    // What a client does: it reads the entry, puts another target in, and adds that.
    let Ban {
        list_id,
        channels,
        targets,
        match_kind,
        reason,
        reason_code,
        enforcement,
        ..
    } = found(&client, &ban).await;
    let clone = CreateBanRequest {
        tenant: TENANT.to_owned(),
        list_id,
        channels,
        targets: targets
            .into_iter()
            .filter_map(|target| target.input)
            .map(|input| Identity {
                value: "198.51.100.0/24".to_owned(),
                ..input
            })
            .collect(),
        match_kind,
        reason,
        reason_code,
        enforcement,
        ..Default::default()
    };
    let made = client.ban(clone.clone()).await;
    assert_ne!(made.ban_id, ban.ban_id);
    assert_eq!(made.targets[0].canonical, "198.51.100.0/24");
    let same = |ban: &Ban| {
        let Ban {
            list_id,
            channels,
            match_kind,
            reason,
            reason_code,
            enforcement,
            ..
        } = ban.clone();
        (
            list_id,
            channels,
            match_kind,
            reason,
            reason_code,
            enforcement,
        )
    };
    assert_eq!(same(&made), same(&ban));
    // With its own target it is the same entry.
    Refused::read(client.admin().create_ban(clone).await)
        .is(Code::AlreadyExists, "DUPLICATE_ACTIVE_BAN");
}
