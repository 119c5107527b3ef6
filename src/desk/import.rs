//! Importing: very many bans of one file, a chunk at a time (P8).
//!
//! Every chunk is a write of its own, with one feed row and one event, remembered under the
//! import's id and the chunk's number. An import that broke off is therefore sent again from its
//! first row: what was done is answered from memory, the rest is done. So it is as well where the
//! database was put back meanwhile: an import ends only if all of its chunks are remembered. The
//! tenant's row is free between two chunks, and two chunks are written at once at the most,
//! whatever is under way, so that who bans by hand hardly waits.

mod judge;
mod rows;
mod seen;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use uuid::Uuid;

pub use self::judge::{Judge, JudgedRows};
use self::{judge::LastChunk, rows::ImportRows, seen::Seen};
use super::{
    Circumstances, Desk, Failure, Job, LONGEST, Order, Outcome, create::CreateBan, lists::no_list,
    request_id_reused,
};
use crate::{
    domain::{
        fields,
        ids::{ListId, MAX_CALLERS_ID},
        import::{MAX_ROWS, OnDuplicate, Tally},
        refusal::{Reason, Refusal},
    },
    store::{Answer, StoreError, Work},
};

/// The most imports under way at once.
const AT_ONCE: usize = 8;
/// The most chunks being written at once.
const TURNS: usize = 2;
/// How long one chunk may take.
const CHUNK_DEADLINE: Duration = Duration::from_secs(30);

/// Where imports wait for one another.
#[derive(Clone)]
pub(super) struct Places {
    under_way: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            under_way: Arc::new(Semaphore::new(AT_ONCE)),
            turns: Arc::new(Semaphore::new(TURNS)),
        }
    }
}

/// What holds for every row of an import.
#[derive(Clone, Debug)]
pub struct ImportTerms {
    /// The list; `None` = the whole tenant.
    pub list_id: Option<ListId>,
    /// What becomes of a row whose ban stands already.
    pub on_duplicate: OnDuplicate,
    /// Whether the rows take the place of all that the list holds.
    pub replace: bool,
    /// How a refusal of a row is written down, to be told in the end.
    pub tell: fn(&Refusal) -> Vec<u8>,
}

/// A row of an import, or why it cannot be read.
#[derive(Debug)]
pub struct ImportRow {
    /// Its number in the caller's file.
    pub number: i32,
    /// The ban it asks for.
    pub ban: Result<CreateBan, Refusal>,
}

/// An import under way.
pub struct Import {
    desk: Desk,
    /// The header, as an order.
    order: Order,
    terms: ImportTerms,
    until: Instant,
    _place: OwnedSemaphorePermit,
    /// The generation that the rows are staged under, where they replace a list.
    staged: Option<u32>,
    chunks: u64,
    tally: Tally,
    /// The tally's trail as it is under the other master keys of the ring.
    trails_elsewhere: Vec<[u8; 16]>,
    /// What it came to when it was done before.
    finished: Option<Tally>,
    /// What a dry run would have made so far.
    seen: Arc<Mutex<Seen>>,
    /// What the last chunk was judged by.
    last_chunk: LastChunk,
    /// Boot times at which the last two chunks were committed.
    committed: [Option<i64>; 2],
}

/// Begins an import, so that it keeps its id when it is begun again.
struct OpenImport {
    import_id: String,
    list_id: Option<ListId>,
    replace: bool,
}

/// Ends an import: from here on it is remembered as a whole.
struct CloseImport {
    tally: Tally,
    chunks: u64,
    list_id: Option<ListId>,
    staged: Option<u32>,
}

