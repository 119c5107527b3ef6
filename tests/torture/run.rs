//! One run: the world is built, tortured, left to recover, asked once more, and judged.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    audit,
    cast::{self, CALLERS, NEWCOMER, NOBODY},
    faults::{self, Kind},
    judge::{Judge, Violation},
    load::{Asker, FRESH, Manner},
    mover::Mover,
    record::{Question, Record, Wish},
    report::Report,
    world::World,
    writers::Writer,
};

/// After the last fault a pod is FRESH again within this.
const RECOVERY: Duration = Duration::from_secs(3);
/// How long one who asks rests between two questions.
const PACE: Duration = Duration::from_millis(3);
/// How many ask each pod one question a call; one more asks many at once, and one on a stream.
const ASKERS: u64 = 3;
/// How long these two rest.
const PACE_OF_MANY: Duration = Duration::from_millis(50);
/// How long one who writes rests.
const WRITE_PACE: Duration = Duration::from_millis(120);
/// How many write.
const WRITERS: u64 = 20;

/// How often it is looked whether the run is over.
const LOOK: Duration = Duration::from_millis(100);
/// After so many last questions without a good answer a pod is asked no more.
const ENOUGH: u32 = 20;

/// What a run is to be.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) pods: u8,
    pub(crate) time: Duration,
    /// How much is to be asked at least, for as long as thrice the time.
    pub(crate) least: u64,
    /// Rows of the import that goes on meanwhile.
    pub(crate) rows: u16,
    /// The faults there may be; `None` = all.
    pub(crate) faults: Option<&'static [Kind]>,
    /// Variables for the pods that are processes.
    pub(crate) variables: Vec<(String, String)>,
}

/// Runs a plan in a runtime of its own.
pub(crate) fn torture(plan: Plan) -> Report {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(run(plan))
}

async fn run(plan: Plan) -> Report {
    let world = World::build(plan).await;
    let Plan { seed, pods, .. } = world.plan.clone();
    let to_wall = cast::to_wall();
    let mut watching = JoinSet::new();
    watching.spawn(Arc::clone(&world).watch());
    let mut asking = JoinSet::new();
    for seat in 0..world.seats.len() {
        for number in 1..=ASKERS {
            let asker = Asker::new(Arc::clone(&world), seat, number);
            asking.spawn(asker.ask_on(Manner::Alone, PACE));
        }
        for (number, manner) in [(4, Manner::InBatches), (5, Manner::OnAStream)] {
            let asker = Asker::new(Arc::clone(&world), seat, number);
            asking.spawn(asker.ask_on(manner, PACE_OF_MANY));
        }
    }
    let mut moving = JoinSet::new();
    moving.spawn(Mover::new(Arc::clone(&world)).move_in());
    let mut writing = JoinSet::new();
    for number in 1..=WRITERS {
        writing.spawn(Writer::new(Arc::clone(&world), number).write_on(WRITE_PACE));
    }

    let began = *world.began.get_or_init(Instant::now);
    faults::play(Arc::clone(&world), RECOVERY).await;
    let mut violations = std::mem::take(&mut *world.doubts.lock().expect("the doubts"));
    let back = recovered(&world, &mut violations).await;
    while !world.is_over(Duration::ZERO) {
        // Time itself: the run lasts so long.
        sleep_until(Instant::now() + LOOK).await;
    }
    let lasted = began.elapsed().as_secs();
    world.writing.store(false, Ordering::SeqCst);
    let writes = writing.join_all().await.concat();
    let moved = moving.join_next().await.expect("one who moves in");
    let mut moved = moved.expect("one who moved in");
    let (lost, pool) = {
        let mut witness = world.witness.lock().await;
        assert!(witness.catch_up().await, "the database answers");
        let token = moved.written_at.as_deref();
        let at = token.map(|token| cast::Reader::new().read(token).anchor);
        let kept = at.is_some_and(|at| witness.present().holds(at));
        (!kept, witness.pool.clone())
    };
    let again = Mover::new(Arc::clone(&world)).again(lost, &pool, &mut moved);
    again.await;
    violations.append(&mut moved.violations);
    world.asking.store(false, Ordering::SeqCst);
    let mut checks = asking.join_all().await.concat();
    watching.join_all().await;
    checks.extend(last_questions(&world, &mut violations).await);
    // Time itself makes pods write, so they end before the rows are looked at.
    let seats = world.seats.iter();
    let logs: Vec<_> = seats.map(|seat| (seat.number, seat.log())).collect();
    Arc::clone(&world).end().await;

    let mut witness = world.witness.lock().await;
    assert!(witness.read_again().await, "the database answers");
    witness.read_targets().await;
    violations.extend(witness.found.iter().map(|told| Violation {
        clause: "C-3",
        whose: "the feed".to_owned(),
        told: told.clone(),
    }));
    let mut faults = world.faults.lock().expect("the faults").clone();
    faults.sort_unstable_by_key(|fault| fault.begun);
    let record = Record {
        checks,
        writes,
        faults,
    };
    let judging = Instant::now();
    let judge = Judge::new(&witness.histories, &witness.targets, &record, to_wall);
    violations.extend(judge.judge(&record.checks));
    let acknowledged = audit::acknowledged(&record, &witness.histories, to_wall);
    let present = witness.histories.last().expect("there is always one");
    let rows = audit::rows(&witness.pool, &record, present).await;
    violations.extend(acknowledged.violations);
    violations.extend(rows.violations);
    let report = Report::of(
        (seed, pods, lasted),
        &record,
        &witness.histories,
        violations,
        acknowledged.lost_by_restore,
        &moved,
        &format!("{back}; judged in {:.1} s", judging.elapsed().as_secs_f32()),
    );
    if !report.violations.is_empty() {
        for (pod, log) in logs {
            for line in log {
                eprintln!("pod {pod}: {line}");
            }
        }
    }
    report
}

