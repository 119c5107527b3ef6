//! What a transaction on the model database tells, and what it writes where the flaw is that nobody
//! kept its tenant's row.

use std::{collections::BTreeSet, sync::Arc};

use bancheck::domain::{
    ids::{BanId, ExceptionId, ListId},
    record::{BanRecord, Change, ExceptionNews},
};

use super::history::{Tenant, list_record};

/// What the feed row will be about.
#[derive(Default)]
pub(super) enum Touched {
    #[default]
    Nothing,
    Bans(BTreeSet<BanId>),
    List(ListId),
    Exceptions(BTreeSet<ExceptionId>),
    Several,
}

/// What the feed row of a transaction tells: how the rows stand that it touched (S-11).
pub(super) fn told(touched: &Touched, after: &Tenant) -> Option<Change> {
    Some(match touched {
        Touched::Nothing => return None,
        Touched::Several => Change::Reload,
        Touched::List(list) => Change::List(list_record(&after.lists[list])),
        Touched::Exceptions(ids) => {
            let records = ids.iter().map(|id| after.exceptions[id].record());
            Change::Exceptions(ExceptionNews {
                exceptions: records.collect(),
                protections: Vec::new(),
            })
        }
        Touched::Bans(bans) => {
            let records: Vec<BanRecord> = bans.iter().map(|ban| after.bans[ban].record()).collect();
            Change::Bans(records)
        }
    })
}

/// Writes into the rows as they are now only what a request meant to change.
pub(super) fn merged(before: &Tenant, after: &Tenant, now: &Tenant) -> Tenant {
    let mut rows = now.clone();
    for (id, theirs) in &after.bans {
        let Some(mine) = rows.bans.get_mut(id) else {
            rows.bans.insert(*id, Arc::clone(theirs));
            continue;
        };
        let Some(old) = before.bans.get(id) else {
            continue;
        };
        let kept = Arc::make_mut(mine);
        macro_rules! take {
            ($($field:ident)+) => {$(
                if theirs.ban.$field != old.ban.$field {
                    kept.ban.$field = theirs.ban.$field.clone();
                }
            )+};
        }
        take!(channels reason enforcement start expire ended deactivated version);
        if theirs.likeness != old.likeness {
            kept.likeness = theirs.likeness;
        }
    }
    for (id, theirs) in &after.exceptions {
        match rows.exceptions.get_mut(id) {
            Some(mine) if theirs.exception.ended => *mine = Arc::clone(theirs),
            Some(_) => {}
            None => {
                rows.exceptions.insert(*id, Arc::clone(theirs));
            }
        }
    }
    for (id, theirs) in &after.lists {
        if let (Some(mine), Some(old)) = (rows.lists.get_mut(id), before.lists.get(id)) {
            mine.queues
                .retain(|queue| theirs.queues.contains(queue) || !old.queues.contains(queue));
            let added = theirs.queues.difference(&old.queues).cloned();
            mine.queues.extend(added);
        }
    }
    rows
}
