//! What somebody tries who has a credential for one tenant and is after another's, or after the
//! database: by ids, by pages, by tokens, by statements in fields, and by fields too large.

use std::collections::BTreeSet;

use bancheck::{
    api::v1::{
        Channel, CreateBanListRequest, CreateBanRequest, CreateExceptionRequest, Exception,
        ListBansRequest, QueuePolicy, SetBanRightsRequest, UpdateQueuePolicyRequest,
        import_bans_request::{Header, Part, Row},
        queue_policy::RecordTo,
    },
    config::Config,
};
use futures_util::future::join_all;
use prost::Message as _;
use prost_reflect::{DynamicMessage, Kind as Shape, Value};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    database::{Database, Kind},
    refused::Refused,
    requests::{NUMBER, OTHER_NUMBER, add, connect, denies, list, phone},
    server::{Client, Server, TENANT, config, runtime},
    walk::{Road, Rpc, Things, lasting_text, rpcs},
};

on_both_stores!(
    what_another_tenant_has_is_answered_like_what_there_is_nowhere,
    a_request_id_of_another_tenant_is_nobodys_here,
    a_page_token_of_another_tenant_or_another_question_opens_no_page,
    a_statement_in_a_field_is_a_text_like_others,
);

const THEIRS: &str = "globex";

impl Client {
    /// Makes two of everything that a tenant has, and tells the last of each.
    async fn furnish(&self, tenant: &str) -> Things {
        let mut things = Things::default();
        let (mut admin, mut settings) = (self.admin(), self.config());
        for (at, number) in [NUMBER, OTHER_NUMBER].into_iter().enumerate() {
            let named = |what: &str| format!("{what}-{tenant}-{at}");
            let tenant = || tenant.to_owned();
            things.list_id = named("list");
            let request = CreateBanListRequest {
                tenant: tenant(),
                ban_list: Some(list(&things.list_id)),
                ..Default::default()
            };
            settings.create_ban_list(request).await.expect("a list");
            let request = CreateBanRequest {
                tenant: tenant(),
                list_id: things.list_id.clone(),
                ..add(phone(number))
            };
            things.ban_id = self.ban(request).await.ban_id;
            let request = CreateExceptionRequest {
                tenant: tenant(),
                exception: Some(Exception {
                    target: Some(phone(&format!("+42077{at}555666"))),
                    comment: "our test line".to_owned(),
                    ..Default::default()
                }),
                ..Default::default()
            };
            let made = settings.create_exception(request).await;
            let made = made.expect("an exception").into_inner().exception;
            things.exception_id = made.expect("it").exception_id;
            things.queue = named("queue");
            let request = UpdateQueuePolicyRequest {
                tenant: tenant(),
                queue_policy: Some(QueuePolicy {
                    queue: things.queue.clone(),
                    channel: Channel::Call as i32,
                    record_to: RecordTo::Global as i32,
                    ..Default::default()
                }),
                ..Default::default()
            };
            settings
                .update_queue_policy(request)
                .await
                .expect("a policy");
            things.rights_profile = named("profile");
            let request = SetBanRightsRequest {
                tenant: tenant(),
                rights_profile: things.rights_profile.clone(),
                allowed_queues: vec![things.queue.clone()],
                ..Default::default()
            };
            settings.set_ban_rights(request).await.expect("rights");
            let header = Part::Header(Header {
                tenant: tenant(),
                ..Default::default()
            });
            let row = Part::Row(Row {
                row_number: 1,
                targets: vec![phone(&format!("+42078{at}555666"))],
                ..Default::default()
            });
            let parts =
                [header, row].map(|part| bancheck::api::v1::ImportBansRequest { part: Some(part) });
            let imported = admin.import_bans(tokio_stream::iter(parts)).await;
            things.import_id = imported.expect("an import").into_inner().import_id;
        }
        things
    }
}

/// What there is nowhere, named in the same way.
fn nowhere() -> Things {
    let id = || uuid::Uuid::now_v7().to_string();
    Things {
        ban_id: id(),
        list_id: "list-nowhere-1".to_owned(),
        exception_id: id(),
        import_id: id(),
        queue: "queue-nowhere-1".to_owned(),
        rights_profile: "profile-nowhere-1".to_owned(),
    }
}

