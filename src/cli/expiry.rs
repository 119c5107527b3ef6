//! When a ban shall end, in the three ways a person may say it.

use std::{fmt, str::FromStr};

use clap::Args;
use prost_types::Timestamp;

use super::moment::instant;
use crate::{
    api::v1::{self, create_ban_request::Expiry},
    domain::period::{CalendarPeriod, PeriodError},
};

/// A period, or no end at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasting {
    /// So long.
    For(CalendarPeriod),
    /// For ever.
    Permanent,
}

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(period) => period.fmt(f),
            Self::Permanent => f.write_str("permanent"),
        }
    }
}

impl FromStr for Lasting {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        if text.trim().eq_ignore_ascii_case("permanent") {
            return Ok(Self::Permanent);
        }
        text.parse().map(Self::For)
    }
}

/// The flags about a ban's end, one of them at most.
#[derive(Args)]
#[group(id = "expiry", multiple = false)]
pub(crate) struct ExpiryFlags {
    /// How long the ban lasts, such as "+6 days", "19 months", "1 year, 2 weeks", "30m" (minutes;
    /// months are "mo") or "permanent"; reckoned in the tenant's time zone [default: as its list says,
    /// without a list for ever; a ban that is changed keeps its end]
    #[arg(long = "for", value_name = "PERIOD", allow_hyphen_values = true)]
    pub(crate) lasting: Option<Lasting>,
    /// When the ban ends, with its offset, such as 2026-12-31T23:59:59+01:00 or …Z [default: as --for
    /// has it]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) until: Option<Timestamp>,
    /// The ban never ends
    #[arg(long)]
    pub(crate) permanent: bool,
}

impl ExpiryFlags {
    /// What to ask for a new ban; `None` leaves it to the list.
    pub(crate) fn expiry(&self) -> Option<Expiry> {
        match (self.lasting, self.until, self.permanent) {
            (Some(lasting), _, _) => Some(lasting.into()),
            (None, Some(time), _) => Some(Expiry::ExpireTime(time)),
            (None, None, true) => Some(Expiry::Permanent(true)),
            (None, None, false) => None,
        }
    }
}

impl From<Lasting> for Expiry {
    fn from(lasting: Lasting) -> Self {
        match lasting {
            Lasting::Permanent => Self::Permanent(true),
            Lasting::For(period) => Self::Timeout(wire(period)),
        }
    }
}

/// A period as the contract has it.
fn wire(period: CalendarPeriod) -> v1::CalendarPeriod {
    let CalendarPeriod {
        years,
        months,
        weeks,
        days,
        hours,
        minutes,
    } = period;
    // A period that was read is at most fifty years, so every count fits.
    let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    v1::CalendarPeriod {
        years: count(years),
        months: count(months),
        weeks: count(weeks),
        days: count(days),
        hours: count(hours),
        minutes: count(minutes),
    }
}

/// Reads a step of a ladder.
pub(crate) fn step(text: &str) -> Result<v1::CalendarPeriod, PeriodError> {
    text.parse().map(wire)
}

/// The steps of a ladder, as people say them.
pub(crate) fn ladder(steps: &[v1::CalendarPeriod]) -> String {
    let told = |step: &v1::CalendarPeriod| {
        let count = |count: i32| u32::try_from(count).unwrap_or_default();
        let v1::CalendarPeriod {
            years,
            months,
            weeks,
            days,
            hours,
            minutes,
        } = *step;
        let period = CalendarPeriod {
            years: count(years),
            months: count(months),
            weeks: count(weeks),
            days: count(days),
            hours: count(hours),
            minutes: count(minutes),
        };
        period.to_string()
    };
    steps.iter().map(told).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_sent_in_the_parts_it_was_said_in() {
        let lasting: Lasting = "+1 year, 2 weeks".parse().unwrap();
        let period = v1::CalendarPeriod {
            years: 1,
            weeks: 2,
            ..Default::default()
        };
        assert_eq!(Expiry::from(lasting), Expiry::Timeout(period));
    }

    #[test]
    fn a_ladder_is_told_as_it_was_typed() {
        let steps = ["1 day", "1 year, 2 weeks"].map(|text| step(text).unwrap());
        assert_eq!(ladder(&steps), "1 day; 1 year, 2 weeks");
        assert!(step("permanent").is_err());
    }

    #[test]
    fn permanent_is_a_word_and_no_length() {
        assert_eq!("Permanent".parse(), Ok(Lasting::Permanent));
        assert_eq!("0 days".parse::<Lasting>(), Err(PeriodError::Zero));
    }
}
