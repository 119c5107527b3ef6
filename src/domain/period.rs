//! How long a ban lasts when somebody says it in words: "+6 days", "19 months".
//!
//! A period is kept as it was said, because a month has no fixed length: only from a given
//! instant does it become an end. The preview beside the settings field and the ban itself both
//! call [`CalendarPeriod::after`], so they agree to the second (D7, D8; api.md, `CalendarPeriod`).
//!
//! A ban without an end is not a very long period and not a period of zero: it is a ban with no
//! period at all (M25). So "permanent" is no word of ours, and zero is refused in text.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Days, MappedLocalTime, Months, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};
use thiserror::Error;

/// The longest period, in years; a ban meant to last longer is meant to be permanent.
pub const MAX_YEARS: u32 = 50;

/// A length of time as people say it; what it amounts to depends on where it starts.
///
/// ```
/// use bancheck::domain::period::CalendarPeriod;
///
/// let period: CalendarPeriod = "+1 Year, 2 weeks".parse()?;
/// assert_eq!(period, CalendarPeriod { years: 1, weeks: 2, ..Default::default() });
/// assert_eq!(period.to_string(), "1 year, 2 weeks");
/// # Ok::<(), bancheck::domain::period::PeriodError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CalendarPeriod {
    /// Years of the calendar.
    pub years: u32,
    /// Months of the calendar, added together with the years.
    pub months: u32,
    /// Weeks of seven local days.
    pub weeks: u32,
    /// Local days: the same time on the clock, be the day 23, 24 or 25 hours long.
    pub days: u32,
    /// Hours as they elapse.
    pub hours: u32,
    /// Minutes as they elapse.
    pub minutes: u32,
}

/// Why a text or a period cannot end a ban.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PeriodError {
    /// The text says nothing.
    #[error("the period is empty; say it as in `1 year, 2 weeks`")]
    Empty,
    /// The text is not numbers with units.
    #[error("the period cannot be read at `{word}`; say it as in `1 year, 2 weeks`")]
    Unreadable {
        /// The word that was not understood: at most 16 letters, or one sign. Never a digit (a
        /// phone number lands in the wrong field sooner or later); empty where there is no word.
        word: String,
    },
    /// The text has a minus: a ban cannot end before it starts.
    #[error("a period cannot be negative")]
    Negative,
    /// The period is no time at all, which must not be mistaken for permanent (M25).
    #[error("a period cannot be zero; a ban without an end is `permanent`")]
    Zero,
    /// The period is longer than [`MAX_YEARS`], or ends beyond the calendar.
    #[error("a period cannot be longer than {MAX_YEARS} years")]
    OutOfRange,
}

impl CalendarPeriod {
    /// No time at all.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses what no ban should be given: zero, and more than [`MAX_YEARS`].
    ///
    /// Fifty years of days are a day more or less depending on their first; here they count from
    /// 1970, so that the answer does not change with the date. [`Self::after`] has the last word.
    pub fn validate(&self) -> Result<(), PeriodError> {
        if self.is_zero() {
            return Err(PeriodError::Zero);
        }
        self.after(DateTime::UNIX_EPOCH, Tz::UTC).map(|_| ())
    }

    /// The instant `self` after `from`, reckoned in `zone`; never before `from`.
    ///
    /// Years and months first (a day that does not exist becomes the month's last), then weeks and
    /// days in local time, then hours and minutes as elapsed time. A local time in a
    /// daylight-saving gap moves forward by the gap; of a doubled one the first counts.
    pub fn after(&self, from: DateTime<Utc>, zone: Tz) -> Result<DateTime<Utc>, PeriodError> {
        // The limit walks the same calendar as the period, so exactly fifty years always fit,
        // whatever the zone's offset will be by then, unless the calendar itself ends sooner.
        let longest = Self {
            years: MAX_YEARS,
            ..Self::default()
        };
        let (end, limit) = (self.reckon(from, zone), longest.reckon(from, zone));
        let end = end.filter(|end| limit.is_none_or(|limit| *end <= limit));
        end.ok_or(PeriodError::OutOfRange)
    }

