//! The contract as it is served: every service, on its listener, told of by reflection and health.

use std::collections::BTreeSet;

use bancheck::api::{
    DESCRIPTORS,
    v1::{Channel::Call, CreateBanRequest},
};
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet, Timestamp};
use tokio_stream::once;
use tonic::{
    Code, Request, Status, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel,
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::{v1, v1alpha};

use crate::{
    refused::Refused,
    requests::{NUMBER, add, connect, phone},
    server::Client,
};

on_both_stores!(
    every_rpc_of_the_contract_is_served_on_its_listener,
    every_service_is_refused_on_the_other_listener_which_is_named,
    what_is_in_no_contract_is_unimplemented,
    reflection_tells_of_every_service_on_both_listeners,
    the_older_reflection_tells_the_same,
    health_is_told_on_both_listeners,
    the_health_of_an_unknown_service_is_not_found,
    what_is_no_message_harms_nobody,
    a_message_too_large_is_refused_and_the_next_is_answered,
);

fn files() -> Vec<FileDescriptorProto> {
    FileDescriptorSet::decode(DESCRIPTORS)
        .expect("the contract's descriptors")
        .file
}

/// Each service of the contract with its methods.
fn services() -> Vec<(String, Vec<String>)> {
    let of_file = |file: FileDescriptorProto| {
        let package = file.package().to_owned();
        file.service.into_iter().map(move |service| {
            let methods = service
                .method
                .iter()
                .map(|method| method.name().to_owned())
                .collect();
            (format!("{package}.{}", service.name()), methods)
        })
    };
    files().into_iter().flat_map(of_file).collect()
}

impl Client {
    /// The listener that serves this service, and the one that does not with the name of the first.
    fn listeners_of(&self, service: &str) -> (Channel, Channel, &'static str) {
        let (check, admin) = (self.check_listener.clone(), self.admin_listener.clone());
        match service {
            "bancheck.v1.CheckService" => (check, admin, "check"),
            _ => (admin, check, "admin"),
        }
    }
}

/// Calls a method with an empty message, and tells what it was refused with.
async fn call(listener: Channel, service: &str, method: &str) -> Result<(), Status> {
    let mut grpc = Grpc::new(listener);
    grpc.ready()
        .await
        .map_err(|error| Status::unknown(error.to_string()))?;
    let path = PathAndQuery::try_from(format!("/{service}/{method}")).expect("a path");
    let codec = ProstCodec::<(), ()>::default();
    // Whatever streams: the head of the answer is what matters here.
    grpc.server_streaming(Request::new(()), path, codec)
        .await
        .map(drop)
}

async fn every_rpc_of_the_contract_is_served_on_its_listener(client: Client) {
    let all = services();
    assert!(
        all.iter().map(|(_, methods)| methods.len()).sum::<usize>() >= 16,
        "{all:?}"
    );
    for (service, methods) in all {
        for method in methods {
            let (home, _, _) = client.listeners_of(&service);
            if let Err(status) = call(home, &service, &method).await {
                assert_ne!(
                    status.code(),
                    Code::Unimplemented,
                    "{service}/{method}: {status:?}"
                );
            }
        }
    }
}

async fn every_service_is_refused_on_the_other_listener_which_is_named(client: Client) {
    for (service, methods) in services() {
        let (_, other, home) = client.listeners_of(&service);
        let answer = call(other, &service, &methods[0]).await;
        let refused = Refused::read(answer.map(tonic::Response::new));
        refused.is(Code::Unimplemented, "UNKNOWN_METHOD");
        assert!(
            refused.message.contains(&format!("{home} listener")),
            "{}",
            refused.message
        );
    }
}

async fn what_is_in_no_contract_is_unimplemented(client: Client) {
    for listener in [client.check_listener.clone(), client.admin_listener.clone()] {
        let answer = call(listener, "bancheck.v1.GuessService", "Guess").await;
        Refused::read(answer.map(tonic::Response::new)).is(Code::Unimplemented, "UNKNOWN_METHOD");
    }
    for (service, _) in services() {
        let (home, _, _) = client.listeners_of(&service);
        let status = call(home, &service, "Guess").await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{service}");
    }
    every_rpc_of_the_contract_is_served_on_its_listener(client).await;
}

fn names_of_services() -> BTreeSet<String> {
    let contract = services().into_iter().map(|(service, _)| service);
    contract
        .chain(["grpc.health.v1.Health".to_owned()])
        .collect()
}

/// Asks reflection of one version for all services and for the file of each.
macro_rules! reflect {
    ($version:ident, $listener:expr) => {{
        use $version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let mut client = ServerReflectionClient::new($listener.clone());
        let mut ask = async |question: MessageRequest| {
            let host = String::new();
            let request = ServerReflectionRequest {
                host,
                message_request: Some(question),
            };
            let answers = client.server_reflection_info(once(request)).await;
            let answer = answers
                .expect("answers")
                .into_inner()
                .message()
                .await
                .expect("one");
            answer
                .expect("an answer")
                .message_response
                .expect("what was asked for")
        };
        let MessageResponse::ListServicesResponse(all) =
            ask(MessageRequest::ListServices(String::new())).await
        else {
            panic!("reflection answers something else");
        };
        let told: BTreeSet<String> = all.service.into_iter().map(|one| one.name).collect();
        assert!(told.is_superset(&names_of_services()), "{told:?}");
        for service in names_of_services() {
            let question = MessageRequest::FileContainingSymbol(service.clone());
            let MessageResponse::FileDescriptorResponse(found) = ask(question).await else {
                panic!("reflection has no file of {service}");
            };
            let files = found.file_descriptor_proto.iter();
            let files = files.map(|file| FileDescriptorProto::decode(&file[..]).expect("a file"));
            let package = service.rsplit_once('.').expect("a package").0;
            assert!(
                files.into_iter().any(|file| file.package() == package),
                "{service}"
            );
        }
    }};
}

async fn reflection_tells_of_every_service_on_both_listeners(client: Client) {
    reflect!(v1, client.check_listener);
    reflect!(v1, client.admin_listener);
}

async fn the_older_reflection_tells_the_same(client: Client) {
    reflect!(v1alpha, client.check_listener);
    reflect!(v1alpha, client.admin_listener);
}

async fn health_is_told_on_both_listeners(client: Client) {
    let services = services().into_iter().map(|(service, _)| service);
    for service in services.chain([String::new()]) {
        for mut health in client.health() {
            // Health follows the feed a moment later, so it is watched until it says so.
            let request = HealthCheckRequest {
                service: service.clone(),
            };
            let mut told = health.watch(request.clone()).await.unwrap().into_inner();
            loop {
                let status = told
                    .message()
                    .await
                    .unwrap()
                    .expect("the watch goes on")
                    .status();
                if status == ServingStatus::Serving {
                    break;
                }
                assert_eq!(status, ServingStatus::NotServing, "{service}");
            }
            let status = health.check(request).await.unwrap().into_inner().status();
            assert_eq!(status, ServingStatus::Serving, "{service}");
        }
    }
}

async fn the_health_of_an_unknown_service_is_not_found(client: Client) {
    for mut health in client.health() {
        let request = HealthCheckRequest {
            service: "bancheck.v1.GuessService".to_owned(),
        };
        assert_eq!(
            health.check(request).await.unwrap_err().code(),
            Code::NotFound
        );
    }
}

async fn what_is_no_message_harms_nobody(client: Client) {
    for (service, methods) in services() {
        let (home, _, _) = client.listeners_of(&service);
        let mut grpc = Grpc::new(home);
        grpc.ready().await.unwrap();
        let path = PathAndQuery::try_from(format!("/{service}/{}", methods[0])).unwrap();
        // A number where each of these has a text.
        let codec = ProstCodec::<Timestamp, ()>::default();
        let number = Timestamp {
            seconds: 1,
            nanos: 1,
        };
        let answer = grpc.unary(Request::new(number), path, codec).await;
        let code = answer.expect_err("no message, no answer").code();
        assert!(
            matches!(code, Code::Internal | Code::InvalidArgument),
            "{code:?}"
        );
    }
    assert!(!client.turns_away(Call, phone(NUMBER)).await);
}

async fn a_message_too_large_is_refused_and_the_next_is_answered(client: Client) {
    // The transport says OUT_OF_RANGE where the contract has RESOURCE_EXHAUSTED.
    let refused =
        |status: &Status| matches!(status.code(), Code::ResourceExhausted | Code::OutOfRange);
    let long = phone(&"6".repeat(65 << 10));
    let answer = client.check().check_interaction(connect(Call, long)).await;
    let status = answer.expect_err("a check is small");
    assert!(refused(&status), "{status:?}");
    let reason = "x".repeat(5 << 20);
    let request = CreateBanRequest {
        reason,
        ..add(phone(NUMBER))
    };
    let answer = client.admin().create_ban(request).await;
    let status = answer.expect_err("a ban is small");
    assert!(refused(&status), "{status:?}");
    assert!(!client.turns_away(Call, phone(NUMBER)).await);
}
