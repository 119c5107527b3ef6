//! Forgetting a person (M29): words go everywhere, bans as it is wished.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::{
    Circumstances, Desk, Failure, Job, Order, Written,
    targets::{self, TargetGiven},
};
use crate::{
    domain::{
        ban::{Ban, State},
        erasure::{Erased, Erasure, Keep, NotedErasure, keys_of},
        fields,
        identity::{Identity, IdentityKind, MatchKind},
        ids::BanId,
        keys::TenantKey,
        policy::TenantSettings,
        refusal::{Reason, Refusal},
        view::index::Key,
    },
    store::{Answer, MAX_CHUNK, Work, new_id},
};

/// The most identities of one person.
const MOST: usize = 16;

/// Forgets whoever these identities are.
#[derive(Clone, Debug)]
pub struct EraseSubject {
    /// All that the person is known by.
    pub identities: Vec<TargetGiven>,
    /// What becomes of bans in force; `None` = they go.
    pub keep: Option<Keep>,
}

/// Does again what was noted of an erasure, on a database that has forgotten it.
#[derive(Clone, Debug)]
pub struct EraseAgain(pub NotedErasure);

impl Desk {
    /// Forgets a person, and has the database overwrite what it deleted.
    pub async fn erase(&self, order: Order, job: EraseSubject) -> Result<Written, Refusal> {
        let written = self.write(order, job).await?;
        if let Err(error) = self.store.scrub().await {
            let error = error.with_causes();
            tracing::warn!(error, "what was erased is not overwritten yet");
        }
        Ok(written)
    }
}

/// The identities of a person, read as bans on them would be.
pub(super) fn read(
    given: &[TargetGiven],
    settings: &TenantSettings,
) -> Result<Vec<Identity>, Refusal> {
    if given.is_empty() {
        return Err(Refusal::required("identities"));
    }
    fields::items("identities", given, MOST)?;
    let identities = given.iter().enumerate().map(|(at, one)| {
        let field = format!("identities[{at}]");
        // No channel tells it here.
        let kind = one
            .kind
            .ok_or_else(|| Refusal::required(format!("{field}.kind")))?;
        let channels = kind.channels();
        let identity = targets::read_one(&field, one, channels, MatchKind::Exact, settings, true)?;
        if identity.kind == IdentityKind::Withheld {
            let message = "a hidden number is nobody's";
            return Err(Refusal::of_field(Reason::InvalidIdentifier, field, message));
        }
        Ok(identity)
    });
    identities.collect()
}

/// All that these identities are found by in a tenant.
pub(super) fn keys(
    identities: &[Identity],
    key: &TenantKey,
    settings: &TenantSettings,
) -> Vec<Key> {
    let of = |one| keys_of(one, key, settings.email_fold, settings.ipv6_prefix);
    let all: BTreeSet<_> = identities.iter().flat_map(of).collect();
    all.into_iter().collect()
}

/// Whether a target that is found by one of these keys, in their order, is the person's: one found by
/// a form that this tenant tells apart is another's.
pub(super) fn is_meant(
    ban: &Ban,
    at: u8,
    keys: &[Key],
    key: &TenantKey,
    settings: &TenantSettings,
) -> bool {
    let Some(target) = ban.targets.get(usize::from(at)) else {
        return false;
    };
    let Some(identity) = ban.identity(target) else {
        // Its words are gone already, and the key is all that tells.
        return true;
    };
    let prefix = target.ipv6_prefix().unwrap_or(settings.ipv6_prefix);
    keys_of(&identity, key, settings.email_fold, prefix)
        .iter()
        .any(|key| keys.binary_search(key).is_ok())
}

/// What is to become of what was found.
#[derive(Debug, Default)]
struct Fates {
    gone: Vec<BanId>,
    hashed: Vec<(BanId, u8)>,
    blanked: Vec<(BanId, u8)>,
}

/// How an erasure looks at a tenant's bans.
struct Look<'a> {
    erasure: &'a Erasure,
    key: &'a TenantKey,
    settings: TenantSettings,
    about: &'a Circumstances,
}

