//! `bancheck check --batch`: many customers, asked about in as few calls as may be.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
};

use anyhow::{Context, bail};
use prost::Message as _;
use serde::Serialize;
use tonic_types::Status;

use super::{Check, Outcome, Session, list, moment, outcome};
use crate::{
    api::v1::{
        BatchCheckInteractionsRequest, CheckInteractionRequest, CheckInteractionResponse, Decision,
        DecisionBasis, MatchKind, Treatment,
        batch_check_interactions_response::result::Outcome as Said,
    },
    cli::{
        identity,
        output::{self, Display, Format, Paint, Sheet, clean},
        proto_json,
        vocabulary::Spoken,
    },
};

/// The most items of a call, and about the most bytes; the server takes 4 MiB.
const MOST_ITEMS: usize = 1_000;
const MOST_BYTES: usize = 3 << 20;

/// A customer who is asked about.
struct Item {
    line: usize,
    /// As it was typed.
    text: String,
    request: CheckInteractionRequest,
}

/// How many came out how.
#[derive(Default)]
struct Counts {
    allowed: usize,
    banned: usize,
    unknown: usize,
}

/// Asks about every line of a file.
pub(super) async fn run(
    mut check: Check,
    path: &str,
    session: &Session<'_>,
) -> anyhow::Result<Outcome> {
    let consistency = check.consistency();
    (check.at_least_as_fresh, check.fully_consistent) = (None, false);
    let reading = std::mem::take(&mut check.reading);
    let blank = check.request(&session.connection.tenant);
    let mut items = lines(path)?.map(|item| {
        let (line, text) = item.with_context(|| format!("cannot read {path}"))?;
        let identities: Vec<String> = text.split('\t').map(|one| one.trim().to_owned()).collect();
        let request = CheckInteractionRequest {
            identities: reading.identities(&identities),
            ..blank.clone()
        };
        Ok(Item {
            line,
            text,
            request,
        })
    });
    let mut client = session.connection.checks().await?;
    let mut paper = Paper::new(session.display);
    let mut counts = Counts::default();
    let mut next = None;
    loop {
        let batch = take(&mut items, &mut next)?;
        if batch.is_empty() {
            break;
        }
        let request = BatchCheckInteractionsRequest {
            requests: batch.iter().map(|item| item.request.clone()).collect(),
            consistency: consistency.clone(),
        };
        let answer = client.batch_check_interactions(request).await?.into_inner();
        if answer.results.len() != batch.len() {
            bail!("the server answered another number of questions than were asked");
        }
        let mut rows = Vec::with_capacity(batch.len());
        for (item, result) in batch.iter().zip(answer.results) {
            let said = result
                .outcome
                .context("the server left an item unanswered")?;
            if let Said::Response(answer) = &said {
                match outcome(answer)? {
                    Outcome::Banned => counts.banned += 1,
                    Outcome::Done | Outcome::Failed => counts.allowed += 1,
                }
            } else {
                counts.unknown += 1;
            }
            rows.push((item, said));
        }
        paper.put(&rows, session)?;
    }
    paper.finish()?;
    let Counts {
        allowed,
        banned,
        unknown,
    } = counts;
    output::note(&format!(
        "{} checked: {allowed} allowed, {banned} banned, {unknown} without an answer",
        allowed + banned + unknown
    ));
    Ok(match counts {
        Counts { unknown: 1.., .. } => Outcome::Failed,
        Counts { banned: 1.., .. } => Outcome::Banned,
        Counts { .. } => Outcome::Done,
    })
}

/// The lines of a file that say something, each with its number.
pub(in crate::cli) fn lines(
    path: &str,
) -> anyhow::Result<impl Iterator<Item = io::Result<(usize, String)>>> {
    Ok(items(open(path)?))
}

fn open(path: &str) -> anyhow::Result<Box<dyn BufRead>> {
    if path == "-" {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).with_context(|| format!("cannot open {path}"))?;
    Ok(Box::new(BufReader::new(file)))
}

