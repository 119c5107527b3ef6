//! One subscriber in two numbers: where a country changed how its mobiles are written.
//!
//! Mexico dropped the 1 behind its code in 2019, Brazil put a 9 before its mobiles from 2012 on,
//! and Argentina writes a 9 that is only dialled from abroad. `WhatsApp` keeps whichever form the
//! account was made with, and the same customer calls with the other one. Both are looked up,
//! neither is rewritten.

/// The same subscriber's other number in E.164, if there is one.
///
/// It goes both ways: the other spelling of the other spelling is the first.
pub(in crate::domain::identity) fn spellings(canonical: &str) -> Option<String> {
    let digits = canonical.strip_prefix('+')?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (code, national) = digits.split_at_checked(2)?;
    let at = |place: usize| national.as_bytes().get(place).copied().unwrap_or_default();
    match (code, national.len()) {
        ("52", 10) if matches!(at(0), b'2'..=b'9') && !has_no_area(national) => {
            Some(format!("+521{national}"))
        }
        ("52", 11) if at(0) == b'1' && matches!(at(1), b'2'..=b'9') => {
            let short = &national[1..];
            (!has_no_area(short)).then(|| format!("+52{short}"))
        }
        // Areas are 11, 2xx and 3xx; what begins otherwise is no subscriber's line.
        ("54", 10) if matches!(at(0), b'1'..=b'3') => Some(format!("+549{national}")),
        ("54", 11) if at(0) == b'9' && matches!(at(1), b'1'..=b'3') => {
            Some(format!("+54{}", &national[1..]))
        }
        // Two digits of area; a fixed line's own digits begin with 2 to 5 and never get a 9.
        ("55", 10) if at(0) != b'0' && matches!(at(2), b'6'..=b'9') => {
            let (area, own) = national.split_at(2);
            Some(format!("+55{area}9{own}"))
        }
        ("55", 11) if at(0) != b'0' && at(2) == b'9' && matches!(at(3), b'6'..=b'9') => {
            let (area, own) = national.split_at(2);
            Some(format!("+55{area}{}", &own[1..]))
        }
        _ => None,
    }
}

/// Mexican numbers that belong to a service and not to a place: they were never dialled with a 1.
fn has_no_area(national: &str) -> bool {
    national.starts_with("800") || national.starts_with("900")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::spellings;

    #[test]
    fn a_mobile_is_one_in_the_old_and_the_new_way_of_its_country() {
        for (one, other) in [
            ("+5215512345678", "+525512345678"),
            ("+553196883193", "+5531996883193"),
            ("+551176543210", "+5511976543210"),
            ("+5491123456789", "+541123456789"),
            ("+5493512345678", "+543512345678"),
        ] {
            assert_eq!(spellings(one).as_deref(), Some(other));
            assert_eq!(spellings(other).as_deref(), Some(one));
        }
    }

    #[test]
    fn a_number_that_is_written_in_one_way_has_no_other() {
        for number in [
            "+420601123456",
            "+15215512345",
            // A fixed line in Belo Horizonte must not get a 9.
            "+553132123456",
            "+528001234567",
            "+548001234567",
            "+52551234567",
            "+55319688319",
            "US.5215512345678",
            "5215512345678@MX",
            "+52",
            "",
        ] {
            assert_eq!(spellings(number), None, "{number}");
        }
    }

    proptest! {
        #[test]
        fn the_other_of_the_other_is_the_first(number in "\\+5[245][0-9]{8,12}") {
            if let Some(other) = spellings(&number) {
                prop_assert_eq!(spellings(&other), Some(number));
            }
        }
    }
}
