//! Keys and grants: how they are made, how they end, and what they are good for.

use std::time::Duration;

use bancheck::api::v1::{
    Ban, Channel, CreateApiKeyRequest, DeactivateBanRequest, GetBanRequest, Grant,
    ListApiKeysRequest, ListGrantsRequest, RotateApiKeyRequest, SetGrantsRequest, api_key::State,
    grant::Scope,
};
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};

use crate::{
    database::{Database, Kind},
    guarded::{Guarded, asking, on_tenant, shown},
    refused::Refused,
    requests::{NUMBER, add, connect, enter, list, making, phone},
    scopes::id_of,
    server::{Client, Server, TENANT, runtime},
};

on_both_stores!(run by crate::guarded::run:
    m26_an_operator_makes_and_lifts_no_bans_in_the_settings_and_a_supervisor_lifts_them,
    m10_a_credential_of_one_tenant_is_refused_for_another,
    d4_an_administrator_makes_lists_and_nobody_else,
    a_secret_is_shown_once_and_kept_nowhere,
    while_a_key_is_rotated_both_are_good_and_then_the_new_one,
    a_revoked_key_opens_nothing_from_its_answer_on,
    a_grant_is_in_force_from_its_answer_on,
    grants_are_guarded_by_their_etag,
    a_grant_on_queues_lets_in_what_names_one_of_them,
    only_a_backend_that_may_acts_for_others,
    a_principal_without_grants_gets_no_key,
    a_principal_has_sixteen_keys_at_the_most,
    keys_and_principals_are_listed_page_by_page,
    what_makes_no_sense_is_refused,
);

impl Guarded {
    pub(crate) async fn set_grants(&self, principal: &str, grants: Vec<Grant>) {
        let request = SetGrantsRequest {
            principal: principal.to_owned(),
            grants,
            ..SetGrantsRequest::default()
        };
        let set = self.access().set_grants(shown(&self.root, request)).await;
        set.expect("grants");
    }

    async fn ban(&self) -> Ban {
        let made = self
            .client
            .admin()
            .create_ban(shown(&self.root, add(phone(NUMBER))))
            .await;
        made.expect("a ban").into_inner().ban.expect("the ban made")
    }

    async fn check(&self, key: &str) -> Result<(), Status> {
        let question = shown(key, connect(Channel::Call, phone(NUMBER)));
        self.client
            .check()
            .check_interaction(question)
            .await
            .map(drop)
    }
}

fn lifting(ban: &Ban) -> DeactivateBanRequest {
    DeactivateBanRequest {
        tenant: TENANT.to_owned(),
        ban_id: ban.ban_id.clone(),
        reason: "he apologised".to_owned(),
        ..DeactivateBanRequest::default()
    }
}

async fn m26_an_operator_makes_and_lifts_no_bans_in_the_settings_and_a_supervisor_lifts_them(
    all: Guarded,
) {
    let operator = all.key("operator", vec![on_tenant(Scope::Operator)]).await;
    let supervisor = all
        .key("supervisor", vec![on_tenant(Scope::Supervisor)])
        .await;
    let ban = all.ban().await;
    let mut desk = all.client.admin();
    let look = GetBanRequest {
        tenant: TENANT.to_owned(),
        ban_id: ban.ban_id.clone(),
    };
    desk.get_ban(shown(&operator, look))
        .await
        .expect("an operator looks");
    for key in [&operator, &supervisor] {
        let made = desk
            .create_ban(shown(key, add(phone("+420777000111"))))
            .await;
        Refused::read(made).is(Code::PermissionDenied, "SCOPE_MISSING");
    }
    let lifted = desk.deactivate_ban(shown(&operator, lifting(&ban))).await;
    Refused::read(lifted).is(Code::PermissionDenied, "SCOPE_MISSING");
    let lifted = desk.deactivate_ban(shown(&supervisor, lifting(&ban))).await;
    let lifted = lifted
        .expect("a supervisor lifts")
        .into_inner()
        .ban
        .expect("the ban");
    assert_eq!(lifted.deactivated_by, "supervisor");
}

