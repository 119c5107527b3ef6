//! What went wrong, in words for the person at the terminal, and what to do about it.

use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{connection::Unreachable, output::clean};

/// The error in full: what happened, the server's reason, the fields at fault, and a hint.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    if let Some(unreachable) = error.chain().find_map(|e| e.downcast_ref::<Unreachable>()) {
        return describe_unreachable(unreachable, error);
    }
    match error.chain().find_map(|e| e.downcast_ref::<Status>()) {
        Some(status) => describe_status(status),
        None => format!("error: {}", clean(&format!("{error:#}"))),
    }
}

/// The reason that the server gave, such as `BAN_NOT_FOUND`; empty where it gave none.
pub(crate) fn reason(status: &Status) -> String {
    status
        .get_error_details()
        .error_info()
        .map(|info| info.reason.clone())
        .unwrap_or_default()
}

/// What happened, on one line: the message with the fields at fault.
pub(crate) fn headline(status: &Status) -> String {
    let message = match (status.code(), status.message()) {
        _ if ran_out_of_time(status) => "no answer in time".to_owned(),
        (code, "") => code.description().to_owned(),
        (_, message) => message.to_owned(),
    };
    let details = status.get_error_details();
    let fields = details.bad_request().map(|bad| &bad.field_violations);
    fields
        .into_iter()
        .flatten()
        .fold(clean(&message), |line, violation| {
            // A message that already says where says it once.
            if line.contains(&violation.field) && line.contains(&violation.description) {
                return line;
            }
            clean(&format!(
                "{line}; {}: {}",
                violation.field, violation.description
            ))
        })
}

/// Whether the deadline passed, whichever side noticed: our own half of it reports a cancellation.
pub(crate) fn ran_out_of_time(status: &Status) -> bool {
    let ours = status.code() == Code::Cancelled && status.message() == "Timeout expired";
    ours || status.code() == Code::DeadlineExceeded
}

fn describe_unreachable(unreachable: &Unreachable, error: &anyhow::Error) -> String {
    let Unreachable {
        address,
        flag,
        variable,
        ..
    } = unreachable;
    let cause = error.root_cause();
    format!(
        "error: no server answers at {address} ({cause})\n\
         hint: start one with `bancheck serve`, or name another with {flag} or {variable}"
    )
}

fn describe_status(status: &Status) -> String {
    let details = status.get_error_details();
    let message = match status.message() {
        _ if ran_out_of_time(status) => "no answer in time",
        "" => status.code().description(),
        message => message,
    };
    let mut lines = vec![format!("error: {}", clean(message))];
    let mut add = |label: &str, value: &str| lines.push(clean(&format!("  {label}: {value}")));
    if let Some(info) = details.error_info() {
        add("reason", &info.reason);
        let mut facts: Vec<_> = info.metadata.iter().collect();
        facts.sort();
        for (name, value) in facts {
            add(name, value);
        }
    }
    for violation in details
        .bad_request()
        .into_iter()
        .flat_map(|bad| &bad.field_violations)
    {
        add(&violation.field, &violation.description);
    }
    lines.extend(hint(status, &reason(status)).map(|hint| format!("hint: {hint}")));
    lines.join("\n")
}

