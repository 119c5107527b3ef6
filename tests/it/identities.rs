//! One customer in many spellings: a ban in one is met in all of them.

use bancheck::api::v1::{
    Channel, CheckInteractionRequest, CheckInteractionResponse, CreateBanRequest, Identity,
    IdentityKind, MatchKind, TenantSettings, UpdateTenantSettingsRequest,
};
use tonic::Code;

use crate::{
    refused::Refused,
    requests::{
        NUMBER, TOKEN, add, add_on, address, connect, decided_by, denies, identity, mail, phone,
        visitor,
    },
    server::{Client, TENANT},
};

on_both_stores!(
    a_number_is_met_in_every_way_it_is_written,
    a_number_is_banned_in_every_way_it_is_written,
    a_national_number_is_read_in_the_region_of_the_tenant,
    a_hint_of_the_region_wins_over_the_tenant,
    an_address_of_mail_is_met_whatever_the_case_of_its_letters,
    a_visitor_token_is_compared_letter_by_letter,
    an_ipv4_address_is_met_in_other_spellings,
    an_ipv6_address_stands_for_its_network_of_64_bits,
    a_ban_for_a_wider_network_of_an_address_is_another_one,
    a_tenant_may_narrow_the_network_that_an_ipv6_address_stands_for,
    a_banned_range_of_ipv4_holds_what_is_in_it,
    a_banned_range_of_ipv6_holds_what_is_in_it,
    a_messenger_id_is_nothing_without_its_page,
    a_check_without_an_issuer_matches_nothing_and_is_warned_of,
    a_kind_left_out_is_told_by_the_channel,
    a_hidden_number_matches_nothing_and_cannot_be_banned,
    what_cannot_be_read_is_a_warning_at_a_check_and_an_error_at_a_ban,
    an_unreadable_identity_does_not_hide_a_readable_one,
    a_kind_of_another_channel_is_a_warning_at_a_check_and_an_error_at_a_ban,
    look_alike_letters_are_warned_of,
);

fn codes(answer: &CheckInteractionResponse) -> Vec<(Option<i32>, &str)> {
    answer
        .warnings
        .iter()
        .map(|w| (w.identity_index, w.code.as_str()))
        .collect()
}

fn range(cidr: &str) -> CreateBanRequest {
    CreateBanRequest {
        match_kind: MatchKind::Cidr as i32,
        ..add(address(cidr))
    }
}

async fn a_number_is_met_in_every_way_it_is_written(client: Client) {
    client.ban(add(phone(NUMBER))).await;
    for spelling in [
        "601123456",
        "601 123 456",
        "+420601123456",
        "00420 601 123 456",
        "(+420) 601-123-456",
        "tel:+420-601-123-456",
        "tel:601123456;phone-context=+420",
        "\u{202a}+420 601 123 456\u{202c}",
    ] {
        assert!(
            client.turns_away(Channel::Call, phone(spelling)).await,
            "{spelling}"
        );
    }
    assert!(
        client
            .turns_away(Channel::Whatsapp, phone("420601123456"))
            .await
    );
    for other in ["601123457", "+421601123456", "+48601123456"] {
        assert!(
            !client.turns_away(Channel::Call, phone(other)).await,
            "{other}"
        );
    }
}

async fn a_number_is_banned_in_every_way_it_is_written(client: Client) {
    for spelling in ["601 123 456", "00420601123456", "tel:+420-601-123-456"] {
        let ban = client.ban(add(phone(spelling))).await;
        assert_eq!(ban.targets[0].canonical, NUMBER);
        assert_eq!(
            ban.targets[0].input.as_ref().unwrap().value,
            spelling,
            "kept as typed"
        );
        assert!(
            client.turns_away(Channel::Sms, phone(NUMBER)).await,
            "{spelling}"
        );
        client.lift(&ban).await;
    }
}

