//! `bancheck exception`: customers who are never banned.

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use prost_types::Timestamp;

use super::{
    Outcome, Session,
    identity::{self, IdentityFlags},
    moment::{self, instant},
    output::{self, Facts, Format, Sheet, clean},
    proto_json,
    vocabulary::Spoken,
    writing::WriteFlags,
};
use crate::api::v1::{
    Channel, CreateExceptionRequest, DeactivateExceptionRequest, Exception, Identity,
    ListExceptionsRequest, MatchKind, ban::State,
};

/// The most exceptions on one page.
const PAGE: i32 = 1_000;

/// What to do about exceptions.
#[derive(Subcommand)]
pub(crate) enum ExceptionCommand {
    Add(Add),
    List(List),
    Deactivate(Deactivate),
}

/// Spare a customer, or a range of them, whatever bans there are
///
/// It acts at once, on standing bans too. Of a ban and an exception the one that names the customer
/// more closely wins (exactly, by another spelling, then by the longest range); where both name him
/// alike the exception does. With --restore it puts a built-in exception back that was lifted.
#[derive(Args)]
#[command(override_usage = "bancheck exception add [OPTIONS] <TARGET>\n       \
                            bancheck exception add --restore <NAME>")]
pub(crate) struct Add {
    /// Channels that the exception holds on, repeated or parted by commas [default: all that carry
    /// such identities; --kind is needed then]
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        value_delimiter = ',',
        value_name = "CHANNEL"
    )]
    channel: Vec<Channel>,
    /// How the identity is compared; prefix takes beginnings of numbers like +4206, cidr networks
    /// like 192.0.2.0/24, domain mail domains like example.com [default: exact]
    #[arg(long = "match", value_enum, ignore_case = true, value_name = "HOW")]
    match_kind: Option<MatchKind>,
    /// Why, in at most 500 characters [default: none]
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// When it ends, with its offset, such as 2026-12-31T23:59:59+01:00 or …Z [default: when it is
    /// deactivated]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<Timestamp>,
    /// It wins over every ban, and no ban may be on whom it spares
    #[arg(long)]
    protected: bool,
    #[command(flatten)]
    reading: IdentityFlags,
    /// Spare a range that is refused as too broad
    #[arg(long)]
    override_warnings: bool,
    /// Put this built-in exception back, such as private-10 [default: none, a new one is made]
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with_all = ["target", "channel", "match_kind", "comment", "until", "protected"]
    )]
    restore: Option<String>,
    #[command(flatten)]
    writing: WriteFlags,
    /// Identity to spare, such as +420601123456, a@example.com or 203.0.113.7
    #[arg(
        required_unless_present = "restore",
        value_name = "TARGET",
        allow_negative_numbers = true
    )]
    target: Option<String>,
}

/// List exceptions, by default those in force; those that are built in come first
#[derive(Args)]
pub(crate) struct List {
    /// States wanted, repeated or parted by commas [default: active]
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        value_delimiter = ',',
        value_name = "STATE"
    )]
    state: Vec<State>,
}

/// End an exception now, or lift a built-in one by its name
///
/// The bans that it overrode hold again at once. A built-in one is put back by
/// `bancheck exception add --restore NAME`.
#[derive(Args)]
pub(crate) struct Deactivate {
    /// The exception's id, or the name of a built-in one
    #[arg(value_name = "ID|NAME")]
    id: String,
    /// Why, in at most 500 characters
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    writing: WriteFlags,
}

impl ExceptionCommand {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        match self {
            Self::Add(add) => add.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::Deactivate(deactivate) => deactivate.run(session).await,
        }
    }
}

impl Add {
    async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let exception = self.exception();
        let typed: Vec<Identity> = exception.target.iter().cloned().collect();
        let request = CreateExceptionRequest {
            tenant: session.connection.tenant.clone(),
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            exception: Some(exception),
            override_warnings: self.override_warnings,
        };
        let mut client = session.connection.settings().await?;
        let answer = client.create_exception(request).await?.into_inner();
        match session.display.format() {
            Format::Json => output::json(&proto_json::canonical(&answer)?)?,
            Format::Csv => output::print(&csv(answer.exception.as_slice()).to_csv()?)?,
            Format::Table => {
                let made = answer.exception.context("the server answered without it")?;
                let mut facts = facts(&made, session.now());
                facts.add("overrides", format!("{} bans", answer.bans_overridden));
                facts.add("token", answer.written_at.unwrap_or_default().token);
                facts.add("warnings", identity::warnings(&answer.warnings, &typed));
                output::print(&format!("{}\n{}", made.exception_id, facts.to_text()))?;
            }
        }
        self.writing.remind();
        Ok(Outcome::Done)
    }

    fn exception(&self) -> Exception {
        if let Some(name) = &self.restore {
            return Exception {
                exception_id: name.clone(),
                ..Exception::default()
            };
        }
        let target = self.target.as_deref();
        Exception {
            target: target.map(|target| self.reading.identity(target)),
            match_kind: self.match_kind.unwrap_or_default().into(),
            channels: self
                .channel
                .iter()
                .map(|channel| (*channel).into())
                .collect(),
            comment: self.comment.clone().unwrap_or_default(),
            expire_time: self.until,
            protected: self.protected,
            ..Exception::default()
        }
    }
}

