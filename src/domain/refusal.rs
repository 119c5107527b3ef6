//! Why something was not done: the one vocabulary of errors, from the desk to the wire.

use thiserror::Error;

/// The reasons a caller can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "each is a word of the contract, explained there"
)]
pub enum Reason {
    FieldRequired,
    FieldInvalid,
    ValueTooLong,
    TooManyItems,
    InvalidIdentifier,
    MissingIssuer,
    KindChannelMismatch,
    InvalidTimeout,
    TimeoutOutOfRange,
    ExpireTimeInPast,
    ExpireBeforeStart,
    RangeTooBroad,
    ReasonRequired,
    InvalidFilter,
    InvalidFieldMask,
    PageTokenMismatch,
    TokenMalformed,
    TokenForeign,
    TenantNotFound,
    PrincipalNotFound,
    KeyNotFound,
    BanNotFound,
    BanListNotFound,
    ExceptionNotFound,
    DuplicateActiveBan,
    DuplicateTitle,
    DuplicateList,
    TenantExists,
    RequestIdReused,
    BanListInUse,
    OperatorBanningDisabled,
    QueueHasNoBanList,
    CampaignQueue,
    BanEnded,
    ProtectedIdentifier,
    TokenHistoryLost,
    BanNotAllowedOnQueue,
    WatchCursorExpired,
    ScopeMissing,
    TenantMismatch,
    ActorMismatch,
    CredentialMissing,
    CredentialInvalid,
    CredentialExpired,
    EtagMismatch,
    Quota,
    RateLimited,
    Overloaded,
    MessageTooLarge,
    StoreUnavailable,
    NotReady,
    CommitOutcomeUnknown,
    DeadlineExceeded,
    UnknownMethod,
    Internal,
}

/// What kind of failure a reason is; the wire has one status code for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The request itself is wrong.
    Argument,
    /// What it names is not there.
    Missing,
    /// What it would make is there already.
    Exists,
    /// Things stand otherwise than the request needs.
    State,
    /// The caller may not.
    Denied,
    /// Nobody knows who the caller is.
    UnknownCaller,
    /// Somebody else was faster.
    Conflict,
    /// What is wanted lies too far back.
    Past,
    /// Too much at once.
    Exhausted,
    /// Not now.
    Unavailable,
    /// The caller's time is up.
    Late,
    /// There is no such thing here.
    Unknown,
    /// Our own fault.
    Fault,
}

