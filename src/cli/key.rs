//! `bancheck key`: the keys of principals, and the server's master key.

use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::{Args, Subcommand};
use prost_types::Timestamp;
use serde_json::json;

use super::{
    Outcome, Session,
    grant::GrantFlags,
    local,
    moment::{self, instant},
    output::{self, Facts, Format, Sheet, clean},
    proto_json,
    writing::WriteFlags,
};
use crate::{
    api::v1::{
        ApiKey, CreateApiKeyRequest, CreateApiKeyResponse, Grant, ListApiKeysRequest,
        RevokeApiKeyRequest, RotateApiKeyRequest, api_key::State,
    },
    domain::{caller::Scope, period::CalendarPeriod},
};

/// The most keys on one page.
const PAGE: i32 = 1_000;
/// The principal of the first key, unless one is named.
const FIRST: &str = "admin";

/// What to do about keys.
#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Print 32 random bytes in base64: a master key for the server's `BANCHECK_MASTER_KEY`; needs no
    /// server
    ///
    /// Every pod needs the same one, and it is kept in no database: losing it loses the means to
    /// match what was banned under it.
    Generate,
    Add(Add),
    /// List keys by id, ended ones too; never their secrets
    List {
        /// Only keys of this principal
        #[arg(value_name = "PRINCIPAL")]
        principal: Option<String>,
    },
    Rotate(Rotate),
    Revoke(Revoke),
}

/// Make a key, and print it: this once
///
/// On the server's own machine it takes no credential: with embedded SQLite the key in the data
/// directory is used, with Postgres the database itself, as `BANCHECK_DATABASE_URL` and
/// `BANCHECK_MASTER_KEY` say. So the first key is made.
#[derive(Args)]
pub(crate) struct Add {
    /// Whose key [default: admin, who may do everything]
    #[arg(value_name = "PRINCIPAL")]
    principal: Option<String>,
    #[command(flatten)]
    granted: GrantFlags,
    /// Name for people, at most 200 characters [default: none]
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    title: String,
    #[command(flatten)]
    end: EndFlags,
    #[command(flatten)]
    writing: WriteFlags,
}

/// Make a key's successor, and have the old one end a while later
#[derive(Args)]
pub(crate) struct Rotate {
    /// The key's id, the middle part of `bk_<id>_<secret>`
    #[arg(value_name = "ID")]
    id: String,
    /// How long the old key goes on being good, such as "30m" or "7 days"; "0" = not at all
    #[arg(long, value_name = "PERIOD", default_value = "1 day")]
    overlap: String,
    #[command(flatten)]
    end: EndFlags,
    #[command(flatten)]
    writing: WriteFlags,
}

/// End a key at once
#[derive(Args)]
pub(crate) struct Revoke {
    /// The key's id, the middle part of `bk_<id>_<secret>`
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    writing: WriteFlags,
}

/// When a key ends: never, unless said.
#[derive(Args)]
#[group(multiple = false)]
struct EndFlags {
    /// How long the key is good, such as "90 days" [default: until it is revoked]
    #[arg(long = "for", value_name = "PERIOD")]
    lasting: Option<CalendarPeriod>,
    /// When the key ends, with its offset, such as 2026-12-31T23:59:59+01:00 or …Z [default: as --for
    /// has it]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<Timestamp>,
}

impl EndFlags {
    fn end(&self, session: &Session<'_>) -> anyhow::Result<Option<Timestamp>> {
        let Some(period) = self.lasting else {
            return Ok(self.until);
        };
        let end = period.after(session.now(), chrono_tz::UTC);
        Ok(Some(moment::timestamp(end.context("beyond the calendar")?)))
    }
}

impl KeyCommand {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        match self {
            Self::Generate => print_master_key(session)?,
            Self::Add(add) => add.run(session).await?,
            Self::List { principal } => list(principal.unwrap_or_default(), session).await?,
            Self::Rotate(rotate) => rotate.run(session).await?,
            Self::Revoke(revoke) => revoke.run(session).await?,
        }
        Ok(Outcome::Done)
    }
}

impl Add {
    async fn run(self, session: &Session<'_>) -> anyhow::Result<()> {
        let grant = self.granted.grant(&session.connection.tenant);
        let grants = match (&self.principal, grant) {
            (_, Some(grant)) => vec![grant],
            (None, None) => vec![everything()],
            (Some(_), None) => Vec::new(),
        };
        let request = CreateApiKeyRequest {
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            principal: self.principal.unwrap_or_else(|| FIRST.to_owned()),
            display_name: self.title,
            expire_time: self.end.end(session)?,
            grants,
        };
        let answer = if session.connection.has_credential() {
            let mut client = session.connection.access().await?;
            client.create_api_key(request).await?.into_inner()
        } else if let Some(place) = local::own_database()? {
            local::first_key(&place, request).await?
        } else {
            let mut client = session.connection.access().await?;
            client.create_api_key(request).await?.into_inner()
        };
        show_made(&answer, session)?;
        self.writing.remind();
        Ok(())
    }
}

/// What the first key is good for.
fn everything() -> Grant {
    Grant {
        all_tenants: true,
        scopes: Scope::ALL.map(|scope| scope as i32).to_vec(),
        may_act_for: true,
        ..Grant::default()
    }
}

