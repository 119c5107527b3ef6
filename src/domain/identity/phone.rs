//! Telephone numbers: E.164 wherever a number can be read, the digits as received elsewhere.
//!
//! A ban must hold for spoofed numbers, short codes and ranges too new for the metadata, so nothing
//! here asks whether a number is valid. What cannot be read at all keeps its digits and its region,
//! `1234567@CZ`, and so still matches itself. The reading is `rlibphonenumber`'s, a port of
//! libphonenumber; it looks at what a stranger wrote, so a panic of it is caught, or one caller
//! could stop the service from answering.
//!
//! ```text
//!   value ── withheld? ── sender's name? ── E.164, read until it stays ── digits@REGION ── nothing
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};

use rlibphonenumber::{
    NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, enums::Region,
};

use super::kind::TELEPHONE;
use crate::domain::channel::{Channel, Channels};

/// The longest name an SMS can give as its sender (3GPP TS 23.040, 9.1.2.5: 11 septets).
const LONGEST_SENDER: usize = 11;

/// How many digits a number may have that is kept as received: E.164 ends at 15.
const KEPT_DIGITS: std::ops::RangeInclusive<usize> = 3..=15;

/// How often a number is read again until it stays; it has 17 digits behind the country code at
/// most, and a reading that changes it takes one off.
const READINGS: usize = 20;

/// What a trunk or a carrier writes in place of a number that its caller hides.
///
/// RFC 3323 has "anonymous"; the numbers are ANONYMOUS and RESTRICTED spelt on a keypad, which is
/// how Twilio says it.
const WITHHELD: [&str; 11] = [
    "anonymous",
    "restricted",
    "unavailable",
    "private",
    "unknown",
    "withheld",
    "+266696687",
    "266696687",
    "+7378742833",
    "7378742833",
    "-",
];

/// A number as it is compared.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// `+` and digits, a sender's name in capitals, or digits with their region.
    pub(super) canonical: String,
    /// Whether somebody could have it.
    pub(super) possible: bool,
}

/// Reads one number of `region`, so that the first caller from there does not wait for it.
///
/// The library unpacks its metadata at the first use, and a region's patterns at the region's.
pub fn warm(region: &str) {
    let _ = catch_unwind(|| {
        let region = Region::from_code(region).ok()?;
        let example = PHONE_NUMBER_UTIL.get_example_number(region).ok()?;
        let national = PHONE_NUMBER_UTIL.format(&example, PhoneNumberFormat::National);
        e164(&national, Some(region))
    });
}

/// The region a number was written in: the connector's hint, else the tenant's own.
///
/// Two letters that name no region hold against the tenant's all the same: a number from nowhere
/// we know is better kept as received than read by the rules of another country.
pub(super) fn region(hint: &str, default: Option<&str>) -> Option<Region> {
    let two_letters = |code: &str| Region::from_code(code).ok().filter(|_| code.len() == 2);
    two_letters(hint).or_else(|| default.and_then(two_letters))
}

/// Whether this is how a hidden number is spelt, bare or as the user of a SIP address.
pub(super) fn is_withheld(text: &str) -> bool {
    let text = sip_user(text).unwrap_or(text);
    WITHHELD
        .iter()
        .any(|spelling| text.eq_ignore_ascii_case(spelling))
}

/// The number in `text`; nothing if there is none.
pub(super) fn read(text: &str, channels: Channels, region: Option<Region>) -> Option<Number> {
    if is_kept(text) {
        return Some(Number {
            canonical: text.to_owned(),
            possible: false,
        });
    }
    let text = match sip_user(text) {
        Some(user) => user,
        None => match sender(text, channels) {
            Some(canonical) => {
                return Some(Number {
                    canonical,
                    possible: true,
                });
            }
            None => text,
        },
    };
    let text = text.trim_end_matches('#');
    let written_in = region.filter(|region| is_known(*region));
    // A panic leaves nothing half done behind: the library's statics are set once or not at all.
    let number = catch_unwind(AssertUnwindSafe(|| {
        match international(text, channels, written_in) {
            Some(digits) => e164(&format!("+{digits}"), None),
            None => e164(text, written_in),
        }
    }));
    number.ok().flatten().or_else(|| kept(text, region))
}

/// The digits after the `+` that a sender left out, where they are international for certain.
///
/// `WhatsApp` never writes the `+`, and where nobody says from which country a call is dialled, a
/// leading `00` is the `+` of most of them (ITU-T E.164 recommends it).
fn international(text: &str, channels: Channels, region: Option<Region>) -> Option<&str> {
    let whatsapp = channels.only() == Some(Channel::Whatsapp);
    if whatsapp && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(text.strip_prefix("00").unwrap_or(text));
    }
    text.strip_prefix("00").filter(|_| region.is_none())
}