impl Reason {
    /// The word on the wire, and what kind of failure it is.
    pub const fn word(self) -> (&'static str, Class) {
        match self {
            Self::FieldRequired => ("FIELD_REQUIRED", Class::Argument),
            Self::FieldInvalid => ("FIELD_INVALID", Class::Argument),
            Self::ValueTooLong => ("VALUE_TOO_LONG", Class::Argument),
            Self::TooManyItems => ("TOO_MANY_ITEMS", Class::Argument),
            Self::InvalidIdentifier => ("INVALID_IDENTIFIER", Class::Argument),
            Self::MissingIssuer => ("MISSING_ISSUER", Class::Argument),
            Self::KindChannelMismatch => ("KIND_CHANNEL_MISMATCH", Class::Argument),
            Self::InvalidTimeout => ("INVALID_TIMEOUT", Class::Argument),
            Self::TimeoutOutOfRange => ("TIMEOUT_OUT_OF_RANGE", Class::Argument),
            Self::ExpireTimeInPast => ("EXPIRE_TIME_IN_PAST", Class::Argument),
            Self::ExpireBeforeStart => ("EXPIRE_BEFORE_START", Class::Argument),
            Self::RangeTooBroad => ("RANGE_TOO_BROAD", Class::Argument),
            Self::ReasonRequired => ("REASON_REQUIRED", Class::Argument),
            Self::InvalidFilter => ("INVALID_FILTER", Class::Argument),
            Self::InvalidFieldMask => ("INVALID_FIELD_MASK", Class::Argument),
            Self::PageTokenMismatch => ("PAGE_TOKEN_MISMATCH", Class::Argument),
            Self::TokenMalformed => ("TOKEN_MALFORMED", Class::Argument),
            Self::TokenForeign => ("TOKEN_FOREIGN", Class::Argument),
            Self::TenantNotFound => ("TENANT_NOT_FOUND", Class::Missing),
            Self::PrincipalNotFound => ("PRINCIPAL_NOT_FOUND", Class::Missing),
            Self::KeyNotFound => ("KEY_NOT_FOUND", Class::Missing),
            Self::BanNotFound => ("BAN_NOT_FOUND", Class::Missing),
            Self::BanListNotFound => ("BAN_LIST_NOT_FOUND", Class::Missing),
            Self::ExceptionNotFound => ("EXCEPTION_NOT_FOUND", Class::Missing),
            Self::DuplicateActiveBan => ("DUPLICATE_ACTIVE_BAN", Class::Exists),
            Self::DuplicateTitle => ("DUPLICATE_TITLE", Class::Exists),
            Self::DuplicateList => ("DUPLICATE_LIST", Class::Exists),
            Self::TenantExists => ("TENANT_EXISTS", Class::Exists),
            Self::RequestIdReused => ("REQUEST_ID_REUSED", Class::Exists),
            Self::BanListInUse => ("BAN_LIST_IN_USE", Class::State),
            Self::OperatorBanningDisabled => ("OPERATOR_BANNING_DISABLED", Class::State),
            Self::QueueHasNoBanList => ("QUEUE_HAS_NO_BAN_LIST", Class::State),
            Self::CampaignQueue => ("CAMPAIGN_QUEUE", Class::State),
            Self::BanEnded => ("BAN_ENDED", Class::State),
            Self::ProtectedIdentifier => ("PROTECTED_IDENTIFIER", Class::State),
            Self::TokenHistoryLost => ("TOKEN_HISTORY_LOST", Class::State),
            Self::BanNotAllowedOnQueue => ("BAN_NOT_ALLOWED_ON_QUEUE", Class::Denied),
            Self::WatchCursorExpired => ("WATCH_CURSOR_EXPIRED", Class::Past),
            Self::ScopeMissing => ("SCOPE_MISSING", Class::Denied),
            Self::TenantMismatch => ("TENANT_MISMATCH", Class::Denied),
            Self::ActorMismatch => ("ACTOR_MISMATCH", Class::Denied),
            Self::CredentialMissing => ("CREDENTIAL_MISSING", Class::UnknownCaller),
            Self::CredentialInvalid => ("CREDENTIAL_INVALID", Class::UnknownCaller),
            Self::CredentialExpired => ("CREDENTIAL_EXPIRED", Class::UnknownCaller),
            Self::EtagMismatch => ("ETAG_MISMATCH", Class::Conflict),
            Self::Quota => ("QUOTA", Class::Exhausted),
            Self::RateLimited => ("RATE_LIMITED", Class::Exhausted),
            Self::Overloaded => ("OVERLOADED", Class::Exhausted),
            Self::MessageTooLarge => ("MESSAGE_TOO_LARGE", Class::Exhausted),
            Self::StoreUnavailable => ("STORE_UNAVAILABLE", Class::Unavailable),
            Self::NotReady => ("NOT_READY", Class::Unavailable),
            Self::CommitOutcomeUnknown => ("COMMIT_OUTCOME_UNKNOWN", Class::Unavailable),
            Self::DeadlineExceeded => ("DEADLINE_EXCEEDED", Class::Late),
            Self::UnknownMethod => ("UNKNOWN_METHOD", Class::Unknown),
            Self::Internal => ("INTERNAL", Class::Fault),
        }
    }
}

/// A refusal: what a caller is told, never with an identifier in it.
#[derive(Clone, Debug, Error)]
#[error("{}: {message}", reason.word().0)]
pub struct Refusal {
    /// The word for it.
    pub reason: Reason,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// The path of the field at fault, like `identities[2].value`; empty where no field is.
    pub field: String,
    /// One more fact for machines, like the id of the ban that stands.
    pub fact: Option<(&'static str, String)>,
}

impl Refusal {
    /// A refusal that no single field is to blame for.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            field: String::new(),
            fact: None,
        }
    }

    /// A refusal of one field.
    pub fn of_field(reason: Reason, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            ..Self::new(reason, message)
        }
    }

    /// A required field is empty.
    pub fn required(field: impl Into<String>) -> Self {
        let field = field.into();
        let message = format!("{field} is required");
        Self::of_field(Reason::FieldRequired, field, message)
    }

    /// The tenant is none that there is.
    pub fn no_tenant() -> Self {
        let message = "there is no tenant of this id; tenants are made with CreateTenant";
        Self::of_field(Reason::TenantNotFound, "tenant", message)
    }

    /// The pod cannot know yet.
    pub fn not_ready() -> Self {
        let message = "this pod has not heard of its database yet; try another";
        Self::new(Reason::NotReady, message)
    }

    /// The same refusal with a fact for machines.
    #[must_use]
    pub fn with_fact(self, name: &'static str, value: impl Into<String>) -> Self {
        Self {
            fact: Some((name, value.into())),
            ..self
        }
    }
}
