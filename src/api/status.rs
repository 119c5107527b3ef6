//! Refusals as gRPC statuses: one table.

use std::{collections::HashMap, time::Duration};

use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    domain::refusal::{Class, Reason, Refusal},
    telemetry::refused,
};

/// The domain of every reason.
const DOMAIN: &str = "bancheck.v1";
/// When to try again what failed for want of something.
const RETRY: Duration = Duration::from_millis(200);

const fn code(class: Class) -> Code {
    match class {
        Class::Argument => Code::InvalidArgument,
        Class::Missing => Code::NotFound,
        Class::Exists => Code::AlreadyExists,
        Class::State => Code::FailedPrecondition,
        Class::Denied => Code::PermissionDenied,
        Class::UnknownCaller => Code::Unauthenticated,
        Class::Conflict => Code::Aborted,
        Class::Past => Code::OutOfRange,
        Class::Exhausted => Code::ResourceExhausted,
        Class::Unavailable => Code::Unavailable,
        Class::Late => Code::DeadlineExceeded,
        Class::Unknown => Code::Unimplemented,
        Class::Fault => Code::Internal,
    }
}

/// What the transport says of a message that is too large.
const TOO_LARGE: &str = "Error, decoded message length too large: ";

/// A status of the transport, in the contract's words where it has some.
pub(super) fn in_our_words(status: Status) -> Status {
    match status.message().strip_prefix(TOO_LARGE) {
        Some(sizes) if status.code() == Code::OutOfRange => of_sizes(sizes),
        _ => status,
    }
}

/// What is told of a message of so many bytes where no more than `most` may be.
pub(super) fn too_large(found: usize, most: usize) -> Status {
    of_sizes(&format!("found {found} bytes, the limit is: {most} bytes"))
}

fn of_sizes(sizes: &str) -> Status {
    let message = format!("the message is too large, split it: {sizes}");
    to_status(&Refusal::new(Reason::MessageTooLarge, message))
}

/// What the caller of one thing among many is told, within a message.
pub(super) fn to_rpc_status(refusal: &Refusal) -> tonic_types::Status {
    let status = to_status(refusal);
    // The details of a status are this very message: its code and text are in them as well.
    tonic_types::Status::decode(status.details()).unwrap_or_else(|_| tonic_types::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

/// What a caller is told.
pub fn to_status(refusal: &Refusal) -> Status {
    let Refusal {
        reason,
        message,
        field,
        fact,
    } = refusal;
    refused(*reason);
    let (word, class) = reason.word();
    let metadata: HashMap<String, String> = fact
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    let mut details = ErrorDetails::with_error_info(word, DOMAIN, metadata);
    if !field.is_empty() && class == Class::Argument {
        details.add_bad_request_violation(field, message);
    }
    // After a commit of unknown outcome too: the same request_id makes it safe.
    // A message too large and a quota used up stay so, however often they are tried.
    let passing = matches!(reason, Reason::Overloaded | Reason::RateLimited);
    if matches!(class, Class::Unavailable) || passing {
        details.set_retry_info(Some(RETRY));
    }
    let text = if field.is_empty() {
        message.clone()
    } else {
        format!("{field}: {message}")
    };
    Status::with_error_details(code(class), text, details)
}
