//! Tokens of an issuer (JWT): which are taken, which are not, and how newer keys come in.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{Router, routing::get};
use bancheck::{
    api::v1::{Channel, grant::Scope},
    auth::{Algorithm, JwtSettings, KeySource},
    config::Config,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};
use tonic::{Code, Response};

use crate::{
    database::{Database, Kind},
    guarded::{Guarded, asking, on_tenant, shown},
    refused::Refused,
    requests::{NUMBER, connect, phone},
    server::{Server, TENANT, runtime},
};

const ISSUER: &str = "https://login.example";
const AUDIENCE: &str = "bancheck";

/// A key of the issuer, which signs.
struct Signer {
    id: &'static str,
    pair: Pair,
}

enum Pair {
    Edwards(Ed25519KeyPair),
    Curve(EcdsaKeyPair),
}

impl Signer {
    fn edwards(id: &'static str) -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(key.as_ref()).expect("a key");
        Self {
            id,
            pair: Pair::Edwards(pair),
        }
    }

    fn curve(id: &'static str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).expect("a key");
        Self {
            id,
            pair: Pair::Curve(pair),
        }
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Edwards(_) => "EdDSA",
            Pair::Curve(_) => "ES256",
        }
    }

    fn public(&self) -> &[u8] {
        match &self.pair {
            Pair::Edwards(pair) => pair.public_key().as_ref(),
            Pair::Curve(pair) => pair.public_key().as_ref(),
        }
    }

    /// As the issuer publishes it.
    fn published(&self) -> Value {
        let public = self.public();
        match self.pair {
            Pair::Edwards(_) => json!({
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.id,
                "x": BASE64.encode(public),
            }),
            Pair::Curve(_) => json!({
                "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id,
                "x": BASE64.encode(&public[1..33]), "y": BASE64.encode(&public[33..]),
            }),
        }
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm(), "typ": "JWT", "kid": self.id});
        let text = signed_part(&header, claims);
        let signature = match &self.pair {
            Pair::Edwards(pair) => pair.sign(text.as_bytes()).as_ref().to_vec(),
            Pair::Curve(pair) => {
                let signed = pair.sign(&SystemRandom::new(), text.as_bytes());
                signed.expect("a signature").as_ref().to_vec()
            }
        };
        format!("{text}.{}", BASE64.encode(signature))
    }
}

