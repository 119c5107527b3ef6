//! Which column of the file is which: by the usual names, or as the caller maps them.

use std::str::FromStr;

use anyhow::bail;

/// The column that says why a row failed; an import does not read it, so the file can be run as it
/// is once the row is mended.
pub(super) const CAUSE: &str = "error";

/// What a column may tell about a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Value,
    Reason,
    ExpireTime,
    ReasonCode,
    Region,
    Kind,
    Issuer,
    Channel,
    Match,
    StartTime,
    Targets,
    Enforcement,
}

/// Every field with the names it goes by, the first being ours; spelt as [`plain`] has them.
const NAMES: [(Field, &[&str]); 12] = [
    (Field::Value, &["value", "number", "phone", "identity"]),
    (Field::Reason, &["reason"]),
    (Field::ExpireTime, &["expiretime", "expires"]),
    (Field::ReasonCode, &["reasoncode"]),
    (Field::Region, &["region"]),
    (Field::Kind, &["kind"]),
    (Field::Issuer, &["issuer"]),
    (Field::Channel, &["channel", "channels"]),
    (Field::Match, &["match", "matchkind"]),
    (Field::StartTime, &["starttime", "starts"]),
    (Field::Targets, &["targets"]),
    (Field::Enforcement, &["enforcement"]),
];

/// `--map ours=theirs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rename {
    ours: Field,
    theirs: String,
}

impl FromStr for Rename {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ours, theirs) = text
            .split_once('=')
            .ok_or("not OURS=THEIRS, such as value=e164")?;
        let field = NAMES
            .iter()
            .find(|(_, names)| names.contains(&plain(ours).as_str()));
        match field {
            Some((field, _)) if !theirs.is_empty() => Ok(Self {
                ours: *field,
                theirs: theirs.to_owned(),
            }),
            Some(_) => Err("THEIRS is empty".to_owned()),
            None => Err(format!(
                "`{ours}` is none of value, reason, expire_time, reason_code, region, kind, \
                 issuer, channel, match, start_time"
            )),
        }
    }
}

/// Where in a row each field is: in the first of these columns that has something in the row, since one
/// object may call it so and the next otherwise.
#[derive(Debug)]
pub(super) struct Columns(Vec<(Field, usize)>);

impl Columns {
    /// Finds the fields in a header. Only the value has to be there.
    pub(super) fn find(header: &[String], renames: &[Rename]) -> anyhow::Result<Self> {
        let mut columns = Vec::new();
        for (field, names) in NAMES {
            let mapped = renames.iter().rev().find(|rename| rename.ours == field);
            let Some(Rename { theirs, .. }) = mapped else {
                let found = names.iter().filter_map(|name| position(header, name));
                columns.extend(found.map(|at| (field, at)));
                continue;
            };
            let exact = header.iter().position(|name| name == theirs);
            let Some(at) = exact.or_else(|| position(header, &plain(theirs))) else {
                bail!("no column `{theirs}`; the file has {}", header.join(", "));
            };
            columns.push((field, at));
        }
        let columns = Self(columns);
        let tells = |field| columns.all(field).next().is_some();
        if !tells(Field::Value) && !tells(Field::Targets) {
            bail!(
                "no column value, number, phone or identity; the file has {}: name the right one \
                 with --map value=NAME",
                header.join(", ")
            );
        }
        Ok(columns)
    }

    /// The cell of a field; empty where the file has no such column.
    pub(super) fn cell<'a>(&self, cells: &'a [String], field: Field) -> &'a str {
        let mut told = self.all(field).filter_map(|at| cells.get(at));
        let first = told.find_map(|cell| Some(cell.trim()).filter(|cell| !cell.is_empty()));
        first.unwrap_or_default()
    }

    /// The name of the first field among these columns.
    pub(super) fn name_of(&self, columns: &[usize]) -> Option<&'static str> {
        let (field, _) = self.0.iter().find(|(_, at)| columns.contains(at))?;
        let (_, names) = NAMES.iter().find(|(one, _)| one == field)?;
        names.first().copied()
    }

    /// The columns that tell nothing to an import, so that a misspelt one is noticed.
    pub(super) fn unread<'a>(&self, header: &'a [String]) -> Vec<&'a str> {
        let read = |at: usize| self.0.iter().any(|(_, column)| *column == at);
        let unread = header
            .iter()
            .enumerate()
            .filter(|(at, name)| !read(*at) && *name != CAUSE);
        unread.map(|(_, name)| name.as_str()).collect()
    }

    fn all(&self, field: Field) -> impl Iterator<Item = usize> {
        let of_field = self.0.iter().filter(move |(column, _)| *column == field);
        of_field.map(|(_, at)| *at)
    }
}

fn position(header: &[String], name: &str) -> Option<usize> {
    header.iter().position(|theirs| plain(theirs) == name)
}

/// A name without case and punctuation: `Expire time`, `expire_time` and `expireTime` are one.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(names: &str) -> Vec<String> {
        names.split(',').map(str::to_owned).collect()
    }

    fn cell(names: &str, maps: &[&str], field: Field) -> String {
        let maps: Vec<Rename> = maps.iter().map(|map| map.parse().unwrap()).collect();
        let header = header(names);
        // Every cell holds the name of its column.
        Columns::find(&header, &maps)
            .unwrap()
            .cell(&header, field)
            .to_owned()
    }

    #[test]
    fn a_column_goes_by_any_of_its_names_however_they_are_spelt() {
        for name in ["value", "Number", "PHONE", "identity"] {
            assert_eq!(cell(&format!("x,{name}"), &[], Field::Value), name);
        }
        for name in ["expire_time", "expireTime", "Expire time", "expires"] {
            assert_eq!(cell(&format!("value,{name}"), &[], Field::ExpireTime), name);
        }
        assert_eq!(cell("phone,value", &[], Field::Value), "value");
    }

    #[test]
    fn what_one_row_calls_so_and_the_next_otherwise_is_the_same_field() {
        let columns = Columns::find(&header("phone,reason,number"), &[]).unwrap();
        let value = |cells| columns.cell(&header(cells), Field::Value).to_owned();
        assert_eq!(
            [value("1,x,"), value(",x,2"), value("1,x,2")],
            ["1", "2", "2"]
        );
    }

    #[test]
    fn a_mapped_column_is_read_under_the_files_name() {
        assert_eq!(cell("number,e164", &["value=e164"], Field::Value), "e164");
        assert_eq!(cell("value,Why", &["reason=why"], Field::Reason), "Why");
    }

    #[test]
    fn a_column_that_is_not_there_is_empty_unless_it_was_mapped() {
        assert_eq!(cell("value", &[], Field::Reason), "");
        let maps = ["reason=why".parse().unwrap()];
        let error = Columns::find(&header("value"), &maps).unwrap_err();
        assert_eq!(error.to_string(), "no column `why`; the file has value");
    }

    #[test]
    fn a_file_without_a_value_is_refused_and_told_how_to_map_it() {
        let error = Columns::find(&header("e164,why"), &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("e164, why") && error.contains("--map value="),
            "{error}"
        );
    }

    #[test]
    fn a_map_must_name_a_column_of_ours() {
        for bad in ["e164", "nothing=e164", "value="] {
            assert!(bad.parse::<Rename>().is_err(), "{bad}");
        }
    }

    #[test]
    fn columns_not_read_are_named_but_for_the_cause_of_an_earlier_failure() {
        let header = header("value,resaon,error");
        assert_eq!(
            Columns::find(&header, &[]).unwrap().unread(&header),
            ["resaon"]
        );
    }
}