/// What to try next, where something is worth trying.
fn hint(status: &Status, reason: &str) -> Option<&'static str> {
    Some(match reason {
        "TENANT_NOT_FOUND" => {
            "`bancheck tenant list` shows the tenants, `bancheck tenant add` makes one; \
             --tenant or BANCHECK_TENANT says which is meant"
        }
        "BAN_LIST_NOT_FOUND" => {
            "`bancheck list list` shows the lists, `bancheck list add` makes one"
        }
        "BAN_NOT_FOUND" => "`bancheck ban list --all` shows the bans of this tenant",
        "DUPLICATE_ACTIVE_BAN" => {
            "`bancheck ban show` tells more of the ban that stands, `bancheck ban update` changes it"
        }
        "BAN_ENDED" => "an ended ban stays ended; make a new one with `bancheck ban add`",
        "ETAG_MISMATCH" => "somebody changed it in the meantime; look again, then repeat",
        "INVALID_IDENTIFIER" => {
            "--kind says what the value is, --region where a national number is from, and \
             --match cidr that it is a network"
        }
        "MISSING_ISSUER" => "--issuer names the page, business or portfolio",
        "RANGE_TOO_BROAD" => "an administrator may insist with --override-warnings",
        "EXPIRE_TIME_IN_PAST" => "is the time's offset right? `Z` is UTC",
        "QUEUE_HAS_NO_BAN_LIST" | "CAMPAIGN_QUEUE" => "the queue's policy decides about this",
        "TOKEN_FOREIGN" => "the token was given by another deployment",
        "CREDENTIAL_MISSING" | "CREDENTIAL_INVALID" | "CREDENTIAL_EXPIRED" => {
            "give a credential with BANCHECK_TOKEN or --token"
        }
        "SCOPE_MISSING" | "TENANT_MISMATCH" => {
            "the credential does not reach this far; --tenant or BANCHECK_TENANT says which tenant \
             is meant"
        }
        "COMMIT_OUTCOME_UNKNOWN" => {
            "it may or may not have been done; look, or repeat with the same --request-id"
        }
        "RATE_LIMITED" | "OVERLOADED" | "NOT_READY" | "STORE_UNAVAILABLE" => "try again shortly",
        _ if ran_out_of_time(status) => "--timeout gives it longer",
        _ => return hint_of_code(status.code()),
    })
}

/// What to try next where the server gave no reason, or one that says enough.
fn hint_of_code(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::Unauthenticated => "give a credential with BANCHECK_TOKEN or --token",
        Code::Unimplemented => {
            "the server is older than this client, or --endpoint and --admin-endpoint name each \
             other's listener"
        }
        Code::Unavailable => "is the server running? `bancheck serve` starts one",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::{BadRequest, ErrorDetails, FieldViolation};

    use super::*;

    fn refusal() -> Status {
        let facts = HashMap::from([("ban_id".to_owned(), "0192".to_owned())]);
        let mut details =
            ErrorDetails::with_error_info("DUPLICATE_ACTIVE_BAN", "bancheck.v1", facts);
        details.set_bad_request(vec![FieldViolation::new("targets[1].value", "is banned")]);
        Status::with_error_details(Code::AlreadyExists, "such a ban stands", details)
    }

    #[test]
    fn a_refusal_tells_the_reason_the_fields_and_what_to_do() {
        let text = describe(&anyhow::Error::new(refusal()).context("row 1"));
        for part in [
            "error: such a ban stands\n",
            "  reason: DUPLICATE_ACTIVE_BAN\n",
            "  ban_id: 0192\n",
            "  targets[1].value: is banned\n",
            "hint: `bancheck ban show`",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(reason(&refusal()), "DUPLICATE_ACTIVE_BAN");
        assert_eq!(
            headline(&refusal()),
            "such a ban stands; targets[1].value: is banned"
        );
    }

    #[test]
    fn a_status_without_details_still_says_something() {
        let text = describe(&anyhow::Error::new(Status::new(Code::Internal, "")));
        assert_eq!(text, "error: Internal error");
        assert!(ran_out_of_time(&Status::cancelled("Timeout expired")));
    }

    #[test]
    fn a_server_cannot_steer_the_terminal() {
        let bad = BadRequest::with_violation("a\u{1b}[1m", "b\u{7}");
        let mut details = ErrorDetails::new();
        details.set_bad_request(bad.field_violations);
        let status = Status::with_error_details(Code::InvalidArgument, "m\u{1b}[2J", details);
        let text = describe(&anyhow::Error::new(status));
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{text:?}");
    }
}
