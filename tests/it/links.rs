//! Bans that follow a customer to a new number or user id.

use bancheck::api::v1::{
    Ban, Channel, CreateBanRequest, Identity, IdentityKind, LinkIdentitiesRequest,
    LinkIdentitiesResponse, ListBanEventsRequest, MatchKind,
};
use tonic::Code;

use crate::{
    refused::Refused,
    requests::{
        NUMBER, OTHER_NUMBER, add, change, connect, decided_by, identity, phone, until, visitor,
    },
    server::{Client, TENANT},
};

on_both_stores!(
    every_ban_of_the_one_holds_on_the_other_from_then_on,
    what_is_linked_again_is_left_as_it_is,
    a_number_changes_into_a_user_id_of_a_portfolio,
    a_ban_keeps_eight_targets_at_most_and_none_becomes_like_another,
    two_addresses_of_one_network_are_two_targets_still,
    what_has_ended_or_is_on_a_range_is_left_alone,
    a_protected_identity_is_given_no_ban_and_a_withheld_one_is_none,
);

fn linking(previous: Identity, current: Identity) -> LinkIdentitiesRequest {
    LinkIdentitiesRequest {
        tenant: TENANT.to_owned(),
        previous: Some(previous),
        current: Some(current),
        ..Default::default()
    }
}

fn user_id(id: &str) -> Identity {
    Identity {
        issuer: "portfolio-1".to_owned(),
        ..identity(IdentityKind::WhatsappUserId, id)
    }
}

fn ids(bans: &[Ban]) -> Vec<&str> {
    bans.iter().map(|ban| ban.ban_id.as_str()).collect()
}

impl Client {
    async fn link(&self, previous: Identity, current: Identity) -> LinkIdentitiesResponse {
        let linked = self
            .config()
            .link_identities(linking(previous, current))
            .await;
        linked.expect("linked").into_inner()
    }

    async fn links_noted(&self) -> usize {
        let request = ListBanEventsRequest {
            tenant: TENANT.to_owned(),
            ..Default::default()
        };
        let events = self.admin().list_ban_events(request).await.expect("events");
        let events = events.into_inner().events.into_iter();
        events.filter(|event| event.action == "LINKED").count()
    }
}

async fn every_ban_of_the_one_holds_on_the_other_from_then_on(client: Client) {
    let ends = client.clock().await;
    let ends = crate::requests::after(ends, 3_600);
    let first = client.ban(until(ends, add(phone(NUMBER)))).await;
    let second = client
        .ban(CreateBanRequest {
            channels: vec![Channel::Whatsapp as i32],
            ..add(phone(NUMBER))
        })
        .await;
    let stranger = client.ban(add(phone("+420608000000"))).await;
    assert!(
        !client
            .turns_away(Channel::Whatsapp, phone(OTHER_NUMBER))
            .await
    );
    let linked = client
        .link(phone("420601123456"), phone(OTHER_NUMBER))
        .await;
    assert_eq!(
        ids(&linked.bans_extended),
        [first.ban_id.as_str(), &second.ban_id]
    );
    assert!(linked.skipped.is_empty() && linked.written_at.is_some());
    for ban in &linked.bans_extended {
        assert_eq!(ban.targets.len(), 2);
        assert_eq!(ban.targets[1].canonical, OTHER_NUMBER);
        assert_ne!(ban.etag, first.etag);
    }
    // The end is that of the ban, not a new one.
    assert_eq!(linked.bans_extended[0].expire_time, Some(ends));
    for who in [NUMBER, OTHER_NUMBER] {
        let answer = client.ask(connect(Channel::Whatsapp, phone(who))).await;
        assert_eq!(decided_by(&answer), second.ban_id, "{who}");
        let answer = client.ask(connect(Channel::Call, phone(who))).await;
        assert_eq!(decided_by(&answer), first.ban_id, "{who}");
    }
    assert_eq!(client.links_noted().await, 2);
    client.lift(&second).await;
    client.lift(&first).await;
    assert!(
        !client
            .turns_away(Channel::Whatsapp, phone(OTHER_NUMBER))
            .await
    );
    client.lift(&stranger).await;
}

