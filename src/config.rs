//! Settings: one table says what there is; a file, the environment and flags fill it, the later
//! winning over the earlier.
//!
//! **Invariant:** only this room reads the environment.

mod access;
#[cfg(test)]
mod documented;
mod key;
mod profile;
mod table;
mod traces;

use std::{
    collections::BTreeMap,
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};

pub use self::{
    access::TlsFiles,
    key::{key_text, new_key, read_key},
    profile::{Profile, Profiles},
    table::{SETTINGS, Setting},
    traces::TraceSettings,
};
use crate::{
    auth::{JwtSettings, Limits},
    store::{Apart, Place},
    telemetry::LogFormat,
};

/// Variables of the client and of the test suite, which are not the server's.
const OTHERS: [&str; 12] = [
    "BANCHECK_ENDPOINT",
    "BANCHECK_ADMIN_ENDPOINT",
    "BANCHECK_TOKEN",
    "BANCHECK_TENANT",
    "BANCHECK_OUTPUT",
    "BANCHECK_CONFIG",
    "BANCHECK_CA",
    "BANCHECK_CLIENT_CERT",
    "BANCHECK_CLIENT_KEY",
    "BANCHECK_SERVER_NAME",
    "BANCHECK_PROFILE",
    "BANCHECK_PROFILES",
];

/// The longest time that a setting may say, in seconds.
const MOST_SECONDS: u64 = 366 * 86_400;

/// The file in an embedded store's folder that holds a key to everything.
pub const ADMIN_TOKEN: &str = "admin.token";

/// The flags of everything that needs the server's settings.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// TOML file with settings; the environment and flags win over it [default: none]
    #[arg(long, value_name = "FILE", env = "BANCHECK_CONFIG")]
    pub config: Option<PathBuf>,
    /// A setting by name, as in the file: `--set log_format=json` (repeatable; see `config show`)
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// host:port of `CheckService` [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDRESS")]
    pub check_listen: Option<String>,
    /// host:port of every other service [default: 127.0.0.1:50052]
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<String>,
    /// host:port of /metrics, /views, /livez and /readyz [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_listen: Option<String>,
    /// Folder of the embedded SQLite database and its key [default: ./bancheck-data]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// postgres:// URL [default: none, SQLite in the data folder]
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
    /// Listen beyond loopback although anybody who reaches it may do anything
    #[arg(long)]
    pub insecure_allow_anonymous: bool,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said otherwise.
    Default,
    /// The file.
    File,
    /// The environment.
    Environment,
    /// A flag.
    Flag,
}

/// The effective settings, as text, each with where it comes from.
#[derive(Debug)]
pub struct Effective {
    values: BTreeMap<&'static str, (String, Source)>,
    unknown_variables: Vec<String>,
}

/// The settings a server runs on.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where checks are answered.
    pub check_listen: SocketAddr,
    /// Where everything else is.
    pub admin_listen: SocketAddr,
    /// Where metrics are.
    pub metrics_listen: SocketAddr,
    /// Where bans are kept.
    pub place: Place,
    /// The key, where it was given; an embedded store makes its own.
    pub master_key: Option<[u8; 32]>,
    /// Keys that are recognised beside it.
    pub other_master_keys: Vec<[u8; 32]>,
    /// Threads that answer checks.
    pub check_threads: usize,
    /// Memory for views, in bytes.
    pub view_bytes: u64,
    /// Whether callers have to show who they are.
    pub auth: bool,
    /// Whose tokens are taken.
    pub jwt: Option<JwtSettings>,
    /// What the listeners speak TLS with; `None` = they speak in the clear.
    pub tls: Option<TlsFiles>,
    /// Where traces go; `None` = there are none.
    pub traces: Option<TraceSettings>,
    /// How many requests may be in flight.
    pub limits: Limits,
    /// How long a connection is kept; `None` = as long as it lasts.
    pub connection_age: Option<Duration>,
    /// How long to go on answering after the health check has said no.
    pub drain_delay: Duration,
    /// `BANCHECK_…` variables that nothing reads: worth a warning once there is a log.
    pub unknown_variables: Vec<String>,
    /// What is logged.
    pub log: String,
    /// How.
    pub log_format: LogFormat,
}

impl Effective {
    /// Gathers the settings.
    pub fn gather(flags: &Flags) -> anyhow::Result<Self> {
        let default =
            |setting: &Setting| (setting.name, (setting.default.to_owned(), Source::Default));
        let mut all = Self {
            values: SETTINGS.iter().map(default).collect(),
            unknown_variables: Vec::new(),
        };
        if let Some(file) = &flags.config {
            all.read_file(file)?;
        }
        all.read_environment()?;
        all.read_flags(flags)?;
        Ok(all)
    }

