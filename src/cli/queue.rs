//! `bancheck queue`: what queues do about bans (D20–D25).

use clap::{Args, Subcommand};
use prost_types::FieldMask;

use super::{
    Outcome, Session,
    output::{self, Facts, Format, Sheet},
    proto_json::{self, Named},
    vocabulary::{Spoken, Switch, on_or_off},
    writing::WriteFlags,
};
use crate::api::v1::{
    Channel, GetQueuePolicyRequest, ListQueuePoliciesRequest, QueuePolicy,
    UpdateQueuePolicyRequest,
    queue_policy::{RecordTo, WithheldPolicy},
};

/// The most queues on one page.
const PAGE: i32 = 1_000;

/// What to do about queues.
#[derive(Subcommand)]
pub(crate) enum QueueCommand {
    Set(Set),
    Show(Show),
    /// List the queues that have a policy, in the order of their ids' bytes
    List,
}

/// Say what a queue does about bans: only what is named changes
///
/// Bans from a queue never set are recorded as the tenant has it: nowhere from web chats, and
/// tenant-wide from all else. Which lists a queue checks is another matter: `bancheck list queues`.
#[derive(Args)]
#[command(override_usage = "bancheck queue set [OPTIONS] <QUEUE> --channel <CHANNEL>")]
pub(crate) struct Set {
    /// The queue, by your own id, at most 128 bytes
    #[arg(value_name = "QUEUE")]
    queue: String,
    /// Channel that the queue serves, on which its policy holds [default: unchanged; needed the first
    /// time]
    #[arg(long, value_enum, ignore_case = true, value_name = "CHANNEL")]
    channel: Option<Channel>,
    /// Where bans from the queue are recorded: nowhere (none, nobody can ban from it), tenant-wide
    /// (global), or as the tenant has it (default) [default: unchanged; of a new queue, default]
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        value_name = "PLACE",
        conflicts_with = "list"
    )]
    record_to: Option<Place>,
    /// List to record bans from the queue in [default: as --record-to has it]
    #[arg(long, value_name = "ID")]
    list: Option<String>,
    /// Whether it is a campaign's queue, from which nobody bans [default: unchanged; of a new queue, off]
    #[arg(long, value_enum, value_name = "ON|OFF")]
    campaign: Option<Switch>,
    /// What becomes of callers who withhold their number [default: unchanged; of a new queue,
    /// allow]
    #[arg(long, value_enum, ignore_case = true, value_name = "POLICY")]
    withheld: Option<WithheldPolicy>,
    #[command(flatten)]
    writing: WriteFlags,
}

/// A place to record bans in that is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Place {
    /// Nobody can ban from the queue
    None,
    /// For the whole tenant
    Global,
    /// As the tenant has it for the channel
    Default,
}

/// Show what a queue does about bans, set or not
#[derive(Args)]
pub(crate) struct Show {
    /// The queue
    #[arg(value_name = "QUEUE")]
    queue: String,
}

impl QueueCommand {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        match self {
            Self::Set(set) => set.run(session).await,
            Self::Show(show) => show.run(session).await,
            Self::List => list(session).await,
        }
    }
}

impl Set {
    async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let (policy, paths) = self.named();
        let request = UpdateQueuePolicyRequest {
            tenant: session.connection.tenant.clone(),
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            queue_policy: Some(policy),
            update_mask: (!paths.is_empty()).then_some(FieldMask { paths }),
        };
        let mut client = session.connection.settings().await?;
        let answer = client.update_queue_policy(request).await?.into_inner();
        let token = answer.written_at.clone().unwrap_or_default().token;
        show(&answer, answer.queue_policy.as_ref(), &token, session)?;
        self.writing.remind();
        Ok(Outcome::Done)
    }

    /// The policy with what was named filled in, and the paths of that.
    fn named(&self) -> (QueuePolicy, Vec<String>) {
        let record_to = match (self.record_to, &self.list) {
            (_, Some(_)) => RecordTo::BanList,
            (Some(Place::None), None) => RecordTo::None,
            (Some(Place::Global), None) => RecordTo::Global,
            (Some(Place::Default) | None, None) => RecordTo::Unspecified,
        };
        let policy = QueuePolicy {
            queue: self.queue.clone(),
            channel: self.channel.unwrap_or_default().into(),
            campaign: self.campaign.is_some_and(Switch::is_on),
            record_to: record_to.into(),
            list_id: self.list.clone().unwrap_or_default(),
            enforced_list_ids: Vec::new(),
            withheld_policy: self.withheld.unwrap_or_default().into(),
        };
        let somewhere = self.record_to.is_some() || self.list.is_some();
        let paths = [
            (self.channel.is_some(), "channel"),
            (self.campaign.is_some(), "campaign"),
            (somewhere, "record_to"),
            (self.list.is_some(), "list_id"),
            (self.withheld.is_some(), "withheld_policy"),
        ];
        let named = paths.into_iter().filter(|(named, _)| *named);
        (policy, named.map(|(_, path)| path.to_owned()).collect())
    }
}

