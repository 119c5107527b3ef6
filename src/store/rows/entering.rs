//! Rows on their way into a statement, all of them in one JSON parameter.
//!
//! What all have in common is told once: most of what is imported together is the same in each row. Beside
//! it come the rows, as arrays where their values are found by place, else a column at a time; as objects
//! they would be taken apart a name at a time.

use std::collections::BTreeMap;

use serde::Serialize;

use super::to_json;
use crate::store::Result;

/// Rows that enter a statement by the thousand, as one JSON parameter.
macro_rules! entering {
    ($($(#[$doc:meta])* $vis:vis struct $name:ident { $($field:ident: $type:ty,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        $vis struct $name {
            $($field: $type,)+
        }

        impl crate::store::rows::Entering for $name {
            const FIELDS: &'static [&'static str] = &[$(stringify!($field)),+];

            fn cells(&self) -> Vec<crate::store::rows::Cell<'_>> {
                vec![$((&self.$field).into()),+]
            }
        }
    )+};
}

/// A row that enters a statement.
pub(in crate::store) trait Entering {
    /// Its fields' names, in their order.
    const FIELDS: &'static [&'static str];

    /// Its fields' values, in their order.
    fn cells(&self) -> Vec<Cell<'_>>;
}

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(in crate::store) enum Cell<'a> {
    Nothing,
    Whole(i64),
    Text(&'a str),
}

/// Rows, for a database that finds values by their places in a row.
#[derive(Serialize)]
struct ByPlace<'a> {
    all: Named<Cell<'a>>,
    /// Where in a row each field is that not all have in common.
    at: Named<usize>,
    each: Vec<Vec<Cell<'a>>>,
}

/// Rows, for a database that takes in a column at a time.
#[derive(Serialize)]
struct ByColumn<'a> {
    all: Named<Cell<'a>>,
    each: Named<Vec<Cell<'a>>>,
}

type Named<T> = BTreeMap<&'static str, T>;

/// Rows as the one JSON parameter of a statement that puts them in.
pub(in crate::store) fn entering<T: Entering>(rows: &[T], by_place: bool) -> Result<String> {
    let rows: Vec<_> = rows.iter().map(T::cells).collect();
    let (mut all, mut own) = (Named::new(), Vec::new());
    for (place, field) in T::FIELDS.iter().enumerate() {
        let mut cells = rows.iter().map(|row| row[place]);
        // By the first column it is known how many rows there are.
        match cells.next().filter(|_| place > 0) {
            Some(first) if cells.all(|cell| cell == first) => {
                all.insert(*field, first);
            }
            _ => own.push((place, *field)),
        }
    }
    if by_place {
        let each = |row: &Vec<_>| own.iter().map(|(place, _)| row[*place]).collect();
        to_json(&ByPlace {
            all,
            at: own
                .iter()
                .enumerate()
                .map(|(at, (_, field))| (*field, at))
                .collect(),
            each: rows.iter().map(each).collect(),
        })
    } else {
        let column = |place: usize| rows.iter().map(|row| row[place]).collect();
        to_json(&ByColumn {
            all,
            each: own
                .iter()
                .map(|(place, field)| (*field, column(*place)))
                .collect(),
        })
    }
}

impl<'a> From<&'a String> for Cell<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a Option<String>> for Cell<'a> {
    fn from(text: &'a Option<String>) -> Self {
        text.as_ref().map_or(Self::Nothing, Self::from)
    }
}

impl From<&Option<i64>> for Cell<'_> {
    fn from(number: &Option<i64>) -> Self {
        number.as_ref().map_or(Self::Nothing, Self::from)
    }
}

macro_rules! whole {
    ($($type:ty)+) => {$(
        impl From<&$type> for Cell<'_> {
            fn from(value: &$type) -> Self {
                // No database here has more.
                Self::Whole(i64::try_from(*value).unwrap_or(i64::MAX))
            }
        }
    )+};
}

whole!(u8 u16 u32 u64 usize i32 i64);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    entering! {
        struct Guest {
            id: String,
            room: u8,
            leaves: Option<i64>,
        }
    }

    fn guest(id: &str, room: u8, leaves: Option<i64>) -> Guest {
        let id = id.to_owned();
        Guest { id, room, leaves }
    }

    fn told(guests: &[Guest], by_place: bool) -> Value {
        serde_json::from_str(&entering(guests, by_place).unwrap()).unwrap()
    }

    #[test]
    fn what_all_rows_have_in_common_is_told_once() {
        let guests = [guest("a", 7, Some(3)), guest("b", 7, None)];
        let columns = json!({"all": {"room": 7}, "each": {"id": ["a", "b"], "leaves": [3, null]}});
        assert_eq!(told(&guests, false), columns);
        let rows = json!({
            "all": {"room": 7}, "at": {"id": 0, "leaves": 1}, "each": [["a", 3], ["b", null]],
        });
        assert_eq!(told(&guests, true), rows);
    }

    #[test]
    fn rows_that_differ_in_nothing_are_as_many_as_they_are() {
        let one = json!({"all": {"room": 7, "leaves": null}, "each": {"id": ["a"]}});
        assert_eq!(told(&[guest("a", 7, None)], false), one);
        let two = [guest("a", 7, None), guest("a", 7, None)];
        assert_eq!(told(&two, false)["each"], json!({"id": ["a", "a"]}));
        let none = json!({"all": {}, "each": {"id": [], "room": [], "leaves": []}});
        assert_eq!(told(&[], false), none);
        assert_eq!(told(&[], true)["each"], json!([]));
    }
}
