//! Forgetting a person: what goes, what stays in force, and that nothing kept tells of it.

use std::{path::Path, process::Command, time::Duration};

use bancheck::{
    api::v1::{
        Ban, BanInteractionRequest, Channel, CreateBanRequest, CreateExceptionRequest,
        EraseSubjectRequest, EraseSubjectResponse, Exception, ExportSubjectRequest, GetBanRequest,
        Identity, IdentityKind, ListBanEventsRequest, MatchKind, WatchChangesRequest,
        ban_change::Kind as ChangeKind, export_subject_response::Item,
        privacy_service_client::PrivacyServiceClient, watch_changes_response::Update,
        watch_service_client::WatchServiceClient,
    },
    store::Place,
};
use tokio::time::timeout;
use tonic::{Code, Response, Status, transport::Channel as Line};

use crate::{
    database::{Database, Kind},
    refused::Refused,
    requests::{NUMBER, add, after, connect, denies, identity, mail, phone, until, when},
    server::{Client, Server, TENANT, config, runtime},
};

on_both_stores!(run by crate::erasing::run:
    m29_an_erased_customer_kept_by_hash_is_banned_still_and_told_of_nowhere,
    m29_without_being_kept_a_ban_goes_with_its_customer,
    p11_a_ban_goes_on_without_the_session_it_came_from,
    a_ban_on_others_as_well_stays_on_those,
    what_has_ended_goes_in_any_case,
    an_erased_customer_is_spared_no_longer,
    who_was_erased_is_banned_alike_by_no_second_ban,
    a_watcher_is_told_that_a_ban_was_erased,
);

/// What nobody but the erased customer is, as it is written, and as it is kept.
const SPELT: &str = "+420 604 711 223";
pub(crate) const DIGITS: &str = "604711223";
const WORDS: &str = "Wolfeschlegelstein shouted";
const SESSION: &str = "session-of-Wolfeschlegelstein";
/// What the database may hold of none of it once the customer is erased.
const TELLING: [&str; 4] = [DIGITS, SPELT, "Wolfeschlegelstein", SESSION];
/// Within this anything that is awaited here has happened.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test whose customer is erased in it, then looks through a dump of the database.
fn run(kind: Kind, test: impl AsyncFnOnce(Client)) {
    let database = Database::fresh(kind);
    let server = Server::start(&config(&database.place)).expect("a server");
    runtime().block_on(async {
        let client = server.client();
        client.make_tenant(TENANT).await;
        test(client).await;
    });
    drop(server);
    let dump = dump(&database.place);
    assert!(
        dump.windows(TENANT.len())
            .any(|part| part == TENANT.as_bytes()),
        "the dump tells of the tenant"
    );
    for word in TELLING {
        let found = dump
            .windows(word.len())
            .position(|part| part == word.as_bytes());
        if let Some(at) = found {
            let around = &dump[at.saturating_sub(300)..dump.len().min(at + 100)];
            panic!("{word} is there still: {}", String::from_utf8_lossy(around));
        }
    }
}

/// All that a database holds: the file itself, or what Postgres' own program writes down.
#[expect(
    clippy::disallowed_methods,
    reason = "the test command says here where Postgres is"
)]
fn dump(place: &Place) -> Vec<u8> {
    match place {
        Place::Sqlite(folder) => {
            let read = |name: &str| std::fs::read(folder.join(name)).unwrap_or_default();
            [read("bancheck.db"), read("bancheck.db-wal")].concat()
        }
        Place::Postgres { url, .. } => {
            let folder = std::env::var("BANCHECK_TEST_POSTGRES_BIN").expect(
                "BANCHECK_TEST_POSTGRES_BIN is not set: run the tests by `tests/run`, or set it to the \
                 folder of Postgres' programs",
            );
            let dumped = Command::new(Path::new(&folder).join("pg_dump"))
                .args(["--inserts", "--data-only", url])
                .output()
                .expect("pg_dump runs");
            let said = String::from_utf8_lossy(&dumped.stderr);
            assert!(dumped.status.success(), "{said}");
            dumped.stdout
        }
    }
}

pub(crate) fn erasing(identities: Vec<Identity>, keep: bool) -> EraseSubjectRequest {
    EraseSubjectRequest {
        tenant: TENANT.to_owned(),
        identities,
        keep_enforcing_by_hash: keep,
        ..EraseSubjectRequest::default()
    }
}

pub(crate) fn customer() -> Identity {
    identity(IdentityKind::PhoneNumber, SPELT)
}

/// A ban on the customer in every word that can be written of one.
pub(crate) fn ban_in_many_words() -> CreateBanRequest {
    CreateBanRequest {
        reason: WORDS.to_owned(),
        request_id: "made once".to_owned(),
        ..add(customer())
    }
}

