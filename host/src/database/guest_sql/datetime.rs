//! Dates and times as ISO 8601 text.
//!
//! The server counts days and microseconds from 1 January 2000 and reaches from 4714 BC to the year 294276 (a date:
//! 5874897), further than the date libraries do; so the little arithmetic stands here. The text is one that the server
//! reads back under every `DateStyle`, and always has six decimals: two times compare equal exactly if their texts do,
//! and the texts of the years 1 to 9999 sort like the times.

use std::fmt;

/// Days from 1 January 1970 to 1 January 2000.
const EPOCH_DAYS: i64 = 10_957;
const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// A date: days since 1 January 2000; the extremes are infinite.
pub(super) struct Date(pub(super) i32);

/// A time of day: microseconds since midnight. `24:00:00` is one.
pub(super) struct Time(pub(super) i64);

/// A time of day with the seconds **west** of Greenwich, as the server keeps them.
pub(super) struct TimeTz {
    pub(super) time: Time,
    pub(super) seconds_west: i32,
}

/// A timestamp: microseconds since 1 January 2000; the extremes are infinite. With `zone`, it is in UTC and says so.
pub(super) struct Timestamp {
    pub(super) micros: i64,
    pub(super) zone: bool,
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            i32::MAX => f.write_str("infinity"),
            i32::MIN => f.write_str("-infinity"),
            days => {
                let day = Day::of(i64::from(days));
                write!(f, "{day}{}", day.era())
            }
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / MICROS_PER_SECOND, self.0 % MICROS_PER_SECOND);
        write!(f, "{:02}:{:02}:{:02}.{micros:06}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
    }
}

impl fmt::Display for TimeTz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.seconds_west > 0 { '-' } else { '+' };
        let offset = self.seconds_west.unsigned_abs();
        write!(f, "{}{sign}{:02}:{:02}", self.time, offset / 3_600, offset / 60 % 60)?;
        if offset.is_multiple_of(60) { Ok(()) } else { write!(f, ":{:02}", offset % 60) }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.micros {
            i64::MAX => f.write_str("infinity"),
            i64::MIN => f.write_str("-infinity"),
            micros => {
                let day = Day::of(micros.div_euclid(MICROS_PER_DAY));
                let time = Time(micros.rem_euclid(MICROS_PER_DAY));
                write!(f, "{day}T{time}{}{}", if self.zone { "Z" } else { "" }, day.era())
            }
        }
    }
}

/// A day of the proleptic Gregorian calendar. Year 0 is 1 BC.
struct Day {
    year: i64,
    month: i64,
    day: i64,
}

impl Day {
    /// The day that is `days` after 1 January 2000.
    ///
    /// Years are counted from March here, so that the leap day is the last of its year, and in eras of 400 years,
    /// which all have the same number of days.
    fn of(days: i64) -> Self {
        const DAYS_PER_ERA: i64 = 146_097;
        const MARCH_OF_YEAR_0: i64 = 719_468;
        let days = days + EPOCH_DAYS + MARCH_OF_YEAR_0;
        let era = days.div_euclid(DAYS_PER_ERA);
        let day_of_era = days.rem_euclid(DAYS_PER_ERA);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self { year, month, day }
    }

    fn era(&self) -> &'static str {
        if self.year <= 0 { " BC" } else { "" }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let year = if self.year <= 0 { 1 - self.year } else { self.year };
        write!(f, "{year:04}-{:02}-{:02}", self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (days, expected) in [
            (0, "2000-01-01"),
            (59, "2000-02-29"),
            (-1, "1999-12-31"),
            (9_617, "2026-05-01"),
            (-730_119, "0001-01-01"),
            (-730_120, "0001-12-31 BC"),
            (-2_451_545, "4714-11-24 BC"),
            (2_145_031_948, "5874897-12-31"),
            (i32::MAX, "infinity"),
            (i32::MIN, "-infinity"),
        ] {
            assert_eq!(Date(days).to_string(), expected);
        }
    }

    #[test]
    fn times() {
        assert_eq!(Time(0).to_string(), "00:00:00.000000");
        assert_eq!(Time(MICROS_PER_DAY).to_string(), "24:00:00.000000");
        assert_eq!(TimeTz { time: Time(3_723_000_001), seconds_west: -7_200 }.to_string(), "01:02:03.000001+02:00");
        assert_eq!(TimeTz { time: Time(0), seconds_west: 12_345 }.to_string(), "00:00:00.000000-03:25:45");
        assert_eq!(Timestamp { micros: -1, zone: true }.to_string(), "1999-12-31T23:59:59.999999Z");
        assert_eq!(Timestamp { micros: 0, zone: false }.to_string(), "2000-01-01T00:00:00.000000");
        assert_eq!(Timestamp { micros: i64::MIN, zone: true }.to_string(), "-infinity");
        let ides = Timestamp { micros: i64::from(-746_117) * MICROS_PER_DAY, zone: true };
        assert_eq!(ides.to_string(), "0044-03-15T00:00:00.000000Z BC");
    }
}
