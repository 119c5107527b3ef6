//! The decision against a reference that a clerk could follow, over random worlds.

#[path = "properties/explained.rs"]
mod explained;

use std::collections::BTreeSet;

use bancheck::domain::{
    ban::{BanId, Enforcement},
    channel::{Channel, Channels},
    clock::Timestamp,
    decide::{Query, Stage, Verdict, decide},
    exception::Exempt,
    identity::{Given, Identity, IdentityKind, MatchKind, read, read_network},
    ids::{ExceptionId, ListId, TenantId},
    keys::{MasterKey, MatchKey, TenantKey},
    list::Treatment,
    policy::FailureMode,
    record::{BanRecord, Change, ExceptionNews, ExceptionRecord, ListRecord, News, TenantRecord},
    revision::{Anchor, Nonce, Revision},
    view::TenantView,
};
use proptest::prelude::*;

/// A ban of a small world, in which nearly everything meets something.
#[derive(Clone, Debug)]
struct Ban {
    id: u8,
    who: u8,
    cidr: bool,
    list: u32,
    channels: u16,
    start: Option<i64>,
    expire: Option<i64>,
    shadow: bool,
    ended: bool,
}

/// An exception of the small world.
#[derive(Clone, Debug)]
struct Exception {
    id: u8,
    who: u8,
    cidr: bool,
    channels: u16,
    expire: Option<i64>,
    protected: bool,
    ended: bool,
}

#[derive(Clone, Debug)]
struct List {
    queues: BTreeSet<u8>,
    outbound: bool,
    shadow: bool,
}

#[derive(Clone, Debug)]
struct World {
    bans: Vec<Ban>,
    lists: Vec<List>,
    exceptions: Vec<Exception>,
}

#[derive(Clone, Debug)]
struct Asked {
    channel: Channel,
    stage: Stage,
    queue: u8,
    who: Vec<u8>,
    now: i64,
}

const CHANNELS: [Channel; 3] = [Channel::WebChat, Channel::Call, Channel::Sms];

/// The people of the small world: phones, visitor tokens, and addresses that share networks.
fn person(who: u8) -> (IdentityKind, String) {
    match who % 3 {
        0 => (
            IdentityKind::PhoneNumber,
            format!("+42060112345{}", who / 3),
        ),
        1 => (
            IdentityKind::VisitorToken,
            format!("visitor-token-000{}", who / 3),
        ),
        _ => (
            IdentityKind::IpAddress,
            format!("203.0.113.{}", u32::from(who / 3) * 64),
        ),
    }
}

fn identity(who: u8) -> Identity {
    let (kind, value) = person(who);
    let given = Given {
        kind: Some(kind),
        value: &value,
        issuer: "",
        region_hint: "",
    };
    read(&given, Channels::NONE, None).expect("the small world is readable")
}

fn network(who: u8) -> Identity {
    let value = format!("203.0.113.{}/25", u32::from(who / 3) * 64);
    let kind = Some(IdentityKind::IpAddress);
    let given = Given {
        kind,
        value: &value,
        issuer: "",
        region_hint: "",
    };
    read_network(&given, Channels::NONE).expect("a network")
}

fn key() -> TenantKey {
    MasterKey::new(&[3; 32]).tenant(&TenantId::parse("t").expect("an id"))
}

fn ban_id(id: u8) -> BanId {
    BanId::from_bytes([id; 16])
}

fn enforcement(shadow: bool) -> Enforcement {
    if shadow {
        Enforcement::Shadow
    } else {
        Enforcement::Enforced
    }
}

/// Whether somebody is one person, or in the network of one.
fn is_on(of: u8, wide: bool, who: u8) -> bool {
    let half = |who: u8| u32::from(who / 3) * 64 / 128;
    if wide {
        who % 3 == 2 && half(of) == half(who)
    } else {
        of == who
    }
}

fn keys_of(who: u8, wide: bool) -> Vec<MatchKey> {
    let target = if wide { network(who) } else { identity(who) };
    let keys = key().keys(&target, 64).into_iter();
    keys.map(|(key, _)| key).collect()
}

impl Exception {
    const fn is_wide(&self) -> bool {
        self.cidr && self.who % 3 == 2
    }

