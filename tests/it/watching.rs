//! What becomes of bans, as it is told to whoever mirrors them.

use std::{collections::BTreeMap, time::Duration};

use bancheck::{
    api::v1::{
        Ban, BanChange, Channel, ConsistencyToken, CreateBanRequest, DeactivateBansRequest,
        ListBansRequest, WatchChangesRequest, WatchChangesResponse, ban::State, ban_change::Kind,
        watch_changes_response::Update, watch_service_client::WatchServiceClient,
    },
    domain::clock::Timestamp,
};
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

use crate::{
    database::{Database, Kind as StoreKind},
    imports::{header, rows},
    refused::Refused,
    requests::{NUMBER, OTHER_NUMBER, add, add_on, after, change, mail, phone, until},
    server::{Client, Server, TENANT, config, runtime},
};

on_both_stores!(
    every_change_is_told_in_its_order_and_how_the_ban_stands,
    what_time_does_is_told_when_it_happens_and_again_from_a_token,
    a_snapshot_and_the_changes_after_it_come_to_what_a_list_shows,
    a_quiet_stream_tells_how_far_everything_is_known,
    a_watcher_of_a_channel_or_of_all_tenants_is_told_of_those,
    who_reads_too_slowly_is_cut_and_goes_on_from_the_last_token,
    a_token_that_is_none_is_refused,
);

/// What every test here can wait for at the most.
const PATIENCE: Duration = Duration::from_secs(30);

fn of_tenant() -> WatchChangesRequest {
    WatchChangesRequest {
        tenant: TENANT.to_owned(),
        ..Default::default()
    }
}

fn after_token(token: &str) -> WatchChangesRequest {
    WatchChangesRequest {
        start_after: Some(ConsistencyToken {
            token: token.to_owned(),
        }),
        ..of_tenant()
    }
}

struct Watched(Streaming<WatchChangesResponse>);

impl Watched {
    async fn try_next(&mut self) -> Result<(Update, String), Status> {
        let next = timeout(PATIENCE, self.0.message())
            .await
            .expect("in time")?;
        let WatchChangesResponse {
            update,
            changes_through,
        } = next.expect("a watch does not end by itself");
        Ok((
            update.expect("something"),
            changes_through.expect("always a token").token,
        ))
    }

    async fn next(&mut self) -> (Update, String) {
        self.try_next().await.expect("a change")
    }

    /// The next change, and the token after it.
    async fn change(&mut self) -> (Kind, Ban, String) {
        loop {
            match self.next().await {
                (Update::Checkpoint(_), _) => {}
                (Update::BanChange(change), token) => {
                    let kind = change.kind();
                    return (kind, change.ban.expect("a ban"), token);
                }
                (other, _) => panic!("not a change: {other:?}"),
            }
        }
    }
}

impl Client {
    async fn try_watch(&self, request: WatchChangesRequest) -> Result<Watched, Status> {
        let mut service = WatchServiceClient::new(self.admin_listener.clone());
        let answers = service.watch_changes(request).await?;
        Ok(Watched(answers.into_inner()))
    }

    async fn watch(&self, request: WatchChangesRequest) -> Watched {
        self.try_watch(request).await.expect("a watch")
    }
}

async fn every_change_is_told_in_its_order_and_how_the_ban_stands(client: Client) {
    let mut watched = client.watch(of_tenant()).await;
    let made = client.ban(add(phone(NUMBER))).await;
    let mut worse = made.clone();
    "worse than that".clone_into(&mut worse.reason);
    let request = change(worse, "reason");
    client.admin().update_ban(request).await.expect("a change");
    client.lift(&made).await;
    let imported = client.import(header(), rows(3)).await;

    let mut tokens = Vec::new();
    for expected in [Kind::Created, Kind::Updated, Kind::Deactivated] {
        let (kind, ban, token) = watched.change().await;
        assert_eq!((kind, &ban.ban_id), (expected, &made.ban_id));
        if kind != Kind::Created {
            assert_eq!(ban.reason, "worse than that");
        }
        tokens.push(token);
    }
    for _ in 0..3 {
        let (kind, ban, token) = watched.change().await;
        assert_eq!((kind, &ban.import_id), (Kind::Created, &imported.import_id));
        tokens.push(token);
    }
    assert!(tokens.is_sorted(), "{tokens:?}");
    // The next stream begins behind what was told.
    let mut again = client.watch(after_token(&tokens[1])).await;
    let (kind, ban, token) = again.change().await;
    assert_eq!((kind, &ban.ban_id), (Kind::Deactivated, &made.ban_id));
    assert_eq!(ban.state(), State::Deactivated);
    assert_eq!(token, tokens[2]);
    let mut last = client.watch(after_token(&tokens[5])).await;
    client.ban(add(phone(OTHER_NUMBER))).await;
    let (kind, ..) = last.change().await;
    assert_eq!(kind, Kind::Created);
}

/// What a mirror knows: the bans that stand.
#[derive(Default)]
struct Mirror {
    bans: BTreeMap<String, Ban>,
    through: String,
    complete: bool,
}

