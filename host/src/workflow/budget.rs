//! How much one run may record.
//!
//! A replay holds the whole history, so a run that records without end would one day not fit into its host, on every host
//! that takes it up. Such a run must be stopped while it can still be told why; and in the same place in each replay, so
//! the count depends on nothing but the records.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::code::Code;
use super::failure::Failure;
use super::history::{Beginning, Record, RecordedResult};
use super::id::StepNumber;

/// The results in a run's history, in bytes of JSON: four of the largest. As many runs are replayed at once as there are
/// slots, so that even then a host holds four gibibytes, and only if every run of it is that large.
const MAX_HISTORY_BYTES: usize = 64 * 1024 * 1024;

/// What a run may still record (lifetime: one instance, and the steps that it has started). Clones share the count: results
/// of steps that run side by side are counted when they end, so where a run with such steps is stopped for its bytes may
/// differ from one replay to the next. It is stopped without an outcome, so nothing depends on that.
#[derive(Debug, Clone)]
pub struct Budget {
    max_steps: u32,
    /// Numbers that were used up before the history begins.
    before: i32,
    bytes: Arc<AtomicUsize>,
}

impl Budget {
    /// What is left of a run with these records.
    #[must_use]
    pub fn of(max_steps: u32, records: &[Record]) -> Self {
        let bytes = records.iter().map(|record| size(&record.result)).sum();
        let before = Beginning::of(records).numbers_before();
        Self { max_steps, before, bytes: Arc::new(AtomicUsize::new(bytes)) }
    }

    /// A step was recorded.
    pub fn recorded(&self, result: &RecordedResult) {
        // Sixteen million terabytes would have to pass through it to overflow.
        self.bytes.fetch_add(size(result), Ordering::Relaxed);
    }

    /// Whether the run may record a step with this number.
    ///
    /// # Errors
    /// The failure that ends the run.
    pub fn check(&self, step: StepNumber) -> Result<(), Failure> {
        const HINT: &str =
            "hint: split the work into child workflows, each with a history of its own, or let it continue as new";
        if u32::try_from(step.get().saturating_sub(self.before)).unwrap_or(u32::MAX) > self.max_steps {
            let text = format!("the workflow needs more steps than the limit of {}\n  {HINT}", self.max_steps);
            return Err(Failure::new("Limit", Code("too_many_steps"), text).not_retryable());
        }
        if self.bytes.load(Ordering::Relaxed) > MAX_HISTORY_BYTES {
            let text = format!(
                "the results of the workflow's steps are larger than the limit of {MAX_HISTORY_BYTES} bytes in all\n  {HINT}"
            );
            return Err(Failure::new("Limit", Code("history_too_large"), text).not_retryable());
        }
        Ok(())
    }
}

fn size(result: &RecordedResult) -> usize {
    match result {
        RecordedResult::Output(json) => json.len(),
        RecordedResult::Failed(failure) => failure.to_stored().len(),
        RecordedResult::Nothing => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::time::EpochMs;
    use super::*;

    fn code(checked: Result<(), Failure>) -> Option<serde_json::Value> {
        checked.err().and_then(|failure| failure.code)
    }

    #[test]
    fn steps_are_counted_from_one() {
        let budget = Budget::of(2, &[]);
        let second = StepNumber::FIRST.next().expect("there is a second");
        assert_eq!(code(budget.check(second)), None);
        assert_eq!(code(budget.check(second.next().expect("there is a third"))), Some("too_many_steps".into()));
    }

    #[test]
    fn results_count_whether_they_are_loaded_or_new() {
        let half = RecordedResult::Output("x".repeat(MAX_HISTORY_BYTES / 2 + 1));
        let at = EpochMs(0);
        let record = Record {
            step: StepNumber::FIRST,
            name: "large".into(),
            digest: None,
            result: half.clone(),
            child: None,
            started_at: at,
            completed_at: at,
        };
        let budget = Budget::of(10, &[record]);
        assert_eq!(code(budget.check(StepNumber::FIRST)), None);
        budget.recorded(&half);
        assert_eq!(code(budget.check(StepNumber::FIRST)), Some("history_too_large".into()));
    }
}