async fn a_national_number_is_read_in_the_region_of_the_tenant(client: Client) {
    client.ban(add(phone("601 123 456"))).await;
    let settings = TenantSettings {
        tenant: TENANT.to_owned(),
        default_region: "SK".to_owned(),
        ..Default::default()
    };
    let request = UpdateTenantSettingsRequest {
        tenant_settings: Some(settings),
        ..Default::default()
    };
    client
        .config()
        .update_tenant_settings(request)
        .await
        .unwrap();
    assert!(
        !client.turns_away(Channel::Call, phone("601 123 456")).await,
        "a Slovak number now"
    );
    assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
}

async fn a_hint_of_the_region_wins_over_the_tenant(client: Client) {
    let hinted = |region: &str| Identity {
        region_hint: region.to_owned(),
        ..phone("0901 234 567")
    };
    let ban = client.ban(add(hinted("SK"))).await;
    assert_eq!(ban.targets[0].canonical, "+421901234567");
    assert!(client.turns_away(Channel::Call, hinted("SK")).await);
    assert!(!client.turns_away(Channel::Call, hinted("DE")).await);
}

async fn an_address_of_mail_is_met_whatever_the_case_of_its_letters(client: Client) {
    client.ban(add(mail("Alice.Nováková@Example.COM"))).await;
    for spelling in ["alice.nováková@example.com", " ALICE.NOVÁKOVÁ@EXAMPLE.COM "] {
        assert!(
            client.turns_away(Channel::Email, mail(spelling)).await,
            "{spelling}"
        );
    }
    assert!(
        !client
            .turns_away(Channel::Email, mail("bob@example.com"))
            .await
    );
}

async fn a_visitor_token_is_compared_letter_by_letter(client: Client) {
    client.ban(add(visitor(TOKEN))).await;
    assert!(client.turns_away(Channel::WebChat, visitor(TOKEN)).await);
    for other in [TOKEN.to_uppercase(), format!(" {TOKEN}")] {
        assert!(
            !client.turns_away(Channel::WebChat, visitor(&other)).await,
            "{other}"
        );
    }
}

async fn an_ipv4_address_is_met_in_other_spellings(client: Client) {
    client.ban(add(address("198.51.100.7"))).await;
    for spelling in [
        "198.51.100.7",
        " 198.51.100.7",
        "198.51.100.7:4711",
        "::ffff:198.51.100.7",
    ] {
        assert!(
            client.turns_away(Channel::WebChat, address(spelling)).await,
            "{spelling}"
        );
    }
}

async fn an_ipv6_address_stands_for_its_network_of_64_bits(client: Client) {
    client.ban(add(address("2001:db8:1:2::7"))).await;
    assert!(
        client
            .turns_away(Channel::WebChat, address("2001:DB8:1:2:ffff::1"))
            .await
    );
    assert!(
        client
            .turns_away(Channel::WebChat, address("[2001:db8:1:2::8]:443"))
            .await
    );
    assert!(
        !client
            .turns_away(Channel::WebChat, address("2001:db8:1:3::7"))
            .await
    );
}

async fn let_ipv6_stand_for(client: &Client, ipv6_prefix: i32) {
    let settings = TenantSettings {
        tenant: TENANT.to_owned(),
        ipv6_prefix: Some(ipv6_prefix),
        ..Default::default()
    };
    let request = UpdateTenantSettingsRequest {
        tenant_settings: Some(settings),
        ..Default::default()
    };
    client
        .config()
        .update_tenant_settings(request)
        .await
        .unwrap();
}

async fn a_ban_for_a_wider_network_of_an_address_is_another_one(client: Client) {
    client.ban(add(address("2001:db8:1:2::7"))).await;
    let_ipv6_stand_for(&client, 48).await;
    client.ban(add(address("2001:db8:1:2::7"))).await;
    let neighbour = address("2001:db8:1:3::8");
    assert!(client.turns_away(Channel::WebChat, neighbour).await);
    let again = add(address("2001:db8:1:2::7"));
    let refused = Refused::read(client.admin().create_ban(again).await);
    refused.is(Code::AlreadyExists, "DUPLICATE_ACTIVE_BAN");
}

