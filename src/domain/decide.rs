//! The decision: a pure function of a view, a question and an instant.

pub mod explain;

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    ban::{Enforcement, MAX_IDENTITIES},
    channel::Channel,
    clock::Timestamp,
    exception::{Closeness, Exempt},
    identity::{Identity, IdentityKind, MatchKind},
    ids::{BanId, ExceptionId, ListId},
    keys::{self, Widths},
    list::Treatment,
    queue::WithheldPolicy,
    view::{TenantView, index::Entry},
};

/// Where in its life the interaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// The widget loads, or the connector is about to hand over.
    Connect = 1,
    /// The interaction is about to enter a queue.
    QueueEntry = 2,
    /// The contact centre is about to call or write.
    Outbound = 3,
}

impl Stage {
    /// The stage with this number.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::Connect, Self::QueueEntry, Self::Outbound]
            .into_iter()
            .find(|stage| *stage as i32 == number)
    }

    /// The name used on the wire, without its prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::QueueEntry => "QUEUE_ENTRY",
            Self::Outbound => "OUTBOUND",
        }
    }
}

/// What an answer rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Basis {
    /// Everything acknowledged two seconds ago or earlier, anywhere.
    Fresh = 1,
    /// What was known when news ceased.
    Stale = 2,
    /// Nothing: the tenant's failure mode.
    FailureMode = 3,
}

/// One key to look up, and which of the question's identities it comes from.
#[derive(Clone, Copy, Debug)]
struct Probe {
    identity: u8,
    of: keys::Probe,
}

/// How many look-ups are kept without asking the allocator for room. More would make every question
/// larger for the sake of tenants whose ranges are of very many widths.
const ROOM: usize = 8;

/// A question, canonicalised for one view.
#[derive(Debug)]
pub struct Query<'a> {
    channel: Channel,
    stage: Stage,
    queue: Option<&'a str>,
    /// Whether there are identities, and every one of them is withheld.
    withheld: bool,
    /// For each identity, one more than the place of the built-in protection it is under.
    guarded: [u8; MAX_IDENTITIES],
    probes: SmallVec<[Probe; ROOM]>,
}

impl<'a> Query<'a> {
    /// A question without identities; [`Self::ask_for`] adds them.
    pub const fn new(channel: Channel, stage: Stage, queue: Option<&'a str>) -> Self {
        Self {
            channel,
            stage,
            queue,
            withheld: false,
            guarded: [0; MAX_IDENTITIES],
            probes: SmallVec::new_const(),
        }
    }

    /// Says that whoever asks withholds every identity.
    pub const fn withhold(&mut self) {
        self.withheld = true;
    }

    /// Adds the identity that stands at `position` in the request.
    ///
    /// What the view knows to be filed under nothing is not looked up: of ranges, nearly all.
    pub fn ask_for(&mut self, view: &TenantView, position: u8, identity: &Identity) {
        self.ask_within(view, view.widths(), position, identity);
    }

    /// The same, looking for ranges of these widths.
    fn ask_within(
        &mut self,
        view: &TenantView,
        widths: &Widths,
        position: u8,
        identity: &Identity,
    ) {
        if let Some(guarded) = self.guarded.get_mut(usize::from(position)) {
            *guarded = view.guard().place(identity).map_or(0, |at| at + 1);
        }
        let email_fold = view.tenant.email_fold;
        view.key().probes(identity, widths, email_fold, |of| {
            if view.may_find(of.space, of.key) {
                self.probes.push(Probe {
                    identity: position,
                    of,
                });
            }
        });
    }

    /// The place of the built-in protection that an identity is under.
    fn guarded(&self, position: u8) -> Option<u8> {
        self.guarded.get(usize::from(position))?.checked_sub(1)
    }
}

