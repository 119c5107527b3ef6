//! Networks as registries give them out, very many of them, banned through the store's own chunks:
//! what a check says of an address is what a clerk with a sorted list would say.
//!
//! They are made up like a registry's. `BANCHECK_NETWORKS=FILE[:FILE] tests/run networks --no-capture`
//! takes real ones instead: lines of a first and a last address, as npm's `@ip-location-db/asn` has.

#[path = "stage/database.rs"]
#[expect(dead_code, reason = "the rest is for suites that need more of it")]
mod database;

use std::{
    collections::BTreeSet,
    error::Error,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use bancheck::{
    desk::{Circumstances, CreateBan, End, TargetGiven, prepare},
    domain::{
        ban::{Enforcement, Origin},
        channel::{Channel, Channels},
        clock::{Clock, Timestamp},
        decide::{Query, Stage, decide},
        identity::{Given, IdentityKind, MatchKind, read},
        ids::TenantId,
        keys::{MasterKey, TenantKey},
        policy::TenantSettings,
        record::BanRecord,
        revision::Nonce,
        view::TenantView,
    },
    feed::PodClock,
    store::{Answer, Begun, Intent, LoadSink, LoadedTenant, MAX_CHUNK, NewBan, Store},
};
use database::{Database, Kind};
use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const NOW: Timestamp = Timestamp::from_micros(1_760_000_000_000_000);

/// Marsaglia's xorshift: the same registry on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, sides: u64) -> u64 {
        self.roll() % sides
    }
}

/// Addresses from the first to the last, both included.
type Range = (IpAddr, IpAddr);

/// Ranges one after another, most of 256 addresses and some of very many, with gaps between.
fn made_up(dice: &mut Dice, count: u32) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    let mut at: u32 = 0x0100_0000;
    for _ in 0..count {
        let size = 256_u32 << [0, 0, 0, 1, 2, 3, 4, 8][usize::try_from(dice.below(8)).unwrap_or(0)];
        at += u32::try_from(dice.below(4)).unwrap_or(0) << 8;
        // One in eight is no power of two, so it takes several networks to say it.
        let size = size + (u32::from(dice.below(8) == 0) << 8);
        let last = at + (size - 1);
        ranges.push((Ipv4Addr::from(at).into(), Ipv4Addr::from(last).into()));
        at = last + 1;
    }
    let mut at: u128 = 0x2001_0200 << 96;
    for _ in 0..count / 4 {
        let size = 1_u128 << [80, 92, 96, 99][usize::try_from(dice.below(4)).unwrap_or(0)];
        at = at.next_multiple_of(size) + size * u128::from(dice.below(3));
        let last = at + (size - 1);
        ranges.push((Ipv6Addr::from(at).into(), Ipv6Addr::from(last).into()));
        at = last + 1;
    }
    ranges
}

/// The fewest networks that are these addresses and no others.
fn networks(ranges: &[Range]) -> Vec<IpNet> {
    let each = ranges.iter().flat_map(|range| -> Vec<IpNet> {
        match *range {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect()
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect()
            }
            _ => Vec::new(),
        }
    });
    each.collect()
}

/// The clerk's list, in order.
struct Clerk(Vec<Range>);

impl Clerk {
    fn of(mut ranges: Vec<Range>) -> Self {
        ranges.sort_unstable();
        // One that lies in another, or reaches into it, is none of its own.
        ranges.dedup_by(|next, kept| {
            let joined = next.0.is_ipv4() == kept.0.is_ipv4() && next.0 <= kept.1;
            if joined {
                kept.1 = kept.1.max(next.1);
            }
            joined
        });
        Self(ranges)
    }

    fn knows(&self, address: IpAddr) -> bool {
        let begun = self.0.partition_point(|(first, _)| *first <= address);
        let last = begun.checked_sub(1).map(|at| self.0[at].1);
        last.is_some_and(|last| address <= last)
    }
}

fn tenant() -> Outcome<TenantId> {
    Ok(TenantId::parse("networks").ok_or("no tenant id")?)
}

