//! The judge itself, put to the test by wrong answers made by hand: each is found, and a right one
//! is not.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bancheck::{
    domain::{
        ban::{Ban, Enforcement, Origin},
        channel::{Channel, Channels},
        clock::Timestamp,
        decide::Basis,
        identity::{IdentityKind, MatchKind},
        ids::{BanId, TenantId},
        list::Treatment,
        policy::TenantSettings,
        record::Change,
        refusal::Reason,
        revision::{Epoch, Nonce, Position},
    },
    store::{Answer, Intent},
};

use super::simulate::{
    Flaw, Plan,
    answers::{Opened, Wish},
    database::{Commit, Database, Start, unix_micros},
    history::{Kept, Row, Tenant, Tenants},
    judge::Judge,
    pod::SEAL,
    verdict::{Asked, Outcome, Said},
};

const RPC: &str = "CreateBan";

/// A database with a few rows, a pod that has come to some of them, and a judge.
struct Scene {
    database: Arc<Database>,
    judge: Arc<Judge>,
    tenant: TenantId,
}

/// Runs a test in a time that stands still until it is moved.
fn staged(test: impl AsyncFnOnce(Scene)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing");
    runtime.block_on(async {
        let tenant = TenantId::parse("acme").expect("a tenant id");
        let rows = Tenant {
            settings: TenantSettings::default(),
            lists: std::collections::BTreeMap::new(),
            bans: std::collections::BTreeMap::new(),
            exceptions: std::collections::BTreeMap::new(),
        };
        let tenants = Tenants::from([(tenant.clone(), Arc::new(rows))]);
        let database = Database::new(Start::now(), Flaw::None, tenants);
        let judge = Judge::new(0, &database, 2, Plan::default());
        test(Scene {
            database,
            judge,
            tenant,
        })
        .await;
    });
}

fn visitor(who: u8) -> String {
    format!("visitor-token-000{who}")
}

impl Scene {
    /// Commits a ban on a visitor, and a second passes.
    async fn ban(&self, who: u8) -> Arc<Row> {
        let ban = Ban {
            ban_id: BanId::from_bytes([who; 16]),
            tenant: self.tenant.clone(),
            list_id: None,
            channels: Channels::of(&[Channel::WebChat]),
            targets: vec![bancheck::domain::ban::Target {
                kind: IdentityKind::VisitorToken,
                input: visitor(who),
                canonical: visitor(who),
                issuer: String::new(),
                canonicaliser_version: 1,
                match_keys: Vec::new(),
            }],
            match_kind: MatchKind::Exact,
            reason: String::new(),
            reason_code: String::new(),
            enforcement: Enforcement::Enforced,
            origin: Origin::AdminEntry,
            start: None,
            expire: None,
            ended: false,
            created: self.now(),
            updated: self.now(),
            created_by: String::new(),
            deactivated: None,
            deactivated_by: String::new(),
            deactivate_reason: String::new(),
            source_interaction: String::new(),
            source_queue: String::new(),
            parent: None,
            import_id: String::new(),
            match_count: 0,
            last_match: None,
            version: 1,
        };
        let head = self.database.head();
        let mut tenants = (*head.tenants).clone();
        let mut rows = (*tenants[&self.tenant]).clone();
        let kept = Kept {
            made: head.number + 1,
            ban,
            generation: 0,
            likeness: [who; 16],
            keys: Vec::new(),
        };
        let change = Change::Bans(vec![kept.record()]);
        rows.bans.insert(kept.ban.ban_id, Arc::new(kept));
        tenants.insert(self.tenant.clone(), Arc::new(rows));
        let commit = Commit {
            intent: Intent {
                tenant: self.tenant.clone(),
                rpc: RPC,
                request_id: format!("w{who}"),
                body: [who; 16],
                body_elsewhere: Vec::new(),
                nonce: Nonce(1_000 * u32::from(who) + u32::try_from(head.number).unwrap_or(0)),
                now: self.now(),
            },
            change: Some(change),
            tenants: Arc::new(tenants),
            answer: Answer::default(),
        };
        self.database.commit(commit, None).expect("a commit");
        self.passes(1).await;
        self.database.head()
    }

    async fn passes(&self, seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(unix_micros(self.judge.time()))
    }

    fn stands(&self, row: &Row) {
        self.judge.stands(0, 0, at(row, 1));
    }

    fn open(&self) -> Opened {
        self.judge.open(0, self.now())
    }

    /// An answer about a visitor: the token of a row, and denied by the visitor's ban or not.
    fn says(&self, opened: &Opened, wish: &Wish, who: u8, denied: bool, row: &Row, basis: Basis) {
        let fresh = basis == Basis::Fresh;
        let said = Said {
            outcome: Outcome {
                denied_by: denied.then(|| (BanId::from_bytes([who; 16]), None)),
                denied,
                treatment: denied.then_some(Treatment::DisableWidget),
                shadows: BTreeSet::new(),
                exempt: None,
                flips: None,
            },
            basis,
            token: at(row, 1).token(&SEAL),
            stale_for: (!fresh).then_some(Duration::from_secs(3)),
            reuse_until: fresh.then(|| self.now().plus_micros(500_000)),
        };
        let asked = Asked {
            tenant: TenantId::parse("acme").expect("a tenant id"),
            channel: Channel::WebChat,
            queue: "",
            identities: vec![(IdentityKind::VisitorToken, visitor(who))],
        };
        self.judge.answered(opened, &asked, wish, self.now(), &said);
    }

