//! `bancheck migrate --rekey`: files bans and exceptions anew that an older canonicaliser has read, or
//! that are filed under a master key that is not the current one; and lets go of such a key where
//! nothing is left under it.
//!
//! A chunk is one transaction and one row of the feed, so pods that run follow, and whatever stops
//! this halfway, another run goes on where it stopped.

use std::fmt::Display;

use anyhow::{Context, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use super::writer::Writer;
use crate::{
    cli::output::print,
    desk::{Circumstances, LOCAL_ADMIN, refiled, refiled_exception},
    domain::{
        ban::State,
        clock::Clock as _,
        identity::CANONICALISER_VERSION,
        ids::{BanId, ExceptionId, TenantId},
        keys::{Fingerprints, MasterKey},
    },
    feed::PodClock,
    store::{Aged, Answer, BanFilter, MAX_CHUNK, Store, Work},
};

/// Tenants asked for at a time.
const PAGE: i64 = 1_000;

/// What became of the bans and exceptions.
#[derive(Debug, Default)]
struct Tally {
    tenants: u64,
    bans: Count,
    exceptions: Count,
    erased: u64,
    unreadable: u64,
    /// What holds under another key and cannot be filed anew, by tenant and id.
    bound: Vec<String>,
    /// The same, of what could be read once.
    stuck: Vec<String>,
}

impl Tally {
    /// Notes what some that were looked at cannot be made to be.
    fn note<Id: Display>(&mut self, tenant: &TenantId, aged: &Aged<Id>) {
        self.erased += aged.erased as u64;
        let bound = aged.bound.iter().map(|id| format!("{tenant}/{id}"));
        self.bound.extend(bound);
    }

    /// Notes one that could not be read again.
    fn unread(&mut self, tenant: &TenantId, id: impl Display, holds: bool) {
        self.unreadable += 1;
        if holds {
            self.stuck.push(format!("{tenant}/{id}"));
        }
    }
}

/// How many there are, and how many of them were filed anew.
#[derive(Debug, Default)]
struct Count {
    seen: u64,
    refiled: u64,
}

/// How often it is looked whether something is left: bans are made meanwhile.
const LOOKS: usize = 3;
/// How many ids are told of each kind.
const TOLD: usize = 10;

/// Files anew what has aged, tells how much that was, and lets go of the keys that nothing is left
/// under. An embedded store's folder makes itself a new key to everything when it is started.
pub(super) async fn rekey(
    store: &dyn Store,
    keys: &MasterKey,
    embedded: bool,
) -> anyhow::Result<()> {
    let mut tally = walk(store, keys).await?;
    let Tally {
        tenants,
        bans,
        exceptions,
        erased,
        unreadable,
        ..
    } = &tally;
    print(&format!(
        "{} of {} bans and {} of {} exceptions of {tenants} tenants were filed anew by version \
         {CANONICALISER_VERSION} of the canonicaliser; {erased} erased ones are left as they were, \
         {unreadable} could not be read again",
        bans.refiled, bans.seen, exceptions.refiled, exceptions.seen
    ))?;
    let others = store.other_keys_in_use().await?;
    if others.is_empty() {
        return Ok(());
    }
    let shown = others.iter().map(|one| Fingerprints::short(one));
    let shown = shown.collect::<Vec<_>>().join("…, ");
    for _ in 0..LOOKS {
        if tally.bans.refiled + tally.exceptions.refiled == 0 {
            break;
        }
        tally = walk(store, keys).await?;
    }
    ensure!(
        tally.bans.refiled + tally.exceptions.refiled == 0,
        "somebody goes on filing under {shown}…: some pod has it as its master_key still; roll out the \
         new one, then run this again"
    );
    let locked = store.keys_locked_elsewhere(PodClock::default().read().now);
    let locked = locked.await?.into_iter();
    let locked = locked
        .filter(|key| !(embedded && key.principal == LOCAL_ADMIN))
        .map(|key| format!("{} of {}", key.id, key.principal));
    let left = [
        (
            tally.bound,
            "bans or exceptions are known by their hash alone, for the person was erased: lift them, or \
             wait until they end",
        ),
        (
            tally.stuck,
            "bans or exceptions cannot be read again: lift them, and make them anew",
        ),
        (
            locked.collect(),
            "API keys are locked under it: exchange each by `bancheck key rotate`, and its client's \
             key with it",
        ),
    ];
    let left: Vec<_> = left
        .into_iter()
        .filter(|(all, _)| !all.is_empty())
        .map(|(all, what)| {
            let more = if all.len() > TOLD { ", …" } else { "" };
            let some = all[..all.len().min(TOLD)].join(", ");
            format!("{} {what} ({some}{more})", all.len())
        })
        .collect();
    if !left.is_empty() {
        bail!(
            "the master key {shown}… is still needed beside the current one: {}; then run this again",
            left.join("; ")
        );
    }
    store.let_go_of_other_keys().await?;
    print(&format!(
        "nothing is left under the master key {shown}…: it can be taken out of other_master_keys a day \
         after the last pod is gone that had it as its master_key, for as long its tokens and request \
         ids are good; a backup of before needs it again"
    ))
}

/// Files anew what has aged.
async fn walk(store: &dyn Store, keys: &MasterKey) -> anyhow::Result<Tally> {
    let mut rekeying = Rekeying {
        writer: Writer::new(store, keys),
        tally: Tally::default(),
    };
    let mut after = String::new();
    loop {
        let tenants = store.tenants(&after, PAGE).await?;
        let Some((last, _)) = tenants.last() else {
            break;
        };
        after = last.as_str().to_owned();
        for (tenant, _) in &tenants {
            let done = rekeying.one_tenant(tenant).await;
            done.with_context(|| {
                let Tally {
                    bans, exceptions, ..
                } = &rekeying.tally;
                format!(
                    "stopped at tenant {tenant} with {} bans and {} exceptions filed anew; run it \
                     again to go on",
                    bans.refiled, exceptions.refiled
                )
            })?;
            rekeying.tally.tenants += 1;
        }
    }
    Ok(rekeying.tally)
}

fn bar(tenant: &TenantId, of: u64, what: &str) -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new(of);
    let style = "{prefix} {wide_bar} {human_pos}/{human_len} {msg}, {per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style)?);
    bar.set_prefix(tenant.to_string());
    bar.set_message(what.to_owned());
    Ok(bar)
}

