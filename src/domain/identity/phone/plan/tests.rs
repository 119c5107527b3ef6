//! The table is the metadata's, and what it vouches for is what the library says.

use proptest::prelude::*;
use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumberFormat, Region};

use super::{PLANS, TABLE, place_of_region, read};

/// The version of the library that the table was made from.
#[test]
fn the_table_was_made_from_the_library_in_use() {
    let in_use = include_str!("../../../../../Cargo.lock")
        .split("[[package]]")
        .find_map(|one| {
            one.trim()
                .strip_prefix("name = \"rlibphonenumber\"\nversion = \"")
        })
        .and_then(|rest| rest.split('"').next())
        .expect("the library is locked");
    let made_from = TABLE.lines().next().expect("a first line");
    assert!(
        made_from.contains(&format!("rlibphonenumber {in_use},")),
        "make the table again, with examples/phone_plans.rs: {made_from}"
    );
}

/// The library's own answer, read until it stays, if somebody could have the number.
fn by_the_library(text: &str, region: Option<Region>) -> Option<String> {
    let util = &PHONE_NUMBER_UTIL;
    let (mut text, mut region) = (text.to_owned(), region);
    for _ in 0..20 {
        let number = util.parse(&text, region).ok()?;
        let next = util.format(&number, PhoneNumberFormat::E164).into_owned();
        if next == text {
            let length = util.is_possible_number_with_reason(&number);
            return (length == Ok(NumberLengthType::IsPossible)).then_some(next);
        }
        (text, region) = (next, None);
    }
    None
}

fn check(text: &str, region: Option<Region>) -> Result<bool, TestCaseError> {
    let name = region.map(|region| region.as_region_str().to_string());
    let Some(fast) = read(text, name.as_deref(), false) else {
        return Ok(false);
    };
    prop_assert_eq!(
        Some(fast),
        by_the_library(text, region),
        "{} in {:?}",
        text,
        name
    );
    Ok(true)
}

fn regions() -> Vec<Region> {
    PHONE_NUMBER_UTIL.get_supported_regions().collect()
}

fn codes() -> Vec<i32> {
    PHONE_NUMBER_UTIL.get_supported_calling_codes().collect()
}

/// How many numbers are tried; a million by hand, with the variable set.
fn tries() -> u32 {
    option_env!("BANCHECK_NUMBERS")
        .and_then(|n| n.parse().ok())
        .unwrap_or(20_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: tries(), ..ProptestConfig::default() })]

    #[test]
    fn a_number_in_e164_that_is_not_read_is_what_the_library_reads(
        code in prop::sample::select(codes()),
        rest in "[0-9]{3,13}",
        hint in prop::option::of(prop::sample::select(regions())),
    ) {
        check(&format!("+{code}{rest}"), hint)?;
    }

    #[test]
    fn any_digits_behind_a_plus_are_what_the_library_reads(text in "\\+[1-9][0-9]{6,14}") {
        check(&text, None)?;
    }

    #[test]
    fn a_national_number_that_is_not_read_is_what_the_library_reads(
        region in prop::sample::select(regions()),
        text in "(0|1|8|9|00|011|01|09|)[0-9]{4,11}",
    ) {
        check(&text, Some(region))?;
    }

    #[test]
    fn what_people_put_between_digits_changes_nothing(
        region in prop::sample::select(regions()),
        text in "\\+?\\(?([0-9][ .()-]{0,2}){4,13}[0-9]",
    ) {
        check(&text, Some(region))?;
    }

    #[test]
    fn a_real_number_with_its_own_code_in_front_is_what_the_library_reads(
        region in prop::sample::select(regions()),
        cut in 0usize..6,
        tail in "[0-9]{0,5}",
    ) {
        let util = &PHONE_NUMBER_UTIL;
        let Ok(example) = util.get_example_number(region) else { return Ok(()) };
        for format in [PhoneNumberFormat::E164, PhoneNumberFormat::National] {
            let text = util.format(&example, format).into_owned();
            let kept = text.len().saturating_sub(cut).max(3);
            let text = format!("{}{tail}", text.get(..kept).unwrap_or(&text));
            check(&text, Some(region))?;
            check(&text.replace('+', ""), Some(region))?;
        }
    }
}

/// Otherwise the path could be right by never being taken.
#[test]
fn most_real_numbers_need_no_reading() {
    let util = &PHONE_NUMBER_UTIL;
    let (mut all, mut e164, mut national) = (0, 0, 0);
    for region in regions() {
        let Ok(example) = util.get_example_number(region) else {
            continue;
        };
        let name = region.as_region_str().to_string();
        all += 1;
        let text = util.format(&example, PhoneNumberFormat::E164);
        e164 += u32::from(read(&text, None, false).is_some());
        let text = util.format(&example, PhoneNumberFormat::National);
        national += u32::from(read(&text, Some(&name), false).is_some());
    }
    assert!(e164 * 10 >= all * 9, "{e164} of {all} in E.164");
    assert!(national * 2 >= all, "{national} of {all} national");
}

#[test]
fn the_table_names_every_country_code_and_region() {
    let known = |plans: &[super::Plan]| plans.iter().filter(|plan| plan.code != 0).count();
    let mut all = codes();
    all.sort_unstable();
    all.dedup();
    assert_eq!(known(&PLANS.codes), all.len());
    let named = regions()
        .into_iter()
        .filter(|region| place_of_region(&region.as_region_str()).is_some());
    assert_eq!(known(&PLANS.regions), named.count());
}
