//! Telling processes of DBOS what was written.
//!
//! Problem: whoever waits for an event or reads a stream with an SDK of DBOS listens for a notification, and looks by itself
//! only once a minute. A notification in each commit of the journal would cost most of its throughput. So what was written is
//! told a moment later, much of it in one commit, and nobody here waits for that.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::database::{Channel, Database};
use crate::workflow::Signal;

/// A channel, and what is told there.
type Notification = (Channel, String);

/// Notifications that wait to be told; beyond them somebody hears of it a minute late.
const QUEUE: usize = 4096;

/// How long what was written waits for more. It costs a commit, and twenty a second are no load.
const GATHER: Duration = Duration::from_millis(50);

/// Notifications in one statement.
const PAGE: usize = 1000;

/// The longest notification that Postgres takes, in bytes. One more would be an error of all that go with it.
const MAX_NOTIFICATION: usize = 7999;

/// How long the database may take, before a page is left untold.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The front of the task that tells processes of DBOS what was written (lifetime: the process).
#[derive(Debug, Clone)]
pub(super) struct Teller(mpsc::Sender<Notification>);

impl Teller {
    /// Starts the task, which ends with the last front.
    pub(super) fn open(database: Database) -> Self {
        let (sender, notifications) = mpsc::channel(QUEUE);
        tokio::spawn(work(database, notifications));
        Self(sender)
    }

    /// Has it told, if somebody may listen for it and there is room.
    pub(super) fn tell(&self, signal: &Signal) {
        let (channel, run, key) = match signal {
            Signal::Event(run, key) => (Channel::Events, run, key),
            Signal::Appended(run, key) => (Channel::Streams, run, key),
            Signal::Ended(_) | Signal::Message(..) | Signal::Stream(..) => return,
        };
        let payload = format!("{run}::{}", key.as_str());
        if payload.len() <= MAX_NOTIFICATION {
            // Without room they find it by themselves.
            let _ = self.0.try_send((channel, payload));
        }
    }
}

async fn work(database: Database, mut notifications: mpsc::Receiver<Notification>) {
    let mut page = Vec::new();
    while notifications.recv_many(&mut page, PAGE).await > 0 {
        tokio::time::sleep(GATHER).await;
        while page.len() < PAGE
            && let Ok(more) = notifications.try_recv()
        {
            page.push(more);
        }
        page.sort_unstable();
        page.dedup();
        match tokio::time::timeout(TIMEOUT, database.tell(&page)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("cannot tell processes of DBOS what was written: {error}"),
            Err(elapsed) => tracing::debug!("cannot tell processes of DBOS what was written: {elapsed}"),
        }
        page.clear();
    }
}
