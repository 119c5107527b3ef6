//! The gate: what every request passes before anything of it is read.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::poll;
use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{AUTHORIZATION, SERVER},
    request::Parts,
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{
    Door, Load, Meter, Pass, Peer,
    limits::{Limits, Places, Taken},
    table::{self, Rpc},
};
use crate::{
    api::{deadline, default_deadline, to_status},
    domain::{
        caller::Caller,
        refusal::{Reason, Refusal},
    },
};

/// How long before the caller's own end of a deadline ours comes, so that it is ours that is told.
const EARLIER: Duration = Duration::from_millis(10);
/// What is told to those who were let in to the desk, so that they know which version answers.
const VERSION: HeaderValue =
    HeaderValue::from_static(concat!("bancheck/", env!("CARGO_PKG_VERSION")));
/// How often it is looked whether the credential of what lasts has ended.
const LOOK: Duration = Duration::from_secs(1);
/// How long what lasts may still take when the server ends: less than its connection has.
const LAST: Duration = Duration::from_secs(4);

/// Puts a gate before services; all of a server's share one.
#[derive(Clone)]
pub struct GateLayer(Arc<Post>);

/// What the gates of one server share.
struct Post {
    door: Door,
    places: Places,
    meter: Option<Arc<Meter>>,
    /// Told when the listeners close.
    closing: CancellationToken,
}

impl Post {
    /// Lets a request in, or says why not.
    fn admit(&self, parts: &Parts, rpc: &Rpc) -> Result<(Taken, Option<Caller>), Refusal> {
        let taken = self.places.take(rpc.load)?;
        let caller = self.door.who(parts)?;
        if let Some(caller) = &caller {
            caller.needs_anywhere(rpc.scope)?;
        }
        Ok((taken, caller))
    }

    fn pass(&self, caller: Caller, rpc: &Rpc, headers: &HeaderMap) -> Pass {
        Pass {
            caller,
            scope: rpc.scope,
            load: rpc.load,
            deadline: deadline(headers),
            meter: self.meter.clone(),
        }
    }
}

impl GateLayer {
    /// A gate at this door, which lets in so many at once, until it closes.
    pub fn new(door: Door, limits: Limits, closing: CancellationToken) -> Self {
        Self(Arc::new(Post {
            door,
            places: Places::new(limits),
            meter: Meter::of(&limits),
            closing,
        }))
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate {
            post: Arc::clone(&self.0),
            inner,
        }
    }
}

/// Services behind a gate.
#[derive(Clone)]
pub struct Gate<S> {
    post: Arc<Post>,
    inner: S,
}

type Answered = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answered;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Answered {
        let rpc = match table::Asked::of(request.uri().path()) {
            table::Asked::For(rpc) => rpc,
            // The routes say where a service of the other listener is. An RPC that has no row gets
            // no pass either, and is refused for want of one.
            table::Asked::Standard | table::Asked::Unknown => {
                return Box::pin(self.inner.call(request));
            }
        };
        let (parts, body) = request.into_parts();
        let (taken, caller) = match self.post.admit(&parts, rpc) {
            Ok(let_in) => let_in,
            Err(refusal) => {
                let answer = refuse(&refusal);
                return Box::pin(std::future::ready(Ok(answer)));
            }
        };
        let Some(caller) = caller else {
            let mut inner = self.inner.clone();
            let post = Arc::clone(&self.post);
            return Box::pin(async move {
                let known = post.door.who_after_news(&parts).await;
                let known = known.and_then(|caller| {
                    caller.needs_anywhere(rpc.scope)?;
                    Ok(caller)
                });
                match known {
                    Ok(caller) => {
                        let pass = post.pass(caller, rpc, &parts.headers);
                        serve(&mut inner, &post, taken, pass, parts, body).await
                    }
                    Err(refusal) => Ok(refuse(&refusal)),
                }
            });
        };
        let pass = self.post.pass(caller, rpc, &parts.headers);
        serve(&mut self.inner, &self.post, taken, pass, parts, body)
    }
}

