//! What of a request nobody reads, because it was refused for its headers alone.
//!
//! Its body may still be on its way when the answer is. HTTP/2 resets a stream that is given up before
//! its end, and h2 counts what then comes in on it against the whole connection: after 1 024 such frames
//! it ends the connection, and with it what others ask on the same one. So a body is given up a little
//! later, when it has come (an HTTP/1.1 server's lingering close).

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use tokio::{runtime::Handle, sync::Semaphore, time::timeout};

/// How long what is still on its way is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many bytes of it are read: what a peer may send of a body before it hears of a larger window
/// (RFC 9113, section 6.9.2).
const MOST: usize = 65_535;
/// How many bodies are waited for at once. Beyond it they are given up at once: whoever sends headers
/// alone shall not make this process grow.
static PLACES: Semaphore = Semaphore::const_new(4_096);

/// The body of a request. Dropped before its end, it is read out first.
pub(super) struct ReadOut(Option<Incoming>);

impl ReadOut {
    pub(super) fn of(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Body for ReadOut {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for ReadOut {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        if let (Ok(place), Ok(runtime)) = (PLACES.try_acquire(), Handle::try_current()) {
            runtime.spawn(async move {
                // Come or not, there is nothing to be done with it.
                let _ = timeout(PATIENCE, read_out(body)).await;
                drop(place);
            });
        }
    }
}

async fn read_out(mut body: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > MOST {
            return;
        }
    }
}
