//! Who is never banned: exceptions, protected identities, and which of a ban and an exception wins.

use bancheck::api::v1::{
    Channel, CheckInteractionRequest, CreateBanRequest, CreateExceptionRequest,
    CreateExceptionResponse, DeactivateExceptionRequest, Exception, Identity, IdentityKind,
    ListExceptionsRequest, MatchKind, ban::State,
};
use tonic::Code;

use crate::{
    refused::Refused,
    requests::{
        NUMBER, OTHER_NUMBER, TOKEN, add, add_on, add_to, address, after, connect, decided_by,
        denies, enter, identity, list, mail, phone, until, visitor, when,
    },
    server::{Client, TENANT},
};

on_both_stores!(
    an_exception_overrides_standing_bans_at_once_and_no_longer_when_it_ends,
    p10_numbers_of_the_own_network_are_not_affected_by_global,
    of_a_ban_and_an_exception_the_one_that_names_the_customer_more_closely_wins,
    an_exception_spares_only_what_the_same_identity_was_banned_by,
    an_exception_ends_at_its_instant_and_an_answer_is_good_no_longer,
    an_exception_holds_on_its_channels_only,
    an_exception_spares_in_lists_and_from_shadows_too,
    an_exception_is_told_how_many_bans_it_overrides,
    an_exception_as_wide_as_a_ban_may_be_needs_the_same_insistence,
    an_exception_just_like_one_that_stands_is_that_one,
    what_is_no_exception_is_refused_by_the_field_at_fault,
    a_tenants_exceptions_are_its_own,
);

/// An exception on somebody, on all channels, until it is ended.
pub(crate) fn sparing(target: Identity) -> Exception {
    Exception {
        target: Some(target),
        comment: "our test line".to_owned(),
        ..Default::default()
    }
}

pub(crate) fn range(kind: MatchKind, target: Identity) -> Exception {
    Exception {
        match_kind: kind as i32,
        ..sparing(target)
    }
}

pub(crate) fn banning(kind: MatchKind, target: Identity) -> CreateBanRequest {
    CreateBanRequest {
        match_kind: kind as i32,
        ..add(target)
    }
}

pub(crate) fn making(exception: Exception) -> CreateExceptionRequest {
    CreateExceptionRequest {
        tenant: TENANT.to_owned(),
        exception: Some(exception),
        ..Default::default()
    }
}

fn ending(exception_id: &str) -> DeactivateExceptionRequest {
    DeactivateExceptionRequest {
        tenant: TENANT.to_owned(),
        exception_id: exception_id.to_owned(),
        reason: "no longer ours".to_owned(),
        ..Default::default()
    }
}

pub(crate) fn codes(warnings: &[bancheck::api::v1::Warning]) -> Vec<&str> {
    warnings.iter().map(|one| one.code.as_str()).collect()
}

impl Client {
    pub(crate) async fn spare(&self, exception: Exception) -> CreateExceptionResponse {
        let made = self.config().create_exception(making(exception)).await;
        made.expect("an exception").into_inner()
    }

    pub(crate) async fn spare_no_more(&self, exception_id: &str) -> Exception {
        let ended = self
            .config()
            .deactivate_exception(ending(exception_id))
            .await;
        let ended = ended.expect("an exception ended").into_inner();
        ended.exception.expect("the exception")
    }

    pub(crate) async fn exceptions(&self, states: &[State]) -> Vec<Exception> {
        let request = ListExceptionsRequest {
            tenant: TENANT.to_owned(),
            page_size: 1_000,
            states: states.iter().map(|state| *state as i32).collect(),
            ..Default::default()
        };
        let page = self.config().list_exceptions(request).await;
        page.expect("a page").into_inner().exceptions
    }

    /// Asks who is spared: whether it is denied, and by which exception not.
    pub(crate) async fn answer(&self, question: CheckInteractionRequest) -> (bool, String) {
        let answer = self.ask(question).await;
        (denies(&answer), answer.exception_id)
    }
}

pub(crate) fn id_of(made: &CreateExceptionResponse) -> String {
    made.exception.as_ref().unwrap().exception_id.clone()
}

