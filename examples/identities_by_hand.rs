//! Puts larger collections of real and of nasty identities through the canonicaliser, and tells
//! what came of it.
//!
//!     cargo run --example identities_by_hand phones phones.csv
//!     cargo run --example identities_by_hand domains disposable-email-domains.txt
//!     cargo run --example identities_by_hand strings strings.json
//!     cargo run --example identities_by_hand mail addresses.txt
//!     cargo run --example identities_by_hand idna IdnaTestV2.txt

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bancheck::domain::{
    ban::Enforcement,
    channel::Channels,
    clock::Timestamp,
    decide::{Query, Stage, decide},
    identity::{Given, Identity, IdentityKind, is_freemail, is_public_suffix, read, read_domain},
    ids::{BanId, TenantId},
    keys::{MasterKey, TenantKey},
    policy::FailureMode,
    record::{BanRecord, TenantRecord},
    revision::Revision,
    view::TenantView,
};
use bancheck::feed::{Machine, ThisMachine};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn main() -> Outcome {
    let mut words = std::env::args().skip(1);
    let (what, path) = (
        words.next().unwrap_or_default(),
        words.next().ok_or("name a file")?,
    );
    let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
    match what.as_str() {
        "phones" => phones(&text),
        "domains" => domains(&text),
        "strings" => {
            let strings: Vec<String> = serde_json::from_str(&text)?;
            strings_of_every_kind(&strings);
            Ok(())
        }
        "mail" => {
            mail(text.lines());
            Ok(())
        }
        "idna" => {
            let fields = text.lines().filter(|line| !line.starts_with('#'));
            let sources = fields.filter_map(|line| line.split(';').next());
            let addresses: Vec<_> = sources
                .map(|source| format!("user@{}", unescaped(source.trim())))
                .collect();
            mail(addresses.iter().map(String::as_str));
            Ok(())
        }
        _ => Err("phones, domains, strings, mail or idna".into()),
    }
}

fn key() -> Outcome<TenantKey> {
    Ok(MasterKey::new(&[9; 32]).tenant(&TenantId::parse("t").ok_or("no id")?))
}

fn given<'a>(kind: IdentityKind, value: &'a str, region_hint: &'a str) -> Given<'a> {
    Given {
        kind: Some(kind),
        value,
        issuer: "",
        region_hint,
    }
}

fn view(targets: &[Identity]) -> Outcome<TenantView> {
    let (tenant, key) = (
        TenantRecord {
            failure_mode: FailureMode::Open,
            default_region: String::new(),
            email_fold: true,
            deleted: false,
        },
        key()?,
    );
    let ban = |(at, target): (u128, &Identity)| BanRecord {
        ban: BanId::from_bytes(at.to_be_bytes()),
        keys: key
            .keys(target, 64)
            .into_iter()
            .map(|(key, _)| key)
            .collect(),
        start: None,
        expire: None,
        generation: 0,
        channels: Channels::from_bits(u16::MAX),
        enforcement: Enforcement::Enforced,
        ended: false,
    };
    let mut view = TenantView::empty(Revision(1), tenant, key.clone());
    view.file(&(0..).zip(targets).map(ban).collect::<Vec<_>>());
    Ok(view)
}

fn is_met(view: &TenantView, who: &Identity) -> bool {
    let channel = who.kind.channels().iter().next();
    channel.is_some_and(|channel| {
        let mut query = Query::new(channel, Stage::Connect, None);
        query.ask_for(view, 0, who);
        decide(view, &query, NOW).deny.is_some()
    })
}

/// Ban by each written form, check by each of the others.
fn phones(text: &str) -> Outcome {
    let forms = ["E.164", "national", "international", "RFC 3966"];
    let (mut hits, mut all) = ([[0u32; 4]; 4], 0);
    let (mut rows, mut misses) = (Vec::new(), Vec::new());
    for line in csv::Reader::from_reader(text.as_bytes()).records() {
        let line = line?;
        let (region, kind) = (line[0].to_owned(), line[1].to_owned());
        let written: Vec<String> = (2..6).map(|at| line[at].to_owned()).collect();
        rows.push((region, kind, written));
    }
    let number = |text: &str, region: &str| {
        read(
            &given(IdentityKind::PhoneNumber, text, region),
            Channels::NONE,
            None,
        )
    };
    let mut strangers = 0;
    for (region, kind, written) in &rows {
        all += 1;
        for (banned_by, banned) in written.iter().enumerate() {
            let Ok(ban) = number(banned, region) else {
                misses.push(format!(
                    "{region} {kind}: {} cannot be read",
                    forms[banned_by]
                ));
                continue;
            };
            let own = |number: &String| {
                *number == written[0] || ban.aliases.iter().any(|one| one.canonical == *number)
            };
            let view = view(std::slice::from_ref(&ban))?;
            for (met_by, met) in written.iter().enumerate() {
                if number(met, region).is_ok_and(|who| is_met(&view, &who)) {
                    hits[banned_by][met_by] += 1;
                } else {
                    let what = format!("{region} {kind}: {banned} banned, {met} not met");
                    misses.push(what);
                }
            }
            if banned_by == 0 {
                let others = rows.iter().filter(|(_, _, other)| !own(&other[0]));
                strangers += others
                    .filter(|(of, _, other)| {
                        number(&other[0], of).is_ok_and(|who| is_met(&view, &who))
                    })
                    .count();
            }
        }
    }
    println!("{all} numbers; banned by (down), met by (across):");
    println!(
        "{:>14} {}",
        "",
        forms.map(|form| format!("{form:>14}")).join("")
    );
    for (form, row) in forms.iter().zip(hits) {
        println!(
            "{form:>14} {}",
            row.map(|count| format!("{count:>14}")).join("")
        );
    }
    println!("{} misses, {strangers} other numbers met", misses.len());
    for miss in misses {
        println!("  {miss}");
    }
    Ok(())
}