/// All that is told of a thing, but for its name.
fn told(answer: Result<Option<DynamicMessage>, Status>, name: &str) -> String {
    let text = match answer {
        Ok(None) => String::new(),
        Ok(Some(message)) => lasting_text(&message),
        Err(status) => format!(
            "{:?} {} {}",
            status.code(),
            status.message(),
            String::from_utf8_lossy(status.details())
        ),
    };
    text.replace(name, "<name>")
}

/// Where a caller names what is its tenant's, and whether that is there makes a difference.
const NAMING: &[&str] = &[
    "BanInteraction queue",
    "BanInteraction rights_profile",
    "CheckInteraction queue",
    "CreateBan list_id",
    "CreateBanList ban_list.list_id",
    "DeactivateBan ban_id",
    "DeactivateBans import_id",
    "DeactivateBans list_ids",
    "DeactivateException exception_id",
    "DeleteBanList list_id",
    "ExplainInteraction check.queue",
    "ExportBans import_id",
    "ExportBans list_ids",
    "GetBan ban_id",
    "GetBanList list_id",
    "GetQueuePolicy queue",
    "ImportBans header.list_id",
    "ListBanEvents ban_id",
    "ListBans import_id",
    "ListBans list_ids",
    "PreviewBan ban.list_id",
    "PreviewExpiration list_id",
    "SetBanListQueues list_id",
    "TestBanPermission queues",
    "TestBanPermission rights_profile",
    "UpdateBan ban.ban_id",
    "UpdateBanList ban_list.list_id",
    "UpdateQueuePolicy queue_policy.queue",
];

async fn what_another_tenant_has_is_answered_like_what_there_is_nowhere(client: Client) {
    client.make_tenant(THEIRS).await;
    let ours = client.furnish(TENANT).await;
    let theirs = client.furnish(THEIRS).await;
    let nowhere = nowhere();
    let mut naming = BTreeSet::new();
    for rpc in rpcs() {
        let roads = rpc.roads();
        let dry = roads
            .iter()
            .find(|road| road.text().ends_with("validate_only"));
        let named = |road: &&Road| {
            let field = road.field();
            field.kind() == Shape::String && ours.named(field.name()).is_some()
        };
        for road in roads.iter().filter(named) {
            let told_of = async |things: &Things| {
                let name = things.named(road.field().name()).expect("a name");
                let mut messages = rpc.with(road, Value::String(name.to_owned()), &ours);
                if let Some(dry) = dry {
                    dry.put(&mut messages[0], Value::Bool(true));
                }
                told(client.call(&rpc, &messages).await, name)
            };
            let what = format!("{} {}", rpc.name, road.text());
            let of_nowhere = told_of(&nowhere).await;
            assert_eq!(told_of(&theirs).await, of_nowhere, "{what}");
            if told_of(&ours).await != of_nowhere {
                naming.insert(what);
            }
        }
    }
    for what in NAMING {
        assert!(naming.contains(*what), "{what} tells nothing apart");
    }
    let theirs = ListBansRequest {
        tenant: THEIRS.to_owned(),
        ..Default::default()
    };
    let theirs = client.admin().list_bans(theirs).await.expect("bans");
    assert_eq!(
        theirs.into_inner().total_size,
        4,
        "nothing of theirs is gone"
    );
}

async fn a_request_id_of_another_tenant_is_nobodys_here(client: Client) {
    client.make_tenant(THEIRS).await;
    let of = |tenant: &str, number| CreateBanRequest {
        tenant: tenant.to_owned(),
        request_id: "r-1".to_owned(),
        ..add(phone(number))
    };
    let theirs = client.ban(of(THEIRS, NUMBER)).await;
    let ours = client.ban(of(TENANT, OTHER_NUMBER)).await;
    assert_ne!(ours.ban_id, theirs.ban_id);
    assert_eq!(ours.targets[0].canonical, OTHER_NUMBER);
}

