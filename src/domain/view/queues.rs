//! The policies of a tenant's queues, as far as decisions need them.

use std::{collections::HashMap, sync::Arc};

use crate::domain::{digest::Digest, record::QueueRecord};

/// Policies by queue, and their digest.
#[derive(Clone, Debug, Default)]
pub(super) struct Queues {
    records: HashMap<String, Arc<QueueRecord>>,
    digest: Digest,
}

impl FromIterator<QueueRecord> for Queues {
    fn from_iter<I: IntoIterator<Item = QueueRecord>>(records: I) -> Self {
        let mut queues = Self::default();
        for record in records {
            queues.put(record);
        }
        queues
    }
}

impl Queues {
    /// The policies with one as it is now.
    pub(super) fn with(&self, record: &QueueRecord) -> Self {
        let mut next = self.clone();
        next.put(record.clone());
        next
    }

    fn put(&mut self, record: QueueRecord) {
        self.digest = self.digest.with(Digest::of_queue(&record));
        let before = self.records.insert(record.queue.clone(), Arc::new(record));
        if let Some(before) = before {
            self.digest = self.digest.without(Digest::of_queue(&before));
        }
    }

    /// The policy of a queue.
    pub(super) fn get(&self, queue: &str) -> Option<&QueueRecord> {
        self.records.get(queue).map(Arc::as_ref)
    }

    /// How many queues have one.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// The digest of them all.
    pub(super) const fn digest(&self) -> Digest {
        self.digest
    }
}
