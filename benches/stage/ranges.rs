//! Very many ranges, of the widths that people ban.

use bancheck::domain::{
    channel::Channels,
    identity::{IdentityKind, read_domain, read_network, read_prefix},
    view::TenantView,
};

use crate::bans;

/// Bans so many networks, so many prefixes of numbers and so many domains of mail, of many widths.
pub(crate) fn add(view: &mut TenantView, each: u32) {
    let key = view.key().clone();
    let mut page = Vec::with_capacity(3 * 4_096);
    for at in 0..each {
        let spread = at.wrapping_mul(2_654_435_761);
        // Networks from /16 to /28, most of them /24, as registries give them out.
        let length = [24, 24, 24, 22, 20, 16, 23, 21, 19, 18, 25, 26, 28][(at % 13) as usize];
        let network = format!("{}/{length}", std::net::Ipv4Addr::from(spread));
        // Six to nine digits behind the country code.
        let digits = [100_000, 1_000_000, 10_000_000, 100_000_000][(at % 4) as usize];
        let prefix = format!("+421{}", digits + spread % digits * 8);
        let domain = format!("host{at}.example");
        let any = Channels::default();
        let targets = [
            read_network(&bans::given(IdentityKind::IpAddress, &network), any),
            read_prefix(&bans::given(IdentityKind::PhoneNumber, &prefix), any),
            read_domain(&bans::given(IdentityKind::EmailAddress, &domain), any),
        ];
        for (nth, target) in (0..).zip(targets) {
            let target = target.expect("a well-formed range");
            page.push(bans::ban(&key, (1 << 30) + 3 * at + nth, &target));
        }
        if page.len() >= 4_096 || at + 1 == each {
            view.file(&page);
            page.clear();
        }
    }
}
