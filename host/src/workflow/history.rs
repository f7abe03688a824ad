//! What a run has recorded, and the question that makes a replay exact: is this call the one that was recorded?
//!
//! There is no recovery mode. A run that starts has an empty history, a recovered one a longer one; both ask the same
//! question at each call. The answer is the record, nothing (the call is new), or a divergence.

use std::collections::VecDeque;
use std::fmt;

use serde_json::Value;

use super::code::Code;
use super::digest::OperationDigest;
use super::failure::Failure;
use super::id::{StepNumber, WorkflowId};
use super::time::EpochMs;

/// What kind of operation a step is. Part of its digest, so the texts never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// SQL and its record in one commit.
    Transaction,
    /// Talks to the outside.
    Communicator,
    /// Waits for a recorded time.
    Sleep,
    /// Starts another workflow.
    Start,
    /// Waits for another run's outcome.
    Outcome,
}

impl OperationKind {
    /// The kind as text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Communicator => "communicator",
            Self::Sleep => "sleep",
            Self::Start => "start",
            Self::Outcome => "outcome",
        }
    }
}

/// A call of the guest that is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// What it does.
    pub kind: OperationKind,
    /// The step's name, or DBOS's name of a built-in operation (`DBOS.sleep`).
    pub name: String,
    /// What it was called with.
    pub arguments: Value,
}

/// How a recorded operation ended.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordedResult {
    /// With this JSON text.
    Output(String),
    /// With this failure.
    Failed(Failure),
}

impl RecordedResult {
    /// The size of what the guest put into it.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        match self {
            Self::Output(json) => json.len(),
            Self::Failed(failure) => failure.message.len(),
        }
    }
}

/// A stored step.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its number in the run.
    pub step: StepNumber,
    /// `function_name`.
    pub name: String,
    /// The digest of the call; none for a record that another program wrote or copied.
    pub digest: Option<OperationDigest>,
    /// How it ended.
    pub result: RecordedResult,
    /// The run that it started or waited for.
    pub child: Option<WorkflowId>,
    /// When it began.
    pub started_at: EpochMs,
    /// When it ended. For a sleep this is the wake time.
    pub completed_at: EpochMs,
}

impl Record {
    /// Of a sleep. It stands in the output, in seconds as DBOS writes it; `completed_at` has the same to the millisecond.
    #[must_use]
    pub fn wake_time(&self) -> EpochMs {
        match &self.result {
            RecordedResult::Output(json) => EpochMs::from_seconds_json(json).unwrap_or(self.completed_at),
            RecordedResult::Failed(_) => self.completed_at,
        }
    }
}

/// The replayed code does something else than what is recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the replay diverged at step {step}: recorded is {recorded}, but the workflow {came}")]
pub struct Divergence {
    /// Where.
    pub step: StepNumber,
    recorded: String,
    came: String,
}

impl Divergence {
    /// The failure that the run is stopped with.
    #[must_use]
    pub fn to_failure(&self) -> Failure {
        Failure::new("Divergence", Code("divergence"), self.to_string())
    }
}

/// The records of one run (lifetime: one instance), and how far the guest has come in them.
#[derive(Debug)]
pub struct History {
    /// Those that the guest has not come to yet, in the order of their numbers, none of which is below `next`.
    left: VecDeque<Record>,
    next: StepNumber,
}

impl History {
    /// A history of these records, with the guest before its first call.
    #[must_use]
    pub fn new(records: impl IntoIterator<Item = Record>) -> Self {
        let mut left: Vec<Record> = records.into_iter().filter(|record| record.step >= StepNumber::FIRST).collect();
        left.sort_by_key(|record| record.step);
        Self { left: left.into(), next: StepNumber::FIRST }
    }

    /// The number that the next call gets.
    #[must_use]
    pub fn next_step(&self) -> StepNumber {
        self.next
    }

    /// True while a record at or after the next call exists: the guest repeats what it did before, so what it prints was
    /// printed already.
    #[must_use]
    pub fn is_replaying(&self) -> bool {
        !self.left.is_empty()
    }

    /// Takes the next number for a step whose arguments came as this text, if they are recorded as exactly this text. A
    /// replay asks for what it asked before, letter by letter, and the text that was recorded then needs no second look: it
    /// was checked, read and put in order before it got its digest. `None` says nothing; ask [`Self::take`].
    pub fn recall(&mut self, kind: OperationKind, name: &str, arguments: &str) -> Option<Record> {
        let record = self.left.front().filter(|record| record.step == self.next && record.name == name)?;
        if record.digest? != OperationDigest::of_text(kind, name, arguments) {
            return None;
        }
        self.next = self.next.next()?;
        self.left.pop_front()
    }

