//! What a check should have said at a revision and an instant: the feed's rows read the simplest
//! way there is, with nothing of the product's views or of its decision.

use std::collections::{BTreeMap, HashMap};

use bancheck::domain::{
    ban::Enforcement,
    channel::Channel,
    clock::Timestamp,
    ids::BanId,
    record::{BanRecord, Change},
};

use crate::{
    cast::{queue, tenant_of},
    record::{Question, Verdict},
    witness::History,
};

/// How a list stood from a revision on.
#[derive(Clone, Debug)]
struct ListState {
    generation: u32,
    holds: bool,
    shadow: bool,
    queues: Vec<String>,
}

/// All bans and lists of one history, each with every state it ever had.
#[derive(Debug, Default)]
pub(crate) struct Model {
    bans: HashMap<(u8, u16), Vec<(u64, BanRecord)>>,
    lists: HashMap<u8, Vec<(u64, ListState)>>,
}

/// When a ban is over; never is later than everything.
pub(crate) fn end_of(ban: &BanRecord) -> i64 {
    ban.expire.map_or(i64::MAX, Timestamp::micros)
}

fn start_of(ban: &BanRecord) -> i64 {
    ban.start.map_or(i64::MIN, Timestamp::micros)
}

impl Model {
    /// Reads a history; `targets` tells on whom each ban is.
    pub(crate) fn of(history: &History, targets: &HashMap<BanId, (u8, Vec<u16>)>) -> Self {
        let mut model = Self::default();
        for row in &history.rows {
            let revision = row.anchor.revision.0;
            let tenant = row.tenant.as_ref().and_then(|id| tenant_of(id.as_str()));
            match &row.change {
                Change::Bans(bans) => {
                    for ban in bans {
                        // A ban without a target is found by the look at the rows.
                        let Some((tenant, callers)) = targets.get(&ban.ban) else {
                            continue;
                        };
                        for caller in callers {
                            let states = model.bans.entry((*tenant, *caller)).or_default();
                            states.push((revision, ban.clone()));
                        }
                    }
                }
                Change::List(list) => {
                    let state = ListState {
                        generation: list.generation,
                        holds: !list.deleted,
                        shadow: list.enforcement == Enforcement::Shadow,
                        queues: list.queues.clone(),
                    };
                    let tenant = tenant.expect("a list has a tenant");
                    let states = model.lists.entry(tenant).or_default();
                    states.push((revision, state));
                }
                // No writer of the torture makes an exception, a policy or a key.
                Change::Tenant(_)
                | Change::Queue(_)
                | Change::Exceptions(_)
                | Change::Access(_)
                | Change::Reload => {}
            }
        }
        model
    }

    fn bans(&self, question: &Question) -> impl Iterator<Item = &(u64, BanRecord)> {
        question
            .callers
            .into_iter()
            .filter_map(move |caller| self.bans.get(&(question.tenant, caller)))
            .flatten()
    }

    /// The revisions of a span at which an answer to this question may change, the first included.
    pub(crate) fn turns(&self, question: &Question, from: u64, to: u64) -> Vec<u64> {
        let lists = self.lists.get(&question.tenant).into_iter().flatten();
        let mut turns: Vec<u64> = self
            .bans(question)
            .map(|(revision, _)| *revision)
            .chain(lists.map(|(revision, _)| *revision))
            .filter(|revision| (from..=to).contains(revision))
            .chain([from])
            .collect();
        turns.sort_unstable();
        turns.dedup();
        turns
    }

    /// The instants of a span at which it may change by time alone, the first included.
    pub(crate) fn instants(&self, question: &Question, from: i64, to: i64) -> Vec<i64> {
        let mut instants: Vec<i64> = self
            .bans(question)
            .flat_map(|(_, ban)| [start_of(ban), end_of(ban)])
            .filter(|at| (from..=to).contains(at))
            .chain([from])
            .collect();
        instants.sort_unstable();
        instants.dedup();
        instants
    }

    /// How every ban stands at a revision, by its id.
    pub(crate) fn standing(&self, question: &Question, at: u64) -> BTreeMap<BanId, &BanRecord> {
        self.bans(question)
            .filter(|(revision, _)| *revision <= at)
            .map(|(_, ban)| (ban.ban, ban))
            .collect()
    }

    /// The same for people.
    pub(crate) fn told(&self, question: &Question, at: u64) -> String {
        let one = |ban: &BanRecord| {
            format!(
                "{} from {:?} to {:?}, list {}, {:?}, {:?}, ended {}",
                ban.ban,
                ban.start.map(Timestamp::micros),
                ban.expire.map(Timestamp::micros),
                ban.generation,
                ban.channels,
                ban.enforcement,
                ban.ended
            )
        };
        let standing = self.standing(question, at);
        standing
            .into_values()
            .map(one)
            .collect::<Vec<_>>()
            .join("; ")
    }

    /// The list of this number at a revision; the newest state wins.
    fn list(&self, tenant: u8, generation: u32, at: u64) -> Option<&ListState> {
        let states = self.lists.get(&tenant)?;
        let mut past = states.iter().rev().filter(|(revision, _)| *revision <= at);
        let found = past.find(|(_, list)| list.generation == generation);
        found.map(|(_, list)| list).filter(|list| list.holds)
    }

    /// The answer.
    pub(crate) fn verdict(&self, question: &Question, at: u64, now: i64) -> Verdict {
        let channel = if question.by_text {
            Channel::Sms
        } else {
            Channel::Call
        };
        let mut verdict = Verdict::default();
        for (id, ban) in self.standing(question, at) {
            let in_time = start_of(ban) <= now && now < end_of(ban);
            if ban.ended || !in_time || !ban.channels.contains(channel) {
                continue;
            }
            let mut shadow = ban.enforcement == Enforcement::Shadow;
            if ban.generation != 0 {
                let Some(list) = self.list(question.tenant, ban.generation, at) else {
                    continue;
                };
                if question.queue == 0 || !list.queues.contains(&queue(question.queue)) {
                    continue;
                }
                shadow |= list.shadow;
            }
            let end = end_of(ban);
            if shadow {
                verdict.shadows.push(id);
            } else if verdict.deny.is_none_or(|(_, last)| last < end) {
                // In the order of ids, so the first of those that end together stays.
                verdict.deny = Some((id, end));
            }
        }
        verdict
    }
}
