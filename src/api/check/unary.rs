//! `CheckInteraction` and `BatchCheckInteractions` by a short way: one message comes, and one goes.
//!
//! tonic reads and writes every call as a stream of messages: two buffers of 8 KiB, a box for each part
//! and a state machine each way, which together cost about as much as to judge; and the answers of a batch
//! it takes all together, and moves them as its buffer grows. What is not the plain case (a message that
//! is or might be compressed, or none) goes tonic's way with all that was read of it, and is answered as it
//! always would be.

mod counted;
mod message;

use std::{
    convert::Infallible,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, header::CONTENT_TYPE, request::Parts,
};
use http_body::{Body as HttpBody, Frame};
use prost::{
    Message,
    bytes::{BufMut as _, Bytes},
    encoding::{WireType, encode_key, encode_varint},
};
use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Service},
};

use self::message::{Otherwise, PREFIX};
use super::CheckApi;
use crate::{
    api::{
        Asked, Bounded, CHECK_DEADLINE,
        size::{MAX_CHECK_MESSAGE, MAX_MESSAGE},
        to_status,
        v1::{
            BatchCheckInteractionsRequest, batch_check_interactions_response::result::Outcome,
            check_service_server::CheckServiceServer,
        },
    },
    domain::refusal::Refusal,
};

const CHECK: &str = "/bancheck.v1.CheckService/CheckInteraction";
const BATCH: &str = "/bancheck.v1.CheckService/BatchCheckInteractions";
/// Bytes that are kept ready for each answer of a batch, of which most have some fewer.
const AN_ANSWER: usize = 160;
/// Says how messages are compressed, even where those that come are not.
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// That they are not.
const NOT_COMPRESSED: &str = "identity";
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const OK: HeaderValue = HeaderValue::from_static("0");

/// `CheckService`, of which what has one question and one answer goes the short way.
#[derive(Clone)]
pub struct Unary(Arc<Ways>);

struct Ways {
    short: CheckApi,
    tonics: Bounded<CheckServiceServer<CheckApi>>,
}

impl Unary {
    /// The service that is served by `api`.
    pub fn new(api: CheckApi) -> Self {
        Self(Arc::new(Ways {
            tonics: Bounded::check(api.clone()),
            short: api,
        }))
    }
}

impl Service<Request<Body>> for Unary {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let encoding = request.headers().get(ENCODING);
        let plain = encoding.is_none_or(|encoding| encoding == NOT_COMPRESSED);
        match request.uri().path() {
            CHECK if plain => Box::pin(Arc::clone(&self.0).check(request)),
            BATCH if plain => Box::pin(Arc::clone(&self.0).batch(request)),
            _ => Box::pin(self.0.tonics.clone().call(request)),
        }
    }
}

impl Ways {
    async fn check(self: Arc<Self>, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let (parts, body) = request.into_parts();
        let message = message::of(body, MAX_CHECK_MESSAGE).await;
        let question = match message.and_then(read) {
            Ok(question) => question,
            Err(otherwise) => return self.answer(parts, otherwise).await,
        };
        let answered = async {
            let asked = Asked::by(&parts.extensions, CHECK_DEADLINE)?;
            let answer = self.short.check(&asked, &question).await?;
            let mut written = begun(answer.encoded_len());
            answer.encode_raw(&mut written);
            Ok(written)
        };
        Ok(told(answered.await))
    }

    async fn batch(self: Arc<Self>, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let (parts, body) = request.into_parts();
        let message = message::of(body, MAX_MESSAGE).await;
        let questions: BatchCheckInteractionsRequest =
            match message.and_then(counted::bounded).and_then(read) {
                Ok(questions) => questions,
                Err(otherwise) => return self.answer(parts, otherwise).await,
            };
        let answered = async {
            let asked = Asked::by(&parts.extensions, CHECK_DEADLINE)?;
            let mut written = begun(questions.requests.len() * AN_ANSWER);
            let write = |outcome| write_result(&mut written, &outcome);
            self.short.check_batch(&asked, &questions, write).await?;
            Ok(written)
        };
        Ok(told(answered.await))
    }

    async fn answer(
        &self,
        parts: Parts,
        otherwise: Otherwise,
    ) -> Result<Response<Body>, Infallible> {
        match otherwise {
            Otherwise::Refused(status) => Ok(status.into_http()),
            Otherwise::Tonics(body) => {
                let request = Request::from_parts(parts, body);
                self.tonics.clone().call(request).await
            }
        }
    }
}

/// What cannot be read is told of as tonic does it.
fn read<M: Message + Default>(message: Bytes) -> Result<M, Otherwise> {
    M::decode(message).map_err(|error| Otherwise::Refused(Status::internal(error.to_string())))
}

/// A message that is about to be written, of about so many bytes.
fn begun(length: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(PREFIX + length);
    frame.put_bytes(0, PREFIX);
    frame
}

/// Writes what came of an item, as [`BatchCheckInteractionsResponse`] has it: one of its `results`, which
/// holds nothing else.
///
/// [`BatchCheckInteractionsResponse`]: crate::api::v1::BatchCheckInteractionsResponse
fn write_result(written: &mut Vec<u8>, outcome: &Outcome) {
    encode_key(1, WireType::LengthDelimited, written);
    encode_varint(outcome.encoded_len() as u64, written);
    outcome.encode(written);
}

fn told(written: Result<Vec<u8>, Refusal>) -> Response<Body> {
    let mut frame = match written {
        Ok(frame) => frame,
        Err(refusal) => return to_status(&refusal).into_http(),
    };
    let length = u32::try_from(frame.len() - PREFIX).unwrap_or(u32::MAX);
    if let Some(place) = frame.get_mut(1..PREFIX) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    let mut response = Response::new(Body::new(Written::Message(frame.into())));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// An answer on its way out.
enum Written {
    Message(Bytes),
    Status,
    Done,
}

impl HttpBody for Written {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let (frame, then) = match mem::replace(&mut *self, Self::Done) {
            Self::Message(message) => (Frame::data(message), Self::Status),
            Self::Status => {
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert(Status::GRPC_STATUS, OK);
                (Frame::trailers(trailers), Self::Done)
            }
            Self::Done => return Poll::Ready(None),
        };
        *self = then;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{
        status::to_rpc_status,
        v1::{self, batch_check_interactions_response::Result as BatchResult},
    };

    #[test]
    fn a_result_is_written_as_the_answer_to_a_batch_has_it() {
        let response = v1::CheckInteractionResponse {
            decision_id: "d".repeat(200),
            ..v1::CheckInteractionResponse::default()
        };
        let error = to_rpc_status(&Refusal::required("tenant"));
        let outcomes = [
            Outcome::Response(v1::CheckInteractionResponse::default()),
            Outcome::Response(response),
            Outcome::Error(error),
        ];
        let mut written = Vec::new();
        for outcome in &outcomes {
            write_result(&mut written, outcome);
        }
        let result = |outcome| BatchResult {
            outcome: Some(outcome),
        };
        let whole = v1::BatchCheckInteractionsResponse {
            results: outcomes.map(result).to_vec(),
        };
        assert_eq!(written, whole.encode_to_vec());
    }
}