/// A ban that applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Which ban.
    pub ban: BanId,
    /// The list it is in; `None` = the whole tenant.
    pub list_id: Option<ListId>,
    /// How it was matched.
    pub match_kind: MatchKind,
    /// Which of the question's identities it was.
    pub identity: u8,
    /// When the ban ends; `None` = when somebody lifts it.
    pub expire: Option<Timestamp>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The deciding ban: the one that ends last, then the one made first. `None` = allowed.
    pub deny: Option<(Match, Treatment)>,
    /// What overrode a ban that would have denied; of several such bans, the one that ends last.
    pub exempt: Option<Exempt>,
    /// The bans that would have denied, were they more than watching.
    pub shadows: SmallVec<[Match; 2]>,
    /// Whether the queue turns away whoever withholds every identity.
    pub withheld: bool,
    /// The next instant at which time alone could turn the answer round.
    pub flips: Option<Timestamp>,
}

impl Verdict {
    /// Whether the interaction may not go on.
    pub const fn denies(&self) -> bool {
        self.deny.is_some() || self.withheld
    }

    /// What to do about a denial.
    pub fn treatment(&self) -> Option<Treatment> {
        let of_queue = self.withheld.then_some(Treatment::EndInteraction);
        self.deny.as_ref().map(|(_, of_ban)| *of_ban).or(of_queue)
    }
}

/// What a ban comes to that one of the identities is found under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It holds on other channels.
    OtherChannel,
    /// Its time is over.
    Ended,
    /// Its list is not enforced here.
    NotHere,
    /// It is on another name of a mail address, which the tenant takes for another customer.
    Unfolded,
    /// It begins later.
    Scheduled,
    /// It holds, but only watches.
    Shadow,
    /// It holds.
    Holds,
}

/// What overrides a ban for one identity, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sparing {
    by: Sparer,
    until: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sparer {
    Exception(ExceptionId),
    BuiltIn(u8),
}

impl Sparing {
    /// What it is that overrides.
    pub fn exempt(&self, view: &TenantView) -> Option<Exempt> {
        match self.by {
            Sparer::Exception(id) => Some(Exempt::Exception(id)),
            Sparer::BuiltIn(place) => {
                let name = view.guard().name(place)?;
                Some(Exempt::BuiltIn(Arc::clone(name)))
            }
        }
    }
}

/// One identity found under one ban.
#[derive(Clone, Copy, Debug)]
pub struct Met<'a> {
    /// The ban, as the view files it.
    pub entry: &'a Entry,
    /// What it comes to, exceptions apart.
    pub weight: Weight,
    /// Whether it only watches, by itself or by its list.
    pub shadow: bool,
    /// What overrides it; asked only of bans that hold, or will.
    pub spared: Option<Sparing>,
    probe: &'a Probe,
}

impl Met<'_> {
    /// The ban and how it was matched.
    pub fn found(&self, view: &TenantView) -> Match {
        matched(view, self.entry, self.probe)
    }
}

/// Weighs every ban that one of the identities is found under, and hands each of them on.
///
/// A ban holds where it has no list, where it is on a visitor's token (the widget is off whatever
/// queue it would lead to: D11, D12, D32), at the queues its list is related to (D14, D28), and
/// outwards where its list says so (P2); nowhere else (D33).
pub fn weigh<'a>(
    view: &'a TenantView,
    query: &'a Query<'_>,
    now: Timestamp,
    mut each: impl FnMut(Met<'a>),
) {
    let checked = match (query.stage, query.queue) {
        (Stage::QueueEntry, Some(queue)) => view.lists_at(queue),
        _ => &[],
    };
    let holds = |entry: &Entry| {
        entry.list == 0
            || match view.list(entry.list) {
                None => false,
                Some(_) if entry.kind == IdentityKind::VisitorToken as u8 => true,
                Some(list) => match query.stage {
                    Stage::QueueEntry => checked.contains(&entry.list),
                    Stage::Outbound => list.enforce_outbound,
                    Stage::Connect => false,
                },
            }
    };
    let has_exceptions = view.has_exceptions();
    for probe in &query.probes {
        for entry in view.find(probe.of.space, probe.of.key) {
            let weight = if !entry.channels().contains(query.channel) {
                Weight::OtherChannel
            } else if entry.ends <= now.micros() {
                Weight::Ended
            } else if !holds(entry) {
                Weight::NotHere
            } else if !counts(view, entry) {
                Weight::Unfolded
            } else if now.micros() < entry.starts {
                Weight::Scheduled
            } else {
                Weight::Holds
            };
            let mut met = Met {
                entry,
                weight,
                shadow: false,
                spared: None,
                probe,
            };
            if matches!(weight, Weight::Scheduled | Weight::Holds) {
                met.shadow = entry.is_shadow()
                    || view
                        .list(entry.list)
                        .is_some_and(|l| l.enforcement == Enforcement::Shadow);
                met.spared = match query.guarded(probe.identity) {
                    Some(place) => Some(Sparing {
                        by: Sparer::BuiltIn(place),
                        until: Timestamp::MAX.micros(),
                    }),
                    None if has_exceptions => spared(view, query, now, entry, probe),
                    None => None,
                };
                if met.shadow && weight == Weight::Holds {
                    met.weight = Weight::Shadow;
                }
            }
            each(met);
        }
    }
}