async fn a_page_token_of_another_tenant_or_another_question_opens_no_page(client: Client) {
    client.make_tenant(THEIRS).await;
    client.furnish(TENANT).await;
    client.furnish(THEIRS).await;
    let paged = |rpc: &Rpc| {
        let has = |name| rpc.input.get_field_by_name(name).is_some();
        has("page_token") && has("tenant")
    };
    let rpcs: Vec<_> = rpcs().into_iter().filter(paged).collect();
    assert_eq!(rpcs.len(), 6, "a list more, or one less");
    let ask = async |rpc: &Rpc, tenant: &str, page_token: &str| {
        let mut message = DynamicMessage::new(rpc.input.clone());
        message.set_field_by_name("tenant", Value::String(tenant.to_owned()));
        message.set_field_by_name("page_size", Value::I32(1));
        message.set_field_by_name("page_token", Value::String(page_token.to_owned()));
        client.call(rpc, &[message]).await
    };
    for rpc in &rpcs {
        let page = ask(rpc, THEIRS, "").await.expect("a page").expect("a page");
        let token = page.get_field_by_name("next_page_token").expect("a token");
        let token = token.as_str().expect("text").to_owned();
        assert_ne!(token, "", "{}", rpc.name);
        ask(rpc, THEIRS, &token).await.expect("the next page");
        let mut tries = vec![ask(rpc, TENANT, &token).await];
        for other in rpcs.iter().filter(|other| other.name != rpc.name) {
            tries.push(ask(other, THEIRS, &token).await);
        }
        for tried in tries {
            let refused = Refused::read(tried.map(tonic::Response::new));
            refused.is(Code::InvalidArgument, "PAGE_TOKEN_MISMATCH");
        }
    }
}

#[test]
fn a_consistency_token_of_another_deployment_is_refused_wherever_one_is_taken() {
    let databases = [(); 2].map(|()| Database::fresh(Kind::Sqlite));
    let here = Server::start(&config(&databases[0].place)).expect("a server");
    let there = Config {
        master_key: Some([7; 32]),
        ..config(&databases[1].place)
    };
    let there = Server::start(&there).expect("a server");
    runtime().block_on(async {
        let (client, stranger) = (here.client(), there.client());
        for client in [&client, &stranger] {
            client.make_tenant(TENANT).await;
        }
        let written = stranger.ban_fully(add(phone(NUMBER))).await.written_at;
        let token = written.expect("a token").token;
        let ours = client.furnish(TENANT).await;
        let mut refusing = Vec::new();
        for rpc in rpcs() {
            for road in rpc.roads() {
                let takes = road.field().parent_message().name() == "ConsistencyToken";
                // How fresh a batch is, is said once and by none of its items; an explanation is of
                // what the database holds now.
                let asked = road.text();
                if !takes || asked.starts_with("requests.") || asked.starts_with("check.") {
                    continue;
                }
                let messages = rpc.with(&road, Value::String(token.clone()), &ours);
                // Of a batch each item is refused for itself.
                let told = match client.call(&rpc, &messages).await {
                    Ok(answer) => answer.expect("an answer").encode_to_vec(),
                    Err(status) => status.details().to_vec(),
                };
                let told = String::from_utf8_lossy(&told);
                assert!(told.contains("TOKEN_FOREIGN"), "{}: {told}", road.text());
                refusing.push(rpc.name.clone());
            }
        }
        refusing.dedup();
        assert_eq!(
            refusing,
            [
                "CheckInteraction",
                "BatchCheckInteractions",
                "StreamCheckInteractions",
                "WatchChanges",
            ]
        );
    });
}

/// What means something to a database, if it ever gets there as more than a value.
const STATEMENTS: [&str; 3] = ["'; DROP TABLE bans; --", "\" OR 1=1 --", "\0"];

/// Fails unless an answer is one that a caller may get for what is wrong with its request.
fn is_clear(what: &str, answer: &Result<Option<DynamicMessage>, Status>) {
    let Err(status) = answer else { return };
    let ours = [
        Code::InvalidArgument,
        Code::NotFound,
        Code::AlreadyExists,
        Code::FailedPrecondition,
        Code::OutOfRange,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::Aborted,
    ];
    assert!(ours.contains(&status.code()), "{what}: {status:?}");
    let info = status.get_details_error_info();
    assert_eq!(info.expect("a reason").domain, "bancheck.v1", "{what}");
}

