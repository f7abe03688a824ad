//! `workflow`: the run itself, and other runs.

use super::arguments::check_workflow;
use super::bindings::imports::{types, workflow};
use super::guest::{Guest, HandlerCalls, Phase, unwind};
use super::services::StartRequest;
use crate::workflow::{Code, Failure, Patch, WorkflowId};

impl types::Host for Guest {}

impl workflow::Host for Guest {
    async fn id(&mut self) -> wasmtime::Result<Result<String, types::Failure>> {
        let id = self.phase().run().map(ToString::to_string);
        Ok(id.ok_or_else(|| Failure::wrong_phase("workflow.id", "a workflow and its steps").into()))
    }

    async fn start(
        &mut self,
        workflow: String,
        arguments: String,
        options: workflow::StartOptions,
    ) -> wasmtime::Result<Result<String, types::Failure>> {
        let id = options.id.as_deref();
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.start(&workflow, &arguments, id).await)?,
            Phase::Handler(calls) => calls.start(&workflow, &arguments, id, options.awaited).await,
            _ => Err(Failure::wrong_phase("workflow.start", "a workflow or a handler")),
        };
        self.answered(answer.map(|id| id.to_string()))
    }

    async fn outcome(&mut self, id: String) -> wasmtime::Result<Result<String, types::Failure>> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.outcome(&id).await)?,
            Phase::Handler(calls) => calls.outcome(&id).await,
            _ => Err(Failure::wrong_phase("workflow.outcome", "a workflow or a handler")),
        };
        self.answered(answer)
    }

    async fn patch(&mut self, name: String) -> wasmtime::Result<Result<bool, types::Failure>> {
        // To ask does nothing, and can be done without end: the guest's time goes on.
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.patch(Patch::Introduced, &name).await)?,
            _ => Err(Failure::wrong_phase("workflow.patch", "a workflow")),
        };
        Ok(answer.map_err(types::Failure::from))
    }

    async fn deprecate_patch(&mut self, name: String) -> wasmtime::Result<Result<(), types::Failure>> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.patch(Patch::Deprecated, &name).await)?,
            _ => Err(Failure::wrong_phase("workflow.deprecate-patch", "a workflow")),
        };
        Ok(answer.map(|_is_marked| ()).map_err(types::Failure::from))
    }

    async fn idempotency_key(&mut self) -> wasmtime::Result<Result<String, types::Failure>> {
        // Handing out a key does nothing: the guest's time goes on.
        Ok(match self.act().await {
            Phase::Communicator(calls) => {
                calls.keys += 1;
                Ok(format!("{}-{}-{}", calls.run, calls.step, calls.keys))
            }
            _ => Err(Failure::wrong_phase("workflow.idempotency-key", "a communicator").into()),
        })
    }
}

impl HandlerCalls {
    async fn outcome(&mut self, id: &str) -> Result<String, Failure> {
        let run =
            WorkflowId::parse(id).map_err(|error| Failure::new("Error", Code("invalid_id"), error.to_string()))?;
        self.end_of(&run).await
    }

    async fn start(
        &mut self,
        name: &str,
        arguments: &str,
        id: Option<&str>,
        is_awaited: bool,
    ) -> Result<WorkflowId, Failure> {
        let arguments = check_workflow(&self.program, name, arguments)?;
        let id = match id {
            Some(id) => {
                let id = WorkflowId::parse(id);
                Some(id.map_err(|error| Failure::new("Error", Code("invalid_id"), error.to_string()))?)
            }
            None => self.next_id()?,
        };
        self.begin(StartRequest { id, name: name.into(), arguments, trace: self.trace, is_awaited }).await
    }
}
