//! `bancheck ban import`: many bans from a file.
//!
//! The file is read again and again, a row at a time: to see what it is, to know what was asked
//! before, to send it, to tell of rows that failed. Its rows go to the server in one stream, which it
//! writes a thousand at a time. One bad row spoils no other. A run that was cut short goes on where
//! it ended: by the request's id the server knows what it has done, so all rows are simply sent
//! again.

mod columns;
mod report;
mod row;
mod send;
mod source;
mod unfinished;

use std::{fmt, sync::Arc};

use anyhow::bail;
use clap::Args;
use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

use self::{
    columns::{Columns, Rename},
    report::Outcomes,
    row::{Content, Template, Understood},
    source::{Form, Source},
    unfinished::Unfinished,
};
use super::super::{Outcome, Session, expiry::ExpiryFlags, identity::IdentityFlags, output};
use crate::api::v1::{
    Channel, ImportBansResponse, MatchKind, OnDuplicate,
    import_bans_request::{self, Header},
};

/// Ban many customers, one to a row of a CSV or NDJSON file
///
/// Columns are found by the names in the header line (or the keys of each object): value (also
/// number, phone, identity), reason, `expire_time` (also expires; a time with its offset, a period
/// or "permanent"), `start_time`, `reason_code`, region, kind, issuer, channel (several parted by ;
/// , or |) and match. Where a row leaves one empty, the flag of that name holds. Other columns are
/// not read. What `ban export` writes is read back, one list at a time. The file may be of any size:
/// it is read a row at a time, and only rows that fail are kept; standard input is first copied to the
/// folder for temporary files.
///
/// Without an end in the row, and without --for, --until or --permanent, a ban lasts as long as its
/// list says; without a list, or where the list says nothing, for ever.
///
/// A row that bans the same customer as a row before it, or as a ban that stands, is a duplicate:
/// by default it is counted and no failure, so the same file may be run again at any time. Rows that
/// fail are written to a file of their own, with the cause, to be mended and run again. A run that
/// was broken off goes on where it ended when the same command is given again within a day. A wrong
/// import is undone by `ban deactivate --import-id`. Exits with 1 when a row failed.
#[derive(Args)]
pub(crate) struct Import {
    /// The file, or - for standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// What the file is [default: ndjson for .ndjson and .jsonl, else csv]
    #[arg(long, value_enum, ignore_case = true, value_name = "FORM")]
    format: Option<Form>,
    /// Read a column under the file's name for it, such as value=e164; repeated [default: the
    /// names above]
    #[arg(long, value_name = "OURS=THEIRS")]
    map: Vec<Rename>,
    /// Channels that the bans hold on, repeated or parted by commas [default: all that carry such
    /// identities; --kind or a column kind is needed then]
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        value_delimiter = ',',
        value_name = "CHANNEL"
    )]
    channel: Vec<Channel>,
    /// List to record the bans in [default: none, the bans are tenant-wide]
    #[arg(long, value_name = "ID")]
    list: Option<String>,
    /// Have the rows take the place of all that the list holds, in one moment: new in, old out
    #[arg(long, requires = "list")]
    replace: bool,
    /// What to do with a row whose ban stands already: leave the ban as it is, change it to what
    /// the row says, or count the row as failed
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        value_name = "WHAT",
        default_value = "skip"
    )]
    on_duplicate: OnDuplicate,
    /// Why, in at most 500 characters
    #[arg(long, value_name = "TEXT", default_value = "imported")]
    reason: String,
    #[command(flatten)]
    expiry: ExpiryFlags,
    /// How the identities are compared; cidr takes 192.0.2.0/24, prefix +4206, domain example.com
    /// [default: exact]
    #[arg(long = "match", value_enum, ignore_case = true, value_name = "HOW")]
    match_kind: Option<MatchKind>,
    #[command(flatten)]
    reading: IdentityFlags,
    /// Ban ranges that are refused as too broad; a protected identity stays protected
    #[arg(long)]
    override_warnings: bool,
    /// On whose behalf; another name than the credential's needs the right to act for others
    /// [default: the credential's]
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Your own id of this import, at most 64 bytes: sent again within a day, it goes on where it
    /// broke off [default: one kept in FILE.unfinished until the import is done]
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Have the server check every row and tell the counts, but ban nobody
    #[arg(long)]
    dry_run: bool,
    /// Where to write the rows that failed, in the form of FILE; a file already there is replaced
    /// [default: failed.csv or failed.ndjson]
    #[arg(long, value_name = "FILE")]
    failed: Option<String>,
}

