//! `bancheck digest`: what is in the database, read beside the server that has it open.

use std::process::{Command, Output};

use bancheck::{api::v1::Channel, domain::digest::VERSION, store::Place};
use serde_json::Value;

use crate::{
    database::{Database, Kind},
    requests::{NUMBER, OTHER_NUMBER, add, phone},
    served::Pod,
    server::{TENANT, runtime},
};

fn digest(place: &Place, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bancheck"));
    command.args(["digest", "--output", "json"]).args(words);
    command.env_remove("BANCHECK_TENANT");
    match place {
        Place::Sqlite(folder) => {
            command
                .args(["--database-url", "", "--data-dir"])
                .arg(folder);
        }
        Place::Postgres { url, .. } => {
            command.args(["--database-url", url]);
        }
    }
    command.output().expect("the command runs")
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|_| {
        panic!("{text}{}", String::from_utf8_lossy(&output.stderr));
    })
}

fn verdict(output: &Output) -> String {
    let line = lines(output)
        .into_iter()
        .find(|line| line["tenant"] == TENANT);
    let line = line.expect("a line about the tenant");
    line["verdict"].as_str().expect("a verdict").to_owned()
}

/// A pod on a database of its own, where one number is banned.
fn pod_with(kind: Kind, number: &str) -> (Pod, Database) {
    let database = Database::fresh(kind);
    let pod = Pod::start(&database.place);
    runtime().block_on(async {
        let client = pod.client();
        client.make_tenant(TENANT).await;
        client.turns_away(Channel::Call, phone(NUMBER)).await;
        client.ban(add(phone(number))).await;
    });
    (pod, database)
}

fn a_pod_agrees_with_its_database_and_with_no_other(kind: Kind) {
    let (pod, database) = pod_with(kind, NUMBER);
    let (other, _others) = pod_with(kind, OTHER_NUMBER);
    let [here, there] = [&pod, &other].map(|pod| format!("http://{}", pod.metrics));

    let told = digest(&database.place, &["--tenant", TENANT]);
    assert_eq!(told.status.code(), Some(0));
    let [line] = &lines(&told)[..] else {
        panic!("one tenant is asked for")
    };
    assert_eq!(
        (&line["tenant"], &line["keys"]),
        (&TENANT.into(), &1.into())
    );
    assert!(
        line["digest"]
            .as_str()
            .is_some_and(|digest| digest.starts_with(&format!("v{VERSION}:")))
    );

    let agrees = digest(&database.place, &["--against", &here]);
    assert_eq!(verdict(&agrees), "agrees");
    assert_eq!(agrees.status.code(), Some(0));

    // The same tenant, the same number of writes, another ban.
    let differs = digest(
        &database.place,
        &["--tenant", TENANT, "--against", &here, &there],
    );
    assert_eq!(differs.status.code(), Some(1));
    let verdicts: Vec<_> = lines(&differs)
        .iter()
        .map(|line| line["verdict"].clone())
        .collect();
    assert_eq!(verdicts, ["agrees", "differs"]);
}

#[test]
fn a_pod_agrees_with_its_database_and_with_no_other_on_sqlite() {
    a_pod_agrees_with_its_database_and_with_no_other(Kind::Sqlite);
}

#[test]
fn a_pod_agrees_with_its_database_and_with_no_other_on_postgres() {
    a_pod_agrees_with_its_database_and_with_no_other(Kind::Postgres);
}

#[test]
fn a_pod_that_is_elsewhere_or_away_is_no_agreement() {
    let (pod, database) = pod_with(Kind::Sqlite, NUMBER);
    let (ahead, _others) = pod_with(Kind::Sqlite, NUMBER);
    runtime().block_on(async {
        ahead.client().ban(add(phone(OTHER_NUMBER))).await;
    });
    let there = format!("http://{}", ahead.metrics);
    let elsewhere = digest(&database.place, &["--tenant", TENANT, "--against", &there]);
    assert_eq!(verdict(&elsewhere), "at another revision");
    assert_eq!(elsewhere.status.code(), Some(1));

    let here = format!("http://{}", pod.metrics);
    drop(ahead);
    let away = digest(&database.place, &["--against", &there, "--against", &here]);
    assert_eq!(
        verdict(&away),
        "agrees",
        "the other pod is compared all the same"
    );
    assert_eq!(away.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&away.stderr).contains("does not answer"));
}

#[test]
fn a_database_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place::Sqlite(folder.path().to_owned());
    let told = digest(&place, &[]);
    assert_eq!(told.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&told.stderr).contains("no database"));
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 0);
}

#[test]
fn a_tenant_that_nobody_made_is_an_error() {
    let (_pod, database) = pod_with(Kind::Sqlite, NUMBER);
    let told = digest(&database.place, &["--tenant", "nobody"]);
    assert_eq!(told.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&told.stderr).contains("no tenant nobody"));
}
