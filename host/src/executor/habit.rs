//! What workflows have done before: a guess at what they will do, and never more than that.
//!
//! Two ways to save a commit pay only if the next step is a transaction and the run's last one: withholding the start, and
//! showing a result ahead of its commit. Elsewhere they cost a round trip. A workflow mostly does what it did last time, so
//! the host remembers how its last run ended. A wrong guess costs time and nothing else.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::workflow::{ComponentDigest, StepNumber};

/// Workflows that are remembered. Programs have tens of them, and a host has a few programs; when there are more, all are
/// forgotten, and learnt again by a run of each.
const MOST: usize = 10_000;

/// A run that takes longer is not withheld next time: nobody sees a run whose start is withheld, and an operator should not
/// have to wonder where it is for longer than this.
const LONGEST: Duration = Duration::from_secs(1);

/// The habits of an app's workflows (lifetime: the process).
#[derive(Debug, Default)]
pub(super) struct Habits(Mutex<HashMap<(ComponentDigest, String), StepNumber>>);

impl Habits {
    /// The number of the transaction that the last run of a workflow ended with, if it did.
    pub(super) fn last_transaction(&self, digest: &ComponentDigest, workflow: &str) -> Option<StepNumber> {
        let habits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The key is made for the look-up, which costs less than a map of maps does in the reading.
        habits.get(&(digest.clone(), workflow.to_owned())).copied()
    }

    /// A run has ended after `time` in this process, its last step being the transaction `last`, or something else.
    pub(super) fn note(&self, digest: &ComponentDigest, workflow: &str, (last, time): (Option<StepNumber>, Duration)) {
        let mut habits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (digest.clone(), workflow.to_owned());
        match last.filter(|_| time <= LONGEST) {
            None => drop(habits.remove(&key)),
            Some(last) => {
                if habits.len() >= MOST {
                    habits.clear();
                }
                habits.insert(key, last);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_run_counts() {
        let (habits, digest) = (Habits::default(), ComponentDigest::of(b""));
        let quick = Duration::from_millis(1);
        assert_eq!(habits.last_transaction(&digest, "pay"), None);
        habits.note(&digest, "pay", (Some(StepNumber::stored(1)), quick));
        assert_eq!(habits.last_transaction(&digest, "pay"), Some(StepNumber::stored(1)));
        assert_eq!(habits.last_transaction(&digest, "ship"), None);
        assert_eq!(habits.last_transaction(&ComponentDigest::of(b"other"), "pay"), None);
        habits.note(&digest, "pay", (Some(StepNumber::stored(2)), quick));
        assert_eq!(habits.last_transaction(&digest, "pay"), Some(StepNumber::stored(2)));
        habits.note(&digest, "pay", (Some(StepNumber::stored(2)), 2 * LONGEST));
        assert_eq!(habits.last_transaction(&digest, "pay"), None);
    }

    #[test]
    fn memory_is_bounded() {
        let (habits, digest) = (Habits::default(), ComponentDigest::of(b""));
        for n in 0..3 * MOST {
            habits.note(&digest, &n.to_string(), (Some(StepNumber::stored(1)), Duration::ZERO));
            assert!(habits.0.lock().unwrap().len() <= MOST);
        }
    }
}
