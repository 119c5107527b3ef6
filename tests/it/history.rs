//! Edits, deactivations, and the history that tells of them.

use bancheck::api::v1::{
    Ban, BanEvent, Channel, DeactivateBanRequest, GetBanRequest, ListBanEventsRequest,
    UpdateBanRequest,
    ban::{Enforcement, State},
};
use tonic::Code;

use crate::{
    freshness::at_least,
    refused::Refused,
    requests::{
        NUMBER, OTHER_NUMBER, add, add_on, after, change, connect, denies, phone, until, when,
    },
    server::{Client, TENANT},
};

on_both_stores!(
    the_history_tells_who_did_what_when,
    the_history_is_narrowed_by_ban_actor_and_time,
    the_history_comes_in_pages,
    an_edit_changes_what_its_mask_names_and_nothing_else,
    an_edit_without_a_mask_changes_what_is_set,
    an_edit_of_the_channels_moves_the_ban,
    an_edit_to_shadow_stops_denying,
    an_edit_on_an_old_etag_is_refused,
    an_edit_into_the_likeness_of_another_ban_is_refused,
    an_ended_ban_changes_only_its_reason,
    a_dry_edit_writes_nothing,
    a_ban_deactivated_twice_stays_as_it_was,
    a_deactivation_on_an_old_etag_is_refused,
    a_dry_deactivation_writes_nothing,
);

async fn ban_of(client: &Client, ban: &Ban) -> Ban {
    let request = GetBanRequest {
        tenant: TENANT.to_owned(),
        ban_id: ban.ban_id.clone(),
    };
    let found = client
        .admin()
        .get_ban(request)
        .await
        .expect("the ban")
        .into_inner();
    found.ban.expect("the ban")
}

async fn events(client: &Client, request: ListBanEventsRequest) -> Vec<BanEvent> {
    let request = ListBanEventsRequest {
        tenant: TENANT.to_owned(),
        ..request
    };
    client
        .admin()
        .list_ban_events(request)
        .await
        .expect("events")
        .into_inner()
        .events
}

async fn events_of(client: &Client, ban: &Ban) -> Vec<BanEvent> {
    let ban_id = ban.ban_id.clone();
    events(
        client,
        ListBanEventsRequest {
            ban_id,
            ..Default::default()
        },
    )
    .await
}

fn lifting(ban: &Ban) -> DeactivateBanRequest {
    DeactivateBanRequest {
        tenant: TENANT.to_owned(),
        ban_id: ban.ban_id.clone(),
        ..Default::default()
    }
}

async fn edit(client: &Client, request: UpdateBanRequest) -> Ban {
    let changed = client
        .admin()
        .update_ban(request)
        .await
        .expect("a change")
        .into_inner();
    changed.ban.expect("the ban changed")
}

async fn the_history_tells_who_did_what_when(client: Client) {
    let mut request = add(phone(NUMBER));
    "adam".clone_into(&mut request.actor);
    let ban = client.ban(request).await;
    let edited = Ban {
        reason: "on second thoughts".to_owned(),
        ..ban.clone()
    };
    let request = UpdateBanRequest {
        actor: "eva".to_owned(),
        ..change(edited, "reason")
    };
    let edited = edit(&client, request).await;
    let request = DeactivateBanRequest {
        actor: "boss".to_owned(),
        reason: "it was a mistake".to_owned(),
        ..lifting(&ban)
    };
    let lifted = client
        .admin()
        .deactivate_ban(request)
        .await
        .unwrap()
        .into_inner();
    let lifted_ban = lifted.ban.unwrap();
    assert_eq!(
        (ban.created_by.as_str(), lifted_ban.deactivated_by.as_str()),
        ("adam", "boss")
    );

    let told = events_of(&client, &ban).await;
    let short: Vec<_> = told
        .iter()
        .map(|event| {
            (
                event.action.as_str(),
                event.actor.as_str(),
                event.comment.as_str(),
            )
        })
        .collect();
    assert_eq!(
        short,
        [
            ("CREATED", "adam", "threatened the operator"),
            ("UPDATED", "eva", "reason"),
            ("DEACTIVATED", "boss", "it was a mistake"),
        ]
    );
    let at: Vec<_> = told.iter().map(|event| event.event_time).collect();
    assert_eq!(
        at,
        [
            ban.create_time,
            edited.update_time,
            lifted_ban.deactivate_time
        ]
    );
    assert!(told.iter().all(|event| event.ban_id == ban.ban_id));

    // Each entry says where it stands, and a check that has seen as much answers accordingly.
    let tokens: Vec<_> = told
        .iter()
        .map(|event| event.checked_at.clone().unwrap().token)
        .collect();
    assert!(tokens.is_sorted() && tokens[0] < tokens[2], "{tokens:?}");
    assert_eq!(tokens[2], lifted.written_at.unwrap().token);
    let question = connect(Channel::Call, phone(NUMBER));
    let question = at_least(told[2].checked_at.clone(), question);
    assert!(!denies(&client.ask(question).await));
}

