//! The file of an import, as rows of named cells, whichever form it has.
//!
//! It is read anew each time its rows are wanted, so that a file of any size takes the memory of one
//! row and of its header.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use serde_json::Value;

/// What is read after the last row of a CSV file, unless an open quote swallows it.
const END: &[u8] = b"\0";
/// The most different keys that the objects of a file have: each has a cell in every row.
const MAX_KEYS: usize = 1_000;
/// What a spreadsheet puts before everything else.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The forms a file can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// A header line, then rows; parted by whichever of , ; and tab the header has most of, or by the sign
    /// that a line such as `sep=;` before it names
    Csv,
    /// One JSON object to a line
    Ndjson,
}

/// A file of rows.
pub(super) struct Source {
    /// The names of the columns, in the file's order; of objects, every key that occurs.
    pub(super) header: Vec<String>,
    /// How many rows there are.
    pub(super) count: usize,
    /// Whether the file itself could be read but once, and this is a copy.
    pub(super) copied: bool,
    /// What the file is.
    pub(super) form: Form,
    file: Arc<File>,
}

/// One row of the file.
#[derive(Clone)]
pub(super) struct Row {
    /// The row's number: the first after the header, or the first object, is 1.
    pub(super) number: usize,
    /// The cells, in the order of the header.
    pub(super) cells: Vec<String>,
    /// Which cells hold what is no text: `true`, or an object.
    pub(super) no_text: Vec<usize>,
    /// Why the row cannot be read, if it cannot; its cells are then what could be made out.
    pub(super) broken: Option<String>,
    /// The row as it stands in the file.
    pub(super) raw: Raw,
}

/// A row as it stands in the file, of its form.
#[derive(Clone)]
pub(super) enum Raw {
    /// Of a CSV file.
    Cells(csv::ByteRecord),
    /// Of an NDJSON file.
    Line(Vec<u8>),
}

/// The rows of a file, in its order.
pub(super) type Rows = Box<dyn Iterator<Item = io::Result<Row>> + Send>;

impl Source {
    /// Opens a file, or standard input where `path` is `-`; what can be read but once is copied.
    pub(super) fn open(path: &str, form: Option<Form>) -> anyhow::Result<Self> {
        let form = form.unwrap_or_else(|| form_of(path));
        let (file, copied) = if path == "-" {
            (copy(io::stdin().lock())?, true)
        } else {
            let file = File::open(path).with_context(|| format!("cannot open {path}"))?;
            let about = file.metadata()?;
            if about.is_dir() {
                bail!("{path} is a folder");
            }
            let plain = about.is_file();
            (if plain { file } else { copy(file)? }, !plain)
        };
        let source = Self::of(file, form).with_context(|| format!("cannot read {path}"))?;
        let source = Self { copied, ..source };
        if source.header.is_empty() {
            bail!("nothing to import in {path}");
        }
        Ok(source)
    }

    fn of(file: File, form: Form) -> anyhow::Result<Self> {
        let mut source = Self {
            header: Vec::new(),
            count: 0,
            copied: false,
            file: Arc::new(file),
            form,
        };
        (source.header, source.count) = match form {
            Form::Csv => source.names()?,
            Form::Ndjson => source.keys()?,
        };
        Ok(source)
    }

    /// The rows from the first on, each time.
    pub(super) fn rows(&self) -> io::Result<Rows> {
        Ok(match self.form {
            Form::Csv => {
                let names = self.header.len();
                let records = self.records()?.into_byte_records();
                let rows = records.take_while(|record| !record.as_ref().is_ok_and(is_end));
                let rows = rows.zip(1..);
                Box::new(rows.map(move |(record, number)| Ok(csv_row(number, record?, names))))
            }
            Form::Ndjson => {
                let header = self.header.clone();
                let lines = self.lines().zip(1..);
                Box::new(lines.map(move |(line, number)| Ok(ndjson_row(number, &line?, &header))))
            }
        })
    }

    fn cursor(&self) -> Cursor {
        let file = Arc::clone(&self.file);
        Cursor { file, at: 0 }
    }

