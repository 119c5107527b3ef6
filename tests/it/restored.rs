//! A backup that is made while servers run, and put back: with Postgres under a server that goes on.

use std::{fs, path::Path, process::Command};

use crate::{
    database::Database,
    freshness::at_least,
    requests::{NUMBER, OTHER_NUMBER, add, connect, denies, phone},
    restart::change,
    server::{Server, TENANT, config, runtime},
};
use bancheck::{
    api::v1::{Channel, DecisionBasis},
    store::Place,
};

on_both_stores!(run by crate::restart::by_itself:
    a_backup_that_is_put_back_is_noticed_and_what_it_lacks_is_not_pretended,
);

/// A program of Postgres, told which database.
#[expect(
    clippy::disallowed_methods,
    reason = "the test command says here where Postgres is"
)]
fn postgres(program: &str, url: &str, words: &[&str]) {
    let bin = std::env::var("BANCHECK_TEST_POSTGRES_BIN")
        .expect("BANCHECK_TEST_POSTGRES_BIN is not set: run the tests by `tests/run`");
    let mut command = Command::new(Path::new(&bin).join(program));
    let ended = command.args(["--dbname", url]).args(words).output();
    let ended = ended.expect("a program of Postgres");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{program}: {said}");
}

fn back_up(place: &Place, to: &str) {
    match place {
        Place::Sqlite(_) => change(place, &[&format!("VACUUM INTO '{to}'")]),
        Place::Postgres { url, .. } => postgres("pg_dump", url, &["--format=custom", "--file", to]),
    }
}

fn put_back(place: &Place, from: &str) {
    match place {
        Place::Sqlite(folder) => {
            // The last of the old server's connections takes its log with it; one that closed later
            // would write what it holds into the copy.
            while folder.join("bancheck.db-wal").exists() {}
            fs::copy(from, folder.join("bancheck.db")).expect("a copy");
        }
        Place::Postgres { url, .. } => {
            let words = ["--clean", "--if-exists", "--single-transaction", from];
            postgres("pg_restore", url, &words);
        }
    }
}

fn a_backup_that_is_put_back_is_noticed_and_what_it_lacks_is_not_pretended(database: &Database) {
    let keep = tempfile::tempdir().expect("a folder");
    let copy = keep.path().join("copy");
    let copy = copy.to_str().expect("a path");
    let server = Server::start(&config(&database.place)).expect("a server");
    runtime().block_on(async {
        let client = server.client();
        client.make_tenant(TENANT).await;
        client.ban(add(phone(NUMBER))).await;
    });
    back_up(&database.place, copy);
    let lost =
        runtime().block_on(async { server.client().ban_fully(add(phone(OTHER_NUMBER))).await });
    let server = match &database.place {
        Place::Sqlite(_) => {
            drop(server);
            put_back(&database.place, copy);
            Server::start(&config(&database.place)).expect("a server")
        }
        Place::Postgres { .. } => {
            put_back(&database.place, copy);
            server
        }
    };
    runtime().block_on(async {
        let client = server.client();
        let question = || connect(Channel::Call, phone(OTHER_NUMBER));
        // What was lost is seen to be lost, and then for good.
        while denies(&client.ask(question()).await) {}
        // Its token is of a history that is over: it asks for all that there is now.
        let answer = client.ask(at_least(lost.written_at, question())).await;
        assert!(!denies(&answer));
        let kept = client.ask(connect(Channel::Call, phone(NUMBER))).await;
        assert!(denies(&kept));
        assert_eq!(kept.basis(), DecisionBasis::Fresh);
        let again = client.ban_fully(add(phone(OTHER_NUMBER))).await;
        assert!(denies(
            &client.ask(at_least(again.written_at, question())).await
        ));
    });
}
