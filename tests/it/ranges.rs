//! Bans on ranges: prefixes of numbers, domains of mail, and how wide they may be.

use bancheck::api::v1::{Ban, Channel, CreateBanRequest, Identity, MatchKind};
use tonic::Code;

use crate::{
    refused::Refused,
    requests::{add, address, connect, decided_by, denies, identity, mail, phone},
    server::Client,
};

on_both_stores!(
    a_banned_prefix_holds_the_numbers_that_begin_with_it,
    a_banned_prefix_is_met_however_the_number_is_written,
    a_banned_domain_holds_its_mail_and_that_of_domains_below_it,
    a_domain_that_only_looks_alike_is_a_stranger,
    a_domain_is_banned_in_every_way_it_is_written,
    a_range_that_was_lifted_holds_nobody,
    a_ban_that_is_wider_is_refused_unless_an_administrator_insists,
    what_is_everybody_is_refused_whoever_insists,
    a_range_of_another_kind_is_refused,
    a_range_is_found_beside_an_exact_ban,
);

fn range(kind: MatchKind, target: Identity) -> CreateBanRequest {
    CreateBanRequest {
        match_kind: kind as i32,
        ..add(target)
    }
}

fn prefix(digits: &str) -> CreateBanRequest {
    range(MatchKind::Prefix, phone(digits))
}

fn domain(name: &str) -> CreateBanRequest {
    range(MatchKind::Domain, mail(name))
}

fn insisting(request: CreateBanRequest) -> CreateBanRequest {
    CreateBanRequest {
        override_warnings: true,
        ..request
    }
}

async fn meets(client: &Client, channel: Channel, who: Identity, ban: &Ban) {
    let answer = client.ask(connect(channel, who.clone())).await;
    assert_eq!(decided_by(&answer), ban.ban_id, "{who:?}");
    assert_eq!(
        answer.r#match.unwrap().match_kind(),
        ban.match_kind(),
        "{who:?}"
    );
}

async fn a_banned_prefix_holds_the_numbers_that_begin_with_it(client: Client) {
    let ban = client.ban(prefix("+420 601")).await;
    assert_eq!(ban.targets[0].canonical, "+420601");
    assert_eq!(ban.match_kind(), MatchKind::Prefix);
    for number in ["+420601123456", "+420601999999"] {
        meets(&client, Channel::Call, phone(number), &ban).await;
    }
    for number in ["+420602123456", "+42061123456", "+421601123456", "+42060"] {
        assert!(
            !client.turns_away(Channel::Call, phone(number)).await,
            "{number}"
        );
    }
    // The longest there is, beside the shorter one.
    let longest = client.ban(prefix("+42077712345678")).await;
    meets(&client, Channel::Sms, phone("+420777123456789"), &longest).await;
}

async fn a_banned_prefix_is_met_however_the_number_is_written(client: Client) {
    let ban = client.ban(prefix("+420601")).await;
    for number in [
        "601 123 456",
        "00420601123456",
        "tel:+420-601-123-456",
        "0601123456",
    ] {
        meets(&client, Channel::Call, phone(number), &ban).await;
    }
    meets(&client, Channel::Whatsapp, phone("420601123456"), &ban).await;
    let mexico = client.ban(prefix("+5255")).await;
    meets(&client, Channel::Whatsapp, phone("5215512345678"), &mexico).await;
    meets(&client, Channel::Whatsapp, phone("525512345678"), &mexico).await;
    for number in ["dhl", "112", "+266696687", "nonsense here"] {
        assert!(
            !client.turns_away(Channel::Call, phone(number)).await,
            "{number}"
        );
    }
}

async fn a_banned_domain_holds_its_mail_and_that_of_domains_below_it(client: Client) {
    let ban = client.ban(domain("mailinator.example")).await;
    assert_eq!(ban.targets[0].canonical, "mailinator.example");
    assert_eq!(ban.targets[0].match_keys, ["*@mailinator.example"]);
    for address in [
        "alice@mailinator.example",
        "bob+x@MAILINATOR.example.",
        "carol@mx.mailinator.example",
        "dan@a.b.c.d.mailinator.example",
        "\"e f\"@mailinator.example",
    ] {
        meets(&client, Channel::Email, mail(address), &ban).await;
    }
}

async fn a_domain_that_only_looks_alike_is_a_stranger(client: Client) {
    client.ban(domain("mailinator.example")).await;
    for address in [
        "alice@notmailinator.example",
        "alice@mailinator.example.org",
        "alice@mailinator.test",
        "mailinator.example@elsewhere.test",
        "alice@example",
        "alice@m\u{430}ilinator.example",
        "alice@xmailinator.example",
    ] {
        assert!(
            !client.turns_away(Channel::Email, mail(address)).await,
            "{address}"
        );
    }
}

