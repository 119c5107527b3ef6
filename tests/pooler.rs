//! A pooler between the store and its server: `tests/run pooler`.
//!
//! Its absence is a failure, so these are not among the tests that `tests/run` runs everywhere; `.ci/run`
//! puts PgBouncer there first.

#[path = "stage/database.rs"]
#[expect(dead_code, reason = "nobody here is given an empty database")]
mod database;
#[path = "conformance/house.rs"]
#[expect(dead_code, reason = "the rest is for the clauses of the store")]
mod house;
#[path = "conformance/replica.rs"]
#[expect(dead_code, reason = "the rest is for the clauses of the store")]
mod replica;
#[path = "conformance/standby.rs"]
#[expect(dead_code, reason = "the rest is for servers that follow others")]
mod standby;

use std::{
    process::{Child, Command, Stdio},
    sync::Arc,
};

use bancheck::{
    domain::{
        clock::Timestamp,
        ids::TenantId,
        policy::TenantSettings,
        revision::{Epoch, Revision},
    },
    store::{Answer, Place, Store, open},
};
use tokio::task::JoinSet;

use self::{
    house::{intent, opened, tenant_id, token_ban, within},
    replica::Replica,
    standby::Server,
};

/// How many write and read at the same time, and how often: more than the server's connections.
const CALLERS: usize = 24;
const TIMES: usize = 20;

/// Fails every write that could be lost or wait for ever, whatever its role's settings are.
const WATCH: &str = "CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF current_setting('synchronous_commit') <> 'on' OR current_setting('lock_timeout') <> '2s'
                OR current_setting('idle_in_transaction_session_timeout') <> '1500ms'
                OR coalesce(current_setting('bancheck.tenant', true), '')
                    <> coalesce(to_jsonb(NEW)->>'tenant', '') THEN
            RAISE EXCEPTION 'a setting was lost on the way';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER watch BEFORE INSERT OR UPDATE ON requests FOR EACH ROW EXECUTE FUNCTION watch();
    CREATE TRIGGER watch BEFORE INSERT OR UPDATE ON meta FOR EACH ROW EXECUTE FUNCTION watch()";

/// A running `PgBouncer`.
struct Pooler {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Pooler {
    async fn start(server: &Server, mode: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("bancheck-pooler").tempdir();
        let folder = folder.expect("a folder");
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nauth_type = any\nunix_socket_dir =\npool_mode = {mode}\n\
             default_pool_size = 16\nignore_startup_parameters = extra_float_digits\n",
            server.port(),
        )
        .replace("\n[pgbouncer]", " user=postgres\n[pgbouncer]");
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).expect("its settings");
        let mut command = if rustix::process::getuid().is_root() {
            // It refuses to be root.
            let owner = Command::new("chown")
                .arg("-R")
                .arg("postgres")
                .arg(folder.path())
                .status();
            assert!(owner.expect("chown").success());
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--", "pgbouncer"]);
            command
        } else {
            Command::new("pgbouncer")
        };
        command
            .arg("--quiet")
            .arg(file)
            .stderr(Stdio::null())
            .stdout(Stdio::null());
        let child = command.spawn().expect("PgBouncer is installed");
        within("PgBouncer", async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_err()
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
        Self {
            child,
            port,
            _folder: folder,
        }
    }

    async fn store(&self, besides: &str) -> Arc<dyn Store> {
        let url = format!(
            "postgres://postgres@127.0.0.1:{}/postgres{besides}",
            self.port
        );
        open(&Place::Postgres {
            url,
            bell: false,
            apart: bancheck::store::Apart::default(),
        })
        .await
        .expect("a store")
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // SIGTERM reaches what runuser runs; a kill would leave it behind.
        let id = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

async fn make_tenant(store: &dyn Store, tenant: &TenantId) {
    let settings = TenantSettings::default();
    let begun = store.begin_tenant(&intent(tenant), &settings).await;
    let work = opened(begun.expect("a tenant begun"));
    work.commit(&Answer::default()).await.expect("a tenant");
}

/// Everything that a pod does, by many at once.
async fn everything_works(mode: &str, besides: &str) {
    let server = Server::primary();
    server
        .run("ALTER ROLE postgres SET synchronous_commit = off")
        .await;
    let pooler = Pooler::start(&server, mode).await;
    let store = pooler.store(besides).await;
    store.migrate().await.expect("a schema");
    server.run(WATCH).await;
    pooler
        .store(besides)
        .await
        .migrate()
        .await
        .expect("nothing to be done");
    store.check_key(&"a key".into()).await.expect("a key");
    assert!(store.unbroken().await.expect("a look at the history"));

    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let store = Arc::clone(&store);
        callers.spawn(async move {
            let tenant = tenant_id(&format!("tenant-{caller}"));
            make_tenant(&*store, &tenant).await;
            let mut link = store.link().await.expect("a link");
            for number in 0..TIMES {
                let intent = intent(&tenant);
                let mut work = opened(store.begin(&intent).await.expect("a write begun"));
                let added = work.add_bans(&[token_ban(&tenant, number)]).await;
                added.expect("a ban added");
                work.commit(&Answer::default()).await.expect("a commit");
                let outcome = store.outcome(&intent).await.expect("a look");
                assert!(outcome.is_some());
                let loaded = Replica::load(&*store, &tenant).await.expect("a tenant");
                assert_eq!(loaded.bans.len(), number + 1);
                let tail = link.tail(loaded.head.revision).await.expect("a tail");
                assert!(tail.head >= loaded.head.revision);
                store.tail(Revision(1)).await.expect("a tail");
                assert!(store.lists(&tenant, "", 9).await.expect("lists").is_empty());
                assert!(store.settings(&tenant).await.expect("a look").is_some());
                store.directory().await.expect("a directory");
            }
        });
    }
    while let Some(done) = within("everybody", callers.join_next()).await {
        done.expect("a caller who got what it asked for");
    }
    let head = store.tail(Revision(1)).await.expect("a tail").head;
    let rows = 1 + CALLERS * (1 + TIMES);
    assert_eq!(head, Revision(u64::try_from(rows).expect("few rows")));
    let raised = store.raise_epoch(Epoch(1), Epoch(7));
    assert_eq!(raised.await.expect("an epoch").0, 7);
    store.prune(Timestamp::MAX).await.expect("pruned");
    assert_eq!(store.tail(head).await.expect("a tail").floor, head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_lends_sessions_keeps_the_promise() {
    everything_works("session", "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_lends_transactions_keeps_it_where_nothing_is_prepared() {
    everything_works("transaction", "?statement-cache-capacity=0").await;
}
