//! Hearing the feed: asks the store what is new, by whichever road answers.
//!
//! One connection of the feed's own listens for the bell and is asked first, so that a dead socket
//! shows. Where it is not there, or does not answer within moments, the pool is asked beside it; at
//! most one question is under way on each road. Nothing here waits for one road only.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout_at};

use super::{Feed, Options, pause::Pause};
use crate::{
    domain::revision::Anchor,
    store::{FeedLink, Result, Store, StoreError, Tail},
    teeth::{Bug, bites},
};

/// How long the feed's own connection is left to answer before the pool is asked beside it.
const HEDGE: Duration = Duration::from_millis(25);

/// What the store told.
pub(super) struct Told {
    pub(super) tail: Tail,
    /// The row after which news was asked for.
    pub(super) from: Anchor,
    /// Boot time at which it was asked.
    pub(super) sent: i64,
    /// Boot time at which the answer was there.
    pub(super) received: i64,
}

/// A question under way.
struct Asked<T> {
    answer: BoxFuture<'static, T>,
    from: Anchor,
    sent: i64,
    at: Instant,
    by: Instant,
}

type Connection = Box<dyn FeedLink>;

enum Link {
    Down {
        until: Instant,
    },
    Connecting {
        making: BoxFuture<'static, Result<Connection>>,
        by: Instant,
    },
    Idle(Connection),
    Asked(Asked<(Result<Tail>, Connection)>),
}

/// What happened on the feed's own connection.
enum Turn {
    Due,
    Made(Connection),
    Rang,
    Answered(Tail, Connection),
    Broken(String),
}

impl Link {
    /// Waits for the next thing to happen; dropped halfway, nothing is lost.
    async fn turn(&mut self) -> Turn {
        let failed = |error: StoreError| Turn::Broken(error.with_causes());
        match self {
            Self::Down { until } => {
                sleep_until(*until).await;
                Turn::Due
            }
            Self::Connecting { making, by } => match timeout_at(*by, making).await {
                Ok(made) => made.map_or_else(failed, Turn::Made),
                Err(_) => Turn::Broken("no connection was made in time".to_owned()),
            },
            Self::Idle(link) => link.bell().await.map_or_else(failed, |()| Turn::Rang),
            Self::Asked(Asked { answer, by, .. }) => match timeout_at(*by, answer).await {
                Ok((Ok(tail), link)) => Turn::Answered(tail, link),
                Ok((Err(error), _)) => failed(error),
                Err(_) => Turn::Broken("no answer came in time".to_owned()),
            },
        }
    }
}

/// News that somebody waits for: asked for first and last at these instants.
#[derive(Clone, Copy)]
struct Wanted {
    first: Instant,
    last: Instant,
}

/// The ear of one pod.
pub(super) struct Ear {
    feed: Feed,
    store: Arc<dyn Store>,
    options: Options,
    link: Link,
    /// A question that the pool was asked, and from when on it may be asked again.
    beside: Option<Asked<Result<Tail>>>,
    rested: Instant,
    wanted: Option<Wanted>,
    poll: Interval,
    link_pause: Pause,
    beside_pause: Pause,
}

impl Ear {
    pub(super) fn new(feed: Feed, store: Arc<dyn Store>, options: Options) -> Self {
        let now = Instant::now();
        let mut poll = interval(options.poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            feed,
            store,
            link: Link::Down { until: now },
            beside: None,
            rested: now,
            wanted: None,
            poll,
            link_pause: Pause::new(options.longest_pause, options.seed),
            beside_pause: Pause::new(options.longest_pause, !options.seed),
            options,
        }
    }

    /// Has the store asked, on a road that is free or becomes so, from now on.
    pub(super) fn want(&mut self) {
        let now = Instant::now();
        let first = self.wanted.map_or(now, |wanted| wanted.first);
        self.wanted = Some(Wanted { first, last: now });
    }

    /// Takes the server at the other end for the wrong one: looks for another, after a pause.
    pub(super) fn distrust(&mut self) {
        self.cut("the server only follows another one");
        self.rested = Instant::now() + self.beside_pause.next();
    }

