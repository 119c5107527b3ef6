//! A banned customer comes back in another spelling, and is met; a stranger is not.

use bancheck::api::v1::{
    Channel, CheckInteractionRequest, Identity, IdentityKind, MatchKind, TenantSettings,
    UpdateTenantSettingsRequest,
};
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, Region};

use crate::{
    requests::{add, add_on, connect, decided_by, denies, identity, mail, phone, visitor},
    server::{Client, TENANT},
};

on_both_stores!(
    a_number_of_any_region_is_met_in_all_four_ways_of_writing_it,
    a_mobile_is_met_in_the_old_and_in_the_new_way_of_its_country,
    a_zero_dialled_too_much_does_not_help,
    a_number_behind_a_sip_address_is_the_number,
    a_tag_or_a_dot_that_the_provider_ignores_makes_no_stranger,
    a_tenant_may_take_tags_and_dots_seriously_and_change_its_mind,
    quotes_around_a_mail_address_do_not_help,
    a_ban_of_two_spellings_is_told_by_the_one_that_was_met,
    a_whatsapp_user_is_met_by_number_and_by_id,
    an_id_is_compared_byte_for_byte,
    a_caller_who_hides_is_never_banned_however_it_is_spelt,
    what_was_made_to_break_things_is_answered_and_the_next_is_too,
);

/// A number as a person in its region, a person abroad, a trunk and a link would write it.
fn written(region: Region) -> Option<[String; 4]> {
    let util = &PHONE_NUMBER_UTIL;
    let number = util.get_example_number(region).ok()?;
    let formats = [
        PhoneNumberFormat::E164,
        PhoneNumberFormat::National,
        PhoneNumberFormat::International,
        PhoneNumberFormat::RFC3966,
    ];
    Some(formats.map(|format| util.format(&number, format).into_owned()))
}

fn of_region(number: &str, region: Region) -> Identity {
    Identity {
        region_hint: region.as_region_str().to_string(),
        ..phone(number)
    }
}

/// Every region once; the spelling that is banned goes round, all four are checked.
async fn a_number_of_any_region_is_met_in_all_four_ways_of_writing_it(client: Client) {
    let mut regions: Vec<Region> = PHONE_NUMBER_UTIL.get_supported_regions().collect();
    regions.sort_by_key(|region| region.as_region_str().to_string());
    let mut met = 0;
    for (turn, region) in regions.into_iter().enumerate() {
        let Some(spellings) = written(region) else {
            continue;
        };
        let banned = of_region(&spellings[turn % 4], region);
        let ban = client.ban(add_on(Channel::Call, banned)).await;
        for spelling in &spellings {
            let answer = client
                .ask(connect(Channel::Call, of_region(spelling, region)))
                .await;
            assert_eq!(decided_by(&answer), ban.ban_id, "{spelling} in {region:?}");
            met += 1;
        }
        client.lift(&ban).await;
    }
    assert!(met >= 4 * 240, "{met} spellings");
}

