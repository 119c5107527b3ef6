//! Telling what becomes of an identity: the form it is compared in and the keys it is found by.

use std::time::Duration;

use super::{Desk, targets::TargetGiven};
use crate::domain::{
    channel::Channels,
    fields,
    identity::{
        self, AliasOf, CANONICALISER_VERSION, Identity, IdentityKind, MAX_VALUE_BYTES, Unreadable,
    },
    ids::TenantId,
    keys::TenantKey,
    policy::TenantSettings,
    refusal::{Reason, Refusal},
};

/// What the canonicaliser makes of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normalised {
    /// Its kind, given or inferred; `None` = it could not be told.
    pub kind: Option<IdentityKind>,
    /// Its one canonical form; empty where it has none.
    pub canonical: String,
    /// What a check looks it up under, readable; none where it can match nothing.
    pub match_keys: Vec<String>,
    /// The version of the canonicaliser.
    pub canonicaliser_version: u16,
    /// Codes of what was noticed.
    pub warnings: Vec<&'static str>,
}

impl Normalised {
    pub(super) fn of(
        read: Result<Identity, Unreadable>,
        key: &TenantKey,
        settings: &TenantSettings,
    ) -> Self {
        let empty = Self {
            kind: None,
            canonical: String::new(),
            match_keys: Vec::new(),
            canonicaliser_version: CANONICALISER_VERSION,
            warnings: Vec::new(),
        };
        let mut identity = match read {
            Ok(identity) => identity,
            Err(Unreadable { kind, caution }) => {
                return Self {
                    kind,
                    warnings: vec![caution.code()],
                    ..empty
                };
            }
        };
        let asked = |of| of != AliasOf::Folding || settings.email_fold;
        identity.aliases.retain(|alias| asked(alias.of));
        let keys = key.keys(&identity, settings.ipv6_prefix).into_iter();
        let names_nobody = identity.kind == IdentityKind::Withheld;
        Self {
            kind: Some(identity.kind),
            match_keys: keys
                .map(|(_, text)| text)
                .filter(|_| !names_nobody)
                .collect(),
            warnings: identity.cautions.iter().map(|one| one.code()).collect(),
            canonical: identity.canonical,
            ..empty
        }
    }
}

impl Desk {
    /// What a check on `channels` makes of an identity; `channels` are one or none.
    pub async fn normalise(
        &self,
        tenant: &TenantId,
        channels: Channels,
        given: &TargetGiven,
        deadline: Duration,
    ) -> Result<Normalised, Refusal> {
        for (field, text) in [
            ("identity.value", &given.value),
            ("identity.issuer", &given.issuer),
        ] {
            fields::size(field, text, MAX_VALUE_BYTES)?;
        }
        if given.kind.is_none() && channels.is_empty() {
            let message = "say on which channel it is met, or of what kind it is";
            return Err(Refusal::of_field(Reason::FieldRequired, "channel", message));
        }
        let settings = self.settings(tenant, deadline).await?;
        let region = Some(settings.default_region.as_str()).filter(|region| !region.is_empty());
        let read = identity::read(&given.given(), channels, region);
        Ok(Normalised::of(read, &self.keys.tenant(tenant), &settings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{channel::Channel, keys::MasterKey};

    fn normalised(channel: Channel, value: &str, settings: &TenantSettings) -> Normalised {
        let given = identity::Given {
            kind: None,
            value,
            issuer: "",
            region_hint: "CZ",
        };
        let read = identity::read(&given, Channels::of(&[channel]), None);
        let tenant = TenantId::parse("t").unwrap();
        Normalised::of(read, &MasterKey::new(&[1; 32]).tenant(&tenant), settings)
    }

    #[test]
    fn the_keys_told_are_those_that_a_check_looks_under() {
        let on = TenantSettings::default();
        let off = TenantSettings {
            email_fold: false,
            ipv6_prefix: 48,
            ..TenantSettings::default()
        };
        for (channel, value, settings, keys) in [
            (Channel::Call, "601 123 456", &on, &["+420601123456"][..]),
            (
                Channel::Email,
                "A.b+x@gmail.com",
                &on,
                &["a.b+x@gmail.com", "ab@gmail.com"],
            ),
            (
                Channel::Email,
                "A.b+x@gmail.com",
                &off,
                &["a.b+x@gmail.com"],
            ),
            (Channel::WebChat, "2001:db8::1", &on, &["2001:db8::/64"]),
            (Channel::WebChat, "2001:db8::1", &off, &["2001:db8::/48"]),
            (
                Channel::Whatsapp,
                "5215512345678",
                &off,
                &["+5215512345678", "+525512345678"],
            ),
            (Channel::Call, "anonymous", &on, &[]),
            (Channel::Email, "nobody", &on, &[]),
        ] {
            let told = normalised(channel, value, settings);
            assert_eq!(told.match_keys, keys, "{value}");
            assert_eq!(told.canonicaliser_version, CANONICALISER_VERSION);
        }
        assert_eq!(
            normalised(Channel::Email, "nobody", &on).warnings,
            ["UNPARSEABLE"]
        );
        assert_eq!(
            normalised(Channel::Call, "anonymous", &on).warnings,
            ["WITHHELD"]
        );
    }
}
