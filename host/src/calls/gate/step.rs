//! Transactions and communicators, one at a time.
//!
//! A transaction commits together with its record, so everything that it was made from must be durable before, or be carried
//! by it. What does nothing by itself that anybody could see begins at once; what it asks of the outside waits.

use serde_json::Value;

use super::{Answer, Gate, answer};
use crate::calls::arguments::{bad_arguments, parse_arguments};
use crate::calls::interrupt::Interrupt;
use crate::calls::services::{Commit, StepCall};
use crate::calls::unsettled::Behind;
use crate::database::NewUndo;
use crate::failpoint;
use crate::workflow::{Code, Failure, Operation, OperationDigest, OperationKind, Reason, StepKind, StepNumber};

/// A step that may be called.
pub(super) struct CheckedStep {
    /// With these.
    pub(super) arguments: Value,
    /// It is a transaction that may write.
    pub(super) may_write: bool,
    /// What undoes it.
    pub(super) undo: Option<String>,
}

impl Gate {
    /// A transaction or a communicator.
    ///
    /// # Errors
    /// When the instance is given up.
    pub async fn step(&mut self, kind: OperationKind, name: &str, arguments: &str) -> Answer<String> {
        if let Some(record) = self.history.recall(kind, name, arguments) {
            self.time.deliver(record.completed_at);
            self.log.replaying(self.history.is_replaying());
            return Ok(answer(record.result));
        }
        let CheckedStep { arguments, may_write, undo } = match self.check_step(kind, name, arguments) {
            Ok(checked) => checked,
            Err(failure) => return Ok(Err(failure)),
        };
        let operation = Operation { kind, name: name.into(), arguments };
        let (number, found) = self.take(&operation)?;
        if let Some(record) = found {
            return Ok(answer(record.result));
        }
        let text = operation.arguments.to_string();
        if let Some(undo) = &undo {
            // Nothing of it begins before it is known how it is undone, and from what it was made.
            self.before_effect().await?;
            let new = NewUndo { claim: &self.claim, number, step: name, undo, arguments: &text };
            self.services.register_undo(new).await?;
        } else if may_write {
            self.began_with_transaction |= number == StepNumber::FIRST;
            self.before_transaction().await?;
        } else {
            self.before_step().await?;
        }
        let digest = OperationDigest::of(&operation);
        let arguments = text;
        let (claim, program, trace, log) = (&self.claim, &self.program, self.inherited.trace, &self.log);
        let start = self.start.as_ref();
        let behind = Behind::of((start, &self.chain), claim, &self.services, log);
        let (behind, undo) = (behind.as_ref(), undo.as_deref());
        let call =
            StepCall { claim, program, number, name, arguments: &arguments, digest, trace, start, behind, undo, log };
        let waits = self.services.waits(&self.claim, Reason::steps([number]));
        let end = self.handles.beside(self.services.run_step(call)).await?;
        drop(waits);
        failpoint::hit("gate.after_effect").await;
        match end.commit {
            Commit::Done => {
                self.budget.recorded(&end.result);
                self.settle().await?;
            }
            Commit::Ahead(ahead) => {
                self.budget.recorded(&end.result);
                self.ahead = Some(ahead);
                self.log.hold(self.chain.open().1);
            }
            Commit::Journal => {
                if may_write {
                    // The transaction has carried nothing: it was rolled back.
                    self.settle().await?;
                }
                let mut record = self.new_record(number, (&operation.name, digest), end.result.clone());
                (record.started_at, record.completed_at) = (end.started_at, end.completed_at);
                self.record(record).await?;
            }
        }
        self.time.deliver(end.completed_at);
        failpoint::hit("gate.before_answer").await;
        Ok(answer(end.result))
    }

    /// The component is pinned, so what is refused here is refused in each replay, and takes no number.
    pub(super) fn check_step(&self, kind: OperationKind, name: &str, arguments: &str) -> Result<CheckedStep, Failure> {
        let entry = self.program.manifest.step(name).filter(|step| match step.kind {
            StepKind::Transaction { .. } => kind == OperationKind::Transaction,
            StepKind::Communicator { .. } => kind == OperationKind::Communicator,
        });
        let Some(entry) = entry else {
            let text = format!("the app has no {} `{name}`", kind.as_str());
            return Err(Failure::new("Error", Code("unknown_step"), text).not_retryable());
        };
        let arguments = parse_arguments(arguments)?;
        arguments.check_names(&entry.parameters).map_err(bad_arguments)?;
        let may_write = matches!(entry.kind, StepKind::Transaction { read_only: false, .. });
        Ok(CheckedStep { arguments: Value::Object(arguments.0), may_write, undo: entry.undo.clone() })
    }

    /// As [`Self::before_effect`], for a transaction, which carries a start that is not written yet. It must be the first to
    /// do so: one that waits for its commit carries the start already, and has to be committed before anything else begins.
    async fn before_transaction(&mut self) -> Result<(), Interrupt> {
        match self.start.take() {
            Some(start) if self.ahead.is_none() && start.carry() => {
                // Nothing else can be open: whatever else takes a number settles the start first.
                self.start = Some(start);
                self.may_act().await
            }
            start => {
                self.start = start;
                self.before_effect().await
            }
        }
    }
}
