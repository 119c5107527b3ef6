//! What the parts of a check cost in process: the judgement itself, what comes before it, and news.
//!
//! Questions are asked about thousands of identities in turn, spread over the tenant, so that a
//! large tenant's bans are fetched from memory as they would be and not from the nearest cache.

#[path = "stage/bans.rs"]
mod bans;
#[path = "stage/ranges.rs"]
mod ranges;

use std::{hint::black_box, time::Duration};

use bancheck::domain::{
    channel::{Channel, Channels},
    clock::Timestamp,
    decide::{Query, decide},
    identity::{IdentityKind, read},
    record::{Change, News},
    revision::{Anchor, Nonce, Revision},
    view::TenantView,
};
use criterion::{Criterion, Throughput};
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat};

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const SMALL: u32 = 1_000;
const LARGE: u32 = 1_000_000;
/// Different questions asked in turn; the entries they lead to are more than the near caches hold.
const ASKED: u32 = 65_536;
/// Networks, prefixes and domains, so many of each.
const RANGES: u32 = 100_000;
/// Different bans added in turn.
const ADDED: u32 = 4_096;
/// Steps through the bans so that no two questions are near each other.
const STRIDE: u32 = 514_229;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
        .configure_from_args();
    canonicalise(&mut criterion);
    canonicalise_all(&mut criterion);
    for count in [SMALL, LARGE] {
        let view = bans::view(count);
        judge(&mut criterion, &view, count);
        if count == LARGE {
            digest(&mut criterion, &view);
            change(&mut criterion, &view);
            with_ranges(&mut criterion, &view);
        }
    }
    criterion.final_summary();
}

const CALL: Channels = Channels::of(&[Channel::Call]);
const MAIL: Channels = Channels::of(&[Channel::Email]);
const CHAT: Channels = Channels::of(&[Channel::WebChat]);

/// Identities as they come in: a name, the kind, the text, its channels, the tenant's region.
#[rustfmt::skip]
const ARRIVING: [(&str, IdentityKind, &str, Channels, Option<&str>); 23] = [
    ("E.164", IdentityKind::PhoneNumber, "+420601123456", CALL, None),
    ("E.164, spaced", IdentityKind::PhoneNumber, "+420 601 123 456", CALL, None),
    ("E.164, read by the library", IdentityKind::PhoneNumber, "+390212345678", CALL, None),
    ("E.164 with an alias", IdentityKind::PhoneNumber, "+5215512345678", CALL, None),
    ("own region", IdentityKind::PhoneNumber, "601 123 456", CALL, Some("CZ")),
    ("own region with trunk 0", IdentityKind::PhoneNumber, "0601 123 456", CALL, Some("SK")),
    ("own region, read by the library", IdentityKind::PhoneNumber, "03-1234-5678", CALL, Some("JP")),
    ("00 and code", IdentityKind::PhoneNumber, "00420601123456", CALL, Some("CZ")),
    ("tel URI", IdentityKind::PhoneNumber, "tel:+420-601-123-456", CALL, Some("CZ")),
    ("SIP user", IdentityKind::PhoneNumber, "sip:+420601123456@pbx.example", CALL, Some("CZ")),
    ("sender's name", IdentityKind::PhoneNumber, "DHL", CALL, Some("CZ")),
    ("SIP URI", IdentityKind::SipUri, "sip:+420601123456@pbx.example:5060", CALL, None),
    ("e-mail", IdentityKind::EmailAddress, "Somebody.Else@Example.com", MAIL, None),
    ("e-mail with a tag", IdentityKind::EmailAddress, "some.body+else@gmail.com", MAIL, None),
    ("e-mail beyond ASCII", IdentityKind::EmailAddress, "žofie@bücher.example", MAIL, None),
    ("IPv4", IdentityKind::IpAddress, "203.0.113.7", CHAT, None),
    ("IPv6", IdentityKind::IpAddress, "2001:db8:1:2::7", CHAT, None),
    ("visitor token", IdentityKind::VisitorToken, "b1946ac9-2d6f-4c1e-9d7a-0123456789ab", CHAT, None),
    ("WhatsApp user id", IdentityKind::WhatsappUserId, "US.13491208655302741918", Channels::NONE, None),
    ("Apple id", IdentityKind::AppleOpaqueId, "urn:mbid:AQAAY45PVG4jgAQAAY45PVG4jg=", Channels::NONE, None),
    ("PSID", IdentityKind::MessengerPsid, "7391400000001", Channels::NONE, None),
    ("VK id", IdentityKind::VkPeerId, "id123456", Channels::NONE, None),
    ("withheld", IdentityKind::PhoneNumber, "anonymous", CALL, Some("CZ")),
];

/// Reading one identity as it came in.
fn canonicalise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("canonicalise");
    for (name, kind, value, channels, region) in ARRIVING {
        let given = bans::given(kind, value);
        group.bench_function(name, |bench| {
            bench.iter(|| read(black_box(&given), channels, region));
        });
    }
}

