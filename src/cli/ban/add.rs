//! `bancheck ban add`: the administrator's entry by hand (M6).

use anyhow::Context;
use clap::Args;
use prost_types::Timestamp;

use super::super::{
    Outcome, Session,
    expiry::ExpiryFlags,
    identity::{self, IdentityFlags},
    moment::instant,
    output::{self, Facts, Format, Sheet},
    proto_json,
    writing::WriteFlags,
};
use crate::api::v1::{
    Channel, CreateBanRequest, CreateBanResponse, Identity, MatchKind, PreviewBanRequest,
    ban::Enforcement,
};

/// Ban one customer by up to 8 identities
///
/// A match of any one of the identities is a match. Without --for, --until or --permanent the ban
/// lasts as long as its list says; without a list, or where the list says nothing, for ever. The answer's first line is the ban's id; the
/// token below it, given to `bancheck check --at-least-as-fresh`, makes sure that the check has
/// seen this ban.
#[derive(Args)]
pub(crate) struct Add {
    /// Channels that the ban holds on, repeated or parted by commas [default: all that carry such
    /// identities; --kind is needed then]
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        value_delimiter = ',',
        value_name = "CHANNEL"
    )]
    channel: Vec<Channel>,
    /// Why, in at most 500 characters
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Why, as a code of your own [default: none]
    #[arg(long, value_name = "CODE")]
    reason_code: Option<String>,
    /// List to record the ban in [default: none, the ban is tenant-wide]
    #[arg(long, value_name = "ID")]
    list: Option<String>,
    #[command(flatten)]
    expiry: ExpiryFlags,
    /// When the ban begins, with its offset, such as 2026-12-31T23:59:59+01:00 or …Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    start: Option<Timestamp>,
    /// Only report what the ban would have denied [default: deny]
    #[arg(long)]
    shadow: bool,
    /// How the identities are compared; prefix takes beginnings of numbers like +4206, cidr
    /// networks like 192.0.2.0/24, domain mail domains like example.com [default: exact]
    #[arg(long = "match", value_enum, ignore_case = true, value_name = "HOW")]
    match_kind: Option<MatchKind>,
    #[command(flatten)]
    reading: IdentityFlags,
    /// Ban a range that is refused as too broad; a protected identity stays protected
    #[arg(long)]
    override_warnings: bool,
    /// Only show what would come of the ban: whom it is on, where it holds, what it overlaps
    #[arg(long)]
    preview: bool,
    #[command(flatten)]
    writing: WriteFlags,
    /// Identities to ban, such as +420601123456, a@example.com or 203.0.113.7; 1 to 8
    #[arg(required = true, num_args = 1..=8, value_name = "TARGET", allow_negative_numbers = true)]
    targets: Vec<String>,
}

impl Add {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let request = self.request(&session.connection.tenant);
        let targets = request.targets.clone();
        if self.preview {
            return preview(request, session).await;
        }
        let answer = session
            .connection
            .bans()
            .await?
            .create_ban(request)
            .await?
            .into_inner();
        show(&answer, &targets, session)?;
        self.writing.remind();
        Ok(Outcome::Done)
    }

    fn request(&self, tenant: &str) -> CreateBanRequest {
        let enforcement = if self.shadow {
            Enforcement::Shadow
        } else {
            Enforcement::Unspecified
        };
        CreateBanRequest {
            tenant: tenant.to_owned(),
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            list_id: self.list.clone().unwrap_or_default(),
            channels: self
                .channel
                .iter()
                .map(|channel| (*channel).into())
                .collect(),
            targets: self.reading.identities(&self.targets),
            match_kind: self.match_kind.unwrap_or_default().into(),
            reason: self.reason.clone(),
            reason_code: self.reason_code.clone().unwrap_or_default(),
            expiry: self.expiry.expiry(),
            start_time: self.start,
            enforcement: enforcement.into(),
            override_warnings: self.override_warnings,
        }
    }
}

/// Shows what would come of a ban.
async fn preview(ban: CreateBanRequest, session: &Session<'_>) -> anyhow::Result<Outcome> {
    let targets = ban.targets.clone();
    let request = PreviewBanRequest { ban: Some(ban) };
    let mut client = session.connection.bans().await?;
    let answer = client.preview_ban(request).await?.into_inner();
    if session.display.format() == Format::Json {
        output::json(&proto_json::canonical(&answer)?)?;
        return Ok(Outcome::Done);
    }
    let recent = answer.recent_checks_matched;
    let facts = [
        ("breadth", answer.breadth.clone()),
        ("enforced at", answer.enforcing_queues.join(", ")),
        ("overlaps", answer.overlapping_ban_ids.join(", ")),
        ("exceptions", answer.exceptions_hit.join(", ")),
        (
            "would have met",
            format!("{recent} of the last hour's sampled checks"),
        ),
        ("warnings", identity::warnings(&answer.warnings, &targets)),
    ];
    if session.display.format() == Format::Csv {
        let header = facts.each_ref().map(|(name, _)| *name);
        output::print(&Sheet::new(header, [facts.map(|(_, value)| value)]).to_csv()?)?;
        return Ok(Outcome::Done);
    }
    let mut told = Facts::default();
    for (name, value) in facts {
        told.add(name, value);
    }
    output::print(&told.to_text())?;
    output::note("preview: nothing was banned");
    Ok(Outcome::Done)
}

fn show(
    answer: &CreateBanResponse,
    targets: &[Identity],
    session: &Session<'_>,
) -> anyhow::Result<()> {
    let ban = answer
        .ban
        .as_ref()
        .context("the server answered without the ban")?;
    match session.display.format() {
        Format::Json => output::json(&proto_json::canonical(answer)?),
        Format::Csv => output::print(&super::csv(std::slice::from_ref(ban)).to_csv()?),
        Format::Table => {
            let mut facts = super::facts(ban, session.now());
            facts.add("token", answer.written_at.clone().unwrap_or_default().token);
            facts.add("warnings", identity::warnings(&answer.warnings, targets));
            output::print(&format!("{}\n{}", ban.ban_id, facts.to_text()))
        }
    }
}
