//! What was asked, when, of whom, and what was answered; times are microseconds of boot time.

use std::fmt;

use bancheck::domain::{decide::Basis, ids::BanId, revision::Position};

/// How fresh an answer was asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// `minimize_latency`.
    Latency,
    /// `at_least_as_fresh`.
    AtLeast(Position),
    /// `fully_consistent`.
    Fully,
}

/// A check, by the numbers of [`crate::cast`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) tenant: u8,
    pub(crate) callers: [u16; 2],
    /// On the phone, or by text message.
    pub(crate) by_text: bool,
    /// 0: none, so that no list is looked at.
    pub(crate) queue: u8,
    pub(crate) wish: Wish,
}

/// What a decision comes to, as far as it is judged.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The deciding ban, and when it ends; `i64::MAX` = never.
    pub(crate) deny: Option<(BanId, i64)>,
    /// The bans that only watch, in the order of their ids.
    pub(crate) shadows: Vec<BanId>,
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.deny {
            None => f.write_str("ALLOW")?,
            Some((ban, i64::MAX)) => write!(f, "DENY by {ban}")?,
            Some((ban, end)) => write!(f, "DENY by {ban} until {end}")?,
        }
        for shadow in &self.shadows {
            write!(f, ", watched by {shadow}")?;
        }
        Ok(())
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    pub(crate) basis: Basis,
    /// Microseconds; 0 where it is fresh.
    pub(crate) stale_for: i64,
    pub(crate) token: Position,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The reason of a refusal.
    Refused(String),
    /// The connection failed.
    Broken(String),
    /// Nobody said anything for far too long.
    Silent,
    /// What was said makes no sense.
    Odd(String),
}

/// How a question was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Road {
    /// In a call of its own.
    Alone,
    /// In a batch, each with a number of its own.
    Batch(u64),
    /// On a stream.
    Stream,
}

/// A question that was asked.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) pod: u8,
    /// Which of the pod's lives.
    pub(crate) life: u16,
    pub(crate) sent: i64,
    pub(crate) received: i64,
    pub(crate) question: Question,
    pub(crate) road: Road,
    pub(crate) outcome: Result<Answer, Trouble>,
}

/// What was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Ban,
    Lift(BanId),
    Change(BanId),
    Queues(u8),
}

/// How a write ended for the one who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was acknowledged.
    Acknowledged { ban: Option<BanId>, token: Position },
    /// It was refused for good.
    Refused(String),
    /// Nobody knows: the caller hung up or lost patience.
    Unknown,
}

/// A write, all its tries together.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    /// Its own number, which its reason code and its request id bear.
    pub(crate) number: u64,
    pub(crate) deed: Deed,
    /// The pod that was asked last.
    pub(crate) pod: u8,
    pub(crate) tries: u32,
    /// When the last try was sent, and its answer came.
    pub(crate) sent: i64,
    pub(crate) received: i64,
    pub(crate) end: End,
}

/// Something that was done to the pods or to the database.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: &'static str,
    /// `None` = the database, and with it all of them.
    pub(crate) pod: Option<u8>,
    pub(crate) begun: i64,
    pub(crate) ended: i64,
}

impl Fault {
    /// Whether it touched this pod, between two moments.
    pub(crate) fn touches(&self, pod: u8, from: i64, to: i64) -> bool {
        self.pod.is_none_or(|its| its == pod) && self.begun <= to && from <= self.ended
    }
}

/// Everything that happened.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) checks: Vec<Check>,
    pub(crate) writes: Vec<Write>,
    pub(crate) faults: Vec<Fault>,
}
