//! One connection's life: HTTP/2, until its peer leaves, it has lasted long enough, or the server ends.
//!
//! Without a layer between HTTP/2 and the services: what a transport's server would add, the gate and
//! the connections here have already.

use std::{cell::RefCell, convert::Infallible, pin::pin, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2::Builder, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

use super::{
    incoming::Connection,
    rounds::{InRounds, Rounds},
    unread::Bodies,
};

const MAX_STREAMS: u16 = 256;
const MAX_HEADER_LIST: u32 = 16 << 10;
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Within this share of its age a connection is asked to go, so that those which came together do not
/// come back together (the same as in grpc-go's `keepalive.ServerParameters`).
const JITTER: f64 = 0.1;

/// Serves a connection until its peer is gone. Once it is of age, or the listeners close, no new
/// request is taken on it, and what is in flight finishes.
pub(super) async fn talk<S>(
    connection: Connection,
    services: S,
    rounds: Arc<Rounds>,
    age: Option<Duration>,
    close: CancellationToken,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Send + 'static,
    S::Future: Send + 'static,
{
    let begun = Instant::now();
    let peer = connection.peer();
    let connection = InRounds::new(connection, rounds, peer.asker.clone());
    let (services, bodies) = (RefCell::new(services), Bodies::of(MAX_STREAMS));
    let answer = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(|body| Body::new(bodies.take(body)));
        request.extensions_mut().insert(peer.clone());
        // They are always ready, so none needs a copy of its own.
        services.borrow_mut().call(request)
    });
    let serving = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(u32::from(MAX_STREAMS))
        .max_header_list_size(MAX_HEADER_LIST)
        .keep_alive_interval(KEEPALIVE)
        // No caller of gRPC reads it, and each answer would carry one.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(connection), answer);
    let mut serving = pin!(serving);
    let enough = async {
        match age {
            Some(age) => sleep_until(begun + about(age)).await,
            None => std::future::pending().await,
        }
    };
    let asked_to_go = async {
        tokio::select! {
            () = enough => {}
            () = close.cancelled() => {}
        }
    };
    tokio::select! {
        ended = &mut serving => return told(ended),
        () = asked_to_go => serving.as_mut().graceful_shutdown(),
    }
    told(serving.await);
}

fn told(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

/// An age, a little more or less.
fn about(age: Duration) -> Duration {
    let mut draw = [0; 4];
    // Without randomness there is no jitter, which costs a crowd at most.
    let _ = getrandom::fill(&mut draw);
    let draw = f64::from(u32::from_be_bytes(draw)) / f64::from(u32::MAX);
    age.mul_f64(1.0 + JITTER * (2.0 * draw - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_one_age_go_at_different_times_a_tenth_apart_at_most() {
        let age = Duration::from_mins(30);
        let (least, most) = (Duration::from_mins(27), Duration::from_mins(33));
        let ages: Vec<_> = (0..100).map(|_| about(age)).collect();
        assert!(ages.iter().all(|one| (least..=most).contains(one)));
        assert!(ages.iter().any(|one| *one != ages[0]));
    }
}
