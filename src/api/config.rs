//! `ConfigService`.

mod queues;

use super::{
    Asked,
    convert::{self, all_known, config, exception, token},
    no_answer, v1,
};
use crate::{
    desk::{
        CreateList, DeactivateException, DeleteList, DeleteTenant, Desk, ExceptionQuery,
        LinkIdentities, Named, SetListQueues, ShownException, UpdateList, UpdateSettings, Written,
    },
    domain::{
        ban::State,
        caller::Reach,
        fields,
        ids::TenantId,
        list::BanList,
        refusal::{Reason, Refusal},
    },
    store::Answer,
};

/// Configures tenants and lists over the wire.
#[derive(Clone)]
pub struct ConfigApi {
    desk: Desk,
}

impl ConfigApi {
    /// The service of a desk.
    pub const fn new(desk: Desk) -> Self {
        Self { desk }
    }

    async fn create_tenant(
        &self,
        asked: &Asked,
        request: &v1::CreateTenantRequest,
    ) -> Result<v1::CreateTenantResponse, Refusal> {
        let v1::CreateTenantRequest {
            tenant,
            actor: _,
            request_id: _,
            validate_only: _,
            settings,
        } = request;
        asked.admit(Reach::Deployment)?;
        let tenant = fields::tenant(tenant)?;
        let settings = settings.clone().unwrap_or_default();
        if !settings.tenant.is_empty() && settings.tenant != tenant.as_str() {
            let message = "this names another tenant than the request";
            return Err(Refusal::of_field(
                Reason::FieldInvalid,
                "settings.tenant",
                message,
            ));
        }
        let edit = config::settings_edit("settings", &settings, None)?;
        let order = convert::order(asked, &tenant, request)?;
        let Written {
            answer,
            token: written_at,
        } = self.desk.create_tenant(order, edit).await?;
        let settings = answer.settings.ok_or_else(no_answer)?;
        Ok(v1::CreateTenantResponse {
            tenant_settings: Some(config::settings_message(tenant.as_str(), settings)),
            written_at: token(written_at.as_deref()),
        })
    }

    async fn tenants(
        &self,
        asked: &Asked,
        request: &v1::ListTenantsRequest,
    ) -> Result<v1::ListTenantsResponse, Refusal> {
        let v1::ListTenantsRequest {
            page_size,
            page_token,
        } = request;
        asked.admit(Reach::Deployment)?;
        let page = self
            .desk
            .tenants(*page_size, page_token, asked.deadline)
            .await?;
        let tenants = page
            .items
            .into_iter()
            .map(|(tenant, settings)| config::settings_message(tenant.as_str(), settings));
        Ok(v1::ListTenantsResponse {
            tenants: tenants.collect(),
            next_page_token: page.next,
        })
    }

    async fn settings(
        &self,
        asked: &Asked,
        request: &v1::GetTenantSettingsRequest,
    ) -> Result<v1::GetTenantSettingsResponse, Refusal> {
        let v1::GetTenantSettingsRequest { tenant } = request;
        let tenant = asked.tenant(tenant)?;
        let settings = self.desk.settings(&tenant, asked.deadline).await?;
        let tenant_settings = Some(config::settings_message(tenant.as_str(), settings));
        Ok(v1::GetTenantSettingsResponse { tenant_settings })
    }

    async fn update_settings(
        &self,
        asked: &Asked,
        request: &v1::UpdateTenantSettingsRequest,
    ) -> Result<v1::UpdateTenantSettingsResponse, Refusal> {
        let v1::UpdateTenantSettingsRequest {
            tenant_settings,
            actor: _,
            request_id: _,
            validate_only: _,
            update_mask,
        } = request;
        let given = tenant_settings
            .as_ref()
            .ok_or_else(|| Refusal::required("tenant_settings"))?;
        let tenant = asked.tenant(&given.tenant)?;
        let job = UpdateSettings {
            etag: given.etag.clone(),
            edit: config::settings_edit("tenant_settings", given, update_mask.as_ref())?,
        };
        let order = convert::order(asked, &tenant, request)?;
        let Written {
            answer,
            token: written_at,
        } = self.desk.write(order, job).await?;
        let settings = answer.settings.ok_or_else(no_answer)?;
        Ok(v1::UpdateTenantSettingsResponse {
            tenant_settings: Some(config::settings_message(tenant.as_str(), settings)),
            written_at: token(written_at.as_deref()),
        })
    }

