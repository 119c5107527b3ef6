//! What the server makes of an identity, told before anybody is banned by it.

use bancheck::api::v1::{
    Channel, Identity, IdentityKind, NormalizeIdentifierRequest, NormalizedIdentity,
};
use tonic::{Code, Response, Status};

use crate::{
    refused::Refused,
    requests::{add, identity, mail, phone},
    server::{Client, TENANT},
};

on_both_stores!(
    an_identity_is_told_in_its_canonical_form_with_its_keys,
    a_ban_made_of_it_has_the_same_form_keys_and_version,
    a_kind_left_out_is_told,
    what_cannot_be_read_is_a_warning_and_no_error,
    a_question_that_says_too_little_is_refused,
);

async fn ask(
    client: &Client,
    channel: Channel,
    who: Identity,
) -> Result<Response<bancheck::api::v1::NormalizeIdentifierResponse>, Status> {
    let request = NormalizeIdentifierRequest {
        tenant: TENANT.to_owned(),
        channel: channel as i32,
        identity: Some(who),
    };
    client.diagnostics().normalize_identifier(request).await
}

async fn told(client: &Client, channel: Channel, who: Identity) -> NormalizedIdentity {
    let answer = ask(client, channel, who).await.unwrap().into_inner();
    answer.identity.unwrap()
}

async fn an_identity_is_told_in_its_canonical_form_with_its_keys(client: Client) {
    use IdentityKind as K;
    for (channel, who, canonical, keys) in [
        (
            Channel::Call,
            phone("601 123 456"),
            "+420601123456",
            &["+420601123456"][..],
        ),
        (
            Channel::Whatsapp,
            phone("5215512345678"),
            "+5215512345678",
            &["+5215512345678", "+525512345678"],
        ),
        (
            Channel::Email,
            mail("A.lice+x@GoogleMail.com"),
            "a.lice+x@googlemail.com",
            &["a.lice+x@googlemail.com", "alice@gmail.com"],
        ),
        (
            Channel::WebChat,
            identity(K::IpAddress, "[2001:DB8::1]:443"),
            "2001:db8::1",
            &["2001:db8::/64"],
        ),
        (Channel::Vk, identity(K::VkPeerId, "club5"), "-5", &["-5"]),
    ] {
        let input = who.clone();
        let told = told(&client, channel, who).await;
        assert_eq!(told.canonical, canonical);
        assert_eq!(told.match_keys, keys);
        assert_eq!(told.input, Some(input), "as received");
        assert_eq!(told.warnings, []);
    }
}

async fn a_ban_made_of_it_has_the_same_form_keys_and_version(client: Client) {
    for who in [
        phone("0601123456"),
        mail("\"alice+x\"@example.com"),
        phone("+541123456789"),
    ] {
        let told = told(&client, Channel::Unspecified, who.clone()).await;
        let ban = client.ban(add(who)).await;
        let target = &ban.targets[0];
        assert_eq!(told.canonical, target.canonical);
        assert_eq!(told.canonicalizer_version, target.canonicalizer_version);
        // A check also looks where an older version would have filed it.
        assert!(
            target
                .match_keys
                .iter()
                .all(|key| told.match_keys.contains(key))
        );
    }
}

async fn a_kind_left_out_is_told(client: Client) {
    let kindless = |value: &str| identity(IdentityKind::Unspecified, value);
    for (channel, value, kind) in [
        (Channel::Call, "601123456", IdentityKind::PhoneNumber),
        (
            Channel::Whatsapp,
            "US.13491208655302741918",
            IdentityKind::WhatsappUserId,
        ),
        (Channel::WebChat, "203.0.113.7", IdentityKind::IpAddress),
        (Channel::Call, "anonymous", IdentityKind::Withheld),
    ] {
        let told = told(&client, channel, kindless(value)).await;
        assert_eq!(told.input.unwrap().kind(), kind, "{value}");
    }
}

async fn what_cannot_be_read_is_a_warning_and_no_error(client: Client) {
    for (channel, who, code, canonical) in [
        (Channel::Email, mail("nobody"), "UNPARSEABLE", ""),
        (
            Channel::Email,
            phone("601123456"),
            "KIND_CHANNEL_MISMATCH",
            "",
        ),
        (Channel::Call, phone("Restricted"), "WITHHELD", ""),
        (
            Channel::Call,
            phone("+420123"),
            "NOT_POSSIBLE_NUMBER",
            "+420123",
        ),
        (
            Channel::Email,
            mail("\u{430}lice@example.com"),
            "HOMOGLYPH",
            "\u{430}lice@example.com",
        ),
        (
            Channel::Messenger,
            identity(IdentityKind::MessengerPsid, "7391400000001"),
            "MISSING_ISSUER",
            "7391400000001",
        ),
    ] {
        let told = told(&client, channel, who).await;
        let codes: Vec<_> = told
            .warnings
            .iter()
            .map(|w| (w.identity_index, w.code.as_str()))
            .collect();
        assert_eq!(codes, [(Some(0), code)]);
        assert_eq!(told.canonical, canonical);
        assert_eq!(told.match_keys.is_empty(), canonical.is_empty());
    }
}

async fn a_question_that_says_too_little_is_refused(client: Client) {
    let refused = Refused::read(
        ask(
            &client,
            Channel::Unspecified,
            identity(IdentityKind::Unspecified, "1"),
        )
        .await,
    );
    refused.is(Code::InvalidArgument, "FIELD_REQUIRED");
    refused.blames("channel");

    let long = phone(&"1".repeat(1_025));
    let refused = Refused::read(ask(&client, Channel::Call, long).await);
    refused.is(Code::InvalidArgument, "VALUE_TOO_LONG");
    refused.blames("identity.value");

    let stranger = Identity {
        kind: 99,
        ..phone("601123456")
    };
    let refused = Refused::read(ask(&client, Channel::Call, stranger).await);
    refused.is(Code::InvalidArgument, "FIELD_INVALID");
    refused.blames("identity.kind");

    for (tenant, reason, code) in [
        ("", "FIELD_REQUIRED", Code::InvalidArgument),
        ("nobody-here", "TENANT_NOT_FOUND", Code::NotFound),
    ] {
        let request = NormalizeIdentifierRequest {
            tenant: tenant.to_owned(),
            channel: Channel::Call as i32,
            identity: Some(phone("601123456")),
        };
        let answer = client.diagnostics().normalize_identifier(request).await;
        Refused::read(answer).is(code, reason);
    }
    let request = NormalizeIdentifierRequest {
        tenant: TENANT.to_owned(),
        channel: Channel::Call as i32,
        identity: None,
    };
    let refused = Refused::read(client.diagnostics().normalize_identifier(request).await);
    refused.is(Code::InvalidArgument, "FIELD_REQUIRED");
    refused.blames("identity");
}