    fn put(&mut self, name: &str, value: String, source: Source) -> anyhow::Result<()> {
        let Some(place) = self.values.get_mut(name) else {
            let known: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
            bail!(
                "there is no setting `{name}`; there are {}",
                known.join(", ")
            );
        };
        *place = (value, source);
        Ok(())
    }

    fn read_file(&mut self, file: &Path) -> anyhow::Result<()> {
        let shown = file.display();
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
        let table: toml::Table = text
            .parse()
            .with_context(|| format!("{shown} is not a TOML file"))?;
        for (name, value) in table {
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(yes) => yes.to_string(),
                _ => bail!("{shown}: `{name}` takes one text, number or true/false"),
            };
            self.put(&name, value, Source::File)
                .with_context(|| shown.to_string())?;
        }
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one room that may")]
    fn read_environment(&mut self) -> anyhow::Result<()> {
        let mut known: Vec<String> = OTHERS.iter().map(ToString::to_string).collect();
        for setting in SETTINGS {
            let variable = format!("BANCHECK_{}", setting.name.to_uppercase());
            let file = format!("{variable}_FILE");
            match (std::env::var(&variable), std::env::var(&file)) {
                (Ok(_), Ok(_)) => bail!("set {variable} or {file}, not both"),
                (Ok(value), Err(_)) => self.put(setting.name, value, Source::Environment)?,
                (Err(_), Ok(path)) => {
                    let value = std::fs::read_to_string(&path)
                        .with_context(|| format!("{file}: cannot read {path}"))?;
                    self.put(
                        setting.name,
                        value.trim_end().to_owned(),
                        Source::Environment,
                    )?;
                }
                (Err(_), Err(_)) => {}
            }
            known.extend([variable, file]);
        }
        // Kubernetes and test harnesses set such names, so a stranger is worth a word, not a stop.
        let strangers: Vec<String> = std::env::vars_os()
            .filter_map(|(name, _)| name.into_string().ok())
            .filter(|name| name.starts_with("BANCHECK_") && !name.starts_with("BANCHECK_TEST_"))
            .filter(|name| !known.contains(name))
            .collect();
        self.unknown_variables = strangers;
        Ok(())
    }

    fn read_flags(&mut self, flags: &Flags) -> anyhow::Result<()> {
        let Flags {
            config: _,
            set,
            check_listen,
            admin_listen,
            metrics_listen,
            data_dir,
            database_url,
            insecure_allow_anonymous,
        } = flags;
        for pair in set {
            let (name, value) = pair.split_once('=').context("--set takes NAME=VALUE")?;
            self.put(name, value.to_owned(), Source::Flag)?;
        }
        for (name, value) in [
            ("check_listen", check_listen),
            ("admin_listen", admin_listen),
            ("metrics_listen", metrics_listen),
            ("data_dir", data_dir),
            ("database_url", database_url),
        ] {
            if let Some(value) = value {
                self.put(name, value.clone(), Source::Flag)?;
            }
        }
        if *insecure_allow_anonymous {
            self.put("insecure_allow_anonymous", "true".to_owned(), Source::Flag)?;
        }
        Ok(())
    }

    /// Every setting with its value, secrets hidden, and where the value comes from.
    pub fn shown(&self) -> impl Iterator<Item = (&'static Setting, String, Source)> {
        SETTINGS.iter().map(|setting| {
            let (value, source) = &self.values[setting.name];
            let hidden = setting.secret && !value.is_empty();
            let value = if hidden {
                "(set, not shown)".to_owned()
            } else {
                value.clone()
            };
            (setting, value, *source)
        })
    }

    fn text(&self, name: &str) -> &str {
        self.values
            .get(name)
            .map_or("", |(value, _)| value.as_str())
    }

    fn number(&self, name: &str) -> anyhow::Result<u64> {
        let text = self.text(name);
        text.parse()
            .with_context(|| format!("{name} takes a whole number, not `{text}`"))
    }

    /// A time; `None` = 0, which is for ever or not at all.
    fn seconds(&self, name: &str) -> anyhow::Result<Option<Duration>> {
        let seconds = self.number(name)?;
        ensure!(
            seconds <= MOST_SECONDS,
            "{name} takes at most {MOST_SECONDS} seconds, a year"
        );
        Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
    }

