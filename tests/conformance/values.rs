//! S-8, and every other value: what goes in comes out, to the last microsecond and letter.

use bancheck::{
    domain::{
        ban::{Ban, Enforcement, Origin, Target},
        channel::{Channel, Channels},
        clock::Timestamp,
        identity::{IdentityKind, MatchKind},
        record::Change,
    },
    store::{Answer, BanFilter, EventFilter, NewBan},
};

use crate::{
    house::{House, NOW, event, intent, lifted, token_ban},
    replica::Replica,
};

on_both_stores!(
    s8_instants_survive_to_the_microsecond,
    a_ban_comes_out_as_it_went_in,
    texts_come_out_as_they_went_in,
    bans_that_came_together_come_out_as_they_went_in_whatever_they_share,
    values_of_a_kibibyte_come_out_as_they_went_in,
    a_changed_ban_comes_out_as_it_was_changed,
);

/// Instants of all kinds: before 1970, before year 1, beyond year 9999, and the bounds of what is kept.
const INSTANTS: [i64; 14] = [
    0,
    1,
    -1,
    999_999,
    -999_999,
    NOW.micros(),
    NOW.micros() + 1,
    -62_135_596_800_000_001,
    253_402_300_799_999_999,
    253_402_300_800_000_001,
    9_007_199_254_740_993,
    -9_007_199_254_740_993,
    i64::MAX - 1,
    i64::MIN + 1,
];

/// Texts that a quote, an escape, a comparison or a fold could spoil.
const TEXTS: [&str; 12] = [
    "it's \"quoted\" and \\escaped\\ `so`",
    "'; DROP TABLE bans; --",
    "Žluťoučký kůň",
    "e\u{301} is not é",
    "İstanbul ß ſ K",
    "שלום, עולם",
    "👩‍👩‍👧‍👦 🦀",
    "{\"json\": [1, null]}",
    "100 % _under_ !bang",
    "$1 ?1 :name @x",
    "  spaces  ",
    "\u{2028}\u{feff}\u{fffd}\u{10ffff}",
];

fn at(instant: i64) -> Timestamp {
    Timestamp::from_micros(instant)
}

async fn s8_instants_survive_to_the_microsecond(house: House) {
    let tenant = house.tenant("one").await;
    let mut bans = Vec::new();
    for (number, instant) in INSTANTS.into_iter().enumerate() {
        let NewBan {
            mut ban,
            generation,
            likeness,
            keys,
            elsewhere,
        } = token_ban(&tenant, number);
        ban.start = Some(at(instant));
        ban.expire = Some(at(instant));
        ban.created = at(instant);
        ban.updated = at(instant);
        let mark = u8::try_from(number).expect("few instants");
        let mut work = house.begin(&intent(&tenant)).await;
        let new = NewBan {
            ban: ban.clone(),
            generation,
            likeness,
            keys,
            elsewhere,
        };
        work.add_bans(&[new]).await.expect("a ban added");
        let happened = bancheck::store::Event {
            at: at(instant),
            ..event(mark, None, "MADE")
        };
        work.note(&happened).await.expect("an event");
        let answer = Answer {
            ban: Some(ban.clone()),
            ..Answer::default()
        };
        work.commit(&answer).await.expect("a commit");
        assert_eq!(house.kept(&ban).await, ban, "{instant}");

        let Change::Bans(told) = house.last_news().await.change else {
            panic!("a ban is told as a ban");
        };
        assert_eq!(
            (told[0].start, told[0].expire),
            (ban.start, ban.expire),
            "{instant}"
        );
        bans.push((ban, likeness));
    }

    let loaded = Replica::load(&*house.store, &tenant)
        .await
        .expect("the tenant");
    for (ban, likeness) in bans {
        let record = &loaded.bans[&ban.ban_id];
        assert_eq!((record.start, record.expire), (ban.start, ban.expire));
        let ended = Ban {
            deactivated: ban.start,
            ..lifted(&ban)
        };
        house.change(&ended, likeness).await;
        assert_eq!(house.kept(&ban).await, ended);
    }
    let filter = EventFilter {
        limit: 100,
        ..EventFilter::default()
    };
    let events = house.store.events(&tenant, &filter).await.expect("events");
    // What time itself did to these bans is noted at other instants.
    let noted = events
        .iter()
        .filter(|event| !["STARTED", "EXPIRED"].contains(&event.action.as_str()));
    let instants: Vec<_> = noted.map(|event| event.at.micros()).collect();
    assert_eq!(instants, INSTANTS);
}