impl Look<'_> {
    fn judge(&self, ban: &Ban, found: &[u8], fates: &mut Fates) {
        let meant: Vec<u8> = { found.iter().copied() }
            .filter(|at| is_meant(ban, *at, &self.erasure.keys, self.key, &self.settings))
            .collect();
        let spots = meant.iter().map(|at| (ban.ban_id, *at));
        let holds = matches!(ban.state(self.about.now), State::Active | State::Scheduled);
        let whole = || {
            let targets = (0u8..).zip(&ban.targets);
            targets
                .into_iter()
                .all(|(at, target)| meant.contains(&at) || target.is_erased())
        };
        if meant.is_empty() {
        } else if self.erasure.keep.is_some() && holds {
            fates.hashed.extend(spots);
        } else if whole() {
            fates.gone.push(ban.ban_id);
        } else {
            fates.blanked.extend(spots);
        }
    }
}

async fn forget(
    work: &mut dyn Work,
    about: &Circumstances,
    erasure: &Erasure,
) -> Result<Answer, Failure> {
    let key = about.keys.tenant(&about.tenant);
    let look = Look {
        erasure,
        key: &key,
        settings: work.settings().clone(),
        about,
    };
    let mut found: BTreeMap<BanId, Vec<u8>> = BTreeMap::new();
    for (ban, at) in work.targets_under(&erasure.keys).await? {
        found.entry(ban).or_default().push(at);
    }
    let mut fates = Fates::default();
    let ids: Vec<_> = found.keys().copied().collect();
    for some in ids.chunks(MAX_CHUNK) {
        for ban in work.bans_named(some).await? {
            let at = found.get(&ban.ban_id).map_or(&[][..], Vec::as_slice);
            look.judge(&ban, at, &mut fates);
        }
    }
    let Fates {
        gone,
        hashed,
        blanked,
    } = fates;
    let until = erasure.keep.and_then(|keep| keep.until);
    work.erase_bans(&gone).await?;
    work.hash_targets(&hashed, until).await?;
    work.blank_targets(&blanked).await?;
    let exceptions = work.exceptions_under(&erasure.keys).await?;
    if erasure.keep.is_some() {
        work.hash_exceptions(&exceptions).await?;
    } else {
        work.erase_exceptions(&exceptions).await?;
    }
    let kept: BTreeSet<_> = hashed.iter().map(|(ban, _)| *ban).collect();
    let lessened: BTreeSet<_> = blanked.iter().map(|(ban, _)| *ban).collect();
    let touched: Vec<_> = { gone.iter().chain(&kept).chain(&lessened).copied() }.collect();
    let events = work.redact(&touched, &exceptions).await?;
    let told: Vec<_> = touched
        .iter()
        .map(|ban| about.event(Some(*ban), "ERASED", ""))
        .collect();
    for some in told.chunks(MAX_CHUNK) {
        work.note_all(some).await?;
    }
    Ok(Answer {
        erased: Some(Erased {
            bans: gone.len() as u64,
            kept: kept.len() as u64,
            events,
        }),
        ..Answer::default()
    })
}

#[async_trait]
impl Job for EraseSubject {
    const RPC: &'static str = "EraseSubject";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let settings = work.settings().clone();
        let identities = read(&self.identities, &settings)?;
        if let Some(Keep { until: Some(until) }) = self.keep
            && until <= about.now
        {
            let message = "bans cannot be kept until an instant that has passed";
            let field = "hash_expire_time";
            return Err(Refusal::of_field(Reason::ExpireTimeInPast, field, message).into());
        }
        let key = about.keys.tenant(&about.tenant);
        let erasure = Erasure {
            keys: keys(&identities, &key, &settings),
            keep: self.keep,
        };
        let answer = forget(work, about, &erasure).await?;
        let noted = NotedErasure {
            tenant: about.tenant.clone(),
            id: new_id(about.now),
            at: about.now,
            actor: about.actor.clone(),
            erasure,
        };
        work.note_erasure(&noted).await?;
        Ok(answer)
    }
}

#[async_trait]
impl Job for EraseAgain {
    const RPC: &'static str = "EraseAgain";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let answer = forget(work, about, &self.0.erasure).await?;
        work.note_erasure(&self.0).await?;
        Ok(answer)
    }
}