/// Has a request served that was let in.
fn serve<S>(
    inner: &mut S,
    post: &Arc<Post>,
    taken: Taken,
    pass: Pass,
    mut parts: Parts,
    body: Body,
) -> Answered
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    if let (Door::Guarded(_), Some(peer)) = (&post.door, parts.extensions.get::<Peer>()) {
        peer.asker.is(pass.caller.principal());
    }
    let load = pass.load;
    let patience = patience(&pass);
    let lasting = match load {
        Load::Check | Load::Desk => None,
        Load::Bulk | Load::Stream => Some(Lasting::new(Arc::clone(post), &parts, &pass)),
    };
    parts.extensions.insert(pass);
    let answer = inner.call(Request::from_parts(parts, body));
    Box::pin(async move {
        let Some(mut lasting) = lasting else {
            let _taken = taken;
            let mut answer = pin!(answer);
            // What is there at once needs no timer.
            let mut answered = match (poll!(&mut answer), patience) {
                (Poll::Ready(answered), _) => answered,
                (Poll::Pending, Some(patience)) => timeout(patience, answer)
                    .await
                    .unwrap_or_else(|_| Ok(refuse(&late()))),
                (Poll::Pending, None) => answer.await,
            };
            if let (Load::Desk, Ok(answer)) = (load, &mut answered) {
                answer.headers_mut().insert(SERVER, VERSION);
            }
            return answered;
        };
        // An import is answered when all of it has come.
        tokio::select! {
            biased;
            refusal = &mut lasting.0 => Ok(refuse(&refusal)),
            answered = answer => answered.map(|answered| answered.map(|body| {
                Body::new(Held { body, lasting: Some(lasting), _taken: taken })
            })),
        }
    })
}

/// How long an answer may take; `None` = as long as its caller stays, for it is a stream.
fn patience(pass: &Pass) -> Option<Duration> {
    let earlier = |asked: Duration| asked.saturating_sub(EARLIER.min(asked / 4));
    let asked = pass.deadline.map(earlier);
    match pass.load {
        Load::Check | Load::Desk => Some(asked.unwrap_or(default_deadline(pass.load))),
        Load::Bulk | Load::Stream => None,
    }
}

fn late() -> Refusal {
    let message = "the deadline passed; what was written, if anything, stays written";
    Refusal::new(Reason::DeadlineExceeded, message)
}

fn refuse(refusal: &Refusal) -> Response<Body> {
    to_status(refusal).into_http()
}

/// Ends when its caller may not go on with what lasts: the server ends, the credential is over, or
/// other things are granted to its principal now.
struct Lasting(Pin<Box<dyn Future<Output = Refusal> + Send>>);

impl Lasting {
    fn new(post: Arc<Post>, parts: &Parts, pass: &Pass) -> Self {
        let closing = post.closing.clone();
        let ends = async move {
            closing.cancelled().await;
            sleep(LAST).await;
            let message =
                "this pod is ending; ask another, with the same request_id if there was one";
            Refusal::new(Reason::NotReady, message)
        };
        let Door::Guarded(guard) = &post.door else {
            return Self(Box::pin(ends));
        };
        let mut news = guard.news();
        let shown = credentials(parts);
        let began_as = pass.caller.clone();
        let over = async move {
            loop {
                // What ends by the clock is looked for now and then, what is revoked at once.
                let _ = timeout(LOOK, news.changed()).await;
                match post.door.who(&shown) {
                    Ok(Some(caller)) if caller.is_granted_what(&began_as) => {}
                    Ok(_) => {
                        let message = "what is granted to this credential has changed; ask again";
                        return Refusal::new(Reason::NotReady, message);
                    }
                    Err(refusal) => return refusal,
                }
            }
        };
        Self(Box::pin(async {
            tokio::select! {
                refusal = ends => refusal,
                refusal = over => refusal,
            }
        }))
    }
}

/// The part of a request that says who asks.
fn credentials(parts: &Parts) -> Parts {
    let (mut shown, ()) = Request::new(()).into_parts();
    for value in parts.headers.get_all(AUTHORIZATION) {
        shown.headers.append(AUTHORIZATION, value.clone());
    }
    if let Some(peer) = parts.extensions.get::<Peer>() {
        shown.extensions.insert(peer.clone());
    }
    shown
}

/// A body that keeps its request's place until it has been sent, or nobody wants it any more, and
/// breaks off when its caller may not have the rest.
struct Held {
    body: Body,
    /// `None` = it has been broken off.
    lasting: Option<Lasting>,
    _taken: Taken,
}

impl HttpBody for Held {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let Some(lasting) = &mut self.lasting else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(refusal) = lasting.0.as_mut().poll(context) {
            self.lasting = None;
            let trailers = refuse(&refusal).into_parts().0.headers;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.lasting.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
