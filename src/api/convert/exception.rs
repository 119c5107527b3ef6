//! Exceptions and built-in protections.

use super::{channels, instant, target, timestamp};
use crate::{
    api::v1,
    desk::{CreateException, RestoreProtection, ShownException},
    domain::{
        ban::{State, Target},
        clock::Timestamp,
        exception::{Exception, Protection},
        fields,
        identity::{CANONICALISER_VERSION, Form, IdentityKind, MatchKind, protected},
        refusal::{Reason, Refusal},
    },
};

/// What a request to make an exception asks for.
pub(in crate::api) enum Wanted {
    /// One on a target.
    Made(CreateException),
    /// A built-in one back.
    BuiltIn(RestoreProtection),
}

/// Reads an exception to be made.
pub(in crate::api) fn wanted(
    exception: Option<&v1::Exception>,
    override_warnings: bool,
) -> Result<Wanted, Refusal> {
    let exception = exception.ok_or_else(|| Refusal::required("exception"))?;
    let v1::Exception {
        exception_id,
        target: whom,
        match_kind,
        channels: on,
        comment,
        expire_time,
        protected,
        created_by: _,
        normalized: _,
        state: _,
        create_time: _,
        deactivate_time: _,
        deactivated_by: _,
        deactivate_reason: _,
    } = exception;
    if !exception_id.is_empty() {
        let alone = whom.is_none()
            && *match_kind == 0
            && on.is_empty()
            && comment.is_empty()
            && expire_time.is_none();
        if !alone {
            let message = "the server gives ids; the name of a built-in exception that is to be put \
                           back stands alone";
            let field = "exception.exception_id";
            return Err(Refusal::of_field(Reason::FieldInvalid, field, message));
        }
        let name = exception_id.clone();
        return Ok(Wanted::BuiltIn(RestoreProtection { name }));
    }
    let whom = whom
        .as_ref()
        .ok_or_else(|| Refusal::required("exception.target"))?;
    let match_kind = fields::known("exception.match_kind", *match_kind, MatchKind::from_number)?;
    Ok(Wanted::Made(CreateException {
        target: target("exception.target", whom)?,
        match_kind,
        channels: channels("exception.channels", on)?,
        comment: comment.clone(),
        expire: instant("exception.expire_time", expire_time.as_ref())?,
        protected: *protected,
        override_warnings,
    }))
}

/// An exception on the wire, its state told at `now`.
pub(in crate::api) fn message(shown: ShownException, now: Timestamp) -> v1::Exception {
    match shown {
        ShownException::Made(exception) => made(exception, now),
        ShownException::BuiltIn(protection) => built_in(protection),
    }
}

fn made(exception: Exception, now: Timestamp) -> v1::Exception {
    let state = exception.state(now);
    let Exception {
        exception_id,
        target,
        match_kind,
        channels,
        comment,
        expire,
        protected,
        ended: _,
        created,
        created_by,
        deactivated,
        deactivated_by,
        deactivate_reason,
    } = exception;
    let normalized = super::ban::target_message(target);
    v1::Exception {
        exception_id: exception_id.to_string(),
        target: normalized.input.clone(),
        match_kind: match_kind as i32,
        channels: channels.iter().map(|channel| channel as i32).collect(),
        comment,
        expire_time: expire.map(timestamp),
        protected,
        created_by,
        normalized: Some(normalized),
        state: state as i32,
        create_time: Some(timestamp(created)),
        deactivate_time: deactivated.map(timestamp),
        deactivated_by,
        deactivate_reason,
    }
}

fn built_in(protection: Protection) -> v1::Exception {
    let Protection { name, lifted } = protection;
    let forms = protected::named(&name);
    let first = forms.first().map(|one| &one.identity);
    let kind = first.map_or(IdentityKind::Withheld, |one| one.kind);
    let network = first.is_some_and(|one| matches!(one.form, Form::Network(_)));
    // As it is dialled, which is how its name ends.
    let dialled = name.rsplit_once('-').map_or("", |(_, number)| number);
    let canonical = first.map(|one| one.canonical.clone()).unwrap_or_default();
    let normalized = super::ban::target_message(Target {
        kind,
        input: if network {
            canonical.clone()
        } else {
            dialled.to_owned()
        },
        canonical,
        issuer: String::new(),
        canonicaliser_version: CANONICALISER_VERSION,
        match_keys: forms
            .iter()
            .map(|one| one.identity.canonical.clone())
            .collect(),
    });
    let match_kind = if network {
        MatchKind::Cidr
    } else {
        MatchKind::Exact
    };
    let (state, comment) = match (&lifted, network) {
        (Some(_), true) => (State::Deactivated, "an own network"),
        (Some(_), false) => (State::Deactivated, "an emergency number"),
        (None, true) => (State::Active, "an own network"),
        (None, false) => (State::Active, "an emergency number"),
    };
    let lifted = lifted.as_ref();
    v1::Exception {
        exception_id: name,
        target: normalized.input.clone(),
        match_kind: match_kind as i32,
        channels: kind.channels().iter().map(|one| one as i32).collect(),
        comment: comment.to_owned(),
        expire_time: None,
        protected: true,
        created_by: String::new(),
        normalized: Some(normalized),
        state: state as i32,
        create_time: None,
        deactivate_time: lifted.map(|one| timestamp(one.at)),
        deactivated_by: lifted.map(|one| one.by.clone()).unwrap_or_default(),
        deactivate_reason: lifted.map(|one| one.reason.clone()).unwrap_or_default(),
    }
}
