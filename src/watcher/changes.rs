//! Rows of the feed as changes of bans: what happened to each, and how it stands.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{cursor_expired, history_lost};
use crate::{
    domain::{
        ban::{Ban, State},
        ids::{BanId, ListId, TenantId},
        record::{Change, News},
        refusal::{Reason, Refusal},
        revision::{Anchor, Nonce, Position},
    },
    store::{BanFilter, Event, MAX_CHUNK, Store, StoreError},
};

/// What happened to a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ChangeKind {
    /// It was made.
    Created = 1,
    /// It was changed.
    Updated = 2,
    /// It was lifted.
    Deactivated = 3,
    /// Its time came.
    Started = 4,
    /// Its time was over.
    Expired = 5,
    /// Its identities were erased.
    Erased = 6,
}

impl ChangeKind {
    fn of_action(action: &str) -> Option<Self> {
        Some(match action {
            "CREATED" => Self::Created,
            "UPDATED" => Self::Updated,
            "DEACTIVATED" => Self::Deactivated,
            "STARTED" => Self::Started,
            "EXPIRED" => Self::Expired,
            "ERASED" => Self::Erased,
            _ => return None,
        })
    }
}

/// A change of a ban.
#[derive(Debug)]
pub struct BanChange {
    /// What happened.
    pub kind: ChangeKind,
    /// To which ban.
    pub ban_id: BanId,
    /// Whose it is.
    pub tenant: TenantId,
    /// How it stands; `None` = nothing is left of it.
    pub ban: Option<Ban>,
    /// The row of the feed that tells of it.
    pub row: Anchor,
}

/// Some rows that are told together, and where the last of them is.
pub(super) struct Step {
    pub(super) through: Position,
    pub(super) rows: Vec<News>,
}

/// The action that tells of a list whose content was replaced.
const REPLACED: &str = "LIST_REPLACED";

/// The rows of the feed after a position, as far as one look goes and no further than `here`.
pub(super) async fn rows(
    store: &dyn Store,
    at: Position,
    here: Position,
) -> Result<Vec<News>, Refusal> {
    if at.epoch != here.epoch {
        return Err(history_lost());
    }
    let tail = store
        .tail(at.anchor.revision)
        .await
        .map_err(|error| unavailable(&error))?;
    if tail.in_recovery {
        return Err(silent());
    }
    let mut rows = tail.news;
    match rows.first() {
        Some(first) if first.anchor == at.anchor => {}
        _ if at.anchor.revision < tail.floor => return Err(cursor_expired()),
        _ => return Err(history_lost()),
    }
    rows.retain(|row| {
        row.anchor.revision > at.anchor.revision && row.anchor.revision <= here.anchor.revision
    });
    Ok(rows)
}

/// The rows in steps that each tell of about a thousand bans at the most.
pub(super) fn steps(at: Position, rows: Vec<News>) -> Vec<Step> {
    let weight = |row: &News| match &row.change {
        Change::Bans(bans) => bans.len(),
        _ => 1,
    };
    let mut steps: Vec<(usize, Step)> = Vec::new();
    for row in rows {
        let through = Position {
            epoch: at.epoch,
            anchor: row.anchor,
        };
        let more = weight(&row);
        match steps
            .last_mut()
            .filter(|(filled, _)| filled + more <= MAX_CHUNK)
        {
            Some((filled, step)) => {
                *filled += more;
                step.through = through;
                step.rows.push(row);
            }
            None => steps.push((
                more,
                Step {
                    through,
                    rows: vec![row],
                },
            )),
        }
    }
    steps.into_iter().map(|(_, step)| step).collect()
}

/// What some rows tell of the bans of the tenants that are wanted, in the rows' order.
pub(super) async fn of(
    store: &dyn Store,
    rows: &[News],
    wanted: impl Fn(&TenantId) -> bool,
) -> Result<Vec<Arc<BanChange>>, Refusal> {
    let mut tenants: Vec<&TenantId> = Vec::new();
    for tenant in rows.iter().filter_map(|row| row.tenant.as_ref()) {
        if !tenants.contains(&tenant) && wanted(tenant) {
            tenants.push(tenant);
        }
    }
    let mut all = Vec::new();
    for tenant in tenants {
        let its: Vec<&News> = rows
            .iter()
            .filter(|row| row.tenant.as_ref() == Some(tenant))
            .collect();
        let found = of_tenant(store, tenant, &its).await?;
        all.extend(found.into_iter().map(Arc::new));
    }
    // Of several tenants, the rows' own order again.
    all.sort_by_key(|change| change.row.revision);
    Ok(all)
}

