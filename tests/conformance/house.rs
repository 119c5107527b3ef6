//! A store of one test's own, with short words for what tests do in it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bancheck::{
    desk::{Circumstances, CreateBan, End, TargetGiven, prepare},
    domain::{
        ban::{Ban, BanId, Enforcement, Origin},
        channel::Channels,
        clock::Timestamp,
        exception::{Exception, Lifted},
        identity::IdentityKind,
        ids::{ExceptionId, ListId, TenantId},
        keys::MasterKey,
        list::{BanList, WebchatBanType},
        policy::TenantSettings,
        record::News,
        revision::{Nonce, Revision},
    },
    store::{Added, Answer, Begun, Event, Intent, NewBan, NewException, Place, Store, Work},
};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};

use crate::database::{Database, Kind};

/// The instant of a test, where it does not matter.
pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_760_000_000_123_456);
/// One second, in microseconds.
pub(crate) const SECOND: i64 = 1_000_000;
/// How long anything may take before the test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What a transaction writes to.
pub(crate) const TABLES: [&str; 16] = [
    "tenants",
    "ban_lists",
    "ban_list_queues",
    "queue_policies",
    "ban_rights",
    "bans",
    "ban_targets",
    "ban_keys",
    "ban_events",
    "exceptions",
    "exception_keys",
    "lifted_protections",
    "requests",
    "feed",
    "feed_intents",
    "meta",
];

/// A store in a database of its own.
pub(crate) struct House {
    /// The store; goes before its database does.
    pub(crate) store: Arc<dyn Store>,
    /// Where it is.
    pub(crate) database: Database,
    /// Of which kind it is.
    pub(crate) kind: Kind,
}

impl House {
    /// An empty one.
    pub(crate) async fn new(kind: Kind) -> Self {
        let database = Database::fresh(kind);
        Self {
            store: database.store().await,
            database,
            kind,
        }
    }

    /// Makes a tenant.
    pub(crate) async fn tenant(&self, name: &str) -> TenantId {
        let tenant = tenant_id(name);
        let settings = TenantSettings::default();
        let begun = self.store.begin_tenant(&intent(&tenant), &settings).await;
        let work = opened(begun.expect("a tenant begun"));
        work.commit(&Answer::default())
            .await
            .expect("a tenant made");
        tenant
    }

    /// Begins a write that is new.
    pub(crate) async fn begin(&self, intent: &Intent) -> Box<dyn Work> {
        opened(self.store.begin(intent).await.expect("a write begun"))
    }

    /// Adds bans in one transaction, and tells what became of each.
    pub(crate) async fn add(&self, intent: &Intent, bans: &[NewBan]) -> Vec<Added> {
        let mut work = self.begin(intent).await;
        let added = work.add_bans(bans).await.expect("bans added");
        work.commit(&Answer::default())
            .await
            .expect("bans committed");
        added
    }

    /// Adds one ban, which is like no other, and returns it.
    pub(crate) async fn place(&self, tenant: &TenantId, new: NewBan) -> Ban {
        let added = self.add(&intent(tenant), std::slice::from_ref(&new)).await;
        assert_eq!(added, [Added::Made]);
        new.ban
    }

    /// Writes a changed ban.
    pub(crate) async fn change(&self, ban: &Ban, likeness: [u8; 16]) {
        let mut work = self.begin(&intent(&ban.tenant)).await;
        work.set_ban(ban, likeness).await.expect("a ban changed");
        work.commit(&Answer::default())
            .await
            .expect("a ban committed");
    }

    /// Makes a list of this id, whose title is its id.
    pub(crate) async fn list(&self, tenant: &TenantId, name: &str) -> BanList {
        let mut work = self.begin(&intent(tenant)).await;
        let generation = work.next_generation().await.expect("a generation");
        let list = list(name, generation);
        work.add_list(&list).await.expect("a list added");
        work.commit(&Answer::default())
            .await
            .expect("a list committed");
        list
    }

