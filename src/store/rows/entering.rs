//! Rows on their way into a statement, all of them in one JSON parameter.
//!
//! Where their values are found by place, each is an array. Else each is an object of what it has of its
//! own, beside one of what all have in common: most of what is imported together is the same in each
//! row, and a database takes apart what it is given a letter at a time.

use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};

use super::to_json;
use crate::store::Result;

/// Rows that enter a statement by the thousand, as one JSON parameter.
///
/// The fields are in the order of the statement's columns, for where rows enter as arrays.
macro_rules! entering {
    ($($(#[$doc:meta])* $vis:vis struct $name:ident { $($field:ident: $type:ty,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        $vis struct $name {
            $($field: $type,)+
        }

        impl crate::store::rows::Entering for $name {
            const FIELDS: &'static [&'static str] = &[$(stringify!($field)),+];

            fn cells<S: serde::ser::SerializeSeq>(&self, cells: &mut S) -> Result<(), S::Error> {
                $(cells.serialize_element(&self.$field)?;)+
                Ok(())
            }

            fn named<S: serde::ser::SerializeMap>(
                &self,
                which: &[bool],
                named: &mut S,
            ) -> Result<(), S::Error> {
                let mut which = which.iter();
                $(if which.next() == Some(&true) {
                    named.serialize_entry(stringify!($field), &self.$field)?;
                })+
                Ok(())
            }

            fn compare(&self, other: &Self, alike: &mut [bool]) {
                let mut alike = alike.iter_mut();
                $(if let Some(alike) = alike.next() {
                    *alike = *alike && self.$field == other.$field;
                })+
            }
        }
    )+};
}

/// A row that enters a statement.
pub(in crate::store) trait Entering {
    /// Its fields' names, in their order.
    const FIELDS: &'static [&'static str];

    /// Writes its fields' values, in their order.
    fn cells<S: SerializeSeq>(&self, cells: &mut S) -> Result<(), S::Error>;

    /// Writes those of its fields that are marked, by their names.
    fn named<S: SerializeMap>(&self, which: &[bool], named: &mut S) -> Result<(), S::Error>;

    /// Takes the mark from the fields that another row has otherwise.
    fn compare(&self, other: &Self, alike: &mut [bool]);
}

/// Rows as the one JSON parameter of a statement that puts them in.
pub(in crate::store) fn entering<T: Entering>(rows: &[T], by_place: bool) -> Result<String> {
    if by_place {
        return to_json(&rows.iter().map(Cells).collect::<Vec<_>>());
    }
    let mut alike = vec![true; T::FIELDS.len()];
    for pair in rows.windows(2) {
        pair[0].compare(&pair[1], &mut alike);
    }
    let own: Vec<bool> = alike.iter().map(|alike| !alike).collect();
    to_json(&Together {
        all: rows.first().map(|first| Named(first, &alike)),
        each: rows.iter().map(|row| Named(row, &own)).collect(),
    })
}

/// A row as an array of its values.
struct Cells<'a, T>(&'a T);

/// A row as an object of the fields that are marked.
struct Named<'a, T>(&'a T, &'a [bool]);

/// What all rows have in common, and what each has beside it.
#[derive(Serialize)]
#[serde(bound = "T: Entering")]
struct Together<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<Named<'a, T>>,
    each: Vec<Named<'a, T>>,
}

impl<T: Entering> Serialize for Cells<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut cells = serializer.serialize_seq(Some(T::FIELDS.len()))?;
        self.0.cells(&mut cells)?;
        cells.end()
    }
}

impl<T: Entering> Serialize for Named<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut named = serializer.serialize_map(None)?;
        self.0.named(self.1, &mut named)?;
        named.end()
    }
}