impl Import {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let source = Source::open(&self.file, self.format)?;
        if !source.copied && are_one_file(&self.file, self.failed(source.form)) {
            bail!(
                "the rows that fail would be written over {}, which is to be imported: name another \
                 file with --failed",
                self.file
            );
        }
        let columns = Columns::find(&source.header, &self.map)?;
        let unread = columns.unread(&source.header);
        if !unread.is_empty() {
            output::note(&format!("columns not read: {}", unread.join(", ")));
        }
        let file = Arc::new(Understood {
            source,
            columns,
            template: self.template(),
        });
        let mut header = self.header(&session.connection.tenant);
        let (mut content, mut failures) = (Content::default(), Vec::new());
        for row in file.rows()? {
            match row? {
                Ok(asked) => content.add(&asked),
                Err(failure) => failures.push(failure),
            }
        }
        if self.replace && content.count == 0 {
            bail!(
                "no row of {} can be imported, and --replace would empty the list: see `bancheck list \
                 delete --help`",
                self.file
            );
        }
        let unfinished = match &self.request_id {
            Some(_) => None,
            None if self.dry_run || file.source.copied => None,
            None => Some(Unfinished::of(&self.file, &header, &content)?),
        };
        if let Some(unfinished) = &unfinished {
            header.request_id.clone_from(&unfinished.request_id);
            if unfinished.goes_on {
                output::note("going on with the import that was broken off");
            }
        }
        let progress = progress(content.count);
        let answer = send::all(session, header, &file, &content, &progress).await;
        progress.finish_and_clear();
        let answer = answer?;
        if let Some(unfinished) = unfinished {
            unfinished.done();
        }
        self.report(session, &file, failures, &answer)
    }

    fn report(
        &self,
        session: &Session<'_>,
        file: &Understood,
        mut failures: Vec<(usize, String)>,
        answer: &ImportBansResponse,
    ) -> anyhow::Result<Outcome> {
        let failed = failures.len() + usize::try_from(answer.failed_count).unwrap_or_default();
        failures.extend(answer.errors.iter().filter_map(send::failure));
        let outcomes = Outcomes::of(file, answer, failed, failures);
        let failed_file = self.failed(file.source.form);
        let written = outcomes.write_failed(failed_file);
        let failed_file = matches!(written, Ok(true)).then_some(failed_file);
        // What was done is told also where the failed rows have no place.
        outcomes.show(session.display, self.dry_run, failed_file)?;
        written?;
        Ok(if failed > 0 {
            Outcome::Failed
        } else {
            Outcome::Done
        })
    }

    /// The file that rows which failed are written to.
    fn failed(&self, form: Form) -> &str {
        self.failed.as_deref().unwrap_or(match form {
            Form::Csv => "failed.csv",
            Form::Ndjson => "failed.ndjson",
        })
    }

    fn header(&self, tenant: &str) -> Header {
        Header {
            tenant: tenant.to_owned(),
            actor: self.actor.clone().unwrap_or_default(),
            request_id: self.request_id.clone().unwrap_or_default(),
            validate_only: self.dry_run,
            list_id: self.list.clone().unwrap_or_default(),
            on_duplicate: self.on_duplicate.into(),
            replace: self.replace,
            override_warnings: self.override_warnings,
        }
    }

    fn template(&self) -> Template {
        Template {
            row: import_bans_request::Row {
                channels: self
                    .channel
                    .iter()
                    .map(|channel| (*channel).into())
                    .collect(),
                match_kind: self.match_kind.unwrap_or_default().into(),
                reason: self.reason.clone(),
                expiry: self.expiry.expiry().map(row::expiry_of),
                ..import_bans_request::Row::default()
            },
            target: self.reading.identity(""),
        }
    }
}

fn are_one_file(one: &str, other: &str) -> bool {
    let find = |path: &str| std::fs::canonicalize(path).ok();
    find(one).is_some_and(|found| find(other) == Some(found))
}

/// Whole rows a second, and how long it takes at that rate.
fn rate(state: &ProgressState, out: &mut dyn fmt::Write) {
    // What cannot be written is not shown.
    let _ = write!(
        out,
        "{:.0} rows/s, {:#} left",
        state.per_sec(),
        HumanDuration(state.eta())
    );
}

/// A bar on standard error; where that is no terminal, none is drawn.
fn progress(rows: u64) -> ProgressBar {
    let bar = ProgressBar::new(rows);
    let form = "{bar:30} {human_pos} of {human_len} rows sent, {rate} {msg}";
    match ProgressStyle::with_template(form) {
        Ok(style) => bar.with_style(style.with_key("rate", rate)),
        Err(_) => bar,
    }
}
