//! Refusals as gRPC statuses: one table.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::domain::refusal::{Class, Reason, Refusal};

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
        Class::Conflict => Code::Aborted,
        Class::Past => Code::OutOfRange,
        Class::Exhausted => Code::ResourceExhausted,
        Class::Unavailable => Code::Unavailable,
        Class::Late => Code::DeadlineExceeded,
        Class::Unknown => Code::Unimplemented,
        Class::Fault => Code::Internal,
    }
}

/// What a caller is told.
pub fn to_status(refusal: &Refusal) -> Status {
    let Refusal {
        reason,
        message,
        field,
        fact,
    } = refusal;
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
    if matches!(class, Class::Unavailable) || *reason == Reason::Overloaded {
        details.set_retry_info(Some(RETRY));
    }
    let text = if field.is_empty() {
        message.clone()
    } else {
        format!("{field}: {message}")
    };
    Status::with_error_details(code(class), text, details)
}
