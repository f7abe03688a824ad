//! Reading the streams of runs, and waiting for more of them.

use super::Executor;
use crate::database::until_answered;
use crate::workflow::{Key, Offset, Signal, StreamPage, Then, WorkflowId};

impl Executor {
    /// What a stream has from an offset on, as far as it fits into a page; without the database it waits until that is back.
    /// `None`: there is no such run.
    pub async fn stream_so_far(&self, run: &WorkflowId, key: &Key, from: Offset) -> Option<StreamPage> {
        until_answered("read a stream", || self.database.stream(run, key, from)).await
    }

    /// The same, as soon as there is something, or never will be. `None`: there is no such run.
    pub async fn stream_from(&self, run: &WorkflowId, key: &Key, from: Offset) -> Option<StreamPage> {
        let listening = self.listening(&Signal::of_stream(run, key, from));
        loop {
            let page = self.stream_so_far(run, key, from).await?;
            if !page.values.is_empty() || page.then == Then::End {
                return Some(page);
            }
            listening.heard().await;
        }
    }
}
