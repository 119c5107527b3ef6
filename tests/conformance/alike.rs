//! S-10: of bans alike one stands, and the database sees to it.

use std::sync::Arc;

use bancheck::{
    desk::End,
    domain::{
        ban::{Ban, Enforcement, State},
        channel::{Channel, Channels},
        clock::Timestamp,
        ids::TenantId,
        keys::Reach,
        record::{BanRecord, Change},
    },
    store::{Added, Answer, NewBan, StoreError},
};
use tokio::task::JoinSet;

use crate::house::{
    House, NOW, SECOND, asked, intent, intent_at, lifted, made, made_at, token, token_ban, within,
};

on_both_stores!(
    s10_a_ban_alike_is_refused_and_the_standing_one_is_named,
    s10_the_database_itself_refuses_a_second_one_alike,
    s10_so_it_does_where_many_have_come_and_gone,
    s10_so_it_does_however_many_that_are_newer_have_gone,
    s10_what_has_ended_keeps_the_database_from_nothing,
    s10_of_many_alike_made_at_once_one_stands,
    s10_of_two_alike_in_one_chunk_the_first_stands,
    s10_a_chunk_keeps_what_is_new_and_names_what_stands_for_the_rest,
    s10_so_does_a_chunk_of_very_many_and_writing_goes_on_after_it,
    s10_a_ban_can_be_made_again_at_the_instant_the_old_one_ends,
    s10_of_a_chunk_each_ban_is_made_or_told_which_stands_in_its_way,
    s10_a_lifted_ban_can_be_made_again,
    s10_a_ban_cannot_be_changed_to_be_like_another,
    s10_a_ban_can_be_changed_to_be_like_one_whose_time_is_over,
    s10_tenants_do_not_stand_in_each_others_way,
    bans_that_hold_on_the_same_person_and_channel_overlap,
);

const EXPIRE: Timestamp = NOW.plus_micros(SECOND);

fn until(tenant: &TenantId, expire: Timestamp, now: Timestamp) -> NewBan {
    let mut asked = asked(&token(1));
    asked.end = End::At(expire);
    made_at(tenant, &asked, now)
}

fn shadow(tenant: &TenantId, number: usize) -> NewBan {
    let mut asked = asked(&token(number));
    asked.enforcement = Enforcement::Shadow;
    made(tenant, &asked)
}

/// What the newest row of the feed tells of bans, by their ids.
async fn told(house: &House) -> Vec<BanRecord> {
    match house.last_news().await.change {
        Change::Bans(bans) => bans,
        change => panic!("expected news of bans, not {change:?}"),
    }
}

async fn s10_a_ban_alike_is_refused_and_the_standing_one_is_named(house: House) {
    let tenant = house.tenant("one").await;
    let standing = house.place(&tenant, token_ban(&tenant, 1)).await;
    let second = token_ban(&tenant, 1);
    assert_ne!(second.ban.ban_id, standing.ban_id);
    let before = house.last_news().await;
    let mut work = house.begin(&intent(&tenant)).await;
    let added = work.add_bans(&[second]).await.expect("an answer");
    assert_eq!(added, [Added::Alike(standing.ban_id)]);
    work.commit(&Answer::default()).await.expect("a commit");
    assert_eq!(house.last_news().await, before, "a refused ban is no news");
    assert_eq!(house.number("SELECT count(*) FROM ban_keys").await, 1);
    assert_eq!(house.number("SELECT count(*) FROM ban_targets").await, 1);
}

/// A ban that was made and lifted.
async fn come_and_gone(house: &House, tenant: &TenantId, new: NewBan) -> Ban {
    let likeness = new.likeness;
    let ban = house.place(tenant, new).await;
    house.change(&lifted(&ban), likeness).await;
    ban
}

/// Copies a ban's row under another id with its keys, as somebody would who forgot to look; `ended` = the copy
/// has ended.
async fn copied(house: &House, ban: &Ban, ended: bool) -> Result<(), StoreError> {
    let mut raw = house.raw().await;
    sqlx::query(
        "INSERT INTO bans (tenant, ban_id, generation, channels, match_kind, reason, reason_code,
             enforcement, origin, ended, created_at, updated_at, created_by, deactivated_by,
             deactivate_reason, source_interaction, source_queue, import_id, likeness, version)
         SELECT tenant, unhex('00'), generation, channels, match_kind, reason, reason_code,
             enforcement, origin, $2, created_at, updated_at, created_by, deactivated_by,
             deactivate_reason, source_interaction, source_queue, import_id, likeness, version
         FROM bans WHERE ban_id = $1",
    )
    .bind(ban.ban_id.bytes().to_vec())
    .bind(i32::from(ended))
    .execute(&mut raw)
    .await?;
    sqlx::query(
        "INSERT INTO ban_keys (tenant, ban_id, ordinal, position, space, width, match_key, kind,
             matches, canonicaliser_version)
         SELECT tenant, unhex('00'), ordinal, position, space, width, match_key, kind, matches,
             canonicaliser_version
         FROM ban_keys WHERE ban_id = $1",
    )
    .bind(ban.ban_id.bytes().to_vec())
    .execute(&mut raw)
    .await?;
    Ok(())
}

