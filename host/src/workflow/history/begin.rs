//! Where a run's history begins.
//!
//! A run that goes on for years would have a history that no replay gets through. So it may continue with other arguments:
//! what it has recorded is removed, and a mark takes its place. The numbers go on behind the mark, because names are made of
//! them (children, idempotency keys) that must not come again; and the mark keeps the little that a run must know of itself
//! from before.

use serde::{Deserialize, Serialize};

use super::{Record, RecordedResult};
use crate::workflow::id::StepNumber;
use crate::workflow::time::EpochMs;

/// `function_name` of the mark. No step can have it, since names have no colon.
pub const CONTINUED: &str = "dbos-host:continued";

/// Where a history begins.
#[derive(Debug, Clone, Default)]
pub struct Beginning {
    /// The number of the mark; none at the start of a run.
    mark: Option<(StepNumber, EpochMs)>,
    /// The streams that the run has closed before.
    pub closed: Vec<String>,
}

/// What a mark keeps, as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    #[serde(default)]
    closed: Vec<String>,
}

impl Beginning {
    /// Where the history with these records begins: behind the last mark.
    #[must_use]
    pub fn of(records: &[Record]) -> Self {
        let marks = records.iter().filter(|record| record.name == CONTINUED);
        let Some(mark) = marks.max_by_key(|record| record.step) else { return Self::default() };
        let kept = match &mark.result {
            RecordedResult::Output(json) => serde_json::from_str(json).unwrap_or_default(),
            RecordedResult::Failed(_) | RecordedResult::Nothing => Kept::default(),
        };
        Self { mark: Some((mark.step, mark.completed_at)), closed: kept.closed }
    }

    /// The number of the mark, or 0: as many numbers are used up before the first call.
    #[must_use]
    pub fn numbers_before(&self) -> i32 {
        self.mark.map_or(0, |(step, _)| step.get())
    }

    /// When it began, if that was not the start of the run.
    #[must_use]
    pub fn since(&self) -> Option<EpochMs> {
        self.mark.map(|(_, at)| at)
    }

    /// What a mark has to keep of a run that has closed these streams.
    #[must_use]
    pub fn keeping(closed: Vec<String>) -> String {
        serde_json::to_string(&Kept { closed }).expect("texts can be written as JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(step: i32, name: &str, result: RecordedResult) -> Record {
        let (started_at, completed_at) = (EpochMs(1), EpochMs(i64::from(step) * 10));
        Record {
            step: StepNumber::stored(step),
            name: name.into(),
            digest: None,
            result,
            child: None,
            started_at,
            completed_at,
        }
    }

    #[test]
    fn a_history_begins_behind_the_last_mark() {
        let start = Beginning::of(&[record(1, "pay", RecordedResult::Nothing)]);
        assert_eq!((start.numbers_before(), start.since()), (0, None));
        let kept = RecordedResult::Output(Beginning::keeping(vec!["s".into()]));
        let records = [
            record(3, "a zombie's", RecordedResult::Nothing),
            record(7, CONTINUED, kept),
            record(8, "pay", RecordedResult::Nothing),
        ];
        let begins = Beginning::of(&records);
        assert_eq!((begins.numbers_before(), begins.since(), begins.closed), (7, Some(EpochMs(70)), vec!["s".into()]));
        let foreign = Beginning::of(&[record(2, CONTINUED, RecordedResult::Output("1".into()))]);
        assert_eq!((foreign.numbers_before(), foreign.closed.len()), (2, 0));
    }
}
