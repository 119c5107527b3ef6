//! Tokens of an issuer (JWT): signed by a key that the issuer publishes, meant for us, in their time.
//!
//! The algorithm comes from our own list, never from the token; everything that could be left out is
//! required.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use http::Uri;
pub use jsonwebtoken::Algorithm;
use jsonwebtoken::{
    DecodingKey, Header, Validation, decode, decode_header,
    errors::ErrorKind,
    jwk::{Jwk, JwkSet, PublicKeyUse},
};
use serde::Deserialize;

use super::{jwks::Refresh, signatures};
use crate::domain::{
    clock::Timestamp,
    ids::MAX_CALLERS_ID,
    refusal::{Reason, Refusal},
};

/// How far the issuer's clock may be from ours, in seconds.
const LEEWAY: u64 = 30;
/// The longest token that is looked at, in bytes.
const LONGEST: usize = 8 << 10;
/// The most keys of one issuer.
const MOST_KEYS: usize = 100;

/// Where an issuer publishes its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// In a file.
    File(PathBuf),
    /// Behind an address; plain HTTP only on this machine.
    Url(Uri),
}

/// Whose tokens are taken.
#[derive(Clone, Debug)]
pub struct JwtSettings {
    /// Who must have issued them: `iss`.
    pub issuer: String,
    /// For whom: `aud`.
    pub audience: String,
    /// Where the keys are.
    pub keys: KeySource,
    /// How they may be signed.
    pub algorithms: Vec<Algorithm>,
}

impl JwtSettings {
    /// The algorithms that may be listed: those with which only the issuer can sign.
    pub const ALGORITHMS: [(&'static str, Algorithm); 9] = [
        ("RS256", Algorithm::RS256),
        ("RS384", Algorithm::RS384),
        ("RS512", Algorithm::RS512),
        ("PS256", Algorithm::PS256),
        ("PS384", Algorithm::PS384),
        ("PS512", Algorithm::PS512),
        ("ES256", Algorithm::ES256),
        ("ES384", Algorithm::ES384),
        ("EdDSA", Algorithm::EdDSA),
    ];
}

/// The keys of an issuer, as they were read last.
#[derive(Default)]
pub(super) struct Keys {
    /// Another number after each change.
    pub(super) number: u64,
    by_id: HashMap<String, DecodingKey>,
    /// Good for tokens that name no key, if it is the only one.
    only: Option<DecodingKey>,
}

impl Keys {
    /// Reads a JWK set; keys of other kinds, or for another use, are left out.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let JwkSet { keys } = serde_json::from_slice(text).ok()?;
        let signs = |jwk: &&Jwk| {
            let use_of = jwk.common.public_key_use.as_ref();
            use_of.is_none_or(|given| *given == PublicKeyUse::Signature)
        };
        let mut by_id = HashMap::new();
        let mut nameless = Vec::new();
        for jwk in keys.iter().filter(signs).take(MOST_KEYS) {
            let Ok(key) = DecodingKey::from_jwk(jwk) else {
                continue;
            };
            match &jwk.common.key_id {
                Some(id) => {
                    by_id.insert(id.clone(), key);
                }
                None => nameless.push(key),
            }
        }
        let mut all = by_id.values().chain(&nameless);
        let only = match (all.next(), all.next()) {
            (Some(only), None) => Some(only.clone()),
            (None, _) => return None,
            (Some(_), Some(_)) => None,
        };
        Some(Self {
            number: 0,
            by_id,
            only,
        })
    }

    fn of(&self, header: &Header) -> Option<&DecodingKey> {
        match &header.kid {
            Some(id) => self.by_id.get(id),
            None => self.only.as_ref(),
        }
    }
}

/// What a token says of whom it is about.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
}

/// What became of looking at a token.
#[derive(Debug)]
pub(super) enum Judged {
    /// It is about this principal, until then.
    Good(String, Timestamp),
    /// The issuer may have a newer key.
    UnknownKey,
    /// It is no good.
    Bad(Refusal),
}

/// Judges the tokens of one issuer.
pub(super) struct Tokens {
    validation: Validation,
    pub(super) keys: ArcSwap<Keys>,
    pub(super) refresh: Refresh,
}

impl Tokens {
    /// Judges by these settings; keys are read by [`Refresh`].
    pub(super) fn new(settings: &JwtSettings) -> Self {
        signatures::install();
        let JwtSettings {
            issuer,
            audience,
            keys,
            algorithms,
        } = settings;
        let mut validation = Validation::default();
        validation.algorithms.clone_from(algorithms);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        Self {
            validation,
            keys: ArcSwap::default(),
            refresh: Refresh::of(keys.clone()),
        }
    }

    /// Puts newer keys in place.
    pub(super) fn renew(&self, keys: Keys) {
        let number = self.keys.load().number + 1;
        self.keys.store(Arc::new(Keys { number, ..keys }));
    }

    pub(super) fn judge(&self, keys: &Keys, token: &str) -> Judged {
        let invalid = |message: &str| Judged::Bad(Refusal::new(Reason::CredentialInvalid, message));
        if token.len() > LONGEST {
            return invalid("a token has 8 KiB at the most");
        }
        let Ok(header) = decode_header(token) else {
            return invalid("this is neither a key of this service nor a token (JWT)");
        };
        if !self.validation.algorithms.contains(&header.alg) {
            return invalid("the token is signed in a way that is not taken here");
        }
        let Some(key) = keys.of(&header) else {
            return Judged::UnknownKey;
        };
        // Of the list, those that go with this key.
        let mut validation = self.validation.clone();
        let family = key.family();
        validation
            .algorithms
            .retain(|listed| family.algorithms().contains(listed));
        let claims = match decode::<Claims>(token, key, &validation) {
            Ok(token) => token.claims,
            Err(error) => return told(error.kind()),
        };
        let named = !claims.sub.is_empty() && claims.sub.len() <= MAX_CALLERS_ID;
        if !named || claims.sub.chars().any(char::is_control) {
            return invalid("the token's subject has 1 to 128 bytes and no control characters");
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "`as` stops at the ends of the range"
        )]
        let until = (claims.exp as i64).saturating_mul(1_000_000);
        let until = Timestamp::from_micros(until).plus_micros(LEEWAY.cast_signed() * 1_000_000);
        Judged::Good(claims.sub, until)
    }
}

fn told(kind: &ErrorKind) -> Judged {
    let (reason, message) = match kind {
        ErrorKind::ExpiredSignature => (Reason::CredentialExpired, "the token has expired"),
        ErrorKind::ImmatureSignature => (
            Reason::CredentialInvalid,
            "the token is not good yet (`nbf`)",
        ),
        ErrorKind::InvalidIssuer => (
            Reason::CredentialInvalid,
            "the token is of another issuer (`iss`)",
        ),
        ErrorKind::InvalidAudience => (
            Reason::CredentialInvalid,
            "the token is meant for somebody else (`aud`)",
        ),
        ErrorKind::MissingRequiredClaim(_) => (
            Reason::CredentialInvalid,
            "the token lacks one of exp, nbf, iss, aud and sub",
        ),
        _ => (
            Reason::CredentialInvalid,
            "the token is not signed by its issuer",
        ),
    };
    Judged::Bad(Refusal::new(reason, message))
}