impl Mirror {
    fn take(&mut self, (update, token): (Update, String)) {
        match update {
            Update::SnapshotBan(ban) => _ = self.bans.insert(ban.ban_id.clone(), ban),
            Update::SnapshotEnd(_) => self.complete = true,
            Update::BanChange(BanChange { ban, .. }) => {
                let ban = ban.expect("a ban");
                if matches!(ban.state(), State::Active | State::Scheduled) {
                    self.bans.insert(ban.ban_id.clone(), ban);
                } else {
                    self.bans.remove(&ban.ban_id);
                }
            }
            Update::Checkpoint(_) => {}
        }
        assert!(self.through <= token, "C-2: a token does not go back");
        self.through = token;
    }
}

async fn what_time_does_is_told_when_it_happens_and_again_from_a_token(client: Client) {
    let mut watched = client.watch(of_tenant()).await;
    let now = client.clock().await;
    let request = CreateBanRequest {
        start_time: Some(after(now, 1)),
        ..until(after(now, 2), add(phone(NUMBER)))
    };
    let ban = client.ban(request).await;
    let (kind, seen, made) = watched.change().await;
    assert_eq!((kind, seen), (Kind::Created, ban.clone()));
    let mut again = client.watch(after_token(&made)).await;
    for stream in [&mut watched, &mut again] {
        for kind in [Kind::Started, Kind::Expired] {
            let (told, seen, token) = stream.change().await;
            assert_eq!((told, &seen.ban_id), (kind, &ban.ban_id));
            assert!(token > made, "what was known before is not told again");
            // How it stands is told as of when it is read.
            assert_ne!(seen.state(), State::Scheduled);
        }
    }
}

async fn a_snapshot_and_the_changes_after_it_come_to_what_a_list_shows(client: Client) {
    client.import(header(), rows(400)).await;
    let mut mirror = Mirror::default();
    let request = WatchChangesRequest {
        send_initial_snapshot: true,
        ..of_tenant()
    };
    let mut watched = client.watch(request).await;
    // Any choice will do that is the same every time.
    let mut choice = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = |most: u64| {
        choice ^= choice << 13;
        choice ^= choice >> 7;
        choice ^= choice << 17;
        choice % most
    };
    let mut written = String::new();
    for step in 0..120_u64 {
        let some = format!("+4207{:08}", draw(60));
        match draw(6) {
            0 | 1 => {
                let mut request = add_on(Channel::Call, phone(&some));
                if draw(3) == 0 {
                    request.start_time = Some(after(client.clock().await, 3_600));
                }
                if let Ok(made) = client.admin().create_ban(request).await {
                    written = made.into_inner().written_at.expect("a token").token;
                }
            }
            2 => {
                let found = client.all_bans(ListBansRequest::default()).await;
                let at = usize::try_from(draw(found.len() as u64)).expect("small");
                let mut ban = found[at].clone();
                ban.reason = format!("for the {step}th time");
                let done = client.admin().update_ban(change(ban, "reason")).await;
                written = done
                    .expect("a change")
                    .into_inner()
                    .written_at
                    .expect("a token")
                    .token;
            }
            3 => {
                let found = client.all_bans(ListBansRequest::default()).await;
                let at = usize::try_from(draw(found.len() as u64)).expect("small");
                written = client
                    .lift(&found[at])
                    .await
                    .written_at
                    .expect("a token")
                    .token;
            }
            4 => {
                let from = usize::try_from(draw(500)).expect("small");
                let file = rows(from + 20).split_off(from);
                let done = client.import(header(), file).await;
                written = done.written_at.expect("a token").token;
            }
            _ => {
                let request = DeactivateBansRequest {
                    tenant: TENANT.to_owned(),
                    target_ends_with: format!("{:02}", draw(100)),
                    ..Default::default()
                };
                let done = client.admin().deactivate_bans(request).await;
                written = done
                    .expect("lifted")
                    .into_inner()
                    .written_at
                    .expect("a token")
                    .token;
            }
        }
        if !mirror.complete || draw(4) > 0 {
            mirror.take(watched.next().await);
        } else if draw(3) == 0 {
            watched = client.watch(after_token(&mirror.through)).await;
        }
    }
    while mirror.through < written || !mirror.complete {
        mirror.take(watched.next().await);
    }
    let filter = ListBansRequest {
        states: vec![State::Active as i32, State::Scheduled as i32],
        ..Default::default()
    };
    let mut listed = client.all_bans(filter).await;
    listed.sort_by(|a, b| a.ban_id.cmp(&b.ban_id));
    let mirrored: Vec<Ban> = mirror.bans.into_values().collect();
    assert_eq!(mirrored, listed);
}

async fn a_quiet_stream_tells_how_far_everything_is_known(client: Client) {
    let made = client.ban_fully(add(phone(NUMBER))).await;
    let token = made.written_at.expect("a token").token;
    let mut watched = client.watch(of_tenant()).await;
    let promised = Duration::from_secs(5);
    for _ in 0..2 {
        let (update, through) = timeout(promised, watched.next()).await.expect("in time");
        assert_eq!(update, Update::Checkpoint(true));
        assert!(through >= token);
    }
}

