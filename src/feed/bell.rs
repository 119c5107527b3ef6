//! Ringing the bell after commits: at once, then not more often than every twenty milliseconds.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

use crate::store::Store;

const REST: Duration = Duration::from_millis(20);
/// A bell that takes longer is given up: the others poll.
const PATIENCE: Duration = Duration::from_secs(1);

/// Rings for every pod whenever `wanted`.
pub(super) async fn ring(store: Arc<dyn Store>, wanted: Arc<Notify>) {
    loop {
        wanted.notified().await;
        match tokio::time::timeout(PATIENCE, store.ring()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the bell could not be rung; others poll"),
            Err(_) => tracing::debug!("the bell was not rung in time; others poll"),
        }
        tokio::time::sleep(REST).await;
    }
}