    /// Takes the next number for `operation` and answers with its record, if there is one.
    ///
    /// # Errors
    /// A [`Divergence`] when another operation is recorded under the number, or when nothing is but a later step is.
    pub fn take(&mut self, operation: &Operation) -> Result<(StepNumber, Option<Record>), Divergence> {
        let step = self.next;
        let diverged = |recorded: String| Divergence { step, recorded, came: format!("calls {}", Called(operation)) };
        if let Some(record) = self.left.front() {
            if record.step != step {
                return Err(diverged(format!("nothing here and `{}` at step {}", record.name, record.step)));
            }
            if record.name != operation.name {
                return Err(diverged(format!("`{}`", record.name)));
            }
            if record.digest.is_some_and(|digest| digest != OperationDigest::of(operation)) {
                return Err(diverged(format!(
                    "`{}` as another kind of operation or with other arguments",
                    record.name
                )));
            }
        }
        self.next = step.next().ok_or_else(|| diverged("the last possible step".into()))?;
        Ok((step, self.left.pop_front()))
    }

    /// The guest has returned: every record must have been asked for.
    ///
    /// # Errors
    /// A [`Divergence`] when a record is left.
    pub fn finish(&self) -> Result<(), Divergence> {
        match self.left.front() {
            None => Ok(()),
            Some(record) => Err(Divergence {
                step: record.step,
                recorded: format!("`{}`", record.name),
                came: "has returned already".into(),
            }),
        }
    }
}

/// Shows a call for people, its arguments cut at 200 characters.
struct Called<'a>(&'a Operation);

impl fmt::Display for Called<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments: String = self.0.arguments.to_string();
        let shown: String = arguments.chars().take(200).collect();
        let more = if shown.len() < arguments.len() { "…" } else { "" };
        write!(f, "{} `{}` with {shown}{more}", self.0.kind.as_str(), self.0.name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(name: &str, arguments: Value) -> Operation {
        Operation { kind: OperationKind::Transaction, name: name.into(), arguments }
    }

    fn record(step: i32, operation: &Operation) -> Record {
        Record {
            step: StepNumber::stored(step),
            name: operation.name.clone(),
            digest: Some(OperationDigest::of(operation)),
            result: RecordedResult::Output("1".into()),
            child: None,
            started_at: EpochMs(0),
            completed_at: EpochMs(1),
        }
    }

    #[test]
    fn calls_are_numbered_in_order_and_answered_from_the_records() {
        let first = call("a", json!({}));
        let mut history = History::new([record(1, &first)]);
        assert!(history.is_replaying());
        let (step, found) = history.take(&first).unwrap();
        assert_eq!((step.get(), found.is_some()), (1, true));
        assert!(!history.is_replaying());
        let (step, found) = history.take(&call("b", json!({}))).unwrap();
        assert_eq!((step.get(), found.is_none()), (2, true));
        assert_eq!(history.finish(), Ok(()));
    }

    #[test]
    fn another_name_or_other_arguments_are_a_divergence() {
        let recorded = call("pay", json!({"amount": 1}));
        let mut history = History::new([record(1, &recorded)]);
        let name = history.take(&call("refund", json!({"amount": 1}))).unwrap_err().to_string();
        assert_eq!(
            name,
            "the replay diverged at step 1: recorded is `pay`, but the workflow calls transaction `refund` with \
             {\"amount\":1}"
        );
        let arguments = history.take(&call("pay", json!({"amount": 2}))).unwrap_err().to_string();
        assert!(arguments.contains("with other arguments"), "{arguments}");
        assert!(history.take(&recorded).unwrap().1.is_some(), "a refused call takes no number");
    }

    #[test]
    fn a_step_is_recalled_by_the_very_text_of_its_arguments_and_nothing_else() {
        let recorded = call("pay", json!({"amount": 1, "to": "Mike"}));
        let text = r#"{"amount":1,"to":"Mike"}"#;
        let mut history = History::new([record(1, &recorded), record(2, &recorded)]);
        let transaction = OperationKind::Transaction;
        for (kind, name, arguments) in [
            (OperationKind::Communicator, "pay", text),
            (transaction, "refund", text),
            (transaction, "pay", r#"{"to":"Mike","amount":1}"#),
        ] {
            assert_eq!(history.recall(kind, name, arguments), None, "{name} {arguments}");
        }
        assert_eq!(history.recall(transaction, "pay", text).map(|record| record.step.get()), Some(1));
        assert_eq!(history.take(&recorded).unwrap().0.get(), 2, "what is not recalled took no number");
        assert_eq!(history.recall(transaction, "pay", text), None, "nothing is left");
        let mut gap = History::new([record(2, &recorded)]);
        assert_eq!(gap.recall(transaction, "pay", text), None);
        let mut foreign = record(1, &recorded);
        foreign.digest = None;
        assert_eq!(History::new([foreign]).recall(transaction, "pay", text), None);
    }

    #[test]
    fn without_a_digest_only_the_name_is_compared() {
        let mut foreign = record(1, &call("pay", json!({"amount": 1})));
        foreign.digest = None;
        let mut history = History::new([foreign]);
        assert!(history.take(&call("pay", json!({"amount": 2}))).unwrap().1.is_some());
    }

    #[test]
    fn a_gap_and_a_record_that_nobody_asked_for_are_divergences() {
        let operation = call("a", json!({}));
        let mut history = History::new([record(2, &operation)]);
        assert!(history.take(&operation).unwrap_err().to_string().contains("nothing here and `a` at step 2"));
        let left = History::new([record(1, &operation)]);
        assert!(left.finish().unwrap_err().to_string().contains("has returned already"));
    }
}
