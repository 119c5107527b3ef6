//! When bans begin and end: periods, bounds, and their order.

use crate::domain::{
    clock::Timestamp,
    list::BanList,
    period::{CalendarPeriod, MAX_YEARS, PeriodError},
    policy::TenantSettings,
    refusal::{Reason, Refusal},
};

/// A year, a quarter of a leap day included.
const YEAR_MICROS: i64 = 31_557_600 * 1_000_000;

/// When a ban ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As its list says; without one, never.
    Default,
    /// At this instant.
    At(Timestamp),
    /// So long after it began.
    After(CalendarPeriod),
    /// When somebody lifts it.
    Never,
}

/// Start and end, within fifty years, in their order (D30, D39).
pub(super) fn of_new_ban(
    starts: Option<Timestamp>,
    ends: End,
    settings: &TenantSettings,
    list: Option<&BanList>,
    now: Timestamp,
) -> Result<(Option<Timestamp>, Option<Timestamp>), Refusal> {
    let start = starts.filter(|start| *start > now);
    if let Some(start) = start {
        within_range("start_time", start, now)?;
    }
    let from = start.unwrap_or(now);
    let expire = match ends {
        End::Never => None,
        End::At(expire) => Some(expire),
        End::After(period) => Some(after(period, from, settings, "timeout")?),
        End::Default => match list {
            None => None,
            Some(list) => by_list(list, 0, from, settings)?,
        },
    };
    if let Some(expire) = expire {
        if expire <= now {
            let message = "a ban cannot end before it is made";
            return Err(Refusal::of_field(
                Reason::ExpireTimeInPast,
                "expire_time",
                message,
            ));
        }
        if start.is_some_and(|start| expire <= start) {
            let message = "a ban cannot end before it starts";
            return Err(Refusal::of_field(
                Reason::ExpireBeforeStart,
                "expire_time",
                message,
            ));
        }
        within_range("expire_time", expire, from)?;
    }
    Ok((start, expire))
}

/// When a ban is over by its list's own settings, of somebody banned there so often before.
pub(super) fn by_list(
    list: &BanList,
    before: usize,
    from: Timestamp,
    settings: &TenantSettings,
) -> Result<Option<Timestamp>, Refusal> {
    list.lasts(before)
        .map_err(|error| unreadable_period("list_id", &error))?
        .map(|period| after(period, from, settings, "list_id"))
        .transpose()
}

/// Refuses instants of more than fifty years ahead.
pub(super) fn within_range(field: &str, at: Timestamp, from: Timestamp) -> Result<(), Refusal> {
    // A day more, since leap days and time zones make calendar years a little uneven.
    let most = from.plus_micros(i64::from(MAX_YEARS) * YEAR_MICROS + 86_400_000_000);
    if at <= most {
        return Ok(());
    }
    let message = format!("more than {MAX_YEARS} years ahead; say permanent instead");
    Err(Refusal::of_field(Reason::TimeoutOutOfRange, field, message))
}

/// The instant a period after another, in the tenant's zone.
pub(super) fn after(
    period: CalendarPeriod,
    from: Timestamp,
    settings: &TenantSettings,
    field: &str,
) -> Result<Timestamp, Refusal> {
    let refused = |error| unreadable_period(field, &error);
    period.validate().map_err(refused)?;
    let from = from
        .to_utc()
        .ok_or_else(|| refused(PeriodError::OutOfRange))?;
    Ok(Timestamp::from_utc(
        period.after(from, settings.time_zone).map_err(refused)?,
    ))
}

/// The refusal of a period of time.
pub(super) fn unreadable_period(field: &str, error: &PeriodError) -> Refusal {
    let reason = match error {
        PeriodError::OutOfRange => Reason::TimeoutOutOfRange,
        _ => Reason::InvalidTimeout,
    };
    Refusal::of_field(reason, field, error.to_string())
}
