//! What would come of it, told before it is done: the end of a timeout, and a ban.

use bancheck::api::v1::{
    BanList, CalendarPeriod, Channel, CreateBanRequest, GetBanListRequest, Identity, IdentityKind,
    ListBansRequest, MatchKind, PreviewBanRequest, PreviewBanResponse, PreviewExpirationRequest,
    PreviewExpirationResponse, TenantSettings, UpdateTenantSettingsRequest,
    create_ban_request::Expiry, preview_expiration_request::Length,
};
use prost_types::Timestamp;
use tonic::{Code, Response, Status};

use crate::{
    exceptions::{codes, id_of, sparing},
    refused::Refused,
    requests::{
        NUMBER, OTHER_NUMBER, TOKEN, add, add_on, add_to, address, after, connect, denies, enter,
        identity, list, phone, visitor, when,
    },
    server::{Client, TENANT},
};

on_both_stores!(
    d7_the_examples_of_the_manual_end_when_it_says,
    d7_a_timeout_that_is_none_is_refused_in_words_that_help,
    d8_the_preview_and_the_ban_agree,
    d8_the_preview_of_a_list_is_that_of_its_default,
    a_day_that_the_month_does_not_have_becomes_its_last,
    an_end_in_a_daylight_gap_moves_forward_and_a_doubled_one_is_the_first,
    a_preview_says_whom_a_ban_would_be_on_and_makes_none,
    a_preview_says_where_a_ban_would_hold,
    a_preview_names_the_bans_that_it_would_overlap,
    a_preview_names_the_exceptions_that_the_ban_would_meet,
    a_preview_counts_the_checks_that_the_ban_would_have_met,
    a_preview_is_refused_as_the_ban_would_be,
);

async fn ask(
    client: &Client,
    length: impl Into<Option<Length>>,
    from_time: Option<Timestamp>,
) -> Result<Response<PreviewExpirationResponse>, Status> {
    let request = PreviewExpirationRequest {
        tenant: TENANT.to_owned(),
        length: length.into(),
        from_time,
    };
    client.diagnostics().preview_expiration(request).await
}

fn typed(text: &str) -> Length {
    Length::TimeoutText(text.to_owned())
}

fn instant(text: &str) -> Timestamp {
    let at: chrono::DateTime<chrono::Utc> = text.parse().expect("an instant");
    Timestamp {
        seconds: at.timestamp(),
        nanos: 0,
    }
}

