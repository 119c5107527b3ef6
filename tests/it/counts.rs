//! How often bans match, as whoever looks a ban up is told.

use bancheck::api::v1::{
    Ban, Channel, CreateBanRequest, GetBanRequest, ListBansRequest, ban::Enforcement,
};

use crate::{
    database::{Database, Kind},
    requests::{NUMBER, OTHER_NUMBER, add, add_to, connect, list, phone, visitor, when},
    server::{Client, Server, TENANT, config, runtime},
};

on_both_stores!(run by crate::counts::by_itself:
    a_ban_tells_how_often_and_when_it_matched_also_when_the_server_ends_at_once,
    a_shadow_ban_is_counted_and_one_that_decided_nothing_is_not,
    matches_are_written_down_while_the_server_runs,
);

/// Hands a test an empty database and no server.
pub(crate) fn by_itself(kind: Kind, test: fn(&Database)) {
    test(&Database::fresh(kind));
}

async fn found(client: &Client, ban: &Ban) -> Ban {
    let request = GetBanRequest {
        tenant: TENANT.to_owned(),
        ban_id: ban.ban_id.clone(),
    };
    let found = client.admin().get_ban(request).await;
    found.expect("an answer").into_inner().ban.expect("the ban")
}

fn shadow(number: &str) -> CreateBanRequest {
    CreateBanRequest {
        enforcement: Enforcement::Shadow as i32,
        ..add(phone(number))
    }
}

/// Makes bans and checks with one server, which ends, and tells what another one says of the bans.
fn counted(database: &Database, checks: impl AsyncFnOnce(&Client) -> Vec<Ban>) -> Vec<Ban> {
    let first = Server::start(&config(&database.place)).expect("a server");
    let bans = runtime().block_on(async {
        let client = first.client();
        client.make_tenant(TENANT).await;
        checks(&client).await
    });
    drop(first);
    let second = Server::start(&config(&database.place)).expect("a server");
    runtime().block_on(async {
        let client = second.client();
        let mut counted = Vec::new();
        for ban in &bans {
            counted.push(found(&client, ban).await);
        }
        counted
    })
}

fn a_ban_tells_how_often_and_when_it_matched_also_when_the_server_ends_at_once(
    database: &Database,
) {
    let mut made = None;
    let counted = counted(database, async |client| {
        let ban = client.ban(add(phone(NUMBER))).await;
        let other = client.ban(add(phone(OTHER_NUMBER))).await;
        for _ in 0..3 {
            assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
        }
        assert!(client.turns_away(Channel::Sms, phone(NUMBER)).await);
        made = Some(ban.clone());
        vec![ban, other]
    });
    let made = made.expect("a ban");
    let [matched, other] = counted.as_slice() else {
        panic!("{counted:?}");
    };
    assert_eq!(matched.match_count, 4);
    assert!(when(matched.last_match_time) > when(made.create_time));
    assert_eq!(
        (&matched.etag, matched.update_time),
        (&made.etag, made.update_time)
    );
    assert_eq!((other.match_count, other.last_match_time), (0, None));
}

fn a_shadow_ban_is_counted_and_one_that_decided_nothing_is_not(database: &Database) {
    let counted = counted(database, async |client| {
        client.make_list(list("calm")).await;
        let watching = client.ban(shadow(NUMBER)).await;
        let deciding = client.ban(add(phone(NUMBER))).await;
        // In a list that no queue checks.
        let idle = client.ban(add_to("calm", phone(NUMBER))).await;
        for _ in 0..2 {
            let answer = client.ask(connect(Channel::Call, phone(NUMBER))).await;
            assert_eq!(answer.shadow_matches.len(), 1);
        }
        client.lift(&deciding).await;
        assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
        assert!(
            !client
                .turns_away(Channel::WebChat, visitor(crate::requests::TOKEN))
                .await
        );
        vec![watching, deciding, idle]
    });
    let counts: Vec<_> = counted.iter().map(|ban| ban.match_count).collect();
    assert_eq!(counts, [3, 2, 0]);
}

fn matches_are_written_down_while_the_server_runs(database: &Database) {
    let server = Server::start(&config(&database.place)).expect("a server");
    runtime().block_on(async {
        let client = server.client();
        client.make_tenant(TENANT).await;
        let ban = client.ban(add(phone(NUMBER))).await;
        assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
        while found(&client, &ban).await.match_count == 0 {
            tokio::task::yield_now().await;
        }
        let request = ListBansRequest {
            tenant: TENANT.to_owned(),
            ..Default::default()
        };
        let page = client.admin().list_bans(request).await.expect("a page");
        assert_eq!(page.into_inner().bans[0].match_count, 1);
    });
}
