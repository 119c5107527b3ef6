//! Somebody who moves in: all bans of a tenant in one import, which lasts through the faults. Broken
//! off, once by its own caller, it is sent again under the same request id, to whichever pod, until one
//! has taken it whole.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use bancheck::api::v1::{
    self, ImportBansRequest, ImportBansResponse,
    admin_service_client::AdminServiceClient,
    import_bans_request::{Header, Part, Row, row::Expiry},
};
use futures_util::{Stream, StreamExt as _, stream};
use sqlx::{PgPool, Row as _};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tonic::Status;

use crate::{
    cast::{self, Dice, NEWCOMER},
    judge::Violation,
    load::note,
    world::World,
    writers::final_reason,
};

/// A pod that is asked for no more rows, or does not end, for so long is left for another.
const STANDSTILL: Duration = Duration::from_secs(8);
/// The longest rest between rows, so that nobody takes one for a standstill.
const REST: Duration = Duration::from_secs(2);
/// How long it may take once nobody does anything to anybody any more.
const LAST: Duration = Duration::from_mins(2);
/// How many rows go out between two rests.
const AT_ONCE: u16 = 100;
/// The part of the run, in hundredths, for which there are rows to send.
const SHARE: u32 = 70;

/// One who moves in.
pub(crate) struct Mover {
    world: Arc<World>,
    dice: Dice,
    rows: u16,
    /// How many of them some pod has taken.
    furthest: u16,
    /// Before which row its caller hangs up once.
    hangs_up: Option<u16>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// How often it was broken off.
    pub(crate) breaks: u32,
    /// The token of its answer.
    pub(crate) written_at: Option<String>,
    pub(crate) told: String,
    pub(crate) violations: Vec<Violation>,
}

impl Moved {
    fn add(&mut self, told: String) {
        self.violations.push(Violation {
            clause: "P8",
            whose: "the import".to_owned(),
            told,
        });
    }
}

impl Mover {
    pub(crate) fn new(world: Arc<World>) -> Self {
        let (mut dice, rows) = (Dice::new(world.plan.seed, 400), world.plan.rows);
        let hangs_up = u16::try_from(dice.below(u64::from(rows).max(1)));
        Self {
            world,
            dice,
            rows,
            furthest: 0,
            hangs_up: hangs_up.ok(),
        }
    }

    /// Moves in; to be waited for when nobody writes any more.
    pub(crate) async fn move_in(mut self) -> Moved {
        let (mut moved, began) = (Moved::default(), Instant::now());
        if let Some(answer) = self.insist("moving in", &mut moved).await {
            moved.told = format!(
                "import of {} bans: {} created, {} there already, {} s, broken off {} times",
                self.rows,
                answer.created_count,
                answer.duplicate_count,
                began.elapsed().as_secs(),
                moved.breaks
            );
            moved.written_at = answer.written_at.map(|token| token.token);
        }
        moved
    }

    /// The same file once more, when all is quiet: it brings back what a restore after the first
    /// answer has thrown away, and nothing else.
    pub(crate) async fn again(mut self, lost: bool, pool: &PgPool, moved: &mut Moved) {
        (self.furthest, self.hangs_up) = (self.rows, None);
        if let Some(answer) = self.insist("moving in again", moved).await
            && answer.created_count > 0
            && !lost
        {
            moved.add(format!("some rows were lost: {answer:?}"));
        }
        let text = "SELECT count(*), count(DISTINCT reason_code), count(*) FILTER (WHERE ended = 0)
                    FROM bans WHERE tenant = $1";
        let found = sqlx::query(text)
            .bind(cast::tenant(NEWCOMER))
            .fetch_one(pool)
            .await
            .expect("a count");
        let counts = [0, 1, 2].map(|column| found.get::<i64, _>(column));
        if counts != [i64::from(self.rows); 3] {
            moved.add(format!(
                "{} rows made {counts:?} bans: all, different, standing",
                self.rows
            ));
        }
    }

    /// Imports until a pod has taken all rows.
    async fn insist(&mut self, request_id: &str, moved: &mut Moved) -> Option<ImportBansResponse> {
        let mut quiet = None;
        loop {
            let why = match self.import(request_id, moved).await {
                Some(Ok(answer)) => {
                    self.judge(&answer, moved);
                    return Some(answer);
                }
                Some(Err(why)) => why.to_string(),
                None => "no pod lives".to_owned(),
            };
            if !self.world.writing.load(Ordering::SeqCst) {
                let since = *quiet.get_or_insert_with(Instant::now);
                if since.elapsed() > LAST {
                    moved.add(format!("not taken when all was quiet: {why}"));
                    return None;
                }
            }
            if !moved.violations.is_empty() {
                return None;
            }
            let pause = Duration::from_millis(50 + self.dice.below(200));
            // Time itself: as a caller told to try again would.
            sleep_until(Instant::now() + pause).await;
        }
    }

