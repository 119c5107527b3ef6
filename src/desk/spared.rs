//! Exceptions and bans as they meet at a write: whom a ban may not be on, and what an exception
//! overrides.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use super::{Circumstances, Failure};
use crate::{
    domain::{
        ban::Ban,
        channel::Channels,
        exception::{Closeness, Exception},
        identity::{
            self, Identity, IdentityKind, MatchKind,
            protected::{self, Guard, Protected},
            sets::{self, Reading, covers, meets},
        },
        keys::Widths,
        policy::TenantSettings,
        refusal::{Reason, Refusal},
        view::index::Key,
    },
    store::Work,
};

fn reading(settings: &TenantSettings) -> Reading {
    Reading {
        email_fold: settings.email_fold,
        ipv6_prefix: settings.ipv6_prefix,
    }
}

/// How many bans whose time is not over an exception overrides, for some customer at least.
pub(super) async fn overridden(
    work: &mut dyn Work,
    about: &Circumstances,
    whom: &Identity,
    channels: Channels,
    protected: bool,
) -> Result<u64, Failure> {
    let settings = work.settings();
    let email_fold = settings.email_fold;
    let key = about.keys.tenant(&about.tenant);
    let mut probes = Vec::new();
    for one in sets::least_known(whom, reading(settings)) {
        key.probes(&one, &Widths::ALL, email_fold, |probe| probes.push(probe));
    }
    let keys: Vec<_> = probes.iter().map(|probe| probe.key).collect();
    let closeness = Closeness::of_target(whom);
    let mut bans = HashSet::new();
    for record in work.found_by(&keys).await? {
        if record.channels.and(channels).is_empty() {
            continue;
        }
        let loses = record.keys.iter().any(|found| {
            let probe = probes
                .iter()
                .find(|probe| (probe.space, probe.key) == (found.space, found.key));
            let matches = match found.matches {
                MatchKind::Exact if probe.is_some_and(|probe| probe.alias) => MatchKind::Alias,
                filed => filed,
            };
            let unfolded = !email_fold
                && found.kind == IdentityKind::EmailAddress
                && matches == MatchKind::Alias;
            let ban = Closeness::of_ban(found.kind, matches, found.width);
            probe.is_some() && !unfolded && (protected || ban <= closeness)
        });
        if loses {
            bans.insert(record.ban);
        }
    }
    Ok(bans.len() as u64)
}

/// Everything that exceptions on some exact bans may be filed under; `None` where one is on a range.
fn exact_keys(about: &Circumstances, bans: &[&Ban]) -> Option<Vec<Key>> {
    if bans.iter().any(|ban| ban.match_kind != MatchKind::Exact) {
        return None;
    }
    let key = about.keys.tenant(&about.tenant);
    let mut keys = Vec::new();
    for ban in bans {
        let targets = ban.targets.iter();
        for one in targets.filter_map(|target| ban.identity(target)) {
            key.probes(&one, &Widths::ALL, true, |probe| keys.push(probe.key));
        }
    }
    Some(keys)
}

/// Who is spared in a tenant, as far as it matters to some bans that are to be made.
pub(super) struct Spared {
    reading: Reading,
    guard: Arc<Guard>,
    built_in: Vec<Protected>,
    exceptions: Vec<(Exception, Identity)>,
}

impl Spared {
    /// Reads what matters to these bans.
    pub(super) async fn read(
        work: &mut dyn Work,
        about: &Circumstances,
        bans: &[&Ban],
    ) -> Result<Self, Failure> {
        let settings = work.settings().clone();
        let lifted: BTreeSet<String> = { work.lifted().await? }
            .into_iter()
            .map(|one| one.name)
            .collect();
        // The keys of very many bans cost more than this question.
        let exceptions = if bans.len() > 1 && work.exception_count().await? == 0 {
            Vec::new()
        } else {
            let keys = exact_keys(about, bans);
            work.standing_exceptions(keys.as_deref()).await?
        };
        let mut built_in = protected::of(&settings.default_region);
        built_in.retain(|one| !lifted.contains(&one.name));
        Ok(Self {
            reading: reading(&settings),
            guard: Guard::of(&settings.default_region, &lifted),
            built_in,
            exceptions: exceptions
                .into_iter()
                .filter_map(|one| {
                    let identity = one.identity()?;
                    Some((one, identity))
                })
                .collect(),
        })
    }

