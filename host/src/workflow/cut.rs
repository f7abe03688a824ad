//! Where a run is cut, to be done again from there: by a fork under another id, by a rewind under its own.
//!
//! A person who has found the cause of a failure wants the run to go on from the step that failed, and seldom knows its
//! number. The records alone do not tell it: a failure that the workflow has dealt with stands among them too, and steps
//! that ran side by side have failed in any order. The error with which the run has ended tells more, since a failure that
//! nobody deals with comes out of the workflow as it went in.

use super::failure::Failure;
use super::id::StepNumber;
use super::time::EpochMs;

/// From where a run is to be done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// From this step: what is recorded of those before it is kept.
    Step(StepNumber),
    /// From the step that failed, see [`failed_step`].
    Failure,
}

/// How a step of a run went, as far as it matters for a cut.
#[derive(Debug, Clone, PartialEq)]
pub struct StepTrace {
    /// Its number.
    pub step: StepNumber,
    /// Its failure, if it failed.
    pub failure: Option<Failure>,
    /// When it began.
    pub started_at: EpochMs,
    /// When it ended.
    pub completed_at: EpochMs,
}

/// The step from which a run that has ended with `error` is to be done again, by its steps in the order of their numbers; the
/// first of them could have the number `begin`.
///
/// It is the last one that failed with this very error; without such a one, the last record, if that is a failure. Steps
/// that failed beside it, in the same time, are done again too, so it is the first of those. A step that has no record,
/// though later ones have, was cut off: if it comes before, it is the one. Of a run whose steps all went well, everything
/// is kept: it goes on behind its last record.
#[must_use]
pub fn failed_step(begin: StepNumber, steps: &[StepTrace], error: Option<&Failure>) -> StepNumber {
    let is_it = |trace: &&StepTrace| {
        let both = trace.failure.as_ref().zip(error);
        both.is_some_and(|(step, run)| (&step.name, &step.message, &step.code) == (&run.name, &run.message, &run.code))
    };
    let last = || steps.last().filter(|trace| trace.failure.is_some());
    let gap = first_gap(begin, steps);
    let Some(failed) = steps.iter().rev().find(is_it).or_else(last) else { return gap };
    let mut first = failed;
    for earlier in steps.iter().rev().skip_while(|trace| trace.step >= failed.step) {
        let ran_beside = earlier.started_at < first.completed_at && first.started_at < earlier.completed_at;
        if earlier.failure.is_some() && ran_beside {
            first = earlier;
        }
    }
    first.step.min(gap)
}

/// The first number without a record.
fn first_gap(begin: StepNumber, steps: &[StepTrace]) -> StepNumber {
    let mut next = begin;
    for trace in steps {
        match next.next() {
            Some(after) if trace.step == next => next = after,
            _ => break,
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::Code;

    fn failure(text: &str) -> Failure {
        Failure::new("Error", Code("failed"), text)
    }

    /// Steps as `number, error or "", began, ended`.
    fn steps(of: &[(i32, &str, i64, i64)]) -> Vec<StepTrace> {
        let trace = |&(number, error, began, ended): &(i32, &str, i64, i64)| StepTrace {
            step: StepNumber::stored(number),
            failure: (!error.is_empty()).then(|| failure(error)),
            started_at: EpochMs(began),
            completed_at: EpochMs(ended),
        };
        of.iter().map(trace).collect()
    }

    fn cut(of: &[(i32, &str, i64, i64)], error: &str) -> i32 {
        failed_step(StepNumber::FIRST, &steps(of), (!error.is_empty()).then(|| failure(error)).as_ref()).get()
    }

    #[test]
    fn the_step_whose_error_came_out_is_the_one() {
        assert_eq!(cut(&[(1, "", 0, 1), (2, "boom", 1, 2)], "boom"), 2);
        // Something was cleared away after the failure.
        assert_eq!(cut(&[(1, "", 0, 1), (2, "boom", 1, 2), (3, "", 2, 3)], "boom"), 2);
        // The first failure was dealt with.
        assert_eq!(cut(&[(1, "boom", 0, 1), (2, "", 1, 2), (3, "boom", 2, 3)], "boom"), 3);
        // The workflow has made another error of it.
        assert_eq!(cut(&[(1, "", 0, 1), (2, "boom", 1, 2)], "could not pay"), 2);
    }

    #[test]
    fn a_run_whose_steps_all_went_well_goes_on_behind_them() {
        assert_eq!(cut(&[], "panicked"), 1);
        assert_eq!(cut(&[(1, "", 0, 1), (2, "", 1, 2)], "panicked"), 3);
        assert_eq!(cut(&[(1, "boom", 0, 1), (2, "", 1, 2)], ""), 3, "a failure that was dealt with is none of the run");
    }

    #[test]
    fn steps_that_failed_side_by_side_are_done_again_together() {
        let side_by_side = [(1, "", 0, 1), (2, "two", 1, 9), (3, "", 1, 2), (4, "four", 1, 5), (5, "", 1, 7)];
        assert_eq!(cut(&side_by_side, "two"), 2);
        assert_eq!(cut(&side_by_side, "four"), 2);
        // Two at a time: each overlaps with the next.
        assert_eq!(cut(&[(1, "x", 0, 2), (2, "x", 1, 4), (3, "x", 3, 6)], "x"), 1);
        // One after the other, however soon.
        assert_eq!(cut(&[(1, "x", 0, 2), (2, "x", 2, 4)], "x"), 2);
    }

    #[test]
    fn a_run_that_has_continued_is_done_again_from_there() {
        let begin = StepNumber::stored(8);
        assert_eq!(failed_step(begin, &[], None), begin);
        assert_eq!(failed_step(begin, &steps(&[(8, "", 0, 1), (9, "boom", 1, 2)]), None).get(), 9);
    }

    #[test]
    fn what_was_cut_off_is_done_again() {
        assert_eq!(cut(&[(1, "", 0, 1), (3, "", 1, 2)], ""), 2);
        assert_eq!(cut(&[(1, "", 0, 1), (3, "boom", 1, 2)], "boom"), 2);
        assert_eq!(cut(&[(1, "boom", 0, 9), (3, "boom", 1, 2)], "boom"), 1);
    }
}