    fn record(&self) -> ExceptionRecord {
        ExceptionRecord {
            exception: ExceptionId::from_bytes([self.id; 16]),
            keys: keys_of(self.who, self.is_wide()),
            expire: self.expire.map(Timestamp::from_micros),
            channels: Channels::from_bits(self.channels),
            protected: self.protected,
            ended: self.ended,
        }
    }
}

impl Ban {
    /// Whether it is on a network rather than on one address.
    const fn is_wide(&self) -> bool {
        self.cidr && self.who % 3 == 2
    }

    fn record(&self) -> BanRecord {
        BanRecord {
            ban: ban_id(self.id),
            keys: keys_of(self.who, self.is_wide()),
            start: self.start.map(Timestamp::from_micros),
            expire: self.expire.map(Timestamp::from_micros),
            generation: self.list,
            channels: Channels::from_bits(self.channels),
            enforcement: enforcement(self.shadow),
            ended: self.ended,
        }
    }

    /// Whether it is on this person.
    fn is_on(&self, who: u8) -> bool {
        is_on(self.who, self.is_wide(), who)
    }

    fn is_in_time(&self, now: i64) -> bool {
        self.start.is_none_or(|start| start <= now) && self.expire.is_none_or(|end| now < end)
    }
}

impl World {
    fn list(&self, number: u32) -> Option<&List> {
        self.lists
            .get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    fn view(&self) -> TenantView {
        let tenant = TenantRecord {
            failure_mode: FailureMode::Open,
            default_region: String::new(),
            email_fold: true,
            deleted: false,
        };
        let lists = (1..).zip(&self.lists).map(|(number, list)| ListRecord {
            list_id: ListId::parse(&format!("list-{number}")).expect("an id"),
            generation: number,
            deleted: false,
            treatment: None,
            enforcement: enforcement(list.shadow),
            enforce_outbound: list.outbound,
            queues: list
                .queues
                .iter()
                .map(|queue| format!("queue-{queue}"))
                .collect(),
        });
        let exceptions = ExceptionNews {
            exceptions: self.exceptions.iter().map(Exception::record).collect(),
            protections: Vec::new(),
        };
        let empty = TenantView::empty(Revision(1), tenant, key())
            .with_lists(lists.collect())
            .with_exceptions(&exceptions);
        let change = Change::Bans(self.bans.iter().map(Ban::record).collect());
        let anchor = Anchor {
            revision: Revision(2),
            nonce: Nonce(0),
        };
        empty
            .after(&News {
                anchor,
                tenant: None,
                change,
            })
            .expect("a view")
    }

    fn judge(&self, asked: &Asked) -> Verdict {
        let view = self.view();
        let queue = format!("queue-{}", asked.queue);
        let queue = (asked.stage == Stage::QueueEntry).then_some(queue.as_str());
        let mut query = Query::new(asked.channel, asked.stage, queue);
        for (at, who) in (0..).zip(&asked.who) {
            query.ask_for(&view, at, &identity(*who));
        }
        decide(&view, &query, Timestamp::from_micros(asked.now))
    }

    /// Whether a ban holds for what is asked, its times and the shadow apart.
    fn holds(&self, ban: &Ban, asked: &Asked) -> bool {
        let in_place = match (ban.list, self.list(ban.list)) {
            (0, _) => true,
            (_, None) => false,
            (_, Some(_)) if ban.who % 3 == 1 => true,
            (_, Some(list)) => match asked.stage {
                Stage::Connect => false,
                Stage::QueueEntry => list.queues.contains(&asked.queue),
                Stage::Outbound => list.outbound,
            },
        };
        in_place
            && !ban.ended
            && ban.channels & (1 << asked.channel as u16) != 0
            && asked.who.iter().any(|who| ban.is_on(*who))
    }

    /// The exception that spares somebody a ban, and lasts longest: one that names him as closely,
    /// or is protected.
    fn spared(&self, ban: &Ban, who: u8, asked: &Asked) -> Option<&Exception> {
        let overrides = |one: &&Exception| {
            !one.ended
                && one.channels & (1 << asked.channel as u16) != 0
                && one.expire.is_none_or(|end| asked.now < end)
                && is_on(one.who, one.is_wide(), who)
                && (one.protected || ban.is_wide() || !one.is_wide())
        };
        let longest =
            |one: &&Exception| (one.expire.unwrap_or(i64::MAX), std::cmp::Reverse(one.id));
        self.exceptions.iter().filter(overrides).max_by_key(longest)
    }

    /// Where in the request the first is whom a ban is on and nothing spares him.
    fn first_left(&self, ban: &Ban, asked: &Asked) -> Option<usize> {
        let left = |who: &u8| ban.is_on(*who) && self.spared(ban, *who, asked).is_none();
        asked.who.iter().position(left)
    }

    fn is_shadow(&self, ban: &Ban) -> bool {
        ban.shadow || self.list(ban.list).is_some_and(|list| list.shadow)
    }
}

fn channels(mask: usize) -> u16 {
    CHANNELS
        .iter()
        .enumerate()
        .filter(|(at, _)| mask & (1 << at) != 0)
        .fold(0, |bits, (_, channel)| bits | 1 << *channel as u16)
}

fn worlds() -> impl Strategy<Value = World> {
    let instant = || proptest::option::of(0i64..6);
    let parts = (
        0u8..12,
        any::<bool>(),
        0u32..5,
        0usize..8,
        instant(),
        instant(),
        0u8..8,
    );
    let ban = parts.prop_map(|(who, cidr, list, mask, start, expire, odd)| Ban {
        id: 0,
        who,
        cidr,
        list,
        channels: channels(mask),
        start,
        expire,
        shadow: odd == 0,
        ended: odd == 1,
    });
    let queues = proptest::collection::btree_set(0u8..3, 0..3);
    let list = (queues, any::<bool>(), 0u8..4).prop_map(|(queues, outbound, odd)| List {
        queues,
        outbound,
        shadow: odd == 0,
    });
    let parts = (0u8..12, any::<bool>(), 0usize..8, instant(), 0u8..8, 0u8..8);
    let exception = parts.prop_map(|(who, cidr, mask, expire, odd, gone)| Exception {
        id: 0,
        who,
        cidr,
        channels: channels(mask),
        expire,
        protected: odd == 0,
        ended: gone == 0,
    });
    let bans = proptest::collection::vec(ban, 0..24);
    let exceptions = proptest::collection::vec(exception, 0..8);
    let lists = proptest::collection::vec(list, 0..4);
    (bans, lists, exceptions).prop_map(|(mut bans, lists, mut exceptions)| {
        for (id, ban) in (1..).zip(&mut bans) {
            ban.id = id;
        }
        for (id, exception) in (1..).zip(&mut exceptions) {
            exception.id = id;
        }
        World {
            bans,
            lists,
            exceptions,
        }
    })
}

fn questions() -> impl Strategy<Value = Asked> {
    let stages = prop_oneof![
        Just(Stage::Connect),
        Just(Stage::QueueEntry),
        Just(Stage::Outbound)
    ];
    let people = proptest::collection::vec(0u8..12, 1..4);
    (0usize..3, stages, 0u8..3, people, -1i64..7).prop_map(|(channel, stage, queue, who, now)| {
        Asked {
            channel: CHANNELS[channel],
            stage,
            queue,
            who,
            now,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_decision_is_what_a_clerk_with_the_rules_in_hand_would_say(
        world in worlds(),
        asked in questions(),
    ) {
        let verdict = world.judge(&asked);
        let in_time = || {
            let held = world.bans.iter().filter(|ban| world.holds(ban, &asked));
            held.filter(|ban| ban.is_in_time(asked.now))
        };
        let left = |ban: &&Ban| world.first_left(ban, &asked).is_some();
        let mut enforced: Vec<_> =
            in_time().filter(|ban| !world.is_shadow(ban)).filter(left).collect();
        // The one that ends last, then the smallest id: lifting any other would change nothing.
        enforced.sort_by_key(|ban| (std::cmp::Reverse(ban.expire.unwrap_or(i64::MAX)), ban.id));
        let reported = verdict.deny.as_ref().map(|(found, _)| found.ban);
        prop_assert_eq!(reported, enforced.first().map(|ban| ban_id(ban.id)));

        let shadows: BTreeSet<BanId> =
            in_time().filter(|ban| world.is_shadow(ban)).filter(left).map(|ban| ban_id(ban.id)).collect();
        let reported: Vec<BanId> = verdict.shadows.iter().map(|found| found.ban).collect();
        prop_assert_eq!(reported.len(), shadows.len());
        prop_assert_eq!(reported.into_iter().collect::<BTreeSet<_>>(), shadows);

        if let Some((found, treatment)) = &verdict.deny {
            let ban = enforced[0];
            let (on_token, wide) = (ban.who % 3 == 1, ban.is_wide());
            let expected =
                if on_token { Treatment::DisableWidget } else { Treatment::EndInteraction };
            prop_assert_eq!(*treatment, expected);
            let first = world.first_left(ban, &asked);
            prop_assert_eq!(Some(usize::from(found.identity)), first);
            let kind = if wide { MatchKind::Cidr } else { MatchKind::Exact };
            prop_assert_eq!(found.match_kind, kind);
        }

        let spares = |ban: &Ban| {
            let on = asked.who.iter().filter(|who| ban.is_on(**who));
            { on }.find_map(|who| world.spared(ban, *who, &asked))
        };
        let mut overridden: Vec<_> = in_time()
            .filter(|ban| !world.is_shadow(ban) && !left(ban) && spares(ban).is_some())
            .collect();
        overridden.sort_by_key(|ban| (std::cmp::Reverse(ban.expire.unwrap_or(i64::MAX)), ban.id));
        let by = overridden.first().and_then(|ban| spares(ban));
        let by = by.map(|one| Exempt::Exception(ExceptionId::from_bytes([one.id; 16])));
        prop_assert_eq!(verdict.exempt, by);
    }

    #[test]
    fn an_answer_holds_until_the_instant_at_which_it_says_it_could_turn(
        world in worlds(),
        asked in questions(),
    ) {
        let verdict = world.judge(&asked);
        let until = verdict.flips.map_or(7, Timestamp::micros);
        for now in asked.now..until {
            let later = world.judge(&Asked { now, ..asked.clone() });
            prop_assert_eq!(later.deny.is_some(), verdict.deny.is_some(), "at {}", now);
        }
    }

    #[test]
    fn v1_v2_a_ban_out_of_its_time_or_in_the_shadow_never_decides(
        world in worlds(),
        asked in questions(),
    ) {
        if let Some((found, _)) = world.judge(&asked).deny {
            let ban = world.bans.iter().find(|ban| ban_id(ban.id) == found.ban);
            let ban = ban.expect("a ban of this world");
            prop_assert!(ban.is_in_time(asked.now) && !world.is_shadow(ban));
        }
    }

    #[test]
    fn v3_one_ban_more_never_turns_a_denial_into_an_allowance(
        world in worlds(),
        asked in questions(),
    ) {
        let Some((_, fewer)) = world.bans.split_last() else { return Ok(()) };
        let less = World { bans: fewer.to_vec(), ..world.clone() };
        prop_assert!(less.judge(&asked).deny.is_none() || world.judge(&asked).deny.is_some());
    }

    #[test]
    fn v3_one_exception_more_never_turns_an_allowance_into_a_denial(
        world in worlds(),
        asked in questions(),
    ) {
        let Some((_, fewer)) = world.exceptions.split_last() else { return Ok(()) };
        let less = World { exceptions: fewer.to_vec(), ..world.clone() };
        prop_assert!(less.judge(&asked).deny.is_some() || world.judge(&asked).deny.is_none());
    }

    #[test]
    fn v3_without_a_ban_on_him_no_exception_is_told(world in worlds(), asked in questions()) {
        let free = World { bans: Vec::new(), ..world };
        prop_assert_eq!(free.judge(&asked), Verdict::default());
    }

    #[test]
    fn news_heard_twice_or_in_pieces_leaves_the_same_view(
        world in worlds(),
        asked in questions(),
    ) {
        let twice = world.bans.iter().chain(&world.bans).cloned().collect();
        let again = World { bans: twice, ..world.clone() };
        prop_assert_eq!(again.judge(&asked), world.judge(&asked));
        let mut pieces = World { bans: Vec::new(), ..world.clone() }.view();
        for ban in &world.bans {
            pieces.file(&[ban.record()]);
        }
        prop_assert_eq!(pieces.len(), world.view().len());
    }
}