async fn bans_that_came_together_come_out_as_they_went_in_whatever_they_share(house: House) {
    let tenant = house.tenant("one").await;
    let texts = [TEXTS.as_slice(), &["", "null", "123", "[]"]].concat();
    let instants = [None, Some(at(NOW.micros())), Some(at(i64::MAX - 1))];
    let new = |number: usize| {
        let mut new = token_ban(&tenant, number);
        texts[number % texts.len()].clone_into(&mut new.ban.reason);
        "the same".clone_into(&mut new.ban.source_queue);
        new.ban.start = instants[number % 3];
        new.ban.parent = number.is_multiple_of(4).then_some(new.ban.ban_id);
        new
    };
    let mut all = Vec::new();
    for many in [1, 2, 63, 200] {
        let bans: Vec<_> = (all.len()..all.len() + many).map(new).collect();
        house.add(&intent(&tenant), &bans).await;
        all.extend(bans);
    }
    for new in all {
        assert_eq!(house.kept(&new.ban).await, new.ban);
    }
}

/// A ban of which nothing is left at its default.
fn whole(tenant: &bancheck::domain::ids::TenantId, number: usize) -> NewBan {
    let mut new = token_ban(tenant, number);
    let other = token_ban(tenant, number + 1_000);
    new.ban.channels = Channels::of(&[Channel::WebChat, Channel::Vk]);
    new.ban.match_kind = MatchKind::Cidr;
    new.ban.enforcement = Enforcement::Shadow;
    new.ban.origin = Origin::ContactCascade;
    "SPAM".clone_into(&mut new.ban.reason_code);
    new.ban.start = Some(NOW);
    new.ban.expire = Some(NOW.plus_micros(1));
    new.ban.updated = NOW.plus_micros(2);
    "interaction".clone_into(&mut new.ban.source_interaction);
    "queue".clone_into(&mut new.ban.source_queue);
    new.ban.parent = Some(other.ban.ban_id);
    "import".clone_into(&mut new.ban.import_id);
    new.ban.version = 7;
    new.ban.targets.push(Target {
        kind: IdentityKind::MessengerPsid,
        input: " 123 ".to_owned(),
        canonical: "123".to_owned(),
        issuer: "a page".to_owned(),
        canonicaliser_version: 3,
        match_keys: vec!["second".to_owned(), "third".to_owned()],
    });
    let key = other.keys[0].1.clone();
    new.keys.push((1, key.clone(), "second".to_owned()));
    new.keys.push((1, key, "third".to_owned()));
    new
}

async fn a_ban_comes_out_as_it_went_in(house: House) {
    let tenant = house.tenant("one").await;
    let ban = house.place(&tenant, whole(&tenant, 1)).await;
    assert_eq!(house.kept(&ban).await, ban);
    let mut work = house.begin(&intent(&tenant)).await;
    assert_eq!(
        work.ban(ban.ban_id).await.expect("a look"),
        Some(ban.clone())
    );
    assert_eq!(
        work.children(ban.parent.expect("a parent"))
            .await
            .expect("a look"),
        [ban.ban_id]
    );
    work.abandon().await.expect("undone");

    let mut in_list = token_ban(&tenant, 2);
    in_list.ban.list_id = Some(crate::house::list_id("vip"));
    in_list.generation = 4_000_000;
    let in_list = house.place(&tenant, in_list).await;
    assert_eq!(house.kept(&in_list).await, in_list);
    let loaded = Replica::load(&*house.store, &tenant)
        .await
        .expect("the tenant");
    assert_eq!(loaded.bans[&in_list.ban_id].generation, 4_000_000);
    assert_eq!(loaded.bans[&ban.ban_id].keys.len(), 3);
}