async fn m10_a_credential_of_one_tenant_is_refused_for_another(all: Guarded) {
    all.make_tenant("beta").await;
    let grants = [Scope::Check, Scope::Admin].map(on_tenant).to_vec();
    let key = all.key("of acme", grants).await;
    all.check(&key).await.expect("its own tenant");
    let mut question = connect(Channel::Call, phone(NUMBER));
    "beta".clone_into(&mut question.tenant);
    let asked = all
        .client
        .check()
        .check_interaction(shown(&key, question))
        .await;
    Refused::read(asked).is(Code::PermissionDenied, "TENANT_MISMATCH");
    let mut request = add(phone(NUMBER));
    "beta".clone_into(&mut request.tenant);
    let made = all.client.admin().create_ban(shown(&key, request)).await;
    Refused::read(made).is(Code::PermissionDenied, "TENANT_MISMATCH");
}

async fn d4_an_administrator_makes_lists_and_nobody_else(all: Guarded) {
    let make = async |scope: Scope, list_id: &str| {
        let key = all.key(scope.as_str_name(), vec![on_tenant(scope)]).await;
        let made = all
            .client
            .config()
            .create_ban_list(shown(&key, making(list(list_id))))
            .await;
        made.map(drop).map(Response::new)
    };
    for scope in [
        Scope::Operator,
        Scope::Supervisor,
        Scope::Support,
        Scope::Check,
    ] {
        Refused::read(make(scope, "trolls").await).is(Code::PermissionDenied, "SCOPE_MISSING");
    }
    make(Scope::Admin, "trolls").await.expect("a list");
}

async fn a_secret_is_shown_once_and_kept_nowhere(all: Guarded) {
    let request = CreateApiKeyRequest {
        principal: "dialler".to_owned(),
        display_name: "the dialler's".to_owned(),
        grants: vec![on_tenant(Scope::Check)],
        request_id: "once".to_owned(),
        ..CreateApiKeyRequest::default()
    };
    let tried = CreateApiKeyRequest {
        validate_only: true,
        ..request.clone()
    };
    let ask = async |request| {
        let made = all.access().create_api_key(shown(&all.root, request)).await;
        made.expect("a key").into_inner()
    };
    assert_eq!(ask(tried).await.secret, "");
    let first = ask(request.clone()).await;
    let key = first.api_key.expect("the key made");
    let opening = format!("bk_{}_", key.key_id);
    assert!(
        first.secret.starts_with(&opening),
        "it is `bk_<id>_<secret>`"
    );
    assert_eq!(key.created_by, "admin");
    let again = ask(request).await;
    assert_eq!(again.secret, "");
    assert_eq!(again.api_key.expect("the same key").key_id, key.key_id);
    let mut client = all.access();
    let listed = client.list_api_keys(shown(&all.root, ListApiKeysRequest::default()));
    let told = format!("{:?}", listed.await.expect("keys"));
    let secret = first.secret.trim_start_matches(&opening).to_owned();
    assert!(told.contains(&key.key_id) && !told.contains(&secret));
    all.check(&first.secret).await.expect("the key is good");
}

async fn while_a_key_is_rotated_both_are_good_and_then_the_new_one(all: Guarded) {
    let old = all.key("dialler", vec![on_tenant(Scope::Check)]).await;
    let rotate = async |key: &str, overlap: Option<i64>| {
        let request = RotateApiKeyRequest {
            key_id: id_of(key).to_owned(),
            overlap: overlap.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
            ..RotateApiKeyRequest::default()
        };
        all.access().rotate_api_key(shown(&all.root, request)).await
    };
    let first = rotate(&old, None).await.expect("a successor").into_inner();
    let replaced = first.replaced.expect("the old key");
    assert_eq!(replaced.state(), State::Live);
    assert!(replaced.expire_time.is_some());
    all.check(&old).await.expect("for a day");
    all.check(&first.secret).await.expect("from now on");
    let second = rotate(&first.secret, Some(0))
        .await
        .expect("another")
        .into_inner();
    Refused::read(all.check(&first.secret).await.map(Response::new))
        .is(Code::Unauthenticated, "CREDENTIAL_EXPIRED");
    all.check(&second.secret).await.expect("the newest");
    Refused::read(rotate(&first.secret, None).await).is(Code::NotFound, "KEY_NOT_FOUND");
    let refused = Refused::read(rotate(&second.secret, Some(91 * 86_400)).await);
    refused.is(Code::InvalidArgument, "FIELD_INVALID");
    refused.blames("overlap");
}

