//! A row of the file as the row of the stream that it stands for.

use std::{io, sync::Arc};

use clap::ValueEnum;
use prost::Message;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    columns::{Columns, Field},
    source::{self, Source},
};
use crate::{
    api::v1::{
        Channel, Identity, IdentityKind, MatchKind, create_ban_request,
        import_bans_request::{Row, row::Expiry},
    },
    cli::{expiry::Lasting, moment},
};

/// The largest row in bytes, as it is sent: a part of an import is no larger.
const LARGEST: usize = 1 << 20;

/// A file whose rows are understood.
pub(super) struct Understood {
    /// The file.
    pub(super) source: Source,
    /// Which of its columns is which.
    pub(super) columns: Columns,
    /// What its rows leave open.
    pub(super) template: Template,
}

/// A row of the stream, or the number of one that stands for none, and why.
pub(super) type Asked = Result<Row, (usize, String)>;

impl Understood {
    /// What each row asks for, from the first on.
    pub(super) fn rows(
        self: &Arc<Self>,
    ) -> io::Result<impl Iterator<Item = io::Result<Asked>> + Send + use<>> {
        let understood = Arc::clone(self);
        let rows = self.source.rows()?;
        Ok(rows.map(move |row| {
            let row = row?;
            let asked = understood.template.row(&row, &understood.columns);
            let asked = asked.and_then(|asked| match asked.encoded_len() {
                0..=LARGEST => Ok(asked),
                _ => Err(format!("the row has more than {LARGEST} bytes")),
            });
            Ok(asked.map_err(|cause| (row.number, cause)))
        }))
    }
}

/// What the rows of an import are known by.
#[derive(Clone, Default)]
pub(super) struct Content {
    /// How many there are.
    pub(super) count: u64,
    digest: Sha256,
}

impl Content {
    /// Adds a row.
    pub(super) fn add(&mut self, row: &Row) {
        self.count += 1;
        self.digest.update(row.encode_length_delimited_to_vec());
    }

    /// The same only for the same rows in the same order.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
    }
}

/// What holds for every row that does not say otherwise.
#[derive(Default)]
pub(super) struct Template {
    /// The row without its target.
    pub(super) row: Row,
    /// The target without its value.
    pub(super) target: Identity,
}

impl Template {
    /// The row that a row of the file stands for, or why it stands for none.
    ///
    /// Nothing is judged here that the server judges: whether a value is a number is for the one
    /// who compares them to say.
    pub(super) fn row(&self, row: &source::Row, columns: &Columns) -> Result<Row, String> {
        if let Some(broken) = &row.broken {
            return Err(broken.clone());
        }
        if let Some(name) = columns.name_of(&row.no_text) {
            return Err(format!("{name} is neither a text nor a number"));
        }
        let cell = |field| Some(columns.cell(&row.cells, field)).filter(|cell| !cell.is_empty());
        if cell(Field::Enforcement).is_some_and(|how| !how.eq_ignore_ascii_case("enforced")) {
            return Err("a ban that only watches cannot be imported: it would deny".to_owned());
        }
        let mut asked = self.row.clone();
        asked.row_number = i32::try_from(row.number).map_err(|_| "too many rows")?;
        let several = cell(Field::Targets).filter(|targets| targets.starts_with('['));
        asked.targets = if let Some(several) = several {
            several_targets(several)?
        } else {
            let value = cell(Field::Value).ok_or("the row has no value")?;
            let mut target = self.target.clone();
            value.clone_into(&mut target.value);
            if let Some(kind) = cell(Field::Kind) {
                target.set_kind(one_of::<IdentityKind>(kind, "kind")?);
            }
            if let Some(issuer) = cell(Field::Issuer) {
                issuer.clone_into(&mut target.issuer);
            }
            if let Some(region) = cell(Field::Region) {
                region.clone_into(&mut target.region_hint);
            }
            vec![target]
        };
        if let Some(channels) = cell(Field::Channel) {
            asked.channels = several_channels(channels)?;
        }
        if let Some(how) = cell(Field::Match) {
            asked.set_match_kind(one_of::<MatchKind>(how, "match")?);
        }
        if let Some(reason) = cell(Field::Reason) {
            reason.clone_into(&mut asked.reason);
        }
        if let Some(code) = cell(Field::ReasonCode) {
            code.clone_into(&mut asked.reason_code);
        }
        if let Some(start) = cell(Field::StartTime) {
            let start = moment::instant(start);
            asked.start_time = Some(start.map_err(|_| {
                "start_time is no time with its offset (2026-12-31T23:59:59Z)".to_owned()
            })?);
        }
        if let Some(end) = cell(Field::ExpireTime) {
            asked.expiry = Some(expiry(end)?);
        }
        Ok(asked)
    }
}

