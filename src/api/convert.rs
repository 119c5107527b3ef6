//! Between the wire's messages and what they stand for.
//!
//! Every message is taken apart by name, so a field of tomorrow stops the build right here.

pub(super) mod access;
pub(super) mod ban;
pub(super) mod bulk;
pub(super) mod config;
pub(super) mod exception;
pub(super) mod interaction;
pub(super) mod queue;

use std::fmt::Display;

use prost::Message;
use prost_types::FieldMask;

use super::{Asked, v1};
use crate::{
    checker::Consistency,
    desk::{Order, TargetGiven},
    domain::{
        caller::Reach,
        channel::{Channel, Channels},
        clock::Timestamp,
        fields,
        identity::{Given, IdentityKind},
        ids::TenantId,
        period::CalendarPeriod,
        refusal::{Reason, Refusal},
    },
};

/// The most values that a repeated enum may name: more than any enum has.
const MAX_NAMED: usize = 64;

/// A request that writes; all of them carry these fields.
pub(super) trait WriteRequest: Message {
    /// Who acts, the request's id, and whether it is only to be tried.
    fn header(&self) -> (&str, &str, bool);
}

macro_rules! writes {
    ($($request:ident)+) => {
        $(impl WriteRequest for v1::$request {
            fn header(&self) -> (&str, &str, bool) {
                (&self.actor, &self.request_id, self.validate_only)
            }
        })+
    };
}

writes! {
    CreateBanRequest UpdateBanRequest DeactivateBanRequest DeactivateBansRequest
    CreateTenantRequest UpdateTenantSettingsRequest DeleteTenantRequest
    CreateBanListRequest UpdateBanListRequest DeleteBanListRequest SetBanListQueuesRequest
    BanInteractionRequest UpdateQueuePolicyRequest SetBanRightsRequest
    CreateExceptionRequest DeactivateExceptionRequest LinkIdentitiesRequest
    CreateApiKeyRequest RotateApiKeyRequest RevokeApiKeyRequest SetGrantsRequest
    EraseSubjectRequest
}

/// What every write brings along.
pub(super) fn order(
    asked: &Asked,
    tenant: &TenantId,
    request: &impl WriteRequest,
) -> Result<Order, Refusal> {
    let (actor, request_id, validate_only) = request.header();
    fields::callers_id("actor", actor)?;
    fields::request_id(request_id)?;
    Ok(Order {
        tenant: tenant.clone(),
        actor: asked.acting_as(actor, Reach::Tenant(tenant))?,
        request_id: request_id.to_owned(),
        validate_only,
        body: request.encode_to_vec(),
        deadline: asked.deadline,
    })
}

/// A refusal of something that stands in a field of the request.
pub(super) fn within(field: &str, refusal: Refusal) -> Refusal {
    if refusal.field.is_empty() {
        return refusal;
    }
    Refusal {
        field: format!("{field}.{}", refusal.field),
        ..refusal
    }
}

/// The token that says when something was written.
pub(super) fn token(token: Option<&str>) -> Option<v1::ConsistencyToken> {
    token.map(|token| v1::ConsistencyToken {
        token: token.to_owned(),
    })
}

/// How fresh an answer has to be.
pub(super) fn consistency(asked: Option<&v1::Consistency>) -> Consistency<'_> {
    use v1::consistency::Requirement;
    match asked.and_then(|v1::Consistency { requirement }| requirement.as_ref()) {
        Some(Requirement::AtLeastAsFresh(v1::ConsistencyToken { token })) => {
            Consistency::AtLeastAsFresh(token)
        }
        Some(Requirement::FullyConsistent(true)) => Consistency::Fully,
        Some(Requirement::FullyConsistent(false) | Requirement::MinimizeLatency(_)) | None => {
            Consistency::MinimizeLatency
        }
    }
}

/// An instant; `None` where there is none.
pub(super) fn instant(
    field: &str,
    at: Option<&prost_types::Timestamp>,
) -> Result<Option<Timestamp>, Refusal> {
    let Some(prost_types::Timestamp { seconds, nanos }) = at else {
        return Ok(None);
    };
    // What google.protobuf.Timestamp allows: the years 1 to 9999.
    let valid =
        (-62_135_596_800..=253_402_300_799).contains(seconds) && (0..1_000_000_000).contains(nanos);
    if !valid {
        let message = "an instant lies in the years 1 to 9999, its nanos within a second";
        return Err(Refusal::of_field(Reason::FieldInvalid, field, message));
    }
    Ok(Some(Timestamp::from_micros(
        seconds * 1_000_000 + i64::from(*nanos) / 1_000,
    )))
}

/// An instant on the wire.
pub(super) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    let micros = at.micros().rem_euclid(1_000_000);
    prost_types::Timestamp {
        seconds: at.micros().div_euclid(1_000_000),
        nanos: i32::try_from(micros * 1_000).unwrap_or_default(),
    }
}

