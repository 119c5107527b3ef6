//! `bancheck tenant`: tenants and their settings.

mod delete;

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
    Channel, CreateTenantRequest, GetTenantSettingsRequest, ListTenantsRequest, TenantSettings,
    UpdateTenantSettingsRequest,
    queue_policy::RecordTo,
    tenant_settings::{DefaultRecordTo, FailureMode},
};

/// The most tenants on one page.
const PAGE: i32 = 1_000;

/// What to do about tenants.
#[derive(Subcommand)]
pub(crate) enum TenantCommand {
    Add(Add),
    /// List the tenants that the credential reaches, by id
    List,
    Settings(Settings),
    Delete(delete::Delete),
}

/// Make a tenant; a setting not named has its default
#[derive(Args)]
pub(crate) struct Add {
    /// The tenant's id: lower-case letters, digits and hyphens, at most 63; never used again, even
    /// after the tenant is deleted
    name: String,
    #[command(flatten)]
    values: SettingsFlags,
    #[command(flatten)]
    writing: WriteFlags,
}

/// Show a tenant's settings, or change those named
#[derive(Args)]
pub(crate) struct Settings {
    /// The tenant's id [default: that of --tenant]
    name: Option<String>,
    #[command(flatten)]
    values: SettingsFlags,
    /// The settings' etag as last seen: refuse if they have changed since [default: not compared]
    #[arg(long, value_name = "ETAG")]
    etag: Option<String>,
    #[command(flatten)]
    writing: WriteFlags,
}

/// The settings that can be named; each default is that of a new tenant.
#[derive(Args)]
struct SettingsFlags {
    /// Name for people; "" for none [default: none]
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// Two-letter region in which national telephone numbers are read, such as CZ; "" for none
    /// [default: none]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Time zone in which periods are reckoned, such as Europe/Prague [default: UTC]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// What a check answers when no usable data is at hand: open allows, closed denies
    /// [default: open]
    #[arg(long, value_enum, ignore_case = true, value_name = "MODE")]
    failure_mode: Option<FailureMode>,
    /// Whether operators may ban; standing bans and `ban add` are left alone [default: on]
    #[arg(long, value_enum, ignore_case = true, value_name = "SWITCH")]
    operator_banning: Option<Switch>,
    /// Where bans from queues of a channel are recorded unless the queue says otherwise: nowhere
    /// (none) or tenant-wide (global), such as web-chat=global, repeated or parted by commas;
    /// channels left out have their usual [default: none for web-chat, global for the rest]
    #[arg(long, value_name = "CHANNEL=PLACE", value_delimiter = ',', value_parser = recorded)]
    record_to: Vec<DefaultRecordTo>,
    /// Days after which an ended ban is removed for good; 0 keeps it [default: 0]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i32).range(0..))]
    retention_days: Option<i32>,
    /// Whether an e-mail address is matched without its plus-tag and, at providers known to ignore
    /// them, without dots [default: on]
    #[arg(long, value_enum, ignore_case = true, value_name = "SWITCH")]
    email_fold: Option<Switch>,
    /// Leading bits of an IPv6 address that a ban of it covers, 32 to 128 [default: 64]
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(i32).range(1..=128))]
    ipv6_prefix: Option<i32>,
}

impl TenantCommand {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        match self {
            Self::Add(add) => add.run(session).await,
            Self::List => list(session).await,
            Self::Settings(settings) => settings.run(session).await,
            Self::Delete(delete) => delete.run(session).await,
        }
    }
}

impl Add {
    async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let (settings, _) = self.values.named(&self.name);
        let request = CreateTenantRequest {
            tenant: self.name,
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            settings: Some(settings),
        };
        let mut client = session.connection.settings().await?;
        let answer = client.create_tenant(request).await?.into_inner();
        show(&answer, answer.tenant_settings.as_ref(), session)?;
        self.writing.remind();
        Ok(Outcome::Done)
    }
}

