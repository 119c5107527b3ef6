//! `CheckInteraction` and `BatchCheckInteractions` by a short way: one message comes, and one goes.
//!
//! tonic reads and writes every call as a stream of messages: two buffers of 8 KiB, a box for each part
//! and a state machine each way, which together cost about as much as to judge; and the answers of a batch
//! it takes all together, and moves them as its buffer grows. What is not the plain case (a message that
//! is or might be compressed, too large, malformed, or none) goes tonic's way with all that was read of
//! it, and is answered as it always would be.

use std::{
    convert::Infallible,
    future::poll_fn,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyStream, StreamBody};
use prost::{
    Message,
    bytes::{BufMut as _, Bytes, BytesMut},
    encoding::{WireType, encode_key, encode_varint},
};
use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Service},
};

use super::{CheckApi, MAX_BATCH};
use crate::{
    api::{
        Asked, Bounded, CHECK_DEADLINE,
        size::{BATCH, MAX_CHECK_MESSAGE, MAX_MESSAGE},
        to_status,
        v1::{
            BatchCheckInteractionsRequest, batch_check_interactions_response::result::Outcome,
            check_service_server::CheckServiceServer,
        },
    },
    domain::refusal::Refusal,
};

const CHECK: &str = "/bancheck.v1.CheckService/CheckInteraction";
/// Before each message on the wire: whether it is compressed, and its length in four bytes.
const PREFIX: usize = 5;
/// Bytes that are kept ready for each answer of a batch, of which most have some fewer.
const AN_ANSWER: usize = 160;
/// Says how messages are compressed, even where those that come are not.
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
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
        let plain = !request.headers().contains_key(ENCODING);
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
        let question = match read(body, MAX_CHECK_MESSAGE).await {
            Ok(question) => question,
            Err(body) => return self.tonics_way(Request::from_parts(parts, body)).await,
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
        let questions: BatchCheckInteractionsRequest = match read(body, MAX_MESSAGE).await {
            Ok(questions) => questions,
            Err(body) => return self.tonics_way(Request::from_parts(parts, body)).await,
        };
        let answered = async {
            let asked = Asked::by(&parts.extensions, CHECK_DEADLINE)?;
            let mut written = begun(questions.requests.len().min(MAX_BATCH) * AN_ANSWER);
            let write = |outcome| write_result(&mut written, &outcome);
            self.short.check_batch(&asked, &questions, write).await?;
            Ok(written)
        };
        Ok(told(answered.await))
    }

    async fn tonics_way(&self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        self.tonics.clone().call(request).await
    }
}

/// The one message of a body, of no more bytes than `most`; where it is not the plain case, a body that begins
/// once more.
async fn read<M: Message + Default>(mut body: Body, most: usize) -> Result<M, Body> {
    let mut come = Bytes::new();
    while let Some(frame) = next(&mut body).await {
        let data = match frame.map(Frame::into_data) {
            Ok(Ok(data)) => data,
            Ok(Err(other)) => return Err(anew(come, Some(Ok(other)), body)),
            Err(broken) => return Err(anew(come, Some(Err(broken)), body)),
        };
        come = joined(come, data);
        let fits = |whole| whole <= PREFIX + most && come.len() <= whole;
        if !whole(&come).is_some_and(fits) {
            return Err(anew(come, None, body));
        }
        if body.is_end_stream() {
            break;
        }
    }
    if whole(&come) != Some(come.len()) {
        return Err(anew(come, None, body));
    }
    M::decode(come.slice(PREFIX..)).map_err(|_| anew(come, None, body))
}

/// What has come, and more. A frame holds the block that the transport has read it in: of several, however
/// small, the bytes alone are kept.
fn joined(come: Bytes, more: Bytes) -> Bytes {
    if come.is_empty() {
        return more;
    }
    let mut all = come
        .try_into_mut()
        .unwrap_or_else(|come| BytesMut::from(&come[..]));
    all.extend_from_slice(&more);
    all.freeze()
}

/// How many bytes a message has with its prefix, if that has come and says that it is not compressed.
fn whole(come: &[u8]) -> Option<usize> {
    let (compressed, length) = come.get(..PREFIX)?.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    (*compressed == 0).then_some(PREFIX + usize::try_from(length).ok()?)
}

async fn next(body: &mut Body) -> Option<Result<Frame<Bytes>, Status>> {
    poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

/// A body of what has come, then of something else that came, then of the rest.
fn anew(come: Bytes, odd: Option<Result<Frame<Bytes>, Status>>, rest: Body) -> Body {
    let come = Some(come).filter(|come| !come.is_empty());
    let come = come.into_iter().map(|data| Ok(Frame::data(data)));
    Body::new(StreamBody::new(
        stream::iter(come.chain(odd)).chain(BodyStream::new(rest)),
    ))
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
    use futures_util::TryStreamExt as _;

    use super::*;
    use crate::api::{
        status::to_rpc_status,
        v1::{
            self, CheckInteractionRequest, batch_check_interactions_response::Result as BatchResult,
        },
    };

    fn framed(message: &CheckInteractionRequest) -> Vec<u8> {
        let message = message.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0][..], &length, &message].concat()
    }

    fn of(frames: &[&[u8]]) -> Body {
        let frames: Vec<_> = frames
            .iter()
            .map(|frame| Ok::<_, Status>(Frame::data(Bytes::copy_from_slice(frame))))
            .collect();
        Body::new(StreamBody::new(stream::iter(frames)))
    }

    fn question() -> CheckInteractionRequest {
        CheckInteractionRequest {
            tenant: "default".to_owned(),
            ..CheckInteractionRequest::default()
        }
    }

    async fn read(frames: &[&[u8]]) -> Result<CheckInteractionRequest, Body> {
        super::read(of(frames), MAX_CHECK_MESSAGE).await
    }

    #[tokio::test]
    async fn a_question_is_read_at_once_in_however_many_frames_it_comes() {
        let whole = framed(&question());
        let (head, tail) = whole.split_at(7);
        for frames in [&[&whole[..]][..], &[&whole, b""], &[head, tail]] {
            assert_eq!(read(frames).await.unwrap(), question());
        }
    }

    #[test]
    fn of_a_message_in_several_frames_no_block_is_held_that_they_were_read_in() {
        let blocks = [1, 2, 3].map(|fill| Bytes::from(vec![fill; 8 << 10]));
        let frames = blocks.iter().map(|block| block.slice(..2));
        let come = frames.fold(Bytes::new(), joined);
        assert_eq!(&come[..], [1, 1, 2, 2, 3, 3]);
        assert!(blocks.iter().all(Bytes::is_unique));
    }

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

    #[tokio::test]
    async fn whatever_is_not_the_plain_case_is_left_to_the_transport_with_all_that_came() {
        let whole = framed(&question());
        let (head, tail) = whole.split_at(7);
        let compressed = [&[1], &whole[1..]].concat();
        let large = framed(&CheckInteractionRequest {
            queue: "q".repeat(MAX_CHECK_MESSAGE),
            ..question()
        });
        let garbage = [0, 0, 0, 0, 2, 0xff, 0xff];
        for frames in [
            &[][..],
            &[head],
            &[head, tail, b"more"],
            &[&whole, &whole],
            &[&whole[..3]],
            &[&whole[..3], &whole[3..]],
            &[&compressed],
            &[&large],
            &[&garbage],
        ] {
            let left = read(frames).await.unwrap_err();
            let come: Vec<_> = BodyStream::new(left)
                .map_ok(|frame| frame.into_data().unwrap())
                .try_collect()
                .await
                .unwrap();
            assert_eq!(come.concat(), frames.concat());
        }
    }
}