    /// What the judge has found; `None` = nothing.
    fn found(&self) -> Option<&'static str> {
        self.judge.verdict().err().map(|violation| violation.clause)
    }
}

fn at(row: &Row, epoch: u32) -> Position {
    Position {
        epoch: Epoch(epoch),
        anchor: row.anchor,
    }
}

#[test]
fn a_right_answer_is_found_right_whatever_its_basis() {
    staged(async |scene| {
        let one = scene.ban(1).await;
        scene.stands(&one);
        let opened = scene.open();
        let token = Wish::Token(at(&one, 1).token(&SEAL));
        for wish in [Wish::Whatever, Wish::Fully, token] {
            scene.says(&opened, &wish, 1, true, &one, Basis::Fresh);
            scene.says(&opened, &wish, 2, false, &one, Basis::Stale);
        }
        assert_eq!(scene.found(), None);
    });
}

#[test]
fn c1_an_answer_from_before_what_the_pod_had_applied_is_found() {
    staged(async |scene| {
        let one = scene.ban(1).await;
        scene.stands(&one);
        let two = scene.ban(2).await;
        scene.stands(&two);
        let opened = scene.open();
        scene.says(&opened, &Wish::Whatever, 2, false, &one, Basis::Fresh);
        assert_eq!(scene.found(), Some("C-1"));
    });
}

#[test]
fn c2_a_pod_that_goes_back_is_found() {
    staged(async |scene| {
        let one = scene.ban(1).await;
        let two = scene.ban(2).await;
        scene.stands(&two);
        scene.stands(&one);
        assert_eq!(scene.found(), Some("C-2"));
    });
}

#[test]
fn c2_a_pod_that_goes_over_to_another_history_in_one_epoch_is_found() {
    staged(async |scene| {
        let one = scene.ban(1).await;
        let two = scene.ban(2).await;
        scene.stands(&two);
        scene.database.fork(&one, 0);
        scene.ban(3).await;
        let three = scene.ban(4).await;
        scene.stands(&three);
        assert_eq!(scene.found(), Some("C-2"));
    });
}

#[test]
fn c3_a_position_that_no_history_has_is_found() {
    staged(async |scene| {
        let one = scene.ban(1).await;
        let mut nowhere = at(&one, 1);
        nowhere.anchor.nonce.0 += 1;
        scene.judge.stands(0, 0, nowhere);
        assert_eq!(scene.found(), Some("C-3"));
    });
}

#[test]
fn c4_an_answer_that_says_fresh_and_lacks_what_is_older_than_the_lease_is_found() {
    staged(async |scene| {
        let one = scene.ban(1).await;
        scene.stands(&one);
        scene.ban(2).await;
        scene.passes(1).await;
        let opened = scene.open();
        scene.says(&opened, &Wish::Whatever, 2, false, &one, Basis::Fresh);
        assert_eq!(scene.found(), None, "two seconds are not yet over");
        scene.passes(1).await;
        let opened = scene.open();
        scene.says(&opened, &Wish::Whatever, 2, false, &one, Basis::Stale);
        assert_eq!(scene.found(), None, "it does not say fresh");
        scene.says(&opened, &Wish::Whatever, 2, false, &one, Basis::Fresh);
        assert_eq!(scene.found(), Some("C-4"));
    });
}

#[test]
fn c4_a_lease_that_includes_a_write_only_elsewhere_is_found_by_any_question() {
    staged(async |scene| {
        let one = scene.ban(1).await;
        scene.stands(&one);
        scene.ban(2).await;
        scene.passes(3).await;
        let opened = scene.open();
        // The answer would be the same with the write: it is the lease that is wrong.
        scene.says(&opened, &Wish::Whatever, 1, true, &one, Basis::Fresh);
        assert_eq!(scene.found(), Some("C-4"));
    });
}

#[test]
fn c4_an_answer_without_what_its_token_speaks_of_is_found() {
    staged(async |scene| {
        let one = scene.ban(1).await;
        let two = scene.ban(2).await;
        scene.stands(&one);
        let opened = scene.open();
        let wish = Wish::Token(at(&two, 1).token(&SEAL));
        scene.says(&opened, &wish, 2, false, &one, Basis::Fresh);
        assert_eq!(scene.found(), Some("C-4"));
    });
}

#[test]
fn c4_an_answer_to_a_token_that_a_fork_lost_is_found_unless_it_is_of_a_later_epoch() {
    staged(async |scene| {
        let one = scene.ban(1).await;
        let lost = scene.ban(2).await;
        scene.database.fork(&one, 0);
        let other = scene.ban(3).await;
        scene.stands(&other);
        let opened = scene.open();
        let old = Wish::Token(at(&lost, 0).token(&SEAL));
        scene.says(&opened, &old, 2, false, &other, Basis::Fresh);
        assert_eq!(scene.found(), None);
        let same = Wish::Token(at(&lost, 1).token(&SEAL));
        scene.says(&opened, &same, 2, false, &other, Basis::Fresh);
        assert_eq!(scene.found(), Some("C-4"));
    });
}

