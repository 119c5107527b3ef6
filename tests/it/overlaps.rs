//! Bans that share customers, ranges seen from inside and from outside: warned of when one is made,
//! named when one is lifted.

use bancheck::api::v1::{
    Ban, Channel, CreateBanRequest, Identity, MatchKind, TenantSettings,
    UpdateTenantSettingsRequest,
};

use crate::{
    requests::{add, address, mail, phone},
    server::{Client, TENANT},
};

on_both_stores!(
    a_ban_inside_a_range_or_around_one_is_warned_of,
    a_ban_beside_a_range_is_not_warned_of,
    a_lifted_ban_names_the_ranges_that_go_on_denying,
    a_lifted_range_names_what_goes_on_denying_inside_it,
    of_very_many_bans_inside_a_range_a_hundred_are_named,
    another_name_of_a_mailbox_overlaps_only_where_mail_is_folded,
);

fn range(kind: MatchKind, target: Identity) -> CreateBanRequest {
    CreateBanRequest {
        match_kind: kind as i32,
        override_warnings: true,
        ..add(target)
    }
}

fn cidr(text: &str) -> CreateBanRequest {
    range(MatchKind::Cidr, address(text))
}

fn prefix(text: &str) -> CreateBanRequest {
    range(MatchKind::Prefix, phone(text))
}

fn domain(text: &str) -> CreateBanRequest {
    range(MatchKind::Domain, mail(text))
}

/// Makes a ban; whether it was said to overlap another.
async fn overlaps(client: &Client, request: CreateBanRequest) -> (Ban, bool) {
    let made = client.ban_fully(request).await;
    let warned = made.warnings.iter().any(|one| one.code == "OVERLAPS_BAN");
    (made.ban.expect("the ban made"), warned)
}

/// Lifts a ban; which others are said to go on denying.
async fn lifted(client: &Client, ban: &Ban) -> Vec<String> {
    let answer = client.lift(ban).await;
    answer
        .still_banned_by
        .into_iter()
        .map(|ban| ban.ban_id)
        .collect()
}

/// Pairs that share somebody.
fn sharing() -> Vec<(CreateBanRequest, CreateBanRequest)> {
    vec![
        (prefix("+4206"), add(phone("601 123 456"))),
        (prefix("+4206"), prefix("+42060112")),
        (prefix("+5255"), add(phone("+5215512345678"))),
        (domain("example.com"), add(mail("Alice@MX.example.com"))),
        (domain("example.com"), domain("mx.example.com")),
        (domain("googlemail.com"), add(mail("alice@gmail.com"))),
        (cidr("203.0.113.0/24"), add(address("203.0.113.7"))),
        (cidr("203.0.113.0/24"), cidr("203.0.113.64/26")),
        (cidr("203.0.113.7/32"), add(address("203.0.113.7"))),
        (cidr("2001:db8::/32"), add(address("2001:db8:1::7"))),
        (cidr("2001:db8:1::/80"), add(address("2001:db8:1::7"))),
        (cidr("2001:db8:1::9/128"), add(address("2001:db8:1::7"))),
    ]
}

async fn a_ban_inside_a_range_or_around_one_is_warned_of(client: Client) {
    for (one, other) in sharing() {
        for (first, second) in [(&one, &other), (&other, &one)] {
            let (standing, warned) = overlaps(&client, first.clone()).await;
            assert!(!warned, "{first:?}");
            let (made, warned) = overlaps(&client, second.clone()).await;
            assert!(warned, "{first:?} stands, {second:?} is made");
            client.lift(&made).await;
            client.lift(&standing).await;
        }
    }
}

async fn a_ban_beside_a_range_is_not_warned_of(client: Client) {
    for (range, beside) in [
        (prefix("+4206"), add(phone("+420701123456"))),
        (prefix("+4206"), prefix("+4207")),
        (domain("example.com"), add(mail("alice@notexample.com"))),
        (domain("example.com"), domain("example.com.cz")),
        (cidr("203.0.113.0/24"), add(address("203.0.114.7"))),
        (cidr("203.0.113.0/25"), cidr("203.0.113.128/25")),
        (cidr("2001:db8::/48"), add(address("2001:db8:1::7"))),
    ] {
        let (standing, _) = overlaps(&client, range.clone()).await;
        let (made, warned) = overlaps(&client, beside.clone()).await;
        assert!(!warned, "{range:?} stands, {beside:?} is made");
        assert_eq!(lifted(&client, &standing).await, [""; 0]);
        client.lift(&made).await;
    }
}

async fn a_lifted_ban_names_the_ranges_that_go_on_denying(client: Client) {
    for (range, inside) in sharing() {
        let range = client.ban(range).await;
        let inside = client.ban(inside).await;
        assert_eq!(lifted(&client, &inside).await, [&*range.ban_id]);
        assert_eq!(lifted(&client, &range).await, [""; 0]);
    }
}

async fn a_lifted_range_names_what_goes_on_denying_inside_it(client: Client) {
    for (range, inside) in sharing() {
        let range = client.ban(range).await;
        let inside = client.ban(inside).await;
        assert_eq!(lifted(&client, &range).await, [&*inside.ban_id]);
        assert_eq!(lifted(&client, &inside).await, [""; 0]);
    }
    // Both at once: around it and inside it, but not on another channel.
    let wide = client.ban(prefix("+4206")).await;
    let middle = client.ban(prefix("+420601")).await;
    let narrow = client.ban(add(phone("+420601123456"))).await;
    client
        .ban(CreateBanRequest {
            channels: vec![Channel::Whatsapp as i32],
            ..add(phone("+420601123457"))
        })
        .await;
    let call = CreateBanRequest {
        channels: vec![Channel::Call as i32],
        ..prefix("+42060")
    };
    let call = client.ban(call).await;
    let mut expected = [wide.ban_id, middle.ban_id, narrow.ban_id];
    expected.sort();
    assert_eq!(lifted(&client, &call).await, expected);
}

async fn of_very_many_bans_inside_a_range_a_hundred_are_named(client: Client) {
    for number in 0..101 {
        client
            .ban(add(phone(&format!("+420601000{number:03}"))))
            .await;
    }
    let range = client.ban(prefix("+4206")).await;
    let named = lifted(&client, &range).await;
    assert_eq!(named.len(), 100);
    assert!(named.is_sorted());
}

async fn another_name_of_a_mailbox_overlaps_only_where_mail_is_folded(client: Client) {
    let [one, other] = ["alice+shop@example.com", "alice+news@example.com"].map(mail);
    let (first, _) = overlaps(&client, add(one.clone())).await;
    let (second, warned) = overlaps(&client, add(other.clone())).await;
    assert!(warned);
    let settings = UpdateTenantSettingsRequest {
        tenant_settings: Some(TenantSettings {
            tenant: TENANT.to_owned(),
            email_fold: Some(false),
            ..TenantSettings::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["email_fold".to_owned()],
        }),
        ..UpdateTenantSettingsRequest::default()
    };
    client
        .config()
        .update_tenant_settings(settings)
        .await
        .expect("settings");
    assert_eq!(lifted(&client, &second).await, [""; 0]);
    let (_, warned) = overlaps(&client, add(other)).await;
    assert!(!warned);
    client.lift(&first).await;
}
