//! E-mail addresses: lower case, composed, with the domain as the DNS knows it.
//!
//! RFC 5321 leaves the case of the local part to the receiving host and every large provider folds
//! it, so it is folded here. A look-alike letter of another script is another mailbox: told, never
//! folded. Tags and dots that a provider ignores are for the aliases, not for this form.

use idna::AsciiDenyList;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// An address as it is compared.
pub(super) struct Address {
    /// `local@domain`, the domain in ASCII.
    pub(super) canonical: String,
    /// Whether the local part mixes ASCII letters with Greek or Cyrillic ones.
    pub(super) mixes_scripts: bool,
}

/// The address in `text`, a bare one: no display name and no angle brackets.
pub(super) fn read(text: &str) -> Option<Address> {
    if text.contains(char::is_whitespace) {
        return None;
    }
    let (local, domain) = text.rsplit_once('@')?;
    if local.is_empty() {
        return None;
    }
    let domain = ascii_domain(domain)?;
    let mut canonical = folded(local);
    let mixes_scripts = mixes_scripts(&canonical);
    canonical.push('@');
    canonical.push_str(&domain);
    Some(Address {
        canonical,
        mixes_scripts,
    })
}

/// The domain in lower-case ASCII, without the dot of the root.
///
/// `idna` keeps that dot, though `example.com.` and `example.com` are one domain.
fn ascii_domain(domain: &str) -> Option<String> {
    let mut domain = idna::domain_to_ascii_cow(domain.as_bytes(), AsciiDenyList::URL)
        .ok()?
        .into_owned();
    if domain.ends_with('.') {
        domain.pop();
    }
    domain
        .split('.')
        .all(|label| !label.is_empty())
        .then_some(domain)
}

/// The local part in lower case and composed.
///
/// Composed twice: a small letter may compose where the capital did not, as J with a caron.
fn folded(local: &str) -> String {
    if local.is_ascii() {
        return local.to_ascii_lowercase();
    }
    let lower = local.nfc().collect::<String>().to_lowercase();
    if is_nfc(&lower) {
        lower
    } else {
        lower.nfc().collect()
    }
}

/// Whether ASCII letters stand beside Greek or Cyrillic ones.
fn mixes_scripts(local: &str) -> bool {
    !local.is_ascii()
        && local.chars().any(|c| c.is_ascii_alphabetic())
        && local.chars().any(is_greek_or_cyrillic)
}

/// The blocks of the two scripts whose letters pass for Latin ones.
const fn is_greek_or_cyrillic(c: char) -> bool {
    matches!(
        c,
        '\u{370}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}' | '\u{1f00}'..='\u{1fff}'
            | '\u{2de0}'..='\u{2dff}' | '\u{a640}'..='\u{a69f}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::read;

    fn canonical(text: &str) -> Option<String> {
        read(text).map(|address| address.canonical)
    }

    #[test]
    fn capitals_and_the_dot_of_the_root_do_not_make_another_address() {
        for spelling in [
            "alice@example.com",
            "Alice@EXAMPLE.com",
            "alice@example.com.",
        ] {
            assert_eq!(
                canonical(spelling).as_deref(),
                Some("alice@example.com"),
                "{spelling}"
            );
        }
    }

    #[test]
    fn a_domain_is_compared_as_the_dns_knows_it() {
        assert_eq!(
            canonical("a@Bücher.example").as_deref(),
            Some("a@xn--bcher-kva.example")
        );
        assert_eq!(
            canonical("a@xn--bcher-kva.example"),
            canonical("a@bücher。example")
        );
        assert_ne!(canonical("a@faß.de"), canonical("a@fass.de"));
    }

    #[test]
    fn an_accent_typed_in_two_keystrokes_is_the_same_letter() {
        assert_eq!(
            canonical("rene\u{301}@example.com"),
            canonical("RENÉ@example.com")
        );
        assert_eq!(
            canonical("J\u{30c}@example.com"),
            canonical("\u{1f0}@example.com")
        );
    }

    #[test]
    fn the_last_at_sign_divides() {
        let quoted = r#""a@b"@example.com"#;
        assert_eq!(canonical(quoted).as_deref(), Some(quoted));
    }

    #[test]
    fn what_is_not_an_address_is_not_read() {
        for text in [
            "alice",
            "@example.com",
            "alice@",
            "alice@.",
            "alice@example..com",
            "alice@example.com..",
            "al ice@example.com",
            "Alice <alice@example.com>",
            "<alice@example.com>",
            "alice@exa mple.com",
            "alice@exa%mple.com",
        ] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }

    #[test]
    fn a_cyrillic_letter_among_latin_ones_is_told_and_kept() {
        let address = read("\u{430}lice@example.com").unwrap();
        assert!(address.mixes_scripts);
        assert_eq!(address.canonical, "\u{430}lice@example.com");
        assert!(!read("алиса@example.com").unwrap().mixes_scripts);
        assert!(!read("rené@example.com").unwrap().mixes_scripts);
    }

    proptest! {
        #[test]
        fn reading_an_address_again_changes_nothing(
            text in "\\PC{1,12}@\\PC{1,12}|[\\w.+-]{1,12}@[\\w.-]{1,24}"
        ) {
            if let Some(first) = canonical(&text) {
                prop_assert_eq!(canonical(&first), Some(first));
            }
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = read(&text);
        }
    }
}
