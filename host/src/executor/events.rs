//! Events of runs, and waiting for them.

use super::Executor;
use crate::database::until_answered;
use crate::workflow::{Key, RecordedResult, Signal, WorkflowId};

impl Executor {
    /// An event of a run as the database has it; without the database it waits until that is back. `None`: it is not set.
    pub async fn event_so_far(&self, run: &WorkflowId, key: &Key) -> Option<RecordedResult> {
        until_answered("read an event", || self.database.event(run, key)).await
    }

    /// An event of a run, however long it takes until it is set.
    pub async fn event_of(&self, run: &WorkflowId, key: &Key) -> RecordedResult {
        let listening = self.listening(&[Signal::Event(run.clone(), key.clone())]);
        loop {
            match self.event_so_far(run, key).await {
                Some(value) => return value,
                None => listening.heard().await,
            }
        }
    }
}
