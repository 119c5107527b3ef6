//! Networks that lose what they carry, callers who go away in the middle: nothing waits for long,
//! nothing is lost or done twice, and all is well again at once when the server is in reach.

use std::{pin::pin, sync::Arc, task::Poll, time::Duration};

use bancheck::{
    domain::{clock::Timestamp, ids::TenantId, policy::TenantSettings, revision::Revision},
    store::{Answer, Begun, Intent, Place, Store, StoreError, open},
};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    database::Kind,
    house::{House, intent, opened, tenant_id, token_ban, within},
    proxy::{Lost, Proxy},
    replica::Replica,
};

on_both_stores!(
    s5_a_write_after_a_begin_cancelled_anywhere_is_kept,
    s6_a_tail_after_a_snapshot_cancelled_anywhere_is_of_its_own_instant,
);

/// How many connections a store has for writing.
const WRITERS: usize = 8;
/// A write is refused by then.
pub(crate) const REFUSED: Duration = Duration::from_secs(3);
/// Once the server is in reach, everything is well by then.
const WELL: Duration = Duration::from_millis(1_500);

/// A store whose network can be broken, and the same database over one that works.
pub(crate) struct Far {
    /// The network.
    pub(crate) proxy: Proxy,
    /// What is reached over it.
    pub(crate) store: Arc<dyn Store>,
    /// A tenant.
    pub(crate) tenant: TenantId,
    /// The same database.
    pub(crate) near: House,
}

impl Far {
    /// One that works.
    pub(crate) async fn new() -> Self {
        let near = House::new(Kind::Postgres).await;
        let tenant = near.tenant("one").await;
        let Place::Postgres { url, bell, apart } = &near.database.place else {
            panic!("a server");
        };
        let (scheme, rest) = url.split_once('@').expect("who@where");
        let (server, name) = rest.split_once('/').expect("where/what");
        let proxy = Proxy::to(server.to_owned()).await;
        let place = Place::Postgres {
            url: format!("{scheme}@127.0.0.1:{}/{name}", proxy.port),
            bell: *bell,
            apart: apart.clone(),
        };
        let store = open(&place).await.expect("a store");
        Self {
            proxy,
            store,
            tenant,
            near,
        }
    }

    /// Adds the ban of this number, as the desk would.
    async fn place(&self, number: usize) -> Result<(), StoreError> {
        self.write(&intent(&self.tenant), number).await
    }

    async fn write(&self, intent: &Intent, number: usize) -> Result<(), StoreError> {
        let mut work = opened(self.store.begin(intent).await?);
        work.add_bans(&[token_ban(&self.tenant, number)]).await?;
        work.commit(&Answer::default()).await
    }

    /// Has as many connections as there can be, all of them idle.
    async fn warm(&self) {
        let mut writes = Vec::new();
        for number in 0..WRITERS {
            let tenant = tenant_id(&format!("warm-{number}"));
            let settings = TenantSettings::default();
            let begun = self.store.begin_tenant(&intent(&tenant), &settings).await;
            writes.push(opened(begun.expect("a write begun")));
        }
        for work in writes {
            work.abandon().await.expect("a write abandoned");
        }
        let mut tails = JoinSet::new();
        for _ in 0..WRITERS {
            let store = Arc::clone(&self.store);
            tails.spawn(async move { store.tail(Revision(1)).await.expect("a tail") });
        }
        while tails.join_next().await.is_some() {}
    }

    /// How many bans there are.
    pub(crate) async fn kept(&self) -> i64 {
        self.near.number("SELECT count(*) FROM bans").await
    }
}

/// How long it took, and what it came to.
pub(crate) async fn timed<T>(doing: impl Future<Output = T>) -> (Duration, T) {
    let begun = Instant::now();
    let done = within("an answer of any kind", doing).await;
    (begun.elapsed(), done)
}

