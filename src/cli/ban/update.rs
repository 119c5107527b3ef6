//! `bancheck ban update`: a ban changed while it stands (D31).

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use clap::{ArgGroup, Args};
use prost_types::{FieldMask, Timestamp};

use super::super::{
    Outcome, Session,
    expiry::{ExpiryFlags, Lasting},
    moment::{self, instant},
    output::{self, Format},
    proto_json,
    writing::WriteFlags,
};
use crate::{
    api::v1::{Ban, Channel, GetTenantSettingsRequest, UpdateBanRequest, ban::Enforcement},
    domain::period::{CalendarPeriod, PeriodError},
};

/// Change a ban: only what is named changes
///
/// Of an ended ban only the reason and its code can be changed: ban again instead. With --for, the
/// period counts from now, or from --start where that is given as well.
#[derive(Args)]
#[command(override_usage = "bancheck ban update [OPTIONS] <ID> <CHANGE>...")]
#[command(group = ArgGroup::new("change").required(true).multiple(true).args([
    "lasting", "until", "permanent", "now", "reason", "reason_code", "shadow", "enforced",
    "channel", "start",
]))]
pub(crate) struct Update {
    /// The ban's id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    expiry: ExpiryFlags,
    /// End the ban now, as if its time had come
    #[arg(long, conflicts_with = "expiry")]
    now: bool,
    /// Why, in at most 500 characters [default: unchanged]
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Why, as a code of your own; "" for none [default: unchanged]
    #[arg(long, value_name = "CODE")]
    reason_code: Option<String>,
    /// Only report what the ban would have denied
    #[arg(long, conflicts_with = "enforced")]
    shadow: bool,
    /// Deny
    #[arg(long)]
    enforced: bool,
    /// Channels that the ban shall hold on, all of them, repeated or parted by commas [default:
    /// unchanged]
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        value_delimiter = ',',
        value_name = "CHANNEL"
    )]
    channel: Vec<Channel>,
    /// When the ban begins, with its offset, such as 2026-12-31T23:59:59+01:00 or …Z [default:
    /// unchanged]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    start: Option<Timestamp>,
    /// The ban's etag as last seen: refuse if the ban has changed since [default: not compared]
    #[arg(long, value_name = "ETAG")]
    etag: Option<String>,
    #[command(flatten)]
    writing: WriteFlags,
}

/// When a ban shall end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    At(Timestamp),
    Never,
}

impl Update {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let zone = self.zone(session).await?;
        let end = self.end(session.now(), zone)?;
        let request = self.request(end, &session.connection.tenant);
        let answer = session
            .connection
            .bans()
            .await?
            .update_ban(request)
            .await?
            .into_inner();
        match session.display.format() {
            Format::Json => output::json(&proto_json::canonical(&answer)?)?,
            Format::Csv => output::print(&super::csv(answer.ban.as_slice()).to_csv()?)?,
            Format::Table => {
                let ban = answer.ban.context("the server answered without the ban")?;
                let mut facts = super::facts(&ban, session.now());
                facts.add("token", answer.written_at.unwrap_or_default().token);
                output::print(&format!("{}\n{}", ban.ban_id, facts.to_text()))?;
            }
        }
        self.writing.remind();
        Ok(Outcome::Done)
    }

    /// When the ban shall end; `None` leaves it.
    ///
    /// `UpdateBan` takes an instant only, so a period is reckoned here: by the function that the
    /// server uses, in the tenant's `zone`, from the new start or else from now.
    fn end(&self, now: DateTime<Utc>, zone: Tz) -> Result<Option<End>, PeriodError> {
        let ExpiryFlags {
            lasting,
            until,
            permanent,
        } = self.expiry;
        Ok(match (lasting, until) {
            // To the server any time gone by is "now". A day is further back than any two clocks
            // in use are apart, so the ban ends even where ours is ahead.
            _ if self.now => Some(End::At(moment::timestamp(now - TimeDelta::days(1)))),
            _ if permanent => Some(End::Never),
            (Some(Lasting::Permanent), _) => Some(End::Never),
            (Some(Lasting::For(period)), _) => {
                let from = self
                    .start
                    .as_ref()
                    .and_then(moment::calendar)
                    .unwrap_or(now);
                Some(End::At(moment::timestamp(period.after(from, zone)?)))
            }
            (None, Some(time)) => Some(End::At(time)),
            (None, None) => None,
        })
    }

    /// The zone to reckon the period in. Hours and minutes are the same in every zone, and the
    /// tenant's need not be asked for.
    async fn zone(&self, session: &Session<'_>) -> anyhow::Result<Tz> {
        match self.expiry.lasting {
            Some(Lasting::For(CalendarPeriod {
                years,
                months,
                weeks,
                days,
                ..
            })) if [years, months, weeks, days] != [0; 4] => zone_of_tenant(session).await,
            _ => Ok(Tz::UTC),
        }
    }

    fn request(&self, end: Option<End>, tenant: &str) -> UpdateBanRequest {
        let mut ban = Ban {
            tenant: tenant.to_owned(),
            ban_id: self.id.clone(),
            etag: self.etag.clone().unwrap_or_default(),
            ..Ban::default()
        };
        let mut paths: Vec<&str> = Vec::new();
        if let Some(end) = end {
            ban.expire_time = match end {
                End::At(time) => Some(time),
                End::Never => None,
            };
            paths.push("expire_time");
        }
        if self.start.is_some() {
            ban.start_time = self.start;
            paths.push("start_time");
        }
        if let Some(reason) = &self.reason {
            ban.reason.clone_from(reason);
            paths.push("reason");
        }
        if let Some(code) = &self.reason_code {
            ban.reason_code.clone_from(code);
            paths.push("reason_code");
        }
        if self.shadow || self.enforced {
            let kind = if self.shadow {
                Enforcement::Shadow
            } else {
                Enforcement::Enforced
            };
            ban.set_enforcement(kind);
            paths.push("enforcement");
        }
        if !self.channel.is_empty() {
            ban.channels = self
                .channel
                .iter()
                .map(|channel| (*channel).into())
                .collect();
            paths.push("channels");
        }
        UpdateBanRequest {
            ban: Some(ban),
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            update_mask: Some(FieldMask {
                paths: paths.into_iter().map(str::to_owned).collect(),
            }),
            permanent: end == Some(End::Never),
        }
    }
}