async fn a_revoked_key_opens_nothing_from_its_answer_on(all: Guarded) {
    for number in 0..20 {
        let key = all
            .key(&format!("p{number}"), vec![on_tenant(Scope::Check)])
            .await;
        all.check(&key).await.expect("a good key");
        all.revoke(&key).await;
        let asked = all.check(&key).await.map(Response::new);
        Refused::read(asked).is(Code::Unauthenticated, "CREDENTIAL_INVALID");
        // Once more: nothing changes.
        all.revoke(&key).await;
    }
}

async fn a_grant_is_in_force_from_its_answer_on(all: Guarded) {
    let key = all.key("ann", vec![on_tenant(Scope::Watch)]).await;
    for _ in 0..10 {
        let asked = all.check(&key).await.map(Response::new);
        Refused::read(asked).is(Code::PermissionDenied, "SCOPE_MISSING");
        all.set_grants("ann", vec![on_tenant(Scope::Check)]).await;
        all.check(&key).await.expect("it is granted now");
        all.set_grants("ann", Vec::new()).await;
    }
}

async fn grants_are_guarded_by_their_etag(all: Guarded) {
    let set = async |scope: Scope, etag: &str| {
        let request = SetGrantsRequest {
            principal: "ann".to_owned(),
            grants: vec![on_tenant(scope)],
            etag: etag.to_owned(),
            ..SetGrantsRequest::default()
        };
        let set = all.access().set_grants(shown(&all.root, request)).await;
        set.map(|answer| answer.into_inner().principal.expect("the principal").etag)
    };
    let first = set(Scope::Check, "").await.expect("grants");
    let second = set(Scope::Watch, &first).await.expect("grants");
    assert_ne!(first, second);
    let late = set(Scope::Admin, &first).await.map(Response::new);
    Refused::read(late).is(Code::Aborted, "ETAG_MISMATCH");
}

async fn a_grant_on_queues_lets_in_what_names_one_of_them(all: Guarded) {
    let narrow = Grant {
        queues: vec!["sales".to_owned()],
        ..on_tenant(Scope::Check)
    };
    let key = all.key("ivr", vec![narrow]).await;
    let enters = async |queue: &str| {
        let question = enter(queue, Channel::Call, phone(NUMBER));
        all.client
            .check()
            .check_interaction(shown(&key, question))
            .await
    };
    enters("sales").await.expect("its queue");
    Refused::read(enters("care").await).is(Code::PermissionDenied, "TENANT_MISMATCH");
    let asked = all.check(&key).await.map(Response::new);
    Refused::read(asked).is(Code::PermissionDenied, "TENANT_MISMATCH");
}

async fn only_a_backend_that_may_acts_for_others(all: Guarded) {
    let own = on_tenant(Scope::Supervisor);
    let person = all.key("ann", vec![own.clone()]).await;
    let backend = Grant {
        may_act_for: true,
        ..own
    };
    let backend = all.key("crm", vec![backend]).await;
    let lift = async |key: &str, ban: &Ban, actor: &str| {
        let request = DeactivateBanRequest {
            actor: actor.to_owned(),
            ..lifting(ban)
        };
        all.client.admin().deactivate_ban(shown(key, request)).await
    };
    let ban = all.ban().await;
    let refused = Refused::read(lift(&person, &ban, "bob").await);
    refused.is(Code::PermissionDenied, "ACTOR_MISMATCH");
    let lifted = lift(&backend, &ban, "bob")
        .await
        .expect("on bob's behalf")
        .into_inner();
    assert_eq!(lifted.ban.expect("the ban").deactivated_by, "bob");
    let ban = all.ban().await;
    let lifted = lift(&person, &ban, "ann")
        .await
        .expect("on her own")
        .into_inner();
    assert_eq!(lifted.ban.expect("the ban").deactivated_by, "ann");
}

