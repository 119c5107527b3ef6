//! Whom no tenant bans by accident: emergency services, and its own machines.
//!
//! Documentation ranges and 100.64.0.0/10, which carriers share among their customers, are not
//! among them: strangers come from the latter.

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

#[cfg(test)]
mod tests {
    use super::of;
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
        of(region)
            .iter()
            .any(|one| covers(&one.identity, &identity, READING))
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
    fn every_protection_has_a_name_to_lift_it_by() {
        for region in ["", "CZ", "US", "QQ"] {
            assert!(of(region).iter().all(|one| !one.name.is_empty()));
        }
        let names: Vec<_> = of("CZ").into_iter().map(|one| one.name).collect();
        assert!(
            names.contains(&"emergency-CZ-112".to_owned())
                && names.contains(&"loopback-v6".to_owned())
        );
    }
}
