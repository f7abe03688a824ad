//! What a run has recorded, and the question that makes a replay exact: is this call the one that was recorded?
//!
//! There is no recovery mode. A run that starts has an empty history, a recovered one a longer one; both ask the same
//! question at each call ([`History`]). The answer is the record, nothing (the call is new), or a divergence. This module
//! must not know where records come from, nor what is done with an answer.

mod begin;
mod take;

pub use begin::{Beginning, CONTINUED};
pub use take::{History, Next, Pair, Started};

use serde_json::Value;

use super::code::Code;
use super::digest::OperationDigest;
use super::failure::Failure;
use super::id::{StepNumber, WorkflowId};
use super::time::EpochMs;

/// What kind of operation a step is. Part of its digest, so the texts never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// SQL and its record in one commit.
    Transaction,
    /// Talks to the outside.
    Communicator,
    /// Waits for a recorded time.
    Sleep,
    /// Starts another workflow.
    Start,
    /// Waits for another run's outcome.
    Outcome,
    /// Sets an event of the run.
    SetEvent,
    /// Waits for an event of a run.
    GetEvent,
    /// Writes to a stream of the run.
    WriteStream,
    /// Closes a stream of the run.
    CloseStream,
    /// Waits for a value of a stream of a run.
    ReadStream,
    /// Sends a message to a run.
    Send,
    /// Waits for a message to the run.
    Receive,
    /// Waits until a promise of the run is settled.
    Promise,
    /// Reads what another run's row says.
    Status,
    /// Cancels a run.
    Cancel,
    /// Lets a run go on.
    Resume,
    /// Marks that the run takes the way of changed code.
    Patch,
    /// Waits for the first of several started steps.
    Select,
}

impl OperationKind {
    /// The kind as text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Communicator => "communicator",
            Self::Sleep => "sleep",
            Self::Start => "start",
            Self::Outcome => "outcome",
            Self::SetEvent => "set_event",
            Self::GetEvent => "get_event",
            Self::WriteStream => "write_stream",
            Self::CloseStream => "close_stream",
            Self::ReadStream => "read_stream",
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Promise => "promise",
            Self::Status => "status",
            Self::Cancel => "cancel",
            Self::Resume => "resume",
            Self::Patch => "patch",
            Self::Select => "select",
        }
    }
}

/// A call of the guest that is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// What it does.
    pub kind: OperationKind,
    /// The step's name, or DBOS's name of a built-in operation (`DBOS.sleep`).
    pub name: String,
    /// What it was called with.
    pub arguments: Value,
}

/// How a recorded operation ended.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordedResult {
    /// With this JSON text.
    Output(String),
    /// With this failure.
    Failed(Failure),
    /// Without either, and the guest gets `null`: there is nothing to tell (an event was set), or what was waited for did not
    /// come. So a message that is `null` is another thing than none.
    Nothing,
}

impl RecordedResult {
    /// The size of what the guest put into it.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        match self {
            Self::Output(json) => json.len(),
            Self::Failed(failure) => failure.message.len(),
            Self::Nothing => 0,
        }
    }
}

/// A stored step.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its number in the run.
    pub step: StepNumber,
    /// `function_name`.
    pub name: String,
    /// The digest of the call; none for a record that another program wrote or copied.
    pub digest: Option<OperationDigest>,
    /// How it ended.
    pub result: RecordedResult,
    /// The run that it started or waited for.
    pub child: Option<WorkflowId>,
    /// When it began.
    pub started_at: EpochMs,
    /// When it ended. For a sleep this is the wake time.
    pub completed_at: EpochMs,
}

/// `function_name` of a sleep, and of the deadline that stands behind a wait.
pub const SLEEP: &str = "DBOS.sleep";

impl Record {
    /// Until when this sleep or this wait goes on, at most. It stands in the output, in seconds as DBOS writes it; what
    /// another program wrote differently ends with its record.
    #[must_use]
    pub fn wake_time(&self) -> EpochMs {
        match &self.result {
            RecordedResult::Output(json) => EpochMs::from_seconds_json(json).unwrap_or(self.completed_at),
            RecordedResult::Failed(_) | RecordedResult::Nothing => self.completed_at,
        }
    }
}

/// The replayed code does something else than what is recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the replay diverged at step {step}: recorded is {recorded}, but the workflow {came}")]
pub struct Divergence {
    /// Where.
    pub step: StepNumber,
    recorded: String,
    came: String,
}

impl Divergence {
    /// The failure that the run is stopped with.
    #[must_use]
    pub fn to_failure(&self) -> Failure {
        Failure::new("Divergence", Code("divergence"), self.to_string())
    }
}

#[cfg(test)]
mod tests;
