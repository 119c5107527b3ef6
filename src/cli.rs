//! The command line: the binary is also the client of its own server, over gRPC.
//!
//! What was asked for goes to standard output and everything else to standard error, so that any
//! answer can be piped on. The exit code is an answer too: see [`Outcome`]. An error is never
//! mistaken for a ban, nor a ban for an error.
//!
//! **Invariant:** apart from `local`, nothing here opens a store or decides anything about a ban.
//! It asks the server as any other client would, and owes its answers to the same contract.

mod ban;
mod bench;
mod check;
mod connection;
mod doctor;
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
mod pages;
mod person;
mod profile;
mod proto_json;
mod queue;
mod rights;
mod tenant;
mod vocabulary;
mod watch;
mod writing;

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{
    ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource,
};

use self::{
    bench::BenchCommand,
    connection::Connection,
    local::{ConfigCommand, DigestFlags, ErasuresCommand, MigrateFlags},
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
const WITHOUT_A_SERVER: [&str; 9] = [
    "serve",
    "migrate",
    "config",
    "bench seed",
    "digest",
    "erasures",
    "profile",
    "completions",
    "manual",
];
/// Flags of the connection that mean something all the same.
const MEANT_ALL_THE_SAME: [(&str, &str); 2] = [("digest", TENANT), ("profile", "profiles")];

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
    Check(Box<check::CheckCommand>),
    Explain(Box<explain::Explain>),
    /// Make, find, change and end bans
    #[command(subcommand)]
    Ban(Box<ban::BanCommand>),
    Watch(Box<watch::WatchFlags>),
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
    Erase(Box<person::Erase>),
    Disclose(Box<person::Disclose>),
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
    Doctor(Box<doctor::Doctor>),
    /// Tell the servers that are asked by a short name
    #[command(subcommand)]
    Profile(Box<profile::ProfileCommand>),
    /// Run the server
    Serve(Box<Flags>),
    /// Bring the database to this version's schema, then exit
    Migrate(Box<MigrateFlags>),
    /// Show or check the server's settings
    #[command(subcommand)]
    Config(Box<ConfigCommand>),
    /// Tell what was erased, and erase it again after a restore
    #[command(subcommand)]
    Erasures(Box<ErasuresCommand>),
    /// Digest what the database holds of each tenant, and tell whether pods hold the same
    Digest(Box<DigestFlags>),
    /// Prepare and measure load
    #[command(subcommand)]
    Bench(Box<BenchCommand>),
    Completions(pages::Completions),
    Manual(pages::Manual),
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
    match cli.run(clock, &matches) {
        Ok(code) => code,
        Err(error) => {
            output::note(&failure::describe(&error));
            ExitCode::from(Outcome::Failed.code())
        }
    }
}

impl Cli {
    fn run(self, clock: &dyn Clock, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
        let Self {
            mut connection,
            display,
            command,
        } = self;
        if asks_a_server(matches) {
            connection.fill_in(matches)?;
        }
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
            Command::Erase(erase) => block_on(erase.run(&session)),
            Command::Disclose(disclose) => block_on(disclose.run(&session)),
            Command::Queue(command) => block_on(command.run(&session)),
            Command::Rights(command) => block_on(command.run(&session)),
            Command::Key(command) => block_on(command.run(&session)),
            Command::Grant(command) => block_on(command.run(&session)),
            Command::Serve(flags) => return local::serve(&flags),
            Command::Migrate(flags) => return local::migrate(&flags),
            Command::Config(command) => return local::config(*command, &display),
            Command::Bench(command) => match *command {
                BenchCommand::Seed(flags) => return local::seed(&flags),
                BenchCommand::Load(load) => on_all_cores(load.run(&session)),
            },
            Command::Doctor(doctor) => block_on(doctor.run(&session)),
            Command::Profile(command) => command.run(&connection, &display),
            Command::Completions(completions) => completions.run(self::command()),
            Command::Manual(manual) => manual.run(self::command()),
            Command::Erasures(command) => return local::erasures(&command),
            Command::Digest(flags) => {
                let named = matches
                    .value_source(TENANT)
                    .is_some_and(|source| source != ValueSource::DefaultValue);
                let only = named.then_some(connection.tenant.as_str());
                return local::digest(&flags, only, &display);
            }
        };
        outcome.map(|outcome| ExitCode::from(outcome.code()))
    }
}

fn asks_a_server(matches: &ArgMatches) -> bool {
    let Some((name, below)) = matches.subcommand() else {
        return false;
    };
    let whole = format!("{name} {}", below.subcommand_name().unwrap_or_default());
    !WITHOUT_A_SERVER.contains(&name) && !WITHOUT_A_SERVER.contains(&&*whole)
}

/// Runs a client's work on this thread: it waits for one server and needs no more than that.
fn block_on(work: impl Future<Output = anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// Runs the work of very many clients.
fn on_all_cores(work: impl Future<Output = anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    tokio::runtime::Builder::new_multi_thread()
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
                let meant = MEANT_ALL_THE_SAME
                    .iter()
                    .any(|(command, id)| *command == name && flag.get_id() == *id);
                if meant && flag.get_id() == TENANT {
                    return flag
                        .help("Only this tenant [default: all of them]")
                        .hide_default_value(true);
                }
                flag.hide(!meant)
            });
            match name.split_once(' ') {
                None => command.mut_subcommand(name, |local| local.args(hidden)),
                Some((above, name)) => command.mut_subcommand(above, |above| {
                    above.mut_subcommand(name, |local| local.args(hidden))
                }),
            }
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
    fn no_argument_of_a_command_has_the_name_of_one_that_all_commands_have() {
        fn assert_apart(command: &clap::Command, of_all: &[String]) {
            for own in command.get_arguments().filter(|own| !own.is_global_set()) {
                let (id, name) = (own.get_id().as_str(), command.get_name());
                assert!(!of_all.iter().any(|one| one == id), "{name}: {id}");
            }
            for sub in command.get_subcommands() {
                assert_apart(sub, of_all);
            }
        }
        let command = command();
        let of_all = command.get_arguments().filter(|one| one.is_global_set());
        let of_all: Vec<_> = of_all.map(|one| one.get_id().to_string()).collect();
        assert!(of_all.iter().any(|one| one == "profile"), "{of_all:?}");
        assert_apart(&command, &of_all);
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

    #[test]
    fn every_flag_with_a_value_says_what_holds_without_it() {
        fn walk(command: &clap::Command, unsaid: &mut Vec<String>) {
            for flag in command.get_arguments() {
                let takes = flag.get_action().takes_values() && !flag.is_positional();
                let told = flag.get_long_help().or(flag.get_help());
                let told = told.map(ToString::to_string).unwrap_or_default();
                let said = !flag.get_default_values().is_empty()
                    || ["[default:", "repeat"]
                        .iter()
                        .any(|words| told.contains(words));
                if takes && !flag.is_required_set() && !flag.is_hide_set() && !said {
                    unsaid.push(format!("{} --{}", command.get_name(), flag.get_id()));
                }
            }
            command
                .get_subcommands()
                .for_each(|below| walk(below, unsaid));
        }
        let mut command = command();
        command.build();
        let mut unsaid = Vec::new();
        walk(&command, &mut unsaid);
        unsaid.sort();
        unsaid.dedup();
        assert!(unsaid.is_empty(), "{unsaid:?}");
    }
}
