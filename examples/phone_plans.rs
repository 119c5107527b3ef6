//! Makes the table of `src/domain/identity/phone/plans.txt` from the metadata of the library.
//!
//!     cargo run --example phone_plans ~/.cargo/registry/src/*/rlibphonenumber-*/src/generated/metadata/metadata.bin
//!
//! Needed when `rlibphonenumber` is raised; a test says so.

use std::{collections::BTreeMap, error::Error, fmt::Write, path::PathBuf};

use prost::Message;
use regex_syntax::hir::literal::Extractor;
use rlibphonenumber::{PhoneMetadata, PhoneMetadataCollection, PhoneNumberDesc};

/// What every match of a pattern begins with, two digits or fewer; nothing if that cannot be told.
fn beginnings(pattern: &str) -> Option<Vec<String>> {
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
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("digits");
    Some(
        found
            .literals()?
            .iter()
            .map(|literal| text(literal.as_bytes()))
            .collect(),
    )
}

/// The first digits at which a pattern can take something away.
fn touched(pattern: &str) -> u16 {
    let Some(found) = beginnings(pattern) else {
        return 0x3ff;
    };
    found.iter().fold(0, |bits, one| match one.bytes().next() {
        Some(digit) => bits | 1 << (digit - b'0'),
        // An empty match takes nothing away, but the extractor may have given up there.
        None => 0x3ff,
    })
}

fn lengths(of: &[i32], but: &[i32]) -> String {
    let kept = of
        .iter()
        .filter(|n| (2..=15).contains(*n) && !but.contains(n));
    kept.map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn digits(mask: u16) -> String {
    (0..10)
        .filter(|n| mask & (1 << n) != 0)
        .map(|n| n.to_string())
        .collect()
}

/// Numbers of a country that begin with 0 are always read: the 0 may be one too many.
const ZERO: u16 = 1;
/// What stands for the region of numbers that belong to none.
const NO_REGION: &str = "001";

#[expect(
    deprecated,
    reason = "only the library's own copy of the metadata has this field empty"
)]
fn general(metadata: &PhoneMetadata) -> PhoneNumberDesc {
    metadata.general_desc.clone().unwrap_or_default()
}

fn plan(metadata: &PhoneMetadata, moved: u16, zero: &str) -> String {
    let general = general(metadata);
    let moved = moved | ZERO;
    let possible = lengths(
        &general.possible_length,
        &general.possible_length_local_only,
    );
    format!(
        "{} {}- {possible}{zero}",
        metadata.country_code(),
        digits(!moved & 0x3ff)
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
         # A region or +, the country code, first digits that no rule touches, possible lengths, and\n\
         # 0 where a leading 0 is a trunk prefix and nothing else.\n",
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
        // No number of the country begins with 0, and no way out of it but by 00.
        let out = beginnings(abroad)
            .is_some_and(|all| all.iter().all(|way| !way.starts_with('0') || way == "00"));
        let general = general(one);
        let numbers = touched(general.national_number_pattern());
        let trunk = matches!(prefix, "0" | "^(?:0)$") && out && numbers & 1 == 0;
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