/// The database refuses such a copy of a ban that stands.
async fn keeps_out_a_copy(house: &House, standing: &Ban) {
    let refused = copied(house, standing, false).await;
    assert!(matches!(refused, Err(StoreError::Alike)), "{refused:?}");
    let mut raw = house.raw().await;
    let clean = sqlx::query("DELETE FROM bans WHERE ban_id = unhex('00')");
    clean.execute(&mut raw).await.expect("no half of it left");
}

async fn s10_the_database_itself_refuses_a_second_one_alike(house: House) {
    let tenant = house.tenant("one").await;
    let ban = house.place(&tenant, token_ban(&tenant, 1)).await;
    keeps_out_a_copy(&house, &ban).await;
    copied(&house, &ban, true)
        .await
        .expect("one that has ended, beside one that stands");
    let mut raw = house.raw().await;
    let revived = sqlx::query("UPDATE bans SET ended = 0 WHERE ban_id = unhex('00')");
    let revived = revived.execute(&mut raw).await.map_err(StoreError::from);
    assert!(matches!(revived, Err(StoreError::Alike)), "{revived:?}");
}

async fn s10_so_it_does_where_many_have_come_and_gone(house: House) {
    let tenant = house.tenant("one").await;
    for _ in 0..20 {
        come_and_gone(&house, &tenant, token_ban(&tenant, 1)).await;
    }
    let ban = house.place(&tenant, token_ban(&tenant, 1)).await;
    keeps_out_a_copy(&house, &ban).await;
}

async fn s10_so_it_does_however_many_that_are_newer_have_gone(house: House) {
    let tenant = house.tenant("one").await;
    let standing = house.place(&tenant, token_ban(&tenant, 1)).await;
    for _ in 0..20 {
        come_and_gone(&house, &tenant, shadow(&tenant, 1)).await;
    }
    keeps_out_a_copy(&house, &standing).await;
    let chunk: Vec<_> = (0..300).map(|number| token_ban(&tenant, number)).collect();
    let mut work = house.begin(&intent(&tenant)).await;
    let added = work.add_bans(&chunk).await.expect("bans added");
    assert_eq!(added[1], Added::Alike(standing.ban_id));
    assert_eq!(added.iter().filter(|one| **one == Added::Made).count(), 299);
}

async fn s10_what_has_ended_keeps_the_database_from_nothing(house: House) {
    let tenant = house.tenant("one").await;
    let ban = come_and_gone(&house, &tenant, token_ban(&tenant, 1)).await;
    copied(&house, &ban, false)
        .await
        .expect("one that stands, beside one that has ended");
}

async fn s10_of_many_alike_made_at_once_one_stands(house: House) {
    let house = Arc::new(house);
    let tenant = house.tenant("one").await;
    let mut makers = JoinSet::new();
    for _ in 0..8 {
        let (house, tenant) = (Arc::clone(&house), tenant.clone());
        makers.spawn(async move {
            let new = token_ban(&tenant, 1);
            let ban = new.ban.ban_id;
            (ban, house.add(&intent(&tenant), &[new]).await)
        });
    }
    let mut made = Vec::new();
    while let Some(one) = within("eight makers", makers.join_next()).await {
        made.push(one.expect("a maker"));
    }
    let winners: Vec<_> = made
        .iter()
        .filter(|(_, added)| *added == [Added::Made])
        .map(|(ban, _)| *ban)
        .collect();
    let [winner] = winners[..] else {
        panic!("not one stands, but {winners:?}")
    };
    let others = made.iter().filter(|(ban, _)| *ban != winner);
    for (_, added) in others {
        assert_eq!(*added, [Added::Alike(winner)]);
    }
    assert_eq!(house.number("SELECT count(*) FROM bans").await, 1);
}

async fn s10_of_two_alike_in_one_chunk_the_first_stands(house: House) {
    let tenant = house.tenant("one").await;
    let chunk = [token_ban(&tenant, 1), token_ban(&tenant, 1)];
    let added = house.add(&intent(&tenant), &chunk).await;
    assert_eq!(added, [Added::Made, Added::Alike(chunk[0].ban.ban_id)]);
    let told = told(&house).await;
    assert_eq!(
        told.iter().map(|ban| ban.ban).collect::<Vec<_>>(),
        [chunk[0].ban.ban_id]
    );
    assert_eq!(house.number("SELECT count(*) FROM ban_keys").await, 1);
}

