//! How the questions of a load travel: a place in flight asks, and is told how each was answered.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::load::Road;
use crate::{
    api::v1::{
        BatchCheckInteractionsRequest, CheckInteractionRequest, CheckInteractionResponse,
        StreamCheckInteractionsRequest, StreamCheckInteractionsResponse,
        batch_check_interactions_response::result::Outcome as Item,
        check_service_client::CheckServiceClient, stream_check_interactions_response::Outcome,
    },
    cli::connection::{Connection, Line},
};

/// How a question was answered.
pub(super) type Answer = Result<CheckInteractionResponse, Status>;

/// A place in flight.
pub(super) enum Asking {
    Unary(CheckServiceClient<Line>),
    Batch(CheckServiceClient<Line>),
    Stream(Seat),
}

impl Asking {
    /// Asks these questions together; an error is that of all of them.
    pub(super) async fn ask(
        &mut self,
        mut questions: Vec<CheckInteractionRequest>,
    ) -> Result<Vec<Answer>, Status> {
        let question =
            |questions: &mut Vec<CheckInteractionRequest>| questions.pop().unwrap_or_default();
        match self {
            Self::Unary(client) => {
                let answer = client.check_interaction(question(&mut questions)).await?;
                Ok(vec![Ok(answer.into_inner())])
            }
            Self::Batch(client) => {
                let request = BatchCheckInteractionsRequest {
                    requests: questions,
                    consistency: None,
                };
                let answer = client.batch_check_interactions(request).await?;
                let results = answer.into_inner().results.into_iter();
                Ok(results
                    .map(|result| match result.outcome {
                        Some(Item::Response(answer)) => Ok(answer),
                        Some(Item::Error(error)) => {
                            Err(Status::new(Code::from_i32(error.code), error.message))
                        }
                        None => Err(Status::internal("no answer")),
                    })
                    .collect())
            }
            Self::Stream(seat) => Ok(vec![seat.ask(question(&mut questions)).await]),
        }
    }
}

type Waiting = Arc<Mutex<Vec<Option<oneshot::Sender<Answer>>>>>;

/// A place on a stream: at most one question of it waits for its answer.
pub(super) struct Seat {
    number: usize,
    out: mpsc::Sender<StreamCheckInteractionsRequest>,
    waiting: Waiting,
    patience: Duration,
}

impl Seat {
    async fn ask(&self, question: CheckInteractionRequest) -> Answer {
        let (tell, told) = oneshot::channel();
        if let Some(seat) = lock(&self.waiting).get_mut(self.number) {
            *seat = Some(tell);
        }
        let request = StreamCheckInteractionsRequest {
            correlation_id: self.number.to_string(),
            request: Some(question),
        };
        let over = || Status::unavailable("the stream is over");
        self.out.send(request).await.map_err(|_| over())?;
        match tokio::time::timeout(self.patience, told).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(over()),
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        }
    }
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, Vec<Option<oneshot::Sender<Answer>>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connects, and makes so many places on the connection.
pub(super) async fn open(
    connection: &Connection,
    road: Road,
    places: u32,
) -> anyhow::Result<Vec<Asking>> {
    Ok(match road {
        Road::Unary => {
            let client = connection.checks().await?;
            (0..places).map(|_| Asking::Unary(client.clone())).collect()
        }
        Road::Batch => {
            let client = connection.checks().await?;
            (0..places).map(|_| Asking::Batch(client.clone())).collect()
        }
        Road::Stream => seats(connection, places).await?,
    })
}

async fn seats(connection: &Connection, places: u32) -> anyhow::Result<Vec<Asking>> {
    let places = usize::try_from(places)?;
    let mut client = connection.check_streams().await?;
    let (out, questions) = mpsc::channel(places);
    let answers = client
        .stream_check_interactions(ReceiverStream::new(questions))
        .await
        .context("the stream was not opened")?;
    let mut answers = answers.into_inner();
    let mut empty = Vec::new();
    empty.resize_with(places, || None);
    let waiting: Waiting = Arc::new(Mutex::new(empty));
    let told = Arc::clone(&waiting);
    #[expect(
        clippy::disallowed_methods,
        reason = "there is no server here whose end would wait for it"
    )]
    tokio::spawn(async move {
        loop {
            match answers.message().await {
                Ok(Some(answer)) => tell(&told, answer),
                // Whoever still waits is told by its sender's end.
                Ok(None) | Err(_) => return lock(&told).clear(),
            }
        }
    });
    let seat = |number| {
        Asking::Stream(Seat {
            number,
            out: out.clone(),
            waiting: Arc::clone(&waiting),
            patience: connection.timeout(),
        })
    };
    Ok((0..places).map(seat).collect())
}

fn tell(waiting: &Waiting, answer: StreamCheckInteractionsResponse) {
    let answered = match answer.outcome {
        Some(Outcome::Response(answer)) => Ok(answer),
        Some(Outcome::Error(error)) => Err(Status::new(Code::from_i32(error.code), error.message)),
        None => Err(Status::internal("no answer")),
    };
    let seat = answer.correlation_id.parse::<usize>().ok();
    let tell = seat.and_then(|seat| lock(waiting).get_mut(seat)?.take());
    if let Some(tell) = tell {
        // It may have given up waiting.
        let _ = tell.send(answered);
    }
}