    fn records(&self) -> io::Result<csv::Reader<impl Read + Send + use<>>> {
        let mut input = BufReader::new(self.cursor());
        let mut first_line = written_line(&mut input)?;
        let told = told_delimiter(&first_line);
        if told.is_some() {
            first_line = written_line(&mut input)?;
        }
        let delimiter = told.unwrap_or_else(|| delimiter_of(&first_line));
        let start = io::Cursor::new(first_line).chain(input);
        let reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            .from_reader(start.chain(&b"\n"[..]).chain(END));
        Ok(reader)
    }

    /// The lines that are not blank.
    fn lines(&self) -> impl Iterator<Item = io::Result<Vec<u8>>> + Send + use<> {
        let lines = BufReader::new(self.cursor()).split(b'\n');
        lines.filter(|line| {
            line.as_ref()
                .map_or(true, |line| !stripped(line).is_empty())
        })
    }

    /// The names in the header, and how many rows there are.
    fn names(&self) -> anyhow::Result<(Vec<String>, usize)> {
        let mut reader = self.records()?;
        let names = reader.headers()?.iter();
        let names = names.map(|name| name.trim().to_owned()).collect();
        let (mut count, mut ended) = (0, false);
        for record in reader.into_byte_records() {
            // What is read after it would be left out of every import.
            ensure!(!ended, "row {} is a NUL byte and nothing else", count + 1);
            ended = is_end(&record?);
            count += usize::from(!ended);
        }
        ensure!(ended, "row {count} opens a quote that nothing closes");
        Ok((names, count))
    }

    /// Every key of an object, in the order in which they occur, and how many rows there are.
    fn keys(&self) -> anyhow::Result<(Vec<String>, usize)> {
        let (mut keys, mut count) = (Vec::new(), 0);
        for line in self.lines() {
            count += 1;
            if let Ok(Value::Object(object)) = serde_json::from_slice(stripped(&line?)) {
                for (key, _) in object {
                    if !keys.contains(&key) {
                        ensure!(
                            keys.len() < MAX_KEYS,
                            "up to row {count} the objects have more than {MAX_KEYS} different keys"
                        );
                        keys.push(key);
                    }
                }
            }
        }
        Ok((keys, count))
    }
}

fn is_end(record: &csv::ByteRecord) -> bool {
    record.as_slice() == END
}