/// Polls a future so many times, each when it asks to be, and drops it; whether it had ended.
async fn cancelled_after<T>(polls: usize, doing: impl Future<Output = T>) -> bool {
    let mut doing = pin!(doing);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match doing.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn s5_a_write_after_a_begin_cancelled_anywhere_is_kept(house: House) {
    let tenant = house.tenant("one").await;
    for polls in 1.. {
        let ended = cancelled_after(polls, house.store.begin(&intent(&tenant))).await;
        let intent = intent(&tenant);
        let added = within("the tenant's row", house.add(&intent, &[])).await;
        assert_eq!(added, []);
        // Touched in a commit of its own: `xmin` on a server, and a lock else, would tell.
        let found = within("an outcome", house.store.outcome(&intent)).await;
        assert_eq!(found.expect("a look"), Some(Answer::default()));
        let pruned = house.store.prune(Timestamp::MAX).await;
        pruned.expect("the answers forgotten");
        let kept = house.number("SELECT count(*) FROM requests").await;
        assert_eq!(kept, 0, "after {polls} polls the pruning was lost");
        if ended {
            return;
        }
    }
}

async fn s6_a_tail_after_a_snapshot_cancelled_anywhere_is_of_its_own_instant(house: House) {
    let tenant = house.tenant("one").await;
    for polls in 1.. {
        let ended = cancelled_after(polls, house.store.directory()).await;
        for number in [2 * polls, 2 * polls + 1] {
            house.place(&tenant, token_ban(&tenant, number)).await;
            let newest = house.number("SELECT max(rev) FROM feed").await;
            let head = within("a tail", house.tail(1)).await.head;
            let told = i64::try_from(head.0).expect("a revision");
            assert_eq!(
                told, newest,
                "after {polls} polls a tail was of another instant"
            );
        }
        if ended {
            return;
        }
    }
}

#[tokio::test]
async fn s5_a_write_after_a_begin_whose_answer_nobody_waited_for_is_kept() {
    let far = Far::new().await;
    far.place(1).await.expect("a ban");
    far.proxy.trap("BEGIN", Lost::Nothing);
    {
        let mut begun = pin!(far.place(2));
        tokio::select! {
            _ = &mut begun => panic!("its answer was kept back"),
            () = far.proxy.sprung() => {}
        }
    }
    far.proxy.release();
    // Statements that would commit by themselves, were the connection not in a transaction.
    far.store
        .check_key(&"a key".into())
        .await
        .expect("a key kept");
    let kept = "SELECT count(*) FROM meta WHERE name = 'key-check'";
    assert_eq!(
        far.near.number(kept).await,
        1,
        "an acknowledged write was lost"
    );
    far.store.prune(Timestamp::MAX).await.expect("pruned");
    assert_eq!(far.near.number("SELECT count(*) FROM feed").await, 1);
}

#[tokio::test]
async fn s6_a_tail_after_a_snapshot_whose_answer_nobody_waited_for_is_not_frozen() {
    let far = Far::new().await;
    far.store.directory().await.expect("a directory");
    far.proxy.trap("BEGIN", Lost::Nothing);
    {
        let mut directory = pin!(far.store.directory());
        tokio::select! {
            _ = &mut directory => panic!("its answer was kept back"),
            () = far.proxy.sprung() => {}
        }
    }
    far.proxy.release();
    for number in 0..3 {
        let before = far.store.tail(Revision(1)).await.expect("a tail").head;
        far.near
            .place(&far.tenant, token_ban(&far.tenant, number))
            .await;
        let after = far.store.tail(Revision(1)).await.expect("a tail").head;
        assert_eq!(after.0, before.0 + 1, "a tail of an old snapshot");
    }
}

#[tokio::test]
async fn s6_a_link_whose_tail_was_cancelled_says_that_it_is_broken() {
    let far = Far::new().await;
    let mut link = far.store.link().await.expect("a link");
    far.proxy.trap("FROM feed", Lost::Nothing);
    {
        let mut tail = pin!(link.tail(Revision(1)));
        tokio::select! {
            _ = &mut tail => panic!("its answer was kept back"),
            () = far.proxy.sprung() => {}
        }
    }
    far.proxy.release();
    assert!(within("a word", link.tail(Revision(1))).await.is_err());
    assert!(within("a word", link.bell()).await.is_err());
}

#[tokio::test]
async fn a_silent_server_refuses_every_write_within_three_seconds() {
    let far = Arc::new(Far::new().await);
    far.warm().await;
    far.proxy.silence();
    let mut writes = JoinSet::new();
    for number in 0..3 * WRITERS {
        let far = Arc::clone(&far);
        writes.spawn(async move { timed(far.place(number)).await });
    }
    while let Some(write) = writes.join_next().await {
        let (took, refused) = write.expect("a write");
        assert!(matches!(refused, Err(StoreError::Unavailable(_))));
        assert!(took < REFUSED, "refused after {took:?}");
    }
    // Nor does anything else wait for longer than it says.
    let mut replica = Replica::default();
    let ((tail, list), (load, ring)) = tokio::join!(
        async {
            tokio::join!(
                timed(far.store.tail(Revision(1))),
                timed(far.store.lists(&far.tenant, "", 9)),
            )
        },
        async {
            tokio::join!(
                timed(far.store.load(&far.tenant, &mut replica)),
                timed(far.store.ring()),
            )
        },
    );
    assert!(tail.1.is_err() && list.1.is_err() && load.1.is_err() && ring.1.is_err());
    for took in [tail.0, list.0, load.0, ring.0] {
        assert!(took < REFUSED, "told after {took:?}");
    }

    far.proxy.heal();
    let (took, written) = timed(far.place(99)).await;
    written.expect("a write once the server is in reach");
    assert!(took < WELL, "well after {took:?}");
    assert_eq!(far.kept().await, 1, "what was refused was not done");
}

#[tokio::test]
async fn whatever_died_in_the_pool_everything_is_well_at_once() {
    let far = Far::new().await;
    for idle in [Duration::ZERO, Duration::from_millis(1_200)] {
        far.warm().await;
        // Time itself is the subject: connections that were used just now, and a while ago.
        tokio::time::sleep_until(Instant::now() + idle).await;
        far.proxy.kill();
        let (took, written) = timed(far.place(1)).await;
        written.expect("a write");
        assert!(took < WELL, "a write took {took:?}");
        let (took, loaded) = timed(Replica::load(&*far.store, &far.tenant)).await;
        assert!(loaded.is_some());
        assert!(took < WELL, "a load took {took:?}");
    }
    far.warm().await;
    far.proxy.kill();
    // As the feed does: a second each, and again.
    let (took, tail) = timed(async {
        loop {
            let tail = far.store.tail(Revision(1));
            if let Ok(tail) = tokio::time::timeout(Duration::from_secs(1), tail).await {
                return tail;
            }
        }
    })
    .await;
    tail.expect("a tail");
    assert!(took < 2 * WELL, "a tail took {took:?}");
}

#[tokio::test]
async fn a_write_cut_off_in_its_begin_is_done_on_another_connection() {
    for lost in [Lost::Question, Lost::Answer] {
        let far = Far::new().await;
        far.place(1).await.expect("a ban");
        far.proxy.trap("BEGIN", lost);
        let (took, written) = timed(far.place(2)).await;
        written.expect("a write");
        assert!(took < WELL, "{lost:?}: written after {took:?}");
        assert_eq!(far.kept().await, 2);
    }
}

#[tokio::test]
async fn a_write_cut_off_in_the_middle_leaves_its_tenant_free() {
    for lost in [Lost::Question, Lost::Answer] {
        let far = Far::new().await;
        far.proxy.trap("INSERT INTO bans", lost);
        let (took, refused) = timed(far.place(1)).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))));
        assert!(took < REFUSED, "{lost:?}: refused after {took:?}");
        let (took, written) = timed(far.place(1)).await;
        written.expect("a write");
        assert!(took < WELL, "{lost:?}: written after {took:?}");
        assert_eq!(far.kept().await, 1);
    }
}