async fn the_history_is_narrowed_by_ban_actor_and_time(client: Client) {
    let mut request = add(phone(NUMBER));
    "adam".clone_into(&mut request.actor);
    let one = client.ban(request).await;
    let other = client.ban(add(phone(OTHER_NUMBER))).await;
    client.lift(&one).await;

    let narrowed = async |request| {
        let told = events(&client, request).await;
        told.into_iter()
            .map(|event| (event.ban_id, event.action))
            .collect::<Vec<_>>()
    };
    let by_adam = ListBanEventsRequest {
        actor_filter: "adam".to_owned(),
        ..Default::default()
    };
    let created = |ban: &Ban| (ban.ban_id.clone(), "CREATED".to_owned());
    assert_eq!(narrowed(by_adam).await, [created(&one)]);
    // From a moment on, that moment included, up to another one, that one left out.
    let between = ListBanEventsRequest {
        from_time: one.create_time,
        to_time: other.create_time,
        ..Default::default()
    };
    assert_eq!(narrowed(between).await, [created(&one)]);
    let since = ListBanEventsRequest {
        from_time: other.create_time,
        ..Default::default()
    };
    let lifted = (one.ban_id.clone(), "DEACTIVATED".to_owned());
    assert_eq!(narrowed(since).await, [created(&other), lifted]);
}

async fn the_history_comes_in_pages(client: Client) {
    for last in 0..5 {
        client.ban(add(phone(&format!("+42060111111{last}")))).await;
    }
    let all = events(&client, ListBanEventsRequest::default()).await;
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListBanEventsRequest {
            tenant: TENANT.to_owned(),
            page_size: 2,
            page_token,
            ..Default::default()
        };
        let page = client
            .admin()
            .list_ban_events(request)
            .await
            .unwrap()
            .into_inner();
        assert!(page.events.len() <= 2);
        seen.extend(page.events);
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    assert_eq!(seen, all);
    assert!(seen.len() >= 5);
}

async fn an_edit_changes_what_its_mask_names_and_nothing_else(client: Client) {
    let ban = client
        .ban(until(after(client.clock().await, 3600), add(phone(NUMBER))))
        .await;
    let wanted = Ban {
        ban_id: ban.ban_id.clone(),
        tenant: TENANT.to_owned(),
        reason: "not named".to_owned(),
        reason_code: "R-7".to_owned(),
        ..Default::default()
    };
    let changed = edit(&client, change(wanted, "reason_code")).await;
    let expected = Ban {
        reason_code: "R-7".to_owned(),
        etag: changed.etag.clone(),
        update_time: changed.update_time,
        ..ban.clone()
    };
    assert_eq!(changed, expected);
    assert_ne!(changed.etag, ban.etag);
    assert!(when(changed.update_time) > when(ban.update_time));
    assert_eq!(ban_of(&client, &ban).await, changed);
}

async fn an_edit_without_a_mask_changes_what_is_set(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    let wanted = Ban {
        ban_id: ban.ban_id.clone(),
        tenant: TENANT.to_owned(),
        reason: "in other words".to_owned(),
        ..Default::default()
    };
    let request = UpdateBanRequest {
        ban: Some(wanted),
        ..Default::default()
    };
    let changed = edit(&client, request).await;
    assert_eq!(changed.reason, "in other words");
    assert_eq!(
        (changed.channels, changed.expire_time),
        (ban.channels, ban.expire_time)
    );
}

async fn an_edit_of_the_channels_moves_the_ban(client: Client) {
    let ban = client.ban(add_on(Channel::Call, phone(NUMBER))).await;
    let wanted = Ban {
        channels: vec![Channel::Sms as i32],
        ..ban.clone()
    };
    edit(&client, change(wanted, "channels")).await;
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
    assert!(client.turns_away(Channel::Sms, phone(NUMBER)).await);

    let wanted = Ban {
        channels: vec![Channel::WebChat as i32],
        etag: String::new(),
        ..ban
    };
    let refused = Refused::read(client.admin().update_ban(change(wanted, "channels")).await);
    refused.is(Code::InvalidArgument, "KIND_CHANNEL_MISMATCH");
    refused.blames("ban.channels");
}

async fn an_edit_to_shadow_stops_denying(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    let wanted = Ban {
        enforcement: Enforcement::Shadow as i32,
        ..ban
    };
    let changed = edit(&client, change(wanted, "enforcement")).await;
    assert_eq!(changed.enforcement(), Enforcement::Shadow);
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
}

