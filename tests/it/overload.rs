//! Too much at once: what is refused, how soon, and what goes on being answered.

use std::time::Duration;

use bancheck::{
    api::v1::{Channel::Call, CheckInteractionRequest, CreateBanRequest, ListTenantsRequest},
    auth::Limits,
    config::Config,
};
use tokio::{task::JoinSet, time::Instant};
use tonic::{
    Code, Request, Response, Status, client::Grpc, codegen::http::uri::PathAndQuery,
    transport::Channel,
};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

use crate::{
    database::{Database, Kind},
    refused::Refused,
    requests::{NUMBER, add, connect, phone},
    server::{Client, Server, TENANT, config, runtime},
};

const CHECK: &str = "/bancheck.v1.CheckService/CheckInteraction";
const CREATE: &str = "/bancheck.v1.AdminService/CreateBan";

/// Runs a test against a server that takes so many requests at once.
fn run(limits: Limits, test: impl AsyncFnOnce(Client)) {
    let database = Database::fresh(Kind::Sqlite);
    let config = Config {
        limits,
        ..config(&database.place)
    };
    let server = Server::start(&config).expect("a server");
    runtime().block_on(async {
        let client = server.client();
        client.make_tenant(TENANT).await;
        test(client).await;
    });
}

/// A request whose message never comes, and with it no end.
async fn pending(listener: Channel, path: &'static str, deadline: Option<&'static str>) -> Status {
    let mut grpc = Grpc::new(listener);
    grpc.ready().await.expect("a connection");
    let mut request = Request::new(tokio_stream::pending::<CheckInteractionRequest>());
    if let Some(deadline) = deadline {
        let deadline = deadline.parse().expect("a header");
        request.metadata_mut().insert("grpc-timeout", deadline);
    }
    let path = PathAndQuery::from_static(path);
    let codec = ProstCodec::<CheckInteractionRequest, ()>::default();
    let ended = grpc.streaming(request, path, codec).await;
    ended.expect_err("no message, no answer")
}

/// Holds so many requests in flight until `refused` says that no more are taken.
async fn hold(
    held: &mut JoinSet<Status>,
    most: usize,
    ask: impl Fn() -> (Channel, &'static str),
    mut refused: impl AsyncFnMut() -> bool,
) {
    loop {
        // One that met a place taken by the asking itself is sent once more.
        while held.try_join_next().is_some() {}
        while held.len() < most {
            let (listener, path) = ask();
            held.spawn(pending(listener, path, None));
        }
        // They are sent first: whoever is asked with meanwhile would take the place of one, each time.
        tokio::task::yield_now().await;
        if refused().await {
            return;
        }
    }
}

/// Asks until it is as it should be.
async fn until(mut met: impl AsyncFnMut() -> bool) {
    while !met().await {
        tokio::task::yield_now().await;
    }
}

async fn check(client: &Client) -> Result<(), Status> {
    let mut checks = client.check();
    let asked = checks.check_interaction(connect(Call, phone(NUMBER)));
    asked.await.map(drop)
}

#[test]
fn beyond_the_limit_a_check_is_refused_at_once_and_the_desk_goes_on() {
    let limits = Limits {
        checks: 2,
        ..Limits::default()
    };
    run(limits, async |client| {
        let mut held = JoinSet::new();
        let ask = || (client.check_listener.clone(), CHECK);
        hold(&mut held, 2, ask, async || check(&client).await.is_err()).await;
        let begun = Instant::now();
        for _ in 0..100 {
            let refused = Refused::read(check(&client).await.map(Response::new));
            refused.is(Code::ResourceExhausted, "OVERLOADED");
            assert!(refused.status.get_details_retry_info().is_some());
        }
        println!("refused a hundred times in {:?}", begun.elapsed());
        let listed = client
            .config()
            .list_tenants(ListTenantsRequest::default())
            .await;
        listed.expect("the desk has places of its own");
        held.abort_all();
        until(async || check(&client).await.is_ok()).await;
    });
}

#[test]
fn beyond_the_limit_a_write_is_refused_at_once_and_checks_go_on() {
    let limits = Limits {
        writes: 1,
        ..Limits::default()
    };
    run(limits, async |client| {
        let mut held = JoinSet::new();
        let list = async || {
            client
                .config()
                .list_tenants(ListTenantsRequest::default())
                .await
        };
        let ask = || (client.admin_listener.clone(), CREATE);
        hold(&mut held, 1, ask, async || list().await.is_err()).await;
        Refused::read(list().await).is(Code::ResourceExhausted, "OVERLOADED");
        check(&client)
            .await
            .expect("checks have places of their own");
        held.abort_all();
        until(async || list().await.is_ok()).await;
    });
}

#[test]
fn a_tenant_that_asks_too_often_is_told_so_and_no_other() {
    let limits = Limits {
        tenant_checks_per_second: 5,
        ..Limits::default()
    };
    run(limits, async |client| {
        client.make_tenant("beta").await;
        let mut met = Vec::new();
        while !met.iter().any(Result::is_err) {
            met.push(check(&client).await);
        }
        assert!(met.len() > 5, "a second's worth is answered: {}", met.len());
        let refused = met.pop().expect("the last").map(Response::new);
        let refused = Refused::read(refused);
        refused.is(Code::ResourceExhausted, "RATE_LIMITED");
        assert!(refused.status.get_details_retry_info().is_some());
        let mut question = connect(Call, phone(NUMBER));
        "beta".clone_into(&mut question.tenant);
        let asked = client.check().check_interaction(question).await;
        asked.expect("another tenant has its own");
    });
}

#[test]
fn a_request_that_does_not_come_to_its_end_ends_with_its_deadline() {
    run(Limits::default(), async |client| {
        let listener = client.check_listener.clone();
        let begun = Instant::now();
        let status = pending(listener, CHECK, Some("300m")).await;
        Refused::read::<()>(Err(status)).is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
        check(&client).await.expect("an answer");
    });
}

#[test]
fn a_message_too_large_is_refused_in_the_words_of_the_contract() {
    run(Limits::default(), async |client| {
        let long = phone(&"6".repeat(65 << 10));
        let asked = client.check().check_interaction(connect(Call, long)).await;
        Refused::read(asked).is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
        let request = CreateBanRequest {
            reason: "x".repeat(5 << 20),
            ..add(phone(NUMBER))
        };
        let made = client.admin().create_ban(request).await;
        Refused::read(made).is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
    });
}
