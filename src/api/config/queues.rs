//! Queues' policies, and who may ban from which queue.

use super::{
    Asked, ConfigApi,
    convert::{self, queue, token},
    no_answer, v1,
};
use crate::{
    desk::{SetBanRights, UpdateQueuePolicy},
    domain::{
        caller::Reach,
        fields,
        queue::{MAX_ALLOWED, MAX_ASKED},
        refusal::Refusal,
    },
};

impl ConfigApi {
    pub(super) async fn queue_policy(
        &self,
        asked: &Asked,
        request: &v1::GetQueuePolicyRequest,
    ) -> Result<v1::GetQueuePolicyResponse, Refusal> {
        let v1::GetQueuePolicyRequest { tenant, queue } = request;
        let tenant = asked.tenant(tenant)?;
        let policy = self
            .desk
            .queue_policy(&tenant, queue, asked.deadline)
            .await?;
        Ok(v1::GetQueuePolicyResponse {
            queue_policy: Some(queue::message(policy)),
        })
    }

    pub(super) async fn update_queue_policy(
        &self,
        asked: &Asked,
        request: &v1::UpdateQueuePolicyRequest,
    ) -> Result<v1::UpdateQueuePolicyResponse, Refusal> {
        let v1::UpdateQueuePolicyRequest {
            tenant,
            actor: _,
            request_id: _,
            validate_only: _,
            queue_policy,
            update_mask,
        } = request;
        let tenant = asked.tenant(tenant)?;
        let policy = queue_policy
            .as_ref()
            .ok_or_else(|| Refusal::required("queue_policy"))?;
        fields::needed("queue_policy.queue", &policy.queue)?;
        let job = UpdateQueuePolicy {
            queue: policy.queue.clone(),
            edit: queue::edit(policy, update_mask.as_ref())?,
        };
        let order = convert::order(asked, &tenant, request)?;
        let written = self.desk.write(order, job).await?;
        let policy = written.answer.queue.ok_or_else(no_answer)?;
        Ok(v1::UpdateQueuePolicyResponse {
            queue_policy: Some(queue::message(policy)),
            written_at: token(written.token.as_deref()),
        })
    }

    pub(super) async fn queue_policies(
        &self,
        asked: &Asked,
        request: &v1::ListQueuePoliciesRequest,
    ) -> Result<v1::ListQueuePoliciesResponse, Refusal> {
        let v1::ListQueuePoliciesRequest {
            tenant,
            page_size,
            page_token,
        } = request;
        let tenant = asked.tenant(tenant)?;
        let page = self
            .desk
            .queue_policies(&tenant, *page_size, page_token, asked.deadline)
            .await?;
        Ok(v1::ListQueuePoliciesResponse {
            queue_policies: page.items.into_iter().map(queue::message).collect(),
            next_page_token: page.next,
        })
    }

    pub(super) async fn set_ban_rights(
        &self,
        asked: &Asked,
        request: &v1::SetBanRightsRequest,
    ) -> Result<v1::SetBanRightsResponse, Refusal> {
        let v1::SetBanRightsRequest {
            tenant,
            actor: _,
            request_id: _,
            validate_only: _,
            rights_profile,
            allowed_queues,
        } = request;
        let tenant = asked.tenant(tenant)?;
        fields::needed("rights_profile", rights_profile)?;
        let allowed = fields::items("allowed_queues", allowed_queues, MAX_ALLOWED)?;
        fields::queues("allowed_queues", allowed)?;
        let job = SetBanRights {
            rights_profile: rights_profile.clone(),
            allowed_queues: allowed.iter().cloned().collect(),
        };
        let order = convert::order(asked, &tenant, request)?;
        let written = self.desk.write(order, job).await?;
        Ok(v1::SetBanRightsResponse {
            allowed_queues: written.answer.added,
            written_at: token(written.token.as_deref()),
        })
    }

    pub(super) async fn ban_rights(
        &self,
        asked: &Asked,
        request: &v1::ListBanRightsRequest,
    ) -> Result<v1::ListBanRightsResponse, Refusal> {
        let v1::ListBanRightsRequest {
            tenant,
            page_size,
            page_token,
        } = request;
        let tenant = asked.tenant(tenant)?;
        let page = self
            .desk
            .ban_rights(&tenant, *page_size, page_token, asked.deadline)
            .await?;
        Ok(v1::ListBanRightsResponse {
            rights: page.items.into_iter().map(queue::rights).collect(),
            next_page_token: page.next,
        })
    }

    pub(super) async fn test_permission(
        &self,
        asked: &Asked,
        request: &v1::TestBanPermissionRequest,
    ) -> Result<v1::TestBanPermissionResponse, Refusal> {
        let v1::TestBanPermissionRequest {
            tenant,
            actor,
            rights_profile,
            queues,
            channel,
        } = request;
        let tenant = asked.tenant(tenant)?;
        fields::callers_id("actor", actor)?;
        let here = Reach::Tenant(&tenant);
        asked.acting_as(actor, here)?;
        fields::callers_id("rights_profile", rights_profile)?;
        let rights_profile = asked.rights_profile(rights_profile, here)?;
        fields::queues("queues", fields::items("queues", queues, MAX_ASKED)?)?;
        let channel = convert::channel("channel", *channel)?;
        let permissions = self
            .desk
            .test_permission(&tenant, channel, &rights_profile, queues, asked.deadline)
            .await?;
        let told = queues.iter().zip(permissions);
        Ok(v1::TestBanPermissionResponse {
            permissions: told
                .map(|(queue, permitted)| queue::permission(queue, permitted))
                .collect(),
        })
    }
}
