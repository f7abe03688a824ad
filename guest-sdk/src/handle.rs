//! Runs of workflows, seen from outside.

use std::{fmt, marker::PhantomData, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Result, RunStatus, arguments::decode_result, host, sleep::milliseconds};

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
    pub fn stream<V: DeserializeOwned>(&self, key: &str) -> crate::StreamValues<V> {
        crate::read_stream(&self.id, key)
    }

    /// The event `key` of the run; see [`get_event`](crate::get_event).
    pub fn event<E: DeserializeOwned>(&self, key: &str) -> Result<Option<E>> {
        crate::get_event(&self.id, key)
    }

    /// As [`join`](Self::join), but waits for so long at most. `None`: the run has not ended by then. It goes on; whoever wants
    /// it ended calls [`cancel`](Self::cancel).
    ///
    /// Available in handlers and workflows. In a workflow it takes two numbers. When the wait ends is durable before it begins,
    /// so a crash does not start it anew; that the run had not ended by then is recorded too, and stays so in every replay.
    ///
    /// # Errors
    /// The error of the run. `wait_too_long`, without a record: the time is longer than a hundred years.
    pub fn join_within(&self, time: Duration) -> Result<Option<T>>
    where
        T: DeserializeOwned,
    {
        let outcome = host::outcome_within(&self.id, milliseconds(time))?;
        outcome.map(|json| decode_result(&self.id, &json)).transpose()
    }

    /// What the run's row says, see [`run_status`](crate::run_status).
    pub fn status(&self) -> Result<Option<RunStatus>> {
        crate::run_status(&self.id)
    }

    /// Cancels the run, see [`cancel`](crate::cancel).
    pub fn cancel(&self) -> Result<()> {
        crate::cancel(&self.id)
    }

    /// Cancels the run and everything that it has started, see [`cancel_with_children`](crate::cancel_with_children).
    pub fn cancel_with_children(&self) -> Result<()> {
        crate::cancel_with_children(&self.id)
    }

    /// Lets the run go on, see [`resume`](crate::resume).
    pub fn resume(&self) -> Result<()> {
        crate::resume(&self.id)
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

/// The id of the run that this code works for. Available in workflows and their steps.
pub fn workflow_id() -> Result<String> {
    host::workflow_id()
}
