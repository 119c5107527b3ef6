//! The master key is replaced while pods run: whoever is banned is met by every pod at every step,
//! and in the end the old key is needed for nothing.

use std::process::{Command, Output};

use bancheck::{
    api::v1::{
        Channel::{Call, Email},
        CreateBanRequest, DeactivateBanRequest, DecisionBasis, EraseSubjectResponse, Exception,
        ListBansRequest, MatchKind,
    },
    config::Config,
    store::Place,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use tonic::Code;

use crate::{
    database::{Database, Kind},
    erasing::erasing,
    exceptions::codes,
    freshness::at_least,
    ladder::{days, ladder},
    refused::Refused,
    requests::{add, add_to, connect, denies, mail, phone},
    server::{Client, MASTER_KEY, Server, TENANT, config, runtime},
};

on_both_stores!(run by crate::restart::by_itself:
    a_master_key_is_replaced_without_a_wrong_answer,
    a_pod_without_a_key_that_is_needed_does_not_start,
);

const OLD: [u8; 32] = MASTER_KEY;
pub(crate) const NEW: [u8; 32] = [43; 32];

/// What a pod is given: the current key, and those that it recognises.
pub(crate) type Ring = ([u8; 32], &'static [[u8; 32]]);

pub(crate) const BEFORE: Ring = (OLD, &[]);
pub(crate) const READY: Ring = (OLD, &[NEW]);
pub(crate) const TURNED: Ring = (NEW, &[OLD]);
pub(crate) const AFTER: Ring = (NEW, &[]);
const ASTRAY: Ring = (OLD, &[[7; 32]]);

pub(crate) fn with((current, others): Ring, config: Config) -> Config {
    Config {
        master_key: Some(current),
        other_master_keys: others.to_vec(),
        ..config
    }
}

fn pod(database: &Database, ring: Ring) -> Server {
    Server::start(&with(ring, config(&database.place))).expect("a server")
}

/// What a pod says that must not start.
fn complaint(database: &Database, ring: Ring) -> String {
    let Err(error) = Server::start(&with(ring, config(&database.place))) else {
        panic!("this server should not have started")
    };
    format!("{error:#}")
}

pub(crate) fn is_embedded(database: &Database) -> bool {
    matches!(database.place, Place::Sqlite(_))
}

/// What the command says, or why it failed.
pub(crate) fn command(
    database: &Database,
    ring: Option<Ring>,
    arguments: &[&str],
) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bancheck"));
    command.args(arguments).env_clear();
    if let Some((current, others)) = ring {
        let others: Vec<_> = others.iter().map(|one| STANDARD.encode(one)).collect();
        command
            .env("BANCHECK_MASTER_KEY", STANDARD.encode(current))
            .env("BANCHECK_OTHER_MASTER_KEYS", others.join(","));
    }
    match &database.place {
        Place::Sqlite(folder) => command.arg("--data-dir").arg(folder),
        Place::Postgres { url, .. } => command.args(["--database-url", url]),
    };
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the command runs");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if status.success() {
        Ok(text(&stdout))
    } else {
        Err(text(&stderr))
    }
}

pub(crate) fn rekey(database: &Database) -> Result<String, String> {
    command(database, Some(TURNED), &["migrate", "--rekey"])
}

/// The pods of a deployment: two, or the one that a file serves.
struct Pods<'a> {
    database: &'a Database,
    all: Vec<Server>,
}

impl<'a> Pods<'a> {
    fn new(database: &'a Database, ring: Ring) -> Self {
        let count = if is_embedded(database) { 1 } else { 2 };
        let all = (0..count).map(|_| pod(database, ring)).collect();
        Self { database, all }
    }

    /// Replaces every pod, one after the other, and looks at all of them each time.
    fn roll_out(&mut self, ring: Ring, mut look: impl FnMut(&[Server])) {
        for at in 0..self.all.len() {
            if is_embedded(self.database) {
                self.all.clear();
                self.all.push(pod(self.database, ring));
            } else {
                self.all[at] = pod(self.database, ring);
            }
            look(&self.all);
        }
    }

