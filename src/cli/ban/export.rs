//! `bancheck ban export`: bans to a file that `ban import` reads back.

use std::{
    fs::File,
    io::{self, BufWriter, ErrorKind, Write},
    path::Path,
};

use anyhow::Context;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use super::{
    super::{Outcome, Session, moment, output, vocabulary::Spoken},
    filter::Filter,
};
use crate::api::v1::{
    Ban, Channel, IdentityKind, MatchKind, NormalizedIdentity,
    ban::{Enforcement, Origin, State},
};

/// The columns, in their order; the first ones are those that an import reads.
const COLUMNS: [&str; 17] = [
    "value",
    "kind",
    "issuer",
    "targets",
    "match",
    "channel",
    "reason",
    "reason_code",
    "start_time",
    "expire_time",
    "enforcement",
    "list_id",
    "ban_id",
    "state",
    "origin",
    "created_by",
    "create_time",
];

/// The forms of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A header line, then rows
    Csv,
    /// One JSON object to a line
    Ndjson,
}

/// Write bans to a file that `ban import` reads back; without a filter, those in force
///
/// All of them are of one moment, whatever happens meanwhile, in the order in which they were made.
/// A ban on several identities names the first as its value and all of them under targets. Bans of
/// an erased person are left out; those that only watch are marked, and an import refuses them.
#[derive(Args)]
pub(crate) struct Export {
    /// The file, or - for standard output; a file already there is replaced
    #[arg(value_name = "FILE")]
    file: String,
    /// What to write [default: ndjson for .ndjson and .jsonl, else csv]
    #[arg(long, value_enum, ignore_case = true, value_name = "FORM")]
    format: Option<Form>,
    #[command(flatten)]
    filter: Filter,
}

impl Export {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let request = self.filter.export(&session.connection.tenant);
        let mut client = session.connection.streams().await?;
        let mut answers = client.export_bans(request).await?.into_inner();
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{human_pos} bans, {per_sec}") {
            bar.set_style(style);
        }
        let mut file = Sheet::open(&self.file, self.form())?;
        let (mut written, mut erased, mut read_at) = (0_u64, 0_u64, String::new());
        while let Some(answer) = answers.message().await? {
            read_at = answer.read_at.unwrap_or_default().token;
            for ban in &answer.bans {
                if ban.targets.iter().any(|target| value(target).is_empty()) {
                    erased += 1;
                } else if file.put(ban)? {
                    written += 1;
                } else {
                    // Whoever read it has read enough.
                    return Ok(Outcome::Done);
                }
            }
            bar.set_position(written);
        }
        file.end()?;
        bar.finish_and_clear();
        output::note(&format!("{written} bans, as of {read_at}"));
        if erased > 0 {
            output::note(&format!("{erased} bans of erased persons are left out"));
        }
        Ok(Outcome::Done)
    }

    fn form(&self) -> Form {
        let extension = Path::new(&self.file).extension().unwrap_or_default();
        let extension = extension.to_ascii_lowercase();
        match self.format {
            Some(form) => form,
            None if extension == "ndjson" || extension == "jsonl" => Form::Ndjson,
            None => Form::Csv,
        }
    }
}

/// Where the bans go.
enum Sheet {
    Csv(Box<csv::Writer<Box<dyn Write>>>),
    Ndjson(BufWriter<Box<dyn Write>>),
}

impl Sheet {
    fn open(path: &str, form: Form) -> anyhow::Result<Self> {
        let out: Box<dyn Write> = if path == "-" {
            Box::new(io::stdout())
        } else {
            Box::new(File::create(path).with_context(|| format!("cannot write {path}"))?)
        };
        Ok(match form {
            Form::Csv => {
                let mut csv = csv::Writer::from_writer(out);
                csv.write_record(COLUMNS)?;
                Self::Csv(Box::new(csv))
            }
            Form::Ndjson => Self::Ndjson(BufWriter::new(out)),
        })
    }

    /// Writes a ban; `false` = nobody reads any more.
    fn put(&mut self, ban: &Ban) -> anyhow::Result<bool> {
        let cells = cells(ban);
        let written = match self {
            Self::Csv(csv) => csv.write_record(&cells).map_err(io::Error::other),
            Self::Ndjson(out) => {
                let object: Map<String, Value> = COLUMNS
                    .iter()
                    .zip(cells)
                    .filter(|(_, cell)| !cell.is_empty())
                    .map(|(name, cell)| ((*name).to_owned(), cell.into()))
                    .collect();
                serde_json::to_writer(&mut *out, &object)
                    .map_err(io::Error::from)
                    .and_then(|()| out.write_all(b"\n"))
            }
        };
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            written => written.map(|()| true).context("cannot write the export"),
        }
    }

    fn end(self) -> anyhow::Result<()> {
        let ended = match self {
            Self::Csv(mut csv) => csv.flush(),
            Self::Ndjson(mut out) => out.flush(),
        };
        match ended {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(error).context("cannot write the export")
            }
            _ => Ok(()),
        }
    }
}

/// The form of a target that reads back as the same: its canonical one.
fn value(target: &NormalizedIdentity) -> &str {
    match (target.canonical.as_str(), &target.input) {
        ("", Some(input)) => &input.value,
        (canonical, _) => canonical,
    }
}

fn cells(ban: &Ban) -> [String; 17] {
    let part = |target: &NormalizedIdentity| {
        let input = target.input.clone().unwrap_or_default();
        (IdentityKind::told(input.kind), input.issuer)
    };
    let targets = if ban.targets.len() > 1 {
        let one = |target: &NormalizedIdentity| {
            let (kind, issuer) = part(target);
            json!({ "kind": kind, "value": value(target), "issuer": issuer })
        };
        Value::Array(ban.targets.iter().map(one).collect()).to_string()
    } else {
        String::new()
    };
    let first = ban.targets.first();
    let (kind, issuer) = first.map(part).unwrap_or_default();
    [
        first.map(value).unwrap_or_default().to_owned(),
        kind,
        issuer,
        targets,
        MatchKind::told(ban.match_kind),
        Channel::told_all(&ban.channels, ";"),
        ban.reason.clone(),
        ban.reason_code.clone(),
        moment::written(ban.start_time.as_ref()),
        moment::written_end(ban.expire_time.as_ref()),
        Enforcement::told(ban.enforcement),
        ban.list_id.clone(),
        ban.ban_id.clone(),
        State::told(ban.state),
        Origin::told(ban.origin),
        ban.created_by.clone(),
        moment::written(ban.create_time.as_ref()),
    ]
}
