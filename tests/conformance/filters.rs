//! Lists of bans: what narrows them.

use bancheck::{
    domain::{
        ban::{Ban, Origin, State},
        channel::{Channel, Channels},
        ids::TenantId,
    },
    store::{BanFilter, NewBan},
};

use crate::house::{House, NOW, SECOND, intent, lifted, list_id, token_ban};

on_both_stores!(
    bans_are_narrowed_by_each_filter_alone,
    bans_are_narrowed_by_filters_together,
    states_are_told_at_the_instant_asked_about,
    a_sign_that_means_something_to_like_means_itself,
    an_ending_and_a_text_are_found_in_their_own_case_only,
);

/// What narrows nothing, and counts.
pub(crate) fn all() -> BanFilter {
    BanFilter {
        states: State::ALL.to_vec(),
        now: Some(NOW),
        limit: 1_000,
        count: true,
        ..BanFilter::default()
    }
}

/// The numbers, in ascending order, of the bans that a filter finds; they are in their reasons.
async fn found(house: &House, tenant: &TenantId, filter: &BanFilter) -> Vec<u32> {
    let page = house.store.bans(tenant, filter).await.expect("bans");
    let mut numbers: Vec<u32> = page
        .bans
        .iter()
        .map(|ban| ban.reason_code.parse().expect("a number"))
        .collect();
    numbers.sort_unstable();
    if filter.count {
        assert_eq!(page.total, i64::try_from(numbers.len()).ok());
    } else {
        assert_eq!(page.total, None);
    }
    numbers
}

/// A ban whose number is its reason code, changed.
pub(crate) fn numbered(tenant: &TenantId, number: u32, change: impl FnOnce(&mut Ban)) -> NewBan {
    let mut new = token_ban(tenant, usize::try_from(number).expect("few bans"));
    new.ban.reason_code = number.to_string();
    change(&mut new.ban);
    new
}

/// Eight bans, each of which stands out in one way.
async fn eight(house: &House, tenant: &TenantId) -> Vec<NewBan> {
    let later = NOW.plus_micros(100 * SECOND);
    let bans = vec![
        numbered(tenant, 1, |_| {}),
        numbered(tenant, 2, |ban| {
            ban.channels = Channels::of(&[Channel::Email, Channel::Vk]);
        }),
        numbered(tenant, 3, |ban| ban.list_id = Some(list_id("vip"))),
        numbered(tenant, 4, |ban| ban.origin = Origin::Import),
        numbered(tenant, 5, |ban| "import-5".clone_into(&mut ban.import_id)),
        numbered(tenant, 6, |ban| {
            "He called Me names".clone_into(&mut ban.reason);
        }),
        numbered(tenant, 7, |ban| "bob".clone_into(&mut ban.created_by)),
        numbered(tenant, 8, |ban| {
            ban.created = later;
            ban.expire = Some(later);
        }),
    ];
    house.add(&intent(tenant), &bans).await;
    bans
}

/// What is narrowed, how, and which bans are left.
type Case<'a> = (&'a str, &'a dyn Fn(&mut BanFilter), &'a [u32]);

async fn bans_are_narrowed_by_each_filter_alone(house: House) {
    let tenant = house.tenant("one").await;
    let other = house.tenant("two").await;
    let bans = eight(&house, &tenant).await;
    eight(&house, &other).await;
    let later = NOW.plus_micros(100 * SECOND);
    let key = bans[1].keys[0].1.key;
    let cases: [Case; 17] = [
        ("nothing", &|_| {}, &[1, 2, 3, 4, 5, 6, 7, 8]),
        (
            "no count",
            &|by| by.count = false,
            &[1, 2, 3, 4, 5, 6, 7, 8],
        ),
        (
            "channels",
            &|by| by.channels = Channels::of(&[Channel::Vk, Channel::Sms]),
            &[2],
        ),
        (
            "lists",
            &|by| by.lists = vec![list_id("x"), list_id("vip")],
            &[3],
        ),
        (
            "origins",
            &|by| by.origins = vec![Origin::Import, Origin::PastSession],
            &[4],
        ),
        (
            "import",
            &|by| "import-5".clone_into(&mut by.import_id),
            &[5],
        ),
        ("text", &|by| "called Me".clone_into(&mut by.text), &[6]),
        ("creator", &|by| "bob".clone_into(&mut by.created_by), &[7]),
        ("from", &|by| by.created_from = Some(later), &[8]),
        (
            "to",
            &|by| by.created_to = Some(later),
            &[1, 2, 3, 4, 5, 6, 7],
        ),
        ("end at", &|by| by.expire_before = Some(later), &[]),
        (
            "end",
            &|by| by.expire_before = Some(later.plus_micros(1)),
            &[8],
        ),
        ("key", &|by| by.keys = vec![key], &[2]),
        ("ending", &|by| "00007".clone_into(&mut by.ends_with), &[7]),
        (
            "a whole",
            &|by| "visitor-token-00000007".clone_into(&mut by.ends_with),
            &[7],
        ),
        (
            "too much",
            &|by| "xvisitor-token-00000007".clone_into(&mut by.ends_with),
            &[],
        ),
        ("limit", &|by| (by.limit, by.count) = (1, false), &[8]),
    ];
    for (what, narrow, expected) in cases {
        let mut filter = all();
        narrow(&mut filter);
        assert_eq!(found(&house, &tenant, &filter).await, expected, "{what}");
    }
}