#[tokio::test]
async fn s9_a_commit_cut_off_is_found_or_done_again_under_its_id() {
    for lost in [Lost::Question, Lost::Answer] {
        let far = Far::new().await;
        let first = intent(&far.tenant);
        far.proxy.trap("COMMIT\0", lost);
        let (took, cut) = timed(far.write(&first, 1)).await;
        assert!(matches!(cut, Err(StoreError::Unavailable(_))));
        assert!(took < REFUSED, "{lost:?}: told after {took:?}");

        let (took, outcome) = timed(far.store.outcome(&first)).await;
        let outcome = outcome.expect("a look");
        assert_eq!(outcome.is_some(), lost == Lost::Answer);
        assert!(took < WELL, "{lost:?}: looked up after {took:?}");
        let (took, begun) = timed(far.store.begin(&first)).await;
        assert!(took < WELL, "{lost:?}: begun again after {took:?}");
        match begun.expect("a second try") {
            Begun::Replay(_) => assert_eq!(lost, Lost::Answer),
            again => {
                assert_eq!(lost, Lost::Question);
                let mut work = opened(again);
                work.add_bans(&[token_ban(&far.tenant, 1)])
                    .await
                    .expect("a ban");
                work.commit(&Answer::default()).await.expect("a commit");
            }
        }
        assert_eq!(far.kept().await, 1, "neither lost nor doubled");
        let told = far.near.feed().await;
        let told = told.iter().filter(|news| news.anchor.nonce == first.nonce);
        assert_eq!(told.count(), 1);
    }
}

#[tokio::test]
async fn s9_what_was_done_under_an_id_by_another_request_is_not_its_outcome() {
    let house = House::new(Kind::Postgres).await;
    let tenant = house.tenant("one").await;
    let first = intent(&tenant);
    house.add(&first, &[]).await;
    let other = Intent {
        body: [9; 16],
        ..first.clone()
    };
    assert!(house.store.outcome(&first).await.expect("a look").is_some());
    assert_eq!(house.store.outcome(&other).await.expect("a look"), None);
}

#[tokio::test]
async fn s3_nothing_is_committed_after_a_statement_that_failed() {
    let house = House::new(Kind::Postgres).await;
    let tenant = house.tenant("one").await;
    house.list(&tenant, "vip").await;
    let mut work = house.begin(&intent(&tenant)).await;
    let twin = work.add_list(&crate::house::list("vip", 9)).await;
    assert!(matches!(twin, Err(StoreError::Taken)));
    // The server would say ROLLBACK, and no error.
    assert!(work.commit(&Answer::default()).await.is_err());
}
