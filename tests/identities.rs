//! Identities against references that a clerk could follow: every spelling of every region's
//! numbers, ranges told by plain comparison, and strings that were made to break things.

use std::{collections::BTreeMap, net::Ipv4Addr};

use bancheck::domain::{
    ban::Enforcement,
    channel::{Channel, Channels},
    clock::Timestamp,
    decide::{Query, Stage, decide},
    identity::{
        Caution, Given, Identity, IdentityKind, MatchKind, read, read_domain, read_network,
        read_prefix,
    },
    ids::{BanId, TenantId},
    keys::{MasterKey, TenantKey},
    policy::FailureMode,
    record::{BanRecord, TenantRecord},
    revision::Revision,
    view::TenantView,
};
use proptest::prelude::*;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, PhoneNumberType, Region};

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const EVERYWHERE: Channels = Channels::of(&[
    Channel::WebChat,
    Channel::Email,
    Channel::Call,
    Channel::Sms,
    Channel::Whatsapp,
    Channel::AppleMessages,
    Channel::Messenger,
    Channel::Vk,
]);

fn key() -> TenantKey {
    MasterKey::new(&[9; 32]).tenant(&TenantId::parse("t").expect("an id"))
}

fn given<'a>(kind: IdentityKind, value: &'a str, region_hint: &'a str) -> Given<'a> {
    Given {
        kind: Some(kind),
        value,
        issuer: "issuer",
        region_hint,
    }
}

fn record(number: u128, target: &Identity) -> BanRecord {
    let keys = key().keys(target, 64).into_iter();
    BanRecord {
        ban: BanId::from_bytes(number.to_be_bytes()),
        keys: keys.map(|(key, _)| key).collect(),
        start: None,
        expire: None,
        generation: 0,
        channels: EVERYWHERE,
        enforcement: Enforcement::Enforced,
        ended: false,
    }
}

fn view(bans: &[BanRecord]) -> TenantView {
    let tenant = TenantRecord {
        failure_mode: FailureMode::Open,
        default_region: String::new(),
        email_fold: true,
        deleted: false,
    };
    let mut view = TenantView::empty(Revision(1), tenant, key());
    view.file(bans);
    view
}

/// The ban that stops this one, and how it was matched.
fn met(view: &TenantView, who: &Identity) -> Option<(u128, MatchKind)> {
    let channel = who.kind.channels().iter().next().expect("a channel");
    let mut query = Query::new(channel, Stage::Connect, None);
    query.ask_for(view, 0, who);
    let (found, _) = decide(view, &query, NOW).deny?;
    Some((u128::from_be_bytes(*found.ban.bytes()), found.match_kind))
}

/// Every type of number that a region has an example of, in the four ways of writing it.
fn examples() -> Vec<(String, [String; 4])> {
    let util = &PHONE_NUMBER_UTIL;
    let types = [
        PhoneNumberType::FixedLine,
        PhoneNumberType::Mobile,
        PhoneNumberType::TollFree,
        PhoneNumberType::VoIP,
    ];
    let mut regions: Vec<Region> = util.get_supported_regions().collect();
    regions.sort_by_key(|region| region.as_region_str().to_string());
    let mut all = Vec::new();
    for region in regions {
        for kind in types {
            let Ok(number) = util.get_example_number_for_type_and_region(region, kind) else {
                continue;
            };
            let ways = [
                PhoneNumberFormat::E164,
                PhoneNumberFormat::National,
                PhoneNumberFormat::International,
                PhoneNumberFormat::RFC3966,
            ];
            let written = ways.map(|way| util.format(&number, way).into_owned());
            all.push((region.as_region_str().to_string(), written));
        }
    }
    all
}

