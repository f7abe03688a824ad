//! `workflow`: the run itself, and other runs.

use std::time::Duration;

use super::arguments::{check_workflow, invalid};
use super::bindings::imports::{types, workflow};
use super::gate::{NewChild, run_of};
use super::guest::{Guest, HandlerCalls, Phase, unwind};
use super::services::StartRequest;
use crate::workflow::{Attributes, Code, Failure, Patch, Terms, Timeout, WorkflowId};

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
        let is_awaited = options.awaited;
        let answer = match (self.act().await, wanted(options)) {
            (Phase::Workflow(gate), Ok(child)) => unwind(gate.start(&workflow, &arguments, child).await)?,
            (Phase::Handler(calls), Ok(child)) => calls.start(&workflow, &arguments, child, is_awaited).await,
            (Phase::Workflow(_) | Phase::Handler(_), Err(failure)) => Err(failure),
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

    async fn outcome_within(
        &mut self,
        id: String,
        milliseconds: u64,
    ) -> wasmtime::Result<Result<Option<String>, types::Failure>> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.outcome_within(&id, milliseconds).await)?,
            Phase::Handler(calls) => calls.outcome_within(&id, milliseconds).await,
            _ => Err(Failure::wrong_phase("workflow.outcome-within", "a workflow or a handler")),
        };
        self.answered(answer)
    }

    async fn status(&mut self, id: String) -> wasmtime::Result<Result<Option<String>, types::Failure>> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.status(&id).await)?,
            Phase::Handler(calls) => calls.status(&id).await,
            _ => Err(Failure::wrong_phase("workflow.status", "a workflow or a handler")),
        };
        self.answered(answer)
    }

    async fn cancel(&mut self, id: String, children: bool) -> wasmtime::Result<Result<(), types::Failure>> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.cancel(&id, children).await)?,
            Phase::Handler(calls) => calls.cancel(&id, children).await,
            _ => Err(Failure::wrong_phase("workflow.cancel", "a workflow or a handler")),
        };
        self.answered(answer)
    }

    async fn resume(&mut self, id: String) -> wasmtime::Result<Result<(), types::Failure>> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.resume(&id).await)?,
            Phase::Handler(calls) => calls.resume(&id).await,
            _ => Err(Failure::wrong_phase("workflow.resume", "a workflow or a handler")),
        };
        self.answered(answer)
    }

    async fn continue_as_new(
        &mut self,
        workflow: String,
        arguments: String,
    ) -> wasmtime::Result<Result<(), types::Failure>> {
        // It is noted down, and nothing is done: the guest's time goes on.
        Ok(match self.phase_mut() {
            Phase::Workflow(gate) => gate.continue_as_new(&workflow, &arguments).map_err(types::Failure::from),
            _ => Err(Failure::wrong_phase("workflow.continue-as-new", "a workflow").into()),
        })
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

/// A start as a guest wants it. What is wrong with it is wrong in each replay, and takes no number.
fn wanted(options: workflow::StartOptions) -> Result<NewChild, Failure> {
    let timeout = options.milliseconds.map(Timeout::of_milliseconds).transpose()?;
    let attributes = options.attributes.as_deref().map(Attributes::parse).transpose()?;
    let id = options.id.as_deref().map(WorkflowId::chosen).transpose();
    let id = id.map_err(|error| invalid(Code("invalid_id"), &error))?;
    Ok(NewChild { id, terms: Terms { timeout, attributes }, is_detached: options.detached })
}

/// What a handler does is not recorded, and bounded by how long it may take.
impl HandlerCalls {
    async fn outcome(&mut self, id: &str) -> Result<String, Failure> {
        self.end_of(&run_of(id)?).await
    }

    async fn outcome_within(&mut self, id: &str, milliseconds: u64) -> Result<Option<String>, Failure> {
        let run = run_of(id)?;
        let ended = tokio::time::timeout(Duration::from_millis(milliseconds), self.end_of(&run)).await;
        ended.map_or(Ok(None), |ended| ended.map(Some))
    }

    async fn status(&mut self, id: &str) -> Result<Option<String>, Failure> {
        Ok(self.services.status(&run_of(id)?).await)
    }

    async fn cancel(&mut self, id: &str, with_children: bool) -> Result<(), Failure> {
        self.services.cancel(&self.program.app, &run_of(id)?, with_children).await
    }

    async fn resume(&mut self, id: &str) -> Result<(), Failure> {
        self.services.resume(&self.program.app, &run_of(id)?).await
    }

    async fn start(
        &mut self,
        name: &str,
        arguments: &str,
        NewChild { id, terms, .. }: NewChild,
        is_awaited: bool,
    ) -> Result<WorkflowId, Failure> {
        let arguments = check_workflow(&self.program, name, arguments)?;
        let id = match id {
            Some(id) => Some(id),
            None => self.next_id()?,
        };
        self.begin(StartRequest { id, name: name.into(), arguments, trace: self.trace, terms, is_awaited }).await
    }
}
