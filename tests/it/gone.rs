//! Deleting lists and tenants, and what goes when it has been kept for long enough.

use bancheck::{
    api::v1::{
        Ban, BanList, Channel, DeleteBanListRequest, DeleteBanListResponse, DeleteTenantRequest,
        GetBanListRequest, GetBanRequest, ListBanEventsRequest, ListBansRequest, TenantSettings,
        UpdateTenantSettingsRequest, ban::State,
    },
    store::Place,
};
use prost_types::FieldMask;
use sqlx::{AnyConnection, Connection};
use tonic::Code;

use crate::{
    database::{Database, Kind},
    freshness::at_least,
    refused::Refused,
    requests::{
        NUMBER, OTHER_NUMBER, add, add_to, after, connect, enter, list, making, phone, until,
    },
    server::{Client, Server, TENANT, config, runtime},
};

on_both_stores!(
    a_list_in_use_is_deleted_by_force_only_and_its_bans_are_lifted_at_once,
    a_list_that_is_not_in_use_is_deleted_and_its_ended_bans_stay_listed,
    the_id_of_a_deleted_list_is_not_used_again_and_its_title_is_free,
    a_list_is_deleted_as_it_was_seen_or_not_at_all,
    a_tenant_is_deleted_only_by_who_names_it_twice,
);

mod by_themselves {
    on_both_stores!(run by crate::gone::by_itself:
        a_deleted_tenant_is_nobodys_at_once_and_on_every_pod,
        m2_ended_bans_stay_unless_the_tenant_says_for_how_long,
    );

    use super::{
        a_deleted_tenant_is_nobodys_at_once_and_on_every_pod,
        m2_ended_bans_stay_unless_the_tenant_says_for_how_long,
    };
}

/// Hands a test an empty database and no server.
pub(crate) fn by_itself(kind: Kind, test: fn(&Database)) {
    test(&Database::fresh(kind));
}

fn deleting(list_id: &str) -> DeleteBanListRequest {
    DeleteBanListRequest {
        tenant: TENANT.to_owned(),
        list_id: list_id.to_owned(),
        ..Default::default()
    }
}

async fn deleted(client: &Client, request: DeleteBanListRequest) -> DeleteBanListResponse {
    let gone = client.config().delete_ban_list(request).await;
    gone.expect("a list deleted").into_inner()
}

async fn refused(client: &Client, request: DeleteBanListRequest) -> Refused {
    Refused::read(client.config().delete_ban_list(request).await)
}

fn getting(ban: &Ban) -> GetBanRequest {
    GetBanRequest {
        tenant: TENANT.to_owned(),
        ban_id: ban.ban_id.clone(),
    }
}

async fn found(client: &Client, ban: &Ban) -> Ban {
    let found = client.admin().get_ban(getting(ban)).await;
    found.expect("an answer").into_inner().ban.expect("the ban")
}

/// What is noted of a ban, or of everything; waits until the last of it is this.
async fn history(client: &Client, ban_id: &str, last: &str) -> Vec<(String, String, String)> {
    loop {
        let request = ListBanEventsRequest {
            tenant: TENANT.to_owned(),
            ban_id: ban_id.to_owned(),
            ..Default::default()
        };
        let page = client.admin().list_ban_events(request).await;
        let events = page.expect("events").into_inner().events;
        if events.last().is_some_and(|event| event.action == last) {
            let told =
                |event: bancheck::api::v1::BanEvent| (event.action, event.actor, event.comment);
            return events.into_iter().map(told).collect();
        }
        tokio::task::yield_now().await;
    }
}

