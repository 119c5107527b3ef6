//! A refusal as a caller reads it.

use std::collections::HashMap;

use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

/// What a caller was told instead of an answer.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: Code,
    /// The word for machines.
    pub(crate) reason: String,
    /// The paths of the fields at fault.
    pub(crate) fields: Vec<String>,
    /// Text for people.
    pub(crate) message: String,
    /// More facts for machines.
    pub(crate) facts: HashMap<String, String>,
    pub(crate) status: Status,
}

impl Refused {
    /// Takes apart what must be a refusal of ours.
    pub(crate) fn read<T: std::fmt::Debug>(result: Result<Response<T>, Status>) -> Self {
        let status = result.expect_err("this should have been refused");
        let info = status.get_details_error_info();
        let info = info.unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
        assert_eq!(info.domain, "bancheck.v1", "{status:?}");
        let violations = status.get_details_bad_request();
        let violations = violations
            .map(|bad| bad.field_violations)
            .unwrap_or_default();
        Self {
            code: status.code(),
            reason: info.reason,
            fields: violations
                .into_iter()
                .map(|violation| violation.field)
                .collect(),
            message: status.message().to_owned(),
            facts: info.metadata,
            status,
        }
    }

    /// Fails unless this is the code and the reason.
    #[track_caller]
    pub(crate) fn is(&self, code: Code, reason: &str) {
        assert_eq!(
            (self.code, self.reason.as_str()),
            (code, reason),
            "{}",
            self.message
        );
    }

    /// Fails unless one field is at fault, and this one.
    #[track_caller]
    pub(crate) fn blames(&self, field: &str) {
        assert_eq!(self.fields, [field], "{}", self.message);
    }

    /// Fails if any part of the refusal, seen as bytes or as text, holds what nobody should read.
    #[track_caller]
    pub(crate) fn keeps_quiet_about(&self, secret: &str) {
        let told = format!(
            "{:?}{}",
            self.status,
            String::from_utf8_lossy(self.status.details())
        );
        assert!(!told.contains(secret), "{} tells the value", self.reason);
    }
}
