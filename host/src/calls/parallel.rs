//! `parallel`: steps that run side by side.

use super::bindings::imports::{parallel, types};
use super::gate::Group;
use super::guest::{Guest, Phase, unwind};
use crate::workflow::Failure;

type Answer<T> = wasmtime::Result<Result<T, types::Failure>>;

impl parallel::Host for Guest {
    async fn start(&mut self, step: String, arguments: String, group: Option<parallel::Group>) -> Answer<u32> {
        let group = group.map(|group| Group { number: group.number, at_once: group.at_once });
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.start_step(&step, &arguments, group).await)?,
            _ => Err(Failure::wrong_phase("parallel.start", "a workflow")),
        };
        self.answered(answer)
    }

    async fn join(&mut self, handle: u32) -> Answer<String> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.join(handle).await)?,
            _ => Err(Failure::wrong_phase("parallel.join", "a workflow")),
        };
        self.answered(answer)
    }

    async fn join_within(&mut self, handle: u32, milliseconds: u64) -> Answer<String> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.join_within(handle, milliseconds).await)?,
            _ => Err(Failure::wrong_phase("parallel.join-within", "a workflow")),
        };
        self.answered(answer)
    }

    async fn select(
        &mut self,
        handles: Vec<u32>,
        milliseconds: Option<u64>,
        cancel_others: bool,
    ) -> Answer<Option<u32>> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.select(&handles, milliseconds, cancel_others).await)?,
            _ => Err(Failure::wrong_phase("parallel.select", "a workflow")),
        };
        self.answered(answer)
    }

    async fn cancel(&mut self, handle: u32) -> Answer<()> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.cancel_started(handle).await)?,
            _ => Err(Failure::wrong_phase("parallel.cancel", "a workflow")),
        };
        self.answered(answer)
    }
}