impl Desk {
    /// Begins an import, or takes it up again.
    pub async fn import(&self, order: Order, terms: ImportTerms) -> Result<Import, Refusal> {
        fields::request_id(&order.request_id)?;
        fields::bytes("actor", &order.actor, MAX_CALLERS_ID)?;
        self.feed.known(&order.tenant)?;
        if terms.replace && terms.list_id.is_none() {
            let message = "what is to be replaced is the content of a list: say which";
            return Err(Refusal::of_field(
                Reason::FieldRequired,
                "header.list_id",
                message,
            ));
        }
        let place = Arc::clone(&self.imports.under_way).try_acquire_owned();
        let place = place.map_err(|_| {
            let message =
                format!("{AT_ONCE} imports are under way here, the most there may be; try again");
            Refusal::new(Reason::Overloaded, message)
        })?;
        let again = !order.request_id.is_empty() && !order.validate_only;
        let order = Order {
            request_id: match order.request_id.as_str() {
                "" => Uuid::now_v7().to_string(),
                _ => order.request_id,
            },
            ..order
        };
        let mut import = Import {
            desk: self.clone(),
            until: Instant::now() + order.deadline,
            order,
            terms,
            _place: place,
            staged: None,
            chunks: 0,
            tally: Tally::default(),
            trails_elsewhere: Vec::new(),
            finished: None,
            seen: Arc::default(),
            last_chunk: LastChunk::default(),
            committed: [None; 2],
        };
        if again {
            let intent = self
                .attempt(import.order.clone(), CloseImport::RPC, None)?
                .intent;
            let known = self
                .within(CHUNK_DEADLINE, self.store.outcome(&intent))
                .await?;
            import.finished = known.and_then(|answer| answer.tally);
        }
        if import.finished.is_none() {
            import.open().await?;
        }
        Ok(import)
    }
}

impl Import {
    async fn open(&mut self) -> Result<(), Refusal> {
        let job = OpenImport {
            import_id: Uuid::now_v7().to_string(),
            list_id: self.terms.list_id.clone(),
            replace: self.terms.replace,
        };
        let order = self.order(self.order.request_id.clone(), self.order.body.clone())?;
        let answer = match self.desk.carry_through(order, None, job).await?.0 {
            Outcome::Committed(answer) => answer,
            // Nothing was written that could bear the id.
            Outcome::Tried(answer) => Answer {
                tally: None,
                ..answer
            },
        };
        self.tally.import_id = answer.tally.unwrap_or_default().import_id;
        if self.terms.replace {
            self.staged = u32::try_from(answer.count).ok();
        }
        Ok(())
    }

    /// Writes the next rows, of which there are [`crate::store::MAX_CHUNK`] at the most, unless
    /// that was done before. `body` is how they were received.
    pub async fn rows(&mut self, rows: JudgedRows, body: &[u8]) -> Result<(), Refusal> {
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        if self.tally.rows.saturating_add(count) > MAX_ROWS {
            let message = format!("an import has at most {MAX_ROWS} rows; make two of it");
            return Err(Refusal::of_field(Reason::TooManyItems, "row", message));
        }
        let key = self.desk.keys.tenant(&self.order.tenant);
        self.tally.trail = key.digest_of(&[&self.tally.trail, body]);
        self.trails_elsewhere = key.trails_elsewhere(&self.trails_elsewhere, body);
        if self.finished.is_some() {
            self.tally.rows += count;
            return Ok(());
        }
        // One that is only tried has no id of its own.
        let whole = match self.tally.import_id.as_str() {
            "" => &self.order.request_id,
            id => id,
        };
        let request_id = format!("{}#{whole}", self.chunks);
        let order = self.order(request_id, [&self.order.body, body].concat())?;
        let job = ImportRows {
            terms: self.terms.clone(),
            import_id: self.tally.import_id.clone(),
            staged: self.staged,
            first: self.tally.rows,
            rows,
            last_chunk: self.last_chunk.clone(),
            told: self.tally.failures.len(),
            seen: self.order.validate_only.then(|| Arc::clone(&self.seen)),
        };
        self.keep_pace().await;
        // The semaphore is never closed.
        let _turn = self.desk.imports.turns.acquire().await;
        let (Outcome::Committed(answer) | Outcome::Tried(answer)) =
            self.desk.carry_through(order, None, job).await?.0;
        let now = self.desk.feed.clock().read().boot;
        self.committed = [self.committed[1], Some(now)];
        self.desk.feed.committed();
        self.tally.absorb(answer.tally.unwrap_or_default());
        self.chunks += 1;
        Ok(())
    }

