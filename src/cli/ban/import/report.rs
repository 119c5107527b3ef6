//! What became of every row: the summary, the names, and the file of those to mend.

use std::io::Write;

use anyhow::Context;
use serde_json::{Value, json};

use super::{
    columns::{CAUSE, Columns, Field},
    source::{Row, Source},
};
use crate::cli::output::{self, Display, Facts, Format, Sheet, clean};
/// The most rows that people are shown by name; programs get them all.
const SHOWN: usize = 20;

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is now a ban, with this id.
    Created(String),
    /// It is what this ban already is; the id is empty where it is not known.
    Duplicate(String),
    /// It is no ban, and why.
    Failed(String),
}

impl Verdict {
    /// What a row that repeats the one judged so would meet.
    pub(super) fn of_a_repeat(&self) -> Self {
        match self {
            Self::Created(_) => Self::Duplicate(String::new()),
            Self::Duplicate(_) | Self::Failed(_) => self.clone(),
        }
    }
}

/// Every row of a file with what became of it.
pub(super) struct Outcomes<'a> {
    pub(super) source: &'a Source,
    pub(super) columns: &'a Columns,
    /// As many as there are rows, in their order.
    pub(super) verdicts: &'a [Verdict],
}

impl Outcomes<'_> {
    /// Shows the summary, and by name the rows that did not become bans.
    pub(super) fn show(
        &self,
        display: &Display,
        dry_run: bool,
        failed_file: Option<&str>,
    ) -> anyhow::Result<()> {
        match display.format() {
            Format::Json => output::json(&self.json(dry_run, failed_file)),
            Format::Csv => output::print(&self.csv().to_csv()?),
            Format::Table => output::print(&self.text(dry_run, failed_file)),
        }
    }

    /// Writes the failed rows to a file, as they were, with their number and the cause, and says whether there
    /// were any; without one, no file.
    pub(super) fn write_failed(&self, path: &str) -> anyhow::Result<bool> {
        if self.failed().next().is_none() {
            return Ok(false);
        }
        let mut file = Vec::new();
        self.failed_csv(&mut file)?;
        std::fs::write(path, file).with_context(|| format!("cannot write {path}"))?;
        Ok(true)
    }

    fn failed_csv(&self, out: impl Write) -> anyhow::Result<()> {
        let mut csv = csv::Writer::from_writer(out);
        let header = &self.source.header;
        let kept: Vec<usize> = (0..header.len())
            .filter(|at| header[*at] != CAUSE)
            .collect();
        let record = |cells: &[String], cause: &str| -> Vec<String> {
            let kept = kept.iter().map(|at| cells[*at].clone());
            kept.chain([cause.to_owned()]).collect()
        };
        csv.write_record(record(header, CAUSE))?;
        for (row, cause) in self.failed() {
            let cause = format!("row {}: {}", row.number, clean(cause));
            csv.write_record(record(&row.cells, &cause))?;
        }
        csv.flush()?;
        Ok(())
    }

    fn json(&self, dry_run: bool, failed_file: Option<&str>) -> Value {
        let named = |row: &Row, key: &str, what: &str| json!({ "row": row.number, "value": self.value(row), key: what });
        let duplicates = self.duplicates().map(|(row, ban)| named(row, "banId", ban));
        let failed = self.failed().map(|(row, cause)| named(row, "error", cause));
        json!({
            "dryRun": dry_run,
            "rows": self.verdicts.len(),
            "created": self.created(),
            "duplicates": self.duplicates().count(),
            "failed": self.failed().count(),
            "duplicateRows": duplicates.collect::<Vec<_>>(),
            "failedRows": failed.collect::<Vec<_>>(),
            "failedFile": failed_file,
        })
    }

    fn csv(&self) -> Sheet {
        let row = |(row, verdict): (&Row, &Verdict)| {
            let (outcome, ban, cause) = match verdict {
                Verdict::Created(ban) => ("created", ban.as_str(), ""),
                Verdict::Duplicate(ban) => ("duplicate", ban.as_str(), ""),
                Verdict::Failed(cause) => ("failed", "", cause.as_str()),
            };
            [
                &row.number.to_string(),
                self.value(row),
                outcome,
                ban,
                cause,
            ]
            .map(str::to_owned)
        };
        Sheet::new(
            ["row", "value", "outcome", "ban_id", "error"],
            self.all().map(row),
        )
    }

    fn text(&self, dry_run: bool, failed_file: Option<&str>) -> String {
        let (duplicates, failed) = (self.duplicates().count(), self.failed().count());
        let mut facts = Facts::default();
        facts.add("rows", self.verdicts.len().to_string());
        facts.add(
            if dry_run {
                "would be created"
            } else {
                "created"
            },
            self.created().to_string(),
        );
        facts.add("duplicates", duplicates.to_string());
        facts.add("failed", failed.to_string());
        let head = if dry_run {
            "Dry run: nobody was banned\n"
        } else {
            "Import done\n"
        };
        let mut text = head.to_owned() + &facts.to_text();
        let named = |(row, what): (&Row, &str)| {
            [&row.number.to_string(), self.value(row), what].map(str::to_owned)
        };
        if duplicates > 0 {
            let rows = self.duplicates().take(SHOWN).map(named);
            let sheet = Sheet::new(["row", "duplicate", "of ban"], rows);
            text = format!("{text}\n{}{}", sheet.to_table(), and_more(duplicates));
        }
        if failed > 0 {
            let rows = self.failed().take(SHOWN).map(named);
            let sheet = Sheet::new(["row", "failed", "because"], rows);
            text = format!("{text}\n{}{}", sheet.to_table(), and_more(failed));
        }
        if let Some(file) = failed_file {
            text = format!("{text}\nThe failed rows are in {file}, to be mended and run again.\n");
        }
        text
    }

    fn value<'a>(&self, row: &'a Row) -> &'a str {
        self.columns.cell(&row.cells, Field::Value)
    }

    fn all(&self) -> impl Iterator<Item = (&Row, &Verdict)> {
        self.source.rows.iter().zip(self.verdicts)
    }

    fn created(&self) -> usize {
        self.verdicts
            .iter()
            .filter(|verdict| matches!(verdict, Verdict::Created(_)))
            .count()
    }

    fn duplicates(&self) -> impl Iterator<Item = (&Row, &str)> {
        self.all().filter_map(|(row, verdict)| match verdict {
            Verdict::Duplicate(ban) => Some((row, ban.as_str())),
            Verdict::Created(_) | Verdict::Failed(_) => None,
        })
    }

    fn failed(&self) -> impl Iterator<Item = (&Row, &str)> {
        self.all().filter_map(|(row, verdict)| match verdict {
            Verdict::Failed(cause) => Some((row, cause.as_str())),
            Verdict::Created(_) | Verdict::Duplicate(_) => None,
        })
    }
}

