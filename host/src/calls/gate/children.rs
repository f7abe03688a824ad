//! Starting other workflows, and waiting for how they end.
//!
//! A child's row and its parent's record of it are one write: a child without the record would be started twice, a record
//! without the child would be waited for without end.

use serde_json::json;

use super::{Answer, Gate, answer};
use crate::calls::arguments::check_workflow;
use crate::calls::interrupt::Interrupt;
use crate::calls::unsettled::check;
use crate::database::{Landed, Outcome, WORKFLOW_EXISTS};
use crate::failpoint;
use crate::workflow::{
    Arguments, Code, Failure, Operation, OperationDigest, OperationKind, RecordedResult, WorkflowId,
};

impl Gate {
    /// Starts a child. When it returns an id, the child's row and this run's record of it are durable.
    ///
    /// # Errors
    /// When the instance is given up.
    pub async fn start(&mut self, name: &str, arguments: &str, id: Option<&str>) -> Answer<WorkflowId> {
        let checked = self.check_start(name, arguments, id);
        let (arguments, chosen) = match checked {
            Ok(checked) => checked,
            Err(failure) => return Ok(Err(failure)),
        };
        let operation = Operation {
            kind: OperationKind::Start,
            name: name.into(),
            arguments: json!({ "id": id, "arguments": arguments.0 }),
        };
        // Before a number is taken: what fails without a record must leave no gap in the numbers.
        let child = match chosen.map_or_else(|| self.run().child(self.history.next_step()), Ok) {
            Ok(child) => child,
            Err(error) => return Ok(Err(Failure::new("Error", Code("invalid_id"), error.to_string()))),
        };
        let (number, found) = self.take(&operation)?;
        if let Some(record) = found {
            return Ok(record
                .child
                .ok_or_else(|| Failure::new("Error", Code("no_child"), "the record names no child")));
        }
        self.before_effect().await?;
        let mut new = self.services.new_run(&self.program, child.clone(), name, arguments);
        let mut record =
            self.new_record(number, (&operation.name, OperationDigest::of(&operation)), RecordedResult::Nothing);
        (record.started_at, record.completed_at) = (new.created_at, new.created_at);
        self.budget.recorded(&record.result);
        new.parent = Some(record);
        new.trace = self.trace;
        let created_at = new.created_at;
        match self.services.start_child(new).await {
            // There is a run under the chosen id already: this is the handle of the first one. Any other refusal has
            // written nothing, not even the record.
            Ok(Landed::Refused(failure)) if failure.code == Some(WORKFLOW_EXISTS.as_str().into()) => {}
            other => check(other)?,
        }
        self.time.deliver(created_at);
        failpoint::hit("gate.before_answer").await;
        Ok(Ok(child))
    }

    /// The outcome of another run. The instance is given up in a long wait, unless it has steps that run beside it.
    async fn end_of(&mut self, run: &WorkflowId) -> Result<Option<Outcome>, Interrupt> {
        let services = self.services.clone();
        if let Some(outcome) = self.handles.while_running(services.outcome(run)).await? {
            return Ok(outcome);
        }
        // A step may have ended in the meantime: what it has recorded must be found by whoever loads the run next.
        self.settle().await?;
        services.wait_for_outcome(run).await
    }

    fn check_start(
        &self,
        name: &str,
        arguments: &str,
        id: Option<&str>,
    ) -> Result<(Arguments, Option<WorkflowId>), Failure> {
        let arguments = check_workflow(&self.program, name, arguments)?;
        let id = id.map(WorkflowId::parse).transpose();
        Ok((arguments, id.map_err(|error| Failure::new("Error", Code("invalid_id"), error.to_string()))?))
    }

    /// Waits for the end of another run; its outcome is recorded as this run's own.
    ///
    /// # Errors
    /// When the instance is given up, as it is in a long wait.
    pub async fn outcome(&mut self, id: &str) -> Answer<String> {
        let child = match WorkflowId::parse(id) {
            Ok(child) => child,
            Err(error) => return Ok(Err(Failure::new("Error", Code("invalid_id"), error.to_string()))),
        };
        let operation =
            Operation { kind: OperationKind::Outcome, name: "DBOS.getResult".into(), arguments: json!({ "id": id }) };
        let (number, found) = self.take(&operation)?;
        if let Some(record) = found {
            return Ok(answer(record.result));
        }
        self.before_effect().await?;
        let started_at = self.services.clock().now();
        let result = match self.end_of(&child).await? {
            Some(Outcome::Success(output)) => RecordedResult::Output(output),
            Some(Outcome::Failed(_, failure)) => RecordedResult::Failed(failure),
            None => RecordedResult::Failed(no_such_workflow(id)),
        };
        let mut record = self.new_record(number, (&operation.name, OperationDigest::of(&operation)), result.clone());
        record.child = Some(child);
        record.started_at = started_at;
        let completed_at = record.completed_at;
        self.record(record).await?;
        self.time.deliver(completed_at);
        failpoint::hit("gate.before_answer").await;
        Ok(answer(result))
    }
}

pub(in crate::calls) fn no_such_workflow(id: &str) -> Failure {
    Failure::new("Error", Code("no_such_workflow"), format!("there is no workflow with the id `{id}`"))
}
