//! The judge before the judge: right answers pass, and each wrong one is found for what it is.

use std::collections::HashMap;

use bancheck::domain::{
    ban::Enforcement,
    channel::{Channel, Channels},
    clock::Timestamp,
    decide::Basis,
    ids::{BanId, TenantId},
    record::{BanRecord, Change},
    revision::{Anchor, Epoch, Nonce, Position, Revision},
};

use crate::{
    audit,
    cast::NOBODY,
    judge::Judge,
    record::{
        Answer, Check, Deed, End, Fault, Question, Record, Road, Trouble, Verdict, Wish, Write,
    },
    witness::{History, Row},
};

/// A second. Revision r is committed at r seconds, and everything here happens after 100 s.
const S: i64 = 1_000_000;
const FOREVER: BanId = BanId::from_bytes([1; 16]);
const BRIEF: BanId = BanId::from_bytes([2; 16]);
const WATCHING: BanId = BanId::from_bytes([3; 16]);
const LATER: BanId = BanId::from_bytes([4; 16]);

fn ban(ban: BanId, expire: Option<i64>, enforcement: Enforcement, ended: bool) -> Change {
    Change::Bans(vec![BanRecord {
        ban,
        keys: Vec::new(),
        start: None,
        expire: expire.map(Timestamp::from_micros),
        generation: 0,
        channels: Channels::of(&[Channel::Call]),
        enforcement,
        ended,
    }])
}

fn row(revision: u64, nonce: u32, at: i64, change: Change) -> Row {
    Row {
        anchor: anchor(revision, nonce),
        at,
        tenant: TenantId::parse("t1"),
        change,
    }
}

const fn anchor(revision: u64, nonce: u32) -> Anchor {
    Anchor {
        revision: Revision(revision),
        nonce: Nonce(nonce),
    }
}

const fn at(epoch: u32, revision: u64, nonce: u32) -> Position {
    Position {
        epoch: Epoch(epoch),
        anchor: anchor(revision, nonce),
    }
}

/// Caller 1 is banned at 2 s and no longer at 4 s; 2 from 3 s to 110 s; 3 is watched from 5 s; at
/// 103 s caller 4 is banned, which a restore at 106 s throws away; in the history after it caller 5
/// is banned instead, by a row of the same revision.
fn histories() -> Vec<History> {
    let (hold, watch) = (Enforcement::Enforced, Enforcement::Shadow);
    let common = vec![
        row(1, 1, S, Change::Reload),
        row(2, 1, 2 * S, ban(FOREVER, None, hold, false)),
        row(3, 1, 3 * S, ban(BRIEF, Some(110 * S), hold, false)),
        row(4, 1, 4 * S, ban(FOREVER, None, hold, true)),
        row(5, 1, 5 * S, ban(WATCHING, None, watch, false)),
    ];
    let mut first = History {
        rows: common.clone(),
        ended: Some(106 * S),
        ..History::default()
    };
    first
        .rows
        .push(row(6, 1, 103 * S, ban(LATER, None, hold, false)));
    let mut second = History {
        rows: common,
        forked_at: 5,
        began: 106 * S,
        ..History::default()
    };
    second
        .rows
        .push(row(6, 2, 107 * S, ban(FOREVER, None, hold, false)));
    vec![first, second]
}

fn question(caller: u16) -> Question {
    Question {
        tenant: 1,
        callers: [caller, NOBODY],
        by_text: false,
        queue: 0,
        wish: Wish::Latency,
    }
}

fn deny(ban: BanId, end: i64) -> Verdict {
    Verdict {
        deny: Some((ban, end)),
        shadows: Vec::new(),
    }
}

/// A FRESH answer of pod 1, between two moments.
fn check(
    question: Question,
    (sent, received): (i64, i64),
    token: Position,
    says: Verdict,
) -> Check {
    Check {
        pod: 1,
        life: 1,
        sent,
        received,
        question,
        road: Road::Alone,
        outcome: Ok(Answer {
            verdict: says,
            basis: Basis::Fresh,
            stale_for: 0,
            token,
        }),
    }
}

fn stale(check: Check, stale_for: i64) -> Check {
    let answer = check.outcome.map(|answer| Answer {
        basis: Basis::Stale,
        stale_for,
        ..answer
    });
    Check {
        outcome: answer,
        ..check
    }
}

