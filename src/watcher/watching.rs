//! One watcher: what it has been told, and what comes next.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, timeout_at},
};

use super::{BanChange, Place, Subject, Told, Watcher, changes, history_lost, reach};
use crate::domain::{
    channel::Channels,
    ids::TenantId,
    refusal::{Reason, Refusal},
    revision::Position,
};

/// How long a stream is quiet before it is told how far everything is known; some seconds less than
/// promised, for a machine that is busy.
const QUIET: Duration = Duration::from_secs(3);

/// What is to be watched.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Whose bans; `None` = everybody's.
    pub tenant: Option<TenantId>,
    /// After what; `None` = from now on.
    pub start_after: Option<Position>,
    /// Bans that hold on one of these; none = on any.
    pub channels: Channels,
}

/// What a watcher is told.
#[derive(Debug)]
pub enum Item {
    /// Something happened to a ban.
    Change(Arc<BanChange>),
    /// Nothing did.
    Checkpoint,
}

/// A watcher at work.
pub struct Watching {
    watcher: Watcher,
    subject: Subject,
    channels: Channels,
    _place: Place,
    /// Up to where everything has been told.
    at: Position,
    /// What is known and not told yet, and where that will have come to.
    queue: VecDeque<Arc<BanChange>>,
    through: Position,
    news: Option<Receiver<Arc<Told>>>,
    /// When the stream will have been quiet for too long.
    quiet: Instant,
}

impl Watcher {
    /// Begins to watch.
    pub async fn watch(&self, watch: Watch) -> Result<Watching, Refusal> {
        let Watch {
            tenant,
            start_after,
            channels,
        } = watch;
        let feed = &self.0.feed;
        if let Some(tenant) = &tenant {
            feed.known(tenant)?;
        }
        if let Some(position) = start_after {
            reach(feed, position).await?;
        }
        let place = self.enter(&tenant)?;
        let here = feed.standing().ok_or_else(history_lost)?.position;
        let at = start_after.unwrap_or(here);
        if at.epoch != here.epoch {
            return Err(history_lost());
        }
        if start_after.is_some() {
            // So that what cannot be had is refused at once, and not in the middle of the stream.
            changes::rows(&*self.0.store, at, here).await?;
        }
        Ok(Watching {
            watcher: self.clone(),
            subject: tenant,
            channels,
            _place: place,
            at,
            queue: VecDeque::new(),
            through: at,
            news: None,
            quiet: Instant::now() + QUIET,
        })
    }
}

impl Watching {
    /// What comes next, and the position up to which everything has then been told.
    pub async fn next(&mut self) -> Result<(Item, Position), Refusal> {
        loop {
            if let Some(change) = self.queue.pop_front() {
                match self.queue.front() {
                    None => self.at = self.through,
                    // All of that row has been told.
                    Some(next) if next.row != change.row => self.at.anchor = change.row,
                    Some(_) => {}
                }
                self.quiet = Instant::now() + QUIET;
                return Ok((Item::Change(change), self.at));
            }
            self.at = self.through;
            let stop = self.watcher.0.stop.clone();
            let told = tokio::select! {
                biased;
                () = stop.cancelled() => {
                    let message = "this pod is ending; go on from the last token on another";
                    return Err(Refusal::new(Reason::NotReady, message));
                }
                told = timeout_at(self.quiet, self.hear()) => told,
            };
            if let Ok(told) = told {
                told?;
            } else {
                self.quiet = Instant::now() + QUIET;
                return Ok((Item::Checkpoint, self.at));
            }
        }
    }

    /// Waits for news, or reads what came before it.
    async fn hear(&mut self) -> Result<(), Refusal> {
        let Some(news) = &mut self.news else {
            return self.catch_up().await;
        };
        match news.recv().await {
            Ok(told) => {
                if told.before.epoch != self.at.epoch {
                    return Err(history_lost());
                }
                if told.through.anchor.revision > self.at.anchor.revision {
                    self.take(told.changes.iter().cloned(), told.through);
                }
                Ok(())
            }
            Err(RecvError::Lagged(_)) => {
                let message = "this stream was read too slowly; go on from its last token";
                Err(Refusal::new(Reason::Overloaded, message))
            }
            Err(RecvError::Closed) => Err(history_lost()),
        }
    }

    /// Reads the next rows that the rooms have been told already, until there are none.
    async fn catch_up(&mut self) -> Result<(), Refusal> {
        let shared = Arc::clone(&self.watcher.0);
        let here = shared.feed.standing().ok_or_else(history_lost)?.position;
        if here.anchor.revision <= self.at.anchor.revision {
            if here.epoch != self.at.epoch {
                return Err(history_lost());
            }
            self.news = self.watcher.listen(&self.subject, self.at);
            return Ok(());
        }
        let rows = changes::rows(&*shared.store, self.at, here).await?;
        for changes::Step { through, rows } in changes::steps(self.at, rows) {
            let wanted = |tenant: &TenantId| {
                let subject = self.subject.as_ref();
                subject.is_none_or(|subject| subject == tenant)
            };
            let found = changes::of(&*shared.store, &rows, wanted).await?;
            let some = !found.is_empty();
            self.take(found.into_iter(), through);
            if some && !self.queue.is_empty() {
                return Ok(());
            }
            self.at = self.through;
        }
        Ok(())
    }

    fn take(&mut self, changes: impl Iterator<Item = Arc<BanChange>>, through: Position) {
        let channels = self.channels;
        let meant = |change: &Arc<BanChange>| {
            let ban = change.ban.as_ref();
            channels.is_empty() || ban.is_none_or(|ban| !ban.channels.and(channels).is_empty())
        };
        self.queue.extend(changes.filter(meant));
        self.through = through;
    }
}
