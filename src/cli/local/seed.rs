//! Made-up bans by the million, through the store's own chunks.

use std::sync::Arc;

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

pub(super) async fn seed(flags: &SeedFlags, place: &Place, keys: MasterKey) -> anyhow::Result<()> {
    let tenant = TenantId::parse(&flags.into).context("a tenant id is like `default`")?;
    let store = store::open(place).await?;
    store.migrate().await?;
    store.check_key(&keys.fingerprint()).await?;
    let clock = PodClock::default();
    let about = |now| Circumstances {
        now,
        tenant: tenant.clone(),
        actor: "bench seed".to_owned(),
        keys: keys.clone(),
    };
    make_tenant(&*store, &about(clock.read().now)).await?;

    let bar = ProgressBar::new(flags.count);
    bar.set_style(ProgressStyle::with_template(
        "{wide_bar} {human_pos}/{human_len} bans, {per_sec}, {eta} left",
    )?);
    let (mut made, mut alike) = (0u64, 0u64);
    let mut from = 0;
    while from < flags.count {
        let to = flags.count.min(from + MAX_CHUNK as u64);
        let about = about(clock.read().now);
        let chunk: Vec<NewBan> = (from..to)
            .map(|at| new_ban(flags.first + at, &about))
            .collect::<Result<_, _>>()?;
        for added in add(&store, &about, &chunk).await? {
            match added {
                Added::Made => made += 1,
                Added::Alike(_) => alike += 1,
            }
        }
        bar.inc(to - from);
        from = to;
    }
    bar.finish_and_clear();
    print(&format!("{made} bans made, {alike} were there already"))
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