/// Ban by each of the four written forms, check by each: all meet, and no other number is met.
#[test]
fn a_number_of_any_region_is_met_in_all_four_ways_of_writing_it() {
    let (mut missed, mut strangers, mut tried) = (Vec::new(), Vec::new(), 0);
    let all = examples();
    let number = |text: &str, region: &str| {
        read(
            &given(IdentityKind::PhoneNumber, text, region),
            Channels::NONE,
            None,
        )
    };
    let numbers: BTreeMap<&String, &String> = all
        .iter()
        .map(|(region, written)| (&written[0], region))
        .collect();
    for (region, written) in &all {
        for banned in written {
            let ban = number(banned, region).expect("an example is readable");
            let view = view(&[record(1, &ban)]);
            for checked in written {
                tried += 1;
                let who = number(checked, region).expect("an example is readable");
                if met(&view, &who).is_none() {
                    missed.push(format!("{region}: {banned} banned, {checked} met"));
                }
            }
            if banned == &written[0] {
                // The example of an Argentine mobile is that of a fixed line with its 9.
                let own = |number: &str| {
                    number == banned || ban.aliases.iter().any(|alias| alias.canonical == number)
                };
                for (other, of) in numbers.iter().filter(|(other, _)| !own(other)) {
                    let who = number(other, of).expect("an example is readable");
                    if met(&view, &who).is_some() {
                        strangers.push(format!("{banned} banned, {other} met"));
                    }
                }
            }
        }
    }
    assert!(tried > 10_000, "{tried} pairs");
    assert_eq!((missed, strangers), (Vec::new(), Vec::new()));
}

/// A small world of ranges and of those who are in them or just outside.
fn targets() -> impl Strategy<Value = Identity> {
    let prefix = "\\+(4206|4207|1201|5255|44)[0-9]{0,3}".prop_map(|text| {
        read_prefix(&given(IdentityKind::PhoneNumber, &text, ""), Channels::NONE).expect("a prefix")
    });
    let domain = "([ab]\\.){0,2}(example|xexample)\\.(com|cz)".prop_map(|text| {
        read_domain(
            &given(IdentityKind::EmailAddress, &text, ""),
            Channels::NONE,
        )
        .expect("a domain")
    });
    let network = (0u32..1024, 16u8..=32).prop_map(|(low, length)| {
        let text = format!("{}/{length}", Ipv4Addr::from(0xcb00_7000 | low));
        read_network(&given(IdentityKind::IpAddress, &text, ""), Channels::NONE).expect("a network")
    });
    prop_oneof![prefix, domain, network]
}

fn people() -> impl Strategy<Value = Identity> {
    let number =
        "\\+(4206|4207|1201|5255)[0-9]{6,8}".prop_map(|text| (IdentityKind::PhoneNumber, text));
    let address = "[xy]@([ab]\\.){0,3}(example|xexample|yexample)\\.(com|cz|com\\.cz)"
        .prop_map(|text| (IdentityKind::EmailAddress, text));
    let ip = (0u32..1024).prop_map(|low| {
        (
            IdentityKind::IpAddress,
            Ipv4Addr::from(0xcb00_7000 | low).to_string(),
        )
    });
    prop_oneof![number, address, ip].prop_map(|(kind, text)| {
        read(&given(kind, &text, ""), Channels::NONE, None).expect("a small world is readable")
    })
}

/// Whether somebody is in a range, as a clerk would tell.
fn is_in(range: &Identity, who: &Identity) -> bool {
    if range.kind != who.kind {
        return false;
    }
    match who.kind {
        IdentityKind::PhoneNumber => std::iter::once(&who.canonical)
            .chain(who.aliases.iter().map(|alias| &alias.canonical))
            .any(|number| number.starts_with(&range.canonical)),
        IdentityKind::EmailAddress => {
            let (_, domain) = who.canonical.rsplit_once('@').expect("an address");
            domain == range.canonical || domain.ends_with(&format!(".{}", range.canonical))
        }
        _ => {
            let (net, length) = range.canonical.split_once('/').expect("a network");
            let bits = |text: &str| u32::from(text.parse::<Ipv4Addr>().expect("an address"));
            let shift = 32 - length.parse::<u32>().expect("a length");
            bits(net).checked_shr(shift) == bits(&who.canonical).checked_shr(shift)
        }
    }
}

