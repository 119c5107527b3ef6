//! Judging rows while the rows before them are being written.
//!
//! What rows are judged by is certain only in the transaction that writes them. It hardly ever changes in
//! the middle of an import, so each chunk is judged by what the last one found, and once more where its
//! own transaction finds something else.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::spawn_blocking;

use super::{Import, ImportRow};
use crate::{
    desk::{Circumstances, Desk, create::prepare_with, internal},
    domain::{clock::Timestamp, list::BanList, policy::TenantSettings, refusal::Refusal},
    store::NewBan,
};

/// How much later a ban may be written than it says that it was made, in microseconds.
const FRESH: i64 = 1_000_000;

/// What rows are judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) settings: TenantSettings,
    pub(super) list: Option<BanList>,
}

/// What the last chunk was judged by, and of what instant its bans are, if there was one.
#[derive(Clone, Default)]
pub(super) struct LastChunk(Arc<Mutex<Option<(Rules, Timestamp)>>>);

/// Judges rows of an import before their turn to be written comes.
#[derive(Clone)]
pub struct Judge {
    desk: Desk,
    about: Circumstances,
    last: LastChunk,
}

/// Rows, and what came of judging them, where that was possible.
#[derive(Default)]
pub struct JudgedRows {
    rows: Vec<ImportRow>,
    ahead: Option<Judgment>,
}

struct Judgment {
    rules: Rules,
    at: Timestamp,
    bans: Vec<Result<NewBan, Refusal>>,
}

impl LastChunk {
    fn get(&self) -> Option<(Rules, Timestamp)> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, rules: &Rules, at: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((rules.clone(), at));
    }
}

impl Import {
    /// Who judges the rows of this import.
    pub fn judge(&self) -> Judge {
        let about = Circumstances {
            now: self.desk.now(),
            tenant: self.order.tenant.clone(),
            actor: self.order.actor.clone(),
            keys: self.desk.keys.clone(),
        };
        Judge {
            desk: self.desk.clone(),
            about,
            last: self.last_chunk.clone(),
        }
    }
}

impl Judge {
    /// Judges rows by what the last chunk was judged by.
    ///
    /// That takes milliseconds, and is done on a thread of its own: on one of the runtime's it would keep
    /// waiting what the same task has just set going, which is to write the chunk before.
    pub async fn judge(&self, rows: Vec<ImportRow>) -> Result<JudgedRows, Refusal> {
        let this = self.clone();
        let judged = spawn_blocking(move || this.judge_here(rows)).await;
        judged.map_err(|_| internal())
    }

    fn judge_here(&self, rows: Vec<ImportRow>) -> JudgedRows {
        let ahead = self.last.get().map(|(rules, _)| {
            let about = Circumstances {
                now: self.desk.now(),
                ..self.about.clone()
            };
            Judgment {
                bans: judge(&rows, &rules, &about),
                at: about.now,
                rules,
            }
        });
        JudgedRows { rows, ahead }
    }
}

impl JudgedRows {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows by their numbers, as they are judged by these rules.
    pub(super) fn by(
        self,
        rules: &Rules,
        about: &Circumstances,
        last: &LastChunk,
    ) -> Vec<(i32, Result<NewBan, Refusal>)> {
        let newest = last.get().map(|(_, at)| at);
        let holds = |ahead: &Judgment| {
            let age = about.now.micros() - ahead.at.micros();
            // What was to come may have come by now.
            let come = |new: &NewBan| {
                let times = [new.ban.start, new.ban.expire];
                times.into_iter().flatten().any(|time| time <= about.now)
            };
            ahead.rules == *rules
                && (0..=FRESH).contains(&age)
                // Bans of one chunk are no older than those of the chunk before.
                && newest.is_none_or(|newest| newest <= ahead.at)
                && !ahead.bans.iter().flatten().any(come)
        };
        let ahead = self.ahead.filter(holds);
        last.set(rules, ahead.as_ref().map_or(about.now, |ahead| ahead.at));
        let bans = match ahead {
            Some(ahead) => ahead.bans,
            None => judge(&self.rows, rules, about),
        };
        let numbers = self.rows.iter().map(|row| row.number);
        numbers.zip(bans).collect()
    }
}

