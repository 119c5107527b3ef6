//! Rows of tenants and ban lists.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sqlx::{Row, any::AnyRow};

use super::{from_json, known, list_id, number};
use crate::{
    domain::{
        ban::Enforcement,
        channel::Channel,
        list::{BanList, Treatment, WebchatBanType},
        period::CalendarPeriod,
        policy::{FailureMode, RecordTo, TenantSettings},
        record::{ListRecord, TenantRecord},
    },
    store::{Result, StoreError},
};

/// A list as stored, but for its queues.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct ListRow {
    list_id: String,
    pub(in crate::store) generation: u32,
    pub(in crate::store) title: String,
    pub(in crate::store) description: String,
    pub(in crate::store) default_timeout_text: String,
    pub(in crate::store) webchat_ban_type: i32,
    pub(in crate::store) ban_contact_phones: i32,
    pub(in crate::store) treatment: Option<i32>,
    pub(in crate::store) enforcement: i32,
    pub(in crate::store) enforce_outbound: i32,
    pub(in crate::store) repeat_ladder: String,
    pub(in crate::store) version: i64,
    queues: Vec<String>,
}

impl ListRow {
    pub(in crate::store) fn of(list: &BanList) -> Self {
        let ladder: Vec<String> = list.repeat_ladder.iter().map(ToString::to_string).collect();
        Self {
            list_id: list.list_id.as_str().to_owned(),
            generation: list.generation,
            title: list.title.clone(),
            description: list.description.clone(),
            default_timeout_text: list.default_timeout_text.clone(),
            webchat_ban_type: list.webchat_ban_type as i32,
            ban_contact_phones: i32::from(list.ban_contact_phones),
            treatment: list.treatment.map(|treatment| treatment as i32),
            enforcement: list.enforcement as i32,
            enforce_outbound: i32::from(list.enforce_outbound),
            repeat_ladder: ladder.join("; "),
            version: list.version,
            queues: list.queues.iter().cloned().collect(),
        }
    }

    pub(in crate::store) fn read(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            list_id: row.try_get("list_id")?,
            generation: number(row, "generation")?,
            title: row.try_get("title")?,
            description: row.try_get("description")?,
            default_timeout_text: row.try_get("default_timeout_text")?,
            webchat_ban_type: number(row, "webchat_ban_type")?,
            ban_contact_phones: number(row, "ban_contact_phones")?,
            treatment: treatment_number(row)?,
            enforcement: number(row, "enforcement")?,
            enforce_outbound: number(row, "enforce_outbound")?,
            repeat_ladder: row.try_get("repeat_ladder")?,
            version: row.try_get("version")?,
            queues: from_json(&row.try_get::<String, _>("queues")?)?,
        })
    }

    pub(in crate::store) fn into_list(self) -> Result<BanList> {
        Ok(BanList {
            list_id: list_id(&self.list_id)?,
            generation: self.generation,
            title: self.title,
            description: self.description,
            default_timeout_text: self.default_timeout_text,
            webchat_ban_type: known(
                WebchatBanType::from_number(self.webchat_ban_type),
                "a web chat ban type",
            )?,
            ban_contact_phones: self.ban_contact_phones != 0,
            treatment: treatment(self.treatment)?,
            enforcement: known(Enforcement::from_number(self.enforcement), "an enforcement")?,
            enforce_outbound: self.enforce_outbound != 0,
            repeat_ladder: self
                .repeat_ladder
                .split("; ")
                .filter(|step| !step.is_empty())
                .map(|step| CalendarPeriod::from_str(step).ok())
                .collect::<Option<_>>()
                .ok_or(StoreError::Corrupt("a repeat ladder"))?,
            queues: self.queues.into_iter().collect(),
            version: self.version,
        })
    }
}

/// What a view needs of a list, deleted ones included.
pub(in crate::store) fn list_record(row: &AnyRow) -> Result<ListRecord> {
    Ok(ListRecord {
        list_id: list_id(&row.try_get::<String, _>("list_id")?)?,
        generation: number(row, "generation")?,
        deleted: number::<i32>(row, "deleted")? != 0,
        treatment: treatment(treatment_number(row)?)?,
        enforcement: known(
            Enforcement::from_number(number(row, "enforcement")?),
            "an enforcement",
        )?,
        enforce_outbound: number::<i32>(row, "enforce_outbound")? != 0,
        queues: from_json(&row.try_get::<String, _>("queues")?)?,
    })
}

