//! The words of streams: where a value stands, what is read at once, and how a stream ends.

use std::fmt;

use super::history::RecordedResult;

/// What stands behind the last value of a stream that is closed, as SDKs of DBOS write and read it. No value may be this.
pub const CLOSED: &str = r#""__DBOS_STREAM_CLOSED__""#;

/// The place of a value in its stream, counted from 0 without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(i32);

impl Offset {
    /// The first one.
    pub const FIRST: Self = Self(0);

    /// Checks a number from outside. None: no stream can have so many values, since each has a record of its run.
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        i32::try_from(number).ok().map(Self)
    }

    /// Checks a text from outside: digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok().map(Self))?
    }

    /// The one so many values later.
    #[must_use]
    pub fn plus(self, values: usize) -> Self {
        Self(self.0.saturating_add(i32::try_from(values).unwrap_or(i32::MAX)))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Values of a stream, one behind the other.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamPage {
    /// The values, or that this host cannot read one.
    pub values: Vec<RecordedResult>,
    /// What comes behind them.
    pub then: Then,
}

/// What comes behind the values of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It is not known: the page is full.
    More,
    /// Nothing yet.
    NotYet,
    /// Nothing: the stream is closed, or its run has ended.
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_a_number_that_a_stream_can_have() {
        assert_eq!(Offset::parse("0"), Some(Offset::FIRST));
        assert_eq!(Offset::parse("2147483647").map(Offset::get), Some(i32::MAX));
        for wrong in ["", "-1", "+1", "1.0", " 1", "2147483648", "99999999999999999999"] {
            assert_eq!(Offset::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Offset::new(7), Some(Offset::FIRST.plus(7)));
        assert_eq!(Offset::new(u32::MAX), None);
        assert_eq!(Offset::new(1).map(|one| one.plus(usize::MAX).get()), Some(i32::MAX));
    }
}
