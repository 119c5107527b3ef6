//! SIP addresses: the scheme and the host in lower case, the rest byte for byte.
//!
//! Only these two are case-blind (RFC 3261, 19.1.4); the user is its registrar's business.
//! Parameters and ports still make another address here.

/// The address with its scheme and host in lower case; nothing if it names no host.
pub(super) fn read(text: &str) -> Option<String> {
    if text.contains(char::is_whitespace) {
        return None;
    }
    let scheme_end = text.find(':').filter(|colon| {
        ["sip", "sips", "tel"]
            .iter()
            .any(|scheme| text[..*colon].eq_ignore_ascii_case(scheme))
    });
    let scheme_end = scheme_end.map_or(0, |colon| colon + 1);
    let host_start = text.rfind('@').map_or(scheme_end, |at| at + 1);
    let host_end = text[host_start..]
        .find([';', '?'])
        .map_or(text.len(), |i| host_start + i);
    if host_start == host_end {
        return None;
    }
    let mut canonical = text.to_owned();
    canonical[..scheme_end].make_ascii_lowercase();
    canonical[host_start..host_end].make_ascii_lowercase();
    Some(canonical)
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_sip_address_is_blind_to_case_only_where_sip_is() {
        for (value, canonical) in [
            (
                "SIP:Alice@PBX.Example:5060;Transport=UDP",
                "sip:Alice@pbx.example:5060;Transport=UDP",
            ),
            ("Alice@PBX", "Alice@pbx"),
            (
                "sips:[2001:DB8::1]?Subject=X",
                "sips:[2001:db8::1]?Subject=X",
            ),
        ] {
            assert_eq!(read(value).as_deref(), Some(canonical));
        }
    }

    #[test]
    fn an_address_without_a_host_is_not_read() {
        for value in [
            "sip:",
            "sip:alice@",
            "sip:alice@;x",
            "\"Alice A\" <sip:alice@pbx>",
        ] {
            assert_eq!(read(value), None, "{value}");
        }
    }
}
