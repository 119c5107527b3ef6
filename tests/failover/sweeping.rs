//! Two pods on one database, killed again and again while time goes on: each beginning and each end
//! of a ban is noted once, and soon.

use std::time::Duration;

use bancheck::api::v1::{self, create_ban_request::Expiry};
use futures_util::{StreamExt as _, stream};
use prost_types::Timestamp;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, sleep};

use crate::{
    clients::{Clients, TENANT, number, run, until},
    cluster::Cluster,
    process::Pod,
};

/// How many bans begin and end, and within what time of one another.
const BANS: usize = 600;
const SPREAD: Duration = Duration::from_secs(8);
/// How many are made at once: behind very many a write would wait longer than any may.
const AT_ONCE: usize = 16;
/// How long before the first of them begins: until then all are made, on however slow a machine.
const AHEAD: Duration = Duration::from_secs(10);
/// How long a pod lives.
const LIFE: Duration = Duration::from_millis(700);

fn later(now: &Timestamp, by: Duration) -> Timestamp {
    let nanos = i64::from(now.nanos) + i64::from(by.subsec_nanos());
    Timestamp {
        seconds: now.seconds + i64::try_from(by.as_secs()).expect("soon") + nanos / 1_000_000_000,
        nanos: i32::try_from(nanos % 1_000_000_000).expect("less than a second"),
    }
}

async fn schedule(clients: &Clients, at: usize, start: Timestamp, end: Timestamp) {
    let request = v1::CreateBanRequest {
        tenant: TENANT.into(),
        channels: vec![v1::Channel::Call as i32],
        targets: vec![v1::Identity {
            value: number(at),
            ..v1::Identity::default()
        }],
        reason: "abuse".into(),
        start_time: Some(start),
        expiry: Some(Expiry::ExpireTime(end)),
        ..v1::CreateBanRequest::default()
    };
    let made = clients.clone().admin.create_ban(request).await;
    made.expect("a ban");
}

async fn count(url: &str, text: &'static str) -> i64 {
    let mut connection = PgConnection::connect(url).await.expect("the database");
    sqlx::query_scalar(text)
        .fetch_one(&mut connection)
        .await
        .expect("a number")
}

#[test]
fn s3_whatever_pods_are_killed_each_beginning_and_end_is_noted_once_in_order_and_within_a_second() {
    run(async {
        let cluster = Cluster::make();
        cluster.start();
        let url = cluster.url();
        let mut pods = vec![Pod::start(&url, true), Pod::start(&url, true)];
        let mut clients = Clients::of(&pods[0]).await;
        clients.make_tenant().await;
        let made = clients.try_ban(&number(BANS)).await.expect("a ban");
        let now = made.ban.and_then(|ban| ban.create_time).expect("the time");
        let first = later(&now, AHEAD);
        let all = (0..BANS).map(|at| {
            let start = later(&first, SPREAD * u32::try_from(at).expect("few") / 600);
            let end = later(&start, Duration::from_millis(500));
            schedule(&clients, at, start, end)
        });
        stream::iter(all)
            .buffer_unordered(AT_ONCE)
            .collect::<()>()
            .await;

        // The pods die by turns, so that one of them is always there.
        let over = Instant::now() + AHEAD + SPREAD;
        let mut deaths = 0;
        while Instant::now() < over {
            sleep(LIFE).await;
            let next = Pod::start(&url, true);
            pods.remove(0).kill();
            pods.push(next);
            deaths += 1;
        }
        until(async || {
            let left = "SELECT count(*) FROM bans WHERE ended = 0 AND expire_at IS NOT NULL";
            (count(&url, left).await == 0).then_some(())
        })
        .await;

        let bans = i64::try_from(BANS).expect("few");
        let each_once = "SELECT count(*) FROM bans b WHERE expire_at IS NOT NULL
            AND 1 = (SELECT count(*) FROM ban_events e WHERE e.ban_id = b.ban_id
                     AND e.action = 'STARTED' AND e.at = b.start_at)
            AND 1 = (SELECT count(*) FROM ban_events e WHERE e.ban_id = b.ban_id
                     AND e.action = 'EXPIRED' AND e.at = b.expire_at)
            AND 3 = (SELECT count(*) FROM ban_events e WHERE e.ban_id = b.ban_id)";
        assert_eq!(count(&url, each_once).await, bans);
        let in_order = "SELECT count(*) FROM ban_events s JOIN ban_events e USING (ban_id)
            WHERE s.action = 'STARTED' AND e.action = 'EXPIRED' AND s.event_id < e.event_id";
        assert_eq!(count(&url, in_order).await, bans);
        let told = "SELECT count(*) FROM ban_events e WHERE e.action IN ('STARTED', 'EXPIRED')
            AND 1 = (SELECT count(*) FROM feed f WHERE f.nonce = e.nonce)";
        assert_eq!(count(&url, told).await, 2 * bans);
        let latest = "SELECT max(f.at - e.at) FROM ban_events e JOIN feed f USING (nonce)
            WHERE e.action IN ('STARTED', 'EXPIRED')";
        let latest = count(&url, latest).await;
        println!("{deaths} pods died; the last word came {latest} microseconds after its instant");
        assert!(latest < 1_000_000, "{latest} microseconds late");
        let soonest = "SELECT min(f.at - e.at) FROM ban_events e JOIN feed f USING (nonce)
            WHERE e.action IN ('STARTED', 'EXPIRED')";
        assert!(count(&url, soonest).await > 0);
    });
}
