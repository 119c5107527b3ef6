//! What lasts goes on for as long as its caller may have it, and no longer.

use std::time::Duration;

use bancheck::api::v1::{
    BatchCheckInteractionsRequest, Channel, Grant, StreamCheckInteractionsRequest,
    WatchChangesRequest, batch_check_interactions_response::result::Outcome, grant::Scope,
    watch_service_client::WatchServiceClient,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Response, Status, Streaming};

use crate::{
    batch::reason,
    guarded::{Guarded, on_tenant, shown},
    refused::Refused,
    requests::{NUMBER, enter, phone},
    server::TENANT,
};

on_both_stores!(run by crate::guarded::run:
    a_watch_ends_when_its_key_is_revoked,
    a_stream_of_checks_ends_when_its_key_is_revoked,
    a_watch_ends_when_other_things_are_granted,
    each_item_of_a_batch_takes_a_grant_on_its_own_queue,
);

/// Within this anything that is awaited here has happened.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a stream ends that its caller goes on reading.
async fn end<T>(mut answers: Streaming<T>) -> Result<Response<()>, Status> {
    loop {
        match timeout(PATIENCE, answers.message()).await.expect("an end") {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Response::new(())),
            Err(status) => return Err(status),
        }
    }
}

async fn watch(all: &Guarded, key: &str) -> Streaming<bancheck::api::v1::WatchChangesResponse> {
    let request = WatchChangesRequest {
        tenant: TENANT.to_owned(),
        ..WatchChangesRequest::default()
    };
    let mut client = WatchServiceClient::new(all.client.admin_listener.clone());
    let begun = client.watch_changes(shown(key, request)).await;
    begun.expect("a watch").into_inner()
}

async fn a_watch_ends_when_its_key_is_revoked(all: Guarded) {
    let key = all.key("mirror", vec![on_tenant(Scope::Watch)]).await;
    let other = all.key("another", vec![on_tenant(Scope::Watch)]).await;
    let (watched, mut goes_on) = (watch(&all, &key).await, watch(&all, &other).await);
    all.revoke(&key).await;
    Refused::read(end(watched).await).is(Code::Unauthenticated, "CREDENTIAL_INVALID");
    let next = timeout(PATIENCE, goes_on.message()).await.expect("in time");
    assert!(next.expect("the other's goes on").is_some());
}

async fn a_stream_of_checks_ends_when_its_key_is_revoked(all: Guarded) {
    let key = all.key("dialler", vec![on_tenant(Scope::Check)]).await;
    let (_ask, questions) = mpsc::channel::<StreamCheckInteractionsRequest>(1);
    let mut client = all.client.check();
    let begun = client
        .stream_check_interactions(shown(&key, ReceiverStream::new(questions)))
        .await;
    let answers = begun.expect("a stream").into_inner();
    all.revoke(&key).await;
    Refused::read(end(answers).await).is(Code::Unauthenticated, "CREDENTIAL_INVALID");
}

async fn a_watch_ends_when_other_things_are_granted(all: Guarded) {
    let key = all.key("mirror", vec![on_tenant(Scope::Watch)]).await;
    let watched = watch(&all, &key).await;
    all.set_grants("mirror", vec![on_tenant(Scope::Check)])
        .await;
    // Told so that a client asks again, and learns what it may do now.
    Refused::read(end(watched).await).is(Code::Unavailable, "NOT_READY");
}

async fn each_item_of_a_batch_takes_a_grant_on_its_own_queue(all: Guarded) {
    let narrow = Grant {
        queues: vec!["sales".to_owned()],
        ..on_tenant(Scope::Check)
    };
    let key = all.key("ivr", vec![narrow]).await;
    let requests = ["sales", "care"].map(|queue| enter(queue, Channel::Call, phone(NUMBER)));
    let request = BatchCheckInteractionsRequest {
        requests: requests.to_vec(),
        consistency: None,
    };
    let answered = all
        .client
        .check()
        .batch_check_interactions(shown(&key, request))
        .await;
    let results = answered.expect("answers").into_inner().results;
    let [of_its_queue, of_another] = results.as_slice() else {
        panic!("two were asked")
    };
    assert!(matches!(of_its_queue.outcome, Some(Outcome::Response(_))));
    let Some(Outcome::Error(error)) = &of_another.outcome else {
        panic!("it was answered")
    };
    assert_eq!(
        reason(error),
        (Code::PermissionDenied, "TENANT_MISMATCH".to_owned())
    );
}
