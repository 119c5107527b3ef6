//! `bancheck list delete`: a list goes for good.

use clap::Args;

use super::super::{
    Outcome, Session,
    output::{self, Facts, Format},
    proto_json,
    writing::WriteFlags,
};
use crate::api::v1::DeleteBanListRequest;

/// Delete a ban list; its id is never used again, its ended bans stay listed
///
/// Refused while a ban in it is in force or scheduled, unless --force deactivates those with it.
#[derive(Args)]
pub(crate) struct Delete {
    /// The list's id
    #[arg(value_name = "ID")]
    id: String,
    /// Deactivate the bans in it that are in force or scheduled [default: refuse]
    #[arg(long)]
    force: bool,
    /// The list's etag as last seen: refuse if the list has changed since [default: not compared]
    #[arg(long, value_name = "ETAG")]
    etag: Option<String>,
    #[command(flatten)]
    writing: WriteFlags,
}

impl Delete {
    pub(super) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let request = DeleteBanListRequest {
            tenant: session.connection.tenant.clone(),
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            list_id: self.id,
            etag: self.etag.unwrap_or_default(),
            force: self.force,
        };
        let mut client = session.connection.settings().await?;
        let answer = client.delete_ban_list(request).await?.into_inner();
        match session.display.format() {
            Format::Json => output::json(&proto_json::canonical(&answer)?)?,
            Format::Csv => output::print(&super::csv(answer.ban_list.as_slice()).to_csv()?)?,
            Format::Table => {
                let gone = answer.ban_list.unwrap_or_default();
                let mut facts = Facts::default();
                facts.add("title", &gone.title);
                facts.add("token", answer.written_at.unwrap_or_default().token);
                output::print(&format!("{} deleted\n{}", gone.list_id, facts.to_text()))?;
            }
        }
        self.writing.remind();
        Ok(Outcome::Done)
    }
}