    /// Refuses a ban of somebody protected, and warns where a ban and an exception meet.
    ///
    /// A warning is about the target before whose number it stands, counted from one.
    pub(super) fn judge(&self, ban: &Ban) -> Result<Vec<(u32, String)>, Refusal> {
        let mut warnings = BTreeSet::new();
        for (at, target) in (0u32..).zip(&ban.targets) {
            let Some(identity) = ban.identity(target) else {
                continue;
            };
            if let Some(name) = self.guard.name_of(&identity) {
                return Err(protected_identifier(at, name));
            }
            let meets = |one: &Identity| meets(one, &identity, self.reading);
            if self.built_in.iter().any(|one| meets(&one.identity)) {
                warnings.insert((at + 1, "COVERS_EXCEPTION"));
            }
            let own = Closeness::of_ban(identity.kind, ban.match_kind, self.width(&identity));
            for (exception, spared) in &self.exceptions {
                let shared = exception.channels.and(ban.channels);
                if shared.is_empty() || !meets(spared) {
                    continue;
                }
                let whole = covers(spared, &identity, self.reading);
                if whole && exception.protected && shared == ban.channels {
                    return Err(protected_identifier(
                        at,
                        &exception.exception_id.to_string(),
                    ));
                }
                let closer = Closeness::of_target(spared) >= own || exception.protected;
                warnings.insert(match (whole, closer) {
                    (true, true) => (at + 1, "SPARED_BY_EXCEPTION"),
                    (true, false) => (at + 1, "OVERRIDES_EXCEPTION"),
                    (false, _) => (at + 1, "COVERS_EXCEPTION"),
                });
            }
        }
        Ok(warnings
            .into_iter()
            .map(|(at, code)| (at, code.to_owned()))
            .collect())
    }

    /// Whether exceptions override all of a ban, for as long as it lasts: nobody would notice it.
    pub(super) fn spares_from(&self, ban: &Ban) -> bool {
        ban.targets.iter().all(|target| {
            let Some(identity) = ban.identity(target) else {
                return false;
            };
            self.guard.name_of(&identity).is_some() || self.spares(&identity, ban)
        })
    }

    fn spares(&self, identity: &Identity, ban: &Ban) -> bool {
        let own = Closeness::of_ban(identity.kind, ban.match_kind, self.width(identity));
        let mut on = Channels::NONE;
        for (exception, spared) in &self.exceptions {
            let lasts = exception
                .expire
                .is_none_or(|end| ban.expire.is_some_and(|over| over <= end));
            // Of two names of one customer, each is closer to whoever comes by it.
            let by_names = [spared, identity].map(|one| matches!(one.form, identity::Form::Text));
            let closer = Closeness::of_target(spared) >= own
                && (by_names != [true, true] || spared.canonical == identity.canonical);
            if lasts && (exception.protected || closer) && covers(spared, identity, self.reading) {
                on = on.or(exception.channels);
            }
        }
        ban.channels.and(on) == ban.channels
    }

    /// The exceptions and built-in protections that a ban meets: by their names those that are built
    /// in, then the others by their ids, the oldest first.
    pub(super) fn met_by(&self, ban: &Ban) -> Vec<String> {
        let (mut names, mut ids) = (BTreeSet::new(), BTreeSet::new());
        for target in &ban.targets {
            let Some(identity) = ban.identity(target) else {
                continue;
            };
            let meets = |one: &Identity| meets(one, &identity, self.reading);
            let built_in = self.built_in.iter().filter(|one| meets(&one.identity));
            names.extend(built_in.map(|one| one.name.clone()));
            for (exception, spared) in &self.exceptions {
                if !exception.channels.and(ban.channels).is_empty() && meets(spared) {
                    ids.insert(exception.exception_id.to_string());
                }
            }
        }
        names.into_iter().chain(ids).collect()
    }

    /// The width of the key that a ban on this is found by first.
    fn width(&self, identity: &Identity) -> u8 {
        use identity::Form;
        use std::net::IpAddr;
        match identity.form {
            Form::Address(IpAddr::V6(_)) => self.reading.ipv6_prefix,
            Form::Address(IpAddr::V4(_)) | Form::Text => 0,
            Form::Network(_) | Form::Prefix | Form::Domain => {
                Closeness::of_target(identity).width()
            }
        }
    }
}

fn protected_identifier(at: u32, name: &str) -> Refusal {
    let message = "this identity is protected in this tenant, so no ban may be on it; \
                   DeactivateException with the exception_id told here would lift that";
    let field = format!("targets[{at}]");
    Refusal::of_field(Reason::ProtectedIdentifier, field, message)
        .with_fact("exception_id", name.to_owned())
}
