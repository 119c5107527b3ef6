//! Events: the history of bans and of the configuration.

use bancheck::{
    domain::{clock::Timestamp, ids::TenantId, revision::Anchor},
    store::{Answer, Event, EventFilter, Intent},
};

use crate::house::{House, NOW, event, intent, token_ban};

on_both_stores!(
    events_come_oldest_first_and_page_by_page,
    events_are_narrowed_by_ban_actor_and_time,
    an_event_tells_its_place_in_the_feed_until_that_is_pruned,
    an_event_comes_once_even_where_two_rows_bear_one_mark,
    events_are_the_tenants_own,
);

async fn note(house: &House, intent: &Intent, events: &[Event]) {
    let mut work = house.begin(intent).await;
    for event in events {
        work.note(event).await.expect("an event");
    }
    work.commit(&Answer::default()).await.expect("a commit");
}

fn all() -> EventFilter {
    EventFilter {
        limit: 1_000,
        ..EventFilter::default()
    }
}

async fn numbers(house: &House, tenant: &TenantId, filter: &EventFilter) -> Vec<u8> {
    let events = house.store.events(tenant, filter).await.expect("events");
    events.iter().map(|event| event.event_id[0]).collect()
}

async fn events_come_oldest_first_and_page_by_page(house: House) {
    let tenant = house.tenant("one").await;
    let events: Vec<_> = (0..25)
        .map(|number| event(number * 7 % 25 + 1, None, "X"))
        .collect();
    note(&house, &intent(&tenant), &events).await;
    let mut filter = EventFilter { limit: 10, ..all() };
    let (mut seen, mut pages) = (Vec::new(), Vec::new());
    loop {
        let page = house.store.events(&tenant, &filter).await.expect("a page");
        pages.push(page.len());
        let Some(last) = page.last() else { break };
        filter.after = Some(last.event_id);
        seen.extend(page.iter().map(|event| event.event_id[0]));
    }
    assert_eq!(seen, (1..=25).collect::<Vec<_>>());
    assert_eq!(pages, [10, 10, 5, 0]);
}

async fn events_are_narrowed_by_ban_actor_and_time(house: House) {
    let tenant = house.tenant("one").await;
    let (one, two) = (
        token_ban(&tenant, 1).ban.ban_id,
        token_ban(&tenant, 2).ban.ban_id,
    );
    let events: Vec<_> = [
        (Some(one), "alice"),
        (Some(two), "bob"),
        (None, "bob"),
        (Some(one), "Bob"),
    ]
    .into_iter()
    .zip(1..)
    .map(|((ban, actor), number)| Event {
        ban,
        actor: actor.to_owned(),
        at: NOW.plus_micros(i64::from(number)),
        ..event(number, None, "X")
    })
    .collect();
    note(&house, &intent(&tenant), &events).await;
    let found = async |filter: EventFilter| numbers(&house, &tenant, &filter).await;
    let actor = |name: &str| EventFilter {
        actor: name.to_owned(),
        ..all()
    };
    let at = |micros| Some(NOW.plus_micros(micros));
    assert_eq!(found(all()).await, [1, 2, 3, 4]);
    assert_eq!(
        found(EventFilter {
            ban: Some(one),
            ..all()
        })
        .await,
        [1, 4]
    );
    assert_eq!(found(actor("bob")).await, [2, 3], "an actor's id is exact");
    assert_eq!(
        found(EventFilter {
            from: at(2),
            ..all()
        })
        .await,
        [2, 3, 4]
    );
    assert_eq!(
        found(EventFilter { to: at(2), ..all() }).await,
        [1],
        "the end is not in it"
    );
    assert_eq!(
        found(EventFilter {
            from: at(2),
            to: at(4),
            ..all()
        })
        .await,
        [2, 3]
    );
    assert_eq!(
        found(EventFilter {
            ban: Some(two),
            ..actor("bob")
        })
        .await,
        [2]
    );
    assert!(
        found(EventFilter {
            ban: Some(two),
            ..actor("alice")
        })
        .await
        .is_empty()
    );
}

async fn an_event_tells_its_place_in_the_feed_until_that_is_pruned(house: House) {
    let tenant = house.tenant("one").await;
    let intent = intent(&tenant);
    let mut work = house.begin(&intent).await;
    let new = token_ban(&tenant, 1);
    let made = event(1, Some(new.ban.ban_id), "CREATED");
    work.add_bans(&[new]).await.expect("a ban added");
    work.note(&made).await.expect("an event");
    work.commit(&Answer::default()).await.expect("a commit");
    let told = house.last_news().await.anchor;
    assert_eq!(told.nonce, intent.nonce);
    let kept = async || house.store.events(&tenant, &all()).await.expect("events");
    assert_eq!(
        kept().await,
        [Event {
            anchor: Some(told),
            ..made.clone()
        }]
    );

    house.place(&tenant, token_ban(&tenant, 2)).await;
    house.store.prune(Timestamp::MAX).await.expect("pruned");
    assert_eq!(kept().await, [made], "the event itself stays");
}

async fn an_event_comes_once_even_where_two_rows_bear_one_mark(house: House) {
    let tenant = house.tenant("one").await;
    let first = intent(&tenant);
    // Marks are 32 random bits, so among a hundred thousand rows two will be the same.
    let second = Intent {
        nonce: first.nonce,
        ..intent(&tenant)
    };
    for (intent, number) in [(&first, 1), (&second, 2)] {
        let mut work = house.begin(intent).await;
        let new = token_ban(&tenant, usize::from(number));
        work.add_bans(&[new]).await.expect("a ban added");
        work.note(&event(number, None, "CREATED"))
            .await
            .expect("an event");
        work.commit(&Answer::default()).await.expect("a commit");
    }
    let marks: Vec<Anchor> = house.feed().await.iter().map(|news| news.anchor).collect();
    assert_eq!(
        marks
            .iter()
            .filter(|anchor| anchor.nonce == first.nonce)
            .count(),
        2
    );
    assert_eq!(numbers(&house, &tenant, &all()).await, [1, 2]);
}

async fn events_are_the_tenants_own(house: House) {
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    note(&house, &intent(&one), &[event(1, None, "X")]).await;
    note(
        &house,
        &intent(&two),
        &[event(1, None, "Y"), event(2, None, "Y")],
    )
    .await;
    assert_eq!(numbers(&house, &one, &all()).await, [1]);
    assert_eq!(numbers(&house, &two, &all()).await, [1, 2]);
}
