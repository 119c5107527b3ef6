//! What time does to bans: found out by a sweep or by a write, and noted once each.

use std::sync::Arc;

use bancheck::{
    desk::{BanEdit, End, Job as _, UpdateBan},
    domain::{
        ban::{Ban, State},
        clock::Timestamp,
        exception::Exception,
        ids::TenantId,
        record::Change,
    },
    store::{Added, Agenda, Answer, EventFilter, MAX_CHUNK, NewBan, Sweep, Swept},
};
use tokio::task::JoinSet;

use crate::house::{
    House, NOW, SECOND, about, asked, exception_on, intent, intent_at, lifted, made_at, token,
    token_ban, within,
};

on_both_stores!(
    s3_what_is_over_is_marked_ended_noted_and_told_together,
    s3_a_scheduled_ban_that_has_begun_is_noted_and_told,
    s3_a_sweep_of_nothing_tells_nothing,
    s3_exceptions_that_are_over_are_marked_ended_noted_and_told_together,
    exceptions_that_make_room_for_another_are_noted_to_have_expired_once,
    a_ban_that_began_and_ended_unnoticed_is_noted_to_have_done_both_in_that_order,
    what_is_noted_comes_in_the_order_in_which_it_happened,
    s10_a_ban_that_makes_way_for_one_alike_is_noted_to_have_expired_once,
    a_ban_that_was_over_when_its_reason_was_mended_is_noted_to_have_expired,
    a_beginning_is_noted_before_somebody_moves_it,
    a_ban_that_is_scheduled_anew_begins_anew,
    a_lifted_ban_neither_begins_nor_ends,
    of_sweeps_at_once_each_thing_is_noted_once,
    a_sweep_takes_a_chunk_and_says_whether_there_may_be_more,
    s11_a_sweep_waits_for_whoever_has_the_tenant,
    what_is_due_next_is_known_and_whose_it_is,
    the_keepers_turn_is_one_pods_at_a_time,
);

fn second(number: i64) -> Timestamp {
    NOW.plus_micros(number * SECOND)
}

/// A ban of the token of this number, from a second on, until another.
fn lasting(tenant: &TenantId, number: usize, from: Option<i64>, to: Option<i64>) -> NewBan {
    let mut asked = asked(&token(number));
    asked.start = from.map(second);
    asked.end = to.map_or(End::Never, |to| End::At(second(to)));
    made_at(tenant, &asked, NOW)
}

fn sweep_by(tenant: &TenantId, by: i64) -> Sweep {
    let intent = intent(tenant);
    Sweep {
        tenant: tenant.clone(),
        by: second(by),
        now: second(by),
        nonce: intent.nonce,
    }
}

async fn swept(house: &House, tenant: &TenantId, by: i64) -> (usize, usize) {
    let swept = house.store.sweep(&sweep_by(tenant, by)).await;
    let Swept {
        started, expired, ..
    } = swept.expect("a sweep");
    (started, expired)
}

/// What is noted of a ban, and when it happened, in seconds.
async fn noted(house: &House, tenant: &TenantId, ban: Option<&Ban>) -> Vec<(String, i64)> {
    let filter = EventFilter {
        ban: ban.map(|ban| ban.ban_id),
        limit: 10_000,
        ..EventFilter::default()
    };
    let events = house.store.events(tenant, &filter).await.expect("events");
    let since = |at: Timestamp| (at.micros() - NOW.micros()) / SECOND;
    events
        .into_iter()
        .map(|event| (event.action, since(event.at)))
        .collect()
}

fn told(action: &str, at: i64) -> (String, i64) {
    (action.to_owned(), at)
}