async fn a_mobile_is_met_in_the_old_and_in_the_new_way_of_its_country(client: Client) {
    for (one, other, stranger) in [
        ("+5215512345678", "+525512345678", "+525512345679"),
        ("+553196883193", "+5531996883193", "+5531996883194"),
        ("+5491123456789", "+541123456789", "+541123456780"),
    ] {
        for (banned, met) in [(one, other), (other, one)] {
            let ban = client.ban(add(phone(banned))).await;
            assert_eq!(ban.targets[0].canonical, banned, "kept as it was");
            for channel in [Channel::Call, Channel::Sms, Channel::Whatsapp] {
                let answer = client.ask(connect(channel, phone(met))).await;
                assert_eq!(decided_by(&answer), ban.ban_id, "{banned} met as {met}");
                assert_eq!(answer.r#match.unwrap().match_kind(), MatchKind::Alias);
                let answer = client.ask(connect(channel, phone(banned))).await;
                assert_eq!(answer.r#match.unwrap().match_kind(), MatchKind::Exact);
                assert!(!client.turns_away(channel, phone(stranger)).await);
            }
            client.lift(&ban).await;
        }
    }
    // A fixed line in Belo Horizonte has no ninth digit to gain.
    client.ban(add(phone("+553132123456"))).await;
    assert!(
        !client
            .turns_away(Channel::Whatsapp, phone("+5531932123456"))
            .await
    );
}

async fn a_zero_dialled_too_much_does_not_help(client: Client) {
    let ban = client.ban(add(phone("+420601123456"))).await;
    for spelling in ["0601123456", "+420 0601 123 456", "004200601123456"] {
        let answer = client.ask(connect(Channel::Call, phone(spelling))).await;
        assert_eq!(decided_by(&answer), ban.ban_id, "{spelling}");
    }
    client.lift(&ban).await;
    client.ban(add(phone("0601123456"))).await;
    assert!(
        client
            .turns_away(Channel::Call, phone("+420601123456"))
            .await
    );
    assert!(
        !client
            .turns_away(Channel::Call, phone("+420601123457"))
            .await
    );
}

fn sip(uri: &str) -> Identity {
    identity(IdentityKind::SipUri, uri)
}

async fn a_number_behind_a_sip_address_is_the_number(client: Client) {
    let by_number = client.ban(add(phone("+420601123456"))).await;
    for uri in [
        "sip:+420601123456@pbx.example",
        "SIP:+420601123456@198.51.100.7:5060;user=phone",
        "sip:601123456@pbx.example;user=phone",
        "tel:+420601123456",
    ] {
        for caller in [sip(uri), phone(uri)] {
            let answer = client.ask(connect(Channel::Call, caller)).await;
            assert_eq!(decided_by(&answer), by_number.ban_id, "{uri}");
        }
    }
    // An extension of some exchange is not the country's number.
    assert!(
        !client
            .turns_away(Channel::Call, sip("sip:601123456@pbx.example"))
            .await
    );
    client.lift(&by_number).await;

    client
        .ban(add(sip("sip:alice@pbx.example:5060;transport=udp")))
        .await;
    assert!(
        client
            .turns_away(Channel::Call, sip("sips:alice@PBX.example;transport=tls"))
            .await
    );
    assert!(
        !client
            .turns_away(Channel::Call, sip("sip:alice@other.example"))
            .await
    );
    assert!(
        !client
            .turns_away(Channel::Call, sip("sip:Alice@pbx.example"))
            .await
    );
}

async fn a_tag_or_a_dot_that_the_provider_ignores_makes_no_stranger(client: Client) {
    for (banned, met, strangers) in [
        (
            "alice@gmail.com",
            ["alice+x@gmail.com", "A.l.i.c.e@googlemail.com"],
            ["alic@gmail.com", "alice@gmail.com.example"],
        ),
        (
            "a.lice+shop@googlemail.com",
            ["alice@gmail.com", "alice+other@gmail.com"],
            ["bob+shop@gmail.com", "shop@gmail.com"],
        ),
        (
            "bob+x@example.com",
            ["bob@example.com", "BOB+y@example.com."],
            ["b.ob@example.com", "bob@mail.example.com"],
        ),
        (
            "carol@fastmail.com",
            ["shop@carol.fastmail.com", "carol+x@fastmail.com"],
            ["carol@shop.fastmail.com", "shop@fastmail.com"],
        ),
    ] {
        let ban = client.ban(add(mail(banned))).await;
        for spelling in met {
            let answer = client.ask(connect(Channel::Email, mail(spelling))).await;
            assert_eq!(
                decided_by(&answer),
                ban.ban_id,
                "{banned} met as {spelling}"
            );
            assert_eq!(answer.r#match.unwrap().match_kind(), MatchKind::Alias);
        }
        for stranger in strangers {
            assert!(
                !client.turns_away(Channel::Email, mail(stranger)).await,
                "{stranger}"
            );
        }
        client.lift(&ban).await;
    }
}

async fn fold(client: &Client, on: bool) {
    let settings = TenantSettings {
        tenant: TENANT.to_owned(),
        email_fold: Some(on),
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

async fn a_tenant_may_take_tags_and_dots_seriously_and_change_its_mind(client: Client) {
    fold(&client, false).await;
    client.ban(add(mail("a.lice+x@gmail.com"))).await;
    let met = async |address| client.turns_away(Channel::Email, mail(address)).await;
    assert!(met("A.lice+X@gmail.com").await);
    for stranger in [
        "alice@gmail.com",
        "alice+x@gmail.com",
        "a.lice+x@googlemail.com",
    ] {
        assert!(!met(stranger).await, "{stranger}");
    }
    fold(&client, true).await;
    for customer in [
        "alice@gmail.com",
        "alice+y@gmail.com",
        "a.lice+x@googlemail.com",
    ] {
        assert!(met(customer).await, "{customer}");
    }
    fold(&client, false).await;
    assert!(!met("alice@gmail.com").await);
    assert!(met("a.lice+x@gmail.com").await);
}

async fn quotes_around_a_mail_address_do_not_help(client: Client) {
    client.ban(add(mail("alice@example.com"))).await;
    assert!(
        client
            .turns_away(Channel::Email, mail("\"alice\"@example.com"))
            .await
    );
    assert!(
        client
            .turns_away(Channel::Email, mail("\"al\\ice\"@example.com"))
            .await
    );
    assert!(
        !client
            .turns_away(Channel::Email, mail("\"al ice\"@example.com"))
            .await
    );
}

async fn a_ban_of_two_spellings_is_told_by_the_one_that_was_met(client: Client) {
    let mut both = add(phone("+5215512345678"));
    both.targets.push(phone("+525512345678"));
    let ban = client.ban(both).await;
    for number in ["+5215512345678", "+525512345678"] {
        let found = client
            .ask(connect(Channel::Call, phone(number)))
            .await
            .r#match
            .unwrap();
        assert_eq!(
            (found.ban_id.as_str(), found.match_kind()),
            (ban.ban_id.as_str(), MatchKind::Exact)
        );
    }
}

async fn a_whatsapp_user_is_met_by_number_and_by_id(client: Client) {
    let user = |issuer: &str, id: &str| Identity {
        issuer: issuer.to_owned(),
        ..identity(IdentityKind::WhatsappUserId, id)
    };
    let mut request = add_on(Channel::Whatsapp, phone("5215512345678"));
    request
        .targets
        .push(user("portfolio-1", "MX.13491208655302741918"));
    let ban = client.ban(request).await;
    for met in [
        phone("525512345678"),
        user("portfolio-1", "MX.13491208655302741918"),
    ] {
        let answer = client.ask(connect(Channel::Whatsapp, met)).await;
        assert_eq!(decided_by(&answer), ban.ban_id);
    }
    // Nothing in an id is rewritten, though this one holds a number with a 1 to lose.
    for stranger in [
        user("portfolio-2", "MX.13491208655302741918"),
        user("portfolio-1", "mx.13491208655302741918"),
        user("portfolio-1", "MX.1349120865530274191"),
    ] {
        assert!(!client.turns_away(Channel::Whatsapp, stranger).await);
    }
}

async fn an_id_is_compared_byte_for_byte(client: Client) {
    let apple = |id: &str| Identity {
        issuer: "business-1".to_owned(),
        ..identity(IdentityKind::AppleOpaqueId, id)
    };
    client.ban(add(apple("urn:mbid:AQAAY45PVG4jg/x+y="))).await;
    assert!(
        client
            .turns_away(Channel::AppleMessages, apple("AQAAY45PVG4jg/x+y="))
            .await
    );
    for stranger in [
        "AQAAY45PVG4jg%2Fx%2By=",
        "aqaay45pvg4jg/x+y=",
        "AQAAY45PVG4jg/x+y",
    ] {
        assert!(
            !client
                .turns_away(Channel::AppleMessages, apple(stranger))
                .await,
            "{stranger}"
        );
    }
    client.ban(add(visitor("Visitor-Token-0001"))).await;
    assert!(
        !client
            .turns_away(Channel::WebChat, visitor("visitor-token-0001"))
            .await
    );
    client
        .ban(add(identity(IdentityKind::VkPeerId, "club123")))
        .await;
    assert!(
        client
            .turns_away(Channel::Vk, identity(IdentityKind::VkPeerId, "-123"))
            .await
    );
    assert!(
        !client
            .turns_away(Channel::Vk, identity(IdentityKind::VkPeerId, "id123"))
            .await
    );
}

async fn a_caller_who_hides_is_never_banned_however_it_is_spelt(client: Client) {
    for spelling in [
        "+266696687",
        "7378742833",
        "sip:anonymous@anonymous.invalid",
        "\"Anonymous\" <sip:anonymous@anonymous.invalid>",
        "Unavailable",
        "-",
    ] {
        let refused = client.admin().create_ban(add(phone(spelling))).await;
        assert!(refused.is_err(), "{spelling}");
        let question = CheckInteractionRequest {
            identities: vec![phone(spelling), sip(spelling)],
            ..connect(Channel::Call, phone(spelling))
        };
        let answer = client.ask(question).await;
        assert!(!denies(&answer));
        assert_eq!(answer.warnings[0].code, "WITHHELD", "{spelling}");
    }
    // The same digits are somebody's fixed line in Prague.
    client.ban(add(phone("266 696 687"))).await;
    assert!(client.turns_away(Channel::Call, phone("266696687")).await);
}

/// Strings made to break things, as values of every kind: an answer each, and at worst a warning.
async fn what_was_made_to_break_things_is_answered_and_the_next_is_too(client: Client) {
    use IdentityKind as K;
    let channels = [
        (K::VisitorToken, Channel::WebChat),
        (K::IpAddress, Channel::WebChat),
        (K::EmailAddress, Channel::Email),
        (K::PhoneNumber, Channel::Call),
        (K::SipUri, Channel::Call),
        (K::WhatsappUserId, Channel::Whatsapp),
        (K::AppleOpaqueId, Channel::AppleMessages),
        (K::MessengerPsid, Channel::Messenger),
        (K::VkPeerId, Channel::Vk),
        (K::Withheld, Channel::Call),
    ];
    client.ban(add(phone("+420601123456"))).await;
    let corpus = include_str!("../naughty.txt")
        .lines()
        .filter(|line| !line.starts_with("# "));
    for text in corpus {
        let text = text
            .replace("\\0", "\0")
            .replace("\\t", "\t")
            .replace("\\n", "\n");
        for (kind, channel) in channels {
            let answer = client.ask(connect(channel, identity(kind, &text))).await;
            for warning in &answer.warnings {
                assert_eq!(warning.identity_index, Some(0), "{text:?}");
            }
        }
    }
    assert!(
        client
            .turns_away(Channel::Call, phone("+420601123456"))
            .await
    );
}