fn acknowledged(deed: Deed, ban: BanId, token: Position, received: i64) -> Write {
    Write {
        number: 1,
        deed,
        pod: 0,
        tries: 1,
        sent: received,
        received,
        end: End::Acknowledged {
            ban: Some(ban),
            token,
        },
    }
}

/// Something was done to the database all the time.
fn always() -> Vec<Fault> {
    vec![Fault {
        kind: "stall",
        pod: None,
        begun: 0,
        ended: 300 * S,
    }]
}

/// The clauses that the judge finds broken.
fn broken(checks: Vec<Check>, faults: Vec<Fault>) -> Vec<&'static str> {
    let targets = [(FOREVER, 1), (BRIEF, 2), (WATCHING, 3), (LATER, 4)];
    let targets: HashMap<_, _> = targets
        .into_iter()
        .map(|(ban, caller)| (ban, (1, vec![caller])))
        .collect();
    let record = Record {
        checks,
        writes: vec![
            acknowledged(Deed::Ban, BRIEF, at(1, 5, 1), 6 * S),
            acknowledged(Deed::Ban, LATER, at(1, 6, 1), 103 * S + 10),
            acknowledged(Deed::Ban, FOREVER, at(9, 6, 2), 107 * S + 10),
        ],
        faults,
    };
    let histories = histories();
    let judge = Judge::new(&histories, &targets, &record, 0);
    let found = judge.judge(&record.checks);
    found.iter().map(|violation| violation.clause).collect()
}

#[test]
fn right_answers_pass() {
    let old = at(1, 5, 1);
    let pass = [
        check(question(1), (101 * S, 101 * S + 9), old, Verdict::default()),
        check(
            question(2),
            (101 * S, 101 * S + 9),
            old,
            deny(BRIEF, 110 * S),
        ),
        // Its end falls into the question, and a moment before it.
        check(question(2), (109 * S, 111 * S), old, Verdict::default()),
        check(
            question(2),
            (110 * S + 1_000, 110 * S + 2_000),
            old,
            deny(BRIEF, 110 * S),
        ),
        // The view is newer than the token.
        check(
            question(4),
            (103 * S, 103 * S + 9),
            old,
            deny(LATER, i64::MAX),
        ),
        // Within the lease of what was acknowledged, before and after a fork.
        check(question(4), (104 * S, 104 * S + 9), old, Verdict::default()),
        check(
            question(4),
            (107 * S, 107 * S + 9),
            at(1, 6, 1),
            deny(LATER, i64::MAX),
        ),
        check(
            question(1),
            (108 * S, 108 * S + 9),
            at(9, 6, 2),
            deny(FOREVER, i64::MAX),
        ),
        stale(
            check(
                question(4),
                (200 * S, 201 * S),
                at(9, 6, 2),
                Verdict::default(),
            ),
            93 * S,
        ),
    ];
    for check in pass {
        assert_eq!(broken(vec![check.clone()], always()), [""; 0], "{check:?}");
    }
}

#[test]
fn each_wrong_answer_is_found_for_what_it_is() {
    let (old, soon) = (at(1, 5, 1), (101 * S, 101 * S + 9));
    let wishing = |wish, caller| Question {
        wish,
        ..question(caller)
    };
    let both = Question {
        callers: [1, 3],
        ..question(1)
    };
    let watched = Verdict {
        deny: Some((FOREVER, i64::MAX)),
        shadows: vec![WATCHING],
    };
    let after = (105 * S + 500_000, 105 * S + 500_009);
    let (forever, none) = (deny(FOREVER, i64::MAX), Verdict::default());
    let wrong = [
        ("C-1", check(question(1), soon, old, forever.clone())),
        ("C-3", check(question(1), soon, at(1, 5, 7), none.clone())),
        ("C-3", check(question(1), soon, at(1, 7, 1), none.clone())),
        // FRESH, and more than two seconds ago it was acknowledged.
        (
            "C-4",
            check(question(4), (105 * S + 20, 105 * S + 30), old, none.clone()),
        ),
        (
            "C-4",
            stale(check(question(4), after, old, none.clone()), 2 * S),
        ),
        // FRESH from a history that was over two seconds ago.
        (
            "C-4",
            check(
                question(4),
                (109 * S, 110 * S),
                at(1, 6, 1),
                deny(LATER, i64::MAX),
            ),
        ),
        // Caller 1 as of revision 2, caller 3 as of revision 5.
        ("C-5", check(both, soon, at(1, 2, 1), watched)),
        (
            "C-5",
            check(question(3), soon, old, deny(WATCHING, i64::MAX)),
        ),
        // Before it was committed.
        ("C-5", check(question(4), soon, old, deny(LATER, i64::MAX))),
        (
            "V-1",
            check(
                question(2),
                (112 * S, 112 * S + 9),
                old,
                deny(BRIEF, 110 * S),
            ),
        ),
        (
            "token",
            check(
                wishing(Wish::AtLeast(at(1, 6, 1)), 4),
                (104 * S, 104 * S + 9),
                old,
                none.clone(),
            ),
        ),
        // Of the lost history, taken for the row of the same number.
        (
            "token",
            check(
                wishing(Wish::AtLeast(at(9, 6, 1)), 1),
                (108 * S, 109 * S),
                at(9, 6, 2),
                forever,
            ),
        ),
        (
            "fully",
            check(wishing(Wish::Fully, 4), (105 * S, 105 * S + 9), old, none),
        ),
    ];
    for (clause, check) in wrong {
        let found = broken(vec![check.clone()], always());
        assert_eq!(found, [clause], "{check:?}");
    }
}