/// Every domain banned; its own mail, that of a domain below it, and that of a look-alike.
fn domains(text: &str) -> Outcome {
    let (mut targets, mut refused) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let read = read_domain(&given(IdentityKind::EmailAddress, line, ""), Channels::NONE);
        match read {
            Ok(domain) => targets.push(domain),
            Err(unreadable) => refused.push(format!("{line}: {}", unreadable.caution.code())),
        }
    }
    let insist: Vec<_> = targets
        .iter()
        .filter(|one| is_public_suffix(&one.canonical) || is_freemail(&one.canonical))
        .map(|one| one.canonical.as_str())
        .collect();
    println!(
        "{} domains banned, {} unreadable",
        targets.len(),
        refused.len()
    );
    println!(
        "{} of them only by who insists: {}",
        insist.len(),
        insist.join(" ")
    );
    let view = view(&targets)?;
    let known: std::collections::BTreeSet<_> = targets.iter().map(|one| &one.canonical).collect();
    let mut counts = BTreeMap::from([("address", 0), ("below", 0), ("look-alike", 0)]);
    let mut alike_but_banned = Vec::new();
    let mut addresses = Vec::new();
    for target in &targets {
        for (what, address) in [
            ("address", format!("someone@{}", target.canonical)),
            ("below", format!("someone@mail.{}", target.canonical)),
            ("look-alike", format!("someone@not{}", target.canonical)),
        ] {
            let who = read(
                &given(IdentityKind::EmailAddress, &address, ""),
                Channels::NONE,
                None,
            );
            let Ok(who) = who else {
                println!("  {address} cannot be read");
                continue;
            };
            if is_met(&view, &who) {
                *counts.entry(what).or_default() += 1;
                if what == "look-alike" {
                    let label = format!("not{}", target.canonical);
                    alike_but_banned.push((known.contains(&label), label));
                }
            }
            addresses.push(address);
        }
    }
    println!("met: {counts:?}");
    for (listed, label) in alike_but_banned {
        println!(
            "  {label}: {}",
            if listed {
                "itself in the list"
            } else {
                "WRONG"
            }
        );
    }
    let started = ThisMachine.boot();
    let mut met = 0u32;
    for address in &addresses {
        let who = read(
            &given(IdentityKind::EmailAddress, address, ""),
            Channels::NONE,
            None,
        );
        met += u32::from(who.is_ok_and(|who| is_met(&view, &who)));
    }
    let each = (ThisMachine.boot() - started) * 1_000 / i64::try_from(addresses.len())?;
    println!(
        "{} checks, {met} denied: {each} ns each, reading included",
        addresses.len()
    );
    Ok(())
}

/// Each string as a value of every kind: an identity, a warning, never a crash.
fn strings_of_every_kind(strings: &[String]) {
    let mut counts: BTreeMap<&str, [u32; 3]> = BTreeMap::new();
    for kind in IdentityKind::ALL {
        let count = counts.entry(kind.name()).or_default();
        for text in strings {
            let done = catch_unwind(AssertUnwindSafe(|| {
                read(&given(kind, text, "CZ"), Channels::NONE, Some("CZ"))
            }));
            count[match done {
                Ok(Ok(_)) => 0,
                Ok(Err(_)) => 1,
                Err(_) => 2,
            }] += 1;
        }
    }
    println!("{} strings: read, warned of, crashed", strings.len());
    for (kind, [fine, warned, crashed]) in counts {
        println!("{kind:>18} {fine:>6} {warned:>6} {crashed:>6}");
    }
}

fn mail<'a>(addresses: impl Iterator<Item = &'a str>) {
    let (mut accepted, mut refused, mut crashed) = (0, 0, 0);
    for address in addresses {
        let kind = IdentityKind::EmailAddress;
        let done = catch_unwind(AssertUnwindSafe(|| {
            read(&given(kind, address, ""), Channels::NONE, None)
        }));
        match done {
            Ok(Ok(_)) => accepted += 1,
            Ok(Err(_)) => {
                refused += 1;
                if std::env::args().nth(3).is_some() {
                    println!("  refused: {address:?}");
                }
            }
            Err(_) => crashed += 1,
        }
    }
    println!("accepted {accepted}, refused {refused}, crashed {crashed}");
}

/// `\uXXXX` and `\x{XXXX}` as the characters they stand for.
fn unescaped(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let code = &rest[at + 1..];
        let (hex, after) = if let Some(code) = code.strip_prefix("x{") {
            code.split_once('}').unwrap_or((code, ""))
        } else if let Some(code) = code.strip_prefix('u') {
            code.split_at_checked(4).unwrap_or((code, ""))
        } else {
            ("", code)
        };
        plain.extend(u32::from_str_radix(hex, 16).ok().and_then(char::from_u32));
        rest = after;
    }
    plain + rest
}
