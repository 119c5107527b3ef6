//! What was asked about lately: a small sample of checks, by which somebody about to ban is told how
//! many of them the ban would have met.
//!
//! A check finds out by one look at one number whether it is to be sampled, which is twice a second
//! at the most; so a quiet pod's sample is everything that was asked, and a busy pod's costs nothing.
//! **Invariant:** what is kept are marks of keys, made with a secret of this process's own, and
//! neither identities nor the keys that stores and views know.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use super::Question;
use crate::domain::{
    channel::{Channel, Channels},
    clock::Timestamp,
    identity::{self, IdentityKind},
    ids::TenantId,
    keys::{Space, Widths},
    view::{TenantView, index::Key},
};

/// The least time between two samples, in microseconds.
const BETWEEN: i64 = 500_000;
/// How long one counts, in microseconds.
const LATELY: i64 = 3_600_000_000;
/// The most that are kept: those of an hour.
const MOST: usize = 7_200;

/// One check.
struct Sample {
    at: Timestamp,
    channel: Channel,
    /// Of everything that a ban could have been found under, of whatever width.
    marks: Box<[u64]>,
}

/// The sampled checks of the last hour.
#[derive(Default)]
pub(super) struct Samples {
    /// When the next one is due.
    due: AtomicI64,
    taken: Mutex<VecDeque<Sample>>,
    secret: RandomState,
}

