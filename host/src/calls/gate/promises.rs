//! Promises: what this run waits for and somebody else settles.
//!
//! The first settlement is the only one, so a run that asks twice gets the same twice; the second time from memory, since the
//! message was taken by the first. A replay fills the memory by the same calls.

use serde_json::json;

use super::pair::{check_wait, optional};
use super::{Answer, Gate};
use crate::calls::arguments::invalid;
use crate::workflow::{Code, Failure, Operation, OperationKind, PromiseName, settled};

impl Gate {
    /// Waits until a promise is settled: its value, or its error as the failure. None: the time was over first.
    ///
    /// # Errors
    /// When the instance is given up, as it is in a long wait.
    pub async fn wait_for_promise(&mut self, name: &str, milliseconds: u64) -> Answer<Option<String>> {
        let name = match check_wait(milliseconds).and_then(|()| promise_name(name)) {
            Ok(name) => name,
            Err(failure) => return Ok(Err(failure)),
        };
        if let Some(settled) = self.settled.get(&name) {
            return Ok(settled.clone().map(Some));
        }
        let arguments = json!({ "name": name.as_str(), "milliseconds": milliseconds });
        let operation = Operation { kind: OperationKind::Promise, name: "DBOS.recv".into(), arguments };
        let settlement = match optional(self.take_message(&operation, &name.topic(), milliseconds).await?) {
            Ok(None) => return Ok(Ok(None)),
            Ok(Some(message)) => settled(&message),
            Err(unreadable) => Err(unreadable),
        };
        self.settled.insert(name, settlement.clone());
        Ok(settlement.map(Some))
    }

    /// What somebody else needs to settle a promise of this run. It costs no record: it is the same at every call.
    ///
    /// # Errors
    /// When the name is not valid.
    pub fn link(&self, name: &str) -> Result<String, Failure> {
        Ok(self.services.link(self.run(), &promise_name(name)?))
    }
}

fn promise_name(name: &str) -> Result<PromiseName, Failure> {
    PromiseName::parse(name).map_err(|error| invalid(Code("invalid_name"), &error))
}
