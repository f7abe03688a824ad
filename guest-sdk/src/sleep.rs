//! Durable waiting.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Result, host};

/// Waits for at least this long. Available in workflows.
///
/// The wake time is recorded before the wait begins, so a crash does not start it anew: if it is over by then, the call
/// returns at once. A workflow that sleeps long costs no memory. Parts of a millisecond are rounded up.
pub fn sleep(duration: Duration) -> Result<()> {
    host::sleep(milliseconds(duration))
}

/// Waits until this time. Available in workflows.
///
/// It is recorded and waited for as [`sleep`] is: a crash changes nothing of it, and a long wait costs no memory. When it
/// returns, [`now`](crate::now) is this time or later. If the time is over already, the call returns at once.
///
/// A workflow that does something at fixed times counts from its own time, and does not drift by what its steps take:
///
/// ```no_run
/// # use dbos_guest::{Result, now, sleep_until};
/// # use std::time::Duration;
/// # fn report() -> Result<()> { Ok(()) }
/// # fn daily() -> Result<()> {
/// let mut next = now();
/// for _ in 0..30 {
///     next += Duration::from_secs(24 * 60 * 60);
///     sleep_until(next)?;
///     report()?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `sleep_too_long`, without a record: the time is more than a hundred years away.
pub fn sleep_until(time: SystemTime) -> Result<()> {
    // What is before 1970 is over, as 1970 is.
    host::sleep_until(milliseconds(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Duration, milliseconds};

    #[test]
    fn never_shorter_than_asked_for() {
        assert_eq!(milliseconds(Duration::from_secs(1)), 1_000);
        assert_eq!(milliseconds(Duration::from_micros(1)), 1);
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::MAX), u64::MAX);
    }
}