    /// Waits until the views have all but the last chunk, so that news does not pile up.
    async fn keep_pace(&self) {
        if let Some(committed) = self.committed[0].filter(|_| !self.order.validate_only) {
            // Where there is no news, the next write will say so.
            let _ = timeout(LONGEST, self.desk.feed.heard_since(committed)).await;
        }
    }

    /// Ends the import, and tells what it came to with the token that includes all of it; without
    /// one it was only tried.
    pub async fn finish(self) -> Result<(Tally, Option<Arc<str>>), Refusal> {
        // An earlier try may have come through a pod that another master key is the current one of.
        let trails = [&[self.tally.trail], &self.trails_elsewhere[..]].concat();
        let rows = self.tally.rows;
        let same = |done: &Tally| done.rows == rows && trails.contains(&done.trail);
        if self.finished.as_ref().is_some_and(|done| !same(done)) {
            return Err(request_id_reused());
        }
        if self.order.validate_only {
            return Ok((self.tally, None));
        }
        let order = self.order(self.order.request_id.clone(), self.order.body.clone())?;
        let job = CloseImport {
            tally: self.tally.clone(),
            chunks: self.chunks,
            list_id: self.terms.list_id.clone(),
            staged: self.staged,
        };
        let written = self.desk.write(order, job).await?;
        let tally = written.answer.tally.unwrap_or_default();
        if !same(&tally) {
            return Err(request_id_reused());
        }
        Ok((tally, written.token))
    }

    /// The order of a part of the import, within the time that its caller has left.
    fn order(&self, request_id: String, body: Vec<u8>) -> Result<Order, Refusal> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let message = "the caller's time was up before all rows were written; send them again \
                           under the same request_id";
            return Err(Refusal::new(Reason::DeadlineExceeded, message));
        }
        Ok(Order {
            request_id,
            body,
            deadline: left.min(CHUNK_DEADLINE),
            ..self.order.clone()
        })
    }
}

#[async_trait]
impl Job for OpenImport {
    const RPC: &'static str = "ImportBans/open";

    async fn run(self, work: &mut dyn Work, _about: &Circumstances) -> Result<Answer, Failure> {
        if let Some(list_id) = &self.list_id {
            work.list(list_id).await?.ok_or_else(no_list)?;
        }
        let staged = if self.replace {
            work.next_generation().await?
        } else {
            0
        };
        Ok(Answer {
            tally: Some(Tally {
                import_id: self.import_id,
                ..Tally::default()
            }),
            count: staged.into(),
            ..Answer::default()
        })
    }
}

#[async_trait]
impl Job for CloseImport {
    const RPC: &'static str = "ImportBans";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        if work.import_parts(&self.tally.import_id).await? < self.chunks {
            let message = "the database was put back meanwhile, and some of the rows are gone; send \
                           all of them again under the same request_id";
            return Err(Refusal::new(Reason::StoreUnavailable, message).into());
        }
        if let (Some(list_id), Some(generation)) = (&self.list_id, self.staged) {
            let mut list = work.list(list_id).await?.ok_or_else(no_list)?;
            if work.list_holds_bans(&list).await? {
                let why = format!("replaced by import {}", self.tally.import_id);
                work.drop_generation(list.generation, &about.actor, &why)
                    .await?;
            }
            list.generation = generation;
            list.version += 1;
            match work.set_list(&list).await {
                Err(StoreError::Taken) => return Err(request_id_reused().into()),
                kept => kept?,
            }
            work.note(&about.event(None, "LIST_REPLACED", list.list_id.as_str()))
                .await?;
        }
        Ok(Answer {
            tally: Some(self.tally),
            ..Answer::default()
        })
    }
}