async fn of_tenant(
    store: &dyn Store,
    tenant: &TenantId,
    rows: &[&News],
) -> Result<Vec<BanChange>, Refusal> {
    let nonces: Vec<Nonce> = rows.iter().map(|row| row.anchor.nonce).collect();
    let events = store.events_of(tenant, &nonces).await;
    let mut of_nonce: HashMap<Nonce, Vec<Event>> = HashMap::new();
    for (nonce, event) in events.map_err(|error| unavailable(&error))? {
        of_nonce.entry(nonce).or_default().push(event);
    }
    // What a row tells of, each ban once, and whether it is out for good.
    let mut told: Vec<(&News, Vec<(BanId, bool)>)> = Vec::new();
    for row in rows {
        let events = of_nonce
            .get(&row.anchor.nonce)
            .map_or(&[][..], Vec::as_slice);
        let mut bans: Vec<(BanId, bool)> = match &row.change {
            Change::Bans(records) => records
                .iter()
                .map(|record| (record.ban, record.ended))
                .collect(),
            _ => Vec::new(),
        };
        let known: HashSet<BanId> = bans.iter().map(|(ban, _)| *ban).collect();
        let others = events.iter().filter_map(|event| event.ban);
        for ban in others.filter(|ban| !known.contains(ban)) {
            if !bans.iter().any(|(other, _)| *other == ban) {
                bans.push((ban, false));
            }
        }
        for event in events.iter().filter(|event| event.action == REPLACED) {
            let content = content(store, tenant, &event.comment).await?;
            bans.extend(content.into_iter().map(|ban| (ban, false)));
        }
        told.push((row, bans));
    }
    let mut ids: Vec<BanId> = told
        .iter()
        .flat_map(|(_, bans)| bans.iter().map(|(ban, _)| *ban))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let mut standing: HashMap<BanId, Ban> = HashMap::with_capacity(ids.len());
    for some in ids.chunks(MAX_CHUNK) {
        let found = store.bans_of(tenant, some).await;
        let found = found.map_err(|error| unavailable(&error))?;
        standing.extend(found.into_iter().map(|ban| (ban.ban_id, ban)));
    }
    let mut changes = Vec::with_capacity(ids.len());
    for (row, bans) in told {
        let events = of_nonce
            .get(&row.anchor.nonce)
            .map_or(&[][..], Vec::as_slice);
        let own: HashMap<BanId, ChangeKind> = events
            .iter()
            .filter_map(|event| Some((event.ban?, ChangeKind::of_action(&event.action)?)))
            .collect();
        for (ban_id, ended) in bans {
            let ban = standing.get(&ban_id).cloned();
            let kind = match (own.get(&ban_id), &ban) {
                (Some(kind), _) => *kind,
                (None, Some(ban)) => unnamed(ban, ended, events),
                // What is staged and what was purged is nobody's business.
                (None, None) => continue,
            };
            let change = BanChange {
                kind,
                ban_id,
                tenant: tenant.clone(),
                ban,
                row: row.anchor,
            };
            changes.push(change);
        }
    }
    Ok(changes)
}

/// What happened to a ban that no event of its own tells of: it came or went with many others, or
/// made room for one just like it.
fn unnamed(ban: &Ban, ended: bool, events: &[Event]) -> ChangeKind {
    let made = events
        .iter()
        .any(|event| event.at == ban.created || event.action == REPLACED);
    match ended {
        true if ban.deactivated.is_some() => ChangeKind::Deactivated,
        true => ChangeKind::Expired,
        false if made => ChangeKind::Created,
        false => ChangeKind::Updated,
    }
}

/// The bans that stand in a list.
async fn content(store: &dyn Store, tenant: &TenantId, list: &str) -> Result<Vec<BanId>, Refusal> {
    let Some(list) = ListId::parse(list) else {
        return Ok(Vec::new());
    };
    let filter = BanFilter {
        lists: vec![list],
        states: vec![State::Active, State::Scheduled],
        now: Some(crate::domain::clock::Timestamp::MIN),
        ..BanFilter::default()
    };
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let found = store
            .ban_ids(tenant, &filter, after, i64::from(u16::MAX))
            .await;
        let found = found.map_err(|error| unavailable(&error))?;
        after = found.last().copied();
        if after.is_none() {
            return Ok(all);
        }
        all.extend(found);
    }
}

fn unavailable(error: &StoreError) -> Refusal {
    tracing::warn!(
        error = error.with_causes(),
        "the feed cannot be read for watchers"
    );
    silent()
}

fn silent() -> Refusal {
    let message = "the database does not answer; go on from the last token when it does";
    Refusal::new(Reason::StoreUnavailable, message)
}