impl Client {
    pub(crate) fn privacy(&self) -> PrivacyServiceClient<Line> {
        PrivacyServiceClient::new(self.admin_listener.clone())
    }

    pub(crate) async fn erase(
        &self,
        identities: Vec<Identity>,
        keep: bool,
    ) -> EraseSubjectResponse {
        let erased = self
            .privacy()
            .erase_subject(erasing(identities, keep))
            .await;
        erased.expect("erased").into_inner()
    }

    async fn get(&self, ban: &Ban) -> Result<Ban, Status> {
        let request = GetBanRequest {
            tenant: TENANT.to_owned(),
            ban_id: ban.ban_id.clone(),
        };
        let found = self.admin().get_ban(request).await?;
        Ok(found.into_inner().ban.expect("a ban"))
    }

    async fn actions(&self, ban: &Ban) -> Vec<String> {
        let request = ListBanEventsRequest {
            tenant: TENANT.to_owned(),
            ban_id: ban.ban_id.clone(),
            ..ListBanEventsRequest::default()
        };
        let events = self.admin().list_ban_events(request).await.expect("events");
        let events = events.into_inner().events.into_iter();
        events
            .map(|event| {
                assert_eq!(event.comment, "", "{}", event.action);
                event.action
            })
            .collect()
    }

    pub(crate) async fn disclosed(&self, who: Identity) -> Vec<Item> {
        let request = ExportSubjectRequest {
            tenant: TENANT.to_owned(),
            identities: vec![who],
        };
        let told = self.privacy().export_subject(request).await;
        let mut told = told.expect("told").into_inner();
        let mut items = Vec::new();
        while let Some(item) = told.message().await.expect("an item") {
            items.push(item.item.expect("something"));
        }
        items
    }
}

async fn m29_an_erased_customer_kept_by_hash_is_banned_still_and_told_of_nowhere(client: Client) {
    let ban = client.ban(ban_in_many_words()).await;
    let ends = after(client.clock().await, 86_400);
    let request = EraseSubjectRequest {
        hash_expire_time: Some(ends),
        ..erasing(vec![customer()], true)
    };
    let erased = client.privacy().erase_subject(request).await;
    let erased = erased.expect("erased").into_inner();
    assert_eq!((erased.bans_erased, erased.bans_kept_hashed), (0, 1));
    assert!(erased.written_at.is_some());
    assert!(client.turns_away(Channel::Call, customer()).await);
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
    let kept = client.get(&ban).await.expect("it is there");
    assert_eq!(kept.targets.len(), 1);
    assert_eq!(kept.targets[0].canonical, "");
    assert_eq!(kept.reason, "");
    assert_eq!(when(kept.expire_time), when(Some(ends)));
    assert_ne!(kept.etag, ban.etag);
    assert!(client.actions(&ban).await.contains(&"ERASED".to_owned()));
    // Found by his number still, if he asks again: this time nothing is kept.
    let erased = client.erase(vec![customer()], false).await;
    assert_eq!((erased.bans_erased, erased.bans_kept_hashed), (1, 0));
    assert!(!client.turns_away(Channel::Call, customer()).await);
}

async fn m29_without_being_kept_a_ban_goes_with_its_customer(client: Client) {
    let ban = client.ban(ban_in_many_words()).await;
    client.lift(&ban).await;
    let standing = client
        .ban(CreateBanRequest {
            request_id: "made again".to_owned(),
            ..ban_in_many_words()
        })
        .await;
    assert!(client.turns_away(Channel::Call, customer()).await);
    let erased = client.erase(vec![customer()], false).await;
    assert_eq!((erased.bans_erased, erased.bans_kept_hashed), (2, 0));
    assert!(erased.events_redacted >= 1, "{erased:?}");
    assert!(!client.turns_away(Channel::Call, customer()).await);
    for gone in [&ban, &standing] {
        let found = client.get(gone).await.map(Response::new);
        Refused::read(found).is(Code::NotFound, "BAN_NOT_FOUND");
    }
    assert!(client.disclosed(customer()).await.is_empty());
    // The customer may be banned anew.
    let again = client.ban(add(phone(NUMBER))).await;
    assert_ne!(again.ban_id, standing.ban_id);
}

async fn p11_a_ban_goes_on_without_the_session_it_came_from(client: Client) {
    let button = BanInteractionRequest {
        tenant: TENANT.to_owned(),
        channel: Channel::Call as i32,
        interaction_id: SESSION.to_owned(),
        live: true,
        identities: vec![customer()],
        reason: WORDS.to_owned(),
        ..BanInteractionRequest::default()
    };
    let made = client.admin().ban_interaction(button).await;
    let ban = made.expect("a ban").into_inner().bans.remove(0);
    assert_eq!(ban.source_interaction_id, SESSION);
    client.erase(vec![customer()], true).await;
    assert!(client.turns_away(Channel::Call, customer()).await);
    let kept = client.get(&ban).await.expect("it is there");
    assert_eq!(kept.source_interaction_id, "");
}

