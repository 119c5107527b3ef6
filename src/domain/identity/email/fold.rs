//! What a provider ignores in an address: tags, dots, and second names of its domain.
//!
//! `alice+shop@example.com` reaches `alice@example.com` nearly everywhere (RFC 5233), so a ban of
//! one is met by the other. What only some providers do stands in a table with a version. A look-up
//! key is all that comes of it: the address stays what it was.

use std::{collections::HashMap, sync::LazyLock};

/// The table: a domain, the domain its addresses are told by, and what is ignored in them.
const TABLE: &str = include_str!("providers.txt");

/// What a provider does.
#[derive(Clone, Copy)]
struct Provider {
    /// The domain that its addresses are told by.
    home: &'static str,
    /// Dots in the local part mean nothing.
    ignores_dots: bool,
    /// `tag@user.example.com` is `user@example.com`.
    takes_subdomains: bool,
}

static PROVIDERS: LazyLock<HashMap<&'static str, Provider>> = LazyLock::new(|| {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let provider = |line: &'static str| {
        let mut words = line.split_ascii_whitespace();
        let (domain, home) = (words.next()?, words.next()?);
        let rules: Vec<&str> = words.collect();
        Some((
            domain,
            Provider {
                home,
                ignores_dots: rules.contains(&"dots"),
                takes_subdomains: rules.contains(&"subdomains"),
            },
        ))
    };
    lines.filter_map(provider).collect()
});

/// The address without what its provider ignores; nothing if that is the address itself.
pub(in crate::domain::identity) fn fold(address: &str) -> Option<String> {
    let (local, domain) = address.rsplit_once('@')?;
    if local.starts_with('"') {
        return None;
    }
    let (mut local, mut home, mut ignores_dots) = (local, domain, false);
    if let Some(provider) = PROVIDERS.get(domain) {
        (home, ignores_dots) = (provider.home, provider.ignores_dots);
    } else if let Some((user, parent)) = domain.split_once('.')
        && let Some(provider) = PROVIDERS.get(parent)
        && provider.takes_subdomains
    {
        (local, home) = (user, provider.home);
    }
    let untagged = match local.find('+') {
        None | Some(0) => local,
        Some(tag) => &local[..tag],
    };
    let without_dots = if ignores_dots && untagged.contains('.') {
        untagged.replace('.', "")
    } else {
        untagged.to_owned()
    };
    if without_dots.is_empty() || (without_dots == local && home == domain) {
        return None;
    }
    Some(format!("{without_dots}@{home}"))
}

/// The domain by which addresses of `domain` are told, where that is another one.
pub(in crate::domain::identity) fn home(domain: &str) -> Option<&'static str> {
    let home = PROVIDERS.get(domain)?.home;
    (home != domain).then_some(home)
}

/// The domains whose addresses are told by the same domain as those of `domain`, and that one.
pub(in crate::domain::identity) fn kin(domain: &str) -> impl Iterator<Item = &'static str> {
    let home = PROVIDERS.get(domain).map(|provider| provider.home);
    PROVIDERS
        .iter()
        .filter(move |(_, provider)| Some(provider.home) == home)
        .map(|(domain, _)| *domain)
}

/// The domains under which addresses of the mailbox `folded` can be written.
pub(in crate::domain::identity) fn domains(folded: &str) -> Vec<String> {
    let Some((local, home)) = folded.rsplit_once('@') else {
        return Vec::new();
    };
    let mut all = vec![home.to_owned()];
    for (domain, provider) in PROVIDERS
        .iter()
        .filter(|(_, provider)| provider.home == home)
    {
        all.push((*domain).to_owned());
        if provider.takes_subdomains {
            all.push(format!("{local}.{domain}"));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{PROVIDERS, TABLE, domains, fold};

    #[test]
    fn what_a_provider_ignores_makes_no_second_customer() {
        for (address, mailbox) in [
            ("alice+shop@example.com", "alice@example.com"),
            ("alice+a+b@example.com", "alice@example.com"),
            ("a.li.ce@gmail.com", "alice@gmail.com"),
            ("a.lice+x@googlemail.com", "alice@gmail.com"),
            ("alice@googlemail.com", "alice@gmail.com"),
            ("alice+x@outlook.com", "alice@outlook.com"),
            ("shop@alice.fastmail.com", "alice@fastmail.com"),
            ("alice+x@icloud.com", "alice@icloud.com"),
        ] {
            assert_eq!(fold(address).as_deref(), Some(mailbox), "{address}");
        }
    }

    #[test]
    fn what_a_provider_does_not_ignore_is_another_customer() {
        for address in [
            "alice@gmail.com",
            "a.lice@example.com",
            "a.lice@outlook.com",
            "+alice@example.com",
            "...@gmail.com",
            "alice@shop.gmail.com",
            "alice-shop@yahoo.com",
            "\"alice+x y\"@example.com",
            "alice@xn--bcher-kva.example",
            "alice",
        ] {
            assert_eq!(fold(address), None, "{address}");
        }
    }

    #[test]
    fn every_line_of_the_table_is_read() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(PROVIDERS.len(), lines.count());
        assert!(TABLE.starts_with("# Version "));
        for provider in PROVIDERS.values() {
            assert_eq!(
                PROVIDERS.get(provider.home).map(|home| home.home),
                Some(provider.home)
            );
        }
    }

    #[test]
    fn a_mailbox_has_every_domain_that_leads_to_it() {
        let mut all = domains("alice@gmail.com");
        all.sort();
        all.dedup();
        assert_eq!(all, ["gmail.com", "googlemail.com"]);
        assert!(domains("alice@fastmail.com").contains(&"alice.fastmail.com".to_owned()));
        assert_eq!(domains("alice@example.com"), ["example.com"]);
    }

    proptest! {
        #[test]
        fn what_is_left_of_an_address_has_nothing_more_to_lose(
            local in "[a-z.+-]{1,12}",
            domain in "gmail\\.com|googlemail\\.com|fastmail\\.com|[a-z+]{1,3}\\.fastmail\\.com|yahoo\\.com|example\\.com",
        ) {
            if let Some(folded) = fold(&format!("{local}@{domain}")) {
                prop_assert_eq!(fold(&folded), None);
            }
        }
    }
}
