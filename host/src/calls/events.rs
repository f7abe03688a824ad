//! `events`: what runs show under names.

use std::time::Duration;

use super::bindings::imports::{events, types};
use super::gate::{event_of, optional};
use super::guest::{Guest, HandlerCalls, Phase, unwind};
use crate::workflow::{Failure, RecordedResult, Signal};

impl events::Host for Guest {
    async fn set(&mut self, key: String, value: String) -> wasmtime::Result<Result<(), types::Failure>> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.set_event(&key, value).await)?,
            _ => Err(Failure::wrong_phase("events.set", "a workflow")),
        };
        self.answered(answer)
    }

    async fn get(
        &mut self,
        id: String,
        key: String,
        milliseconds: u64,
    ) -> wasmtime::Result<Result<Option<String>, types::Failure>> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.get_event(&id, &key, milliseconds).await)?,
            Phase::Handler(calls) => calls.event(&id, &key, milliseconds).await,
            _ => Err(Failure::wrong_phase("events.get", "a workflow or a handler")),
        };
        self.answered(answer)
    }
}

impl HandlerCalls {
    /// Waits for an event. A handler has little time itself, which ends any longer wait.
    async fn event(&mut self, id: &str, key: &str, milliseconds: u64) -> Result<Option<String>, Failure> {
        let (run, key) = event_of(id, key)?;
        let listening = self.services.listen(&[Signal::Event(run.clone(), key.clone())]);
        let comes = async {
            loop {
                match self.services.event(&run, &key).await {
                    Some(value) => return value,
                    None => listening.heard().await,
                }
            }
        };
        let value = tokio::time::timeout(Duration::from_millis(milliseconds), comes).await;
        // Everybody gets a look, also those who do not want to wait.
        let none = async { self.services.event(&run, &key).await.unwrap_or(RecordedResult::Nothing) };
        optional(match value {
            Ok(value) => value,
            Err(_elapsed) => none.await,
        })
    }
}