/// Waits until all pods are well again, and says how long that took.
async fn recovered(world: &Arc<World>, violations: &mut Vec<Violation>) -> String {
    match world.all_fresh(RECOVERY).await {
        Ok(took) => format!("all pods were FRESH within {} ms", took.as_millis()),
        Err(late) => {
            let faults = world.faults.lock().expect("the faults").clone();
            let since = cast::boot() - 12_000_000;
            let lately: Vec<_> = faults
                .iter()
                .filter(|one| one.ended > since)
                .filter(|one| one.pod.is_none_or(|pod| late.contains(&pod)))
                .map(|one| (one.kind, (one.ended - since) / 1_000 - 12_000))
                .collect();
            let told = format!(
                "pods {late:?} were not FRESH within {RECOVERY:?} of the last fault; theirs ended at \
                 these milliseconds: {lately:?}"
            );
            violations.push(Violation {
                clause: "recovery",
                whose: format!("pods {late:?}"),
                told: told.clone(),
            });
            told
        }
    }
}

/// Asks every pod about everybody, as consistently as can be.
async fn last_questions(
    world: &Arc<World>,
    violations: &mut Vec<Violation>,
) -> Vec<crate::record::Check> {
    let mut asking = JoinSet::new();
    for seat in 0..world.seats.len() {
        let world = Arc::clone(world);
        asking.spawn(async move {
            let apart = world.plan.rows / CALLERS;
            let mut asker = Asker::new(world, seat, 0);
            let mut unsure = 0;
            let everybody = (0..=NEWCOMER).flat_map(|tenant| {
                // Of the newcomer's very many some of all of them.
                let step = if tenant == NEWCOMER { apart.max(1) } else { 1 };
                (0..CALLERS).map(move |caller| (tenant, caller * step))
            });
            for (tenant, caller) in everybody {
                let question = Question {
                    tenant,
                    callers: [caller, NOBODY],
                    by_text: false,
                    queue: u8::try_from(caller % 2).expect("a queue"),
                    wish: Wish::Fully,
                };
                // A busy machine may be late once; no answer is also the judge's matter.
                let mut answer = None;
                for _ in 0..5 {
                    if answer.is_none() {
                        answer = asker.ask(question).await;
                    }
                }
                unsure += u32::from(answer != Some(FRESH));
                if unsure == ENOUGH {
                    break;
                }
            }
            (seat, unsure, asker.checks)
        });
    }
    let mut checks = Vec::new();
    for (seat, unsure, its) in asking.join_all().await {
        checks.extend(its);
        if unsure > 0 {
            violations.push(Violation {
                clause: "recovery",
                whose: format!("pod {seat}"),
                told: format!("asked five times, not FRESH {unsure} times when all was quiet"),
            });
        }
    }
    checks
}
