//! How fast an app may print.
//!
//! A guest in a loop prints faster than any disk takes it, and what reads the host's log (a journal, a collector) drops
//! the lines of everybody when one is too fast. So each app has a budget that refills with time; what goes beyond it is
//! dropped, and the log says how many lines those were. Errors and warnings are no exception: a loop can print those.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much can be printed at once after a quiet while: what ten seconds bring in. A panic with its trace, or the start of
/// an app, is a burst that nobody wants to miss.
const BURST: Duration = Duration::from_secs(10);

/// How often the log says that lines were dropped, at the most.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// What a line costs beside its text: the time, the app and the run that the host prints with it.
const LINE: u64 = 100;

/// The budget of an app (lifetime: the process).
#[derive(Debug)]
pub struct LogBudget {
    bytes_per_second: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    left: u64,
    filled_at: Instant,
    dropped: u64,
    told_at: Option<Instant>,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is printed.
    Print,
    /// It is printed, and before it that this many were dropped.
    PrintBehind(u64),
    /// It is dropped, silently.
    Drop,
}

impl LogBudget {
    /// A full budget.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        let left = bytes_per_second.saturating_mul(BURST.as_secs());
        let state = State { left, filled_at: Instant::now(), dropped: 0, told_at: None };
        Self { bytes_per_second, state: Mutex::new(state) }
    }

    /// Decides about a line of this length.
    pub(super) fn spend(&self, length: usize) -> Verdict {
        self.spend_at(length, Instant::now())
    }

    fn spend_at(&self, length: usize, now: Instant) -> Verdict {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(state.filled_at).min(BURST);
        let refill = u128::from(self.bytes_per_second) * passed.as_millis() / 1000;
        // Not for each line: milliseconds that are too short for a byte must add up.
        if refill > 0 {
            let most = self.bytes_per_second.saturating_mul(BURST.as_secs());
            state.left = state.left.saturating_add(u64::try_from(refill).unwrap_or(u64::MAX)).min(most);
            state.filled_at = now;
        }
        let cost = LINE.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        match state.left.checked_sub(cost) {
            None => {
                state.dropped += 1;
                Verdict::Drop
            }
            Some(left) => {
                state.left = left;
                if state.dropped > 0 && state.may_tell(now) {
                    return Verdict::PrintBehind(std::mem::take(&mut state.dropped));
                }
                Verdict::Print
            }
        }
    }

    /// How many lines were dropped and not told of, if it is time to tell: asked when an instance ends, since there may be
    /// no further line.
    pub(super) fn untold(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.dropped > 0 && state.may_tell(Instant::now())).then(|| std::mem::take(&mut state.dropped))
    }

    /// The limit, for the line that tells of it.
    pub(super) fn kib_per_second(&self) -> u64 {
        self.bytes_per_second / 1024
    }
}

impl State {
    fn may_tell(&mut self, now: Instant) -> bool {
        let may = self.told_at.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_EVERY);
        if may {
            self.told_at = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_dropped_and_told_and_time_brings_more() {
        let budget = LogBudget::new(1000);
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        // Ten seconds' worth, a hundred bytes a line.
        for line in 0..100 {
            assert_eq!(budget.spend_at(0, start), Verdict::Print, "{line}");
        }
        for _ in 0..7 {
            assert_eq!(budget.spend_at(0, start), Verdict::Drop);
        }
        assert_eq!(budget.spend_at(0, after(50)), Verdict::Drop, "half a line has come in");
        assert_eq!(budget.spend_at(0, after(110)), Verdict::PrintBehind(8));
        assert_eq!(budget.spend_at(0, after(120)), Verdict::Drop);
        assert_eq!(budget.spend_at(0, after(300)), Verdict::Print, "it was told less than a second ago");
        assert_eq!(budget.spend_at(0, after(1300)), Verdict::PrintBehind(1));
        for line in 0..100 {
            assert_eq!(budget.spend_at(0, after(60_000)), Verdict::Print, "{line}");
        }
        assert_eq!(
            budget.spend_at(0, after(60_000)),
            Verdict::Drop,
            "a quiet minute is no larger burst than ten seconds"
        );
    }
}
