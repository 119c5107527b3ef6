//! Whom no tenant bans by accident: emergency services, and its own machines.
//!
//! Documentation ranges and 100.64.0.0/10, which carriers share among their customers, are not
//! among them: strangers come from the latter.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

use ipnet::IpNet;

use super::{Form, Identity, IdentityKind, ip, phone};

/// Loopback (RFC 1122, RFC 4291) and private networks (RFC 1918, RFC 4193), each with its name.
const NETWORKS: [(&str, &str); 6] = [
    ("loopback-v4", "127.0.0.0/8"),
    ("loopback-v6", "::1/128"),
    ("private-10", "10.0.0.0/8"),
    ("private-172", "172.16.0.0/12"),
    ("private-192", "192.168.0.0/16"),
    ("private-v6", "fc00::/7"),
];

/// An identity that is protected unless somebody lifts the protection by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protected {
    /// The name it is lifted by, as `emergency-CZ-112`.
    pub name: String,
    /// Who is protected: an identity or a network of them.
    pub identity: Identity,
}

/// The built-in protected identities of a tenant of this region.
///
/// An emergency number is protected in each form it can arrive in: `112` read in Czechia is
/// `+420112`, and read nowhere it is `112@ZZ`.
pub fn of(region: &str) -> Vec<Protected> {
    let networks = NETWORKS.iter().filter_map(|(name, text)| {
        let network = ip::network(text)?;
        let form = Form::Network(network);
        Some(Protected {
            name: (*name).to_owned(),
            identity: Identity::plain(IdentityKind::IpAddress, network.to_string(), form),
        })
    });
    let code = region.to_ascii_uppercase();
    let numbers = phone::emergency::numbers(region).flat_map(|number| {
        let protected = |canonical| Protected {
            name: format!("emergency-{code}-{number}"),
            identity: Identity::plain(IdentityKind::PhoneNumber, canonical, Form::Text),
        };
        let mut forms = vec![format!("{number}@ZZ")];
        for region in [Some(code.as_str()), None] {
            let region = phone::region("", region);
            let read = phone::read(number, super::TELEPHONE, region);
            forms.extend(read.map(|read| read.canonical));
        }
        forms.sort();
        forms.dedup();
        forms.into_iter().map(protected).collect::<Vec<_>>()
    });
    networks.chain(numbers).collect()
}

/// What goes by a name, in each form that it can arrive in; nothing where no protection has the name.
pub fn named(name: &str) -> Vec<Protected> {
    let region = name.strip_prefix("emergency-");
    let region = region.and_then(|rest| rest.split_once('-'));
    let mut all = of(region.map_or("", |(region, _)| region));
    all.retain(|one| one.name == name);
    all
}

/// The built-in protections that stand in a tenant, laid out for a check.
///
/// They are asked of the identity itself and not found by keys: every tenant has them, and no check
/// is to pay for look-ups of theirs.
#[derive(Debug, Default)]
pub struct Guard {
    names: Vec<Arc<str>>,
    /// Networks, each with the place of its name.
    networks: Vec<(IpNet, u8)>,
    /// Numbers in every form they can arrive in, each with the place of its name.
    numbers: Vec<(String, u8)>,
    /// The length of the longest of them: most numbers are longer.
    longest: usize,
}

/// The guards with nothing lifted, which tenants of one region share.
static WHOLE: LazyLock<RwLock<BTreeMap<String, Arc<Guard>>>> = LazyLock::new(RwLock::default);

impl Guard {
    /// The guard of a tenant of this region in which these are lifted.
    pub fn of(region: &str, lifted: &BTreeSet<String>) -> Arc<Self> {
        if !lifted.is_empty() {
            return Arc::new(Self::build(region, lifted));
        }
        let known = WHOLE.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(guard) = known.get(region) {
            return Arc::clone(guard);
        }
        drop(known);
        let guard = Arc::new(Self::build(region, lifted));
        let mut known = WHOLE.write().unwrap_or_else(PoisonError::into_inner);
        // Regions are two letters wherever they come from a tenant's settings.
        if region.len() <= 2 {
            known.insert(region.to_owned(), Arc::clone(&guard));
        }
        guard
    }

    fn build(region: &str, lifted: &BTreeSet<String>) -> Self {
        let mut guard = Self::default();
        for Protected { name, identity } in of(region) {
            if lifted.contains(&name) {
                continue;
            }
            if guard.names.last().is_none_or(|last| **last != *name) {
                guard.names.push(name.into());
            }
            let Ok(at) = u8::try_from(guard.names.len() - 1) else {
                break;
            };
            if let Form::Network(network) = identity.form {
                guard.networks.push((network, at));
            } else {
                guard.longest = guard.longest.max(identity.canonical.len());
                guard.numbers.push((identity.canonical, at));
            }
        }
        guard
    }

