//! Times, and the clock that a workflow sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A hundred years: the longest time that anything waits. Longer ones are mistakes, and would overflow dates in other tools.
pub const A_HUNDRED_YEARS_MS: u64 = 100 * 366 * 86_400_000;

/// A moment in milliseconds since 1970-01-01T00:00:00Z, as the DBOS tables store times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct EpochMs(pub i64);

impl EpochMs {
    /// The same moment in seconds as a JSON number with three decimals, as DBOS records the wake time of a sleep.
    #[must_use]
    pub fn to_seconds_json(self) -> String {
        format!("{}.{:03}", self.0.div_euclid(1000), self.0.rem_euclid(1000))
    }

    /// Reads what [`Self::to_seconds_json`] wrote, or what a DBOS SDK did (any number of seconds).
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates, and the range is checked before it")]
    pub fn from_seconds_json(text: &str) -> Option<Self> {
        let seconds: f64 = serde_json::from_str(text).ok()?;
        // 2^53 milliseconds is the year 287,396: the last moment that a double holds to the millisecond.
        (seconds.abs() < 9.0e12).then(|| Self((seconds * 1000.0).round() as i64))
    }

    /// The moment so many milliseconds later.
    #[must_use]
    pub fn after_ms(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(i64::try_from(milliseconds).unwrap_or(i64::MAX)))
    }

    /// Milliseconds from `earlier` to this moment; 0 when it is later.
    #[must_use]
    pub fn millis_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

/// The clock of one run (lifetime: one instance): starts at the run's start and moves only when a result is delivered.
///
/// Problem: a workflow that reads a real clock does something else in a replay. So its time is a function of its
/// records: it is the latest end time among the results that the guest has seen. Cloned handles share one clock.
#[derive(Debug, Clone)]
pub struct WorkflowTime(Arc<AtomicI64>);

impl WorkflowTime {
    /// A clock that stands at the run's start.
    #[must_use]
    pub fn starting_at(start: EpochMs) -> Self {
        Self(Arc::new(AtomicI64::new(start.0)))
    }

    /// A result that ended at `end` was delivered to the guest. Time never goes back.
    pub fn deliver(&self, end: EpochMs) {
        self.0.fetch_max(end.0, Ordering::Relaxed);
    }

    /// What the guest sees.
    #[must_use]
    pub fn now(&self) -> EpochMs {
        EpochMs(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_times_survive_the_trip_through_seconds() {
        for ms in [0, 1, 999, 1000, 1_763_800_000_123, 4_102_444_799_999] {
            assert_eq!(EpochMs::from_seconds_json(&EpochMs(ms).to_seconds_json()), Some(EpochMs(ms)));
        }
        assert_eq!(EpochMs::from_seconds_json("1763800000.1234567"), Some(EpochMs(1_763_800_000_123)));
        assert_eq!(EpochMs::from_seconds_json("\"x\""), None);
        assert_eq!(EpochMs::from_seconds_json("1e300"), None);
    }

    #[test]
    fn workflow_time_never_goes_back() {
        let time = WorkflowTime::starting_at(EpochMs(100));
        time.deliver(EpochMs(300));
        time.deliver(EpochMs(200));
        assert_eq!(time.now(), EpochMs(300));
    }
}