    fn judge(&self, answer: &ImportBansResponse, moved: &mut Moved) {
        let all = answer.created_count + answer.duplicate_count;
        if answer.failed_count != 0 || all != i32::from(self.rows) {
            moved.add(format!("of {} rows: {answer:?}", self.rows));
        }
    }

    /// Sends all rows to some pod, if it lives.
    async fn import(
        &mut self,
        request_id: &str,
        moved: &mut Moved,
    ) -> Option<Result<ImportBansResponse, Status>> {
        let seat = &self.world.seats[self.dice.place(self.world.seats.len())];
        let life = seat.life().borrow().clone()?;
        let mut desk = AdminServiceClient::new(life.admin);
        let taken = Arc::new(AtomicU16::new(0));
        let enough = Arc::new(Notify::new());
        let rows = self.parts(request_id, Arc::clone(&taken), Arc::clone(&enough));
        let import = desk.import_bans(rows);
        tokio::pin!(import);
        let mut before = 0;
        let answer = loop {
            tokio::select! {
                answer = &mut import => break answer.map(tonic::Response::into_inner),
                () = enough.notified() => {
                    self.hangs_up = None;
                    break Err(Status::cancelled("its caller hung up"));
                }
                // Time itself: as long as a caller has patience.
                () = sleep_until(Instant::now() + STANDSTILL) => {}
            }
            let now = taken.load(Ordering::Relaxed);
            if now == before {
                break Err(Status::cancelled("no row was asked for, and no end came"));
            }
            before = now;
        };
        let taken = taken.load(Ordering::Relaxed);
        self.furthest = self.furthest.max(taken);
        if let Err(status) = &answer {
            moved.breaks += u32::from(taken > 0);
            let passing = ["OVERLOADED", "DEADLINE_EXCEEDED"];
            let why = final_reason(status).filter(|why| !passing.contains(&why.as_str()));
            if let Some(why) = why {
                moved.add(format!("refused for good: {why}: {status}"));
            }
        }
        Some(answer)
    }

    /// The header, then all rows: what was sent before at once, the others as the run goes on.
    fn parts(
        &self,
        request_id: &str,
        taken: Arc<AtomicU16>,
        enough: Arc<Notify>,
    ) -> impl Stream<Item = ImportBansRequest> + Send + use<> {
        let header = Header {
            tenant: cast::tenant(NEWCOMER),
            request_id: request_id.to_owned(),
            ..Header::default()
        };
        let steps = u32::from(self.rows / AT_ONCE).max(1);
        let rest = (self.world.plan.time * SHARE / 100 / steps).min(REST);
        let hangs_up = self.hangs_up;
        let known = self.furthest;
        let (world, mut dice) = (Arc::clone(&self.world), self.dice.clone());
        let rows = stream::iter(0..self.rows).then(move |at| {
            let (world, taken) = (Arc::clone(&world), Arc::clone(&taken));
            if hangs_up == Some(at) {
                enough.notify_one();
            }
            let place = dice.below(64);
            async move {
                if at >= known && at.is_multiple_of(AT_ONCE) && world.writing.load(Ordering::SeqCst)
                {
                    // Time itself: the import lasts.
                    sleep_until(Instant::now() + rest).await;
                    note(&world.lately, place, NEWCOMER, at);
                }
                taken.store(at + 1, Ordering::Relaxed);
                Part::Row(row(at))
            }
        });
        let parts = stream::iter([Part::Header(header)]).chain(rows);
        parts.map(|part| ImportBansRequest { part: Some(part) })
    }
}

fn row(at: u16) -> Row {
    Row {
        row_number: i32::from(at) + 1,
        channels: vec![v1::Channel::Call as i32],
        targets: vec![v1::Identity {
            kind: v1::IdentityKind::PhoneNumber as i32,
            value: cast::caller(at),
            ..v1::Identity::default()
        }],
        reason: "made in a test".to_owned(),
        reason_code: format!("m{at}"),
        expiry: Some(Expiry::Permanent(true)),
        ..Row::default()
    }
}
