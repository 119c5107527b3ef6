//! How often bans match: counted beside the checks, written down in the background.
//!
//! A check that was matched leaves a mark in a queue of fixed size and goes on; where the queue is
//! full, for nobody empties it, the mark is dropped and that is counted. Counts are for people who
//! wonder whether a ban is of use: a pod that is killed forgets its last seconds, and a database
//! that does not say whether it has written a chunk may get it twice.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use crossbeam_queue::ArrayQueue;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        clock::Timestamp,
        decide::Verdict,
        ids::{BanId, TenantId},
    },
    store::{MAX_CHUNK, Matched, Store},
    telemetry::Counters,
};

/// How many marks wait to be counted at the most.
const MARKS: usize = 32_768;
/// How often they are: more than a hundred thousand a second are never dropped.
const COUNT: Duration = Duration::from_millis(250);
/// Of how many bans counts wait to be written down at the most.
const BANS: usize = 65_536;
/// How often they are.
const WRITE: Duration = Duration::from_secs(5);
/// How long the last ones may take, when the pod ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// A ban that a check was matched by.
struct Mark {
    tenant: TenantId,
    ban: BanId,
    at: Timestamp,
}

/// The marks of a pod's checks.
pub struct Tally {
    marks: ArrayQueue<Mark>,
    counters: Arc<Counters>,
}

impl Tally {
    /// One without a mark.
    pub fn new(counters: Arc<Counters>) -> Self {
        Self {
            marks: ArrayQueue::new(MARKS),
            counters,
        }
    }

    /// Marks the bans that a verdict names: the deciding one, and those that only watch.
    ///
    /// Waits for nobody and asks the allocator for nothing.
    pub fn mark(&self, tenant: &TenantId, verdict: &Verdict, at: Timestamp) {
        let deciding = verdict.deny.iter().map(|(found, _)| found);
        for found in deciding.chain(&verdict.shadows) {
            let mark = Mark {
                tenant: tenant.clone(),
                ban: found.ban,
                at,
            };
            if self.marks.push(mark).is_err() {
                self.counters.keeping.forgot_matches(1);
            }
        }
    }
}

/// Counts and writes down until told to stop, and then what is left.
pub async fn run(tally: Arc<Tally>, store: Arc<dyn Store>, stop: CancellationToken) {
    let mut book = Book {
        tally,
        store,
        counts: BTreeMap::new(),
    };
    let mut written = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep(COUNT) => {}
        }
        book.count();
        if written.elapsed() >= WRITE {
            book.write().await;
            written = Instant::now();
        }
    }
    book.count();
    if timeout(FAREWELL, book.write()).await.is_err() || !book.counts.is_empty() {
        tracing::warn!("the last matches of bans could not be written down");
    }
}

/// What has been counted and is not written down.
struct Book {
    tally: Arc<Tally>,
    store: Arc<dyn Store>,
    counts: BTreeMap<(TenantId, BanId), (u64, Timestamp)>,
}

impl Book {
    /// Counts the marks that are there now.
    fn count(&mut self) {
        // Not until there are none: new ones may come as fast as they are counted.
        for _ in 0..self.tally.marks.len() {
            let Some(Mark { tenant, ban, at }) = self.tally.marks.pop() else {
                return;
            };
            let full = self.counts.len() >= BANS;
            match self.counts.entry((tenant, ban)) {
                Entry::Occupied(mut known) => {
                    let (count, last) = known.get_mut();
                    *count += 1;
                    *last = at.max(*last);
                }
                Entry::Vacant(place) if !full => {
                    place.insert((1, at));
                }
                Entry::Vacant(_) => self.tally.counters.keeping.forgot_matches(1),
            }
        }
    }

    /// Writes down what has been counted; what the store does not take stays.
    async fn write(&mut self) {
        while !self.counts.is_empty() {
            let chunk: Vec<Matched> = self
                .counts
                .iter()
                .take(MAX_CHUNK)
                .map(|((tenant, ban), (count, last))| Matched {
                    tenant: tenant.clone(),
                    ban: *ban,
                    count: *count,
                    last: *last,
                })
                .collect();
            if let Err(error) = self.store.count_matches(&chunk).await {
                let error = error.with_causes();
                tracing::debug!(error, "matches of bans are written down later");
                return;
            }
            for Matched {
                tenant, ban, count, ..
            } in chunk
            {
                self.tally.counters.keeping.wrote_matches(count);
                self.counts.remove(&(tenant, ban));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{decide::Match, identity::MatchKind, list::Treatment},
        telemetry::Form,
    };

    fn verdict(deciding: Option<u8>, shadows: &[u8]) -> Verdict {
        let found = |number: u8| Match {
            ban: BanId::from_bytes([number; 16]),
            list_id: None,
            match_kind: MatchKind::Exact,
            identity: 0,
            expire: None,
        };
        Verdict {
            deny: deciding.map(|ban| (found(ban), Treatment::EndInteraction)),
            exempt: None,
            shadows: shadows.iter().map(|ban| found(*ban)).collect(),
            withheld: false,
            flips: None,
        }
    }

    #[test]
    fn marks_beyond_what_fits_are_dropped_and_that_is_counted() {
        let counters = Arc::new(Counters::new());
        let tally = Tally::new(Arc::clone(&counters));
        let tenant = TenantId::parse("acme").expect("a tenant id");
        for _ in 0..MARKS + 3 {
            tally.mark(&tenant, &verdict(Some(1), &[]), Timestamp::MIN);
        }
        assert_eq!(tally.marks.len(), MARKS);
        let line = "bancheck_match_counts_dropped_total 3";
        assert!(counters.exposition(Form::Plain).contains(line));
    }

    #[test]
    fn the_deciding_ban_and_those_that_watch_are_marked_and_nobody_else() {
        let tally = Tally::new(Arc::new(Counters::new()));
        let tenant = TenantId::parse("acme").expect("a tenant id");
        tally.mark(&tenant, &verdict(None, &[]), Timestamp::MIN);
        assert!(tally.marks.is_empty());
        tally.mark(&tenant, &verdict(Some(1), &[2, 3]), Timestamp::MIN);
        let marked: Vec<_> = std::iter::from_fn(|| tally.marks.pop())
            .map(|mark| mark.ban.bytes()[0])
            .collect();
        assert_eq!(marked, [1, 2, 3]);
    }
}
