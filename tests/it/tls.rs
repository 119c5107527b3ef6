//! TLS: who is spoken with, who a certificate says is there, and what becomes of changed files.

use std::{fs, path::PathBuf, process::Command};

use bancheck::{
    api::v1::{
        Channel::Call, CheckInteractionRequest, check_service_client::CheckServiceClient,
        grant::Scope,
    },
    config::{Config, TlsFiles},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use tonic::{
    Code, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::{
    database::{Database, Kind},
    guarded::{Guarded, asking, on_tenant, shown},
    refused::Refused,
    requests::{NUMBER, connect, phone},
    server::{Client, Server, TENANT, runtime},
};

/// An authority of the test's own.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate and its key.
pub(crate) struct Papers {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a root").pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    fn sign(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Papers {
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Papers {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Papers of a server on this machine.
    pub(crate) fn server(&self) -> Papers {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Papers of a client, by a URI.
    fn client(&self, uri: &str, serial: u64) -> Papers {
        let mut params = CertificateParams::new(vec!["dialler.example".to_owned()]).expect("names");
        let uri = uri.try_into().expect("ASCII");
        params.subject_alt_names.push(SanType::URI(uri));
        params.serial_number = Some(SerialNumber::from(serial));
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A list of revoked certificates.
    fn revoking(&self, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("a list");
        list.pem().expect("PEM")
    }
}

/// A server that speaks TLS, and the files it is made of.
struct Secured {
    folder: tempfile::TempDir,
    database: Database,
    server: Server,
    authority: Authority,
    root: String,
}

impl Secured {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new();
        let path = |name: &str| folder.path().join(name);
        let files = TlsFiles {
            cert: path("cert.pem"),
            key: path("key.pem"),
            client_ca: Some(path("ca.pem")),
            client_crl: Some(path("crl.pem")),
            client_required: false,
        };
        fs::write(path("ca.pem"), &authority.pem).expect("a file");
        fs::write(path("crl.pem"), authority.revoking(&[99])).expect("a file");
        let Papers { cert, key } = authority.server();
        fs::write(path("cert.pem"), cert).expect("a file");
        fs::write(path("key.pem"), key).expect("a file");
        let database = Database::fresh(Kind::Sqlite);
        let config = Config {
            tls: Some(files),
            ..asking(&database.place)
        };
        let server = Server::start(&config).expect("a server");
        let bancheck::store::Place::Sqlite(data) = &database.place else {
            unreachable!("an embedded store");
        };
        let root = fs::read_to_string(data.join("admin.token")).expect("the folder's key");
        Self {
            root: root.trim().to_owned(),
            folder,
            database,
            server,
            authority,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A client that trusts an authority, and may show papers; it connects when it first asks.
    fn client(&self, trusts: &Authority, papers: Option<&Papers>) -> Client {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&trusts.pem))
            .domain_name("localhost");
        if let Some(Papers { cert, key }) = papers {
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        let connect = |address: std::net::SocketAddr| {
            let endpoint = Endpoint::from_shared(format!("https://{address}")).expect("an address");
            endpoint
                .tls_config(tls.clone())
                .expect("TLS")
                .connect_lazy()
        };
        Client {
            check_listener: connect(self.server.check_address()),
            admin_listener: connect(self.server.admin_address()),
        }
    }
}

fn question() -> CheckInteractionRequest {
    connect(Call, phone(NUMBER))
}

async fn check(client: &Client, key: &str) -> Result<(), Status> {
    let mut checks = client.check();
    let asked = checks.check_interaction(shown(key, question()));
    asked.await.map(drop)
}

#[test]
fn a_client_certificate_names_its_principal_by_its_first_uri() {
    let here = Secured::start();
    runtime().block_on(async {
        let guarded = Guarded {
            client: here.client(&here.authority, None),
            root: here.root.clone(),
        };
        guarded.make_tenant(TENANT).await;
        guarded
            .set_grants("spiffe://acme/ivr", vec![on_tenant(Scope::Check)])
            .await;
        let papers = here.authority.client("spiffe://acme/ivr", 1);
        let by_certificate = here.client(&here.authority, Some(&papers));
        check(&by_certificate, "")
            .await
            .expect("the certificate is enough");
        // A key that is sent along means the key's own principal.
        let key = guarded.key("nobody", vec![on_tenant(Scope::Watch)]).await;
        let asked = check(&by_certificate, &key).await.map(tonic::Response::new);
        Refused::read(asked).is(Code::PermissionDenied, "SCOPE_MISSING");
        let stranger = here.authority.client("spiffe://acme/stranger", 2);
        let asked = check(&here.client(&here.authority, Some(&stranger)), "").await;
        Refused::read(asked.map(tonic::Response::new)).is(Code::PermissionDenied, "SCOPE_MISSING");
        let asked = check(&guarded.client, "").await.map(tonic::Response::new);
        Refused::read(asked).is(Code::Unauthenticated, "CREDENTIAL_MISSING");
        // Of another authority, and one that is revoked: no word is exchanged.
        let forged = Authority::new().client("spiffe://acme/ivr", 3);
        let revoked = here.authority.client("spiffe://acme/ivr", 99);
        for papers in [&forged, &revoked] {
            let asked = check(&here.client(&here.authority, Some(papers)), "").await;
            asked.expect_err("the handshake fails");
        }
    });
}

#[test]
fn changed_files_hold_for_new_connections_and_cut_none_that_there_are() {
    let here = Secured::start();
    runtime().block_on(async {
        let guarded = Guarded {
            client: here.client(&here.authority, None),
            root: here.root.clone(),
        };
        guarded.make_tenant(TENANT).await;
        guarded
            .set_grants("spiffe://acme/ivr", vec![on_tenant(Scope::Check)])
            .await;
        let papers = here.authority.client("spiffe://acme/ivr", 7);
        let old = here.client(&here.authority, Some(&papers));
        check(&old, "").await.expect("an answer");

        let next = Authority::new();
        let Papers { cert, key } = next.server();
        // For a moment the key is not the certificate's: that changes nothing.
        fs::write(here.file("cert.pem"), cert).expect("a file");
        fs::write(here.file("crl.pem"), here.authority.revoking(&[7])).expect("a file");
        fs::write(here.file("key.pem"), key).expect("a file");
        let mut errors = 0;
        while check(&here.client(&next, None), &here.root).await.is_err() {
            errors += u32::from(check(&old, "").await.is_err());
        }
        check(&old, "")
            .await
            .expect("the connection of before goes on");
        assert_eq!(errors, 0);
        let revoked = check(&here.client(&next, Some(&papers)), "").await;
        revoked.expect_err("a new connection with a revoked certificate");

        fs::write(here.file("cert.pem"), "no certificate").expect("a file");
        // Longer than the files are left unlooked at.
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < std::time::Duration::from_secs(5) {
            check(&here.client(&next, None), &here.root)
                .await
                .expect("the old ones hold");
        }
    });
}

#[test]
fn who_speaks_in_the_clear_or_says_nothing_is_not_waited_for() {
    use std::io::Read as _;
    let here = Secured::start();
    let address = here.server.check_address();
    let begun = tokio::time::Instant::now();
    // More than a queue of handshakes would hold.
    let silent: Vec<_> = (0..1_200)
        .map(|_| std::net::TcpStream::connect(address).expect("a connection"))
        .collect();
    runtime().block_on(async {
        let plain = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let asked = CheckServiceClient::<Channel>::new(plain.connect_lazy());
        let asked = { asked }.check_interaction(shown("", question())).await;
        asked.expect_err("no TLS, no answer");
        let guarded = Guarded {
            client: here.client(&here.authority, None),
            root: here.root.clone(),
        };
        guarded.make_tenant(TENANT).await;
        check(&guarded.client, &here.root)
            .await
            .expect("an answer beside them");
    });
    let elapsed = begun.elapsed();
    assert!(
        elapsed < std::time::Duration::from_secs(5),
        "not once the silent are given up: {elapsed:?}"
    );
    for mut stream in silent {
        let wait = Some(std::time::Duration::from_secs(30));
        stream.set_read_timeout(wait).expect("a socket");
        let ended = stream.read(&mut [0; 1]);
        assert!(
            matches!(ended, Ok(0))
                || ended
                    .is_err_and(|error| { error.kind() == std::io::ErrorKind::ConnectionReset })
        );
    }
}

#[test]
fn the_command_line_speaks_tls() {
    let here = Secured::start();
    let ask = |host: &str, more: &[&str]| {
        let address = here.server.admin_address();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bancheck"));
        command
            .args(["grant", "list", "--output", "csv", "--admin-endpoint"])
            .arg(format!("https://{host}:{}", address.port()))
            .args(more)
            .env("BANCHECK_TOKEN", &here.root);
        command.output().expect("the command runs")
    };
    fs::write(here.file("trusted.pem"), &here.authority.pem).expect("a file");
    let trusted = here.file("trusted.pem");
    let trusted = ["--ca", trusted.to_str().expect("a path")];
    let answered = ask("localhost", &trusted);
    let told = String::from_utf8_lossy(&answered.stdout);
    let said = String::from_utf8_lossy(&answered.stderr);
    assert!(
        answered.status.success() && told.contains("local-admin"),
        "{told}{said}"
    );
    let by = |host, more: &[&str]| ask(host, &[&trusted, more].concat()).status.success();
    assert!(by("127.0.0.1", &["--server-name", "localhost"]));
    assert!(!by("127.0.0.1", &[]), "the certificate is of another name");
    assert!(
        !ask("localhost", &[]).status.success(),
        "nobody vouches for the server"
    );
    drop(here.database);
}
