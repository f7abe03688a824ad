//! What a run can wait for besides a time: something that others do.
//!
//! A signal says that it is worth looking again, and nothing more: what has happened is read in the database by whoever
//! hears it. So one that comes too early or twice costs a look, and only one that never comes would be a fault.

use std::fmt;
use std::sync::Arc;

use super::WorkflowId;

/// What messages of a run are kept apart by.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Topic(Arc<str>);

impl Topic {
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
    Stream(WorkflowId, Key, i32),
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(run) => write!(f, "the end of `{run}`"),
            Self::Message(run, topic) => write!(f, "a message to `{run}` under `{}`", topic.as_str()),
            Self::Event(run, key) => write!(f, "the event `{}` of `{run}`", key.as_str()),
            Self::Stream(run, key, offset) => write!(f, "value {offset} of the stream `{}` of `{run}`", key.as_str()),
        }
    }
}