async fn a_list_in_use_is_deleted_by_force_only_and_its_bans_are_lifted_at_once(client: Client) {
    client.make_list(list("rude")).await;
    client.relate("rude", &["sales"]).await;
    let ban = client.ban(add_to("rude", phone(NUMBER))).await;
    let scheduled = client
        .ban(bancheck::api::v1::CreateBanRequest {
            start_time: Some(after(client.clock().await, 3600)),
            ..add_to("rude", phone(OTHER_NUMBER))
        })
        .await;
    let question = enter("sales", Channel::Call, phone(NUMBER));
    assert!(crate::requests::denies(&client.ask(question.clone()).await));
    refused(&client, deleting("rude"))
        .await
        .is(Code::FailedPrecondition, "BAN_LIST_IN_USE");

    let tried = DeleteBanListRequest {
        force: true,
        validate_only: true,
        ..deleting("rude")
    };
    assert_eq!(deleted(&client, tried).await.written_at, None);
    assert!(crate::requests::denies(&client.ask(question.clone()).await));

    let forced = DeleteBanListRequest {
        force: true,
        actor: "eva".to_owned(),
        ..deleting("rude")
    };
    let gone = deleted(&client, forced).await;
    let gone_list = gone.ban_list.expect("the list as it was last");
    assert_eq!(
        (&*gone_list.list_id, &*gone_list.queues),
        ("rude", &["sales".to_owned()][..])
    );
    let later = at_least(gone.written_at, question);
    assert!(!crate::requests::denies(&client.ask(later).await));
    for ban in [&ban, &scheduled] {
        let lifted = found(&client, ban).await;
        assert_eq!(lifted.state(), State::Deactivated);
        assert_eq!(lifted.deactivated_by, "eva");
        assert!(lifted.deactivate_reason.contains("rude"));
        assert!(lifted.deactivate_time.is_some());
    }
    assert_eq!(client.found(ListBansRequest::default()).await.1, 0);
    let deactivated = ListBansRequest {
        states: vec![State::Deactivated as i32],
        list_ids: vec!["rude".to_owned()],
        ..Default::default()
    };
    assert_eq!(client.found(deactivated).await.1, 2, "they stay listed");
    let told = history(&client, &ban.ban_id, "DEACTIVATED").await;
    assert_eq!(told.len(), 2);
    assert_eq!(told[1].1, "eva");
}

async fn a_list_that_is_not_in_use_is_deleted_and_its_ended_bans_stay_listed(client: Client) {
    client.make_list(list("rude")).await;
    let ban = client.ban(add_to("rude", phone(NUMBER))).await;
    client.lift(&ban).await;
    let before = found(&client, &ban).await;
    deleted(&client, deleting("rude")).await;
    assert_eq!(found(&client, &ban).await, before);
    let get = GetBanListRequest {
        tenant: TENANT.to_owned(),
        list_id: "rude".to_owned(),
    };
    let missing = Refused::read(client.config().get_ban_list(get).await);
    missing.is(Code::NotFound, "BAN_LIST_NOT_FOUND");
    refused(&client, deleting("rude"))
        .await
        .is(Code::NotFound, "BAN_LIST_NOT_FOUND");
    let told = history(&client, "", "LIST_DELETED").await;
    assert_eq!(told.last().expect("an event").2, "rude");
    let into = Refused::read(
        client
            .admin()
            .create_ban(add_to("rude", phone(NUMBER)))
            .await,
    );
    into.is(Code::NotFound, "BAN_LIST_NOT_FOUND");
}

async fn the_id_of_a_deleted_list_is_not_used_again_and_its_title_is_free(client: Client) {
    let first = client.make_list(list("rude")).await;
    deleted(&client, deleting("rude")).await;
    let again = client.config().create_ban_list(making(list("rude"))).await;
    Refused::read(again).is(Code::AlreadyExists, "DUPLICATE_LIST");
    client
        .make_list(BanList {
            title: first.title,
            ..list("calm")
        })
        .await;
}

async fn a_list_is_deleted_as_it_was_seen_or_not_at_all(client: Client) {
    let seen = client.make_list(list("rude")).await;
    client.relate("rude", &["sales"]).await;
    let stale = DeleteBanListRequest {
        etag: seen.etag,
        ..deleting("rude")
    };
    refused(&client, stale)
        .await
        .is(Code::Aborted, "ETAG_MISMATCH");
    let asked = DeleteBanListRequest {
        request_id: "once".to_owned(),
        ..deleting("rude")
    };
    let first = deleted(&client, asked.clone()).await;
    assert_eq!(deleted(&client, asked).await.ban_list, first.ban_list);
}

fn leaving(tenant: &str) -> DeleteTenantRequest {
    DeleteTenantRequest {
        tenant: tenant.to_owned(),
        confirm_tenant: tenant.to_owned(),
        ..Default::default()
    }
}

async fn a_tenant_is_deleted_only_by_who_names_it_twice(client: Client) {
    for (confirm_tenant, reason) in [("", "FIELD_REQUIRED"), ("acne", "FIELD_INVALID")] {
        let request = DeleteTenantRequest {
            confirm_tenant: confirm_tenant.to_owned(),
            ..leaving(TENANT)
        };
        let refused = Refused::read(client.config().delete_tenant(request).await);
        refused.is(Code::InvalidArgument, reason);
    }
    let nobody = Refused::read(client.config().delete_tenant(leaving("nobody")).await);
    nobody.is(Code::NotFound, "TENANT_NOT_FOUND");
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
}