#[test]
fn c5_a_batch_of_two_states_is_found() {
    let at_once = |caller, batch, says| Check {
        road: Road::Batch(batch),
        ..check(question(caller), (101 * S, 104 * S), at(1, 5, 1), says)
    };
    let (before, after) = (Verdict::default, || deny(LATER, i64::MAX));
    // Each is right at some moment: caller 4 is banned at 103 s.
    let none = [""; 0];
    let one = |batch| broken(batch, always());
    assert_eq!(
        one(vec![at_once(4, 1, before()), at_once(4, 1, before())]),
        none
    );
    assert_eq!(
        one(vec![at_once(4, 1, after()), at_once(4, 1, after())]),
        none
    );
    assert_eq!(
        one(vec![at_once(4, 1, before()), at_once(4, 2, after())]),
        none
    );
    assert_eq!(
        one(vec![at_once(4, 1, before()), at_once(4, 1, after())]),
        ["C-5"]
    );
    let mut other = at_once(9, 1, before());
    if let Ok(answer) = &mut other.outcome {
        answer.token = at(1, 4, 1);
    }
    assert_eq!(one(vec![at_once(4, 1, before()), other]), ["C-5"]);
}

#[test]
fn c2_a_token_older_than_one_answered_before_is_found() {
    let none = Verdict::default;
    let first = check(question(9), (101 * S, 102 * S), at(1, 5, 1), none());
    let then = check(question(9), (102 * S + 1, 103 * S), at(1, 4, 1), none());
    assert_eq!(
        broken(vec![first.clone(), then.clone()], Vec::new()),
        ["C-2"]
    );
    let meanwhile = Check {
        sent: 101 * S,
        ..then.clone()
    };
    assert_eq!(broken(vec![first.clone(), meanwhile], Vec::new()), [""; 0]);
    let reborn = Check { life: 2, ..then };
    assert_eq!(broken(vec![first, reborn], Vec::new()), [""; 0]);
}

#[test]
fn a_pod_that_hears_nothing_for_no_reason_is_found() {
    let times = (200 * S, 201 * S);
    let unheard = stale(
        check(question(9), times, at(9, 6, 2), Verdict::default()),
        3 * S,
    );
    assert_eq!(broken(vec![unheard.clone()], Vec::new()), ["stale"]);
    assert_eq!(broken(vec![unheard], always()), [""; 0]);
}

#[test]
fn a_fork_that_got_two_epochs_is_found() {
    let answer = |epoch, from: i64| {
        let times = (from * S, from * S + 9);
        let check = check(question(9), times, at(epoch, 6, 2), Verdict::default());
        Check {
            life: u16::try_from(epoch).expect("a small one"),
            ..check
        }
    };
    assert_eq!(
        broken(vec![answer(9, 108), answer(9, 109)], Vec::new()),
        [""; 0]
    );
    assert_eq!(
        broken(vec![answer(9, 108), answer(10, 109)], Vec::new()),
        ["fork"]
    );
}