/// Other names of a mail address are filed whatever the tenant says, so that it may change its mind.
fn counts(view: &TenantView, entry: &Entry) -> bool {
    view.tenant.email_fold
        || entry.match_kind() != MatchKind::Alias
        || entry.kind != IdentityKind::EmailAddress as u8
}

/// The exception that overrides a ban for the identity of a probe: of those that name it as closely
/// as the ban does, or are protected, the one that ends last.
fn spared(
    view: &TenantView,
    query: &Query<'_>,
    now: Timestamp,
    ban: &Entry,
    found_by: &Probe,
) -> Option<Sparing> {
    let mut best: Option<&Entry> = None;
    overriding(view, query, now, ban, found_by, |exception| {
        if best.is_none_or(|best| outlasts(exception, best)) {
            best = Some(exception);
        }
    });
    best.map(|exception| Sparing {
        by: Sparer::Exception(id_of(exception)),
        until: exception.ends,
    })
}

/// Hands on every exception that overrides a ban for the identity of a probe.
fn overriding<'a>(
    view: &'a TenantView,
    query: &Query<'_>,
    now: Timestamp,
    ban: &Entry,
    found_by: &Probe,
    mut each: impl FnMut(&'a Entry),
) {
    let needed = closeness(ban, found_by, Closeness::of_ban);
    let of_same = |probe: &&Probe| probe.identity == found_by.identity;
    for probe in query.probes.iter().filter(of_same) {
        for exception in view.find_exceptions(probe.of.space, probe.of.key) {
            let overrides = exception.channels().contains(query.channel)
                && exception.ends > now.micros()
                && counts(view, exception)
                && (exception.is_protected()
                    || closeness(exception, probe, Closeness::of_exception) >= needed);
            if overrides {
                each(exception);
            }
        }
    }
}

/// Whose entry it is among those of exceptions.
fn id_of(exception: &Entry) -> ExceptionId {
    ExceptionId::from_bytes(*exception.ban.bytes())
}

fn closeness(
    entry: &Entry,
    probe: &Probe,
    of: impl Fn(IdentityKind, MatchKind, u8) -> Closeness,
) -> Closeness {
    let kind = IdentityKind::from_number(i32::from(entry.kind));
    of(
        kind.unwrap_or(IdentityKind::VisitorToken),
        match_kind(entry, probe),
        probe.of.width,
    )
}