    /// Does something beside the pods, or, on a file, in their place.
    fn beside<T>(&mut self, ring: Ring, what: impl FnOnce() -> T) -> T {
        if !is_embedded(self.database) {
            return what();
        }
        self.all.clear();
        let done = what();
        self.all.push(pod(self.database, ring));
        done
    }
}

/// What has been written so far.
#[derive(Default)]
struct Known {
    /// Who is banned, by which request.
    banned: Vec<(String, CreateBanRequest)>,
    /// A page of bans, and what it goes on with.
    page: Option<ListBansRequest>,
    /// Whether the old key is gone, and with it what is remembered for a day.
    is_a_day_later: bool,
}

impl Known {
    /// Bans somebody new through each pod, and has every pod meet everybody.
    fn look(&mut self, pods: &[Server]) {
        runtime().block_on(async {
            let clients: Vec<Client> = pods.iter().map(Server::client).collect();
            for one in &clients {
                let number = format!("+420601{:06}", self.banned.len());
                let request = CreateBanRequest {
                    request_id: format!("the ban on {number}"),
                    ..add(phone(&number))
                };
                let made = one.ban_fully(request.clone()).await;
                self.banned.push((number, request));
                let first = made.ban.expect("a ban");
                for other in &clients {
                    self.everybody_is_met(other, made.written_at.clone()).await;
                    let again = self.banned.last().map(|(_, request)| request.clone());
                    let again = other.ban_fully(again.expect("a ban")).await;
                    assert_eq!(again.ban.expect("the same").ban_id, first.ban_id);
                }
            }
        });
    }

    async fn everybody_is_met(
        &mut self,
        client: &Client,
        token: Option<bancheck::api::v1::ConsistencyToken>,
    ) {
        for (number, _) in &self.banned {
            let question = at_least(token.clone(), connect(Call, phone(number)));
            assert!(denies(&client.ask(question).await), "{number}");
        }
        let Some((number, request)) = self.banned.first() else {
            return;
        };
        let named = ListBansRequest {
            identity: Some(phone(number)),
            ..Default::default()
        };
        assert_eq!(client.found(named).await.1, 1, "{number}");
        // Made anew it is one too many.
        let twice = client.admin().create_ban(add(phone(number))).await;
        Refused::read(twice).is(Code::AlreadyExists, "DUPLICATE_ACTIVE_BAN");
        // Sent once more it is known again, and told from another.
        if !self.is_a_day_later {
            let again = client.ban_fully(request.clone()).await;
            assert_eq!(again.ban.expect("the ban").reason, request.reason);
            let other = CreateBanRequest {
                request_id: request.request_id.clone(),
                ..add(phone("+420608999999"))
            };
            Refused::read(client.admin().create_ban(other).await)
                .is(Code::AlreadyExists, "REQUEST_ID_REUSED");
        }
        assert!(!client.turns_away(Call, phone("+420609000000")).await);
        for (who, banned) in [("eve@example.com", true), ("alice@example.com", false)] {
            assert_eq!(client.turns_away(Email, mail(who)).await, banned, "{who}");
        }
        let question = self.page.take().unwrap_or(ListBansRequest {
            tenant: TENANT.to_owned(),
            page_size: 1,
            ..Default::default()
        });
        let page = client.admin().list_bans(question.clone()).await;
        let next = page.expect("a page").into_inner().next_page_token;
        self.page = (!next.is_empty()).then_some(ListBansRequest {
            page_token: next,
            ..question
        });
    }
}

fn alice() -> Exception {
    Exception {
        target: Some(mail("alice@example.com")),
        comment: "our own".to_owned(),
        ..Default::default()
    }
}

