//! `streams`: values that a run shows one behind the other.

use std::collections::VecDeque;

use super::bindings::imports::{streams, types};
use super::gate::{event_of, no_such_workflow, optional};
use super::guest::{Guest, HandlerCalls, Phase, unwind};
use super::services::Services;
use crate::workflow::{CLOSED, Code, Failure, Key, Offset, RecordedResult, Signal, Then, WorkflowId};

impl streams::Host for Guest {
    async fn write(&mut self, key: String, value: String) -> wasmtime::Result<Result<(), types::Failure>> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.write_stream(&key, value).await)?,
            _ => Err(Failure::wrong_phase("streams.write", "a workflow")),
        };
        self.answered(answer)
    }

    async fn close(&mut self, key: String) -> wasmtime::Result<Result<(), types::Failure>> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.close_stream(&key).await)?,
            _ => Err(Failure::wrong_phase("streams.close", "a workflow")),
        };
        self.answered(answer)
    }

    async fn read(
        &mut self,
        id: String,
        key: String,
        offset: u32,
    ) -> wasmtime::Result<Result<Option<String>, types::Failure>> {
        let answer = match self.act().await {
            Phase::Workflow(gate) => unwind(gate.read_stream(&id, &key, offset).await)?,
            Phase::Handler(calls) => calls.read_stream(&id, &key, offset).await,
            _ => Err(Failure::wrong_phase("streams.read", "a workflow or a handler")),
        };
        self.answered(answer)
    }
}

impl HandlerCalls {
    /// Waits for a value of a stream. A handler has little time itself, which ends any longer wait.
    async fn read_stream(&mut self, id: &str, key: &str, offset: u32) -> Result<Option<String>, Failure> {
        let place = stream_of(id, key, offset)?;
        if let Some(value) = ReadAhead::take(&mut self.ahead, &place) {
            return value_or_end(value);
        }
        let mut listening = None;
        loop {
            if let Some(result) = ReadAhead::look(&mut self.ahead, &*self.services, &place).await {
                return value_or_end(result);
            }
            match &listening {
                // What comes from here on is heard, and what has come until then is seen by another look.
                None => listening = Some(self.services.listen(&place.signals())),
                Some(listening) => listening.heard().await,
            }
        }
    }
}

/// A place in a stream of a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StreamPlace {
    run: WorkflowId,
    key: Key,
    offset: Offset,
}

impl StreamPlace {
    pub(super) fn signals(&self) -> [Signal; 3] {
        Signal::of_stream(&self.run, &self.key, self.offset)
    }
}

/// The place that a guest asks for.
pub(super) fn stream_of(id: &str, key: &str, offset: u32) -> Result<StreamPlace, Failure> {
    let (run, key) = event_of(id, key)?;
    let offset = Offset::new(offset).ok_or_else(|| {
        let text = format!("the offset {offset} is larger than that of any value, {}", i32::MAX);
        Failure::new("Error", Code("invalid_offset"), text).not_retryable()
    })?;
    Ok(StreamPlace { run, key, offset })
}

/// What was read of a stream and not asked for yet. Values that are written never change, so whoever asks for one after the
/// other need not ask the database for each.
#[derive(Debug)]
pub(super) struct ReadAhead {
    next: StreamPlace,
    values: VecDeque<RecordedResult>,
}

impl ReadAhead {
    /// What was read of this place.
    pub(super) fn take(ahead: &mut Option<Self>, place: &StreamPlace) -> Option<RecordedResult> {
        let known = ahead.as_mut().filter(|known| known.next == *place)?;
        let value = known.values.pop_front()?;
        known.next.offset = place.offset.plus(1);
        Some(value)
    }

    /// What stands at a place: a value, [`CLOSED`] behind the last one, or a failure if it cannot be read or there is no such
    /// run. `None`: nothing yet.
    pub(super) async fn look(
        ahead: &mut Option<Self>,
        services: &dyn Services,
        place: &StreamPlace,
    ) -> Option<RecordedResult> {
        let StreamPlace { run, key, offset } = place;
        let Some(page) = services.stream(run, key, *offset).await else {
            return Some(RecordedResult::Failed(no_such_workflow(run.as_str())));
        };
        let mut values = VecDeque::from(page.values);
        match values.pop_front() {
            Some(value) => {
                *ahead = Some(Self { next: StreamPlace { offset: offset.plus(1), ..place.clone() }, values });
                Some(value)
            }
            None => (page.then == Then::End).then(|| RecordedResult::Output(CLOSED.into())),
        }
    }
}

/// What was read, as the guest gets it.
pub(super) fn value_or_end(result: RecordedResult) -> Result<Option<String>, Failure> {
    match result {
        RecordedResult::Output(json) if json == CLOSED => Ok(None),
        other => optional(other),
    }
}
