//! The outcome of a run.

use super::claim::Claim;
use crate::workflow::Failure;

/// How a run ends.
#[derive(Debug, Clone)]
pub enum FinalOutcome {
    /// SUCCESS with this JSON text.
    Success(String),
    /// ERROR.
    Error(Failure),
    /// MAX_RECOVERY_ATTEMPTS_EXCEEDED: it stops here and can be resumed.
    DeadLetter(Failure),
}

/// An outcome to be written.
#[derive(Debug, Clone)]
pub struct Finish {
    /// Proof that this host owns the run.
    pub claim: Claim,
    /// How it ended.
    pub outcome: FinalOutcome,
}
