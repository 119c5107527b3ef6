//! `CheckInteraction` by a short way: its question comes whole in one frame, and so does its answer.
//!
//! tonic reads and writes every call as a stream of messages: two buffers of 8 KiB, a box for each part
//! and a state machine each way, which together cost about as much as to judge. What is not the plain
//! case (a message that is or might be compressed, too large, malformed, in several frames, or none) goes
//! tonic's way with all that was read of it, and is answered as it always would be.

use std::{
    convert::Infallible,
    future::poll_fn,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{StreamExt as _, stream};
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Request, Response, header::CONTENT_TYPE,
};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyStream, StreamBody};
use prost::{
    Message as _,
    bytes::{BufMut as _, Bytes},
};
use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Service},
};

use super::CheckApi;
use crate::api::{
    Asked, Bounded, CHECK_DEADLINE,
    size::MAX_CHECK_MESSAGE,
    to_status,
    v1::{
        CheckInteractionRequest, CheckInteractionResponse, check_service_server::CheckServiceServer,
    },
};

const CHECK: &str = "/bancheck.v1.CheckService/CheckInteraction";
/// Before each message on the wire: whether it is compressed, and its length in four bytes.
const PREFIX: usize = 5;
/// Says how messages are compressed, even where those that come are not.
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const OK: HeaderValue = HeaderValue::from_static("0");

/// `CheckService`, of which one check alone goes the short way.
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
        if request.uri().path() != CHECK || !plain {
            return Box::pin(self.0.tonics.clone().call(request));
        }
        let ways = Arc::clone(&self.0);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            match read(body).await {
                Ok(question) => Ok(ways.short.answer(&parts.extensions, &question).await),
                Err(body) => {
                    let request = Request::from_parts(parts, body);
                    ways.tonics.clone().call(request).await
                }
            }
        })
    }
}

impl CheckApi {
    async fn answer(
        &self,
        extensions: &Extensions,
        question: &CheckInteractionRequest,
    ) -> Response<Body> {
        let answered = async {
            let asked = Asked::by(extensions, CHECK_DEADLINE)?;
            self.check(&asked, question).await
        };
        match answered.await {
            Ok(answer) => written(&answer),
            Err(refusal) => to_status(&refusal).into_http(),
        }
    }
}

/// The one message of a body; where it is not the plain case, a body that begins once more.
async fn read(mut body: Body) -> Result<CheckInteractionRequest, Body> {
    let Some(first) = next(&mut body).await else {
        return Err(Body::empty());
    };
    let message = match &first {
        Ok(frame) => frame.data_ref().and_then(plain),
        Err(_) => None,
    };
    let Some(message) = message else {
        return Err(anew([first], body));
    };
    // Some say in a frame of its own that nothing follows.
    while !body.is_end_stream() {
        match next(&mut body).await {
            None => break,
            Some(Ok(more)) if more.data_ref().is_some_and(Bytes::is_empty) => {}
            Some(more) => return Err(anew([first, more], body)),
        }
    }
    CheckInteractionRequest::decode(message).map_err(|_| anew([first], body))
}

async fn next(body: &mut Body) -> Option<Result<Frame<Bytes>, Status>> {
    poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

/// What is between the prefix of a message and its end, where that is all there is.
fn plain(data: &Bytes) -> Option<Bytes> {
    let (prefix, message) = data.split_at_checked(PREFIX)?;
    let (compressed, length) = prefix.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    let whole = *compressed == 0
        && usize::try_from(length) == Ok(message.len())
        && message.len() <= MAX_CHECK_MESSAGE;
    whole.then(|| data.slice(PREFIX..))
}

fn anew<const N: usize>(come: [Result<Frame<Bytes>, Status>; N], rest: Body) -> Body {
    Body::new(StreamBody::new(
        stream::iter(come).chain(BodyStream::new(rest)),
    ))
}

fn written(answer: &CheckInteractionResponse) -> Response<Body> {
    let length = answer.encoded_len();
    let mut frame = Vec::with_capacity(PREFIX + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    answer.encode_raw(&mut frame);
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

    #[tokio::test]
    async fn a_question_that_comes_whole_is_read_at_once() {
        let whole = framed(&question());
        for frames in [&[&whole[..]][..], &[&whole, b""]] {
            assert_eq!(read(of(frames)).await.unwrap(), question());
        }
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
            &[head, tail],
            &[&whole, &whole],
            &[&whole[..3]],
            &[&compressed],
            &[&large],
            &[&garbage],
        ] {
            let left = read(of(frames)).await.unwrap_err();
            let come: Vec<_> = BodyStream::new(left)
                .map_ok(|frame| frame.into_data().unwrap())
                .try_collect()
                .await
                .unwrap();
            assert_eq!(come.concat(), frames.concat());
        }
    }
}
