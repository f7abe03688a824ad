//! Events: what a run shows under names, and waiting for what others show.
//!
//! An event and the record of its being set are one write, which nobody waits for: readers see it when it is durable, and so
//! is everything that it was made from, because it stands behind that.

use serde_json::json;

use super::children::run_of;
use super::pair::{check_wait, optional};
use super::{Answer, Gate};
use crate::calls::arguments::{invalid, parse_value};
use crate::database::Effect;
use crate::workflow::{Code, Failure, Key, Operation, OperationKind, Signal, WorkflowId};

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
        self.note(&operation, Some(Effect::Event { key: key.into(), value })).await.map(Ok)
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
        let services = self.services.clone();
        let wait = (milliseconds, Signal::Event(run.clone(), name.clone()), None);
        let found = self.look_for(&operation, wait, || services.event(&run, &name)).await?;
        Ok(optional(found))
    }
}

/// The event that somebody asks for.
pub(in crate::calls) fn event_of(id: &str, key: &str) -> Result<(WorkflowId, Key), Failure> {
    Ok((run_of(id)?, key_of(key)?))
}

pub(super) fn key_of(key: &str) -> Result<Key, Failure> {
    Key::parse(key).map_err(|error| invalid(Code("invalid_key"), &error))
}