    /// All of the feed that is kept, read as a pod would: from the last row seen on.
    pub(crate) async fn feed(&self) -> Vec<News> {
        let floor = self.tail(1).await.floor;
        let mut all: Vec<News> = Vec::new();
        loop {
            let from = all.last().map_or(floor, |last| last.anchor.revision);
            let tail = self.tail(from.0).await;
            let fresh = usize::from(!all.is_empty());
            all.extend(tail.news.into_iter().skip(fresh));
            if all.last().map(|last| last.anchor.revision) == Some(tail.head) {
                return all;
            }
        }
    }

    /// The newest row of the feed.
    pub(crate) async fn last_news(&self) -> News {
        self.feed().await.pop().expect("a feed is never empty")
    }

    /// A tail from this row on.
    pub(crate) async fn tail(&self, from: u64) -> bancheck::store::Tail {
        self.store.tail(Revision(from)).await.expect("a tail")
    }

    /// A ban, as it is kept.
    pub(crate) async fn kept(&self, ban: &Ban) -> Ban {
        let kept = self.store.ban(&ban.tenant, ban.ban_id).await;
        kept.expect("a ban read").expect("a ban kept")
    }

    /// A connection past the store.
    pub(crate) async fn raw(&self) -> AnyConnection {
        let url = match &self.database.place {
            Place::Sqlite(folder) => format!("sqlite://{}/bancheck.db", folder.display()),
            Place::Postgres { url, .. } => url.clone(),
        };
        AnyConnection::connect(&url)
            .await
            .expect("a connection past the store")
    }

    /// Runs a statement past the store.
    pub(crate) async fn run(&self, statement: &'static str) {
        let mut raw = self.raw().await;
        let ran = sqlx::raw_sql(statement).execute(&mut raw).await;
        ran.expect("a statement past the store");
    }

    /// Asks for one number past the store.
    pub(crate) async fn number(&self, question: &str) -> i64 {
        let mut raw = self.raw().await;
        let row = sqlx::query(AssertSqlSafe(question.to_owned()))
            .fetch_one(&mut raw)
            .await;
        row.expect("a row past the store")
            .try_get(0)
            .expect("a number")
    }

    /// How many rows each table has.
    pub(crate) async fn census(&self) -> Vec<(&'static str, i64)> {
        let mut census = Vec::new();
        for table in TABLES {
            let rows = self.number(&format!("SELECT count(*) FROM {table}")).await;
            census.push((table, rows));
        }
        census
    }