/// The zone in which the tenant's periods are reckoned.
async fn zone_of_tenant(session: &Session<'_>) -> anyhow::Result<Tz> {
    let request = GetTenantSettingsRequest {
        tenant: session.connection.tenant.clone(),
    };
    let answer = session
        .connection
        .settings()
        .await?
        .get_tenant_settings(request)
        .await?;
    let settings = answer.into_inner().tenant_settings.unwrap_or_default();
    let zone = settings.time_zone.unwrap_or_else(|| "UTC".to_owned());
    zone.parse()
        .with_context(|| format!("the tenant's time zone {zone} is unknown here; use --until"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        update: Update,
    }

    fn update(line: &str) -> Update {
        Line::parse_from(format!("update 0192 {line}").split(' ')).update
    }

    fn mask(line: &str) -> String {
        let update = update(line);
        update
            .request(None, "t")
            .update_mask
            .unwrap()
            .paths
            .join(" ")
    }

    #[test]
    fn the_mask_names_what_was_named_and_nothing_else() {
        assert_eq!(mask("--reason r"), "reason");
        assert_eq!(mask("--shadow --channel call,sms"), "enforcement channels");
        assert_eq!(
            mask("--reason-code= --start 2026-12-31T00:00:00Z"),
            "start_time reason_code"
        );
    }

    #[test]
    fn permanent_is_an_end_in_the_mask_that_is_not_set() {
        for line in ["--permanent", "--for permanent"] {
            let update = update(line);
            let end = update.end(DateTime::UNIX_EPOCH, Tz::UTC).unwrap();
            assert_eq!(end, Some(End::Never));
            let request = update.request(end, "t");
            assert!(request.permanent);
            assert_eq!(request.update_mask.unwrap().paths, ["expire_time"]);
            assert_eq!(request.ban.unwrap().expire_time, None);
        }
    }

    /// Where the flags put the end, at noon in UTC before a night when clocks change in Prague.
    fn end(line: &str, zone: Tz) -> String {
        let now = "2027-03-27T12:00:00Z".parse().unwrap();
        match update(line).end(now, zone).unwrap() {
            Some(End::At(time)) => moment::written(Some(&time)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_period_counts_from_now_or_from_the_new_start_in_the_tenants_zone() {
        assert_eq!(end("--for 1day", Tz::UTC), "2027-03-28T12:00:00Z");
        assert_eq!(
            end("--for 1day", Tz::Europe__Prague),
            "2027-03-28T11:00:00Z"
        );
        let start = "--for 1day --start 2027-05-01T00:00:00Z";
        assert_eq!(end(start, Tz::UTC), "2027-05-02T00:00:00Z");
    }

    #[test]
    fn now_is_in_the_past_of_every_clock() {
        assert_eq!(end("--now", Tz::UTC), "2027-03-26T12:00:00Z");
    }

    #[test]
    fn an_untouched_end_is_left_alone() {
        let update = update("--reason r");
        assert_eq!(update.end(DateTime::UNIX_EPOCH, Tz::UTC), Ok(None));
        assert!(!update.request(None, "t").permanent);
    }
}