async fn bans_are_narrowed_by_filters_together(house: House) {
    let tenant = house.tenant("one").await;
    let bans = [
        numbered(&tenant, 1, |ban| "a".clone_into(&mut ban.import_id)),
        numbered(&tenant, 2, |ban| ban.origin = Origin::Import),
        numbered(&tenant, 3, |ban| {
            "a".clone_into(&mut ban.import_id);
            ban.origin = Origin::Import;
        }),
    ];
    house.add(&intent(&tenant), &bans).await;
    let filter = BanFilter {
        import_id: "a".to_owned(),
        origins: vec![Origin::Import],
        ..all()
    };
    assert_eq!(found(&house, &tenant, &filter).await, [3]);
    let neither = BanFilter {
        created_by: "nobody".to_owned(),
        ..filter
    };
    assert!(found(&house, &tenant, &neither).await.is_empty());
}

async fn states_are_told_at_the_instant_asked_about(house: House) {
    let tenant = house.tenant("one").await;
    let (start, expire) = (NOW.plus_micros(10), NOW.plus_micros(20));
    let timed = numbered(&tenant, 1, |ban| {
        ban.start = Some(start);
        ban.expire = Some(expire);
    });
    let permanent = numbered(&tenant, 2, |_| {});
    let gone = numbered(&tenant, 3, |_| {});
    let swept = numbered(&tenant, 4, |ban| ban.expire = Some(NOW));
    let bans = [timed, permanent, gone, swept];
    house.add(&intent(&tenant), &bans).await;
    house.change(&lifted(&bans[2].ban), bans[2].likeness).await;
    let ended = Ban {
        ended: true,
        ..bans[3].ban.clone()
    };
    house.change(&ended, bans[3].likeness).await;

    let at = |micros| Some(NOW.plus_micros(micros));
    for (now, timed) in [
        (9, State::Scheduled),
        (10, State::Active),
        (19, State::Active),
        (20, State::Expired),
    ] {
        for state in State::ALL {
            let filter = BanFilter {
                states: vec![*state],
                now: at(now),
                ..all()
            };
            let mut expected = match state {
                State::Scheduled => vec![],
                State::Active => vec![2],
                State::Expired => vec![4],
                State::Deactivated => vec![3],
            };
            if *state == timed {
                expected.push(1);
            }
            expected.sort_unstable();
            assert_eq!(
                found(&house, &tenant, &filter).await,
                expected,
                "{state:?} at {now}"
            );
            for ban in house.store.bans(&tenant, &filter).await.expect("bans").bans {
                assert_eq!(
                    ban.state(NOW.plus_micros(now)),
                    *state,
                    "the ban itself agrees"
                );
            }
        }
    }
    let usual = BanFilter {
        states: Vec::new(),
        now: at(10),
        ..all()
    };
    assert_eq!(
        found(&house, &tenant, &usual).await,
        [1, 2],
        "only those in force (M21)"
    );
    let two = BanFilter {
        states: vec![State::Expired, State::Scheduled],
        now: at(9),
        ..all()
    };
    assert_eq!(found(&house, &tenant, &two).await, [1, 4]);
}

async fn a_sign_that_means_something_to_like_means_itself(house: House) {
    let tenant = house.tenant("one").await;
    let texts = [
        "100%", "100x", "a_b", "axb", "!%", "!x", "c\\%", "c\\x", "'", "[a]",
    ];
    let bans: Vec<_> = (0..)
        .zip(texts)
        .map(|(number, text)| {
            numbered(&tenant, number, |ban| {
                text.clone_into(&mut ban.reason);
                text.clone_into(&mut ban.targets[0].canonical);
            })
        })
        .collect();
    house.add(&intent(&tenant), &bans).await;
    for (number, text) in (0..).zip(texts) {
        let ending = BanFilter {
            ends_with: text.to_owned(),
            ..all()
        };
        assert_eq!(
            found(&house, &tenant, &ending).await,
            [number],
            "ends with {text}"
        );
        let holding = BanFilter {
            text: text.to_owned(),
            ..all()
        };
        assert_eq!(
            found(&house, &tenant, &holding).await,
            [number],
            "holds {text}"
        );
    }
    for (sign, numbers) in [("%", vec![0, 4, 6]), ("_", vec![2]), ("!", vec![4, 5])] {
        let holding = BanFilter {
            text: sign.to_owned(),
            ..all()
        };
        assert_eq!(
            found(&house, &tenant, &holding).await,
            numbers,
            "holds {sign}"
        );
    }
}

async fn an_ending_and_a_text_are_found_in_their_own_case_only(house: House) {
    let tenant = house.tenant("one").await;
    let texts = ["Token-abC", "Příliš Žluťoučký KŮŇ"];
    let bans: Vec<_> = (0..)
        .zip(texts)
        .map(|(number, text)| {
            numbered(&tenant, number, |ban| {
                text.clone_into(&mut ban.reason);
                text.clone_into(&mut ban.targets[0].canonical);
            })
        })
        .collect();
    house.add(&intent(&tenant), &bans).await;
    for (ending, numbers) in [
        ("abC", vec![0]),
        ("abc", vec![]),
        ("ABC", vec![]),
        (" KŮŇ", vec![1]),
        ("kůň", vec![]),
    ] {
        let filter = BanFilter {
            ends_with: ending.to_owned(),
            ..all()
        };
        assert_eq!(
            found(&house, &tenant, &filter).await,
            numbers,
            "ends with {ending}"
        );
    }
    for (text, numbers) in [
        ("Token", vec![0]),
        ("token", vec![]),
        ("Žluťou", vec![1]),
        ("žluťou", vec![]),
        ("KŮŇ", vec![1]),
    ] {
        let filter = BanFilter {
            text: text.to_owned(),
            ..all()
        };
        assert_eq!(
            found(&house, &tenant, &filter).await,
            numbers,
            "holds {text}"
        );
    }
}
