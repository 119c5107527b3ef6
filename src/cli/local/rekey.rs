//! `bancheck migrate --rekey`: files bans anew that an older canonicaliser has read.
//!
//! A chunk is one transaction and one row of the feed, so pods that run follow, and whatever stops
//! this halfway, another run goes on where it stopped.

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    cli::output::print,
    desk::{Circumstances, refiled},
    domain::{
        ban::State,
        clock::Clock as _,
        identity::CANONICALISER_VERSION,
        ids::{BanId, TenantId},
        keys::MasterKey,
        revision::Nonce,
    },
    feed::PodClock,
    store::{Answer, BanFilter, Begun, Intent, MAX_CHUNK, Store},
};

/// Tenants asked for at a time.
const PAGE: i64 = 1_000;

/// What became of the bans.
#[derive(Debug, Default)]
struct Tally {
    tenants: u64,
    seen: u64,
    refiled: u64,
    erased: u64,
    unreadable: u64,
}

/// Files all bans of an older version anew, and tells how many.
pub(super) async fn rekey(store: &dyn Store, keys: &MasterKey) -> anyhow::Result<()> {
    let clock = PodClock::default();
    let mut tally = Tally::default();
    let mut after = String::new();
    loop {
        let tenants = store.tenants(&after, PAGE).await?;
        let Some((last, _)) = tenants.last() else {
            break;
        };
        after = last.as_str().to_owned();
        for (tenant, _) in &tenants {
            let done = one_tenant(store, keys, &clock, tenant, &mut tally).await;
            done.with_context(|| {
                let done = tally.refiled;
                format!(
                    "stopped at tenant {tenant} with {done} bans filed anew; run it again to go on"
                )
            })?;
            tally.tenants += 1;
        }
    }
    let Tally {
        tenants,
        seen,
        refiled,
        erased,
        unreadable,
    } = tally;
    print(&format!(
        "{refiled} of {seen} bans of {tenants} tenants were filed anew by version \
         {CANONICALISER_VERSION} of the canonicaliser; {erased} erased ones are left as they were, \
         {unreadable} could not be read again"
    ))
}

async fn one_tenant(
    store: &dyn Store,
    keys: &MasterKey,
    clock: &PodClock,
    tenant: &TenantId,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let all = BanFilter {
        states: State::ALL.to_vec(),
        limit: 1,
        count: true,
        ..BanFilter::default()
    };
    let total = store.bans(tenant, &all).await?.total.unwrap_or_default();
    let bar = ProgressBar::new(total.unsigned_abs());
    let style = "{prefix} {wide_bar} {human_pos}/{human_len} bans, {per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style)?);
    bar.set_prefix(tenant.to_string());
    let mut after = BanId::from_bytes([0; 16]);
    loop {
        let aged = store.aged(tenant, CANONICALISER_VERSION, after).await?;
        for chunk in aged.bans.chunks(MAX_CHUNK) {
            let (refiled, unreadable) = one_chunk(store, keys, clock, tenant, chunk).await?;
            tally.refiled += refiled;
            tally.unreadable += unreadable;
        }
        tally.seen += aged.seen as u64;
        tally.erased += aged.erased as u64;
        bar.inc(aged.seen as u64);
        match aged.last {
            Some(last) => after = last,
            None => break,
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// Files some bans anew under the tenant's lock; how many, and how many could not be read.
async fn one_chunk(
    store: &dyn Store,
    keys: &MasterKey,
    clock: &PodClock,
    tenant: &TenantId,
    chunk: &[BanId],
) -> anyhow::Result<(u64, u64)> {
    let about = Circumstances {
        now: clock.read().now,
        tenant: tenant.clone(),
        actor: "migrate".to_owned(),
        keys: keys.clone(),
    };
    let mut nonce = [0; 4];
    getrandom::fill(&mut nonce)?;
    let intent = Intent {
        tenant: tenant.clone(),
        rpc: "Rekey",
        request_id: uuid::Uuid::now_v7().to_string(),
        body: [0; 16],
        nonce: Nonce(u32::from_be_bytes(nonce)),
        now: about.now,
    };
    let mut work = match store.begin(&intent).await? {
        Begun::Open(work) => work,
        // Deleted since it was named.
        Begun::NoTenant => return Ok((0, 0)),
        Begun::Replay(_) | Begun::Reused => bail!("an id that was made up a moment ago is in use"),
    };
    let key = keys.tenant(tenant);
    let bans = work.bans_named(chunk).await?;
    let found = bans.len() as u64;
    let settings = work.settings().clone();
    let anew: Vec<_> = bans
        .into_iter()
        .filter_map(|ban| refiled(ban, &key, &settings))
        .collect();
    let refiled = anew.len() as u64;
    if refiled > 0 {
        work.rekey(&anew).await?;
        let comment = format!("{refiled} bans, by version {CANONICALISER_VERSION}");
        work.note(&about.event(None, "REKEYED", &comment)).await?;
        work.commit(&Answer::default()).await?;
        // Whoever misses it hears by polling.
        let _ = store.ring().await;
    }
    Ok((refiled, found - refiled))
}
