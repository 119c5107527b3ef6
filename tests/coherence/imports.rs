//! An import that is killed in the middle, at either end, comes to the same in the end.

use std::process::{Child, Command, Stdio};

use bancheck::{
    api::v1::{
        ImportBansRequest, ImportBansResponse, ListBansRequest,
        import_bans_request::{Header, Part, Row},
    },
    store::Place,
};
use tokio::task::JoinSet;
use tokio_stream::iter;

use crate::{
    clients::{Clients, TENANT, number, run, until},
    database::{Database, Kind},
    process::Pod,
};

/// Rows of a file: some chunks, of which the last is not full.
const ROWS: usize = 9_400;

/// A pod on a database of either kind.
fn pod(database: &Database) -> Pod {
    match &database.place {
        Place::Postgres { url, .. } => Pod::start(url, true),
        Place::Sqlite(folder) => {
            let folder = folder.display().to_string();
            let variables = [("BANCHECK_DATA_DIR".to_owned(), folder)];
            Pod::start_with("", true, "info", &variables)
        }
    }
}

fn parts() -> Vec<ImportBansRequest> {
    let header = Header {
        tenant: TENANT.into(),
        request_id: "moving in".into(),
        ..Header::default()
    };
    let row = |at: usize| Row {
        row_number: i32::try_from(at + 1).expect("a small number"),
        targets: vec![bancheck::api::v1::Identity {
            kind: bancheck::api::v1::IdentityKind::PhoneNumber as i32,
            value: number(at),
            ..Default::default()
        }],
        ..Row::default()
    };
    std::iter::once(Part::Header(header))
        .chain((0..ROWS).map(row).map(Part::Row))
        .map(|part| ImportBansRequest { part: Some(part) })
        .collect()
}

/// How many bans there are.
async fn count(clients: &mut Clients) -> Option<usize> {
    let request = ListBansRequest {
        tenant: TENANT.into(),
        page_size: 1,
        ..ListBansRequest::default()
    };
    let page = clients.admin.list_bans(request).await.ok()?.into_inner();
    usize::try_from(page.total_size).ok()
}

/// Waits until some of an import is there.
async fn midway(clients: &mut Clients) {
    until(async || count(clients).await.filter(|there| *there >= 2_000)).await;
}

async fn whole(clients: &mut Clients) -> ImportBansResponse {
    let done = clients.admin.import_bans(iter(parts())).await;
    done.expect("an import").into_inner()
}

fn survives_the_death_of_the_server(kind: Kind) {
    run(async {
        let database = Database::fresh(kind);
        let first = pod(&database);
        let mut clients = Clients::of(&first).await;
        clients.make_tenant().await;
        let mut importing = clients.clone();
        let mut broken = JoinSet::new();
        broken.spawn(async move { importing.admin.import_bans(iter(parts())).await });
        midway(&mut clients).await;
        first.kill();
        let broken = broken.join_next().await.expect("an import");
        broken.expect("a task").expect_err("the server is gone");

        let second = pod(&database);
        let mut clients = Clients::of(&second).await;
        let there = until(async || count(&mut clients).await).await;
        assert!((2_000..ROWS).contains(&there), "{there} were written");
        let done = whole(&mut clients).await;
        assert_eq!(usize::try_from(done.created_count), Ok(ROWS));
        assert_eq!(done.duplicate_count, 0, "what was done counts as done");
        assert_eq!(count(&mut clients).await, Some(ROWS));
        let again = whole(&mut clients).await;
        assert_eq!(
            (again.created_count, again.import_id),
            (done.created_count, done.import_id)
        );
        assert_eq!(count(&mut clients).await, Some(ROWS));
    });
}

/// `bancheck ban import` of a file.
fn import_by_hand(pod: &Pod, file: &std::path::Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_bancheck"))
        .args(["--tenant", TENANT, "--admin-endpoint", &pod.admin])
        .args(["--output", "json", "ban", "import", "--channel", "call"])
        .arg(file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client starts")
}

fn survives_the_death_of_the_client(kind: Kind) {
    run(async {
        let database = Database::fresh(kind);
        let pod = pod(&database);
        let mut clients = Clients::of(&pod).await;
        clients.make_tenant().await;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bans.csv");
        let rows: String = (0..ROWS).map(|at| number(at) + "\n").collect();
        std::fs::write(&file, format!("number\n{rows}")).expect("a file");

        let mut first = import_by_hand(&pod, &file);
        midway(&mut clients).await;
        first.kill().expect("SIGKILL");
        first.wait().expect("its end");
        assert!(count(&mut clients).await < Some(ROWS));

        let second = import_by_hand(&pod, &file)
            .wait_with_output()
            .expect("its end");
        let told = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(second.status.success(), "{told}");
        assert!(told.contains("going on with the import"), "{told}");
        let answer: serde_json::Value =
            serde_json::from_slice(&second.stdout).expect("an answer in JSON");
        assert_eq!(
            (&answer["created"], &answer["duplicates"]),
            (&ROWS.into(), &0.into())
        );
        assert_eq!(count(&mut clients).await, Some(ROWS));

        // Done, it is a new import when it is run again.
        let third = import_by_hand(&pod, &file)
            .wait_with_output()
            .expect("its end");
        let answer: serde_json::Value =
            serde_json::from_slice(&third.stdout).expect("an answer in JSON");
        assert_eq!(
            (&answer["created"], &answer["duplicates"]),
            (&0.into(), &ROWS.into())
        );
    });
}

#[test]
fn an_import_survives_the_death_of_the_server_on_sqlite() {
    survives_the_death_of_the_server(Kind::Sqlite);
}

#[test]
fn an_import_survives_the_death_of_the_server_on_postgres() {
    survives_the_death_of_the_server(Kind::Postgres);
}

#[test]
fn an_import_survives_the_death_of_the_client_on_sqlite() {
    survives_the_death_of_the_client(Kind::Sqlite);
}

#[test]
fn an_import_survives_the_death_of_the_client_on_postgres() {
    survives_the_death_of_the_client(Kind::Postgres);
}
