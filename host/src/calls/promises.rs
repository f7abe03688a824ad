//! `promises`: what a run waits for and somebody else settles.

use super::bindings::imports::{promises, types};
use super::guest::{Guest, Phase, unwind};
use crate::workflow::Failure;

impl promises::Host for Guest {
    async fn link(&mut self, name: String) -> wasmtime::Result<Result<String, types::Failure>> {
        // It does nothing: the guest's time goes on.
        Ok(match self.phase() {
            Phase::Workflow(gate) => gate.link(&name).map_err(types::Failure::from),
            _ => Err(Failure::wrong_phase("promises.link", "a workflow").into()),
        })
    }

    async fn wait(
        &mut self,
        name: String,
        milliseconds: u64,
    ) -> wasmtime::Result<Result<Option<String>, types::Failure>> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.wait_for_promise(&name, milliseconds).await)?,
            _ => Err(Failure::wrong_phase("promises.wait", "a workflow")),
        };
        self.answered(answer)
    }
}
