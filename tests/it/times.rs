//! When bans begin and end, and how long an answer may be used again.

use bancheck::api::v1::{
    Ban, CalendarPeriod, Channel, CheckInteractionResponse, CreateBanRequest, DecisionBasis,
    GetBanRequest, ListBanEventsRequest, ListBansRequest, UpdateBanRequest, ban::State,
    create_ban_request::Expiry,
};
use prost_types::Timestamp;

use crate::{
    requests::{
        NUMBER, OTHER_NUMBER, add, add_on, after, change, connect, decided_by, denies, micros,
        phone, until, when,
    },
    server::{Client, TENANT},
};

on_both_stores!(
    d30_a_ban_denies_until_it_expires_and_not_a_moment_longer,
    d30_a_ban_can_be_made_again_the_moment_the_old_one_expires,
    m24_an_expired_ban_is_listed_as_such_with_no_write_in_between,
    m25_a_ban_without_an_expiry_lasts,
    d31_an_end_is_put_off,
    d31_an_end_is_brought_forward,
    d31_a_ban_is_ended_at_once,
    d31_a_ban_is_made_permanent,
    v1_a_scheduled_ban_denies_nothing_before_its_time_and_everything_after,
    a_scheduled_ban_is_a_duplicate_too,
    a_timeout_counts_from_the_start_of_a_scheduled_ban,
    an_answer_may_be_used_again_until_the_next_expiry,
    an_answer_may_be_used_again_until_the_next_start,
    an_answer_may_be_used_again_no_longer_than_the_lease,
);

/// The longest a fresh answer may be used again.
const LEASE: i64 = 2_000_000;

/// Some milliseconds after an instant, or before it.
fn shortly_after(at: Timestamp, millis: i64) -> Timestamp {
    let micros = micros(at) + millis * 1_000;
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1_000).expect("less than a second");
    Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos,
    }
}

/// Asks without a pause until the answer turns, and proves by the server's own clock that it turned
/// at that instant: no other answer began after it or came before it.
async fn turns_at(client: &Client, instant: i64, denied_before: bool) -> CheckInteractionResponse {
    let question = connect(Channel::Call, phone(NUMBER));
    let mut asked_before = false;
    loop {
        let before = micros(client.clock().await);
        let answer = client.ask(question.clone()).await;
        let now = micros(client.clock().await);
        if denies(&answer) == denied_before {
            assert!(
                before < instant,
                "the old answer was given {}us late",
                before - instant
            );
            asked_before = true;
        } else {
            assert!(
                now >= instant,
                "the new answer was given {}us early",
                instant - now
            );
            assert!(asked_before, "the old answer was never given");
            return answer;
        }
    }
}

async fn edited(client: &Client, request: UpdateBanRequest) -> Ban {
    let changed = client
        .admin()
        .update_ban(request)
        .await
        .expect("a change")
        .into_inner();
    changed.ban.expect("the ban changed")
}

/// What the history says of a ban, who and what.
async fn history(client: &Client, ban: &Ban) -> Vec<(String, String, String)> {
    let request = ListBanEventsRequest {
        tenant: TENANT.to_owned(),
        ban_id: ban.ban_id.clone(),
        ..Default::default()
    };
    let page = client
        .admin()
        .list_ban_events(request)
        .await
        .expect("events")
        .into_inner();
    page.events
        .into_iter()
        .map(|event| (event.action, event.actor, event.comment))
        .collect()
}

/// Makes a ban, changes its end, and proves that the history tells who did what.
async fn edit_the_end(client: &Client, end: Option<Timestamp>) -> (Ban, Ban) {
    let request = until(after(client.clock().await, 3600), add(phone(NUMBER)));
    let made = client.ban(request).await;
    let wanted = Ban {
        expire_time: end,
        ..made.clone()
    };
    let request = UpdateBanRequest {
        actor: "eva".to_owned(),
        permanent: end.is_none(),
        ..change(wanted, "expire_time")
    };
    let changed = edited(client, request).await;
    assert_ne!(changed.etag, made.etag);
    assert!(when(changed.update_time) > when(made.update_time));
    let told = history(client, &made).await;
    let [(created, by, why), (updated, editor, what), ended @ ..] = told.as_slice() else {
        panic!("{told:?}");
    };
    let over = changed.state() == State::Expired;
    let ended: Vec<_> = ended
        .iter()
        .map(|(what, who, _)| (&**what, &**who))
        .collect();
    assert_eq!(ended, [("EXPIRED", "eva")][usize::from(!over)..]);
    assert_eq!(
        (created.as_str(), by.as_str(), why),
        ("CREATED", "anonymous", &made.reason)
    );
    assert_eq!((updated.as_str(), editor.as_str()), ("UPDATED", "eva"));
    assert!(what.contains("expire_time"), "{what}");
    (made, changed)
}

