//! What a run can wait for besides a time: something that others do.
//!
//! A signal says that it is worth looking again, and nothing more: what has happened is read in the database by whoever
//! hears it. So one that comes too early or twice costs a look, and only one that never comes would be a fault.

use std::fmt;
use std::sync::Arc;

use super::WorkflowId;
use super::id::{InvalidName, check_text};
use super::stream::Offset;

/// What messages of a run are kept apart by.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Topic(Arc<str>);

/// How DBOS stores that a message has no topic.
const NO_TOPIC: &str = "__null__topic__";

impl Topic {
    /// Checks a text from outside. None: messages without a topic, which are kept apart from the others too.
    ///
    /// # Errors
    /// When it is empty, longer than 255 bytes, or has control characters.
    pub fn parse(text: Option<&str>) -> Result<Self, InvalidName> {
        let Some(text) = text else { return Ok(Self(NO_TOPIC.into())) };
        check_text("topic", text)?;
        Ok(Self(text.into()))
    }

    /// A topic as the database has it.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// As the database stores it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As people know it. `None`: that of messages without one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        Some(self.as_str()).filter(|text| *text != NO_TOPIC)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.0)
    }
}

/// The name of an event or a stream of a run.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Checks a text from outside.
    ///
    /// # Errors
    /// When it is empty, longer than 255 bytes, or has control characters.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        check_text("key", text)?;
        Ok(Self(text.into()))
    }

    /// A key as the database has it.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// As the database stores it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0)
    }
}

/// Something that others do and somebody may wait for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Signal {
    /// The run has ended, or is gone.
    Ended(WorkflowId),
    /// There is a message for the run under the topic that nobody has taken.
    Message(WorkflowId, Topic),
    /// The run has set the event.
    Event(WorkflowId, Key),
    /// The stream of the run has a value at the offset, or the run has ended and it never will.
    Stream(WorkflowId, Key, Offset),
    /// Something was written to the stream of the run. Whoever writes does not know at which offset, which the database gives
    /// out; so this is what can be raised by the host of the writer, and the one before is what can be looked for.
    Appended(WorkflowId, Key),
}

impl Signal {
    /// What tells that a stream has a value at an offset, or never will: its writer in this process, the look for what others
    /// write, and the end of its run.
    #[must_use]
    pub fn of_stream(run: &WorkflowId, key: &Key, offset: Offset) -> [Self; 3] {
        let (run, key) = (run.clone(), key.clone());
        [Self::Stream(run.clone(), key.clone(), offset), Self::Appended(run.clone(), key), Self::Ended(run)]
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(run) => write!(f, "the end of `{run}`"),
            Self::Message(run, topic) => write!(f, "a message to `{run}` under `{}`", topic.as_str()),
            Self::Event(run, key) => write!(f, "the event `{}` of `{run}`", key.as_str()),
            Self::Stream(run, key, offset) => write!(f, "value {offset} of the stream `{}` of `{run}`", key.as_str()),
            Self::Appended(run, key) => write!(f, "more of the stream `{}` of `{run}`", key.as_str()),
        }
    }
}
