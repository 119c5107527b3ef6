//! A connection while it is lent: what it is known to have been asked and to have answered.

use std::{
    fmt,
    io::{Error as IoError, ErrorKind},
    task::{Poll, ready},
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use sqlx::{
    Any, AnyConnection, Connection, Describe, Either, Execute, Executor, SqlStr,
    any::{AnyArguments, AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo},
    error::BoxDynError,
};
use tokio::{
    runtime::Handle,
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep, timeout},
};

use super::{Asked, Pool};

/// How long a connection whose caller went away in the middle may take to be of use again.
const TIDY: Duration = Duration::from_secs(1);

/// What is known of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It has answered all it was asked.
    Answered,
    /// It has been asked, and works on it; whether it is in a transaction, that does not change.
    Asked,
    /// Nothing.
    Nothing,
}

/// A connection that is lent; dropped, it goes back where all is known of it, and else is closed.
pub(in crate::store) struct Lent {
    pool: Pool,
    /// Taken when the connection leaves.
    holds: Option<(AnyConnection, OwnedSemaphorePermit)>,
    born: Instant,
    known: Known,
    /// Whether it is in a transaction, and if so, whether a statement of it has failed.
    open: Option<Failed>,
    /// How long a statement may take to begin to answer.
    patience: Duration,
}

type Failed = bool;

/// What is said where a database said nothing.
pub(in crate::store) fn silent() -> sqlx::Error {
    let words = "the database did not answer in time";
    sqlx::Error::Io(IoError::new(ErrorKind::TimedOut, words))
}

/// Only a bug makes somebody use a connection that has left.
fn gone() -> sqlx::Error {
    sqlx::Error::WorkerCrashed
}

impl Lent {
    pub(super) fn new(
        pool: Pool,
        place: OwnedSemaphorePermit,
        conn: AnyConnection,
        born: Instant,
    ) -> Self {
        let patience = pool.0.habits.answer;
        Self {
            pool,
            holds: Some((conn, place)),
            born,
            known: Known::Answered,
            open: None,
            patience,
        }
    }

    /// The same, where the answer may begin only after so long.
    pub(in crate::store) fn patiently(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Begins a transaction.
    pub(super) async fn begin(&mut self, statement: SqlStr) -> Asked<()> {
        self.turn(statement).await?;
        self.open = Some(false);
        Ok(())
    }

    /// Marks where the transaction is.
    pub(in crate::store) async fn savepoint(&mut self) -> Asked<()> {
        self.turn(SqlStr::from_static("SAVEPOINT here")).await
    }

    /// Undoes what was done in the transaction since then; that a statement failed since then too.
    pub(in crate::store) async fn back_to_savepoint(&mut self) -> Asked<()> {
        self.turn(SqlStr::from_static("ROLLBACK TO SAVEPOINT here"))
            .await?;
        self.open = Some(false);
        Ok(())
    }

    /// Commits what was begun.
    pub(in crate::store) async fn commit(mut self) -> Asked<()> {
        if self.open != Some(false) {
            // Postgres would say ROLLBACK, and no error.
            let words = "a statement of the transaction failed before its commit";
            return Err(sqlx::Error::Io(IoError::other(words)));
        }
        self.turn(SqlStr::from_static("COMMIT")).await?;
        self.open = None;
        Ok(())
    }

    /// Undoes what was begun.
    pub(in crate::store) async fn rollback(mut self) -> Asked<()> {
        self.turn(SqlStr::from_static("ROLLBACK")).await?;
        self.open = None;
        Ok(())
    }

    /// Runs statements, a whole transaction of their own.
    pub(in crate::store) async fn batch(mut self, statements: &'static str) -> Asked<()> {
        self.turn(SqlStr::from_static(statements)).await
    }

    /// Asks what begins or ends a transaction: until it is answered, who knows in which it is.
    async fn turn(&mut self, statement: SqlStr) -> Asked<()> {
        self.known = Known::Nothing;
        let limit = self.patience;
        let (conn, _) = self.holds.as_mut().ok_or_else(gone)?;
        timeout(limit, conn.execute(statement))
            .await
            .map_err(|_| silent())??;
        self.known = Known::Answered;
        Ok(())
    }

    /// Asks for a sign of life.
    pub(super) async fn ping(&mut self) -> Asked<()> {
        self.known = Known::Asked;
        let (conn, _) = self.holds.as_mut().ok_or_else(gone)?;
        conn.ping().await?;
        self.known = Known::Answered;
        Ok(())
    }

    /// Closes the connection at once, and hands its place back.
    pub(super) fn close(mut self) -> Asked<OwnedSemaphorePermit> {
        self.holds.take().map(|(_, place)| place).ok_or_else(gone)
    }

    /// The connection itself, for what has no limit; it is closed unless that is [`Self::done`].
    pub(in crate::store) fn itself(&mut self) -> Asked<&mut AnyConnection> {
        self.known = Known::Nothing;
        self.holds.as_mut().map(|(conn, _)| conn).ok_or_else(gone)
    }

    /// Says that what was done with the connection itself ended well, in no transaction.
    pub(in crate::store) fn done(mut self) {
        self.known = Known::Answered;
    }
}

/// What an error tells of the connection.
fn failed(error: &sqlx::Error, known: &mut Known, open: &mut Option<Failed>) {
    if let Some(failed) = open {
        *failed = true;
    }
    *known = match error {
        // The server is ending, or has ended this connection.
        sqlx::Error::Database(cause)
            if cause.code().is_some_and(|code| {
                let ends = ["57P", "08", "25P03", "25P04"];
                ends.iter().any(|class| code.starts_with(class))
            }) =>
        {
            Known::Nothing
        }
        sqlx::Error::Database(_) => Known::Answered,
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed => Known::Nothing,
        // An answer that could not be read; the rest of it is still to come.
        _ => Known::Asked,
    };
}

/// A statement, and whether the server is to keep it prepared.
struct Once<E> {
    statement: E,
    kept: bool,
}

impl<'q, E: Execute<'q, Any>> Execute<'q, Any> for Once<E> {
    fn sql(self) -> SqlStr {
        self.statement.sql()
    }

