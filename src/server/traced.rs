//! The span of each request that has one, around everything else that is done for it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::future::Either;
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use tokio::runtime::Runtime;
use tonic::{
    Status,
    body::Body,
    transport::{ClientTlsConfig, Endpoint},
};
use tower::{Layer, Service};

use super::tls;
use crate::{
    auth::{Load, table},
    config::TraceSettings,
    telemetry::{Counters, Traces, Trail},
};

/// How long the collector may take for a batch.
const PATIENCE: Duration = Duration::from_secs(5);
/// gRPC's code for a call that nobody waited for.
const CANCELLED: i32 = 1;

/// Begins to send spans, where that is wanted, by connections that a runtime carries.
pub(super) fn begin(
    settings: Option<&TraceSettings>,
    counters: &Counters,
    carrier: &Runtime,
) -> anyhow::Result<Option<Arc<Traces>>> {
    let Some(settings) = settings else {
        return Ok(None);
    };
    let TraceSettings {
        endpoint,
        ca,
        share,
    } = settings;
    let mut endpoint = Endpoint::from_shared(endpoint.clone())?;
    if endpoint.uri().scheme_str() == Some("https") {
        let known = match ca {
            Some(file) => {
                ClientTlsConfig::new().trust_anchors(tls::anchors(file).context("otlp_ca")?)
            }
            None => ClientTlsConfig::new().with_webpki_roots(),
        };
        endpoint = endpoint.tls_config(known)?;
    }
    let _carried = carrier.enter();
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_channel(endpoint.timeout(PATIENCE).connect_lazy())
        .with_timeout(PATIENCE)
        .build()
        .context("otlp_endpoint")?;
    let traces = Traces::new(exporter, *share, counters.spans());
    Ok(Some(Arc::new(traces)))
}

/// Puts spans around requests, where there are traces at all.
#[derive(Clone)]
pub(super) struct TraceLayer(pub(super) Option<Arc<Traces>>);

impl<S> Layer<S> for TraceLayer {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced {
            traces: self.0.clone(),
            inner,
        }
    }
}

/// Services of which each request may have a span.
#[derive(Clone)]
pub(super) struct Traced<S> {
    traces: Option<Arc<Traces>>,
    inner: S,
}

type Followed<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for Traced<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Followed<S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let trail = self
            .traces
            .as_deref()
            .and_then(|traces| trail(traces, &request));
        let answer = self.inner.call(request);
        let Some(trail) = trail else {
            return Either::Left(answer);
        };
        Either::Right(Box::pin(async move {
            let mut ending = Ending {
                code: CANCELLED,
                trail,
            };
            let answer = ending.trail.under(answer).await?;
            // A refusal is all in the head of its answer.
            ending.read(answer.headers());
            Ok(answer.map(|body| Body::new(Followable { body, ending })))
        }))
    }
}

fn trail(traces: &Traces, request: &Request<Body>) -> Option<Trail> {
    let table::Asked::For(rpc) = table::Asked::of(request.uri().path()) else {
        return None;
    };
    let always = match rpc.load {
        Load::Desk | Load::Bulk => true,
        // A stream of checks, or of changes, is as frequent as its caller makes it.
        Load::Check | Load::Stream => false,
    };
    traces.begin(request.headers(), rpc.service, rpc.name, always)
}

/// Ends a request's span with the code that its answer ended with.
struct Ending {
    code: i32,
    trail: Trail,
}

impl Ending {
    fn read(&mut self, headers: &HeaderMap) {
        let code = headers
            .get("grpc-status")
            .and_then(|code| code.to_str().ok());
        if let Some(code) = code.and_then(|code| code.parse().ok()) {
            self.code = code;
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.trail.end(self.code);
    }
}

/// An answer whose end is the end of its request's span.
struct Followable {
    body: Body,
    ending: Ending,
}

impl HttpBody for Followable {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
        {
            self.ending.read(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
