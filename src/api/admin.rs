//! `AdminService`.

use std::sync::Arc;

use super::{
    Asked,
    convert::{self, ban, interaction, token},
    export::Answers,
    no_answer, v1,
};
use crate::{
    checker::Checker,
    desk::{BanInteraction, BanPreview, DeactivateBan, Desk, UpdateBan},
    domain::{ban::Ban, caller::Reach, fields, refusal::Refusal, revision::Epoch},
    feed::Feed,
};

/// Makes, changes and lists bans over the wire.
#[derive(Clone)]
pub struct AdminApi {
    pub(super) desk: Desk,
    checker: Arc<Checker>,
    pub(super) feed: Feed,
}

impl AdminApi {
    /// The service of a desk.
    pub const fn new(desk: Desk, checker: Arc<Checker>, feed: Feed) -> Self {
        Self {
            desk,
            checker,
            feed,
        }
    }

    fn message(&self, ban: Ban) -> v1::Ban {
        ban::message(ban, self.desk.now())
    }

    async fn create(
        &self,
        asked: &Asked,
        request: &v1::CreateBanRequest,
    ) -> Result<v1::CreateBanResponse, Refusal> {
        let tenant = asked.tenant(&request.tenant)?;
        let order = convert::order(asked, &tenant, request)?;
        let written = self.desk.write(order, ban::create(request)?).await?;
        let made = written.answer.ban.ok_or_else(no_answer)?;
        Ok(v1::CreateBanResponse {
            ban: Some(self.message(made)),
            written_at: token(written.token.as_deref()),
            warnings: ban::warnings(&written.answer.warnings),
        })
    }

    async fn preview(
        &self,
        asked: &Asked,
        request: &v1::PreviewBanRequest,
    ) -> Result<v1::PreviewBanResponse, Refusal> {
        let v1::PreviewBanRequest { ban: given } = request;
        let given = given.as_ref().ok_or_else(|| Refusal::required("ban"))?;
        let of_ban = |refusal| convert::within("ban", refusal);
        let tenant = asked.tenant(&given.tenant).map_err(of_ban)?;
        let order = convert::order(asked, &tenant, given).map_err(of_ban)?;
        let wanted = ban::create(given).map_err(of_ban)?;
        let preview = self.desk.preview_ban(&self.checker, order, wanted).await;
        let BanPreview {
            overlaps,
            exceptions,
            queues,
            recent_checks,
            breadth,
            warnings,
        } = preview.map_err(of_ban)?;
        Ok(v1::PreviewBanResponse {
            overlapping_ban_ids: overlaps.iter().map(ToString::to_string).collect(),
            exceptions_hit: exceptions,
            enforcing_queues: queues,
            recent_checks_matched: i32::try_from(recent_checks).unwrap_or(i32::MAX),
            breadth,
            warnings: ban::warnings(&warnings),
        })
    }

    async fn ban_interaction(
        &self,
        asked: &Asked,
        request: &v1::BanInteractionRequest,
    ) -> Result<v1::BanInteractionResponse, Refusal> {
        let tenant = fields::tenant(&request.tenant)?;
        let here = Reach::Queue(&tenant, &request.queue);
        asked.admit(here)?;
        let rights_profile = asked.rights_profile(&request.rights_profile, here)?;
        let order = convert::order(asked, &tenant, request)?;
        let job = BanInteraction {
            rights_profile,
            ..interaction::job(request)?
        };
        let written = self.desk.write(order, job).await?;
        let primary = written.answer.ban.ok_or_else(no_answer)?;
        let bans = std::iter::once(primary).chain(written.answer.cascade);
        let action = written.answer.treatment;
        Ok(v1::BanInteractionResponse {
            bans: bans.map(|made| self.message(made)).collect(),
            written_at: token(written.token.as_deref()),
            client_action: action.map_or(0, |treatment| treatment as i32),
            warnings: ban::warnings(&written.answer.warnings),
        })
    }

    async fn get(
        &self,
        asked: &Asked,
        request: &v1::GetBanRequest,
    ) -> Result<v1::GetBanResponse, Refusal> {
        let v1::GetBanRequest { tenant, ban_id } = request;
        let tenant = asked.tenant(tenant)?;
        let ban_id = fields::ban_id("ban_id", ban_id)?;
        let found = self.desk.ban(&tenant, ban_id, asked.deadline).await?;
        Ok(v1::GetBanResponse {
            ban: Some(self.message(found)),
        })
    }

