//! Bans and exceptions that an older version of the canonicaliser has filed: found as before, and
//! filed anew by `bancheck migrate --rekey` while pods look on.

use std::{
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

use bancheck::{
    api::v1::{Ban, Channel, CreateBanRequest, GetBanRequest, Identity, MatchKind},
    desk::{Circumstances, CreateBan, End, TargetGiven, prepare},
    domain::{
        ban::{BanId, Enforcement, Origin},
        channel::Channels,
        clock::Timestamp,
        exception::{Exception, ExceptionId},
        identity::{self, AliasOf, CANONICALISER_VERSION, IdentityKind},
        ids::TenantId,
        keys::MasterKey,
        policy::TenantSettings,
        revision::Nonce,
    },
    store::{Aged, Answer, Begun, Intent, NewBan, NewException, Place, Store, Work},
};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    database::{Database, Kind},
    requests::{address, connect, denies, mail},
    server::{Client, MASTER_KEY, Server, TENANT, config, runtime},
};

on_both_stores!(run by crate::restart::by_itself:
    what_an_older_version_filed_is_found_as_before_and_can_be_filed_anew,
    two_bans_that_become_alike_both_stand,
    whom_an_older_version_spared_is_spared_as_before_and_can_be_filed_anew,
);

const NOW: Timestamp = Timestamp::from_micros(1_760_000_000_000_000);
/// The oldest there was: it left quotes alone that an address does not need.
const OLD: u16 = 1;
const QUOTED: &str = "\"alice\"@example.com";
const BARE: &str = "alice@example.com";

fn tenant() -> TenantId {
    TenantId::parse(TENANT).unwrap()
}

fn about() -> Circumstances {
    Circumstances {
        now: NOW,
        tenant: tenant(),
        actor: "of old".to_owned(),
        keys: MasterKey::new(&MASTER_KEY),
    }
}

/// A ban as this version makes it, of an IPv6 network of this width.
fn made(kind: IdentityKind, value: &str, ipv6_prefix: u8) -> NewBan {
    let asked = CreateBan {
        list_id: None,
        channels: Channels::NONE,
        targets: vec![TargetGiven {
            kind: Some(kind),
            value: value.to_owned(),
            issuer: String::new(),
            region_hint: String::new(),
        }],
        match_kind: None,
        reason: "because".to_owned(),
        reason_code: String::new(),
        end: End::Never,
        start: None,
        enforcement: Enforcement::Enforced,
        override_warnings: false,
        origin: Origin::AdminEntry,
    };
    let settings = TenantSettings {
        ipv6_prefix,
        ..TenantSettings::default()
    };
    let mut new = prepare(&asked, &settings, None, &about()).unwrap().0;
    new.ban.targets[0].canonicaliser_version = OLD;
    new
}

/// The same of a mail address, under the form and the key that the first version gave it.
fn of_old(value: &str) -> NewBan {
    let mut new = made(IdentityKind::EmailAddress, value, 64);
    let given = TargetGiven {
        kind: Some(IdentityKind::EmailAddress),
        value: value.to_owned(),
        issuer: String::new(),
        region_hint: String::new(),
    };
    let mut identity = identity::read(&given.given(), Channels::NONE, None).unwrap();
    let former = identity
        .aliases
        .iter()
        .find(|one| one.of == AliasOf::Version);
    identity.canonical = former.expect("it was filed otherwise").canonical.clone();
    identity.aliases.clear();
    assert_eq!(identity.canonical, QUOTED);
    new.ban.targets[0].canonical.clone_from(&identity.canonical);
    let keys = MasterKey::new(&MASTER_KEY).tenant(&tenant());
    let filed = keys.keys(&identity, 64).into_iter();
    new.keys = filed.map(|(key, text)| (0, key, text)).collect();
    new.likeness = [1; 16];
    new
}

/// An exception on whom a ban is on, under the ban's form and keys.
fn sparing(NewBan { ban, keys, .. }: NewBan) -> NewException {
    let target = ban.targets[0].clone();
    let exception = Exception {
        exception_id: ExceptionId::from_bytes(*ban.ban_id.bytes()),
        target,
        match_kind: ban.match_kind,
        channels: ban.channels,
        comment: String::new(),
        expire: None,
        protected: false,
        ended: false,
        created: NOW,
        created_by: "of old".to_owned(),
        deactivated: None,
        deactivated_by: String::new(),
        deactivate_reason: String::new(),
    };
    NewException { exception, keys }
}

async fn begin(store: &dyn Store) -> Box<dyn Work> {
    static NEXT: AtomicU32 = AtomicU32::new(7);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let intent = Intent {
        tenant: tenant(),
        rpc: "Test",
        request_id: format!("of old, {number}"),
        body: [0; 16],
        body_elsewhere: Vec::new(),
        nonce: Nonce(number),
        now: NOW,
    };
    let Ok(Begun::Open(work)) = store.begin(&intent).await else {
        panic!("the tenant is there")
    };
    work
}

