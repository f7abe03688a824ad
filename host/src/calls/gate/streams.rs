//! Streams: values that a run shows one behind the other, and reading those of any run.
//!
//! A value and the record of its being written are one write, as for events, and what comes later stands behind it: so values
//! have the order of the calls, whatever crashes. What a run reads is recorded, one number for each value, and that there is no
//! more is recorded too: a replay must come to the same end, also of a stream that has gone on since.

use std::collections::HashSet;

use serde_json::json;

use super::events::key_of;
use super::{Answer, Gate};
use crate::calls::arguments::parse_value;
use crate::calls::interrupt::{Interrupt, WaitFor};
use crate::calls::streams::{ReadAhead, StreamPlace, stream_of, value_or_end};
use crate::database::Effect;
use crate::workflow::{CLOSED, Code, Failure, Key, Operation, OperationKind, RecordedResult};

/// What a gate knows of streams (lifetime: one instance).
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// Those that the run has closed, in this instance's calls or in those that history has answered.
    closed: HashSet<Key>,
    ahead: Option<ReadAhead>,
}

impl Streams {
    /// Those that were closed before the history begins.
    pub(super) fn closed_before(closed: impl Iterator<Item = Key>) -> Self {
        Self { closed: closed.collect(), ahead: None }
    }

    /// The names of those that are closed, in an order that is always the same.
    pub(super) fn closed(&self) -> Vec<String> {
        let mut names: Vec<String> = self.closed.iter().map(|key| key.as_str().to_owned()).collect();
        names.sort_unstable();
        names
    }
}

impl Gate {
    /// Writes a value to a stream of this run. When it returns, the value is on its way, in front of whatever the run does
    /// next.
    ///
    /// # Errors
    /// When the instance is given up.
    pub async fn write_stream(&mut self, key: &str, value: String) -> Answer<()> {
        let contents = match self.open_stream(key).and_then(|_| parse_value(&value)) {
            Ok(contents) if contents.as_str() == Some(CLOSED.trim_matches('"')) => return Ok(Err(reserved())),
            Ok(contents) => contents,
            Err(failure) => return Ok(Err(failure)),
        };
        let arguments = json!({ "key": key, "value": contents });
        let operation = Operation { kind: OperationKind::WriteStream, name: "DBOS.writeStream".into(), arguments };
        self.note(&operation, Some(Effect::Stream { key: key.into(), value })).await.map(Ok)
    }

    /// Closes a stream of this run: nothing comes behind what it has.
    ///
    /// # Errors
    /// When the instance is given up.
    pub async fn close_stream(&mut self, key: &str) -> Answer<()> {
        let name = match self.open_stream(key) {
            Ok(name) => name,
            Err(failure) => return Ok(Err(failure)),
        };
        let arguments = json!({ "key": key });
        let operation = Operation { kind: OperationKind::CloseStream, name: "DBOS.closeStream".into(), arguments };
        self.note(&operation, Some(Effect::Stream { key: key.into(), value: CLOSED.into() })).await?;
        self.streams.closed.insert(name);
        Ok(Ok(()))
    }

    /// A stream that this run may write to. The calls are the same in each replay, so what is refused here is refused there.
    fn open_stream(&self, key: &str) -> Result<Key, Failure> {
        let name = key_of(key)?;
        if self.streams.closed.contains(&name) {
            let text = format!("the stream `{key}` is closed");
            return Err(Failure::new("Error", Code("stream_closed"), text).not_retryable());
        }
        Ok(name)
    }

    /// A value of a stream; it is recorded, and so is that there is none and never will be.
    ///
    /// # Errors
    /// When the instance is given up, as it is in a long wait.
    pub async fn read_stream(&mut self, id: &str, key: &str, offset: u32) -> Answer<Option<String>> {
        let place = match stream_of(id, key, offset) {
            Ok(place) => place,
            Err(failure) => return Ok(Err(failure)),
        };
        let arguments = json!({ "id": id, "key": key, "offset": offset });
        let operation = Operation { kind: OperationKind::ReadStream, name: "DBOS.readStream".into(), arguments };
        let (number, found) = self.take(&operation)?;
        if let Some(record) = found {
            return Ok(value_or_end(record.result));
        }
        self.before_step().await?;
        let started_at = self.services.clock().now();
        let result = match ReadAhead::take(&mut self.streams.ahead, &place) {
            Some(value) => value,
            None => self.await_value(&place).await?,
        };
        let mut record = self.record_of(number, &operation, result.clone());
        record.started_at = started_at;
        self.conclude(record).await?;
        Ok(value_or_end(result))
    }

    /// Waits for what stands at a place of a stream.
    async fn await_value(&mut self, place: &StreamPlace) -> Result<RecordedResult, Interrupt> {
        // Whoever looks must find what this run has written before, and what others have done because of it.
        self.settle_beside().await?;
        let (services, signals) = (self.services.clone(), place.signals());
        let mut listening = None;
        loop {
            if let Some(result) = ReadAhead::look(&mut self.streams.ahead, &*services, place).await {
                return Ok(result);
            }
            match &listening {
                // What comes from here on is heard, and what has come until then is seen by another look.
                None => listening = Some(services.listen(&signals)),
                Some(listening) => {
                    self.wait(WaitFor { until: None, signals: signals.clone().into() }, listening).await?;
                }
            }
        }
    }
}

fn reserved() -> Failure {
    let text = format!("the value {CLOSED} marks the end of a stream; nothing else can be it");
    Failure::new("Error", Code("reserved_value"), text).not_retryable()
}
