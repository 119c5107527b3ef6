//! `bancheck ban interaction`: the operator's button (M4, M5).

use clap::Args;

use super::super::{
    Outcome, Session,
    identity::{self, IdentityFlags},
    output::{self, Format},
    proto_json,
    vocabulary::Spoken,
    writing::WriteFlags,
};
use crate::api::v1::{BanInteractionRequest, BanInteractionResponse, Channel, Identity, Treatment};

/// Ban whoever is in an interaction, as the operator's button does
///
/// Where the ban is recorded, how long it lasts and what it is put on is decided by the queue's
/// settings: `bancheck queue set`, `bancheck rights set`. Without a queue it is tenant-wide on the
/// interaction's channel.
#[derive(Args)]
pub(crate) struct Interaction {
    /// Channel of the interaction
    #[arg(long, value_enum, ignore_case = true, value_name = "CHANNEL")]
    channel: Channel,
    /// Queue of the interaction [default: none]
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// Rights profile that the operator acts under; needed to ban from a queue [default: none]
    #[arg(long, value_name = "PROFILE")]
    rights_profile: Option<String>,
    /// The interaction, by your own id [default: not told]
    #[arg(long = "interaction", value_name = "ID")]
    source: Option<String>,
    /// The interaction is going on [default: it is a past session]
    #[arg(long)]
    live: bool,
    /// Telephone numbers of the customer's contact, repeated or parted by commas; banned with a web
    /// chat where its list says so [default: none]
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NUMBER",
        allow_hyphen_values = true
    )]
    contact_phone: Vec<String>,
    /// Why, in at most 500 characters [default: none]
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    reading: IdentityFlags,
    #[command(flatten)]
    writing: WriteFlags,
    /// All that the channel knows of the customer, such as +420601123456, a visitor token or an IP
    /// address; 1 to 8
    #[arg(required = true, num_args = 1..=8, value_name = "IDENTITY", allow_negative_numbers = true)]
    identities: Vec<String>,
}

impl Interaction {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let request = BanInteractionRequest {
            tenant: session.connection.tenant.clone(),
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            rights_profile: self.rights_profile.unwrap_or_default(),
            queue: self.queue.unwrap_or_default(),
            channel: self.channel.into(),
            interaction_id: self.source.unwrap_or_default(),
            live: self.live,
            identities: self.reading.identities(&self.identities),
            contact_phones: self.contact_phone,
            reason: self.reason.unwrap_or_default(),
        };
        let identities = request.identities.clone();
        let mut client = session.connection.bans().await?;
        let answer = client.ban_interaction(request).await?.into_inner();
        show(&answer, &identities, session)?;
        self.writing.remind();
        Ok(Outcome::Done)
    }
}

fn show(
    answer: &BanInteractionResponse,
    identities: &[Identity],
    session: &Session<'_>,
) -> anyhow::Result<()> {
    match session.display.format() {
        Format::Json => output::json(&proto_json::canonical(answer)?),
        Format::Csv => output::print(&super::csv(&answer.bans).to_csv()?),
        Format::Table => {
            let [primary, carried @ ..] = answer.bans.as_slice() else {
                anyhow::bail!("the server answered without the ban");
            };
            let mut facts = super::facts(primary, session.now());
            facts.add("do now", Treatment::told(answer.client_action));
            facts.add("token", answer.written_at.clone().unwrap_or_default().token);
            facts.add("warnings", identity::warnings(&answer.warnings, identities));
            output::print(&format!("{}\n{}", primary.ban_id, facts.to_text()))?;
            if carried.is_empty() {
                return Ok(());
            }
            let carried = super::table(carried).to_table();
            output::print(&format!("\nThe contact's numbers:\n{carried}"))
        }
    }
}
