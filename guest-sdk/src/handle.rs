//! Runs of workflows, seen from outside.

use std::{fmt, marker::PhantomData};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Result, arguments::decode_result, host};

/// A run of a workflow that returns a `T`.
///
/// It is no more than the run's id: dropping it changes nothing, and any program that knows the id can make another
/// with [`Handle::of`].
pub struct Handle<T> {
    id: String,
    result: PhantomData<fn() -> T>,
}

impl<T> Handle<T> {
    /// The handle of the run with this id. Whether there is such a run, and whether its result is a `T`, is found out
    /// by [`Handle::join`].
    pub fn of(id: impl Into<String>) -> Self {
        Handle { id: id.into(), result: PhantomData }
    }

    /// The id of the run.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits for the end of the run and returns its result, or its error with everything that was recorded of it.
    ///
    /// Available in handlers and workflows. In a workflow the wait is a step: what it returned once, it returns in
    /// every replay.
    pub fn join(&self) -> Result<T>
    where
        T: DeserializeOwned,
    {
        decode_result(&self.id, &host::outcome(&self.id)?)
    }

    /// Sends a message to the run; see [`send`](crate::send).
    pub fn send(&self, topic: &str, value: &(impl Serialize + ?Sized)) -> Result<()> {
        crate::send(&self.id, topic, value)
    }

    /// The values of the stream `key` of the run; see [`read_stream`](crate::read_stream).
    #[must_use]
    pub fn stream<V: DeserializeOwned>(&self, key: &str) -> crate::StreamValues<V> {
        crate::read_stream(&self.id, key)
    }

    /// The event `key` of the run; see [`get_event`](crate::get_event).
    pub fn event<E: DeserializeOwned>(&self, key: &str) -> Result<Option<E>> {
        crate::get_event(&self.id, key)
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Handle::of(self.id.clone())
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.id).finish()
    }
}

/// How a workflow is started.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    id: Option<String>,
}

impl StartOptions {
    /// The defaults.
    pub fn new() -> Self {
        StartOptions::default()
    }

    /// The id of the run. If there is a run with this id already, none is started and the handle is that of the first,
    /// so a start under an id of one's own can safely be repeated.
    ///
    /// Without it, the id is `<parent>-<step number>` in a workflow and a new UUIDv7 in a handler.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    pub(crate) fn into_id(self) -> Option<String> {
        self.id
    }
}

/// The id of the run that this code works for. Available in workflows and their steps.
pub fn workflow_id() -> Result<String> {
    host::workflow_id()
}