fn treatment_number(row: &AnyRow) -> Result<Option<i32>> {
    let stored: Option<i64> = row.try_get("treatment")?;
    stored
        .map(|t| i32::try_from(t).map_err(|_| StoreError::Corrupt("a treatment")))
        .transpose()
}

fn treatment(number: Option<i32>) -> Result<Option<Treatment>> {
    number
        .map(|number| known(Treatment::from_number(number), "a treatment"))
        .transpose()
}

/// A tenant's settings as stored.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct SettingsRow {
    pub(in crate::store) display_name: String,
    pub(in crate::store) operator_banning_enabled: i32,
    pub(in crate::store) default_region: String,
    pub(in crate::store) time_zone: String,
    pub(in crate::store) failure_mode: i32,
    pub(in crate::store) default_record_to: String,
    pub(in crate::store) ended_ban_retention_days: u32,
    pub(in crate::store) email_fold: i32,
    pub(in crate::store) ipv6_prefix: u8,
    pub(in crate::store) version: i64,
}

impl SettingsRow {
    pub(in crate::store) fn of(settings: &TenantSettings) -> Self {
        let record_to: serde_json::Value = settings
            .default_record_to
            .iter()
            .map(|(channel, to)| serde_json::json!([*channel as u8, *to as i32]))
            .collect();
        Self {
            display_name: settings.display_name.clone(),
            operator_banning_enabled: i32::from(settings.operator_banning_enabled),
            default_region: settings.default_region.clone(),
            time_zone: settings.time_zone.name().to_owned(),
            failure_mode: settings.failure_mode as i32,
            default_record_to: record_to.to_string(),
            ended_ban_retention_days: settings.ended_ban_retention_days,
            email_fold: i32::from(settings.email_fold),
            ipv6_prefix: settings.ipv6_prefix,
            version: settings.version,
        }
    }

    pub(in crate::store) fn read(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            display_name: row.try_get("display_name")?,
            operator_banning_enabled: number(row, "operator_banning_enabled")?,
            default_region: row.try_get("default_region")?,
            time_zone: row.try_get("time_zone")?,
            failure_mode: number(row, "failure_mode")?,
            default_record_to: row.try_get("default_record_to")?,
            ended_ban_retention_days: number(row, "ended_ban_retention_days")?,
            email_fold: number(row, "email_fold")?,
            ipv6_prefix: number(row, "ipv6_prefix")?,
            version: row.try_get("version")?,
        })
    }

    pub(in crate::store) fn into_settings(self) -> Result<TenantSettings> {
        let record_to: Vec<(i32, i32)> = from_json(&self.default_record_to)?;
        Ok(TenantSettings {
            display_name: self.display_name,
            operator_banning_enabled: self.operator_banning_enabled != 0,
            default_region: self.default_region,
            time_zone: self
                .time_zone
                .parse()
                .map_err(|_| StoreError::Corrupt("a time zone"))?,
            failure_mode: known(
                FailureMode::from_number(self.failure_mode),
                "a failure mode",
            )?,
            default_record_to: record_to
                .into_iter()
                .map(|(channel, to)| Channel::from_number(channel).zip(RecordTo::from_number(to)))
                .collect::<Option<_>>()
                .ok_or(StoreError::Corrupt("where bans are recorded"))?,
            ended_ban_retention_days: self.ended_ban_retention_days,
            email_fold: self.email_fold != 0,
            ipv6_prefix: self.ipv6_prefix,
            version: self.version,
        })
    }
}

/// What a view needs of a tenant.
pub(in crate::store) fn tenant_record(row: &AnyRow) -> Result<TenantRecord> {
    Ok(TenantRecord {
        failure_mode: known(
            FailureMode::from_number(number(row, "failure_mode")?),
            "a failure mode",
        )?,
        default_region: row.try_get("default_region")?,
        email_fold: number::<i32>(row, "email_fold")? != 0,
        deleted: number::<i32>(row, "deleted")? != 0,
    })
}