    /// Waits for what the store tells of the rows after this one. Dropped halfway, nothing is lost.
    pub(super) async fn next(&mut self, from: Anchor) -> Told {
        loop {
            self.ask(from);
            let hedge = self
                .wanted
                .map(|wanted| (wanted.first + HEDGE).max(self.rested));
            let waits =
                hedge.is_some() && self.beside.is_none() && !matches!(self.link, Link::Idle(_));
            let beside = async {
                match &mut self.beside {
                    Some(Asked { answer, by, .. }) => timeout_at(*by, answer).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                turn = self.link.turn() => {
                    if let Some(told) = self.turned(turn) {
                        return told;
                    }
                }
                answer = beside => {
                    if let Some(told) = self.answered_beside(answer.ok()) {
                        return told;
                    }
                }
                () = sleep_until(hedge.unwrap_or_else(Instant::now)),
                    if waits => {}
                _ = self.poll.tick(), if !bites(Bug::BellWithoutPoll) => self.want(),
            }
        }
    }

    /// Starts what can be started.
    fn ask(&mut self, from: Anchor) {
        let now = Instant::now();
        if let Link::Down { until } = self.link
            && until <= now
        {
            let store = Arc::clone(&self.store);
            self.link = Link::Connecting {
                making: Box::pin(async move { store.link().await }),
                by: now + self.options.patience,
            };
        }
        let Some(wanted) = self.wanted else { return };
        let covered = self
            .beside
            .as_ref()
            .is_some_and(|asked| asked.at >= wanted.last);
        let sent = self.feed.clock().read().boot;
        let by = now + self.options.patience;
        if matches!(self.link, Link::Idle(_)) {
            if covered {
                return;
            }
            let idle = std::mem::replace(&mut self.link, Link::Down { until: now });
            if let Link::Idle(mut link) = idle {
                let answer = Box::pin(async move { (link.tail(from.revision).await, link) });
                self.link = Link::Asked(Asked {
                    answer,
                    from,
                    sent,
                    at: now,
                    by,
                });
            }
        } else if self.beside.is_none() && now >= (wanted.first + HEDGE).max(self.rested) {
            let store = Arc::clone(&self.store);
            let answer = Box::pin(async move { store.tail(from.revision).await });
            self.beside = Some(Asked {
                answer,
                from,
                sent,
                at: now,
                by,
            });
        }
    }

    fn turned(&mut self, turn: Turn) -> Option<Told> {
        match turn {
            // It is taken up again at once.
            Turn::Due => None,
            Turn::Made(link) => {
                self.link = Link::Idle(link);
                self.want();
                None
            }
            Turn::Rang => {
                self.want();
                None
            }
            Turn::Answered(tail, link) => {
                if !tail.in_recovery {
                    self.link_pause.reset();
                }
                let asked = std::mem::replace(&mut self.link, Link::Idle(link));
                let Link::Asked(Asked { from, sent, at, .. }) = asked else {
                    return None;
                };
                Some(self.told(tail, from, sent, at))
            }
            Turn::Broken(error) => {
                self.cut(&error);
                None
            }
        }
    }

    fn answered_beside(&mut self, answer: Option<Result<Tail>>) -> Option<Told> {
        let Asked { from, sent, at, .. } = self.beside.take()?;
        match answer {
            Some(Ok(tail)) => {
                if !tail.in_recovery {
                    self.beside_pause.reset();
                }
                return Some(self.told(tail, from, sent, at));
            }
            Some(Err(error)) => {
                tracing::debug!(error = error.with_causes(), "the feed cannot be read");
            }
            None => tracing::debug!("the pool did not tell of the feed in time"),
        }
        self.rested = Instant::now() + self.beside_pause.next();
        None
    }

    /// Whatever was wanted before this was asked has been answered.
    fn told(&mut self, tail: Tail, from: Anchor, sent: i64, at: Instant) -> Told {
        self.wanted = self
            .wanted
            .filter(|wanted| wanted.last > at)
            .map(|wanted| Wanted {
                first: wanted.last,
                ..wanted
            });
        let received = self.feed.clock().read().boot;
        Told {
            tail,
            from,
            sent,
            received,
        }
    }

    fn cut(&mut self, error: &str) {
        match self.link {
            Link::Idle(_) | Link::Asked(_) => {
                tracing::warn!(error, "lost the feed's connection; making another");
            }
            Link::Down { .. } | Link::Connecting { .. } => {
                tracing::debug!(error, "the feed's connection could not be made");
            }
        }
        let until = Instant::now() + self.link_pause.next();
        self.link = Link::Down { until };
    }
}
