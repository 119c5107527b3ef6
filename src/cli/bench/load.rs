//! `bancheck bench load`: asks as many questions as a number of callers would, and measures.

use std::{
    io::{self, IsTerminal},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use futures_util::future::OptionFuture;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{task::JoinSet, time::Instant};

use super::{
    changes::{Changes, IMPORTS},
    report::{Measured, Report, Setup},
    roads::{self, Asking},
};
use crate::{
    api::v1::{Channel, CheckInteractionRequest},
    cli::{
        Outcome, Session,
        check::lines,
        connection::{Connection, Listener},
        identity::IdentityFlags,
        local::{made_up_number, made_up_tenants},
        output::note,
    },
};

/// The most lines of a file that are kept to ask about.
const MOST_LINES: usize = 1_000_000;

/// How questions travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Road {
    /// One question a call
    Unary,
    /// Many questions a call, answered together
    Batch,
    /// Question after question on one stream a connection
    Stream,
}

/// Ask a running server as many callers would, and measure throughput and latency
///
/// What it measures is what a caller on this machine sees: from sending a question until its answer
/// has come, network and client included. With --rate questions are due at fixed instants, and their
/// latency counts from when they were due, so that a server which stalls is not asked less meanwhile
/// (coordinated omission). Without, each place in flight asks again as soon as it is answered: the
/// latencies are then those of a server that is fully loaded. Exits with 1 if any question failed.
#[derive(Args)]
pub(crate) struct Load {
    /// How questions travel
    #[arg(long, value_enum, value_name = "ROAD", default_value = "unary")]
    road: Road,
    /// Connections to the check listener, 1 to 256
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=256))]
    connections: u32,
    /// Calls, or questions of a stream, that each connection has in flight, 1 to 256
    #[arg(long, value_name = "N", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=256))]
    in_flight: u32,
    /// Questions in a call of `--road batch`, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    batch: u32,
    /// Questions a second, all connections together [default: as many as are answered]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: Option<u32>,
    /// Seconds to measure
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Seconds to ask before that without measuring, so that connections are warm
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=3_600))]
    warm_up: u32,
    /// Channel of every interaction
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        value_name = "CHANNEL",
        default_value = "call"
    )]
    channel: Channel,
    /// Queue that every interaction enters [default: none]
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// Ask in turn about every line of a file, `-` for standard input, as `check --batch` reads it; at
    /// most 1 000 000 of them [default: made-up telephone numbers]
    #[arg(long, value_name = "FILE", conflicts_with = "numbers")]
    identities: Option<String>,
    /// Draw from so many made-up numbers, those that `bench seed` bans: after `bench seed 500000` every
    /// second answer is a denial
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=9_999_999_999))]
    numbers: u64,
    /// Ask so many tenants in turn, those that `bench seed --tenants` fills: with --tenant default,
    /// default-0 and so on
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    tenants: u32,
    /// Bans to make a second meanwhile, by ten imports through the admin listener, of made-up numbers
    /// that are not asked about; they stay [default: none]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(i64::from(IMPORTS)..=10_000))]
    changes: Option<u32>,
    #[command(flatten)]
    reading: IdentityFlags,
}

/// Whom to ask about.
pub(super) enum Customers {
    /// These, in turn.
    Of(Vec<Vec<String>>),
    /// Made-up numbers, so many.
    MadeUp(u64),
}

/// What all who ask share.
pub(super) struct Campaign {
    customers: Customers,
    /// Whose customers, in turn.
    tenants: Vec<String>,
    blank: CheckInteractionRequest,
    reading: IdentityFlags,
    /// When asking begins, when measuring does, and when all ends.
    pub(super) start: Instant,
    pub(super) begin: Instant,
    pub(super) end: Instant,
    /// Between one question due and the next; `None` = as fast as it goes.
    pace: Option<Duration>,
    /// Questions in a call.
    share: u32,
    taken: AtomicU64,
}

