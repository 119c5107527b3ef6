//! Pods killed in the middle of a write, their COMMIT held on its way.

use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use bancheck::{api::v1::Decision, domain::ids::BanId};

use crate::{
    clients::{Clients, PATIENCE, number, run, until},
    cluster::Cluster,
    process::Pod,
    proxy::{Proxy, Trap},
};

/// How often each way to die is died.
const ROUNDS: usize = 4;

/// Where a pod dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// Its COMMIT never gets to the database.
    Before,
    /// Its COMMIT gets there after its end.
    Meanwhile,
    /// Its COMMIT is done and nobody has heard so.
    After,
    /// Its COMMIT gets there while somebody tries again already.
    DuringTheNextTry,
}

/// How many rows there are of a ban on a number: itself, events, requests, rows of the feed.
async fn rows(url: &str, ban: &str, request_id: &str) -> [i64; 4] {
    let mut connection = PgConnection::connect(url).await.expect("the database");
    let ban = BanId::parse(ban).expect("a ban's id").bytes().to_vec();
    let text = "SELECT ARRAY[
        (SELECT count(*) FROM bans b JOIN ban_targets t USING (tenant, ban_id)
         WHERE t.canonical IN (SELECT canonical FROM ban_targets WHERE ban_id = $1)),
        (SELECT count(*) FROM ban_events WHERE ban_id = $1),
        (SELECT count(*) FROM requests WHERE request_id = $2),
        (SELECT count(*) FROM feed f JOIN ban_events e USING (nonce) WHERE e.ban_id = $1)]";
    let found: Vec<i64> = sqlx::query_scalar(text)
        .bind(ban)
        .bind(request_id)
        .fetch_one(&mut connection)
        .await
        .expect("the rows");
    found.try_into().expect("four numbers")
}

#[test]
fn c6_a_pod_killed_in_the_middle_of_a_write_leaves_one_ban_or_none_and_the_next_try_makes_it_one() {
    run(async {
        let cluster = Cluster::make();
        cluster.start();
        let proxy = Proxy::start(cluster.port).await;
        let sound = Pod::start(&cluster.url(), true);
        let mut sound = Clients::of(&sound).await.with(sound);
        sound.clients.make_tenant().await;
        let mut at = 0;
        for _ in 0..ROUNDS {
            for death in [
                Death::Before,
                Death::Meanwhile,
                Death::After,
                Death::DuringTheNextTry,
            ] {
                at += 1;
                dies(death, at, &cluster, &proxy, &mut sound.clients).await;
            }
        }
        println!("{at} pods died in the middle of a write");
    });
}

/// A pod with its clients.
struct Sound {
    clients: Clients,
    _pod: Pod,
}

impl Clients {
    fn with(self, pod: Pod) -> Sound {
        Sound {
            clients: self,
            _pod: pod,
        }
    }
}

async fn dies(death: Death, at: usize, cluster: &Cluster, proxy: &Proxy, sound: &mut Clients) {
    let (number, request_id) = (number(at), format!("request-{at}"));
    let pod = Pod::start(&proxy.url(), true);
    let mut clients = Clients::of(&pod).await;
    until(async || clients.try_check(&number, None).await.ok()).await;

    proxy.set_trap(Some(match death {
        Death::After => Trap::AfterCommit,
        Death::Before | Death::Meanwhile | Death::DuringTheNextTry => Trap::BeforeCommit,
    }));
    let mut writer = clients.clone();
    let (told, id) = (number.clone(), request_id.clone());
    let mut write = tokio::task::JoinSet::new();
    write.spawn(async move { writer.try_ban_as(&told, &id).await });
    proxy.caught().await;
    pod.kill();
    let said = write.join_next().await.expect("a write").expect("an end");
    assert!(said.is_err(), "{death:?}: nobody can have acknowledged it");

    if matches!(death, Death::Before) {
        proxy.cut();
    }
    if !matches!(death, Death::DuringTheNextTry) {
        proxy.set_trap(None);
    }
    let mut again = sound.clone();
    let (told, id) = (number.clone(), request_id.clone());
    let mut retry = tokio::task::JoinSet::new();
    retry.spawn(async move {
        // What the dead pod holds it may hold for a while.
        loop {
            if let Ok(made) = again.try_ban_as(&told, &id).await {
                return made;
            }
        }
    });
    tokio::task::yield_now().await;
    proxy.set_trap(None);
    let made = timeout(PATIENCE, retry.join_next()).await;
    let made = made
        .expect("it is done in time")
        .expect("a write")
        .expect("an end");
    let (ban, token) = (
        made.ban.expect("the ban"),
        made.written_at.expect("a token"),
    );
    let rows = rows(&cluster.url(), &ban.ban_id, &request_id).await;
    assert_eq!(
        rows, [1; 4],
        "{death:?}: ban, event, request, row of the feed"
    );

    let pod = Pod::start(&proxy.url(), true);
    let mut clients = Clients::of(&pod).await;
    let answer = until(async || {
        clients
            .try_check(&number, Some(token.token.clone()))
            .await
            .ok()
    });
    let answer = answer.await;
    assert_eq!(answer.decision(), Decision::Deny, "{death:?}");
    assert_eq!(answer.r#match.expect("the ban").ban_id, ban.ban_id);
}
