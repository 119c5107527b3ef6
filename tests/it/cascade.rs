//! From a web chat to the contact's telephone numbers, and never back (D15–D18).

use bancheck::api::v1::{
    Ban, BanInteractionRequest, BanList, Channel, CreateBanRequest, DeactivateBanRequest,
    GetBanRequest, ListBansRequest, UpdateBanListRequest,
    ban::{Origin, State},
    queue_policy::RecordTo,
};
use tonic::Code;

use crate::{
    button::{
        ADDRESS, by_address, call_at, chat_at, codes, into_list, on, policy, press_at, with_phones,
    },
    requests::{NUMBER, OTHER_NUMBER, TOKEN, add_to, connect, denies, enter, list, phone, visitor},
    server::{Client, TENANT},
};

on_both_stores!(
    d15_with_a_known_contact_all_its_numbers_are_banned_too,
    d15_carried_over_bans_end_with_the_web_chats,
    d15_all_of_it_is_done_or_nothing,
    d15_of_a_number_written_twice_comes_one_ban,
    d15_an_ip_ban_is_carried_over_as_well,
    d15_a_number_banned_just_so_already_is_answered_with_its_ban,
    d15_d33_numbers_that_no_queue_of_calls_checks_are_warned_of,
    d16_a_ban_from_a_call_bans_no_web_chat,
    d17_of_an_unknown_contact_only_the_web_chat_is_banned,
    d18_with_the_box_off_nothing_is_carried_over,
    d18_a_ban_in_no_list_carries_nothing_over,
    d2_a_box_ticked_later_carries_over_later_bans_only,
    carried_over_bans_are_lifted_together_where_that_is_asked,
);

/// A queue of web chats and one of calls: the first records to the list, the second checks it.
async fn set_up(client: &Client, list: BanList) {
    client.make_list(list).await;
    client.relate("rude", &["chat", "calls"]).await;
    client
        .set_queue(into_list("chat", Channel::WebChat, "rude"))
        .await;
    client
        .set_queue(policy("calls", Channel::Call, RecordTo::Global))
        .await;
    client.allow(&["chat", "calls"]).await;
}

/// The button in a web chat of somebody with these numbers.
fn chat_of(phones: &[&str]) -> BanInteractionRequest {
    BanInteractionRequest {
        contact_phones: phones.iter().map(ToString::to_string).collect(),
        ..chat_at("chat")
    }
}

async fn all_there_are(client: &Client) -> i32 {
    let states = (1..=4).collect();
    let all = ListBansRequest {
        states,
        ..Default::default()
    };
    client.found(all).await.1
}

async fn state_of(client: &Client, ban: &Ban) -> State {
    let request = GetBanRequest {
        tenant: TENANT.to_owned(),
        ban_id: ban.ban_id.clone(),
    };
    let found = client.admin().get_ban(request).await.unwrap().into_inner();
    found.ban.unwrap().state()
}

async fn d15_with_a_known_contact_all_its_numbers_are_banned_too(client: Client) {
    set_up(&client, with_phones(list("rude"))).await;
    let answer = client.press(chat_of(&["601 123 456", OTHER_NUMBER])).await;
    let [chat, phones @ ..] = answer.bans.as_slice() else {
        panic!("{answer:?}");
    };
    assert_eq!(
        (on(chat), chat.origin()),
        (vec![TOKEN], Origin::LiveInteraction)
    );
    assert_eq!(codes(&answer), Vec::<&str>::new());
    assert_eq!(phones.len(), 2);
    for (ban, number) in phones.iter().zip([NUMBER, OTHER_NUMBER]) {
        assert_eq!(on(ban), [number]);
        assert_eq!(ban.origin(), Origin::ContactCascade);
        assert_eq!(ban.parent_ban_id, chat.ban_id);
        assert_eq!(ban.list_id, "rude");
        assert_eq!(ban.channels, [Channel::Call as i32, Channel::Sms as i32]);
        assert_eq!(ban.source_interaction_id, chat.source_interaction_id);
        assert_eq!(
            (&ban.created_by, &ban.reason),
            (&chat.created_by, &chat.reason)
        );
        for channel in [Channel::Call, Channel::Sms] {
            let entry = enter("calls", channel, phone(number));
            assert!(denies(&client.ask(entry).await), "{number} {channel:?}");
        }
    }
}