/// A turn to ask.
pub(super) struct Turn {
    pub(super) questions: Vec<CheckInteractionRequest>,
    /// From when on its answer is waited for.
    pub(super) due: Instant,
    /// Whether it counts.
    pub(super) counts: bool,
}

impl Campaign {
    /// The next turn, when it is due; `None` = the time is over.
    pub(super) async fn turn(&self) -> Option<Turn> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let due = match self.pace {
            None => Instant::now(),
            Some(pace) => {
                let since = pace.as_nanos().saturating_mul(number.into());
                self.start + Duration::from_nanos(u64::try_from(since).unwrap_or(u64::MAX))
            }
        };
        if due >= self.end {
            return None;
        }
        if self.pace.is_some() {
            tokio::time::sleep_until(due).await;
        }
        // A server that has fallen far behind is not waited for beyond the end.
        if Instant::now() >= self.end {
            return None;
        }
        let first = number * u64::from(self.share);
        let questions = (first..first + u64::from(self.share))
            .map(|at| self.question(at))
            .collect();
        Some(Turn {
            questions,
            due,
            counts: due >= self.begin,
        })
    }

    fn question(&self, at: u64) -> CheckInteractionRequest {
        let values = match &self.customers {
            Customers::Of(all) => in_turn(all, at).clone(),
            Customers::MadeUp(count) => vec![made_up_number(scattered(at) % count)],
        };
        CheckInteractionRequest {
            tenant: in_turn(&self.tenants, at).clone(),
            identities: self.reading.identities(&values),
            ..self.blank.clone()
        }
    }

    /// How long is measured.
    fn lasting(&self) -> Duration {
        self.end - self.begin
    }
}

fn in_turn<T>(all: &[T], at: u64) -> &T {
    &all[usize::try_from(at % all.len() as u64).unwrap_or(0)]
}

/// Neighbouring numbers far apart, and the same ones in every run (`SplitMix64`).
fn scattered(at: u64) -> u64 {
    let mut z = at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Load {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let setup = self.setup(session.connection);
        let share = if self.road == Road::Batch {
            self.batch
        } else {
            1
        };
        let (connections, road, in_flight) = (self.connections, self.road, self.in_flight);
        let customers = self.customers()?;
        let tenants = made_up_tenants(&session.connection.tenant, self.tenants);
        let changes = match self.changes {
            Some(rate) => Some(Changes::open(session.connection, tenants.clone(), rate).await?),
            None => None,
        };
        let mut roads = Vec::new();
        for _ in 0..connections {
            let asking = roads::open(session.connection, road, in_flight).await;
            roads.push(asking.context("the load was not begun")?);
        }
        let now = Instant::now();
        let begin = now + Duration::from_secs(self.warm_up.into());
        let campaign = Arc::new(Campaign {
            customers,
            tenants,
            blank: CheckInteractionRequest {
                channel: self.channel.into(),
                queue: self.queue.unwrap_or_default(),
                ..CheckInteractionRequest::default()
            },
            reading: self.reading,
            start: now,
            begin,
            end: begin + Duration::from_secs(self.seconds.into()),
            pace: self.rate.map(|rate| Duration::from_secs(1) * share / rate),
            share,
            taken: AtomicU64::new(0),
        });
        let bar = bar(self.warm_up + self.seconds)?;
        let mut asking = JoinSet::new();
        for places in roads {
            for place in places {
                asking.spawn(ask(place, Arc::clone(&campaign)));
            }
        }
        let banning = changes.map(|changes| changes.make(Arc::clone(&campaign)));
        let banning = async { OptionFuture::from(banning).await.transpose() };
        let answers = wait_for(asking, now, &bar);
        let (measured, banned) = tokio::try_join!(answers, banning)?;
        bar.finish_and_clear();
        if let Some(behind) = campaign
            .pace
            .map(|_| measured.latest())
            .filter(|behind| *behind > Duration::from_secs(1))
        {
            note(&format!(
                "questions were sent up to {} s later than they were due: more in flight, or a lower \
                 rate, or another client machine",
                behind.as_secs()
            ));
        }
        Report::of(setup, &measured, banned, campaign.lasting()).show(session)
    }

    fn setup(&self, connection: &Connection) -> Setup {
        let uri = connection.endpoint(Listener::Check).uri().to_string();
        Setup {
            road: match self.road {
                Road::Unary => "unary",
                Road::Batch => "batch",
                Road::Stream => "stream",
            },
            batch: (self.road == Road::Batch).then_some(self.batch),
            connections: self.connections,
            in_flight: self.in_flight,
            rate: self.rate,
            tenants: self.tenants,
            server: uri.trim_end_matches('/').to_owned(),
            tenant: connection.tenant.clone(),
        }
    }

    fn customers(&self) -> anyhow::Result<Customers> {
        let Some(path) = &self.identities else {
            return Ok(Customers::MadeUp(self.numbers));
        };
        let read = lines(path)?.take(MOST_LINES);
        let split = |line: String| line.split('\t').map(|one| one.trim().to_owned()).collect();
        let all: Result<Vec<_>, _> = read.map(|line| line.map(|(_, line)| split(line))).collect();
        let all = all.with_context(|| format!("cannot read {path}"))?;
        ensure!(!all.is_empty(), "{path} names nobody");
        Ok(Customers::Of(all))
    }
}

