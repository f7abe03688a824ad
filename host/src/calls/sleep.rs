//! `sleep`: durable waiting.

use super::bindings::imports::{sleep, types};
use super::guest::{Guest, Phase, unwind};
use crate::workflow::Failure;

impl sleep::Host for Guest {
    async fn sleep(&mut self, milliseconds: u64) -> wasmtime::Result<Result<(), types::Failure>> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.sleep(milliseconds).await)?,
            _ => Err(Failure::wrong_phase("sleep.sleep", "a workflow")),
        };
        self.answered(answer)
    }

    async fn sleep_until(&mut self, epoch_milliseconds: u64) -> wasmtime::Result<Result<(), types::Failure>> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.sleep_until(epoch_milliseconds).await)?,
            _ => Err(Failure::wrong_phase("sleep.sleep-until", "a workflow")),
        };
        self.answered(answer)
    }
}
