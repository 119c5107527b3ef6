//! Failures played move by move: a standby that takes over, pods killed in the middle of a write, a
//! database that is away for a while.
//!
//! `BANCHECK_TORTURE_OUTAGE` says for how many seconds the database is away, 5 if unset.

#[path = "stage/clients.rs"]
mod clients;
#[path = "stage/cluster.rs"]
#[expect(dead_code, reason = "the rest is for suites that restore a cluster")]
mod cluster;
#[path = "failover/midway.rs"]
mod midway;
#[path = "failover/outage.rs"]
mod outage;
#[path = "stage/process.rs"]
#[expect(dead_code, reason = "the rest is for suites that freeze pods")]
mod process;
#[path = "failover/promotion.rs"]
mod promotion;
#[path = "stage/proxy.rs"]
#[expect(dead_code, reason = "the rest is for suites that torture pods")]
mod proxy;
#[path = "failover/sweeping.rs"]
mod sweeping;