async fn s10_a_chunk_keeps_what_is_new_and_names_what_stands_for_the_rest(house: House) {
    let tenant = house.tenant("one").await;
    let standing = house.place(&tenant, token_ban(&tenant, 2)).await;
    let chunk: Vec<_> = [1, 2, 3, 2, 1]
        .map(|number| token_ban(&tenant, number))
        .into();
    let added = house.add(&intent(&tenant), &chunk).await;
    let alike = Added::Alike;
    let (first, stands) = (chunk[0].ban.ban_id, standing.ban_id);
    assert_eq!(
        added,
        [
            Added::Made,
            alike(stands),
            Added::Made,
            alike(stands),
            alike(first)
        ]
    );
    assert_eq!(told(&house).await.len(), 2);
}

async fn s10_so_does_a_chunk_of_very_many_and_writing_goes_on_after_it(house: House) {
    let tenant = house.tenant("one").await;
    let standing = house.place(&tenant, token_ban(&tenant, 250)).await;
    let chunk: Vec<_> = (0..300).map(|number| token_ban(&tenant, number)).collect();
    let more: Vec<_> = (300..400)
        .map(|number| token_ban(&tenant, number))
        .collect();
    let mut work = house.begin(&intent(&tenant)).await;
    let added = work.add_bans(&chunk).await.expect("bans added");
    assert_eq!(added[250], Added::Alike(standing.ban_id));
    assert_eq!(added.iter().filter(|one| **one == Added::Made).count(), 299);
    let added = work.add_bans(&more).await.expect("bans added");
    assert!(added.iter().all(|one| *one == Added::Made));
    work.commit(&Answer::default()).await.expect("a commit");
    assert_eq!(told(&house).await.len(), 399);
    assert_eq!(house.number("SELECT count(*) FROM bans").await, 400);
    assert_eq!(house.number("SELECT count(*) FROM ban_keys").await, 400);
}

async fn s10_of_a_chunk_each_ban_is_made_or_told_which_stands_in_its_way(house: House) {
    let tenant = house.tenant("one").await;
    house.place(&tenant, until(&tenant, EXPIRE, NOW)).await;
    let stands = house.place(&tenant, token_ban(&tenant, 5)).await;
    let later = EXPIRE.plus_micros(SECOND);
    let chunk = [
        token_ban(&tenant, 6),
        until(&tenant, later, EXPIRE),
        token_ban(&tenant, 5),
        until(&tenant, later, EXPIRE),
        token_ban(&tenant, 7),
    ];
    let added = house.add(&intent_at(&tenant, EXPIRE), &chunk).await;
    let first = Added::Alike(chunk[1].ban.ban_id);
    let stands = Added::Alike(stands.ban_id);
    assert_eq!(
        added,
        [Added::Made, Added::Made, stands, first, Added::Made]
    );
    let told = told(&house).await;
    let held: Vec<_> = { told.iter() }
        .filter(|ban| !ban.ended && ban.keys.len() == 1)
        .collect();
    assert_eq!(held.len(), 3, "three were made, and each has its key");
}

async fn s10_a_ban_can_be_made_again_at_the_instant_the_old_one_ends(house: House) {
    let tenant = house.tenant("one").await;
    let old = house.place(&tenant, until(&tenant, EXPIRE, NOW)).await;
    let later = EXPIRE.plus_micros(SECOND);

    let early = EXPIRE.plus_micros(-1);
    let added = house
        .add(&intent_at(&tenant, early), &[until(&tenant, later, early)])
        .await;
    assert_eq!(
        added,
        [Added::Alike(old.ban_id)],
        "a microsecond before, it still stands"
    );

    let new = until(&tenant, later, EXPIRE);
    let added = house
        .add(&intent_at(&tenant, EXPIRE), std::slice::from_ref(&new))
        .await;
    assert_eq!(
        added,
        [Added::Made],
        "nothing swept, and yet it can be made"
    );
    let mut told = told(&house).await;
    told.sort_by_key(|ban| ban.ban != old.ban_id);
    let told: Vec<_> = told.iter().map(|ban| (ban.ban, ban.ended)).collect();
    assert_eq!(
        told,
        [(old.ban_id, true), (new.ban.ban_id, false)],
        "both in one row"
    );

    let retired = house.kept(&old).await;
    assert!(retired.ended);
    assert_eq!(
        retired.state(EXPIRE),
        State::Expired,
        "it was not lifted by anybody"
    );
    assert_eq!(retired.version, old.version, "time is no edit");
    let again = until(&tenant, later, EXPIRE);
    let added = house.add(&intent_at(&tenant, EXPIRE), &[again]).await;
    assert_eq!(added, [Added::Alike(new.ban.ban_id)]);
}

