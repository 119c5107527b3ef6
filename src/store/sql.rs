//! The statements both databases share, and the few words in which they differ.
//!
//! Texts are put together once, when a store is opened, from constants of this program: no text of
//! a caller ever becomes part of one. Rows come in as one JSON parameter, so a chunk of a thousand
//! bans is three statements, not three thousand.

mod dialect;
mod pieces;
mod statements;

use sqlx::{Any, AssertSqlSafe, SqlStr, any::AnyArguments, query::Query};

pub(super) use self::{
    dialect::{Dialect, POSTGRES, SQLITE},
    statements::Statements,
};

/// How many things a statement may be about that is planned once and for all; where there are more, a
/// statement besides is worth its while.
pub(super) const FEW: usize = 64;

/// A statement about so many things. About many it is planned each time: what Postgres planned when a
/// table was small it goes on with, while an import makes the table large, until statistics are taken.
pub(super) fn about_many(text: &SqlStr, many: usize) -> Query<'static, Any, AnyArguments> {
    if many <= FEW {
        return sqlx::query(text.clone());
    }
    // In other words, for of the same ones sqlx would take what is kept.
    sqlx::query(AssertSqlSafe(format!("{} ", text.as_str()))).persistent(false)
}

#[cfg(test)]
mod tests;
