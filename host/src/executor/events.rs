//! Events of runs: waiting for them, and telling processes of DBOS that they were set.
//!
//! Problem: whoever waits for an event with an SDK of DBOS listens for a notification, and looks by itself only once a
//! minute. A notification in each commit of the journal would cost most of its throughput. So what was set is told a moment
//! later, much of it in one commit, and nobody here waits for that.

use std::time::Duration;

use tokio::sync::mpsc;

use super::Executor;
use crate::database::{Database, until_answered};
use crate::workflow::{Key, RecordedResult, Signal, WorkflowId};

/// Notifications that wait to be told; beyond them somebody hears of an event a minute late.
const QUEUE: usize = 4096;

/// How long what was set waits for more. It costs a commit, and twenty a second are no load.
const GATHER: Duration = Duration::from_millis(50);

/// Notifications in one statement.
const PAGE: usize = 1000;

/// The longest notification that Postgres takes, in bytes. One more would be an error of all that go with it.
const MAX_NOTIFICATION: usize = 7999;

/// How long the database may take, before a page is left untold.
const TIMEOUT: Duration = Duration::from_secs(10);

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

/// The front of the task that tells processes of DBOS what was set (lifetime: the process).
#[derive(Debug, Clone)]
pub(super) struct Teller(mpsc::Sender<String>);

impl Teller {
    /// Starts the task, which ends with the last front.
    pub(super) fn open(database: Database) -> Self {
        let (sender, payloads) = mpsc::channel(QUEUE);
        tokio::spawn(work(database, payloads));
        Self(sender)
    }

    /// Has it told, if it is an event and there is room.
    pub(super) fn tell(&self, signal: &Signal) {
        if let Signal::Event(run, key) = signal {
            let payload = format!("{run}::{}", key.as_str());
            if payload.len() <= MAX_NOTIFICATION {
                // Without room they find it by themselves.
                let _ = self.0.try_send(payload);
            }
        }
    }
}

async fn work(database: Database, mut payloads: mpsc::Receiver<String>) {
    let mut page = Vec::new();
    while payloads.recv_many(&mut page, PAGE).await > 0 {
        tokio::time::sleep(GATHER).await;
        while page.len() < PAGE
            && let Ok(more) = payloads.try_recv()
        {
            page.push(more);
        }
        page.sort_unstable();
        page.dedup();
        match tokio::time::timeout(TIMEOUT, database.tell_of_events(&page)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("cannot tell of events: {error}"),
            Err(elapsed) => tracing::debug!("cannot tell of events: {elapsed}"),
        }
        page.clear();
    }
}