    async fn delete_tenant(
        &self,
        asked: &Asked,
        request: &v1::DeleteTenantRequest,
    ) -> Result<v1::DeleteTenantResponse, Refusal> {
        let v1::DeleteTenantRequest {
            tenant,
            actor: _,
            request_id: _,
            validate_only: _,
            confirm_tenant,
        } = request;
        asked.admit(Reach::Deployment)?;
        let tenant = fields::tenant(tenant)?;
        if confirm_tenant.is_empty() {
            return Err(Refusal::required("confirm_tenant"));
        }
        if confirm_tenant != tenant.as_str() {
            let message = "this is not the tenant that is to be deleted; name it once more";
            let field = "confirm_tenant";
            return Err(Refusal::of_field(Reason::FieldInvalid, field, message));
        }
        let order = convert::order(asked, &tenant, request)?;
        let written = self.desk.write(order, DeleteTenant).await?;
        Ok(v1::DeleteTenantResponse {
            written_at: token(written.token.as_deref()),
        })
    }

    /// A list on the wire, with the example that stands beside its timeout (D8).
    async fn list_message(
        &self,
        asked: &Asked,
        tenant: &TenantId,
        list: BanList,
    ) -> Result<v1::BanList, Refusal> {
        let example = if list.lasts(0) == Ok(None) {
            None
        } else {
            let settings = self.desk.settings(tenant, asked.deadline).await?;
            self.desk.example(&list, &settings)
        };
        Ok(config::list_message(list, example))
    }

    async fn create_list(
        &self,
        asked: &Asked,
        request: &v1::CreateBanListRequest,
    ) -> Result<v1::CreateBanListResponse, Refusal> {
        let v1::CreateBanListRequest {
            tenant,
            actor: _,
            request_id: _,
            validate_only: _,
            ban_list,
        } = request;
        let tenant = asked.tenant(tenant)?;
        let list = ban_list
            .as_ref()
            .ok_or_else(|| Refusal::required("ban_list"))?;
        let job = CreateList {
            list_id: fields::list_id("ban_list.list_id", &list.list_id)?,
            edit: config::list_edit(list, None)?,
        };
        let order = convert::order(asked, &tenant, request)?;
        let Written {
            answer,
            token: written_at,
        } = self.desk.write(order, job).await?;
        let list = answer.list.ok_or_else(no_answer)?;
        Ok(v1::CreateBanListResponse {
            ban_list: Some(self.list_message(asked, &tenant, list).await?),
            written_at: token(written_at.as_deref()),
        })
    }

    async fn list(
        &self,
        asked: &Asked,
        request: &v1::GetBanListRequest,
    ) -> Result<v1::GetBanListResponse, Refusal> {
        let v1::GetBanListRequest { tenant, list_id } = request;
        let tenant = asked.tenant(tenant)?;
        let list_id = fields::list_id("list_id", list_id)?;
        let list = self.desk.list(&tenant, &list_id, asked.deadline).await?;
        let ban_list = Some(self.list_message(asked, &tenant, list).await?);
        Ok(v1::GetBanListResponse { ban_list })
    }

    async fn lists(
        &self,
        asked: &Asked,
        request: &v1::ListBanListsRequest,
    ) -> Result<v1::ListBanListsResponse, Refusal> {
        let v1::ListBanListsRequest {
            tenant,
            page_size,
            page_token,
        } = request;
        let tenant = asked.tenant(tenant)?;
        let page = self
            .desk
            .lists(&tenant, *page_size, page_token, asked.deadline)
            .await?;
        let settings = self.desk.settings(&tenant, asked.deadline).await?;
        let one = |list: BanList| {
            let example = self.desk.example(&list, &settings);
            config::list_message(list, example)
        };
        let ban_lists = page.items.into_iter().map(one).collect();
        Ok(v1::ListBanListsResponse {
            ban_lists,
            next_page_token: page.next,
        })
    }

    async fn update_list(
        &self,
        asked: &Asked,
        request: &v1::UpdateBanListRequest,
    ) -> Result<v1::UpdateBanListResponse, Refusal> {
        let v1::UpdateBanListRequest {
            tenant,
            actor: _,
            request_id: _,
            validate_only: _,
            ban_list,
            update_mask,
        } = request;
        let tenant = asked.tenant(tenant)?;
        let list = ban_list
            .as_ref()
            .ok_or_else(|| Refusal::required("ban_list"))?;
        let job = UpdateList {
            list_id: fields::list_id("ban_list.list_id", &list.list_id)?,
            etag: list.etag.clone(),
            edit: config::list_edit(list, update_mask.as_ref())?,
        };
        let order = convert::order(asked, &tenant, request)?;
        let Written {
            answer,
            token: written_at,
        } = self.desk.write(order, job).await?;
        let list = answer.list.ok_or_else(no_answer)?;
        Ok(v1::UpdateBanListResponse {
            ban_list: Some(self.list_message(asked, &tenant, list).await?),
            written_at: token(written_at.as_deref()),
        })
    }

