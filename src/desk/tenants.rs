//! Making tenants and changing their settings.

use async_trait::async_trait;
use chrono_tz::Tz;

use super::{Circumstances, Desk, Failure, Job, Order, Written, check_etag};
use crate::{
    domain::{
        channel::Channel,
        fields,
        list::MAX_TITLE,
        policy::{FailureMode, RecordTo, TenantSettings},
        refusal::{Reason, Refusal},
    },
    store::{Answer, Work},
};

/// The longest that ended bans may be kept before they are purged, in days: a century.
const MAX_RETENTION_DAYS: u32 = 36_525;
/// The widths of an IPv6 network that may stand for one customer.
const IPV6_PREFIXES: std::ops::RangeInclusive<u8> = 32..=128;

/// What of a tenant's settings is to be changed; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct SettingsEdit {
    /// A name for people.
    pub display_name: Option<String>,
    /// Whether operators have the ban button (M18).
    pub operator_banning_enabled: Option<bool>,
    /// Where numbers without a country code are from; empty = nowhere.
    pub default_region: Option<String>,
    /// The zone in which days are reckoned, by its IANA name; empty = UTC.
    pub time_zone: Option<String>,
    /// What happens while bans cannot be known.
    pub failure_mode: Option<FailureMode>,
    /// Where bans are recorded by default; channels left out have the usual.
    pub default_record_to: Option<Vec<(Channel, RecordTo)>>,
    /// Days an ended ban is kept; 0 = for ever.
    pub ended_ban_retention_days: Option<u32>,
    /// Whether e-mail tags and provider dots are folded.
    pub email_fold: Option<bool>,
    /// How many leading bits of an IPv6 address name one customer.
    pub ipv6_prefix: Option<u32>,
}

impl SettingsEdit {
    fn apply(self, settings: &mut TenantSettings, field: &str) -> Result<(), Refusal> {
        let Self {
            display_name,
            operator_banning_enabled,
            default_region,
            time_zone,
            failure_mode,
            default_record_to,
            ended_ban_retention_days,
            email_fold,
            ipv6_prefix,
        } = self;
        let invalid = |name: &str, message: &str| {
            Refusal::of_field(Reason::FieldInvalid, format!("{field}.{name}"), message)
        };
        if let Some(name) = display_name {
            fields::text(&format!("{field}.display_name"), &name, MAX_TITLE)?;
            settings.display_name = name;
        }
        if let Some(region) = default_region {
            let region = region.to_ascii_uppercase();
            let two_letters = region.len() == 2 && region.bytes().all(|b| b.is_ascii_uppercase());
            if !region.is_empty() && !two_letters {
                return Err(invalid(
                    "default_region",
                    "a region has two letters, like CZ",
                ));
            }
            settings.default_region = region;
        }
        if let Some(zone) = time_zone {
            let zone = if zone.is_empty() { "UTC" } else { &zone };
            settings.time_zone = zone
                .parse::<Tz>()
                .map_err(|_| invalid("time_zone", "an IANA name is needed, like Europe/Prague"))?;
        }
        if let Some(record_to) = default_record_to {
            let mut all = TenantSettings::record_to_defaults();
            for (channel, to) in record_to {
                if to == RecordTo::BanList {
                    let message = "a tenant's default is NONE or GLOBAL; a list is a queue's";
                    return Err(invalid("default_record_to", message));
                }
                if let Some(place) = all.iter_mut().find(|(known, _)| *known == channel) {
                    place.1 = to;
                }
            }
            settings.default_record_to = all;
        }
        if let Some(days) = ended_ban_retention_days {
            if days > MAX_RETENTION_DAYS {
                return Err(invalid(
                    "ended_ban_retention_days",
                    "36525 days are the most",
                ));
            }
            settings.ended_ban_retention_days = days;
        }
        if let Some(prefix) = ipv6_prefix {
            settings.ipv6_prefix = u8::try_from(prefix)
                .ok()
                .filter(|prefix| IPV6_PREFIXES.contains(prefix))
                .ok_or_else(|| invalid("ipv6_prefix", "32 to 128 bits name one customer"))?;
        }
        settings.operator_banning_enabled =
            operator_banning_enabled.unwrap_or(settings.operator_banning_enabled);
        settings.failure_mode = failure_mode.unwrap_or(settings.failure_mode);
        settings.email_fold = email_fold.unwrap_or(settings.email_fold);
        Ok(())
    }
}

/// Changes a tenant's settings.
#[derive(Clone, Debug)]
pub struct UpdateSettings {
    /// What the caller believes to change; empty = whatever there is.
    pub etag: String,
    /// What is to be different.
    pub edit: SettingsEdit,
}

#[async_trait]
impl Job for UpdateSettings {
    const RPC: &'static str = "UpdateTenantSettings";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let before = work.settings().clone();
        check_etag("tenant_settings.etag", &self.etag, before.version)?;
        let mut settings = before.clone();
        self.edit.apply(&mut settings, "tenant_settings")?;
        if settings != before {
            settings.version += 1;
            work.set_settings(&settings).await?;
            work.note(&about.event(None, "SETTINGS_UPDATED", ""))
                .await?;
        }
        Ok(Answer {
            settings: Some(settings),
            ..Answer::default()
        })
    }
}

/// Takes a tenant out for good: nobody finds it any more, and its rows go in the background.
#[derive(Clone, Copy, Debug)]
pub struct DeleteTenant;

#[async_trait]
impl Job for DeleteTenant {
    const RPC: &'static str = "DeleteTenant";

    async fn run(self, work: &mut dyn Work, _about: &Circumstances) -> Result<Answer, Failure> {
        work.delete_tenant().await?;
        Ok(Answer::default())
    }
}

/// Notes that a tenant was made.
struct NoteTenant;

#[async_trait]
impl Job for NoteTenant {
    const RPC: &'static str = "CreateTenant";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        work.note(&about.event(None, "TENANT_CREATED", "")).await?;
        Ok(Answer {
            settings: Some(work.settings().clone()),
            ..Answer::default()
        })
    }
}

impl Desk {
    /// Makes a tenant.
    pub async fn create_tenant(
        &self,
        order: Order,
        edit: SettingsEdit,
    ) -> Result<Written, Refusal> {
        let mut settings = TenantSettings::default();
        edit.apply(&mut settings, "settings")?;
        self.carry_out(order, Some(settings), NoteTenant).await
    }
}
