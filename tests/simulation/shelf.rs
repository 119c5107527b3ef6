//! Whether a view is a tenant's state: every key of every ban that stands, and nothing else.

use std::collections::BTreeSet;

use bancheck::domain::{
    ban::Enforcement,
    clock::Timestamp,
    view::{TenantView, index::Entry},
};

use super::history::{Kept, Tenant, checked_at};

/// Queues that any list of the simulation may be related to.
pub(crate) const QUEUES: [&str; 2] = ["sales", "support"];

/// Compares a view with the rows that it should show.
pub(crate) fn compare(view: &TenantView, rows: &Tenant) -> Result<(), String> {
    let mut keys = 0;
    for kept in rows.standing() {
        for key in &kept.keys {
            keys += 1;
            let found = view.find(key.space, key.key);
            match found.iter().find(|entry| entry.ban == kept.ban.ban_id) {
                None => return Err(format!("the ban of row #{} is not there", kept.made)),
                Some(entry) if !shows(entry, kept) => {
                    return Err(format!(
                        "the ban of row #{} stands otherwise there",
                        kept.made
                    ));
                }
                Some(_) => {}
            }
        }
    }
    if view.len() != keys {
        return Err(format!("it holds {} keys instead of {keys}", view.len()));
    }
    for queue in QUEUES {
        let there: BTreeSet<u32> = view.lists_at(queue).iter().copied().collect();
        if there != checked_at(rows, queue) {
            return Err(format!("other lists are checked at {queue}"));
        }
    }
    if *view.tenant == rows.record() {
        Ok(())
    } else {
        Err("the tenant's settings are others".to_owned())
    }
}

fn shows(entry: &Entry, kept: &Kept) -> bool {
    let ban = &kept.ban;
    entry.starts == ban.start.unwrap_or(Timestamp::MIN).micros()
        && entry.ends == ban.expire.unwrap_or(Timestamp::MAX).micros()
        && entry.list == kept.generation
        && entry.channels() == ban.channels
        && entry.is_shadow() == (ban.enforcement == Enforcement::Shadow)
}
