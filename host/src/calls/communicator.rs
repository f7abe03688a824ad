//! `communicator`: running a step that talks to the outside.

use super::bindings::imports::{communicator, types};
use super::guest::{Guest, Phase, unwind};
use super::transaction::unknown;
use crate::workflow::{Failure, OperationKind, StepKind};

impl communicator::Host for Guest {
    async fn call(&mut self, step: String, arguments: String) -> wasmtime::Result<Result<String, types::Failure>> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.step(OperationKind::Communicator, &step, &arguments).await)?,
            Phase::Handler(calls) => {
                let entry = calls.program.manifest.step(&step);
                if entry.is_some_and(|entry| matches!(entry.kind, StepKind::Communicator { .. })) {
                    calls.one_step_workflow(&step, &arguments).await
                } else {
                    Err(unknown("communicator", &step))
                }
            }
            _ => Err(Failure::wrong_phase("communicator.call", "a workflow or a handler")),
        };
        self.answered(answer)
    }
}