/// Bans one customer once more in a list with a ladder, and tells for how many days.
async fn again(client: &Client) -> i64 {
    let request = CreateBanRequest {
        expiry: None,
        ..add_to("rude", phone("+420603000001"))
    };
    let ban = client.ban(request).await;
    client.lift(&ban).await;
    days(&ban)
}

async fn erase(client: &Client, number: &str, keep: bool) -> EraseSubjectResponse {
    let request = erasing(vec![phone(number)], keep);
    let erased = client.privacy().erase_subject(request).await;
    erased.expect("erased").into_inner()
}

/// Banned, let off and banned again.
const TWICE: &str = "+420602000003";
const ERASED: &str = "+420602000001";
const BESIDE_THE_ERASED: &str = "+420602000002";

fn a_master_key_is_replaced_without_a_wrong_answer(database: &Database) {
    let mut pods = Pods::new(database, BEFORE);
    let mut known = Known::default();
    let kept = runtime().block_on(async {
        let client = pods.all[0].client();
        client.make_tenant(TENANT).await;
        let domain = CreateBanRequest {
            match_kind: MatchKind::Domain as i32,
            override_warnings: true,
            ..add(mail("example.com"))
        };
        client.ban(domain).await;
        client.spare(alice()).await;
        let lifted = client.ban(add(phone(TWICE))).await;
        client.lift(&lifted).await;
        client.ban(add(phone(TWICE))).await;
        client.make_list(ladder("rude")).await;
        assert_eq!(again(&client).await, 1);
        let both = CreateBanRequest {
            targets: vec![phone(ERASED), phone(BESIDE_THE_ERASED)],
            ..add(phone(ERASED))
        };
        let ban = client.ban(both).await;
        let erased = erase(&client, ERASED, true).await;
        assert_eq!(erased.bans_kept_hashed, 1);
        ban
    });
    let still_kept = |pods: &[Server]| {
        runtime().block_on(async {
            for one in pods {
                for number in [ERASED, BESIDE_THE_ERASED] {
                    let met = one.client().turns_away(Call, phone(number)).await;
                    assert!(met, "{number}");
                }
            }
        });
    };
    known.look(&pods.all);
    for ring in [READY, TURNED] {
        pods.roll_out(ring, |all| {
            known.look(all);
            still_kept(all);
        });
    }
    runtime().block_on(async {
        // What was filed with the old key is found by whoever uses the new one.
        let client = pods.all[0].client();
        assert_eq!(again(&client).await, 2);
        let warnings = client.spare(alice()).await.warnings;
        assert!(
            codes(&warnings).contains(&"ALREADY_EXCEPTED"),
            "{warnings:?}"
        );
    });

    let refused = pods.beside(TURNED, || rekey(database)).unwrap_err();
    assert!(
        refused.contains("1 bans or exceptions are known by their hash alone"),
        "{refused}"
    );
    assert!(refused.contains(&kept.ban_id), "{refused}");
    known.look(&pods.all);
    still_kept(&pods.all);
    runtime().block_on(async {
        pods.all[0].client().lift(&kept).await;
    });
    let told = pods.beside(TURNED, || rekey(database)).unwrap();
    assert!(
        told.contains("nothing is left under the master key"),
        "{told}"
    );

    known.is_a_day_later = true;
    pods.roll_out(AFTER, |all| known.look(all));
    runtime().block_on(async {
        let client = pods.all[0].client();
        assert_eq!(again(&client).await, 7);
        let twice = Refused::read(client.admin().create_ban(add(phone(TWICE))).await);
        twice.is(Code::AlreadyExists, "DUPLICATE_ACTIVE_BAN");
        // Of those that the old key was used for.
        let (first, _) = &known.banned[0];
        assert_eq!(erase(&client, first, false).await.bans_erased, 1);
        assert!(!client.turns_away(Call, phone(first)).await);
        let request = DeactivateBanRequest {
            ban_id: kept.ban_id,
            tenant: TENANT.to_owned(),
            reason: "again".to_owned(),
            ..Default::default()
        };
        client
            .admin()
            .deactivate_ban(request)
            .await
            .expect("ended before");
    });
    drop(pods);
    for ring in [BEFORE, ASTRAY] {
        let complaint = complaint(database, ring);
        assert!(complaint.contains("another master key"), "{complaint}");
    }
}

