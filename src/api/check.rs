//! `CheckService`.

mod stream;
mod unary;

use std::sync::Arc;

use smallvec::SmallVec;
use tokio::{task::yield_now, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use self::stream::Answers;
pub use self::unary::Unary;
use super::{
    Asked, CHECK_DEADLINE, convert,
    status::{to_rpc_status, to_status},
    v1::{
        self,
        batch_check_interactions_response::{Result as BatchResult, result::Outcome},
    },
};
use crate::{
    checker::{Answer, Checker, Question, Seen},
    domain::{
        ban::MAX_IDENTITIES,
        caller::Reach,
        decide::{Match, Stage},
        fields,
        identity::Given,
        ids::TenantId,
        refusal::{Reason, Refusal},
    },
    telemetry::traces,
};

/// The most items of a batch.
const MAX_BATCH: usize = 1_000;
/// After so many items of a batch others on the same thread have their turn.
const STRETCH: usize = 64;

/// Answers checks over the wire.
#[derive(Clone)]
pub struct CheckApi {
    checker: Arc<Checker>,
    /// Told when streams are to end.
    closing: CancellationToken,
}

impl CheckApi {
    /// The service of a checker, whose streams end when the server does.
    pub const fn new(checker: Arc<Checker>, closing: CancellationToken) -> Self {
        Self { checker, closing }
    }

    async fn check(
        &self,
        asked: &Asked,
        request: &v1::CheckInteractionRequest,
    ) -> Result<v1::CheckInteractionResponse, Refusal> {
        // Before anything else of the message is judged.
        let tenant = fields::tenant(&request.tenant)?;
        asked.admit(Reach::Queue(&tenant, &request.queue))?;
        let identities = identities(request)?;
        let question = question(&tenant, asked, request, &identities)?;
        let answer = self.checker.check(&question).await?;
        traces::decided(&answer, question.channel);
        Ok(message(answer))
    }

    /// Judges the items of a batch in their order, and tells of each.
    async fn check_batch(
        &self,
        asked: &Asked,
        request: &v1::BatchCheckInteractionsRequest,
        mut tell: impl FnMut(Outcome),
    ) -> Result<(), Refusal> {
        let v1::BatchCheckInteractionsRequest {
            requests,
            consistency,
        } = request;
        if requests.is_empty() {
            return Err(Refusal::required("requests"));
        }
        fields::items("requests", requests, MAX_BATCH)?;
        let tenants = requests.iter().map(|request| request.tenant.as_str());
        let wish = convert::consistency(consistency.as_ref());
        let glance = self
            .checker
            .glance(&asked.pass.caller, tenants, wish, asked.deadline)
            .await?;
        for (at, (request, seen)) in requests.iter().zip(glance.seen()).enumerate() {
            if at > 0 && at.is_multiple_of(STRETCH) {
                // Others are answered on this thread as well.
                yield_now().await;
            }
            tell(match item(seen, asked, request) {
                Ok(answer) => Outcome::Response(message(answer)),
                Err(refusal) => Outcome::Error(to_rpc_status(&refusal)),
            });
        }
        traces::judged(requests.len());
        Ok(())
    }
}

/// One item of a batch.
fn item(
    seen: Result<Seen<'_>, Refusal>,
    asked: &Asked,
    request: &v1::CheckInteractionRequest,
) -> Result<Answer, Refusal> {
    if request.consistency.is_some() {
        let message = "how fresh a batch is, is said once for all of its items";
        return Err(Refusal::of_field(
            Reason::FieldInvalid,
            "consistency",
            message,
        ));
    }
    let seen = seen?;
    asked.admit(Reach::Queue(seen.tenant, &request.queue))?;
    let identities = identities(request)?;
    let question = question(seen.tenant, asked, request, &identities)?;
    seen.check(&question)
}

#[tonic::async_trait]
impl v1::check_service_server::CheckService for CheckApi {
    async fn check_interaction(
        &self,
        request: Request<v1::CheckInteractionRequest>,
    ) -> Result<Response<v1::CheckInteractionResponse>, Status> {
        let asked = Asked::of(&request, CHECK_DEADLINE)?;
        let answer = self.check(&asked, request.get_ref()).await;
        answer
            .map(Response::new)
            .map_err(|refusal| to_status(&refusal))
    }

    async fn batch_check_interactions(
        &self,
        request: Request<v1::BatchCheckInteractionsRequest>,
    ) -> Result<Response<v1::BatchCheckInteractionsResponse>, Status> {
        let asked = Asked::of(&request, CHECK_DEADLINE)?;
        let mut answers = v1::BatchCheckInteractionsResponse::default();
        let gather = |outcome| {
            let outcome = Some(outcome);
            answers.results.push(BatchResult { outcome });
        };
        self.check_batch(&asked, request.get_ref(), gather)
            .await
            .map_err(|refusal| to_status(&refusal))?;
        Ok(Response::new(answers))
    }

    type StreamCheckInteractionsStream = Answers;

    async fn stream_check_interactions(
        &self,
        request: Request<Streaming<v1::StreamCheckInteractionsRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let asked = Asked::of(&request, CHECK_DEADLINE)?;
        let until = asked
            .pass
            .deadline
            .map(|deadline| Instant::now() + deadline);
        let answers = Answers::new(self.clone(), asked.pass, request.into_inner(), until);
        Ok(Response::new(answers))
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

/// What a check asks about a tenant, of these identities.
pub(super) fn question<'a>(
    tenant: &'a TenantId,
    asked: &Asked,
    request: &'a v1::CheckInteractionRequest,
    identities: &'a [Given<'a>],
) -> Result<Question<'a>, Refusal> {
    let v1::CheckInteractionRequest {
        tenant: _,
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
        exception_id: verdict.exempt.map(|by| by.to_string()).unwrap_or_default(),
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
