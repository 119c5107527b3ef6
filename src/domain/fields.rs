//! Reading the fields of a request: what is well formed, and how a refusal names what is not.
//!
//! A field's path is written down only when there is something to refuse.

use std::fmt::Display;

use super::{
    ids::{BanId, ListId, MAX_CALLERS_ID, TenantId},
    refusal::{Reason, Refusal},
};

const SLUG: &str = "has the form [a-z0-9][a-z0-9-]{0,62}";

/// The longest id of a request, in bytes.
pub const MAX_REQUEST_ID: usize = 64;

fn required<'a>(field: &str, text: &'a str) -> Result<&'a str, Refusal> {
    if text.is_empty() {
        Err(Refusal::required(field))
    } else {
        Ok(text)
    }
}

/// A tenant's id.
pub fn tenant(text: &str) -> Result<TenantId, Refusal> {
    TenantId::parse(required("tenant", text)?).ok_or_else(|| {
        Refusal::of_field(
            Reason::FieldInvalid,
            "tenant",
            format!("a tenant id {SLUG}"),
        )
    })
}

/// A list's id.
pub fn list_id(field: &str, text: &str) -> Result<ListId, Refusal> {
    ListId::parse(required(field, text)?)
        .ok_or_else(|| Refusal::of_field(Reason::FieldInvalid, field, format!("a list id {SLUG}")))
}

/// A ban's id.
pub fn ban_id(field: &str, text: &str) -> Result<BanId, Refusal> {
    BanId::parse(required(field, text)?).ok_or_else(|| {
        Refusal::of_field(
            Reason::FieldInvalid,
            field,
            "a ban id is a UUID with hyphens",
        )
    })
}

/// An id of the caller's own: up to 128 bytes, opaque, no control characters; empty = none.
pub fn callers_id<'a>(field: &str, text: &'a str) -> Result<&'a str, Refusal> {
    bytes(field, text, MAX_CALLERS_ID)
}

/// An id of the caller's own, which must be there.
pub fn needed<'a>(field: &str, text: &'a str) -> Result<&'a str, Refusal> {
    callers_id(field, required(field, text)?)
}

/// The ids of several queues.
pub fn queues(field: &str, queues: &[String]) -> Result<(), Refusal> {
    for (at, queue) in queues.iter().enumerate() {
        needed(&format!("{field}[{at}]"), queue)?;
    }
    Ok(())
}

/// The id of a request: up to 64 bytes; empty = none.
pub fn request_id(text: &str) -> Result<&str, Refusal> {
    bytes("request_id", text, MAX_REQUEST_ID)
}

/// Any text of up to so many bytes.
pub fn size(field: impl Display, text: &str, most: usize) -> Result<(), Refusal> {
    if text.len() <= most {
        return Ok(());
    }
    let message = format!("{} bytes; at most {most} are taken", text.len());
    Err(Refusal::of_field(
        Reason::ValueTooLong,
        field.to_string(),
        message,
    ))
}

/// A text of up to so many bytes, on one line.
pub fn bytes<'a>(field: &str, text: &'a str, most: usize) -> Result<&'a str, Refusal> {
    size(field, text, most)?;
    no_controls(field, text, |_| false)
}

/// A text of up to so many characters, which may have several lines.
pub fn text<'a>(field: &str, text: &'a str, most: usize) -> Result<&'a str, Refusal> {
    let length = text.chars().count();
    if length > most {
        let message = format!("{length} characters; at most {most} are kept");
        return Err(Refusal::of_field(Reason::ValueTooLong, field, message));
    }
    no_controls(field, text, |c| matches!(c, '\n' | '\t'))
}

fn no_controls<'a>(
    field: &str,
    text: &'a str,
    but: impl Fn(char) -> bool,
) -> Result<&'a str, Refusal> {
    if text.chars().any(|c| c.is_control() && !but(c)) {
        let message = "control characters are not kept";
        return Err(Refusal::of_field(Reason::FieldInvalid, field, message));
    }
    Ok(text)
}

/// A list of up to so many items.
pub fn items<'a, T>(field: &str, items: &'a [T], most: usize) -> Result<&'a [T], Refusal> {
    count(field, items.len(), most)?;
    Ok(items)
}

/// The number of items, of which so many are taken.
pub fn count(field: &str, items: usize, most: usize) -> Result<(), Refusal> {
    if items > most {
        let message = format!("{items} items; at most {most} are taken");
        return Err(Refusal::of_field(Reason::TooManyItems, field, message));
    }
    Ok(())
}

/// The thing that a number of the wire stands for.
pub fn known<T>(
    field: impl Display,
    number: i32,
    read: impl Fn(i32) -> Option<T>,
) -> Result<Option<T>, Refusal> {
    match (number, read(number)) {
        (0, _) => Ok(None),
        (_, Some(known)) => Ok(Some(known)),
        (_, None) => {
            let message = format!("{number} is not a value of this enum");
            Err(Refusal::of_field(
                Reason::FieldInvalid,
                field.to_string(),
                message,
            ))
        }
    }
}
