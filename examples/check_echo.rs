//! An echo of the check's own messages, built as the product is: what a check is measured against to
//! see what its own work costs.
//!
//! The request is decoded, the answer is an ALLOW of the usual size made anew for every request.
//! Allocator, runtimes, sockets and HTTP/2 settings are those of `server/listen.rs` and
//! `server/talk.rs`; where they change there, they change here. It stands on tonic's own `Server`, which
//! the product does without.
//!
//! ```text
//! cargo run --profile dist --example check_echo 127.0.0.1:50062
//! ```

use std::{
    error::Error,
    net::{SocketAddr, TcpListener},
    thread::{self, available_parallelism},
    time::Duration,
};

use bancheck::api::v1::{
    BatchCheckInteractionsRequest, BatchCheckInteractionsResponse, CheckInteractionRequest,
    CheckInteractionResponse, ConsistencyToken, Decision, DecisionBasis,
    StreamCheckInteractionsRequest, StreamCheckInteractionsResponse,
    batch_check_interactions_response::{Result as Item, result},
    check_service_server::{CheckService, CheckServiceServer},
    stream_check_interactions_response as streamed,
};
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use prost_types::Timestamp;
use socket2::{Domain, Protocol, Socket, Type};
use tonic::{
    Request, Response, Status, Streaming,
    service::Routes,
    transport::{Server, server::TcpIncoming},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Answers = BoxStream<'static, Result<StreamCheckInteractionsResponse, Status>>;
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

struct Echo;

#[tonic::async_trait]
impl CheckService for Echo {
    async fn check_interaction(
        &self,
        _: Request<CheckInteractionRequest>,
    ) -> Result<Response<CheckInteractionResponse>, Status> {
        Ok(Response::new(answer()))
    }

    async fn batch_check_interactions(
        &self,
        request: Request<BatchCheckInteractionsRequest>,
    ) -> Result<Response<BatchCheckInteractionsResponse>, Status> {
        let item = |_| Item {
            outcome: Some(result::Outcome::Response(answer())),
        };
        let results = request.into_inner().requests.into_iter().map(item);
        Ok(Response::new(BatchCheckInteractionsResponse {
            results: results.collect(),
        }))
    }

    type StreamCheckInteractionsStream = Answers;

    async fn stream_check_interactions(
        &self,
        request: Request<Streaming<StreamCheckInteractionsRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let answers = request
            .into_inner()
            .map_ok(|asked| StreamCheckInteractionsResponse {
                correlation_id: asked.correlation_id,
                outcome: Some(streamed::Outcome::Response(answer())),
            });
        Ok(Response::new(answers.boxed()))
    }
}

fn answer() -> CheckInteractionResponse {
    CheckInteractionResponse {
        decision: Decision::Allow.into(),
        reuse_until: Some(Timestamp {
            seconds: 1_800_000_000,
            nanos: 123_456_000,
        }),
        checked_at: Some(ConsistencyToken {
            token: "0000000100000000000003e9c0ffee000123456789abcdef".to_owned(),
        }),
        basis: DecisionBasis::Fresh.into(),
        decision_id: "0badcafe-1e8480".to_owned(),
        ..CheckInteractionResponse::default()
    }
}

fn main() -> Outcome<()> {
    let address = std::env::args().nth(1);
    let address: SocketAddr = address.as_deref().unwrap_or("127.0.0.1:50062").parse()?;
    let threads = (0..available_parallelism()?.get())
        .map(|_| {
            let listener = bind(address)?;
            Ok(thread::spawn(move || serve(listener)))
        })
        .collect::<Outcome<Vec<_>>>()?;
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    Ok(())
}

fn bind(address: SocketAddr) -> Outcome<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1_024)?;
    Ok(socket.into())
}

fn serve(listener: TcpListener) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let service = CheckServiceServer::new(Echo).max_decoding_message_size(4 << 20);
        Server::builder()
            .max_concurrent_streams(256)
            .http2_max_header_list_size(16 << 10)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .add_routes(Routes::new(service))
            .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
            .await?;
        Ok(())
    })
}