    async fn delete_list(
        &self,
        asked: &Asked,
        request: &v1::DeleteBanListRequest,
    ) -> Result<v1::DeleteBanListResponse, Refusal> {
        let v1::DeleteBanListRequest {
            tenant,
            actor: _,
            request_id: _,
            validate_only: _,
            list_id,
            etag,
            force,
        } = request;
        let tenant = asked.tenant(tenant)?;
        let job = DeleteList {
            list_id: fields::list_id("list_id", list_id)?,
            etag: etag.clone(),
            force: *force,
        };
        let order = convert::order(asked, &tenant, request)?;
        let Written {
            answer,
            token: written_at,
        } = self.desk.write(order, job).await?;
        let list = answer.list.ok_or_else(no_answer)?;
        Ok(v1::DeleteBanListResponse {
            ban_list: Some(self.list_message(asked, &tenant, list).await?),
            written_at: token(written_at.as_deref()),
        })
    }

    async fn set_queues(
        &self,
        asked: &Asked,
        request: &v1::SetBanListQueuesRequest,
    ) -> Result<v1::SetBanListQueuesResponse, Refusal> {
        let v1::SetBanListQueuesRequest {
            tenant,
            actor: _,
            request_id: _,
            validate_only: _,
            list_id,
            queues,
            etag,
        } = request;
        let tenant = asked.tenant(tenant)?;
        let job = SetListQueues {
            list_id: fields::list_id("list_id", list_id)?,
            etag: etag.clone(),
            queues: queues.clone(),
        };
        let order = convert::order(asked, &tenant, request)?;
        let Written {
            answer,
            token: written_at,
        } = self.desk.write(order, job).await?;
        let list = answer.list.ok_or_else(no_answer)?;
        Ok(v1::SetBanListQueuesResponse {
            queues: list.queues.into_iter().collect(),
            written_at: token(written_at.as_deref()),
            added: answer.added,
            removed: answer.removed,
        })
    }

    fn exception(&self, answer: Answer) -> Result<v1::Exception, Refusal> {
        let shown = ShownException::of(answer).ok_or_else(no_answer)?;
        Ok(exception::message(shown, self.desk.now()))
    }

    async fn create_exception(
        &self,
        asked: &Asked,
        request: &v1::CreateExceptionRequest,
    ) -> Result<v1::CreateExceptionResponse, Refusal> {
        let v1::CreateExceptionRequest {
            tenant,
            actor: _,
            request_id: _,
            validate_only: _,
            exception: wanted,
            override_warnings,
        } = request;
        let tenant = asked.tenant(tenant)?;
        let wanted = exception::wanted(wanted.as_ref(), *override_warnings)?;
        let order = convert::order(asked, &tenant, request)?;
        let Written {
            answer,
            token: written_at,
        } = match wanted {
            exception::Wanted::Made(job) => self.desk.write(order, job).await?,
            exception::Wanted::BuiltIn(job) => self.desk.write(order, job).await?,
        };
        Ok(v1::CreateExceptionResponse {
            bans_overridden: i32::try_from(answer.overridden).unwrap_or(i32::MAX),
            warnings: convert::ban::warnings(&answer.warnings),
            exception: Some(self.exception(answer)?),
            written_at: token(written_at.as_deref()),
        })
    }

    async fn exceptions(
        &self,
        asked: &Asked,
        request: &v1::ListExceptionsRequest,
    ) -> Result<v1::ListExceptionsResponse, Refusal> {
        let v1::ListExceptionsRequest {
            tenant,
            page_size,
            page_token,
            states,
        } = request;
        let tenant = asked.tenant(tenant)?;
        let query = ExceptionQuery {
            states: all_known("states", states, State::from_number)?,
            page_size: *page_size,
            page_token: page_token.clone(),
        };
        let page = self.desk.exceptions(&tenant, query, asked.deadline).await?;
        let now = self.desk.now();
        let exceptions = page.items.into_iter();
        Ok(v1::ListExceptionsResponse {
            exceptions: exceptions.map(|one| exception::message(one, now)).collect(),
            next_page_token: page.next,
        })
    }

