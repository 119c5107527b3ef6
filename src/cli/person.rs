//! `bancheck erase` and `bancheck disclose`: what is kept of a person.

use clap::Args;

use super::{
    Outcome, Session,
    identity::IdentityFlags,
    moment,
    output::{self, Format},
    proto_json,
    writing::WriteFlags,
};
use crate::api::v1::{EraseSubjectRequest, EraseSubjectResponse, ExportSubjectRequest};

/// Forget a person: identities, and what people wrote of the bans on them
///
/// Bans that have ended go; those in force go too, unless they are kept by keyed hash alone. Several
/// identities are one person's and forgotten in one go. There is no way back.
#[derive(Args)]
pub(crate) struct Erase {
    /// The person's identities; of different kinds they take a command each
    #[arg(
        value_name = "IDENTITY",
        required = true,
        allow_negative_numbers = true
    )]
    identities: Vec<String>,
    /// Keep bans and exceptions in force, by keyed hash alone, without the text
    #[arg(long)]
    keep_by_hash: bool,
    /// When bans kept by hash end at the latest [default: as each ban says]
    #[arg(long, value_name = "TIME", value_parser = moment::instant, requires = "keep_by_hash")]
    hash_until: Option<prost_types::Timestamp>,
    #[command(flatten)]
    reading: IdentityFlags,
    #[command(flatten)]
    writing: WriteFlags,
}

/// Tell all that is kept of a person, one JSON object to a line
///
/// Bans and exceptions in whatever state, then the history of those bans.
#[derive(Args)]
pub(crate) struct Disclose {
    /// The person's identities; of different kinds they take a command each
    #[arg(
        value_name = "IDENTITY",
        required = true,
        allow_negative_numbers = true
    )]
    identities: Vec<String>,
    #[command(flatten)]
    reading: IdentityFlags,
}

impl Erase {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let request = EraseSubjectRequest {
            tenant: session.connection.tenant.clone(),
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            identities: self.reading.identities(&self.identities),
            keep_enforcing_by_hash: self.keep_by_hash,
            hash_expire_time: self.hash_until,
        };
        let mut client = session.connection.privacy().await?;
        let answer = client.erase_subject(request).await?.into_inner();
        let EraseSubjectResponse {
            bans_erased,
            written_at: _,
            bans_kept_hashed,
            events_redacted,
        } = &answer;
        match session.display.format() {
            Format::Json => output::json(&proto_json::canonical(&answer)?)?,
            Format::Csv => output::print(&format!(
                "bans_erased,bans_kept_hashed,events_redacted\n\
                 {bans_erased},{bans_kept_hashed},{events_redacted}"
            ))?,
            Format::Table => output::print(&format!(
                "bans erased        {bans_erased}\nkept by hash       {bans_kept_hashed}\n\
                 history redacted   {events_redacted}"
            ))?,
        }
        self.writing.remind();
        Ok(Outcome::Done)
    }
}

impl Disclose {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let request = ExportSubjectRequest {
            tenant: session.connection.tenant.clone(),
            identities: self.reading.identities(&self.identities),
        };
        let mut client = session.connection.privacy().await?;
        let mut items = client.export_subject(request).await?.into_inner();
        let mut told = 0;
        while let Some(item) = items.message().await? {
            output::json_line(&proto_json::canonical(&item)?)?;
            told += 1;
        }
        if told == 0 {
            output::note("nothing is kept of these identities");
        }
        Ok(Outcome::Done)
    }
}
