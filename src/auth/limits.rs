//! How many requests may be in flight at once, over all connections: apart for each kind, so that no
//! import starves a check. What goes beyond is told so at once and costs next to nothing.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::refusal::{Reason, Refusal};

/// Among which requests in flight one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Checks, one or a batch.
    Check,
    /// Writes and look-ups of the desk.
    Desk,
    /// Imports and exports, which last.
    Bulk,
    /// Streams that stay open.
    Stream,
}

/// The most requests in flight, of each kind.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Checks.
    pub checks: usize,
    /// Writes and look-ups.
    pub writes: usize,
    /// Imports and exports.
    pub imports: usize,
    /// Streams of checks, and watchers.
    pub streams: usize,
    /// Connections to the listener of checks, and as many to the other.
    pub connections: usize,
    /// Checks of one tenant a second; 0 = as many as there are.
    pub tenant_checks_per_second: u32,
    /// Writes and look-ups of one tenant a second; 0 = as many as there are.
    pub tenant_writes_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            checks: 4_096,
            writes: 256,
            imports: 8,
            streams: 4_096,
            connections: 10_000,
            tenant_checks_per_second: 0,
            tenant_writes_per_second: 0,
        }
    }
}

/// The places there are, of each kind.
#[derive(Debug)]
pub(super) struct Places {
    checks: Arc<Semaphore>,
    desk: Arc<Semaphore>,
    bulk: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// A place among the requests in flight, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Taken(
    #[expect(dead_code, reason = "held, and given back in the end")] OwnedSemaphorePermit,
);

impl Places {
    pub(super) fn new(limits: Limits) -> Self {
        let Limits {
            checks,
            writes,
            imports,
            streams,
            connections: _,
            tenant_checks_per_second: _,
            tenant_writes_per_second: _,
        } = limits;
        let places = |most: usize| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self {
            checks: places(checks),
            desk: places(writes),
            bulk: places(imports),
            streams: places(streams),
        }
    }

    /// Takes a place, or refuses at once: whoever waited would only be late.
    pub(super) fn take(&self, load: Load) -> Result<Taken, Refusal> {
        let places = match load {
            Load::Check => &self.checks,
            Load::Desk => &self.desk,
            Load::Bulk => &self.bulk,
            Load::Stream => &self.streams,
        };
        let taken = Arc::clone(places).try_acquire_owned();
        taken.map(Taken).map_err(|_| {
            let message = "as many requests of this kind are in flight as this pod takes; try \
                           again shortly, or another pod";
            Refusal::new(Reason::Overloaded, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_limit_a_request_is_refused_and_let_in_once_another_has_gone() {
        let places = Places::new(Limits {
            imports: 1,
            ..Limits::default()
        });
        let first = places.take(Load::Bulk).unwrap();
        let refused = places.take(Load::Bulk).unwrap_err();
        assert_eq!(refused.reason, Reason::Overloaded);
        // An import takes no place of a check.
        assert!(places.take(Load::Check).is_ok());
        drop(first);
        assert!(places.take(Load::Bulk).is_ok());
    }
}