async fn d30_a_ban_denies_until_it_expires_and_not_a_moment_longer(client: Client) {
    let end = shortly_after(client.clock().await, 1_000);
    let ban = client.ban(until(end, add(phone(NUMBER)))).await;
    assert_eq!(ban.expire_time, Some(end));
    let answer = turns_at(&client, micros(end), true).await;
    assert_eq!(decided_by(&answer), "");
}

async fn d30_a_ban_can_be_made_again_the_moment_the_old_one_expires(client: Client) {
    let end = shortly_after(client.clock().await, 1_000);
    let first = client.ban(until(end, add(phone(NUMBER)))).await;
    turns_at(&client, micros(end), true).await;
    let second = client.ban(add(phone(NUMBER))).await;
    assert_ne!(first.ban_id, second.ban_id);
    let answer = client.ask(connect(Channel::Call, phone(NUMBER))).await;
    assert_eq!(decided_by(&answer), second.ban_id);
}

async fn m24_an_expired_ban_is_listed_as_such_with_no_write_in_between(client: Client) {
    let end = shortly_after(client.clock().await, 1_000);
    let ban = client.ban(until(end, add(phone(NUMBER)))).await;
    turns_at(&client, micros(end), true).await;
    let request = GetBanRequest {
        tenant: TENANT.to_owned(),
        ban_id: ban.ban_id.clone(),
    };
    let found = client
        .admin()
        .get_ban(request)
        .await
        .unwrap()
        .into_inner()
        .ban
        .unwrap();
    assert_eq!(found.state(), State::Expired);
    assert_eq!(found.etag, ban.etag, "nobody wrote to it");
    let in_state = async |state: State| {
        let states = vec![state as i32];
        client
            .found(ListBansRequest {
                states,
                ..Default::default()
            })
            .await
            .0
    };
    assert_eq!(in_state(State::Active).await, Vec::<String>::new());
    assert_eq!(in_state(State::Expired).await, [ban.ban_id]);
}

