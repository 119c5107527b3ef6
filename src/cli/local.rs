//! What the command line does on this machine, without asking a server: run one, prepare a
//! database, show settings, fill a tenant, digest what is there.

mod digest;
mod erasures;
mod first_key;
mod rekey;
mod seed;
mod writer;

use std::{net::SocketAddr, process::ExitCode};

use anyhow::{Context, ensure};
use clap::Subcommand;
use serde::Serialize;

pub(super) use self::{
    digest::DigestFlags,
    erasures::ErasuresCommand,
    first_key::{first_key, own_database},
    seed::{SeedFlags, made_up_number, made_up_tenants},
};
use super::output::{Display, Sheet, print};
use crate::{
    config::{Config, Effective, Flags, Setting, Source},
    server::{Server, data_lock, forget_own_keys, master_key, new_own_key},
    store::{self, Place},
    telemetry,
};

/// Looking at the server's settings.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show every setting, its value, where it comes from, and what it is for
    Show(Flags),
    /// Tell whether a server could run on the settings
    Check(Flags),
}

/// Bringing a database up to date.
#[derive(Debug, clap::Args)]
pub(crate) struct MigrateFlags {
    /// File bans and exceptions anew that an older version has read, or that are filed under another
    /// master key, once no server of that version or with that key as its own runs any more; on
    /// Postgres servers of this version may run meanwhile, and follow
    #[arg(long)]
    rekey: bool,
    /// Replace the master key in the data folder of the embedded database, and file all anew under it
    #[arg(long)]
    new_master_key: bool,
    #[command(flatten)]
    server: Flags,
}

fn read(flags: &Flags) -> anyhow::Result<Config> {
    let effective = Effective::gather(flags)?;
    effective.config()
}

pub(super) fn serve(flags: &Flags) -> anyhow::Result<ExitCode> {
    let config = read(flags)?;
    let _log = telemetry::log(config.log_format, &config.log);
    if !config.unknown_variables.is_empty() {
        let variables = config.unknown_variables.join(", ");
        tracing::warn!(variables, "unknown variables are not read");
    }
    if !config.auth {
        tracing::warn!("authentication is off: whoever reaches the listeners may do anything");
    }
    let server = Server::start(&config)?;
    tracing::info!(
        check = %server.check,
        admin = %server.admin,
        metrics = %server.metrics,
        store = match &config.place {
            Place::Sqlite(folder) => format!("SQLite in {}", folder.display()),
            Place::Postgres { .. } => "Postgres".to_owned(),
        },
        "listening"
    );
    let hint = hint(&config, server.check, server.admin);
    server.run(|| tracing::info!("ready; {hint}"))?;
    Ok(ExitCode::SUCCESS)
}

/// A command to paste: the first question, where it can be asked as it stands.
fn hint(config: &Config, check: SocketAddr, admin: SocketAddr) -> String {
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "bancheck".to_owned());
    let usual = check.port() == 50_051 && check.ip().is_loopback();
    match (&config.place, &config.tls) {
        (Place::Sqlite(_), None) => {
            let elsewhere = if usual {
                String::new()
            } else {
                format!(" --endpoint http://{check}")
            };
            format!(
                "ask the first question:\n\n    {program} check{elsewhere} --channel call +420601123456\n"
            )
        }
        // A tenant may be wanting, or a credential, or the name that the certificate is for.
        (_, tls) => {
            let scheme = if tls.is_some() { "https" } else { "http" };
            format!(
                "see what a caller needs:\n\n    {program} doctor --endpoint {scheme}://{check} \
                 --admin-endpoint {scheme}://{admin}\n"
            )
        }
    }
}

pub(super) fn migrate(flags: &MigrateFlags) -> anyhow::Result<ExitCode> {
    let config = read(&flags.server)?;
    let _log = telemetry::log(config.log_format, &config.log);
    let _lock = data_lock(&config.place)?;
    let mut key = master_key(&config)?;
    runtime()?.block_on(async {
        let store = store::open(&config.place).await?;
        store.migrate().await?;
        store.check_key(&key.fingerprints()).await?;
        print("the database is up to date")?;
        if flags.new_master_key {
            ensure!(
                new_own_key(&config)?,
                "the master key is given in the settings: replace it there, step by step, as \
                 docs/runbook.md says in \"Replacing the master key\""
            );
            key = master_key(&config)?;
            store.check_key(&key.fingerprints()).await?;
        }
        if flags.rekey || flags.new_master_key {
            let embedded = matches!(config.place, Place::Sqlite(_));
            rekey::rekey(&*store, &key, embedded).await?;
            if forget_own_keys(&config)? {
                print(
                    "the old master key is gone from the data folder: keep a copy of the new one",
                )?;
            }
        }
        anyhow::Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn erasures(command: &ErasuresCommand) -> anyhow::Result<ExitCode> {
    let config = read(command.server())?;
    let _log = telemetry::log(config.log_format, &config.log);
    let _lock = data_lock(&config.place)?;
    let key = master_key(&config)?;
    runtime()?.block_on(async {
        let store = store::open(&config.place).await?;
        store.migrate().await?;
        store.check_key(&key.fingerprints()).await?;
        match command {
            ErasuresCommand::List(_) => erasures::list(&*store).await,
            ErasuresCommand::Replay { file, .. } => erasures::replay(&*store, &key, file).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A setting as it is shown.
#[derive(Serialize)]
struct Shown {
    setting: &'static str,
    value: String,
    from: &'static str,
    default: &'static str,
    about: &'static str,
}

fn shown(flags: &Flags) -> anyhow::Result<Vec<Shown>> {
    let one = |(setting, value, source): (&'static Setting, String, Source)| Shown {
        setting: setting.name,
        value,
        from: match source {
            Source::Default => "default",
            Source::File => "file",
            Source::Environment => "environment",
            Source::Flag => "flag",
        },
        default: setting.default,
        about: setting.about,
    };
    Ok(Effective::gather(flags)?.shown().map(one).collect())
}

fn sheet(settings: &[Shown]) -> Sheet {
    let row = |shown: &Shown| {
        let Shown {
            setting,
            value,
            from,
            default,
            about,
        } = shown;
        [*setting, value, from, default, about].map(ToOwned::to_owned)
    };
    Sheet::new(
        ["setting", "value", "from", "default", "what it is for"],
        settings.iter().map(row),
    )
}

pub(super) fn config(command: ConfigCommand, display: &Display) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Show(flags) => {
            let settings = shown(&flags)?;
            display.list(&settings, || sheet(&settings), || sheet(&settings))?;
        }
        ConfigCommand::Check(flags) => {
            let config = read(&flags)?;
            if let Place::Postgres { .. } = config.place {
                master_key(&config)?;
            }
            print("a server can run on these settings")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn seed(flags: &SeedFlags) -> anyhow::Result<ExitCode> {
    let config = read(&flags.server)?;
    let _log = telemetry::log(config.log_format, &config.log);
    let _lock = data_lock(&config.place)?;
    let key = master_key(&config)?;
    runtime()?.block_on(seed::seed(flags, &config.place, key))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads beside a server that runs: neither locks anything that the other needs.
pub(super) fn digest(
    flags: &DigestFlags,
    only: Option<&str>,
    display: &Display,
) -> anyhow::Result<ExitCode> {
    let config = read(&flags.server)?;
    let _log = telemetry::log(config.log_format, &config.log);
    let outcome = runtime()?.block_on(digest::digest(flags, &config, only, display))?;
    Ok(ExitCode::from(outcome.code()))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    built.context("cannot start threads")
}
