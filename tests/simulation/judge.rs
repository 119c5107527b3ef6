//! The judge: looks at every answer and every step of every pod the moment it is seen, knowing all
//! revisions of all histories.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bancheck::{
    domain::{
        ids::{BanId, TenantId},
        revision::{Epoch, Position},
        view::TenantView,
    },
    feed::Shelf as _,
};
use tokio::sync::Notify;

use super::{
    Plan,
    database::Database,
    history::{Row, Tenant},
    pod::Pod,
    shelf,
    trace::{Trace, Violation},
};

/// A promise that was broken, by its clause, and how.
pub(super) type Wrong = (&'static str, String);

/// Where a pod was seen.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) position: Position,
    pub(super) row: Arc<Row>,
}

#[derive(Default)]
pub(super) struct PodBook {
    pub(super) seen: Vec<Seen>,
    /// Where the positions of the present process begin.
    pub(super) since: usize,
    /// What was compared last: a view and the rows it should be.
    compared: HashMap<TenantId, (Arc<TenantView>, Arc<Tenant>)>,
}

pub(super) struct Book {
    pub(super) trace: Trace,
    violation: Option<Box<Violation>>,
    pub(super) pods: Vec<PodBook>,
    /// Requests of which it was said that nothing was written: tenant, operation, id.
    nothing_of: Vec<(TenantId, &'static str, String)>,
    /// The ban that each request made, as it was said first.
    made: HashMap<String, Option<BanId>>,
    /// Whether nothing is wrong any more, so that nothing may be refused either.
    pub(super) quiet: bool,
}

/// The judge of one run.
pub(crate) struct Judge {
    seed: u64,
    /// Whether the feed is held up between its steps, so that for moments a view is ahead of what
    /// the pod says of itself.
    pub(super) stumbles: bool,
    pub(crate) database: Arc<Database>,
    book: Mutex<Book>,
    /// Told when something was found.
    pub(crate) found: Notify,
}

impl Judge {
    /// A judge over so many pods.
    pub(crate) fn new(seed: u64, database: &Arc<Database>, pods: usize, plan: Plan) -> Arc<Self> {
        let book = Book {
            trace: Trace::new(plan.whole),
            violation: None,
            pods: (0..pods).map(|_| PodBook::default()).collect(),
            nothing_of: Vec::new(),
            made: HashMap::new(),
            quiet: false,
        };
        Arc::new(Self {
            seed,
            stumbles: plan.stumbles,
            database: Arc::clone(database),
            book: Mutex::new(book),
            found: Notify::new(),
        })
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// True time.
    pub(crate) fn time(&self) -> Duration {
        self.database.start.elapsed()
    }

    /// Takes an event down.
    pub(crate) fn note(&self, event: fmt::Arguments<'_>) {
        let at = self.time();
        self.book().trace.note(at, event);
    }

    /// Says that a promise was broken; the first one counts.
    pub(crate) fn accuse(&self, clause: &'static str, what: String) {
        let at = self.time();
        let raises = self.database.ground().raises;
        let mut book = self.book();
        book.trace.raises = raises;
        if book.violation.is_none() {
            book.violation = Some(Box::new(Violation {
                seed: self.seed,
                clause,
                at,
                what,
                trace: book.trace.clone(),
            }));
            self.found.notify_one();
        }
    }

    /// What came of the run.
    pub(crate) fn verdict(&self) -> Result<Trace, Box<Violation>> {
        let raises = self.database.ground().raises;
        let mut book = self.book();
        book.trace.raises = raises;
        match book.violation.take() {
            Some(violation) => Err(violation),
            None => Ok(std::mem::take(&mut book.trace)),
        }
    }

    /// From here on nothing is wrong any more.
    pub(crate) fn all_quiet(&self) {
        self.book().quiet = true;
    }

    /// A pod begins a new process.
    pub(crate) fn started(&self, pod: usize) {
        let mut book = self.book();
        let pod = &mut book.pods[pod];
        pod.since = pod.seen.len();
        pod.compared.clear();
    }

    /// Looks where a pod stands, and whether its views are what they should be there.
    pub(crate) fn look(&self, pod: &Pod) {
        let Some(standing) = pod.feed.standing() else {
            return;
        };
        self.stands(pod.name, pod.process, standing.position);
        let raised = self.database.ground().raised.take();
        if let Some((from, to, forked)) = raised {
            self.note(format_args!(
                "the epoch is raised from {} to {}",
                from.0, to.0
            ));
            if !forked && !self.anybody_is_lost(from) {
                let what = format!("the epoch was raised from {} and no history forked", from.0);
                self.accuse("an epoch is one history", what);
            }
        }
        if !self.stumbles || self.book().quiet {
            self.compare(pod);
        }
    }

    /// Whether some pod stands in a history that is gone: it had to raise the epoch to say so.
    fn anybody_is_lost(&self, epoch: Epoch) -> bool {
        let head = self.database.head();
        let book = self.book();
        let mut lasts = book.pods.iter().filter_map(|pod| pod.seen.last());
        lasts.any(|last| last.position.epoch > epoch || !head.includes(&last.row))
    }

    /// Compares the views of a pod with the rows as they were at its position.
    fn compare(&self, pod: &Pod) {
        let row = {
            let book = self.book();
            book.pods[pod.name]
                .seen
                .last()
                .map(|seen| Arc::clone(&seen.row))
        };
        let Some(row) = row else { return };
        for tenant in row.tenants.keys() {
            let Some(view) = pod.views.view(tenant) else {
                continue;
            };
            let row = match &view.behind {
                None => Arc::clone(&row),
                // It is kept for stale answers, as it was.
                Some(behind) => match self.database.row(behind.at.anchor) {
                    Some(row) => row,
                    None => continue,
                },
            };
            let rows = &row.tenants[tenant];
            let known = {
                let book = self.book();
                let compared = book.pods[pod.name].compared.get(tenant);
                compared
                    .is_some_and(|(old, same)| Arc::ptr_eq(old, &view) && Arc::ptr_eq(same, rows))
            };
            if known {
                continue;
            }
            if let Err(difference) = shelf::compare(&view, rows) {
                let what = format!(
                    "pod {}: the view of {tenant} is not its state at row #{}: {difference}",
                    pod.name, row.number
                );
                self.accuse("C-5", what);
            }
            let mut book = self.book();
            let compared = &mut book.pods[pod.name].compared;
            compared.insert(tenant.clone(), (view, Arc::clone(rows)));
        }
    }

    /// A pod was seen at a position.
    pub(crate) fn stands(&self, pod: usize, process: usize, position: Position) {
        let (last, same_process) = {
            let book = self.book();
            let pod = &book.pods[pod];
            (pod.seen.last().cloned(), pod.seen.len() > pod.since)
        };
        if same_process && last.as_ref().is_some_and(|last| last.position == position) {
            return;
        }
        let revision = position.anchor.revision.0;
        let Some(row) = self.database.row(position.anchor) else {
            let what = format!(
                "pod {pod} says it has applied revision {revision}, which no \
                                history has with that nonce"
            );
            return self.accuse("C-3", what);
        };
        self.note(format_args!(
            "pod {pod}.{process} stands at row #{} (revision {revision}) in epoch {}",
            row.number, position.epoch.0
        ));
        if let Some(last) = last {
            let (was, is) = (last.position.epoch.0, position.epoch.0);
            if is < was {
                let what = format!("pod {pod} went from epoch {was} back to {is}");
                self.accuse("C-2", what);
            } else if is == was && !row.includes(&last.row) {
                let what = format!(
                    "pod {pod} went from row #{} to row #{} in one epoch, which does not follow it",
                    last.row.number, row.number
                );
                self.accuse("C-2", what);
            }
        }
        self.book().pods[pod].seen.push(Seen { position, row });
    }

    /// A write was acknowledged.
    pub(crate) fn acknowledged(
        &self,
        pod: usize,
        (tenant, rpc, id): (&TenantId, &'static str, &str),
        made: Option<BanId>,
        token: &str,
    ) {
        self.note(format_args!("pod {pod} acknowledges {id}"));
        self.book().trace.writes += 1;
        let rows = self.database.committed(tenant, rpc, id);
        if rows.is_empty() {
            let what = format!("pod {pod} acknowledged {id}, which was never committed");
            return self.accuse("C-6", what);
        }
        let same = *self.book().made.entry(id.to_owned()).or_insert(made) == made;
        if !same && rows.len() == 1 {
            let what = format!("{id} was acknowledged twice with different bans");
            self.accuse("C-6", what);
        }
        let head = self.database.head();
        let Some(row) = rows.iter().find(|row| head.includes(row)) else {
            // A fork lost it after it was committed.
            return;
        };
        match self.read(token) {
            Err((clause, what)) => self.accuse(clause, what),
            Ok((_, said)) if !said.includes(row) && head.includes(&said) => {
                let what = format!(
                    "{id} is row #{}, and its token says row #{}",
                    row.number, said.number
                );
                self.accuse("a token includes its write", what);
            }
            Ok(_) => {}
        }
        let there = {
            let book = self.book();
            book.pods[pod].seen.last().map(|seen| Arc::clone(&seen.row))
        };
        if there.is_some_and(|there| head.includes(&there) && !there.includes(row)) {
            let what = format!(
                "{id} is row #{}, which pod {pod} has not applied",
                row.number
            );
            self.accuse("acknowledged once applied", what);
        }
    }

    /// It was said that nothing was written, and nobody else tried the same.
    pub(crate) fn said_nothing_of(&self, tenant: &TenantId, rpc: &'static str, id: &str) {
        let said = (tenant.clone(), rpc, id.to_owned());
        self.book().nothing_of.push(said);
    }

    /// A position that a pod was seen at, that is in no history any more, and that tokens of this
    /// epoch could be taken for.
    pub(crate) fn lost_in(&self, epoch: Epoch) -> Option<String> {
        let head = self.database.head();
        let book = self.book();
        let all = book.pods.iter().enumerate();
        all.flat_map(|(pod, book)| book.seen.iter().map(move |seen| (pod, seen)))
            .find(|(_, seen)| seen.position.epoch >= epoch && !head.includes(&seen.row))
            .map(|(pod, seen)| {
                format!(
                    "pod {pod} was at row #{} in epoch {}, which a fork lost, and the epoch is {}",
                    seen.row.number, seen.position.epoch.0, epoch.0
                )
            })
    }

    /// Looks once more at what was written, when all is over.
    pub(crate) fn close(&self) {
        let said = std::mem::take(&mut self.book().nothing_of);
        for (tenant, rpc, id) in said {
            if !self.database.committed(&tenant, rpc, &id).is_empty() {
                let what = format!("it was said that nothing came of {id}, and it was committed");
                self.accuse("nothing was written", what);
            }
        }
        if let Some(what) = returned(&self.database.head()) {
            self.accuse("C-6", what);
        }
    }
}

/// A ban that had ended and stands again, or is gone, in the history of a row.
fn returned(head: &Row) -> Option<String> {
    for (later, earlier) in head.back().zip(head.back().skip(1)) {
        for (tenant, rows) in later.tenants.iter() {
            let before = earlier.tenants.get(tenant)?;
            if Arc::ptr_eq(rows, before) {
                continue;
            }
            for (id, old) in &before.bans {
                let kept = rows.bans.get(id);
                if kept.is_none_or(|kept| old.ban.ended && !kept.ban.ended) {
                    let made = old.made;
                    return Some(format!(
                        "the ban of row #{made} returned at row #{}",
                        later.number
                    ));
                }
            }
        }
    }
    None
}
