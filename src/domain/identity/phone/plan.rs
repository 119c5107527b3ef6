//! Numbering plans: where reading a number changes nothing, so that it need not be read.
//!
//! The library takes a microsecond or two for what nearly every trunk sends: a plain number in
//! E.164, or one in the form of the tenant's own country. Both are mostly left as they are, but not
//! always: `+353 0 1…` is `+353 1…`. So there is a table, made from the library's own metadata, of
//! the first digits that no rule of a country touches. What the table cannot vouch for is read by
//! the library, always.
//!
//! ```text
//!   + country code, first digit untouched, possible length  ──►  itself
//!   first digit untouched, possible length in its region    ──►  + country code, itself
//!   0, first digit untouched, where 0 is all there is to strip ──►  + country code, itself without 0
//! ```

use std::sync::LazyLock;

/// The table; the test below makes it anew from the metadata and compares.
const TABLE: &str = include_str!("plans.txt");

/// The longest number that is read here: E.164 ends at 15 digits.
const MAX_DIGITS: usize = 15;

/// How numbers are written in one country, or behind one country code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Plan {
    /// The country code.
    code: u16,
    /// Two first digits that nothing is done to; bit n stands for the number n that they are.
    untouched: u128,
    /// Possible lengths without the country code; bit n stands for n digits.
    lengths: u32,
    /// Whether a leading 0 is a trunk prefix and nothing else.
    trunk_0: bool,
}

impl Plan {
    fn leaves(&self, national: &[u8]) -> bool {
        let [first, second, ..] = national else {
            return false;
        };
        self.untouched & (1 << (10 * (first - b'0') + second - b'0')) != 0
    }

    fn can_be(&self, length: usize) -> bool {
        self.lengths & (1 << length) != 0
    }
}

/// Both parts of the table, ready to be asked.
struct Plans {
    /// By country code; those that are none leave nothing untouched.
    codes: Vec<Plan>,
    /// By the two letters of a region, 26 × 26.
    regions: Vec<Plan>,
}

static PLANS: LazyLock<Plans> = LazyLock::new(|| {
    let mut plans = Plans {
        codes: vec![Plan::default(); 1_000],
        regions: vec![Plan::default(); 26 * 26],
    };
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let (Some(name), Some(plan)) = (words.next(), read_plan(words)) else {
            continue;
        };
        let place = match place_of_region(name) {
            Some(at) => plans.regions.get_mut(at),
            None => plans.codes.get_mut(usize::from(plan.code)),
        };
        if let Some(place) = place {
            *place = plan;
        }
    }
    plans
});

/// The rest of a line: country code, first digits, lengths, and `0` for a trunk prefix.
fn read_plan<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Plan> {
    let code = words.next()?.parse().ok()?;
    let untouched = words.next()?.split(',').filter_map(|digits| {
        let number: u8 = digits.parse().ok()?;
        // One digit stands for itself and whatever follows it.
        match digits.len() {
            1 => Some(0x3ff << (10 * number)),
            _ => Some(1u128 << number),
        }
    });
    let untouched = untouched.fold(0, |bits, some| bits | some);
    let lengths = words.next()?.split(',').filter_map(|n| n.parse().ok());
    let lengths = lengths.fold(0, |bits, length: u8| bits | 1 << length);
    Some(Plan {
        code,
        untouched,
        lengths,
        trunk_0: words.next() == Some("0"),
    })
}

fn place_of_region(name: &str) -> Option<usize> {
    let [a, b] = name.as_bytes() else { return None };
    let letter = |c: u8| c.is_ascii_uppercase().then(|| usize::from(c - b'A'));
    Some(letter(*a)? * 26 + letter(*b)?)
}

/// The digits of a number in plain writing: a `+` perhaps, digits, and what people put between.
struct Digits {
    plus: bool,
    room: [u8; MAX_DIGITS],
    len: usize,
}

impl Digits {
    fn of(text: &str) -> Option<Self> {
        let (plus, rest) = match text.strip_prefix('+') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (first, last) = (rest.as_bytes().first()?, rest.as_bytes().last()?);
        if !(first.is_ascii_digit() || *first == b'(') || !last.is_ascii_digit() {
            return None;
        }
        let (mut room, mut len) = ([0; MAX_DIGITS], 0);
        for byte in rest.bytes() {
            match byte {
                b'0'..=b'9' => {
                    *room.get_mut(len)? = byte;
                    len += 1;
                }
                b' ' | b'-' | b'.' | b'(' | b')' => {}
                _ => return None,
            }
        }
        Some(Self { plus, room, len })
    }

    fn digits(&self) -> &[u8] {
        &self.room[..self.len]
    }
}

/// The number in E.164, where it is certain that the library would say just that, and possible.
///
/// `region` is two capital letters; `bare_is_international` = the `+` is left out by custom.
pub(super) fn read(
    text: &str,
    region: Option<&str>,
    bare_is_international: bool,
) -> Option<String> {
    let found = Digits::of(text)?;
    let digits = found.digits();
    if found.plus || (bare_is_international && text.len() == digits.len()) {
        return stays(digits).then(|| written(&[digits]));
    }
    if bare_is_international {
        return None;
    }
    let plan = PLANS.regions.get(place_of_region(region?)?)?;
    let national = match digits {
        // Behind 00 comes another country's code.
        [b'0', b'0', ..] => return None,
        [b'0', rest @ ..] if plan.trunk_0 => rest,
        _ => digits,
    };
    let mut code = [0; 3];
    let code = code_digits(plan.code, &mut code);
    let sure = plan.leaves(national)
        && plan.can_be(national.len())
        && !digits.starts_with(code)
        && stays_behind(plan.code, national);
    sure.then(|| written(&[code, national]))
}

/// Whether a canonical number stays as it is when it is read again.
pub(super) fn is_settled(canonical: &str) -> bool {
    canonical.strip_prefix('+').is_some_and(|digits| {
        digits.bytes().all(|b| b.is_ascii_digit()) && stays(digits.as_bytes())
    })
}

/// The country code at the front of a number in E.164, and how many digits it has.
pub(super) fn country_code(digits: &[u8]) -> Option<(u16, usize)> {
    if digits.first() == Some(&b'0') {
        return None;
    }
    let mut code = 0;
    for (at, digit) in digits.iter().take(3).enumerate() {
        code = code * 10 + u16::from(digit - b'0');
        // No code begins with 0, and none is the beginning of another.
        if PLANS.codes.get(usize::from(code))?.code != 0 {
            return Some((code, at + 1));
        }
    }
    None
}

fn stays(digits: &[u8]) -> bool {
    country_code(digits).is_some_and(|(code, length)| stays_behind(code, &digits[length..]))
}

fn stays_behind(code: u16, national: &[u8]) -> bool {
    PLANS
        .codes
        .get(usize::from(code))
        .is_some_and(|plan| plan.leaves(national) && plan.can_be(national.len()))
}

fn code_digits(code: u16, room: &mut [u8; 3]) -> &[u8] {
    let (mut rest, mut from) = (code, room.len());
    while rest > 0 && from > 0 {
        from -= 1;
        room[from] = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    &room[from..]
}

fn written(parts: &[&[u8]]) -> String {
    let mut text = String::with_capacity(MAX_DIGITS + 4);
    text.push('+');
    for part in parts {
        text.extend(part.iter().map(|digit| char::from(*digit)));
    }
    text
}

#[cfg(test)]
mod tests;
