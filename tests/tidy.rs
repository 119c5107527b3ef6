//! Keeps the house rules that no compiler knows: who may name whom, how long a file may be, which
//! clause numbers exist. Cargo starts a test in the root of the tree, so paths here are from there.

#[path = "tidy/rules.rs"]
mod rules;

use std::{
    collections::BTreeSet,
    error::Error,
    fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Command,
};

type Outcome = Result<(), Box<dyn Error>>;

const LONGEST_FILE: usize = 600;

/// The clauses there are, by letter: the store's, the checks', the bans'.
const CLAUSES: [(char, RangeInclusive<u32>); 3] = [('S', 0..=11), ('C', 1..=6), ('V', 1..=4)];

#[test]
fn no_rust_file_is_longer_than_six_hundred_lines() -> Outcome {
    let too_long = rust_files(&["src", "tests"])?
        .into_iter()
        .filter_map(|file| {
            let lines = file.text.lines().count();
            (lines > LONGEST_FILE).then(|| format!("{} has {lines} lines", file.path))
        });
    nothing(too_long)
}

#[test]
fn no_rust_file_is_named_after_nothing() -> Outcome {
    let nameless = ["mod.rs", "utils.rs", "common.rs", "helpers.rs", "models.rs"];
    nothing(
        rust_files(&["src", "tests"])?
            .into_iter()
            .filter_map(|file| {
                let name = file.path.rsplit('/').next()?;
                nameless.contains(&name).then_some(file.path)
            }),
    )
}

#[test]
fn the_domain_knows_no_wire_no_table_no_cache_and_no_runtime() -> Outcome {
    let mut found = Vec::new();
    for library in ["tonic", "prost", "sqlx", "moka", "tokio"] {
        found.extend(naming(library, |path| !on_floor(path, &["domain"]))?);
    }
    nothing(found)
}

#[test]
fn the_domain_is_told_the_time_and_never_asks_for_it() -> Outcome {
    let clocks = ["SystemTime", "Instant", "Utc::now", "Local::now"];
    let mut found = Vec::new();
    for file in rust_files(&["src"])? {
        if !on_floor(&file.path, &["domain"]) {
            continue;
        }
        for (line, code) in (1..).zip(code_of(&file.text).lines()) {
            if let Some(clock) = clocks.iter().find(|clock| holds_words(code, clock)) {
                found.push(format!("{}:{line} asks {clock}", file.path));
            }
        }
    }
    nothing(found)
}

#[test]
fn only_the_store_names_sqlx() -> Outcome {
    nothing(naming("sqlx", |path| on_floor(path, &["store"]))?)
}

#[test]
fn only_the_views_name_moka() -> Outcome {
    nothing(naming("moka", |path| {
        path == "src/views.rs" || path.starts_with("src/views/")
    })?)
}

#[test]
fn only_the_two_upper_floors_name_tonic_and_prost() -> Outcome {
    let upper = |path: &str| on_floor(path, &["api", "auth", "server", "cli", "main.rs", "lib.rs"]);
    let mut found = naming("tonic", upper)?;
    found.extend(naming("prost", upper)?);
    nothing(found)
}

#[test]
fn only_the_top_floor_names_anyhow() -> Outcome {
    nothing(naming("anyhow", |path| {
        on_floor(path, &["main.rs", "cli", "server", "config"])
    })?)
}

#[test]
fn no_file_names_a_clause_that_does_not_exist() -> Outcome {
    let orphans = rust_files(&["src", "tests"])?.into_iter().flat_map(|file| {
        clauses_in(&file.text)
            .filter(|(letter, number)| !clause_exists(*letter, *number))
            .map(|(letter, number)| format!("{} names {letter}-{number}", file.path))
            .collect::<Vec<_>>()
    });
    nothing(orphans)
}

#[test]
fn every_clause_is_named_where_the_code_is() -> Outcome {
    let named: BTreeSet<(char, u32)> = rust_files(&["src"])?
        .iter()
        .flat_map(|file| clauses_in(&file.text).collect::<Vec<_>>())
        .collect();
    let all = CLAUSES
        .into_iter()
        .flat_map(|(letter, numbers)| numbers.map(move |number| (letter, number)));
    nothing(
        all.filter(|clause| !named.contains(clause))
            .map(|(letter, number)| format!("{letter}-{number} is named nowhere under src/")),
    )
}

#[test]
fn no_file_holds_a_path_of_somebodys_machine() -> Outcome {
    // In pieces, so that this file does not hold one.
    let homes = ["work", "home", "Users"].map(|folder| format!("/{folder}/"));
    let mut found = Vec::new();
    for path in tracked_files()? {
        // What is gone or is no text holds no path to mend.
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        for (line, words) in (1..).zip(text.lines()) {
            if homes.iter().any(|home| starts_a_path(words, home)) {
                found.push(format!("{path}:{line}"));
            }
        }
    }
    nothing(found)
}