#[test]
fn c4_a_full_answer_without_what_was_committed_before_it_began_is_found() {
    staged(async |scene| {
        let one = scene.ban(1).await;
        scene.stands(&one);
        scene.ban(2).await;
        let opened = scene.open();
        scene.says(&opened, &Wish::Fully, 1, true, &one, Basis::Fresh);
        assert_eq!(scene.found(), Some("C-4"));
    });
}

#[test]
fn c5_an_answer_that_no_revision_gives_is_found() {
    staged(async |scene| {
        let one = scene.ban(1).await;
        scene.stands(&one);
        let opened = scene.open();
        scene.says(&opened, &Wish::Whatever, 1, false, &one, Basis::Fresh);
        assert_eq!(scene.found(), Some("C-5"));
    });
}

#[test]
fn c5_an_answer_from_a_revision_that_the_pod_has_not_come_to_is_found() {
    staged(async |scene| {
        let one = scene.ban(1).await;
        scene.stands(&one);
        scene.ban(2).await;
        let opened = scene.open();
        scene.says(&opened, &Wish::Whatever, 2, true, &one, Basis::Fresh);
        assert_eq!(scene.found(), Some("C-5"));
    });
}

#[test]
fn c3_an_answer_whose_token_the_pod_has_not_come_to_is_found() {
    for basis in [Basis::Fresh, Basis::Stale] {
        staged(async |scene| {
            let one = scene.ban(1).await;
            scene.stands(&one);
            let two = scene.ban(2).await;
            let opened = scene.open();
            scene.says(&opened, &Wish::Whatever, 2, true, &two, basis);
            assert_eq!(scene.found(), Some("C-3"), "{basis:?}");
        });
    }
}

#[test]
fn c6_an_acknowledgement_of_what_was_never_committed_is_found() {
    staged(async |scene| {
        let one = scene.ban(1).await;
        scene.stands(&one);
        let token = at(&one, 1).token(&SEAL);
        let said = |id| {
            scene
                .judge
                .acknowledged(0, (&scene.tenant, RPC, id), None, &token);
        };
        said("w1");
        assert_eq!(scene.found(), None);
        said("w2");
        assert_eq!(scene.found(), Some("C-6"));
    });
}

#[test]
fn an_acknowledgement_before_the_pod_has_applied_it_is_found() {
    staged(async |scene| {
        let one = scene.ban(1).await;
        scene.stands(&one);
        let two = scene.ban(2).await;
        let token = at(&two, 1).token(&SEAL);
        let what = (&scene.tenant, RPC, "w2");
        scene.judge.acknowledged(0, what, None, &token);
        assert_eq!(scene.found(), Some("acknowledged once applied"));
    });
}

#[test]
fn an_acknowledgement_whose_token_is_older_than_the_write_is_found() {
    staged(async |scene| {
        let one = scene.ban(1).await;
        let two = scene.ban(2).await;
        scene.stands(&two);
        let token = at(&one, 1).token(&SEAL);
        let what = (&scene.tenant, RPC, "w2");
        scene.judge.acknowledged(0, what, None, &token);
        assert_eq!(scene.found(), Some("a token includes its write"));
    });
}

#[test]
fn a_refusal_for_a_lost_history_is_found_while_the_row_stands() {
    staged(async |scene| {
        let one = scene.ban(1).await;
        let two = scene.ban(2).await;
        scene.stands(&one);
        let opened = scene.open();
        let wish = Wish::Token(at(&two, 1).token(&SEAL));
        scene
            .judge
            .refused(&opened, &Wish::Fully, Reason::StoreUnavailable);
        assert_eq!(scene.found(), None);
        scene
            .judge
            .refused(&opened, &wish, Reason::TokenHistoryLost);
        assert_eq!(scene.found(), Some("a check is answered"));
    });
}

#[test]
fn an_answer_that_may_be_used_for_longer_than_the_lease_is_found() {
    staged(async |scene| {
        let one = scene.ban(1).await;
        scene.stands(&one);
        let opened = scene.open();
        let said = Said {
            outcome: Outcome {
                denied_by: None,
                denied: false,
                treatment: None,
                shadows: BTreeSet::new(),
                exempt: None,
                flips: None,
            },
            basis: Basis::Fresh,
            token: at(&one, 1).token(&SEAL),
            stale_for: None,
            reuse_until: Some(scene.now().plus_micros(5_000_000)),
        };
        let asked = Asked {
            tenant: TenantId::parse("acme").expect("a tenant id"),
            channel: Channel::WebChat,
            queue: "",
            identities: vec![(IdentityKind::VisitorToken, visitor(2))],
        };
        let now = scene.now();
        scene
            .judge
            .answered(&opened, &asked, &Wish::Whatever, now, &said);
        assert_eq!(scene.found(), Some("C-4"));
    });
}