async fn d15_carried_over_bans_end_with_the_web_chats(client: Client) {
    let timed = BanList {
        default_timeout_text: "+6 days".to_owned(),
        ..with_phones(list("rude"))
    };
    set_up(&client, timed).await;
    let answer = client.press(chat_of(&[NUMBER])).await;
    assert!(answer.bans[0].expire_time.is_some());
    assert_eq!(answer.bans[1].expire_time, answer.bans[0].expire_time);
}

async fn d15_all_of_it_is_done_or_nothing(client: Client) {
    set_up(&client, with_phones(list("rude"))).await;
    for unreadable in ["ask at the desk", "", "anonymous"] {
        let request = chat_of(&[NUMBER, unreadable, OTHER_NUMBER]);
        let refused = client
            .press_refused(request, Code::InvalidArgument, "INVALID_IDENTIFIER")
            .await;
        refused.blames("contact_phones[1]");
    }
    let many = vec![NUMBER; 33];
    let refused = client
        .press_refused(chat_of(&many), Code::InvalidArgument, "TOO_MANY_ITEMS")
        .await;
    refused.blames("contact_phones");
    // The web chat is banned already: the numbers are not banned in passing.
    assert_eq!(all_there_are(&client).await, 0);
    client.press(chat_of(&[])).await;
    client
        .press_refused(
            chat_of(&[NUMBER]),
            Code::AlreadyExists,
            "DUPLICATE_ACTIVE_BAN",
        )
        .await;
    assert_eq!(all_there_are(&client).await, 1);
}

async fn d15_of_a_number_written_twice_comes_one_ban(client: Client) {
    set_up(&client, with_phones(list("rude"))).await;
    let answer = client
        .press(chat_of(&[NUMBER, "00420 601 123 456", "601123456"]))
        .await;
    assert_eq!((answer.bans.len(), codes(&answer)), (2, Vec::new()));
}

async fn d15_an_ip_ban_is_carried_over_as_well(client: Client) {
    set_up(&client, with_phones(by_address("rude"))).await;
    let answer = client.press(chat_of(&[NUMBER])).await;
    let on: Vec<_> = answer.bans.iter().map(on).collect();
    assert_eq!(on, [[ADDRESS], [NUMBER]]);
}

async fn d15_a_number_banned_just_so_already_is_answered_with_its_ban(client: Client) {
    set_up(&client, with_phones(list("rude"))).await;
    let standing = client
        .ban(CreateBanRequest {
            channels: vec![Channel::Sms as i32, Channel::Call as i32],
            ..add_to("rude", phone(NUMBER))
        })
        .await;
    let answer = client.press(chat_of(&[NUMBER, OTHER_NUMBER])).await;
    let ids: Vec<_> = answer.bans.iter().map(|ban| &ban.ban_id).collect();
    assert_eq!((ids.len(), ids[1]), (3, &standing.ban_id));
    assert_eq!(codes(&answer), ["ALREADY_BANNED"]);
    assert_eq!(all_there_are(&client).await, 3);
    // What merely overlaps is made.
    client.lift(&answer.bans[0]).await;
    let global = client.press_once(call_at("calls")).await;
    assert_eq!(global.list_id, "");
}

async fn d15_d33_numbers_that_no_queue_of_calls_checks_are_warned_of(client: Client) {
    set_up(&client, with_phones(list("rude"))).await;
    client.relate("rude", &["chat"]).await;
    let answer = client.press(chat_of(&[NUMBER])).await;
    assert_eq!(codes(&answer), ["LIST_NOT_ENFORCED_ANYWHERE"]);
    let entry = enter("calls", Channel::Call, phone(NUMBER));
    assert!(!denies(&client.ask(entry.clone()).await));
    client.relate("rude", &["calls"]).await;
    assert!(denies(&client.ask(entry).await));
}

