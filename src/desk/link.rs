//! Carrying bans over to what a customer is known by from now on (evasion by a change of number).

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{
    Circumstances, Failure, Job,
    create::alike,
    spared::Spared,
    targets::{self, TargetGiven},
};
use crate::{
    domain::{
        ban::{Ban, MAX_IDENTITIES, Target},
        channel::{Channel, Channels},
        identity::{CANONICALISER_VERSION, Identity, IdentityKind, MatchKind},
        keys::{MatchKey, Space, TenantKey, Widths},
        policy::TenantSettings,
        record::BanRecord,
        refusal::{Reason, Refusal},
    },
    store::{Answer, MAX_CHUNK, Work},
};

/// Puts the bans of one identity on another as well.
#[derive(Clone, Debug)]
pub struct LinkIdentities {
    /// What the customer was known by.
    pub previous: TargetGiven,
    /// What the customer is known by now.
    pub current: TargetGiven,
}

/// Reads either: what `WhatsApp` hands over as it does, the rest as its kind says.
fn read(field: &str, given: &TargetGiven, settings: &TenantSettings) -> Result<Identity, Refusal> {
    let channels = match given.kind {
        None | Some(IdentityKind::PhoneNumber | IdentityKind::WhatsappUserId) => {
            Channels::of(&[Channel::Whatsapp])
        }
        Some(_) => Channels::NONE,
    };
    targets::read_one(field, given, channels, MatchKind::Exact, settings, false)
}

/// What becomes of one ban.
enum Fate {
    Extended,
    /// It is on both already, or not on the one.
    Untouched,
    Skipped(Reason),
}

/// The new name, and all that it is found by.
struct Name<'a> {
    identity: &'a Identity,
    target: Target,
    key: &'a TenantKey,
    ipv6_prefix: u8,
}

impl Name<'_> {
    fn is(&self, target: &Target) -> bool {
        (target.kind, &target.canonical, &target.issuer)
            == (
                self.target.kind,
                &self.target.canonical,
                &self.target.issuer,
            )
    }

    /// Puts a ban on it as well.
    async fn add_to(
        &self,
        ban: &mut Ban,
        work: &mut dyn Work,
        about: &Circumstances,
    ) -> Result<Fate, Failure> {
        if ban.match_kind != MatchKind::Exact || ban.targets.iter().any(|one| self.is(one)) {
            return Ok(Fate::Untouched);
        }
        if ban.channels.and(self.target.kind.channels()).is_empty() {
            return Ok(Fate::Skipped(Reason::KindChannelMismatch));
        }
        if ban.targets.len() >= MAX_IDENTITIES {
            return Ok(Fate::Skipped(Reason::TooManyItems));
        }
        let position = u8::try_from(ban.targets.len()).unwrap_or(u8::MAX);
        ban.targets.push(self.target.clone());
        let alike = alike(ban, self.key, work.settings());
        let standing = work.stands_alike(ban.ban_id, &alike).await?;
        if standing.is_some() {
            return Ok(Fate::Skipped(Reason::DuplicateActiveBan));
        }
        ban.version += 1;
        ban.updated = about.now;
        let keys = self.key.keys(self.identity, self.ipv6_prefix);
        let looked_for: Vec<_> = keys.iter().map(|(key, _)| key.key).collect();
        // By another name of the one it may be found already, or the other way round; what both are found by
        // in their own names, as two addresses of one network are, is each one's.
        let known: BTreeMap<_, _> = { work.found_by(&looked_for).await? }
            .into_iter()
            .filter(|found| found.ban == ban.ban_id)
            .flat_map(|found| found.keys)
            .map(|key| ((key.space as u8, key.key), key.matches))
            .collect();
        let in_other_names = |key: &MatchKey| {
            let known = known.get(&(key.space as u8, key.key));
            known.is_some_and(|known| [*known, key.matches].contains(&MatchKind::Alias))
        };
        let new: Vec<_> = keys
            .into_iter()
            .filter(|(key, _)| !in_other_names(key))
            .map(|(key, text)| (position, key, text))
            .collect();
        work.extend_ban(ban, alike.current, &new).await?;
        let comment = format!("one more identity: {}", self.target.kind.name());
        work.note(&about.event(Some(ban.ban_id), "LINKED", &comment))
            .await?;
        Ok(Fate::Extended)
    }
}

#[async_trait]
impl Job for LinkIdentities {
    const RPC: &'static str = "LinkIdentities";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let settings = work.settings().clone();
        let previous = read("previous", &self.previous, &settings)?;
        let current = read("current", &self.current, &settings)?;
        let key = about.keys.tenant(&about.tenant);
        let forms = key.keys(&current, settings.ipv6_prefix);
        let name = Name {
            identity: &current,
            target: Target {
                kind: current.kind,
                input: self.current.value.clone(),
                canonical: current.canonical.clone(),
                issuer: current.issuer.clone(),
                canonicaliser_version: CANONICALISER_VERSION,
                match_keys: forms.into_iter().map(|(_, text)| text).collect(),
            },
            key: &key,
            ipv6_prefix: settings.ipv6_prefix,
        };

        let mut keys = Vec::new();
        key.probes(&previous, &Widths::ALL, settings.email_fold, |probe| {
            if probe.space == Space::Digest {
                keys.push(probe.key);
            }
        });
        let exact = |found: &BanRecord| {
            let kinds = [MatchKind::Exact, MatchKind::Alias];
            found.keys.iter().any(|key| kinds.contains(&key.matches))
        };
        let mut found = work.found_by(&keys).await?;
        found.retain(exact);
        found.dedup_by_key(|found| found.ban);
        if found.len() > MAX_CHUNK {
            let message = format!("more than {MAX_CHUNK} bans are on this identity");
            return Err(Refusal::of_field(Reason::Quota, "previous", message).into());
        }

        let mut answer = Answer::default();
        for record in found {
            let Some(mut ban) = work.ban(record.ban).await? else {
                continue;
            };
            let alone = Ban {
                targets: vec![name.target.clone()],
                ..ban.clone()
            };
            let spared = Spared::read(work, about, &[&alone]).await?;
            let warnings = spared.judge(&alone).map_err(|refusal| Refusal {
                field: "current".to_owned(),
                ..refusal
            })?;
            for (_, code) in warnings {
                if !answer.warnings.iter().any(|(_, known)| *known == code) {
                    answer.warnings.push((0, code));
                }
            }
            match name.add_to(&mut ban, work, about).await? {
                Fate::Extended => answer.others.push(ban.ban_id),
                Fate::Untouched => {}
                Fate::Skipped(why) => {
                    answer.skipped.push((ban.ban_id, why.word().0.to_owned()));
                }
            }
        }
        Ok(answer)
    }
}
