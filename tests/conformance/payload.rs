//! S-11: what a feed row tells is what the rows say.

use std::{collections::BTreeSet, sync::Arc};

use bancheck::{
    domain::{
        ban::{Ban, Enforcement},
        channel::{Channel, Channels},
        identity::{IdentityKind, MatchKind},
        ids::TenantId,
        policy::{FailureMode, TenantSettings},
        record::{Change, ListRecord},
    },
    store::{Answer, NewBan, Renewal},
};
use tokio::task::JoinSet;

use crate::{
    house::{
        House, NOW, SECOND, asked, event, intent, lifted, list_id, made, target, token_ban, within,
    },
    replica::Replica,
};

on_both_stores!(
    s11_the_last_payload_equals_the_rows_when_queues_are_set_at_once,
    s11_every_row_of_the_feed_tells_what_a_load_would,
    s11_of_many_bans_a_row_tells_what_a_load_would_whatever_lies_between_them,
    s11_a_second_writer_waits_for_the_tenants_row,
    s11_settings_are_told_as_they_are_kept,
);

async fn told_list(house: &House) -> ListRecord {
    match house.last_news().await.change {
        Change::List(list) => list,
        change => panic!("expected news of a list, not {change:?}"),
    }
}

async fn s11_the_last_payload_equals_the_rows_when_queues_are_set_at_once(house: House) {
    let house = Arc::new(house);
    let tenant = house.tenant("one").await;
    house.list(&tenant, "vip").await;
    let mut writers = JoinSet::new();
    for queue in ["a", "b", "c", "d"] {
        let (house, tenant) = (Arc::clone(&house), tenant.clone());
        writers.spawn(async move {
            for _ in 0..12 {
                let mut work = house.begin(&intent(&tenant)).await;
                let mut list = work
                    .list(&list_id("vip"))
                    .await
                    .expect("a look")
                    .expect("the list");
                list.version += 1;
                list.queues = BTreeSet::from([queue.to_owned(), format!("{queue}-again")]);
                work.set_list_queues(&list).await.expect("queues set");
                work.commit(&Answer::default()).await.expect("a commit");
            }
        });
    }
    while let Some(writer) = within("four writers", writers.join_next()).await {
        writer.expect("a writer");
    }
    let kept = house
        .store
        .list(&tenant, &list_id("vip"))
        .await
        .expect("a look")
        .expect("the list");
    assert_eq!(
        told_list(&house).await.queues,
        kept.queues.iter().cloned().collect::<Vec<_>>()
    );
    assert_eq!(
        kept.queues.len(),
        2,
        "one writer's queues, and nobody else's: {:?}",
        kept.queues
    );
    assert_eq!(kept.version, 1 + 4 * 12, "no change was lost");
}

/// The feed, retold from its first row, and a load must know the same.
async fn agree(house: &House, tenant: &TenantId, after: &str) {
    let loaded = Replica::load(&*house.store, tenant)
        .await
        .expect("the tenant");
    let heard = Replica::hear(&house.feed().await, tenant, loaded.head);
    assert_eq!(loaded, heard, "after {after}");
}

async fn s11_every_row_of_the_feed_tells_what_a_load_would(house: House) {
    let tenant = house.tenant("one").await;
    agree(&house, &tenant, "the tenant was made").await;

    let mut many = asked("+420 601 123 456");
    many.targets = vec![
        target(IdentityKind::PhoneNumber, "+420 601 123 456"),
        target(IdentityKind::EmailAddress, "A.Nother+tag@example.org"),
        target(IdentityKind::SipUri, "sip:bob@example.org"),
    ];
    many.start = Some(NOW.plus_micros(SECOND));
    let new = made(&tenant, &many);
    assert!(new.keys.len() >= 3);
    let likeness = new.likeness;
    let ban = house.place(&tenant, new).await;
    agree(&house, &tenant, "a ban of three targets was made").await;

    let mut range = asked("");
    range.targets = vec![target(IdentityKind::IpAddress, "2001:db8::/40")];
    range.match_kind = Some(MatchKind::Cidr);
    range.enforcement = Enforcement::Shadow;
    house.place(&tenant, made(&tenant, &range)).await;
    agree(&house, &tenant, "a network was banned").await;

    let moved = Ban {
        channels: Channels::of(&[Channel::Call, Channel::Email]),
        enforcement: Enforcement::Shadow,
        start: None,
        expire: Some(NOW.plus_micros(99 * SECOND)),
        version: 2,
        ..ban.clone()
    };
    house.change(&moved, [4; 16]).await;
    assert_eq!(house.kept(&ban).await, moved);
    agree(&house, &tenant, "the ban was changed").await;

    let mut list = house.list(&tenant, "vip").await;
    agree(&house, &tenant, "a list was made").await;
    list.queues = ["b", "a", "ž"].map(str::to_owned).into();
    list.enforcement = Enforcement::Shadow;
    list.treatment = Some(bancheck::domain::list::Treatment::DisableWidget);
    list.enforce_outbound = true;
    list.generation = 41;
    list.version = 2;
    let mut work = house.begin(&intent(&tenant)).await;
    work.set_list(&list).await.expect("a list changed");
    work.set_list_queues(&list).await.expect("queues set");
    work.commit(&Answer::default()).await.expect("a commit");
    agree(&house, &tenant, "the list was changed").await;

    let mut inside = token_ban(&tenant, 5);
    inside.ban.list_id = Some(list.list_id.clone());
    inside.generation = list.generation;
    house.place(&tenant, inside).await;
    agree(&house, &tenant, "a ban was made in the list").await;

    house.change(&lifted(&moved), likeness).await;
    agree(&house, &tenant, "the ban was lifted").await;
}

