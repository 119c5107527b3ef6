//! `bancheck ban show`: the story of one ban.

use anyhow::Context;
use clap::Args;
use prost_reflect::DynamicMessage;
use serde::Serialize;
use tonic::Code;

use super::super::{
    Outcome, Session,
    connection::Line,
    moment,
    output::{self, Format, Sheet, clean},
    proto_json,
};
use crate::api::v1::{
    Ban, BanEvent, GetBanRequest, ListBanEventsRequest, admin_service_client::AdminServiceClient,
};

/// The events of a page; a ban rarely has more than a dozen.
const PAGE: i32 = 1_000;

/// Show one ban with its history
#[derive(Args)]
pub(crate) struct Show {
    /// The ban's id
    #[arg(value_name = "ID")]
    id: String,
}

/// A ban and its history, as JSON.
#[derive(Serialize)]
struct Story {
    ban: DynamicMessage,
    events: Vec<DynamicMessage>,
}

impl Show {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let mut client = session.connection.bans().await?;
        let tenant = session.connection.tenant.clone();
        let request = GetBanRequest {
            tenant,
            ban_id: self.id,
        };
        let answer = client.get_ban(request).await?.into_inner();
        let ban = answer.ban.context("the server answered without the ban")?;
        let events = events(&mut client, &ban, session).await?;
        match session.display.format() {
            Format::Json => {
                let events = proto_json::canonical_all(&events)?;
                output::json(&Story {
                    ban: proto_json::canonical(&ban)?,
                    events,
                })?;
            }
            Format::Csv => output::print(&super::csv(&[ban]).to_csv()?)?,
            Format::Table => {
                let facts = super::facts(&ban, session.now()).to_text();
                output::print(&format!("{}\n{facts}", ban.ban_id))?;
                if !events.is_empty() {
                    output::print(&format!("\n{}", history(&events).to_table()))?;
                }
            }
        }
        Ok(Outcome::Done)
    }
}

/// What happened to the ban, in order.
///
/// Whoever may see a ban may not always see its history: then the ban alone is shown, and why.
async fn events(
    client: &mut AdminServiceClient<Line>,
    ban: &Ban,
    session: &Session<'_>,
) -> anyhow::Result<Vec<BanEvent>> {
    let mut request = ListBanEventsRequest {
        tenant: session.connection.tenant.clone(),
        ban_id: ban.ban_id.clone(),
        page_size: PAGE,
        ..ListBanEventsRequest::default()
    };
    let mut events = Vec::new();
    loop {
        let page = match client.list_ban_events(request.clone()).await {
            Ok(page) => page.into_inner(),
            Err(status)
                if matches!(status.code(), Code::PermissionDenied | Code::Unimplemented) =>
            {
                output::note(&format!("without its history: {}", clean(status.message())));
                return Ok(events);
            }
            Err(status) => return Err(status.into()),
        };
        events.extend(page.events);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(events);
        }
    }
}

fn history(events: &[BanEvent]) -> Sheet {
    let row = |event: &BanEvent| {
        [
            moment::shown(event.event_time.as_ref()),
            event.action.clone(),
            // Starts and ends come by themselves.
            if event.actor.is_empty() {
                "time"
            } else {
                &event.actor
            }
            .to_owned(),
            event.comment.clone(),
        ]
    };
    Sheet::new(["when", "what", "by", "comment"], events.iter().map(row))
}
