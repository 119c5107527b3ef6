//! `PrivacyService`.

use futures_util::stream;
use tonic::{Request, Response, Status};

use super::{
    Asked, WRITE_DEADLINE,
    convert::{self, ban, exception, token},
    export::Answers,
    no_answer, to_status, v1,
};
use crate::{
    desk::{Desk, Disclosure, EraseSubject, TargetGiven},
    domain::{
        erasure::Keep,
        refusal::{Reason, Refusal},
        revision::Epoch,
    },
    feed::Feed,
};

/// Forgets persons over the wire, and tells what is kept of them.
#[derive(Clone)]
pub struct PrivacyApi {
    desk: Desk,
    feed: Feed,
}

fn identities(given: &[v1::Identity]) -> Result<Vec<TargetGiven>, Refusal> {
    let read = |(at, one)| convert::target(format_args!("identities[{at}]"), one);
    given.iter().enumerate().map(read).collect()
}

impl PrivacyApi {
    /// The service of a desk.
    pub const fn new(desk: Desk, feed: Feed) -> Self {
        Self { desk, feed }
    }

    async fn erase(
        &self,
        asked: &Asked,
        request: &v1::EraseSubjectRequest,
    ) -> Result<v1::EraseSubjectResponse, Refusal> {
        let v1::EraseSubjectRequest {
            tenant,
            actor: _,
            request_id: _,
            validate_only: _,
            identities: given,
            keep_enforcing_by_hash,
            hash_expire_time,
        } = request;
        let tenant = asked.tenant(tenant)?;
        let until = convert::instant("hash_expire_time", hash_expire_time.as_ref())?;
        if until.is_some() && !keep_enforcing_by_hash {
            let message = "nothing is kept unless keep_enforcing_by_hash says so";
            let field = "hash_expire_time";
            return Err(Refusal::of_field(Reason::FieldInvalid, field, message));
        }
        let job = EraseSubject {
            identities: identities(given)?,
            keep: keep_enforcing_by_hash.then_some(Keep { until }),
        };
        let order = convert::order(asked, &tenant, request)?;
        let written = self.desk.erase(order, job).await?;
        let erased = written.answer.erased.ok_or_else(no_answer)?;
        let count = |number| i32::try_from(number).unwrap_or(i32::MAX);
        Ok(v1::EraseSubjectResponse {
            bans_erased: count(erased.bans),
            bans_kept_hashed: count(erased.kept),
            events_redacted: count(erased.events),
            written_at: token(written.token.as_deref()),
        })
    }

    async fn disclose(
        &self,
        asked: &Asked,
        request: &v1::ExportSubjectRequest,
    ) -> Result<Vec<v1::ExportSubjectResponse>, Refusal> {
        use v1::export_subject_response::Item;
        let v1::ExportSubjectRequest {
            tenant,
            identities: given,
        } = request;
        let tenant = asked.tenant(tenant)?;
        let given = identities(given)?;
        let Disclosure {
            bans,
            exceptions,
            events,
        } = self.desk.disclose(&tenant, &given, asked.deadline).await?;
        let now = self.desk.now();
        let standing = self.feed.standing();
        let epoch = standing.map_or(Epoch(0), |standing| standing.position.epoch);
        let bans = bans
            .into_iter()
            .map(|one| Item::Ban(ban::message(one, now)));
        let exceptions = exceptions.into_iter();
        let exceptions = exceptions.map(|one| Item::Exception(exception::message(one, now)));
        let events = events.into_iter();
        let events = events.map(|one| Item::Event(ban::event(one, epoch, self.feed.seal())));
        let items = bans.chain(exceptions).chain(events);
        Ok(items
            .map(|item| v1::ExportSubjectResponse { item: Some(item) })
            .collect())
    }
}

serve! {
    PrivacyApi, v1::privacy_service_server::PrivacyService {
        erase_subject: EraseSubjectRequest => EraseSubjectResponse by erase;
    } also {
        type ExportSubjectStream = Answers<v1::ExportSubjectResponse>;

        async fn export_subject(
            &self,
            request: Request<v1::ExportSubjectRequest>,
        ) -> Result<Response<Self::ExportSubjectStream>, Status> {
            let asked = Asked::of(&request, WRITE_DEADLINE)?;
            let found = self.disclose(&asked, request.get_ref()).await;
            let items = found.map_err(|refusal| to_status(&refusal))?;
            let answers = stream::iter(items.into_iter().map(Ok));
            Ok(Response::new(Box::pin(answers)))
        }
    }
}
