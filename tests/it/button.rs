//! The operator's button as tests press it, and what its queues are set up by.

use bancheck::api::v1::{
    Ban, BanInteractionRequest, BanInteractionResponse, BanList, Channel, GetQueuePolicyRequest,
    Identity, QueuePolicy, SetBanRightsRequest, TestBanPermissionRequest, UpdateQueuePolicyRequest,
    ban_list::WebchatBanType, queue_policy::RecordTo,
};
use tonic::Code;

use crate::{
    refused::Refused,
    requests::{NUMBER, TOKEN, address, list, phone, visitor},
    server::{Client, TENANT},
};

/// The rights profile that may ban from the queues of these tests.
pub(crate) const PROFILE: &str = "operators";
/// Where the customer of a web chat comes from.
pub(crate) const ADDRESS: &str = "203.0.113.7";

/// The button during an interaction, in no queue.
pub(crate) fn press(channel: Channel, identities: Vec<Identity>) -> BanInteractionRequest {
    BanInteractionRequest {
        tenant: TENANT.to_owned(),
        actor: "eva".to_owned(),
        rights_profile: PROFILE.to_owned(),
        channel: channel as i32,
        interaction_id: "interaction-1".to_owned(),
        live: true,
        identities,
        reason: "threats".to_owned(),
        ..Default::default()
    }
}

/// The same from a queue.
pub(crate) fn press_at(queue: &str, channel: Channel, who: Vec<Identity>) -> BanInteractionRequest {
    BanInteractionRequest {
        queue: queue.to_owned(),
        ..press(channel, who)
    }
}

/// The button in a call.
pub(crate) fn call_at(queue: &str) -> BanInteractionRequest {
    press_at(queue, Channel::Call, vec![phone(NUMBER)])
}

/// The button in a web chat, of which both the browser and the address are known.
pub(crate) fn chat_at(queue: &str) -> BanInteractionRequest {
    press_at(
        queue,
        Channel::WebChat,
        vec![visitor(TOKEN), address(ADDRESS)],
    )
}

/// A queue's policy.
pub(crate) fn policy(queue: &str, channel: Channel, record_to: RecordTo) -> QueuePolicy {
    QueuePolicy {
        queue: queue.to_owned(),
        channel: channel as i32,
        record_to: record_to as i32,
        ..Default::default()
    }
}

/// The policy of a queue that records to a list.
pub(crate) fn into_list(queue: &str, channel: Channel, list_id: &str) -> QueuePolicy {
    QueuePolicy {
        list_id: list_id.to_owned(),
        ..policy(queue, channel, RecordTo::BanList)
    }
}

/// A list that bans web chats by address.
pub(crate) fn by_address(list_id: &str) -> BanList {
    BanList {
        webchat_ban_type: WebchatBanType::Ip as i32,
        ..list(list_id)
    }
}

/// A list that bans the contact's numbers with a web chat.
pub(crate) fn with_phones(list: BanList) -> BanList {
    BanList {
        ban_contact_phones: true,
        ..list
    }
}

/// The codes of the warnings, sorted.
pub(crate) fn codes(answer: &BanInteractionResponse) -> Vec<&str> {
    let codes = answer.warnings.iter().map(|warning| warning.code.as_str());
    let mut codes: Vec<_> = codes.collect();
    codes.sort_unstable();
    codes
}

/// The canonical forms that a ban is on.
pub(crate) fn on(ban: &Ban) -> Vec<&str> {
    ban.targets
        .iter()
        .map(|target| target.canonical.as_str())
        .collect()
}

impl Client {
    /// Presses the button.
    pub(crate) async fn press(&self, request: BanInteractionRequest) -> BanInteractionResponse {
        self.admin()
            .ban_interaction(request)
            .await
            .expect("a ban")
            .into_inner()
    }

    /// Presses the button, and makes sure that one ban comes of it.
    pub(crate) async fn press_once(&self, request: BanInteractionRequest) -> Ban {
        let answer = self.press(request).await;
        let [ban] = answer.bans.as_slice() else {
            panic!("{answer:?}");
        };
        ban.clone()
    }

    /// Presses the button in vain.
    pub(crate) async fn press_refused(
        &self,
        request: BanInteractionRequest,
        code: Code,
        reason: &str,
    ) -> Refused {
        let refused = Refused::read(self.admin().ban_interaction(request).await);
        refused.is(code, reason);
        refused.keeps_quiet_about("601123456");
        refused.keeps_quiet_about(TOKEN);
        refused
    }

    /// Sets what a queue does; without a mask, what is set.
    pub(crate) async fn set_queue(&self, policy: QueuePolicy) -> QueuePolicy {
        let request = UpdateQueuePolicyRequest {
            tenant: TENANT.to_owned(),
            queue_policy: Some(policy),
            ..Default::default()
        };
        let set = self.config().update_queue_policy(request).await;
        set.expect("a policy").into_inner().queue_policy.unwrap()
    }

    /// What a queue does.
    pub(crate) async fn queue(&self, queue: &str) -> QueuePolicy {
        let request = GetQueuePolicyRequest {
            tenant: TENANT.to_owned(),
            queue: queue.to_owned(),
        };
        let found = self.config().get_queue_policy(request).await;
        found.expect("a policy").into_inner().queue_policy.unwrap()
    }

    /// Says from which queues [`PROFILE`] may ban.
    pub(crate) async fn allow(&self, queues: &[&str]) -> Vec<String> {
        let request = SetBanRightsRequest {
            tenant: TENANT.to_owned(),
            rights_profile: PROFILE.to_owned(),
            allowed_queues: queues.iter().map(ToString::to_string).collect(),
            ..Default::default()
        };
        let set = self.config().set_ban_rights(request).await;
        set.expect("rights").into_inner().allowed_queues
    }

    /// Whether somebody under a profile may ban from a queue, or why not.
    pub(crate) async fn may(&self, profile: &str, queue: &str, channel: Channel) -> String {
        let request = TestBanPermissionRequest {
            tenant: TENANT.to_owned(),
            actor: "eva".to_owned(),
            rights_profile: profile.to_owned(),
            queues: vec![queue.to_owned()],
            channel: channel as i32,
        };
        let told = self.config().test_ban_permission(request).await;
        let told = told.expect("an answer").into_inner().permissions;
        let [one] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert_eq!(one.queue, queue);
        assert_eq!(one.allowed, one.reason.is_empty());
        one.reason.clone()
    }
}
