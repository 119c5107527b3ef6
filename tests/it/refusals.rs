//! Bad fields: what is said of them, and that they do no harm.

use bancheck::api::v1::{
    Ban, Channel, CheckInteractionRequest, CreateBanRequest, CreateTenantRequest,
    DeactivateBanRequest, GetBanListRequest, GetBanRequest, GetTenantSettingsRequest,
    ListBanEventsRequest, ListBanListsRequest, ListBansRequest, SetBanListQueuesRequest,
    TenantSettings, UpdateBanListRequest, UpdateBanRequest, UpdateTenantSettingsRequest,
};
use tonic::Code;

use crate::{
    refused::Refused,
    requests::{NUMBER, add, add_to, connect, denies, list, making, phone},
    server::{Client, TENANT},
};

on_both_stores!(
    a_malformed_tenant_id_is_refused,
    a_malformed_list_id_is_refused,
    a_malformed_ban_id_is_refused,
    an_unknown_tenant_is_not_found,
    an_unknown_ban_is_not_found,
    an_unknown_list_is_not_found,
    a_channel_is_needed,
    a_queue_entry_needs_a_queue,
    a_tenant_id_is_taken_once,
    settings_that_make_no_sense_are_refused,
);

/// Fails unless the server answers as before and nothing has been written.
pub(crate) async fn unharmed(client: &Client) {
    let states = (1..=4).collect();
    assert_eq!(
        client
            .found(ListBansRequest {
                states,
                ..Default::default()
            })
            .await
            .1,
        0
    );
    let request = ListBanEventsRequest {
        tenant: TENANT.to_owned(),
        ..Default::default()
    };
    let told = client
        .admin()
        .list_ban_events(request)
        .await
        .unwrap()
        .into_inner()
        .events;
    let told: Vec<_> = told.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(told, ["TENANT_CREATED"]);
    assert!(!denies(
        &client.ask(connect(Channel::Call, phone(NUMBER))).await
    ));
    let ban = client.ban(add(phone(NUMBER))).await;
    assert!(denies(
        &client.ask(connect(Channel::Call, phone(NUMBER))).await
    ));
    client.lift(&ban).await;
}

/// Asks what must be refused, of one field, as an argument.
pub(crate) async fn check_refused(
    client: &Client,
    question: CheckInteractionRequest,
    why: [&str; 2],
) {
    let refused = Refused::read(client.check().check_interaction(question).await);
    judge(&refused, why);
}

/// Adds what must be refused, of one field, as an argument.
pub(crate) async fn ban_refused(client: &Client, request: CreateBanRequest, why: [&str; 2]) {
    let refused = Refused::read(client.admin().create_ban(request).await);
    judge(&refused, why);
}

#[track_caller]
pub(crate) fn judge(refused: &Refused, [reason, field]: [&str; 2]) {
    refused.is(Code::InvalidArgument, reason);
    refused.blames(field);
    refused.keeps_quiet_about("601123456");
}

pub(crate) fn calls() -> CheckInteractionRequest {
    connect(Channel::Call, phone(NUMBER))
}

fn edit(ban: Ban) -> UpdateBanRequest {
    let ban = Ban {
        tenant: TENANT.to_owned(),
        ..ban
    };
    UpdateBanRequest {
        ban: Some(ban),
        ..Default::default()
    }
}

async fn a_malformed_tenant_id_is_refused(client: Client) {
    let long = "a".repeat(64);
    for (tenant, reason) in [
        ("", "FIELD_REQUIRED"),
        ("Acme", "FIELD_INVALID"),
        ("-acme", "FIELD_INVALID"),
        ("a b", "FIELD_INVALID"),
        ("a\u{0}b", "FIELD_INVALID"),
        ("žlutá", "FIELD_INVALID"),
        ("'; DROP TABLE bans; --", "FIELD_INVALID"),
        (&long, "FIELD_INVALID"),
    ] {
        let tenant = tenant.to_owned();
        let why = [reason, "tenant"];
        check_refused(
            &client,
            CheckInteractionRequest {
                tenant: tenant.clone(),
                ..calls()
            },
            why,
        )
        .await;
        let request = CreateBanRequest {
            tenant: tenant.clone(),
            ..add(phone(NUMBER))
        };
        ban_refused(&client, request, why).await;
        let request = CreateTenantRequest {
            tenant: tenant.clone(),
            ..Default::default()
        };
        judge(
            &Refused::read(client.config().create_tenant(request).await),
            why,
        );
        let request = ListBansRequest {
            tenant: tenant.clone(),
            ..Default::default()
        };
        judge(&Refused::read(client.admin().list_bans(request).await), why);
        let ban = Some(Ban {
            tenant,
            ..Default::default()
        });
        let request = UpdateBanRequest {
            ban,
            ..Default::default()
        };
        let refused = Refused::read(client.admin().update_ban(request).await);
        judge(&refused, [reason, "ban.tenant"]);
    }
    unharmed(&client).await;
}