async fn s3_what_is_over_is_marked_ended_noted_and_told_together(house: House) {
    let tenant = house.tenant("one").await;
    let ban = house
        .place(&tenant, lasting(&tenant, 1, None, Some(5)))
        .await;
    house
        .place(&tenant, lasting(&tenant, 2, None, Some(6)))
        .await;
    house.place(&tenant, token_ban(&tenant, 3)).await;
    let before = house.feed().await.len();
    let sweep = sweep_by(&tenant, 5);
    let swept = house.store.sweep(&sweep).await.expect("a sweep");
    assert_eq!((swept.started, swept.expired), (0, 1));

    let kept = house.kept(&ban).await;
    assert!(kept.ended);
    assert_eq!(kept.state(second(5)), State::Expired);
    assert_eq!(
        (kept.version, kept.updated),
        (ban.version, ban.updated),
        "nobody edited it"
    );
    let news = house.last_news().await;
    assert_eq!(house.feed().await.len(), before + 1);
    assert_eq!(news.anchor.nonce, sweep.nonce);
    let Change::Bans(records) = &news.change else {
        panic!("{news:?}");
    };
    assert_eq!(records.len(), 1);
    assert!(records[0].ended && records[0].ban == ban.ban_id);

    let filter = EventFilter {
        limit: 10,
        ..EventFilter::default()
    };
    let events = house.store.events(&tenant, &filter).await.expect("events");
    let [event] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(
        (event.ban, event.action.as_str()),
        (Some(ban.ban_id), "EXPIRED")
    );
    assert_eq!((event.actor.as_str(), event.at), ("system", second(5)));
    assert_eq!(event.anchor, Some(news.anchor), "by its feed row's mark");
}

async fn s3_a_scheduled_ban_that_has_begun_is_noted_and_told(house: House) {
    let tenant = house.tenant("one").await;
    let ban = house
        .place(&tenant, lasting(&tenant, 1, Some(5), None))
        .await;
    assert_eq!(swept(&house, &tenant, 4).await, (0, 0));
    let sweep = sweep_by(&tenant, 5);
    house.store.sweep(&sweep).await.expect("a sweep");
    let news = house.last_news().await;
    assert_eq!(news.anchor.nonce, sweep.nonce);
    let Change::Bans(records) = &news.change else {
        panic!("{news:?}");
    };
    assert!(!records[0].ended && records[0].start == Some(second(5)));
    assert_eq!(swept(&house, &tenant, 9).await, (0, 0));
    assert_eq!(
        noted(&house, &tenant, Some(&ban)).await,
        [told("STARTED", 5)]
    );
    assert_eq!(house.kept(&ban).await, ban);
}

async fn s3_a_sweep_of_nothing_tells_nothing(house: House) {
    let tenant = house.tenant("one").await;
    house.place(&tenant, token_ban(&tenant, 1)).await;
    let before = house.census().await;
    assert_eq!(swept(&house, &tenant, 100).await, (0, 0));
    let nobody = TenantId::parse("nobody").expect("a tenant id");
    assert_eq!(swept(&house, &nobody, 100).await, (0, 0));
    assert_eq!(house.census().await, before);
}

/// An exception on the token of this number, until a second.
async fn spared(house: &House, tenant: &TenantId, number: usize, to: i64) -> Exception {
    let mut new = exception_on(tenant, &token(number));
    new.exception.expire = Some(second(to));
    let mut work = house.begin(&intent(tenant)).await;
    work.add_exception(&new).await.expect("an exception added");
    work.commit(&Answer::default()).await.expect("a commit");
    new.exception
}

async fn s3_exceptions_that_are_over_are_marked_ended_noted_and_told_together(house: House) {
    let tenant = house.tenant("one").await;
    let late = spared(&house, &tenant, 1, 5).await;
    let early = spared(&house, &tenant, 2, 4).await;
    let lasts = spared(&house, &tenant, 3, 6).await;
    house
        .place(&tenant, lasting(&tenant, 4, None, Some(5)))
        .await;
    let due = house.store.agenda().await.expect("a look").due;
    assert_eq!(due, Some(second(4)));
    let due = async |by| house.store.due(second(by), 9).await.expect("tenants");
    assert_eq!(due(3).await, []);
    assert_eq!(due(4).await, std::slice::from_ref(&tenant));

    let before = house.feed().await.len();
    let sweep = sweep_by(&tenant, 5);
    let swept = house.store.sweep(&sweep).await.expect("a sweep");
    let expected = Swept {
        exceptions: 2,
        more: true,
        ..Swept::default()
    };
    assert_eq!(swept, expected);
    let news = house.last_news().await;
    assert_eq!(house.feed().await.len(), before + 1);
    assert_eq!(news.anchor.nonce, sweep.nonce);
    let Change::Exceptions(told) = &news.change else {
        panic!("{news:?}");
    };
    let mut told: Vec<_> = { told.exceptions.iter() }
        .map(|one| (one.exception, one.ended, one.keys.is_empty()))
        .collect();
    told.sort_unstable();
    let mut expected = [&early, &late].map(|one| (one.exception_id, true, false));
    expected.sort_unstable();
    assert_eq!(told, expected);

    let filter = EventFilter {
        limit: 10,
        ..EventFilter::default()
    };
    let events = house.store.events(&tenant, &filter).await.expect("events");
    let events: Vec<_> = events
        .into_iter()
        .map(|one| (one.action, one.actor, one.at, one.comment, one.anchor))
        .collect();
    let noted = |exception: &Exception, at| {
        let (action, id) = ("EXCEPTION_EXPIRED", exception.exception_id);
        (
            action.to_owned(),
            "system".to_owned(),
            second(at),
            id.to_string(),
            Some(news.anchor),
        )
    };
    assert_eq!(events, [noted(&early, 4), noted(&late, 5)]);

    // What it left is next.
    assert_eq!(self::swept(&house, &tenant, 5).await, (0, 1));
    assert_eq!(self::swept(&house, &tenant, 5).await, (0, 0));
    let due = house.store.agenda().await.expect("a look").due;
    assert_eq!(due, lasts.expire);
}

