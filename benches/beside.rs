//! What very many ranges cost a check: the same questions of two tenants, with ranges and without,
//! in turn in one run.
//!
//! The text is read, its keys are made, looked up and judged; what the wire costs is left out, so a
//! check pays less of it than this says. Counted in the time that this thread had a processor, for
//! other programs run beside it; what matters is the ratio.

#[path = "stage/bans.rs"]
#[expect(dead_code, reason = "nobody here has a few ranges")]
mod bans;
#[path = "stage/ranges.rs"]
mod ranges;

use std::{hint::black_box, net::Ipv4Addr};

use bancheck::domain::{
    channel::{Channel, Channels},
    clock::Timestamp,
    decide::decide,
    identity::{IdentityKind, read},
    view::TenantView,
};
use rustix::time::{ClockId, clock_gettime};

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
/// Numbers banned one by one, and ranges of each kind.
const BANS: u32 = 1_000_000;
const RANGES: u32 = 100_000;
/// Different questions, asked in turn; the entries they lead to are more than the near caches hold.
const ASKED: u32 = 65_536;
/// How often each tenant is asked all of them, before the first of which nothing counts.
const ROUNDS: usize = 25;
/// One in so many numbers and domains is banned.
const ONE_IN: u32 = 20;
const STRIDE: u32 = 514_229;

fn main() {
    let without = bans::without_ranges(BANS);
    let mut with = without.clone();
    ranges::add(&mut with, RANGES);
    println!(
        "{BANS} numbers banned; with {RANGES} networks, {RANGES} prefixes and {RANGES} domains \
         besides, or without; ns a check, medians of {ROUNDS} rounds in turn"
    );
    for (kind, channel) in [
        (IdentityKind::PhoneNumber, Channel::Call),
        (IdentityKind::IpAddress, Channel::WebChat),
        (IdentityKind::EmailAddress, Channel::Email),
    ] {
        let texts: Vec<String> = (0..ASKED).map(|at| text(kind, at)).collect();
        let (mut apart, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
        for round in 0..=ROUNDS {
            let mut took = [0.0; 2];
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for which in order {
                took[which] = ask([&without, &with][which], kind, channel, &texts);
            }
            if round > 0 {
                apart[0].push(took[0]);
                apart[1].push(took[1]);
                ratios.push(took[1] / took[0]);
            }
        }
        let [without, with] = apart.map(median);
        println!(
            "{:>14}: without {without:5.0}, with {with:5.0}, ratio {:.3}",
            kind.name(),
            median(ratios)
        );
    }
}

/// Somebody who may be banned.
fn text(kind: IdentityKind, at: u32) -> String {
    let spread = |among: u32| at.wrapping_mul(STRIDE) % among;
    match kind {
        IdentityKind::PhoneNumber => bans::number(spread(ONE_IN * BANS)),
        // The networks hold a sixth of all addresses.
        IdentityKind::IpAddress => Ipv4Addr::from(at.wrapping_mul(2_246_822_519)).to_string(),
        _ => format!("someone{at}@mail.host{}.example", spread(ONE_IN * RANGES)),
    }
}

/// Asks all questions once; nanoseconds each.
fn ask(view: &TenantView, kind: IdentityKind, channel: Channel, texts: &[String]) -> f64 {
    let begun = nanos();
    for text in texts {
        let who = read(
            &bans::given(kind, text),
            Channels::of(&[channel]),
            Some("CZ"),
        );
        let who = who.expect("a well-formed identity");
        black_box(decide(view, &bans::question(view, channel, &who), NOW));
    }
    let took = u32::try_from(nanos() - begun).expect("some seconds at the most");
    f64::from(took) / f64::from(ASKED)
}

/// How long this thread has had a processor.
fn nanos() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