fn about() -> Outcome<Circumstances> {
    Ok(Circumstances {
        now: NOW,
        tenant: tenant()?,
        actor: "registry".to_owned(),
        keys: MasterKey::new(&[7; 32]),
    })
}

fn ban_of(network: IpNet) -> CreateBan {
    CreateBan {
        list_id: None,
        channels: Channels::of(&[Channel::WebChat]),
        targets: vec![TargetGiven {
            kind: Some(IdentityKind::IpAddress),
            value: network.to_string(),
            issuer: String::new(),
            region_hint: String::new(),
        }],
        match_kind: Some(MatchKind::Cidr),
        reason: "a network of the registry".to_owned(),
        reason_code: String::new(),
        end: End::Never,
        start: None,
        enforcement: Enforcement::Enforced,
        // Some are wider than a ban may be unless somebody insists.
        override_warnings: true,
        origin: Origin::Import,
    }
}

fn intent(number: u32) -> Outcome<Intent> {
    Ok(Intent {
        tenant: tenant()?,
        rpc: "Test",
        request_id: format!("chunk {number}"),
        body: [0; 16],
        body_elsewhere: Vec::new(),
        nonce: Nonce(number),
        now: NOW,
    })
}

/// Bans all of them, a thousand a transaction.
async fn import(store: &dyn Store, networks: &[IpNet]) -> Outcome {
    let (about, settings) = (about()?, TenantSettings::default());
    let Begun::Open(work) = store.begin_tenant(&intent(0)?, &settings).await? else {
        return Err("the tenant is there already".into());
    };
    work.commit(&Answer::default()).await?;
    for (number, chunk) in (1..).zip(networks.chunks(MAX_CHUNK)) {
        let prepared = |network: &IpNet| prepare(&ban_of(*network), &settings, None, &about);
        let bans: Vec<NewBan> = chunk
            .iter()
            .map(|network| prepared(network).map(|(new, _)| new))
            .collect::<Result<_, _>>()
            .map_err(|refusal| refusal.to_string())?;
        let Begun::Open(mut work) = store.begin(&intent(number)?).await? else {
            return Err("the tenant is gone".into());
        };
        work.add_bans(&bans).await?;
        work.commit(&Answer::default()).await?;
    }
    Ok(())
}

/// The view that a pod makes of a load.
struct Loaded(TenantKey, Option<TenantView>);

impl LoadSink for Loaded {
    fn open(&mut self, tenant: LoadedTenant) {
        let view = TenantView::empty(tenant.head.revision, tenant.tenant, self.0.clone());
        self.1 = Some(view.with_lists(tenant.lists));
    }

    fn page(&mut self, bans: &[BanRecord]) {
        if let Some(view) = &mut self.1 {
            view.file(bans);
        }
    }
}

async fn view(store: &dyn Store) -> Outcome<TenantView> {
    let mut loaded = Loaded(about()?.keys.tenant(&tenant()?), None);
    store.load(&tenant()?, &mut loaded).await?;
    Ok(loaded.1.ok_or("there is no such tenant")?)
}

fn is_banned(view: &TenantView, address: IpAddr) -> bool {
    let given = Given {
        kind: Some(IdentityKind::IpAddress),
        value: &address.to_string(),
        issuer: "",
        region_hint: "",
    };
    let mut query = Query::new(Channel::WebChat, Stage::Connect, None);
    if let Ok(who) = read(&given, Channels::of(&[Channel::WebChat]), None) {
        query.ask_for(view, 0, &who);
    }
    decide(view, &query, NOW).deny.is_some()
}

