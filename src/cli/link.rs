//! `bancheck link`: bans carried over to what a customer is known by now.

use clap::Args;

use super::{
    Outcome, Session, ban,
    identity::{self, IdentityFlags},
    output::{self, Format},
    proto_json,
    writing::WriteFlags,
};
use crate::api::v1::LinkIdentitiesRequest;

/// Ban a customer under a new identity by every ban of the old one
///
/// For a customer whose WhatsApp number or user id has changed: every exact ban of the one that has
/// not ended holds on the other as well. Done again, it changes nothing.
#[derive(Args)]
pub(crate) struct Link {
    /// What the customer was known by
    #[arg(value_name = "PREVIOUS", allow_negative_numbers = true)]
    previous: String,
    /// What the customer is known by now
    #[arg(value_name = "CURRENT", allow_negative_numbers = true)]
    current: String,
    #[command(flatten)]
    reading: IdentityFlags,
    #[command(flatten)]
    writing: WriteFlags,
}

impl Link {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let request = LinkIdentitiesRequest {
            tenant: session.connection.tenant.clone(),
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            previous: Some(self.reading.identity(&self.previous)),
            current: Some(self.reading.identity(&self.current)),
        };
        let mut client = session.connection.settings().await?;
        let answer = client.link_identities(request).await?.into_inner();
        match session.display.format() {
            Format::Json => output::json(&proto_json::canonical(&answer)?)?,
            Format::Csv => output::print(&ban::csv(&answer.bans_extended).to_csv()?)?,
            Format::Table if answer.bans_extended.is_empty() => {
                output::note("no ban was to be extended");
            }
            Format::Table => output::print(&ban::table(&answer.bans_extended).to_table())?,
        }
        for skipped in &answer.skipped {
            output::note(&format!(
                "{} left alone: {}",
                skipped.ban_id, skipped.reason
            ));
        }
        if !answer.warnings.is_empty() {
            output::note(&identity::warnings(&answer.warnings, &[]));
        }
        self.writing.remind();
        Ok(Outcome::Done)
    }
}
