//! What an answer should be: the rules read out slowly over the model's own rows.
//!
//! Nothing of the product's views, keys or `decide` is used, so a mistake there shows here.

use std::{collections::BTreeSet, time::Duration};

use bancheck::{
    checker::Answer,
    domain::{
        ban::{Ban, Enforcement},
        channel::Channel,
        clock::Timestamp,
        decide::Basis,
        identity::IdentityKind,
        ids::BanId,
        list::Treatment,
        policy::FailureMode,
    },
};

use super::history::{Kept, Tenant, checked_at};

/// A question, as the model understands it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) tenant: String,
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

/// Whether a ban speaks of this question at all, whatever the time.
fn is_about(tenant: &Tenant, kept: &Kept, asked: &Asked) -> bool {
    let ban = &kept.ban;
    let on_them = ban.targets.iter().find(|target| {
        let same = |(kind, value): &&(IdentityKind, String)| {
            *kind == target.kind && *value == target.canonical
        };
        asked.identities.iter().any(|one| same(&one))
    });
    let Some(target) = on_them else { return false };
    if ban.ended || !ban.channels.contains(asked.channel) {
        return false;
    }
    ban.list_id.is_none()
        || (kept_list_stands(tenant, kept)
            && (target.kind == IdentityKind::VisitorToken
                || checked_at(tenant, asked.queue).contains(&kept.generation)))
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
    let about: Vec<&Kept> = tenant
        .bans
        .values()
        .map(std::convert::AsRef::as_ref)
        .filter(|kept| is_about(tenant, kept, asked) && now < ends(&kept.ban))
        .collect();
    let begun = |kept: &&&Kept| kept.ban.start.is_none_or(|start| start.micros() <= now);
    let shadow = |kept: &&&Kept| kept.ban.enforcement == Enforcement::Shadow;
    let shadows = about
        .iter()
        .filter(begun)
        .filter(shadow)
        .map(|kept| kept.ban.ban_id)
        .collect();
    let deciding = about
        .iter()
        .filter(begun)
        .filter(|kept| !shadow(kept))
        .max_by_key(|kept| (ends(&kept.ban), std::cmp::Reverse(kept.ban.ban_id)));
    let next_start = about
        .iter()
        .filter(|kept| !begun(kept) && !shadow(kept))
        .filter_map(|kept| kept.ban.start)
        .min();
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
        flips: None,
    }
}

/// The instants between two at which time alone may change an answer, both ends included.
pub(crate) fn turns(tenant: &Tenant, from: Timestamp, to: Timestamp) -> BTreeSet<Timestamp> {
    let edges = tenant
        .standing()
        .flat_map(|kept| [kept.ban.start, kept.ban.expire])
        .flatten()
        .filter(|edge| from < *edge && *edge < to);
    edges.chain([from, to]).collect()
}
