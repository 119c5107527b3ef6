//! All rows in one stream to the server, again and again while it is only busy or away.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures_util::stream;
use indicatif::ProgressBar;
use thiserror::Error;
use tokio::sync::oneshot;
use tonic::{Code, Status};
use tonic_types::{StatusExt, pb};

use super::row::{Asked, Content, Understood};
use crate::{
    api::v1::{
        ImportBansRequest, ImportBansResponse,
        import_bans_request::{Header, Part},
        import_bans_response::RowError,
    },
    cli::{Session, failure, output},
};

/// How often the stream is sent without getting any further; with the pauses, some 25 seconds.
const ATTEMPTS: u32 = 9;
/// The pause after the first attempt; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause, also where the server asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Has the server take all rows, which were these before.
///
/// Sending again is safe only under a request's id, by which the server does once what it is asked
/// twice; without one, and for a dry run, a stream that broke off is an error.
pub(super) async fn all(
    session: &Session<'_>,
    header: Header,
    file: &Arc<Understood>,
    content: &Content,
    progress: &ProgressBar,
) -> anyhow::Result<ImportBansResponse> {
    let again = !header.request_id.is_empty() || header.validate_only;
    let furthest = Arc::new(AtomicU64::new(0));
    let mut attempt = 1;
    loop {
        let before = furthest.load(Ordering::Relaxed);
        let error = match once(session, &header, file, content, progress, &furthest).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if error.is::<Unreadable>() {
            return Err(error);
        }
        let status = error
            .chain()
            .find_map(|cause| cause.downcast_ref::<Status>());
        let pause = match status {
            Some(status) if is_passing(status) => pause(status, attempt),
            // Nobody listens; a server that is being started anew will.
            None if before > 0 => FIRST_PAUSE.saturating_mul(1 << attempt.min(6)),
            _ => return Err(error),
        };
        if !again || attempt == ATTEMPTS {
            return Err(error);
        }
        attempt = if furthest.load(Ordering::Relaxed) > before {
            1
        } else {
            attempt + 1
        };
        let what = failure::describe(&error);
        output::note(what.lines().next().unwrap_or_default());
        output::note("sending again; what is done already is not done twice");
        tokio::time::sleep(pause).await;
    }
}

async fn once(
    session: &Session<'_>,
    header: &Header,
    file: &Arc<Understood>,
    content: &Content,
    progress: &ProgressBar,
    furthest: &Arc<AtomicU64>,
) -> anyhow::Result<ImportBansResponse> {
    let mut client = session.connection.streams().await?;
    progress.set_position(0);
    progress.set_message("");
    let mut sending = Sending {
        header: Some(header.clone()),
        rows: file.rows().map_err(Unreadable)?,
        sent: Content::default(),
        all: content.clone(),
        bar: progress.clone(),
        furthest: Arc::clone(furthest),
    };
    let (tell, unreadable) = oneshot::channel();
    let mut tell = Some(tell);
    let parts = stream::poll_fn(move |_| match sending.next_part() {
        Ok(part) => Poll::Ready(part.map(|part| ImportBansRequest { part: Some(part) })),
        // To end here would have the server take what it has for all there is.
        Err(error) => {
            let _ = tell.take().map(|tell| tell.send(error));
            Poll::Pending
        }
    });
    tokio::select! {
        answer = client.import_bans(parts) => Ok(answer?.into_inner()),
        Ok(error) = unreadable => Err(Unreadable(error).into()),
    }
}

/// The file that was read before can be read no more.
#[derive(Debug, Error)]
#[error("cannot read the file on: {0}")]
struct Unreadable(io::Error);

/// What is on its way to the server.
struct Sending<R> {
    header: Option<Header>,
    rows: R,
    sent: Content,
    all: Content,
    bar: ProgressBar,
    furthest: Arc<AtomicU64>,
}

impl<R: Iterator<Item = io::Result<Asked>>> Sending<R> {
    /// The server takes rows as it writes them, so how many were taken is how far it has come.
    fn next_part(&mut self) -> io::Result<Option<Part>> {
        if let Some(header) = self.header.take() {
            return Ok(Some(Part::Header(header)));
        }
        // Those that stand for none are told of beside what the server says.
        let good = self.rows.find_map(|row| match row {
            Ok(asked) => Some(Ok(asked.ok()?)),
            Err(error) => Some(Err(error)),
        });
        let row = good.transpose()?;
        let Some(row) = row else {
            if self.sent.digest() == self.all.digest() {
                return Ok(None);
            }
            return Err(io::Error::other("it has changed since it was opened"));
        };
        self.sent.add(&row);
        let (sent, count) = (self.sent.count, self.all.count);
        if sent.is_multiple_of(100) || sent == count {
            self.bar.set_position(sent);
            if sent == count {
                // Some thousand rows are under way at any time.
                let message = "the server is writing the last of them";
                self.bar.set_message(message);
            }
            self.furthest.fetch_max(sent, Ordering::Relaxed);
        }
        Ok(Some(Part::Row(row)))
    }
}