async fn add(store: &dyn Store, bans: &[NewBan]) {
    let mut work = begin(store).await;
    work.add_bans(bans).await.unwrap();
    work.commit(&Answer::default()).await.unwrap();
}

fn migrate(place: &Place) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bancheck"));
    command.args(["migrate", "--rekey"]).env_clear();
    command.env("BANCHECK_MASTER_KEY", STANDARD.encode(MASTER_KEY));
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
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

async fn kept(client: &Client, ban: BanId) -> Ban {
    let request = GetBanRequest {
        tenant: TENANT.to_owned(),
        ban_id: ban.to_string(),
    };
    let found = client.admin().get_ban(request).await.unwrap();
    found.into_inner().ban.unwrap()
}

async fn stops(client: &Client, channel: Channel, who: Identity) -> bool {
    denies(&client.ask(connect(channel, who)).await)
}

/// A server on the database: the one that runs, where it may go on while bans are filed anew.
fn beside(database: &Database, kind: Kind, running: Server) -> (String, Server) {
    if kind == Kind::Postgres {
        return (migrate(&database.place), running);
    }
    // A file serves one process at a time.
    drop(running);
    let told = migrate(&database.place);
    (
        told,
        Server::start(&config(&database.place)).expect("a server"),
    )
}

fn kind_of(database: &Database) -> Kind {
    match database.place {
        Place::Sqlite(_) => Kind::Sqlite,
        Place::Postgres { .. } => Kind::Postgres,
    }
}

fn what_an_older_version_filed_is_found_as_before_and_can_be_filed_anew(database: &Database) {
    let server = Server::start(&config(&database.place)).expect("a server");
    let mut erased = made(IdentityKind::EmailAddress, "bob@example.com", 64);
    erased.ban.targets[0].input.clear();
    erased.ban.targets[0].canonical.clear();
    let bans = [
        of_old(QUOTED),
        made(IdentityKind::IpAddress, "2001:db8:1:2::7", 48),
        erased,
    ];
    let mut ids: Vec<BanId> = bans[..2].iter().map(|new| new.ban.ban_id).collect();
    ids.sort_unstable();
    let aged = |aged: Aged<BanId>| (aged.ids, aged.erased, aged.seen, aged.last);
    let first = BanId::from_bytes([0; 16]);
    runtime().block_on(async {
        let client = server.client();
        client.make_tenant(TENANT).await;
        let store = database.store().await;
        add(&*store, &bans).await;
        let found = store
            .aged_bans(&tenant(), CANONICALISER_VERSION, first)
            .await;
        assert_eq!(aged(found.unwrap()), (ids, 1, 3, None));
        // It takes a poll: nobody rang here.
        while !stops(&client, Channel::Email, mail(QUOTED)).await {
            tokio::task::yield_now().await;
        }
        assert!(!stops(&client, Channel::Email, mail(BARE)).await);
    });

    let (told, server) = beside(database, kind_of(database), server);
    assert!(told.contains("2 of 3 bans"), "{told}");
    assert!(told.contains("1 erased ones are left"), "{told}");
    assert!(told.contains("0 could not be read again"), "{told}");
    let ban = runtime().block_on(async {
        let client = server.client();
        while !stops(&client, Channel::Email, mail(BARE)).await {
            tokio::task::yield_now().await;
        }
        for one in [QUOTED, BARE, "Alice@Example.com", "bob@example.com"] {
            assert!(stops(&client, Channel::Email, mail(one)).await, "{one}");
        }
        // It stands for the network that it stood for, whatever the tenant's width is by now.
        for (one, held) in [("2001:db8:1:ffff::1", true), ("2001:db8:2::1", false)] {
            let stopped = stops(&client, Channel::WebChat, address(one)).await;
            assert_eq!(stopped, held, "{one}");
        }
        let store = database.store().await;
        let key = MasterKey::new(&MASTER_KEY).fingerprints();
        store.check_key(&key).await.expect("the key");
        let found = store
            .aged_bans(&tenant(), CANONICALISER_VERSION, first)
            .await;
        assert_eq!(aged(found.unwrap()), (Vec::new(), 1, 3, None));
        let kept = store
            .ban(&tenant(), bans[0].ban.ban_id)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(kept.targets[0].canonical, BARE);
        assert_eq!(kept.targets[0].input, QUOTED);
        assert_eq!(kept.targets[0].match_keys, [BARE]);
        self::kept(&client, kept.ban_id).await
    });

    // Once more changes nothing.
    let (told, server) = beside(database, kind_of(database), server);
    assert!(told.contains("0 of 3 bans"), "{told}");
    // Lifted, it is found under neither key.
    runtime().block_on(async {
        let client = server.client();
        client.lift(&ban).await;
        for one in [QUOTED, BARE] {
            assert!(!stops(&client, Channel::Email, mail(one)).await, "{one}");
        }
    });
}