async fn s11_of_many_bans_a_row_tells_what_a_load_would_whatever_lies_between_them(house: House) {
    let tenant = house.tenant("one").await;
    // Their ids follow one another, and each has several keys.
    let bans: Vec<_> = (0..300)
        .map(|number| numbered_on_two(&tenant, number))
        .collect();
    let every_third = |at: usize| bans.iter().skip(at).step_by(3).cloned().collect::<Vec<_>>();
    for (at, after) in [
        (0, "nothing between"),
        (1, "others between"),
        (2, "the rest"),
    ] {
        house.add(&intent(&tenant), &every_third(at)).await;
        agree(&house, &tenant, after).await;
    }

    let renewals: Vec<_> = bans[10..190]
        .iter()
        .map(|new| Renewal {
            ban: new.ban.ban_id,
            reason: String::new(),
            reason_code: String::new(),
            start: None,
            expire: Some(NOW.plus_micros(7 * SECOND)),
        })
        .collect();
    let renewed = async |after| {
        let mut work = house.begin(&intent(&tenant)).await;
        work.renew_bans(&renewals).await.expect("bans renewed");
        work.commit(&Answer::default()).await.expect("a commit");
        agree(&house, &tenant, after).await;
    };
    renewed("those in a row were renewed").await;
    house.change(&lifted(&bans[150].ban), [9; 16]).await;
    renewed("one of them has ended").await;
}

/// A ban on two people.
fn numbered_on_two(tenant: &TenantId, number: usize) -> NewBan {
    let mut asked = asked("");
    asked.targets = vec![
        target(IdentityKind::PhoneNumber, &format!("+420 601 {number:06}")),
        target(
            IdentityKind::EmailAddress,
            &format!("a.{number}+tag@example.org"),
        ),
    ];
    made(tenant, &asked)
}

async fn s11_a_second_writer_waits_for_the_tenants_row(house: House) {
    let house = Arc::new(house);
    let tenant = house.tenant("one").await;
    let mut first = house.begin(&intent(&tenant)).await;
    let mut seconds = JoinSet::new();
    let (other, of_it) = (Arc::clone(&house), tenant.clone());
    seconds.spawn(async move {
        let mut second = other.begin(&intent(&of_it)).await;
        let version = second.settings().version;
        let added = second
            .add_bans(&[token_ban(&of_it, 1)])
            .await
            .expect("an answer");
        second.abandon().await.expect("undone");
        (version, added)
    });
    house.until_somebody_waits().await;
    first
        .add_bans(&[token_ban(&tenant, 1)])
        .await
        .expect("a ban added");
    first
        .set_settings(&TenantSettings {
            version: 2,
            ..TenantSettings::default()
        })
        .await
        .expect("settings written");
    first.commit(&Answer::default()).await.expect("a commit");
    let second = within("the second writer", seconds.join_next()).await;
    let (version, added) = second.expect("a writer").expect("a writer that ended well");
    assert_eq!(version, 2, "it works on what the first one left");
    assert!(matches!(added[..], [bancheck::store::Added::Alike(_)]));
}

async fn s11_settings_are_told_as_they_are_kept(house: House) {
    let tenant = house.tenant("one").await;
    let settings = TenantSettings {
        display_name: "Zákaznické centrum „Žižka“".to_owned(),
        operator_banning_enabled: false,
        default_region: "CZ".to_owned(),
        time_zone: chrono_tz::Europe::Prague,
        failure_mode: FailureMode::Closed,
        default_record_to: Vec::new(),
        ended_ban_retention_days: 730,
        email_fold: false,
        ipv6_prefix: 56,
        version: 2,
    };
    let mut work = house.begin(&intent(&tenant)).await;
    assert_eq!(*work.settings(), TenantSettings::default());
    work.set_settings(&settings)
        .await
        .expect("settings written");
    assert_eq!(*work.settings(), settings);
    work.note(&event(1, None, "SETTINGS"))
        .await
        .expect("an event");
    work.commit(&Answer::default()).await.expect("a commit");
    assert_eq!(
        house.store.settings(&tenant).await.expect("a look"),
        Some(settings)
    );
    agree(&house, &tenant, "settings were changed").await;
    let loaded = Replica::load(&*house.store, &tenant)
        .await
        .expect("the tenant");
    let known = loaded.tenant.expect("the tenant is told");
    assert_eq!(known.failure_mode, FailureMode::Closed);
    assert_eq!(
        (known.default_region.as_str(), known.email_fold),
        ("CZ", false)
    );
    let directory = house.store.directory().await.expect("a directory");
    assert_eq!(directory.tenants, [(tenant, known)]);
}