/// Several targets of one ban, as `ban export` writes them: a JSON array of objects.
fn several_targets(text: &str) -> Result<Vec<Identity>, String> {
    let wrong = || "targets is no list of objects with kind, value and issuer".to_owned();
    let all: Vec<Value> = serde_json::from_str(text).map_err(|_| wrong())?;
    all.iter()
        .map(|one| {
            let part = |name: &str| one.get(name).and_then(Value::as_str).unwrap_or_default();
            let mut identity = Identity {
                value: part("value").to_owned(),
                issuer: part("issuer").to_owned(),
                ..Identity::default()
            };
            if identity.value.is_empty() {
                return Err(wrong());
            }
            if !part("kind").is_empty() {
                identity.set_kind(one_of::<IdentityKind>(part("kind"), "kind")?);
            }
            Ok(identity)
        })
        .collect()
}

/// An end as a row has it.
pub(super) fn expiry_of(expiry: create_ban_request::Expiry) -> Expiry {
    match expiry {
        create_ban_request::Expiry::ExpireTime(at) => Expiry::ExpireTime(at),
        create_ban_request::Expiry::Timeout(period) => Expiry::Timeout(period),
        create_ban_request::Expiry::Permanent(yes) => Expiry::Permanent(yes),
    }
}

fn several_channels(text: &str) -> Result<Vec<i32>, String> {
    let words = text
        .split([';', ',', '|'])
        .map(str::trim)
        .filter(|word| !word.is_empty());
    words
        .map(|word| one_of::<Channel>(word, "channel").map(Into::into))
        .collect()
}

/// Reads an end: an instant, a period or `permanent`.
fn expiry(text: &str) -> Result<Expiry, String> {
    if let Ok(time) = moment::instant(text) {
        return Ok(Expiry::ExpireTime(time));
    }
    let lasting: Result<Lasting, _> = text.parse();
    lasting
        .map(|lasting| expiry_of(lasting.into()))
        .map_err(|_| {
            "expire_time is no time with its offset (2026-12-31T23:59:59Z), no period (6 days) and \
         not `permanent`"
                .to_owned()
        })
}

/// Reads a word of the contract. A wrong one is not repeated: it may be a value that slipped into
/// the next column.
fn one_of<T: ValueEnum>(word: &str, column: &str) -> Result<T, String> {
    T::from_str(word, true).map_err(|_| format!("{column} is not one of those known"))
}

#[cfg(test)]
mod tests {
    use super::{
        super::source::{Form, Raw},
        *,
    };

    /// What one row under a header asks for.
    fn asked(header: &str, cells: &str) -> Result<Row, String> {
        let split = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        let columns = Columns::find(&split(header), &[]).unwrap();
        let row = Row {
            channels: vec![Channel::Call.into()],
            reason: "imported".to_owned(),
            ..Row::default()
        };
        let template = Template {
            row,
            target: Identity::default(),
        };
        template.row(
            &source::Row {
                number: 1,
                cells: split(cells),
                no_text: Vec::new(),
                broken: None,
                raw: Raw::Line(cells.into()),
            },
            &columns,
        )
    }

