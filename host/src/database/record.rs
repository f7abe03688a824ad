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
    /// The digest of the call. None: it is part of the call before it, as the deadline of a wait is.
    pub digest: Option<OperationDigest>,
    /// How the step ended.
    pub result: RecordedResult,
    /// The run that it waited for or started.
    pub child: Option<WorkflowId>,
    /// When it began.
    pub started_at: EpochMs,
    /// When it ended, or will (a sleep). A deadline that stands beside a wait has ended when it was written: a run is taken
    /// for a sleeper until its last record's end.
    pub completed_at: EpochMs,
    /// What is written if the record is, and only then. The record of a child's start and that of a transaction have none.
    pub effect: Option<Effect>,
}

impl NewRecord {
    /// The size of what the guest put into it.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        let of_effect = |effect: &Effect| match effect {
            Effect::Event { key, value } | Effect::Stream { key, value } => key.len() + value.len(),
        };
        self.result.payload_bytes() + self.effect.as_ref().map_or(0, of_effect)
    }
}

/// What a record changes in the system database beside itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The event `key` of the run has this JSON text from now on.
    Event {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
    },
    /// The stream `key` of the run goes on with this JSON text.
    Stream {
        /// Its name.
        key: String,
        /// The value, or [`CLOSED`](crate::workflow::CLOSED).
        value: String,
    },
}