    fn places(&self, name: &str) -> anyhow::Result<usize> {
        let places = usize::try_from(self.number(name)?)?;
        ensure!(
            places > 0,
            "{name} takes 1 or more: with 0 nobody would be let in"
        );
        Ok(places)
    }

    fn rate(&self, name: &str) -> anyhow::Result<u32> {
        u32::try_from(self.number(name)?).with_context(|| format!("{name} is too large"))
    }

    fn flag(&self, name: &str) -> anyhow::Result<bool> {
        match self.text(name) {
            "true" | "on" => Ok(true),
            "false" | "off" => Ok(false),
            other => bail!("{name} is on or off, not `{other}`"),
        }
    }

    fn address(&self, name: &str) -> anyhow::Result<SocketAddr> {
        let text = self.text(name);
        let found = text.to_socket_addrs().ok().and_then(|mut all| all.next());
        found.with_context(|| format!("{name} takes host:port, not `{text}`"))
    }

    /// The key to everything that an embedded store's folder holds, if it is ours to read.
    pub fn admin_token(&self) -> Option<String> {
        let Ok(Place::Sqlite(folder)) = self.place() else {
            return None;
        };
        let text = std::fs::read_to_string(folder.join(ADMIN_TOKEN)).ok()?;
        Some(text.trim().to_owned())
    }

    /// Where bans are kept.
    pub fn place(&self) -> anyhow::Result<Place> {
        let url = |name: &str| match self.text(name) {
            "" => Ok(None),
            url if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                Ok(Some(url.to_owned()))
            }
            _ => bail!("{name} takes a postgres:// URL"),
        };
        let apart = Apart {
            migrate_url: url("migrate_database_url")?,
            reader_url: url("reader_database_url")?,
        };
        let Some(url) = url("database_url")? else {
            ensure!(
                apart.migrate_url.is_none() && apart.reader_url.is_none(),
                "migrate_database_url and reader_database_url need database_url"
            );
            return Ok(Place::Sqlite(self.text("data_dir").into()));
        };
        Ok(Place::Postgres {
            url,
            bell: self.flag("feed_bell")?,
            apart,
        })
    }

    /// Reads every setting for what it means.
    pub fn config(&self) -> anyhow::Result<Config> {
        let threads = match usize::try_from(self.number("check_threads")?)? {
            0 => std::thread::available_parallelism().map_or(1, Into::into),
            threads => threads,
        };
        let config = Config {
            check_listen: self.address("check_listen")?,
            admin_listen: self.address("admin_listen")?,
            metrics_listen: self.address("metrics_listen")?,
            place: self.place()?,
            master_key: match self.text("master_key") {
                "" => None,
                text => Some(read_key(text)?),
            },
            other_master_keys: key::read_keys(self.text("other_master_keys"))
                .context("other_master_keys")?,
            check_threads: threads.min(256),
            view_bytes: self.number("view_memory_mib")?.saturating_mul(1 << 20),
            auth: false,
            jwt: self.jwt()?,
            tls: self.tls()?,
            traces: self.traces()?,
            limits: Limits {
                checks: self.places("max_checks")?,
                writes: self.places("max_writes")?,
                imports: self.places("max_imports")?,
                streams: self.places("max_streams")?,
                connections: self.places("max_connections")?,
                tenant_checks_per_second: self.rate("tenant_checks_per_second")?,
                tenant_writes_per_second: self.rate("tenant_writes_per_second")?,
            },
            connection_age: self.seconds("max_connection_age_seconds")?,
            drain_delay: self.seconds("drain_delay_seconds")?.unwrap_or_default(),
            unknown_variables: self.unknown_variables.clone(),
            log: self.text("log").to_owned(),
            log_format: match self.text("log_format") {
                "pretty" => LogFormat::Pretty,
                "json" => LogFormat::Json,
                other => bail!("log_format is pretty or json, not `{other}`"),
            },
        };
        let open = [config.check_listen, config.admin_listen]
            .iter()
            .any(|address| !address.ip().is_loopback());
        let anonymous = self.flag("insecure_allow_anonymous")?;
        let auth = match self.text("auth") {
            "on" => true,
            "off" => false,
            "auto" => {
                let by_certificate = config
                    .tls
                    .as_ref()
                    .is_some_and(|tls| tls.client_ca.is_some());
                config.jwt.is_some() || by_certificate || (open && !anonymous)
            }
            other => bail!("auth is auto, on or off, not `{other}`"),
        };
        ensure!(
            auth || !open || anonymous,
            "authentication is off, so anybody who reaches the listeners may do anything: listen on \
             loopback, or say --insecure-allow-anonymous"
        );
        Ok(Config { auth, ..config })
    }
}