/// A row that failed at the server, and why.
pub(super) fn failure(error: &RowError) -> Option<(usize, String)> {
    let number = usize::try_from(error.row_number).ok()?;
    let pb::Status {
        code,
        message,
        details: _,
    } = error.status.clone().unwrap_or_default();
    let bytes = prost::Message::encode_to_vec(&error.status.clone().unwrap_or_default());
    let status = Status::with_details(Code::from(code), message, bytes.into());
    Some((number, cause(&status)))
}

/// What a failed row is told: the server's reason, then its words.
fn cause(status: &Status) -> String {
    match failure::reason(status).as_str() {
        "" => failure::headline(status),
        reason => format!("{reason}: {}", failure::headline(status)),
    }
}

/// Whether the same stream may well succeed later.
fn is_passing(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        Code::ResourceExhausted => !matches!(
            failure::reason(status).as_str(),
            "MESSAGE_TOO_LARGE" | "QUOTA"
        ),
        // No server said so: the connection broke under the stream, and the next one may hold.
        Code::Unknown | Code::Internal | Code::Cancelled => failure::reason(status).is_empty(),
        _ => failure::ran_out_of_time(status),
    }
}

/// How long to wait after a number of attempts: what the server asks for, else longer each time.
fn pause(status: &Status, attempt: u32) -> Duration {
    let asked = status
        .get_error_details()
        .retry_info()
        .and_then(|info| info.retry_delay);
    let own = FIRST_PAUSE.saturating_mul(1 << (attempt - 1).min(16));
    asked.map_or(own, |asked| asked.max(own)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;
    use crate::api::v1::import_bans_request::Row;

    fn status(code: Code, reason: &str) -> Status {
        let details = ErrorDetails::with_error_info(reason, "bancheck.v1", HashMap::new());
        Status::with_error_details(code, "m", details)
    }

    #[test]
    fn what_may_pass_is_sent_again_and_what_will_not_is_not() {
        assert!(is_passing(&status(Code::Unavailable, "STORE_UNAVAILABLE")));
        assert!(is_passing(&status(Code::ResourceExhausted, "OVERLOADED")));
        assert!(is_passing(&Status::cancelled("Timeout expired")));
        assert!(is_passing(&Status::unknown("h2 protocol error")));
        assert!(!is_passing(&status(
            Code::ResourceExhausted,
            "MESSAGE_TOO_LARGE"
        )));
        assert!(!is_passing(&status(
            Code::AlreadyExists,
            "REQUEST_ID_REUSED"
        )));
        assert!(!is_passing(&status(Code::Internal, "INTERNAL")));
        assert!(!is_passing(&status(Code::NotFound, "BAN_LIST_NOT_FOUND")));
    }

    #[test]
    fn pauses_grow_and_are_never_shorter_than_the_server_asks() {
        let plain = status(Code::Unavailable, "NOT_READY");
        assert_eq!(pause(&plain, 1), Duration::from_millis(100));
        assert_eq!(pause(&plain, 3), Duration::from_millis(400));
        assert_eq!(pause(&plain, 40), LONGEST_PAUSE);
        let mut details = ErrorDetails::new();
        details.set_retry_info(Some(Duration::from_secs(2)));
        let asking = Status::with_error_details(Code::Unavailable, "m", details);
        assert_eq!(pause(&asking, 1), Duration::from_secs(2));
    }

    #[test]
    fn a_file_that_changes_under_way_is_not_sent_to_its_end() {
        let row = |row_number| Row {
            row_number,
            ..Row::default()
        };
        let parts = |before: &[i32]| {
            let rows = [Ok(Err((1, "no".to_owned()))), Ok(Ok(row(2)))];
            let mut all = Content::default();
            for number in before {
                all.add(&row(*number));
            }
            let mut sending = Sending {
                header: None,
                rows: rows.into_iter(),
                sent: Content::default(),
                all,
                bar: ProgressBar::hidden(),
                furthest: Arc::default(),
            };
            [sending.next_part(), sending.next_part()].map(Result::ok)
        };
        assert_eq!(parts(&[2]), [Some(Some(Part::Row(row(2)))), Some(None)]);
        for before in [&[][..], &[3], &[2, 3]] {
            assert_eq!(parts(before)[1], None, "{before:?}");
        }
    }
}
