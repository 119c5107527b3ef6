//! `DiagnosticService`.

use super::{Asked, convert, v1};
use crate::{
    desk::{Desk, Normalised},
    domain::{
        caller::{Reach, Scope},
        channel::{Channel, Channels},
        fields,
        refusal::Refusal,
    },
};

/// Tells over the wire what the service makes of things.
#[derive(Clone)]
pub struct DiagnosticApi {
    desk: Desk,
}

impl DiagnosticApi {
    /// The service of a desk.
    pub const fn new(desk: Desk) -> Self {
        Self { desk }
    }

    async fn normalize(
        &self,
        asked: &Asked,
        request: &v1::NormalizeIdentifierRequest,
    ) -> Result<v1::NormalizeIdentifierResponse, Refusal> {
        let v1::NormalizeIdentifierRequest {
            tenant,
            channel,
            identity,
        } = request;
        let tenant = fields::tenant(tenant)?;
        asked.caller.needs(Scope::Support, Reach::Tenant(&tenant))?;
        let channel = fields::known("channel", *channel, Channel::from_number)?;
        let channels = channel.map_or(Channels::NONE, |channel| Channels::of(&[channel]));
        let identity = identity
            .as_ref()
            .ok_or_else(|| Refusal::required("identity"))?;
        let given = convert::target("identity", identity)?;
        let told = self
            .desk
            .normalise(&tenant, channels, &given, asked.deadline)
            .await?;
        Ok(v1::NormalizeIdentifierResponse {
            identity: Some(message(identity.clone(), told)),
        })
    }
}

serve! { DiagnosticApi, v1::diagnostic_service_server::DiagnosticService {
    normalize_identifier: NormalizeIdentifierRequest => NormalizeIdentifierResponse by normalize;
} }

fn message(input: v1::Identity, told: Normalised) -> v1::NormalizedIdentity {
    let Normalised {
        kind,
        canonical,
        match_keys,
        canonicaliser_version,
        warnings,
    } = told;
    v1::NormalizedIdentity {
        input: Some(v1::Identity {
            kind: kind.map_or(input.kind, |kind| kind as i32),
            ..input
        }),
        canonical,
        match_keys,
        canonicalizer_version: canonicaliser_version.to_string(),
        warnings: warnings
            .into_iter()
            .map(|code| convert::warning(Some(0), code))
            .collect(),
    }
}
