//! The shelf of views: who leaves it, and that no check ever frees what has left.

#[path = "../benches/stage/bans.rs"]
#[expect(dead_code, reason = "the rest is for those who ask about the bans")]
mod bans;
#[path = "views/heavy.rs"]
mod heavy;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use allocation_counter::measure;
use bancheck::{
    domain::{
        ids::TenantId,
        record::{Change, News},
        revision::{Anchor, Nonce, Revision},
        view::TenantView,
    },
    feed::Shelf,
    views::Views,
};

/// Enough bans that to free them shows.
const BANS: u32 = 20_000;
/// What a check may let go of beside: a token, a counter, an entry of the cache's own books.
const SMALL: i64 = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(30);

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).expect("an id")
}

fn view() -> Arc<TenantView> {
    Arc::new(bans::view(BANS))
}

fn weight(view: &TenantView) -> u64 {
    view.bytes() as u64
}

/// The view after one ban more.
fn next(view: &TenantView, at: u32) -> Arc<TenantView> {
    let who = bans::caller(&bans::number(BANS + at % BANS));
    let anchor = Anchor {
        revision: Revision(2),
        nonce: Nonce(0),
    };
    let change = Change::Bans(vec![bans::ban(view.key(), BANS + at % BANS, &who)]);
    let news = News {
        anchor,
        tenant: None,
        change,
    };
    Arc::new(view.after(&news).expect("a view"))
}

/// Keeps the tests of one process apart: the books of all its caches are done by whoever comes, so
/// what one leaves behind would be freed, and counted, in the middle of another.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends a test with nothing left.
fn end(views: &Views) {
    for tenant in views.resident() {
        views.remove(&tenant);
    }
    wait_until_all_has_left(views);
    assert_eq!(views.size(), (0, 0));
}

/// Waits until the reaper has let go of everything, as the server's beat would have it do.
fn wait_until_all_has_left(views: &Views) {
    let begun = now();
    while views.leaving() > 0 {
        views.size();
        assert!(
            begun.elapsed() < PATIENCE,
            "{} views are held for ever",
            views.leaving()
        );
        thread::yield_now();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long the test has waited, not what time it is"
)]
fn now() -> Instant {
    Instant::now()
}

/// The bytes that this thread has freed beyond those that it took, which is none of a view's.
fn frees_little(work: impl FnOnce()) {
    let balance = measure(work).bytes_current;
    assert!(balance > -SMALL, "{} bytes were freed here", -balance);
}

#[test]
fn the_measure_shows_a_view_that_is_freed_here() {
    let _alone = alone();
    let view = view();
    let bytes = i64::try_from(view.bytes()).expect("a size");
    assert!(bytes > 10 * SMALL);
    let balance = measure(|| drop(view)).bytes_current;
    assert!(balance < -bytes * 9 / 10, "{balance} of {bytes}");
}

#[test]
fn a_check_that_holds_the_last_of_a_view_does_not_free_it() {
    let _alone = alone();
    let views = Views::new(64 << 20);
    let acme = tenant("acme");
    views.put(&acme, view());
    let held = views.get(&acme).expect("a view");
    views.remove(&acme);
    assert!(views.get(&acme).is_none());
    let check = thread::spawn(move || frees_little(|| drop(held)));
    check.join().expect("a check");
    end(&views);
}

#[test]
fn a_check_does_not_free_what_was_replaced_under_it() {
    let _alone = alone();
    let views = Views::new(64 << 20);
    let acme = tenant("acme");
    views.put(&acme, view());
    let held = views.get(&acme).expect("a view");
    // Nothing of the old one is in the new: all of it is the check's alone.
    views.put(&acme, view());
    thread::spawn(move || frees_little(|| drop(held)))
        .join()
        .expect("a check");
    wait_until_all_has_left(&views);
    assert!(views.get(&acme).is_some());
    end(&views);
}

#[test]
fn nobody_but_the_reaper_frees_a_view_neither_feed_nor_check() {
    let _alone = alone();
    let one = view();
    let views = Views::new(weight(&one) * 5 / 2);
    drop(one);
    let names: Vec<_> = (0..6).map(|at| tenant(&format!("t{at}"))).collect();
    for name in &names {
        let new = view();
        frees_little(|| {
            views.put(name, new);
        });
        // The check does the cache's chores whenever it happens to be the one.
        frees_little(|| {
            for _ in 0..500 {
                for name in &names {
                    drop(views.get(name));
                }
            }
        });
    }
    frees_little(|| end(&views));
}

#[test]
fn the_least_recently_used_leaves_first_and_at_once() {
    let _alone = alone();
    let one = view();
    let views = Views::new(weight(&one) * 5 / 2);
    let [a, b, c] = ["a", "b", "c"].map(tenant);
    views.put(&a, view());
    views.put(&b, view());
    assert!(views.get(&a).is_some());
    views.put(&c, view());
    // Not once somebody comes to do the chores: the memory is bounded.
    assert_eq!(views.resident(), [a.clone(), c.clone()]);
    assert!(views.get(&b).is_none());
    // To be looked at from outside is no use.
    assert_eq!(views.all().len(), 2);
    assert!(views.get(&c).is_some() && views.get(&a).is_some());
    views.all();
    views.put(&b, view());
    assert_eq!(views.resident(), [a, b]);
    end(&views);
}

#[test]
fn a_view_heavier_than_the_bound_is_refused_and_the_old_one_goes() {
    let _alone = alone();
    let one = view();
    let views = Views::new(weight(&one) / 2);
    let acme = tenant("acme");
    let light = Arc::new(bans::view(1_000));
    assert!(views.put(&acme, light));
    frees_little(|| assert!(!views.put(&acme, one)));
    assert!(views.get(&acme).is_none());
    assert!(views.resident().is_empty());
    assert_eq!(views.bound(), weight(&view()) / 2);
    end(&views);
}

#[test]
fn what_is_replaced_does_not_pile_up_however_fast_it_is() {
    let _alone = alone();
    let views = Views::new(64 << 20);
    let acme = tenant("acme");
    views.put(&acme, view());
    let slow_check = views.get(&acme);
    let mut most = 0;
    for at in 0..20_000 {
        let current = views.get(&acme).expect("a view");
        views.put(&acme, next(&current, at));
        most = most.max(views.leaving());
    }
    // All but what came since the reaper's last look, and the one that is held.
    assert!(most < 10_000, "{most} views waited at once");
    drop(slow_check);
    end(&views);
    println!("at most {most} of 20000 replaced views waited at once");
}
