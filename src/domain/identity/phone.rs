//! Telephone numbers: E.164 wherever a number can be read, the digits as received elsewhere.
//!
//! A ban must hold for spoofed numbers, short codes and ranges too new for the metadata, so nothing
//! here asks whether a number is valid. What cannot be read at all keeps its digits and its region,
//! `1234567@CZ`, and so still matches itself. The reading is `rlibphonenumber`'s, a port of
//! libphonenumber; it looks at what a stranger wrote, so a panic of it is caught, or one caller
//! could stop the service from answering.
//!
//! ```text
//!   value ── plain? ── withheld? ── sender's name? ── E.164, read until it stays ── digits@REGION
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};

use rlibphonenumber::{
    NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, enums::Region,
};

pub(super) mod emergency;
mod plan;
mod spelling;

pub(super) use spelling::spellings;

use super::kind::TELEPHONE;
use crate::domain::channel::{Channel, Channels};

/// The longest name an SMS can give as its sender (3GPP TS 23.040, 9.1.2.5: 11 septets).
const LONGEST_SENDER: usize = 11;

/// How many digits a number may have that is kept as received: E.164 ends at 15.
const KEPT_DIGITS: std::ops::RangeInclusive<usize> = 3..=15;

/// How often a number is read again until it stays; it has 17 digits behind the country code at
/// most, and a reading that changes it takes one off.
const READINGS: usize = 20;

/// What a trunk or a carrier writes in place of a number that its caller hides; RFC 3323 has the
/// first.
const WITHHELD: [&str; 16] = [
    "anonymous",
    "restricted",
    "unavailable",
    "private",
    "unknown",
    "withheld",
    "blocked",
    "hidden",
    "private number",
    "unknown number",
    "number withheld",
    "not available",
    "no caller id",
    "nocallerid",
    "id withheld",
    "-",
];

/// ANONYMOUS, RESTRICTED, BLOCKED, UNKNOWN and UNAVAILABLE spelt on a keypad, which is how Twilio
/// says them.
const SPELT_ON_A_KEYPAD: [&str; 5] = [
    "266696687",
    "7378742833",
    "2562533",
    "8656696",
    "86282452253",
];

/// A number as it is compared.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// `+` and digits, a sender's name in capitals, or digits with their region.
    pub(super) canonical: String,
    /// Whether somebody could have it.
    pub(super) possible: bool,
    /// The number without a 0 that its country does not write, if only so it could be somebody's.
    pub(super) without_zero: Option<String>,
}

impl Number {
    /// A number as it was received.
    const fn plain(canonical: String, possible: bool) -> Self {
        Self {
            canonical,
            possible,
            without_zero: None,
        }
    }
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
///
/// A word spelt on a keypad without the `+` may be a customer's number too: 266 696 687 is one in
/// Prague, and 737 874 2833 one in Austin. There it is the customer's.
pub(super) fn is_withheld(text: &str, region: Option<Region>) -> bool {
    if let Some(user) = sip_user(text) {
        let host = text.rsplit_once('@').map_or("", |(_, host)| host);
        return is_withheld(user, region) || is_anonymous_host(host);
    }
    if let Some((_, inside)) = text.strip_suffix('>').and_then(|text| text.split_once('<')) {
        return sip_user(inside).is_some() && is_withheld(inside, region);
    }
    let (plus, digits) = match text.strip_prefix('+') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if digits.starts_with(|c: char| c.is_ascii_digit()) {
        return SPELT_ON_A_KEYPAD.contains(&digits) && (plus || !is_somebodys(digits, region));
    }
    WITHHELD
        .iter()
        .any(|spelling| text.eq_ignore_ascii_case(spelling))
}

/// Whether a number in E.164 is a word spelt on a keypad.
pub(super) fn is_spelt(canonical: &str) -> bool {
    canonical
        .strip_prefix('+')
        .is_some_and(|digits| SPELT_ON_A_KEYPAD.contains(&digits))
}

/// The host that RFC 3323 has for a caller who hides.
fn is_anonymous_host(host: &str) -> bool {
    let end = host.find([';', '?', ':']).unwrap_or(host.len());
    host[..end].eq_ignore_ascii_case("anonymous.invalid")
}

/// Whether a customer of this region can have this number.
fn is_somebodys(national: &str, region: Option<Region>) -> bool {
    let Some(region) = region.filter(|region| is_known(*region)) else {
        return false;
    };
    let valid = catch_unwind(|| {
        parsed(national, Some(region)).is_some_and(|one| PHONE_NUMBER_UTIL.is_valid_number(&one))
    });
    valid.unwrap_or(false)
}

/// The number in `text`; nothing if there is none.
pub(super) fn read(text: &str, channels: Channels, region: Option<Region>) -> Option<Number> {
    let whatsapp = channels.only() == Some(Channel::Whatsapp);
    let code = region.map(|region| region.as_region_str());
    if let Some(canonical) = plan::read(text, code.as_deref(), whatsapp) {
        return Some(Number::plain(canonical, true));
    }
    if is_kept(text) {
        return Some(Number::plain(text.to_owned(), false));
    }
    let text = match sip_user(text) {
        Some(user) => user,
        None => match sender(text, channels) {
            Some(canonical) => return Some(Number::plain(canonical, true)),
            None => text,
        },
    };
    let text = text.trim_end_matches('#');
    let written_in = region.filter(|region| is_known(*region));
    // A panic leaves nothing half done behind: the library's statics are set once or not at all.
    let number = catch_unwind(AssertUnwindSafe(|| {
        match international(text, whatsapp, written_in) {
            Some(digits) => e164(&format!("+{digits}"), None),
            None => e164(text, written_in),
        }
    }));
    number.ok().flatten().or_else(|| kept(text, region))
}

/// How many digits the country code has that a number in E.164 begins with, its `+` taken off.
pub(super) fn country_code_length(digits: &str) -> Option<usize> {
    plan::country_code(digits.as_bytes()).map(|(_, length)| length)
}

/// The digits after the `+` that a sender left out, where they are international for certain.
///
/// `WhatsApp` never writes the `+`, and where nobody says from which country a call is dialled, a
/// leading `00` is the `+` of most of them (ITU-T E.164 recommends it).
fn international(text: &str, whatsapp: bool, region: Option<Region>) -> Option<&str> {
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
    if plan::is_settled(&canonical) {
        return Some(Number::plain(canonical, true));
    }
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
        without_zero: without_zero(&number, &canonical),
        canonical,
        possible: length == Ok(NumberLengthType::IsPossible),
    })
}

/// The number without its leading zeros, where it is a number only so.
///
/// Czech numbers have no trunk prefix, but callers from next door dial one: 0601 123 456.
fn without_zero(number: &PhoneNumber, canonical: &str) -> Option<String> {
    if !number.italian_leading_zero() || PHONE_NUMBER_UTIL.is_valid_number(number) {
        return None;
    }
    let (_, code) = plan::country_code(canonical.strip_prefix('+')?.as_bytes())?;
    let (code, national) = canonical.split_at_checked(1 + code)?;
    let shorter = format!("{code}{}", national.trim_start_matches('0'));
    let read_again = parsed(&shorter, None)?;
    let settled = PHONE_NUMBER_UTIL.format(&read_again, PhoneNumberFormat::E164) == shorter;
    (settled && PHONE_NUMBER_UTIL.is_valid_number(&read_again)).then_some(shorter)
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
    Some(Number::plain(canonical, false))
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
mod tests;
