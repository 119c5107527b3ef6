//! `bancheck list`: ban lists, and the queues that check them.

mod delete;
mod expiry;
mod queues;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::{
    Outcome, Session,
    expiry::{Lasting, ladder, step},
    identity, moment,
    output::{self, Facts, Format, Sheet},
    proto_json,
    vocabulary::{Spoken, on_or_off},
    writing::WriteFlags,
};
use crate::api::v1::{
    BanList, CalendarPeriod, CreateBanListRequest, ListBanListsRequest, Treatment,
    ban::Enforcement, ban_list::WebchatBanType,
};

/// The most lists on one page.
const PAGE: i32 = 1_000;

/// What to do about ban lists.
#[derive(Subcommand)]
pub(crate) enum ListCommand {
    Add(Add),
    /// List the tenant's ban lists, by id
    List,
    Queues(queues::Queues),
    Expiry(expiry::Expiry),
    Delete(delete::Delete),
}

/// Make a ban list
///
/// A list denies nothing until queues check it: `bancheck list queues` says which do. (Bans of web
/// chat visitor tokens hold everywhere at once.)
#[derive(Args)]
pub(crate) struct Add {
    /// The list's id: lower-case letters, digits and hyphens, at most 63; never used again, even
    /// after the list is deleted
    #[arg(value_name = "ID")]
    id: String,
    /// Name for people, unique in the tenant, letter case aside
    #[arg(long, value_name = "TEXT")]
    title: String,
    /// Note for administrators; no check ever tells it [default: none]
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// How long a ban in this list lasts unless told otherwise, such as "+6 days", "19 months",
    /// "1 year, 2 weeks", "30m" (minutes; months are "mo") or "permanent" [default: permanent]
    #[arg(
        long,
        visible_alias = "for",
        value_name = "PERIOD",
        allow_hyphen_values = true
    )]
    #[arg(value_parser = timeout)]
    default_timeout: Option<String>,
    /// How long the first ban of a customer lasts, then the second and so on, repeated or parted by
    /// semicolons; every later one the last, and the default timeout none [default: no ladder]
    #[arg(
        long,
        value_name = "PERIOD",
        value_delimiter = ';',
        allow_hyphen_values = true
    )]
    #[arg(value_parser = step)]
    ladder: Vec<CalendarPeriod>,
    /// What a ban made from a web chat is put on: the visitor's browser (local-storage) or the IP
    /// address (ip) [default: local-storage]
    #[arg(long, value_enum, ignore_case = true, value_name = "TYPE")]
    webchat: Option<WebchatBanType>,
    /// A web chat ban bans the contact's telephone numbers as well
    #[arg(long)]
    ban_contact_phones: bool,
    /// What to do with a denied interaction [default: disable-widget for a visitor's browser,
    /// end-interaction for the rest]
    #[arg(long, value_enum, ignore_case = true, value_name = "TREATMENT")]
    treatment: Option<Treatment>,
    /// Only report what the list's bans would have denied [default: deny]
    #[arg(long)]
    shadow: bool,
    /// Deny callbacks, campaign dials and replies to the customer as well
    #[arg(long)]
    outbound: bool,
    #[command(flatten)]
    writing: WriteFlags,
}

impl ListCommand {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        match self {
            Self::Add(add) => add.run(session).await,
            Self::List => list(session).await,
            Self::Queues(queues) => queues.run(session).await,
            Self::Expiry(expiry) => expiry.run(session).await,
            Self::Delete(delete) => delete.run(session).await,
        }
    }
}

impl Add {
    async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let request = CreateBanListRequest {
            tenant: session.connection.tenant.clone(),
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            ban_list: Some(self.ban_list()),
        };
        let mut client = session.connection.settings().await?;
        let answer = client.create_ban_list(request).await?.into_inner();
        match session.display.format() {
            Format::Json => output::json(&proto_json::canonical(&answer)?)?,
            Format::Csv => output::print(&csv(answer.ban_list.as_slice()).to_csv()?)?,
            Format::Table => {
                let made = answer.ban_list.unwrap_or_default();
                let mut facts = facts(&made, session.now());
                facts.add("token", answer.written_at.unwrap_or_default().token);
                output::print(&format!("{}\n{}", made.list_id, facts.to_text()))?;
            }
        }
        self.writing.remind();
        Ok(Outcome::Done)
    }

    fn ban_list(&self) -> BanList {
        let enforcement = if self.shadow {
            Enforcement::Shadow
        } else {
            Enforcement::Unspecified
        };
        BanList {
            list_id: self.id.clone(),
            title: self.title.clone(),
            description: self.description.clone().unwrap_or_default(),
            default_timeout_text: self.default_timeout.clone().unwrap_or_default(),
            webchat_ban_type: self.webchat.unwrap_or_default().into(),
            ban_contact_phones: self.ban_contact_phones,
            treatment: self.treatment.unwrap_or_default().into(),
            enforcement: enforcement.into(),
            enforce_outbound: self.outbound,
            repeat_ladder: self.ladder.clone(),
            ..BanList::default()
        }
    }
}

