//! Made-up bans by the million, through the store's own chunks.

use std::{ops::Range, sync::Arc};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    cli::output::print,
    config::Flags,
    desk::{Circumstances, CreateBan, End, TargetGiven, prepare},
    domain::{
        ban::{Enforcement, Origin},
        channel::{Channel, Channels},
        clock::Clock as _,
        identity::IdentityKind,
        ids::TenantId,
        keys::MasterKey,
        policy::TenantSettings,
        revision::Nonce,
    },
    feed::PodClock,
    store::{self, Added, Answer, Begun, Intent, MAX_CHUNK, NewBan, Place, Store},
};

/// What to fill, and with how much.
#[derive(Debug, clap::Args)]
pub(crate) struct SeedFlags {
    /// How many bans, numbered on from --first
    pub(super) count: u64,
    /// The tenant to fill; made if it is not there
    #[arg(long, value_name = "TENANT", default_value = "default")]
    into: String,
    /// Fill so many tenants instead, an equal part of the bans in each; their names are that of --into
    /// and a number, default-0 and so on
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    tenants: u32,
    /// Number of the first ban, so that a second run adds others
    #[arg(long, default_value_t = 0)]
    first: u64,
    #[command(flatten)]
    pub(super) server: Flags,
}

/// The made-up phone number of this place: valid in form, nobody's in fact (+999 is reserved).
pub(in crate::cli) fn made_up_number(at: u64) -> String {
    format!("+999{at:010}")
}

/// The tenants that are filled when there are to be so many of them.
pub(in crate::cli) fn made_up_tenants(first: &str, count: u32) -> Vec<String> {
    if count == 1 {
        return vec![first.to_owned()];
    }
    (0..count).map(|at| format!("{first}-{at}")).collect()
}

pub(super) async fn seed(flags: &SeedFlags, place: &Place, keys: MasterKey) -> anyhow::Result<()> {
    let tenants = made_up_tenants(&flags.into, flags.tenants).into_iter();
    let tenants = tenants.map(|id| TenantId::parse(&id).context("a tenant id is like `default`"));
    let tenants = tenants.collect::<anyhow::Result<Vec<_>>>()?;
    let store = store::open(place).await?;
    store.migrate().await?;
    store.check_key(&keys.fingerprints()).await?;

    let bar = ProgressBar::new(flags.count);
    bar.set_style(ProgressStyle::with_template(
        "{wide_bar} {human_pos}/{human_len} bans, {per_sec}, {eta} left",
    )?);
    let mut seeding = Seeding {
        store: &store,
        keys,
        clock: PodClock::default(),
        bar,
        made: 0,
        alike: 0,
    };
    let each = flags.count.div_ceil(flags.tenants.into());
    let mut left = flags.count;
    for tenant in tenants {
        let count = each.min(left);
        left -= count;
        seeding
            .fill(tenant, flags.first..flags.first + count)
            .await?;
    }
    let Seeding {
        bar, made, alike, ..
    } = seeding;
    bar.finish_and_clear();
    print(&format!("{made} bans made, {alike} were there already"))
}

/// A run of it.
struct Seeding<'a> {
    store: &'a Arc<dyn Store>,
    keys: MasterKey,
    clock: PodClock,
    bar: ProgressBar,
    made: u64,
    alike: u64,
}

impl Seeding<'_> {
    /// Makes a tenant if it is not there, and bans the numbers of these places in it.
    async fn fill(&mut self, tenant: TenantId, places: Range<u64>) -> anyhow::Result<()> {
        let mut about = Circumstances {
            now: self.clock.read().now,
            tenant,
            actor: "bench seed".to_owned(),
            keys: self.keys.clone(),
        };
        make_tenant(&**self.store, &about).await?;
        let mut from = places.start;
        while from < places.end {
            let to = places.end.min(from + MAX_CHUNK as u64);
            about.now = self.clock.read().now;
            let chunk: Vec<NewBan> = (from..to)
                .map(|at| new_ban(at, &about))
                .collect::<Result<_, _>>()?;
            for added in add(self.store, &about, &chunk).await? {
                match added {
                    Added::Made => self.made += 1,
                    Added::Alike(_) => self.alike += 1,
                }
            }
            self.bar.inc(to - from);
            from = to;
        }
        Ok(())
    }
}

fn new_ban(at: u64, about: &Circumstances) -> anyhow::Result<NewBan> {
    let asked = CreateBan {
        list_id: None,
        channels: Channels::of(&[Channel::Call, Channel::Sms]),
        targets: vec![TargetGiven {
            kind: Some(IdentityKind::PhoneNumber),
            value: made_up_number(at),
            issuer: String::new(),
            region_hint: String::new(),
        }],
        match_kind: None,
        reason: "made up to measure with".to_owned(),
        reason_code: String::new(),
        end: End::Never,
        start: None,
        enforcement: Enforcement::Enforced,
        override_warnings: false,
        origin: Origin::Import,
    };
    Ok(prepare(&asked, &TenantSettings::default(), None, about)?.0)
}

fn intent(about: &Circumstances, rpc: &'static str) -> anyhow::Result<Intent> {
    let mut nonce = [0; 4];
    getrandom::fill(&mut nonce)?;
    Ok(Intent {
        tenant: about.tenant.clone(),
        rpc,
        request_id: uuid::Uuid::now_v7().to_string(),
        body: [0; 16],
        body_elsewhere: Vec::new(),
        nonce: Nonce(u32::from_be_bytes(nonce)),
        now: about.now,
    })
}

async fn make_tenant(store: &dyn Store, about: &Circumstances) -> anyhow::Result<()> {
    if store.settings(&about.tenant).await?.is_some() {
        return Ok(());
    }
    let intent = intent(about, "CreateTenant")?;
    let begun = store
        .begin_tenant(&intent, &TenantSettings::default())
        .await?;
    let Begun::Open(work) = begun else {
        bail!("the tenant could not be made")
    };
    work.commit(&Answer::default()).await?;
    Ok(())
}

async fn add(
    store: &Arc<dyn Store>,
    about: &Circumstances,
    chunk: &[NewBan],
) -> anyhow::Result<Vec<Added>> {
    let intent = intent(about, "BenchSeed")?;
    let Begun::Open(mut work) = store.begin(&intent).await? else {
        bail!("the tenant is not there")
    };
    let added = work.add_bans(chunk).await?;
    let comment = format!("{} bans", chunk.len());
    work.note(&about.event(None, "SEEDED", &comment)).await?;
    work.commit(&Answer::default()).await?;
    Ok(added)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;

    #[test]
    fn made_up_bans_differ_and_come_out_the_same_every_time() {
        let about = Circumstances {
            now: Timestamp::from_micros(0),
            tenant: TenantId::parse("t").unwrap(),
            actor: String::new(),
            keys: MasterKey::new(&[0; 32]),
        };
        let one = new_ban(7, &about).unwrap();
        assert_eq!(one.likeness, new_ban(7, &about).unwrap().likeness);
        assert_ne!(one.likeness, new_ban(8, &about).unwrap().likeness);
    }
}