async fn an_exception_overrides_standing_bans_at_once_and_no_longer_when_it_ends(client: Client) {
    let ban = client.ban(add(phone(NUMBER))).await;
    let asked = || connect(Channel::Call, phone(NUMBER));
    assert!(denies(&client.ask(asked()).await));
    let made = client.spare(sparing(phone("601 123 456"))).await;
    let exception = made.exception.clone().unwrap();
    assert_eq!(exception.state(), State::Active);
    assert_eq!((made.bans_overridden, exception.protected), (1, false));
    assert_eq!(exception.normalized.unwrap().canonical, NUMBER);
    assert!(made.written_at.is_some() && exception.create_time.is_some());
    assert_eq!(
        exception.channels,
        [Channel::Call, Channel::Sms, Channel::Whatsapp].map(|channel| channel as i32)
    );
    assert_eq!(client.answer(asked()).await, (false, id_of(&made)));

    let ended = client.spare_no_more(&id_of(&made)).await;
    assert_eq!(ended.state(), State::Deactivated);
    assert_eq!(ended.deactivate_reason, "no longer ours");
    assert_eq!(ended.deactivated_by, "anonymous");
    let answer = client.ask(asked()).await;
    assert_eq!(decided_by(&answer), ban.ban_id);
    assert_eq!(answer.exception_id, "");
    // Once more it is unchanged, and nobody else's reason is written over it.
    let again = DeactivateExceptionRequest {
        reason: "another".to_owned(),
        ..ending(&id_of(&made))
    };
    let again = client.config().deactivate_exception(again).await.unwrap();
    assert_eq!(again.into_inner().exception.unwrap(), ended);
    // Nobody who is not banned is told of an exception.
    let free = client.spare(sparing(phone(OTHER_NUMBER))).await;
    assert_eq!(free.bans_overridden, 0);
    let asked = connect(Channel::Call, phone(OTHER_NUMBER));
    assert_eq!(client.answer(asked).await, (false, String::new()));
}

async fn p10_numbers_of_the_own_network_are_not_affected_by_global(client: Client) {
    client.ban(banning(MatchKind::Prefix, phone("+4206"))).await;
    client
        .spare(range(MatchKind::Prefix, phone("+420601")))
        .await;
    for channel in [Channel::Call, Channel::Sms] {
        assert!(!client.turns_away(channel, phone("+420601123456")).await);
        assert!(client.turns_away(channel, phone("+420602123456")).await);
    }
    // A ban on one of the numbers names it more closely, unless the network is protected.
    let own = range(MatchKind::Prefix, phone("+420777"));
    client.ban(add(phone(OTHER_NUMBER))).await;
    let made = client.spare(own.clone()).await;
    assert_eq!(made.bans_overridden, 0);
    assert!(client.turns_away(Channel::Call, phone(OTHER_NUMBER)).await);
    client
        .spare(Exception {
            protected: true,
            ..own
        })
        .await;
    assert!(!client.turns_away(Channel::Call, phone(OTHER_NUMBER)).await);
}

type One = (MatchKind, Identity);