/// Judges a question at an instant.
///
/// Of the bans that hold and are not overridden, the one that ends last decides. A queue's policy
/// may turn away whoever withholds every identity, on whom there can be no ban.
pub fn decide(view: &TenantView, query: &Query<'_>, now: Timestamp) -> Verdict {
    let mut deciding: Option<Met<'_>> = None;
    let mut overridden: Option<Met<'_>> = None;
    let mut shadows: SmallVec<[Met<'_>; 2]> = SmallVec::new();
    let mut next = Timestamp::MAX.micros();
    weigh(view, query, now, |met| {
        let longest =
            |best: &Option<Met<'_>>| best.is_none_or(|best| outlasts(met.entry, best.entry));
        match met.weight {
            Weight::Shadow => {
                let new = shadows.iter().all(|seen| seen.entry.ban != met.entry.ban);
                if met.spared.is_none() && new {
                    shadows.push(met);
                }
            }
            Weight::Holds | Weight::Scheduled if !met.shadow => {
                let spared_until = met.spared.map_or(i64::MIN, |sparing| sparing.until);
                let from = met.entry.starts.max(spared_until);
                if from > now.micros() {
                    if from < met.entry.ends {
                        next = next.min(from);
                    }
                    if met.weight == Weight::Holds && longest(&overridden) {
                        overridden = Some(met);
                    }
                } else if longest(&deciding) {
                    deciding = Some(met);
                }
            }
            _ => {}
        }
    });

    let hidden = query.withheld && query.stage == Stage::QueueEntry;
    let turned_away = |queue| {
        view.queue(queue).is_some_and(|policy| {
            policy.channel == query.channel && policy.withheld == WithheldPolicy::Deny
        })
    };

    let flips = deciding.map_or(next, |met| met.entry.ends);
    Verdict {
        deny: deciding.map(|met| (met.found(view), treatment(view, met.entry))),
        exempt: overridden
            .and_then(|met| truly_overridden(view, query, now, met))
            .and_then(|met| met.spared)
            .and_then(|sparing| sparing.exempt(view)),
        shadows: shadows.into_iter().map(|met| met.found(view)).collect(),
        withheld: hidden && query.queue.is_some_and(turned_away),
        flips: (flips != Timestamp::MAX.micros()).then_some(Timestamp::from_micros(flips)),
    }
}

/// The overridden ban that ends last, from this one on, which does not hold for all that: by another
/// of its targets, or because it names the customer more closely than it was overridden by.
fn truly_overridden<'a>(
    view: &'a TenantView,
    query: &'a Query<'_>,
    now: Timestamp,
    from: Met<'a>,
) -> Option<Met<'a>> {
    let mut best = Some(from);
    while let Some(candidate) = best {
        let (mut holds, mut next) = (false, None::<Met<'_>>);
        weigh(view, query, now, |met| {
            if met.weight != Weight::Holds {
                return;
            }
            if met.spared.is_none() {
                holds |= met.entry.ban == candidate.entry.ban;
            } else if outlasts(candidate.entry, met.entry)
                && next.is_none_or(|next| outlasts(met.entry, next.entry))
            {
                next = Some(met);
            }
        });
        if !holds {
            return best;
        }
        best = next;
    }
    None
}

/// Whether a ban is to be reported rather than another: lifting the other would change nothing.
fn outlasts(one: &Entry, other: &Entry) -> bool {
    (other.ends, one.ban) < (one.ends, other.ban)
}

fn match_kind(entry: &Entry, probe: &Probe) -> MatchKind {
    match entry.match_kind() {
        MatchKind::Exact if probe.of.alias => MatchKind::Alias,
        filed => filed,
    }
}

fn matched(view: &TenantView, entry: &Entry, probe: &Probe) -> Match {
    Match {
        ban: entry.ban,
        list_id: view.list(entry.list).map(|list| list.list_id.clone()),
        match_kind: match_kind(entry, probe),
        identity: probe.identity,
        expire: (entry.ends != Timestamp::MAX.micros())
            .then_some(Timestamp::from_micros(entry.ends)),
    }
}

fn treatment(view: &TenantView, entry: &Entry) -> Treatment {
    let default = if entry.kind == IdentityKind::VisitorToken as u8 {
        Treatment::DisableWidget
    } else {
        Treatment::EndInteraction
    };
    view.list(entry.list)
        .and_then(|list| list.treatment)
        .unwrap_or(default)
}
