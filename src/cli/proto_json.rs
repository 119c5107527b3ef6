//! Answers as canonical proto3 JSON, written by reflection from the descriptors the server serves.
//!
//! The same rules as any other gRPC tool follows, so a script may switch between them: lower camel
//! case, enum values by name, times in RFC 3339, 64-bit integers as strings, defaults left out.

use std::sync::LazyLock;

use anyhow::Context;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};

use crate::api::{DESCRIPTORS, v1};

static POOL: LazyLock<Result<DescriptorPool, prost_reflect::DescriptorError>> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS));

/// A message that the descriptors know by a name.
pub(crate) trait Named: Message {
    /// The name within the package.
    const NAME: &'static str;
}

macro_rules! named {
    ($($name:ident),+ $(,)?) => {$(
        impl Named for v1::$name {
            const NAME: &'static str = stringify!($name);
        }
    )+};
}

named!(
    ApiKey,
    Ban,
    BanEvent,
    BanInteractionResponse,
    BanList,
    BanRights,
    CheckInteractionResponse,
    CreateApiKeyResponse,
    CreateBanListResponse,
    CreateBanResponse,
    CreateExceptionResponse,
    CreateTenantResponse,
    EraseSubjectResponse,
    ExportSubjectResponse,
    DeactivateBanResponse,
    DeactivateBansResponse,
    DeactivateExceptionResponse,
    DeleteBanListResponse,
    DeleteTenantResponse,
    Exception,
    ExplainInteractionResponse,
    GetQueuePolicyResponse,
    GetTenantSettingsResponse,
    LinkIdentitiesResponse,
    NormalizedIdentity,
    PreviewBanResponse,
    PreviewExpirationResponse,
    Principal,
    QueuePolicy,
    RevokeApiKeyResponse,
    RotateApiKeyResponse,
    SetBanListQueuesResponse,
    SetBanRightsResponse,
    SetGrantsResponse,
    TenantSettings,
    TestBanPermissionResponse,
    UpdateBanResponse,
    UpdateQueuePolicyResponse,
    UpdateTenantSettingsResponse,
    WatchChangesResponse,
);

/// The message in the form that serialises as canonical JSON.
pub(crate) fn canonical<M: Named>(message: &M) -> anyhow::Result<DynamicMessage> {
    let pool = POOL.as_ref().context("the descriptors do not decode")?;
    let descriptor = pool
        .get_message_by_name(&format!("bancheck.v1.{}", M::NAME))
        .with_context(|| format!("the descriptors lack {}", M::NAME))?;
    Ok(DynamicMessage::decode(
        descriptor,
        message.encode_to_vec().as_slice(),
    )?)
}

/// The messages of a list, each as [`canonical`] has it.
pub(crate) fn canonical_all<M: Named>(messages: &[M]) -> anyhow::Result<Vec<DynamicMessage>> {
    messages.iter().map(canonical).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<M: Named>(message: &M) -> String {
        serde_json::to_string(&canonical(message).unwrap()).unwrap()
    }

    #[test]
    fn an_answer_is_canonical_json() {
        let ban = v1::Ban {
            ban_id: "b".to_owned(),
            channels: vec![v1::Channel::WebChat.into()],
            match_count: 7,
            expire_time: Some(prost_types::Timestamp {
                seconds: 0,
                nanos: 0,
            }),
            ..v1::Ban::default()
        };
        let expected = r#"{"banId":"b","channels":["CHANNEL_WEB_CHAT"],"#.to_owned()
            + r#""expireTime":"1970-01-01T00:00:00Z","matchCount":"7"}"#;
        assert_eq!(text(&ban), expected);
    }

    #[test]
    fn every_message_is_known_by_its_name() {
        text(&v1::Ban::default());
        text(&v1::BanEvent::default());
        text(&v1::BanInteractionResponse::default());
        text(&v1::BanList::default());
        text(&v1::BanRights::default());
        text(&v1::CheckInteractionResponse::default());
        text(&v1::CreateBanListResponse::default());
        text(&v1::CreateBanResponse::default());
        text(&v1::CreateTenantResponse::default());
        text(&v1::DeactivateBanResponse::default());
        text(&v1::GetQueuePolicyResponse::default());
        text(&v1::DeactivateBansResponse::default());
        text(&v1::GetTenantSettingsResponse::default());
        text(&v1::QueuePolicy::default());
        text(&v1::SetBanRightsResponse::default());
        text(&v1::TestBanPermissionResponse::default());
        text(&v1::UpdateQueuePolicyResponse::default());
        text(&v1::SetBanListQueuesResponse::default());
        text(&v1::TenantSettings::default());
        text(&v1::UpdateBanResponse::default());
        text(&v1::UpdateTenantSettingsResponse::default());
        text(&v1::WatchChangesResponse::default());
    }

    #[test]
    fn an_empty_list_is_an_empty_array() {
        let none = canonical_all::<v1::Ban>(&[]).unwrap();
        assert_eq!(serde_json::to_string(&none).unwrap(), "[]");
    }
}
