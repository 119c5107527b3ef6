//! What of a request nobody reads, because it was refused for its headers alone, or given up midway.
//!
//! HTTP/2 resets a stream that is answered and given up before its end. What still comes in on it, h2 counts
//! against the whole connection once it has forgotten the stream, of which it remembers fifty for a second
//! each: after 1 024 such frames it ends the connection, and with it what others ask on the same one. So a
//! body is given up a little later, when it has come (an HTTP/1.1 server's lingering close).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use tokio::{runtime::Handle, sync::Semaphore, time::timeout};

/// How long what is still on its way is waited for: with what an import may still take when the server ends,
/// less than its connection has then.
const PATIENCE: Duration = Duration::from_millis(500);
/// How many bytes of it are read: what a peer may send of a body before it has heard of a larger window
/// (RFC 9113, section 6.9.2). An import that is refused is given up with the rest of it on its way.
const MOST: usize = 65_535;
/// How many are waited for at once, so that whoever sends headers alone does not make this process grow.
static OF_ALL: Semaphore = Semaphore::const_new(4_096);

/// The bodies of a connection's requests.
pub(super) struct Bodies(Arc<Semaphore>);

impl Bodies {
    /// Those of a connection with so many streams, half of which are left to others by those that are waited for.
    pub(super) fn of(streams: u16) -> Self {
        Self(Arc::new(Semaphore::new(usize::from(streams / 2))))
    }

    pub(super) fn take(&self, body: Incoming) -> ReadOut {
        ReadOut {
            body: Some(body),
            places: Arc::clone(&self.0),
        }
    }
}

/// The body of a request. Dropped before its end, it is read out first.
pub(super) struct ReadOut {
    /// `None` = it is being read out elsewhere.
    body: Option<Incoming>,
    places: Arc<Semaphore>,
}

impl Body for ReadOut {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map(Incoming::size_hint);
        hint.unwrap_or_default()
    }
}

impl Drop for ReadOut {
    fn drop(&mut self) {
        let unread = self.body.take().filter(|body| !body.is_end_stream());
        let Some(mut rest) = unread.map(|body| Box::pin(read_out(body))) else {
            return;
        };
        // Mostly all of it has come already.
        let come = rest.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let place = Arc::clone(&self.places).try_acquire_owned();
        if let (Poll::Pending, Ok(place), Ok(of_all), Ok(runtime)) =
            (come, place, OF_ALL.try_acquire(), Handle::try_current())
        {
            runtime.spawn(async move {
                // Come or not, there is nothing to be done with it.
                let _ = timeout(PATIENCE, rest).await;
                drop((place, of_all));
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