async fn exceptions_that_make_room_for_another_are_noted_to_have_expired_once(house: House) {
    let tenant = house.tenant("one").await;
    spared(&house, &tenant, 1, 5).await;
    let intent = intent_at(&tenant, second(5));
    let mut work = house.begin(&intent).await;
    let mut new = exception_on(&tenant, &token(2));
    new.exception.expire = None;
    work.add_exception(&new).await.expect("an exception added");
    work.commit(&Answer::default()).await.expect("a commit");
    let once = [told("EXCEPTION_EXPIRED", 5)];
    assert_eq!(noted(&house, &tenant, None).await, once);
    let swept = house.store.sweep(&sweep_by(&tenant, 100)).await;
    assert_eq!(swept.expect("a sweep"), Swept::default());
    assert_eq!(noted(&house, &tenant, None).await, once);
    let agenda = house.store.agenda().await.expect("a look");
    assert_eq!(agenda, Agenda::default());
}

async fn a_ban_that_began_and_ended_unnoticed_is_noted_to_have_done_both_in_that_order(
    house: House,
) {
    let tenant = house.tenant("one").await;
    let ban = house
        .place(&tenant, lasting(&tenant, 1, Some(5), Some(6)))
        .await;
    assert_eq!(swept(&house, &tenant, 100).await, (1, 1));
    assert_eq!(swept(&house, &tenant, 100).await, (0, 0));
    assert_eq!(
        noted(&house, &tenant, Some(&ban)).await,
        [told("STARTED", 5), told("EXPIRED", 6)]
    );
}

async fn what_is_noted_comes_in_the_order_in_which_it_happened(house: House) {
    let tenant = house.tenant("one").await;
    let bans: Vec<_> = [(1, 40), (7, 20), (4, 30), (2, 10)]
        .into_iter()
        .enumerate()
        .map(|(number, (from, to))| lasting(&tenant, number, Some(from), Some(to)))
        .collect();
    house.add(&intent(&tenant), &bans).await;
    swept(&house, &tenant, 100).await;
    let at = noted(&house, &tenant, None).await;
    let at: Vec<_> = at.into_iter().map(|(_, at)| at).collect();
    assert_eq!(at, [1, 2, 4, 7, 10, 20, 30, 40]);
}

async fn s10_a_ban_that_makes_way_for_one_alike_is_noted_to_have_expired_once(house: House) {
    let tenant = house.tenant("one").await;
    let old = house
        .place(&tenant, lasting(&tenant, 1, Some(2), Some(5)))
        .await;
    let intent = intent_at(&tenant, second(5));
    let new = made_at(&tenant, &asked(&token(1)), second(5));
    let added = house.add(&intent, &[new]).await;
    assert_eq!(added, [Added::Made]);
    let both = [told("STARTED", 2), told("EXPIRED", 5)];
    assert_eq!(noted(&house, &tenant, Some(&old)).await, both);
    assert_eq!(house.last_news().await.anchor.nonce, intent.nonce);
    assert_eq!(swept(&house, &tenant, 100).await, (0, 0));
    assert_eq!(noted(&house, &tenant, Some(&old)).await, both);
}