    /// [`Self::after`] without its limit; `None` beyond the end of the calendar.
    fn reckon(&self, from: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let months = self.years.checked_mul(12)?.checked_add(self.months)?;
        let days = u64::from(self.weeks) * 7 + u64::from(self.days);
        let elapsed = TimeDelta::try_minutes(i64::from(self.hours) * 60 + i64::from(self.minutes))?;
        // Half an hour from inside a doubled hour must not go by the local clock: the way back
        // takes the first of the two and would end the ban before it began.
        if months == 0 && days == 0 {
            return from.checked_add_signed(elapsed);
        }
        let from = from.naive_utc();
        let offset = zone.offset_from_utc_datetime(&from).fix();
        let local = from
            .checked_add_offset(offset)?
            .checked_add_months(Months::new(months))?
            .checked_add_days(Days::new(days))?;
        let offset = match zone.offset_from_local_datetime(&local) {
            MappedLocalTime::Single(offset) | MappedLocalTime::Ambiguous(offset, _) => offset,
            // Read by the clock nobody has turned yet, a time in the gap lands as far behind it.
            MappedLocalTime::None => GapInfo::new(&local, &zone)?.begin?.1,
        };
        let end = local.checked_sub_offset(offset.fix())?.and_utc();
        end.checked_add_signed(elapsed)
    }

    /// The count of what people call `unit`.
    fn count_of(&mut self, unit: &str) -> Option<&mut u32> {
        Some(match unit {
            "y" | "yr" | "yrs" | "year" | "years" => &mut self.years,
            "mo" | "mos" | "month" | "months" => &mut self.months,
            "w" | "wk" | "wks" | "week" | "weeks" => &mut self.weeks,
            "d" | "day" | "days" => &mut self.days,
            "h" | "hr" | "hrs" | "hour" | "hours" => &mut self.hours,
            "m" | "min" | "mins" | "minute" | "minutes" => &mut self.minutes,
            _ => return None,
        })
    }
}

impl FromStr for CalendarPeriod {
    type Err = PeriodError;

    /// Reads numbers with units, parted by spaces, commas or "and", after an optional plus.
    ///
    /// A unit said twice adds up; `m` is minutes, `mo` months. "1,500 minutes" is refused: to one
    /// reader it is a thousand and more, to another one and a half.
    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let text = text.trim().to_lowercase();
        let mut rest = text.strip_prefix('+').unwrap_or(&text).trim_start();
        if rest.is_empty() {
            return Err(PeriodError::Empty);
        }
        let mut period = Self::default();
        loop {
            let (digits, tail) = split_while(rest, |c| c.is_ascii_digit());
            let tail = tail.trim_start();
            let (unit, after) = split_while(tail, char::is_alphabetic);
            let count = period.count_of(unit).filter(|_| !digits.is_empty());
            let count = count.ok_or_else(|| unreadable(tail))?;
            // Only digits are here, so a number that does not parse is a number too large.
            let sum = digits.parse().ok().and_then(|more| count.checked_add(more));
            *count = sum.ok_or(PeriodError::OutOfRange)?;
            if after.is_empty() {
                return period.validate().map(|()| period);
            }
            rest = after.trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            if let ("and", tail) = split_while(rest, char::is_alphabetic) {
                rest = tail.trim_start();
            }
        }
    }
}

impl fmt::Display for CalendarPeriod {
    /// English that reads back as the same period: "1 year, 2 weeks".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0 minutes");
        }
        let mut comma = "";
        let counts = [
            (self.years, "year"),
            (self.months, "month"),
            (self.weeks, "week"),
            (self.days, "day"),
            (self.hours, "hour"),
            (self.minutes, "minute"),
        ];
        for (count, unit) in counts.into_iter().filter(|(count, _)| *count > 0) {
            let plural = if count == 1 { "" } else { "s" };
            write!(f, "{comma}{count} {unit}{plural}")?;
            comma = ", ";
        }
        Ok(())
    }
}

