//! Tenants' settings and ban lists.

use prost_types::FieldMask;

use super::{Mask, calendar_period, channel, period, timestamp, warning};
use crate::{
    api::v1,
    desk::{ListEdit, SettingsEdit},
    domain::{
        ban::Enforcement,
        clock::Timestamp,
        fields,
        list::{BanList, Treatment, WebchatBanType},
        policy::{FailureMode, RecordTo, TenantSettings},
        refusal::{Reason, Refusal},
    },
};

/// The settings that a message asks for.
pub(in crate::api) fn settings_edit(
    field: &str,
    settings: &v1::TenantSettings,
    mask: Option<&FieldMask>,
) -> Result<SettingsEdit, Refusal> {
    const CHANGEABLE: [&str; 9] = [
        "display_name",
        "operator_banning_enabled",
        "default_region",
        "time_zone",
        "failure_mode",
        "default_record_to",
        "ended_ban_retention_days",
        "email_fold",
        "ipv6_prefix",
    ];
    let v1::TenantSettings {
        tenant: _,
        display_name,
        operator_banning_enabled,
        default_region,
        time_zone,
        failure_mode,
        default_record_to,
        ended_ban_retention_days,
        email_fold,
        ipv6_prefix,
        etag: _,
    } = settings;
    let mask = Mask::read(mask, &CHANGEABLE)?;
    let defaults = TenantSettings::default();
    let path = |name: &str| format!("{field}.{name}");
    let count = |name: &str, number: Option<i32>, default: u32| {
        number.map_or(Ok(default), |number| {
            u32::try_from(number).map_err(|_| {
                Refusal::of_field(Reason::FieldInvalid, path(name), "must not be negative")
            })
        })
    };
    let failure = fields::known(
        path("failure_mode"),
        failure_mode.unwrap_or(0),
        FailureMode::from_number,
    )?;
    let mut record_to = Vec::new();
    for (at, one) in default_record_to.iter().enumerate() {
        let v1::tenant_settings::DefaultRecordTo {
            channel: on,
            record_to: to,
        } = one;
        let path = path(&format!("default_record_to[{at}]"));
        let to = fields::known(format_args!("{path}.record_to"), *to, RecordTo::from_number)?
            .ok_or_else(|| Refusal::required(format!("{path}.record_to")))?;
        record_to.push((channel(format_args!("{path}.channel"), *on)?, to));
    }
    Ok(SettingsEdit {
        display_name: mask.pick(
            "display_name",
            !display_name.is_empty(),
            display_name.clone(),
        ),
        operator_banning_enabled: mask.pick(
            "operator_banning_enabled",
            operator_banning_enabled.is_some(),
            operator_banning_enabled.unwrap_or(defaults.operator_banning_enabled),
        ),
        default_region: mask.pick(
            "default_region",
            !default_region.is_empty(),
            default_region.clone(),
        ),
        time_zone: mask.pick(
            "time_zone",
            time_zone.is_some(),
            time_zone.clone().unwrap_or_default(),
        ),
        failure_mode: mask.pick(
            "failure_mode",
            failure.is_some(),
            failure.unwrap_or_default(),
        ),
        default_record_to: mask.pick("default_record_to", !record_to.is_empty(), record_to),
        ended_ban_retention_days: mask.pick(
            "ended_ban_retention_days",
            ended_ban_retention_days.is_some(),
            count("ended_ban_retention_days", *ended_ban_retention_days, 0)?,
        ),
        email_fold: mask.pick(
            "email_fold",
            email_fold.is_some(),
            email_fold.unwrap_or(defaults.email_fold),
        ),
        ipv6_prefix: mask.pick(
            "ipv6_prefix",
            ipv6_prefix.is_some(),
            count("ipv6_prefix", *ipv6_prefix, u32::from(defaults.ipv6_prefix))?,
        ),
    })
}

