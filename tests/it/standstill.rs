//! The edge of a ban's time, met with the clock standing still.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use bancheck::{
    api::v1::{Ban, Channel, ListBanEventsRequest},
    feed::{Machine, ThisMachine},
};
use prost_types::Timestamp;

use crate::{
    database::{Database, Kind},
    requests::{add_on, connect, denies, micros, phone, until},
    server::{Client, Server, TENANT, config, runtime},
};

on_both_stores!(run by crate::standstill::standing_still:
    d30_a_check_at_the_last_millisecond_is_denied_and_one_at_the_end_is_not_with_nothing_swept,
);

const MILLISECOND: i64 = 1_000;
/// How far ahead the ban ends: less than what the server would step its clock for.
const AHEAD: i64 = 50 * MILLISECOND;

/// A machine whose clocks go as they do, until somebody stops them.
#[derive(Default)]
struct Stoppable {
    /// The boot time they are stopped at; 0 = they go.
    stopped: AtomicI64,
    /// What they lost by that.
    lost: AtomicI64,
}

impl Stoppable {
    fn stop(&self) {
        self.stopped.store(self.boot(), Ordering::SeqCst);
    }

    /// Moves the hands of a clock that stands still.
    fn forward(&self, by: i64) {
        self.stopped.fetch_add(by, Ordering::SeqCst);
    }

    fn go_on(&self) {
        let stopped = self.stopped.swap(0, Ordering::SeqCst);
        // Boot time never goes back, and need not catch up.
        self.lost
            .store(ThisMachine.boot() - stopped, Ordering::SeqCst);
    }
}

impl Machine for Stoppable {
    fn boot(&self) -> i64 {
        match self.stopped.load(Ordering::SeqCst) {
            0 => ThisMachine.boot() - self.lost.load(Ordering::SeqCst),
            stopped => stopped,
        }
    }

    fn wall(&self) -> i64 {
        ThisMachine.wall()
    }
}

fn standing_still(kind: Kind, test: impl AsyncFnOnce(Client, Arc<Stoppable>)) {
    let database = Database::fresh(kind);
    let machine = Arc::new(Stoppable::default());
    let own = Arc::clone(&machine);
    let server = Server::start_on(&config(&database.place), own).expect("a server");
    runtime().block_on(async {
        let client = server.client();
        client.make_tenant(TENANT).await;
        test(client, machine).await;
    });
}

/// Asks about somebody, and tells at which instant that was, if it was at one only.
async fn ask(client: &Client, number: &str) -> (bool, Option<i64>) {
    let before = micros(client.clock().await);
    let answer = client.ask(connect(Channel::Call, phone(number))).await;
    let after = micros(client.clock().await);
    (denies(&answer), (before == after).then_some(after))
}

/// Whether time has been noted on a ban.
async fn is_swept(client: &Client, ban: &Ban) -> bool {
    let request = ListBanEventsRequest {
        tenant: TENANT.to_owned(),
        ban_id: ban.ban_id.clone(),
        ..Default::default()
    };
    let page = client.admin().list_ban_events(request).await;
    let events = page.expect("events").into_inner().events;
    events.iter().any(|event| event.action == "EXPIRED")
}

async fn d30_a_check_at_the_last_millisecond_is_denied_and_one_at_the_end_is_not_with_nothing_swept(
    client: Client,
    machine: Arc<Stoppable>,
) {
    // A clock that stands still for too long is put right by the server: then it is tried again.
    for number in (0..).map(|at| format!("+4206011{at:05}")) {
        machine.stop();
        let end = micros(client.clock().await) + AHEAD;
        let expire = Timestamp {
            seconds: end.div_euclid(1_000_000),
            nanos: i32::try_from(end.rem_euclid(1_000_000) * 1_000).unwrap(),
        };
        let ban = until(expire, add_on(Channel::Call, phone(&number)));
        let Ok(made) = client.admin().create_ban(ban).await else {
            // It was over before it was made.
            machine.go_on();
            continue;
        };
        let ban = made.into_inner().ban.unwrap();
        machine.forward(AHEAD - MILLISECOND);
        let (denied, last) = ask(&client, &number).await;
        machine.forward(MILLISECOND);
        let (denied_still, first) = ask(&client, &number).await;
        let swept = is_swept(&client, &ban).await;
        machine.go_on();

        let last = last.filter(|at| (end - MILLISECOND..end).contains(at));
        let first = first.filter(|at| (end..end + MILLISECOND).contains(at));
        if let (Some(last), Some(first), false) = (last, first, swept) {
            assert!(denied, "{}us before the end", end - last);
            assert!(!denied_still, "{}us after the end", first - end);
            return;
        }
    }
}