    /// Which protection all of an identity is under, by the place of its name.
    pub fn place(&self, identity: &Identity) -> Option<u8> {
        match identity.form {
            Form::Address(address) => {
                let within = self.networks.iter().find(|(net, _)| net.contains(&address));
                within.map(|(_, at)| *at)
            }
            Form::Network(network) => {
                let within = self.networks.iter().find(|(net, _)| net.contains(&network));
                within.map(|(_, at)| *at)
            }
            Form::Text => {
                let own = (identity.kind, &identity.canonical);
                let others = identity.aliases.iter();
                let others = others.map(|alias| (alias.kind, &alias.canonical));
                std::iter::once(own)
                    .chain(others)
                    .filter(|(kind, _)| *kind == IdentityKind::PhoneNumber)
                    .find_map(|(_, number)| self.place_of(number))
            }
            Form::Prefix | Form::Domain => None,
        }
    }

    fn place_of(&self, number: &str) -> Option<u8> {
        if number.len() > self.longest {
            return None;
        }
        let same = self.numbers.iter().find(|(known, _)| known == number);
        same.map(|(_, at)| *at)
    }

    /// The name in a place.
    pub fn name(&self, place: u8) -> Option<&Arc<str>> {
        self.names.get(usize::from(place))
    }

    /// The name of the protection that all of an identity is under.
    pub fn name_of(&self, identity: &Identity) -> Option<&Arc<str>> {
        self.place(identity).and_then(|place| self.name(place))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Guard, of};
    use crate::domain::{
        channel::Channels,
        identity::{
            Given, IdentityKind, read,
            sets::{Reading, covers},
        },
    };

    const READING: Reading = Reading {
        email_fold: true,
        ipv6_prefix: 64,
    };

    fn protects(region: &str, kind: IdentityKind, value: &str) -> bool {
        let given = Given {
            kind: Some(kind),
            value,
            issuer: "",
            region_hint: "",
        };
        let identity = read(&given, Channels::NONE, Some(region)).unwrap();
        let guard = Guard::of(region, &BTreeSet::new());
        let guarded = guard.name_of(&identity).is_some();
        let covered = of(region)
            .iter()
            .any(|one| covers(&one.identity, &identity, READING));
        assert_eq!(guarded, covered, "{value} in {region}");
        guarded
    }

    #[test]
    fn an_emergency_number_is_protected_in_its_region() {
        for (region, number) in [
            ("CZ", "112"),
            ("CZ", "155"),
            ("CZ", "+420112"),
            ("US", "911"),
            ("GB", "999"),
            ("cz", "158"),
        ] {
            assert!(
                protects(region, IdentityKind::PhoneNumber, number),
                "{number} in {region}"
            );
        }
        for (region, number) in [("CZ", "+420601123456"), ("CZ", "911"), ("US", "155")] {
            assert!(
                !protects(region, IdentityKind::PhoneNumber, number),
                "{number} in {region}"
            );
        }
    }

    #[test]
    fn the_tenants_own_machines_are_protected_and_a_carriers_customers_are_not() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "fd00::1",
        ] {
            assert!(protects("", IdentityKind::IpAddress, address), "{address}");
        }
        for address in [
            "100.64.0.1",
            "192.0.2.1",
            "203.0.113.7",
            "2001:db8::1",
            "172.32.0.1",
        ] {
            assert!(!protects("", IdentityKind::IpAddress, address), "{address}");
        }
    }

    #[test]
    fn what_is_lifted_is_not_guarded_and_the_rest_is() {
        let given = |value| Given {
            kind: Some(IdentityKind::PhoneNumber),
            value,
            issuer: "",
            region_hint: "",
        };
        let number = |value| read(&given(value), Channels::NONE, Some("CZ")).unwrap();
        let guard = Guard::of("CZ", &BTreeSet::from(["emergency-CZ-112".to_owned()]));
        assert_eq!(guard.name_of(&number("112")), None);
        assert_eq!(
            guard.name_of(&number("155")).unwrap().as_ref(),
            "emergency-CZ-155"
        );
        // By whichever connector it comes.
        let sip = Given {
            kind: Some(IdentityKind::SipUri),
            ..given("sip:155@pbx.example;user=phone")
        };
        let sip = read(&sip, Channels::NONE, Some("CZ")).unwrap();
        assert_eq!(guard.name_of(&sip).unwrap().as_ref(), "emergency-CZ-155");
    }

    #[test]
    fn one_address_is_guarded_though_the_network_it_stands_for_is_not() {
        let loopback = Given {
            kind: Some(IdentityKind::IpAddress),
            value: "::1",
            issuer: "",
            region_hint: "",
        };
        let loopback = read(&loopback, Channels::NONE, None).unwrap();
        let guard = Guard::of("", &BTreeSet::new());
        assert_eq!(guard.name_of(&loopback).unwrap().as_ref(), "loopback-v6");
    }

    #[test]
    fn every_protection_has_a_name_to_lift_it_by() {
        for region in ["", "CZ", "US", "QQ"] {
            assert!(of(region).iter().all(|one| !one.name.is_empty()));
        }
        for one in of("CZ") {
            assert!(super::named(&one.name).contains(&one), "{}", one.name);
        }
        assert!(super::named("private-11").is_empty());
        let names: Vec<_> = of("CZ").into_iter().map(|one| one.name).collect();
        assert!(
            names.contains(&"emergency-CZ-112".to_owned())
                && names.contains(&"loopback-v6".to_owned())
        );
    }
}
