//! What a workflow asks about other runs, and does to them.
//!
//! A cancel and a resume are effects on rows that have nothing to do with this run's, so they cannot be one write with its
//! record. They are done before it: after a crash in between they are done again, which changes nothing, since the row says
//! what was wanted already.

use serde_json::{Value, json};

use super::children::run_of;
use super::pair::optional;
use super::{Answer, Gate};
use crate::calls::interrupt::Interrupt;
use crate::failpoint;
use crate::workflow::{EpochMs, Failure, Operation, OperationKind, RecordedResult, StepNumber};

impl Gate {
    /// What the row of a run says. `None`: there is no such run. The answer is recorded.
    ///
    /// # Errors
    /// When the instance is given up.
    pub async fn status(&mut self, id: &str) -> Answer<Option<String>> {
        let run = match run_of(id) {
            Ok(run) => run,
            Err(failure) => return Ok(Err(failure)),
        };
        let operation = called(OperationKind::Status, "DBOS.getStatus", json!({ "id": id }));
        let (number, found) = self.take(&operation)?;
        let result = match found {
            Some(record) => record.result,
            None => {
                self.before_step().await?;
                let started_at = self.services.clock().now();
                let status = self.services.status(&run).await;
                let result = RecordedResult::Output(status.unwrap_or_else(|| "null".into()));
                self.recorded(number, &operation, (result, started_at)).await?
            }
        };
        Ok(optional(result).map(|json| json.filter(|json| json != "null")))
    }

    /// Cancels a run that has not ended, with everything that it has started if `with_children`. When it returns, its row says
    /// so, or says how it has ended.
    ///
    /// # Errors
    /// When the instance is given up.
    pub async fn cancel(&mut self, id: &str, with_children: bool) -> Answer<()> {
        let run = match run_of(id) {
            Ok(run) => run,
            Err(failure) => return Ok(Err(failure)),
        };
        let arguments = json!({ "id": id, "children": with_children });
        let operation = called(OperationKind::Cancel, "DBOS.cancelWorkflow", arguments);
        let (number, found) = self.take(&operation)?;
        if let Some(record) = found {
            return Ok(done(record.result));
        }
        self.before_effect().await?;
        let started_at = self.services.clock().now();
        let cancelled = self.services.cancel(&self.program.app, &run, with_children).await;
        failpoint::hit("gate.after_effect").await;
        Ok(done(self.recorded(number, &operation, (outcome_of(cancelled), started_at)).await?))
    }

    /// Lets a run go on from its records that was cancelled or stopped. When it returns, its row says so, or says how it has
    /// ended.
    ///
    /// # Errors
    /// When the instance is given up.
    pub async fn resume(&mut self, id: &str) -> Answer<()> {
        let run = match run_of(id) {
            Ok(run) => run,
            Err(failure) => return Ok(Err(failure)),
        };
        let operation = called(OperationKind::Resume, "DBOS.resumeWorkflow", json!({ "id": id }));
        let (number, found) = self.take(&operation)?;
        if let Some(record) = found {
            return Ok(done(record.result));
        }
        self.before_effect().await?;
        let started_at = self.services.clock().now();
        let resumed = self.services.resume(&self.program.app, &run).await;
        failpoint::hit("gate.after_effect").await;
        Ok(done(self.recorded(number, &operation, (outcome_of(resumed), started_at)).await?))
    }

    /// Records what was done, and returns its result.
    async fn recorded(
        &mut self,
        number: StepNumber,
        operation: &Operation,
        (result, started_at): (RecordedResult, EpochMs),
    ) -> Result<RecordedResult, Interrupt> {
        let mut record = self.record_of(number, operation, result.clone());
        record.started_at = started_at;
        self.conclude(record).await?;
        Ok(result)
    }
}

fn called(kind: OperationKind, name: &str, arguments: Value) -> Operation {
    Operation { kind, name: name.into(), arguments }
}

fn outcome_of(done: Result<(), Failure>) -> RecordedResult {
    done.map_or_else(RecordedResult::Failed, |()| RecordedResult::Nothing)
}

fn done(result: RecordedResult) -> Result<(), Failure> {
    match result {
        RecordedResult::Failed(failure) => Err(failure),
        RecordedResult::Output(_) | RecordedResult::Nothing => Ok(()),
    }
}
