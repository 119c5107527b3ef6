//! What an answer should be: the rules read out slowly over the model's own rows.
//!
//! Nothing of the product's views, keys or `decide` is used, so a mistake there shows here.

use std::{collections::BTreeSet, time::Duration};

use bancheck::{
    checker::Answer,
    domain::{
        ban::{Ban, Enforcement, Target},
        channel::Channel,
        clock::Timestamp,
        decide::Basis,
        exception::{Exception, Exempt},
        identity::IdentityKind,
        ids::{BanId, ExceptionId, TenantId},
        list::Treatment,
        policy::FailureMode,
    },
};

use super::history::{Kept, Tenant, checked_at};

/// A question, as the model understands it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) tenant: TenantId,
    pub(crate) channel: Channel,
    /// Empty = none, which is the stage of connecting.
    pub(crate) queue: &'static str,
    pub(crate) identities: Vec<(IdentityKind, String)>,
}

/// What a check said, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) outcome: Outcome,
    pub(crate) basis: Basis,
    pub(crate) token: String,
    pub(crate) stale_for: Option<Duration>,
    pub(crate) reuse_until: Option<Timestamp>,
}

/// What it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The deciding ban and when it ends; `None` = allowed.
    pub(crate) denied_by: Option<(BanId, Option<Timestamp>)>,
    pub(crate) denied: bool,
    pub(crate) treatment: Option<Treatment>,
    pub(crate) shadows: BTreeSet<BanId>,
    /// The exception that overrode a ban.
    pub(crate) exempt: Option<ExceptionId>,
    /// When time alone would turn it round.
    pub(crate) flips: Option<Timestamp>,
}

impl Said {
    pub(crate) fn of(answer: &Answer) -> Self {
        Self {
            outcome: Outcome {
                denied_by: answer.deciding().map(|found| (found.ban, found.expire)),
                denied: answer.denied,
                treatment: answer.treatment,
                shadows: answer.verdict.shadows.iter().map(|s| s.ban).collect(),
                exempt: answer.verdict.exempt.as_ref().and_then(|by| match by {
                    Exempt::Exception(id) => Some(*id),
                    Exempt::BuiltIn(_) => None,
                }),
                flips: answer.verdict.flips,
            },
            basis: answer.basis,
            token: answer.token.to_string(),
            stale_for: answer.stale_for,
            reuse_until: answer.reuse_until,
        }
    }
}

/// When a ban ends, as a number that sorts.
fn ends(ban: &Ban) -> i64 {
    ban.expire.unwrap_or(Timestamp::MAX).micros()
}

/// Whether a ban speaks of this question at all, asked about one identity, whatever the time.
fn is_about(
    tenant: &Tenant,
    kept: &Kept,
    asked: &Asked,
    identity: &(IdentityKind, String),
) -> bool {
    let ban = &kept.ban;
    let (kind, value) = identity;
    let on_them = |target: &Target| *kind == target.kind && *value == target.canonical;
    if !ban.targets.iter().any(on_them) || ban.ended || !ban.channels.contains(asked.channel) {
        return false;
    }
    ban.list_id.is_none()
        || (kept_list_stands(tenant, kept)
            && (*kind == IdentityKind::VisitorToken
                || checked_at(tenant, asked.queue).contains(&kept.generation)))
}

/// The exception that spares an identity at an instant, and lasts longest.
fn spared<'a>(
    tenant: &'a Tenant,
    asked: &Asked,
    (kind, value): &(IdentityKind, String),
    now: i64,
) -> Option<&'a Exception> {
    let until = |one: &Exception| one.expire.unwrap_or(Timestamp::MAX).micros();
    let all = tenant.excepted().map(|kept| &kept.exception);
    all.filter(|one| {
        one.target.kind == *kind
            && one.target.canonical == *value
            && one.channels.contains(asked.channel)
            && now < until(one)
    })
    .max_by_key(|one| (until(one), std::cmp::Reverse(one.exception_id)))
}