    async fn list(
        &self,
        asked: &Asked,
        request: &v1::ListBansRequest,
    ) -> Result<v1::ListBansResponse, Refusal> {
        let tenant = asked.tenant(&request.tenant)?;
        let page = self
            .desk
            .bans(&tenant, ban::query(request)?, asked.deadline)
            .await?;
        Ok(v1::ListBansResponse {
            bans: page
                .items
                .into_iter()
                .map(|found| self.message(found))
                .collect(),
            next_page_token: page.next,
            total_size: i32::try_from(page.total).unwrap_or(i32::MAX),
        })
    }

    async fn update(
        &self,
        asked: &Asked,
        request: &v1::UpdateBanRequest,
    ) -> Result<v1::UpdateBanResponse, Refusal> {
        let v1::UpdateBanRequest {
            ban: edited,
            actor: _,
            request_id: _,
            validate_only: _,
            update_mask,
            permanent,
        } = request;
        let edited = edited.as_ref().ok_or_else(|| Refusal::required("ban"))?;
        let tenant = ban::tenant_of(edited)?;
        asked.admit(Reach::Tenant(&tenant))?;
        let job = UpdateBan {
            ban_id: fields::ban_id("ban.ban_id", &edited.ban_id)?,
            etag: edited.etag.clone(),
            edit: ban::edit(edited, update_mask.as_ref(), *permanent)?,
        };
        let order = convert::order(asked, &tenant, request)?;
        let written = self.desk.write(order, job).await?;
        let changed = written.answer.ban.ok_or_else(no_answer)?;
        Ok(v1::UpdateBanResponse {
            ban: Some(self.message(changed)),
            written_at: token(written.token.as_deref()),
        })
    }

    async fn deactivate(
        &self,
        asked: &Asked,
        request: &v1::DeactivateBanRequest,
    ) -> Result<v1::DeactivateBanResponse, Refusal> {
        let v1::DeactivateBanRequest {
            tenant,
            actor: _,
            request_id: _,
            validate_only: _,
            ban_id,
            reason,
            etag,
            include_cascade,
        } = request;
        let tenant = asked.tenant(tenant)?;
        let job = DeactivateBan {
            ban_id: fields::ban_id("ban_id", ban_id)?,
            reason: reason.clone(),
            etag: etag.clone(),
            include_cascade: *include_cascade,
        };
        let order = convert::order(asked, &tenant, request)?;
        let written = self.desk.write(order, job).await?;
        let lifted = written.answer.ban.ok_or_else(no_answer)?;
        let others = self
            .desk
            .bans_of(&tenant, &written.answer.others, asked.deadline)
            .await?;
        Ok(v1::DeactivateBanResponse {
            ban: Some(self.message(lifted)),
            written_at: token(written.token.as_deref()),
            still_banned_by: others
                .into_iter()
                .map(|other| self.message(other))
                .collect(),
        })
    }

    async fn events(
        &self,
        asked: &Asked,
        request: &v1::ListBanEventsRequest,
    ) -> Result<v1::ListBanEventsResponse, Refusal> {
        let tenant = asked.tenant(&request.tenant)?;
        let query = ban::event_query(request)?;
        let page = self.desk.events(&tenant, query, asked.deadline).await?;
        let epoch = self
            .feed
            .standing()
            .map_or(Epoch(0), |standing| standing.position.epoch);
        let seal = self.feed.seal();
        Ok(v1::ListBanEventsResponse {
            events: page
                .items
                .into_iter()
                .map(|event| ban::event(event, epoch, seal))
                .collect(),
            next_page_token: page.next,
        })
    }
}

serve! { AdminApi, v1::admin_service_server::AdminService {
    ban_interaction: BanInteractionRequest => BanInteractionResponse by ban_interaction;
    create_ban: CreateBanRequest => CreateBanResponse by create;
    preview_ban: PreviewBanRequest => PreviewBanResponse by preview;
    get_ban: GetBanRequest => GetBanResponse by get;
    list_bans: ListBansRequest => ListBansResponse by list;
    update_ban: UpdateBanRequest => UpdateBanResponse by update;
    deactivate_ban: DeactivateBanRequest => DeactivateBanResponse by deactivate;
    list_ban_events: ListBanEventsRequest => ListBanEventsResponse by events;
    deactivate_bans: DeactivateBansRequest => DeactivateBansResponse by deactivate_all;
} also {
    type ExportBansStream = Answers<v1::ExportBansResponse>;

    async fn export_bans(
        &self,
        request: tonic::Request<v1::ExportBansRequest>,
    ) -> Result<tonic::Response<Self::ExportBansStream>, tonic::Status> {
        self.export(request).await
    }

    async fn import_bans(
        &self,
        request: tonic::Request<tonic::Streaming<v1::ImportBansRequest>>,
    ) -> Result<tonic::Response<v1::ImportBansResponse>, tonic::Status> {
        self.import(request).await
    }
} }