fn a_pod_without_a_key_that_is_needed_does_not_start(database: &Database) {
    let ban = async |server: &Server, number: &str| {
        server.client().ban(add(phone(number))).await;
    };
    let assert_both_are_met = |pod: &Server| {
        runtime().block_on(async {
            for number in ["+420601000001", "+420601000002"] {
                let met = pod.client().turns_away(Call, phone(number)).await;
                assert!(met, "{number}");
            }
        });
    };
    let first = pod(database, BEFORE);
    runtime().block_on(async {
        first.client().make_tenant(TENANT).await;
        ban(&first, "+420601000001").await;
    });
    drop(first);
    let alone = complaint(database, AFTER);
    assert!(alone.contains("filled under another master key"), "{alone}");
    if !is_embedded(database) {
        // Pods that do not know the new key would not find whom it bans.
        let early = complaint(database, TURNED);
        assert!(
            early.contains("roll it out in other_master_keys first"),
            "{early}"
        );
        drop(pod(database, READY));
        // One that was started without it since takes the word back.
        drop(pod(database, BEFORE));
        let early = complaint(database, TURNED);
        assert!(
            early.contains("roll it out in other_master_keys first"),
            "{early}"
        );
        drop(pod(database, READY));
    }
    let turned = pod(database, TURNED);
    runtime().block_on(ban(&turned, "+420601000002"));
    drop(turned);
    for ring in [BEFORE, AFTER] {
        let wanting = complaint(database, ring);
        assert!(
            wanting.contains("still filed under another master key"),
            "{wanting}"
        );
    }
    // There is a way back: who has both finds both, and the old key may be the one that stays.
    let back = pod(database, READY);
    assert_both_are_met(&back);
    drop(back);
    let told = command(database, Some(READY), &["migrate", "--rekey"]).unwrap();
    assert!(told.contains("1 of 2 bans"), "{told}");
    assert!(
        told.contains("nothing is left under the master key"),
        "{told}"
    );
    let back = pod(database, BEFORE);
    assert_both_are_met(&back);
}

#[test]
fn a_pod_that_was_passed_over_does_not_say_that_it_knows() {
    let database = Database::fresh(Kind::Postgres);
    let passed_over = pod(&database, BEFORE);
    runtime().block_on(async {
        let client = passed_over.client();
        client.make_tenant(TENANT).await;
        let answer = client.ask(connect(Call, phone("+420601000001"))).await;
        assert_eq!(answer.basis(), DecisionBasis::Fresh);
    });
    drop(pod(&database, READY));
    let turned = pod(&database, TURNED);
    runtime().block_on(async {
        let number = phone("+420601000001");
        let made = turned.client().ban_fully(add(number.clone())).await;
        let asked = passed_over.client();
        let question = at_least(made.written_at, connect(Call, number.clone()));
        let refused = Refused::read(asked.check().check_interaction(question).await);
        refused.is(Code::InvalidArgument, "TOKEN_FOREIGN");
        // It cannot find what is filed under a key that it lacks, and its lease is not renewed.
        let ask = async || asked.ask(connect(Call, number.clone())).await.basis();
        while ask().await == DecisionBasis::Fresh {
            tokio::task::yield_now().await;
        }
        assert_eq!(ask().await, DecisionBasis::Stale);
        let write = asked.admin().create_ban(add(phone("+420601000002"))).await;
        assert!(write.is_err(), "{write:?}");
        assert!(turned.client().turns_away(Call, number).await);
    });
}
