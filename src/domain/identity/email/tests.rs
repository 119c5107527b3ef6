//! Addresses as mail programs, forms and people write them.

use proptest::prelude::*;

use super::{domain, read};

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

#[test]
fn quotes_that_are_not_needed_make_no_second_mailbox() {
    for spelling in [
        r#""alice"@example.com"#,
        r#""ALICE"@example.com"#,
        r#""a\lice"@example.com"#,
    ] {
        let address = read(spelling).unwrap();
        assert_eq!(address.canonical, "alice@example.com", "{spelling}");
        // What an older version filed such an address under is still looked up.
        assert!(address.former.is_some_and(|former| former.starts_with('"')));
    }
    for (spelling, kept) in [
        (r#""a b"@example.com"#, r#""a b"@example.com"#),
        (r#""a..b"@example.com"#, r#""a..b"@example.com"#),
        (r#""a\"b"@example.com"#, r#""a\"b"@example.com"#),
        (r#""a\@b"@example.com"#, r#""a@b"@example.com"#),
        (r#"""@example.com"#, r#"""@example.com"#),
    ] {
        assert_eq!(canonical(spelling).as_deref(), Some(kept), "{spelling}");
    }
    for broken in [
        r#""alice@example.com"#,
        r#""a"b"@example.com"#,
        r#""\"@example.com"#,
    ] {
        assert_eq!(canonical(broken), None, "{broken}");
    }
}

#[test]
fn a_server_may_be_named_by_its_address() {
    assert_eq!(canonical("a@[192.0.2.1]").as_deref(), Some("a@[192.0.2.1]"));
    assert_eq!(
        canonical("a@[IPv6:2001:DB8:0::1]").as_deref(),
        Some("a@[ipv6:2001:db8::1]")
    );
    for broken in [
        "a@[192.0.2.01]",
        "a@[2001:db8::1]",
        "a@[]",
        "a@[IPv6:192.0.2.1]",
    ] {
        assert_eq!(canonical(broken), None, "{broken}");
    }
}

#[test]
fn a_name_in_another_alphabet_is_an_address_like_any_other() {
    assert_eq!(
        canonical("用户@例子.广告").as_deref(),
        Some("用户@xn--fsqu00a.xn--4rr70v")
    );
    assert_eq!(
        canonical("Ünïcode@Example.com").as_deref(),
        Some("ünïcode@example.com")
    );
}

#[test]
fn a_full_width_dot_and_a_soft_hyphen_in_a_domain_change_nothing() {
    assert_eq!(
        domain("mail．Example。com").as_deref(),
        Some("mail.example.com")
    );
    assert_eq!(domain("exam\u{ad}ple.com").as_deref(), Some("example.com"));
}

#[test]
fn a_cyrillic_letter_in_a_domain_is_told_as_well() {
    assert!(read("alice@ex\u{430}mple.com").unwrap().mixes_scripts);
    assert!(!read("alice@пример.example").unwrap().mixes_scripts);
    assert!(!read("alice@bücher.example").unwrap().mixes_scripts);
}
