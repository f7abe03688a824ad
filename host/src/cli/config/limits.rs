//! How much guests may use.
//!
//! Each limit has a default that a usual app never notices and a range outside of which the number is a mistake; the
//! reasons for the numbers stand beside them.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::ConfigError;
use super::values::Values;

/// A limit under `limits:`.
pub(super) struct Limit {
    key: &'static str,
    default: u32,
    range: RangeInclusive<u32>,
}

/// A guest that computes for ten seconds without a call is lost far more often than busy. An hour is the most that a
/// cancel or a shutdown could be expected to have patience for.
const PROCESSOR_MS: Limit = Limit { key: "limits.processor_ms", default: 10_000, range: 1..=3_600_000 };

/// Guests in Python and JavaScript start at tens of mebibytes, and 256 leaves them room for data. A 32-bit memory ends
/// at 4,096.
const MEMORY_MIB: Limit = Limit { key: "limits.memory_mib", default: 256, range: 1..=4096 };

/// Instances are cheap (tens of kibibytes), their memories are reserved as address space: three times 4,000 slots of up
/// to 8 GiB, with guard pages, stay below the 128 TiB that a process has. 64 keep a machine of a few cores busy.
const WORKFLOWS: Limit = Limit { key: "limits.workflows", default: 64, range: 1..=4000 };

/// As [`WORKFLOWS`].
const STEPS: Limit = Limit { key: "limits.steps", default: 64, range: 1..=4000 };

/// As [`WORKFLOWS`].
const HANDLERS: Limit = Limit { key: "limits.handlers", default: 64, range: 1..=4000 };

/// As DBOS. The count starts anew with each record, so a run meets it only where it makes no progress at all.
const ATTEMPTS: Limit = Limit { key: "limits.attempts", default: 100, range: 1..=1_000_000 };

/// The limits of all apps together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Processor time of an instance between two calls to the host.
    pub(crate) processor: Duration,
    /// Memory of one instance, in bytes.
    pub(crate) memory_bytes: u64,
    /// Workflow instances at once.
    pub(crate) workflows: NonZeroU32,
    /// Step instances at once.
    pub(crate) steps: NonZeroU32,
    /// Handler instances at once.
    pub(crate) handlers: NonZeroU32,
    /// Attempts of a run without a new record before it is given up.
    pub(crate) attempts: NonZeroU32,
}

/// The defaults.
impl Default for Limits {
    fn default() -> Self {
        let count = |limit: &Limit| NonZeroU32::new(limit.default).expect("no limit's default is zero");
        Self {
            processor: Duration::from_millis(PROCESSOR_MS.default.into()),
            memory_bytes: u64::from(MEMORY_MIB.default) * 1024 * 1024,
            workflows: count(&WORKFLOWS),
            steps: count(&STEPS),
            handlers: count(&HANDLERS),
            attempts: count(&ATTEMPTS),
        }
    }
}

impl Limits {
    /// Every limit, for the reference of the keys.
    #[cfg(test)]
    pub(super) const ALL: [Limit; 6] = [PROCESSOR_MS, MEMORY_MIB, WORKFLOWS, STEPS, HANDLERS, ATTEMPTS];

    /// Reads the limits, with their defaults.
    pub(super) fn read(values: &Values<'_>) -> Result<Self, ConfigError> {
        let mebibyte = 1024 * 1024;
        Ok(Self {
            processor: Duration::from_millis(PROCESSOR_MS.read(values)?.get().into()),
            memory_bytes: u64::from(MEMORY_MIB.read(values)?.get()) * mebibyte,
            workflows: WORKFLOWS.read(values)?,
            steps: STEPS.read(values)?,
            handlers: HANDLERS.read(values)?,
            attempts: ATTEMPTS.read(values)?,
        })
    }
}

impl Limit {
    fn read(&self, values: &Values<'_>) -> Result<NonZeroU32, ConfigError> {
        let number = values.parsed(self.key, |text| {
            text.parse::<u32>()
                .ok()
                .filter(|number| self.range.contains(number))
                .ok_or_else(|| format!("expected a whole number from {} to {}", self.range.start(), self.range.end()))
        })?;
        Ok(NonZeroU32::new(number.unwrap_or(self.default)).expect("no limit's range or default has a zero"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys;
    use super::*;

    #[test]
    fn defaults_are_in_range_and_documented() {
        for limit in Limits::ALL {
            assert!(*limit.range.start() > 0 && limit.range.contains(&limit.default), "{}", limit.key);
            let documented = keys::find(limit.key).expect("a limit is a key").default;
            assert_eq!(documented, limit.default.to_string(), "{}", limit.key);
        }
    }
}
