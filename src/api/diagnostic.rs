//! `DiagnosticService`.

use std::sync::Arc;

use super::{Asked, check, convert, v1};
use crate::{
    checker::Checker,
    desk::{Desk, Expiration, Explanation, Length, Normalised, Subject},
    domain::{
        channel::{Channel, Channels},
        fields,
        refusal::{Reason, Refusal},
    },
};

/// Tells over the wire what the service makes of things.
#[derive(Clone)]
pub struct DiagnosticApi {
    desk: Desk,
    checker: Arc<Checker>,
}

impl DiagnosticApi {
    /// The service of a desk, and of the checker whose answers are explained.
    pub const fn new(desk: Desk, checker: Arc<Checker>) -> Self {
        Self { desk, checker }
    }

    async fn explain(
        &self,
        asked: &Asked,
        request: &v1::ExplainInteractionRequest,
    ) -> Result<v1::ExplainInteractionResponse, Refusal> {
        use v1::explain_interaction_response::{Rule, rule};
        let v1::ExplainInteractionRequest {
            check: given,
            evaluate_time,
        } = request;
        let given = given.as_ref().ok_or_else(|| Refusal::required("check"))?;
        let of_check = |refusal| convert::within("check", refusal);
        let tenant = asked.tenant(&given.tenant).map_err(of_check)?;
        let at = convert::instant("evaluate_time", evaluate_time.as_ref())?;
        let identities = check::identities(given).map_err(of_check)?;
        let question = check::question(&tenant, asked, given, &identities).map_err(of_check)?;
        let explained = self.desk.explain(&self.checker, &question, at);
        let Explanation {
            answer,
            identities: told,
            rules,
            judged_on,
        } = explained.await.map_err(of_check)?;
        let rules = rules.into_iter().map(|told| Rule {
            rule: Some(match told.subject {
                Subject::Ban(id) => rule::Rule::BanId(id.to_string()),
                Subject::Exempt(by) => rule::Rule::ExceptionId(by.to_string()),
            }),
            reason: told.reason,
            applied: told.applied,
            why: told.why.word().to_owned(),
        });
        let inputs = given.identities.iter().cloned();
        Ok(v1::ExplainInteractionResponse {
            response: Some(check::message(answer)),
            identities: (0..)
                .zip(inputs.zip(told))
                .map(|(at, (input, told))| message(at, input, told))
                .collect(),
            rules: rules.collect(),
            judged_on: convert::token(Some(&judged_on)),
        })
    }

    async fn preview_expiration(
        &self,
        asked: &Asked,
        request: &v1::PreviewExpirationRequest,
    ) -> Result<v1::PreviewExpirationResponse, Refusal> {
        use v1::preview_expiration_request::Length as Given;
        let v1::PreviewExpirationRequest {
            tenant,
            from_time,
            length,
        } = request;
        let tenant = asked.tenant(tenant)?;
        let length = match length {
            None => {
                let message = "say how long: timeout_text, period or list_id";
                return Err(Refusal::of_field(
                    Reason::FieldRequired,
                    "timeout_text",
                    message,
                ));
            }
            Some(Given::TimeoutText(text)) => Length::Text(text.clone()),
            Some(Given::Period(period)) => Length::Period(convert::period("period", period)?),
            Some(Given::ListId(list)) => Length::List(fields::list_id("list_id", list)?),
        };
        let from = convert::instant("from_time", from_time.as_ref())?;
        let Expiration {
            period,
            expire,
            time_zone,
        } = self
            .desk
            .preview_expiration(&tenant, length, from, asked.deadline)
            .await?;
        Ok(v1::PreviewExpirationResponse {
            period: period.as_ref().map(convert::calendar_period),
            expire_time: expire.map(convert::timestamp),
            time_zone: time_zone.name().to_owned(),
        })
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
        let tenant = asked.tenant(tenant)?;
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
            identity: Some(message(0, identity.clone(), told)),
        })
    }
}

serve! { DiagnosticApi, v1::diagnostic_service_server::DiagnosticService {
    explain_interaction: ExplainInteractionRequest => ExplainInteractionResponse by explain;
    preview_expiration: PreviewExpirationRequest => PreviewExpirationResponse
        by preview_expiration;
    normalize_identifier: NormalizeIdentifierRequest => NormalizeIdentifierResponse by normalize;
} }

/// An identity on the wire, where it stands at `at` in its request.
fn message(at: i32, input: v1::Identity, told: Normalised) -> v1::NormalizedIdentity {
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
            .map(|code| convert::warning(Some(at), code))
            .collect(),
    }
}
