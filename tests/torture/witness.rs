//! The witness: reads the feed past all proxies, keeps what is pruned or lost, and so knows every
//! history there has been.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bancheck::{
    domain::{
        ids::{BanId, TenantId},
        record::{Change, News},
        revision::{Anchor, Nonce, Revision},
    },
    store::{self, Place, Store, Tail},
};
use sqlx::{PgPool, Row as _, postgres::PgPoolOptions};
use tokio::time::timeout;

use crate::{
    cast::{boot, caller_of, tenant_of},
    cluster::url_at,
};

/// How long the database is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// A row of the feed.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) anchor: Anchor,
    /// When it was committed, or a moment before, by the database's clock.
    pub(crate) at: i64,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) change: Change,
}

/// One history of the feed, from its first row.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) rows: Vec<Row>,
    /// The last row that it has in common with the one before; 0 in the first.
    pub(crate) forked_at: u64,
    /// Boot time before which no database went by it.
    pub(crate) began: i64,
    /// Boot time after which no database went by it any more.
    pub(crate) ended: Option<i64>,
    /// What the witness saw, and when.
    pub(crate) seen: Vec<(i64, u64)>,
}

impl History {
    /// The newest revision.
    pub(crate) fn head(&self) -> u64 {
        self.rows.last().map_or(0, |row| row.anchor.revision.0)
    }

    /// The row of a revision.
    pub(crate) fn row(&self, revision: u64) -> Option<&Row> {
        // Dense, from 1.
        self.rows
            .get(usize::try_from(revision.checked_sub(1)?).ok()?)
    }

    /// Takes rows in, in their order; tells what no feed may do.
    fn take(&mut self, rows: Vec<Row>) -> Vec<String> {
        let mut found = Vec::new();
        for row in rows {
            let revision = row.anchor.revision.0;
            while self.head() + 1 < revision {
                let missing = self.head() + 1;
                found.push(format!("revision {revision} was there before {missing}"));
                self.rows.push(Row {
                    anchor: Anchor {
                        revision: Revision(missing),
                        nonce: Nonce(0),
                    },
                    change: Change::Reload,
                    ..row.clone()
                });
            }
            match self.row(revision) {
                None => self.rows.push(row),
                Some(known) if known.anchor == row.anchor => {}
                Some(known) => {
                    let was = known.anchor;
                    found.push(format!("{was:?} became {:?}", row.anchor));
                    let place = usize::try_from(revision - 1).expect("a revision");
                    self.rows[place] = row;
                }
            }
        }
        found
    }

    /// Whether a row is in this history.
    pub(crate) fn holds(&self, anchor: Anchor) -> bool {
        self.row(anchor.revision.0)
            .is_some_and(|row| row.anchor == anchor)
    }

    /// The newest revision that was there at an instant of the database's clock.
    pub(crate) fn committed_by(&self, at: i64) -> u64 {
        self.rows.partition_point(|row| row.at <= at) as u64
    }
}

/// Whoever watches the database itself.
pub(crate) struct Witness {
    store: Arc<dyn Store>,
    pub(crate) pool: PgPool,
    pub(crate) histories: Vec<History>,
    /// What no feed may do.
    pub(crate) found: Vec<String>,
    /// On whom each ban is, as the table of targets says.
    pub(crate) targets: HashMap<BanId, (u8, Vec<u16>)>,
}

async fn doors(port: u16) -> (Arc<dyn Store>, PgPool) {
    let url = url_at(port);
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(PATIENCE)
        .connect_lazy(&url)
        .expect("a URL");
    let place = Place::Postgres {
        url,
        bell: false,
        apart: bancheck::store::Apart::default(),
    };
    (store::open(&place).await.expect("a store"), pool)
}

impl Witness {
    /// A witness of the database at a port.
    pub(crate) async fn new(port: u16) -> Self {
        let (store, pool) = doors(port).await;
        Self {
            store,
            pool,
            histories: vec![History::default()],
            found: Vec::new(),
            targets: HashMap::new(),
        }
    }

    /// Looks elsewhere from now on.
    pub(crate) async fn look_at(&mut self, port: u16) {
        (self.store, self.pool) = doors(port).await;
    }

