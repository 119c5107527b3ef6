//! `bancheck watch`: what becomes of bans, a line each, while it happens.

use std::time::Duration;

use clap::Args;
use tonic::{Code, Status};

use super::{
    Outcome, Session, failure, identity, moment,
    output::{self, Format, clean},
    proto_json,
    vocabulary::Spoken,
};
use crate::api::v1::{
    Ban, BanChange, Channel, ConsistencyToken, WatchChangesRequest, WatchChangesResponse,
    ban::State, ban_change::Kind, watch_changes_response::Update,
};

/// The pause before the stream is taken up again.
const PAUSE: Duration = Duration::from_secs(1);

/// Show what becomes of bans while it happens, a line for each change
///
/// Goes on until it is stopped, also over a server that goes away and comes back: nothing is missed,
/// though a change may be shown twice. With --output json each line is the server's answer, tokens
/// included. Stopped, it says after which token to go on.
#[derive(Args)]
pub(crate) struct WatchFlags {
    /// Show the bans that stand first
    #[arg(long, conflicts_with = "after")]
    snapshot: bool,
    /// Show what came after this token [default: from now on]
    #[arg(long, value_name = "TOKEN")]
    after: Option<String>,
    /// Only bans that hold on these channels, repeated or parted by commas [default: any]
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        value_delimiter = ',',
        value_name = "CHANNEL"
    )]
    channel: Vec<Channel>,
    /// Bans of every tenant that the credential may see
    #[arg(long)]
    all_tenants: bool,
}

impl WatchFlags {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let tenant = if self.all_tenants {
            String::new()
        } else {
            session.connection.tenant.clone()
        };
        let mut request = WatchChangesRequest {
            tenant,
            start_after: self.after.map(|token| ConsistencyToken { token }),
            send_initial_snapshot: self.snapshot,
            channels: self.channel.iter().map(|one| (*one).into()).collect(),
        };
        let mut complete = !self.snapshot;
        loop {
            let Err(error) = follow(session, &mut request, &mut complete).await else {
                return Ok(Outcome::Done);
            };
            let status = error
                .chain()
                .find_map(|cause| cause.downcast_ref::<Status>());
            // Before the first answer nothing could be gone on from, and somebody should know.
            if request.start_after.is_none() || !status.is_none_or(is_passing) {
                return Err(error);
            }
            let what = failure::describe(&error);
            output::note(what.lines().next().unwrap_or_default());
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Shows what comes until the stream ends; the request then goes on from there.
async fn follow(
    session: &Session<'_>,
    request: &mut WatchChangesRequest,
    complete: &mut bool,
) -> anyhow::Result<()> {
    let mut client = session.connection.watches().await?;
    let mut answers = client.watch_changes(request.clone()).await?.into_inner();
    let stopped = tokio::signal::ctrl_c();
    tokio::pin!(stopped);
    loop {
        let answer = tokio::select! {
            _ = &mut stopped => {
                let token = request.start_after.clone().unwrap_or_default().token;
                output::note(&format!("go on with --after {token}"));
                return Ok(());
            }
            answer = answers.message() => answer?,
        };
        let Some(answer) = answer else {
            return Err(Status::unavailable("the server ended the stream").into());
        };
        show(session, &answer)?;
        *complete |= matches!(answer.update, Some(Update::SnapshotEnd(_)));
        // In the middle of a snapshot nothing can be gone on from.
        if *complete {
            request.start_after = answer.changes_through;
            request.send_initial_snapshot = false;
        }
    }
}

fn is_passing(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::ResourceExhausted => true,
        Code::Unknown | Code::Internal | Code::Cancelled => failure::reason(status).is_empty(),
        _ => false,
    }
}

fn show(session: &Session<'_>, answer: &WatchChangesResponse) -> anyhow::Result<()> {
    if session.display.format() == Format::Json {
        return output::json_line(&proto_json::canonical(answer)?);
    }
    let line = |what: &str, ban: &Ban| {
        let until = match ban.expire_time.as_ref() {
            None => "permanent".to_owned(),
            time => moment::shown(time),
        };
        let parts = [
            moment::shown(ban.update_time.as_ref()),
            what.to_owned(),
            ban.ban_id.clone(),
            identity::targets(ban, ", "),
            Channel::told_all(&ban.channels, ","),
            State::told(ban.state),
            until,
            ban.list_id.clone(),
            ban.reason.clone(),
        ];
        let parts: Vec<_> = parts.iter().map(|part| clean(part)).collect();
        match session.display.format() {
            Format::Csv => {
                let mut csv = csv::Writer::from_writer(Vec::new());
                csv.write_record(&parts)?;
                output::print(&String::from_utf8(csv.into_inner()?)?)
            }
            Format::Json | Format::Table => output::print(&format!("{}\n", parts.join("  "))),
        }
    };
    match &answer.update {
        Some(Update::SnapshotBan(ban)) => line("stands", ban),
        Some(Update::SnapshotEnd(_)) => {
            output::note("those stand; from here on, what becomes of bans");
            Ok(())
        }
        Some(Update::BanChange(BanChange { kind, ban })) => {
            line(&Kind::told(*kind), &ban.clone().unwrap_or_default())
        }
        Some(Update::Checkpoint(_)) | None => Ok(()),
    }
}
