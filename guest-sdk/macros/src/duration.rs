//! Durations in options, as `"250ms"` or `"1h"`.
//!
//! A bare number would leave its unit to memory: DBOS counts seconds, the manifest counts milliseconds. So an option
//! that is a duration is text with a unit, and nothing else is accepted.

/// The longest duration that an option may name: a year. Anything above is a slip of the keyboard.
const LONGEST_MS: u64 = 365 * 24 * 60 * 60 * 1000;

/// Reads `text` as a duration and returns its milliseconds, or a sentence on what is wrong with it.
pub(crate) fn parse_milliseconds(text: &str) -> Result<u64, String> {
    let expected = || {
        format!(
            "`{text}` is not a duration: write a whole number with a unit, as in \"250ms\", \"1s\", \"5m\" or \"2h\""
        )
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim_start() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return Err(expected()),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    match number.checked_mul(factor) {
        Some(0) => Err(format!("`{text}` is no time at all: a duration must be longer than zero")),
        Some(milliseconds) if milliseconds <= LONGEST_MS => Ok(milliseconds),
        _ => Err(format!("`{text}` is longer than a year, which is the most that an option may ask for")),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_milliseconds;

    #[test]
    fn units() {
        assert_eq!(parse_milliseconds("250ms"), Ok(250));
        assert_eq!(parse_milliseconds("1s"), Ok(1_000));
        assert_eq!(parse_milliseconds("5 m"), Ok(300_000));
        assert_eq!(parse_milliseconds("2h"), Ok(7_200_000));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "1", "s", "1.5s", "-1s", "1d", "1s500ms", "99999999999999999999s"] {
            let error = parse_milliseconds(text).unwrap_err();
            assert!(error.starts_with(&format!("`{text}` is not a duration")), "{error}");
        }
        assert!(parse_milliseconds("0ms").unwrap_err().contains("longer than zero"));
        assert!(parse_milliseconds("9000h").unwrap_err().contains("longer than a year"));
        assert!(parse_milliseconds("18446744073709551615h").unwrap_err().contains("longer than a year"));
    }
}
