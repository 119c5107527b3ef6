//! Holds `docs/rules.md` and the tests that bear a rule's number together.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use super::{Outcome, nothing, rust_files};

const TABLE: &str = "docs/rules.md";
/// Where tests enter by the front door.
const FRONT_DOOR: &str = "tests/it";
/// How many rules there are, by letter.
const RULES: [(char, u32); 3] = [('M', 32), ('D', 41), ('P', 12)];
/// What begins the name of a capability that rules may wait for.
const CAPABILITY: &str = "- waiting for: ";
/// What begins the line of a rule that waits for one.
const WAITS: &str = "  - waits for ";

type Rule = (char, u32);

/// What the table says of one rule.
#[derive(Debug, Default)]
struct Entry {
    tests: BTreeSet<String>,
    /// The capabilities it waits for, each with what of the rule that is.
    waits: Vec<String>,
}

#[derive(Debug, Default)]
struct Table {
    capabilities: BTreeSet<String>,
    rules: BTreeMap<Rule, Entry>,
    /// Lines under a rule that say neither.
    unread: Vec<String>,
}

impl Table {
    fn read(all: &str) -> Self {
        let mut table = Self::default();
        let mut current = None;
        for line in all.lines() {
            if let Some(name) = line.strip_prefix(CAPABILITY) {
                table.capabilities.insert(name.to_owned());
            } else if let Some(rule) = line.strip_prefix("- **").and_then(rule_of) {
                table.rules.entry(rule).or_default();
                current = Some(rule);
            } else if line.starts_with("  - ") {
                let entry = current.and_then(|rule| table.rules.get_mut(&rule));
                match (entry, line.strip_prefix(WAITS), quoted(line)) {
                    (Some(entry), Some(what), _) => entry.waits.push(what.to_owned()),
                    (Some(entry), None, Some(test)) => _ = entry.tests.insert(test.to_owned()),
                    _ => table.unread.push(line.to_owned()),
                }
            } else {
                current = None;
            }
        }
        table
    }

    /// Whether something that a rule waits for is among the capabilities that are not there yet.
    fn waits_rightly(&self, what: &str) -> bool {
        let capability = what
            .split_once(": ")
            .map_or(what, |(capability, _)| capability);
        self.capabilities.contains(capability)
    }
}

/// The rule that `M3** …` begins with.
fn rule_of(text: &str) -> Option<Rule> {
    let (number, _) = text.split_once("**")?;
    let letter = number.chars().next()?;
    Some((letter, number.get(1..)?.parse().ok()?))
}

fn quoted(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("  - `")?;
    rest.strip_suffix('`')
}

fn rules() -> impl Iterator<Item = Rule> {
    RULES
        .into_iter()
        .flat_map(|(letter, last)| (1..=last).map(move |number| (letter, number)))
}

/// The rules whose numbers a test's name begins with: `m4_m5_…` is two, `m11_to_m17_…` seven.
fn rules_in(name: &str) -> BTreeSet<Rule> {
    let mut found = BTreeSet::new();
    let (mut last, mut range): (Option<Rule>, bool) = (None, false);
    for word in name.split('_') {
        let Some(rule) = numbered(word) else {
            if word == "to" && last.is_some() && !range {
                range = true;
                continue;
            }
            break;
        };
        if let (true, Some((letter, from))) = (range, last) {
            found.extend((from..=rule.1).map(|number| (letter, number)));
        }
        found.insert(rule);
        (last, range) = (Some(rule), false);
    }
    found
}

fn numbered(word: &str) -> Option<Rule> {
    let letter = word.chars().next()?.to_ascii_uppercase();
    let digits = word.get(1..)?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let known = RULES.iter().any(|(rules, _)| *rules == letter);
    (plain && known && word.starts_with(|c: char| c.is_ascii_lowercase()))
        .then(|| Some((letter, digits.parse().ok()?)))?
}