/// The ban, the exception, who comes, whether the exception wins, and how many bans it overrides
/// for somebody: a ban of one address of a mailbox is on its other addresses less closely.
#[rustfmt::skip]
fn pairs() -> Vec<(One, One, Channel, Identity, bool, i32)> {
    use Channel::{Call, Email, WebChat};
    use MatchKind::{Cidr, Domain, Exact, Prefix};
    vec![
        ((Exact, phone("+420601000001")), (Exact, phone("+420601000001")), Call, phone("+420601000001"), true, 1),
        ((Exact, phone("+420601000002")), (Prefix, phone("+42060100000")), Call, phone("+420601000002"), false, 0),
        ((Prefix, phone("+420702")), (Exact, phone("+420702000003")), Call, phone("+420702000003"), true, 1),
        ((Prefix, phone("+420703")), (Prefix, phone("+4207030")), Call, phone("+420703000004"), true, 1),
        ((Prefix, phone("+4207041")), (Prefix, phone("+420704")), Call, phone("+420704100005"), false, 0),
        ((Prefix, phone("+420705")), (Prefix, phone("+420705")), Call, phone("+420705100005"), true, 1),
        ((Cidr, address("203.0.113.0/24")), (Cidr, address("203.0.113.64/26")), WebChat, address("203.0.113.65"), true, 1),
        ((Cidr, address("198.51.100.64/26")), (Cidr, address("198.51.100.0/24")), WebChat, address("198.51.100.65"), false, 0),
        ((Exact, address("2001:db8:1::1")), (Cidr, address("2001:db8:1::1/128")), WebChat, address("2001:db8:1::1"), true, 1),
        ((Exact, address("2001:db8:2::1")), (Cidr, address("2001:db8:2::/48")), WebChat, address("2001:db8:2::1"), false, 0),
        ((Domain, mail("shop.example")), (Domain, mail("eu.shop.example")), Email, mail("a@mx.eu.shop.example"), true, 1),
        ((Exact, mail("b+x@one.example")), (Exact, mail("b@one.example")), Email, mail("b+x@one.example"), false, 1),
        ((Exact, mail("c@two.example")), (Exact, mail("c+x@two.example")), Email, mail("c+x@two.example"), true, 1),
    ]
}

async fn of_a_ban_and_an_exception_the_one_that_names_the_customer_more_closely_wins(
    client: Client,
) {
    for ((how, whom), (spared_how, spared), channel, who, wins, overridden) in pairs() {
        let told = format!("{whom:?} {how:?} against {spared:?} {spared_how:?}");
        let ban = client.ban(banning(how, whom)).await;
        let made = client.spare(range(spared_how, spared)).await;
        let expected = if wins { id_of(&made) } else { String::new() };
        let answer = client.answer(connect(channel, who)).await;
        assert_eq!(answer, (!wins, expected), "{told}");
        assert_eq!(made.bans_overridden, overridden, "{told}");
        client.lift(&ban).await;
        client.spare_no_more(&id_of(&made)).await;
    }
}