async fn a_malformed_list_id_is_refused(client: Client) {
    let long = "a".repeat(64);
    for list_id in ["Trolls", "tro lls", "-", &long] {
        ban_refused(
            &client,
            add_to(list_id, phone(NUMBER)),
            ["FIELD_INVALID", "list_id"],
        )
        .await;
        let request = making(list(list_id));
        let refused = Refused::read(client.config().create_ban_list(request).await);
        judge(&refused, ["FIELD_INVALID", "ban_list.list_id"]);
        let list_ids = vec!["fine".to_owned(), list_id.to_owned()];
        let request = ListBansRequest {
            tenant: TENANT.to_owned(),
            list_ids,
            ..Default::default()
        };
        let refused = Refused::read(client.admin().list_bans(request).await);
        judge(&refused, ["FIELD_INVALID", "list_ids[1]"]);
    }
    unharmed(&client).await;
}

async fn a_malformed_ban_id_is_refused(client: Client) {
    for (ban_id, reason) in [
        ("", "FIELD_REQUIRED"),
        ("1", "FIELD_INVALID"),
        ("not-a-ban", "FIELD_INVALID"),
        ("{0198c0de-0000-7000-8000-000000000000}", "FIELD_INVALID"),
    ] {
        let (tenant, ban_id) = (TENANT.to_owned(), ban_id.to_owned());
        let request = GetBanRequest {
            tenant: tenant.clone(),
            ban_id: ban_id.clone(),
        };
        judge(
            &Refused::read(client.admin().get_ban(request).await),
            [reason, "ban_id"],
        );
        let request = DeactivateBanRequest {
            tenant,
            ban_id: ban_id.clone(),
            ..Default::default()
        };
        judge(
            &Refused::read(client.admin().deactivate_ban(request).await),
            [reason, "ban_id"],
        );
        let request = edit(Ban {
            ban_id,
            ..Default::default()
        });
        judge(
            &Refused::read(client.admin().update_ban(request).await),
            [reason, "ban.ban_id"],
        );
    }
    unharmed(&client).await;
}

async fn an_unknown_tenant_is_not_found(client: Client) {
    let nobody = || "nobody".to_owned();
    let question = CheckInteractionRequest {
        tenant: nobody(),
        ..calls()
    };
    let ban = Ban {
        tenant: nobody(),
        ban_id: uuid::Uuid::now_v7().to_string(),
        ..Ban::default()
    };
    let update = UpdateBanRequest {
        ban: Some(ban.clone()),
        ..Default::default()
    };
    let get = GetBanRequest {
        tenant: nobody(),
        ban_id: ban.ban_id.clone(),
    };
    let lift = DeactivateBanRequest {
        tenant: nobody(),
        ban_id: ban.ban_id,
        ..Default::default()
    };
    let bans = ListBansRequest {
        tenant: nobody(),
        ..Default::default()
    };
    let events = ListBanEventsRequest {
        tenant: nobody(),
        ..Default::default()
    };
    let lists = ListBanListsRequest {
        tenant: nobody(),
        ..Default::default()
    };
    let settings = TenantSettings {
        tenant: nobody(),
        ..Default::default()
    };
    let settings = UpdateTenantSettingsRequest {
        tenant_settings: Some(settings),
        ..Default::default()
    };
    let add = CreateBanRequest {
        tenant: nobody(),
        ..add(phone(NUMBER))
    };
    let (mut admin, mut config) = (client.admin(), client.config());
    for refused in [
        Refused::read(client.check().check_interaction(question).await),
        Refused::read(admin.create_ban(add).await),
        Refused::read(admin.get_ban(get).await),
        Refused::read(admin.list_bans(bans).await),
        Refused::read(admin.update_ban(update).await),
        Refused::read(admin.deactivate_ban(lift).await),
        Refused::read(admin.list_ban_events(events).await),
        Refused::read(config.list_ban_lists(lists).await),
        Refused::read(
            config
                .get_tenant_settings(GetTenantSettingsRequest { tenant: nobody() })
                .await,
        ),
        Refused::read(config.update_tenant_settings(settings).await),
    ] {
        refused.is(Code::NotFound, "TENANT_NOT_FOUND");
    }
    unharmed(&client).await;
}