#[test]
fn no_answer_needs_a_reason() {
    let fault = |begun: i64, pod| Fault {
        kind: "cut",
        pod,
        begun: begun * S,
        ended: begun * S + S,
    };
    let nothing = |wish, trouble| Check {
        outcome: Err(trouble),
        ..check(
            Question {
                wish,
                ..question(9)
            },
            (120 * S, 121 * S),
            at(1, 1, 1),
            Verdict::default(),
        )
    };
    let refused = |reason: &str| Trouble::Refused(reason.to_owned());
    let away = || nothing(Wish::Fully, refused("STORE_UNAVAILABLE"));
    assert_eq!(broken(vec![away()], Vec::new()), ["late"]);
    assert_eq!(broken(vec![away()], vec![fault(119, Some(2))]), ["late"]);
    assert_eq!(broken(vec![away()], vec![fault(110, Some(1))]), ["late"]);
    assert_eq!(broken(vec![away()], vec![fault(119, Some(1))]), [""; 0]);
    assert_eq!(broken(vec![away()], vec![fault(119, None)]), [""; 0]);

    let cut = || vec![fault(119, Some(1))];
    let without = |wish, trouble| broken(vec![nothing(wish, trouble)], cut());
    assert_eq!(
        without(Wish::Latency, refused("STORE_UNAVAILABLE")),
        ["answers"]
    );
    assert_eq!(without(Wish::Latency, refused("INTERNAL")), ["answers"]);
    assert_eq!(
        without(Wish::Fully, refused("TOKEN_HISTORY_LOST")),
        ["answers"]
    );
    let lost = |token| without(Wish::AtLeast(token), refused("TOKEN_HISTORY_LOST"));
    assert_eq!(lost(at(1, 6, 1)), [""; 0]);
    assert_eq!(lost(at(1, 5, 1)), ["answers"]);
    assert_eq!(
        broken(vec![nothing(Wish::Latency, Trouble::Silent)], Vec::new()),
        ["answers"]
    );
}

#[test]
fn a_pod_that_had_the_view_and_falls_back_on_the_failure_mode_is_found() {
    let known = check(
        question(9),
        (101 * S, 102 * S),
        at(1, 5, 1),
        Verdict::default(),
    );
    let mut unsure = check(
        question(9),
        (103 * S, 104 * S),
        at(1, 5, 1),
        Verdict::default(),
    );
    if let Ok(answer) = &mut unsure.outcome {
        answer.basis = Basis::FailureMode;
    }
    assert_eq!(broken(vec![unsure.clone()], Vec::new()), [""; 0]);
    assert_eq!(broken(vec![known, unsure], Vec::new()), ["doubt"]);
}

#[test]
fn c6_an_acknowledged_ban_that_is_not_in_the_feed_and_a_lifted_one_that_holds_are_found() {
    let found = |write: Write| {
        let record = Record {
            writes: vec![write],
            ..Record::default()
        };
        let found = audit::acknowledged(&record, &histories(), 0);
        let clauses: Vec<_> = found.violations.iter().map(|one| one.clause).collect();
        (clauses, found.lost_by_restore)
    };
    let write = |deed, ban, token| found(acknowledged(deed, ban, token, 108 * S));
    let (nothing, lost) = ((Vec::new(), 0), (Vec::new(), 1));
    assert_eq!(write(Deed::Ban, WATCHING, at(9, 6, 2)), nothing);
    assert_eq!(write(Deed::Ban, LATER, at(1, 6, 1)), lost);
    assert_eq!(write(Deed::Ban, LATER, at(9, 6, 2)), (vec!["C-6"], 0));
    assert_eq!(
        write(Deed::Ban, BanId::from_bytes([9; 16]), at(1, 6, 1)),
        (vec!["C-6"], 1)
    );
    assert_eq!(write(Deed::Lift(FOREVER), FOREVER, at(1, 6, 1)), lost);
    // In the history after the fork it came back.
    assert_eq!(
        write(Deed::Lift(FOREVER), FOREVER, at(9, 6, 2)),
        (vec!["C-6"], 0)
    );
    assert_eq!(
        write(Deed::Lift(BRIEF), BRIEF, at(9, 6, 2)),
        (vec!["C-6"], 0)
    );
    // Acknowledged by a token that is older than the ban.
    assert_eq!(write(Deed::Ban, FOREVER, at(1, 1, 1)), (vec!["C-6"], 0));
}