fn items(input: impl BufRead) -> impl Iterator<Item = io::Result<(usize, String)>> {
    let lines = (1..).zip(input.lines());
    lines.filter_map(|(number, line)| match line {
        Ok(line) => {
            let text = line.trim_start_matches('\u{feff}').trim();
            let says = !text.is_empty() && !text.starts_with('#');
            says.then(|| Ok((number, text.to_owned())))
        }
        Err(error) => Some(Err(error)),
    })
}

/// As many as one call may carry; the one that did not fit any more is kept for the next.
fn take(
    items: &mut impl Iterator<Item = anyhow::Result<Item>>,
    kept: &mut Option<Item>,
) -> anyhow::Result<Vec<Item>> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while batch.len() < MOST_ITEMS {
        let Some(item) = kept.take().map(Ok).or_else(|| items.next()).transpose()? else {
            break;
        };
        let weighs = item.request.encoded_len() + 8;
        if bytes + weighs > MOST_BYTES && !batch.is_empty() {
            *kept = Some(item);
            break;
        }
        bytes += weighs;
        batch.push(item);
    }
    Ok(batch)
}

/// What is shown, call by call.
struct Paper<'a> {
    display: &'a Display,
    /// Whether nothing has been shown yet.
    blank: bool,
    /// An array is shown when it is whole.
    told: Vec<Told>,
}

/// One item for programs.
#[derive(Serialize)]
struct Told {
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<prost_reflect::DynamicMessage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Wrong>,
}

#[derive(Serialize)]
struct Wrong {
    code: i32,
    message: String,
}

impl<'a> Paper<'a> {
    fn new(display: &'a Display) -> Self {
        Self {
            display,
            blank: true,
            told: Vec::new(),
        }
    }

    fn put(&mut self, rows: &[(&Item, Said)], session: &Session<'_>) -> anyhow::Result<()> {
        let first = std::mem::replace(&mut self.blank, false);
        match self.display.format() {
            Format::Table => {
                let lines = rows
                    .iter()
                    .map(|(item, said)| self.line(item, said, session));
                output::print(&lines.collect::<String>())
            }
            Format::Csv => {
                let csv = sheet(rows).to_csv()?;
                let body = csv.split_once('\n').map_or("", |(_, body)| body);
                output::print(if first { &csv } else { body })
            }
            Format::Json => {
                for (item, said) in rows {
                    self.told.push(told(item, said)?);
                }
                Ok(())
            }
        }
    }

    fn finish(self) -> anyhow::Result<()> {
        match self.display.format() {
            Format::Json => output::json(&self.told),
            Format::Table | Format::Csv => Ok(()),
        }
    }

    /// One line for people: the word first, as wide as the longest.
    fn line(&self, item: &Item, said: &Said, session: &Session<'_>) -> String {
        let text = clean(&item.text);
        let answer = match said {
            Said::Error(error) => {
                let line = item.line;
                return format!("UNKNOWN  {text}  line {line}: {}\n", clean(&error.message));
            }
            Said::Response(answer) => answer,
        };
        if answer.decision() != Decision::Deny {
            return format!("{}  {text}\n", self.display.paint(Paint::Go, "ALLOWED"));
        }
        let word = self.display.paint(Paint::Stop, "BANNED");
        let why = answer.r#match.as_ref().map_or_else(
            || DecisionBasis::told(answer.basis),
            |found| {
                let until = moment::end(found.expire_time.as_ref(), session.now());
                format!("{}, {}, {until}", found.ban_id, list(found))
            },
        );
        format!("{word}   {text}  {why}\n")
    }
}

fn told(item: &Item, said: &Said) -> anyhow::Result<Told> {
    let (response, error) = match said {
        Said::Response(answer) => (Some(proto_json::canonical(answer)?), None),
        Said::Error(Status { code, message, .. }) => {
            let (code, message) = (*code, message.clone());
            (None, Some(Wrong { code, message }))
        }
    };
    Ok(Told {
        line: item.line,
        response,
        error,
    })
}

