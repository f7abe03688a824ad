//! Starting other workflows, and waiting for how they end.
//!
//! A child's row and its parent's record of it are one write: a child without the record would be started twice, a record
//! without the child would be waited for without end.

use futures_util::FutureExt as _;
use serde_json::{Value, json};

use super::pair::{check_wait, optional};
use super::{Answer, Gate, answer};
use crate::calls::arguments::{check_workflow, invalid};
use crate::calls::interrupt::Interrupt;
use crate::calls::unsettled::check;
use crate::database::{Landed, Outcome, WORKFLOW_EXISTS};
use crate::failpoint;
use crate::workflow::{
    Arguments, Code, Failure, Operation, OperationKind, Reason, RecordedResult, Signal, Terms, WorkflowId,
};

/// The name of a wait for the end of a run, as DBOS records it.
const GET_RESULT: &str = "DBOS.getResult";

/// A child as its parent wants it.
pub(in crate::calls) struct NewChild {
    /// Under this id; `<parent>-<step number>` when there is none.
    pub(in crate::calls) id: Option<WorkflowId>,
    /// On these terms.
    pub(in crate::calls) terms: Terms,
    /// The deadline of its parent does not count for it.
    pub(in crate::calls) is_detached: bool,
}

impl NewChild {
    /// The call as its digest counts it. What was not asked for is not in it.
    fn called(&self, arguments: &Arguments) -> Value {
        let mut called = json!({ "id": self.id.as_ref().map(WorkflowId::as_str), "arguments": arguments.0 });
        if let Some(timeout) = self.terms.timeout {
            called["timeout"] = timeout.milliseconds().into();
        }
        if self.is_detached {
            called["detached"] = true.into();
        }
        if let Some(attributes) = &self.terms.attributes {
            called["attributes"] = attributes.to_value();
        }
        called
    }
}

impl Gate {
    /// Starts a child. When it returns an id, the child's row and this run's record of it are durable.
    ///
    /// # Errors
    /// When the instance is given up.
    pub(in crate::calls) async fn start(&mut self, name: &str, arguments: &str, child: NewChild) -> Answer<WorkflowId> {
        let arguments = match check_workflow(&self.program, name, arguments) {
            Ok(arguments) => arguments,
            Err(failure) => return Ok(Err(failure)),
        };
        let called = child.called(&arguments);
        let operation = Operation { kind: OperationKind::Start, name: name.into(), arguments: called };
        let NewChild { id, terms, is_detached } = child;
        // Before a number is taken: what fails without a record must leave no gap in the numbers.
        let child = match id.map_or_else(|| self.run().child(self.history.next_step()), Ok) {
            Ok(child) => child,
            Err(error) => return Ok(Err(invalid(Code("invalid_id"), &error))),
        };
        let (number, found) = self.take(&operation)?;
        if let Some(record) = found {
            return Ok(record
                .child
                .ok_or_else(|| Failure::new("Error", Code("no_child"), "the record names no child")));
        }
        self.before_effect().await?;
        let inherited = self.inherited.deadline.filter(|_| !is_detached);
        let mut new = self.services.new_run(&self.program, child.clone(), name, arguments).on(terms, inherited);
        let mut record = self.record_of(number, &operation, RecordedResult::Nothing);
        (record.started_at, record.completed_at) = (new.created_at, new.created_at);
        self.budget.recorded(&record.result);
        new.parent = Some(record);
        new.trace = self.inherited.trace;
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
        let waits = self.waits(Reason::Workflow { id: run.as_str().into() });
        if let Some(outcome) = self.handles.while_running(services.outcome(run)).await? {
            return Ok(outcome);
        }
        drop(waits);
        // A step may have ended in the meantime: what it has recorded must be found by whoever loads the run next.
        self.settle().await?;
        services.wait_for_outcome(run).await
    }

    /// Waits for the end of another run; its outcome is recorded as this run's own.
    ///
    /// # Errors
    /// When the instance is given up, as it is in a long wait.
    pub async fn outcome(&mut self, id: &str) -> Answer<String> {
        let child = match run_of(id) {
            Ok(child) => child,
            Err(failure) => return Ok(Err(failure)),
        };
        let operation =
            Operation { kind: OperationKind::Outcome, name: GET_RESULT.into(), arguments: json!({ "id": id }) };
        let (number, found) = self.take(&operation)?;
        if let Some(record) = found {
            return Ok(answer(record.result));
        }
        self.before_effect().await?;
        let started_at = self.services.clock().now();
        let result = told(self.end_of(&child).await?, id);
        let mut record = self.record_of(number, &operation, result.clone());
        (record.started_at, record.child) = (started_at, Some(child));
        self.conclude(record).await?;
        Ok(answer(result))
    }

    /// As [`Self::outcome`], but not for longer than this. That the run had not ended by then is recorded too.
    ///
    /// # Errors
    /// When the instance is given up, as it is in a long wait.
    pub async fn outcome_within(&mut self, id: &str, milliseconds: u64) -> Answer<Option<String>> {
        let child = match run_of(id).and_then(|child| check_wait(milliseconds).map(|()| child)) {
            Ok(child) => child,
            Err(failure) => return Ok(Err(failure)),
        };
        let arguments = json!({ "id": id, "milliseconds": milliseconds });
        let operation = Operation { kind: OperationKind::Outcome, name: GET_RESULT.into(), arguments };
        let services = self.services.clone();
        let look = || {
            let outcome = services.outcome_so_far(&child);
            outcome
                .map(|outcome| outcome.map_or_else(|| Some(told(None, id)), |end| end.map(|end| told(Some(end), id))))
                .boxed()
        };
        let wait = (milliseconds, Signal::Ended(child.clone()), Some(child.clone()));
        let found = self.look_for(&operation, wait, look).await?;
        Ok(optional(found))
    }
}

/// The outcome of another run as it is recorded.
fn told(outcome: Option<Outcome>, id: &str) -> RecordedResult {
    match outcome {
        Some(Outcome::Success(output)) => RecordedResult::Output(output),
        Some(Outcome::Failed(_, failure)) => RecordedResult::Failed(failure),
        None => RecordedResult::Failed(no_such_workflow(id)),
    }
}

/// The run that a guest names.
pub(in crate::calls) fn run_of(id: &str) -> Result<WorkflowId, Failure> {
    WorkflowId::parse(id).map_err(|error| invalid(Code("invalid_id"), &error))
}

/// There is no run with this id.
#[must_use]
pub fn no_such_workflow(id: &str) -> Failure {
    Failure::new("Error", Code("no_such_workflow"), format!("there is no workflow with the id `{id}`"))
}
