//! What became of the rows: the summary, those that failed by name, and the file of those to mend.

use std::{collections::HashMap, io::Write};

use anyhow::Context;
use csv::ByteRecord;
use serde_json::{Value, json};

use super::{
    columns::{CAUSE, Field},
    row::Understood,
    source::{Form, Raw, Row, stripped},
};
use crate::{
    api::v1::ImportBansResponse,
    cli::output::{self, Display, Facts, Format, Sheet, clean},
};

/// The most rows that people are shown by name; programs get all that are told.
const SHOWN: usize = 20;

/// What became of the rows of a file.
pub(super) struct Outcomes<'a> {
    file: &'a Understood,
    answer: &'a ImportBansResponse,
    /// How many rows failed; the server tells of the first thousand.
    failed: usize,
    /// Those that are told of, in the file's order, and why.
    failures: Vec<(Row, String)>,
}

impl<'a> Outcomes<'a> {
    /// Of the rows that failed some are told of, by their number, and why.
    pub(super) fn of(
        file: &'a Understood,
        answer: &'a ImportBansResponse,
        failed: usize,
        told: Vec<(usize, String)>,
    ) -> Self {
        let mut outcomes = Self {
            file,
            answer,
            failed,
            failures: Vec::with_capacity(told.len()),
        };
        // What was done is told all the same.
        if let Err(error) = outcomes.find(told.into_iter().collect()) {
            output::note(&format!("the failed rows cannot be shown: {error:#}"));
        }
        outcomes
    }

    fn find(&mut self, mut told: HashMap<usize, String>) -> anyhow::Result<()> {
        if told.is_empty() {
            return Ok(());
        }
        for row in self.file.source.rows()? {
            let row = row?;
            if let Some(cause) = told.remove(&row.number) {
                self.failures.push((row, cause));
            }
        }
        Ok(())
    }

    /// Shows the summary, and by name the rows that failed.
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

    /// Writes the failed rows to a file, in the form of the one they come from and as they stand
    /// there, each with its number and the cause, and says whether there were any; without one, no
    /// file.
    pub(super) fn write_failed(&self, path: &str) -> anyhow::Result<bool> {
        if self.failures.is_empty() {
            return Ok(false);
        }
        let mut file = Vec::new();
        self.failed_rows(&mut file)?;
        std::fs::write(path, file).with_context(|| format!("cannot write {path}"))?;
        Ok(true)
    }

    fn failed_rows(&self, out: impl Write) -> anyhow::Result<()> {
        match self.file.source.form {
            Form::Csv => self.failed_csv(out),
            Form::Ndjson => self.failed_ndjson(out),
        }
    }

    fn failed_csv(&self, out: impl Write) -> anyhow::Result<()> {
        // The cause comes first, for a row may have more cells than there are names.
        let mut csv = csv::WriterBuilder::new().flexible(true).from_writer(out);
        let header = &self.file.source.header;
        let old_cause = header.iter().position(|name| name == CAUSE);
        let names = ByteRecord::from_iter(header);
        let row = |cause: &str, cells: &ByteRecord| -> ByteRecord {
            let cells = cells.iter().enumerate();
            let kept = cells.filter(|(at, _)| Some(*at) != old_cause);
            let kept = kept.map(|(_, cell)| cell);
            [cause.as_bytes()].into_iter().chain(kept).collect()
        };
        csv.write_byte_record(&row(CAUSE, &names))?;
        for (failed, cause) in &self.failures {
            if let Raw::Cells(cells) = &failed.raw {
                csv.write_byte_record(&row(&numbered(failed, cause), cells))?;
            }
        }
        csv.flush()?;
        Ok(())
    }

