//! Instants and lengths of time as people read them, and as they type them.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use prost_types::Timestamp;

/// Reads an instant in RFC 3339, which always names its offset: a time without one means another
/// instant in every office.
pub(crate) fn instant(text: &str) -> Result<Timestamp, String> {
    match DateTime::parse_from_rfc3339(text.trim()) {
        Ok(time) => Ok(timestamp(time.to_utc())),
        Err(_) => {
            Err("not a time with its offset, such as 2026-12-31T23:59:59+01:00 or …Z".to_owned())
        }
    }
}

/// The instant for the wire.
pub(crate) fn timestamp(time: DateTime<Utc>) -> Timestamp {
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0);
    Timestamp {
        seconds: time.timestamp(),
        nanos,
    }
}

/// The instant from the wire; `None` beyond the calendar.
pub(crate) fn calendar(time: &Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?)
}

/// `2026-11-22T10:00:00.123Z`, as exact as it came; empty where it is not set.
pub(crate) fn written(time: Option<&Timestamp>) -> String {
    let time = time.and_then(calendar);
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
        .unwrap_or_default()
}

/// The same to the second, for people.
pub(crate) fn shown(time: Option<&Timestamp>) -> String {
    let time = time.and_then(calendar);
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
        .unwrap_or_default()
}

/// `in 23 h 59 min (2026-11-22T10:00:00Z)`; empty where it is not set.
pub(crate) fn told(time: Option<&Timestamp>, now: DateTime<Utc>) -> String {
    let Some(at) = time.and_then(calendar) else {
        return String::new();
    };
    let distance = match at - now {
        near if near.num_seconds() == 0 => "now".to_owned(),
        ahead if ahead > TimeDelta::zero() => format!("in {}", length(ahead)),
        behind => format!("{} ago", length(-behind)),
    };
    format!("{distance} ({})", shown(time))
}

/// When a ban ends: as [`told`], or that it does not.
pub(crate) fn end(expire_time: Option<&Timestamp>, now: DateTime<Utc>) -> String {
    if expire_time.is_none() {
        "permanent".to_owned()
    } else {
        told(expire_time, now)
    }
}

/// When a ban ends: as [`written`], or that it does not.
pub(crate) fn written_end(expire_time: Option<&Timestamp>) -> String {
    if expire_time.is_none() {
        "permanent".to_owned()
    } else {
        written(expire_time)
    }
}

/// A length in its two largest units, rounded down: `6 d 23 h`, `23 h 59 min`, `12 s`.
pub(crate) fn length(delta: TimeDelta) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let seconds = delta.num_seconds();
    let largest = UNITS
        .iter()
        .position(|(size, _)| seconds >= *size)
        .unwrap_or(UNITS.len() - 1);
    let (size, unit) = UNITS[largest];
    let mut text = format!("{} {unit}", seconds / size);
    if let Some((smaller, unit)) = UNITS.get(largest + 1)
        && seconds % size / smaller > 0
    {
        text = format!("{text} {} {unit}", seconds % size / smaller);
    }
    text
}

/// The same for a length from the wire.
pub(crate) fn length_of(duration: &prost_types::Duration) -> String {
    length(TimeDelta::try_seconds(duration.seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-21T10:00:00.25Z".parse().unwrap()
    }

    #[test]
    fn an_end_is_told_as_a_distance_and_an_instant() {
        let day = instant("2026-11-22T10:00:00Z").unwrap();
        assert_eq!(
            end(Some(&day), now()),
            "in 23 h 59 min (2026-11-22T10:00:00Z)"
        );
        assert_eq!(end(None, now()), "permanent");
        let near = instant("2026-11-21T10:00:01Z").unwrap();
        assert_eq!(end(Some(&near), now()), "now (2026-11-21T10:00:01Z)");
        let past = instant("2026-11-21T08:58:00+00:00").unwrap();
        assert_eq!(
            end(Some(&past), now()),
            "1 h 2 min ago (2026-11-21T08:58:00Z)"
        );
    }

    #[test]
    fn a_length_keeps_its_two_largest_units() {
        let table = [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (3_600, "1 h"),
            (3_601, "1 h"),
            (86_399, "23 h 59 min"),
            (86_400, "1 d"),
            (604_799, "6 d 23 h"),
            (50_000_000, "578 d 16 h"),
        ];
        for (seconds, text) in table {
            assert_eq!(length(TimeDelta::seconds(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn a_time_without_an_offset_is_refused() {
        for bad in ["2026-12-31", "2026-12-31T23:59:59", "tomorrow", ""] {
            assert!(instant(bad).is_err(), "{bad}");
        }
        let summer = instant("2026-07-01T02:00:00+02:00").unwrap();
        assert_eq!(written(Some(&summer)), "2026-07-01T00:00:00Z");
    }

    #[test]
    fn an_instant_beyond_the_calendar_breaks_nothing() {
        let far = Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        };
        assert_eq!(told(Some(&far), now()), "");
        assert_eq!(written(Some(&far)), "");
    }
}
