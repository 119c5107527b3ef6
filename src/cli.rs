//! The command line: the binary is also the client of its own server, over gRPC.
//!
//! What was asked for goes to standard output and everything else to standard error, so that any
//! answer can be piped on. The exit code is an answer too: see [`Outcome`]. An error is never
//! mistaken for a ban, nor a ban for an error.
//!
//! **Invariant:** apart from `local`, nothing here opens a store or decides anything about a ban.
//! It asks the server as any other client would, and owes its answers to the same contract.

mod ban;
mod check;
mod connection;
mod exception;
mod expiry;
mod explain;
mod failure;
mod grant;
mod identity;
mod key;
mod link;
mod list;
mod local;
mod moment;
mod normalize;
mod output;
mod proto_json;
mod queue;
mod rights;
mod tenant;
mod vocabulary;
mod watch;
mod writing;

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource};

use self::{
    connection::Connection,
    local::{BenchCommand, ConfigCommand, DigestFlags, MigrateFlags},
    output::Display,
};
use crate::{config::Flags, domain::clock::Clock};

const EXIT_CODES: &str = "\
Exit codes:
  0  allowed, or done
  1  an error, or no decision
  2  the command line was not understood
  3  banned (`check` only)

Try it:
  bancheck serve
  bancheck ban add --channel call --reason \"test\" --for \"+1 hour\" +420601123456
  bancheck check --channel call +420601123456";

/// The subcommands that ask no server: the flags about one would only mislead in their help.
const WITHOUT_A_SERVER: [&str; 5] = ["serve", "migrate", "config", "bench", "digest"];

/// The flag that names a tenant.
const TENANT: &str = "tenant";

/// Answers, before every call, chat and message: is this customer banned here?
#[derive(Parser)]
#[command(name = "bancheck", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    display: Display,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ask whether an interaction may go on; exits with 3 when it may not
    Check(Box<check::CheckCommand>),
    /// Tell why an interaction may go on or may not
    Explain(Box<explain::Explain>),
    /// Make, find, change and end bans
    #[command(subcommand)]
    Ban(Box<ban::BanCommand>),
    /// Show what becomes of bans while it happens
    Watch(Box<watch::WatchFlags>),
    /// Show the form in which identities are compared, and the keys they are found by
    Normalize(Box<normalize::Normalize>),
    /// Set up tenants
    #[command(subcommand)]
    Tenant(Box<tenant::TenantCommand>),
    /// Set up ban lists and the queues that check them
    #[command(subcommand)]
    List(Box<list::ListCommand>),
    /// Spare customers whatever bans there are
    #[command(subcommand)]
    Exception(Box<exception::ExceptionCommand>),
    Link(Box<link::Link>),
    /// Say what queues do about bans
    #[command(subcommand)]
    Queue(Box<queue::QueueCommand>),
    /// Say who may ban from which queue
    #[command(subcommand)]
    Rights(Box<rights::RightsCommand>),
    /// Make, list and end the keys that callers show, and make master keys
    #[command(subcommand)]
    Key(Box<key::KeyCommand>),
    /// Say what principals may do
    #[command(subcommand)]
    Grant(Box<grant::GrantCommand>),
    /// Run the server
    Serve(Box<Flags>),
    /// Bring the database to this version's schema, then exit
    Migrate(Box<MigrateFlags>),
    /// Show or check the server's settings
    #[command(subcommand)]
    Config(Box<ConfigCommand>),
    /// Digest what the database holds of each tenant, and tell whether pods hold the same
    Digest(Box<DigestFlags>),
    /// Prepare and measure load
    #[command(subcommand)]
    Bench(Box<BenchCommand>),
}

/// How a command ended, as its exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Allowed, or done.
    Done,
    /// Some of the work failed, and has been reported.
    Failed,
    /// The interaction checked is banned.
    Banned,
}

impl Outcome {
    /// The exit code; 2 is clap's, for a command line it does not understand.
    const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Banned => 3,
        }
    }
}

/// What a command has at hand: whom to ask, how to show the answer, and the time.
pub(crate) struct Session<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) display: &'a Display,
    clock: &'a dyn Clock,
}

impl Session<'_> {
    /// The time by the clock on the wall.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock
            .read()
            .now
            .to_utc()
            .unwrap_or(DateTime::UNIX_EPOCH)
    }
}

/// Does what the process's command line says, and says how it went.
///
/// A command line that cannot be understood ends the process, with code 2; `--help` and
/// `--version` end it with 0.
pub fn main(clock: &dyn Clock) -> ExitCode {
    let matches = command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let named = matches
        .value_source(TENANT)
        .is_some_and(|source| source != ValueSource::DefaultValue);
    match cli.run(clock, named) {
        Ok(code) => code,
        Err(error) => {
            output::note(&failure::describe(&error));
            ExitCode::from(Outcome::Failed.code())
        }
    }
}

