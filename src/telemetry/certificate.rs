//! For what time the listeners' certificate is good; told where they speak TLS only.

use std::sync::atomic::AtomicI64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

/// From when until when a certificate is good, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub from: i64,
    /// Its last.
    pub until: i64,
}

/// None: a family without a member says nothing, where a gauge would say 1970.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct NoLabels {}

type Instant = Family<NoLabels, Gauge<i64, AtomicI64>>;

/// The instruments of the certificate.
pub(super) struct Certificate {
    from: Instant,
    until: Instant,
}

impl Certificate {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let instruments = Self {
            from: Family::default(),
            until: Family::default(),
        };
        let seconds = |name: &str, help: &str, instant: &Instant, registry: &mut Registry| {
            registry.register_with_unit(name, help, Unit::Seconds, instant.clone());
        };
        let name = "certificate_not_before_timestamp";
        let help = "When the listeners' certificate began to be good";
        seconds(name, help, &instruments.from, registry);
        let name = "certificate_not_after_timestamp";
        let help = "When the listeners' certificate ends, or the first of those above it";
        seconds(name, help, &instruments.until, registry);
        instruments
    }

    pub(super) fn is_good(&self, Validity { from, until }: Validity) {
        self.from.get_or_create(&NoLabels {}).set(from);
        self.until.get_or_create(&NoLabels {}).set(until);
    }
}
