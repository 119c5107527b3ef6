//! A check's or a batch's message on the wire, whole or in pieces: HTTP/2 may cut it wherever it likes.

use bancheck::api::v1::{
    BatchCheckInteractionsRequest, BatchCheckInteractionsResponse, Channel,
    CheckInteractionRequest, CheckInteractionResponse, Decision,
    batch_check_interactions_response::result::Outcome,
};
use futures_util::stream;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost::bytes::Bytes;
use tonic::{Code, Status, body::Body};
use tower::{Service as _, ServiceExt as _};

use crate::{
    requests::{NUMBER, OTHER_NUMBER, add, connect, phone},
    server::Client,
};

on_both_stores!(
    a_check_is_answered_alike_however_its_message_is_cut,
    so_is_a_batch_and_one_that_is_broken_is_refused,
    a_batch_may_be_larger_than_a_check_and_say_that_it_is_not_compressed,
);

/// A message behind its prefix.
fn framed(request: &impl prost::Message) -> Vec<u8> {
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).expect("a length");
    [&[0], &length.to_be_bytes()[..], &message].concat()
}

const CHECK: &str = "CheckInteraction";
const BATCH: &str = "BatchCheckInteractions";

async fn sent(client: &mut Client, method: &str, pieces: &[&[u8]]) -> Response<Body> {
    sent_as(client, method, pieces, &[]).await
}

async fn sent_as(
    client: &mut Client,
    method: &str,
    pieces: &[&[u8]],
    headers: &[(&str, &str)],
) -> Response<Body> {
    let pieces: Vec<_> = pieces
        .iter()
        .map(|piece| Ok::<_, Status>(Frame::data(Bytes::copy_from_slice(piece))))
        .collect();
    let request = http::Request::post(format!("http://x/bancheck.v1.CheckService/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| {
            request.header(*name, *value)
        })
        .body(Body::new(StreamBody::new(stream::iter(pieces))))
        .expect("a request");
    let listener = client.check_listener.ready().await.expect("a connection");
    listener.call(request).await.expect("an answer")
}

/// What a whole answer says.
async fn read<M: prost::Message + Default>(answer: Response<Body>) -> M {
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    let whole = answer.into_body().collect().await.expect("a body");
    let trailers = whole.trailers().expect("trailers");
    assert_eq!(trailers[Status::GRPC_STATUS], "0");
    let bytes = whole.to_bytes();
    let (prefix, message) = bytes.split_at(5);
    let length = u32::try_from(message.len()).expect("a length");
    assert_eq!(prefix, [&[0], &length.to_be_bytes()[..]].concat());
    M::decode(message).expect("an answer")
}

fn refused(answer: &Response<Body>) -> Status {
    Status::from_header_map(answer.headers()).expect("a refusal in the head")
}

async fn a_check_is_answered_alike_however_its_message_is_cut(mut client: Client) {
    client.ban(add(phone(NUMBER))).await;
    for (number, decision) in [(NUMBER, Decision::Deny), (OTHER_NUMBER, Decision::Allow)] {
        let whole = framed(&connect(Channel::Call, phone(number)));
        let (head, tail) = whole.split_at(3);
        let (prefix, message) = whole.split_at(5);
        for pieces in [
            &[&whole[..]][..],
            &[&whole, b""],
            &[head, tail],
            &[prefix, message],
            &[b"", &whole],
        ] {
            let answer = sent(&mut client, CHECK, pieces).await;
            let answer: CheckInteractionResponse = read(answer).await;
            assert_eq!(answer.decision(), decision, "{pieces:?}");
            assert_eq!(answer.r#match.is_some(), decision == Decision::Deny);
        }
    }
    for (pieces, code) in [
        // No message, half of one, and something else.
        (&[][..], Code::Internal),
        (&[&[0, 0, 0][..]], Code::Internal),
        (&[&[0, 0, 0, 0, 2, 0xff, 0xff]], Code::Internal),
        // An empty one is a message, which lacks its tenant.
        (&[&[0, 0, 0, 0, 0]], Code::InvalidArgument),
    ] {
        let answer = sent(&mut client, CHECK, pieces).await;
        assert_eq!(refused(&answer).code(), code, "{pieces:?}");
    }
}

async fn so_is_a_batch_and_one_that_is_broken_is_refused(mut client: Client) {
    client.ban(add(phone(NUMBER))).await;
    let who = |at: usize| {
        phone(if at.is_multiple_of(7) {
            NUMBER
        } else {
            OTHER_NUMBER
        })
    };
    let batch = BatchCheckInteractionsRequest {
        requests: (0..200).map(|at| connect(Channel::Call, who(at))).collect(),
        consistency: None,
    };
    let whole = framed(&batch);
    let (head, tail) = whole.split_at(1_000);
    let bytes: Vec<&[u8]> = whole[5..].chunks(1).collect();
    let one_by_one = [&[&whole[..5]], &bytes[..]].concat();
    for pieces in [
        &[&whole[..]][..],
        &[head, tail],
        &[head, tail, b""],
        &one_by_one,
    ] {
        let answers = sent(&mut client, BATCH, pieces).await;
        let answers: BatchCheckInteractionsResponse = read(answers).await;
        assert_eq!(answers.results.len(), 200);
        for (at, result) in answers.results.iter().enumerate() {
            let Some(Outcome::Response(answer)) = &result.outcome else {
                panic!("no answer, but {result:?}")
            };
            let banned = at.is_multiple_of(7);
            assert_eq!(answer.decision() == Decision::Deny, banned, "{at}");
        }
    }
    let (none, cut) = (
        framed(&BatchCheckInteractionsRequest::default()),
        &whole[..500],
    );
    for (pieces, code) in [
        (&[cut][..], Code::Internal),
        (&[&none], Code::InvalidArgument),
    ] {
        let answer = sent(&mut client, BATCH, pieces).await;
        assert_eq!(refused(&answer).code(), code);
    }
}

async fn a_batch_may_be_larger_than_a_check_and_say_that_it_is_not_compressed(mut client: Client) {
    client.ban(add(phone(NUMBER))).await;
    let check = CheckInteractionRequest {
        interaction_id: "i".repeat(100),
        ..connect(Channel::Call, phone(NUMBER))
    };
    let batch = BatchCheckInteractionsRequest {
        requests: vec![check; 1_000],
        consistency: None,
    };
    let whole = framed(&batch);
    assert!(whole.len() > 2 * (64 << 10), "{}", whole.len());
    for headers in [&[][..], &[("grpc-encoding", "identity")]] {
        let answers = sent_as(&mut client, BATCH, &[&whole], headers).await;
        let answers: BatchCheckInteractionsResponse = read(answers).await;
        assert_eq!(answers.results.len(), 1_000);
    }
    let cut = sent(&mut client, BATCH, &[&whole[..100_000]]).await;
    assert_eq!(refused(&cut).code(), Code::Internal);
}