async fn texts_come_out_as_they_went_in(house: House) {
    let tenant = house.tenant("one").await;
    for (number, text) in TEXTS.into_iter().enumerate() {
        let mut new = whole(&tenant, number);
        let text = text.to_owned();
        new.ban.reason.clone_from(&text);
        new.ban.reason_code.clone_from(&text);
        new.ban.created_by.clone_from(&text);
        new.ban.source_interaction.clone_from(&text);
        new.ban.source_queue.clone_from(&text);
        new.ban.import_id.clone_from(&text);
        for target in &mut new.ban.targets {
            target.input.clone_from(&text);
            target.canonical.clone_from(&text);
            target.issuer.clone_from(&text);
            target.match_keys.fill(text.clone());
        }
        for (_, _, readable) in &mut new.keys {
            readable.clone_from(&text);
        }
        let mark = u8::try_from(number).expect("few texts");
        let happened = bancheck::store::Event {
            ban: Some(new.ban.ban_id),
            actor: text.clone(),
            comment: text.clone(),
            ..event(mark, None, &text)
        };
        let mut intent = intent(&tenant);
        intent.request_id.clone_from(&text);
        let mut work = house.begin(&intent).await;
        work.add_bans(std::slice::from_ref(&new))
            .await
            .expect("a ban added");
        work.note(&happened).await.expect("an event");
        let answer = Answer {
            ban: Some(new.ban.clone()),
            warnings: vec![(1, text.clone())],
            ..Answer::default()
        };
        work.commit(&answer).await.expect("a commit");

        assert_eq!(house.kept(&new.ban).await, new.ban, "{text}");
        assert_eq!(
            house.store.outcome(&intent).await.expect("a look"),
            Some(answer),
            "{text}"
        );
        let by_it = EventFilter {
            actor: text.clone(),
            limit: 9,
            ..EventFilter::default()
        };
        let events = house.store.events(&tenant, &by_it).await.expect("events");
        let [kept] = &events[..] else {
            panic!("not one event by {text}: {events:?}")
        };
        assert_eq!(
            *kept,
            bancheck::store::Event {
                anchor: kept.anchor,
                ..happened
            }
        );
    }
}

async fn values_of_a_kibibyte_come_out_as_they_went_in(house: House) {
    let tenant = house.tenant("one").await;
    let values = [
        "x".repeat(1_024),
        "ž".repeat(512),
        "🦀".repeat(256),
        "\"\\".repeat(512),
    ];
    for (number, value) in values.iter().enumerate() {
        let mut new = token_ban(&tenant, number);
        new.ban.targets[0].input.clone_from(value);
        new.ban.targets[0].canonical.clone_from(value);
        new.ban.targets[0].issuer.clone_from(value);
        new.ban.targets[0].match_keys = vec![value.clone()];
        new.keys[0].2.clone_from(value);
        new.ban.reason = "🦀".repeat(500);
        let ban = house.place(&tenant, new).await;
        assert_eq!(house.kept(&ban).await, ban);
        let filter = BanFilter {
            ends_with: value.clone(),
            limit: 9,
            ..BanFilter::default()
        };
        let found = house.store.bans(&tenant, &filter).await.expect("bans");
        assert_eq!(found.bans, [ban]);
    }
}

async fn a_changed_ban_comes_out_as_it_was_changed(house: House) {
    let tenant = house.tenant("one").await;
    let new = whole(&tenant, 1);
    let likeness = new.likeness;
    let ban = house.place(&tenant, new).await;
    let changed = Ban {
        channels: Channels::of(&[Channel::WebChat]),
        reason: "„nový“ důvod".to_owned(),
        reason_code: "OTHER".to_owned(),
        enforcement: Enforcement::Enforced,
        start: None,
        expire: None,
        updated: NOW.plus_micros(77),
        version: 8,
        ..ban.clone()
    };
    house.change(&changed, likeness).await;
    assert_eq!(house.kept(&ban).await, changed);
    let gone = lifted(&changed);
    house.change(&gone, likeness).await;
    assert_eq!(house.kept(&ban).await, gone);
}