async fn a_principal_without_grants_gets_no_key(all: Guarded) {
    let make = async |grants: Vec<Grant>| {
        let request = CreateApiKeyRequest {
            principal: "ann".to_owned(),
            grants,
            ..CreateApiKeyRequest::default()
        };
        all.access().create_api_key(shown(&all.root, request)).await
    };
    Refused::read(make(Vec::new()).await).is(Code::NotFound, "PRINCIPAL_NOT_FOUND");
    let request = ListGrantsRequest {
        principal: "ann".to_owned(),
        ..ListGrantsRequest::default()
    };
    let listed = all.access().list_grants(shown(&all.root, request)).await;
    Refused::read(listed).is(Code::NotFound, "PRINCIPAL_NOT_FOUND");
    let check = vec![on_tenant(Scope::Check)];
    make(check.clone()).await.expect("with grants");
    make(Vec::new()).await.expect("known by now");
    make(check).await.expect("the same grants");
    let refused = Refused::read(make(vec![on_tenant(Scope::Admin)]).await);
    refused.is(Code::InvalidArgument, "FIELD_INVALID");
    refused.blames("grants");
}

async fn a_principal_has_sixteen_keys_at_the_most(all: Guarded) {
    let mut keys = vec![all.key("ann", vec![on_tenant(Scope::Check)]).await];
    while keys.len() < 16 {
        keys.push(all.key("ann", Vec::new()).await);
    }
    let request = CreateApiKeyRequest {
        principal: "ann".to_owned(),
        ..CreateApiKeyRequest::default()
    };
    let more = all.access().create_api_key(shown(&all.root, request)).await;
    Refused::read(more).is(Code::ResourceExhausted, "QUOTA");
    all.revoke(&keys[0]).await;
    all.key("ann", Vec::new()).await;
}

async fn keys_and_principals_are_listed_page_by_page(all: Guarded) {
    for number in 0..5 {
        all.key(&format!("p{number}"), vec![on_tenant(Scope::Check)])
            .await;
    }
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListGrantsRequest {
            page_size: 2,
            page_token,
            ..ListGrantsRequest::default()
        };
        let page = all.access().list_grants(shown(&all.root, request)).await;
        let page = page.expect("a page").into_inner();
        found.extend(page.principals.into_iter().map(|one| one.principal));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    found.retain(|name| name != "local-admin");
    assert_eq!(found, ["admin", "p0", "p1", "p2", "p3", "p4"]);
    let request = ListApiKeysRequest {
        principal: "p1".to_owned(),
        ..ListApiKeysRequest::default()
    };
    let page = all.access().list_api_keys(shown(&all.root, request)).await;
    let keys = page.expect("a page").into_inner().api_keys;
    assert_eq!(keys.len(), 1);
    assert_eq!(
        (keys[0].principal.as_str(), keys[0].state()),
        ("p1", State::Live)
    );
}

