//! What can go wrong with a store, and what of it passes.

use thiserror::Error;

/// What can go wrong with a store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database cannot be reached, or did not answer as one that works.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// The server only follows another one, and may lag behind what was acknowledged.
    #[error("this database server only follows another one (it is in recovery)")]
    Following,
    /// A unique constraint stood in the way.
    #[error("something alike exists already")]
    Taken,
    /// A ban alike has not ended (S-10).
    #[error("a ban alike has not ended")]
    Alike,
    /// A row holds what no version of this program writes.
    #[error("the database holds something unreadable: {0}")]
    Corrupt(&'static str),
    /// The schema could not be brought up to date.
    #[error("the database schema could not be migrated")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// A later version took away what this one uses.
    #[error(
        "the database's schema is of a later version that this one cannot work with (migration {0}): \
         start that version, or put back a backup of before it"
    )]
    Outgrown(i64),
    /// The database was filled under another master key.
    #[error(
        "this database was filled under another master key: with this one nobody would be found \
         banned; start with the key it was made with"
    )]
    WrongKey,
    /// Rows may still lie under a master key that is not of the ring.
    #[error(
        "some of what is in this database is still filed under another master key ({0}…), and with \
         these nobody banned under it would be found: give it in other_master_keys until `bancheck \
         migrate --rekey` says that nothing is left under it"
    )]
    KeyWanting(String),
    /// A master key was to be used that other pods may not recognise yet.
    #[error(
        "pods may be running that do not recognise this master key ({0}…) yet, and would not find whom \
         this one bans: roll it out in other_master_keys first, beside the master_key that there is \
         ({1}…), on every pod"
    )]
    KeyUnheard(String, String),
    /// Who we are at the server may not become who writes or reads there.
    #[error(
        "the role that connects to Postgres may not become {0}; an administrator runs, once: GRANT \
         bancheck_app, bancheck_reader TO that role"
    )]
    NotOurRole(&'static str),
}

impl StoreError {
    /// The error and what caused it, on one line.
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError;
        match error {
            // A server that is away or starting up; what a script says is of class 42 and others.
            MigrateError::Execute(cause) if passes(&cause) => Self::Unavailable(cause),
            error => Self::Migration(error),
        }
    }
}

/// Whether a failure is one of reaching the server rather than of what it was told.
fn passes(error: &sqlx::Error) -> bool {
    match error {
        // Class 57: shutting down or starting up; 53: out of connections; 08: connection; 55: a lock.
        sqlx::Error::Database(cause) => cause.code().is_some_and(|code| {
            ["57", "53", "08", "55"]
                .iter()
                .any(|class| code.starts_with(class))
        }),
        _ => true,
    }
}

/// What keeps bans alike apart: in Postgres an index of this name, in SQLite triggers that name it.
const ONE_ALIKE: &str = "bans_one_alike";

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(cause) if cause.message().contains(ONE_ALIKE) => Self::Alike,
            sqlx::Error::Database(cause) if cause.is_unique_violation() => Self::Taken,
            _ => Self::Unavailable(error),
        }
    }
}

/// Shorthand of this floor.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