/// A period of time; negative parts are refused.
pub(super) fn period(field: &str, period: &v1::CalendarPeriod) -> Result<CalendarPeriod, Refusal> {
    let v1::CalendarPeriod {
        years,
        months,
        weeks,
        days,
        hours,
        minutes,
    } = *period;
    let part = |number: i32| {
        u32::try_from(number).map_err(|_| {
            let message = "no part of a period is negative";
            Refusal::of_field(Reason::InvalidTimeout, field, message)
        })
    };
    Ok(CalendarPeriod {
        years: part(years)?,
        months: part(months)?,
        weeks: part(weeks)?,
        days: part(days)?,
        hours: part(hours)?,
        minutes: part(minutes)?,
    })
}

/// A period on the wire.
pub(super) fn calendar_period(period: &CalendarPeriod) -> v1::CalendarPeriod {
    let CalendarPeriod {
        years,
        months,
        weeks,
        days,
        hours,
        minutes,
    } = *period;
    let part = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    v1::CalendarPeriod {
        years: part(years),
        months: part(months),
        weeks: part(weeks),
        days: part(days),
        hours: part(hours),
        minutes: part(minutes),
    }
}

/// A set of channels.
pub(super) fn channels(field: &str, numbers: &[i32]) -> Result<Channels, Refusal> {
    fields::items(field, numbers, MAX_NAMED)?
        .iter()
        .enumerate()
        .map(|(at, number)| channel(format_args!("{field}[{at}]"), *number))
        .collect()
}

/// One channel, which must be there.
pub(super) fn channel(field: impl Display, number: i32) -> Result<Channel, Refusal> {
    fields::known(&field, number, Channel::from_number)?
        .ok_or_else(|| Refusal::required(field.to_string()))
}

/// A list of enum numbers, none of them unspecified.
pub(super) fn all_known<T>(
    field: &str,
    numbers: &[i32],
    read: impl Fn(i32) -> Option<T> + Copy,
) -> Result<Vec<T>, Refusal> {
    fields::items(field, numbers, MAX_NAMED)?;
    let one = |(at, number): (usize, &i32)| {
        let field = format!("{field}[{at}]");
        fields::known(&field, *number, read)?.ok_or_else(|| Refusal::required(field))
    };
    numbers.iter().enumerate().map(one).collect()
}

/// An identity as the canonicaliser takes it.
pub(super) fn given(field: impl Display, identity: &v1::Identity) -> Result<Given<'_>, Refusal> {
    let v1::Identity {
        kind,
        value,
        issuer,
        region_hint,
    } = identity;
    let kind = fields::known(
        format_args!("{field}.kind"),
        *kind,
        IdentityKind::from_number,
    )?;
    Ok(Given {
        kind,
        value,
        issuer,
        region_hint,
    })
}

/// An identity that outlives its message.
pub(super) fn target(field: impl Display, identity: &v1::Identity) -> Result<TargetGiven, Refusal> {
    let Given {
        kind,
        value,
        issuer,
        region_hint,
    } = given(field, identity)?;
    Ok(TargetGiven {
        kind,
        value: value.to_owned(),
        issuer: issuer.to_owned(),
        region_hint: region_hint.to_owned(),
    })
}

/// A warning; about no identity where `identity` is `None`.
pub(super) fn warning(identity: Option<i32>, code: &str) -> v1::Warning {
    v1::Warning {
        identity_index: identity,
        code: code.to_owned(),
    }
}

/// Which fields a write changes: those named, or without a mask those that are set.
pub(super) struct Mask(Option<Vec<String>>);

impl Mask {
    /// Reads a mask that may name these fields.
    pub(super) fn read(mask: Option<&FieldMask>, known: &[&str]) -> Result<Self, Refusal> {
        let Some(FieldMask { paths }) = mask.filter(|mask| !mask.paths.is_empty()) else {
            return Ok(Self(None));
        };
        let stranger = |path: &&String| *path != "*" && !known.contains(&path.as_str());
        if paths.iter().any(|path| stranger(&path)) {
            let message = format!("these can be changed: {}", known.join(", "));
            return Err(Refusal::of_field(
                Reason::InvalidFieldMask,
                "update_mask",
                message,
            ));
        }
        Ok(Self(Some(paths.clone())))
    }

    /// The value to write to a field, if it is to be written.
    pub(super) fn pick<T>(&self, path: &str, is_set: bool, value: T) -> Option<T> {
        self.wants(path, is_set).then_some(value)
    }

    /// Whether a field is to be written.
    pub(super) fn wants(&self, path: &str, is_set: bool) -> bool {
        match &self.0 {
            None => is_set,
            Some(paths) => paths.iter().any(|named| named == path || named == "*"),
        }
    }
}
