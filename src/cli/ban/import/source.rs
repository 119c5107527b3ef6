//! The file of an import, as rows of named cells, whichever form it has.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde_json::Value;

/// What a spreadsheet puts before everything else.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The forms a file can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// A header line, then rows; parted by whichever of , ; and tab the header has most of
    Csv,
    /// One JSON object to a line
    Ndjson,
}

/// A file that has been read whole: a row may repeat any row before it.
pub(super) struct Source {
    /// The names of the columns, in the file's order; of objects, every key that occurs.
    pub(super) header: Vec<String>,
    /// The rows in the file's order.
    pub(super) rows: Vec<Row>,
}

/// One row of the file.
pub(super) struct Row {
    /// The row's number: the first after the header, or the first object, is 1.
    pub(super) number: usize,
    /// The cells, in the order of the header.
    pub(super) cells: Vec<String>,
    /// Why the row cannot be read, if it cannot; its cells are then what could be made out.
    pub(super) broken: Option<String>,
}

impl Source {
    /// Reads a file, or standard input where `path` is `-`.
    pub(super) fn open(path: &str, form: Option<Form>) -> anyhow::Result<Self> {
        let form = form.unwrap_or_else(|| form_of(path));
        let source = if path == "-" {
            Self::read(io::stdin().lock(), form)
        } else {
            let file = File::open(path).with_context(|| format!("cannot open {path}"))?;
            Self::read(BufReader::new(file), form)
        };
        let source = source.with_context(|| format!("cannot read {path}"))?;
        if source.header.is_empty() {
            bail!("nothing to import in {path}");
        }
        Ok(source)
    }

    fn read(input: impl BufRead, form: Form) -> anyhow::Result<Self> {
        match form {
            Form::Csv => read_csv(input),
            Form::Ndjson => read_ndjson(input),
        }
    }
}

fn form_of(path: &str) -> Form {
    let extension = Path::new(path)
        .extension()
        .unwrap_or_default()
        .to_ascii_lowercase();
    if extension == "ndjson" || extension == "jsonl" {
        Form::Ndjson
    } else {
        Form::Csv
    }
}

fn read_csv(mut input: impl BufRead) -> anyhow::Result<Source> {
    let mut first_line = Vec::new();
    input.read_until(b'\n', &mut first_line)?;
    let start = first_line
        .strip_prefix(BYTE_ORDER_MARK)
        .unwrap_or(&first_line);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter_of(start))
        .flexible(true)
        .from_reader(start.chain(input));
    let header: Vec<String> = reader
        .headers()?
        .iter()
        .map(|name| name.trim().to_owned())
        .collect();
    let mut rows = Vec::new();
    for record in reader.byte_records() {
        let record = record?;
        let text = |cell| String::from_utf8_lossy(cell).into_owned();
        let mut cells: Vec<String> = record.iter().map(text).collect();
        let broken = if record.iter().any(|cell| str::from_utf8(cell).is_err()) {
            Some("the row is not UTF-8".to_owned())
        } else if cells.len() == header.len() {
            None
        } else {
            let (cells, names) = (cells.len(), header.len());
            Some(format!(
                "cells in the row: {cells}, names in the header: {names}"
            ))
        };
        cells.resize(header.len(), String::new());
        rows.push(Row {
            number: rows.len() + 1,
            cells,
            broken,
        });
    }
    Ok(Source { header, rows })
}

/// The sign that parts the header's names; spreadsheets choose it by the country they run in.
fn delimiter_of(header: &[u8]) -> u8 {
    let count = |sign: u8| header.split(|byte| *byte == sign).count();
    let most = [b'\t', b';', b',']
        .into_iter()
        .max_by_key(|sign| count(*sign));
    most.unwrap_or(b',')
}