fn judge(rows: &[ImportRow], rules: &Rules, about: &Circumstances) -> Vec<Result<NewBan, Refusal>> {
    let key = about.keys.tenant(&about.tenant);
    let judge = |row: &ImportRow| {
        let asked = row.ban.as_ref().map_err(Clone::clone)?;
        let (new, _) = prepare_with(&key, asked, &rules.settings, rules.list.as_ref(), about)?;
        Ok(new)
    };
    rows.iter().map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        desk::{CreateBan, End, TargetGiven},
        domain::{
            ban::{Enforcement, Origin},
            channel::Channels,
            identity::IdentityKind,
            ids::TenantId,
            keys::MasterKey,
            refusal::Reason,
        },
    };

    const THEN: Timestamp = Timestamp::from_micros(1_750_000_000_000_000);

    fn row(end: End) -> ImportRow {
        let target = TargetGiven {
            kind: Some(IdentityKind::PhoneNumber),
            value: "601 123 456".to_owned(),
            issuer: String::new(),
            region_hint: String::new(),
        };
        let ban = CreateBan {
            list_id: None,
            channels: Channels::NONE,
            targets: vec![target],
            match_kind: None,
            reason: String::new(),
            reason_code: String::new(),
            end,
            start: None,
            enforcement: Enforcement::Enforced,
            override_warnings: false,
            origin: Origin::Import,
        };
        ImportRow {
            number: 7,
            ban: Ok(ban),
        }
    }

    fn in_region(region: &str) -> Rules {
        let settings = TenantSettings {
            default_region: region.to_owned(),
            ..TenantSettings::default()
        };
        Rules {
            settings,
            list: None,
        }
    }

    fn at(micros: i64) -> Circumstances {
        Circumstances {
            now: THEN.plus_micros(micros),
            tenant: TenantId::parse("one").unwrap(),
            actor: "alice".to_owned(),
            keys: MasterKey::new(&[7; 32]),
        }
    }

    /// A row that was judged by the rules of Czechia, seen by these rules at this instant.
    fn seen(end: End, rules: &Rules, about: &Circumstances) -> Result<NewBan, Refusal> {
        seen_after(row(end), rules, about, &LastChunk::default())
    }

    fn seen_after(
        row: ImportRow,
        rules: &Rules,
        about: &Circumstances,
        last: &LastChunk,
    ) -> Result<NewBan, Refusal> {
        let rows = vec![row];
        let ahead = Judgment {
            bans: judge(&rows, &in_region("CZ"), &at(0)),
            at: THEN,
            rules: in_region("CZ"),
        };
        let ahead = Some(ahead);
        let mut seen = JudgedRows { rows, ahead }.by(rules, about, last);
        let (number, ban) = seen.pop().unwrap();
        assert_eq!((number, seen.len()), (7, 0));
        ban
    }

    #[test]
    fn a_row_judged_ahead_is_not_judged_again() {
        let ban = seen(End::Never, &in_region("CZ"), &at(FRESH)).unwrap().ban;
        assert_eq!(ban.created, THEN);
        assert_eq!(ban.targets[0].canonical, "+420601123456");
    }

    #[test]
    fn where_the_rules_are_others_by_now_a_row_is_judged_by_those() {
        let ban = seen(End::Never, &in_region("PL"), &at(5)).unwrap().ban;
        assert_eq!(ban.created, at(5).now);
        assert_eq!(ban.targets[0].canonical, "+48601123456");
    }

    #[test]
    fn a_row_whose_judgment_is_old_or_of_the_future_is_judged_again() {
        for micros in [FRESH + 1, -1] {
            let ban = seen(End::Never, &in_region("CZ"), &at(micros)).unwrap().ban;
            assert_eq!(ban.created, at(micros).now);
        }
    }

    #[test]
    fn a_ban_that_is_over_before_it_is_written_is_refused_though_it_was_judged_ahead() {
        let end = End::At(THEN.plus_micros(10));
        let refused = seen(end, &in_region("CZ"), &at(10)).unwrap_err();
        assert_eq!(refused.reason, Reason::ExpireTimeInPast);
        assert!(seen(end, &in_region("CZ"), &at(9)).is_ok());
    }

    #[test]
    fn rows_are_judged_ahead_only_by_rules_that_a_chunk_was_judged_by() {
        let last = LastChunk::default();
        assert_eq!(last.get(), None);
        let rows = JudgedRows {
            rows: vec![row(End::Never)],
            ahead: None,
        };
        let ban = rows
            .by(&in_region("CZ"), &at(0), &last)
            .pop()
            .unwrap()
            .1
            .unwrap()
            .ban;
        assert_eq!(ban.created, THEN);
        assert_eq!(last.get(), Some((in_region("CZ"), THEN)));
    }

    #[test]
    fn a_beginning_that_passes_before_the_row_is_written_is_no_beginning_to_come() {
        let mut scheduled = row(End::Never);
        let start = THEN.plus_micros(10);
        scheduled.ban.as_mut().unwrap().start = Some(start);
        let last = LastChunk::default();
        let early = seen_after(scheduled, &in_region("CZ"), &at(9), &last);
        assert_eq!(early.unwrap().ban.start, Some(start));
        let mut scheduled = row(End::Never);
        scheduled.ban.as_mut().unwrap().start = Some(start);
        let late = seen_after(scheduled, &in_region("CZ"), &at(10), &last);
        assert_eq!(late.unwrap().ban.start, None);
    }

    #[test]
    fn no_chunk_is_of_an_earlier_instant_than_the_one_before_it() {
        let last = LastChunk::default();
        last.set(&in_region("CZ"), at(3).now);
        let ban = seen_after(row(End::Never), &in_region("CZ"), &at(5), &last);
        assert_eq!(ban.unwrap().ban.created, at(5).now);
        assert_eq!(last.get().unwrap().1, at(5).now);
    }
}