/// The answers for programs, a row each.
fn sheet(rows: &[(&Item, Said)]) -> Sheet {
    let header = [
        "line",
        "identities",
        "decision",
        "ban_id",
        "list_id",
        "expire_time",
        "match_kind",
        "treatment",
        "basis",
        "decision_id",
        "warnings",
        "error",
    ];
    let row = |(item, said): &(&Item, Said)| {
        let blank = CheckInteractionResponse::default();
        let (answer, error) = match said {
            Said::Response(answer) => (answer, ""),
            Said::Error(error) => (&blank, error.message.as_str()),
        };
        let decision = match said {
            Said::Response(_) => Decision::told(answer.decision),
            Said::Error(_) => String::new(),
        };
        let found = answer.r#match.as_ref();
        let end = found.map(|found| moment::written_end(found.expire_time.as_ref()));
        let basis = match said {
            Said::Response(_) => DecisionBasis::told(answer.basis),
            Said::Error(_) => String::new(),
        };
        [
            item.line.to_string(),
            item.text.clone(),
            decision,
            found.map(|found| found.ban_id.clone()).unwrap_or_default(),
            found.map(|found| found.list_id.clone()).unwrap_or_default(),
            end.unwrap_or_default(),
            found
                .map(|found| MatchKind::told(found.match_kind))
                .unwrap_or_default(),
            Treatment::told(answer.treatment),
            basis,
            answer.decision_id.clone(),
            identity::warnings(&answer.warnings, &item.request.identities),
            error.to_owned(),
        ]
    };
    Sheet::new(header, rows.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(usize, String)> {
        items(text.as_bytes()).map(|item| item.unwrap()).collect()
    }

    #[test]
    fn lines_that_say_nothing_are_left_out_and_the_others_keep_their_numbers() {
        let found = read("\u{feff}+420601123456\n\n# not asked\n  a@example.com\t203.0.113.7 \r\n");
        let second = "a@example.com\t203.0.113.7".to_owned();
        assert_eq!(found, [(1, "+420601123456".to_owned()), (4, second)]);
    }

    #[test]
    fn a_call_carries_no_more_than_it_may() {
        let item = |line: usize, size: usize| Item {
            line,
            text: String::new(),
            request: CheckInteractionRequest {
                queue: "x".repeat(size),
                ..CheckInteractionRequest::default()
            },
        };
        let shares = |count: usize, size: usize| {
            let mut items = (0..count).map(|line| Ok(item(line, size)));
            let (mut kept, mut shares, mut next) = (None, Vec::new(), 0);
            loop {
                let share = take(&mut items, &mut kept).unwrap();
                if share.is_empty() {
                    assert_eq!(next, count, "every item is asked about");
                    return shares;
                }
                for item in &share {
                    assert_eq!(item.line, next, "in their order");
                    next += 1;
                }
                shares.push(share.len());
            }
        };
        assert_eq!(shares(0, 1), [0; 0]);
        assert_eq!(shares(2_500, 10), [1_000, 1_000, 500]);
        assert_eq!(shares(7, 1 << 20), [2, 2, 2, 1]);
        assert_eq!(
            shares(2, 5 << 20),
            [1, 1],
            "one too large is for the server to refuse"
        );
    }

    #[test]
    fn a_row_for_programs_has_a_cell_for_every_column_also_without_an_answer() {
        let item = Item {
            line: 7,
            text: "+420601123456".to_owned(),
            request: CheckInteractionRequest::default(),
        };
        let error = Status {
            code: 5,
            message: "there is no tenant of this id".to_owned(),
            details: Vec::new(),
        };
        let csv = sheet(&[(&item, Said::Error(error))]).to_csv().unwrap();
        let row = "\n7,+420601123456,,,,,,,,,,there is no tenant of this id\n";
        assert!(csv.ends_with(row), "{csv}");
    }
}