/// A run of it.
struct Rekeying<'a> {
    writer: Writer<'a>,
    tally: Tally,
}

impl Rekeying<'_> {
    async fn one_tenant(&mut self, tenant: &TenantId) -> anyhow::Result<()> {
        self.bans(tenant).await?;
        self.exceptions(tenant).await
    }

    async fn bans(&mut self, tenant: &TenantId) -> anyhow::Result<()> {
        let all = BanFilter {
            states: State::ALL.to_vec(),
            limit: 1,
            count: true,
            ..BanFilter::default()
        };
        let total = self.writer.store.bans(tenant, &all).await?.total;
        let bar = bar(tenant, total.unwrap_or_default().unsigned_abs(), "bans")?;
        let mut after = BanId::from_bytes([0; 16]);
        loop {
            let aged = self
                .writer
                .store
                .aged_bans(tenant, CANONICALISER_VERSION, after)
                .await?;
            for chunk in aged.ids.chunks(MAX_CHUNK) {
                self.some_bans(tenant, chunk).await?;
            }
            self.tally.bans.seen += aged.seen as u64;
            self.tally.note(tenant, &aged);
            bar.inc(aged.seen as u64);
            match aged.last {
                Some(last) => after = last,
                None => break,
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    async fn exceptions(&mut self, tenant: &TenantId) -> anyhow::Result<()> {
        let bar = bar(tenant, 0, "exceptions")?;
        let mut after = ExceptionId::from_bytes([0; 16]);
        loop {
            let aged = self
                .writer
                .store
                .aged_exceptions(tenant, CANONICALISER_VERSION, after)
                .await?;
            bar.inc_length(aged.seen as u64);
            for chunk in aged.ids.chunks(MAX_CHUNK) {
                self.some_exceptions(tenant, chunk).await?;
            }
            self.tally.exceptions.seen += aged.seen as u64;
            self.tally.note(tenant, &aged);
            bar.inc(aged.seen as u64);
            match aged.last {
                Some(last) => after = last,
                None => break,
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Files some bans anew under the tenant's lock.
    async fn some_bans(&mut self, tenant: &TenantId, chunk: &[BanId]) -> anyhow::Result<()> {
        let Some((mut work, about)) = self.writer.begin(tenant, "Rekey", "migrate").await? else {
            return Ok(());
        };
        let (key, settings) = (self.writer.keys.tenant(tenant), work.settings().clone());
        let bans = work.bans_named(chunk).await?;
        let mut anew = Vec::with_capacity(bans.len());
        for ban in bans {
            let (id, holds) = (ban.ban_id, !ban.ended);
            match refiled(ban, &key, &settings) {
                Some(new) => anew.push(new),
                None => self.tally.unread(tenant, id, holds),
            }
        }
        if anew.is_empty() {
            return Ok(());
        }
        work.rekey(&anew).await?;
        self.commit(work, &about, anew.len(), "bans").await?;
        self.tally.bans.refiled += anew.len() as u64;
        Ok(())
    }

    /// Files some exceptions anew under the tenant's lock.
    async fn some_exceptions(
        &mut self,
        tenant: &TenantId,
        chunk: &[ExceptionId],
    ) -> anyhow::Result<()> {
        let Some((mut work, about)) = self.writer.begin(tenant, "Rekey", "migrate").await? else {
            return Ok(());
        };
        let (key, settings) = (self.writer.keys.tenant(tenant), work.settings().clone());
        let exceptions = work.exceptions_named(chunk).await?;
        let mut anew = Vec::with_capacity(exceptions.len());
        for one in exceptions {
            let (id, holds) = (one.exception_id, !one.ended);
            match refiled_exception(one, &key, &settings) {
                Some(new) => anew.push(new),
                None => self.tally.unread(tenant, id, holds),
            }
        }
        if anew.is_empty() {
            return Ok(());
        }
        work.rekey_exceptions(&anew).await?;
        self.commit(work, &about, anew.len(), "exceptions").await?;
        self.tally.exceptions.refiled += anew.len() as u64;
        Ok(())
    }

    async fn commit(
        &self,
        mut work: Box<dyn Work>,
        about: &Circumstances,
        count: usize,
        what: &str,
    ) -> anyhow::Result<()> {
        let comment = format!("{count} {what}, by version {CANONICALISER_VERSION}");
        work.note(&about.event(None, "REKEYED", &comment)).await?;
        work.commit(&Answer::default()).await?;
        // Whoever misses it hears by polling.
        let _ = self.writer.store.ring().await;
        Ok(())
    }
}