async fn what_is_linked_again_is_left_as_it_is(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    let tried = LinkIdentitiesRequest {
        validate_only: true,
        ..linking(phone(NUMBER), phone(OTHER_NUMBER))
    };
    let tried = client
        .config()
        .link_identities(tried)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((tried.bans_extended.len(), tried.written_at), (1, None));
    assert!(!client.turns_away(Channel::Call, phone(OTHER_NUMBER)).await);
    let once = client.link(phone(NUMBER), phone(OTHER_NUMBER)).await;
    assert_eq!(ids(&once.bans_extended), [ban.ban_id.as_str()]);
    for (previous, current) in [
        (NUMBER, OTHER_NUMBER),
        (OTHER_NUMBER, NUMBER),
        (NUMBER, NUMBER),
    ] {
        let again = client.link(phone(previous), phone(current)).await;
        assert!(
            again.bans_extended.is_empty() && again.skipped.is_empty(),
            "{previous}"
        );
    }
    assert_eq!(client.links_noted().await, 1);
    // Nobody is banned by linking two who are not.
    let none = client
        .link(phone("+420608000001"), phone("+420608000002"))
        .await;
    assert!(none.bans_extended.is_empty());
    assert!(
        !client
            .turns_away(Channel::Call, phone("+420608000002"))
            .await
    );
}

async fn a_number_changes_into_a_user_id_of_a_portfolio(client: Client) {
    client.ban(add(phone("+5215512345678"))).await;
    let who = user_id("US.13491208655302741918");
    // By the number's other spelling.
    let linked = client.link(phone("525512345678"), who.clone()).await;
    assert_eq!(linked.bans_extended.len(), 1);
    assert!(client.turns_away(Channel::Whatsapp, who.clone()).await);
    let of_another = Identity {
        issuer: "portfolio-2".to_owned(),
        ..who.clone()
    };
    assert!(!client.turns_away(Channel::Whatsapp, of_another).await);
    // And on to the next one.
    let next = user_id("US.99991208655302741918");
    let linked = client.link(who.clone(), next.clone()).await;
    assert_eq!(linked.bans_extended[0].targets.len(), 3);
    assert!(client.turns_away(Channel::Whatsapp, next).await);
    let nowhere = Identity {
        issuer: String::new(),
        ..who
    };
    let request = linking(phone(NUMBER), nowhere);
    let refused = Refused::read(client.config().link_identities(request).await);
    refused.is(Code::InvalidArgument, "MISSING_ISSUER");
    refused.blames("current.issuer");
}

async fn a_ban_keeps_eight_targets_at_most_and_none_becomes_like_another(client: Client) {
    let numbers: Vec<_> = (0..8).map(|n| phone(&format!("+42060110000{n}"))).collect();
    let full = client
        .ban(CreateBanRequest {
            targets: numbers.clone(),
            ..add(phone(NUMBER))
        })
        .await;
    let linked = client.link(numbers[0].clone(), phone(OTHER_NUMBER)).await;
    assert!(linked.bans_extended.is_empty());
    assert_eq!(linked.skipped[0].ban_id, full.ban_id);
    assert_eq!(linked.skipped[0].reason, "TOO_MANY_ITEMS");

    let both = client
        .ban(CreateBanRequest {
            targets: vec![phone(NUMBER), phone(OTHER_NUMBER)],
            ..add(phone(NUMBER))
        })
        .await;
    let one = client.ban(add(phone(NUMBER))).await;
    let linked = client.link(phone(NUMBER), phone(OTHER_NUMBER)).await;
    assert!(linked.bans_extended.is_empty());
    let skipped: Vec<_> = linked
        .skipped
        .iter()
        .map(|one| (&*one.ban_id, &*one.reason))
        .collect();
    assert_eq!(skipped, [(&*one.ban_id, "DUPLICATE_ACTIVE_BAN")]);
    client.lift(&both).await;
    let linked = client.link(phone(NUMBER), phone(OTHER_NUMBER)).await;
    assert_eq!(ids(&linked.bans_extended), [one.ban_id.as_str()]);
    // What it has become like stands in the way of another one.
    let again = CreateBanRequest {
        targets: vec![phone(OTHER_NUMBER), phone(NUMBER)],
        ..add(phone(NUMBER))
    };
    let refused = Refused::read(client.admin().create_ban(again).await);
    refused.is(Code::AlreadyExists, "DUPLICATE_ACTIVE_BAN");
    assert_eq!(refused.facts["ban_id"], one.ban_id);

    let call_only = client
        .ban(CreateBanRequest {
            channels: vec![Channel::Call as i32],
            ..add(phone("+420608000000"))
        })
        .await;
    let linked = client
        .link(phone("+420608000000"), user_id("US.13491208655302741918"))
        .await;
    assert_eq!(linked.skipped[0].ban_id, call_only.ban_id);
    assert_eq!(linked.skipped[0].reason, "KIND_CHANNEL_MISMATCH");
}