fn and_more(rows: usize) -> String {
    match rows.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("… and {more} more; --output json or csv names them all\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(values: &[&str]) -> Source {
        let row = |(at, value): (usize, &&str)| Row {
            number: at + 1,
            cells: vec![(*value).to_owned(), "an old cause".to_owned()],
            broken: None,
        };
        let header = vec!["e164".to_owned(), CAUSE.to_owned()];
        Source {
            header,
            rows: values.iter().enumerate().map(row).collect(),
        }
    }

    /// Three rows: one made, one a duplicate, one failed.
    fn with_outcomes(check: impl FnOnce(Outcomes<'_>)) {
        let source = source(&["1", "2", "3"]);
        let columns = Columns::find(&source.header, &["value=e164".parse().unwrap()]).unwrap();
        let (made, twice) = (
            Verdict::Created("b1".into()),
            Verdict::Duplicate("b0".into()),
        );
        let verdicts = [made, twice, Verdict::Failed("X: no".into())];
        check(Outcomes {
            source: &source,
            columns: &columns,
            verdicts: &verdicts,
        });
    }

    #[test]
    fn the_failed_rows_come_back_as_they_were_with_the_new_cause() {
        with_outcomes(|outcomes| {
            let mut file = Vec::new();
            outcomes.failed_csv(&mut file).unwrap();
            assert_eq!(
                String::from_utf8(file).unwrap(),
                "e164,error\n3,row 3: X: no\n"
            );
        });
    }

    #[test]
    fn duplicates_and_failures_are_named_by_row_and_value() {
        with_outcomes(|outcomes| {
            let json = outcomes.json(false, Some("f.csv"));
            assert_eq!(json["created"], 1);
            assert_eq!(
                json["duplicateRows"],
                json!([{ "row": 2, "value": "2", "banId": "b0" }])
            );
            assert_eq!(
                json["failedRows"],
                json!([{ "row": 3, "value": "3", "error": "X: no" }])
            );
            let csv = outcomes.csv().to_csv().unwrap();
            assert!(
                csv.contains("2,2,duplicate,b0,\n3,3,failed,,X: no\n"),
                "{csv}"
            );
            let text = outcomes.text(true, None);
            assert!(text.contains("would be created  1\n"), "{text}");
        });
    }

    #[test]
    fn people_are_shown_twenty_names_and_told_of_the_rest() {
        let source = source(&["no-number"; 23]);
        let columns = Columns::find(&source.header, &["value=e164".parse().unwrap()]).unwrap();
        let verdicts = vec![Verdict::Duplicate(String::new()); 23];
        let outcomes = Outcomes {
            source: &source,
            columns: &columns,
            verdicts: &verdicts,
        };
        let text = outcomes.text(false, None);
        assert_eq!(
            text.lines()
                .filter(|line| line.contains("no-number"))
                .count(),
            20,
            "{text}"
        );
        assert!(text.contains("and 3 more"), "{text}");
    }

    #[test]
    fn a_row_that_repeats_one_that_failed_fails_like_it() {
        assert_eq!(
            Verdict::Created("b".into()).of_a_repeat(),
            Verdict::Duplicate(String::new())
        );
        assert_eq!(
            Verdict::Failed("c".into()).of_a_repeat(),
            Verdict::Failed("c".into())
        );
    }
}
