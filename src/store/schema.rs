//! The schema that a database has, beside the one that this program makes.
//!
//! While versions change, an older pod goes on with, and may start on, the schema of a newer one: a
//! migration that takes away what an older one uses is named so that it can tell (`docs/operations.md`,
//! "Upgrades").

use sqlx::{
    Row,
    any::AnyRow,
    migrate::{Migration, Migrator},
};

use super::{Result, StoreError};

/// What has been done to a database.
pub(super) const APPLIED: &str =
    "SELECT version, description, checksum FROM _sqlx_migrations ORDER BY version";

/// How the name of a migration begins that an older program cannot go on with.
const CONTRACT: &str = "contract";

/// How a database's schema stands to this program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    /// There is something to do, or something is wrong that doing it will tell.
    Behind,
    /// It is ours.
    Ours,
    /// It is ours and more, up to this migration.
    Ahead(i64),
}

impl Schema {
    /// Compares what has been done with what this program does.
    pub(super) fn of(applied: &[AnyRow], known: &Migrator) -> Result<Self> {
        let applied = applied.iter().map(|row| {
            let version: i64 = row.try_get("version")?;
            let description: String = row.try_get("description")?;
            let checksum: Vec<u8> = row.try_get("checksum")?;
            Ok((version, description, checksum))
        });
        let applied = applied.collect::<Result<Vec<_>, sqlx::Error>>()?;
        let known: Vec<&Migration> = known.iter().collect();
        let shared = applied.len().min(known.len());
        let (ours, later) = applied.split_at(shared);
        let same = |((version, _, checksum), one): (&(i64, String, Vec<u8>), &&Migration)| {
            one.version == *version && *one.checksum == **checksum
        };
        if ours.len() < known.len() || !ours.iter().zip(&known).all(same) {
            return Ok(Self::Behind);
        }
        for (version, description, _) in later {
            if description.starts_with(CONTRACT) {
                return Err(StoreError::Outgrown(*version));
            }
        }
        Ok(later
            .last()
            .map_or(Self::Ours, |(newest, ..)| Self::Ahead(*newest)))
    }

    /// Whether nothing is left to do.
    pub(super) fn is_there(self) -> bool {
        match self {
            Self::Behind => false,
            Self::Ours => true,
            Self::Ahead(newest) => {
                tracing::warn!(
                    newest,
                    "the database has the schema of a later version, which this one goes on with"
                );
                true
            }
        }
    }
}
