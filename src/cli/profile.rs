//! `bancheck profile`: the servers that are asked by a short name; no server is needed.

use anyhow::Context;
use clap::Subcommand;
use serde::Serialize;

use super::{
    Outcome,
    connection::Connection,
    output::{self, Display, Facts, Format, Sheet, note},
};
use crate::config::{Profile, Profiles};

const EXAMPLE: &str = "\
A file of profiles, ~/.config/bancheck/profiles.toml unless --profiles names another:

  default = \"staging\"          # the one used where none is named

  [profile.staging]
  endpoint = \"https://bans.staging.example:50051\"
  admin_endpoint = \"https://bans.staging.example:50052\"
  tenant = \"acme\"
  token_file = \"staging.token\" # or token = \"bk_…\"; paths are told from the file's folder
  ca = \"staging-ca.pem\"
  # server_name: what its certificate bears, where that is not the host of the address
  # client_cert and client_key: a certificate to show, and its key

Flags win over variables, variables over the profile. A profile's credential is shown to the
addresses of the profile alone.";

/// What to do about profiles.
#[derive(Subcommand)]
#[command(after_help = EXAMPLE)]
pub(crate) enum ProfileCommand {
    /// List the profiles there are
    List,
    /// Show a profile, but for its credential
    Show {
        /// Its name [default: the one that would be used]
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
}

/// A profile as it is shown.
#[derive(Serialize)]
struct Shown<'a> {
    profile: &'a str,
    default: bool,
    endpoint: &'a str,
    admin_endpoint: &'a str,
    tenant: &'a str,
    credential: String,
    ca: String,
    server_name: &'a str,
    client_cert: String,
    client_key: String,
}

fn shown<'a>(profiles: &'a Profiles, name: &'a str, profile: &'a Profile) -> Shown<'a> {
    let Profile {
        endpoint,
        admin_endpoint,
        tenant,
        token,
        token_file,
        ca,
        server_name,
        client_cert,
        client_key,
    } = profile;
    let path = |path: &Option<std::path::PathBuf>| {
        path.as_ref()
            .map(|path| path.display().to_string())
            .unwrap_or_default()
    };
    Shown {
        profile: name,
        default: profiles.default.as_deref() == Some(name),
        endpoint: endpoint.as_deref().unwrap_or_default(),
        admin_endpoint: admin_endpoint.as_deref().unwrap_or_default(),
        tenant: tenant.as_deref().unwrap_or_default(),
        credential: match (token, token_file) {
            (Some(_), _) => "(set, not shown)".to_owned(),
            (None, Some(file)) => format!("in {}", file.display()),
            (None, None) => String::new(),
        },
        ca: path(ca),
        server_name: server_name.as_deref().unwrap_or_default(),
        client_cert: path(client_cert),
        client_key: path(client_key),
    }
}

impl ProfileCommand {
    pub(crate) fn run(self, connection: &Connection, display: &Display) -> anyhow::Result<Outcome> {
        let profiles = Profiles::read(connection.profiles.as_deref())?;
        if let Some(warning) = &profiles.warning {
            note(warning);
        }
        match self {
            Self::List => {
                let all = profiles.all.iter();
                let all: Vec<_> = all.map(|(name, one)| shown(&profiles, name, one)).collect();
                if all.is_empty() {
                    note(&format!("no profiles in {}", profiles.path.display()));
                }
                display.list(&all, || sheet(&all), || sheet(&all))?;
            }
            Self::Show { name } => {
                let named = name.as_deref().or(connection.profile.as_deref());
                let chosen = profiles.choose(named)?;
                let (name, profile) = chosen.with_context(|| {
                    let path = profiles.path.display();
                    format!("no profile would be used: {path} names none as its default")
                })?;
                let one = shown(&profiles, name, profile);
                match display.format() {
                    Format::Json => output::json(&one)?,
                    Format::Csv => output::print(&sheet(&[one]).to_csv()?)?,
                    Format::Table => output::print(&facts(one))?,
                }
            }
        }
        Ok(Outcome::Done)
    }
}

fn sheet(all: &[Shown]) -> Sheet {
    let row = |one: &Shown| {
        [
            one.profile.to_owned(),
            one.default.to_string(),
            one.endpoint.to_owned(),
            one.admin_endpoint.to_owned(),
            one.tenant.to_owned(),
            one.credential.clone(),
        ]
    };
    let header = [
        "profile",
        "default",
        "endpoint",
        "admin_endpoint",
        "tenant",
        "credential",
    ];
    Sheet::new(header, all.iter().map(row))
}

fn facts(one: Shown) -> String {
    let mut facts = Facts::default();
    facts
        .add("endpoint", one.endpoint)
        .add("admin endpoint", one.admin_endpoint)
        .add("tenant", one.tenant)
        .add("credential", one.credential)
        .add("roots", one.ca)
        .add("server name", one.server_name)
        .add("certificate", one.client_cert)
        .add("its key", one.client_key);
    let default = if one.default { " (default)" } else { "" };
    format!("{}{default}\n{}", one.profile, facts.to_text())
}
