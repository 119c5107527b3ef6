//! IP addresses and networks: one spelling each, and version 4 wherever version 4 is meant.
//!
//! A dual-stack listener reports a v4 visitor as `::ffff:192.0.2.1`, a NAT64 gateway as
//! `64:ff9b::c000:201` (RFC 6052): both are folded to `192.0.2.1`, or a ban of one spelling would
//! miss the other. The parsing is std's own, which refuses `192.0.2.01`, hexadecimal and plain
//! integers: no address has a second reading as octal here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// The length of the prefixes below which an IPv4 address hides inside an IPv6 one.
const EMBEDDED_PREFIX: u8 = 96;

/// The address in `text`; a port, and the zone of a version 6 address, are set aside.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (inside, after) = bracketed.split_once(']')?;
        return (after.is_empty() || after.strip_prefix(':').is_some_and(is_port))
            .then(|| v6(inside))?;
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(address.into());
    }
    match text.split_once(':') {
        Some((host, port)) if is_port(port) && host.contains('.') => {
            host.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        }
        _ => v6(text),
    }
}

/// The network in `text`, its host bits masked.
///
/// `ipnet` would leave `::ffff:192.0.2.0/120` as it is; its first 96 bits say only "version 4".
pub(super) fn network(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let plain = length.bytes().all(|b| b.is_ascii_digit())
        && (length.len() == 1 || !length.starts_with('0'));
    let length: u8 = plain.then(|| length.parse().ok())??;
    let network = IpNet::new(address.parse().ok()?, length).ok()?.trunc();
    match (network, folded(network.addr())) {
        (IpNet::V6(_), IpAddr::V4(v4)) if length >= EMBEDDED_PREFIX => {
            Ipv4Net::new(v4, length - EMBEDDED_PREFIX)
                .ok()
                .map(IpNet::V4)
        }
        _ => Some(network),
    }
}

/// A version 6 address with or without its zone, which means nothing outside the machine it names.
fn v6(text: &str) -> Option<IpAddr> {
    let address = match text.split_once('%') {
        Some((_, "")) => return None,
        Some((address, _zone)) => address,
        None => text,
    };
    address
        .parse::<Ipv6Addr>()
        .ok()
        .map(|address| folded(address.into()))
}

/// The IPv4 address inside an IPv4-mapped or NAT64 one; any other address as it is.
fn folded(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if matches!(v6.segments(), [0x64, 0xff9b, 0, 0, 0, 0, _, _]) => {
            let [.., a, b, c, d] = v6.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        _ => address.to_canonical(),
    }
}

/// Whether this is a port, as a proxy writes it after the address.
fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{address, network};

    fn read(text: &str) -> Option<String> {
        address(text).map(|address| address.to_string())
    }

    fn read_network(text: &str) -> Option<String> {
        network(text).map(|network| network.to_string())
    }

    #[test]
    fn one_visitor_has_one_address_however_the_proxy_writes_it() {
        for spelling in [
            "192.0.2.1",
            "192.0.2.1:443",
            "::ffff:192.0.2.1",
            "::FFFF:C000:201",
            "[::ffff:192.0.2.1]:443",
            "64:ff9b::192.0.2.1",
            "64:ff9b::c000:201",
        ] {
            assert_eq!(read(spelling).as_deref(), Some("192.0.2.1"), "{spelling}");
        }
        for spelling in [
            "2001:DB8:0::1",
            "[2001:db8::1]",
            "[2001:db8::1]:8080",
            "2001:db8::1%eth0",
        ] {
            assert_eq!(read(spelling).as_deref(), Some("2001:db8::1"), "{spelling}");
        }
        assert_eq!(read("[fe80::1%eth0]:443").as_deref(), Some("fe80::1"));
    }

    #[test]
    fn an_address_with_a_second_reading_is_refused() {
        for spelling in [
            "192.0.2.01",
            "0300.0.2.1",
            "0xc0000201",
            "3221225985",
            "192.0.2",
            "192.0.2.1:",
            "192.0.2.1:65536",
            "192.0.2.1:+80",
            "192.0.2.1%eth0",
            "192.0.2.0/24",
            "::ffff:192.0.2.01",
            "[192.0.2.1]:80",
            "[::1",
            "[::1]x",
            "::1%",
            "",
        ] {
            assert_eq!(read(spelling), None, "{spelling}");
        }
    }

    #[test]
    fn a_network_is_written_without_its_host_bits() {
        assert_eq!(
            read_network("203.0.113.77/24").as_deref(),
            Some("203.0.113.0/24")
        );
        assert_eq!(
            read_network("2001:DB8:1::1/32").as_deref(),
            Some("2001:db8::/32")
        );
        assert_eq!(read_network("0.0.0.0/0").as_deref(), Some("0.0.0.0/0"));
    }

    #[test]
    fn a_network_of_version_4_is_one_in_any_dress() {
        assert_eq!(
            read_network("::ffff:192.0.2.0/120").as_deref(),
            Some("192.0.2.0/24")
        );
        assert_eq!(
            read_network("64:ff9b::c000:2ff/120").as_deref(),
            Some("192.0.2.0/24")
        );
        assert_eq!(read_network("::ffff:0:0/96").as_deref(), Some("0.0.0.0/0"));
        assert_eq!(
            read_network("::ffff:0:0/95").as_deref(),
            Some("::fffe:0:0/95")
        );
    }

    #[test]
    fn a_network_is_refused_where_an_address_would_be() {
        for spelling in [
            "192.0.2.01/24",
            "192.0.2.0/33",
            "192.0.2.0/024",
            "192.0.2.0/+24",
            "192.0.2.0/",
            "192.0.2.0",
            "fe80::%eth0/64",
            "[2001:db8::]/32",
            "2001:db8::/129",
            "192.0.2.0/24/24",
        ] {
            assert_eq!(read_network(spelling), None, "{spelling}");
        }
    }

    proptest! {
        #[test]
        fn reading_an_address_again_changes_nothing(given in any::<std::net::IpAddr>()) {
            let first = read(&given.to_string()).unwrap();
            prop_assert_eq!(read(&first), Some(first));
        }

        #[test]
        fn reading_a_network_again_changes_nothing(
            given in any::<std::net::IpAddr>(),
            length in 0_u8..=128,
        ) {
            if let Some(first) = read_network(&format!("{given}/{length}")) {
                prop_assert_eq!(read_network(&first), Some(first));
            }
        }

        #[test]
        fn no_text_panics(text in "[0-9a-fx:.%/\\[\\]]{0,48}|\\PC*") {
            let _ = (address(&text), network(&text));
        }
    }
}
