//! When a failed attempt is tried again, and after how long: of a communicator, and of a run.

use std::time::Duration;

use serde::Deserialize;

/// How a communicator is retried. Defaults follow DBOS: tried once unless told otherwise.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RetryPolicy {
    /// How often it is tried in all, at least 1.
    pub attempts: u32,
    /// Waited before the second attempt.
    pub interval: Duration,
    /// The wait grows by this factor, at least 1.
    pub backoff: f64,
    /// The longest wait between two attempts.
    pub max_interval: Duration,
}

impl RetryPolicy {
    /// How long to wait after attempt number `attempt` (from 1) failed; `None` when it was the last, so that nobody
    /// waits for an attempt that does not come.
    #[must_use]
    pub fn delay_after(&self, attempt: u32) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.interval.as_secs_f64() * self.backoff.powi(exponent);
        let capped = seconds.min(self.max_interval.as_secs_f64());
        // As a float, a long wait may have been rounded up.
        Some(Duration::try_from_secs_f64(capped).unwrap_or(self.max_interval).min(self.max_interval))
    }
}

/// A wait that was doubled so many times, and has an end.
#[must_use]
pub fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(longest)
}

/// How long a run whose attempts end without a new record waits: 1 s, 2 s, 4 s … 1 h. So a guest that exhausts a limit
/// bills mostly itself, and a repaired fault is tried again within the hour.
#[derive(Debug, Clone, Copy)]
pub struct AttemptBackoff;

impl AttemptBackoff {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(3600);

    /// The wait after `failed` attempts in a row failed inside this host.
    #[must_use]
    pub fn after_failures(failed: u32) -> Duration {
        match failed {
            0 => Duration::ZERO,
            n => doubled(Self::FIRST, n - 1, Self::LONGEST),
        }
    }

    /// The wait before a run is taken up again that `counted` attempts left unfinished when their host went away. One
    /// such attempt is an ordinary crash, which must not cost the run a second; from the second on, the run itself is
    /// suspect.
    #[must_use]
    pub fn after_takeover(counted: u32) -> Duration {
        Self::after_failures(counted.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_cap_and_none_follows_the_last_attempt() {
        let policy = RetryPolicy {
            attempts: 5,
            interval: Duration::from_secs(1),
            backoff: 2.0,
            max_interval: Duration::from_secs(3),
        };
        let delays: Vec<_> = (1..=5).map(|n| policy.delay_after(n).map(|d| d.as_secs())).collect();
        assert_eq!(delays, [Some(1), Some(2), Some(3), Some(3), None]);
        let once = RetryPolicy { attempts: 1, ..policy };
        assert_eq!(once.delay_after(1), None);
    }

    #[test]
    fn a_huge_backoff_ends_at_the_cap() {
        let policy = RetryPolicy {
            attempts: u32::MAX,
            interval: Duration::from_secs(1),
            backoff: 1e300,
            max_interval: Duration::from_secs(60),
        };
        assert_eq!(policy.delay_after(1_000_000), Some(Duration::from_secs(60)));
    }

    #[test]
    fn runs_back_off_from_a_second_to_an_hour() {
        let seconds: Vec<_> = (0..6).map(|n| AttemptBackoff::after_failures(n).as_secs()).collect();
        assert_eq!(seconds, [0, 1, 2, 4, 8, 16]);
        assert_eq!(AttemptBackoff::after_failures(99).as_secs(), 3600);
        assert_eq!(AttemptBackoff::after_takeover(1), Duration::ZERO);
        assert_eq!(AttemptBackoff::after_takeover(2).as_secs(), 1);
    }
}
