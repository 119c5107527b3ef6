//! What there is to set, in the order in which it is documented.

/// A setting: its name in the file, its default, and what it is for.
#[derive(Debug)]
pub struct Setting {
    /// In the file; `BANCHECK_` and this in capitals in the environment.
    pub name: &'static str,
    /// What holds when nobody says otherwise.
    pub default: &'static str,
    /// Whether its value must not be shown.
    pub secret: bool,
    /// What it is for.
    pub about: &'static str,
}

const fn setting(name: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting {
        name,
        default,
        secret: false,
        about,
    }
}

const fn secret(name: &'static str, about: &'static str) -> Setting {
    Setting {
        name,
        default: "",
        secret: true,
        about,
    }
}

/// Every setting of the server.
pub const SETTINGS: &[Setting] = &[
    setting(
        "check_listen",
        "127.0.0.1:50051",
        "host:port of CheckService",
    ),
    setting(
        "admin_listen",
        "127.0.0.1:50052",
        "host:port of every other service",
    ),
    setting(
        "metrics_listen",
        "127.0.0.1:9090",
        "host:port of /metrics, /views, /livez and /readyz",
    ),
    setting(
        "data_dir",
        "./bancheck-data",
        "folder of the embedded SQLite database and its key",
    ),
    secret(
        "database_url",
        "postgres:// URL; empty = embedded SQLite in data_dir",
    ),
    secret(
        "migrate_database_url",
        "the same database by the role that owns its tables, to bring the schema up to date; empty \
         = database_url",
    ),
    secret(
        "reader_database_url",
        "the same database by a role that only reads; empty = database_url",
    ),
    secret(
        "master_key",
        "32 bytes in base64, the same on every pod; needed with Postgres, made at first start \
         with SQLite",
    ),
    secret(
        "other_master_keys",
        "up to 3 more, with commas between them, that are recognised while the master key is \
         replaced: the new one first, the old one then",
    ),
    setting(
        "feed_bell",
        "on",
        "on: commits ring the other pods; off: they hear by polling alone",
    ),
    setting(
        "check_threads",
        "0",
        "threads that answer checks; 0 = one a core",
    ),
    setting(
        "view_memory_mib",
        "2048",
        "memory for tenants' bans, in MiB",
    ),
    setting(
        "max_checks",
        "4096",
        "most checks in flight; beyond, OVERLOADED at once",
    ),
    setting("max_writes", "256", "most writes and look-ups in flight"),
    setting("max_imports", "8", "most imports and exports in flight"),
    setting(
        "max_streams",
        "4096",
        "most open streams of checks and of changes",
    ),
    setting(
        "max_connections",
        "10000",
        "most connections to the listener of checks, and to the other; fewer where the system \
         gives fewer files; beyond, they are closed at once",
    ),
    setting(
        "max_connection_age_seconds",
        "1800",
        "how long a connection to the listener of checks is kept, a tenth more or less; then its \
         caller is asked to come anew, and finds new pods; 0 = as long as it lasts",
    ),
    setting(
        "tenant_checks_per_second",
        "0",
        "most checks of one tenant a second, a pod; 0 = as many as there are",
    ),
    setting(
        "tenant_writes_per_second",
        "0",
        "most writes and look-ups of one tenant a second, a pod; 0 = as many as there are",
    ),
    setting(
        "drain_delay_seconds",
        "0",
        "how long to go on answering after NOT_SERVING at SIGTERM",
    ),
    setting(
        "log",
        "info",
        "what is logged: error, warn, info, debug, trace, or a filter",
    ),
    setting("log_format", "pretty", "pretty or json"),
    setting(
        "otlp_endpoint",
        "",
        "address of a collector of traces, which speaks OTLP over gRPC, as http://collector:4317; \
         empty = no traces",
    ),
    setting(
        "otlp_ca",
        "",
        "file of the roots that the collector's certificate is verified by, in PEM, read at start; \
         empty = the roots of the web",
    ),
    setting(
        "trace_checks",
        "0.01",
        "share of the checks that are traced although their callers do not say whether; 0 to 1",
    ),
    setting(
        "auth",
        "auto",
        "on: every caller shows a credential; off: whoever reaches the listeners may do anything; \
         auto: off on loopback, on elsewhere and where tokens or client certificates are taken",
    ),
    setting(
        "jwt_issuer",
        "",
        "whose tokens (JWT) are taken as credentials: their `iss`; empty = nobody's",
    ),
    setting(
        "jwt_audience",
        "",
        "for whom tokens must be meant: their `aud`",
    ),
    setting(
        "jwt_jwks",
        "",
        "where the issuer publishes its keys: a file, or an address (https; http on this machine)",
    ),
    setting(
        "jwt_algorithms",
        "RS256,ES256,EdDSA",
        "how tokens may be signed: of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA",
    ),
    setting(
        "tls_cert",
        "",
        "file of the listeners' certificate chain, in PEM; empty = no TLS",
    ),
    setting(
        "tls_key",
        "",
        "file of the certificate's private key, in PEM",
    ),
    setting(
        "tls_client_ca",
        "",
        "file of the roots that clients' certificates are verified by; empty = none is asked for",
    ),
    setting(
        "tls_client_crl",
        "",
        "file of lists of revoked client certificates, in PEM",
    ),
    setting(
        "tls_client_required",
        "false",
        "true: nobody is spoken with who shows no certificate",
    ),
    setting(
        "insecure_allow_anonymous",
        "false",
        "true: authentication may be off beyond loopback, and is, unless auth says on",
    ),
];