fn a_deleted_tenant_is_nobodys_at_once_and_on_every_pod(database: &Database) {
    let start = || Server::start(&config(&database.place)).expect("a server");
    let first = start();
    // A file has one pod.
    let second = matches!(database.place, Place::Postgres { .. }).then(start);
    runtime().block_on(async {
        let client = first.client();
        client.make_tenant(TENANT).await;
        client.make_tenant("other").await;
        client.ban(add(phone(NUMBER))).await;
        assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
        let request = DeleteTenantRequest {
            request_id: "once".to_owned(),
            ..leaving(TENANT)
        };
        let gone = client.config().delete_tenant(request.clone()).await;
        let token = gone.expect("deleted").into_inner().written_at;
        let question = connect(Channel::Call, phone(NUMBER));
        let here = client.check().check_interaction(question.clone()).await;
        Refused::read(here).is(Code::NotFound, "TENANT_NOT_FOUND");
        if let Some(second) = &second {
            let question = at_least(token, question);
            let there = second.client().check().check_interaction(question).await;
            Refused::read(there).is(Code::NotFound, "TENANT_NOT_FOUND");
        }
        let banned = Refused::read(client.admin().create_ban(add(phone(NUMBER))).await);
        banned.is(Code::NotFound, "TENANT_NOT_FOUND");

        // A second try of the same is answered, another one finds nothing.
        client
            .config()
            .delete_tenant(request)
            .await
            .expect("as before");
        let other = Refused::read(client.config().delete_tenant(leaving(TENANT)).await);
        other.is(Code::NotFound, "TENANT_NOT_FOUND");
        let again = bancheck::api::v1::CreateTenantRequest {
            tenant: TENANT.to_owned(),
            ..Default::default()
        };
        let exists = Refused::read(client.config().create_tenant(again).await);
        exists.is(Code::AlreadyExists, "TENANT_EXISTS");

        // In the background all that it had goes.
        let store = database.store().await;
        while !store.deleted_tenants(10).await.expect("a look").is_empty() {
            tokio::task::yield_now().await;
        }
    });
}

fn m2_ended_bans_stay_unless_the_tenant_says_for_how_long(database: &Database) {
    let first = Server::start(&config(&database.place)).expect("a server");
    let ban = runtime().block_on(async {
        let client = first.client();
        client.make_tenant(TENANT).await;
        let soon = after(client.clock().await, 1);
        let ban = client.ban(until(soon, add(phone(NUMBER)))).await;
        history(&client, &ban.ban_id, "EXPIRED").await;
        ban
    });
    drop(first);
    runtime().block_on(a_month_passes(database));
    let second = Server::start(&config(&database.place)).expect("a server");
    runtime().block_on(async {
        let client = second.client();
        assert_eq!(found(&client, &ban).await.state(), State::Expired);
        let request = UpdateTenantSettingsRequest {
            tenant_settings: Some(TenantSettings {
                tenant: TENANT.to_owned(),
                ended_ban_retention_days: Some(7),
                ..Default::default()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["ended_ban_retention_days".to_owned()],
            }),
            ..Default::default()
        };
        let kept = client.config().update_tenant_settings(request).await;
        kept.expect("settings");
    });
    drop(second);
    let third = Server::start(&config(&database.place)).expect("a server");
    runtime().block_on(async {
        let client = third.client();
        let told = history(&client, "", "BANS_PURGED").await;
        assert!(told.iter().all(|(action, ..)| action != "EXPIRED"));
        let gone = Refused::read(client.admin().get_ban(getting(&ban)).await);
        gone.is(Code::NotFound, "BAN_NOT_FOUND");
    });
}

/// Moves the ends of all bans a month into the past.
async fn a_month_passes(database: &Database) {
    let url = match &database.place {
        Place::Sqlite(folder) => format!("sqlite://{}/bancheck.db", folder.display()),
        Place::Postgres { url, .. } => url.clone(),
    };
    let mut raw = AnyConnection::connect(&url).await.expect("a connection");
    let moved = "UPDATE bans SET expire_at = expire_at - 2592000000000";
    sqlx::raw_sql(moved)
        .execute(&mut raw)
        .await
        .expect("a month passed");
}
