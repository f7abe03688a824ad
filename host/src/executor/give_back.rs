//! Attempts that ended in a wait.
//!
//! Problem: an attempt is counted before its instance is made, and counts until the run has a new record. A run that is
//! replayed only to find that it has to go on waiting records nothing. So a parent whose child lasts for a month would be
//! given up after a hundred crashes of its host, with nothing wrong about it, and before that each take-over would back it
//! off longer, up to an hour in which it hears nothing. Therefore such an attempt is given back.
//!
//! This is no way around the limit. What is given back is one attempt for each instance that came to a wait by itself and is
//! gone, and never another's: an instance that takes its host down stays counted, whatever the run does in later attempts, and
//! one that crashes and parks by turns pays for each crash. The first attempt behind a record is not given back: it holds
//! nothing up, the next record makes it void anyway, and nearly every run that parks for the first time is spared a write.
//!
//! Nobody waits for it, and it is not tried twice: whoever goes away in between leaves one attempt too many counted.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::database::{Claim, Database};

/// Claims that wait for the task; beyond them attempts stay counted. Each is some hundred bytes.
const QUEUE: usize = 10_000;

/// Claims in one statement, as many as the statement takes at once.
const PAGE: usize = 1000;

/// How long the database may take for a page, before it is left as it is.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The front of the task that gives attempts back (lifetime: the process).
#[derive(Debug)]
pub(super) struct GiveBack(mpsc::Sender<Claim>);

impl GiveBack {
    /// Starts the task, which ends with its front.
    pub(super) fn open(database: Database) -> Self {
        let (sender, claims) = mpsc::channel(QUEUE);
        tokio::spawn(work(database, claims));
        Self(sender)
    }

    /// An instance of the run has come to a wait, as the attempt with this number in a row. True: it counts no more, so
    /// that nobody else must give it back.
    pub(super) fn waits(&self, claim: &Claim, attempts: u32) -> bool {
        attempts > 1 && self.0.try_send(claim.clone()).is_ok()
    }
}

/// What came while the last statement was under way goes into the next.
async fn work(database: Database, mut claims: mpsc::Receiver<Claim>) {
    let mut page = Vec::new();
    while claims.recv_many(&mut page, PAGE).await > 0 {
        match tokio::time::timeout(TIMEOUT, database.give_back_attempts(&page)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("cannot give attempts back: {error}"),
            Err(elapsed) => tracing::debug!("cannot give attempts back: {elapsed}"),
        }
        page.clear();
    }
}