async fn an_unknown_ban_is_not_found(client: Client) {
    let (tenant, ban_id) = (TENANT.to_owned(), uuid::Uuid::now_v7().to_string());
    let get = GetBanRequest {
        tenant: tenant.clone(),
        ban_id: ban_id.clone(),
    };
    let lift = DeactivateBanRequest {
        tenant,
        ban_id: ban_id.clone(),
        ..Default::default()
    };
    let update = edit(Ban {
        ban_id,
        reason: "why not".to_owned(),
        ..Default::default()
    });
    for refused in [
        Refused::read(client.admin().get_ban(get).await),
        Refused::read(client.admin().update_ban(update).await),
        Refused::read(client.admin().deactivate_ban(lift).await),
    ] {
        refused.is(Code::NotFound, "BAN_NOT_FOUND");
    }
    unharmed(&client).await;
}

async fn an_unknown_list_is_not_found(client: Client) {
    let (tenant, list_id) = (TENANT.to_owned(), "nowhere".to_owned());
    let get = GetBanListRequest {
        tenant: tenant.clone(),
        list_id: list_id.clone(),
    };
    let update = UpdateBanListRequest {
        tenant: tenant.clone(),
        ban_list: Some(list("nowhere")),
        ..Default::default()
    };
    let relate = SetBanListQueuesRequest {
        tenant,
        list_id,
        ..Default::default()
    };
    for refused in [
        Refused::read(
            client
                .admin()
                .create_ban(add_to("nowhere", phone(NUMBER)))
                .await,
        ),
        Refused::read(client.config().get_ban_list(get).await),
        Refused::read(client.config().update_ban_list(update).await),
        Refused::read(client.config().set_ban_list_queues(relate).await),
    ] {
        refused.is(Code::NotFound, "BAN_LIST_NOT_FOUND");
    }
    unharmed(&client).await;
}

async fn a_channel_is_needed(client: Client) {
    let question = CheckInteractionRequest {
        channel: 0,
        ..calls()
    };
    check_refused(&client, question, ["FIELD_REQUIRED", "channel"]).await;
    unharmed(&client).await;
}

async fn a_queue_entry_needs_a_queue(client: Client) {
    let question = CheckInteractionRequest {
        stage: 2,
        ..calls()
    };
    check_refused(&client, question, ["FIELD_REQUIRED", "queue"]).await;
    unharmed(&client).await;
}

async fn a_tenant_id_is_taken_once(client: Client) {
    let request = CreateTenantRequest {
        tenant: TENANT.to_owned(),
        ..Default::default()
    };
    let refused = Refused::read(client.config().create_tenant(request).await);
    refused.is(Code::AlreadyExists, "TENANT_EXISTS");
    unharmed(&client).await;
}

async fn settings_that_make_no_sense_are_refused(client: Client) {
    let of = TenantSettings::default;
    for (settings, field) in [
        (
            TenantSettings {
                time_zone: Some("Mars/Olympus".to_owned()),
                ..of()
            },
            "time_zone",
        ),
        (
            TenantSettings {
                default_region: "CZE".to_owned(),
                ..of()
            },
            "default_region",
        ),
        (
            TenantSettings {
                failure_mode: Some(9),
                ..of()
            },
            "failure_mode",
        ),
        (
            TenantSettings {
                ipv6_prefix: Some(129),
                ..of()
            },
            "ipv6_prefix",
        ),
        (
            TenantSettings {
                ipv6_prefix: Some(-1),
                ..of()
            },
            "ipv6_prefix",
        ),
        (
            TenantSettings {
                ended_ban_retention_days: Some(-1),
                ..of()
            },
            "ended_ban_retention_days",
        ),
    ] {
        let settings = TenantSettings {
            tenant: TENANT.to_owned(),
            ..settings
        };
        let request = UpdateTenantSettingsRequest {
            tenant_settings: Some(settings),
            ..Default::default()
        };
        let refused = Refused::read(client.config().update_tenant_settings(request).await);
        judge(
            &refused,
            ["FIELD_INVALID", &format!("tenant_settings.{field}")],
        );
    }
    unharmed(&client).await;
}
