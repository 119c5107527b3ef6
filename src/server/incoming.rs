//! Connections as they come in, in the clear or by TLS, each with who is at its other end.
//!
//! Whoever connects and says nothing is not waited for: neither for the end of a handshake, nor for the
//! preface of HTTP/2, and at the server's end not at all. Whoever comes when as many are connected as may
//! be is sent away, to another pod perhaps, rather than left waiting.

use std::{
    io,
    net::TcpListener,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

use super::tls::Tls;
use crate::auth::{Asker, Peer};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long the preface may take.
const PREFACE: Duration = Duration::from_secs(10);
/// How many bytes it has.
const PREFACE_BYTES: usize = 24;

/// How long no connection is taken after one could not be: without files to open, the next could
/// not be either, and trying is all that would be done.
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections there may be to what is served at one address.
pub(super) struct Room {
    places: Arc<Semaphore>,
    /// Whether it has been said that there is none left.
    full: AtomicBool,
}

impl Room {
    pub(super) fn of(connections: usize) -> Arc<Self> {
        let connections = connections.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            places: Arc::new(Semaphore::new(connections)),
            full: AtomicBool::new(false),
        })
    }

    fn take(&self) -> Option<OwnedSemaphorePermit> {
        let taken = Arc::clone(&self.places).try_acquire_owned().ok();
        let full = taken.is_none();
        if self.full.swap(full, Ordering::Relaxed) != full && full {
            tracing::warn!(
                "there are as many connections as there may be: more are closed at once"
            );
        }
        taken
    }
}

/// The connections of a listener.
pub(super) fn incoming(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    room: Arc<Room>,
    stop: CancellationToken,
) -> io::Result<impl Stream<Item = io::Result<Connection>>> {
    let listener = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener)?);
    let listener = listener.then(async |accepted| {
        if let Err(error) = &accepted {
            tracing::warn!(%error, "a connection could not be taken");
            sleep(PAUSE).await;
        }
        accepted
    });
    let taken = listener.map(move |accepted| {
        let acceptor = tls.as_ref().map(|tls| tls.acceptor());
        let place = room.take();
        let stop = stop.clone();
        async move {
            let stream = accepted?;
            let Some(place) = place else {
                return Ok(None);
            };
            // Without it the first answers of a connection wait for the peer's delayed ACK, 40 ms.
            // A socket that does not take it is closed already, as the first read will tell.
            let _ = stream.set_nodelay(true);
            let Ok(address) = stream.peer_addr() else {
                // It has left already.
                return Ok(None);
            };
            let peer = |principal| Peer {
                principal,
                asker: Asker::at(address.ip()),
            };
            let Some(acceptor) = acceptor else {
                let wire = Wire::Plain(stream);
                return Ok(Some(Connection::of(wire, peer(None), place, stop)));
            };
            match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let peer = peer(certified(&stream));
                    let wire = Wire::Tls(Box::new(stream));
                    Ok(Some(Connection::of(wire, peer, place, stop)))
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a TLS handshake failed");
                    Ok(None)
                }
                Err(_) => {
                    tracing::debug!("a TLS handshake took too long");
                    Ok(None)
                }
            }
        }
    });
    // As many handshakes at once as there is room for: whoever only begins one keeps nobody out who
    // comes after, and is gone in a moment.
    let ready = taken.buffer_unordered(usize::MAX);
    Ok(ready.filter_map(|taken| std::future::ready(taken.transpose())))
}

/// Who the certificate says is at the other end: its first name that is a URI, else its first DNS name.
fn certified(stream: &TlsStream<TcpStream>) -> Option<Arc<str>> {
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates()?.first()?;
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let uri = certificate.valid_uri_names().next();
    uri.or_else(|| certificate.valid_dns_names().next())
        .map(Arc::from)
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection.
pub(super) struct Connection {
    wire: Wire,
    peer: Peer,
    /// Until the preface is there.
    patience: Option<(Patience, usize)>,
    _place: OwnedSemaphorePermit,
}

/// How long the preface is waited for: a while, and not beyond the server's end.
type Patience = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Connection {
    fn of(wire: Wire, peer: Peer, place: OwnedSemaphorePermit, stop: CancellationToken) -> Self {
        let patience = async move {
            // In time or not, there is nothing to be done with it.
            let _ = timeout(PREFACE, stop.cancelled()).await;
        };
        Self {
            wire,
            peer,
            patience: Some((Box::pin(patience), PREFACE_BYTES)),
            _place: place,
        }
    }

    /// Who is at the other end.
    pub(super) fn peer(&self) -> Peer {
        self.peer.clone()
    }
}

macro_rules! on_wire {
    ($connection:expr, $stream:ident => $call:expr) => {
        match &mut $connection.wire {
            Wire::Plain(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Wire::Tls(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = on_wire!(self, stream => stream.poll_read(context, buffer));
        let Some((patience, missing)) = &mut self.patience else {
            return read;
        };
        match read {
            Poll::Pending => {
                if patience.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
            Poll::Ready(_) => {
                *missing = missing.saturating_sub(buffer.filled().len() - before);
                if *missing == 0 {
                    self.patience = None;
                }
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_wire!(self, stream => stream.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_wire!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_wire!(self, stream => stream.poll_shutdown(context))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_wire!(self, stream => stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Plain(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
