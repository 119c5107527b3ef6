//! `bancheck ban deactivate`: a ban ended before its time (M3).

use clap::Args;

use super::super::{
    Outcome, Session,
    output::{self, Format},
    proto_json,
    writing::WriteFlags,
};
use crate::api::v1::{DeactivateBanRequest, DeactivateBanResponse};

/// End a ban now; it stays listed among the inactive ones
///
/// Ending a ban that has already ended changes nothing and is no error. Where other bans are in
/// force on the same customer, the answer names them: he stays banned.
#[derive(Args)]
pub(crate) struct Deactivate {
    /// The ban's id
    #[arg(value_name = "ID")]
    id: String,
    /// Why, in at most 500 characters
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// End the bans of the customer's telephone numbers that were made with it as well
    #[arg(long)]
    include_cascade: bool,
    /// The ban's etag as last seen: refuse if the ban has changed since [default: not compared]
    #[arg(long, value_name = "ETAG")]
    etag: Option<String>,
    #[command(flatten)]
    writing: WriteFlags,
}

impl Deactivate {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let request = DeactivateBanRequest {
            tenant: session.connection.tenant.clone(),
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            ban_id: self.id,
            reason: self.reason,
            etag: self.etag.unwrap_or_default(),
            include_cascade: self.include_cascade,
        };
        let answer = session
            .connection
            .bans()
            .await?
            .deactivate_ban(request)
            .await?
            .into_inner();
        show(answer, session)?;
        self.writing.remind();
        Ok(Outcome::Done)
    }
}

fn show(answer: DeactivateBanResponse, session: &Session<'_>) -> anyhow::Result<()> {
    match session.display.format() {
        Format::Json => output::json(&proto_json::canonical(&answer)?),
        Format::Csv => output::print(&super::csv(answer.ban.as_slice()).to_csv()?),
        Format::Table => {
            let DeactivateBanResponse {
                ban,
                written_at,
                still_banned_by,
            } = answer;
            let ban = ban.unwrap_or_default();
            let mut facts = super::facts(&ban, session.now());
            facts.add("token", written_at.unwrap_or_default().token);
            output::print(&format!("{}\n{}", ban.ban_id, facts.to_text()))?;
            if still_banned_by.is_empty() {
                return Ok(());
            }
            let others = super::table(&still_banned_by).to_table();
            output::print(&format!(
                "\nSTILL BANNED, by {} more:\n{others}",
                still_banned_by.len()
            ))
        }
    }
}
