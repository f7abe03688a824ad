//! The status of a run, and which moves between statuses are legal.

use std::fmt;
use std::str::FromStr;

/// The status of a run, in DBOS's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Being run by its owner, or waiting to be taken over.
    Pending,
    /// In a queue.
    Enqueued,
    /// In a queue, not before a time.
    Delayed,
    /// Ended with a result.
    Success,
    /// Ended with an error.
    Error,
    /// Stopped because it cannot go on: too many attempts, or its code no longer matches its records. Can be resumed.
    MaxRecoveryAttemptsExceeded,
    /// Stopped by a person or a deadline. Can be resumed.
    Cancelled,
}

impl Status {
    /// All statuses, in the order of a run's life.
    pub const ALL: [Self; 7] = [
        Self::Delayed,
        Self::Enqueued,
        Self::Pending,
        Self::Success,
        Self::Error,
        Self::MaxRecoveryAttemptsExceeded,
        Self::Cancelled,
    ];

    /// True when the run has ended: its outcome can be read.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Enqueued | Self::Delayed => false,
            Self::Success | Self::Error | Self::MaxRecoveryAttemptsExceeded | Self::Cancelled => true,
        }
    }

    /// The status as the database stores it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Enqueued => "ENQUEUED",
            Self::Delayed => "DELAYED",
            Self::Success => "SUCCESS",
            Self::Error => "ERROR",
            Self::MaxRecoveryAttemptsExceeded => "MAX_RECOVERY_ATTEMPTS_EXCEEDED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a workflow status")]
pub struct UnknownStatus(String);

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| UnknownStatus(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_read_back_as_it_is_written() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert_eq!("DONE".parse::<Status>().unwrap_err().to_string(), "`DONE` is not a workflow status");
    }
}
