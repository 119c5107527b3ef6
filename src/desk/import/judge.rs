//! Judging rows while the rows before them are being written.
//!
//! What rows are judged by is certain only in the transaction that writes them. It hardly ever changes in
//! the middle of an import, so each chunk is judged by what the last one found, and once more where its
//! own transaction finds something else.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Import, ImportRow};
use crate::{
    desk::{Circumstances, Desk, create::prepare_with},
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

/// What the last chunk was judged by, if there was one.
#[derive(Clone, Default)]
pub(super) struct LastRules(Arc<Mutex<Option<Rules>>>);

/// Judges rows of an import before their turn to be written comes.
pub struct Judge {
    desk: Desk,
    about: Circumstances,
    last: LastRules,
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

impl LastRules {
    fn get(&self) -> Option<Rules> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, rules: &Rules) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(rules) {
            *last = Some(rules.clone());
        }
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
            last: self.last_rules.clone(),
        }
    }
}

impl Judge {
    /// Judges rows by what the last chunk was judged by.
    pub fn judge(&mut self, rows: Vec<ImportRow>) -> JudgedRows {
        let ahead = self.last.get().map(|rules| {
            self.about.now = self.desk.now();
            Judgment {
                bans: judge(&rows, &rules, &self.about),
                at: self.about.now,
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
        last: &LastRules,
    ) -> Vec<(i32, Result<NewBan, Refusal>)> {
        last.set(rules);
        let holds = |ahead: &Judgment| {
            let age = about.now.micros() - ahead.at.micros();
            ahead.rules == *rules && (0..=FRESH).contains(&age)
        };
        let bans = match self.ahead.filter(holds) {
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
