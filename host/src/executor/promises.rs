//! Promises of runs: the links to them, and settling them for those who are no runs.

use serde_json::Value;

use super::{Executor, SendError};
use crate::database::{Outcome, nobody, until_answered};
use crate::workflow::{PromiseName, RecordedResult, Status, WorkflowId, path_segment};

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// The promise is settled so, by this or by one before that says the same.
    Settled,
    /// It was settled otherwise before, and stays so.
    Otherwise,
    /// Its run has ended without it.
    TooLate,
}

impl Executor {
    /// The path by which whoever has it may settle a promise.
    pub(super) fn link_to(&self, run: &WorkflowId, name: &PromiseName) -> String {
        let signature = self.signer.sign(run, name);
        format!(
            "/workflows/{}/promises/{}?signature={signature}",
            path_segment(run.as_str()),
            path_segment(name.as_str())
        )
    }

    /// True for the signature of this promise.
    #[must_use]
    pub fn is_signed(&self, run: &WorkflowId, name: &PromiseName, signature: &str) -> bool {
        self.signer.is_signed(run, name, signature)
    }

    /// Settles a promise, unless it is settled. When this returns, what it says is durable.
    ///
    /// # Errors
    /// When there is no such run, or the message cannot be sent.
    pub async fn settle(&self, run: &WorkflowId, name: &PromiseName, message: String) -> Result<Settlement, SendError> {
        let own: Option<Value> = serde_json::from_str(&message).ok();
        if let Some(there) = self.settlement(run, name).await {
            return Ok(compared(own.as_ref(), &there));
        }
        match self.outcome_so_far(run).await {
            None => return Err(SendError::Nobody(nobody(run).message)),
            // A run that was given up is resumed as a rule, when what was in its way is mended, and would wait in vain.
            Some(None | Some(Outcome::Failed(Status::MaxRecoveryAttemptsExceeded, _))) => {}
            Some(Some(_ended)) => return Ok(Settlement::TooLate),
        }
        self.send_once(run, &name.topic(), (message, Some(&name.key()))).await?;
        // Somebody else's may have come first.
        let there = self.settlement(run, name).await.ok_or_else(|| SendError::Nobody(nobody(run).message))?;
        Ok(compared(own.as_ref(), &there))
    }

    async fn settlement(&self, run: &WorkflowId, name: &PromiseName) -> Option<RecordedResult> {
        let key = name.key();
        let message = until_answered("read a settlement", || self.database.message(run, &key)).await;
        message.map(|(_, settlement)| settlement)
    }
}

fn compared(own: Option<&Value>, there: &RecordedResult) -> Settlement {
    let there = match there {
        RecordedResult::Output(message) => serde_json::from_str(message).ok(),
        RecordedResult::Failed(_) | RecordedResult::Nothing => None,
    };
    let is_same = own.is_some_and(|own| there.as_ref() == Some(own));
    if is_same { Settlement::Settled } else { Settlement::Otherwise }
}