async fn an_exception_spares_only_what_the_same_identity_was_banned_by(client: Client) {
    let ban = client.ban(add(visitor(TOKEN))).await;
    client.ban(add(address("203.0.113.7"))).await;
    let made = client.spare(sparing(address("203.0.113.7"))).await;
    let asked = CheckInteractionRequest {
        identities: vec![address("203.0.113.7"), visitor(TOKEN)],
        ..connect(Channel::WebChat, visitor(TOKEN))
    };
    let answer = client.ask(asked.clone()).await;
    assert_eq!(decided_by(&answer), ban.ban_id);
    assert_eq!(answer.r#match.unwrap().identity_index, 1);
    assert_eq!(answer.exception_id, id_of(&made));
    client.lift(&ban).await;
    assert_eq!(client.answer(asked).await, (false, id_of(&made)));
}

async fn an_exception_ends_at_its_instant_and_an_answer_is_good_no_longer(client: Client) {
    let now = client.clock().await;
    client
        .ban(until(after(now, 3_600), add(phone(NUMBER))))
        .await;
    // Beyond the lease it is the lease that an answer is good for.
    let soon = prost_types::Timestamp {
        nanos: 0,
        ..after(now, 2)
    };
    let made = client
        .spare(Exception {
            expire_time: Some(soon),
            ..sparing(phone(NUMBER))
        })
        .await;
    assert_eq!(made.exception.as_ref().unwrap().expire_time, Some(soon));
    let asked = || connect(Channel::Call, phone(NUMBER));
    let answer = client.ask(asked()).await;
    assert!(!denies(&answer));
    assert!(when(answer.reuse_until) <= when(Some(soon)));
    loop {
        let (denied, by) = client.answer(asked()).await;
        if denied {
            assert_eq!(by, "");
            break;
        }
        assert_eq!(by, id_of(&made));
        assert!(when(Some(client.clock().await)) < when(Some(after(soon, 10))));
    }
    assert!(when(Some(client.clock().await)) >= when(Some(soon)));
    let over = client.exceptions(&[State::Expired]).await;
    assert_eq!(over.len(), 1);
    assert_eq!(over[0].state(), State::Expired);
}

async fn an_exception_holds_on_its_channels_only(client: Client) {
    client.ban(add(phone(NUMBER))).await;
    client
        .spare(Exception {
            channels: vec![Channel::Sms as i32],
            ..sparing(phone(NUMBER))
        })
        .await;
    assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
    assert!(!client.turns_away(Channel::Sms, phone(NUMBER)).await);
}

async fn an_exception_spares_in_lists_and_from_shadows_too(client: Client) {
    client.make_list(list("rude")).await;
    client.relate("rude", &["sales"]).await;
    client.ban(add_to("rude", phone(NUMBER))).await;
    let shadow = CreateBanRequest {
        enforcement: bancheck::api::v1::ban::Enforcement::Shadow as i32,
        ..add_on(Channel::Call, phone(NUMBER))
    };
    client.ban(shadow).await;
    let asked = || enter("sales", Channel::Call, phone(NUMBER));
    let before = client.ask(asked()).await;
    assert!(denies(&before) && before.shadow_matches.len() == 1);
    let made = client.spare(sparing(phone(NUMBER))).await;
    let spared = client.ask(asked()).await;
    assert!(!denies(&spared) && spared.shadow_matches.is_empty());
    assert_eq!(spared.exception_id, id_of(&made));
}

async fn an_exception_is_told_how_many_bans_it_overrides(client: Client) {
    client.ban(add(phone(NUMBER))).await;
    client.ban(add_on(Channel::Sms, phone("601 123 456"))).await;
    client.ban(banning(MatchKind::Prefix, phone("+4206"))).await;
    let lifted = client.ban(add_on(Channel::Call, phone(NUMBER))).await;
    client.lift(&lifted).await;
    client.ban(add(phone(OTHER_NUMBER))).await;
    let tried = CreateExceptionRequest {
        validate_only: true,
        ..making(sparing(phone(NUMBER)))
    };
    let tried = client
        .config()
        .create_exception(tried)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((tried.bans_overridden, tried.written_at), (3, None));
    let call_only = Exception {
        channels: vec![Channel::Call as i32],
        ..sparing(phone(NUMBER))
    };
    assert_eq!(client.spare(call_only).await.bans_overridden, 2);
    assert_eq!(
        client.spare(sparing(phone(NUMBER))).await.bans_overridden,
        3
    );
    client.ban(banning(MatchKind::Prefix, phone("+5255"))).await;
    // The same numbers, as they used to be written.
    let mexican = range(MatchKind::Prefix, phone("+521551"));
    assert_eq!(client.spare(mexican).await.bans_overridden, 1);
}

async fn an_exception_as_wide_as_a_ban_may_be_needs_the_same_insistence(client: Client) {
    for (exception, field) in [
        (
            range(MatchKind::Prefix, phone("+420")),
            "exception.target.value",
        ),
        (
            range(MatchKind::Cidr, address("11.0.0.0/8")),
            "exception.target.value",
        ),
        (
            range(MatchKind::Domain, mail("gmail.com")),
            "exception.target.value",
        ),
    ] {
        let refused = client
            .config()
            .create_exception(making(exception.clone()))
            .await;
        let refused = Refused::read(refused);
        refused.is(Code::InvalidArgument, "RANGE_TOO_BROAD");
        refused.blames(field);
        let insisting = CreateExceptionRequest {
            override_warnings: true,
            ..making(exception)
        };
        client.config().create_exception(insisting).await.unwrap();
    }
    let everybody = CreateExceptionRequest {
        override_warnings: true,
        ..making(range(MatchKind::Cidr, address("::/0")))
    };
    let refused = Refused::read(client.config().create_exception(everybody).await);
    refused.is(Code::InvalidArgument, "RANGE_TOO_BROAD");
}

async fn an_exception_just_like_one_that_stands_is_that_one(client: Client) {
    let first = client.spare(sparing(phone(NUMBER))).await;
    let second = client.spare(sparing(phone("00420601123456"))).await;
    assert_eq!(id_of(&second), id_of(&first));
    assert_eq!(codes(&second.warnings), ["ALREADY_EXCEPTED"]);
    let other = client
        .spare(Exception {
            protected: true,
            ..sparing(phone(NUMBER))
        })
        .await;
    assert_ne!(id_of(&other), id_of(&first));
    client.spare_no_more(&id_of(&first)).await;
    let third = client.spare(sparing(phone(NUMBER))).await;
    assert_ne!(id_of(&third), id_of(&first));
    assert!(third.warnings.is_empty());
}

async fn what_is_no_exception_is_refused_by_the_field_at_fault(client: Client) {
    let now = client.clock().await;
    let with = |change: &dyn Fn(&mut Exception)| {
        let mut exception = sparing(phone(NUMBER));
        change(&mut exception);
        exception
    };
    for (bad, reason, field) in [
        (Exception::default(), "FIELD_REQUIRED", "exception.target"),
        (
            sparing(phone("")),
            "INVALID_IDENTIFIER",
            "exception.target.value",
        ),
        (
            sparing(identity(IdentityKind::Withheld, "")),
            "INVALID_IDENTIFIER",
            "exception.target.value",
        ),
        (
            sparing(phone("anonymous")),
            "INVALID_IDENTIFIER",
            "exception.target.value",
        ),
        (
            sparing(identity(IdentityKind::MessengerPsid, "7391400000001")),
            "MISSING_ISSUER",
            "exception.target.issuer",
        ),
        (
            with(&|one| one.channels = vec![Channel::Email as i32]),
            "KIND_CHANNEL_MISMATCH",
            "exception.target.kind",
        ),
        (
            with(&|one| one.channels = vec![Channel::Call as i32, Channel::Email as i32]),
            "KIND_CHANNEL_MISMATCH",
            "exception.channels",
        ),
        (
            with(&|one| one.comment = "x".repeat(501)),
            "VALUE_TOO_LONG",
            "exception.comment",
        ),
        (
            with(&|one| one.expire_time = Some(after(now, -1))),
            "EXPIRE_TIME_IN_PAST",
            "exception.expire_time",
        ),
        (
            with(&|one| one.expire_time = Some(after(now, 60 * 366 * 86_400))),
            "TIMEOUT_OUT_OF_RANGE",
            "exception.expire_time",
        ),
        (
            with(&|one| one.match_kind = 99),
            "FIELD_INVALID",
            "exception.match_kind",
        ),
    ] {
        let refused = client.config().create_exception(making(bad.clone())).await;
        let refused = Refused::read(refused);
        refused.is(Code::InvalidArgument, reason);
        refused.blames(field);
        refused.keeps_quiet_about(NUMBER);
    }
    let missing = "01a1fc93-4a0f-7fe4-91ea-1947b214858e";
    for id in [missing, "private-11", "emergency-US-911"] {
        let refused = Refused::read(client.config().deactivate_exception(ending(id)).await);
        refused.is(Code::NotFound, "EXCEPTION_NOT_FOUND");
    }
    let refused = Refused::read(client.config().deactivate_exception(ending("")).await);
    refused.is(Code::InvalidArgument, "FIELD_REQUIRED");
}

async fn a_tenants_exceptions_are_its_own(client: Client) {
    client.make_tenant("other").await;
    let ban = CreateBanRequest {
        tenant: "other".to_owned(),
        ..add(phone(NUMBER))
    };
    client.ban(ban).await;
    let made = client.spare(sparing(phone(NUMBER))).await;
    assert_eq!(made.bans_overridden, 0);
    let asked = CheckInteractionRequest {
        tenant: "other".to_owned(),
        ..connect(Channel::Call, phone(NUMBER))
    };
    assert!(denies(&client.ask(asked).await));
    let elsewhere = DeactivateExceptionRequest {
        tenant: "other".to_owned(),
        ..ending(&id_of(&made))
    };
    let refused = Refused::read(client.config().deactivate_exception(elsewhere).await);
    refused.is(Code::NotFound, "EXCEPTION_NOT_FOUND");
}