async fn m25_a_ban_without_an_expiry_lasts(client: Client) {
    for (request, number) in [
        (add(phone(NUMBER)), NUMBER),
        (
            CreateBanRequest {
                expiry: Some(Expiry::Permanent(true)),
                ..add(phone(OTHER_NUMBER))
            },
            OTHER_NUMBER,
        ),
    ] {
        let ban = client.ban(request).await;
        assert_eq!((ban.expire_time, ban.state()), (None, State::Active));
        let answer = client.ask(connect(Channel::Call, phone(number))).await;
        assert_eq!(answer.r#match.unwrap().expire_time, None);
    }
}

async fn d31_an_end_is_put_off(client: Client) {
    let end = after(client.clock().await, 7200);
    let (_, changed) = edit_the_end(&client, Some(end)).await;
    assert_eq!(
        (changed.expire_time, changed.state()),
        (Some(end), State::Active)
    );
    let answer = client.ask(connect(Channel::Call, phone(NUMBER))).await;
    assert_eq!(answer.r#match.unwrap().expire_time, Some(end));
}

async fn d31_an_end_is_brought_forward(client: Client) {
    let end = shortly_after(client.clock().await, 1_000);
    let (_, changed) = edit_the_end(&client, Some(end)).await;
    assert_eq!(changed.expire_time, Some(end));
    turns_at(&client, micros(end), true).await;
}

async fn d31_a_ban_is_ended_at_once(client: Client) {
    let past = after(client.clock().await, -60);
    let (made, changed) = edit_the_end(&client, Some(past)).await;
    assert_eq!(changed.state(), State::Expired);
    assert!(
        when(changed.expire_time) > when(made.create_time),
        "now, not in the past"
    );
    assert_eq!(changed.deactivate_time, None, "nobody deactivated it");
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
}

async fn d31_a_ban_is_made_permanent(client: Client) {
    let (_, changed) = edit_the_end(&client, None).await;
    assert_eq!(
        (changed.expire_time, changed.state()),
        (None, State::Active)
    );
    let answer = client.ask(connect(Channel::Call, phone(NUMBER))).await;
    assert_eq!(answer.r#match.unwrap().expire_time, None);
}

async fn v1_a_scheduled_ban_denies_nothing_before_its_time_and_everything_after(client: Client) {
    let start = shortly_after(client.clock().await, 1_000);
    let request = CreateBanRequest {
        start_time: Some(start),
        ..add(phone(NUMBER))
    };
    let ban = client.ban(request).await;
    assert_eq!(
        (ban.state(), ban.start_time),
        (State::Scheduled, Some(start))
    );
    assert_eq!(
        client.found(ListBansRequest::default()).await.1,
        0,
        "not active yet"
    );
    let answer = turns_at(&client, micros(start), false).await;
    assert_eq!(decided_by(&answer), ban.ban_id);
    assert_eq!(client.found(ListBansRequest::default()).await.1, 1);
}

async fn a_scheduled_ban_is_a_duplicate_too(client: Client) {
    let start_time = Some(after(client.clock().await, 3600));
    client
        .ban(CreateBanRequest {
            start_time,
            ..add(phone(NUMBER))
        })
        .await;
    let refused =
        crate::refused::Refused::read(client.admin().create_ban(add(phone(NUMBER))).await);
    refused.is(tonic::Code::AlreadyExists, "DUPLICATE_ACTIVE_BAN");
}

async fn a_timeout_counts_from_the_start_of_a_scheduled_ban(client: Client) {
    let start = after(client.clock().await, 3600);
    let hours = CalendarPeriod {
        hours: 2,
        ..Default::default()
    };
    let request = CreateBanRequest {
        start_time: Some(start),
        expiry: Some(Expiry::Timeout(hours)),
        ..add(phone(NUMBER))
    };
    assert_eq!(
        client.ban(request).await.expire_time,
        Some(after(start, 7200))
    );
}

/// Asks without a pause until the lease reaches beyond an instant at which the answer turns, and
/// proves that from then on the answer may be used up to that instant.
async fn may_be_used_until(client: &Client, turn: Timestamp, not: &[Timestamp]) {
    loop {
        let answer = client.ask(connect(Channel::Call, phone(NUMBER))).await;
        let reuse = answer.reuse_until.expect("a fresh answer");
        assert!(
            when(answer.reuse_until) <= micros(turn),
            "{reuse:?} is after {turn:?}"
        );
        assert!(!not.contains(&reuse), "{reuse:?} turns nothing round");
        if reuse == turn {
            return;
        }
    }
}

async fn an_answer_may_be_used_again_until_the_next_expiry(client: Client) {
    let end = shortly_after(client.clock().await, 2_500);
    client.ban(until(end, add(phone(NUMBER)))).await;
    // One that is outlasted, and one on another channel, turn nothing round.
    let (outlasted, elsewhere) = (shortly_after(end, -300), shortly_after(end, -400));
    client
        .ban(until(outlasted, add_on(Channel::Call, phone(NUMBER))))
        .await;
    client
        .ban(until(elsewhere, add_on(Channel::Whatsapp, phone(NUMBER))))
        .await;
    may_be_used_until(&client, end, &[outlasted, elsewhere]).await;
}

async fn an_answer_may_be_used_again_until_the_next_start(client: Client) {
    let start = shortly_after(client.clock().await, 2_500);
    client
        .ban(CreateBanRequest {
            start_time: Some(start),
            ..add(phone(NUMBER))
        })
        .await;
    may_be_used_until(&client, start, &[]).await;
}

async fn an_answer_may_be_used_again_no_longer_than_the_lease(client: Client) {
    client
        .ban(until(after(client.clock().await, 3600), add(phone(NUMBER))))
        .await;
    for number in [NUMBER, OTHER_NUMBER] {
        let answer = client.ask(connect(Channel::Call, phone(number))).await;
        let now = micros(client.clock().await);
        assert_eq!(answer.basis(), DecisionBasis::Fresh);
        let reuse = when(answer.reuse_until);
        assert!(reuse <= now + LEASE, "{}us too long", reuse - now - LEASE);
    }
}