    fn statement(&self) -> Option<&AnyStatement> {
        self.statement.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<AnyArguments>, BoxDynError> {
        self.statement.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.kept && self.statement.persistent()
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent")
            .field("known", &self.known)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

impl<'c> Executor<'c> for &'c mut Lent {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        statement: E,
    ) -> BoxStream<'e, Asked<Either<AnyQueryResult, AnyRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let (answer, kept) = (self.pool.0.habits.answer, self.pool.keeps_statements());
        let Lent {
            holds: Some((conn, _)),
            known,
            open,
            patience,
            ..
        } = self
        else {
            return stream::once(async { Err(gone()) }).boxed();
        };
        *known = Known::Asked;
        let mut answers = conn.fetch_many(Once { statement, kept });
        let mut late = Box::pin(sleep(*patience));
        let mut heard = false;
        stream::poll_fn(move |context| {
            if let Poll::Ready(next) = answers.poll_next_unpin(context) {
                heard = true;
                match &next {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => failed(error, known, open),
                    None => *known = Known::Answered,
                }
                return Poll::Ready(next);
            }
            if std::mem::take(&mut heard) {
                late.as_mut().reset(Instant::now() + answer);
            }
            ready!(late.poll_unpin(context));
            *known = Known::Nothing;
            Poll::Ready(Some(Err(silent())))
        })
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, statement: E) -> BoxFuture<'e, Asked<Option<AnyRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let kept = self.pool.keeps_statements();
        let Lent {
            holds: Some((conn, _)),
            known,
            open,
            patience,
            ..
        } = self
        else {
            return async { Err(gone()) }.boxed();
        };
        *known = Known::Asked;
        let answer = timeout(*patience, conn.fetch_optional(Once { statement, kept }));
        async move {
            let answer = answer.await.unwrap_or_else(|_| Err(silent()));
            match &answer {
                Ok(_) => *known = Known::Answered,
                Err(error) => failed(error, known, open),
            }
            answer
        }
        .boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Asked<AnyStatement>>
    where
        'c: 'e,
    {
        match self.itself() {
            Ok(conn) => conn.prepare_with(sql, parameters),
            Err(error) => async { Err(error) }.boxed(),
        }
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Asked<Describe<Any>>>
    where
        'c: 'e,
    {
        match self.itself() {
            Ok(conn) => conn.describe(sql),
            Err(error) => async { Err(error) }.boxed(),
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some((mut conn, place)) = self.holds.take() else {
            return;
        };
        let (pool, born, open) = (self.pool.clone(), self.born, self.open.is_some());
        match self.known {
            Known::Nothing => {}
            Known::Answered if !open => pool.keep(conn, born),
            Known::Answered | Known::Asked => {
                // Whoever drops it will not wait, perhaps because it waited long enough.
                let Ok(runtime) = Handle::try_current() else {
                    return;
                };
                runtime.spawn(async move {
                    let tidied = timeout(TIDY, async {
                        if open {
                            conn.execute("ROLLBACK").await.map(|_| ())
                        } else {
                            conn.ping().await
                        }
                    });
                    if let Ok(Ok(())) = tidied.await {
                        pool.keep(conn, born);
                    }
                    drop(place);
                });
            }
        }
    }
}
