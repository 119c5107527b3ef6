//! Clients that write: they hang up, ask two pods at once, try again elsewhere, and look afterwards
//! whether it holds.

use std::{sync::Arc, time::Duration};

use bancheck::{
    desk::{
        BanEdit, CreateBan, CreateException, DeactivateBan, DeactivateException, End, Job, Named,
        Order, SetListQueues, TargetGiven, UpdateBan, Written,
    },
    domain::{
        ban::{BanId, Enforcement, Origin},
        channel::{Channel, Channels},
        ids::{ExceptionId, ListId, TenantId},
        refusal::{Reason, Refusal},
    },
};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    answers::Wish,
    client::{LIST, PEOPLE, World, about, check, identity},
    pod::{Pausable, Pod},
    random::Random,
    shelf::QUEUES,
};

/// What a client wants written.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// A ban on a person, whole or in the list.
    Ban {
        who: u64,
        in_list: bool,
        on: Vec<Channel>,
        starts: Option<Duration>,
        ends: Option<Duration>,
        shadow: bool,
    },
    /// One of the bans is lifted, counted from the newest.
    Lift(usize),
    /// One of the bans is changed, counted from the newest: where it holds, whether, or until when.
    Move(usize, Channel),
    Watch(usize, bool),
    End(usize, Option<Duration>),
    /// The list is checked at these queues from now on.
    Queues(Vec<usize>),
    /// A person is spared on a channel.
    Spare {
        who: u64,
        on: Channel,
        ends: Option<Duration>,
    },
    /// One of the exceptions is ended, counted from the newest.
    SpareNoMore(usize),
}

/// A write and how its client behaves.
#[derive(Clone, Debug)]
pub(crate) struct Errand {
    pub(crate) tenant: usize,
    pub(crate) deed: Deed,
    /// Asked first, and the one that is asked at the same time.
    pub(crate) pod: usize,
    pub(crate) twin: Option<usize>,
    /// When the client hangs up.
    pub(crate) hangs_up: Option<Duration>,
    pub(crate) deadline: Duration,
    /// How often it tries again, each time on another pod.
    pub(crate) tries: usize,
    /// What it asks afterwards is drawn from this.
    pub(crate) afterwards: u64,
}

/// A job, whichever.
#[derive(Clone)]
enum AnyJob {
    Create(Box<CreateBan>),
    Update(UpdateBan),
    Deactivate(DeactivateBan),
    Queues(SetListQueues),
    Spare(CreateException),
    SpareNoMore(DeactivateException),
}

impl AnyJob {
    const fn rpc(&self) -> &'static str {
        match self {
            Self::Create(_) => CreateBan::RPC,
            Self::Update(_) => UpdateBan::RPC,
            Self::Deactivate(_) => DeactivateBan::RPC,
            Self::Queues(_) => SetListQueues::RPC,
            Self::Spare(_) => CreateException::RPC,
            Self::SpareNoMore(_) => DeactivateException::RPC,
        }
    }

    async fn write(self, pod: &Pod, order: Order) -> Result<Written, Refusal> {
        match self {
            Self::Create(job) => pod.desk.write(order, *job).await,
            Self::Update(job) => pod.desk.write(order, job).await,
            Self::Deactivate(job) => pod.desk.write(order, job).await,
            Self::Queues(job) => pod.desk.write(order, job).await,
            Self::Spare(job) => pod.desk.write(order, job).await,
            Self::SpareNoMore(job) => pod.desk.write(order, job).await,
        }
    }
}

/// The ban that stands so far from the newest of those not ended, in the database as it is.
fn nth_newest(world: &World, tenant: &TenantId, back: usize) -> Option<BanId> {
    let head = world.database.head();
    let bans = head.tenants[tenant].by_age();
    let standing: Vec<_> = bans.iter().filter(|kept| !kept.ban.ended).collect();
    let at = standing
        .len()
        .checked_sub(1 + back % standing.len().max(1))?;
    Some(standing[at].ban.ban_id)
}

/// The same of the exceptions.
fn nth_exception(world: &World, tenant: &TenantId, back: usize) -> Option<ExceptionId> {
    let head = world.database.head();
    let mut standing: Vec<_> = head.tenants[tenant].excepted().collect();
    standing.sort_by_key(|kept| kept.made);
    let at = standing
        .len()
        .checked_sub(1 + back % standing.len().max(1))?;
    Some(standing[at].exception.exception_id)
}