impl Settings {
    async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let tenant = self
            .name
            .unwrap_or_else(|| session.connection.tenant.clone());
        let (mut settings, paths) = self.values.named(&tenant);
        let mut client = session.connection.settings().await?;
        if paths.is_empty() {
            let request = GetTenantSettingsRequest { tenant };
            let answer = client.get_tenant_settings(request).await?.into_inner();
            show(&answer, answer.tenant_settings.as_ref(), session)?;
            return Ok(Outcome::Done);
        }
        settings.etag = self.etag.unwrap_or_default();
        let request = UpdateTenantSettingsRequest {
            tenant_settings: Some(settings),
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            update_mask: Some(FieldMask { paths }),
        };
        let answer = client.update_tenant_settings(request).await?.into_inner();
        show(&answer, answer.tenant_settings.as_ref(), session)?;
        self.writing.remind();
        Ok(Outcome::Done)
    }
}

impl SettingsFlags {
    /// The settings with those named filled in, and the paths of these.
    fn named(&self, tenant: &str) -> (TenantSettings, Vec<String>) {
        let settings = TenantSettings {
            tenant: tenant.to_owned(),
            display_name: self.display_name.clone().unwrap_or_default(),
            operator_banning_enabled: self.operator_banning.map(Switch::is_on),
            default_region: self.region.clone().unwrap_or_default(),
            time_zone: self.time_zone.clone(),
            failure_mode: self.failure_mode.map(Into::into),
            default_record_to: self.record_to.clone(),
            ended_ban_retention_days: self.retention_days,
            email_fold: self.email_fold.map(Switch::is_on),
            ipv6_prefix: self.ipv6_prefix,
            etag: String::new(),
        };
        let paths = [
            (self.display_name.is_some(), "display_name"),
            (self.operator_banning.is_some(), "operator_banning_enabled"),
            (self.region.is_some(), "default_region"),
            (self.time_zone.is_some(), "time_zone"),
            (self.failure_mode.is_some(), "failure_mode"),
            (!self.record_to.is_empty(), "default_record_to"),
            (self.retention_days.is_some(), "ended_ban_retention_days"),
            (self.email_fold.is_some(), "email_fold"),
            (self.ipv6_prefix.is_some(), "ipv6_prefix"),
        ];
        let named = paths.into_iter().filter(|(named, _)| *named);
        (settings, named.map(|(_, path)| path.to_owned()).collect())
    }
}

/// Reads where bans on a channel are recorded.
fn recorded(text: &str) -> Result<DefaultRecordTo, String> {
    let (channel, place) = text.split_once('=').ok_or("say it as in web-chat=global")?;
    let record_to = match place {
        "none" => RecordTo::None,
        "global" => RecordTo::Global,
        _ => return Err("the place is none or global; a list is named by a queue".to_owned()),
    };
    Ok(DefaultRecordTo {
        channel: <Channel as clap::ValueEnum>::from_str(channel, true)?.into(),
        record_to: record_to.into(),
    })
}