async fn what_makes_no_sense_is_refused(all: Guarded) {
    let good = on_tenant(Scope::Check);
    let both = Grant {
        all_tenants: true,
        ..good.clone()
    };
    let nowhere = Grant {
        tenant: String::new(),
        ..good.clone()
    };
    let nothing = Grant {
        scopes: Vec::new(),
        ..good.clone()
    };
    let unknown = Grant {
        scopes: vec![99],
        ..good.clone()
    };
    let no_queue = Grant {
        queues: vec![String::new()],
        ..good.clone()
    };
    let malformed = Grant {
        tenant: "Acme".to_owned(),
        ..good.clone()
    };
    for (principal, grant, reason, field) in [
        ("", good.clone(), "FIELD_REQUIRED", "principal"),
        ("anonymous", good.clone(), "FIELD_INVALID", "principal"),
        ("a\u{7}", good.clone(), "FIELD_INVALID", "principal"),
        ("ann", both, "FIELD_INVALID", "grants[0].tenant"),
        ("ann", nowhere, "FIELD_REQUIRED", "grants[0].tenant"),
        ("ann", malformed, "FIELD_INVALID", "grants[0].tenant"),
        ("ann", nothing, "FIELD_REQUIRED", "grants[0].scopes"),
        ("ann", unknown, "FIELD_INVALID", "grants[0].scopes[0]"),
        ("ann", no_queue, "FIELD_REQUIRED", "grants[0].queues[0]"),
    ] {
        let request = SetGrantsRequest {
            principal: principal.to_owned(),
            grants: vec![grant],
            ..SetGrantsRequest::default()
        };
        let refused = Refused::read(all.access().set_grants(shown(&all.root, request)).await);
        refused.is(Code::InvalidArgument, reason);
        refused.blames(field);
    }
    let mut twice = Request::new(connect(Channel::Call, phone(NUMBER)));
    for _ in 0..2 {
        let value = format!("Bearer {}", all.root).parse().expect("a header");
        twice.metadata_mut().append("authorization", value);
    }
    let asked = all.client.check().check_interaction(twice).await;
    Refused::read(asked).is(Code::Unauthenticated, "CREDENTIAL_INVALID");
}

/// A hundred times: revoked on one pod, refused on the other within the lease.
#[test]
fn a_revocation_is_in_force_on_every_pod_within_the_lease() {
    let database = Database::fresh(Kind::Postgres);
    let pods = [(), ()].map(|()| Server::start(&asking(&database.place)).expect("a pod"));
    let root = pods[0].first_key(&database.place);
    let mut took = runtime().block_on(async {
        let [here, there] = pods.each_ref().map(|pod| Guarded {
            client: pod.client(),
            root: root.clone(),
        });
        for pod in [&here, &there] {
            pod.heard_of(&root).await;
        }
        here.make_tenant(TENANT).await;
        let mut took = Vec::new();
        for number in 0..100 {
            let key = here
                .key(&format!("p{number}"), vec![on_tenant(Scope::Check)])
                .await;
            while there.check(&key).await.is_err() {
                tokio::task::yield_now().await;
            }
            here.revoke(&key).await;
            let revoked = Instant::now();
            while there.check(&key).await.is_ok() {
                tokio::task::yield_now().await;
            }
            took.push(revoked.elapsed());
        }
        took
    });
    took.sort();
    let (median, longest) = (took[50], took[99]);
    println!("revoked on one pod, refused on the other: median {median:?}, longest {longest:?}");
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}

/// Whoever has the server's folder has a key to everything, and nobody else can read it.
#[test]
fn an_embedded_store_keeps_a_key_to_everything_in_its_folder() {
    use std::os::unix::fs::PermissionsExt as _;
    let database = Database::fresh(Kind::Sqlite);
    let bancheck::store::Place::Sqlite(folder) = &database.place else {
        unreachable!("an embedded store");
    };
    let file = folder.join("admin.token");
    let start = || Server::start(&asking(&database.place)).expect("a server");
    let held = || {
        std::fs::read_to_string(&file)
            .expect("the key")
            .trim()
            .to_owned()
    };
    let may = |server: &Server, key: &str| {
        runtime().block_on(async {
            let client: Client = server.client();
            let guarded = Guarded {
                client,
                root: key.to_owned(),
            };
            guarded
                .access()
                .list_grants(shown(key, ListGrantsRequest::default()))
                .await
                .is_ok()
        })
    };
    let server = start();
    let first = held();
    assert!(may(&server, &first));
    let mode = std::fs::metadata(&file)
        .expect("the file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(server);
    let server = start();
    assert_eq!(held(), first, "it stays the same");
    drop(server);
    std::fs::remove_file(&file).expect("the file goes");
    let server = start();
    let second = held();
    assert!(second != first && may(&server, &second));
    assert!(!may(&server, &first), "the one that was lost opens nothing");
}
