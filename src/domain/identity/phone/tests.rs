//! Numbers as trunks, texts and paste buffers were seen to write them.

use proptest::prelude::*;

use super::{Number, is_withheld, read, region, warm};
use crate::domain::channel::{Channel, Channels};

const CALL: Channels = Channels::of(&[Channel::Call]);
const WHATSAPP: Channels = Channels::of(&[Channel::Whatsapp]);

fn on(channels: Channels, text: &str, hint: &str) -> Option<Number> {
    read(text, channels, region(hint, None))
}

fn canonical(text: &str, hint: &str) -> Option<String> {
    on(CALL, text, hint).map(|number| number.canonical)
}

/// What trunks, texts and paste buffers were seen to write, with the region they wrote it in.
#[test]
fn one_caller_has_one_number_however_the_trunk_writes_it() {
    for (text, hint, expected) in [
        ("+420601123456", "", "+420601123456"),
        ("601 123 456", "cz", "+420601123456"),
        ("00420601123456", "CZ", "+420601123456"),
        ("00420601123456", "", "+420601123456"),
        ("011420601123456", "US", "+420601123456"),
        ("+420601123456#", "CZ", "+420601123456"),
        ("+420601123456;ext=12", "CZ", "+420601123456"),
        ("tel:+420-601-123-456;ext=12", "", "+420601123456"),
        ("tel:601123456;phone-context=+420", "", "+420601123456"),
        ("sip:+420601123456@pbx;user=phone", "", "+420601123456"),
        ("SIPS:601123456@pbx", "CZ", "+420601123456"),
        ("＋４２０６０１１２３４５６", "CZ", "+420601123456"),
        ("+٤٢٠٦٠١١٢٣٤٥٦", "CZ", "+420601123456"),
        ("+33142764978", "US", "+33142764978"),
        ("+78005553535", "RU", "+78005553535"),
        ("8 800 555-35-35", "RU", "+78005553535"),
        ("+4206O1123456", "CZ", "+42061123456"),
        ("0601123456", "CZ", "+4200601123456"),
        ("112", "CZ", "+420112"),
        ("+5215512345678", "MX", "+5215512345678"),
        ("+553196883193", "BR", "+553196883193"),
    ] {
        assert_eq!(
            canonical(text, hint).as_deref(),
            Some(expected),
            "{text} in {hint:?}"
        );
    }
}

/// Google's example numbers of regions whose trunk prefixes are unlike each other.
#[test]
fn a_number_in_the_custom_of_its_country_is_the_same_in_e164() {
    for (hint, e164, national, international) in [
        ("AC", "+24762889", "62889", "+247 62889"),
        ("GB", "+441212345678", "0121 234 5678", "+44 121 234 5678"),
        ("IT", "+390212345678", "02 1234 5678", "+39 02 1234 5678"),
        ("US", "+12015550123", "(201) 555-0123", "+1 201-555-0123"),
    ] {
        for text in [e164, national, international] {
            let number = on(CALL, text, hint).unwrap();
            assert_eq!(number, Number::plain(e164.to_owned(), true), "{text}");
        }
    }
}

#[test]
fn digits_alone_on_whatsapp_are_international() {
    let number = on(WHATSAPP, "420601123456", "US").unwrap();
    assert_eq!(number.canonical, "+420601123456");
    assert_eq!(number, on(WHATSAPP, "00420601123456", "").unwrap());
}

#[test]
fn a_number_nobody_can_have_is_still_bannable() {
    for (text, hint, expected) in [
        ("+420123", "CZ", "+420123"),
        ("601 123 456", "", "601123456@ZZ"),
        ("601 123 456", "QQ", "601123456@QQ"),
        ("+999 123 456", "", "999123456@ZZ"),
        ("tel:112;ext=5", "", "112@ZZ"),
        ("٦٠١ ١٢٣", "", "601123@ZZ"),
    ] {
        let number = on(CALL, text, hint).unwrap();
        assert_eq!(number.canonical, expected);
        assert!(!number.possible, "{text}");
        assert_eq!(on(CALL, &number.canonical, "DE"), Some(number), "{text}");
    }
}

#[test]
fn a_text_can_come_from_a_name() {
    for (text, expected) in [
        ("dhl", "DHL"),
        ("O2", "O2"),
        ("4ka", "4KA"),
        ("7-Eleven", "7-ELEVEN"),
        ("ČSOB", "ČSOB"),
    ] {
        for channels in [CALL, Channels::of(&[Channel::Sms]), Channels::NONE] {
            let number = on(channels, text, "CZ").unwrap();
            assert_eq!(number, Number::plain(expected.to_owned(), true));
        }
    }
    assert_eq!(on(WHATSAPP, "dhl", "CZ"), None);
}

#[test]
fn text_that_is_neither_number_nor_name_is_not_read() {
    for text in [
        "#",
        "+",
        "12",
        "1234567890123456",
        "no caller here",
        "sip:alice@pbx",
        "a@b",
    ] {
        assert_eq!(canonical(text, ""), None, "{text}");
    }
}

