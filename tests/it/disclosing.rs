//! What is kept of a person, told; and what was erased, erased again after a restore.

use std::process::Command;

use bancheck::{
    api::v1::{Channel, EraseSubjectRequest, Identity, export_subject_response::Item},
    store::Place,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};
use tonic::Code;

use crate::{
    database::{Database, Kind},
    erasing::{DIGITS, ban_in_many_words, customer, erasing, spared},
    refused::Refused,
    requests::{NUMBER, OTHER_NUMBER, add, phone},
    server::{Client, MASTER_KEY, Server, TENANT, config, runtime},
};

on_both_stores!(
    a_person_is_told_all_that_is_kept_and_nothing_of_another,
    what_makes_no_sense_is_refused_and_a_trial_erases_nothing,
);

async fn a_person_is_told_all_that_is_kept_and_nothing_of_another(client: Client) {
    let lifted = client.ban(ban_in_many_words()).await;
    client.lift(&lifted).await;
    client.ban(add(phone(NUMBER))).await;
    let made = client.config().create_exception(spared()).await;
    made.expect("an exception");
    let (mut bans, mut exceptions, mut actions) = (Vec::new(), 0, Vec::new());
    for item in client.disclosed(customer()).await {
        match item {
            Item::Ban(ban) => bans.push(ban.ban_id),
            Item::Exception(_) => exceptions += 1,
            Item::Event(event) => actions.push((event.ban_id, event.action)),
        }
    }
    assert_eq!(bans, std::slice::from_ref(&lifted.ban_id));
    assert_eq!(exceptions, 1);
    assert!(actions.iter().all(|(ban, _)| *ban == lifted.ban_id));
    let actions: Vec<_> = actions.iter().map(|(_, action)| action.as_str()).collect();
    assert_eq!(actions, ["CREATED", "DEACTIVATED"]);
}

async fn what_makes_no_sense_is_refused_and_a_trial_erases_nothing(client: Client) {
    client.ban(ban_in_many_words()).await;
    let good = erasing(vec![customer()], false);
    let no_kind = Identity {
        kind: 0,
        ..customer()
    };
    let early = Some(prost_types::Timestamp::default());
    for (request, reason, field) in [
        (erasing(Vec::new(), false), "FIELD_REQUIRED", "identities"),
        (
            erasing(vec![no_kind], false),
            "FIELD_REQUIRED",
            "identities[0].kind",
        ),
        (
            erasing(vec![customer(); 17], false),
            "TOO_MANY_ITEMS",
            "identities",
        ),
        (
            EraseSubjectRequest {
                hash_expire_time: early,
                ..good.clone()
            },
            "FIELD_INVALID",
            "hash_expire_time",
        ),
        (
            EraseSubjectRequest {
                hash_expire_time: early,
                ..erasing(vec![customer()], true)
            },
            "EXPIRE_TIME_IN_PAST",
            "hash_expire_time",
        ),
    ] {
        let refused = Refused::read(client.privacy().erase_subject(request).await);
        refused.is(Code::InvalidArgument, reason);
        refused.blames(field);
    }
    let tried = EraseSubjectRequest {
        validate_only: true,
        ..good
    };
    let tried = client.privacy().erase_subject(tried).await;
    let tried = tried.expect("tried").into_inner();
    assert_eq!((tried.bans_erased, tried.written_at), (1, None));
    assert!(client.turns_away(Channel::Call, customer()).await);
}

#[test]
fn the_command_line_tells_it_as_json_an_object_to_a_line() {
    let database = Database::fresh(Kind::Sqlite);
    let server = Server::start(&config(&database.place)).expect("a server");
    runtime().block_on(async {
        let client = server.client();
        client.make_tenant(TENANT).await;
        client.ban(add(phone(NUMBER))).await;
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_bancheck"));
    command.args(["disclose", "--kind", "phone-number", "--tenant", TENANT]);
    command
        .arg("--admin-endpoint")
        .arg(format!("http://{}", server.admin_address()))
        .arg(NUMBER);
    let told = said(&mut command);
    let kinds: Vec<_> = told
        .lines()
        .map(|line| {
            let item: Map<String, Value> = serde_json::from_str(line).expect("a JSON object");
            item.keys().next().expect("what it is").clone()
        })
        .collect();
    assert_eq!(kinds, ["ban", "event"]);
}

fn command(place: &Place, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bancheck"));
    command.args(words).env_clear();
    command.env("BANCHECK_MASTER_KEY", BASE64_STANDARD.encode(MASTER_KEY));
    match place {
        Place::Sqlite(folder) => command.args(["--data-dir"]).arg(folder),
        Place::Postgres { url, .. } => command.args(["--database-url", url]),
    };
    command
}

fn said(command: &mut Command) -> String {
    let output = command.output().expect("the command runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    String::from_utf8(output.stdout).expect("text")
}

/// An older backup comes back: what was erased since is erased again, by hashes alone.
fn what_was_erased_is_erased_again_after_a_restore(kind: Kind) {
    let (now, restored) = (Database::fresh(kind), Database::fresh(kind));
    let banned = |server: &Server| {
        runtime().block_on(async { server.client().turns_away(Channel::Call, customer()).await })
    };
    // What was and what comes back hold the same ban; only in one of them was it erased.
    for database in [&now, &restored] {
        let server = Server::start(&config(&database.place)).expect("a server");
        runtime().block_on(async {
            let client = server.client();
            client.make_tenant(TENANT).await;
            client.ban(ban_in_many_words()).await;
            client.ban(add(phone(OTHER_NUMBER))).await;
        });
        assert!(banned(&server));
    }
    let server = Server::start(&config(&now.place)).expect("a server");
    runtime().block_on(async {
        let client = server.client();
        client.erase(vec![customer()], false).await;
        client.erase(vec![phone(OTHER_NUMBER)], false).await;
    });
    drop(server);
    let lines = said(&mut command(&now.place, &["erasures", "list"]));
    assert_eq!(lines.lines().count(), 2, "a line each");
    assert!(!lines.contains(DIGITS), "{lines}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("erasures.ndjson");
    std::fs::write(&file, &lines).expect("a file");
    let mut replay = command(&restored.place, &["erasures", "replay"]);
    let told = said(replay.arg(&file));
    assert!(
        told.contains("2 erasures done again: 2 bans erased"),
        "{told}"
    );
    let server = Server::start(&config(&restored.place)).expect("a server");
    assert!(!banned(&server));
    drop(server);
    // The restored database notes it as well, and once more it does nothing more.
    let noted = said(&mut command(&restored.place, &["erasures", "list"]));
    assert_eq!(noted, lines);
    let mut replay = command(&restored.place, &["erasures", "replay"]);
    let told = said(replay.arg(&file));
    assert!(told.contains("0 bans erased"), "{told}");
}

mod restored {
    use super::{Kind, what_was_erased_is_erased_again_after_a_restore};

    #[test]
    fn on_sqlite_what_was_erased_is_erased_again_after_a_restore() {
        what_was_erased_is_erased_again_after_a_restore(Kind::Sqlite);
    }

    #[test]
    fn on_postgres_what_was_erased_is_erased_again_after_a_restore() {
        what_was_erased_is_erased_again_after_a_restore(Kind::Postgres);
    }
}
