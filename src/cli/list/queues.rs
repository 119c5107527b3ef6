//! `bancheck list queues`: which queues check a list (D28).

use clap::Args;

use super::super::{
    Outcome, Session,
    output::{self, Facts, Format, Sheet, clean},
    proto_json,
    writing::WriteFlags,
};
use crate::api::v1::{GetBanListRequest, SetBanListQueuesRequest, SetBanListQueuesResponse};

/// Show which queues check a list, or say which shall
///
/// The queues named replace all those before them. With none named, nothing changes and the
/// present ones are shown.
#[derive(Args)]
pub(crate) struct Queues {
    /// The list's id
    #[arg(value_name = "ID")]
    id: String,
    /// The queues that shall check the list, all of them
    #[arg(value_name = "QUEUE")]
    wanted: Vec<String>,
    /// No queue shall check the list
    #[arg(long, conflicts_with = "wanted")]
    none: bool,
    /// The list's etag as last seen: refuse if the list has changed since [default: not compared]
    #[arg(long, value_name = "ETAG")]
    etag: Option<String>,
    #[command(flatten)]
    writing: WriteFlags,
}

impl Queues {
    pub(super) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let changes = self.none || !self.wanted.is_empty();
        let answer = if changes {
            self.set(session).await?
        } else {
            self.present(session).await?
        };
        show(&answer, session)?;
        if changes {
            self.writing.remind();
        }
        Ok(Outcome::Done)
    }

    async fn set(&self, session: &Session<'_>) -> anyhow::Result<SetBanListQueuesResponse> {
        let request = SetBanListQueuesRequest {
            tenant: session.connection.tenant.clone(),
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            list_id: self.id.clone(),
            queues: self.wanted.clone(),
            etag: self.etag.clone().unwrap_or_default(),
        };
        let mut client = session.connection.settings().await?;
        Ok(client.set_ban_list_queues(request).await?.into_inner())
    }

    /// The queues as they are, in the form of an answer that changed nothing.
    async fn present(&self, session: &Session<'_>) -> anyhow::Result<SetBanListQueuesResponse> {
        let tenant = session.connection.tenant.clone();
        let request = GetBanListRequest {
            tenant,
            list_id: self.id.clone(),
        };
        let answer = session
            .connection
            .settings()
            .await?
            .get_ban_list(request)
            .await?;
        let queues = answer.into_inner().ban_list.unwrap_or_default().queues;
        Ok(SetBanListQueuesResponse {
            queues,
            ..SetBanListQueuesResponse::default()
        })
    }
}

fn show(answer: &SetBanListQueuesResponse, session: &Session<'_>) -> anyhow::Result<()> {
    match session.display.format() {
        Format::Json => output::json(&proto_json::canonical(answer)?),
        Format::Csv => output::print(&sheet(answer).to_csv()?),
        Format::Table => {
            let queues: String = answer
                .queues
                .iter()
                .map(|queue| clean(queue) + "\n")
                .collect();
            let mut facts = Facts::default();
            facts
                .add("added", answer.added.join(", "))
                .add("removed", answer.removed.join(", "));
            facts.add("token", answer.written_at.clone().unwrap_or_default().token);
            if answer.queues.is_empty() {
                output::note("no queue checks this list");
            }
            output::print(&(queues + &facts.to_text()))
        }
    }
}

/// Every queue that checks the list or did until now, with what became of it.
fn sheet(answer: &SetBanListQueuesResponse) -> Sheet {
    let change = |queue| {
        if answer.added.contains(queue) {
            "added"
        } else {
            ""
        }
    };
    let kept = answer
        .queues
        .iter()
        .map(|queue| [queue.clone(), change(queue).to_owned()]);
    let removed = answer
        .removed
        .iter()
        .map(|queue| [queue.clone(), "removed".to_owned()]);
    Sheet::new(["queue", "change"], kept.chain(removed))
}