/// How somebody is named who is met on a channel.
fn named(who: u64, channel: Channel) -> TargetGiven {
    let (kind, value) = identity(who, channel);
    TargetGiven {
        kind: Some(kind),
        value,
        issuer: String::new(),
        region_hint: String::new(),
    }
}

/// The job of a deed; `None` = there is nothing to do it to.
fn job(world: &World, pod: &Pod, tenant: &TenantId, id: &str, deed: &Deed) -> Option<AnyJob> {
    let now = pod.desk.now();
    let later = |time: Duration| now.plus_micros(i64::try_from(time.as_micros()).unwrap_or(0));
    let edit = |back: usize, edit: BanEdit| {
        let ban_id = nth_newest(world, tenant, back)?;
        Some(AnyJob::Update(UpdateBan {
            ban_id,
            etag: String::new(),
            edit,
        }))
    };
    match deed {
        Deed::Ban {
            who,
            in_list,
            on,
            starts,
            ends,
            shadow,
        } => {
            let targets = [Channel::WebChat, Channel::Email]
                .into_iter()
                .filter(|channel| on.is_empty() || on.contains(channel))
                .map(|channel| named(*who, channel));
            Some(AnyJob::Create(Box::new(CreateBan {
                list_id: in_list.then(|| ListId::parse(LIST).expect("a list id")),
                channels: Channels::of(on),
                targets: targets.collect(),
                match_kind: None,
                reason: id.to_owned(),
                reason_code: String::new(),
                end: ends.map_or(End::Never, |ends| End::At(later(ends))),
                start: starts.map(later),
                enforcement: if *shadow {
                    Enforcement::Shadow
                } else {
                    Enforcement::Enforced
                },
                override_warnings: false,
                origin: Origin::AdminEntry,
            })))
        }
        Deed::Lift(back) => Some(AnyJob::Deactivate(DeactivateBan {
            ban_id: nth_newest(world, tenant, *back)?,
            reason: String::new(),
            etag: String::new(),
            include_cascade: false,
        })),
        Deed::Move(back, to) => {
            let channels = Some(Channels::of(&[*to]));
            edit(
                *back,
                BanEdit {
                    channels,
                    ..BanEdit::default()
                },
            )
        }
        Deed::Watch(back, shadow) => {
            let enforcement = Some(if *shadow {
                Enforcement::Shadow
            } else {
                Enforcement::Enforced
            });
            edit(
                *back,
                BanEdit {
                    enforcement,
                    ..BanEdit::default()
                },
            )
        }
        Deed::End(back, ends) => {
            let end = Some(ends.map_or(End::Never, |ends| End::At(later(ends))));
            edit(
                *back,
                BanEdit {
                    end,
                    ..BanEdit::default()
                },
            )
        }
        Deed::Spare { who, on, ends } => Some(AnyJob::Spare(CreateException {
            target: named(*who, *on),
            match_kind: None,
            channels: Channels::NONE,
            comment: id.to_owned(),
            expire: ends.map(later),
            protected: false,
            override_warnings: false,
        })),
        Deed::SpareNoMore(back) => Some(AnyJob::SpareNoMore(DeactivateException {
            which: Named::Made(nth_exception(world, tenant, *back)?),
            reason: String::new(),
        })),
        Deed::Queues(at) => Some(AnyJob::Queues(SetListQueues {
            list_id: ListId::parse(LIST).expect("a list id"),
            queues: at.iter().map(|at| QUEUES[*at].to_owned()).collect(),
            etag: String::new(),
        })),
    }
}

/// One try of a write on one pod; `None` = the client hung up, or its pod died.
async fn attempt(
    world: &World,
    pod: &Arc<Pod>,
    tenant: &TenantId,
    id: &str,
    job: AnyJob,
    errand: &Errand,
) -> Option<Result<Written, Refusal>> {
    let rpc = job.rpc();
    let order = Order {
        tenant: tenant.clone(),
        actor: "client".to_owned(),
        request_id: id.to_owned(),
        validate_only: false,
        body: id.as_bytes().to_vec(),
        deadline: errand.deadline,
    };
    let writing = async {
        let written = job.write(pod, order).await;
        if let Ok(written) = &written {
            world.judge.look(pod);
            let made = written.answer.ban.as_ref().map(|ban| ban.ban_id);
            let token = written.token.as_deref().unwrap_or_default();
            world
                .judge
                .acknowledged(pod.name, (tenant, rpc, id), made, token);
            world.keep(token);
        }
        written
    };
    // Whose pod has died hears nothing; a client gives up some time after its own deadline.
    let gives_up = errand
        .hangs_up
        .unwrap_or(errand.deadline + Duration::from_secs(10));
    timeout_at(
        Instant::now() + gives_up,
        Pausable::new(&pod.network, writing),
    )
    .await
    .ok()
}

