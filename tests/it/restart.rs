//! A server that ends and begins again on the same store.

use std::fs;

use bancheck::{
    api::v1::{Channel, ListBansRequest},
    config::Config,
    store::Place,
};
use sqlx::Connection as _;

use crate::{
    database::{Database, Kind},
    freshness::at_least,
    requests::{NUMBER, add, add_to, connect, decided_by, denies, enter, list, phone},
    server::{Server, TENANT, config, runtime},
};

on_both_stores!(run by crate::restart::by_itself:
    a_ban_outlives_the_server,
    lists_and_relations_outlive_the_server,
    a_token_outlives_the_server,
    another_master_key_is_refused,
    without_a_master_key_an_embedded_store_makes_its_own_and_postgres_asks_for_one,
    an_embedded_store_serves_one_server_at_a_time,
    an_older_version_runs_and_starts_on_a_newer_schema_until_something_it_needs_is_gone,
);

/// Hands a test an empty database and no server.
pub(crate) fn by_itself(kind: Kind, test: fn(&Database)) {
    test(&Database::fresh(kind));
}

fn started(database: &Database) -> Server {
    Server::start(&config(&database.place)).expect("a server")
}

fn a_ban_outlives_the_server(database: &Database) {
    let first = started(database);
    let ban = runtime().block_on(async {
        let client = first.client();
        client.make_tenant(TENANT).await;
        client.ban(add(phone(NUMBER))).await
    });
    drop(first);
    let second = started(database);
    runtime().block_on(async {
        let client = second.client();
        let answer = client.ask(connect(Channel::Call, phone(NUMBER))).await;
        assert_eq!(decided_by(&answer), ban.ban_id);
        assert_eq!(
            client.found(ListBansRequest::default()).await.0,
            [&*ban.ban_id]
        );
        client.lift(&ban).await;
        assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
    });
}

fn lists_and_relations_outlive_the_server(database: &Database) {
    let first = started(database);
    runtime().block_on(async {
        let client = first.client();
        client.make_tenant(TENANT).await;
        client.make_list(list("trolls")).await;
        client.relate("trolls", &["sales"]).await;
        client.ban(add_to("trolls", phone(NUMBER))).await;
    });
    drop(first);
    let second = started(database);
    runtime().block_on(async {
        let client = second.client();
        assert!(denies(
            &client
                .ask(enter("sales", Channel::Call, phone(NUMBER)))
                .await
        ));
        assert!(!denies(
            &client
                .ask(enter("support", Channel::Call, phone(NUMBER)))
                .await
        ));
    });
}

fn a_token_outlives_the_server(database: &Database) {
    let first = started(database);
    let token = runtime().block_on(async {
        let client = first.client();
        client.make_tenant(TENANT).await;
        client.ban_fully(add(phone(NUMBER))).await.written_at
    });
    drop(first);
    let second = started(database);
    runtime().block_on(async {
        let client = second.client();
        let question = at_least(token.clone(), connect(Channel::Call, phone(NUMBER)));
        let answer = client.ask(question).await;
        assert!(denies(&answer));
        assert!(answer.checked_at.unwrap().token >= token.unwrap().token);
    });
}

/// What a server that must not start says.
fn complaint(config: &Config) -> String {
    let Err(error) = Server::start(config) else {
        panic!("this server should not have started")
    };
    format!("{error:#}")
}

fn another_master_key_is_refused(database: &Database) {
    drop(started(database));
    let other = Config {
        master_key: Some([7; 32]),
        ..config(&database.place)
    };
    let complaint = complaint(&other);
    assert!(complaint.contains("master key"), "{complaint}");
    drop(started(database));
}

fn without_a_master_key_an_embedded_store_makes_its_own_and_postgres_asks_for_one(
    database: &Database,
) {
    let keyless = Config {
        master_key: None,
        ..config(&database.place)
    };
    match &database.place {
        Place::Sqlite(folder) => {
            // What a start leaves that was cut off while it made the key.
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join("master.key.new"), "").unwrap();
            // The second start reads the key that the first one made.
            drop(Server::start(&keyless).unwrap());
            drop(Server::start(&keyless).unwrap());
        }
        Place::Postgres { .. } => {
            let complaint = complaint(&keyless);
            assert!(complaint.contains("BANCHECK_MASTER_KEY"), "{complaint}");
        }
    }
}

fn an_embedded_store_serves_one_server_at_a_time(database: &Database) {
    let _first = started(database);
    match &database.place {
        Place::Sqlite(_) => {
            let complaint = complaint(&config(&database.place));
            assert!(complaint.contains("another bancheck"), "{complaint}");
        }
        Place::Postgres { .. } => drop(started(database)),
    }
}

/// Does to a database what another version's migrations would.
pub(crate) fn change(place: &Place, statements: &[&str]) {
    sqlx::any::install_default_drivers();
    let url = match place {
        Place::Sqlite(folder) => format!("sqlite://{}", folder.join("bancheck.db").display()),
        Place::Postgres { url, .. } => url.clone(),
    };
    runtime().block_on(async {
        let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
        for statement in statements {
            let statement = sqlx::AssertSqlSafe((*statement).to_owned());
            sqlx::raw_sql(statement)
                .execute(&mut connection)
                .await
                .unwrap();
        }
    });
}

fn an_older_version_runs_and_starts_on_a_newer_schema_until_something_it_needs_is_gone(
    database: &Database,
) {
    let checksum = match &database.place {
        Place::Sqlite(_) => "x'07'",
        Place::Postgres { .. } => "'\\x07'",
    };
    let tomorrow = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9000, 'colours', true, {checksum}, 1)"
    );
    let first = started(database);
    runtime().block_on(async { first.client().make_tenant(TENANT).await });
    change(
        &database.place,
        &["ALTER TABLE bans ADD COLUMN colour bigint", &tomorrow],
    );
    let ban = runtime().block_on(async {
        let client = first.client();
        let ban = client.ban(add(phone(NUMBER))).await;
        assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
        ban
    });
    drop(first);
    let second = started(database);
    runtime().block_on(async {
        let client = second.client();
        let answer = client.ask(connect(Channel::Call, phone(NUMBER))).await;
        assert_eq!(decided_by(&answer), ban.ban_id);
        client.lift(&ban).await;
        client.ban(add(phone(NUMBER))).await;
    });
    drop(second);
    change(
        &database.place,
        &["UPDATE _sqlx_migrations SET description = 'contract colours' WHERE version = 9000"],
    );
    let complaint = complaint(&config(&database.place));
    assert!(complaint.contains("later version"), "{complaint}");
}