async fn a_watcher_of_a_channel_or_of_all_tenants_is_told_of_those(client: Client) {
    client.make_tenant("other").await;
    let of_mail = WatchChangesRequest {
        channels: vec![Channel::Email as i32],
        ..of_tenant()
    };
    let of_all = WatchChangesRequest {
        tenant: String::new(),
        ..of_tenant()
    };
    let (mut of_mail, mut of_all) = (client.watch(of_mail).await, client.watch(of_all).await);
    let by_phone = client.ban(add(phone(NUMBER))).await;
    let mut elsewhere = add(phone(NUMBER));
    "other".clone_into(&mut elsewhere.tenant);
    let elsewhere = client.ban(elsewhere).await;
    let by_mail = client.ban(add(mail("eve@example.com"))).await;
    assert_eq!(of_mail.change().await.1.ban_id, by_mail.ban_id);
    for made in [&by_phone, &elsewhere, &by_mail] {
        let (_, ban, _) = of_all.change().await;
        assert_eq!((&ban.ban_id, &ban.tenant), (&made.ban_id, &made.tenant));
    }
}

async fn who_reads_too_slowly_is_cut_and_goes_on_from_the_last_token(client: Client) {
    let mut watched = client.watch(of_tenant()).await;
    // More than the connection holds, then more steps than a room keeps.
    let done = client.import(header(), rows(10_000)).await;
    let mut made = usize::try_from(done.created_count).expect("small");
    for at in 0..40 {
        client.ban(add(phone(&format!("+4207{at:08}")))).await;
        made += 1;
    }
    let (mut told, mut through) = (0, String::new());
    let cut = loop {
        match watched.try_next().await {
            Ok((Update::BanChange(_), token)) => (told, through) = (told + 1, token),
            Ok((_, token)) => through = token,
            Err(status) => break status,
        }
    };
    Refused::read::<()>(Err(cut)).is(Code::ResourceExhausted, "OVERLOADED");
    assert!(told < made, "there is more");
    let mut seen = std::collections::BTreeSet::new();
    let mut again = client.watch(after_token(&through)).await;
    while !seen.contains(&format!("+4207{:08}", 39)) {
        let (_, ban, _) = again.change().await;
        seen.insert(ban.targets[0].canonical.clone());
    }
    assert!(
        told + seen.len() >= made,
        "{told} and {} of {made}",
        seen.len()
    );
}

async fn a_token_that_is_none_is_refused(client: Client) {
    let refused = async |request| {
        let answer = client.try_watch(request).await;
        Refused::read::<()>(Err(answer.err().expect("a refusal")))
    };
    refused(after_token("nonsense"))
        .await
        .is(Code::InvalidArgument, "TOKEN_MALFORMED");
    let foreign = "00000001000000000000000312c38602744ecf7760df8a2e";
    refused(after_token(foreign))
        .await
        .is(Code::InvalidArgument, "TOKEN_FOREIGN");
    let stranger = WatchChangesRequest {
        tenant: "nobody".to_owned(),
        ..of_tenant()
    };
    refused(stranger)
        .await
        .is(Code::NotFound, "TENANT_NOT_FOUND");
    let made = client.ban_fully(add(phone(NUMBER))).await;
    let both = WatchChangesRequest {
        send_initial_snapshot: true,
        ..after_token(&made.written_at.expect("a token").token)
    };
    refused(both)
        .await
        .is(Code::InvalidArgument, "FIELD_INVALID");
}

/// What is no longer kept cannot be told: the caller is sent back to a snapshot.
fn is_expired_once_pruned(kind: StoreKind) {
    let database = Database::fresh(kind);
    let server = Server::start(&config(&database.place)).expect("a server");
    runtime().block_on(async {
        let client = server.client();
        client.make_tenant(TENANT).await;
        let old = client.ban_fully(add(phone(NUMBER))).await;
        client.ban(add(phone(OTHER_NUMBER))).await;
        let store = database.store().await;
        store.prune(Timestamp::MAX).await.expect("pruned");
        let request = after_token(&old.written_at.expect("a token").token);
        let answer = client.try_watch(request).await;
        let refused = Refused::read::<()>(Err(answer.err().expect("a refusal")));
        refused.is(Code::OutOfRange, "WATCH_CURSOR_EXPIRED");
        let request = WatchChangesRequest {
            send_initial_snapshot: true,
            ..of_tenant()
        };
        let mut watched = client.watch(request).await;
        for _ in 0..2 {
            assert!(matches!(watched.next().await, (Update::SnapshotBan(_), _)));
        }
        assert!(matches!(
            watched.next().await,
            (Update::SnapshotEnd(true), _)
        ));
    });
}

#[test]
fn a_token_older_than_what_is_kept_is_told_so_on_sqlite() {
    is_expired_once_pruned(StoreKind::Sqlite);
}

#[test]
fn a_token_older_than_what_is_kept_is_told_so_on_postgres() {
    is_expired_once_pruned(StoreKind::Postgres);
}
