//! What the fuzz targets ask, on any toolchain: with the seeds, and with input made up at random.

#[path = "../fuzz/trials.rs"]
mod trials;

use std::{error::Error, fs, path::Path};

use proptest::{
    prelude::*,
    test_runner::{TestCaseError, TestRunner},
};

/// A trial by its name.
type Trial = (&'static str, fn(&[u8]));

const ALL: [Trial; 8] = [
    ("phone", trials::phone),
    ("email", trials::email),
    ("address", trials::address),
    ("sip", trials::sip),
    ("opaque", trials::opaque),
    ("ranges", trials::ranges),
    ("identity", trials::identity),
    ("tokens", trials::tokens),
];

/// The seeds of a trial.
fn seeds(name: &str) -> std::io::Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(name);
    fs::read_dir(folder)?
        .map(|file| fs::read(file?.path()))
        .collect()
}

/// The seeds, cut and put together anew, with bytes of any kind between.
fn input(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let seed = prop::sample::select(seeds);
    let noise = prop_oneof![
        "\\PC{0,6}".prop_map(String::into_bytes),
        "[+0-9a-z@./:;=%\\[\\] -]{0,8}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..6),
        (900_usize..1_100).prop_map(|length| vec![b'1'; length]),
    ];
    let cut = |(bytes, at): (Vec<u8>, prop::sample::Index)| {
        let at = at.index(bytes.len() + 1);
        (bytes[..at].to_vec(), bytes[at..].to_vec())
    };
    let halves = (seed, any::<prop::sample::Index>()).prop_map(cut);
    (halves.clone(), noise, halves)
        .prop_map(|((head, _), noise, (_, tail))| [head, noise, tail].concat())
}

fn holds(name: &str) -> Result<(), Box<dyn Error>> {
    let trial = ALL.iter().find(|(one, _)| *one == name);
    let (_, trial) = trial.ok_or("no trial of this name")?;
    let seeds = seeds(name)?;
    assert!(seeds.len() > 4, "{name} has seeds");
    for seed in &seeds {
        trial(seed);
    }
    let config = ProptestConfig {
        cases: 4_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    TestRunner::new(config).run(&input(seeds), |bytes| {
        trial(&bytes);
        Ok::<(), TestCaseError>(())
    })?;
    Ok(())
}

macro_rules! trials {
    ($($test:ident: $name:literal),+ $(,)?) => {
        $(#[test]
        fn $test() -> Result<(), Box<dyn Error>> {
            holds($name)
        })+

        /// Each is asked here and has a fuzz target.
        #[test]
        fn every_trial_is_asked_and_fuzzed() -> Result<(), Box<dyn Error>> {
            let asked = [$($name),+];
            let manifest = include_str!("../fuzz/Cargo.toml");
            for (name, _) in ALL {
                assert!(asked.contains(&name), "{name} is asked");
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is fuzzed");
                let target = format!("fuzz/fuzz_targets/{name}.rs");
                let target = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(target))?;
                assert!(target.contains(&format!("trials::{name}(data)")));
            }
            Ok(())
        }
    };
}

trials! {
    whatever_a_number_looks_like_it_is_read_one_way: "phone",
    whatever_a_mail_address_looks_like_it_is_read_one_way: "email",
    whatever_an_ip_address_looks_like_it_is_read_one_way: "address",
    whatever_a_sip_address_looks_like_it_is_read_one_way: "sip",
    whatever_a_vendors_id_looks_like_it_is_read_one_way: "opaque",
    a_range_holds_its_members_whatever_they_look_like: "ranges",
    no_identity_does_more_than_to_be_warned_of: "identity",
    no_token_is_taken_that_was_not_made_here: "tokens",
}