/// Addresses at random, near the edges of the ranges and anywhere.
fn addresses(dice: &mut Dice, ranges: &[Range], count: usize) -> Vec<IpAddr> {
    let near = |dice: &mut Dice| {
        let at = usize::try_from(dice.below(ranges.len() as u64)).unwrap_or_default();
        let (first, last) = ranges[at];
        let edge = if dice.below(2) == 0 { first } else { last };
        let step = dice.below(3);
        match edge {
            IpAddr::V4(v4) => {
                let step = u32::try_from(step).unwrap_or_default();
                IpAddr::from(Ipv4Addr::from(
                    v4.to_bits().wrapping_add(step).wrapping_sub(1),
                ))
            }
            IpAddr::V6(v6) => {
                let step = u128::from(step);
                IpAddr::from(Ipv6Addr::from(
                    v6.to_bits().wrapping_add(step).wrapping_sub(1),
                ))
            }
        }
    };
    let anywhere = |dice: &mut Dice| match dice.below(4) {
        0 => {
            let low = u128::from(dice.roll()) << 64 | u128::from(dice.roll());
            IpAddr::from(Ipv6Addr::from(0x2000 << 112 | low >> 3))
        }
        _ => IpAddr::from(Ipv4Addr::from(
            u32::try_from(dice.roll() >> 32).unwrap_or_default(),
        )),
    };
    let one = |dice: &mut Dice| match dice.below(2) {
        0 => near(dice),
        _ => anywhere(dice),
    };
    (0..count).map(|_| one(dice)).collect()
}

/// Imports, loads, asks; tells what it took.
async fn agreed(store: &dyn Store, ranges: Vec<Range>, asked: usize) -> Outcome<String> {
    let clock = PodClock::default();
    let now = || clock.read().boot;
    let networks = networks(&ranges);
    let begun = now();
    import(store, &networks).await?;
    let imported = now();
    let view = view(store).await?;
    let loaded = now();
    // Registries name a few twice; a ban just like another is refused.
    let distinct: BTreeSet<_> = networks.iter().collect();
    assert_eq!(view.len(), distinct.len(), "each has one key");
    let addresses = addresses(&mut Dice(77), &ranges, asked);
    let clerk = Clerk::of(ranges);
    let checking = now();
    let banned: Vec<bool> = addresses.iter().map(|one| is_banned(&view, *one)).collect();
    let checked = now();
    let mut wrong = Vec::new();
    for (address, banned) in addresses.iter().zip(&banned) {
        if clerk.knows(*address) != *banned {
            wrong.push(address);
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {asked} differ: {wrong:?}",
        wrong.len()
    );
    let hits = banned.iter().filter(|banned| **banned).count();
    assert!(hits > 0 && hits < asked, "some are banned and some are not");
    Ok(format!(
        "{} networks: imported in {} ms, loaded in {} ms, {} bytes a network in memory; {asked} \
         addresses, {hits} banned, {} ns each, all as the clerk says",
        networks.len(),
        (imported - begun) / 1_000,
        (loaded - imported) / 1_000,
        view.bytes() / networks.len().max(1),
        (checked - checking) * 1_000 / i64::try_from(asked)?,
    ))
}

#[expect(clippy::print_stdout, reason = "it measures")]
fn on(kind: Kind, seed: u64) -> Outcome {
    let (ranges, asked) = match registry()? {
        Some(ranges) => (ranges, 100_000),
        None => (made_up(&mut Dice(seed), 4_000), 20_000),
    };
    let database = Database::fresh(kind);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let told = runtime.block_on(async {
        let store = database.store().await;
        agreed(&*store, ranges, asked).await
    })?;
    println!("{kind:?}: {told}");
    Ok(())
}

/// The networks of a registry, where somebody has its files.
#[expect(
    clippy::disallowed_methods,
    reason = "the files are named by whoever runs it"
)]
fn registry() -> Outcome<Option<Vec<Range>>> {
    let Ok(files) = std::env::var("BANCHECK_NETWORKS") else {
        return Ok(None);
    };
    let mut ranges = Vec::new();
    for file in files.split(':') {
        for line in fs::read_to_string(file)?.lines() {
            let mut fields = line.split(',');
            let mut address = || -> Outcome<IpAddr> {
                Ok(fields
                    .next()
                    .ok_or("a short line")?
                    .trim_matches('"')
                    .parse()?)
            };
            ranges.push((address()?, address()?));
        }
    }
    Ok(Some(ranges))
}

#[test]
fn a_registrys_networks_are_met_as_a_clerk_would_say_on_sqlite() -> Outcome {
    on(Kind::Sqlite, 5)
}

#[test]
fn a_registrys_networks_are_met_as_a_clerk_would_say_on_postgres() -> Outcome {
    on(Kind::Postgres, 6)
}