impl Samples {
    /// Whether the check that asks is to be sampled.
    pub(super) fn are_due(&self, now: Timestamp) -> bool {
        let due = self.due.load(Ordering::Relaxed);
        now.micros() >= due
            && self
                .due
                .compare_exchange(
                    due,
                    now.micros().saturating_add(BETWEEN),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// Takes a check into the sample, unless somebody is looking through it just now.
    pub(super) fn take(
        &self,
        tenant: &TenantId,
        view: &TenantView,
        question: &Question<'_>,
        now: Timestamp,
    ) {
        let Ok(mut taken) = self.taken.try_lock() else {
            return;
        };
        let region = Some(view.tenant.default_region.as_str()).filter(|region| !region.is_empty());
        let mut marks = Vec::new();
        for given in question.identities {
            let read = identity::read(given, Channels::of(&[question.channel]), region);
            let named = read.ok().filter(|one| one.kind != IdentityKind::Withheld);
            let Some(identity) = named else { continue };
            let fold = view.tenant.email_fold;
            view.key().probes(&identity, &Widths::ALL, fold, |probe| {
                marks.push(self.mark(tenant, probe.space, probe.key));
            });
        }
        forget(&mut taken, now);
        if taken.len() == MOST {
            taken.pop_front();
        }
        taken.push_back(Sample {
            at: now,
            channel: question.channel,
            marks: marks.into(),
        });
    }

    /// How many of them, on one of these channels, looked under one of these keys.
    pub(super) fn matching(
        &self,
        tenant: &TenantId,
        channels: Channels,
        keys: impl Iterator<Item = (Space, Key)>,
        now: Timestamp,
    ) -> u32 {
        let wanted: HashSet<u64> = keys
            .map(|(space, key)| self.mark(tenant, space, key))
            .collect();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        forget(&mut taken, now);
        let met = taken.iter().filter(|one| {
            channels.contains(one.channel) && one.marks.iter().any(|mark| wanted.contains(mark))
        });
        u32::try_from(met.count()).unwrap_or(u32::MAX)
    }

    fn mark(&self, tenant: &TenantId, space: Space, key: Key) -> u64 {
        self.secret.hash_one((tenant, space, key))
    }
}

/// Lets go of what is too long ago.
fn forget(taken: &mut VecDeque<Sample>, now: Timestamp) {
    let since = now.plus_micros(-LATELY);
    while taken.front().is_some_and(|first| first.at < since) {
        taken.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        checker::Consistency,
        domain::{
            identity::{Given, Identity},
            keys::{MasterKey, TenantKey},
            policy::FailureMode,
            record::TenantRecord,
            revision::Revision,
        },
    };

    fn tenant() -> TenantId {
        TenantId::parse("acme").unwrap()
    }

    fn key() -> TenantKey {
        MasterKey::new(&[7; 32]).tenant(&tenant())
    }

    fn view() -> TenantView {
        let tenant = TenantRecord {
            failure_mode: FailureMode::Open,
            default_region: String::new(),
            email_fold: true,
            deleted: false,
        };
        TenantView::empty(Revision(1), tenant, key())
    }

    fn given(value: &str) -> Given<'_> {
        Given {
            kind: None,
            value,
            issuer: "",
            region_hint: "",
        }
    }

    fn asked(samples: &Samples, channel: Channel, value: &str, seconds: i64) {
        let question = Question {
            tenant: &tenant(),
            channel,
            stage: None,
            queue: "",
            identities: &[given(value)],
            consistency: Consistency::MinimizeLatency,
            deadline: Duration::from_secs(1),
        };
        let now = Timestamp::from_micros(seconds * 1_000_000);
        samples.take(&tenant(), &view(), &question, now);
    }

    fn met(samples: &Samples, channel: Channel, banned: &Identity, seconds: i64) -> u32 {
        let keys = key().keys(banned, 64);
        let keys = keys.into_iter().map(|(key, _)| (key.space, key.key));
        let now = Timestamp::from_micros(seconds * 1_000_000);
        samples.matching(&tenant(), Channels::of(&[channel]), keys, now)
    }

    fn read(channel: Channel, value: &str) -> Identity {
        identity::read(&given(value), Channels::of(&[channel]), None).unwrap()
    }

    #[test]
    fn a_check_is_met_by_a_ban_of_its_customer_and_by_ranges_that_no_ban_has_used_yet() {
        let samples = Samples::default();
        asked(&samples, Channel::Call, "+420601123456", 0);
        asked(&samples, Channel::Call, "+420601123457", 0);
        asked(&samples, Channel::WebChat, "203.0.113.9", 0);
        asked(&samples, Channel::WebChat, "2001:db8::1", 0);
        let number = read(Channel::Call, "+420601123456");
        assert_eq!(met(&samples, Channel::Call, &number, 0), 1);
        assert_eq!(met(&samples, Channel::Sms, &number, 0), 0, "nobody wrote");
        let prefix = identity::read_prefix(&given("+420601"), Channels::of(&[Channel::Call]));
        assert_eq!(met(&samples, Channel::Call, &prefix.unwrap(), 0), 2);
        for (network, checks) in [
            ("203.0.113.0/24", 1),
            ("203.0.113.9/32", 1),
            ("2001:db8::/33", 1),
            ("203.0.114.0/24", 0),
        ] {
            let network =
                identity::read_network(&given(network), Channels::of(&[Channel::WebChat]));
            let found = met(&samples, Channel::WebChat, &network.unwrap(), 0);
            assert_eq!(found, checks);
        }
        let neighbour = read(Channel::WebChat, "2001:db8::2");
        assert_eq!(
            met(&samples, Channel::WebChat, &neighbour, 0),
            1,
            "one customer has /64"
        );
    }

    #[test]
    fn what_is_an_hour_ago_and_what_is_too_much_is_let_go() {
        let samples = Samples::default();
        let number = read(Channel::Call, "+420601123456");
        asked(&samples, Channel::Call, "+420601123456", 0);
        assert_eq!(met(&samples, Channel::Call, &number, 3_600), 1);
        assert_eq!(met(&samples, Channel::Call, &number, 3_601), 0);
        for _ in 0..=MOST {
            asked(&samples, Channel::Call, "+420601123456", 4_000);
        }
        assert_eq!(met(&samples, Channel::Call, &number, 4_000), 7_200);
    }

    #[test]
    fn a_check_is_sampled_twice_a_second_at_the_most() {
        let samples = Samples::default();
        let due = |millis: i64| samples.are_due(Timestamp::from_micros(millis * 1_000));
        let answers = [1, 2, 500, 501, 502, 5_000, 5_001].map(due);
        assert_eq!(answers, [true, false, false, true, false, true, false]);
    }
}
