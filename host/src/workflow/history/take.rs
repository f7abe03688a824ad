//! How far a guest has come in its run's records, and what its next call finds there.
//!
//! Nearly every call finds the record of its own number or is the first one without, and a number that is missing before
//! others means that the code has changed. Two kinds of calls leave a gap all the same, and no other does:
//!
//! * a *started* step runs beside what comes after it, so its record may be missing while later ones are there. Until the
//!   history has nothing more to say, such a step is held: whether it is to run at all may stand in what follows, and
//!   nothing is to begin before the replay has shown that it is exact.
//! * a *pair*, a wait with a deadline, takes two numbers. Its answer has the first, its deadline the second, and the
//!   deadline is written first: it must survive a crash in the middle of the wait.
//!
//! Wherever the guest comes to what the records do not answer, all of them must have been asked for ([`History::leave`]):
//! what stands behind an unanswered wait was recorded by other code than this.

use std::collections::VecDeque;
use std::fmt;

use super::{Beginning, Divergence, Operation, OperationKind, Record, SLEEP};
use crate::workflow::digest::OperationDigest;
use crate::workflow::id::StepNumber;
use crate::workflow::taken::LastTaken;
use crate::workflow::time::EpochMs;

/// What is recorded of a wait with a deadline.
#[derive(Debug, Clone, PartialEq)]
pub enum Pair {
    /// Its answer.
    Answered(Record),
    /// It began, and goes on until then at most.
    Waiting {
        /// What was recorded as its end.
        deadline: EpochMs,
    },
    /// Nothing: it has not begun.
    New,
}

/// What is recorded of a step that runs beside the workflow.
#[derive(Debug, Clone, PartialEq)]
pub enum Started {
    /// How it ended.
    Recorded(Record),
    /// Nothing, but later calls are: it must not begin before [`History::leave`].
    Held,
    /// Nothing, and the history has nothing more to say.
    New,
}

/// What stands in the place of the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<'a> {
    /// The record of this name.
    Recorded(&'a str),
    /// A gap: what was called here has no record, and later calls have.
    Gap,
    /// Nothing, and nothing behind it.
    Nothing,
}

/// The records of one run (lifetime: one instance), and how far the guest has come in them.
#[derive(Debug)]
pub struct History {
    /// Those that the guest has not come to yet, in the order of their numbers, none of which is below `next`.
    left: VecDeque<Record>,
    pub(super) next: StepNumber,
    taken: LastTaken,
}

impl History {
    /// A history of these records, with the guest before its first call.
    #[must_use]
    pub fn new(records: impl IntoIterator<Item = Record>) -> Self {
        let mut left: Vec<Record> = records.into_iter().collect();
        left.sort_by_key(|record| record.step);
        let before = Beginning::of(&left).numbers_before();
        left.retain(|record| record.step.get() > before);
        let mut history = Self { left: left.into(), next: StepNumber::FIRST, taken: LastTaken::default() };
        history.move_to(StepNumber::stored(before.saturating_add(1)));
        history
    }

    /// The number that the next call gets.
    #[must_use]
    pub fn next_step(&self) -> StepNumber {
        self.next
    }

    /// A handle that tells how far the guest has come.
    #[must_use]
    pub fn taken(&self) -> LastTaken {
        self.taken.clone()
    }

    /// True while a record at or after the next call exists: the guest repeats what it did before, so what it prints was
    /// printed already.
    #[must_use]
    pub fn is_replaying(&self) -> bool {
        !self.left.is_empty()
    }