/// The longest start of `text` that `belongs`, and what follows it.
fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// The error for a text that stops making sense at `rest`, with as little of it as helps.
fn unreadable(rest: &str) -> PeriodError {
    if rest.starts_with(['-', '\u{2212}']) {
        return PeriodError::Negative;
    }
    let (letters, _) = split_while(rest, char::is_alphabetic);
    let mut word: String = letters.chars().take(16).collect();
    if word.is_empty() {
        word.extend(rest.chars().next().filter(char::is_ascii_punctuation));
    }
    PeriodError::Unreadable { word }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::{America::New_York, Australia::Lord_Howe, Europe::Prague, Pacific::Apia};
    use chrono_tz::{TZ_VARIANTS, UTC};
    use proptest::{prelude::*, sample::select};

    /// Checks where `period` ends in `zone`; the instants are in UTC.
    #[track_caller]
    fn ends(from: &str, period: &str, zone: Tz, end: &str) {
        let instant = |text: &str| format!("{text}:00Z").parse().unwrap();
        let period: CalendarPeriod = period.parse().unwrap();
        assert_eq!(period.after(instant(from), zone), Ok(instant(end)));
    }

    #[test]
    fn the_examples_of_the_settings_page_end_when_the_manual_says() {
        ends("2026-11-21T10:00", "+6 days", UTC, "2026-11-27T10:00");
        ends("2026-11-21T10:00", "19 months", UTC, "2028-06-21T10:00");
    }

    #[test]
    fn a_day_the_month_does_not_have_becomes_its_last() {
        ends("2027-01-31T10:00", "1 month", UTC, "2027-02-28T10:00");
        ends("2027-01-31T10:00", "1 day 1mo", UTC, "2027-03-01T10:00");
        ends("2028-02-29T10:00", "1 year", UTC, "2029-02-28T10:00");
        ends("2028-02-29T10:00", "4 years", UTC, "2032-02-29T10:00");
    }

    #[test]
    fn a_day_keeps_the_clock_and_an_hour_its_length_when_clocks_change() {
        ends("2027-03-27T11:00", "1 day", Prague, "2027-03-28T10:00");
        ends("2027-03-27T11:00", "24 hours", Prague, "2027-03-28T11:00");
        ends("2027-03-27T00:30", "1d 1h", Prague, "2027-03-28T01:30");
        // From within the doubled hour, the second time round.
        ends("2027-10-31T01:15", "30m", Prague, "2027-10-31T01:45");
    }

    #[test]
    fn a_ban_that_would_end_in_a_skipped_hour_ends_as_much_later() {
        ends("2027-03-21T01:30", "1 week", Prague, "2027-03-28T01:30");
        ends("2027-02-14T07:30", "1 month", New_York, "2027-03-14T07:30");
        // Here half an hour is skipped, and there once a whole day was.
        ends("2027-09-26T15:45", "6 days", Lord_Howe, "2027-10-02T15:45");
        ends("2011-12-29T22:00", "1 day", Apia, "2011-12-30T22:00");
    }

    #[test]
    fn a_ban_that_would_end_in_a_doubled_hour_ends_the_first_time() {
        ends("2027-10-24T00:30", "1 week", Prague, "2027-10-31T00:30");
        ends("2027-10-07T05:30", "1 month", New_York, "2027-11-07T05:30");
        ends("2027-04-02T14:45", "1 day", Lord_Howe, "2027-04-03T14:45");
    }

    #[test]
    fn fifty_years_are_the_longest_ban_with_an_end_in_every_zone() {
        let longest: CalendarPeriod = "50 years".parse().unwrap();
        let mut longer = longest;
        longer.minutes = 1;
        for zone in TZ_VARIANTS {
            let [end, beyond] = [longest, longer].map(|p| p.after(DateTime::UNIX_EPOCH, zone));
            assert!(
                end.is_ok() && beyond == Err(PeriodError::OutOfRange),
                "{zone}"
            );
        }
    }

    #[test]
    fn what_people_type_is_understood() {
        let table = "+6 days = 6 days; 1 year , 2 weeks = 1 year, 2 weeks; 90min = 90 minutes; \
            1y 2w 3d = 1 year, 2 weeks, 3 days; 2h30m = 2 hours, 30 minutes; 30M = 30 minutes; \
            + 2mo,1 HR = 2 months, 1 hour; 1 Year and 2 DAYS = 1 year, 2 days; 0y 1d = 1 day; \
            1 day, and\t1 day = 2 days; 007 days = 7 days";
        for (text, shown) in table.split("; ").map(|row| row.split_once(" = ").unwrap()) {
            let period: CalendarPeriod = format!(" {text} ").parse().unwrap();
            assert_eq!(period.to_string(), shown, "{text}");
        }
        assert_eq!(CalendarPeriod::default().to_string(), "0 minutes");
    }

    #[test]
    fn what_is_no_period_is_refused_and_the_refusal_repeats_a_word_but_never_a_number() {
        let table = " = empty; + = empty; \t = empty; 0 days = zero; 0y 0m = zero; - = negative; \
            -6 days = negative; 1 day, \u{2212}1 hour = negative; 18263 days = longer; \
            51 years = longer; 50 years, 1 minute = longer; 601mo = longer; \
            4294967295m 1m = longer; 99999999999 days = longer; 6 = ``; 1 day, = ``; \
            permanent = `permanent`; 1.5 days = `.`; 1,500 minutes = `,`; 6, days = `,`; \
            1 day and = ``; 1 day and and 2 h = `and`; 1 day,, 2 h = `,`; ++6 days = `+`; \
            6 seconds = `seconds`; +420777123456 = ``; 1 \u{202e}day = ``; 1 den = `den`; \
            1 donaudampfschifffahrt = `donaudampfschiff`";
        for (text, reason) in table.split("; ").map(|row| row.split_once(" = ").unwrap()) {
            let told = text.parse::<CalendarPeriod>().unwrap_err().to_string();
            assert!(told.contains(reason), "{text:?}: {told}");
        }
    }

    prop_compose! {
        /// Small and huge numbers alike: each of six shifted by its own number of bits.
        fn any_period()(n in any::<[u32; 6]>(), by in [const { 0..80_u32 }; 6]) -> CalendarPeriod {
            let [years, months, weeks, days, hours, minutes] =
                std::array::from_fn(|i| n[i].checked_shr(by[i]).unwrap_or(0));
            CalendarPeriod { years, months, weeks, days, hours, minutes }
        }
    }

    proptest! {
        #[test]
        fn a_period_reads_back_as_it_was_shown(period in any_period()) {
            prop_assert_eq!(period.to_string().parse(), period.validate().map(|()| period));
        }

        #[test]
        fn no_text_breaks_the_reader(text in "(?s).*|[+]?([0-9]{0,11} ?(d|mo|y|[,-])? ?){0,5}") {
            let period = text.parse::<CalendarPeriod>().ok();
            prop_assert!(period.is_none_or(|period| period.validate().is_ok()));
        }

        #[test]
        fn no_ban_ends_before_it_starts_and_no_calendar_breaks(
            period in any_period(), zone in select(&TZ_VARIANTS[..]),
            now in 0..5_000_000_000_i64, near in 0..8_000_000_000_000_i64,
        ) {
            let (first, last) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
            let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(now);
            for from in [now, last - TimeDelta::seconds(near), first, last] {
                prop_assert!(period.after(from, zone).unwrap_or(from) >= from);
            }
        }
    }
}