/// The sweep may come up to a second later, and somebody in between.
async fn a_ban_that_was_over_when_its_reason_was_mended_is_noted_to_have_expired(house: House) {
    let tenant = house.tenant("one").await;
    let ban = house
        .place(&tenant, lasting(&tenant, 1, Some(2), Some(5)))
        .await;
    let mend = UpdateBan {
        ban_id: ban.ban_id,
        etag: String::new(),
        edit: BanEdit {
            reason: Some("mended".to_owned()),
            ..BanEdit::default()
        },
    };
    let mut work = house.begin(&intent_at(&tenant, second(6))).await;
    let mended = mend.run(&mut *work, &about(&tenant, second(6))).await;
    assert!(mended.is_ok());
    work.commit(&Answer::default()).await.expect("a commit");
    assert_eq!(swept(&house, &tenant, 7).await, (0, 1));
    let mut all = noted(&house, &tenant, Some(&ban)).await;
    all.sort_by_key(|(_, at)| *at);
    let life = [told("STARTED", 2), told("EXPIRED", 5), told("UPDATED", 6)];
    assert_eq!(all, life);
    assert_eq!(house.kept(&ban).await.reason, "mended");
}

async fn a_beginning_is_noted_before_somebody_moves_it(house: House) {
    let tenant = house.tenant("one").await;
    let new = lasting(&tenant, 1, Some(5), None);
    let likeness = new.likeness;
    let ban = house.place(&tenant, new).await;
    let mut work = house.begin(&intent_at(&tenant, second(6))).await;
    let moved = Ban {
        start: Some(second(9)),
        ..ban.clone()
    };
    work.set_ban(&moved, likeness).await.expect("a change");
    work.commit(&Answer::default()).await.expect("a commit");
    assert_eq!(swept(&house, &tenant, 8).await, (0, 0));
    assert_eq!(swept(&house, &tenant, 9).await, (1, 0));
    assert_eq!(
        noted(&house, &tenant, Some(&ban)).await,
        [told("STARTED", 5), told("STARTED", 9)]
    );
}

async fn a_ban_that_is_scheduled_anew_begins_anew(house: House) {
    let tenant = house.tenant("one").await;
    let new = lasting(&tenant, 1, Some(5), None);
    let likeness = new.likeness;
    let ban = house.place(&tenant, new).await;
    swept(&house, &tenant, 5).await;
    // A change of anything else leaves what was noted.
    let renamed = Ban {
        reason: "another".to_owned(),
        ..ban.clone()
    };
    house.change(&renamed, likeness).await;
    assert_eq!(swept(&house, &tenant, 6).await, (0, 0));
    let again = Ban {
        start: Some(second(8)),
        ..renamed
    };
    house.change(&again, likeness).await;
    assert_eq!(swept(&house, &tenant, 8).await, (1, 0));
}

async fn a_lifted_ban_neither_begins_nor_ends(house: House) {
    let tenant = house.tenant("one").await;
    let new = lasting(&tenant, 1, Some(5), Some(7));
    let likeness = new.likeness;
    let ban = house.place(&tenant, new).await;
    house.change(&lifted(&ban), likeness).await;
    assert_eq!(swept(&house, &tenant, 100).await, (0, 0));
    assert_eq!(noted(&house, &tenant, None).await, []);
    let agenda = house.store.agenda().await.expect("a look");
    assert_eq!(agenda, Agenda::default());
}

async fn of_sweeps_at_once_each_thing_is_noted_once(house: House) {
    let tenant = house.tenant("one").await;
    let bans: Vec<_> = (0..500)
        .map(|number| {
            lasting(
                &tenant,
                number,
                Some(1),
                Some(2 + i64::from(number % 5 == 0)),
            )
        })
        .collect();
    house.add(&intent(&tenant), &bans).await;
    let house = Arc::new(house);
    let mut sweepers = JoinSet::new();
    for _ in 0..8 {
        let (house, tenant) = (Arc::clone(&house), tenant.clone());
        sweepers.spawn(async move { swept(&house, &tenant, 2).await });
    }
    let mut all = (0, 0);
    while let Some(one) = within("eight sweepers", sweepers.join_next()).await {
        let (started, expired) = one.expect("a sweeper");
        all = (all.0 + started, all.1 + expired);
    }
    assert_eq!(all, (500, 400));
    let events = noted(&house, &tenant, None).await;
    assert_eq!(
        events.iter().filter(|(what, _)| what == "STARTED").count(),
        500
    );
    assert_eq!(
        events.iter().filter(|(what, _)| what == "EXPIRED").count(),
        400
    );
}