/// Waits for all who ask, and adds up what they measured.
async fn wait_for(
    mut asking: JoinSet<anyhow::Result<Measured>>,
    since: Instant,
    bar: &ProgressBar,
) -> anyhow::Result<Measured> {
    let mut measured = Measured::new()?;
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            done = asking.join_next() => match done {
                Some(one) => measured.add(&one.context("a caller broke down")??)?,
                None => return Ok(measured),
            },
            _ = second.tick() => bar.set_position(since.elapsed().as_secs()),
        }
    }
}

/// Asks turn after turn in one place, until the time is over.
async fn ask(mut place: Asking, campaign: Arc<Campaign>) -> anyhow::Result<Measured> {
    let mut measured = Measured::new()?;
    while let Some(turn) = campaign.turn().await {
        let sent = Instant::now();
        let count = turn.questions.len() as u64;
        let answered = place.ask(turn.questions).await;
        if turn.counts {
            let (late, took) = (sent - turn.due, turn.due.elapsed());
            measured.take(answered, count, late, took);
        }
    }
    Ok(measured)
}

fn bar(seconds: u32) -> anyhow::Result<ProgressBar> {
    if !io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let bar = ProgressBar::new(seconds.into());
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} s")?);
    Ok(bar)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn campaign(pace: Option<Duration>, begin: Instant) -> Campaign {
        Campaign {
            customers: Customers::MadeUp(10),
            tenants: made_up_tenants("acme", 2),
            blank: CheckInteractionRequest::default(),
            reading: IdentityFlags::default(),
            start: begin,
            begin,
            end: begin + Duration::from_secs(1),
            pace,
            share: 3,
            taken: AtomicU64::new(0),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn questions_are_due_at_fixed_instants_however_late_they_are_sent() {
        let begin = Instant::now();
        let campaign = campaign(Some(Duration::from_millis(300)), begin);
        for at in 0..4 {
            let turn = campaign.turn().await.unwrap();
            assert_eq!(turn.due, begin + Duration::from_millis(300) * at);
            let asked: Vec<_> = turn.questions.iter().map(|one| &one.tenant[..]).collect();
            let in_turn = [["acme-0", "acme-1"], ["acme-1", "acme-0"]][usize::from(at % 2 == 1)];
            assert_eq!(asked, [in_turn[0], in_turn[1], in_turn[0]]);
            // Slower than the rate: what comes next was due before it could be sent.
            tokio::time::sleep(Duration::from_millis(310)).await;
        }
        assert!(campaign.turn().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_the_next_question_is_due_when_there_is_a_place_for_it() {
        let campaign = campaign(None, Instant::now());
        tokio::time::sleep(Duration::from_millis(999)).await;
        assert_eq!(campaign.turn().await.unwrap().due, Instant::now());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(campaign.turn().await.is_none());
    }
}
