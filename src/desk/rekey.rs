//! Filing bans and exceptions anew that an older version of the canonicaliser has read, or that are
//! filed under a master key that is not the current one.
//!
//! A newer one looks under the older one's keys as well, so nothing is lost until this has been
//! done; but only then are customers met whom the older one took for others. Pods of the older
//! version look under its own keys alone: it is done once none of them is left.

use super::create::{likeness, only_once};
use crate::{
    domain::{
        ban::{Ban, Target},
        exception::Exception,
        identity::{CANONICALISER_VERSION, Identity},
        keys::{MatchKey, TenantKey},
        policy::TenantSettings,
    },
    store::{Elsewhere, NewBan, NewException},
};

/// Takes what was read again for the target's form, and tells what it is found by.
///
/// An IPv6 address goes on standing for the network that it stood for.
fn taken_for(
    target: &mut Target,
    identity: Identity,
    key: &TenantKey,
    settings: &TenantSettings,
) -> Vec<(MatchKey, String)> {
    let ipv6_prefix = target.ipv6_prefix().unwrap_or(settings.ipv6_prefix);
    let keys = key.keys(&identity, ipv6_prefix);
    target.canonical = identity.canonical;
    target.canonicaliser_version = CANONICALISER_VERSION;
    keys
}

/// The ban as this version would file it under the current key; `None` where one of its targets
/// cannot be read again. Those that were erased are left as they are.
pub fn refiled(mut ban: Ban, key: &TenantKey, settings: &TenantSettings) -> Option<NewBan> {
    let mut keys: Vec<(u8, MatchKey, String)> = Vec::new();
    let identities: Vec<_> = ban
        .targets
        .iter()
        .map(|target| {
            if target.is_erased() {
                Some(None)
            } else {
                ban.identity(target).map(Some)
            }
        })
        .collect::<Option<_>>()?;
    for (at, (target, identity)) in (0u8..).zip(ban.targets.iter_mut().zip(identities)) {
        let Some(identity) = identity else { continue };
        let its_keys = taken_for(target, identity, key, settings).into_iter();
        keys.extend(its_keys.map(|(key, text)| (at, key, text)));
    }
    only_once(&mut keys);
    Some(NewBan {
        likeness: likeness(&ban, key),
        generation: 0,
        ban,
        keys,
        elsewhere: Elsewhere::default(),
    })
}

/// The exception as this version would file it; `None` where its target cannot be read again.
pub fn refiled_exception(
    mut exception: Exception,
    key: &TenantKey,
    settings: &TenantSettings,
) -> Option<NewException> {
    let identity = exception.identity()?;
    let keys = taken_for(&mut exception.target, identity, key, settings).into_iter();
    Some(NewException {
        keys: keys.map(|(key, text)| (0, key, text)).collect(),
        exception,
    })
}
