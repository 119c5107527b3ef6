//! The least that a gRPC server of this stack can do, built as a newcomer builds it: what a check
//! is measured against.
//!
//! `#[tokio::main]`, tonic's own settings, the system's allocator. The one method that is called is
//! `Check` of the standard health service, because its code comes with a dependency: asked with an
//! empty message it answers an empty one, so both bodies are the five bytes of gRPC's frame.
//!
//! ```text
//! cargo run --release --example empty_echo 127.0.0.1:50061
//! ```

use std::{error::Error, net::SocketAddr};

use tokio_stream::Empty;
use tonic::{Request, Response, Status, transport::Server};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_server::{Health, HealthServer},
};

struct Echo;

#[tonic::async_trait]
impl Health for Echo {
    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        // All fields at their defaults, which protobuf does not write.
        Ok(Response::new(HealthCheckResponse::default()))
    }

    type WatchStream = Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("this server only echoes"))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address: SocketAddr = address.as_deref().unwrap_or("127.0.0.1:50061").parse()?;
    Server::builder()
        .add_service(HealthServer::new(Echo))
        .serve(address)
        .await?;
    Ok(())
}
