//! Events: what a run shows under names, and waiting for what others show.
//!
//! An event and the record of its being set are one write, which nobody waits for: readers see it when it is durable, and so
//! is everything that it was made from, because it stands behind that.

use serde_json::json;

use super::pair::{Begun, check_wait, optional};
use super::{Answer, Gate};
use crate::calls::arguments::parse_value;
use crate::calls::interrupt::Interrupt;
use crate::database::Effect;
use crate::failpoint;
use crate::workflow::{
    Code, Failure, Key, Operation, OperationDigest, OperationKind, RecordedResult, Signal, WorkflowId,
};

impl Gate {
    /// Sets an event of this run. When it returns, the event is on its way, in front of whatever the run does next.
    ///
    /// # Errors
    /// When the instance is given up.
    pub async fn set_event(&mut self, key: &str, value: String) -> Answer<()> {
        let contents = match key_of(key).and_then(|_| parse_value(&value)) {
            Ok(contents) => contents,
            Err(failure) => return Ok(Err(failure)),
        };
        let arguments = json!({ "key": key, "value": contents });
        let operation = Operation { kind: OperationKind::SetEvent, name: "DBOS.setEvent".into(), arguments };
        self.show(&operation, Effect::Event { key: key.into(), value }).await.map(Ok)
    }

    /// Has something written with the record of an operation that has no result.
    pub(super) async fn show(&mut self, operation: &Operation, effect: Effect) -> Result<(), Interrupt> {
        let (number, found) = self.take(operation)?;
        if found.is_none() {
            self.before_step().await?;
            let named = (operation.name.as_str(), OperationDigest::of(operation));
            let mut record = self.new_record(number, named, RecordedResult::Nothing);
            record.effect = Some(effect);
            let completed_at = record.completed_at;
            self.record(record).await?;
            self.time.deliver(completed_at);
            failpoint::hit("gate.before_answer").await;
        }
        Ok(())
    }

    /// Waits for an event of a run; the answer is recorded, and so is that none came.
    ///
    /// # Errors
    /// When the instance is given up, as it is in a long wait.
    pub async fn get_event(&mut self, id: &str, key: &str, milliseconds: u64) -> Answer<Option<String>> {
        let (run, name) = match check_wait(milliseconds).and_then(|()| event_of(id, key)) {
            Ok(event) => event,
            Err(failure) => return Ok(Err(failure)),
        };
        let arguments = json!({ "id": id, "key": key, "milliseconds": milliseconds });
        let operation = Operation { kind: OperationKind::GetEvent, name: "DBOS.getEvent".into(), arguments };
        let started_at = self.services.clock().now();
        let mut waiting = match self.begin_wait(&operation, milliseconds).await? {
            Begun::Answered(result) => return Ok(optional(result)),
            Begun::Waiting(waiting) => waiting,
        };
        // Whoever looks must find what this run has done before: its own event, or that of somebody whom it has told.
        self.settle_beside().await?;
        let signal = Signal::Event(run.clone(), name.clone());
        let result = loop {
            let listening = self.services.listen(std::slice::from_ref(&signal));
            // Whether the time is over is asked before the look: what was there in time is found.
            let is_over = self.services.clock().now() >= waiting.deadline;
            match self.services.event(&run, &name).await {
                Some(value) => break value,
                None if is_over => break RecordedResult::Nothing,
                None => self.wait_for(&mut waiting, &signal, &listening).await?,
            }
        };
        self.record_answer(&operation, (waiting, started_at), result.clone()).await?;
        failpoint::hit("gate.before_answer").await;
        Ok(optional(result))
    }
}

/// The event that somebody asks for.
pub(in crate::calls) fn event_of(id: &str, key: &str) -> Result<(WorkflowId, Key), Failure> {
    let run = WorkflowId::parse(id).map_err(|error| Failure::new("Error", Code("invalid_id"), error.to_string()))?;
    Ok((run, key_of(key)?))
}

pub(super) fn key_of(key: &str) -> Result<Key, Failure> {
    Key::parse(key).map_err(|error| Failure::new("Error", Code("invalid_key"), error.to_string()))
}