    /// The history that the database goes by.
    pub(crate) fn present(&mut self) -> &mut History {
        self.histories.last_mut().expect("there is always one")
    }

    async fn page(&self, from: u64) -> Option<(Tail, Vec<(u64, i64)>)> {
        let look = async {
            let tail = self.store.tail(Revision(from)).await.ok()?;
            let text = "SELECT rev, at FROM feed WHERE rev >= $1 ORDER BY rev LIMIT $2";
            let found = sqlx::query(text)
                .bind(i64::try_from(from).expect("a revision"))
                .bind(i64::try_from(tail.news.len()).expect("a page"))
                .fetch_all(&self.pool)
                .await
                .ok()?;
            let times = found
                .iter()
                .map(|row| (row.get::<i64, _>("rev").unsigned_abs(), row.get("at")));
            Some((tail, times.collect()))
        };
        timeout(PATIENCE, look).await.ok().flatten()
    }

    fn rows(tail: Tail, times: &[(u64, i64)]) -> Vec<Row> {
        let at: HashMap<u64, i64> = times.iter().copied().collect();
        let row = |news: News| Row {
            at: at.get(&news.anchor.revision.0).copied().unwrap_or_default(),
            anchor: news.anchor,
            tenant: news.tenant,
            change: news.change,
        };
        tail.news.into_iter().map(row).collect()
    }

    /// Reads on to the head; `false` = the database did not answer.
    pub(crate) async fn catch_up(&mut self) -> bool {
        let from = self.present().head().max(1);
        self.read_from(from).await
    }

    /// Reads everything that is still there once more, for what may have come late.
    pub(crate) async fn read_again(&mut self) -> bool {
        self.read_from(1).await
    }

    async fn read_from(&mut self, mut from: u64) -> bool {
        loop {
            let Some((tail, times)) = self.page(from).await else {
                return false;
            };
            let head = tail.head.0;
            let rows = Self::rows(tail, &times);
            let Some(last) = rows.last().map(|row| row.anchor.revision.0) else {
                return false;
            };
            let found = self.present().take(rows);
            self.found.extend(found);
            if last >= head {
                self.present().seen.push((boot(), head));
                return true;
            }
            from = last;
        }
    }

    /// Begins another history: what the database holds now, which an older one was put back into.
    pub(crate) async fn fork(&mut self, ended: i64) {
        let mut next = History {
            began: ended,
            ..History::default()
        };
        loop {
            let from = next.head() + 1;
            let Some((tail, times)) = self.page(from).await else {
                continue;
            };
            let (head, floor) = (tail.head.0, tail.floor.0);
            if next.rows.is_empty() {
                // What is pruned there was witnessed here.
                let kept = usize::try_from(floor - 1).expect("a revision");
                next.rows.extend_from_slice(&self.present().rows[..kept]);
            }
            let found = next.take(Self::rows(tail, &times));
            self.found.extend(found);
            if next.head() >= head {
                break;
            }
        }
        let present = self.present();
        present.ended = Some(ended);
        next.forked_at = next
            .rows
            .iter()
            .zip(&present.rows)
            .take_while(|(new, old)| new.anchor == old.anchor)
            .count() as u64;
        self.histories.push(next);
    }

    /// Reads on whom the bans are.
    pub(crate) async fn read_targets(&mut self) {
        let text = "SELECT tenant, ban_id, canonical FROM ban_targets ORDER BY position";
        let found = sqlx::query(text).fetch_all(&self.pool).await;
        let mut targets: HashMap<BanId, (u8, Vec<u16>)> = HashMap::new();
        for row in found.expect("the targets") {
            let ban = ban_id(&row, "ban_id");
            let tenant = tenant_of(row.get("tenant")).expect("a tenant of ours");
            let caller = caller_of(row.get("canonical")).expect("a caller of ours");
            targets
                .entry(ban)
                .or_insert((tenant, Vec::new()))
                .1
                .push(caller);
        }
        self.targets.extend(targets);
    }
}

/// A ban's id in a column.
pub(crate) fn ban_id(row: &sqlx::postgres::PgRow, column: &str) -> BanId {
    let bytes: Vec<u8> = row.get(column);
    BanId::from_bytes(bytes.try_into().expect("sixteen bytes"))
}
