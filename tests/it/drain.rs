//! A server that is told to end: what its callers see, and how long it may take.

use std::{net::TcpStream, time::Duration};

use bancheck::api::v1::{
    Channel, CreateBanRequest, ImportBansRequest, WatchChangesRequest,
    admin_service_client::AdminServiceClient,
    check_service_client::CheckServiceClient,
    import_bans_request::{Header, Part, Row},
    watch_service_client::WatchServiceClient,
};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use tonic::{Code, Response};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    process::Process,
    refused::Refused,
    requests::{NUMBER, OTHER_NUMBER, add, connect, denies, phone},
    server::runtime,
};

/// The tenant that an embedded store begins with.
const TENANT: &str = "default";
/// The longest that an end may take beyond its delay, with what never ends by itself.
const LONGEST: Duration = Duration::from_secs(8);

fn asked() -> bancheck::api::v1::CheckInteractionRequest {
    bancheck::api::v1::CheckInteractionRequest {
        tenant: TENANT.to_owned(),
        ..connect(Channel::Call, phone(NUMBER))
    }
}

fn ban(number: &str) -> CreateBanRequest {
    CreateBanRequest {
        tenant: TENANT.to_owned(),
        ..add(phone(number))
    }
}

/// An import that never comes to its end.
fn endless() -> impl tokio_stream::Stream<Item = ImportBansRequest> {
    let header = Header {
        tenant: TENANT.to_owned(),
        ..Default::default()
    };
    let row = Row {
        row_number: 1,
        targets: vec![phone(OTHER_NUMBER)],
        reason: "a row".to_owned(),
        ..Default::default()
    };
    let parts = [Part::Header(header), Part::Row(row)];
    let parts = parts.map(|part| ImportBansRequest { part: Some(part) });
    futures_util::StreamExt::chain(
        tokio_stream::iter(parts),
        futures_util::stream::pending::<ImportBansRequest>(),
    )
}

#[test]
fn a_server_that_ends_answers_through_its_delay_ends_streams_with_a_word_and_waits_for_no_silence()
{
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = Process::start(folder.path(), &["drain_delay_seconds=1"]);
    // They never send the preface of HTTP/2.
    let _silent = [0, 1].map(|listener: usize| TcpStream::connect(&process.addresses[listener]));
    let runtime = runtime();
    let begun = runtime.block_on(async {
        let [check, admin] = process.channels();
        let mut checks = CheckServiceClient::new(check.clone());
        let mut desk = AdminServiceClient::new(admin.clone());
        desk.create_ban(ban(NUMBER)).await.expect("a ban");
        let watch = WatchChangesRequest {
            tenant: TENANT.to_owned(),
            ..Default::default()
        };
        let watched = WatchServiceClient::new(admin).watch_changes(watch).await;
        let mut watched = watched.expect("changes").into_inner();
        let importing = TaskTracker::new().spawn({
            let mut desk = desk.clone();
            async move { desk.import_bans(endless()).await }
        });
        let of_checks = HealthCheckRequest {
            service: "bancheck.v1.CheckService".to_owned(),
        };
        let health = HealthClient::new(check).watch(of_checks).await;
        let mut health = health.expect("health").into_inner();
        let mut healthy = async || {
            let told = health.message().await.expect("health").expect("a status");
            told.status() == ServingStatus::Serving
        };
        while !healthy().await {}

        process.terminate();
        let begun = Instant::now();
        while healthy().await {}
        assert!(
            process
                .page("/readyz", "*/*")
                .contains("503 Service Unavailable")
        );
        let answer = checks.check_interaction(asked()).await.expect("an answer");
        assert!(denies(answer.get_ref()));
        desk.create_ban(ban(OTHER_NUMBER)).await.expect("a ban");
        let ended = async {
            loop {
                match watched.message().await {
                    Ok(Some(_)) => {}
                    ended => return ended.map(Response::new),
                }
            }
        };
        let ended = timeout(LONGEST, ended).await.expect("an end");
        Refused::read(ended).is(Code::Unavailable, "NOT_READY");
        let imported = timeout(LONGEST, importing)
            .await
            .expect("an end")
            .expect("a task");
        Refused::read(imported).is(Code::Unavailable, "NOT_READY");
        begun
    });
    assert!(process.ended().success());
    assert!(begun.elapsed() < LONGEST, "{:?}", begun.elapsed());
}

#[test]
fn a_second_signal_cuts_the_delay_short() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = Process::start(folder.path(), &["drain_delay_seconds=60"]);
    process.terminate();
    while !process.page("/readyz", "*/*").contains("503") {}
    let begun = Instant::now();
    process.terminate();
    assert!(process.ended().success());
    assert!(begun.elapsed() < LONGEST, "{:?}", begun.elapsed());
}
