//! A stream of checks: questions are read only as fast as answers are taken, and only while few of
//! them wait, so that no caller can make the process grow.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{Stream, StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Status, Streaming};

use super::CheckApi;
use crate::{
    api::{
        Asked, CHECK_DEADLINE,
        status::{in_our_words, to_rpc_status, to_status},
        v1::{
            StreamCheckInteractionsRequest, StreamCheckInteractionsResponse,
            stream_check_interactions_response::Outcome,
        },
    },
    auth::Pass,
    domain::{
        fields,
        refusal::{Reason, Refusal},
    },
};

/// How many questions of one stream may wait at once, for news or for a load; of the others each is
/// answered before the next is read.
const WAITING: usize = 32;

type Answer = Pin<Box<dyn Future<Output = StreamCheckInteractionsResponse> + Send>>;

/// The answers to a stream of questions.
pub struct Answers {
    api: CheckApi,
    pass: Pass,
    /// `None` = no more are read.
    questions: Option<Streaming<StreamCheckInteractionsRequest>>,
    waiting: FuturesUnordered<Answer>,
    /// How the stream ends once nothing waits any more; `None` = well.
    end: Option<Status>,
    until: Option<(Instant, Pin<Box<Sleep>>)>,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Answers {
    pub(super) fn new(
        api: CheckApi,
        pass: Pass,
        questions: Streaming<StreamCheckInteractionsRequest>,
        until: Option<Instant>,
    ) -> Self {
        let closing = Box::pin(api.closing.clone().cancelled_owned());
        Self {
            api,
            pass,
            questions: Some(questions),
            waiting: FuturesUnordered::new(),
            end: None,
            until: until.map(|at| (at, Box::pin(sleep_until(at)))),
            closing,
        }
    }

    fn answer(&self, question: StreamCheckInteractionsRequest) -> Answer {
        let left = |(at, _): &(Instant, _)| at.saturating_duration_since(Instant::now());
        let left = self.until.as_ref().map_or(CHECK_DEADLINE, left);
        let asked = Asked {
            pass: self.pass.clone(),
            deadline: left.min(CHECK_DEADLINE),
        };
        let api = self.api.clone();
        Box::pin(async move {
            let StreamCheckInteractionsRequest {
                correlation_id,
                request,
            } = question;
            let answer = async {
                fields::callers_id("correlation_id", &correlation_id)?;
                let request = request.ok_or_else(|| Refusal::required("request"))?;
                api.check(&asked, &request).await
            };
            let outcome = match answer.await {
                Ok(answer) => Outcome::Response(answer),
                Err(refusal) => Outcome::Error(to_rpc_status(&refusal)),
            };
            StreamCheckInteractionsResponse {
                correlation_id,
                outcome: Some(outcome),
            }
        })
    }

    /// Reads no more, and ends like this once what waits has been answered.
    fn end_by(&mut self, end: Option<Status>) {
        self.questions = None;
        self.end = end;
    }

    fn poll_ends(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        if let Some((_, until)) = &mut self.until
            && until.as_mut().poll(context).is_ready()
        {
            let message = "the deadline of the stream has passed";
            let late = Refusal::new(Reason::DeadlineExceeded, message);
            return Poll::Ready(to_status(&late));
        }
        if self.questions.is_some() && self.closing.as_mut().poll(context).is_ready() {
            let message = "this server is ending; ask what was not answered of another";
            let ending = Refusal::new(Reason::NotReady, message);
            self.end_by(Some(to_status(&ending)));
        }
        Poll::Pending
    }
}

impl Stream for Answers {
    type Item = Result<StreamCheckInteractionsResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Poll::Ready(end) = this.poll_ends(context) {
            this.end_by(None);
            this.waiting.clear();
            this.until = None;
            return Poll::Ready(Some(Err(end)));
        }
        // Those who wait come first: new questions would always be answered before them.
        if let Poll::Ready(Some(answer)) = this.waiting.poll_next_unpin(context) {
            return Poll::Ready(Some(Ok(answer)));
        }
        while this.waiting.len() < WAITING
            && let Some(questions) = &mut this.questions
        {
            match questions.poll_next_unpin(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => this.end_by(None),
                Poll::Ready(Some(Err(status))) => this.end_by(Some(in_our_words(status))),
                Poll::Ready(Some(Ok(question))) => {
                    let mut answer = this.answer(question);
                    // Mostly it is there at once.
                    match answer.as_mut().poll(context) {
                        Poll::Ready(answer) => return Poll::Ready(Some(Ok(answer))),
                        Poll::Pending => this.waiting.push(answer),
                    }
                }
            }
        }
        match this.waiting.poll_next_unpin(context) {
            Poll::Ready(Some(answer)) => Poll::Ready(Some(Ok(answer))),
            Poll::Ready(None) if this.questions.is_none() => Poll::Ready(this.end.take().map(Err)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
