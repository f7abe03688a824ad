//! The record of a step: what is kept of it so that it need not run again.

use super::claim::Claim;
use crate::workflow::{AppName, EpochMs, OperationDigest, RecordedResult, StepNumber, WorkflowId};

/// A record to be written.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// Proof that this host owns the run.
    pub claim: Claim,
    /// The run's app.
    pub app: AppName,
    /// The number of the step.
    pub step: StepNumber,
    /// `function_name`.
    pub name: String,
    /// The digest of the call.
    pub digest: OperationDigest,
    /// How the step ended.
    pub result: RecordedResult,
    /// The run that it waited for or started.
    pub child: Option<WorkflowId>,
    /// When it began.
    pub started_at: EpochMs,
    /// When it ended, or will (a sleep).
    pub completed_at: EpochMs,
}