async fn two_addresses_of_one_network_are_two_targets_still(client: Client) {
    let both = ["2001:db8:1:2::7", "2001:db8:1:2::8"];
    let both = both.map(|one| identity(IdentityKind::IpAddress, one));
    let ban = client.ban(add(both[0].clone())).await;
    let linked = client.link(both[0].clone(), both[1].clone()).await;
    assert_eq!(ids(&linked.bans_extended), [ban.ban_id.as_str()]);
    let mut edit = change(linked.bans_extended[0].clone(), "reason_code");
    if let Some(ban) = &mut edit.ban {
        "ABUSE".clone_into(&mut ban.reason_code);
    }
    let edited = client.admin().update_ban(edit).await.expect("an edit");
    let again = CreateBanRequest {
        targets: both.to_vec(),
        ..add(both[0].clone())
    };
    let refused = Refused::read(client.admin().create_ban(again).await);
    refused.is(Code::AlreadyExists, "DUPLICATE_ACTIVE_BAN");
    assert_eq!(refused.facts["ban_id"], ban.ban_id);
    let edited = edited.into_inner().ban.expect("a ban");
    assert!(edited.targets.iter().all(|one| !one.match_keys.is_empty()));
}

async fn what_has_ended_or_is_on_a_range_is_left_alone(client: Client) {
    let lifted = client.ban(add(phone(NUMBER))).await;
    client.lift(&lifted).await;
    client
        .ban(CreateBanRequest {
            match_kind: MatchKind::Prefix as i32,
            ..add(phone("+420601"))
        })
        .await;
    let linked = client.link(phone(NUMBER), phone(OTHER_NUMBER)).await;
    assert!(linked.bans_extended.is_empty() && linked.skipped.is_empty());
    assert!(!client.turns_away(Channel::Call, phone(OTHER_NUMBER)).await);
    let chat = visitor("b1946ac9-2d6f-4c1e-9d7a-0123456789ab");
    client.ban(add(chat.clone())).await;
    let other = visitor("c1946ac9-2d6f-4c1e-9d7a-0123456789ab");
    assert_eq!(
        client.link(chat, other.clone()).await.bans_extended.len(),
        1
    );
    assert!(client.turns_away(Channel::WebChat, other).await);
}

async fn a_protected_identity_is_given_no_ban_and_a_withheld_one_is_none(client: Client) {
    client.ban(add(phone(NUMBER))).await;
    let request = linking(phone(NUMBER), phone("+420112"));
    let refused = Refused::read(client.config().link_identities(request).await);
    refused.is(Code::FailedPrecondition, "PROTECTED_IDENTIFIER");
    let request = linking(phone(NUMBER), identity(IdentityKind::Withheld, ""));
    let refused = Refused::read(client.config().link_identities(request).await);
    refused.is(Code::InvalidArgument, "INVALID_IDENTIFIER");
    let mut request = linking(phone(NUMBER), phone(OTHER_NUMBER));
    request.previous = None;
    let refused = Refused::read(client.config().link_identities(request).await);
    refused.is(Code::InvalidArgument, "FIELD_REQUIRED");
    refused.blames("previous");
}