async fn a_sweep_takes_a_chunk_and_says_whether_there_may_be_more(house: House) {
    let tenant = house.tenant("one").await;
    let bans: Vec<_> = (0..MAX_CHUNK + 5)
        .map(|number| lasting(&tenant, number, None, Some(5)))
        .collect();
    for chunk in bans.chunks(MAX_CHUNK) {
        house.add(&intent(&tenant), chunk).await;
    }
    let first = house.store.sweep(&sweep_by(&tenant, 5)).await;
    let first = first.expect("a sweep");
    assert_eq!((first.expired, first.more), (MAX_CHUNK, true));
    let Change::Bans(records) = house.last_news().await.change else {
        panic!("bans are told of");
    };
    assert_eq!(records.len(), MAX_CHUNK);
    let second = house.store.sweep(&sweep_by(&tenant, 5)).await;
    let second = second.expect("a sweep");
    assert_eq!((second.expired, second.more), (5, false));
}

async fn s11_a_sweep_waits_for_whoever_has_the_tenant(house: House) {
    let tenant = house.tenant("one").await;
    let new = lasting(&tenant, 1, None, Some(5));
    let likeness = new.likeness;
    let ban = house.place(&tenant, new).await;
    // Somebody makes it last, and is not done when the sweep begins.
    let mut work = house.begin(&intent_at(&tenant, second(4))).await;
    let lasting = Ban {
        expire: None,
        ..ban.clone()
    };
    work.set_ban(&lasting, likeness).await.expect("a change");
    let store = Arc::clone(&house.store);
    let sweep = sweep_by(&tenant, 5);
    let mut sweeper = JoinSet::new();
    sweeper.spawn(async move { store.sweep(&sweep).await });
    house.until_somebody_waits().await;
    work.commit(&Answer::default()).await.expect("a commit");
    let swept = within("the sweep", sweeper.join_next()).await;
    let swept = swept
        .expect("a sweeper")
        .expect("its end")
        .expect("a sweep");
    assert_eq!((swept.started, swept.expired), (0, 0));
    assert_eq!(house.kept(&ban).await.state(second(9)), State::Active);
}

async fn what_is_due_next_is_known_and_whose_it_is(house: House) {
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    let due = async |by: i64| house.store.due(second(by), 10).await.expect("tenants");
    let next = async || house.store.agenda().await.expect("a look").due;
    house.place(&one, token_ban(&one, 1)).await;
    assert_eq!(next().await, None);
    house.place(&one, lasting(&one, 2, None, Some(9))).await;
    assert_eq!(next().await, Some(second(9)));
    house.place(&two, lasting(&two, 1, Some(4), Some(6))).await;
    assert_eq!(next().await, Some(second(4)));
    assert_eq!(due(3).await, []);
    assert_eq!(due(4).await, std::slice::from_ref(&two));
    assert_eq!(due(9).await, [one.clone(), two.clone()]);
    assert_eq!(house.store.due(second(9), 1).await.expect("one"), [one]);
    swept(&house, &two, 4).await;
    assert_eq!(next().await, Some(second(6)), "it has begun");
    swept(&house, &two, 6).await;
    assert_eq!(next().await, Some(second(9)));
}

async fn the_keepers_turn_is_one_pods_at_a_time(house: House) {
    let ours = async || house.store.turn().await.expect("an answer");
    let turn = ours().await.expect("nobody else has it");
    if house.kind == crate::database::Kind::Postgres {
        assert!(ours().await.is_none(), "it is somebody's");
        let other = house.database.store().await;
        assert!(other.turn().await.expect("an answer").is_none());
    }
    turn.end().await;
    let turn = ours().await.expect("it was handed back");
    drop(turn);
    within("the turn of somebody who went away", async {
        while ours().await.is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
