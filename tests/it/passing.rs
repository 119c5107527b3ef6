//! What time does to bans, as the history tells it.

use bancheck::api::v1::{
    Ban, BanEvent, Channel, CreateBanRequest, GetBanRequest, ListBanEventsRequest, ListBansRequest,
    ban::State,
};
use prost_types::Timestamp;

use crate::{
    requests::{NUMBER, add, after, change, micros, phone, until, when},
    server::{Client, TENANT},
};

on_both_stores!(
    d30_the_history_tells_of_an_expiry_within_a_second,
    v1_the_history_tells_of_a_scheduled_start_within_a_second,
    m2_a_ban_that_expired_is_still_there_as_it_was,
    a_scheduled_ban_that_is_begun_by_hand_has_started,
    a_ban_tells_its_whole_life_in_order,
);

/// How many bans a second is measured by.
const TRIES: usize = 5;

/// What is noted of a ban.
async fn history(client: &Client, ban: &Ban) -> Vec<BanEvent> {
    let request = ListBanEventsRequest {
        tenant: TENANT.to_owned(),
        ban_id: ban.ban_id.clone(),
        ..Default::default()
    };
    let page = client.admin().list_ban_events(request).await;
    page.expect("events").into_inner().events
}

/// Waits until something is noted of a ban, and tells that and how late it was seen.
async fn noted(client: &Client, ban: &Ban, action: &str) -> (BanEvent, i64) {
    loop {
        let events = history(client, ban).await;
        if let Some(event) = events.into_iter().find(|event| event.action == action) {
            let late = micros(client.clock().await) - when(event.event_time);
            return (event, late);
        }
        tokio::task::yield_now().await;
    }
}

async fn found(client: &Client, ban: &Ban) -> Ban {
    let request = GetBanRequest {
        tenant: TENANT.to_owned(),
        ban_id: ban.ban_id.clone(),
    };
    let found = client.admin().get_ban(request).await;
    found.expect("an answer").into_inner().ban.expect("the ban")
}

fn shortly(at: Timestamp) -> Timestamp {
    after(at, 1)
}

/// Has something noted of several bans, one after the other, and proves that it is said at its own
/// instant, by nobody, and that a second is enough.
async fn within_a_second(
    client: &Client,
    action: &str,
    request: impl Fn(Timestamp) -> CreateBanRequest,
) {
    let mut late = Vec::new();
    for _ in 0..TRIES {
        let at = shortly(client.clock().await);
        let ban = client.ban(request(at)).await;
        let (event, its) = noted(client, &ban, action).await;
        assert_eq!(event.event_time, Some(at));
        assert_eq!(event.actor, "system");
        assert!(event.checked_at.is_some(), "a row of the feed tells it");
        late.push(its);
        client.lift(&ban).await;
    }
    // One of them may have met with a busy machine.
    late.sort_unstable();
    assert!(late[TRIES / 2] < 1_000_000, "{late:?}");
}

async fn d30_the_history_tells_of_an_expiry_within_a_second(client: Client) {
    within_a_second(&client, "EXPIRED", |at| until(at, add(phone(NUMBER)))).await;
}

async fn v1_the_history_tells_of_a_scheduled_start_within_a_second(client: Client) {
    within_a_second(&client, "STARTED", |at| CreateBanRequest {
        start_time: Some(at),
        ..add(phone(NUMBER))
    })
    .await;
}

async fn m2_a_ban_that_expired_is_still_there_as_it_was(client: Client) {
    let end = shortly(client.clock().await);
    let ban = client.ban(until(end, add(phone(NUMBER)))).await;
    noted(&client, &ban, "EXPIRED").await;
    let expired = Ban {
        state: State::Expired as i32,
        ..ban.clone()
    };
    assert_eq!(found(&client, &ban).await, expired, "nobody edited it");
    let listed = client
        .found(ListBansRequest {
            states: vec![State::Expired as i32],
            ..Default::default()
        })
        .await;
    assert_eq!(listed, (vec![ban.ban_id], 1));
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
}

async fn a_scheduled_ban_that_is_begun_by_hand_has_started(client: Client) {
    let start = after(client.clock().await, 3600);
    let ban = client
        .ban(CreateBanRequest {
            start_time: Some(start),
            ..add(phone(NUMBER))
        })
        .await;
    let wanted = Ban {
        start_time: Some(client.clock().await),
        ..ban.clone()
    };
    let request = change(wanted, "start_time");
    let begun = client.admin().update_ban(request).await.expect("a change");
    let begun = begun.into_inner().ban.expect("the ban");
    assert_eq!(begun.state(), State::Active);
    let told: Vec<_> = history(&client, &ban).await;
    let told: Vec<_> = told
        .iter()
        .map(|event| (&*event.action, &*event.actor))
        .collect();
    let who = "anonymous";
    assert_eq!(told, [("CREATED", who), ("UPDATED", who), ("STARTED", who)]);
}

async fn a_ban_tells_its_whole_life_in_order(client: Client) {
    let now = client.clock().await;
    let request = CreateBanRequest {
        start_time: Some(shortly(now)),
        ..until(after(now, 2), add(phone(NUMBER)))
    };
    let ban = client.ban(request).await;
    noted(&client, &ban, "EXPIRED").await;
    let told = history(&client, &ban).await;
    let actions: Vec<_> = told.iter().map(|event| &*event.action).collect();
    assert_eq!(actions, ["CREATED", "STARTED", "EXPIRED"]);
    let tokens: Vec<_> = told.iter().map(|event| event.checked_at.clone()).collect();
    assert!(tokens.is_sorted_by_key(|token| token.clone().map(|token| token.token)));
}
