//! Where the pod stands and what it holds, read off whenever somebody scrapes.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::dropped_lines;
use crate::{
    feed::{Begun, Ended, Feed},
    views::Views,
};

type Count = Counter<u64, AtomicU64>;
type Whole = Gauge<i64, AtomicI64>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct End {
    end: &'static str,
}

/// The instruments that are read off the pod.
pub(super) struct Pod {
    lease_age: Gauge<f64, AtomicU64>,
    applied_revision: Whole,
    feed_rows: Whole,
    histories_begun: Family<Cause, Count>,
    loads: Family<End, Count>,
    views_resident: Whole,
    views_bytes: Whole,
    views_leaving: Whole,
    views_evicted: Count,
    log_lines_dropped: Count,
}

impl Pod {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let pod = Self {
            lease_age: Gauge::default(),
            applied_revision: Gauge::default(),
            feed_rows: Gauge::default(),
            histories_begun: Family::default(),
            loads: Family::default(),
            views_resident: Gauge::default(),
            views_bytes: Gauge::default(),
            views_leaving: Gauge::default(),
            views_evicted: Counter::default(),
            log_lines_dropped: Counter::default(),
        };
        let help =
            "Time since the last complete look at the feed was sent; above 2, answers are STALE";
        let age = pod.lease_age.clone();
        registry.register_with_unit("lease_age", help, Unit::Seconds, age);
        let help = "Newest feed row that is in every view";
        registry.register("applied_revision", help, pod.applied_revision.clone());
        registry.register(
            "feed_rows",
            "Rows that the feed holds",
            pod.feed_rows.clone(),
        );
        let help = "Times that everything was read anew, for the database was not the one followed";
        registry.register("histories_begun", help, pod.histories_begun.clone());
        let help = "Tenants read from the database into memory, by how it ended";
        registry.register("loads", help, pod.loads.clone());
        registry.register(
            "views_resident",
            "Tenants in memory",
            pod.views_resident.clone(),
        );
        let help = "Memory of the tenants' bans";
        let bytes = pod.views_bytes.clone();
        registry.register_with_unit("views", help, Unit::Bytes, bytes);
        let help = "Views replaced or evicted that somebody still looks at";
        registry.register("views_leaving", help, pod.views_leaving.clone());
        let help = "Views that had to leave memory for want of room";
        registry.register("views_evicted", help, pod.views_evicted.clone());
        let help = "Lines of the log for which there was no room, since whoever reads it is slow";
        let dropped = pod.log_lines_dropped.clone();
        registry.register("log_lines_dropped", help, dropped);
        pod
    }

    pub(super) fn measure(&self, feed: &Feed, views: &Views) {
        if let Some(standing) = feed.standing() {
            let age = (feed.clock().read().boot - standing.heard_at).max(0);
            #[expect(
                clippy::cast_precision_loss,
                reason = "an age in microseconds is small"
            )]
            self.lease_age.set(age as f64 / 1e6);
            let revision = standing.position.anchor.revision.0;
            self.applied_revision.set(whole(revision));
        }
        let chronicle = feed.chronicle();
        self.feed_rows.set(whole(chronicle.rows()));
        for why in Begun::ALL {
            let counter = self
                .histories_begun
                .get_or_create_owned(&Cause { cause: why.name() });
            tell(&counter, chronicle.begun(why));
        }
        for how in Ended::ALL {
            let counter = self.loads.get_or_create_owned(&End { end: how.name() });
            tell(&counter, chronicle.ended(how));
        }
        let (resident, kib) = views.size();
        self.views_resident.set(whole(resident));
        self.views_bytes.set(whole(kib * 1_024));
        let leaving = u64::try_from(views.leaving()).unwrap_or(u64::MAX);
        self.views_leaving.set(whole(leaving));
        tell(&self.views_evicted, views.evicted());
        tell(&self.log_lines_dropped, dropped_lines());
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A counter that is counted elsewhere.
fn tell(counter: &Count, count: u64) {
    counter.inner().store(count, Ordering::Relaxed);
}
