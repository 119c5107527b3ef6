//! `CheckService`.

use std::sync::Arc;

use smallvec::SmallVec;
use tonic::{Request, Response, Status};

use super::{Asked, CHECK_DEADLINE, convert, to_status, v1};
use crate::{
    checker::{Answer, Checker, Question},
    domain::{
        ban::MAX_IDENTITIES,
        decide::{Match, Stage},
        fields,
        identity::Given,
        refusal::Refusal,
    },
};

/// Answers checks over the wire.
#[derive(Clone)]
pub struct CheckApi {
    checker: Arc<Checker>,
}

impl CheckApi {
    /// The service of a checker.
    pub const fn new(checker: Arc<Checker>) -> Self {
        Self { checker }
    }

    async fn check(
        &self,
        asked: &Asked,
        request: &v1::CheckInteractionRequest,
    ) -> Result<v1::CheckInteractionResponse, Refusal> {
        let identities = identities(request)?;
        let question = question(asked, request, &identities)?;
        Ok(message(self.checker.check(&asked.caller, &question).await?))
    }
}

#[tonic::async_trait]
impl v1::check_service_server::CheckService for CheckApi {
    async fn check_interaction(
        &self,
        request: Request<v1::CheckInteractionRequest>,
    ) -> Result<Response<v1::CheckInteractionResponse>, Status> {
        let asked = Asked::of(request.metadata(), CHECK_DEADLINE)?;
        let answer = self.check(&asked, request.get_ref()).await;
        answer
            .map(Response::new)
            .map_err(|refusal| to_status(&refusal))
    }
}

/// The identities that a check names.
pub(super) fn identities(
    request: &v1::CheckInteractionRequest,
) -> Result<SmallVec<[Given<'_>; 2]>, Refusal> {
    request
        .identities
        .iter()
        // One more than may be judged, so that the checker can tell there are too many.
        .take(MAX_IDENTITIES + 1)
        .enumerate()
        .map(|(at, identity)| convert::given(format_args!("identities[{at}]"), identity))
        .collect()
}

/// What a check asks, of these identities.
pub(super) fn question<'a>(
    asked: &Asked,
    request: &'a v1::CheckInteractionRequest,
    identities: &'a [Given<'a>],
) -> Result<Question<'a>, Refusal> {
    let v1::CheckInteractionRequest {
        tenant,
        channel,
        stage,
        queue,
        identities: _,
        interaction_id,
        consistency,
    } = request;
    fields::callers_id("interaction_id", interaction_id)?;
    Ok(Question {
        tenant,
        channel: convert::channel("channel", *channel)?,
        stage: fields::known("stage", *stage, Stage::from_number)?,
        queue,
        identities,
        consistency: convert::consistency(consistency.as_ref()),
        deadline: asked.deadline,
    })
}

fn ban_match(found: &Match) -> v1::BanMatch {
    let Match {
        ban,
        list_id,
        match_kind,
        identity,
        expire,
    } = found;
    v1::BanMatch {
        ban_id: ban.to_string(),
        list_id: list_id
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        match_kind: *match_kind as i32,
        identity_index: i32::from(*identity),
        expire_time: expire.map(convert::timestamp),
    }
}

/// An answer on the wire.
pub(super) fn message(answer: Answer) -> v1::CheckInteractionResponse {
    let deciding = answer.deciding().map(ban_match);
    let Answer {
        verdict,
        denied,
        treatment,
        basis,
        stale_for,
        reuse_until,
        token,
        decision_id,
        warnings,
    } = answer;
    let decision = if denied {
        v1::Decision::Deny
    } else {
        v1::Decision::Allow
    };
    v1::CheckInteractionResponse {
        decision: decision as i32,
        treatment: treatment.map_or(0, |treatment| treatment as i32),
        r#match: deciding,
        exception_id: String::new(),
        shadow_matches: verdict.shadows.iter().map(ban_match).collect(),
        reuse_until: reuse_until.map(convert::timestamp),
        checked_at: convert::token(Some(&token)),
        basis: basis as i32,
        stale_for: stale_for.and_then(|age| age.try_into().ok()),
        decision_id,
        warnings: warnings
            .into_iter()
            .map(|(at, code)| convert::warning(at.map(i32::from), code))
            .collect(),
    }
}