/// A reader with a place of its own in a file that others read as well.
struct Cursor {
    file: Arc<File>,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

fn copy(mut input: impl Read) -> anyhow::Result<File> {
    let copy = tempfile::tempfile().and_then(|mut file| {
        io::copy(&mut input, &mut file)?;
        Ok(file)
    });
    copy.context("cannot keep a copy of the input in the folder for temporary files")
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

fn csv_row(number: usize, record: csv::ByteRecord, names: usize) -> Row {
    let text = |cell| String::from_utf8_lossy(cell).into_owned();
    let mut cells: Vec<String> = record.iter().map(text).collect();
    let broken = if record.iter().any(|cell| str::from_utf8(cell).is_err()) {
        Some("the row is not UTF-8".to_owned())
    } else if cells.len() == names {
        None
    } else {
        let cells = cells.len();
        Some(format!(
            "cells in the row: {cells}, names in the header: {names}"
        ))
    };
    cells.resize(names, String::new());
    Row {
        number,
        cells,
        no_text: Vec::new(),
        broken,
        raw: Raw::Cells(record),
    }
}

/// The next line that is not blank, with the blank ones before it and without a byte order mark.
fn written_line(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    while line.trim_ascii().is_empty() && input.read_until(b'\n', &mut line)? > 0 {
        if line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
    }
    Ok(line)
}

/// The sign that a line before the header names, as spreadsheets write and read it: `sep=;`.
fn told_delimiter(line: &[u8]) -> Option<u8> {
    // A tab may be the sign.
    let end = line.iter().rposition(|byte| !b"\r\n".contains(byte))?;
    match line[..=end].trim_ascii_start() {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', sign] => Some(*sign),
        _ => None,
    }
}

/// The sign that parts the header's names; spreadsheets choose it by the country they run in.
fn delimiter_of(header: &[u8]) -> u8 {
    let count = |sign: u8| {
        let (mut signs, mut begins, mut quoted) = (0, true, false);
        for byte in header {
            // What stands between quotes is part of a name.
            quoted = if quoted {
                *byte != b'"'
            } else {
                begins && *byte == b'"'
            };
            begins = !quoted && *byte == sign;
            signs += usize::from(begins);
        }
        signs
    };
    let most = [b'\t', b';', b',']
        .into_iter()
        .max_by_key(|sign| count(*sign));
    most.unwrap_or(b',')
}

fn ndjson_row(number: usize, line: &[u8], header: &[String]) -> Row {
    let mut row = Row {
        number,
        cells: vec![String::new(); header.len()],
        no_text: Vec::new(),
        broken: None,
        raw: Raw::Line(line.to_vec()),
    };
    match serde_json::from_slice(stripped(line)) {
        Ok(Value::Object(object)) => {
            for (at, (name, cell)) in header.iter().zip(&mut row.cells).enumerate() {
                let Some(value) = object.get(name) else {
                    continue;
                };
                if is_no_text(value) {
                    row.no_text.push(at);
                }
                *cell = cell_of(value);
            }
        }
        Ok(_) => row.broken = Some("the line is not an object".to_owned()),
        // The error's own text would repeat a part of the line.
        Err(error) => row.broken = Some(format!("not JSON at column {}", error.column())),
    }
    row
}

/// A line without what may stand around an object.
pub(super) fn stripped(line: &[u8]) -> &[u8] {
    line.strip_prefix(BYTE_ORDER_MARK)
        .unwrap_or(line)
        .trim_ascii()
}

fn is_no_text(value: &Value) -> bool {
    match value {
        Value::Null | Value::String(_) | Value::Number(_) => false,
        // Targets are objects in a list.
        Value::Array(items) => items
            .iter()
            .any(|item| item.is_boolean() || item.is_array()),
        Value::Bool(_) | Value::Object(_) => true,
    }
}

/// A JSON value as a cell; several values are written as a CSV file writes them.
fn cell_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell_of).collect::<Vec<_>>().join(";"),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    impl Source {
        /// A file that holds this.
        pub(in crate::cli::ban::import) fn with(content: &[u8], form: Form) -> Self {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(content).unwrap();
            Self::of(file, form).unwrap()
        }
    }

    fn csv(text: &str) -> Source {
        Source::with(text.as_bytes(), Form::Csv)
    }

    fn ndjson(text: &str) -> Source {
        Source::with(text.as_bytes(), Form::Ndjson)
    }

    fn rows(source: &Source) -> Vec<Row> {
        let rows: Vec<Row> = source.rows().unwrap().map(Result::unwrap).collect();
        assert_eq!(source.count, rows.len());
        rows
    }

    fn cells(source: &Source) -> Vec<Vec<String>> {
        rows(source).into_iter().map(|row| row.cells).collect()
    }

    #[test]
    fn rows_are_counted_from_the_first_after_the_header() {
        let source = csv("value,reason\n+420601123456,\"a, b\"\n\n2,c\n");
        assert_eq!(source.header, ["value", "reason"]);
        assert_eq!(cells(&source), [["+420601123456", "a, b"], ["2", "c"]]);
        let numbers: Vec<_> = rows(&source).iter().map(|row| row.number).collect();
        assert_eq!(numbers, [1, 2]);
    }

