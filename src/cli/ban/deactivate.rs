//! `bancheck ban deactivate`: bans ended before their time (M3).

use clap::Args;

use super::{
    super::{
        Outcome, Session,
        output::{self, Facts, Format},
        proto_json,
        writing::WriteFlags,
    },
    filter::Filter,
};
use crate::api::v1::{DeactivateBanRequest, DeactivateBanResponse, DeactivateBansRequest};

/// The flags that say which bans, where no id does.
const FILTERS: [&str; 11] = [
    "state",
    "inactive",
    "all",
    "channel",
    "recorded_in",
    "origin",
    "identity",
    "ends_with",
    "text",
    "created_by",
    "import_id",
];

/// End a ban now, or all that a filter finds; they stay listed among the inactive ones
///
/// Ending a ban that has already ended changes nothing and is no error. Where other bans are in
/// force on the same customer, the answer names them: he stays banned. With a filter instead of an
/// id, all bans that it finds are ended, some at a time: a wrong import is undone by --import-id.
#[derive(Args)]
pub(crate) struct Deactivate {
    /// The ban's id
    #[arg(value_name = "ID", required_unless_present_any = FILTERS, conflicts_with_all = FILTERS)]
    id: Option<String>,
    #[command(flatten)]
    filter: Filter,
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
        let Some(id) = self.id.clone() else {
            return self.all(session).await;
        };
        let request = DeactivateBanRequest {
            tenant: session.connection.tenant.clone(),
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            ban_id: id,
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

impl Deactivate {
    /// Ends all bans that the filter finds.
    async fn all(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let request = DeactivateBansRequest {
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            reason: self.reason,
            ..self.filter.deactivate(&session.connection.tenant)
        };
        let mut client = session.connection.streams().await?;
        let answer = client.deactivate_bans(request).await?.into_inner();
        match session.display.format() {
            Format::Json => output::json(&proto_json::canonical(&answer)?)?,
            Format::Csv | Format::Table => {
                let mut facts = Facts::default();
                facts.add("deactivated", answer.deactivated_count.to_string());
                facts.add("token", answer.written_at.unwrap_or_default().token);
                output::print(&facts.to_text())?;
            }
        }
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