async fn a_ban_on_others_as_well_stays_on_those(client: Client) {
    let both = CreateBanRequest {
        targets: vec![customer(), mail("someone@else.example")],
        reason: WORDS.to_owned(),
        ..add(customer())
    };
    let ban = client.ban(both.clone()).await;
    let erased = client.erase(vec![customer()], false).await;
    assert_eq!((erased.bans_erased, erased.bans_kept_hashed), (0, 0));
    assert!(!client.turns_away(Channel::Call, customer()).await);
    let other = connect(Channel::Email, mail("someone@else.example"));
    assert!(denies(&client.ask(other).await));
    let kept = client.get(&ban).await.expect("it is there");
    let texts: Vec<_> = kept
        .targets
        .iter()
        .map(|one| one.canonical.as_str())
        .collect();
    assert_eq!(texts, ["", "someone@else.example"]);
    // What is left is not like a ban on both.
    let again = CreateBanRequest {
        validate_only: true,
        request_id: String::new(),
        ..both
    };
    let again = client.admin().create_ban(again).await;
    again.expect("a ban that could be made");
}

async fn what_has_ended_goes_in_any_case(client: Client) {
    let ends = after(client.clock().await, 3_600);
    let ban = client.ban(until(ends, ban_in_many_words())).await;
    client.lift(&ban).await;
    let erased = client.erase(vec![customer()], true).await;
    assert_eq!((erased.bans_erased, erased.bans_kept_hashed), (1, 0));
    let found = client.get(&ban).await.map(Response::new);
    Refused::read(found).is(Code::NotFound, "BAN_NOT_FOUND");
}

pub(crate) fn spared() -> CreateExceptionRequest {
    CreateExceptionRequest {
        tenant: TENANT.to_owned(),
        exception: Some(Exception {
            target: Some(customer()),
            match_kind: MatchKind::Exact as i32,
            channels: vec![Channel::Call as i32],
            comment: WORDS.to_owned(),
            ..Exception::default()
        }),
        ..CreateExceptionRequest::default()
    }
}

async fn an_erased_customer_is_spared_no_longer(client: Client) {
    let prefix = CreateBanRequest {
        match_kind: MatchKind::Prefix as i32,
        ..add(phone("+4206047"))
    };
    client.ban(prefix).await;
    let made = client.config().create_exception(spared()).await;
    made.expect("an exception");
    assert!(!client.turns_away(Channel::Call, customer()).await);
    // Kept by its hash it spares him still.
    client.erase(vec![customer()], true).await;
    assert!(!client.turns_away(Channel::Call, customer()).await);
    client.erase(vec![customer()], false).await;
    assert!(client.turns_away(Channel::Call, customer()).await);
}

async fn who_was_erased_is_banned_alike_by_no_second_ban(client: Client) {
    let ban = client.ban(ban_in_many_words()).await;
    client.erase(vec![customer()], true).await;
    let again = CreateBanRequest {
        request_id: String::new(),
        ..ban_in_many_words()
    };
    let again = client.admin().create_ban(again).await;
    let refused = Refused::read(again);
    refused.is(Code::AlreadyExists, "DUPLICATE_ACTIVE_BAN");
    // What somebody writes on it does not bring him back, and two such bans are not alike.
    let other = client.ban(add(phone(NUMBER))).await;
    client.erase(vec![phone(NUMBER)], true).await;
    for ban in [&ban, &other] {
        let mut edit =
            crate::requests::change(client.get(ban).await.expect("a ban"), "reason_code");
        if let Some(ban) = &mut edit.ban {
            "ABUSE".clone_into(&mut ban.reason_code);
        }
        client.admin().update_ban(edit).await.expect("an edit");
    }
    assert!(client.turns_away(Channel::Call, customer()).await);
}

async fn a_watcher_is_told_that_a_ban_was_erased(client: Client) {
    let ban = client.ban(ban_in_many_words()).await;
    let request = WatchChangesRequest {
        tenant: TENANT.to_owned(),
        ..WatchChangesRequest::default()
    };
    let mut watching = WatchServiceClient::new(client.admin_listener.clone());
    let begun = watching.watch_changes(request).await;
    let mut changes = begun.expect("a watch").into_inner();
    client.erase(vec![customer()], false).await;
    let told = loop {
        let next = timeout(PATIENCE, changes.message()).await.expect("in time");
        let next = next.expect("a change").expect("it goes on");
        if let Some(Update::BanChange(change)) = next.update {
            break change;
        }
    };
    assert_eq!(told.kind(), ChangeKind::Erased);
    assert_eq!(told.ban.expect("the ban").ban_id, ban.ban_id);
}
