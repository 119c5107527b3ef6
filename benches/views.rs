//! What news costs the shelf of views, and what it costs the checks that read from it meanwhile.

#[path = "stage/bans.rs"]
mod bans;

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bancheck::{
    domain::{
        channel::Channel,
        clock::Timestamp,
        decide::{Query, decide},
        digest::Digest,
        ids::TenantId,
        keys::Space,
        record::{Change, News},
        revision::{Anchor, Nonce, Revision},
        view::TenantView,
    },
    feed::Shelf,
    views::Views,
};
use criterion::Criterion;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const BANS: u32 = 1_000_000;
/// Different bans added in turn.
const ADDED: u32 = 4_096;
/// Different callers asked about in turn, far from each other.
const ASKED: u32 = 65_536;
const STRIDE: u32 = 514_229;
/// Checks timed one by one in each of the last figures.
const TIMED: usize = 2_000_000;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
        .configure_from_args();
    let acme = TenantId::parse("acme").expect("an id");
    let view = Arc::new(bans::view(BANS));
    let news: Vec<_> = (0..ADDED).map(|at| one_more(&view, BANS + at)).collect();
    let views = Views::new(1 << 30);
    views.put(&acme, Arc::clone(&view));

    let entry = view.find(Space::Digest, key(&view))[0];
    criterion.bench_function("digest of one entry", |bench| {
        bench.iter(|| Digest::of_entry(Space::Digest, black_box(&entry)));
    });
    let mut turn = news.iter().cycle();
    criterion.bench_function("one change to a view of 1000000 bans", |bench| {
        bench.iter(|| turn.next().map(|news| view.after(news)));
    });
    criterion.bench_function(
        "the same, put on the shelf in the old one's place",
        |bench| {
            bench.iter(|| turn.next().map(|news| publish(&views, &acme, news)));
        },
    );
    criterion.final_summary();

    let number = |at: u32| bans::caller(&bans::number(at.wrapping_mul(STRIDE) % BANS));
    let questions: Vec<_> = (0..ASKED)
        .map(|at| bans::question(&view, Channel::Call, &number(at)))
        .collect();
    drop(view);
    println!("a check (view and judgement), in ns: the median, of 100 the 99th, and so on");
    for (what, pause) in [
        ("without news", None),
        ("at 1000 changes a second", Some(Duration::from_millis(1))),
        ("at as many changes as there can be", Some(Duration::ZERO)),
    ] {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            if let Some(pause) = pause {
                let (views, acme, news, stop) = (&views, &acme, &news, &stop);
                scope.spawn(move || keep_changing(views, acme, news, pause, stop));
            }
            let times = timed(&views, &acme, &questions);
            stop.store(true, Ordering::Relaxed);
            let last = times.len() - 1;
            let nth = [2, 100, 1_000, 10_000].map(|of| times[last - last / of]);
            println!("  {what:<36} {nth:>8?}, worst {:>8}", times[last]);
        });
    }
}

fn key(view: &TenantView) -> bancheck::domain::view::index::Key {
    let keys = view.key().keys(&bans::caller(&bans::number(7)), 64);
    keys[0].0.key
}

fn one_more(view: &TenantView, at: u32) -> News {
    let anchor = Anchor {
        revision: Revision(2),
        nonce: Nonce(0),
    };
    News {
        anchor,
        tenant: None,
        change: Change::Bans(vec![bans::ban(
            view.key(),
            at,
            &bans::caller(&bans::number(at)),
        )]),
    }
}

/// As the feed does it.
fn publish(views: &Views, tenant: &TenantId, news: &News) {
    if let Some(view) = views.view(tenant)
        && let Some(next) = view.after(news)
    {
        views.put(tenant, Arc::new(next));
    }
}

fn keep_changing(
    views: &Views,
    tenant: &TenantId,
    news: &[News],
    pause: Duration,
    stop: &AtomicBool,
) {
    for news in news.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        publish(views, tenant, news);
        if !pause.is_zero() {
            thread::park_timeout(pause);
        }
    }
}

/// How long each of many checks took, in nanoseconds, the shortest first.
fn timed(views: &Views, tenant: &TenantId, questions: &[Query<'_>]) -> Vec<u128> {
    let mut times: Vec<_> = questions
        .iter()
        .cycle()
        .take(TIMED)
        .map(|question| {
            let begun = now();
            let view = views.get(tenant).expect("a view");
            assert!(decide(&view, question, NOW).deny.is_some());
            drop(view);
            begun.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    times
}

#[expect(
    clippy::disallowed_methods,
    reason = "a duration is measured here, not the time of day"
)]
fn now() -> Instant {
    Instant::now()
}