fn read_ndjson(input: impl BufRead) -> anyhow::Result<Source> {
    let mut header: Vec<String> = Vec::new();
    let mut rows: Vec<Row> = Vec::new();
    for line in input.split(b'\n') {
        let line = line?;
        let text = line
            .strip_prefix(BYTE_ORDER_MARK)
            .unwrap_or(&line)
            .trim_ascii();
        if text.is_empty() {
            continue;
        }
        let mut row = Row {
            number: rows.len() + 1,
            cells: Vec::new(),
            broken: None,
        };
        match serde_json::from_slice(text) {
            Ok(Value::Object(object)) => {
                for (key, value) in object {
                    let known = header.iter().position(|name| *name == key);
                    let at = known.unwrap_or_else(|| {
                        header.push(key);
                        header.len() - 1
                    });
                    row.cells.resize(row.cells.len().max(at + 1), String::new());
                    row.cells[at] = cell(&value);
                }
            }
            Ok(_) => row.broken = Some("the line is not an object".to_owned()),
            // The error's own text would repeat a part of the line.
            Err(error) => row.broken = Some(format!("not JSON at column {}", error.column())),
        }
        rows.push(row);
    }
    for row in &mut rows {
        row.cells.resize(header.len(), String::new());
    }
    Ok(Source { header, rows })
}

/// A JSON value as a cell; several values are written as a CSV file writes them.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(";"),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(text: &str) -> Source {
        Source::read(text.as_bytes(), Form::Csv).unwrap()
    }

    fn ndjson(text: &str) -> Source {
        Source::read(text.as_bytes(), Form::Ndjson).unwrap()
    }

    fn cells(source: &Source) -> Vec<Vec<&str>> {
        source
            .rows
            .iter()
            .map(|row| row.cells.iter().map(String::as_str).collect())
            .collect()
    }

    #[test]
    fn rows_are_counted_from_the_first_after_the_header() {
        let source = csv("value,reason\n+420601123456,\"a, b\"\n\n2,c\n");
        assert_eq!(source.header, ["value", "reason"]);
        assert_eq!(cells(&source), [["+420601123456", "a, b"], ["2", "c"]]);
        let numbers: Vec<_> = source.rows.iter().map(|row| row.number).collect();
        assert_eq!(numbers, [1, 2]);
    }

    #[test]
    fn what_a_spreadsheet_saves_is_read_as_it_is() {
        let source = csv("\u{feff}value;reason\r\n1;a,b\r\n");
        assert_eq!(source.header, ["value", "reason"]);
        assert_eq!(cells(&source), [["1", "a,b"]]);
        assert_eq!(cells(&csv("value\treason\n1\tx\n")), [["1", "x"]]);
    }

    #[test]
    fn a_row_that_does_not_fit_is_broken_and_spoils_no_other() {
        let source = csv("value,reason\n1\n2,x\n3,y,z\n");
        let broken: Vec<_> = source.rows.iter().map(|row| row.broken.is_some()).collect();
        assert_eq!(broken, [true, false, true]);
        let latin = Source::read(
            &[b"value\n".as_slice(), &[0xe9], b"\nb\n"].concat()[..],
            Form::Csv,
        );
        let latin = latin.unwrap();
        assert_eq!(
            latin.rows[0].broken.as_deref(),
            Some("the row is not UTF-8")
        );
        assert_eq!(latin.rows[1].broken, None);
    }

    #[test]
    fn objects_have_the_columns_that_any_of_them_has() {
        let source = ndjson("{\"value\":\"1\"}\n\n{\"number\":2,\"channel\":[\"call\",\"sms\"]}\n");
        assert_eq!(source.header, ["value", "channel", "number"]);
        assert_eq!(cells(&source), [["1", "", ""], ["", "call;sms", "2"]]);
    }

    #[test]
    fn a_line_that_is_no_object_is_broken_and_its_cause_does_not_repeat_it() {
        let source = ndjson("{\"value\":\"1\"}\n[1]\n{\"value\": +420601123456}\n");
        assert_eq!(
            source.rows[1].broken.as_deref(),
            Some("the line is not an object")
        );
        let cause = source.rows[2].broken.clone().unwrap();
        assert!(
            cause.starts_with("not JSON") && !cause.contains("601"),
            "{cause}"
        );
    }

    #[test]
    fn the_form_is_told_by_the_extension() {
        assert_eq!(form_of("a/bans.NDJSON"), Form::Ndjson);
        assert_eq!(form_of("bans.jsonl"), Form::Ndjson);
        assert_eq!(form_of("bans.csv"), Form::Csv);
        assert_eq!(form_of("-"), Form::Csv);
    }
}