#[test]
fn a_hidden_number_is_told_by_its_spelling() {
    for text in [
        "Anonymous",
        "RESTRICTED",
        "unavailable",
        "Private Number",
        "No Caller ID",
        "-",
        "+266696687",
        "+7378742833",
        "+2562533",
        "+8656696",
        "+86282452253",
        "266696687",
        "7378742833",
        "sip:anonymous@anonymous.invalid",
        "sip:anonymous@192.0.2.1:5060;user=phone",
        "sip:c8oqz84zk7z@anonymous.invalid;x",
        "sip:+266696687@pbx",
        "\"Anonymous\" <sip:anonymous@anonymous.invalid>",
    ] {
        assert!(is_withheld(text, None), "{text}");
    }
    for text in [
        "+420601123456",
        "anonymous@example.com",
        "Unknown Ltd",
        "",
        "+420266696687",
        "sip:+420601123456@pbx",
    ] {
        assert!(!is_withheld(text, None), "{text}");
    }
}

/// 266 696 687 spells ANONYMOUS, and is somebody's fixed line in Prague.
#[test]
fn a_customers_own_number_is_not_taken_for_a_word_spelt_on_a_keypad() {
    for (text, hint, withheld) in [
        ("266696687", "CZ", false),
        ("7378742833", "US", false),
        ("266696687", "US", true),
        ("7378742833", "CZ", true),
        ("+266696687", "CZ", true),
        ("+7378742833", "US", true),
    ] {
        assert_eq!(
            is_withheld(text, region(hint, None)),
            withheld,
            "{text} in {hint}"
        );
    }
    assert_eq!(
        canonical("266696687", "CZ").as_deref(),
        Some("+420266696687")
    );
}

#[test]
fn a_context_before_its_number_does_not_bring_the_library_down() {
    assert_eq!(canonical(";phone-context=+1;tel:601123456", "CZ"), None);
}

#[test]
fn warming_an_unheard_of_region_does_nothing() {
    for region in ["CZ", "us", "QQ", "ZZ", "001", "", "Czechia"] {
        warm(region);
    }
}

proptest! {
    #[test]
    fn reading_a_number_again_changes_nothing(
        text in "\\+[1-9][0-9]{3,17}|00?[0-9]{3,17}|[0-9]{2,17}|\\+(1|44|49|54|55|52|7|39)0{0,9}[0-9]{1,12}",
        hint in "CZ|US|DE|GB|IT|AR|BR|MX|RU|FI|SM|",
    ) {
        if let Some(first) = on(CALL, &text, &hint) {
            let again = on(CALL, &first.canonical, &hint);
            prop_assert_eq!(again, Some(first));
        }
    }

    #[test]
    fn reading_a_name_again_changes_nothing(text in "\\PC{1,11}") {
        if let Some(first) = on(CALL, &text, "CZ") {
            let again = on(CALL, &first.canonical, "CZ");
            prop_assert_eq!(again, Some(first));
        }
    }

    #[test]
    fn no_text_panics(
        text in "(tel:|sip:|;phone-context=|;isub=|;ext=|\\+|[0-9#*x@ ]){0,12}|\\PC*",
        hint in "CZ|US|",
    ) {
        let _ = on(CALL, &text, &hint);
    }
}

/// Inputs at which the two libraries were compared; what is ours stands beside each.
#[test]
fn where_libraries_differ_the_number_is_the_right_one() {
    for (text, hint, expected) in [
        ("+33142764978", "US", Some("+33142764978")),
        ("+78005553535", "RU", Some("+78005553535")),
        ("+420601123456;ext=12", "CZ", Some("+420601123456")),
        ("＋４２０６０１１２３４５６", "CZ", Some("+420601123456")),
        ("+٤٢٠٦٠١١٢٣٤٥٦", "CZ", Some("+420601123456")),
        // A letter is no digit, so a number with an O in it is not read as one with a 6 or a 0.
        ("+4206O1123456", "CZ", Some("+42061123456")),
        ("+420601123456#", "CZ", Some("+420601123456")),
        ("00420601123456", "", Some("+420601123456")),
        ("sip:+420601123456@pbx", "", Some("+420601123456")),
        ("+5215512345678", "MX", Some("+5215512345678")),
        ("+553196883193", "BR", Some("+553196883193")),
    ] {
        assert_eq!(canonical(text, hint).as_deref(), expected, "{text}");
    }
}

#[test]
fn a_zero_that_a_country_does_not_dial_is_also_left_out() {
    let aside = |text, hint| on(CALL, text, hint).unwrap().without_zero;
    assert_eq!(aside("0601123456", "CZ").as_deref(), Some("+420601123456"));
    assert_eq!(
        aside("+4200601123456", "").as_deref(),
        Some("+420601123456")
    );
    // Where the zero belongs to the number, or the rest is nobody's, there is nothing to leave out.
    for (text, hint) in [("+390212345678", ""), ("0123", "CZ"), ("+420601123456", "")] {
        assert_eq!(aside(text, hint), None, "{text}");
    }
}