    #[test]
    fn what_a_spreadsheet_saves_is_read_as_it_is() {
        let source = csv("\u{feff}value;reason\r\n1;a,b\r\n");
        assert_eq!(source.header, ["value", "reason"]);
        assert_eq!(cells(&source), [["1", "a,b"]]);
        assert_eq!(cells(&csv("value\treason\n1\tx\n")), [["1", "x"]]);
        let quoted = csv("\"value, as dialled, with +\";reason\n1;x\n");
        assert_eq!(quoted.header, ["value, as dialled, with +", "reason"]);
        assert_eq!(csv("5\" pipe;reason\n1;x\n").header, ["5\" pipe", "reason"]);
        for told in [
            "sep=|\nvalue|reason\n1|a;b,c\n",
            "\u{feff}SEP=|\r\nvalue|reason\r\n1|a;b,c\r\n",
        ] {
            let told = csv(told);
            assert_eq!(told.header, ["value", "reason"]);
            assert_eq!(cells(&told), [["1", "a;b,c"]]);
        }
        assert_eq!(cells(&csv("sep=\t\nvalue\treason\n1\tx\n")), [["1", "x"]]);
    }

    #[test]
    fn a_row_that_does_not_fit_is_broken_and_spoils_no_other() {
        let source = csv("value,reason\n1\n2,x\n3,y,z\n");
        let broken: Vec<_> = rows(&source)
            .iter()
            .map(|row| row.broken.is_some())
            .collect();
        assert_eq!(broken, [true, false, true]);
        let latin = [b"value\n".as_slice(), &[0xe9], b"\nb\n"].concat();
        let latin = rows(&Source::with(&latin, Form::Csv));
        assert_eq!(latin[0].broken.as_deref(), Some("the row is not UTF-8"));
        assert_eq!(latin[1].broken, None);
    }

    #[test]
    fn objects_have_the_columns_that_any_of_them_has() {
        let source = ndjson("{\"value\":\"1\"}\n\n{\"number\":2,\"channel\":[\"call\",\"sms\"]}\n");
        assert_eq!(source.header, ["value", "channel", "number"]);
        assert_eq!(cells(&source), [["1", "", ""], ["", "call;sms", "2"]]);
    }

    #[test]
    fn objects_of_ever_new_keys_are_refused_before_they_fill_the_memory() {
        let objects = (0..=MAX_KEYS).map(|key| format!("{{\"{key}\":1}}\n"));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(objects.collect::<String>().as_bytes())
            .unwrap();
        let error = Source::of(file, Form::Ndjson).err().unwrap();
        assert!(error.to_string().contains("row 1001"), "{error}");
    }

    #[test]
    fn a_line_that_is_no_object_is_broken_and_its_cause_does_not_repeat_it() {
        let source = ndjson("{\"value\":\"1\"}\n[1]\n{\"value\": +420601123456}\n");
        let rows = rows(&source);
        assert_eq!(rows[1].broken.as_deref(), Some("the line is not an object"));
        let cause = rows[2].broken.clone().unwrap();
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

    #[test]
    fn neither_an_open_quote_nor_a_row_like_the_end_hides_rows() {
        let file = |text: &str| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            Source::of(file, Form::Csv)
        };
        let error = file("value,note\n1,x\n2,\"5 inch\n3,y\n").err().unwrap();
        assert!(error.to_string().contains("row 2"), "{error}");
        assert!(file("value,\"note\n1,x\n").is_err());
        let error = file("value\n1\n\0\n2\n").err().unwrap();
        assert!(error.to_string().contains("row 2"), "{error}");
        let closed = file("value,note\n1,5\" pipe\n2,\"a \"\"b\"\"\nc\"").unwrap();
        assert_eq!(cells(&closed), [["1", "5\" pipe"], ["2", "a \"b\"\nc"]]);
    }

    #[test]
    fn a_blank_line_before_the_header_is_none() {
        assert_eq!(cells(&csv("\n\u{feff}value;reason\n1;a\n")), [["1", "a"]]);
    }

    #[test]
    fn what_can_be_read_but_once_is_read_as_often_as_it_is_wanted() {
        let file = copy(&b"value\n1\n2\n"[..]).unwrap();
        let source = Source::of(file, Form::Csv).unwrap();
        assert_eq!(cells(&source), [["1"], ["2"]]);
        assert_eq!(cells(&source), [["1"], ["2"]]);
    }
}
