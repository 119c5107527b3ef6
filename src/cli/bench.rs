//! `bancheck bench`: made-up bans, and made-up callers who ask about them.

mod changes;
mod load;
mod report;
mod roads;

use clap::Subcommand;

use super::local;

/// Measuring.
#[derive(Subcommand)]
pub(crate) enum BenchCommand {
    /// Fill a tenant with made-up bans, straight into the database (end an embedded server first)
    Seed(Box<local::SeedFlags>),
    Load(Box<load::Load>),
}