#[test]
fn comments_and_strings_are_not_taken_for_code() {
    let text = r##"use a; // tonic
/* tonic /* tonic */ tonic */ fn b<'a>(c: &'a str) { d("tonic \" tonic", r#"tonic " tonic"#, '"', '\'') } e"##;
    let code = code_of(text);
    assert!(!holds_words(&code, "tonic"), "{code}");
    assert!(
        code.starts_with("use a;") && code.ends_with("} e"),
        "{code}"
    );
    assert_eq!(code.lines().count(), text.lines().count());
}

#[test]
fn a_clause_number_stands_alone() {
    let found: Vec<_> = clauses_in("S-10, (C-3) CSV-1 UTF-8 S-x V-04b AES-256 V-1").collect();
    assert_eq!(found, [('S', 10), ('C', 3), ('V', 1)]);
}

struct Source {
    /// From the root of the tree, with slashes.
    path: String,
    text: String,
}

/// The Rust files of some folders of the tree, by path.
fn rust_files(folders: &[&str]) -> io::Result<Vec<Source>> {
    let mut paths = BTreeSet::new();
    for folder in folders {
        walk(Path::new(folder), &mut paths)?;
    }
    let mut files = Vec::new();
    for path in paths {
        if path.extension().is_some_and(|end| end == "rs") {
            files.push(Source {
                text: fs::read_to_string(&path)?,
                path: from_root(&path),
            });
        }
    }
    Ok(files)
}

fn walk(folder: &Path, paths: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), paths)?;
        } else {
            paths.insert(entry.path());
        }
    }
    Ok(())
}

fn from_root(path: &Path) -> String {
    path.strip_prefix(".")
        .unwrap_or(path)
        .to_string_lossy()
        .replace('\\', "/")
}

/// What git keeps or would be asked to keep; in an unpacked archive, everything but what is built.
fn tracked_files() -> io::Result<BTreeSet<String>> {
    let git = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z"])
        .args(["--cached", "--others", "--exclude-standard"])
        .output();
    if let Ok(output) = git
        && output.status.success()
    {
        let names = String::from_utf8_lossy(&output.stdout);
        return Ok(names.split_terminator('\0').map(str::to_owned).collect());
    }
    let mut paths = BTreeSet::new();
    for entry in fs::read_dir(".")? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            paths.insert(entry.path());
        } else if entry.file_name() != "target" && entry.file_name() != "bancheck-data" {
            walk(&entry.path(), &mut paths)?;
        }
    }
    Ok(paths.iter().map(|path| from_root(path)).collect())
}

/// Whether a path under `src/` begins with one of these names: `store` is `store.rs` and `store/`.
fn on_floor(path: &str, names: &[&str]) -> bool {
    path.strip_prefix("src/")
        .is_some_and(|path| names.iter().any(|name| path.starts_with(name)))
}

/// The lines under `src/` whose code names a library, or one of its family, where it may not.
fn naming(library: &str, may: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let family = format!("{library}_");
    let mut found = Vec::new();
    for file in rust_files(&["src"])? {
        if may(&file.path) {
            continue;
        }
        for (line, code) in (1..).zip(code_of(&file.text).lines()) {
            let mut words = code.split(|c| !is_word(c));
            if words.any(|word| word == library || word.starts_with(&family)) {
                found.push(format!("{}:{line} names {library}", file.path));
            }
        }
    }
    Ok(found)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether the words stand in the text, and not inside a longer word.
fn holds_words(text: &str, words: &str) -> bool {
    text.match_indices(words).any(|(at, _)| {
        !text[..at].ends_with(is_word) && !text[at + words.len()..].starts_with(is_word)
    })
}

/// Whether a path from the top of a file system begins with `home`, and does not merely hold it.
fn starts_a_path(text: &str, home: &str) -> bool {
    let inside = |c: char| is_word(c) || matches!(c, '.' | '-' | '~' | '}' | ')' | '*' | '/');
    text.match_indices(home)
        .any(|(at, _)| !text[..at].ends_with(inside))
}

fn clause_exists(letter: char, number: u32) -> bool {
    CLAUSES
        .iter()
        .any(|(known, numbers)| *known == letter && numbers.contains(&number))
}

/// Every `S-1`, `C-1` or `V-1` of a text, comments included: that is where most of them are.
fn clauses_in(text: &str) -> impl Iterator<Item = (char, u32)> {
    text.match_indices('-').filter_map(|(at, _)| {
        let letter = text[..at].chars().next_back()?;
        let before = &text[..at - letter.len_utf8()];
        let after = &text[at + 1..];
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let known = CLAUSES.iter().any(|(known, _)| *known == letter);
        let alone = !before.ends_with(is_word) && !after[digits..].starts_with(is_word);
        (known && alone).then(|| Some((letter, after[..digits].parse().ok()?)))?
    })
}

/// The code of a Rust file: comments, strings and characters are blank, lines stay where they are.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = aside(rest);
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.push(' ');
            code.extend(rest[..length].chars().filter(|c| *c == '\n'));
            rest = &rest[length..];
        }
    }
    code
}

/// How many bytes of comment, string or character the text opens with; 0 where it opens with code.
fn aside(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    if let Some(raw) = text.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let opening = 1 + hashes + 1;
            let closing = format!("\"{}", "#".repeat(hashes));
            return text[opening..]
                .find(&closing)
                .map_or(text.len(), |at| opening + at + closing.len());
        }
    }
    let mut chars = text.chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some('"'), ..) => quoted(text, '"'),
        // A lifetime has no closing quote.
        (Some('\''), Some('\\'), _) | (Some('\''), Some(_), Some('\'')) => quoted(text, '\''),
        _ => 0,
    }
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_u32;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

/// Fails with everything that was found, not with the first of it.
fn nothing<T: ToString>(found: impl IntoIterator<Item = T>) -> Outcome {
    let found: Vec<String> = found.into_iter().map(|found| found.to_string()).collect();
    if found.is_empty() {
        Ok(())
    } else {
        Err(format!("\n{}", found.join("\n")).into())
    }
}
