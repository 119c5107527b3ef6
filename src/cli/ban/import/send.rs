//! One request after another to the server, with patience for a server that is busy.

use std::{cell::RefCell, collections::BTreeMap, error::Error, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::report::Verdict;
use crate::{
    api::v1::{CreateBanRequest, admin_service_client::AdminServiceClient},
    cli::{connection::Line, failure},
};

/// How often one row is sent before it counts as failed; with the pauses, some 25 seconds.
const ATTEMPTS: u32 = 9;
/// The pause after the first attempt; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause, also where the server asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Sends the rows of one import.
pub(super) struct Sender {
    client: AdminServiceClient<Line>,
    /// Why no more is sent. Every row would meet the same refusal, and wait for it.
    given_up: RefCell<Option<String>>,
    /// How many bans were made under each warning.
    warnings: RefCell<BTreeMap<String, usize>>,
}

impl Sender {
    pub(super) fn new(client: AdminServiceClient<Line>) -> Self {
        Self {
            client,
            given_up: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    /// The warnings that came with the answers, and how often each did.
    pub(super) fn warnings(&self) -> BTreeMap<String, usize> {
        self.warnings.borrow().clone()
    }

    /// Has the server make one ban.
    ///
    /// Sending again is safe: by the request's id, the server does once what it is asked twice.
    pub(super) async fn send(&self, request: CreateBanRequest) -> Verdict {
        let mut attempt = 1;
        loop {
            if let Some(cause) = self.given_up.borrow().as_ref() {
                return Verdict::Failed(format!("not sent: {cause}"));
            }
            let status = match self.client.clone().create_ban(request.clone()).await {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    for warning in answer.warnings {
                        *self.warnings.borrow_mut().entry(warning.code).or_default() += 1;
                    }
                    return Verdict::Created(answer.ban.unwrap_or_default().ban_id);
                }
                Err(status) => status,
            };
            if !is_passing(&status) {
                return self.verdict(&status);
            }
            if attempt == ATTEMPTS {
                let cause = cause(&status);
                self.given_up.replace(Some(cause.clone()));
                return Verdict::Failed(cause);
            }
            tokio::time::sleep(pause(&status, attempt)).await;
            attempt += 1;
        }
    }

    fn verdict(&self, status: &Status) -> Verdict {
        if status.code() == Code::AlreadyExists && failure::reason(status) != "REQUEST_ID_REUSED" {
            return Verdict::Duplicate(failure::fact(status, "ban_id").unwrap_or_default());
        }
        let cause = cause(status);
        if concerns_every_row(status) {
            self.given_up.replace(Some(cause.clone()));
        }
        Verdict::Failed(cause)
    }
}

/// What a failed row is told: the server's reason, then its words.
fn cause(status: &Status) -> String {
    match failure::reason(status).as_str() {
        "" => failure::headline(status),
        reason => format!("{reason}: {}", failure::headline(status)),
    }
}

/// Whether the same request may well succeed later.
fn is_passing(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        Code::ResourceExhausted => !matches!(
            failure::reason(status).as_str(),
            "MESSAGE_TOO_LARGE" | "QUOTA"
        ),
        // No server said so: the connection broke under a request, and the next one may hold.
        Code::Unknown => status.source().is_some(),
        _ => failure::ran_out_of_time(status),
    }
}

/// Whether the refusal is of the run as a whole and not of the row.
fn concerns_every_row(status: &Status) -> bool {
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied | Code::NotFound | Code::Unimplemented => {
            true
        }
        _ => failure::reason(status) == "QUOTA",
    }
}

/// How long to wait after a number of attempts: what the server asks for, else longer each time.
fn pause(status: &Status, attempt: u32) -> Duration {
    let asked = status
        .get_error_details()
        .retry_info()
        .and_then(|info| info.retry_delay);
    let own = FIRST_PAUSE.saturating_mul(1 << (attempt - 1).min(16));
    asked.map_or(own, |asked| asked.max(own)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    fn status(code: Code, reason: &str) -> Status {
        let details = ErrorDetails::with_error_info(reason, "bancheck.v1", HashMap::new());
        Status::with_error_details(code, "m", details)
    }

    #[test]
    fn what_may_pass_is_sent_again_and_what_will_not_is_not() {
        assert!(is_passing(&status(Code::Unavailable, "STORE_UNAVAILABLE")));
        assert!(is_passing(&status(Code::ResourceExhausted, "RATE_LIMITED")));
        assert!(is_passing(&Status::cancelled("Timeout expired")));
        assert!(!is_passing(&status(
            Code::ResourceExhausted,
            "MESSAGE_TOO_LARGE"
        )));
        assert!(!is_passing(&status(
            Code::InvalidArgument,
            "INVALID_IDENTIFIER"
        )));
        assert!(!is_passing(&Status::unknown("a bug")));
    }

    #[test]
    fn what_concerns_every_row_is_told_apart_from_one_bad_row() {
        assert!(concerns_every_row(&status(
            Code::NotFound,
            "BAN_LIST_NOT_FOUND"
        )));
        assert!(concerns_every_row(&status(
            Code::PermissionDenied,
            "SCOPE_MISSING"
        )));
        assert!(!concerns_every_row(&status(
            Code::InvalidArgument,
            "INVALID_IDENTIFIER"
        )));
        assert!(!concerns_every_row(&status(
            Code::FailedPrecondition,
            "PROTECTED_IDENTIFIER"
        )));
    }

    #[test]
    fn pauses_grow_and_are_never_shorter_than_the_server_asks() {
        let plain = status(Code::Unavailable, "NOT_READY");
        assert_eq!(pause(&plain, 1), Duration::from_millis(100));
        assert_eq!(pause(&plain, 3), Duration::from_millis(400));
        assert_eq!(pause(&plain, 40), LONGEST_PAUSE);
        let mut details = ErrorDetails::new();
        details.set_retry_info(Some(Duration::from_secs(2)));
        let asking = Status::with_error_details(Code::Unavailable, "m", details);
        assert_eq!(pause(&asking, 1), Duration::from_secs(2));
    }
}