    /// Looks at the place of the next call and takes nothing.
    #[must_use]
    pub fn peek(&self) -> Next<'_> {
        match self.left.front() {
            None => Next::Nothing,
            Some(record) if record.step == self.next => Next::Recorded(&record.name),
            Some(_) => Next::Gap,
        }
    }

    /// Takes the next number for a step whose arguments came as this text, if they are recorded as exactly this text. A
    /// replay asks for what it asked before, letter by letter, and the text that was recorded then needs no second look: it
    /// was checked, read and put in order before it got its digest. `None` says nothing; ask [`Self::take`].
    pub fn recall(&mut self, kind: OperationKind, name: &str, arguments: &str) -> Option<Record> {
        let record = self.left.front().filter(|record| record.step == self.next && record.name == name)?;
        if record.digest? != OperationDigest::of_text(kind, name, arguments) {
            return None;
        }
        self.move_to(self.next.next()?);
        self.left.pop_front()
    }

    /// Takes the next number for `operation` and answers with its record, if there is one.
    ///
    /// # Errors
    /// A [`Divergence`] when another operation is recorded under the number, or when nothing is but a later step is.
    pub fn take(&mut self, operation: &Operation) -> Result<(StepNumber, Option<Record>), Divergence> {
        if let Some(record) = self.left.front() {
            if record.step != self.next {
                return Err(self.gap(operation, record));
            }
            self.compare(operation, record)?;
        }
        let step = self.advance(operation)?;
        Ok((step, self.left.pop_front()))
    }

    /// Takes the next number for a step that runs beside the workflow.
    ///
    /// # Errors
    /// A [`Divergence`] when another operation is recorded under the number.
    pub fn take_started(&mut self, operation: &Operation) -> Result<(StepNumber, Started), Divergence> {
        let is_answered = match self.left.front() {
            Some(record) if record.step == self.next => self.compare(operation, record).map(|()| true)?,
            _ => false,
        };
        let step = self.advance(operation)?;
        let started = match self.left.pop_front_if(|_| is_answered) {
            Some(record) => Started::Recorded(record),
            None if self.left.is_empty() => Started::New,
            None => Started::Held,
        };
        Ok((step, started))
    }

    /// Takes the next two numbers for a wait with a deadline, and returns the first.
    ///
    /// # Errors
    /// A [`Divergence`] when another operation is recorded under one of the numbers, and when anything is recorded behind a
    /// wait that has no answer. An answer may lack its deadline: a fork or a rewind can be cut there.
    pub fn take_pair(&mut self, operation: &Operation) -> Result<(StepNumber, Pair), Divergence> {
        let first = self.next;
        let numbers = first.next().and_then(|second| Some((second, second.next()?)));
        let (second, after) = numbers.ok_or_else(|| self.last_step(operation))?;
        let is_deadline = |record: &Record| record.step == second && record.name == SLEEP && record.digest.is_none();
        let deadline = match (self.left.front(), self.left.get(1)) {
            (None, _) => None,
            (Some(answer), behind) if answer.step == first => {
                self.compare(operation, answer)?;
                if let Some(other) = behind.filter(|record| record.step == second && !is_deadline(record)) {
                    let recorded = format!("an answer without a deadline, and `{}` at step {}", other.name, other.step);
                    return Err(self.diverged(operation, recorded));
                }
                None
            }
            (Some(deadline), None) if is_deadline(deadline) => Some(deadline.wake_time()),
            (Some(deadline), Some(later)) if is_deadline(deadline) => return Err(self.gap(operation, later)),
            (Some(later), _) => return Err(self.gap(operation, later)),
        };
        self.move_to(after);
        let answer = self.left.pop_front_if(|record| record.step == first);
        self.left.pop_front_if(|record| record.step == second);
        let pair = match (answer, deadline) {
            (Some(record), _) => Pair::Answered(record),
            (None, Some(deadline)) => Pair::Waiting { deadline },
            (None, None) => Pair::New,
        };
        Ok((first, pair))
    }

    /// The guest comes to what no record answers: from here on things may have an effect. Every record must have been
    /// asked for.
    ///
    /// # Errors
    /// A [`Divergence`] when a record is left.
    pub fn leave(&self) -> Result<(), Divergence> {
        self.nothing_left("waits for what is not recorded")
    }

    /// The guest has returned: every record must have been asked for.
    ///
    /// # Errors
    /// A [`Divergence`] when a record is left.
    pub fn finish(&self) -> Result<(), Divergence> {
        self.nothing_left("has returned already")
    }

    fn nothing_left(&self, came: &str) -> Result<(), Divergence> {
        self.left.front().map_or(Ok(()), |record| {
            Err(Divergence { step: record.step, recorded: format!("`{}`", record.name), came: came.into() })
        })
    }

    fn advance(&mut self, operation: &Operation) -> Result<StepNumber, Divergence> {
        let step = self.next;
        self.move_to(step.next().ok_or_else(|| self.last_step(operation))?);
        Ok(step)
    }

    fn move_to(&mut self, next: StepNumber) {
        self.next = next;
        self.taken.before(next);
    }

    fn last_step(&self, operation: &Operation) -> Divergence {
        self.diverged(operation, "the last possible step".into())
    }

    /// Whether the record of this number is the operation's.
    fn compare(&self, operation: &Operation, record: &Record) -> Result<(), Divergence> {
        if record.name != operation.name {
            return Err(self.diverged(operation, format!("`{}`", record.name)));
        }
        if record.digest.is_some_and(|digest| digest != OperationDigest::of(operation)) {
            let recorded = format!("`{}` as another kind of operation or with other arguments", record.name);
            return Err(self.diverged(operation, recorded));
        }
        Ok(())
    }

    fn gap(&self, operation: &Operation, later: &Record) -> Divergence {
        self.diverged(operation, format!("nothing here and `{}` at step {}", later.name, later.step))
    }

    fn diverged(&self, operation: &Operation, recorded: String) -> Divergence {
        Divergence { step: self.next, recorded, came: format!("calls {}", Called(operation)) }
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
