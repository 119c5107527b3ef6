//! Asks a server the same on three roads, each in turn: one check a call, in batches, on a stream;
//! and tells how many a second it answered, and how much of a processor each cost the server.
//!
//! ```text
//! cargo run --profile dist --example three_roads http://127.0.0.1:50051 SERVER_PID [ROUNDS]
//! ```
//!
//! `benches/roads` runs it against a server on a core of its own.

use std::{error::Error, fs, time::Duration};

use bancheck::api::v1::{
    BatchCheckInteractionsRequest, Channel, CheckInteractionRequest, Identity,
    StreamCheckInteractionsRequest, batch_check_interactions_response::result,
    check_service_client::CheckServiceClient, stream_check_interactions_response as streamed,
};
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;
use tonic::transport::{Channel as Line, Endpoint};

type Outcome<T> = Result<T, Box<dyn Error>>;
type Client = CheckServiceClient<Line>;

/// How long one road is asked on in a round.
const TURN: Duration = Duration::from_secs(3);
/// How many calls are under way at once, on so many connections.
const AT_ONCE: usize = 32;
const CONNECTIONS: usize = 4;
/// How many items a batch has, and how many questions a stream is sent before it is closed.
const BATCH: usize = 1_000;
const STREAM: usize = 20_000;
/// What the kernel counts processor time in, a second.
const TICKS: f64 = 100.0;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let mut told = std::env::args().skip(1);
    let address = told.next().ok_or("where is the server?")?;
    let pid: u32 = told.next().ok_or("which process is it?")?.parse()?;
    let rounds: usize = told.next().as_deref().unwrap_or("3").parse()?;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let line = Endpoint::from_shared(address.clone())?.connect().await?;
        clients.push(CheckServiceClient::new(line));
    }
    println!("road      checks/s   server CPU a check   times one check a call");
    let mut alone = Vec::new();
    for round in 0..=rounds {
        for road in ["one a call", "batches", "stream"] {
            let (before, begun) = (processor(pid)?, Instant::now());
            let mut answered = 0_usize;
            while begun.elapsed() < TURN {
                answered += match road {
                    "one a call" => one_by_one(&clients).await?,
                    "batches" => in_a_batch(&clients[0]).await?,
                    _ => on_a_stream(&clients[0]).await?,
                };
            }
            let (took, busy) = (begun.elapsed().as_secs_f64(), processor(pid)? - before);
            // The first round warms everybody up.
            if round == 0 {
                continue;
            }
            let each = busy * 1e6 / count(answered);
            if road == "one a call" {
                alone.push(each);
            }
            let times = alone.last().map_or(1.0, |alone| alone / each);
            let speed = count(answered) / took;
            println!("{road:10} {speed:8.0}   {each:11.2} µs         {times:8.1}");
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
const fn count(number: usize) -> f64 {
    number as f64
}

/// The processor time that a process has used, in seconds.
fn processor(pid: u32) -> Outcome<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, after) = stat.rsplit_once(')').ok_or("no name in its stat")?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |at: usize| -> Outcome<f64> { Ok(fields.get(at).ok_or("a short stat")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}

/// A question about one of very many numbers.
fn question(at: usize) -> CheckInteractionRequest {
    CheckInteractionRequest {
        tenant: "default".to_owned(),
        channel: Channel::Call.into(),
        queue: "support".to_owned(),
        identities: vec![Identity {
            value: format!("+4206011{:05}", at % 100_000),
            ..Identity::default()
        }],
        ..CheckInteractionRequest::default()
    }
}

async fn one_by_one(clients: &[Client]) -> Outcome<usize> {
    let calls = stream::iter(0..BATCH).map(|at| {
        let mut client = clients[at % clients.len()].clone();
        async move { client.check_interaction(question(at)).await }
    });
    let mut answers = calls.buffer_unordered(AT_ONCE);
    let mut answered = 0;
    while let Some(answer) = answers.next().await {
        answer?;
        answered += 1;
    }
    Ok(answered)
}

async fn in_a_batch(client: &Client) -> Outcome<usize> {
    let request = BatchCheckInteractionsRequest {
        requests: (0..BATCH).map(question).collect(),
        consistency: None,
    };
    let answer = client.clone().batch_check_interactions(request).await?;
    let good = |one: &bancheck::api::v1::batch_check_interactions_response::Result| {
        matches!(one.outcome, Some(result::Outcome::Response(_)))
    };
    let results = answer.into_inner().results;
    if results.len() != BATCH || !results.iter().all(good) {
        return Err("a batch with something wrong".into());
    }
    Ok(BATCH)
}

async fn on_a_stream(client: &Client) -> Outcome<usize> {
    let asked = stream::iter(0..STREAM).map(|at| StreamCheckInteractionsRequest {
        correlation_id: at.to_string(),
        request: Some(question(at)),
    });
    let answers = client.clone().stream_check_interactions(asked).await?;
    let mut answers = answers.into_inner();
    let mut answered = 0;
    while let Some(answer) = answers.message().await? {
        if !matches!(answer.outcome, Some(streamed::Outcome::Response(_))) {
            return Err("a question with something wrong".into());
        }
        answered += 1;
    }
    if answered != STREAM {
        return Err("questions without an answer".into());
    }
    Ok(answered)
}