fn two_bans_that_become_alike_both_stand(database: &Database) {
    let server = Server::start(&config(&database.place)).expect("a server");
    let bans = [of_old(QUOTED), made(IdentityKind::EmailAddress, BARE, 64)];
    runtime().block_on(async {
        server.client().make_tenant(TENANT).await;
        add(&*database.store().await, &bans).await;
    });
    let (told, server) = beside(database, kind_of(database), server);
    assert!(told.contains("2 of 2 bans"), "{told}");
    runtime().block_on(async {
        let client = server.client();
        let mut left = 2;
        for new in &bans {
            let ban = kept(&client, new.ban.ban_id).await;
            assert_eq!(ban.targets[0].canonical, BARE);
            assert!(stops(&client, Channel::Email, mail(BARE)).await);
            left -= 1;
            assert_eq!(client.lift(&ban).await.still_banned_by.len(), left);
        }
        assert!(!stops(&client, Channel::Email, mail(BARE)).await);
    });
}

fn whom_an_older_version_spared_is_spared_as_before_and_can_be_filed_anew(database: &Database) {
    let server = Server::start(&config(&database.place)).expect("a server");
    let erased = {
        let mut new = sparing(made(IdentityKind::EmailAddress, "bob@example.com", 64));
        new.exception.target.input.clear();
        new.exception.target.canonical.clear();
        new
    };
    let all = [
        sparing(of_old(QUOTED)),
        sparing(made(IdentityKind::IpAddress, "2001:db8:1:2::7", 48)),
        erased,
    ];
    let spared = async |client: &Client, channel, who| !stops(client, channel, who).await;
    runtime().block_on(async {
        let client = server.client();
        client.make_tenant(TENANT).await;
        for domain in ["example.com", "2001:db8::/32"] {
            let (kind, of) = if domain.contains(':') {
                (MatchKind::Cidr, address(domain))
            } else {
                (MatchKind::Domain, mail(domain))
            };
            let ban = CreateBanRequest {
                match_kind: kind as i32,
                override_warnings: true,
                ..crate::requests::add(of)
            };
            client.ban(ban).await;
        }
        let store = database.store().await;
        let mut work = begin(&*store).await;
        for new in &all {
            work.add_exception(new).await.unwrap();
        }
        work.commit(&Answer::default()).await.unwrap();
        // It takes a poll: nobody rang here.
        while !spared(&client, Channel::Email, mail(QUOTED)).await {
            tokio::task::yield_now().await;
        }
        assert!(!spared(&client, Channel::Email, mail(BARE)).await);
    });

    let (told, server) = beside(database, kind_of(database), server);
    assert!(told.contains("2 of 3 exceptions"), "{told}");
    assert!(told.contains("1 erased ones are left"), "{told}");
    assert!(told.contains("0 could not be read again"), "{told}");
    runtime().block_on(async {
        let client = server.client();
        while !spared(&client, Channel::Email, mail(BARE)).await {
            tokio::task::yield_now().await;
        }
        for one in [QUOTED, BARE, "Alice@Example.com", "bob@example.com"] {
            assert!(spared(&client, Channel::Email, mail(one)).await, "{one}");
        }
        assert!(!spared(&client, Channel::Email, mail("eve@example.com")).await);
        for (one, free) in [("2001:db8:1:ffff::1", true), ("2001:db8:2::1", false)] {
            let is_spared = spared(&client, Channel::WebChat, address(one)).await;
            assert_eq!(is_spared, free, "{one}");
        }
        let store = database.store().await;
        let mut work = begin(&*store).await;
        let kept = work.exception(all[0].exception.exception_id).await;
        let target = kept.unwrap().unwrap().target;
        assert_eq!((&*target.canonical, &*target.input), (BARE, QUOTED));
        assert_eq!(target.match_keys, [BARE]);
        work.abandon().await.unwrap();
    });

    // Once more changes nothing.
    let (told, server) = beside(database, kind_of(database), server);
    assert!(told.contains("0 of 3 exceptions"), "{told}");
    // Ended, it spares under neither key.
    runtime().block_on(async {
        let client = server.client();
        let id = all[0].exception.exception_id.to_string();
        client.spare_no_more(&id).await;
        for one in [QUOTED, BARE] {
            assert!(!spared(&client, Channel::Email, mail(one)).await, "{one}");
        }
    });
}