async fn s10_a_lifted_ban_can_be_made_again(house: House) {
    let tenant = house.tenant("one").await;
    let old = come_and_gone(&house, &tenant, token_ban(&tenant, 1)).await;
    let new = house.place(&tenant, token_ban(&tenant, 1)).await;
    assert_ne!(new.ban_id, old.ban_id);
    assert_eq!(house.kept(&old).await.state(NOW), State::Deactivated);
}

/// Makes the shadow ban hold, by which it becomes like the ban that holds; `looks` = once those have ended
/// that are in its way and over.
async fn harden(
    house: &House,
    ban: &Ban,
    like: &NewBan,
    now: Timestamp,
    looks: bool,
) -> Result<(), StoreError> {
    let hardened = Ban {
        enforcement: Enforcement::Enforced,
        updated: now,
        version: ban.version + 1,
        ..ban.clone()
    };
    let mut work = house.begin(&intent_at(&ban.tenant, now)).await;
    if looks {
        work.stands_alike(ban.ban_id, &like.alike()).await?;
    }
    work.set_ban(&hardened, like.likeness).await?;
    work.commit(&Answer::default()).await?;
    Ok(())
}

async fn s10_a_ban_cannot_be_changed_to_be_like_another(house: House) {
    let tenant = house.tenant("one").await;
    let holding = token_ban(&tenant, 1);
    house.place(&tenant, holding.clone()).await;
    let watching = house.place(&tenant, shadow(&tenant, 1)).await;
    for looks in [false, true] {
        let changed = harden(&house, &watching, &holding, NOW, looks).await;
        assert!(matches!(changed, Err(StoreError::Alike)));
    }
    assert_eq!(house.kept(&watching).await, watching);
}

async fn s10_a_ban_can_be_changed_to_be_like_one_whose_time_is_over(house: House) {
    let tenant = house.tenant("one").await;
    let holding = until(&tenant, EXPIRE, NOW);
    let old = house.place(&tenant, holding.clone()).await;
    let watching = house.place(&tenant, shadow(&tenant, 1)).await;
    let early = EXPIRE.plus_micros(-1);
    let early = harden(&house, &watching, &holding, early, true).await;
    assert!(matches!(early, Err(StoreError::Alike)));
    let changed = harden(&house, &watching, &holding, EXPIRE, true).await;
    changed.expect("the old one is over, swept or not");
    let mut told = told(&house).await;
    told.sort_by_key(|ban| ban.ban != old.ban_id);
    let told: Vec<_> = told.iter().map(|ban| (ban.ban, ban.ended)).collect();
    assert_eq!(
        told,
        [(old.ban_id, true), (watching.ban_id, false)],
        "both in one row"
    );
}

async fn s10_tenants_do_not_stand_in_each_others_way(house: House) {
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    let new = token_ban(&one, 1);
    let mut twin = new.clone();
    twin.ban.tenant = two.clone();
    house.place(&one, new).await;
    house.place(&two, twin).await;
}

async fn bans_that_hold_on_the_same_person_and_channel_overlap(house: House) {
    let tenant = house.tenant("one").await;
    // All on one person: what sets them apart keeps them from being alike.
    let told_apart = |number: u8, change: &dyn Fn(&mut Ban)| {
        let mut new = token_ban(&tenant, 1);
        new.likeness = [number; 16];
        change(&mut new.ban);
        new
    };
    let asked = told_apart(1, &|_| {});
    let both = told_apart(2, &|ban| {
        ban.channels = Channels::of(&[Channel::WebChat, Channel::Vk]);
    });
    let bans = [
        asked.clone(),
        both.clone(),
        told_apart(3, &|ban| ban.channels = Channels::of(&[Channel::Vk])),
        told_apart(4, &|ban| ban.expire = Some(NOW)),
        told_apart(5, &|ban| ban.start = Some(EXPIRE)),
        told_apart(6, &|ban| ban.ended = true),
        told_apart(7, &|ban| ban.enforcement = Enforcement::Shadow),
        token_ban(&tenant, 2),
    ];
    house.add(&intent(&tenant), &bans).await;
    let mut work = house.begin(&intent(&tenant)).await;
    let none = Reach::default();
    let overlapping = work.overlapping(asked.ban.ban_id, &none, 100).await;
    let overlapping = overlapping.expect("an answer");
    assert_eq!(
        overlapping,
        [both.ban.ban_id],
        "in force, holding, on one of its channels"
    );
    work.abandon().await.expect("undone");
    let mut later = house.begin(&intent_at(&tenant, EXPIRE)).await;
    let mut overlapping = later
        .overlapping(asked.ban.ban_id, &none, 100)
        .await
        .expect("an answer");
    overlapping.sort_unstable();
    let mut expected = [both.ban.ban_id, bans[4].ban.ban_id];
    expected.sort_unstable();
    assert_eq!(overlapping, expected, "the scheduled one has begun");
    later.abandon().await.expect("undone");
}
