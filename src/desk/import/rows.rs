//! One chunk of an import.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::{
    ImportTerms,
    judge::{JudgedRows, LastChunk, Rules},
    seen::Seen,
};
use crate::{
    desk::{Circumstances, Failure, Job, create::duplicate, lists::no_list, spared::Spared},
    domain::{
        ban::BanId,
        import::{MAX_FAILURES, OnDuplicate, Tally},
        refusal::Refusal,
    },
    store::{Added, Answer, NewBan, Renewal, Work},
};

/// The generation that a dry run of a replacement is judged under, which is given to no list.
const NEVER_GIVEN: u32 = i32::MAX.cast_unsigned();

/// Writes some rows of an import.
pub(super) struct ImportRows {
    pub(super) terms: ImportTerms,
    pub(super) import_id: String,
    pub(super) staged: Option<u32>,
    /// How many rows came before.
    pub(super) first: u64,
    pub(super) rows: JudgedRows,
    /// What is kept of each chunk for the next.
    pub(super) last_chunk: LastChunk,
    /// How many failures will be told already.
    pub(super) told: usize,
    /// What would have been made so far, where this is only tried.
    pub(super) seen: Option<Arc<Mutex<Seen>>>,
}

/// What became of the rows so far.
struct Count {
    tally: Tally,
    terms: ImportTerms,
    told: usize,
    renewals: HashMap<BanId, Renewal>,
}

impl Count {
    fn fail(&mut self, row: i32, refusal: &Refusal) {
        self.tally.failed += 1;
        if self.told < MAX_FAILURES {
            self.told += 1;
            let told = (self.terms.tell)(refusal);
            self.tally.failures.push((row, told));
        }
    }

    /// Counts a row whose ban stands; one that only would stand has no id yet.
    fn repeat(&mut self, row: i32, standing: Option<BanId>, new: NewBan) {
        match self.terms.on_duplicate {
            OnDuplicate::Skip => self.tally.duplicates += 1,
            OnDuplicate::Fail => self.fail(row, &duplicate(standing)),
            OnDuplicate::Update => {
                self.tally.updated += 1;
                if let Some(ban) = standing {
                    // Of several rows the last one counts.
                    self.renewals.insert(
                        ban,
                        Renewal {
                            ban,
                            reason: new.ban.reason,
                            reason_code: new.ban.reason_code,
                            start: new.ban.start,
                            expire: new.ban.expire,
                        },
                    );
                }
            }
        }
    }
}

#[async_trait]
impl Job for ImportRows {
    const RPC: &'static str = "ImportBans/rows";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let list = match &self.terms.list_id {
            None => None,
            Some(list_id) => Some(work.list(list_id).await?.ok_or_else(no_list)?),
        };
        let rules = Rules {
            settings: work.settings().clone(),
            list,
        };
        let mut count = Count {
            tally: Tally {
                rows: u64::try_from(self.rows.len()).unwrap_or(u64::MAX),
                ..Tally::default()
            },
            terms: self.terms.clone(),
            told: self.told,
            renewals: HashMap::new(),
        };
        let staged = match (self.terms.replace, self.staged) {
            (false, _) => None,
            (true, staged) => Some(
                staged
                    .filter(|_| self.seen.is_none())
                    .unwrap_or(NEVER_GIVEN),
            ),
        };
        let mut read = Vec::new();
        for (number, judged) in self.rows.by(&rules, about, &self.last_chunk) {
            match judged {
                Ok(new) => read.push((number, new)),
                Err(refusal) => count.fail(number, &refusal),
            }
        }
        let all: Vec<_> = read.iter().map(|(_, new)| &new.ban).collect();
        let spared = Spared::read(work, about, &all).await?;
        let (mut numbers, mut bans) = (Vec::new(), Vec::new());
        for (number, mut new) in read {
            if spared.spares_from(&new.ban) {
                count.tally.excepted += 1;
                continue;
            }
            if let Err(refusal) = spared.judge(&new.ban) {
                count.fail(number, &refusal);
                continue;
            }
            if would_stand(self.seen.as_ref(), &new) {
                count.repeat(number, None, new);
                continue;
            }
            new.ban.import_id.clone_from(&self.import_id);
            new.generation = staged.unwrap_or(new.generation);
            numbers.push(number);
            bans.push(new);
        }
        let added = work.add_bans(&bans).await?;
        let mut made = Vec::new();
        for ((number, new), added) in numbers.into_iter().zip(bans).zip(added) {
            match added {
                Added::Made => {
                    count.tally.created += 1;
                    made.push(new.likeness);
                }
                Added::Alike(standing) => count.repeat(number, Some(standing), new),
            }
        }
        let renewals: Vec<Renewal> = count.renewals.into_values().collect();
        if !renewals.is_empty() {
            work.renew_bans(&renewals).await?;
        }
        if let Some(seen) = self.seen {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.note(made.into_iter());
        }
        let tally = count.tally;
        if tally.wrote() {
            let (from, to) = (self.first + 1, self.first + tally.rows);
            let comment = format!(
                "import {}, rows {from} to {to}: {} made, {} changed, {} there already, {} \
                 excepted, {} failed",
                self.import_id,
                tally.created,
                tally.updated,
                tally.duplicates,
                tally.excepted,
                tally.failed
            );
            work.note(&about.event(None, "IMPORTED", &comment)).await?;
        }
        Ok(Answer {
            tally: Some(tally),
            ..Answer::default()
        })
    }
}

fn would_stand(seen: Option<&Arc<Mutex<Seen>>>, new: &NewBan) -> bool {
    seen.is_some_and(|seen| {
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.holds(&new.likeness)
    })
}
