//! How much guests may use.
//!
//! Each limit has a default that a usual app never notices and a range outside of which the number is a mistake; the
//! reasons for the numbers stand beside them.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::ConfigError;
use super::values::Values;
use crate::trigger::HttpLimits;

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

/// Each holds some kibibytes and its arguments. A host that ends a thousand workflows in a second has done with ten thousand
/// after ten; who comes behind more does better to ask another host, or later.
const WAITING: Limit = Limit { key: "limits.waiting", default: 10_000, range: 1..=1_000_000 };

/// A request that waits for a workflow costs some kibibytes. A thousand clients are more than one host has workflow
/// instances for, and a million would be its end.
const REQUESTS: Limit = Limit { key: "limits.requests", default: 1024, range: 1..=1_000_000 };

/// Each is a file descriptor, of which a process commonly has 1,024 to half a million. Twice as many as requests: browsers
/// keep idle ones.
const CONNECTIONS: Limit = Limit { key: "limits.connections", default: 2048, range: 1..=1_000_000 };

/// What a workflow's arguments may have. A gibibyte would not fit into a guest.
const BODY_KIB: Limit = Limit { key: "limits.body_kib", default: 16 * 1024, range: 1..=1024 * 1024 };

/// As [`BODY_KIB`].
const ANSWER_KIB: Limit = Limit { key: "limits.answer_kib", default: 16 * 1024, range: 1..=1024 * 1024 };

/// The largest body arrives in time at 4 Mbit/s; a client that needs longer for a head or for nothing at all is no use
/// to anybody.
const HTTP_MS: Limit = Limit { key: "limits.http_ms", default: 30_000, range: 1..=3_600_000 };

/// As DBOS. The count starts anew with each record, so a run meets it only where it makes no progress at all.
const ATTEMPTS: Limit = Limit { key: "limits.attempts", default: 100, range: 1..=1_000_000 };

/// A handler answers a client who waits, and clients and proxies rarely wait longer than a minute. Up to a day, for those
/// whose clients do.
const HANDLER_MS: Limit = Limit { key: "limits.handler_ms", default: 60_000, range: 1..=86_400_000 };

/// A transaction holds its locks while its body runs, and whoever needs them waits. A minute is long for that already;
/// a report that reads for an hour says so here.
const TRANSACTION_MS: Limit = Limit { key: "limits.transaction_ms", default: 60_000, range: 1..=86_400_000 };

/// Half of what a whole transaction has, so that a statement that hangs fails by itself, with its own error.
const STATEMENT_MS: Limit = Limit { key: "limits.statement_ms", default: 30_000, range: 1..=86_400_000 };

/// A replay reads all records of a run and runs past each: 50,000 take it less than a second, and no run that a person still
/// understands has more (Temporal ends a run at 51,200 events). A million would take a minute at each restart, and memory
/// accordingly.
const STEPS_PER_RUN: Limit = Limit { key: "limits.steps_per_run", default: 50_000, range: 1..=1_000_000 };

/// Steps that one run has started and that run at once: half of the slots for steps, so that a fan-out over thousands of items
/// leaves the other half to the other runs.
const STEPS_PER_RUN_AT_ONCE: Limit = Limit { key: "limits.steps_per_run_at_once", default: 32, range: 1..=4000 };

/// A busy app prints some hundred lines a second. 256 KiB are more than two thousand, and fill a disk of 100 GB in more
/// than four days, long after somebody has noticed.
const LOG_KIB_PER_SECOND: Limit = Limit { key: "limits.log_kib_per_second", default: 256, range: 1..=1_000_000 };

