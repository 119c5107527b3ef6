//! Traces: the spans of requests, sent to a collector where one is configured.
//!
//! Whether a request has a span is known before anything is made for it, so that a check without one
//! costs a look at a header. Whoever works on a request finds its span by the task it runs in.
//!
//! **Invariant:** no identity, no reason, no name and no tenant in a span.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator},
    trace::{
        FutureExt, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer, TracerProvider,
        WithContext,
    },
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span,
        SpanData, SpanExporter,
    },
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use uuid::Uuid;

use super::BASES;
use crate::{checker::Answer, domain::channel::Channel};

/// The most spans that wait to be sent; what comes while so many wait is dropped.
const QUEUE: usize = 4_096;
/// The most spans of one message to the collector.
const BATCH: usize = 512;
/// How long a span waits for others.
const PERIOD: Duration = Duration::from_secs(1);
/// How long the last spans may take at the end.
const FLUSH: Duration = Duration::from_secs(2);

/// The header of the W3C by which a caller says of what its request is a part.
const PARENT: &str = "traceparent";
/// gRPC's codes for which a server is to blame.
const FAULTS: [i32; 6] = [2, 4, 12, 13, 14, 15];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct End {
    end: &'static str,
}

/// What became of spans.
#[derive(Clone, Debug)]
pub struct Spans {
    sent: Counter<u64, AtomicU64>,
    lost: Counter<u64, AtomicU64>,
}

impl Spans {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let family = Family::<End, Counter<u64, AtomicU64>>::default();
        let help = "Spans of traces that were handed to the collector, or were not taken by it";
        registry.register("spans", help, family.clone());
        let counter = |end| family.get_or_create_owned(&End { end });
        Self {
            sent: counter("sent"),
            lost: counter("lost"),
        }
    }
}

/// Makes spans and sends them.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    share: f64,
    parents: TraceContextPropagator,
}

impl Traces {
    /// Sends spans by an exporter: those of everything but checks, of checks whose callers want
    /// it, and of this share of the checks whose callers say nothing.
    pub fn new(exporter: impl SpanExporter + 'static, share: f64, spans: Spans) -> Self {
        let exporter = Told {
            exporter,
            spans,
            fails: Arc::default(),
        };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(PERIOD)
            .build();
        let batches = BatchSpanProcessor::builder(exporter).with_batch_config(batches);
        let about = [
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", Uuid::now_v7().to_string()),
        ];
        let about = Resource::builder_empty()
            .with_service_name("bancheck")
            .with_attributes(about);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(batches.build())
            // It is judged here, before a span is made.
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(about.build())
            .build();
        Self {
            tracer: provider.tracer("bancheck"),
            provider,
            share,
            parents: TraceContextPropagator::new(),
        }
    }