impl Cli {
    /// `named`: whether somebody said which tenant it is about.
    fn run(self, clock: &dyn Clock, named: bool) -> anyhow::Result<ExitCode> {
        let Self {
            connection,
            display,
            command,
        } = self;
        let session = Session {
            connection: &connection,
            display: &display,
            clock,
        };
        let outcome = match command {
            Command::Check(check) => block_on(check.run(&session)),
            Command::Explain(explain) => block_on(explain.run(&session)),
            Command::Ban(command) => block_on(command.run(&session)),
            Command::Watch(watch) => block_on(watch.run(&session)),
            Command::Normalize(normalize) => block_on(normalize.run(&session)),
            Command::Tenant(command) => block_on(command.run(&session)),
            Command::List(command) => block_on(command.run(&session)),
            Command::Exception(command) => block_on(command.run(&session)),
            Command::Link(link) => block_on(link.run(&session)),
            Command::Queue(command) => block_on(command.run(&session)),
            Command::Rights(command) => block_on(command.run(&session)),
            Command::Key(command) => block_on(command.run(&session)),
            Command::Grant(command) => block_on(command.run(&session)),
            Command::Serve(flags) => return local::serve(&flags),
            Command::Migrate(flags) => return local::migrate(&flags),
            Command::Config(command) => return local::config(*command, &display),
            Command::Bench(command) => return local::bench(*command),
            Command::Digest(flags) => {
                let only = named.then_some(connection.tenant.as_str());
                return local::digest(&flags, only, &display);
            }
        };
        outcome.map(|outcome| ExitCode::from(outcome.code()))
    }
}

/// Runs a client's work on this thread: it waits for one server and needs no more than that.
fn block_on(work: impl Future<Output = anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// The whole command line, with the connection's flags hidden where no server is asked.
///
/// They are accepted there all the same, so that a wrapper may pass them to every command.
fn command() -> clap::Command {
    let connection = Connection::augment_args(clap::Command::new("connection"));
    WITHOUT_A_SERVER
        .into_iter()
        .fold(Cli::command(), |command, name| {
            let hidden = connection.get_arguments().map(|flag| {
                let flag = flag.clone();
                if name == "digest" && flag.get_id() == TENANT {
                    return flag
                        .help("Only this tenant [default: all of them]")
                        .hide_default_value(true);
                }
                flag.hide(true)
            });
            command.mut_subcommand(name, |local| local.args(hidden))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code that clap would exit with.
    fn refused(line: &str) -> Option<i32> {
        command()
            .try_get_matches_from(line.split(' '))
            .err()
            .map(|error| error.exit_code())
    }

    #[test]
    fn the_flags_do_not_contradict_one_another() {
        command().debug_assert();
    }

    #[test]
    fn every_exit_code_means_one_thing() {
        let codes = [Outcome::Done, Outcome::Failed, Outcome::Banned].map(Outcome::code);
        assert_eq!(codes, [0, 1, 3]);
        assert_eq!(refused("bancheck check"), Some(2));
        assert_eq!(refused("bancheck check --channel fax 1"), Some(2));
        assert_eq!(refused("bancheck --help"), Some(0));
        assert_eq!(refused("bancheck check --channel call 1"), None);
    }

    #[test]
    fn a_ban_is_given_one_end_at_most() {
        let ban = |rest: &str| refused(&format!("bancheck ban add --reason r 1 {rest}"));
        assert_eq!(ban("--for 6days"), None);
        assert_eq!(ban("--for permanent"), None);
        assert_eq!(ban("--for 6days --permanent"), Some(2));
        assert_eq!(ban("--until 2026-12-31T00:00:00Z --permanent"), Some(2));
        assert_eq!(ban("--for nonsense"), Some(2));
        assert_eq!(ban("--until tomorrow"), Some(2));
    }

    #[test]
    fn a_change_of_nothing_is_refused() {
        assert_eq!(refused("bancheck ban update 1"), Some(2));
        assert_eq!(refused("bancheck ban update 1 --now"), None);
        assert_eq!(refused("bancheck ban update 1 --now --permanent"), Some(2));
        assert_eq!(
            refused("bancheck ban update 1 --shadow --enforced"),
            Some(2)
        );
    }

    #[test]
    fn the_connection_may_be_named_before_or_after_the_subcommand() {
        assert_eq!(refused("bancheck --tenant t ban list --token x"), None);
        assert_eq!(refused("bancheck ban --output json list"), None);
    }

    #[test]
    fn every_flag_is_explained() {
        fn walk(command: &clap::Command) {
            for flag in command.get_arguments() {
                assert!(
                    flag.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    flag.get_id()
                );
            }
            assert!(command.get_about().is_some(), "{}", command.get_name());
            command.get_subcommands().for_each(walk);
        }
        let mut command = command();
        command.build();
        walk(&command);
    }
}
