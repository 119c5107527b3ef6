//! The other ways to ask: many at once, and one after another on a stream.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use bancheck::api::v1::{
    BatchCheckInteractionsRequest, CheckInteractionRequest, CheckInteractionResponse, Consistency,
    StreamCheckInteractionsRequest, StreamCheckInteractionsResponse,
    batch_check_interactions_response::result::Outcome as Item,
    stream_check_interactions_response::Outcome as Streamed,
};
use prost::Message as _;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic_types::{Status as RpcStatus, pb::ErrorInfo};

use crate::{
    cast::{self, Reader, boot},
    load::{Asker, PATIENCE, trouble},
    record::{Answer, Question, Road, Trouble, Wish},
};

/// The most questions of a batch, and of those on a stream that are asked without waiting.
const BATCH: u64 = 20;
const BURST: u64 = 8;

/// A stream to one of the lives of a pod.
pub(crate) struct Line {
    pods_life: u16,
    questions: mpsc::Sender<StreamCheckInteractionsRequest>,
    answers: Streaming<StreamCheckInteractionsResponse>,
}

/// Why one thing among many was refused.
fn refused(error: &RpcStatus) -> Trouble {
    let mut details = error.details.iter();
    let info = details.find(|any| any.type_url.ends_with("google.rpc.ErrorInfo"));
    match info.and_then(|any| ErrorInfo::decode(&*any.value).ok()) {
        Some(info) => Trouble::Refused(info.reason),
        None => Trouble::Odd(format!("{error:?}")),
    }
}

fn answer(
    reader: &mut Reader,
    said: Result<&CheckInteractionResponse, &RpcStatus>,
) -> Result<Answer, Trouble> {
    match said {
        Ok(answer) => reader.answer(answer),
        Err(error) => Err(refused(error)),
    }
}

impl Asker {
    /// Asks many questions at once, mostly about one tenant; whether it was answered.
    pub(crate) async fn ask_a_batch(&mut self) -> bool {
        let Some((life, mut client)) = self.client().await else {
            return false;
        };
        let first = self.any_question();
        let mut questions = vec![first];
        for _ in 0..=self.dice.below(BATCH) {
            let mut next = self.any_question();
            if self.dice.chance(70) {
                next.tenant = first.tenant;
                if !cast::has_lists(next.tenant) {
                    next.queue = 0;
                }
            }
            next.wish = first.wish;
            questions.push(next);
        }
        let item = |question: &Question| {
            let wish = Wish::Latency;
            self.reader.request(Question { wish, ..*question })
        };
        let request = BatchCheckInteractionsRequest {
            requests: questions.iter().map(item).collect(),
            consistency: self.reader.consistency(first.wish),
        };
        let road = Road::Batch(self.world.batches.fetch_add(1, Ordering::Relaxed));
        let sent = boot();
        let said = timeout(PATIENCE, client.batch_check_interactions(request)).await;
        let no = match said {
            Ok(Ok(said)) => {
                let results = said.into_inner().results;
                if results.len() != questions.len() {
                    let odd = Trouble::Odd(format!("{} results", results.len()));
                    self.note(life, road, sent, first, Err(odd));
                    return false;
                }
                for (question, result) in questions.into_iter().zip(results) {
                    let outcome = match &result.outcome {
                        Some(Item::Response(said)) => answer(&mut self.reader, Ok(said)),
                        Some(Item::Error(error)) => answer(&mut self.reader, Err(error)),
                        None => Err(Trouble::Odd("no outcome".to_owned())),
                    };
                    self.note(life, road, sent, question, outcome);
                }
                return true;
            }
            Ok(Err(status)) => trouble(&status),
            Err(_) => Trouble::Silent,
        };
        self.note(life, road, sent, first, Err(no));
        false
    }

    /// Asks some questions on a stream, which is opened where it is not there any more, and waits
    /// for all of their answers; whether they came.
    pub(crate) async fn ask_on_a_stream(&mut self, kept: &mut Option<Line>) -> bool {
        let Some((life, mut client)) = self.client().await else {
            return false;
        };
        let mut talk = if let Some(talk) = kept.take().filter(|talk| talk.pods_life == life) {
            talk
        } else {
            let (questions, asked) = mpsc::channel(64);
            let stream = client.stream_check_interactions(ReceiverStream::new(asked));
            let (sent, question) = (boot(), self.any_question());
            let no = match timeout(PATIENCE, stream).await {
                Ok(Ok(answers)) => Ok(answers.into_inner()),
                Ok(Err(status)) => Err(trouble(&status)),
                Err(_) => Err(Trouble::Silent),
            };
            match no {
                Ok(answers) => Line {
                    pods_life: life,
                    questions,
                    answers,
                },
                Err(no) => {
                    self.note(life, Road::Stream, sent, question, Err(no));
                    return false;
                }
            }
        };
        let mut open = BTreeMap::new();
        for number in 0..=self.dice.below(BURST) {
            let question = self.any_question();
            let asked = StreamCheckInteractionsRequest {
                correlation_id: number.to_string(),
                request: Some(self.reader.request(question)),
            };
            open.insert(number.to_string(), (boot(), question));
            if talk.questions.send(asked).await.is_err() {
                // What ended it is said where answers are read.
                break;
            }
        }
        while let Some((sent, question)) = open.values().next().copied() {
            let no = match timeout(PATIENCE, talk.answers.message()).await {
                Ok(Ok(Some(said))) => {
                    let Some((sent, question)) = open.remove(&said.correlation_id) else {
                        let odd = Trouble::Odd(format!("nobody asked {}", said.correlation_id));
                        self.note(life, Road::Stream, sent, question, Err(odd));
                        return false;
                    };
                    let outcome = match &said.outcome {
                        Some(Streamed::Response(said)) => answer(&mut self.reader, Ok(said)),
                        Some(Streamed::Error(error)) => answer(&mut self.reader, Err(error)),
                        None => Err(Trouble::Odd("no outcome".to_owned())),
                    };
                    self.note(life, Road::Stream, sent, question, outcome);
                    continue;
                }
                Ok(Ok(None)) => Trouble::Broken("the stream ended by itself".to_owned()),
                Ok(Err(status)) => trouble(&status),
                Err(_) => Trouble::Silent,
            };
            self.note(life, Road::Stream, sent, question, Err(no));
            return false;
        }
        *kept = Some(talk);
        true
    }
}

impl Reader {
    /// A wish as it is sent.
    pub(crate) fn consistency(&self, wish: Wish) -> Option<Consistency> {
        let question = Question {
            tenant: 0,
            callers: [cast::NOBODY; 2],
            by_text: false,
            queue: 0,
            wish,
        };
        let CheckInteractionRequest { consistency, .. } = self.request(question);
        consistency
    }
}
