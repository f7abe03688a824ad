//! Sending messages for those who are no runs.

use super::Executor;
use crate::calls::MAX_PAYLOAD;
use crate::database::{Entry, Landed, NewSend, nobody};
use crate::workflow::{Failure, Topic, WorkflowId};

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It is too large.
    #[error("the message has {0} bytes, more than the limit of {MAX_PAYLOAD}")]
    TooLarge(usize),
    /// There is no such run.
    #[error("{0}")]
    Nobody(String),
    /// The database refuses it.
    #[error("{}", .0.message)]
    Refused(Failure),
    /// The host stops.
    #[error("the host is shutting down")]
    ShuttingDown,
}

impl Executor {
    /// Sends a message to a run. When this returns, it is durable; with a key that was used for the run before, nothing is
    /// sent.
    ///
    /// # Errors
    /// When it was not sent; if the host stops, it may have been.
    pub async fn send(
        &self,
        to: &WorkflowId,
        topic: &Topic,
        (message, key): (String, Option<&str>),
    ) -> Result<(), SendError> {
        if message.len() > MAX_PAYLOAD {
            return Err(SendError::TooLarge(message.len()));
        }
        let message = NewSend::new(None, to.clone(), topic.clone(), message, key);
        match self.journal.write(Entry::Send(Box::new(message))).await {
            Ok(Landed::Nobody) => Err(SendError::Nobody(nobody(to).message)),
            Ok(Landed::Refused(failure)) => Err(SendError::Refused(failure)),
            Ok(_) => Ok(()),
            Err(_closed) => Err(SendError::ShuttingDown),
        }
    }
}