    /// Waits until somebody waits for a lock; where only the pool knows who waits, it does not.
    pub(crate) async fn until_somebody_waits(&self) {
        if self.kind == Kind::Sqlite {
            return;
        }
        let waiting = "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock'";
        within("somebody to wait for a lock", async {
            while self.number(waiting).await == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// What it came to, unless it takes too long.
pub(crate) async fn within<T>(what: &str, doing: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, doing).await;
    done.unwrap_or_else(|late| panic!("waited {PATIENCE:?} for {what}: {late}"))
}

/// The work of a write that is new.
pub(crate) fn opened(begun: Begun) -> Box<dyn Work> {
    match begun {
        Begun::Open(work) => work,
        Begun::Replay(answer) => panic!("expected a new write, was answered {answer:?}"),
        Begun::Reused => panic!("expected a new write, the request's id was reused"),
        Begun::NoTenant => panic!("expected a new write, there is no such tenant"),
    }
}

/// A tenant's id.
pub(crate) fn tenant_id(name: &str) -> TenantId {
    TenantId::parse(name).expect("a tenant id")
}

/// A list's id.
pub(crate) fn list_id(name: &str) -> ListId {
    ListId::parse(name).expect("a list id")
}

/// A write like no other.
pub(crate) fn intent(tenant: &TenantId) -> Intent {
    static NEXT: AtomicU32 = AtomicU32::new(7);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Intent {
        tenant: tenant.clone(),
        rpc: "Test",
        request_id: format!("request {number}"),
        body: u128::from(number).to_be_bytes(),
        body_elsewhere: Vec::new(),
        nonce: Nonce(number),
        now: NOW,
    }
}

/// The same at another instant.
pub(crate) fn intent_at(tenant: &TenantId, now: Timestamp) -> Intent {
    Intent {
        now,
        ..intent(tenant)
    }
}

/// A permanent ban of a visitor token, as an administrator asks for it.
pub(crate) fn asked(token: &str) -> CreateBan {
    CreateBan {
        list_id: None,
        channels: Channels::NONE,
        targets: vec![target(IdentityKind::VisitorToken, token)],
        match_kind: None,
        reason: "because".to_owned(),
        reason_code: String::new(),
        end: End::Never,
        start: None,
        enforcement: Enforcement::Enforced,
        override_warnings: false,
        origin: Origin::AdminEntry,
    }
}

/// A target as it is handed over.
pub(crate) fn target(kind: IdentityKind, value: &str) -> TargetGiven {
    TargetGiven {
        kind: Some(kind),
        value: value.to_owned(),
        issuer: String::new(),
        region_hint: String::new(),
    }
}

/// A token nobody could guess.
pub(crate) fn token(number: usize) -> String {
    format!("visitor-token-{number:08}")
}

/// What surrounds a write at an instant.
pub(crate) fn about(tenant: &TenantId, now: Timestamp) -> Circumstances {
    Circumstances {
        now,
        tenant: tenant.clone(),
        actor: "alice".to_owned(),
        keys: MasterKey::new(&[7; 32]),
    }
}

/// The ban that the desk makes of what is asked for, at an instant.
pub(crate) fn made_at(tenant: &TenantId, asked: &CreateBan, now: Timestamp) -> NewBan {
    let prepared = prepare(asked, &TenantSettings::default(), None, &about(tenant, now));
    prepared.expect("a ban that may be made").0
}

/// The ban that the desk makes of what is asked for.
pub(crate) fn made(tenant: &TenantId, asked: &CreateBan) -> NewBan {
    made_at(tenant, asked, NOW)
}

/// A permanent ban of the visitor token of this number.
pub(crate) fn token_ban(tenant: &TenantId, number: usize) -> NewBan {
    made(tenant, &asked(&token(number)))
}

/// The same ban, lifted.
pub(crate) fn lifted(ban: &Ban) -> Ban {
    Ban {
        ended: true,
        deactivated: Some(NOW),
        deactivated_by: "bob".to_owned(),
        deactivate_reason: "a mistake".to_owned(),
        version: ban.version + 1,
        ..ban.clone()
    }
}

/// An exception on a visitor token, as the desk makes it.
pub(crate) fn exception_on(tenant: &TenantId, token: &str) -> NewException {
    let NewBan { ban, keys, .. } = made(tenant, &asked(token));
    let target = { ban.targets }.pop().expect("a target");
    NewException {
        exception: Exception {
            exception_id: ExceptionId::from_bytes(*ban.ban_id.bytes()),
            target,
            match_kind: ban.match_kind,
            channels: ban.channels,
            comment: "our „test“ 'phone'".to_owned(),
            expire: Some(NOW.plus_micros(SECOND)),
            protected: false,
            ended: false,
            created: NOW,
            created_by: "alice".to_owned(),
            deactivated: None,
            deactivated_by: String::new(),
            deactivate_reason: String::new(),
        },
        keys,
    }
}

/// A built-in protection that bob has lifted.
pub(crate) fn lifted_protection(name: &str) -> Lifted {
    Lifted {
        name: name.to_owned(),
        at: NOW,
        by: "bob".to_owned(),
        reason: "we need it".to_owned(),
    }
}

/// A list as the desk makes it.
pub(crate) fn list(name: &str, generation: u32) -> BanList {
    BanList {
        list_id: list_id(name),
        generation,
        title: name.to_owned(),
        description: String::new(),
        default_timeout_text: String::new(),
        webchat_ban_type: WebchatBanType::default(),
        ban_contact_phones: false,
        treatment: None,
        enforcement: Enforcement::Enforced,
        enforce_outbound: false,
        repeat_ladder: Vec::new(),
        queues: std::collections::BTreeSet::new(),
        version: 1,
    }
}

/// An event about a ban.
pub(crate) fn event(number: u8, ban: Option<BanId>, action: &str) -> Event {
    Event {
        event_id: [number; 16],
        ban,
        action: action.to_owned(),
        actor: "alice".to_owned(),
        at: NOW,
        comment: String::new(),
        anchor: None,
    }
}
