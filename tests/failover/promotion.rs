//! A standby that misses the last writes takes over and gives their revisions to other bans.

use std::time::Duration;

use bancheck::{
    api::v1::{CheckInteractionResponse, Decision, DecisionBasis},
    domain::{
        keys::{MasterKey, Seal},
        revision::{Epoch, Position, Revision},
    },
};
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    clients::{Clients, number, run, until},
    cluster::{Cluster, Stop},
    process::{MASTER_KEY, Pod},
    proxy::{Mode, Proxy, Trap},
};

/// Bans that both servers have, that only the old one has, and that only the new one has.
const SHARED: std::ops::Range<usize> = 0..5;
const LOST: std::ops::Range<usize> = 10..14;
const LATER: std::ops::Range<usize> = 20..27;
/// FRESH again within this of the database accepting connections.
const RECOVERY: Duration = Duration::from_secs(3);

async fn head(url: &str) -> Option<i64> {
    let mut connection = PgConnection::connect(url).await.ok()?;
    let head = sqlx::query_scalar("SELECT max(rev) FROM feed");
    head.fetch_one(&mut connection).await.ok()
}

fn seal() -> Seal {
    MasterKey::new(&MASTER_KEY).seal("token")
}

fn position(token: &str) -> Position {
    Position::read(token, &seal()).expect("a token of ours")
}

fn place(answer: &CheckInteractionResponse) -> Position {
    position(&answer.checked_at.as_ref().expect("a token").token)
}

fn reason(status: &Status) -> String {
    let info = status.get_details_error_info().expect("a reason");
    format!("{:?} {}", status.code(), info.reason)
}

/// A ban's number, and the token of its making.
type Made = (usize, String);

/// Makes a standby of the cluster behind a proxy, which lives in this very runtime.
async fn standby_of(port: u16) -> Cluster {
    let made = tokio::task::spawn_blocking(move || {
        let new = Cluster::following(port);
        new.start();
        new
    });
    made.await.expect("a standby")
}

/// Waits for an answer of a newer epoch; one of the old may be FRESH for the rest of its lease.
async fn wants_fresh(clients: &mut Clients, after: Epoch) -> CheckInteractionResponse {
    let asks = until(async || {
        let answer = clients.try_check(&number(0), None).await.ok()?;
        let newer = place(&answer).epoch > after;
        (newer && answer.basis() == DecisionBasis::Fresh).then_some(answer)
    });
    timeout(RECOVERY, asks).await.expect("FRESH again in time")
}

#[test]
fn a_standby_that_reissues_revisions_begins_a_new_epoch_once_and_no_pod_answers_from_the_old() {
    run(async {
        let old = Cluster::make();
        old.start();
        let replication = Proxy::start(old.port).await;
        let (here, there) = (Proxy::start(old.port).await, Proxy::start(old.port).await);
        let pods = [&here, &there].map(|proxy| Pod::start(&proxy.url(), true));
        let (mut a, mut b) = (Clients::of(&pods[0]).await, Clients::of(&pods[1]).await);
        a.make_tenant().await;
        let new = standby_of(replication.port).await;
        for at in SHARED {
            a.ban(&number(at)).await;
        }
        let (from, to) = (old.url(), new.url());
        until(async || (head(&to).await? == head(&from).await?).then_some(())).await;

        // From here on the standby hears nothing, and nobody waits for it.
        replication.set(Mode::Refuse);
        let mut lost = Vec::new();
        for at in LOST {
            let token = a.ban(&number(at)).await;
            let answer = b.check(&number(at), Some(token.clone())).await;
            assert_eq!(answer.decision(), Decision::Deny);
            lost.push((at, token));
        }
        let epoch = position(&lost[0].1).epoch;
        println!("both pods at {:?}", place(&b.check(&number(0), None).await));

        there.set(Mode::Refuse);
        old.stop(Stop::Immediate);
        new.promote();
        here.lead_to(new.port);
        there.lead_to(new.port);
        here.cut();
        let accepts = Instant::now();
        let answer = wants_fresh(&mut a, epoch).await;
        println!(
            "pod a is FRESH {:?} after the promotion, at {:?}",
            accepts.elapsed(),
            place(&answer)
        );
        let raised = place(&answer).epoch;
        let mut later = Vec::new();
        for at in LATER {
            later.push((at, a.ban(&number(at)).await));
        }
        let gone = position(&lost.last().expect("some were lost").1).anchor;
        let reissued = position(&later.last().expect("some were made").1).anchor;
        assert!(
            reissued.revision > gone.revision,
            "{reissued:?} reissues {gone:?}"
        );

        // The other pod has heard nothing of it and holds what is no more, as it says.
        let answer = b.check(&number(LOST.start), None).await;
        println!("pod b, cut off: {:?} {:?}", answer.basis(), place(&answer));
        there.set(Mode::Pass);
        let accepts = Instant::now();
        let answer = wants_fresh(&mut b, epoch).await;
        println!(
            "pod b is FRESH {:?} after it may connect, at {:?}",
            accepts.elapsed(),
            place(&answer)
        );
        assert_eq!(place(&answer).epoch, raised, "the epoch was raised once");

        for clients in [&mut a, &mut b] {
            tells(clients, raised, &lost, &later).await;
        }
    });
}

