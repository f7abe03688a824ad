//! `transaction`: running a transaction step.

use super::arguments::{bad_arguments, parse_arguments};
use super::bindings::imports::{transaction, types};
use super::guest::{Guest, HandlerCalls, Phase, unwind};
use super::services::StartRequest;
use crate::workflow::{Code, Failure, OperationKind, StepKind, Terms};

impl transaction::Host for Guest {
    async fn call(&mut self, step: String, arguments: String) -> wasmtime::Result<Result<String, types::Failure>> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.step(OperationKind::Transaction, &step, &arguments).await)?,
            Phase::Handler(calls) => calls.transaction(&step, &arguments).await,
            _ => Err(Failure::wrong_phase("transaction.call", "a workflow or a handler")),
        };
        self.answered(answer)
    }
}

impl HandlerCalls {
    async fn transaction(&mut self, step: &str, arguments: &str) -> Result<String, Failure> {
        let entry = self.program.manifest.step(step);
        let read_only = match entry.map(|entry| &entry.kind) {
            Some(StepKind::Transaction { read_only, .. }) => *read_only,
            _ => return Err(unknown("transaction", step)),
        };
        if !read_only {
            return self.one_step_workflow(step, arguments).await;
        }
        let parsed = parse_arguments(arguments)?;
        parsed.check_names(&entry.map(|e| e.parameters.clone()).unwrap_or_default()).map_err(bad_arguments)?;
        self.services.read(&self.program, step, arguments, self.trace).await
    }

    /// A step that a handler calls is a workflow of one step: recorded, and run to its end after a crash.
    pub(super) async fn one_step_workflow(&mut self, step: &str, arguments: &str) -> Result<String, Failure> {
        let arguments = parse_arguments(arguments)?;
        if let Some(entry) = self.program.manifest.step(step) {
            arguments.check_names(&entry.parameters).map_err(bad_arguments)?;
        }
        let (id, name, trace) = (self.next_id()?, format!("temp:{step}"), self.trace);
        let id =
            self.begin(StartRequest { id, name, arguments, trace, terms: Terms::default(), is_awaited: true }).await?;
        self.end_of(&id).await
    }
}

pub(super) fn unknown(kind: &str, step: &str) -> Failure {
    Failure::new("Error", Code("unknown_step"), format!("the app has no {kind} `{step}`")).not_retryable()
}