/// The number in E.164.
///
/// It is read until reading it changes nothing: a trunk prefix behind the country code is taken
/// off once a reading, and a form that is not its own form is not canonical. Text that is E.164
/// already, which is what trunks send, is read once.
fn e164(text: &str, region: Option<Region>) -> Option<Number> {
    let mut number = parsed(text, region)?;
    let mut canonical = PHONE_NUMBER_UTIL
        .format(&number, PhoneNumberFormat::E164)
        .into_owned();
    let mut stays = canonical == text;
    for _ in 0..READINGS {
        if stays {
            break;
        }
        number = parsed(&canonical, None)?;
        let again = PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164);
        stays = again == canonical;
        canonical = again.into_owned();
    }
    if !stays {
        return None;
    }
    let length = PHONE_NUMBER_UTIL.is_possible_number_with_reason(&number);
    Some(Number {
        canonical,
        possible: length == Ok(NumberLengthType::IsPossible),
    })
}

/// One reading by the library.
fn parsed(text: &str, region: Option<Region>) -> Option<PhoneNumber> {
    // It would slice backwards on `;phone-context=…;tel:…`, and the message of that panic would
    // carry the number into the log.
    if text
        .find(";phone-context=")
        .is_some_and(|context| text[context..].contains("tel:"))
    {
        return None;
    }
    PHONE_NUMBER_UTIL
        .parse(text, region)
        .ok()
        .filter(|number| number.country_code != 0)
}

/// The digits as received with their region, `ZZ` if there is none.
///
/// Text with a letter in it is no number: keeping only its digits would ban whoever has those.
fn kept(text: &str, region: Option<Region>) -> Option<Number> {
    let subscriber = text.strip_prefix("tel:").unwrap_or(text);
    let subscriber = subscriber
        .split_once(';')
        .map_or(subscriber, |(number, _)| number);
    if subscriber.chars().any(|c| c.is_alphabetic() || c == '@') {
        return None;
    }
    let mut canonical: String = subscriber.chars().filter_map(ascii_digit).collect();
    if !KEPT_DIGITS.contains(&canonical.len()) {
        return None;
    }
    canonical.push('@');
    canonical.push_str(&region.unwrap_or(Region::ZZ).as_region_str());
    Some(Number {
        canonical,
        possible: false,
    })
}

/// Whether [`kept`] wrote this.
fn is_kept(text: &str) -> bool {
    text.split_once('@').is_some_and(|(digits, region)| {
        KEPT_DIGITS.contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && region.len() == 2
            && region.bytes().all(|b| b.is_ascii_uppercase())
    })
}

/// The name an SMS gives as its sender, in capitals: "DHL", "O2", "4ka".
///
/// A name begins with a letter or holds no more digits than letters; `601123456x1` is a number
/// with its extension. One ban covers calls and texts (D22), so the form is the same on both.
fn sender(text: &str, channels: Channels) -> Option<String> {
    if !channels.is_empty() && channels.and(TELEPHONE).is_empty() {
        return None;
    }
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let digits = text.chars().filter(|c| c.is_numeric()).count();
    let is_name = text.starts_with(char::is_alphabetic) || (letters > 0 && letters >= digits);
    if !is_name {
        return None;
    }
    // Judged in capitals, for those must be a name again: ß becomes two, ὖ a letter and its marks.
    let canonical = text.to_uppercase();
    let is_plain = |c: char| c.is_alphanumeric() || " &-_.'!/".contains(c);
    (canonical.chars().count() <= LONGEST_SENDER && canonical.chars().all(is_plain))
        .then_some(canonical)
}

/// The user of a SIP address, which is where a trunk writes the number.
fn sip_user(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(':')?;
    let is_sip = scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips");
    is_sip.then(|| rest.split_once('@').map_or(rest, |(user, _host)| user))
}

/// Whether the library has rules for the region.
fn is_known(region: Region) -> bool {
    PHONE_NUMBER_UTIL
        .get_country_code_for_region(region)
        .is_some()
}

/// The digit, in the scripts that handsets write numbers in.
fn ascii_digit(c: char) -> Option<char> {
    let zero = match c {
        '0'..='9' => return Some(c),
        '\u{ff10}'..='\u{ff19}' => 0xff10,
        '\u{660}'..='\u{669}' => 0x660,
        '\u{6f0}'..='\u{6f9}' => 0x6f0,
        _ => return None,
    };
    char::from_digit(u32::from(c) - zero, 10)
}

#[cfg(test)]
mod tests {
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
                assert_eq!(
                    number,
                    Number {
                        canonical: e164.to_owned(),
                        possible: true
                    },
                    "{text}"
                );
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
                assert_eq!(
                    number,
                    Number {
                        canonical: expected.to_owned(),
                        possible: true
                    }
                );
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
            "-",
            "+266696687",
            "sip:anonymous@anonymous.invalid",
        ] {
            assert!(is_withheld(text), "{text}");
        }
        for text in ["+420601123456", "anonymous@example.com", "Unknown Ltd", ""] {
            assert!(!is_withheld(text), "{text}");
        }
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
}
