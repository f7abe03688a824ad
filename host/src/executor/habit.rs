//! What workflows have done before: a guess at what they will do, and never more than that.
//!
//! Withholding a start, and showing a result ahead of its commit, pay only if the run is one transaction. Elsewhere they cost
//! a round trip. A workflow mostly does what it did last time, so the host remembers whether its last run was one. A wrong
//! guess costs time and nothing else.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::workflow::ComponentDigest;

/// Workflows that are remembered. Programs have tens of them, and a host has a few programs; when there are more, all are
/// forgotten, and learnt again by a run of each.
const MOST: usize = 10_000;

/// A run that takes longer is not withheld next time: nobody sees a run whose start is withheld, and an operator should not
/// have to wonder where it is for longer than this.
const LONGEST: Duration = Duration::from_secs(1);

/// The workflows of an app whose last run was one transaction (lifetime: the process).
#[derive(Debug, Default)]
pub(super) struct Habits(Mutex<HashSet<(ComponentDigest, String)>>);

impl Habits {
    /// True if the last run of a workflow was one transaction.
    pub(super) fn is_one_transaction(&self, digest: &ComponentDigest, workflow: &str) -> bool {
        let habits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The key is made for the look-up, which costs less than a map of sets does in the reading.
        habits.contains(&(digest.clone(), workflow.to_owned()))
    }

    /// A run of a workflow has ended after `time` in this process.
    pub(super) fn note(&self, digest: &ComponentDigest, workflow: &str, (was_one, time): (bool, Duration)) {
        let mut habits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (digest.clone(), workflow.to_owned());
        if !was_one || time > LONGEST {
            habits.remove(&key);
            return;
        }
        if habits.len() >= MOST {
            habits.clear();
        }
        habits.insert(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_run_counts() {
        let (habits, digest) = (Habits::default(), ComponentDigest::of(b""));
        let is_one = |workflow| habits.is_one_transaction(&digest, workflow);
        let quick = Duration::from_millis(1);
        assert!(!is_one("pay"));
        habits.note(&digest, "pay", (true, quick));
        assert!(is_one("pay") && !is_one("ship"));
        assert!(!habits.is_one_transaction(&ComponentDigest::of(b"other"), "pay"));
        habits.note(&digest, "pay", (false, quick));
        assert!(!is_one("pay"));
        habits.note(&digest, "pay", (true, quick));
        habits.note(&digest, "pay", (true, 2 * LONGEST));
        assert!(!is_one("pay"));
    }

    #[test]
    fn memory_is_bounded() {
        let (habits, digest) = (Habits::default(), ComponentDigest::of(b""));
        for n in 0..3 * MOST {
            habits.note(&digest, &n.to_string(), (true, Duration::ZERO));
            assert!(habits.0.lock().unwrap().len() <= MOST);
        }
    }
}