impl Show {
    async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let request = GetQueuePolicyRequest {
            tenant: session.connection.tenant.clone(),
            queue: self.queue,
        };
        let mut client = session.connection.settings().await?;
        let answer = client.get_queue_policy(request).await?.into_inner();
        show(&answer, answer.queue_policy.as_ref(), "", session)?;
        Ok(Outcome::Done)
    }
}

async fn list(session: &Session<'_>) -> anyhow::Result<Outcome> {
    let mut client = session.connection.settings().await?;
    let mut request = ListQueuePoliciesRequest {
        tenant: session.connection.tenant.clone(),
        page_size: PAGE,
        page_token: String::new(),
    };
    let mut policies = Vec::new();
    loop {
        let page = client.list_queue_policies(request.clone()).await?;
        let page = page.into_inner();
        policies.extend(page.queue_policies);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let items = proto_json::canonical_all(&policies)?;
    session
        .display
        .list(&items, || table(&policies), || csv(&policies))?;
    if policies.is_empty() {
        output::note("no queue has a policy yet; `bancheck queue set` says one");
    }
    Ok(Outcome::Done)
}

fn show<M: Named>(
    answer: &M,
    policy: Option<&QueuePolicy>,
    token: &str,
    session: &Session<'_>,
) -> anyhow::Result<()> {
    match session.display.format() {
        Format::Json => output::json(&proto_json::canonical(answer)?),
        Format::Csv => output::print(&csv(policy.cloned().as_slice()).to_csv()?),
        Format::Table => {
            let Some(policy) = policy else {
                return Ok(());
            };
            let mut facts = facts(policy);
            facts.add("token", token);
            let queue = output::clean(&policy.queue);
            output::print(&format!("{queue}\n{}", facts.to_text()))
        }
    }
}

/// Where bans are recorded, in words.
fn recorded(policy: &QueuePolicy) -> String {
    match (policy.record_to(), policy.list_id.as_str()) {
        (RecordTo::Unspecified, _) => "as the tenant has it".to_owned(),
        (RecordTo::None, _) => "nowhere: nobody can ban".to_owned(),
        (RecordTo::Global, _) => "tenant-wide".to_owned(),
        (RecordTo::BanList, "") => "nowhere: its list is gone".to_owned(),
        (RecordTo::BanList, list) => format!("in list {list}"),
    }
}

fn facts(policy: &QueuePolicy) -> Facts {
    let mut facts = Facts::default();
    let channel = Channel::told(policy.channel);
    facts.add(
        "channel",
        if channel.is_empty() {
            "none: it was never set"
        } else {
            &channel
        },
    );
    facts.add("bans recorded", recorded(policy));
    facts.add(
        "campaign",
        if policy.campaign {
            "yes: nobody can ban"
        } else {
            ""
        },
    );
    facts.add("checks lists", policy.enforced_list_ids.join(", "));
    let withheld = WithheldPolicy::told(policy.withheld_policy);
    facts.add("withheld numbers", withheld);
    facts
}

fn table(policies: &[QueuePolicy]) -> Sheet {
    let header = [
        "queue",
        "channel",
        "bans recorded",
        "campaign",
        "withheld",
        "checks lists",
    ];
    let row = |policy: &QueuePolicy| {
        [
            policy.queue.clone(),
            Channel::told(policy.channel),
            recorded(policy),
            on_or_off(policy.campaign),
            WithheldPolicy::told(policy.withheld_policy),
            policy.enforced_list_ids.join(", "),
        ]
    };
    Sheet::new(header, policies.iter().map(row))
}

fn csv(policies: &[QueuePolicy]) -> Sheet {
    let header = [
        "queue",
        "channel",
        "record_to",
        "list_id",
        "campaign",
        "withheld_policy",
        "enforced_list_ids",
    ];
    let row = |policy: &QueuePolicy| {
        [
            policy.queue.clone(),
            Channel::told(policy.channel),
            RecordTo::told(policy.record_to),
            policy.list_id.clone(),
            on_or_off(policy.campaign),
            WithheldPolicy::told(policy.withheld_policy),
            policy.enforced_list_ids.join(";"),
        ]
    };
    Sheet::new(header, policies.iter().map(row))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        set: Set,
    }

    fn named(line: &str) -> (QueuePolicy, Vec<String>) {
        Line::parse_from(format!("set {line}").split_whitespace())
            .set
            .named()
    }

    #[test]
    fn what_is_named_is_sent_and_nothing_else() {
        let (policy, paths) = named("chat --channel web-chat --list rude");
        assert_eq!(paths, ["channel", "record_to", "list_id"]);
        assert_eq!(policy.record_to(), RecordTo::BanList);
        let (policy, paths) = named("chat --campaign off --record-to default");
        assert_eq!(paths, ["campaign", "record_to"]);
        assert_eq!(policy.record_to(), RecordTo::Unspecified);
        assert_eq!(named("chat").1, Vec::<String>::new());
    }
}