    #[test]
    fn a_row_says_only_what_it_says_and_the_flags_say_the_rest() {
        let plain = asked("value,reason,channel", " 601123456 ,,").unwrap();
        assert_eq!(plain.targets[0].value, "601123456");
        assert_eq!(plain.reason, "imported");
        assert_eq!(plain.channels, [3]);
        let full = asked(
            "value,reason,channel,kind,region,reason_code,match",
            "4206,fraud,SMS|call,PHONE_NUMBER,CZ,F1,exact",
        );
        let full = full.unwrap();
        assert_eq!(
            (full.reason.as_str(), full.reason_code.as_str()),
            ("fraud", "F1")
        );
        assert_eq!((full.channels, full.match_kind), (vec![4, 3], 1));
        assert_eq!(
            (full.targets[0].kind, full.targets[0].region_hint.as_str()),
            (4, "CZ")
        );
    }

    #[test]
    fn an_end_may_be_a_time_a_period_or_none() {
        let end = |text: &str| asked("value,expires", &format!("1,{text}")).map(|r| r.expiry);
        assert!(matches!(
            end("2026-12-31T00:00:00Z"),
            Ok(Some(Expiry::ExpireTime(_)))
        ));
        assert!(matches!(end("6 days"), Ok(Some(Expiry::Timeout(_)))));
        assert_eq!(end("permanent"), Ok(Some(Expiry::Permanent(true))));
        assert_eq!(end(""), Ok(None));
        assert!(end("31.12.2026").is_err());
    }

    #[test]
    fn a_row_that_cannot_be_understood_says_which_column_and_never_what_stood_there() {
        for (header, cells, column) in [
            ("value,reason", ",x", "value"),
            ("value,channel", "1,+420601123456", "channel"),
            ("value,kind", "1,+420601123456", "kind"),
            ("value,expires", "1,+420601123456", "expire_time"),
        ] {
            let cause = asked(header, cells).unwrap_err();
            assert!(cause.contains(column) && !cause.contains("601"), "{cause}");
        }
    }

    #[test]
    fn what_is_neither_a_text_nor_a_number_is_no_value_unless_nobody_reads_it() {
        let lines = b"{\"value\":true}\n{\"value\":[1,false]}\n{\"value\":{}}\n{\"value\":1,\"vip\":true}\n";
        let source = Source::with(lines, Form::Ndjson);
        let columns = Columns::find(&source.header, &[]).unwrap();
        let template = Template::default();
        let rows = source.rows().unwrap().map(Result::unwrap);
        let told: Vec<_> = rows.map(|row| template.row(&row, &columns)).collect();
        for refused in &told[..3] {
            let cause = refused.as_ref().unwrap_err();
            assert_eq!(cause, "value is neither a text nor a number");
        }
        assert_eq!(told[3].as_ref().unwrap().targets[0].value, "1");
    }

    #[test]
    fn several_targets_come_as_they_were_exported() {
        let one = r#"[{"kind":"phone-number","value":"1"},{"kind":"sip-uri","value":"sip:a@b"}]"#;
        let columns = Columns::find(&["targets".to_owned()], &[]).unwrap();
        let template = Template {
            row: Row::default(),
            target: Identity::default(),
        };
        let read = |cell: &str| {
            let row = source::Row {
                number: 7,
                cells: vec![cell.to_owned()],
                no_text: Vec::new(),
                broken: None,
                raw: Raw::Line(cell.into()),
            };
            template.row(&row, &columns)
        };
        let row = read(one).unwrap();
        assert_eq!((row.row_number, row.targets.len()), (7, 2));
        assert_eq!(row.targets[1].kind, IdentityKind::SipUri as i32);
        for bad in ["[1]", "+420601123456", r#"[{"kind":"phone-number"}]"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_only_watched_is_not_made_to_deny() {
        assert!(asked("value,enforcement", "1,shadow").is_err());
        assert!(asked("value,enforcement", "1,enforced").is_ok());
    }
}
