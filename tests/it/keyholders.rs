//! The master key is replaced: what callers hold, and what lies in an embedded store's own folder.

use std::fs;

use bancheck::{
    api::v1::{
        Channel::Call, RevokeApiKeyRequest, RotateApiKeyRequest,
        access_service_client::AccessServiceClient, grant::Scope,
    },
    config::Config,
    store::Place,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use tonic::{Code, Response};

use crate::{
    database::{Database, Kind},
    guarded::{Guarded, asking, on_tenant, shown},
    keyring::{AFTER, BEFORE, NEW, READY, TURNED, command, is_embedded, rekey, with},
    refused::Refused,
    requests::{add, connect, phone},
    server::{Server, TENANT, config, runtime},
};

on_both_stores!(run by crate::restart::by_itself:
    an_api_key_opens_for_as_long_as_its_master_key_is_recognised,
);

fn an_api_key_opens_for_as_long_as_its_master_key_is_recognised(database: &Database) {
    let guarded = |ring| {
        let config = with(ring, asking(&database.place));
        Server::start(&config).expect("a server")
    };
    let opens = async |server: &Server, key: &str| {
        let question = shown(key, connect(Call, phone("+420601000001")));
        let asked = server.client().check().check_interaction(question).await;
        asked.map(|answer| Response::new(answer.into_inner()))
    };
    let access = |server: &Server| AccessServiceClient::new(server.client().admin_listener);
    let first = guarded(BEFORE);
    let root = first.first_key(&database.place);
    let old = runtime().block_on(async {
        let here = Guarded {
            client: first.client(),
            root: root.clone(),
        };
        here.heard_of(&root).await;
        here.make_tenant(TENANT).await;
        here.key("router", vec![on_tenant(Scope::Check)]).await
    });
    drop(first);
    drop(guarded(READY));
    let turned = guarded(TURNED);
    let (old_id, new) = runtime().block_on(async {
        opens(&turned, &old)
            .await
            .expect("its master key is recognised");
        let id = old.split('_').nth(1).expect("an id").to_owned();
        let request = RotateApiKeyRequest {
            key_id: id.clone(),
            ..Default::default()
        };
        let made = access(&turned).rotate_api_key(shown(&root, request)).await;
        (id, made.expect("a successor").into_inner().secret)
    });
    let turned = if is_embedded(database) {
        drop(turned);
        let refused = rekey(database).unwrap_err();
        assert!(refused.contains(&old_id), "{refused}");
        guarded(TURNED)
    } else {
        let refused = rekey(database).unwrap_err();
        assert!(
            refused.contains("2 API keys are locked under it"),
            "{refused}"
        );
        assert!(
            refused.contains(&format!("{old_id} of router")),
            "{refused}"
        );
        turned
    };
    let root_too = runtime().block_on(async {
        let request = RevokeApiKeyRequest {
            key_id: old_id,
            ..Default::default()
        };
        let ended = access(&turned).revoke_api_key(shown(&root, request)).await;
        ended.expect("an end");
        let request = RotateApiKeyRequest {
            key_id: root.split('_').nth(1).expect("an id").to_owned(),
            overlap: Some(prost_types::Duration {
                seconds: 0,
                nanos: 0,
            }),
            ..Default::default()
        };
        let made = access(&turned).rotate_api_key(shown(&root, request)).await;
        made.expect("a successor").into_inner().secret
    });
    drop(turned);
    let told = rekey(database).unwrap();
    assert!(
        told.contains("nothing is left under the master key"),
        "{told}"
    );
    let last = guarded(AFTER);
    runtime().block_on(async {
        for key in [&new, &root_too] {
            opens(&last, key)
                .await
                .expect("it is locked under the new key");
        }
        for key in [&old, &root] {
            Refused::read(opens(&last, key).await).is(Code::Unauthenticated, "CREDENTIAL_INVALID");
        }
    });
}

#[test]
fn an_embedded_stores_own_master_key_is_replaced_by_one_command() {
    let database = Database::fresh(Kind::Sqlite);
    let Place::Sqlite(folder) = &database.place else {
        unreachable!("it is a folder")
    };
    let own = |others: &[[u8; 32]]| Config {
        master_key: None,
        other_master_keys: others.to_vec(),
        ..config(&database.place)
    };
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("a file");
    let first = Server::start(&own(&[])).expect("a server");
    runtime().block_on(async {
        first.client().make_tenant(TENANT).await;
        first.client().ban(add(phone("+420601000001"))).await;
    });
    drop(first);
    let (old, token) = (read("master.key"), read("admin.token"));

    let given = command(&database, Some(BEFORE), &["migrate", "--new-master-key"]);
    assert!(given.is_err(), "that key is no file's");
    assert_eq!(read("master.key"), old);
    let told = command(&database, None, &["migrate", "--new-master-key"]).unwrap();
    assert!(told.contains("1 of 1 bans"), "{told}");
    assert!(
        told.contains("nothing is left under the master key"),
        "{told}"
    );
    let new = read("master.key");
    assert_eq!(new.lines().count(), 1);
    assert_ne!(new, old);

    let second = Server::start(&own(&[])).expect("a server");
    runtime().block_on(async {
        assert!(
            second
                .client()
                .turns_away(Call, phone("+420601000001"))
                .await
        );
    });
    drop(second);
    // What opens the folder was locked under the old key.
    assert_ne!(read("admin.token"), token);
    // Where it was broken off, both keys are there, and it goes on with those.
    fs::write(
        folder.join("master.key"),
        format!("{}\n{new}", STANDARD.encode(NEW)),
    )
    .unwrap();
    let told = command(&database, None, &["migrate", "--new-master-key"]).unwrap();
    assert!(told.contains("1 of 1 bans"), "{told}");
    assert_eq!(read("master.key").trim(), STANDARD.encode(NEW));
}
