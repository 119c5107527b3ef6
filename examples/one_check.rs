//! Checks in process and nothing else, for a count of instructions: `one_check TIMES`.
//!
//! Each reads one number, makes its key and judges it in a tenant of 1 000 bans, by turns a banned
//! one and one that is not. `benches/gate` runs it twice and divides the difference, which leaves
//! out how the view was built.

#[path = "../benches/stage/bans.rs"]
mod bans;

use std::{error::Error, hint::black_box};

use bancheck::domain::{
    channel::{Channel, Channels},
    clock::Timestamp,
    decide::decide,
    identity::{IdentityKind, read},
    view::TenantView,
};

const BANS: u32 = 1_000;
const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn main() -> Result<(), Box<dyn Error>> {
    let times = std::env::args().nth(1).ok_or("how many times?")?;
    let times: u32 = times.parse()?;
    let view = bans::view(BANS);
    let numbers: Vec<String> = (0..BANS)
        .flat_map(|at| [bans::number(at), bans::number(BANS + at)])
        .collect();
    let asked = numbers.iter().cycle().take(times as usize);
    let denied = asked.filter(|number| is_denied(&view, number)).count();
    println!("{denied} of {times} denied");
    Ok(())
}

/// One check, as `Checker` does it, without what is around it.
#[inline(never)]
fn is_denied(view: &TenantView, number: &str) -> bool {
    let given = bans::given(IdentityKind::PhoneNumber, black_box(number));
    read(&given, Channels::of(&[Channel::Call]), None).is_ok_and(|identity| {
        let query = bans::question(view, Channel::Call, &identity);
        decide(view, &query, black_box(NOW)).deny.is_some()
    })
}
