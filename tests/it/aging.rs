//! Connections that have lasted long enough: their callers come anew, and nobody sees an error.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bancheck::api::v1::{
    Channel, CheckInteractionRequest, StreamCheckInteractionsRequest,
    check_service_client::CheckServiceClient, stream_check_interactions_response::Outcome,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport;

use crate::{
    process::Process,
    requests::{NUMBER, connect, phone},
    server::runtime,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A channel to an address, and how many connections it has made.
fn counted(address: &str) -> (transport::Channel, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let (count, address) = (Arc::clone(&made), address.to_owned());
    let connector = tower::service_fn(move |_: http::Uri| {
        count.fetch_add(1, Ordering::Relaxed);
        let address = address.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(TcpStream::connect(address).await?)) }
    });
    let endpoint = transport::Endpoint::from_static("http://here");
    (endpoint.connect_with_connector_lazy(connector), made)
}

fn question() -> CheckInteractionRequest {
    CheckInteractionRequest {
        tenant: "default".to_owned(),
        ..connect(Channel::Call, phone(NUMBER))
    }
}

#[test]
fn a_connection_of_age_is_left_without_an_error_and_what_lasts_on_it_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), &["max_connection_age_seconds=1"]);
    runtime().block_on(async {
        let (often, made) = counted(&process.addresses[0]);
        let (once, _) = counted(&process.addresses[0]);
        let (questions, asked) = mpsc::unbounded_channel();
        let asked = UnboundedReceiverStream::new(asked);
        let mut stream = CheckServiceClient::new(once);
        let answers = stream.stream_check_interactions(asked).await;
        let mut answers = answers.expect("a stream").into_inner();

        let mut checks = CheckServiceClient::new(often);
        let asks = async {
            while made.load(Ordering::Relaxed) < 3 {
                checks
                    .check_interaction(question())
                    .await
                    .expect("an answer");
            }
        };
        timeout(PATIENCE, asks).await.expect("new connections");

        let item = StreamCheckInteractionsRequest {
            correlation_id: "1".to_owned(),
            request: Some(question()),
        };
        questions.send(item).expect("a stream that is open");
        let answer = timeout(PATIENCE, answers.message()).await.expect("a word");
        let answer = answer.expect("a stream that goes on").expect("an answer");
        assert!(matches!(answer.outcome, Some(Outcome::Response(_))));
    });
}