    fn failed_ndjson(&self, mut out: impl Write) -> anyhow::Result<()> {
        for (failed, cause) in &self.failures {
            let Raw::Line(line) = &failed.raw else {
                continue;
            };
            let cause = Value::from(numbered(failed, cause));
            let line = stripped(line);
            match serde_json::from_slice(line) {
                Ok(Value::Object(mut object)) if object.contains_key(CAUSE) => {
                    object.insert(CAUSE.to_owned(), cause);
                    writeln!(out, "{}", Value::Object(object))?;
                }
                // A number may have more digits than would come back.
                Ok(Value::Object(object)) => {
                    let comma = if object.is_empty() { "" } else { "," };
                    write!(out, "{{\"{CAUSE}\":{cause}{comma}")?;
                    out.write_all(&line[1..])?;
                    out.write_all(b"\n")?;
                }
                // What it was meant to be is for a person to see.
                _ => writeln!(
                    out,
                    "{}",
                    json!({ CAUSE: cause, "line": String::from_utf8_lossy(line) })
                )?,
            }
        }
        Ok(())
    }

    fn json(&self, dry_run: bool, failed_file: Option<&str>) -> Value {
        let named = |(row, cause): &(Row, String)| json!({ "row": row.number, "value": self.value(row), "error": cause });
        let answer = self.answer;
        let token = answer.written_at.clone().map(|written_at| written_at.token);
        json!({
            "dryRun": dry_run,
            "rows": self.file.source.count,
            "created": answer.created_count,
            "updated": answer.updated_count,
            "duplicates": answer.duplicate_count,
            "excepted": answer.excepted_count,
            "failed": self.failed,
            "failedRows": self.failures.iter().map(named).collect::<Vec<_>>(),
            "failedFile": failed_file,
            "importId": answer.import_id,
            "token": token,
        })
    }

    fn csv(&self) -> Sheet {
        let row = |(row, cause): &(Row, String)| {
            [&row.number.to_string(), self.value(row), "failed", cause].map(str::to_owned)
        };
        Sheet::new(
            ["row", "value", "outcome", "error"],
            self.failures.iter().map(row),
        )
    }

    fn text(&self, dry_run: bool, failed_file: Option<&str>) -> String {
        let answer = self.answer;
        let would = |done: &'static str, would: &'static str| if dry_run { would } else { done };
        let mut facts = Facts::default();
        facts.add("rows", self.file.source.count.to_string());
        facts.add(
            would("created", "would be created"),
            answer.created_count.to_string(),
        );
        if answer.updated_count > 0 {
            facts.add(
                would("changed", "would be changed"),
                answer.updated_count.to_string(),
            );
        }
        facts.add("duplicates", answer.duplicate_count.to_string());
        if answer.excepted_count > 0 {
            facts.add("excepted", answer.excepted_count.to_string());
        }
        facts.add("failed", self.failed.to_string());
        facts.add("import", &answer.import_id);
        facts.add("token", answer.written_at.clone().unwrap_or_default().token);
        let head = if dry_run {
            "Dry run: nobody was banned\n"
        } else {
            "Import done\n"
        };
        let mut text = head.to_owned() + &facts.to_text();
        if self.failed > 0 {
            let named = |(row, what): &(Row, String)| {
                [&row.number.to_string(), self.value(row), what].map(str::to_owned)
            };
            let rows = self.failures.iter().take(SHOWN).map(named);
            let sheet = Sheet::new(["row", "failed", "because"], rows);
            text = format!("{text}\n{}{}", sheet.to_table(), self.and_more());
        }
        if let Some(file) = failed_file {
            text = format!("{text}\nThe failed rows are in {file}, to be mended and run again.\n");
        }
        text
    }

    fn and_more(&self) -> String {
        let (told, failed) = (self.failures.len(), self.failed);
        let mut lines = Vec::new();
        if told > SHOWN {
            let more = told - SHOWN;
            lines.push(format!(
                "… and {more} more; --output json or csv names them\n"
            ));
        }
        if failed > told {
            let more = failed - told;
            lines.push(format!(
                "{more} rows failed beyond these, which the server does not name: mend these \
                 first, then run the whole file again\n"
            ));
        }
        lines.concat()
    }

    fn value<'r>(&self, row: &'r Row) -> &'r str {
        self.file.columns.cell(&row.cells, Field::Value)
    }
}