/// Settings on the wire, every default filled in.
pub(in crate::api) fn settings_message(
    tenant: &str,
    settings: TenantSettings,
) -> v1::TenantSettings {
    let TenantSettings {
        display_name,
        operator_banning_enabled,
        default_region,
        time_zone,
        failure_mode,
        default_record_to,
        ended_ban_retention_days,
        email_fold,
        ipv6_prefix,
        version,
    } = settings;
    v1::TenantSettings {
        tenant: tenant.to_owned(),
        display_name,
        operator_banning_enabled: Some(operator_banning_enabled),
        default_region,
        time_zone: Some(time_zone.name().to_owned()),
        failure_mode: Some(failure_mode as i32),
        default_record_to: default_record_to
            .into_iter()
            .map(|(channel, to)| v1::tenant_settings::DefaultRecordTo {
                channel: channel as i32,
                record_to: to as i32,
            })
            .collect(),
        ended_ban_retention_days: i32::try_from(ended_ban_retention_days).ok(),
        email_fold: Some(email_fold),
        ipv6_prefix: Some(i32::from(ipv6_prefix)),
        etag: version.to_string(),
    }
}

/// The changes to a list that a message asks for.
pub(in crate::api) fn list_edit(
    list: &v1::BanList,
    mask: Option<&FieldMask>,
) -> Result<ListEdit, Refusal> {
    const CHANGEABLE: [&str; 9] = [
        "title",
        "description",
        "default_timeout_text",
        "webchat_ban_type",
        "ban_contact_phones",
        "treatment",
        "enforcement",
        "enforce_outbound",
        "repeat_ladder",
    ];
    let v1::BanList {
        list_id: _,
        title,
        description,
        default_timeout_text,
        default_timeout: _,
        example_expire_time: _,
        webchat_ban_type,
        ban_contact_phones,
        treatment,
        enforcement,
        enforce_outbound,
        repeat_ladder,
        queues: _,
        warnings: _,
        etag: _,
    } = list;
    let mask = Mask::read(mask, &CHANGEABLE)?;
    let text = |name: &str, text: &String| mask.pick(name, !text.is_empty(), text.clone());
    let flag = |name: &str, flag: bool| mask.pick(name, flag, flag);
    let webchat = fields::known(
        "ban_list.webchat_ban_type",
        *webchat_ban_type,
        WebchatBanType::from_number,
    )?;
    let treat = fields::known("ban_list.treatment", *treatment, Treatment::from_number)?;
    let enforce = fields::known(
        "ban_list.enforcement",
        *enforcement,
        Enforcement::from_number,
    )?;
    let ladder = repeat_ladder
        .iter()
        .enumerate()
        .map(|(at, step)| period(&format!("ban_list.repeat_ladder[{at}]"), step))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(ListEdit {
        title: text("title", title),
        description: text("description", description),
        default_timeout_text: text("default_timeout_text", default_timeout_text),
        webchat_ban_type: mask.pick(
            "webchat_ban_type",
            webchat.is_some(),
            webchat.unwrap_or_default(),
        ),
        ban_contact_phones: flag("ban_contact_phones", *ban_contact_phones),
        treatment: mask.pick("treatment", treat.is_some(), treat),
        enforcement: mask.pick(
            "enforcement",
            enforce.is_some(),
            enforce.unwrap_or_default(),
        ),
        enforce_outbound: flag("enforce_outbound", *enforce_outbound),
        repeat_ladder: mask.pick("repeat_ladder", !ladder.is_empty(), ladder),
    })
}

/// A list on the wire; `example` is when a ban made now would end (D8).
pub(in crate::api) fn list_message(list: BanList, example: Option<Timestamp>) -> v1::BanList {
    let nowhere = list.enforced_nowhere();
    let BanList {
        list_id,
        generation: _,
        title,
        description,
        default_timeout_text,
        webchat_ban_type,
        ban_contact_phones,
        treatment,
        enforcement,
        enforce_outbound,
        repeat_ladder,
        queues,
        version,
    } = list;
    let default_timeout = default_timeout_text
        .parse()
        .ok()
        .map(|period| calendar_period(&period));
    v1::BanList {
        list_id: list_id.to_string(),
        title,
        description,
        default_timeout_text,
        default_timeout,
        example_expire_time: example.map(timestamp),
        webchat_ban_type: webchat_ban_type as i32,
        ban_contact_phones,
        treatment: treatment.map_or(0, |treatment| treatment as i32),
        enforcement: enforcement as i32,
        enforce_outbound,
        repeat_ladder: repeat_ladder.iter().map(calendar_period).collect(),
        queues: queues.into_iter().collect(),
        warnings: if nowhere {
            vec![warning(None, "LIST_NOT_ENFORCED_ANYWHERE")]
        } else {
            Vec::new()
        },
        etag: version.to_string(),
    }
}