async fn an_edit_on_an_old_etag_is_refused(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    let first = Ban {
        reason: "the first edit".to_owned(),
        ..ban.clone()
    };
    let first = edit(&client, change(first, "reason")).await;
    let second = Ban {
        reason: "the second edit".to_owned(),
        ..ban
    };
    let refused = Refused::read(
        client
            .admin()
            .update_ban(change(second.clone(), "reason"))
            .await,
    );
    refused.is(Code::Aborted, "ETAG_MISMATCH");
    assert_eq!(ban_of(&client, &first).await, first);
    let blind = Ban {
        etag: String::new(),
        ..second
    };
    assert_eq!(
        edit(&client, change(blind, "reason")).await.reason,
        "the second edit"
    );
}

async fn an_edit_into_the_likeness_of_another_ban_is_refused(client: Client) {
    client.ban(add_on(Channel::Sms, phone(NUMBER))).await;
    let ban = client.ban(add_on(Channel::Call, phone(NUMBER))).await;
    let wanted = Ban {
        channels: vec![Channel::Sms as i32],
        ..ban.clone()
    };
    let refused = Refused::read(client.admin().update_ban(change(wanted, "channels")).await);
    refused.is(Code::AlreadyExists, "DUPLICATE_ACTIVE_BAN");
    assert_eq!(ban_of(&client, &ban).await, ban);
}

async fn an_ended_ban_changes_only_its_reason(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    client.lift(&ban).await;
    let reason = Ban {
        reason: "for the record".to_owned(),
        etag: String::new(),
        ..ban.clone()
    };
    let changed = edit(&client, change(reason, "reason")).await;
    assert_eq!(
        (changed.reason.as_str(), changed.state()),
        ("for the record", State::Deactivated)
    );

    let wanted = Ban {
        expire_time: Some(after(client.clock().await, 60)),
        etag: String::new(),
        ..ban
    };
    let refused = Refused::read(
        client
            .admin()
            .update_ban(change(wanted, "expire_time"))
            .await,
    );
    refused.is(Code::FailedPrecondition, "BAN_ENDED");
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
}

async fn a_dry_edit_writes_nothing(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    let wanted = Ban {
        enforcement: Enforcement::Shadow as i32,
        ..ban.clone()
    };
    let request = UpdateBanRequest {
        validate_only: true,
        ..change(wanted, "enforcement")
    };
    let tried = client
        .admin()
        .update_ban(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(tried.written_at, None);
    assert_eq!(tried.ban.unwrap().enforcement(), Enforcement::Shadow);
    assert_eq!(ban_of(&client, &ban).await, ban);
    assert_eq!(events_of(&client, &ban).await.len(), 1);
    assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
}

async fn a_ban_deactivated_twice_stays_as_it_was(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    let first = client.lift(&ban).await;
    let request = DeactivateBanRequest {
        reason: "again".to_owned(),
        ..lifting(&ban)
    };
    let second = client
        .admin()
        .deactivate_ban(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first.ban, second.ban);
    assert!(second.written_at.unwrap().token >= first.written_at.unwrap().token);
    assert_eq!(events_of(&client, &ban).await.len(), 2);

    // One that its time has ended stays expired.
    let ban = client.ban(add(phone(OTHER_NUMBER))).await;
    let past = Ban {
        expire_time: Some(after(client.clock().await, -1)),
        ..ban
    };
    let ended = edit(&client, change(past, "expire_time")).await;
    assert_eq!(client.lift(&ended).await.ban.unwrap(), ended);
}

async fn a_deactivation_on_an_old_etag_is_refused(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    let edited = Ban {
        reason: "in other words".to_owned(),
        ..ban.clone()
    };
    let edited = edit(&client, change(edited, "reason")).await;
    let stale = DeactivateBanRequest {
        etag: ban.etag.clone(),
        ..lifting(&ban)
    };
    let refused = Refused::read(client.admin().deactivate_ban(stale).await);
    refused.is(Code::Aborted, "ETAG_MISMATCH");
    assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
    let current = DeactivateBanRequest {
        etag: edited.etag,
        ..lifting(&ban)
    };
    client.admin().deactivate_ban(current).await.unwrap();
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
}

async fn a_dry_deactivation_writes_nothing(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    let request = DeactivateBanRequest {
        validate_only: true,
        ..lifting(&ban)
    };
    let tried = client
        .admin()
        .deactivate_ban(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(tried.written_at, None);
    assert_eq!(tried.ban.unwrap().state(), State::Deactivated);
    assert_eq!(ban_of(&client, &ban).await, ban);
    assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
}
