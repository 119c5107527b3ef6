//! A check's message on the wire, whole or in pieces: HTTP/2 may cut it wherever it likes.

use bancheck::api::v1::{Channel, CheckInteractionRequest, CheckInteractionResponse, Decision};
use futures_util::stream;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost::{Message as _, bytes::Bytes};
use tonic::{Code, Status, body::Body};
use tower::{Service as _, ServiceExt as _};

use crate::{
    database::{Database, Kind},
    requests::{NUMBER, OTHER_NUMBER, add, connect, phone},
    server::{Client, Server, TENANT, config, runtime},
};

/// A message behind its prefix.
fn framed(request: &CheckInteractionRequest) -> Vec<u8> {
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).expect("a length");
    [&[0], &length.to_be_bytes()[..], &message].concat()
}

async fn sent(client: &mut Client, pieces: &[&[u8]]) -> Response<Body> {
    let pieces: Vec<_> = pieces
        .iter()
        .map(|piece| Ok::<_, Status>(Frame::data(Bytes::copy_from_slice(piece))))
        .collect();
    let request = http::Request::post("http://x/bancheck.v1.CheckService/CheckInteraction")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(StreamBody::new(stream::iter(pieces))))
        .expect("a request");
    let listener = client.check_listener.ready().await.expect("a connection");
    listener.call(request).await.expect("an answer")
}

/// What a whole answer says.
async fn read(answer: Response<Body>) -> CheckInteractionResponse {
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    let whole = answer.into_body().collect().await.expect("a body");
    let trailers = whole.trailers().expect("trailers");
    assert_eq!(trailers[Status::GRPC_STATUS], "0");
    let bytes = whole.to_bytes();
    let (prefix, message) = bytes.split_at(5);
    let length = u32::try_from(message.len()).expect("a length");
    assert_eq!(prefix, [&[0], &length.to_be_bytes()[..]].concat());
    CheckInteractionResponse::decode(message).expect("an answer")
}

fn refused(answer: &Response<Body>) -> Status {
    Status::from_header_map(answer.headers()).expect("a refusal in the head")
}

#[test]
fn a_check_is_answered_alike_however_its_message_is_cut() {
    let database = Database::fresh(Kind::Sqlite);
    let server = Server::start(&config(&database.place)).expect("a server");
    runtime().block_on(async {
        let mut client = server.client();
        client.make_tenant(TENANT).await;
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
                let answer = read(sent(&mut client, pieces).await).await;
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
            let answer = sent(&mut client, pieces).await;
            assert_eq!(refused(&answer).code(), code, "{pieces:?}");
        }
    });
}
