//! `bancheck list expiry`: when would a ban end that lasts so long (D8)?

use clap::Args;
use prost_types::Timestamp;

use super::super::{
    Outcome, Session,
    expiry::Lasting,
    moment,
    output::{self, Facts, Format, Sheet},
    proto_json,
};
use crate::{
    api::v1::{
        PreviewExpirationRequest, PreviewExpirationResponse, preview_expiration_request::Length,
    },
    domain::period::CalendarPeriod,
};

/// Show when a ban would end that lasts so long
///
/// Reckoned by the server, in the tenant's time zone, as it would be for a real ban.
#[derive(Args)]
pub(crate) struct Expiry {
    /// How long, such as "+6 days", "19 months", "1 year, 2 weeks" or "30m" (minutes; months are
    /// "mo")
    #[arg(
        value_name = "PERIOD",
        allow_hyphen_values = true,
        required_unless_present = "list"
    )]
    period: Option<String>,
    /// How long bans in this list last by default [default: the period given]
    #[arg(long, value_name = "ID", conflicts_with = "period")]
    list: Option<String>,
    /// When it begins, with its offset, such as 2026-12-31T23:59:59+01:00 or …Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment::instant)]
    from: Option<Timestamp>,
}

impl Expiry {
    pub(super) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let length = match self.list {
            Some(list) => Length::ListId(list),
            None => Length::TimeoutText(self.period.unwrap_or_default()),
        };
        let request = PreviewExpirationRequest {
            tenant: session.connection.tenant.clone(),
            length: Some(length),
            from_time: self.from,
        };
        let mut client = session.connection.diagnostics().await?;
        let answer = client.preview_expiration(request).await?.into_inner();
        match session.display.format() {
            Format::Json => output::json(&proto_json::canonical(&answer)?)?,
            Format::Csv => output::print(&sheet(&answer).to_csv()?)?,
            Format::Table => {
                let mut facts = Facts::default();
                facts.add("lasts", lasting(&answer));
                facts.add(
                    "ends",
                    moment::end(answer.expire_time.as_ref(), session.now()),
                );
                facts.add("time zone", &answer.time_zone);
                output::print(&facts.to_text())?;
            }
        }
        Ok(Outcome::Done)
    }
}

fn lasting(answer: &PreviewExpirationResponse) -> String {
    let period = answer.period.as_ref().map(|period| {
        let part = |number: i32| u32::try_from(number).unwrap_or_default();
        Lasting::For(CalendarPeriod {
            years: part(period.years),
            months: part(period.months),
            weeks: part(period.weeks),
            days: part(period.days),
            hours: part(period.hours),
            minutes: part(period.minutes),
        })
    });
    period.unwrap_or(Lasting::Permanent).to_string()
}

fn sheet(answer: &PreviewExpirationResponse) -> Sheet {
    let header = ["period", "expire_time", "time_zone"];
    let row = [
        lasting(answer),
        moment::written_end(answer.expire_time.as_ref()),
        answer.time_zone.clone(),
    ];
    Sheet::new(header, [row])
}
