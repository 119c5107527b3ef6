//! Which other bans hold on some of the customers that one ban is on, ranges both ways.

use crate::{
    domain::{
        ban::{Ban, BanId},
        identity::sets::Reading,
        keys::{Reach, TenantKey},
    },
    store::{StoreError, Work},
};

/// The most other bans that are named.
pub(super) const MOST: usize = 100;

/// Up to `most` other bans in force that share a customer with a ban, whatever they are written as.
pub(super) async fn of(
    work: &mut dyn Work,
    ban: &Ban,
    key: &TenantKey,
    most: usize,
) -> Result<Vec<BanId>, StoreError> {
    let settings = work.settings();
    let reading = Reading {
        email_fold: settings.email_fold,
        ipv6_prefix: settings.ipv6_prefix,
    };
    let reach = ban.targets.iter().filter_map(|target| {
        let identity = ban.identity(target)?;
        let ipv6_prefix = target.ipv6_prefix().unwrap_or(reading.ipv6_prefix);
        Some(key.reach(
            &identity,
            Reading {
                ipv6_prefix,
                ..reading
            },
        ))
    });
    // A target that was erased has keys in the store all the same.
    let reach = reach.fold(Reach::default(), Reach::and);
    work.overlapping(ban.ban_id, &reach, most).await
}
