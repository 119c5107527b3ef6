//! What must hold once nothing is wrong any more: everybody fresh, everybody right, one history.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bancheck::{
    desk::{CreateBan, Job as _},
    domain::{decide::Basis, revision::Epoch},
};
use tokio::time::{Instant, sleep_until};

use super::{
    answers::Wish,
    client::{PEOPLE, World, about, check},
    errand::{Deed, Errand, run},
    random::Random,
};

/// Within this a pod that hears no bell has heard of a write all the same, its wires slow now and
/// then.
const PROPAGATION: Duration = Duration::from_millis(600);
const DEADLINE: Duration = Duration::from_secs(3);

/// Waits until everything is to be well, and looks at everything.
pub(crate) async fn settle(world: &Arc<World>, well: Duration) {
    sleep_until(world.database.start.after(well)).await;
    world.judge.all_quiet();
    one_history(world);
    everybody_is_right(world).await;
    propagates_without_bells(world).await;
    stays_fresh(world).await;
    one_history(world);
}

fn pods(world: &World) -> usize {
    world
        .pods
        .lock()
        .expect("nobody panics with the pods")
        .len()
}

/// All pods are in one epoch, greater than that of any position that no history holds any more.
fn one_history(world: &World) {
    let epochs: Vec<Option<Epoch>> = (0..pods(world))
        .map(|pod| Some(world.pod(pod).feed.standing()?.position.epoch))
        .collect();
    let Some(epoch) = epochs[0] else {
        let what = "a pod has not heard of the database".to_owned();
        return world.judge.accuse("fresh when nothing is wrong", what);
    };
    if epochs.iter().any(|other| *other != Some(epoch)) {
        let what = format!("the pods are in {epochs:?}");
        world.judge.accuse("an epoch is one history", what);
    }
    if let Some(what) = world.judge.lost_in(epoch) {
        world.judge.accuse("an epoch is one history", what);
    }
}

/// Every pod answers about everybody, fresh, as the newest row has it.
async fn everybody_is_right(world: &World) {
    let mut random = Random::new(1);
    for pod in 0..pods(world) {
        for tenant in &world.tenants {
            for wish in [Wish::Whatever, Wish::Fully, Wish::Whatever] {
                // Fully: the judge then asks for the newest row. It compares the whole view anyway.
                let asked = about(tenant, random.below(PEOPLE), &mut random);
                is_fresh(world, pod, &asked, &wish).await;
            }
        }
    }
}

async fn is_fresh(world: &World, pod: usize, asked: &super::verdict::Asked, wish: &Wish) {
    let said = check(world, &world.pod(pod), asked, wish, DEADLINE).await;
    if said.is_some_and(|said| said.basis != Basis::Fresh) {
        let what = format!("pod {pod} is not fresh though nothing is wrong");
        world.judge.accuse("fresh when nothing is wrong", what);
    }
}

/// A ban on somebody whom no schedule bans, made on the first pod.
async fn ban(world: &Arc<World>, number: usize, who: u64, hangs_up: Option<Duration>) {
    let errand = Errand {
        tenant: 0,
        deed: Deed::Ban {
            who,
            in_list: false,
            on: Vec::new(),
            starts: None,
            ends: None,
            shadow: false,
        },
        pod: 0,
        twin: None,
        hangs_up,
        deadline: DEADLINE,
        tries: 0,
        afterwards: 5,
    };
    world.tasks.spawn(run(Arc::clone(world), number, errand));
    sleep_until(Instant::now() + PROPAGATION).await;
}

/// A write is everywhere soon, though nobody hears the bell; also one whose client hung up.
async fn propagates_without_bells(world: &Arc<World>) {
    for pod in 0..pods(world) {
        let network = &world.pod(pod).network;
        network.deaf.store(true, Ordering::Relaxed);
    }
    ban(
        world,
        usize::MAX - 1,
        PEOPLE,
        Some(Duration::from_millis(3)),
    )
    .await;
    ban(world, usize::MAX, PEOPLE + 1, None).await;
    for (number, who) in [(usize::MAX - 1, "hung up"), (usize::MAX, "waits")] {
        let id = format!("w{number}");
        let committed = world
            .database
            .committed(&world.tenants[0], CreateBan::RPC, &id);
        let Some(row) = committed.first() else {
            let what = format!("the write of a client that {who} was never done");
            return world.judge.accuse("a write once begun is done", what);
        };
        sleep_until(world.database.start.after(row.at) + PROPAGATION).await;
        for pod in 0..pods(world) {
            let stands = world.pod(pod).feed.standing();
            let there = stands.and_then(|stands| world.database.row(stands.position.anchor));
            if there.is_none_or(|there| !there.includes(row)) {
                let what = format!("pod {pod} lacks row #{} after 600 ms", row.number);
                world.judge.accuse("news without a bell", what);
            }
        }
    }
}

/// Nobody writes and nobody rings, and everybody is fresh all the time.
async fn stays_fresh(world: &World) {
    for _ in 0..25 {
        sleep_until(Instant::now() + Duration::from_millis(100)).await;
        for pod in 0..pods(world) {
            let pod = world.pod(pod);
            let boot = pod.feed.clock().read().boot;
            let fresh = pod.feed.standing().is_some_and(|one| one.is_fresh(boot));
            if !fresh {
                let what = format!("pod {} let its lease run out", pod.name);
                world.judge.accuse("the lease is renewed", what);
            }
        }
    }
}
