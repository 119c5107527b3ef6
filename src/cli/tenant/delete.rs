//! `bancheck tenant delete`: a tenant goes for good, once its name was said twice.

use std::io::{self, BufRead, IsTerminal};

use anyhow::bail;
use clap::Args;

use super::super::{
    Outcome, Session,
    output::{self, Format},
    proto_json,
    writing::WriteFlags,
};
use crate::api::v1::DeleteTenantRequest;

/// Delete a tenant with all its bans, lists and history; nothing brings them back
///
/// Checks know it no more at once; its rows are removed in the background. Asks for the tenant's id
/// once more, unless --confirm says it.
#[derive(Args)]
pub(crate) struct Delete {
    /// The tenant's id; never used again
    name: String,
    /// The tenant's id once more, for scripts [default: asked for on a terminal]
    #[arg(long, value_name = "ID")]
    confirm: Option<String>,
    #[command(flatten)]
    writing: WriteFlags,
}

impl Delete {
    pub(super) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let confirm_tenant = match self.confirm {
            Some(confirm) => confirm,
            None if io::stdin().is_terminal() => asked(&self.name)?,
            None => bail!("say the tenant's id once more with --confirm"),
        };
        if confirm_tenant != self.name {
            bail!("this is not the tenant that is to be deleted; nothing was done");
        }
        let request = DeleteTenantRequest {
            tenant: self.name.clone(),
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            confirm_tenant,
        };
        let mut client = session.connection.settings().await?;
        let answer = client.delete_tenant(request).await?.into_inner();
        match session.display.format() {
            Format::Json => output::json(&proto_json::canonical(&answer)?)?,
            Format::Csv | Format::Table => output::print(&format!("{} deleted\n", self.name))?,
        }
        self.writing.remind();
        Ok(Outcome::Done)
    }
}

/// Asks for the tenant's id.
fn asked(name: &str) -> anyhow::Result<String> {
    output::note(&format!(
        "this deletes {name} with all its bans, lists and history; to go on, type its id"
    ));
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
