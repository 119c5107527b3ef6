//! What the parts of a check cost in process: the judgement itself, what comes before it, and news.
//!
//! Questions are asked about thousands of identities in turn, spread over the tenant, so that a
//! large tenant's bans are fetched from memory as they would be and not from the nearest cache.

#[path = "stage/bans.rs"]
mod bans;

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

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const SMALL: u32 = 1_000;
const LARGE: u32 = 1_000_000;
/// Different questions asked in turn; the entries they lead to are more than the near caches hold.
const ASKED: u32 = 65_536;
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
    for count in [SMALL, LARGE] {
        let view = bans::view(count);
        judge(&mut criterion, &view, count);
        if count == LARGE {
            digest(&mut criterion, &view);
            change(&mut criterion, &view);
        }
    }
    criterion.final_summary();
}

/// Reading one identity as it came in.
fn canonicalise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("canonicalise");
    let call = Channels::of(&[Channel::Call]);
    let chat = Channels::of(&[Channel::WebChat]);
    let mail = Channels::of(&[Channel::Email]);
    for (name, kind, value, channels, region) in [
        (
            "E.164",
            IdentityKind::PhoneNumber,
            "+420601123456",
            call,
            None,
        ),
        (
            "own region",
            IdentityKind::PhoneNumber,
            "601 123 456",
            call,
            Some("CZ"),
        ),
        (
            "e-mail",
            IdentityKind::EmailAddress,
            "Somebody.Else@Example.com",
            mail,
            None,
        ),
        ("IPv4", IdentityKind::IpAddress, "203.0.113.7", chat, None),
    ] {
        let given = bans::given(kind, value);
        group.bench_function(name, |bench| {
            bench.iter(|| read(black_box(&given), channels, region));
        });
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
                .map(|at| chat(format!("10.{}.0.{}", at % 96, at % 256)))
                .collect(),
            true,
        ),
        (
            "CIDR miss",
            (0..ASKED)
                .map(|at| chat(format!("172.16.{}.{}", at / 256, at % 256)))
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