fn show_made(answer: &CreateApiKeyResponse, session: &Session<'_>) -> anyhow::Result<()> {
    match session.display.format() {
        Format::Json => output::json(&proto_json::canonical(answer)?),
        Format::Csv => output::print(&format!("key\n{}\n", answer.secret)),
        Format::Table => {
            let key = answer.api_key.clone().unwrap_or_default();
            output::print(&format!("{}\n", answer.secret))?;
            output::note(facts(&key, session).trim_end());
            output::note("it is not shown again; send it as BANCHECK_TOKEN or --token");
            Ok(())
        }
    }
}

impl Rotate {
    async fn run(self, session: &Session<'_>) -> anyhow::Result<()> {
        let overlap = match self.overlap.trim() {
            "0" => prost_types::Duration::default(),
            text => {
                let period: CalendarPeriod = text.parse()?;
                let now = session.now();
                let end = period.after(now, chrono_tz::UTC);
                let length = end.context("beyond the calendar")? - now;
                prost_types::Duration {
                    seconds: length.num_seconds(),
                    nanos: 0,
                }
            }
        };
        let request = RotateApiKeyRequest {
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            key_id: self.id,
            overlap: Some(overlap),
            expire_time: self.end.end(session)?,
        };
        let mut client = session.connection.access().await?;
        let answer = client.rotate_api_key(request).await?.into_inner();
        match session.display.format() {
            Format::Json => output::json(&proto_json::canonical(&answer)?)?,
            Format::Csv => output::print(&format!("key\n{}\n", answer.secret))?,
            Format::Table => {
                output::print(&format!("{}\n", answer.secret))?;
                let (new, old) = (answer.api_key, answer.replaced);
                output::note(facts(&new.unwrap_or_default(), session).trim_end());
                let ends =
                    moment::told(old.unwrap_or_default().expire_time.as_ref(), session.now());
                output::note(&format!("it is not shown again; the old key ends {ends}"));
            }
        }
        self.writing.remind();
        Ok(())
    }
}

impl Revoke {
    async fn run(self, session: &Session<'_>) -> anyhow::Result<()> {
        let request = RevokeApiKeyRequest {
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            key_id: self.id,
        };
        let mut client = session.connection.access().await?;
        let answer = client.revoke_api_key(request).await?.into_inner();
        match session.display.format() {
            Format::Json => output::json(&proto_json::canonical(&answer)?)?,
            Format::Csv => output::print(&sheet(answer.api_key.as_slice()).to_csv()?)?,
            Format::Table => {
                output::print(&facts(&answer.api_key.unwrap_or_default(), session))?;
            }
        }
        self.writing.remind();
        Ok(())
    }
}

async fn list(principal: String, session: &Session<'_>) -> anyhow::Result<()> {
    let mut client = session.connection.access().await?;
    let mut request = ListApiKeysRequest {
        principal,
        page_size: PAGE,
        page_token: String::new(),
    };
    let mut keys = Vec::new();
    loop {
        let page = client.list_api_keys(request.clone()).await?.into_inner();
        keys.extend(page.api_keys);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let items = proto_json::canonical_all(&keys)?;
    session
        .display
        .list(&items, || sheet(&keys), || sheet(&keys))
}

fn state(key: &ApiKey) -> &'static str {
    match key.state() {
        State::Live => "live",
        State::Expired => "expired",
        State::Revoked => "revoked",
        State::Unspecified => "",
    }
}

fn facts(key: &ApiKey, session: &Session<'_>) -> String {
    let now = session.now();
    let mut facts = Facts::default();
    facts
        .add("principal", key.principal.clone())
        .add("state", state(key))
        .add("title", key.display_name.clone())
        .add("until", moment::told(key.expire_time.as_ref(), now))
        .add("made", moment::told(key.create_time.as_ref(), now))
        .add("made by", key.created_by.clone())
        .add("revoked", moment::told(key.revoke_time.as_ref(), now));
    format!("{}\n{}", clean(&key.key_id), facts.to_text())
}

fn sheet(keys: &[ApiKey]) -> Sheet {
    let row = |key: &ApiKey| {
        [
            key.key_id.clone(),
            key.principal.clone(),
            state(key).to_owned(),
            key.display_name.clone(),
            moment::shown(key.expire_time.as_ref()),
            moment::shown(key.create_time.as_ref()),
            key.created_by.clone(),
        ]
    };
    Sheet::new(
        [
            "key_id",
            "principal",
            "state",
            "title",
            "until",
            "made",
            "made_by",
        ],
        keys.iter().map(row),
    )
}

fn print_master_key(session: &Session<'_>) -> anyhow::Result<()> {
    let key = generate()?;
    match session.display.format() {
        Format::Table => output::print(&format!("{key}\n")),
        Format::Csv => output::print(&format!("key\n{key}\n")),
        Format::Json => output::json(&json!({ "key": key })),
    }
}

/// A new master key.
fn generate() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system gives no random bytes")?;
    Ok(BASE64_STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_and_never_the_same() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_eq!(BASE64_STANDARD.decode(&one).unwrap().len(), 32);
        assert_ne!(one, other);
    }
}
