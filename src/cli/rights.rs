//! `bancheck rights`: from which queues the operators of a rights profile may ban (D19, D26).

use clap::{Args, Subcommand};

use super::{
    Outcome, Session,
    output::{self, Facts, Format, Sheet, clean},
    proto_json,
    writing::WriteFlags,
};
use crate::api::v1::{
    BanRights, Channel, ListBanRightsRequest, SetBanRightsRequest, SetBanRightsResponse,
    TestBanPermissionRequest, test_ban_permission_response::Permission,
};

/// The most profiles on one page.
const PAGE: i32 = 1_000;

/// What to do about rights.
#[derive(Subcommand)]
pub(crate) enum RightsCommand {
    Set(Set),
    /// List the profiles that may ban from any queue
    List,
    Test(Test),
}

/// Say from which queues a rights profile may ban
///
/// The queues named replace all those before them.
#[derive(Args)]
pub(crate) struct Set {
    /// The profile, by your own id, at most 128 bytes
    #[arg(value_name = "PROFILE")]
    rights_profile: String,
    /// The queues that it may ban from, all of them
    #[arg(value_name = "QUEUE", required_unless_present = "none")]
    queues: Vec<String>,
    /// It may ban from no queue
    #[arg(long, conflicts_with = "queues")]
    none: bool,
    #[command(flatten)]
    writing: WriteFlags,
}

/// Ask whether an operator may ban from some queues, and if not, why
#[derive(Args)]
pub(crate) struct Test {
    /// The rights profile that the operator acts under [default: none, which may ban from no queue]
    #[arg(long, value_name = "PROFILE")]
    rights_profile: Option<String>,
    /// The operator [default: the credential's]
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Channel of the interaction
    #[arg(long, value_enum, ignore_case = true, value_name = "CHANNEL")]
    channel: Channel,
    /// The queues
    #[arg(value_name = "QUEUE", required = true)]
    queues: Vec<String>,
}

impl RightsCommand {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        match self {
            Self::Set(set) => set.run(session).await,
            Self::List => list(session).await,
            Self::Test(test) => test.run(session).await,
        }
    }
}

impl Set {
    async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let request = SetBanRightsRequest {
            tenant: session.connection.tenant.clone(),
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            rights_profile: self.rights_profile.clone(),
            allowed_queues: self.queues.clone(),
        };
        let mut client = session.connection.settings().await?;
        let answer = client.set_ban_rights(request).await?.into_inner();
        self.show(answer, session)?;
        self.writing.remind();
        Ok(Outcome::Done)
    }

    fn show(&self, answer: SetBanRightsResponse, session: &Session<'_>) -> anyhow::Result<()> {
        if session.display.format() == Format::Json {
            return output::json(&proto_json::canonical(&answer)?);
        }
        let SetBanRightsResponse {
            allowed_queues,
            written_at,
        } = answer;
        if session.display.format() == Format::Csv {
            let rights = BanRights {
                rights_profile: self.rights_profile.clone(),
                allowed_queues,
            };
            return output::print(&csv(&[rights]).to_csv()?);
        }
        if allowed_queues.is_empty() {
            output::note("the profile may ban from no queue");
        }
        let mut facts = Facts::default();
        facts
            .add("may ban from", allowed_queues.join(", "))
            .add("token", written_at.unwrap_or_default().token);
        output::print(&format!(
            "{}\n{}",
            clean(&self.rights_profile),
            facts.to_text()
        ))
    }
}

impl Test {
    async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let request = TestBanPermissionRequest {
            tenant: session.connection.tenant.clone(),
            actor: self.actor.unwrap_or_default(),
            rights_profile: self.rights_profile.unwrap_or_default(),
            queues: self.queues,
            channel: self.channel.into(),
        };
        let mut client = session.connection.settings().await?;
        let answer = client.test_ban_permission(request).await?.into_inner();
        match session.display.format() {
            Format::Json => output::json(&proto_json::canonical(&answer)?)?,
            Format::Csv => output::print(&permissions(&answer.permissions).to_csv()?)?,
            Format::Table => output::print(&permissions(&answer.permissions).to_table())?,
        }
        Ok(Outcome::Done)
    }
}

async fn list(session: &Session<'_>) -> anyhow::Result<Outcome> {
    let mut client = session.connection.settings().await?;
    let mut request = ListBanRightsRequest {
        tenant: session.connection.tenant.clone(),
        page_size: PAGE,
        page_token: String::new(),
    };
    let mut rights = Vec::new();
    loop {
        let page = client.list_ban_rights(request.clone()).await?.into_inner();
        rights.extend(page.rights);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let items = proto_json::canonical_all(&rights)?;
    session
        .display
        .list(&items, || table(&rights), || csv(&rights))?;
    if rights.is_empty() {
        output::note("no profile may ban from any queue; `bancheck rights set` allows one");
    }
    Ok(Outcome::Done)
}

fn table(rights: &[BanRights]) -> Sheet {
    let row = |one: &BanRights| [one.rights_profile.clone(), one.allowed_queues.join(", ")];
    Sheet::new(["profile", "may ban from"], rights.iter().map(row))
}

/// A line for each pair of profile and queue.
fn csv(rights: &[BanRights]) -> Sheet {
    let pairs = rights.iter().flat_map(|one| {
        let pair = |queue: &String| [one.rights_profile.clone(), queue.clone()];
        one.allowed_queues.iter().map(pair)
    });
    Sheet::new(["rights_profile", "queue"], pairs)
}

fn permissions(permissions: &[Permission]) -> Sheet {
    let row = |one: &Permission| {
        let allowed = if one.allowed { "yes" } else { "no" };
        [one.queue.clone(), allowed.to_owned(), one.reason.clone()]
    };
    Sheet::new(["queue", "allowed", "reason"], permissions.iter().map(row))
}
