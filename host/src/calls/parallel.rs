//! `parallel`: steps that run side by side.

use super::bindings::imports::{parallel, types};
use super::gate::{Gate, Group};
use super::guest::{Guest, Phase, unwind};
use crate::workflow::Failure;

type Answer<T> = wasmtime::Result<Result<T, types::Failure>>;

impl Guest {
    /// The gate, for a call that only a workflow may make.
    async fn gate_for(&mut self, call: &str) -> Result<&mut Gate, Failure> {
        match self.act().await {
            Phase::Workflow(gate) => Ok(gate),
            _ => Err(Failure::wrong_phase(call, "a workflow")),
        }
    }
}

impl parallel::Host for Guest {
    async fn start(&mut self, step: String, arguments: String, group: Option<parallel::Group>) -> Answer<u32> {
        let group = group.map(|group| Group { number: group.number, at_once: group.at_once });
        let answer = match self.gate_for("parallel.start").await {
            Ok(gate) => unwind(gate.start_step(&step, &arguments, group).await)?,
            Err(failure) => Err(failure),
        };
        self.answered(answer)
    }

    async fn join(&mut self, handle: u32) -> Answer<String> {
        let answer = match self.gate_for("parallel.join").await {
            Ok(gate) => unwind(gate.join(handle).await)?,
            Err(failure) => Err(failure),
        };
        self.answered(answer)
    }

    async fn join_within(&mut self, handle: u32, milliseconds: u64) -> Answer<String> {
        let answer = match self.gate_for("parallel.join-within").await {
            Ok(gate) => unwind(gate.join_within(handle, milliseconds).await)?,
            Err(failure) => Err(failure),
        };
        self.answered(answer)
    }

    async fn select(
        &mut self,
        handles: Vec<u32>,
        milliseconds: Option<u64>,
        cancel_others: bool,
    ) -> Answer<Option<u32>> {
        let answer = match self.gate_for("parallel.select").await {
            Ok(gate) => unwind(gate.select(&handles, milliseconds, cancel_others).await)?,
            Err(failure) => Err(failure),
        };
        self.answered(answer)
    }

    async fn cancel(&mut self, handle: u32) -> Answer<()> {
        let answer = match self.gate_for("parallel.cancel").await {
            Ok(gate) => unwind(gate.cancel_started(handle).await)?,
            Err(failure) => Err(failure),
        };
        self.answered(answer)
    }
}
