//! How an answer is shown: to people as a table, to programs as JSON or CSV.

use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::Context;
use clap::{Args, ValueEnum, builder::FalseyValueParser};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use serde::Serialize;

const HEADING: &str = "Output";
/// The narrowest terminal that tables are fitted to; in a narrower one their lines run on.
const NARROWEST: u16 = 60;

/// The forms an answer can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people; its looks may change
    Table,
    /// The server's answer as canonical proto3 JSON; of a list, an array
    Json,
    /// A header line and a line for each item
    Csv,
}

/// The flags that say how to show the answer.
#[derive(Args)]
pub(crate) struct Display {
    /// Form of the answer on standard output
    #[arg(long, global = true, value_enum, value_name = "FORM", help_heading = HEADING)]
    #[arg(default_value = "table", ignore_case = true)]
    output: Format,
    /// Never use colour [default: colour on a terminal, none in a pipe or file]
    #[arg(long, global = true, env = "NO_COLOR", help_heading = HEADING)]
    #[arg(hide_env_values = true, value_parser = FalseyValueParser::new())]
    no_color: bool,
}

/// What a colour is used for.
#[derive(Clone, Copy)]
pub(crate) enum Paint {
    /// Something is denied.
    Stop,
    /// Something is let through or was done.
    Go,
}

impl Display {
    /// The form asked for.
    pub(crate) fn format(&self) -> Format {
        self.output
    }

    /// `word` in colour, if standard output is a terminal.
    pub(crate) fn paint(&self, paint: Paint, word: &str) -> String {
        let code = match paint {
            Paint::Stop => "1;31",
            Paint::Go => "1;32",
        };
        if self.no_color || !io::stdout().is_terminal() {
            return word.to_owned();
        }
        format!("\u{1b}[{code}m{word}\u{1b}[0m")
    }

    /// Shows a list in the form asked for: as an array of `items`, or as one of two sheets.
    pub(crate) fn list<T: Serialize>(
        &self,
        items: &[T],
        table: impl FnOnce() -> Sheet,
        csv: impl FnOnce() -> Sheet,
    ) -> anyhow::Result<()> {
        match self.output {
            Format::Json => json(&items),
            Format::Csv => print(&csv().to_csv()?),
            Format::Table => print(&table().to_table()),
        }
    }
}

/// Rows under a header.
pub(crate) struct Sheet {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Sheet {
    /// A sheet of these rows.
    pub(crate) fn new<const N: usize>(
        header: [&'static str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Self {
        Self {
            header: header.to_vec(),
            rows: rows.into_iter().map(Vec::from).collect(),
        }
    }

    /// The sheet for people: columns side by side, wrapped to a terminal's width. No rows, no text.
    pub(crate) fn to_table(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(
            self.header
                .iter()
                .map(|title| title.to_uppercase().replace('_', " ")),
        );
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| clean(cell)));
        }
        if io::stdout().is_terminal() && table.width() >= Some(NARROWEST) {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            // What a row is called by is copied into the next command: it stays in one piece.
            if let Some(name) = table.column_mut(0) {
                name.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        lines_of(&table)
    }

    /// The sheet for programs, with its values untouched.
    pub(crate) fn to_csv(&self) -> anyhow::Result<String> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(&self.header)?;
        for row in &self.rows {
            csv.write_record(row)?;
        }
        Ok(String::from_utf8(csv.into_inner()?)?)
    }
}

/// Labels with what they stand for, one to a line; those with nothing to say are left out.
#[derive(Default)]
pub(crate) struct Facts(Vec<(&'static str, String)>);

impl Facts {
    /// Adds a line, unless `value` is empty.
    pub(crate) fn add(&mut self, label: &'static str, value: impl Into<String>) -> &mut Self {
        let value = value.into();
        if !value.is_empty() {
            self.0.push((label, value));
        }
        self
    }

    /// The lines, indented, their values aligned.
    pub(crate) fn to_text(&self) -> String {
        let width = self
            .0
            .iter()
            .map(|(label, _)| label.len())
            .max()
            .unwrap_or(0);
        let line =
            |(label, value): &(&str, String)| format!("  {label:width$}  {}\n", clean(value));
        self.0.iter().map(line).collect()
    }
}

/// Writes to standard output, and ends the last line.
///
/// A reader that has read enough (`| head`) closes the pipe: that is no error of ours.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match write_lines(&mut out, text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the answer")
        }
        _ => Ok(()),
    }
}

fn write_lines(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    if text.is_empty() || text.ends_with('\n') {
        return Ok(());
    }
    out.write_all(b"\n")
}

/// Writes JSON to standard output.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// Writes a value on a line of its own, one of many.
pub(crate) fn json_line(value: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string(value)?)
}

/// Writes a line to standard error; where nobody listens, there is nobody to tell.
pub(crate) fn note(text: &str) {
    drop(writeln!(io::stderr(), "{}", text.trim_end()));
}

/// The text on one line and without control characters.
///
/// Reasons, titles and queue names are other people's words: shown as they are, they could move
/// the cursor and rewrite what the terminal shows.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The table's lines, without the spaces that fill up the last column and the margin on the left.
fn lines_of(table: &Table) -> String {
    let line = |line: String| {
        line.strip_prefix(' ')
            .unwrap_or(&line)
            .trim_end()
            .to_owned()
            + "\n"
    };
    table.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_ends_its_last_line_and_once() {
        let written = |text| {
            let mut out = Vec::new();
            write_lines(&mut out, text).unwrap();
            out
        };
        assert_eq!(written("a\nb"), b"a\nb\n");
        assert_eq!(written("a\n"), b"a\n");
        assert_eq!(written(""), b"");
    }

    #[test]
    fn a_sheet_is_columns_for_people_and_commas_for_programs() {
        let rows = [
            ["a,b".to_owned(), "1".to_owned()],
            ["c".to_owned(), "22".to_owned()],
        ];
        let sheet = Sheet::new(["ban_id", "n"], rows);
        assert_eq!(sheet.to_csv().unwrap(), "ban_id,n\n\"a,b\",1\nc,22\n");
        assert_eq!(sheet.to_table(), "BAN ID  N\na,b     1\nc       22\n");
    }

    #[test]
    fn an_empty_sheet_still_has_a_header_in_csv() {
        let sheet = Sheet::new(["ban_id"], []);
        assert_eq!(sheet.to_csv().unwrap(), "ban_id\n");
        assert_eq!(sheet.to_table(), "");
    }

    #[test]
    fn facts_line_up_and_empty_ones_are_left_out() {
        let mut facts = Facts::default();
        facts
            .add("ban", "x")
            .add("list", "")
            .add("reusable until", "now");
        assert_eq!(
            facts.to_text(),
            "  ban             x\n  reusable until  now\n"
        );
    }

    #[test]
    fn other_peoples_words_cannot_steer_the_terminal() {
        assert_eq!(clean("spam\u{1b}[2J\nfraud"), "spam [2J fraud");
    }
}
