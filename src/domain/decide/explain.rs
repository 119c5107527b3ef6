//! Why an answer is what it is: each ban found is put before [`decide`] alone.
//!
//! So the explanation cannot disagree with the answer: what a ban does is what the decision makes of
//! it, and only for one that does nothing is the reason looked for, in the ban itself.

use std::{collections::BTreeMap, sync::Arc};

use smallvec::SmallVec;

use super::{Query, Verdict, Weight, counts, decide, id_of, overriding, weigh};
use crate::domain::{
    clock::Timestamp,
    exception::Exempt,
    identity::Identity,
    ids::BanId,
    keys::{Space, Widths},
    view::{TenantView, index::Entry},
};

/// What became of a rule, in the order in which rules are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The answer rests on it.
    Decided,
    /// Without the one that decided, the answer would rest on it or on another of these.
    AlsoMatched,
    /// It would have denied, were it more than watching.
    Shadow,
    /// It would do the one or the other, were it not for an exception.
    OverriddenByException,
    /// The queue of the question does not check its list, or nothing does at this stage.
    ListNotEnforcedHere,
    /// It holds on other channels.
    OtherChannel,
    /// It begins later.
    NotStarted,
    /// What was judged on did not have it.
    NotKnownYet,
    /// Its time is over.
    Expired,
    /// Somebody lifted it.
    Deactivated,
}

impl Why {
    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Decided => "DECIDED",
            Self::AlsoMatched => "ALSO_MATCHED",
            Self::OverriddenByException => "OVERRIDDEN_BY_EXCEPTION",
            Self::Shadow => "SHADOW",
            Self::ListNotEnforcedHere => "LIST_NOT_ENFORCED_HERE",
            Self::OtherChannel => "OTHER_CHANNEL",
            Self::NotStarted => "NOT_STARTED",
            Self::NotKnownYet => "NOT_KNOWN_YET",
            Self::Expired => "EXPIRED",
            Self::Deactivated => "DEACTIVATED",
        }
    }

    /// Whether the rule took part in the decision.
    pub const fn applied(self) -> bool {
        matches!(self, Self::Decided | Self::AlsoMatched)
    }
}

/// What became of one ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// Which ban.
    pub ban: BanId,
    /// What became of it.
    pub why: Why,
}

/// What became of one exception, or of one built-in protection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exemption {
    /// Which.
    pub by: Exempt,
    /// What became of it.
    pub why: Why,
    /// Whether it overrides a ban that would hold here and now, or watch.
    pub applied: bool,
}

impl Query<'_> {
    /// Adds an identity so that every ban is found that was ever on it, whatever widths of ranges
    /// the view still knows.
    pub fn ask_widely(&mut self, view: &TenantView, position: u8, identity: &Identity) {
        self.ask_within(view, &Widths::ALL, position, identity);
    }
}

type Entries = SmallVec<[(Space, Entry); 2]>;

/// What is filed of each ban that the question finds, in the order of their ids.
fn found(view: &TenantView, query: &Query<'_>) -> BTreeMap<BanId, Entries> {
    let mut found: BTreeMap<BanId, Entries> = BTreeMap::new();
    for probe in &query.probes {
        let space = probe.of.space;
        for entry in view.find(space, probe.of.key) {
            if counts(view, entry) {
                found.entry(entry.ban).or_default().push((space, *entry));
            }
        }
    }
    found
}

/// What became of every ban in the view that is on an identity of the question, where `verdict` is
/// what was answered.
pub fn explain(
    view: &TenantView,
    query: &Query<'_>,
    now: Timestamp,
    verdict: &Verdict,
) -> Vec<Ruling> {
    let decided = verdict.deny.as_ref().map(|(found, _)| found.ban);
    let judge = |(ban, entries): (BanId, Entries)| {
        let view = view.holding(&entries);
        let alone = decide(&view, query, now);
        let why = match alone.deny {
            Some(_) if decided == Some(ban) => Why::Decided,
            Some(_) => Why::AlsoMatched,
            None if !alone.shadows.is_empty() => Why::Shadow,
            None if is_overridden(&view, query, now) => Why::OverriddenByException,
            None => idle(&entries, query, now),
        };
        Ruling { ban, why }
    };
    found(view, query).into_iter().map(judge).collect()
}

/// Whether the bans of a view would hold, or watch, were it not for an exception.
fn is_overridden(view: &TenantView, query: &Query<'_>, now: Timestamp) -> bool {
    let mut overridden = false;
    weigh(view, query, now, |met| {
        let in_time = matches!(met.weight, Weight::Holds | Weight::Shadow);
        overridden |= in_time && met.spared.is_some();
    });
    overridden
}

/// What became of every exception and protection that an identity of the question is under, where
/// `verdict` is what was answered.
pub fn exemptions(
    view: &TenantView,
    query: &Query<'_>,
    now: Timestamp,
    verdict: &Verdict,
) -> Vec<Exemption> {
    let mut found: Vec<(Exempt, Why)> = Vec::new();
    for place in query.guarded.iter().filter_map(|at| at.checked_sub(1)) {
        if let Some(name) = view.guard().name(place) {
            found.push((Exempt::BuiltIn(Arc::clone(name)), Why::AlsoMatched));
        }
    }
    for probe in &query.probes {
        for entry in view.find_exceptions(probe.of.space, probe.of.key) {
            if counts(view, entry) {
                let why = if entry.ends <= now.micros() {
                    Why::Expired
                } else if !entry.channels().contains(query.channel) {
                    Why::OtherChannel
                } else {
                    Why::AlsoMatched
                };
                found.push((Exempt::Exception(id_of(entry)), why));
            }
        }
    }
    let mut overrode = Vec::new();
    weigh(view, query, now, |met| {
        if matches!(met.weight, Weight::Holds | Weight::Shadow) {
            overrode.extend(met.spared.and_then(|sparing| sparing.exempt(view)));
            overriding(view, query, now, met.entry, met.probe, |exception| {
                overrode.push(Exempt::Exception(id_of(exception)));
            });
        }
    });
    let saved = verdict.exempt.as_ref().filter(|_| !verdict.denies());
    let mut told: Vec<Exemption> = Vec::new();
    for (by, why) in found {
        // Whom several identities of the question are under, or several keys of one.
        if told.iter().any(|known| known.by == by) {
            continue;
        }
        told.push(Exemption {
            why: if saved == Some(&by) {
                Why::Decided
            } else {
                why
            },
            applied: overrode.contains(&by),
            by,
        });
    }
    told
}

/// Why a ban does nothing at all. All its entries say the same of it.
fn idle(entries: &Entries, query: &Query<'_>, now: Timestamp) -> Why {
    let any = |holds: &dyn Fn(&Entry) -> bool| entries.iter().any(|(_, entry)| holds(entry));
    if any(&|entry| entry.ends <= now.micros()) {
        Why::Expired
    } else if any(&|entry| now.micros() < entry.starts) {
        Why::NotStarted
    } else if !any(&|entry| entry.channels().contains(query.channel)) {
        Why::OtherChannel
    } else {
        Why::ListNotEnforcedHere
    }
}