/// A cause with the number of its row.
fn numbered(row: &Row, cause: &str) -> String {
    format!("row {}: {}", row.number, clean(cause))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{columns::Columns, row::Template, source::Source},
        *,
    };

    fn file(values: &[&str]) -> Understood {
        let rows: Vec<_> = { values.iter() }
            .map(|value| [value, ",an old cause\n"].concat())
            .collect();
        let rows = rows.concat();
        let source = Source::with(format!("e164,{CAUSE}\n{rows}").as_bytes(), Form::Csv);
        let columns = Columns::find(&source.header, &["value=e164".parse().unwrap()]);
        Understood {
            columns: columns.unwrap(),
            source,
            template: Template::default(),
        }
    }

    fn answer() -> ImportBansResponse {
        ImportBansResponse {
            created_count: 1,
            duplicate_count: 1,
            failed_count: 1,
            import_id: "i1".to_owned(),
            ..ImportBansResponse::default()
        }
    }

    /// Three rows, of which the third failed.
    fn with_outcomes(check: impl FnOnce(Outcomes<'_>)) {
        let file = file(&["1", "2", "3"]);
        let told = vec![(3, "X: no".to_owned())];
        check(Outcomes::of(&file, &answer(), 1, told));
    }

    /// What is written of the rows of a file that failed, the numbers of which are these.
    fn failed(content: &[u8], form: Form, numbers: &[usize]) -> String {
        let source = Source::with(content, form);
        let columns = Columns::find(&source.header, &["value=e164".parse().unwrap()]);
        let file = Understood {
            columns: columns.unwrap(),
            source,
            template: Template::default(),
        };
        let told = numbers.iter().map(|row| (*row, "X: no".to_owned()));
        let (answer, mut written) = (answer(), Vec::new());
        let outcomes = Outcomes::of(&file, &answer, numbers.len(), told.collect());
        outcomes.failed_rows(&mut written).unwrap();
        String::from_utf8_lossy(&written).into_owned()
    }

    #[test]
    fn the_failed_rows_come_back_as_they_were_with_the_new_cause() {
        let csv = b"e164,error,reason\n1,old,a\n2,old,b,and more\n3,old\n";
        assert_eq!(
            failed(csv, Form::Csv, &[2, 3]),
            "error,e164,reason\nrow 2: X: no,2,b,and more\nrow 3: X: no,3\n"
        );
        let ndjson = b"{\"z\":1e2,\"e164\": 1}\n{\"e164\":[2],\"error\":\"old\"}\n{\"e164\": +3}\n";
        assert_eq!(
            failed(ndjson, Form::Ndjson, &[1, 2, 3]),
            "{\"error\":\"row 1: X: no\",\"z\":1e2,\"e164\": 1}\n\
             {\"e164\":[2],\"error\":\"row 2: X: no\"}\n\
             {\"error\":\"row 3: X: no\",\"line\":\"{\\\"e164\\\": +3}\"}\n"
        );
    }

    #[test]
    fn failures_are_named_by_row_and_value() {
        with_outcomes(|outcomes| {
            let json = outcomes.json(false, Some("f.csv"));
            assert_eq!(json["created"], 1);
            assert_eq!(
                json["failedRows"],
                json!([{ "row": 3, "value": "3", "error": "X: no" }])
            );
            let csv = outcomes.csv().to_csv().unwrap();
            assert!(csv.contains("3,3,failed,X: no\n"), "{csv}");
            let text = outcomes.text(true, None);
            assert!(text.contains("would be created  1\n"), "{text}");
        });
    }

    #[test]
    fn people_are_shown_twenty_names_and_told_of_the_rest() {
        let file = file(&["no-number"; 23]);
        let (told, answer) = ((1..=23).map(|row| (row, "X".to_owned())), answer());
        let outcomes = Outcomes::of(&file, &answer, 1_023, told.collect());
        let text = outcomes.text(false, None);
        let named = text.lines().filter(|line| line.contains("no-number"));
        assert_eq!(named.count(), 20, "{text}");
        assert!(text.contains("and 3 more"), "{text}");
        assert!(text.contains("1000 rows failed beyond these"), "{text}");
    }
}
