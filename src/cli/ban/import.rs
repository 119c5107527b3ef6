//! `bancheck ban import`: many bans from a file.
//!
//! Every row is a ban of its own, made by its own `CreateBan`: one bad row spoils no other, and a
//! run that was cut short is simply run again, for what stands already is counted as a duplicate.

mod columns;
mod report;
mod row;
mod send;
mod source;

use std::{cell::RefCell, collections::HashMap};

use clap::Args;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};

use self::{
    columns::{Columns, Rename},
    report::{Outcomes, Verdict},
    row::{Run, Template},
    send::Sender,
    source::{Form, Source},
};
use super::super::{Outcome, Session, expiry::ExpiryFlags, identity::IdentityFlags, output};
use crate::api::v1::{Channel, CreateBanRequest, MatchKind};

/// Ban many customers, one to a row of a CSV or NDJSON file
///
/// Columns are found by the names in the header line (or the keys of each object): value (also
/// number, phone, identity), reason, `expire_time` (also expires; a time with its offset, a period
/// or "permanent"), `reason_code`, region, kind, issuer, channel (several parted by ; , or |) and
/// match. Where a row leaves one empty, the flag of that name holds. Other columns are not read.
///
/// Without an end in the row, and without --for, --until or --permanent, a ban lasts as long as its
/// list says; without a list, or where the list says nothing, for ever.
///
/// A row that bans the same customer as a row before it, or as a ban that stands, is a duplicate:
/// it is counted, named, and no failure. So the same file may be run again at any time. Rows that
/// fail are written to a file of their own, with the cause, to be mended and run again. Exits with
/// 1 when a row failed.
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
    /// Have the server check every row, but ban nobody
    #[arg(long)]
    dry_run: bool,
    /// Where to write the rows that failed, as CSV; a file already there is replaced
    #[arg(long, value_name = "FILE", default_value = "failed.csv")]
    failed: String,
    /// Rows under way at once, 1 to 64
    #[arg(long, value_name = "NUMBER", default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=64))]
    concurrency: u8,
}

impl Import {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let source = Source::open(&self.file, self.format)?;
        let columns = Columns::find(&source.header, &self.map)?;
        let unread = columns.unread(&source.header);
        if !unread.is_empty() {
            output::note(&format!("columns not read: {}", unread.join(", ")));
        }
        let requests = self.requests(&source, &columns, &session.connection.tenant)?;
        let sender = Sender::new(session.connection.bans().await?);
        let verdicts = self.make(&sender, requests).await;
        let outcomes = Outcomes {
            source: &source,
            columns: &columns,
            verdicts: &verdicts,
        };
        let failed = outcomes.write_failed(&self.failed)?;
        for (code, count) in sender.warnings() {
            output::note(&format!("warning {code} on {count} bans"));
        }
        outcomes.show(
            session.display,
            self.dry_run,
            failed.then_some(self.failed.as_str()),
        )?;
        Ok(if failed {
            Outcome::Failed
        } else {
            Outcome::Done
        })
    }

    /// What to ask for each row, or why it cannot be asked.
    fn requests(
        &self,
        source: &Source,
        columns: &Columns,
        tenant: &str,
    ) -> anyhow::Result<Vec<Result<CreateBanRequest, String>>> {
        let template = Template {
            request: CreateBanRequest {
                tenant: tenant.to_owned(),
                actor: self.actor.clone().unwrap_or_default(),
                validate_only: self.dry_run,
                list_id: self.list.clone().unwrap_or_default(),
                channels: self
                    .channel
                    .iter()
                    .map(|channel| (*channel).into())
                    .collect(),
                match_kind: self.match_kind.unwrap_or_default().into(),
                reason: self.reason.clone(),
                expiry: self.expiry.expiry(),
                override_warnings: self.override_warnings,
                ..CreateBanRequest::default()
            },
            reading: &self.reading,
        };
        let mut run = Run::begin()?;
        let request = |row| {
            let mut request = template.request(row, columns)?;
            request.request_id = run.request_id(&request);
            Ok(request)
        };
        Ok(source.rows.iter().map(request).collect())
    }

    /// Makes the bans: first one of each customer, then what repeats one.
    ///
    /// In this order the first of several rows is the one that is made, not the one that happened
    /// to be quickest.
    async fn make(
        &self,
        sender: &Sender,
        requests: Vec<Result<CreateBanRequest, String>>,
    ) -> Vec<Verdict> {
        let progress = progress(requests.len());
        let mut verdicts = vec![Verdict::Failed(String::new()); requests.len()];
        let mut first_of = HashMap::new();
        let (mut firsts, mut repeats) = (Vec::new(), Vec::new());
        for (index, request) in requests.into_iter().enumerate() {
            match request {
                Err(cause) => {
                    verdicts[index] = Verdict::Failed(cause);
                    progress.inc(1);
                }
                Ok(request) => match *first_of.entry(row::subject(&request)).or_insert(index) {
                    first if first == index => firsts.push((index, request)),
                    first => repeats.push((index, first, request)),
                },
            }
        }
        let verdicts = RefCell::new(verdicts);
        let send = async |(index, request): (usize, CreateBanRequest)| {
            let verdict = sender.send(request).await;
            verdicts.borrow_mut()[index] = verdict;
            progress.inc(1);
        };
        let at_once = usize::from(self.concurrency);
        stream::iter(firsts)
            .for_each_concurrent(at_once, &send)
            .await;
        if self.dry_run {
            // The server has made nothing that a later row could repeat: it is for us to say.
            for (index, first, _) in repeats {
                let verdict = verdicts.borrow()[first].of_a_repeat();
                verdicts.borrow_mut()[index] = verdict;
            }
        } else {
            let repeats = repeats
                .into_iter()
                .map(|(index, _, request)| (index, request));
            stream::iter(repeats)
                .for_each_concurrent(at_once, &send)
                .await;
        }
        progress.finish_and_clear();
        verdicts.into_inner()
    }
}

/// A bar on standard error; where that is no terminal, none is drawn.
fn progress(rows: usize) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(rows).unwrap_or(u64::MAX));
    let form = "{bar:30} {pos} of {len} rows, {eta} left";
    match ProgressStyle::with_template(form) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
