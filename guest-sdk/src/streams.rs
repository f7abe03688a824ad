//! Streams: what a run shows one behind the other.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Result,
    arguments::{decode_result, encode_result},
    host,
};

/// A stream of this run, by its name. It is there with its first value. Available in workflows.
#[must_use]
pub fn stream(key: &str) -> Stream<'_> {
    Stream { key }
}

/// A stream of this run, for writing.
///
/// Everybody may read it, while the run goes on and after: other workflows, handlers, HTTP clients (as server-sent events), SDKs
/// of DBOS.
#[derive(Debug, Clone, Copy)]
pub struct Stream<'a> {
    key: &'a str,
}

impl Stream<'_> {
    /// Writes a value behind the others.
    ///
    /// When this returns, the value is on its way to the disk, in front of whatever the workflow does next. A crash before loses
    /// it together with its record, and the replay writes it again, at the same offset: readers see each value once and in
    /// order.
    ///
    /// # Errors
    /// When the key is not valid, the stream is closed, or the value cannot be written as JSON or is too large. Then nothing is
    /// written.
    pub fn write(&self, value: &(impl Serialize + ?Sized)) -> Result<()> {
        host::write_stream(self.key, &encode_result(self.key, value)?)
    }

    /// Closes the stream: readers are told that there is no more. Without it they are told so when the run ends.
    ///
    /// # Errors
    /// When the key is not valid, or the stream is closed already.
    pub fn close(&self) -> Result<()> {
        host::close_stream(self.key)
    }
}

/// The values of the stream `key` of the run with this id, from its first one. See [`read_stream_from`].
pub fn read_stream<T: DeserializeOwned>(id: &str, key: &str) -> StreamValues<T> {
    read_stream_from(id, key, 0)
}

/// The values of the stream `key` of the run with this id, from this offset on, each as soon as it is there. Available in
/// workflows and handlers.
///
/// It comes to its end when the stream is closed or its run has ended, and after an error. In a workflow each value is recorded,
/// and so is the end: a replay reads the same, whatever the stream has by then. A workflow that waits long for a value costs no
/// memory. A run that reads a stream of its own waits for ever behind what it has written.
pub fn read_stream_from<T: DeserializeOwned>(id: &str, key: &str, offset: u32) -> StreamValues<T> {
    StreamValues { id: id.into(), key: key.into(), next: Some(offset), value: PhantomData }
}

/// The values of a stream that is being read.
#[derive(Debug)]
#[must_use = "nothing is read before it is asked for"]
pub struct StreamValues<T> {
    id: String,
    key: String,
    /// None: it has come to its end.
    next: Option<u32>,
    value: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Iterator for StreamValues<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        let offset = self.next.take()?;
        let value = match host::read_stream(&self.id, &self.key, offset) {
            Ok(json) => decode_result(&self.key, &json?),
            Err(error) => Err(error),
        };
        self.next = offset.checked_add(1).filter(|_| value.is_ok());
        Some(value)
    }
}
