//! `bancheck migrate --rekey`: files bans and exceptions anew that an older canonicaliser has read.
//!
//! A chunk is one transaction and one row of the feed, so pods that run follow, and whatever stops
//! this halfway, another run goes on where it stopped.

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use super::writer::Writer;
use crate::{
    cli::output::print,
    desk::{Circumstances, refiled, refiled_exception},
    domain::{
        ban::State,
        identity::CANONICALISER_VERSION,
        ids::{BanId, ExceptionId, TenantId},
        keys::MasterKey,
    },
    store::{Answer, BanFilter, MAX_CHUNK, Store, Work},
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
}

/// How many there are, and how many of them were filed anew.
#[derive(Debug, Default)]
struct Count {
    seen: u64,
    refiled: u64,
}

/// Files anew what an older version has read, and tells how much that was.
pub(super) async fn rekey(store: &dyn Store, keys: &MasterKey) -> anyhow::Result<()> {
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
    let Tally {
        tenants,
        bans,
        exceptions,
        erased,
        unreadable,
    } = rekeying.tally;
    print(&format!(
        "{} of {} bans and {} of {} exceptions of {tenants} tenants were filed anew by version \
         {CANONICALISER_VERSION} of the canonicaliser; {erased} erased ones are left as they were, \
         {unreadable} could not be read again",
        bans.refiled, bans.seen, exceptions.refiled, exceptions.seen
    ))
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
            let aged = { self.writer.store }
                .aged_bans(tenant, CANONICALISER_VERSION, after)
                .await?;
            for chunk in aged.ids.chunks(MAX_CHUNK) {
                self.some_bans(tenant, chunk).await?;
            }
            self.tally.bans.seen += aged.seen as u64;
            self.tally.erased += aged.erased as u64;
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
            let aged = { self.writer.store }
                .aged_exceptions(tenant, CANONICALISER_VERSION, after)
                .await?;
            bar.inc_length(aged.seen as u64);
            for chunk in aged.ids.chunks(MAX_CHUNK) {
                self.some_exceptions(tenant, chunk).await?;
            }
            self.tally.exceptions.seen += aged.seen as u64;
            self.tally.erased += aged.erased as u64;
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
        let found = bans.len();
        let anew: Vec<_> = bans
            .into_iter()
            .filter_map(|ban| refiled(ban, &key, &settings))
            .collect();
        self.tally.unreadable += (found - anew.len()) as u64;
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
        let found = exceptions.len();
        let anew: Vec<_> = exceptions
            .into_iter()
            .filter_map(|one| refiled_exception(one, &key, &settings))
            .collect();
        self.tally.unreadable += (found - anew.len()) as u64;
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