/// The tests of the front door that bear a rule's number.
fn tests() -> Result<BTreeMap<String, BTreeSet<Rule>>, Box<dyn std::error::Error>> {
    let mut found = BTreeMap::new();
    for file in rust_files(&[FRONT_DOOR])? {
        for line in file.text.lines() {
            let line = line.trim_start();
            let after = line.strip_prefix("async fn ").or(line.strip_prefix("fn "));
            let Some((name, _)) = after.and_then(|after| after.split_once('(')) else {
                continue;
            };
            let rules = rules_in(name);
            if !rules.is_empty() {
                found.insert(name.to_owned(), rules);
            }
        }
    }
    Ok(found)
}

#[test]
fn every_rule_has_a_test_at_the_front_door_or_waits_for_something_that_is_not_there_yet() -> Outcome
{
    let table = Table::read(&fs::read_to_string(TABLE)?);
    let mut found: Vec<String> = table.unread.clone();
    for rule in rules() {
        let (letter, number) = rule;
        match table.rules.get(&rule) {
            None => found.push(format!("{letter}{number} is not in {TABLE}")),
            Some(entry) if entry.tests.is_empty() && entry.waits.is_empty() => {
                found.push(format!("{letter}{number} has no test"));
            }
            Some(entry) => {
                let wrong = entry.waits.iter().filter(|what| !table.waits_rightly(what));
                found.extend(wrong.map(|what| {
                    format!("{letter}{number} waits for {what}, which is not on the list")
                }));
            }
        }
    }
    let known: BTreeSet<Rule> = rules().collect();
    let strangers = table.rules.keys().filter(|rule| !known.contains(rule));
    found.extend(strangers.map(|(letter, number)| format!("there is no rule {letter}{number}")));
    nothing(found)
}

#[test]
fn nothing_is_waited_for_in_vain() -> Outcome {
    let table = Table::read(&fs::read_to_string(TABLE)?);
    let waited = |name: &&String| {
        let mut all = table.rules.values().flat_map(|entry| &entry.waits);
        all.any(|what| what.split(": ").next() == Some(name))
    };
    let idle = table.capabilities.iter().filter(|name| !waited(name));
    nothing(idle.map(|name| format!("no rule waits for {name} any more: take it off the list")))
}

#[test]
fn the_table_of_rules_names_the_tests_there_are() -> Outcome {
    let table = Table::read(&fs::read_to_string(TABLE)?);
    let tests = tests()?;
    let mut found = Vec::new();
    for ((letter, number), entry) in &table.rules {
        for name in &entry.tests {
            let bears = tests
                .get(name)
                .map(|rules| rules.contains(&(*letter, *number)));
            match bears {
                None => found.push(format!(
                    "{TABLE} names {name}, which is not in {FRONT_DOOR}"
                )),
                Some(false) => found.push(format!("{name} does not bear {letter}{number}")),
                Some(true) => {}
            }
        }
    }
    for (name, rules) in &tests {
        for (letter, number) in rules {
            let entry = table.rules.get(&(*letter, *number));
            if !entry.is_some_and(|entry| entry.tests.contains(name)) {
                found.push(format!(
                    "{TABLE} lacks a line under {letter}{number}:   - `{name}`"
                ));
            }
        }
    }
    nothing(found)
}

#[test]
fn a_rules_number_is_read_from_the_beginning_of_a_name() {
    let all = |name: &str| rules_in(name).into_iter().collect::<Vec<_>>();
    assert_eq!(all("d14_a_banned_ip_may_connect"), [('D', 14)]);
    assert_eq!(all("m4_m5_two_ways"), [('M', 4), ('M', 5)]);
    assert_eq!(all("m11_to_m13_x"), [('M', 11), ('M', 12), ('M', 13)]);
    assert_eq!(all("d9_to_everybody"), [('D', 9)]);
    for none in [
        "a_d14",
        "d_1",
        "dx1_y",
        "v1_a_ban",
        "rule_6_of_two",
        "D14_x",
    ] {
        assert_eq!(all(none), [], "{none}");
    }
}