async fn a_tenant_may_narrow_the_network_that_an_ipv6_address_stands_for(client: Client) {
    let_ipv6_stand_for(&client, 128).await;
    client.ban(add(address("2001:db8:1:2::7"))).await;
    assert!(
        client
            .turns_away(Channel::WebChat, address("2001:db8:1:2::7"))
            .await
    );
    assert!(
        !client
            .turns_away(Channel::WebChat, address("2001:db8:1:2::8"))
            .await
    );
}

async fn a_banned_range_of_ipv4_holds_what_is_in_it(client: Client) {
    let wide = client.ban(range("203.0.113.77/24")).await;
    assert_eq!(wide.targets[0].canonical, "203.0.113.0/24");
    assert_eq!(wide.match_kind(), MatchKind::Cidr);
    for inside in ["203.0.113.0", "203.0.113.255", "::ffff:203.0.113.9"] {
        let answer = client.ask(connect(Channel::WebChat, address(inside))).await;
        assert_eq!(decided_by(&answer), wide.ban_id, "{inside}");
        assert_eq!(answer.r#match.unwrap().match_kind(), MatchKind::Cidr);
    }
    for outside in ["203.0.112.255", "203.0.114.0"] {
        assert!(
            !client.turns_away(Channel::WebChat, address(outside)).await,
            "{outside}"
        );
    }
    let single = client.ban(range("198.51.100.7/32")).await;
    let answer = client
        .ask(connect(Channel::WebChat, address("198.51.100.7")))
        .await;
    assert_eq!(decided_by(&answer), single.ban_id);
}

async fn a_banned_range_of_ipv6_holds_what_is_in_it(client: Client) {
    client.ban(range("2001:db8:abcd::/48")).await;
    assert!(
        client
            .turns_away(Channel::WebChat, address("2001:db8:abcd:1::1"))
            .await
    );
    assert!(
        !client
            .turns_away(Channel::WebChat, address("2001:db8:abce::1"))
            .await
    );
    client.ban(range("2001:db8:1::7/128")).await;
    assert!(
        client
            .turns_away(Channel::WebChat, address("2001:db8:1::7"))
            .await
    );
    assert!(
        !client
            .turns_away(Channel::WebChat, address("2001:db8:1::8"))
            .await
    );
}

fn messenger(page: &str) -> Identity {
    Identity {
        issuer: page.to_owned(),
        ..identity(IdentityKind::MessengerPsid, "7391400000001")
    }
}

async fn a_messenger_id_is_nothing_without_its_page(client: Client) {
    let refused = Refused::read(client.admin().create_ban(add(messenger(""))).await);
    refused.is(Code::InvalidArgument, "MISSING_ISSUER");
    refused.blames("targets[0].issuer");
    refused.keeps_quiet_about("7391400000001");

    client.ban(add(messenger("page-1"))).await;
    assert!(
        client
            .turns_away(Channel::Messenger, messenger("page-1"))
            .await
    );
    assert!(
        !client
            .turns_away(Channel::Messenger, messenger("page-2"))
            .await
    );
}

async fn a_check_without_an_issuer_matches_nothing_and_is_warned_of(client: Client) {
    client.ban(add(messenger("page-1"))).await;
    let answer = client.ask(connect(Channel::Messenger, messenger(""))).await;
    assert!(!denies(&answer));
    assert_eq!(codes(&answer), [(Some(0), "MISSING_ISSUER")]);
}

async fn a_kind_left_out_is_told_by_the_channel(client: Client) {
    for (channel, value, kind) in [
        (Channel::WebChat, "198.51.100.7", IdentityKind::IpAddress),
        (Channel::WebChat, TOKEN, IdentityKind::VisitorToken),
        (Channel::Call, "601123456", IdentityKind::PhoneNumber),
        (
            Channel::Email,
            "alice@example.com",
            IdentityKind::EmailAddress,
        ),
        (Channel::Whatsapp, "420777000111", IdentityKind::PhoneNumber),
    ] {
        let kindless = identity(IdentityKind::Unspecified, value);
        let ban = client.ban(add_on(channel, kindless.clone())).await;
        assert_eq!(ban.targets[0].input.as_ref().unwrap().kind(), kind);
        assert!(client.turns_away(channel, kindless).await, "{value}");
        assert!(
            client.turns_away(channel, identity(kind, value)).await,
            "{value}"
        );
    }
    let kindless = identity(IdentityKind::Unspecified, NUMBER);
    let refused = Refused::read(client.admin().create_ban(add(kindless)).await);
    refused.is(Code::InvalidArgument, "INVALID_IDENTIFIER");
    refused.blames("targets[0].kind");
    refused.keeps_quiet_about("601123456");
}

async fn a_hidden_number_matches_nothing_and_cannot_be_banned(client: Client) {
    let hidden = identity(IdentityKind::Withheld, "");
    for customer in [hidden.clone(), phone("anonymous"), phone("Restricted")] {
        let answer = client.ask(connect(Channel::Call, customer.clone())).await;
        assert!(!denies(&answer));
        assert_eq!(codes(&answer), [(Some(0), "WITHHELD")]);
        let refused = Refused::read(client.admin().create_ban(add(customer)).await);
        refused.is(Code::InvalidArgument, "INVALID_IDENTIFIER");
        refused.blames("targets[0].value");
    }
}

async fn what_cannot_be_read_is_a_warning_at_a_check_and_an_error_at_a_ban(client: Client) {
    for (channel, unreadable) in [
        (Channel::Call, phone("not a number")),
        (Channel::Call, phone("+420601\u{7}123456")),
        (Channel::Call, phone("")),
        (Channel::Email, mail("nobody")),
        (Channel::Email, mail("alice\n@example.com")),
        (Channel::WebChat, address("198.51.100.256")),
        (Channel::WebChat, address("198.51.100.0/24")),
        (Channel::WebChat, visitor("0123456789\u{0}abcdef")),
        (Channel::Vk, identity(IdentityKind::VkPeerId, "not an id")),
    ] {
        let answer = client.ask(connect(channel, unreadable.clone())).await;
        assert!(!denies(&answer));
        assert_eq!(codes(&answer), [(Some(0), "UNPARSEABLE")], "{unreadable:?}");
        let refused = Refused::read(client.admin().create_ban(add(unreadable.clone())).await);
        refused.is(Code::InvalidArgument, "INVALID_IDENTIFIER");
        refused.blames("targets[0].value");
        if unreadable.value.len() > 6 {
            refused.keeps_quiet_about(&unreadable.value);
        }
    }
}

async fn an_unreadable_identity_does_not_hide_a_readable_one(client: Client) {
    let ban = client.ban(add(address("198.51.100.7"))).await;
    let question = CheckInteractionRequest {
        identities: vec![address("nonsense"), address("198.51.100.7")],
        ..connect(Channel::WebChat, address("nonsense"))
    };
    let answer = client.ask(question).await;
    assert_eq!(decided_by(&answer), ban.ban_id);
    assert_eq!(codes(&answer), [(Some(0), "UNPARSEABLE")]);
}

async fn a_kind_of_another_channel_is_a_warning_at_a_check_and_an_error_at_a_ban(client: Client) {
    client.ban(add(phone(NUMBER))).await;
    let answer = client.ask(connect(Channel::Email, phone(NUMBER))).await;
    assert!(!denies(&answer));
    assert_eq!(codes(&answer), [(Some(0), "KIND_CHANNEL_MISMATCH")]);
    let refused = Refused::read(
        client
            .admin()
            .create_ban(add_on(Channel::Email, phone(NUMBER)))
            .await,
    );
    refused.is(Code::InvalidArgument, "KIND_CHANNEL_MISMATCH");
    refused.keeps_quiet_about("601123456");
}

async fn look_alike_letters_are_warned_of(client: Client) {
    client.ban(add(mail("alice@example.com"))).await;
    let cyrillic = mail("\u{430}lice@example.com");
    let answer = client.ask(connect(Channel::Email, cyrillic)).await;
    assert!(!denies(&answer));
    assert_eq!(codes(&answer), [(Some(0), "HOMOGLYPH")]);
}