/// Text of any kind, some of it made to trip parsers.
fn texts() -> impl Strategy<Value = String> {
    let corpus: Vec<String> = include_str!("naughty.txt")
        .lines()
        .filter(|line| !line.starts_with("# "))
        .map(|line| {
            line.replace("\\0", "\0")
                .replace("\\t", "\t")
                .replace("\\n", "\n")
        })
        .collect();
    let seed = prop::sample::select(corpus);
    let pair = (seed.clone(), "\\PC{0,6}", seed.clone()).prop_map(|(a, b, c)| a + &b + &c);
    prop_oneof![
        4 => seed,
        2 => pair,
        2 => "\\PC{0,40}",
        2 => any::<String>(),
        2 => "[+0-9A-Za-z:;=@./\\[\\]%#*\" ()<>,'_-]{0,40}",
        1 => "(tel:|sip:|;phone-context=|;isub=|;ext=|\\+|[0-9#*x@ ]){0,12}",
        1 => (1_000usize..1_030).prop_map(|n| "x".repeat(n)),
        1 => (300usize..600).prop_map(|n| "\u{fdfa}".repeat(n)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_range_holds_whom_a_clerk_would_say(
        ranges in prop::collection::vec(targets(), 1..12),
        who in people(),
    ) {
        let bans: Vec<_> = (1..).zip(&ranges).map(|(id, range)| record(id, range)).collect();
        let first = (1u128..).zip(&ranges).find(|(_, range)| is_in(range, &who)).map(|(id, _)| id);
        prop_assert_eq!(met(&view(&bans), &who).map(|(ban, _)| ban), first);
    }

    #[test]
    fn whoever_was_banned_is_met_in_the_very_same_words(
        kind in prop::sample::select(IdentityKind::ALL.to_vec()),
        text in texts(),
        region in "CZ|US|GB|AR|",
    ) {
        let given = given(kind, &text, &region);
        if let Ok(banned) = read(&given, Channels::NONE, None)
            && banned.kind != IdentityKind::Withheld
        {
            let again = read(&given, Channels::NONE, None).expect("read a moment ago");
            let found = met(&view(&[record(1, &banned)]), &again);
            prop_assert_eq!(found, Some((1, MatchKind::Exact)));
            // And in the form it was filed in.
            let given = Given { value: &banned.canonical, ..given };
            let canonical = read(&given, Channels::NONE, None);
            let filed = canonical.map(|one| met(&view(&[record(1, &banned)]), &one));
            prop_assert_eq!(filed, Ok(Some((1, MatchKind::Exact))));
        }
    }

    #[test]
    fn no_text_does_more_than_to_be_warned_of(
        kind in prop::option::of(prop::sample::select(IdentityKind::ALL.to_vec())),
        channels in any::<u16>().prop_map(Channels::from_bits),
        text in texts(),
        region in "CZ|US|\\PC{0,2}",
    ) {
        let given = Given { kind, value: &text, issuer: &text, region_hint: &region };
        match read(&given, channels, Some(&region)) {
            Ok(identity) => {
                prop_assert!(identity.canonical.len() <= 1_024);
                let names = identity.aliases.iter().map(|alias| &alias.canonical);
                for name in names.chain([&identity.canonical]) {
                    prop_assert!(!name.chars().any(char::is_control), "{name:?}");
                }
            }
            Err(unreadable) => prop_assert!(matches!(
                unreadable.caution,
                Caution::Unparseable | Caution::KindChannelMismatch
            )),
        }
        let _ = read_network(&given, channels);
        let _ = read_prefix(&given, channels);
        let _ = read_domain(&given, channels);
    }
}
