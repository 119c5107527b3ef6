//! The decision: a pure function of a view, a question and an instant.

pub mod explain;

use smallvec::SmallVec;

use super::{
    ban::Enforcement,
    channel::Channel,
    clock::Timestamp,
    identity::{Identity, IdentityKind, MatchKind},
    ids::{BanId, ListId},
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

/// Judges a question at an instant.
///
/// A ban holds where it has no list, where it is on a visitor's token (the widget is off whatever
/// queue it would lead to: D11, D12, D32), at the queues its list is related to (D14, D28), and
/// outwards where its list says so (P2); nowhere else (D33). A queue's policy may turn away whoever
/// withholds every identity, on whom there can be no ban.
pub fn decide(view: &TenantView, query: &Query<'_>, now: Timestamp) -> Verdict {
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

    let mut deciding: Option<(&Entry, &Probe)> = None;
    let mut shadows: SmallVec<[(&Entry, &Probe); 2]> = SmallVec::new();
    let mut next_start = Timestamp::MAX.micros();
    for probe in &query.probes {
        for entry in view.find(probe.of.space, probe.of.key) {
            if !entry.channels().contains(query.channel)
                || entry.ends <= now.micros()
                || !holds(entry)
                || !counts(view, entry)
            {
                continue;
            }
            let shadow = entry.is_shadow()
                || view
                    .list(entry.list)
                    .is_some_and(|l| l.enforcement == Enforcement::Shadow);
            if now.micros() < entry.starts {
                if !shadow {
                    next_start = next_start.min(entry.starts);
                }
            } else if shadow {
                if shadows.iter().all(|(seen, _)| seen.ban != entry.ban) {
                    shadows.push((entry, probe));
                }
            } else if deciding.is_none_or(|(best, _)| outlasts(entry, best)) {
                deciding = Some((entry, probe));
            }
        }
    }

    let hidden = query.withheld && query.stage == Stage::QueueEntry;
    let turned_away = |queue| {
        view.queue(queue).is_some_and(|policy| {
            policy.channel == query.channel && policy.withheld == WithheldPolicy::Deny
        })
    };

    let flips = deciding.map_or(next_start, |(entry, _)| entry.ends);
    Verdict {
        deny: deciding.map(|(entry, at)| (matched(view, entry, at), treatment(view, entry))),
        shadows: shadows
            .into_iter()
            .map(|(entry, at)| matched(view, entry, at))
            .collect(),
        withheld: hidden && query.queue.is_some_and(turned_away),
        flips: (flips != Timestamp::MAX.micros()).then_some(Timestamp::from_micros(flips)),
    }
}

/// Whether an entry is under a name that the tenant reads as the customer's.
///
/// Other names of a mail address are filed whatever the tenant says, so that it may change its mind.
fn counts(view: &TenantView, entry: &Entry) -> bool {
    view.tenant.email_fold
        || entry.match_kind() != MatchKind::Alias
        || entry.kind != IdentityKind::EmailAddress as u8
}

/// Whether a ban is to be reported rather than another: lifting the other would change nothing.
fn outlasts(one: &Entry, other: &Entry) -> bool {
    (other.ends, one.ban) < (one.ends, other.ban)
}

fn matched(view: &TenantView, entry: &Entry, probe: &Probe) -> Match {
    let match_kind = match entry.match_kind() {
        MatchKind::Exact if probe.of.alias => MatchKind::Alias,
        filed => filed,
    };
    Match {
        ban: entry.ban,
        list_id: view.list(entry.list).map(|list| list.list_id.clone()),
        match_kind,
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