/// One writes as much as the disk takes, in fewer and larger commits than several (measured on two cores with 64 workflows
/// in flight: two wrote between two thirds and as much). Several help where a commit waits for a replica far away. Each is
/// a connection of the database, and a dozen commits under way fill any wait.
const JOURNAL_CONNECTIONS: Limit = Limit { key: "limits.journal_connections", default: 1, range: 1..=16 };

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
    /// Started runs that wait for their first instance.
    pub(crate) waiting: NonZeroU32,
    /// What clients of HTTP may make the host hold.
    pub(crate) http: HttpLimits,
    /// Attempts of a run without a new record before it is given up.
    pub(crate) attempts: NonZeroU32,
    /// How long a handler may take.
    pub(crate) handler: Duration,
    /// How long one run of a transaction's body may take.
    pub(crate) transaction: Duration,
    /// How long one statement of a transaction may take.
    pub(crate) statement: Duration,
    /// Recorded steps of a run.
    pub(crate) steps_per_run: NonZeroU32,
    /// Started steps of a run that may run at once.
    pub(crate) steps_per_run_at_once: NonZeroU32,
    /// How much an app may print.
    pub(crate) log_bytes_per_second: u64,
    /// Connections by which the journal writes.
    pub(crate) journal_connections: NonZeroU32,
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
            waiting: count(&WAITING),
            http: HttpLimits {
                requests: REQUESTS.default,
                connections: CONNECTIONS.default,
                body_kib: BODY_KIB.default,
                answer_kib: ANSWER_KIB.default,
                patience: Duration::from_millis(HTTP_MS.default.into()),
            },
            attempts: count(&ATTEMPTS),
            handler: Duration::from_millis(HANDLER_MS.default.into()),
            transaction: Duration::from_millis(TRANSACTION_MS.default.into()),
            statement: Duration::from_millis(STATEMENT_MS.default.into()),
            steps_per_run: count(&STEPS_PER_RUN),
            steps_per_run_at_once: count(&STEPS_PER_RUN_AT_ONCE),
            log_bytes_per_second: u64::from(LOG_KIB_PER_SECOND.default) * 1024,
            journal_connections: count(&JOURNAL_CONNECTIONS),
        }
    }
}

impl Limits {
    /// Every limit, for the reference of the keys.
    const ALL: [Limit; 19] = [
        PROCESSOR_MS,
        MEMORY_MIB,
        WORKFLOWS,
        STEPS,
        HANDLERS,
        WAITING,
        REQUESTS,
        CONNECTIONS,
        BODY_KIB,
        ANSWER_KIB,
        HTTP_MS,
        ATTEMPTS,
        HANDLER_MS,
        TRANSACTION_MS,
        STATEMENT_MS,
        STEPS_PER_RUN,
        STEPS_PER_RUN_AT_ONCE,
        LOG_KIB_PER_SECOND,
        JOURNAL_CONNECTIONS,
    ];

    /// The numbers that the limit of this key may have; `None`: the key is no limit.
    pub(super) fn range_of(path: &str) -> Option<String> {
        let limit = Self::ALL.into_iter().find(|limit| limit.key == path)?;
        Some(format!("{} to {}", limit.range.start(), limit.range.end()))
    }

    /// Reads the limits, with their defaults.
    pub(super) fn read(values: &Values<'_>) -> Result<Self, ConfigError> {
        let mebibyte = 1024 * 1024;
        Ok(Self {
            processor: Duration::from_millis(PROCESSOR_MS.read(values)?.get().into()),
            memory_bytes: u64::from(MEMORY_MIB.read(values)?.get()) * mebibyte,
            workflows: WORKFLOWS.read(values)?,
            steps: STEPS.read(values)?,
            handlers: HANDLERS.read(values)?,
            waiting: WAITING.read(values)?,
            http: HttpLimits {
                requests: REQUESTS.read(values)?.get(),
                connections: CONNECTIONS.read(values)?.get(),
                body_kib: BODY_KIB.read(values)?.get(),
                answer_kib: ANSWER_KIB.read(values)?.get(),
                patience: Duration::from_millis(HTTP_MS.read(values)?.get().into()),
            },
            attempts: ATTEMPTS.read(values)?,
            handler: Duration::from_millis(HANDLER_MS.read(values)?.get().into()),
            transaction: Duration::from_millis(TRANSACTION_MS.read(values)?.get().into()),
            statement: Duration::from_millis(STATEMENT_MS.read(values)?.get().into()),
            steps_per_run: STEPS_PER_RUN.read(values)?,
            steps_per_run_at_once: STEPS_PER_RUN_AT_ONCE.read(values)?,
            log_bytes_per_second: u64::from(LOG_KIB_PER_SECOND.read(values)?.get()) * 1024,
            journal_connections: JOURNAL_CONNECTIONS.read(values)?,
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
            let documented = keys::Place::Top.find(limit.key).expect("a limit is a key").default;
            assert_eq!(documented, limit.default.to_string(), "{}", limit.key);
        }
        let keys: Vec<_> = keys::KEYS.iter().filter(|key| key.path.starts_with("limits.")).collect();
        assert!(keys.iter().all(|key| key.range().is_some()), "a limit is missing in `ALL`: {keys:?}");
    }
}
