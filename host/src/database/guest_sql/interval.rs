//! Intervals as ISO 8601 durations.
//!
//! An interval has three parts that cannot be turned into each other: months, days and microseconds (a month has no
//! fixed number of days, a day none of hours), each with a sign of its own. The duration keeps them apart, and gives
//! each designator its sign, as the server does in its `iso_8601` style and reads in every style: `P-1Y-2M3DT-0.5S`.

use std::fmt;

use super::reader::{DecodeError, Reader};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;

/// An interval as the server keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    months: i32,
    days: i32,
    micros: i64,
}

impl Interval {
    // The extremes of all three parts mean infinity since PostgreSQL 17.
    const INFINITY: Self = Self { months: i32::MAX, days: i32::MAX, micros: i64::MAX };
    const MINUS_INFINITY: Self = Self { months: i32::MIN, days: i32::MIN, micros: i64::MIN };

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let micros = reader.i64()?;
        let days = reader.i32()?;
        let months = reader.i32()?;
        Ok(Self { months, days, micros })
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::INFINITY => return f.write_str("infinity"),
            Self::MINUS_INFINITY => return f.write_str("-infinity"),
            Self { months: 0, days: 0, micros: 0 } => return f.write_str("PT0S"),
            _ => f.write_str("P")?,
        }
        write_part(f, i64::from(self.months / 12), 'Y')?;
        write_part(f, i64::from(self.months % 12), 'M')?;
        write_part(f, i64::from(self.days), 'D')?;
        if self.micros == 0 {
            return Ok(());
        }
        f.write_str("T")?;
        write_part(f, self.micros / MICROS_PER_HOUR, 'H')?;
        write_part(f, self.micros % MICROS_PER_HOUR / MICROS_PER_MINUTE, 'M')?;
        write_seconds(f, self.micros % MICROS_PER_MINUTE)
    }
}

fn write_part(f: &mut fmt::Formatter<'_>, number: i64, designator: char) -> fmt::Result {
    if number == 0 { Ok(()) } else { write!(f, "{number}{designator}") }
}

fn write_seconds(f: &mut fmt::Formatter<'_>, micros: i64) -> fmt::Result {
    if micros == 0 {
        return Ok(());
    }
    // The sign is written by itself: a whole part of zero has none.
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.abs();
    write!(f, "{sign}{}", micros / MICROS_PER_SECOND)?;
    let fraction = micros % MICROS_PER_SECOND;
    if fraction != 0 {
        let digits = format!("{fraction:06}");
        write!(f, ".{}", digits.trim_end_matches('0'))?;
    }
    f.write_str("S")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_its_own_sign() {
        for (months, days, micros, expected) in [
            (0, 0, 0, "PT0S"),
            (14, 3, 14_706_700_000, "P1Y2M3DT4H5M6.7S"),
            (-14, 3, -500_000, "P-1Y-2M3DT-0.5S"),
            (0, -1, 3_600_000_000, "P-1DT1H"),
            (0, 0, -60_000_001, "PT-1M-0.000001S"),
            (0, 0, i64::MIN, "PT-2562047788H-54.775808S"),
            (i32::MIN, i32::MIN, i64::MIN, "-infinity"),
        ] {
            assert_eq!(Interval { months, days, micros }.to_string(), expected);
        }
    }
}