async fn a_domain_is_banned_in_every_way_it_is_written(client: Client) {
    for name in [
        "Bücher.example",
        "xn--bcher-kva.EXAMPLE.",
        "bücher。example",
    ] {
        let ban = client.ban(domain(name)).await;
        assert_eq!(ban.targets[0].canonical, "xn--bcher-kva.example");
        meets(&client, Channel::Email, mail("a@post.bücher.example"), &ban).await;
        client.lift(&ban).await;
    }
    let ban = client.ban(insisting(domain("gmail.com"))).await;
    meets(&client, Channel::Email, mail("alice@googlemail.com"), &ban).await;
}

async fn a_range_that_was_lifted_holds_nobody(client: Client) {
    for (request, channel, who) in [
        (prefix("+4206"), Channel::Call, phone("+420601123456")),
        (domain("example.com"), Channel::Email, mail("a@example.com")),
    ] {
        let ban = client.ban(request).await;
        assert!(client.turns_away(channel, who.clone()).await);
        client.lift(&ban).await;
        assert!(!client.turns_away(channel, who).await);
    }
}

async fn a_ban_that_is_wider_is_refused_unless_an_administrator_insists(client: Client) {
    let cidr = |text: &str| range(MatchKind::Cidr, address(text));
    for (request, limit, fine) in [
        (cidr("203.0.0.0/15"), "/16", cidr("203.0.0.0/16")),
        (cidr("2001:db8::/31"), "/32", cidr("2001:db8::/32")),
        (prefix("+420"), "4", prefix("+4206")),
        (domain("co.uk"), "public suffix", domain("example.co.uk")),
        (domain("gmail.com"), "freemail", domain("mail.gmail.com")),
        (domain("公司.cn"), "public suffix", domain("example.cn")),
    ] {
        let refused = Refused::read(client.admin().create_ban(request.clone()).await);
        refused.is(Code::InvalidArgument, "RANGE_TOO_BROAD");
        refused.blames("targets[0].value");
        assert!(refused.message.contains(limit), "{}", refused.message);
        assert!(
            refused.message.contains("override_warnings"),
            "{}",
            refused.message
        );
        refused.keeps_quiet_about(&request.targets[0].value);
        client.ban(fine).await;
        client.ban(insisting(request)).await;
    }
}

async fn what_is_everybody_is_refused_whoever_insists(client: Client) {
    for request in [
        range(MatchKind::Cidr, address("0.0.0.0/0")),
        range(MatchKind::Cidr, address("::/0")),
        range(MatchKind::Cidr, address("::ffff:0:0/96")),
        domain("com"),
        domain("cz."),
        domain("xn--p1ai"),
    ] {
        let refused = Refused::read(client.admin().create_ban(insisting(request)).await);
        refused.is(Code::InvalidArgument, "RANGE_TOO_BROAD");
        refused.blames("targets[0].value");
    }
}

async fn a_range_of_another_kind_is_refused(client: Client) {
    use bancheck::api::v1::IdentityKind as K;
    for (kind, target) in [
        (MatchKind::Prefix, phone("601")),
        (MatchKind::Prefix, phone("+420x")),
        (MatchKind::Prefix, mail("example.com")),
        (MatchKind::Prefix, identity(K::SipUri, "sip:+420@pbx")),
        (MatchKind::Domain, mail("a@example.com")),
        (MatchKind::Domain, mail("@example.com")),
        (MatchKind::Domain, mail("*.example.com")),
        (MatchKind::Domain, phone("+4206")),
        (MatchKind::Cidr, phone("+4206")),
        (MatchKind::Exact, address("203.0.113.0/24")),
        (MatchKind::Exact, mail("example.com")),
    ] {
        let refused = Refused::read(client.admin().create_ban(range(kind, target.clone())).await);
        refused.is(Code::InvalidArgument, "INVALID_IDENTIFIER");
        refused.blames("targets[0].value");
        refused.keeps_quiet_about(&target.value);
    }
    let refused = client
        .admin()
        .create_ban(range(MatchKind::Alias, mail("a@example.com")))
        .await;
    Refused::read(refused).blames("match_kind");
}

async fn a_range_is_found_beside_an_exact_ban(client: Client) {
    let exact = client.ban(add(phone("+420601123456"))).await;
    let wide = client.ban(prefix("+4206")).await;
    let answer = client
        .ask(connect(Channel::Call, phone("+420601123456")))
        .await;
    // Both last for ever; the one that was made first is told.
    assert_eq!(
        decided_by(&answer),
        exact.ban_id.clone().min(wide.ban_id.clone())
    );
    client.lift(&exact).await;
    meets(&client, Channel::Call, phone("+420601123456"), &wide).await;
    client.lift(&wide).await;
    assert!(!denies(
        &client
            .ask(connect(Channel::Call, phone("+420601123456")))
            .await
    ));
}