/// What a pod makes of the tokens of both histories.
async fn tells(clients: &mut Clients, raised: Epoch, lost: &[Made], later: &[Made]) {
    for (at, token) in lost {
        // Of an older epoch: as if it had asked for everything.
        let answer = clients.check(&number(*at), Some(token.clone())).await;
        println!(
            "lost {:?}: {:?} {:?} at {:?}",
            position(token),
            answer.basis(),
            answer.decision(),
            place(&answer)
        );
        assert_eq!(answer.basis(), DecisionBasis::Fresh);
        assert_eq!(answer.decision(), Decision::Allow, "it is in no database");
        assert_eq!(place(&answer).epoch, raised);
    }
    for (at, token) in later {
        let answer = clients.check(&number(*at), Some(token.clone())).await;
        assert_eq!(answer.decision(), Decision::Deny);
    }
    for at in SHARED {
        let answer = clients.check(&number(at), None).await;
        assert_eq!(answer.decision(), Decision::Deny, "C-6");
    }
    let head = place(&clients.check(&number(0), None).await);
    let mut newer = head;
    newer.anchor.revision = Revision(head.anchor.revision.0 + 1_000);
    let mut foreign = head;
    foreign.epoch = Epoch(head.epoch.0 + 1);
    for (what, token) in [("past the head", newer), ("of an epoch to come", foreign)] {
        let refusal = clients
            .try_check(&number(0), Some(token.token(&seal())))
            .await;
        let refusal = refusal.expect_err("a token of nothing there is");
        println!("{what} {token:?}: {}", reason(&refusal));
        assert_eq!(refusal.code(), Code::FailedPrecondition);
        assert!(reason(&refusal).contains("TOKEN_HISTORY_LOST"));
    }
}

#[test]
fn c6_a_write_that_the_old_server_took_along_is_not_acknowledged_by_word_of_the_new_one() {
    run(async {
        let old = Cluster::make();
        old.start();
        let (replication, proxy) = (Proxy::start(old.port).await, Proxy::start(old.port).await);
        let pod = Pod::start(&proxy.url(), true);
        let mut clients = Clients::of(&pod).await;
        clients.make_tenant().await;
        let new = standby_of(replication.port).await;
        let before = clients.ban(&number(0)).await;
        let (from, to) = (old.url(), new.url());
        until(async || (head(&to).await? == head(&from).await?).then_some(())).await;
        replication.set(Mode::Refuse);

        // The pod knows that it committed, and hears of the feed only when another server leads it.
        proxy.set_trap(Some(Trap::OnceCommitted));
        let mut writer = clients.clone();
        let mut write = tokio::task::JoinSet::new();
        write.spawn(async move { writer.try_ban_as(&number(1), "once").await });
        proxy.caught().await;
        old.stop(Stop::Immediate);
        new.promote();
        proxy.lead_to(new.port);
        proxy.cut();
        proxy.set(Mode::Pass);
        let said = write.join_next().await.expect("a write").expect("an end");
        let told = said.as_ref().map(|made| made.written_at.clone());
        println!("a write that is lost: {:?}", told.map_err(reason));
        if let Ok(made) = said {
            let token = made.written_at.map(|token| token.token);
            let answer = clients.check(&number(1), token).await;
            assert_eq!(
                answer.decision(),
                Decision::Deny,
                "C-6: acknowledged, and lost"
            );
        }
        let again = until(async || clients.try_ban_as(&number(1), "once").await.ok()).await;
        let token = again.written_at.expect("a token").token;
        // The pod's own row is in both histories, and still no token of the old one is taken for known.
        assert!(
            token[..8] > before[..8],
            "no new epoch: {before} then {token}"
        );
        let answer = clients.check(&number(1), Some(token)).await;
        assert_eq!(answer.decision(), Decision::Deny);
    });
}