async fn live_in(client: &Client, time_zone: &str) {
    let settings = TenantSettings {
        tenant: TENANT.to_owned(),
        time_zone: Some(time_zone.to_owned()),
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

/// Fails unless a timeout that begins at one instant ends at another.
async fn ends(client: &Client, from: &str, text: &str, end: &str) {
    let told = ask(client, typed(text), Some(instant(from))).await.unwrap();
    let told = told.into_inner().expire_time;
    assert_eq!(told, Some(instant(end)), "{text} from {from}");
}

async fn d7_the_examples_of_the_manual_end_when_it_says(client: Client) {
    let from = "2026-11-21T10:00:00Z";
    ends(&client, from, "+6 days", "2026-11-27T10:00:00Z").await;
    ends(&client, from, "6 day", "2026-11-27T10:00:00Z").await;
    ends(&client, from, "19 months", "2028-06-21T10:00:00Z").await;
    ends(&client, from, "1 year , 2 weeks", "2027-12-05T10:00:00Z").await;
    ends(&client, from, "90m", "2026-11-21T11:30:00Z").await;
    ends(&client, from, "1mo", "2026-12-21T10:00:00Z").await;
    let told = ask(&client, typed("1 year, 2 weeks"), None).await.unwrap();
    let told = told.into_inner();
    let period = CalendarPeriod {
        years: 1,
        weeks: 2,
        ..Default::default()
    };
    assert_eq!(
        (told.period, told.time_zone.as_str()),
        (Some(period), "UTC")
    );
}

async fn d7_a_timeout_that_is_none_is_refused_in_words_that_help(client: Client) {
    for (text, reason, help) in [
        ("", "INVALID_TIMEOUT", "1 year, 2 weeks"),
        ("  ", "INVALID_TIMEOUT", "1 year, 2 weeks"),
        ("+", "INVALID_TIMEOUT", "1 year, 2 weeks"),
        ("0 days", "INVALID_TIMEOUT", "permanent"),
        ("-6 days", "INVALID_TIMEOUT", "negative"),
        ("6", "INVALID_TIMEOUT", "1 year, 2 weeks"),
        ("6 fortnights", "INVALID_TIMEOUT", "fortnights"),
        ("1,500 minutes", "INVALID_TIMEOUT", "1 year, 2 weeks"),
        ("soon", "INVALID_TIMEOUT", "soon"),
        ("51 years", "TIMEOUT_OUT_OF_RANGE", "50 years"),
        ("50 years, 1 minute", "TIMEOUT_OUT_OF_RANGE", "50 years"),
        ("99999999999 days", "TIMEOUT_OUT_OF_RANGE", "50 years"),
    ] {
        let refused = Refused::read(ask(&client, typed(text), None).await);
        refused.is(Code::InvalidArgument, reason);
        refused.blames("timeout_text");
        assert!(
            refused.message.contains(help),
            "{text}: {}",
            refused.message
        );
    }
    let parts = |years, days| {
        Length::Period(CalendarPeriod {
            years,
            days,
            ..Default::default()
        })
    };
    for (length, reason) in [
        (parts(0, 0), "INVALID_TIMEOUT"),
        (parts(-1, 0), "INVALID_TIMEOUT"),
        (parts(50, 1), "TIMEOUT_OUT_OF_RANGE"),
        (parts(i32::MAX, 0), "TIMEOUT_OUT_OF_RANGE"),
    ] {
        let refused = Refused::read(ask(&client, length, None).await);
        refused.is(Code::InvalidArgument, reason);
        refused.blames("period");
    }
    let refused = Refused::read(ask(&client, None, None).await);
    refused.is(Code::InvalidArgument, "FIELD_REQUIRED");
    let nowhere = Length::ListId("nowhere".to_owned());
    let refused = Refused::read(ask(&client, nowhere, None).await);
    refused.is(Code::NotFound, "BAN_LIST_NOT_FOUND");
    ask(&client, typed("50 years"), None).await.unwrap();
}

async fn d8_the_preview_and_the_ban_agree(client: Client) {
    live_in(&client, "Europe/Prague").await;
    for (text, period) in [
        (
            "6 months, 1 day",
            CalendarPeriod {
                months: 6,
                days: 1,
                ..Default::default()
            },
        ),
        (
            "36 hours",
            CalendarPeriod {
                hours: 36,
                ..Default::default()
            },
        ),
    ] {
        let request = CreateBanRequest {
            expiry: Some(Expiry::Timeout(period)),
            validate_only: true,
            ..add(phone(NUMBER))
        };
        let ban = client.ban(request).await;
        for length in [typed(text), Length::Period(period)] {
            let told = ask(&client, length, ban.create_time).await.unwrap();
            let told = told.into_inner();
            assert_eq!(told.expire_time, ban.expire_time, "to the microsecond");
            assert_eq!(told.time_zone, "Europe/Prague");
        }
    }
}

async fn d8_the_preview_of_a_list_is_that_of_its_default(client: Client) {
    let default_timeout_text = "+1 day, 12 hours".to_owned();
    client
        .make_list(BanList {
            default_timeout_text,
            ..list("trolls")
        })
        .await;
    client.make_list(list("endless")).await;
    let of = |list_id: &str| Length::ListId(list_id.to_owned());
    let ban = client.ban(add_to("trolls", phone(NUMBER))).await;
    let told = ask(&client, of("trolls"), ban.create_time).await.unwrap();
    assert_eq!(told.into_inner().expire_time, ban.expire_time);

    // The example beside the list is the same reckoning, from some instant in between.
    let before = ask(&client, of("trolls"), None).await.unwrap().into_inner();
    let request = GetBanListRequest {
        tenant: TENANT.to_owned(),
        list_id: "trolls".to_owned(),
    };
    let shown = client.config().get_ban_list(request).await.unwrap();
    let example = shown.into_inner().ban_list.unwrap().example_expire_time;
    let behind = ask(&client, of("trolls"), None).await.unwrap().into_inner();
    let span = when(before.expire_time)..=when(behind.expire_time);
    assert!(span.contains(&when(example)));

    let told = ask(&client, of("endless"), None)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((told.period, told.expire_time), (None, None), "permanent");
}

async fn a_day_that_the_month_does_not_have_becomes_its_last(client: Client) {
    let noon = "2027-01-31T12:00:00Z";
    ends(&client, noon, "1 month", "2027-02-28T12:00:00Z").await;
    ends(&client, noon, "13 months", "2028-02-29T12:00:00Z").await;
    let leap = "2028-02-29T12:00:00Z";
    ends(&client, leap, "1 year", "2029-02-28T12:00:00Z").await;
    ends(&client, leap, "1 year, 1 day", "2029-03-01T12:00:00Z").await;
}

async fn an_end_in_a_daylight_gap_moves_forward_and_a_doubled_one_is_the_first(client: Client) {
    live_in(&client, "Europe/Prague").await;
    // 02:30 on 28 March 2027 is not on the clocks of Prague: 03:30 it is.
    let week_before = "2027-03-21T01:30:00Z";
    ends(&client, week_before, "1 week", "2027-03-28T01:30:00Z").await;
    // A day keeps the time on the clock, and twenty-four hours are twenty-four hours.
    let eve = "2027-03-27T11:00:00Z";
    ends(&client, eve, "1 day", "2027-03-28T10:00:00Z").await;
    ends(&client, eve, "24 hours", "2027-03-28T11:00:00Z").await;
    // 02:30 on 31 October 2027 comes twice.
    let week_before = "2027-10-24T00:30:00Z";
    ends(&client, week_before, "1 week", "2027-10-31T00:30:00Z").await;
    live_in(&client, "Australia/Lord_Howe").await;
    let half_an_hour = "2027-09-26T15:45:00Z";
    ends(&client, half_an_hour, "6 days", "2027-10-02T15:45:00Z").await;
}

async fn try_preview(
    client: &Client,
    ban: CreateBanRequest,
) -> Result<Response<PreviewBanResponse>, Status> {
    let request = PreviewBanRequest { ban: Some(ban) };
    client.admin().preview_ban(request).await
}

async fn preview(client: &Client, ban: CreateBanRequest) -> PreviewBanResponse {
    let told = try_preview(client, ban).await;
    told.expect("a preview").into_inner()
}

fn range(kind: IdentityKind, matched: MatchKind, value: &str) -> CreateBanRequest {
    CreateBanRequest {
        match_kind: matched as i32,
        ..add(identity(kind, value))
    }
}

async fn a_preview_says_whom_a_ban_would_be_on_and_makes_none(client: Client) {
    use IdentityKind as Kind;
    for (ban, breadth) in [
        (
            add_on(Channel::Call, phone(NUMBER)),
            "one customer; on CALL; at every queue and at none",
        ),
        (
            range(Kind::IpAddress, MatchKind::Cidr, "203.0.113.0/24"),
            "256 addresses; on WEB_CHAT; at every queue and at none",
        ),
        (
            range(Kind::PhoneNumber, MatchKind::Prefix, "+420601"),
            "every number that begins with these 6 digits; on CALL, SMS, WHATSAPP; \
             at every queue and at none",
        ),
        (
            add(address("2001:db8::1")),
            "one customer, by a network of /64; on WEB_CHAT; at every queue and at none",
        ),
    ] {
        let told = preview(&client, ban).await;
        assert_eq!(told.breadth, breadth);
        assert_eq!(told.warnings, []);
    }
    assert_eq!(client.found(ListBansRequest::default()).await.1, 0);
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
}

async fn a_preview_says_where_a_ban_would_hold(client: Client) {
    client.make_list(list("trolls")).await;
    let nowhere = preview(&client, add_to("trolls", phone(NUMBER))).await;
    assert_eq!(nowhere.enforcing_queues, Vec::<String>::new());
    assert!(nowhere.breadth.ends_with("at no queue"), "{nowhere:?}");
    assert_eq!(nowhere.warnings[0].code, "LIST_NOT_ENFORCED_ANYWHERE");

    client.relate("trolls", &["sales", "support"]).await;
    let told = preview(&client, add_to("trolls", phone(NUMBER))).await;
    assert_eq!(told.enforcing_queues, ["sales", "support"]);
    client.ban(add_to("trolls", phone(NUMBER))).await;
    for queue in ["sales", "support", "billing"] {
        let answer = client.ask(enter(queue, Channel::Call, phone(NUMBER))).await;
        let foretold = told.enforcing_queues.iter().any(|one| one == queue);
        assert_eq!(denies(&answer), foretold, "{queue}");
    }

    let on_token = preview(&client, add_to("trolls", visitor(TOKEN))).await;
    let everywhere = "at every queue and at none";
    assert!(on_token.breadth.ends_with(everywhere), "{on_token:?}");
}

async fn a_preview_names_the_bans_that_it_would_overlap(client: Client) {
    let standing = client.ban(add(phone(NUMBER))).await;
    client.ban(add(phone(OTHER_NUMBER))).await;
    client.ban(add_on(Channel::Whatsapp, phone(NUMBER))).await;
    let told = preview(&client, add_on(Channel::Call, phone(NUMBER))).await;
    assert_eq!(told.overlapping_ban_ids, [standing.ban_id]);
    let codes: Vec<_> = told.warnings.iter().map(|one| one.code.as_str()).collect();
    assert_eq!(codes, ["OVERLAPS_BAN"]);
}

async fn a_preview_names_the_exceptions_that_the_ban_would_meet(client: Client) {
    let spared = client.spare(sparing(phone(NUMBER))).await;
    client.spare(sparing(phone("+420601999888"))).await;
    let on_sms = bancheck::api::v1::Exception {
        channels: vec![Channel::Sms as i32],
        ..sparing(phone(OTHER_NUMBER))
    };
    let on_sms = client.spare(on_sms).await;
    let told = preview(&client, add(phone(NUMBER))).await;
    assert_eq!(told.exceptions_hit, [id_of(&spared)]);
    assert_eq!(codes(&told.warnings), ["SPARED_BY_EXCEPTION"]);
    let both = CreateBanRequest {
        targets: vec![phone(NUMBER), phone(OTHER_NUMBER)],
        ..add(phone(NUMBER))
    };
    let told = preview(&client, both).await;
    assert_eq!(told.exceptions_hit, [id_of(&spared), id_of(&on_sms)]);
    let called = preview(&client, add_on(Channel::Call, phone(OTHER_NUMBER))).await;
    assert!(called.exceptions_hit.is_empty(), "{called:?}");
    let around = range(IdentityKind::IpAddress, MatchKind::Cidr, "192.168.0.0/15");
    let around = CreateBanRequest {
        override_warnings: true,
        ..around
    };
    let told = preview(&client, around).await;
    assert_eq!(told.exceptions_hit, ["private-192"]);

    client.spare_no_more(&id_of(&spared)).await;
    let told = preview(&client, add(phone(NUMBER))).await;
    assert!(told.exceptions_hit.is_empty(), "{told:?}");
}

async fn a_preview_counts_the_checks_that_the_ban_would_have_met(client: Client) {
    // The first check of a pod is in its sample.
    client.ask(connect(Channel::Call, phone(NUMBER))).await;
    let met = async |ban| preview(&client, ban).await.recent_checks_matched;
    assert_eq!(met(add(phone(NUMBER))).await, 1);
    assert_eq!(met(add_on(Channel::Call, phone("601 123 456"))).await, 1);
    let prefix = range(IdentityKind::PhoneNumber, MatchKind::Prefix, "+42060112");
    assert_eq!(met(prefix).await, 1, "no ban has used such a range yet");
    assert_eq!(met(add(phone(OTHER_NUMBER))).await, 0);
    assert_eq!(met(add_on(Channel::Sms, phone(NUMBER))).await, 0);
    client.make_tenant("globex").await;
    let elsewhere = CreateBanRequest {
        tenant: "globex".to_owned(),
        ..add(phone(NUMBER))
    };
    assert_eq!(met(elsewhere).await, 0, "another tenant's checks");
}

async fn a_preview_is_refused_as_the_ban_would_be(client: Client) {
    let standing = client.ban(add(phone(NUMBER))).await;
    let now = client.clock().await;
    let nobody = CreateBanRequest {
        targets: vec![Identity::default()],
        channels: vec![Channel::Call as i32],
        ..add(phone(NUMBER))
    };
    let past = CreateBanRequest {
        expiry: Some(Expiry::ExpireTime(after(now, -60))),
        ..add(phone(OTHER_NUMBER))
    };
    for ban in [
        add(phone(NUMBER)),
        add_to("nowhere", phone(NUMBER)),
        range(IdentityKind::IpAddress, MatchKind::Cidr, "198.0.0.0/8"),
        nobody,
        past,
    ] {
        let previewed = Refused::read(try_preview(&client, ban.clone()).await);
        let made = Refused::read(client.admin().create_ban(ban).await);
        previewed.is(made.code, &made.reason);
        let fields: Vec<_> = made.fields.iter().map(|one| format!("ban.{one}")).collect();
        assert_eq!(previewed.fields, fields);
        assert_eq!(previewed.facts, made.facts);
    }
    let refused = Refused::read(try_preview(&client, add(phone(NUMBER))).await);
    assert_eq!(refused.facts.get("ban_id"), Some(&standing.ban_id));
    let refused = client
        .admin()
        .preview_ban(PreviewBanRequest::default())
        .await;
    Refused::read(refused).is(Code::InvalidArgument, "FIELD_REQUIRED");
}
