//! SIP addresses: the scheme and the host in lower case, the rest byte for byte.
//!
//! Only these two are case-blind (RFC 3261, 19.1.4); the user is its registrar's business. What
//! comes with the address on its way, like ports and parameters, is kept, but the address without
//! it is looked up as well, and so is the telephone number that its user is.

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

/// The address without what one call may add to it and the next one not; nothing if that is all.
///
/// Port, password, parameters and headers go, and `sips:` is the same user as `sip:`.
pub(super) fn bare(canonical: &str) -> Option<String> {
    let (scheme, rest) = canonical.split_once(':').unwrap_or(("sip", canonical));
    let rest = match scheme {
        "sip" | "sips" => rest,
        _ => return None,
    };
    let (user, host) = rest.rsplit_once('@').unwrap_or(("", rest));
    let user = user.split_once(':').map_or(user, |(user, _password)| user);
    let host = &host[..host.find([';', '?']).unwrap_or(host.len())];
    let port = host.rfind(':').filter(|at| {
        !host[*at..].contains(']') && host[at + 1..].bytes().all(|b| b.is_ascii_digit())
    });
    let host = &host[..port.unwrap_or(host.len())];
    if host.is_empty() {
        return None;
    }
    let bare = if user.is_empty() {
        format!("sip:{host}")
    } else {
        format!("sip:{user}@{host}")
    };
    (bare != canonical).then_some(bare)
}

/// The telephone number that the user is, as far as the address itself says so.
///
/// Digits without a `+` are an extension of that host unless `user=phone` says otherwise.
pub(super) fn number(canonical: &str) -> Option<String> {
    let (scheme, rest) = canonical.split_once(':').unwrap_or(("sip", canonical));
    if scheme == "tel" {
        return Some(canonical.to_owned());
    }
    let (user, host) = rest.rsplit_once('@')?;
    let user = user.split([':', ';']).next().unwrap_or_default();
    let user = user.replace("%2B", "+").replace("%2b", "+");
    let says_phone = host
        .split(';')
        .skip(1)
        .any(|part| part.eq_ignore_ascii_case("user=phone"));
    (user.starts_with('+') || says_phone).then_some(user)
}

#[cfg(test)]
mod tests {
    use super::{bare, number, read};

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

    #[test]
    fn what_a_call_adds_to_an_address_is_set_aside() {
        for (address, left) in [
            (
                "sip:Alice@pbx.example:5060;Transport=UDP",
                "sip:Alice@pbx.example",
            ),
            ("sips:alice@pbx", "sip:alice@pbx"),
            ("alice@pbx", "sip:alice@pbx"),
            ("sip:alice:secret@pbx?Subject=x", "sip:alice@pbx"),
            ("sip:alice@[2001:db8::1]:5061", "sip:alice@[2001:db8::1]"),
        ] {
            assert_eq!(bare(address).as_deref(), Some(left), "{address}");
        }
        for address in [
            "sip:alice@pbx",
            "sip:alice@[2001:db8::1]",
            "tel:+420601123456",
        ] {
            assert_eq!(bare(address), None, "{address}");
        }
    }

    #[test]
    fn a_user_is_a_number_only_where_the_address_says_so() {
        for (address, user) in [
            ("sip:+420601123456@pbx", "+420601123456"),
            ("sip:%2B420601123456@pbx", "+420601123456"),
            ("sip:601123456@pbx;user=phone", "601123456"),
            ("sip:+420601123456;isub=1@pbx", "+420601123456"),
            ("tel:+420601123456", "tel:+420601123456"),
        ] {
            assert_eq!(number(address).as_deref(), Some(user), "{address}");
        }
        for address in ["sip:101@pbx", "sip:alice@pbx", "sip:pbx"] {
            assert_eq!(number(address), None, "{address}");
        }
    }
}