impl List {
    async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let mut client = session.connection.settings().await?;
        let mut request = ListExceptionsRequest {
            tenant: session.connection.tenant.clone(),
            page_size: PAGE,
            page_token: String::new(),
            states: self.state.iter().map(|state| (*state).into()).collect(),
        };
        let mut all = Vec::new();
        loop {
            let page = client.list_exceptions(request.clone()).await?.into_inner();
            all.extend(page.exceptions);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        let items = proto_json::canonical_all(&all)?;
        session.display.list(&items, || table(&all), || csv(&all))?;
        Ok(Outcome::Done)
    }
}

impl Deactivate {
    async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let request = DeactivateExceptionRequest {
            tenant: session.connection.tenant.clone(),
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            exception_id: self.id,
            reason: self.reason,
        };
        let mut client = session.connection.settings().await?;
        let answer = client.deactivate_exception(request).await?.into_inner();
        match session.display.format() {
            Format::Json => output::json(&proto_json::canonical(&answer)?)?,
            Format::Csv => output::print(&csv(answer.exception.as_slice()).to_csv()?)?,
            Format::Table => {
                let ended = answer.exception.unwrap_or_default();
                let mut facts = facts(&ended, session.now());
                facts.add("token", answer.written_at.unwrap_or_default().token);
                output::print(&format!("{}\n{}", ended.exception_id, facts.to_text()))?;
            }
        }
        self.writing.remind();
        Ok(Outcome::Done)
    }
}

fn target(exception: &Exception) -> String {
    let normalized = exception.normalized.as_ref();
    normalized.map(identity::target).unwrap_or_default()
}

const fn protection(exception: &Exception) -> &'static str {
    if exception.protected {
        "any ban"
    } else {
        "bans no closer"
    }
}

fn facts(exception: &Exception, now: DateTime<Utc>) -> Facts {
    let mut facts = Facts::default();
    facts.add("state", State::told(exception.state));
    facts.add("target", target(exception));
    facts.add("matched", MatchKind::told(exception.match_kind));
    facts.add("channels", Channel::told_all(&exception.channels, ", "));
    facts.add("wins over", protection(exception));
    facts.add("until", moment::end(exception.expire_time.as_ref(), now));
    facts.add("comment", clean(&exception.comment));
    facts.add("made by", clean(&exception.created_by));
    facts.add("made", moment::told(exception.create_time.as_ref(), now));
    facts.add("ended by", clean(&exception.deactivated_by));
    facts.add(
        "ended",
        moment::told(exception.deactivate_time.as_ref(), now),
    );
    facts.add("because", clean(&exception.deactivate_reason));
    facts
}

fn table(all: &[Exception]) -> Sheet {
    let header = [
        "id",
        "state",
        "target",
        "channels",
        "wins over",
        "until",
        "comment",
    ];
    let row = |exception: &Exception| {
        [
            exception.exception_id.clone(),
            State::told(exception.state),
            target(exception),
            Channel::told_all(&exception.channels, ", "),
            protection(exception).to_owned(),
            moment::written_end(exception.expire_time.as_ref()),
            clean(&exception.comment),
        ]
    };
    Sheet::new(header, all.iter().map(row))
}

fn csv(all: &[Exception]) -> Sheet {
    let header = [
        "exception_id",
        "state",
        "target",
        "match_kind",
        "channels",
        "protected",
        "expire_time",
        "comment",
        "created_by",
        "deactivated_by",
        "deactivate_reason",
    ];
    let row = |exception: &Exception| {
        [
            exception.exception_id.clone(),
            State::told(exception.state),
            target(exception),
            MatchKind::told(exception.match_kind),
            Channel::told_all(&exception.channels, ";"),
            exception.protected.to_string(),
            moment::written_end(exception.expire_time.as_ref()),
            exception.comment.clone(),
            exception.created_by.clone(),
            exception.deactivated_by.clone(),
            exception.deactivate_reason.clone(),
        ]
    };
    Sheet::new(header, all.iter().map(row))
}
