//! `bancheck erasures`: what was erased, to be kept beside the backups, and done again after one of
//! them came back.
//!
//! A line tells keyed hashes and no identity, so the file may lie where backups do.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, stdin},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use chrono::{DateTime, SecondsFormat};
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::writer::Writer;
use crate::{
    cli::output::{json_line, note, print},
    config::Flags,
    desk::{EraseAgain, Failure, Job as _},
    domain::{
        clock::Timestamp,
        erasure::{Erased, Erasure, Keep, NotedErasure},
        hex::{hex, unhex},
        ids::TenantId,
        keys::MasterKey,
        view::index::Key,
    },
    store::Store,
};

/// Tenants and erasures asked for at a time.
const PAGE: i64 = 1_000;

/// What to do about erasures.
#[derive(Debug, Subcommand)]
pub(crate) enum ErasuresCommand {
    /// Write what was erased to standard output, one JSON object to a line; keep it with the backups
    List(Flags),
    /// Erase again what a restored database has forgotten, pods running or not
    Replay {
        /// The lines that `list` wrote before the restore, or - for standard input
        file: PathBuf,
        #[command(flatten)]
        server: Flags,
    },
}

impl ErasuresCommand {
    pub(super) const fn server(&self) -> &Flags {
        match self {
            Self::List(server) | Self::Replay { server, .. } => server,
        }
    }
}

/// An erasure, as a line tells it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    tenant: String,
    erasure_id: String,
    time: String,
    actor: String,
    match_keys: Vec<String>,
    keep_enforcing_by_hash: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash_expire_time: Option<String>,
}

fn written(at: Timestamp) -> anyhow::Result<String> {
    let time = DateTime::from_timestamp_micros(at.micros()).context("an instant out of range")?;
    Ok(time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

fn instant(text: &str) -> anyhow::Result<Timestamp> {
    let time = DateTime::parse_from_rfc3339(text).context("a time is written as in RFC 3339")?;
    Ok(Timestamp::from_micros(time.timestamp_micros()))
}

impl Line {
    fn of(noted: &NotedErasure) -> anyhow::Result<Self> {
        let keys = noted.erasure.keys.iter();
        let until = noted.erasure.keep.and_then(|keep| keep.until);
        Ok(Self {
            tenant: noted.tenant.to_string(),
            erasure_id: Uuid::from_bytes(noted.id).to_string(),
            time: written(noted.at)?,
            actor: noted.actor.clone(),
            match_keys: keys.map(|key| hex(&key.bits().to_be_bytes())).collect(),
            keep_enforcing_by_hash: noted.erasure.keep.is_some(),
            hash_expire_time: until.map(written).transpose()?,
        })
    }

    fn read(text: &str) -> anyhow::Result<NotedErasure> {
        let Self {
            tenant,
            erasure_id,
            time,
            actor,
            match_keys,
            keep_enforcing_by_hash,
            hash_expire_time,
        } = serde_json::from_str(text)?;
        let key = |text: &String| {
            let bits: [u8; 16] = unhex(text)?.try_into().ok()?;
            Some(Key::from_bits(u128::from_be_bytes(bits)))
        };
        let mut keys: Vec<_> = { match_keys.iter().map(key).collect::<Option<_>>() }
            .context("match_keys are of 32 hexadecimal digits each")?;
        keys.sort_unstable();
        let until = hash_expire_time.as_deref().map(instant).transpose()?;
        Ok(NotedErasure {
            tenant: TenantId::parse(&tenant).context("tenant is no tenant's id")?,
            id: Uuid::parse_str(&erasure_id)
                .context("erasure_id is no UUID")?
                .into_bytes(),
            at: instant(&time)?,
            actor,
            erasure: Erasure {
                keys,
                keep: keep_enforcing_by_hash.then_some(Keep { until }),
            },
        })
    }
}

pub(super) async fn list(store: &dyn Store) -> anyhow::Result<()> {
    let mut after = String::new();
    loop {
        let tenants = store.tenants(&after, PAGE).await?;
        let Some((last, _)) = tenants.last() else {
            return Ok(());
        };
        last.as_str().clone_into(&mut after);
        for (tenant, _) in &tenants {
            let mut last = [0; 16];
            loop {
                let some = store.erasures(tenant, last, PAGE).await?;
                let Some(newest) = some.last() else { break };
                last = newest.id;
                for noted in &some {
                    json_line(&Line::of(noted)?)?;
                }
            }
        }
    }
}

pub(super) async fn replay(store: &dyn Store, keys: &MasterKey, file: &Path) -> anyhow::Result<()> {
    let lines: Box<dyn Read> = if file == Path::new("-") {
        Box::new(stdin())
    } else {
        let open = File::open(file).with_context(|| format!("cannot open {}", file.display()));
        Box::new(open?)
    };
    let writer = Writer::new(store, keys);
    let (mut done, mut bans, mut kept, mut nowhere) = (0_u64, 0, 0, 0_u64);
    for (number, line) in (1..).zip(BufReader::new(lines).lines()) {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let noted = Line::read(&line).with_context(|| format!("line {number}"))?;
        let again = once_more(&writer, noted).await;
        match again.with_context(|| format!("line {number}, after {done} were done"))? {
            Some(erased) => {
                done += 1;
                bans += erased.bans;
                kept += erased.kept;
            }
            None => nowhere += 1,
        }
    }
    // Whoever misses it hears by polling.
    let _ = store.ring().await;
    if nowhere > 0 {
        note(&format!("{nowhere} are of tenants that are not here"));
    }
    if !store.other_keys_in_use().await?.is_empty() {
        note(
            "some rows are filed under another master key than the current one, and so were some of \
             these erasures: run `bancheck migrate --rekey`, and then this once more",
        );
    }
    print(&format!(
        "{done} erasures done again: {bans} bans erased, {kept} kept by hash"
    ))
}

async fn once_more(writer: &Writer<'_>, noted: NotedErasure) -> anyhow::Result<Option<Erased>> {
    let begun = writer.begin(&noted.tenant, EraseAgain::RPC, &noted.actor);
    let Some((mut work, about)) = begun.await? else {
        return Ok(None);
    };
    let answer = match EraseAgain(noted).run(&mut *work, &about).await {
        Ok(answer) => answer,
        Err(Failure::Refused(refusal)) => bail!(refusal.message),
        Err(Failure::Store(error)) => return Err(anyhow!(error)),
    };
    work.commit(&answer).await?;
    Ok(answer.erased)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let noted = NotedErasure {
            tenant: TenantId::parse("acme").unwrap(),
            id: [7; 16],
            at: Timestamp::from_micros(1_700_000_000_123_456),
            actor: "dpo".to_owned(),
            erasure: Erasure {
                keys: vec![Key::from_bits(1), Key::from_bits(u128::MAX)],
                keep: Some(Keep {
                    until: Some(Timestamp::from_micros(1_800_000_000_000_000)),
                }),
            },
        };
        let line = serde_json::to_string(&Line::of(&noted).unwrap()).unwrap();
        assert_eq!(Line::read(&line).unwrap(), noted);
        assert!(line.contains("2023-11-14T22:13:20.123456Z"), "{line}");
        assert!(Line::read(&line.replace("ffff", "zzzz")).is_err());
    }
}