fn signed_part(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn publish(keys: &[&Signer]) -> String {
    json!({"keys": keys.iter().map(|key| key.published()).collect::<Vec<_>>()}).to_string()
}

/// Good claims about a subject, some of them changed or taken away.
fn claims(now: i64, subject: &str, changes: &Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "exp": now + 600, "nbf": now - 10,
    });
    for (name, value) in changes.as_object().into_iter().flatten() {
        if value.is_null() {
            claims.as_object_mut().expect("claims").remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn settings(keys: KeySource) -> JwtSettings {
    JwtSettings {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        keys,
        algorithms: vec![Algorithm::ES256, Algorithm::EdDSA],
    }
}

/// Runs a test against a server that takes an issuer's tokens, with ann granted checks.
fn run(keys: KeySource, test: impl AsyncFnOnce(Guarded)) {
    let database = Database::fresh(Kind::Sqlite);
    let config = Config {
        jwt: Some(settings(keys)),
        ..asking(&database.place)
    };
    let server = Server::start(&config).expect("a server");
    let root = server.first_key(&database.place);
    runtime().block_on(async {
        let client = server.client();
        let guarded = Guarded { client, root };
        guarded.make_tenant(TENANT).await;
        guarded
            .set_grants("ann", vec![on_tenant(Scope::Check)])
            .await;
        test(guarded).await;
    });
}

impl Guarded {
    /// The reason that a check is refused with; empty = it is answered.
    async fn refused_with(&self, token: &str) -> (Code, String) {
        let question = connect(Channel::Call, phone(NUMBER));
        match self
            .client
            .check()
            .check_interaction(shown(token, question))
            .await
        {
            Ok(_) => (Code::Ok, String::new()),
            Err(status) => {
                let refused = Refused::read::<()>(Err::<Response<()>, _>(status));
                (refused.code, refused.reason)
            }
        }
    }

    /// The time by the server's clock, in seconds.
    async fn seconds(&self) -> i64 {
        let request = bancheck::api::v1::ListApiKeysRequest::default();
        let listed = self
            .access()
            .list_api_keys(shown(&self.root, request))
            .await;
        let keys = listed.expect("keys").into_inner().api_keys;
        let made = keys.iter().filter_map(|key| key.create_time);
        made.map(|made| made.seconds).max().expect("a key")
    }
}

fn good() -> (Code, String) {
    (Code::Ok, String::new())
}

fn bad(reason: &str) -> (Code, String) {
    (Code::Unauthenticated, reason.to_owned())
}

fn file(folder: &Path, keys: &[&Signer]) -> KeySource {
    let path = folder.join("jwks.json");
    std::fs::write(&path, publish(keys)).expect("the keys are published");
    KeySource::File(path)
}

#[test]
fn a_token_is_taken_that_its_issuer_signed_for_us_in_its_time_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let (edwards, curve) = (Signer::edwards("one"), Signer::curve("two"));
    let keys = file(folder.path(), &[&edwards, &curve]);
    run(keys, async |all| {
        let now = all.seconds().await;
        let about = |changes: Value| claims(now, "ann", &changes);
        for signer in [&edwards, &curve] {
            assert_eq!(
                all.refused_with(&signer.sign(&about(json!({})))).await,
                good()
            );
        }
        // Twice: remembered, it is judged as before.
        let token = edwards.sign(&about(json!({"aud": ["other", AUDIENCE]})));
        for _ in 0..2 {
            assert_eq!(all.refused_with(&token).await, good());
        }
        let stranger = edwards.sign(&claims(now, "bob", &json!({})));
        let denied = (Code::PermissionDenied, "SCOPE_MISSING".to_owned());
        assert_eq!(all.refused_with(&stranger).await, denied);

        let expired = edwards.sign(&about(json!({"exp": now - 60})));
        assert_eq!(all.refused_with(&expired).await, bad("CREDENTIAL_EXPIRED"));
        let mut wrong: BTreeMap<&str, String> = [
            ("of another issuer", json!({"iss": "https://evil.example"})),
            ("for another audience", json!({"aud": "billing"})),
            ("not good yet", json!({"nbf": now + 300})),
            ("without an end", json!({"exp": null})),
            ("without a beginning", json!({"nbf": null})),
            ("without an issuer", json!({"iss": null})),
            ("without an audience", json!({"aud": null})),
            ("without a subject", json!({"sub": null})),
            ("about nobody", json!({"sub": ""})),
            ("about somebody long", json!({"sub": "a".repeat(129)})),
            ("about a control character", json!({"sub": "a\u{7}"})),
        ]
        .into_iter()
        .map(|(what, changes)| (what, edwards.sign(&about(changes))))
        .collect();
        let good_claims = about(json!({}));
        let unsigned = |header: Value| signed_part(&header, &good_claims);
        let none = unsigned(json!({"alg": "none", "kid": "one"}));
        wrong.insert("unsigned", format!("{none}."));
        let text = unsigned(json!({"alg": "HS256", "kid": "one"}));
        let public = hmac::Key::new(hmac::HMAC_SHA256, edwards.public());
        let tag = BASE64.encode(hmac::sign(&public, text.as_bytes()));
        wrong.insert(
            "signed with the public key as a secret",
            format!("{text}.{tag}"),
        );
        let honest = edwards.sign(&good_claims);
        let (signed, signature) = honest.rsplit_once('.').expect("a signature");
        let (header, _) = signed.split_once('.').expect("a header");
        let other = BASE64.encode(claims(now, "root", &json!({})).to_string());
        wrong.insert("changed", format!("{header}.{other}.{signature}"));
        let swapped = Signer {
            id: "two",
            pair: Signer::edwards("").pair,
        };
        wrong.insert("of a key of another kind", swapped.sign(&good_claims));
        let forger = Signer::edwards("one");
        wrong.insert("of another key by that name", forger.sign(&good_claims));
        wrong.insert(
            "too long",
            edwards.sign(&about(json!({"x": "y".repeat(9_000)}))),
        );
        wrong.insert("of one part", "x".repeat(40));
        for (what, token) in wrong {
            assert_eq!(
                all.refused_with(&token).await,
                bad("CREDENTIAL_INVALID"),
                "{what}"
            );
        }
        // Keys go on being good beside tokens.
        let key = all.key("ivr", vec![on_tenant(Scope::Check)]).await;
        assert_eq!(all.refused_with(&key).await, good());
        // What is taken away from the principal is taken away from a token judged good before.
        all.set_grants("ann", Vec::new()).await;
        assert_eq!(all.refused_with(&token).await, denied);
    });
}

#[test]
fn a_newer_key_of_the_issuer_is_taken_over_and_an_older_one_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (Signer::edwards("old"), Signer::curve("new"));
    let keys = file(folder.path(), &[&old]);
    run(keys, async |all| {
        let now = all.seconds().await;
        let [by_old, by_new] = [&old, &new].map(|key| key.sign(&claims(now, "ann", &json!({}))));
        assert_eq!(all.refused_with(&by_old).await, good());
        assert_eq!(all.refused_with(&by_new).await, bad("CREDENTIAL_INVALID"));
        // What is no set of keys changes nothing.
        std::fs::write(folder.path().join("jwks.json"), "{").expect("a broken file");
        assert_eq!(all.refused_with(&by_old).await, good());
        file(folder.path(), &[&new]);
        while all.refused_with(&by_new).await != good() {
            tokio::task::yield_now().await;
        }
        assert_eq!(all.refused_with(&by_old).await, bad("CREDENTIAL_INVALID"));
    });
}

#[test]
fn an_issuer_behind_an_address_is_asked_once_for_many_unknown_keys() {
    let asked = Arc::new(AtomicU64::new(0));
    let signer = Signer::edwards("one");
    let published = publish(&[&signer]);
    let counted = Arc::clone(&asked);
    let routes = Router::new().route(
        "/keys",
        get(async move || {
            counted.fetch_add(1, Ordering::SeqCst);
            published
        }),
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = format!("http://{}/keys", listener.local_addr().expect("an address"));
    let issuer = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let serving = issuer.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
        axum::serve(listener, routes).await
    });
    run(
        KeySource::Url(address.parse().expect("an address")),
        async |all| {
            let now = all.seconds().await;
            let token = signer.sign(&claims(now, "ann", &json!({})));
            assert_eq!(all.refused_with(&token).await, good());
            let before = asked.load(Ordering::SeqCst);
            let strangers: Vec<_> = (0..50)
                .map(|_| Signer::edwards("unknown").sign(&claims(now, "ann", &json!({}))))
                .collect();
            let met = strangers.iter().map(|token| all.refused_with(token));
            for refused in futures_util::future::join_all(met).await {
                assert_eq!(refused, bad("CREDENTIAL_INVALID"));
            }
            let more = asked.load(Ordering::SeqCst) - before;
            assert!(more <= 1, "asked {more} times");
            assert_eq!(all.refused_with(&token).await, good());
        },
    );
    serving.abort();
}