/// Reads a list's timeout, which is kept as typed (D7); `permanent` is the absence of one.
fn timeout(text: &str) -> Result<String, String> {
    match text.parse() {
        Ok(Lasting::Permanent) => Ok(String::new()),
        Ok(Lasting::For(_)) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

async fn list(session: &Session<'_>) -> anyhow::Result<Outcome> {
    let mut client = session.connection.settings().await?;
    let mut request = ListBanListsRequest {
        tenant: session.connection.tenant.clone(),
        page_size: PAGE,
        page_token: String::new(),
    };
    let mut lists = Vec::new();
    loop {
        let page = client.list_ban_lists(request.clone()).await?.into_inner();
        lists.extend(page.ban_lists);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let items = proto_json::canonical_all(&lists)?;
    session
        .display
        .list(&items, || table(&lists), || csv(&lists))?;
    if lists.is_empty() {
        output::note("no ban list yet; `bancheck list add` makes one");
    }
    Ok(Outcome::Done)
}

fn facts(list: &BanList, now: DateTime<Utc>) -> Facts {
    let mut facts = Facts::default();
    facts
        .add("title", &list.title)
        .add("description", &list.description);
    facts.add("bans last", lasting(list));
    facts.add(
        "a ban now ends",
        moment::told(list.example_expire_time.as_ref(), now),
    );
    facts.add("web chat bans", WebchatBanType::told(list.webchat_ban_type));
    facts.add(
        "contact's phones",
        if list.ban_contact_phones {
            "banned as well"
        } else {
            ""
        },
    );
    facts.add("treatment", Treatment::told(list.treatment));
    if list.enforcement() == Enforcement::Shadow {
        facts.add("enforcement", "shadow: reported, denies nothing");
    }
    facts.add(
        "outbound",
        if list.enforce_outbound {
            "denied as well"
        } else {
            ""
        },
    );
    facts.add("queues", list.queues.join(", "));
    facts.add("warnings", identity::warnings(&list.warnings, &[]));
    facts.add("etag", &list.etag);
    facts
}

/// How long bans last, for people: the ladder where there is one, for it takes the timeout's place.
fn lasting(list: &BanList) -> String {
    match list.repeat_ladder.as_slice() {
        [] => timeout_of(list).to_owned(),
        [only] => ladder(std::slice::from_ref(only)),
        steps => format!("{}, by their number for one customer", ladder(steps)),
    }
}

fn timeout_of(list: &BanList) -> &str {
    if list.default_timeout_text.is_empty() {
        "permanent"
    } else {
        &list.default_timeout_text
    }
}

fn table(lists: &[BanList]) -> Sheet {
    let header = ["id", "title", "bans last", "web chat", "denies", "queues"];
    let row = |list: &BanList| {
        let shadow = list.enforcement() == Enforcement::Shadow;
        let denies = match (shadow, list.enforce_outbound) {
            (true, _) => "nothing (shadow)",
            (false, false) => "inbound",
            (false, true) => "inbound, outbound",
        };
        [
            list.list_id.clone(),
            list.title.clone(),
            lasting(list),
            WebchatBanType::told(list.webchat_ban_type),
            denies.to_owned(),
            if list.queues.is_empty() {
                "none".to_owned()
            } else {
                list.queues.join(", ")
            },
        ]
    };
    Sheet::new(header, lists.iter().map(row))
}

fn csv(lists: &[BanList]) -> Sheet {
    let header = [
        "list_id",
        "title",
        "description",
        "default_timeout",
        "repeat_ladder",
        "webchat_ban_type",
        "ban_contact_phones",
        "treatment",
        "enforcement",
        "enforce_outbound",
        "queues",
    ];
    let row = |list: &BanList| {
        [
            list.list_id.clone(),
            list.title.clone(),
            list.description.clone(),
            timeout_of(list).to_owned(),
            ladder(&list.repeat_ladder),
            WebchatBanType::told(list.webchat_ban_type),
            on_or_off(list.ban_contact_phones),
            Treatment::told(list.treatment),
            Enforcement::told(list.enforcement),
            on_or_off(list.enforce_outbound),
            list.queues.join(";"),
        ]
    };
    Sheet::new(header, lists.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_sent_as_typed_and_permanent_as_none() {
        assert_eq!(timeout("+6 Days"), Ok("+6 Days".to_owned()));
        assert_eq!(timeout("permanent"), Ok(String::new()));
        assert!(timeout("soon").is_err());
    }
}
