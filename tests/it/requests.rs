//! The requests that tests make, short enough to be read in a sentence.

use bancheck::api::v1::{
    Ban, BanList, Channel, CheckInteractionRequest, CheckInteractionResponse, CheckStage,
    CreateBanListRequest, CreateBanRequest, Decision, GetBanRequest, Identity, IdentityKind,
    ListBansRequest, SetBanListQueuesRequest, SetBanListQueuesResponse, UpdateBanRequest,
    create_ban_request::Expiry,
};
use prost_types::{FieldMask, Timestamp};

use crate::server::{Client, TENANT};

/// A Czech mobile number.
pub(crate) const NUMBER: &str = "+420601123456";
/// Another one.
pub(crate) const OTHER_NUMBER: &str = "+420777000111";
/// What a widget keeps in a browser.
pub(crate) const TOKEN: &str = "b1946ac9-2d6f-4c1e-9d7a-0123456789ab";

pub(crate) fn identity(kind: IdentityKind, value: &str) -> Identity {
    Identity {
        kind: kind as i32,
        value: value.to_owned(),
        ..Default::default()
    }
}

pub(crate) fn phone(number: &str) -> Identity {
    identity(IdentityKind::PhoneNumber, number)
}

pub(crate) fn address(ip: &str) -> Identity {
    identity(IdentityKind::IpAddress, ip)
}

pub(crate) fn visitor(token: &str) -> Identity {
    identity(IdentityKind::VisitorToken, token)
}

pub(crate) fn mail(address: &str) -> Identity {
    identity(IdentityKind::EmailAddress, address)
}

/// The administrator's Add, on all channels of the target, for good.
pub(crate) fn add(target: Identity) -> CreateBanRequest {
    CreateBanRequest {
        tenant: TENANT.to_owned(),
        targets: vec![target],
        reason: "threatened the operator".to_owned(),
        ..Default::default()
    }
}

/// The same on one channel.
pub(crate) fn add_on(channel: Channel, target: Identity) -> CreateBanRequest {
    CreateBanRequest {
        channels: vec![channel as i32],
        ..add(target)
    }
}

/// The same in a list.
pub(crate) fn add_to(list_id: &str, target: Identity) -> CreateBanRequest {
    CreateBanRequest {
        list_id: list_id.to_owned(),
        ..add(target)
    }
}

/// The same until an instant.
pub(crate) fn until(end: Timestamp, request: CreateBanRequest) -> CreateBanRequest {
    CreateBanRequest {
        expiry: Some(Expiry::ExpireTime(end)),
        ..request
    }
}

/// Whether this customer may connect.
pub(crate) fn connect(channel: Channel, customer: Identity) -> CheckInteractionRequest {
    CheckInteractionRequest {
        tenant: TENANT.to_owned(),
        channel: channel as i32,
        stage: CheckStage::Connect as i32,
        identities: vec![customer],
        ..Default::default()
    }
}

/// Whether this customer may enter a queue.
pub(crate) fn enter(queue: &str, channel: Channel, who: Identity) -> CheckInteractionRequest {
    CheckInteractionRequest {
        stage: CheckStage::QueueEntry as i32,
        queue: queue.to_owned(),
        ..connect(channel, who)
    }
}

pub(crate) fn denies(answer: &CheckInteractionResponse) -> bool {
    match answer.decision() {
        Decision::Deny => true,
        Decision::Allow => false,
        Decision::Unspecified => panic!("an answer without a decision"),
    }
}

/// The id of the deciding ban; empty = none decided.
pub(crate) fn decided_by(answer: &CheckInteractionResponse) -> String {
    answer
        .r#match
        .as_ref()
        .map(|found| found.ban_id.clone())
        .unwrap_or_default()
}

/// A list that is like no other but by its id.
pub(crate) fn list(list_id: &str) -> BanList {
    BanList {
        list_id: list_id.to_owned(),
        title: format!("The list {list_id}"),
        ..Default::default()
    }
}

/// The making of a list.
pub(crate) fn making(list: BanList) -> CreateBanListRequest {
    CreateBanListRequest {
        tenant: TENANT.to_owned(),
        ban_list: Some(list),
        ..Default::default()
    }
}

/// Some seconds after an instant, or before it.
pub(crate) fn after(at: Timestamp, seconds: i64) -> Timestamp {
    Timestamp {
        seconds: at.seconds + seconds,
        ..at
    }
}

/// An instant as a number that can be compared.
pub(crate) fn micros(at: Timestamp) -> i64 {
    at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000
}

/// The microseconds of an instant that must be there.
pub(crate) fn when(at: Option<Timestamp>) -> i64 {
    micros(at.expect("an instant"))
}

/// A change of a ban that names one field.
pub(crate) fn change(ban: Ban, field: &str) -> UpdateBanRequest {
    let update_mask = Some(FieldMask {
        paths: vec![field.to_owned()],
    });
    UpdateBanRequest {
        ban: Some(ban),
        update_mask,
        ..Default::default()
    }
}

impl Client {
    /// Whether this customer is turned away at the door.
    pub(crate) async fn turns_away(&self, channel: Channel, customer: Identity) -> bool {
        denies(&self.ask(connect(channel, customer)).await)
    }

    /// What time the server has: that of a ban which is judged and not made.
    pub(crate) async fn clock(&self) -> Timestamp {
        let nobody = phone("+420601999999");
        let request = CreateBanRequest {
            validate_only: true,
            ..add(nobody)
        };
        self.ban(request)
            .await
            .create_time
            .expect("a time of creation")
    }

    /// The ids of the bans that a filter finds, newest first, and how many there are in all.
    pub(crate) async fn found(&self, filter: ListBansRequest) -> (Vec<String>, i32) {
        let request = ListBansRequest {
            tenant: TENANT.to_owned(),
            ..filter
        };
        let page = self
            .admin()
            .list_bans(request)
            .await
            .expect("a page")
            .into_inner();
        (
            page.bans.into_iter().map(|ban| ban.ban_id).collect(),
            page.total_size,
        )
    }

    /// A ban of [`TENANT`] as it is now.
    pub(crate) async fn look(&self, ban: &Ban) -> Ban {
        let request = GetBanRequest {
            tenant: TENANT.to_owned(),
            ban_id: ban.ban_id.clone(),
        };
        let found = self.admin().get_ban(request).await.expect("a ban");
        found.into_inner().ban.expect("the ban")
    }

    /// Says which queues check a list.
    pub(crate) async fn relate(&self, list_id: &str, queues: &[&str]) -> SetBanListQueuesResponse {
        let request = SetBanListQueuesRequest {
            tenant: TENANT.to_owned(),
            list_id: list_id.to_owned(),
            queues: queues.iter().map(ToString::to_string).collect(),
            ..Default::default()
        };
        self.config()
            .set_ban_list_queues(request)
            .await
            .expect("a relation")
            .into_inner()
    }
}
