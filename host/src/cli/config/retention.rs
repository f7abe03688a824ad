//! How long finished runs are kept: the two settings, and how their values are written.
//!
//! What is set here deletes data, so nothing is guessed: a time without a unit is an error, and so is one that is too short to
//! be meant.

use std::borrow::Cow;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo, Unit};

use super::error::ConfigError;
use super::values::Values;
use crate::retention::Keep;

/// Less than a minute, and a client whose connection broke would ask for a result that is gone. A century is what sleeps
/// may have too.
const AGE_SECONDS: std::ops::RangeInclusive<f64> = 60.0..=100.0 * 365.0 * 86_400.0;

/// Without any, a result would go before the one who waits for it has it. The most is more than a database of this kind has
/// had.
const COUNT: std::ops::RangeInclusive<u32> = 1..=1_000_000_000;

/// The ranges as they are told.
const AGE_RANGE: &str = "1 minute to 36500 days";
const COUNT_RANGE: &str = "1 to 1000000000";

/// The range of a key of this file; `None`: it is another one.
pub(super) fn range_of(path: &str) -> Option<&'static str> {
    match path {
        "retention.age" => Some(AGE_RANGE),
        "retention.count" => Some(COUNT_RANGE),
        _ => None,
    }
}

/// Reads both.
pub(super) fn read(values: &Values<'_>) -> Result<Keep, ConfigError> {
    Ok(Keep { age: values.parsed("retention.age", age)?, count: values.parsed("retention.count", count)? })
}

/// A time with its unit.
pub(crate) fn age(text: &str) -> Result<Duration, Cow<'static, str>> {
    const EXPECTED: &str = "expected a time with its unit, like `90 days` or `12h`, from 1 minute to 36500 days";
    let span: Span = text.parse().map_err(|_| EXPECTED)?;
    // A month or a year is no fixed time, and refused here.
    let seconds = span.total((Unit::Second, SpanRelativeTo::days_are_24_hours())).map_err(|_| EXPECTED)?;
    if AGE_SECONDS.contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err(EXPECTED.into()) }
}

/// A number of runs.
pub(crate) fn count(text: &str) -> Result<u32, Cow<'static, str>> {
    let number = text.parse().ok().filter(|number| COUNT.contains(number));
    number.ok_or_else(|| "expected a whole number from 1 to 1000000000".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        let day = Duration::from_secs(86_400);
        for (text, expected) in [
            ("90 days", day * 90),
            ("12h", day / 2),
            ("2w", day * 14),
            ("1 minute", Duration::from_secs(60)),
            ("P1D", day),
        ] {
            assert_eq!(age(text), Ok(expected), "{text}");
        }
        for text in ["", "90", "59s", "-3 days", "1 month", "1 year", "36501 days", "soon"] {
            assert!(age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_has_a_range() {
        assert_eq!((count("1"), count("1000000000")), (Ok(1), Ok(1_000_000_000)));
        for text in ["0", "-1", "1000000001", "1e3", "many"] {
            assert!(count(text).is_err(), "{text}");
        }
    }
}