async fn d16_a_ban_from_a_call_bans_no_web_chat(client: Client) {
    set_up(&client, with_phones(list("rude"))).await;
    client
        .set_queue(into_list("calls", Channel::Call, "rude"))
        .await;
    let request = BanInteractionRequest {
        contact_phones: vec![OTHER_NUMBER.to_owned(), "not even a number".to_owned()],
        ..call_at("calls")
    };
    let ban = client.press_once(request).await;
    assert_eq!(on(&ban), [NUMBER]);
    assert_eq!(all_there_are(&client).await, 1);
    let door = connect(Channel::WebChat, visitor(TOKEN));
    assert!(!denies(&client.ask(door).await));
}

async fn d17_of_an_unknown_contact_only_the_web_chat_is_banned(client: Client) {
    set_up(&client, with_phones(list("rude"))).await;
    let answer = client.press(chat_of(&[])).await;
    assert_eq!((answer.bans.len(), codes(&answer)), (1, Vec::new()));
}

async fn d18_with_the_box_off_nothing_is_carried_over(client: Client) {
    set_up(&client, list("rude")).await;
    let answer = client.press(chat_of(&[NUMBER, OTHER_NUMBER])).await;
    assert_eq!((answer.bans.len(), codes(&answer)), (1, Vec::new()));
    assert_eq!(all_there_are(&client).await, 1);
}

async fn d18_a_ban_in_no_list_carries_nothing_over(client: Client) {
    set_up(&client, with_phones(list("rude"))).await;
    client
        .set_queue(policy("chat", Channel::WebChat, RecordTo::Global))
        .await;
    client.press_once(chat_of(&[NUMBER])).await;
    let elsewhere = press_at(
        "",
        Channel::WebChat,
        vec![visitor("another-visitors-token")],
    );
    let request = BanInteractionRequest {
        contact_phones: vec![NUMBER.to_owned()],
        ..elsewhere
    };
    client.press_once(request).await;
}

async fn d2_a_box_ticked_later_carries_over_later_bans_only(client: Client) {
    set_up(&client, list("rude")).await;
    let first = client.press_once(chat_of(&[NUMBER])).await;
    let request = UpdateBanListRequest {
        tenant: TENANT.to_owned(),
        ban_list: Some(with_phones(BanList {
            list_id: "rude".to_owned(),
            ..Default::default()
        })),
        ..Default::default()
    };
    client.config().update_ban_list(request).await.unwrap();
    assert_eq!(all_there_are(&client).await, 1);
    client.lift(&first).await;
    assert_eq!(client.press(chat_of(&[NUMBER])).await.bans.len(), 2);
}

async fn carried_over_bans_are_lifted_together_where_that_is_asked(client: Client) {
    set_up(&client, with_phones(list("rude"))).await;
    for (together, left) in [(false, State::Active), (true, State::Deactivated)] {
        let answer = client.press(chat_of(&[NUMBER, OTHER_NUMBER])).await;
        let request = DeactivateBanRequest {
            tenant: TENANT.to_owned(),
            ban_id: answer.bans[0].ban_id.clone(),
            reason: "he apologised".to_owned(),
            include_cascade: together,
            ..Default::default()
        };
        client.admin().deactivate_ban(request).await.unwrap();
        assert_eq!(state_of(&client, &answer.bans[0]).await, State::Deactivated);
        for ban in &answer.bans[1..] {
            assert_eq!(state_of(&client, ban).await, left);
            let entry = enter(
                "calls",
                Channel::Call,
                ban.targets[0].input.clone().unwrap(),
            );
            assert_eq!(denies(&client.ask(entry).await), !together);
            client.lift(ban).await;
        }
    }
}