async fn a_statement_in_a_field_is_a_text_like_others(client: Client) {
    client.make_tenant(THEIRS).await;
    let ours = client.furnish(TENANT).await;
    client.furnish(THEIRS).await;
    let (mut answered, mut refused) = (0, 0);
    for rpc in rpcs() {
        let is_text = |road: &Road| road.field().kind() == Shape::String;
        let roads: Vec<_> = rpc.roads().into_iter().filter(is_text).collect();
        let tried = roads
            .iter()
            .flat_map(|road| STATEMENTS.map(|one| (road, one)));
        let try_one = async |&(road, statement): &(&Road, &str)| {
            let messages = rpc.with(road, Value::String(statement.to_owned()), &ours);
            let answer = client.call(&rpc, &messages).await;
            let what = format!("{} {} {statement:?}", rpc.name, road.text());
            is_clear(&what, &answer);
            answer.is_ok()
        };
        // So few at once that none waits too long for the tenant's row.
        for some in tried.collect::<Vec<_>>().chunks(8) {
            for one in join_all(some.iter().map(try_one)).await {
                answered += u32::from(one);
                refused += u32::from(!one);
            }
        }
    }
    // As many as shows that they came as far as the database.
    assert!(answered > 200 && refused > 200, "{answered}, {refused}");
    for tenant in [TENANT, THEIRS] {
        let mut question = connect(Channel::Call, phone("+420780555666"));
        tenant.clone_into(&mut question.tenant);
        assert!(denies(&client.ask(question).await), "bans are as they were");
    }
    let theirs = ListBansRequest {
        tenant: THEIRS.to_owned(),
        ..Default::default()
    };
    let theirs = client.admin().list_bans(theirs).await.expect("bans");
    assert_eq!(theirs.into_inner().total_size, 4);
    for statement in STATEMENTS.into_iter().filter(|one| !one.contains('\0')) {
        let request = CreateBanRequest {
            reason: statement.to_owned(),
            ..add(phone("+420606999888"))
        };
        let made = client.ban(request).await;
        assert_eq!(client.look(&made).await.reason, statement);
        client.lift(&made).await;
    }
}

#[test]
fn too_much_in_a_field_is_refused_or_not_kept_and_harms_nobody() {
    let database = Database::fresh(Kind::Sqlite);
    let server = Server::start(&config(&database.place)).expect("a server");
    runtime().block_on(async {
        let client = server.client();
        client.make_tenant(TENANT).await;
        too_much(client).await;
    });
    let bancheck::store::Place::Sqlite(folder) = &database.place else {
        unreachable!("an embedded store")
    };
    let files = std::fs::read_dir(folder).expect("a folder");
    let sizes = files.map(|file| file.expect("a file").metadata().expect("a size").len());
    let size: u64 = sizes.sum();
    assert!(size < 16 << 20, "{size} bytes are kept");
}

async fn too_much(client: Client) {
    let ours = client.furnish(TENANT).await;
    let long = "x".repeat(256 << 10);
    let longest = "x".repeat((4 << 20) - (4 << 10));
    let mut refused = 0;
    for rpc in rpcs() {
        let mut sizes = [&longest].into_iter().chain(std::iter::repeat(&long));
        for road in rpc.roads() {
            let what = format!("{} {}", rpc.name, road.text());
            let field = road.field();
            if field.kind() == Shape::String {
                let value = Value::String(sizes.next().expect("a text").clone());
                let answer = client.call(&rpc, &rpc.with(&road, value, &ours)).await;
                is_clear(&what, &answer);
                refused += u32::from(answer.is_err());
            }
            if field.is_list() && road.text().matches('.').count() < 2 {
                let one = match field.kind() {
                    Shape::Message(of) => Value::Message(DynamicMessage::new(of)),
                    Shape::Enum(_) => Value::EnumNumber(1),
                    _ => Value::String("x".to_owned()),
                };
                let many = Value::List(vec![one; 100_000]);
                let answer = client.call(&rpc, &rpc.with(&road, many, &ours)).await;
                is_clear(&what, &answer);
                refused += u32::from(answer.is_err());
            }
        }
    }
    // The others are not read, or answered item by item.
    assert!(refused > 150, "{refused}");
    let asked = client.turns_away(Channel::Call, phone("+420780555666"));
    assert!(asked.await, "bans are as they were");
}