async fn list(session: &Session<'_>) -> anyhow::Result<Outcome> {
    let mut client = session.connection.settings().await?;
    let mut request = ListTenantsRequest {
        page_size: PAGE,
        page_token: String::new(),
    };
    let mut tenants = Vec::new();
    loop {
        let page = client.list_tenants(request.clone()).await?.into_inner();
        tenants.extend(page.tenants);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let (items, display) = (proto_json::canonical_all(&tenants)?, session.display);
    display.list(&items, || table(&tenants), || csv(&tenants))?;
    if tenants.is_empty() {
        output::note("no tenant yet; `bancheck tenant add` makes one");
    }
    Ok(Outcome::Done)
}

/// Shows the settings in an answer.
fn show<M: Named>(
    answer: &M,
    settings: Option<&TenantSettings>,
    session: &Session<'_>,
) -> anyhow::Result<()> {
    match session.display.format() {
        Format::Json => output::json(&proto_json::canonical(answer)?),
        Format::Csv => output::print(&csv(settings.cloned().as_slice()).to_csv()?),
        Format::Table => {
            let Some(settings) = settings else {
                return Ok(());
            };
            output::print(&format!(
                "{}\n{}",
                settings.tenant,
                facts(settings).to_text()
            ))
        }
    }
}

fn facts(settings: &TenantSettings) -> Facts {
    let mut facts = Facts::default();
    facts.add("display name", &settings.display_name);
    let region = settings.default_region.as_str();
    facts.add("region", if region.is_empty() { "none" } else { region });
    facts.add("time zone", settings.time_zone());
    facts.add(
        "failure mode",
        FailureMode::told(settings.failure_mode.unwrap_or_default()),
    );
    facts.add(
        "operator banning",
        on_or_off(settings.operator_banning_enabled()),
    );
    for default in &settings.default_record_to {
        let record_to = match default.record_to() {
            RecordTo::None => "nowhere",
            RecordTo::Global => "tenant-wide",
            RecordTo::BanList | RecordTo::Unspecified => "elsewhere",
        };
        facts.add(
            "bans recorded",
            format!("{}: {record_to}", Channel::told(default.channel)),
        );
    }
    let retention = match settings.ended_ban_retention_days() {
        0 => "ended bans are kept".to_owned(),
        days => format!("ended bans are removed after {days} days"),
    };
    facts.add("retention", retention);
    facts.add("e-mail folding", on_or_off(settings.email_fold()));
    facts.add("IPv6 prefix", format!("/{}", settings.ipv6_prefix()));
    facts.add("etag", &settings.etag);
    facts
}

fn table(tenants: &[TenantSettings]) -> Sheet {
    let header = [
        "tenant",
        "display name",
        "region",
        "time zone",
        "failure mode",
        "operators ban",
    ];
    let row = |settings: &TenantSettings| {
        [
            settings.tenant.clone(),
            settings.display_name.clone(),
            settings.default_region.clone(),
            settings.time_zone().to_owned(),
            FailureMode::told(settings.failure_mode.unwrap_or_default()),
            on_or_off(settings.operator_banning_enabled()),
        ]
    };
    Sheet::new(header, tenants.iter().map(row))
}

fn csv(tenants: &[TenantSettings]) -> Sheet {
    let header = [
        "tenant",
        "display_name",
        "default_region",
        "time_zone",
        "failure_mode",
        "operator_banning",
        "ended_ban_retention_days",
        "email_fold",
        "ipv6_prefix",
    ];
    let row = |settings: &TenantSettings| {
        [
            settings.tenant.clone(),
            settings.display_name.clone(),
            settings.default_region.clone(),
            settings.time_zone().to_owned(),
            FailureMode::told(settings.failure_mode.unwrap_or_default()),
            on_or_off(settings.operator_banning_enabled()),
            settings.ended_ban_retention_days().to_string(),
            on_or_off(settings.email_fold()),
            settings.ipv6_prefix().to_string(),
        ]
    };
    Sheet::new(header, tenants.iter().map(row))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: SettingsFlags,
    }

    fn named(line: &str) -> (TenantSettings, Vec<String>) {
        Line::parse_from(format!("settings {line}").split_whitespace())
            .flags
            .named("t")
    }

    #[test]
    fn without_flags_nothing_is_named_and_so_nothing_changes() {
        let (settings, paths) = named("");
        assert_eq!(paths, Vec::<String>::new());
        assert_eq!(
            settings,
            TenantSettings {
                tenant: "t".to_owned(),
                ..Default::default()
            }
        );
    }

    #[test]
    fn a_default_that_is_named_is_sent_all_the_same() {
        let (settings, paths) = named("--region= --retention-days 0 --operator-banning off");
        let expected = [
            "operator_banning_enabled",
            "default_region",
            "ended_ban_retention_days",
        ];
        assert_eq!(paths, expected);
        assert_eq!(settings.operator_banning_enabled, Some(false));
        assert_eq!(settings.ended_ban_retention_days, Some(0));
    }
}