/// A ban that speaks of one identity of a question, from when on it does, and what overrides it.
struct Case<'a> {
    kept: &'a Kept,
    from: i64,
    starts: i64,
    spared: Option<&'a Exception>,
}

fn kept_list_stands(tenant: &Tenant, kept: &Kept) -> bool {
    tenant
        .lists
        .values()
        .any(|list| list.generation == kept.generation)
}

/// The right answer at one revision and one instant.
pub(crate) fn right(tenant: &Tenant, asked: &Asked, now: Timestamp) -> Outcome {
    let now = now.micros();
    let mut about: Vec<Case<'_>> = Vec::new();
    for identity in &asked.identities {
        let spared = spared(tenant, asked, identity, now);
        let all = tenant.bans.values().map(std::convert::AsRef::as_ref);
        let on_them = all.filter(|kept| is_about(tenant, kept, asked, identity));
        about.extend(on_them.filter(|kept| now < ends(&kept.ban)).map(|kept| {
            let starts = kept.ban.start.unwrap_or(Timestamp::MIN).micros();
            let until = |one: &Exception| one.expire.unwrap_or(Timestamp::MAX).micros();
            Case {
                kept,
                from: starts.max(spared.map_or(i64::MIN, until)),
                starts,
                spared,
            }
        }));
    }
    let begun = |case: &&Case<'_>| case.from <= now;
    let shadow = |case: &&Case<'_>| case.kept.ban.enforcement == Enforcement::Shadow;
    let shadows = about
        .iter()
        .filter(begun)
        .filter(shadow)
        .map(|case| case.kept.ban.ban_id)
        .collect();
    let longest = |case: &&Case<'_>| {
        let ban = &case.kept.ban;
        (ends(ban), std::cmp::Reverse(ban.ban_id))
    };
    let enforced = || about.iter().filter(|case| !shadow(case));
    let deciding = enforced().filter(begun).max_by_key(longest);
    let deciding = deciding.map(|case| case.kept);
    let next_start = enforced()
        .filter(|case| !begun(case) && case.from < ends(&case.kept.ban))
        .map(|case| case.from)
        .min()
        .map(Timestamp::from_micros);
    let overridden = enforced()
        .filter(|case| !begun(case) && case.starts <= now)
        .filter(|case| {
            let same = |other: &&Case<'_>| other.kept.ban.ban_id == case.kept.ban.ban_id;
            !enforced().filter(begun).any(|other| same(&other))
        })
        // The first of two identities, as it was asked first.
        .rev()
        .max_by_key(longest);
    let on_token = asked.channel == Channel::WebChat;
    Outcome {
        denied_by: deciding.map(|kept| (kept.ban.ban_id, kept.ban.expire)),
        denied: deciding.is_some(),
        treatment: deciding.map(|_| {
            if on_token {
                Treatment::DisableWidget
            } else {
                Treatment::EndInteraction
            }
        }),
        shadows,
        exempt: overridden
            .and_then(|case| case.spared)
            .map(|exception| exception.exception_id),
        flips: match deciding {
            Some(kept) => kept.ban.expire,
            None => next_start,
        },
    }
}

/// The answer where nothing is known but the tenant's failure mode.
pub(crate) fn of_failure(mode: FailureMode) -> Outcome {
    let denied = mode == FailureMode::Closed;
    Outcome {
        denied_by: None,
        denied,
        treatment: denied.then_some(Treatment::EndInteraction),
        shadows: BTreeSet::new(),
        exempt: None,
        flips: None,
    }
}

/// The instants between two at which time alone may change an answer, both ends included.
pub(crate) fn turns(tenant: &Tenant, from: Timestamp, to: Timestamp) -> BTreeSet<Timestamp> {
    let edges = tenant
        .standing()
        .flat_map(|kept| [kept.ban.start, kept.ban.expire])
        .chain(tenant.excepted().map(|kept| kept.exception.expire))
        .flatten()
        .filter(|edge| from < *edge && *edge < to);
    edges.chain([from, to]).collect()
}
