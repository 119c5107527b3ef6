//! Makes the table of `src/domain/identity/phone/plans.txt` from the metadata of the library.
//!
//!     cargo run --example phone_plans ~/.cargo/registry/src/*/rlibphonenumber-*/src/generated/metadata/metadata.bin
//!
//! Needed when `rlibphonenumber` is raised; a test says so.

use std::{collections::BTreeMap, error::Error, fmt::Write, path::PathBuf};

use prost::Message;
use regex_syntax::hir::literal::Extractor;
use rlibphonenumber::{PhoneMetadata, PhoneMetadataCollection, PhoneNumberDesc};

/// What every match of a pattern begins with, two digits or fewer, and whether that is all of it;
/// nothing if it cannot be told.
fn beginnings(pattern: &str) -> Option<Vec<(String, bool)>> {
    if pattern.is_empty() {
        return Some(Vec::new());
    }
    let hir = regex_syntax::parse(pattern).expect("a pattern of the metadata");
    let mut extractor = Extractor::new();
    extractor
        .limit_class(10)
        .limit_total(5_000)
        .limit_repeat(3)
        .limit_literal_len(2);
    let found = extractor.extract(&hir);
    let told = found.literals()?.iter().map(|literal| {
        let text = String::from_utf8(literal.as_bytes().to_vec()).expect("digits");
        (text, literal.is_exact())
    });
    Some(told.collect())
}

/// The two first digits at which a pattern can take something away, as a set of numbers.
fn touched(pattern: &str) -> u128 {
    let Some(found) = beginnings(pattern) else {
        return ALL;
    };
    found.iter().fold(0, |bits, (text, exact)| {
        bits | match (text.len(), text.parse::<u8>(), exact) {
            // What matches nothing takes nothing away.
            (0, _, true) => 0,
            (1, Ok(digit), _) => 0x3ff << (10 * digit),
            (_, Ok(number), _) => 1 << number,
            _ => ALL,
        }
    })
}

fn lengths(of: &[i32], but: &[i32]) -> String {
    let kept = of
        .iter()
        .filter(|n| (2..=15).contains(*n) && !but.contains(n));
    kept.map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The set in words: a digit where it has all that begins with it, else two.
fn digits(mask: u128) -> String {
    let mut words = Vec::new();
    for digit in 0..10 {
        let ten = (mask >> (10 * digit)) & 0x3ff;
        if ten == 0x3ff {
            words.push(digit.to_string());
        } else {
            let some = (0..10).filter(|second| ten & (1 << second) != 0);
            words.extend(some.map(|second| format!("{digit}{second}")));
        }
    }
    if words.is_empty() {
        words.push("-".to_owned());
    }
    words.join(",")
}

/// Every two digits there are.
const ALL: u128 = (1 << 100) - 1;
/// Numbers of a country that begin with 0 are always read: the 0 may be one too many.
const ZERO: u128 = 0x3ff;
/// What stands for the region of numbers that belong to none.
const NO_REGION: &str = "001";

#[expect(
    deprecated,
    reason = "only the library's own copy of the metadata has this field empty"
)]
fn general(metadata: &PhoneMetadata) -> PhoneNumberDesc {
    metadata.general_desc.clone().unwrap_or_default()
}

fn plan(metadata: &PhoneMetadata, moved: u128, zero: &str) -> String {
    let general = general(metadata);
    let moved = moved | ZERO;
    let possible = lengths(
        &general.possible_length,
        &general.possible_length_local_only,
    );
    format!(
        "{} {} {possible}{zero}",
        metadata.country_code(),
        digits(!moved & ALL)
    )
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = PathBuf::from(std::env::args().nth(1).ok_or("name the file of metadata")?);
    let version = path.components().find_map(|part| {
        part.as_os_str()
            .to_str()?
            .strip_prefix("rlibphonenumber-")
            .map(str::to_owned)
    });
    let all = PhoneMetadataCollection::decode(std::fs::read(&path)?.as_slice())?.metadata;
    let mut text = format!(
        "# Made from the metadata of rlibphonenumber {}, by examples/phone_plans.rs.\n\
         # A region or +, the country code, first digits (one or two) that no rule touches, possible\n\
         # lengths, and 0 where a leading 0 is a trunk prefix and nothing else.\n",
        version.unwrap_or_default()
    );
    let mut codes: BTreeMap<i32, &PhoneMetadata> = BTreeMap::new();
    for one in &all {
        let first = !codes.contains_key(&one.country_code());
        if first || one.main_country_for_code() {
            codes.insert(one.country_code(), one);
        }
    }
    for one in codes.values() {
        writeln!(
            text,
            "+ {}",
            plan(one, touched(one.national_prefix_for_parsing()), "")
        )?;
    }
    let mut regions: Vec<_> = all.iter().filter(|one| one.id != NO_REGION).collect();
    regions.sort_by(|a, b| a.id.cmp(&b.id));
    for one in regions {
        let (prefix, abroad) = (
            one.national_prefix_for_parsing(),
            one.international_prefix(),
        );
        // No number of the country begins with 0, no way out of it but by 00, and of its prefix
        // rules one alone takes a 0, and nothing with it.
        let with_0 = |pattern, but: &str| {
            beginnings(pattern).is_some_and(|all| {
                let zeros = all
                    .iter()
                    .filter(|(text, _)| !text.starts_with(|c| c > '0'));
                zeros.clone().all(|(text, _)| text == but)
                    && (but == "00" || zeros.clone().any(|(_, exact)| *exact))
            })
        };
        let numbers = touched(general(one).national_number_pattern());
        let trunk = with_0(prefix, "0") && with_0(abroad, "00") && numbers & ZERO == 0;
        let moved = touched(prefix) | touched(abroad);
        writeln!(
            text,
            "{} {}",
            one.id,
            plan(one, moved, if trunk { " 0" } else { "" })
        )?;
    }
    print!("{text}");
    Ok(())
}
