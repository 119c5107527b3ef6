//! The one message of a body, read by hand.

use std::{future::poll_fn, pin::Pin};

use futures_util::{StreamExt as _, stream};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyStream, StreamBody};
use prost::bytes::{Bytes, BytesMut};
use tonic::{Status, body::Body};

use crate::api::status::too_large;

/// Before each message on the wire: whether it is compressed, and its length in four bytes.
pub(super) const PREFIX: usize = 5;
const NOT_COMPRESSED: u8 = 0;

/// What becomes of a body where it is not answered as a message.
pub(super) enum Otherwise {
    /// It is refused.
    Refused(Status),
    /// It is not the plain case, and goes tonic's way: a body that begins once more.
    Tonics(Body),
}

/// The one message of a body, of no more bytes than `most`, without what is before it.
///
/// Whatever has begun as one is not left to tonic, which would make of it what it is before more is known.
pub(super) async fn of(mut body: Body, most: usize) -> Result<Bytes, Otherwise> {
    let mut come = Bytes::new();
    while let Some(frame) = next(&mut body).await {
        let data = match frame.map(Frame::into_data) {
            Ok(Ok(data)) => data,
            // Nothing follows what is said last.
            Ok(Err(_)) if !come.is_empty() => break,
            Ok(Err(other)) => return Err(Otherwise::Tonics(anew(come, Some(other), body))),
            Err(broken) => return Err(Otherwise::Refused(broken)),
        };
        come = joined(come, data);
        if come.first().is_some_and(|flag| *flag != NOT_COMPRESSED) {
            return Err(Otherwise::Tonics(anew(come, None, body)));
        }
        match whole(&come) {
            Some(whole) if whole > PREFIX + most => {
                return Err(Otherwise::Refused(too_large(whole - PREFIX, most)));
            }
            Some(whole) if come.len() > whole => {
                let words = "more than one message was sent";
                return Err(Otherwise::Refused(Status::internal(words)));
            }
            _ => {}
        }
        if body.is_end_stream() {
            break;
        }
    }
    match whole(&come) {
        Some(whole) if whole == come.len() => Ok(come.slice(PREFIX..)),
        _ if come.is_empty() => Err(Otherwise::Tonics(anew(come, None, body))),
        _ => Err(Otherwise::Refused(Status::internal(
            "the message ends before its length",
        ))),
    }
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

/// How many bytes a message has with what is before it, if that has come.
fn whole(come: &[u8]) -> Option<usize> {
    let (_, length) = come.get(..PREFIX)?.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    Some(PREFIX + usize::try_from(length).ok()?)
}

async fn next(body: &mut Body) -> Option<Result<Frame<Bytes>, Status>> {
    poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

/// A body of what has come, then of something else that came, then of the rest.
fn anew(come: Bytes, odd: Option<Frame<Bytes>>, rest: Body) -> Body {
    let come = Some(come).filter(|come| !come.is_empty()).map(Frame::data);
    let come = come.into_iter().chain(odd).map(Ok);
    Body::new(StreamBody::new(
        stream::iter(come).chain(BodyStream::new(rest)),
    ))
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;
    use http::HeaderMap;

    use super::*;

    const MOST: usize = 64 << 10;

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[NOT_COMPRESSED][..], &length, message].concat()
    }

    async fn read(frames: &[&[u8]]) -> Result<Bytes, Otherwise> {
        let frames = frames.iter().map(|frame| Bytes::copy_from_slice(frame));
        of_frames(frames.map(Frame::data).collect()).await
    }

    async fn of_frames(frames: Vec<Frame<Bytes>>) -> Result<Bytes, Otherwise> {
        let frames = stream::iter(frames.into_iter().map(Ok::<_, Status>));
        of(Body::new(StreamBody::new(frames)), MOST).await
    }

    #[tokio::test]
    async fn a_message_is_read_at_once_in_however_many_frames_it_comes() {
        let whole = framed(b"a message");
        let (head, tail) = whole.split_at(7);
        let one_by_one: Vec<&[u8]> = whole.chunks(1).collect();
        for frames in [
            &[&whole[..]][..],
            &[&whole, b""],
            &[head, tail],
            &one_by_one,
        ] {
            let Ok(message) = read(frames).await else {
                panic!("{frames:?}")
            };
            assert_eq!(&message[..], b"a message");
        }
    }

    #[tokio::test]
    async fn what_is_said_last_ends_a_message() {
        let whole = Bytes::from(framed(b"a message"));
        let last = || Frame::trailers(HeaderMap::new());
        let read = of_frames(vec![Frame::data(whole.clone()), last()]).await;
        assert!(read.is_ok_and(|message| &message[..] == b"a message"));
        let cut = of_frames(vec![Frame::data(whole.slice(..9)), last()]).await;
        assert!(matches!(cut, Err(Otherwise::Refused(_))));
        assert!(matches!(
            of_frames(vec![last()]).await,
            Err(Otherwise::Tonics(_))
        ));
    }

    #[test]
    fn of_a_message_in_several_frames_no_block_is_held_that_they_were_read_in() {
        let blocks = [1, 2, 3].map(|fill| Bytes::from(vec![fill; 8 << 10]));
        let frames = blocks.iter().map(|block| block.slice(..2));
        let come = frames.fold(Bytes::new(), joined);
        assert_eq!(&come[..], [1, 1, 2, 2, 3, 3]);
        assert!(blocks.iter().all(Bytes::is_unique));
    }

    #[tokio::test]
    async fn a_message_that_is_too_large_cut_or_not_alone_is_refused_as_soon_as_that_is_known() {
        let whole = framed(&vec![7; MOST + 1]);
        for (frames, words) in [
            (
                &[&whole[..3], &whole[3..PREFIX]][..],
                "found 65537 bytes, the limit is: 65536 bytes",
            ),
            (
                &[&whole[..PREFIX - 1]],
                "the message ends before its length",
            ),
            (
                &[&framed(b"cut")[..6]],
                "the message ends before its length",
            ),
            (
                &[&framed(b"one"), &framed(b"two")],
                "more than one message was sent",
            ),
            (&[&framed(b"one"), b"\0"], "more than one message was sent"),
        ] {
            let Err(Otherwise::Refused(status)) = read(frames).await else {
                panic!("{words}")
            };
            assert!(status.message().contains(words), "{status}");
        }
    }

    #[tokio::test]
    async fn whatever_is_not_the_plain_case_is_left_to_the_transport_with_all_that_came() {
        let whole = framed(b"a message");
        let compressed = [&[1], &whole[1..]].concat();
        for frames in [
            &[][..],
            &[&compressed[..]],
            &[&compressed[..2], &compressed[2..]],
        ] {
            let Err(Otherwise::Tonics(left)) = read(frames).await else {
                panic!("{frames:?}")
            };
            let come: Vec<_> = BodyStream::new(left)
                .map_ok(|frame| frame.into_data().unwrap())
                .try_collect()
                .await
                .unwrap();
            assert_eq!(come.concat(), frames.concat());
        }
    }
}
