//! What is shown to a server as a credential, and what can be told of it without showing it.

use anyhow::Context;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tonic::metadata::{Ascii, MetadataValue};

/// A credential, by where it comes from.
pub(crate) enum Credential {
    /// None is shown.
    None,
    /// From the flag or its variable.
    Given(String),
    /// From a profile, of this name.
    Lent(String, String),
    /// From the folder of an embedded store on this machine.
    OfTheFolder(String),
}

/// A credential that a profile lends to those of its addresses that are asked.
pub(super) struct Lent {
    pub(super) token: String,
    pub(super) profile: String,
    pub(super) to_check: bool,
    pub(super) to_admin: bool,
}

impl Lent {
    /// Whether a listener may be shown it.
    pub(super) fn goes(&self, to: super::Listener) -> bool {
        match to {
            super::Listener::Check => self.to_check,
            super::Listener::Admin => self.to_admin,
        }
    }
}

/// What a token says of itself; nothing here has been verified.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<i64>,
}

impl Credential {
    /// The secret itself.
    pub(super) fn secret(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Given(secret) | Self::Lent(secret, _) | Self::OfTheFolder(secret) => Some(secret),
        }
    }

    /// What it is and where it comes from, without the secret; `None` = there is none.
    pub(crate) fn told(&self) -> Option<String> {
        let what = what(self.secret()?.trim());
        Some(match self {
            Self::None => return None,
            Self::Given(_) => format!("{what}, from --token or BANCHECK_TOKEN"),
            Self::Lent(_, profile) => format!("{what}, from profile `{profile}`"),
            Self::OfTheFolder(_) => format!("{what}, from the data directory of this machine"),
        })
    }

    /// When it says that it ends.
    pub(crate) fn end(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(claims(self.secret()?.trim())?.exp?, 0)
    }
}

fn what(secret: &str) -> String {
    if let Some((id, _)) = secret
        .strip_prefix("bk_")
        .and_then(|rest| rest.split_once('_'))
    {
        return format!("API key {id}");
    }
    match claims(secret) {
        Some(Claims { sub: Some(sub), .. }) => format!("token of `{sub}`"),
        Some(_) => "token of nobody".to_owned(),
        None => "something that is neither an API key nor a JWT".to_owned(),
    }
}

fn claims(secret: &str) -> Option<Claims> {
    let mut parts = secret.split('.');
    let (_, claims, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

/// Reads a credential, without ever repeating it.
pub(super) fn bearer(token: &str) -> anyhow::Result<MetadataValue<Ascii>> {
    let mut value: MetadataValue<Ascii> = format!("Bearer {}", token.trim())
        .parse()
        .context("a credential is made of visible ASCII characters, and this one is not")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_told_of_without_its_secret() {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"sub":"ivr","exp":1000}"#);
        let token = Credential::Given(format!("e30.{claims}.hush"));
        let told = token.told().unwrap();
        assert!(told.starts_with("token of `ivr`, from --token"), "{told}");
        assert_eq!(token.end(), DateTime::from_timestamp(1000, 0));
        let key = Credential::Lent("bk_0123_hush".to_owned(), "prod".to_owned());
        assert_eq!(key.told().unwrap(), "API key 0123, from profile `prod`");
        let other = Credential::OfTheFolder("hush".to_owned()).told().unwrap();
        assert!(
            !other.contains("hush") && other.contains("neither"),
            "{other}"
        );
        assert_eq!(Credential::None.told(), None);
    }

    #[test]
    fn a_credential_that_cannot_be_sent_is_not_repeated() {
        let refusal = format!("{:#}", bearer("s\u{1}cret").unwrap_err());
        assert!(!refusal.contains("cret"), "{refusal}");
        assert!(bearer(" abc\n").is_ok());
    }
}