/// Reading numbers of every region in turn: E.164, then as at home.
fn canonicalise_all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("canonicalise, all regions in turn");
    for (name, format) in [
        ("E.164", PhoneNumberFormat::E164),
        ("national", PhoneNumberFormat::National),
        ("RFC 3966", PhoneNumberFormat::RFC3966),
    ] {
        let numbers: Vec<(String, String)> = PHONE_NUMBER_UTIL
            .get_supported_regions()
            .filter_map(|region| {
                let number = PHONE_NUMBER_UTIL.get_example_number(region).ok()?;
                let text = PHONE_NUMBER_UTIL.format(&number, format).into_owned();
                Some((text, region.as_region_str().to_string()))
            })
            .collect();
        let ask = |(text, region): &(String, String)| {
            read(
                &bans::given(IdentityKind::PhoneNumber, text),
                CALL,
                Some(region),
            )
            .is_ok()
        };
        assert!(numbers.iter().all(ask), "every example can be read");
        let mut turn = numbers.iter().cycle();
        group.bench_function(name, |bench| bench.iter(|| turn.next().map(ask)));
    }
}

/// A check's own work, from the text to the verdict, with and without very many ranges.
fn with_ranges(criterion: &mut Criterion, without: &TenantView) {
    let mut with = without.clone();
    ranges::add(&mut with, RANGES);
    let mut group = criterion.benchmark_group("read, look up and judge");
    for (kind, channel) in [
        (IdentityKind::PhoneNumber, Channel::Call),
        (IdentityKind::IpAddress, Channel::WebChat),
        (IdentityKind::EmailAddress, Channel::Email),
    ] {
        let text = |at: u32| match kind {
            IdentityKind::PhoneNumber => bans::number(at.wrapping_mul(STRIDE) % (2 * LARGE)),
            IdentityKind::IpAddress => {
                std::net::Ipv4Addr::from(at.wrapping_mul(2_654_435_761)).to_string()
            }
            _ => format!("someone{at}@mail.host{}.example", at % (2 * RANGES)),
        };
        let texts: Vec<String> = (0..ASKED).map(text).collect();
        for (name, view) in [("without ranges", without), ("with 300 000 ranges", &with)] {
            let mut turn = texts.iter().cycle();
            group.bench_function(format!("{}, {name}", kind.name()), |bench| {
                bench.iter(|| {
                    let text = turn.next()?;
                    let given = bans::given(kind, text);
                    let who = read(&given, Channels::of(&[channel]), Some("CZ")).ok()?;
                    decide(view, &bans::question(view, channel, &who), NOW).deny
                });
            });
        }
    }
}

/// Judging one question, its keys known: [`decide`] alone.
fn judge(criterion: &mut Criterion, view: &TenantView, count: u32) {
    let number = |at: u32| at.wrapping_mul(STRIDE) % count;
    let call = |at| bans::question(view, Channel::Call, &bans::caller(&bans::number(at)));
    let chat = |address: String| {
        let visitor = bans::identity(IdentityKind::IpAddress, &address);
        bans::question(view, Channel::WebChat, &visitor)
    };
    let questions: [(&str, Vec<Query<'_>>, bool); 4] = [
        ("hit", (0..ASKED).map(|at| call(number(at))).collect(), true),
        (
            "miss",
            (0..ASKED).map(|at| call(count + at)).collect(),
            false,
        ),
        (
            "CIDR hit",
            (0..ASKED)
                .map(|at| chat(format!("100.{}.0.{}", at % 96, at % 256)))
                .collect(),
            true,
        ),
        (
            "CIDR miss",
            (0..ASKED)
                .map(|at| chat(format!("203.0.{}.{}", at / 256, at % 256)))
                .collect(),
            false,
        ),
    ];
    let mut group = criterion.benchmark_group(format!("decide, {count} bans"));
    for (name, questions, denied) in questions {
        let judged = questions
            .iter()
            .filter(|query| decide(view, query, NOW).deny.is_some());
        assert_eq!(
            judged.count(),
            if denied { questions.len() } else { 0 },
            "{name}"
        );
        let mut turn = questions.iter().cycle();
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bench| {
            bench.iter(|| turn.next().map(|query| decide(view, query, black_box(NOW))));
        });
    }
}

/// Making the key that a number is looked up by.
fn digest(criterion: &mut Criterion, view: &TenantView) {
    let caller = bans::caller(&bans::number(7));
    criterion.bench_function("digest", |bench| {
        bench.iter(|| {
            view.key()
                .probes(black_box(&caller), view.widths(), true, |probe| {
                    black_box(probe);
                });
        });
    });
}

/// One ban more: the next version of a large view, made and let go.
fn change(criterion: &mut Criterion, view: &TenantView) {
    let news = (0..ADDED).map(|at| News {
        anchor: Anchor {
            revision: Revision(2),
            nonce: Nonce(0),
        },
        tenant: None,
        change: Change::Bans(vec![bans::ban(
            view.key(),
            LARGE + at,
            &bans::caller(&bans::number(LARGE + at)),
        )]),
    });
    let news: Vec<_> = news.collect();
    let mut turn = news.iter().cycle();
    let name = format!("one change to a view of {LARGE} bans");
    criterion.bench_function(&name, |bench| {
        bench.iter(|| turn.next().map(|news| view.after(news)));
    });
}