/// Runs an errand to its end.
pub(crate) async fn run(world: Arc<World>, number: usize, errand: Errand) {
    let tenant = world.tenants[errand.tenant].clone();
    let id = format!("w{number}");
    let mut random = Random::new(errand.afterwards);
    let Some(job) = job(&world, &world.pod(errand.pod), &tenant, &id, &errand.deed) else {
        return;
    };
    let rpc = job.rpc();
    world.judge.note(format_args!(
        "{id} on pod {} in {tenant}: {:?}",
        errand.pod, errand.deed
    ));
    if let Some(twin) = errand.twin {
        let (world, errand, job) = (Arc::clone(&world), errand.clone(), job.clone());
        let (tenant, id) = (tenant.clone(), id.clone());
        world.tasks.clone().spawn(async move {
            let pod = world.pod(twin);
            attempt(&world, &pod, &tenant, &id, job, &errand).await;
        });
    }
    let mut alone = errand.twin.is_none();
    for try_no in 0..=errand.tries {
        let pod = world.pod(errand.pod + try_no);
        let ended = attempt(&world, &pod, &tenant, &id, job.clone(), &errand).await;
        match &ended {
            Some(Ok(_)) => return look_again(&world, errand.pod, &tenant, &errand, random).await,
            Some(Err(refusal)) => {
                world.judge.note(format_args!(
                    "pod {} refuses {id}: {:?}",
                    pod.name, refusal.reason
                ));
                match refusal.reason {
                    // An earlier try may be the one it says that of.
                    Reason::StoreUnavailable if alone && try_no == errand.tries => {
                        world.judge.said_nothing_of(&tenant, rpc, &id);
                    }
                    Reason::StoreUnavailable => {}
                    Reason::DuplicateActiveBan
                    | Reason::BanEnded
                    | Reason::BanNotFound
                    | Reason::ExceptionNotFound
                    | Reason::ExpireTimeInPast
                    | Reason::ExpireBeforeStart
                    | Reason::KindChannelMismatch => return,
                    Reason::CommitOutcomeUnknown | Reason::NotReady => alone = false,
                    reason => {
                        let what = format!("pod {} refused {id}: {reason:?}", pod.name);
                        world
                            .judge
                            .accuse("a write is done or may be tried again", what);
                        return;
                    }
                }
            }
            None => alone = false,
        }
        let pause = Duration::from_millis(random.between(1, 400));
        sleep_until(Instant::now() + pause).await;
    }
}

/// After a write: at once where it was made, with its token elsewhere, and past the lease anywhere.
async fn look_again(
    world: &Arc<World>,
    pod: usize,
    tenant: &TenantId,
    errand: &Errand,
    mut random: Random,
) {
    let who = match &errand.deed {
        Deed::Ban { who, .. } | Deed::Spare { who, .. } => *who,
        _ => random.below(PEOPLE),
    };
    let token = {
        let tokens = world.tokens.lock().expect("nobody panics with the tokens");
        tokens.last().cloned().unwrap_or_default()
    };
    let pods = world
        .pods
        .lock()
        .expect("nobody panics with the pods")
        .len();
    let deadline = Duration::from_millis(800);
    let looks = [
        (0, pod, Wish::Whatever),
        (0, pod + 1 + random.place(pods), Wish::Token(token)),
        (2_002 + random.below(40), random.place(pods), Wish::Whatever),
        (
            2_050 + random.below(800),
            random.place(pods),
            Wish::Whatever,
        ),
    ];
    let acknowledged = Instant::now();
    for (after, pod, wish) in looks {
        if random.chance(60) {
            continue;
        }
        sleep_until(acknowledged + Duration::from_millis(after)).await;
        let asked = about(tenant, who, &mut random);
        check(world, &world.pod(pod), &asked, &wish, deadline).await;
    }
}
