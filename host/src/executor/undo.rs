//! The run that undoes another: `undo:<workflow>` under the id `<id>-undo`.
//!
//! It has no code of its own: what it calls, and in which order, follows from the records of the run that it undoes. Otherwise it
//! is a run like any other: each call passes the gate, so it is numbered, recorded, tried again by its policy, and not repeated
//! once it is recorded. An undo that fails does not keep the others from being done; the run's outcome tells which have failed.

use serde_json::{Value, json};

use super::attempt::{AttemptEnd, Prepared, finish, unwound};
use super::{App, Executor};
use crate::calls::{GuestLog, Inherited, Interrupt};
use crate::database::{Claim, FinalOutcome, until_answered};
use crate::sandbox::Component;
use crate::workflow::{AppName, Code, Failure, OperationKind, StepKind, UndoCall, WorkflowId, WorkflowTime, plan_undo};

impl Executor {
    /// Undoes a run from its records.
    pub(super) async fn attempt_undo(
        &self,
        claim: &Claim,
        prepared: Prepared,
        app: &std::sync::Arc<App>,
        component: &Component,
    ) -> AttemptEnd {
        let read = || self.database.undone_by(claim.run());
        let Some(undone) = until_answered("read what is to be undone", read).await else {
            let failure = Failure::new("UndoError", Code("undo_failed"), "there is no run that it could undo");
            return AttemptEnd::of(FinalOutcome::Error(failure));
        };
        let registered = until_answered("read what is to be undone", || self.database.registered_undos(&undone)).await;
        let manifest = component.manifest();
        let is_transaction =
            |step: &str| manifest.step(step).is_some_and(|step| matches!(step.kind, StepKind::Transaction { .. }));
        let calls = plan_undo(registered, is_transaction);
        let log = GuestLog::new(app.log(), Some(claim.run())).traced(prepared.trace);
        let time = WorkflowTime::starting_at(prepared.started_at);
        let inherited = Inherited { trace: prepared.trace, deadline: None };
        let own = (prepared.records, inherited, prepared.start);
        let mut gate = self.gate(claim, own, app, component, &time, &log);
        let mut failed = Vec::new();
        for call in &calls {
            let arguments = match self.undo_arguments(&undone, call).await {
                Ok(arguments) => arguments,
                Err(reason) => return AttemptEnd::Failed(reason),
            };
            let kind = match manifest.step(&call.undo).map(|step| &step.kind) {
                Some(StepKind::Transaction { .. }) => OperationKind::Transaction,
                Some(StepKind::Communicator { .. }) | None => OperationKind::Communicator,
            };
            match gate.step(kind, &call.undo, &arguments).await {
                Ok(Ok(_)) => {}
                Ok(Err(failure)) => {
                    failed.push(json!({ "step": call.number.get(), "undo": call.undo, "error": failure }))
                }
                Err(interrupt) => return unwound(&mut gate, interrupt).await,
            }
        }
        finish(&mut gate, outcome(&calls, failed)).await
    }

    /// The arguments of the step that is undone, with its result beside them.
    async fn undo_arguments(&self, undone: &WorkflowId, call: &UndoCall) -> Result<String, String> {
        let read = || self.database.undone_step(undone, call.number);
        let step = until_answered("read a step that is to be undone", read).await;
        let (arguments, result) = step.ok_or_else(|| format!("what step {} has registered is gone", call.number))?;
        let unreadable = |error| format!("cannot read what step {} has registered: {error}", call.number);
        let mut arguments: Value = serde_json::from_str(&arguments).map_err(unreadable)?;
        arguments["result"] = match result {
            Some(json) => serde_json::from_str(&json).map_err(unreadable)?,
            None => Value::Null,
        };
        Ok(arguments.to_string())
    }

    /// Registers what undoes a step.
    pub(super) async fn register(&self, new: &crate::database::NewUndo<'_>) -> Result<(), Interrupt> {
        let is_registered = tokio::select! {
            biased;
            () = self.stopped() => return Err(Interrupt::ShuttingDown),
            is_registered = until_answered("register what undoes a step", || self.database.register_undo(new)) => is_registered,
        };
        if is_registered { Ok(()) } else { Err(Interrupt::Lost) }
    }

    /// Starts the runs that undo what has failed or was cancelled, of the apps that this host serves, and drives them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn start_undos(&self) -> Result<(), crate::database::DatabaseError> {
        let apps: Vec<AppName> = self.apps.keys().cloned().collect();
        while !self.is_stopping() {
            let identity = self.identity();
            let owner = (identity.executor.as_str(), &identity.incarnation);
            let started = self.database.start_undos(&apps, owner, self.clock.now()).await?;
            if started.is_empty() {
                break;
            }
            for run in started {
                tracing::info!(workflow = %run.claim.run(), "a workflow is undone");
                self.drive_taken(&run);
            }
        }
        for run in self.database.in_the_way_of_undos().await? {
            tracing::error!(workflow = %run, "this workflow has the id of the one that would undo another, which stays as it is");
        }
        self.database.forget_sagas().await
    }

    /// A run may be there to be undone.
    pub fn must_undo(&self) {
        self.to_undo.notify_one();
    }

    /// Returns when a run may be there to be undone.
    pub async fn to_undo(&self) {
        self.to_undo.notified().await;
    }
}

fn outcome(calls: &[UndoCall], failed: Vec<Value>) -> FinalOutcome {
    if failed.is_empty() {
        return FinalOutcome::Success(json!({ "undone": calls.len() }).to_string());
    }
    let text = format!("{} of {} steps could not be undone", failed.len(), calls.len());
    let failure = Failure::new("UndoError", Code("undo_failed"), text);
    FinalOutcome::Error(Failure { data: Some(Value::Array(failed)), ..failure }.limited(crate::calls::MAX_PAYLOAD))
}
