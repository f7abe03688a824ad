//! Durable waiting.

use std::time::Duration;

use crate::{Result, host};

/// Waits for at least this long. Available in workflows.
///
/// The wake time is recorded before the wait begins, so a crash does not start it anew: if it is over by then, the call
/// returns at once. A workflow that sleeps long costs no memory. Parts of a millisecond are rounded up.
pub fn sleep(duration: Duration) -> Result<()> {
    host::sleep(milliseconds(duration))
}

fn milliseconds(duration: Duration) -> u64 {
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
