//! The desk over a network that loses what it carries: what its callers are told, and by when.

use std::{sync::Arc, time::Duration};

use bancheck::{
    desk::{Desk, Order, Written},
    domain::{
        keys::MasterKey,
        refusal::{Reason, Refusal},
    },
    feed::{self, Feed, Options, ThisMachine},
    telemetry::Counters,
    views::Views,
};
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    faults::{Far, REFUSED, timed},
    house::{asked, token, within},
    proxy::Lost,
};

/// A desk whose writes go over a network that can be broken, and whose feed does not.
struct Office {
    far: Far,
    desk: Desk,
    tasks: TaskTracker,
    _following: JoinSet<()>,
}

impl Office {
    async fn open() -> Self {
        let far = Far::new().await;
        let keys = MasterKey::new(&[7; 32]);
        let (feed, source) = Feed::new(keys.clone(), Arc::new(ThisMachine));
        let mut following = JoinSet::new();
        following.spawn(feed::run(
            source,
            Arc::clone(&far.near.store),
            Views::new(1 << 20),
            Options::default(),
            CancellationToken::new(),
        ));
        within("the feed", feed.warm()).await;
        let tasks = TaskTracker::new();
        let desk = Desk::new(
            Arc::clone(&far.store),
            feed,
            keys,
            Arc::new(Counters::new()),
            tasks.clone(),
        );
        Self {
            far,
            desk,
            tasks,
            _following: following,
        }
    }

    async fn ban(&self, request_id: &str, deadline: Duration) -> Result<Written, Refusal> {
        let order = Order {
            tenant: self.far.tenant.clone(),
            actor: "alice".to_owned(),
            request_id: request_id.to_owned(),
            validate_only: false,
            body: b"the same".to_vec(),
            deadline,
        };
        self.desk.write(order, asked(&token(1))).await
    }
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_commit_that_was_done_without_an_answer_is_found_in_time() {
    let office = Office::open().await;
    office.far.proxy.trap("COMMIT\0", Lost::Answer);
    let (took, written) = timed(office.ban("one", LONG)).await;
    assert!(written.expect("a ban that was looked up").token.is_some());
    assert!(
        took < REFUSED + Duration::from_millis(500),
        "told after {took:?}"
    );
    assert_eq!(office.far.kept().await, 1);
}

#[tokio::test]
async fn a_commit_of_which_nothing_is_known_is_called_so_and_can_be_tried_again() {
    let office = Office::open().await;
    office.far.proxy.trap("COMMIT\0", Lost::Question);
    let (took, cut) = timed(office.ban("one", LONG)).await;
    assert_eq!(
        cut.expect_err("no answer").reason,
        Reason::CommitOutcomeUnknown
    );
    assert!(
        took < REFUSED + Duration::from_millis(500),
        "told after {took:?}"
    );
    assert_eq!(office.far.kept().await, 0);
    for _ in 0..2 {
        let again = office.ban("one", LONG).await.expect("a ban");
        assert!(again.answer.ban.is_some());
        assert_eq!(
            office.far.kept().await,
            1,
            "once, however often it is tried"
        );
    }
}

#[tokio::test]
async fn a_write_that_nobody_waits_for_any_more_is_not_gone_on_with() {
    let office = Office::open().await;
    office.far.proxy.trap("INSERT INTO bans", Lost::Question);
    let (took, cut) = timed(office.ban("one", Duration::from_millis(600))).await;
    assert_eq!(cut.expect_err("no answer").reason, Reason::StoreUnavailable);
    assert!(took < Duration::from_secs(1), "told after {took:?}");
    office.tasks.close();
    let (took, ()) = timed(office.tasks.wait()).await;
    assert!(
        took < Duration::from_secs(1),
        "its task went on for {took:?}"
    );
    let again = office.ban("one", LONG).await.expect("a ban");
    assert!(again.token.is_some());
    assert_eq!(office.far.kept().await, 1);
}
