//! What a check asks of the allocator: nothing to judge, and no more than is committed to in
//! `benches/budget.toml` for the whole of it.

#[path = "../benches/stage/bans.rs"]
mod bans;

use std::{error::Error, sync::Arc, time::Duration};

use allocation_counter::measure;
use bancheck::{
    checker::{Answer, Checker, Consistency, Question},
    desk::{CreateBan, Desk, End, Order, SettingsEdit, TargetGiven},
    domain::{
        ban::{Enforcement, Origin},
        channel::{Channel, Channels},
        clock::Timestamp,
        decide::decide,
        identity::IdentityKind,
        ids::TenantId,
        keys::MasterKey,
    },
    feed::{self, Feed},
    store::{self, Place},
    tally::Tally,
    telemetry::{Counters, Traces, traces},
    views::{DEFAULT_BYTES, Views},
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const BANNED: &str = "+420601123456";
const ALLOWED: &str = "+420601123457";
const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A number that has been committed to.
fn committed(name: &str) -> Outcome<u64> {
    let budget: toml::Table = include_str!("../benches/budget.toml").parse()?;
    let number = budget.get(name).and_then(toml::Value::as_integer);
    Ok(number.ok_or(name)?.try_into()?)
}

#[test]
fn judging_a_question_allocates_nothing_whether_it_is_denied_or_allowed() {
    let view = bans::view(1_000);
    for (at, denied) in [(7, true), (1_007, false)] {
        let caller = bans::caller(&bans::number(at));
        let query = bans::question(&view, Channel::Call, &caller);
        let allocations = measure(|| {
            assert_eq!(decide(&view, &query, NOW).deny.is_some(), denied);
        });
        assert_eq!(allocations.count_total, 0);
    }
}

#[test]
fn a_check_allocates_no_more_than_is_committed_to() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (answers, counted) = tokio::runtime::Runtime::new()?.block_on(counted(folder.path()))?;
    let [denied, allowed] = answers;
    assert!(denied.denied && !allowed.denied, "{denied:?} {allowed:?}");
    let budget = [
        committed("check_denied_allocations")?,
        committed("check_allowed_allocations")?,
    ];
    assert!(
        counted[0] <= budget[0] && counted[1] <= budget[1],
        "counted {counted:?} allocations for a denied and an allowed check, committed to {budget:?}"
    );
    Ok(())
}

/// A denied and an allowed answer from memory, and how many allocations each took.
async fn counted(folder: &std::path::Path) -> Outcome<([Answer; 2], [u64; 2])> {
    let keys = MasterKey::new(&[7; 32]);
    let store = store::open(&Place::Sqlite(folder.to_owned())).await?;
    store.migrate().await?;
    store.check_key(&keys.fingerprints()).await?;
    let (views, counters) = (Views::new(DEFAULT_BYTES), Arc::new(Counters::new()));
    let (feed, source) = Feed::new(keys.clone(), Arc::new(feed::ThisMachine));
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let options = feed::Options::default();
    tasks.spawn(feed::run(
        source,
        Arc::clone(&store),
        views.clone(),
        options,
        stop.clone(),
    ));
    let desk = Desk::new(
        store,
        feed.clone(),
        keys,
        Arc::clone(&counters),
        tasks.clone(),
    );
    feed.warm().await;
    desk.create_tenant(order()?, SettingsEdit::default())
        .await
        .map_err(|refusal| refusal.to_string())?;
    desk.write(order()?, ban(BANNED))
        .await
        .map_err(|refusal| refusal.to_string())?;

    let tally = Arc::new(Tally::new(Arc::clone(&counters)));
    let checker = Checker::new(feed, views, counters, tally);
    let tenant = order()?.tenant;
    let ask = async |number| {
        let identities = [bans::given(IdentityKind::PhoneNumber, number)];
        let question = Question {
            tenant: &tenant,
            channel: Channel::Call,
            stage: None,
            queue: "support",
            identities: &identities,
            consistency: Consistency::MinimizeLatency,
            deadline: Duration::from_secs(5),
        };
        // The view is loaded and the number's region unpacked at the first.
        let mut last = checker.check(&question).await?;
        let mut fewest = u64::MAX;
        // The cache tidies itself now and then, at the expense of whoever passes by.
        for _ in 0..8 {
            let mut answer = None;
            let allocations = measure(|| answer = checker.check(&question).now_or_never());
            last = answer.ok_or("a check from memory waits for nothing")??;
            fewest = fewest.min(allocations.count_total);
        }
        Outcome::Ok((last, fewest))
    };
    let (denied, allowed) = (ask(BANNED).await?, ask(ALLOWED).await?);
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(([denied.0, allowed.0], [denied.1, allowed.1]))
}

#[test]
fn a_check_that_is_not_followed_allocates_nothing_for_it() {
    let traces = Traces::new(Nowhere, 0.0, Counters::new().spans());
    let mut said = HeaderMap::new();
    let not_followed = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    said.insert("traceparent", HeaderValue::from_static(not_followed));
    let (mut asked, mut other) = (0, 0);
    // The first of a thread makes its place for what it is working on.
    for _ in 0..2 {
        asked = measure(|| {
            for headers in [&HeaderMap::new(), &said] {
                assert!(traces.begin(headers, "service", "method", false).is_none());
            }
        })
        .count_total;
        other = measure(|| traces::judged(1)).count_total;
    }
    assert_eq!((asked, other), (0, 0));
}

/// Where spans of nobody go.
#[derive(Debug)]
struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

fn order() -> Outcome<Order> {
    Ok(Order {
        tenant: TenantId::parse("default").ok_or("no tenant id")?,
        actor: "test".to_owned(),
        request_id: String::new(),
        validate_only: false,
        body: Vec::new(),
        deadline: Duration::from_secs(10),
    })
}

fn ban(number: &str) -> CreateBan {
    CreateBan {
        list_id: None,
        channels: Channels::of(&[Channel::Call]),
        targets: vec![TargetGiven {
            kind: Some(IdentityKind::PhoneNumber),
            value: number.to_owned(),
            issuer: String::new(),
            region_hint: String::new(),
        }],
        match_kind: None,
        reason: "to count with".to_owned(),
        reason_code: String::new(),
        end: End::Never,
        start: None,
        enforcement: Enforcement::Enforced,
        override_warnings: false,
        origin: Origin::AdminEntry,
    }
}
