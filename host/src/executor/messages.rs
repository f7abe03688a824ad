//! Sending messages for those who are no runs.

use serde_json::Value;

use super::Executor;
use crate::calls::MAX_PAYLOAD;
use crate::database::{Entry, Landed, NewSend, nobody, until_answered};
use crate::workflow::{Failure, RecordedResult, Topic, WorkflowId};

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It is too large.
    #[error("the message has {0} bytes, more than the limit of {MAX_PAYLOAD}")]
    TooLarge(usize),
    /// Another one was sent with its key.
    #[error(
        "another message was sent under this key: with other contents, about something else, or to another run\n  hint: a new \
         message needs a new key"
    )]
    Otherwise,
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
    /// Sends a message to a run. When this returns, it is durable. With a key that was used for the same message before,
    /// nothing is sent.
    ///
    /// # Errors
    /// When it was not sent; if the host stops, it may have been.
    pub async fn send(
        &self,
        to: &WorkflowId,
        topic: &Topic,
        (message, key): (String, Option<&str>),
    ) -> Result<(), SendError> {
        let Some(key) = key else { return self.send_once(to, topic, (message, None)).await };
        let own: Option<Value> = serde_json::from_str(&message).ok();
        self.send_once(to, topic, (message, Some(key))).await?;
        // Whoever has sent it. Its row goes with the run only.
        let there = until_answered("read a message", || self.database.message(to, key)).await;
        let is_own = there.is_some_and(|(about, there)| match there {
            RecordedResult::Output(there) => about == *topic && serde_json::from_str(&there).ok() == own,
            RecordedResult::Failed(_) | RecordedResult::Nothing => false,
        });
        if is_own { Ok(()) } else { Err(SendError::Otherwise) }
    }

    /// As [`Self::send`], but with a key that was used before, nothing is sent, whatever was.
    pub(super) async fn send_once(
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
