//! Waits with a deadline, which take two numbers: the answer has the first, the deadline the second.
//!
//! The deadline is on the disk before the wait begins, so that a crash does not start it anew; the answer is written behind
//! it when it has come. That none came until then is an answer too: a replay must hear the same, whatever came later.

use futures_util::future::BoxFuture;

use super::Gate;
use crate::calls::interrupt::{Interrupt, WaitFor};
use crate::calls::listening::Listening;
use crate::failpoint;
use crate::workflow::{
    A_HUNDRED_YEARS_MS, Code, EpochMs, Failure, Operation, OperationDigest, Pair, RecordedResult, SLEEP, Signal,
    StepNumber, WorkflowId,
};

/// The longest wait.
const MAX_WAIT_MS: u64 = A_HUNDRED_YEARS_MS;

/// A wait that has no answer yet.
pub(super) struct Waiting {
    pub(super) number: StepNumber,
    second: StepNumber,
    pub(super) deadline: EpochMs,
    /// The deadline is recorded. It is the first thing that is.
    pub(super) is_recorded: bool,
}

/// What is known of a wait before anything is looked at.
pub(super) enum Begun {
    /// It is over, with this.
    Answered(RecordedResult),
    /// It goes on.
    Waiting(Waiting),
}

impl Gate {
    /// Takes the two numbers of a wait. Without an answer, the history has nothing more to say when this returns.
    pub(super) fn take_wait(&mut self, operation: &Operation) -> Result<(StepNumber, StepNumber, Pair), Interrupt> {
        let (number, pair) = self.history.take_pair(operation)?;
        self.log.replaying(self.history.is_replaying());
        let second = number.next().expect("the history has given out two numbers");
        if !matches!(pair, Pair::Answered(_)) {
            self.leave()?;
            self.budget.check(second).map_err(Interrupt::Exhausted)?;
        }
        Ok((number, second, pair))
    }

    /// Begins a wait. One that is new goes on for as long as `milliseconds` from now.
    pub(super) async fn begin_wait(&mut self, operation: &Operation, milliseconds: u64) -> Result<Begun, Interrupt> {
        let (number, second, pair) = self.take_wait(operation)?;
        let deadline = match pair {
            Pair::Answered(record) => {
                self.time.deliver(record.completed_at);
                return Ok(Begun::Answered(record.result));
            }
            Pair::Waiting { deadline } => Some(deadline),
            Pair::New => None,
        };
        self.before_step().await?;
        let is_recorded = deadline.is_some();
        let deadline = deadline.unwrap_or_else(|| self.services.clock().now().after_ms(milliseconds));
        Ok(Begun::Waiting(Waiting { number, second, deadline, is_recorded }))
    }

    /// Sends a deadline on its way. One behind an answer has no digest: it is a part of the call before it.
    pub(super) async fn append_deadline(
        &mut self,
        number: StepNumber,
        digest: Option<OperationDigest>,
        deadline: EpochMs,
    ) -> Result<(), Interrupt> {
        let output = RecordedResult::Output(deadline.to_seconds_json());
        // It ends when it is written: a run is taken for a sleeper until the end of its last record, and this one waits for
        // more than its deadline.
        let record = self.new_record(number, (SLEEP, digest), output);
        self.record(record).await
    }

    /// Sends the deadline of a wait on its way, if it is not recorded.
    async fn deadline_first(&mut self, waiting: &mut Waiting) -> Result<(), Interrupt> {
        if !std::mem::replace(&mut waiting.is_recorded, true) {
            self.append_deadline(waiting.second, None, waiting.deadline).await?;
        }
        Ok(())
    }

    /// Waits for what `look` finds, for so long at most, and records it behind the deadline. That nothing came is told, and
    /// recorded, as [`RecordedResult::Nothing`]. `child`: the run whose end is waited for, if it is that.
    pub(super) async fn look_for<'a>(
        &mut self,
        operation: &Operation,
        (milliseconds, signal, child): (u64, Signal, Option<WorkflowId>),
        look: impl Fn() -> BoxFuture<'a, Option<RecordedResult>>,
    ) -> Result<RecordedResult, Interrupt> {
        let started_at = self.services.clock().now();
        let mut waiting = match self.begin_wait(operation, milliseconds).await? {
            Begun::Answered(result) => return Ok(result),
            Begun::Waiting(waiting) => waiting,
        };
        // Whoever looks must find what this run has done before: its own event, or that of somebody whom it has told.
        self.settle_beside().await?;
        let result = loop {
            let listening = self.services.listen(std::slice::from_ref(&signal));
            // Whether the time is over is asked before the look: what was there in time is found.
            let is_over = self.services.clock().now() >= waiting.deadline;
            match look().await {
                Some(found) => break found,
                None if is_over => break RecordedResult::Nothing,
                None => self.wait_for(&mut waiting, &signal, &listening).await?,
            }
        };
        self.deadline_first(&mut waiting).await?;
        let mut record = self.record_of(waiting.number, operation, result.clone());
        (record.started_at, record.child) = (started_at, child);
        if result == RecordedResult::Nothing {
            // A wait in vain is over at its deadline, however late that was noticed.
            record.completed_at = waiting.deadline;
        }
        self.conclude(record).await?;
        Ok(result)
    }

    /// Waits until it is worth looking again, or the deadline has come. Whoever calls this listens and has looked.
    pub(super) async fn wait_for(
        &mut self,
        waiting: &mut Waiting,
        signal: &Signal,
        listening: &Listening,
    ) -> Result<(), Interrupt> {
        self.deadline_first(waiting).await?;
        // It must be durable before the wait begins: a crash must not start that anew.
        self.settle_beside().await?;
        failpoint::hit("pair.before_wait").await;
        let wait = WaitFor { until: Some(waiting.deadline), signals: Box::new([signal.clone()]) };
        self.wait(wait, listening).await
    }
}

/// What is refused in each replay alike, and takes no number.
pub(super) fn check_wait(milliseconds: u64) -> Result<(), Failure> {
    if milliseconds <= MAX_WAIT_MS {
        return Ok(());
    }
    let text = format!("a wait of {milliseconds} ms is longer than the limit of {MAX_WAIT_MS} ms");
    Err(Failure::new("Error", Code("wait_too_long"), text).not_retryable())
}

/// An answer as the guest gets it.
pub(in crate::calls) fn optional(result: RecordedResult) -> Result<Option<String>, Failure> {
    match result {
        RecordedResult::Output(json) => Ok(Some(json)),
        RecordedResult::Nothing => Ok(None),
        RecordedResult::Failed(failure) => Err(failure),
    }
}