    async fn link(
        &self,
        asked: &Asked,
        request: &v1::LinkIdentitiesRequest,
    ) -> Result<v1::LinkIdentitiesResponse, Refusal> {
        let v1::LinkIdentitiesRequest {
            tenant,
            actor: _,
            request_id: _,
            validate_only: _,
            previous,
            current,
        } = request;
        let tenant = asked.tenant(tenant)?;
        let read = |field: &str, identity: Option<&v1::Identity>| {
            let identity = identity.ok_or_else(|| Refusal::required(field))?;
            convert::target(field, identity)
        };
        let job = LinkIdentities {
            previous: read("previous", previous.as_ref())?,
            current: read("current", current.as_ref())?,
        };
        let order = convert::order(asked, &tenant, request)?;
        let Written {
            answer,
            token: written_at,
        } = self.desk.write(order, job).await?;
        let extended = self.desk.bans_of(&tenant, &answer.others, asked.deadline);
        let (extended, now) = (extended.await?, self.desk.now());
        Ok(v1::LinkIdentitiesResponse {
            bans_extended: extended
                .into_iter()
                .map(|found| convert::ban::message(found, now))
                .collect(),
            written_at: token(written_at.as_deref()),
            skipped: answer
                .skipped
                .iter()
                .map(|(ban, why)| v1::link_identities_response::Skipped {
                    ban_id: ban.to_string(),
                    reason: why.clone(),
                })
                .collect(),
            warnings: convert::ban::warnings(&answer.warnings),
        })
    }

    async fn deactivate_exception(
        &self,
        asked: &Asked,
        request: &v1::DeactivateExceptionRequest,
    ) -> Result<v1::DeactivateExceptionResponse, Refusal> {
        let v1::DeactivateExceptionRequest {
            tenant,
            actor: _,
            request_id: _,
            validate_only: _,
            exception_id,
            reason,
        } = request;
        let tenant = asked.tenant(tenant)?;
        let job = DeactivateException {
            which: Named::read("exception_id", exception_id)?,
            reason: reason.clone(),
        };
        let order = convert::order(asked, &tenant, request)?;
        let Written {
            answer,
            token: written_at,
        } = self.desk.write(order, job).await?;
        Ok(v1::DeactivateExceptionResponse {
            exception: Some(self.exception(answer)?),
            written_at: token(written_at.as_deref()),
        })
    }
}

serve! { ConfigApi, v1::config_service_server::ConfigService {
    create_tenant: CreateTenantRequest => CreateTenantResponse by create_tenant;
    list_tenants: ListTenantsRequest => ListTenantsResponse by tenants;
    delete_tenant: DeleteTenantRequest => DeleteTenantResponse by delete_tenant;
    get_tenant_settings: GetTenantSettingsRequest => GetTenantSettingsResponse by settings;
    update_tenant_settings: UpdateTenantSettingsRequest => UpdateTenantSettingsResponse
        by update_settings;
    create_ban_list: CreateBanListRequest => CreateBanListResponse by create_list;
    get_ban_list: GetBanListRequest => GetBanListResponse by list;
    list_ban_lists: ListBanListsRequest => ListBanListsResponse by lists;
    update_ban_list: UpdateBanListRequest => UpdateBanListResponse by update_list;
    delete_ban_list: DeleteBanListRequest => DeleteBanListResponse by delete_list;
    set_ban_list_queues: SetBanListQueuesRequest => SetBanListQueuesResponse by set_queues;
    get_queue_policy: GetQueuePolicyRequest => GetQueuePolicyResponse by queue_policy;
    update_queue_policy: UpdateQueuePolicyRequest => UpdateQueuePolicyResponse
        by update_queue_policy;
    list_queue_policies: ListQueuePoliciesRequest => ListQueuePoliciesResponse by queue_policies;
    set_ban_rights: SetBanRightsRequest => SetBanRightsResponse by set_ban_rights;
    list_ban_rights: ListBanRightsRequest => ListBanRightsResponse by ban_rights;
    test_ban_permission: TestBanPermissionRequest => TestBanPermissionResponse by test_permission;
    create_exception: CreateExceptionRequest => CreateExceptionResponse by create_exception;
    list_exceptions: ListExceptionsRequest => ListExceptionsResponse by exceptions;
    deactivate_exception: DeactivateExceptionRequest => DeactivateExceptionResponse
        by deactivate_exception;
    link_identities: LinkIdentitiesRequest => LinkIdentitiesResponse by link;
} }