    /// Begins the span of a request; `None` = it has none. `always` = whatever its caller says.
    pub fn begin(
        &self,
        headers: &HeaderMap,
        service: &'static str,
        method: &'static str,
        always: bool,
    ) -> Option<Trail> {
        let wanted = is_wanted(headers);
        if !always && !wanted.unwrap_or_else(|| is_drawn(self.share)) {
            return None;
        }
        let parent = self
            .parents
            .extract_with_context(&Context::new(), &Headers(headers));
        let span = SpanBuilder::from_name(format!("{service}/{method}"))
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("rpc.system", "grpc"),
                KeyValue::new("rpc.service", service),
                KeyValue::new("rpc.method", method),
            ]);
        let span = self.tracer.build_with_context(span, &parent);
        let context = parent.with_value(self.tracer.clone()).with_span(span);
        Some(Trail(context))
    }

    /// Sends what there is, and nothing more.
    pub fn finish(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH) {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

/// The span of a request that is being served.
pub struct Trail(Context);

impl Trail {
    /// Has the work of a future be found under the span.
    pub fn under<F: Future>(&self, future: F) -> WithContext<F> {
        future.with_context(self.0.clone())
    }

    /// Ends the span with gRPC's code for how the request ended.
    pub fn end(&self, code: i32) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(code)));
        if FAULTS.contains(&code) {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// A part of a request's work, as a span of its own until it is dropped; nothing where the request has
/// no span.
#[must_use = "it ends when it is dropped"]
pub struct Step(#[expect(dead_code, reason = "it ends when it is dropped")] Option<Box<Span>>);

/// Begins a part of the work of the request that is being served.
pub fn step(name: &'static str) -> Step {
    Step(Context::map_current(|context| {
        let tracer = context.get::<SdkTracer>()?;
        let span = tracer.build_with_context(SpanBuilder::from_name(name), context);
        // A large thing to be carried through every write that has none.
        Some(Box::new(span))
    }))
}

/// Has a task that goes on without its caller be found under the same span.
pub fn carried<F: Future>(future: F) -> WithContext<F> {
    future.with_context(Context::current())
}

/// The trace of the request that is being served, if it is followed.
pub(super) fn followed() -> Option<String> {
    Context::map_current(|context| {
        let span = context.has_active_span().then(|| context.span())?;
        Some(span.span_context().trace_id().to_string())
    })
}

/// Notes what was decided on the span of the check that is being served, if it has one.
pub fn decided(answer: &Answer, channel: Channel) {
    note(|| {
        let decision = if answer.denied { "deny" } else { "allow" };
        [
            KeyValue::new("bancheck.channel", channel.name()),
            KeyValue::new("bancheck.decision", decision),
            KeyValue::new("bancheck.basis", BASES[answer.basis as usize - 1]),
            KeyValue::new("bancheck.decision_id", answer.decision_id.clone()),
        ]
    });
}

/// Notes how many questions were judged on the span of the batch that is being served, if it has one.
pub fn judged(questions: usize) {
    let questions = i64::try_from(questions).unwrap_or(i64::MAX);
    note(|| [KeyValue::new("bancheck.questions", questions)]);
}

fn note<const N: usize>(about: impl FnOnce() -> [KeyValue; N]) {
    Context::map_current(|context| {
        if context.has_active_span() {
            context.span().set_attributes(about());
        }
    });
}

/// Whether the caller wants the request to be followed; `None` = it says nothing that can be read.
///
/// Read by hand up to here, so that nothing is made for a request that is not followed.
fn is_wanted(headers: &HeaderMap) -> Option<bool> {
    let text = headers.get(PARENT)?.as_bytes();
    let flags = text.get(53..55)?;
    let in_place = [2, 35, 52].iter().all(|at| text[*at] == b'-');
    let flags = u8::from_str_radix(std::str::from_utf8(flags).ok()?, 16).ok()?;
    in_place.then_some(flags & 1 == 1)
}

/// Whether it is this request's turn, of so large a share: evenly, for each thread apart.
fn is_drawn(share: f64) -> bool {
    thread_local! {
        static OWED: Cell<f64> = const { Cell::new(0.0) };
    }
    OWED.with(|owed| {
        let now = owed.get() + share;
        let drawn = now >= 1.0;
        owed.set(if drawn { now - 1.0 } else { now });
        drawn
    })
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// An exporter of whose success is told: counted each time, logged when it changes.
#[derive(Debug)]
struct Told<E> {
    exporter: E,
    spans: Spans,
    fails: Arc<AtomicBool>,
}

impl<E: SpanExporter> SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len() as u64;
        let exported = self.exporter.export(batch).await;
        let failed = self.fails.swap(exported.is_err(), Ordering::Relaxed);
        match &exported {
            Ok(()) => {
                self.spans.sent.inc_by(count);
                if failed {
                    tracing::info!("the collector of traces takes spans again");
                }
            }
            Err(error) => {
                self.spans.lost.inc_by(count);
                if !failed {
                    tracing::warn!(%error, "the collector of traces does not take spans");
                }
            }
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_a_caller_is_followed_is_read_from_its_header() {
        let wanted = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(PARENT, text.parse().unwrap());
            is_wanted(&headers)
        };
        let ids = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        assert_eq!(wanted(format!("{ids}-01").leak()), Some(true));
        assert_eq!(wanted(format!("{ids}-00").leak()), Some(false));
        assert_eq!(wanted(format!("{ids}-03-more").leak()), Some(true));
        for bad in [
            "",
            "00-1-2-01",
            ids,
            "x",
            "00-0af7651916cd43dd8448eb211c80319c+b7ad6b7169203331-01",
        ] {
            assert_eq!(wanted(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_share_is_drawn_evenly() {
        let drawn = |share: f64| (0..1_000).filter(|_| is_drawn(share)).count();
        assert_eq!(drawn(0.0), 0);
        assert_eq!(drawn(1.0), 1_000);
        assert!((249..=251).contains(&drawn(0.25)));
    }
}
