//! Loading runs so that they can go on: the attempt is counted, and the history is read.
//!
//! Problem: a host that was restarted loads thousands of runs at once, and each needs a commit and some reads. One after
//! the other, each over a connection of a pool, they take as long as so many round trips and waits for the disk. So one
//! task loads many at once, with a connection of its own: whoever comes while the last ones are being loaded is among the
//! next. There is no timer, and a lone run is loaded at once.
//!
//! What must hold: an attempt is durable before anybody hears of it; a run whose row is locked, or that the server cannot
//! load, costs nobody else anything; and no run, however large, holds up the small ones or is multiplied in memory: what is
//! read at once is bounded (`plan`), and what is larger by itself is read by itself.
//!
//! Nothing is remembered here from one run to the next. A run that could not be loaded is told so, and comes again.

mod plan;
#[cfg(test)]
mod tests;
mod work;

use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Row;

use self::work::Work;
use super::attempt::{self, Attempt};
use super::claim::Claim;
use super::connection::Database;
use super::error::DatabaseError;
use super::history::Stored;
use crate::workflow::Record;

/// Runs that wait to be loaded. Each has a slot for its instance already, so there are no more than those; whoever comes
/// when it is full waits.
const QUEUE: usize = 1024;

/// A run with what it needs to go on.
#[derive(Debug)]
pub struct Loaded {
    /// Its attempt, counted.
    pub attempt: Attempt,
    /// Its records, in the order of the steps.
    pub records: Vec<Record>,
}

/// What became of loading a run.
#[derive(Debug)]
pub enum Load {
    /// It can go on. The attempt is durable.
    Ready(Box<Loaded>),
    /// This host does not own the run any more. Nothing was counted.
    NotOwner,
    /// Somebody else has locked its row. Nothing was counted; it may work in a while.
    Locked,
    /// The database answers, and cannot load this run. What was counted has been given back, if the database let it.
    Failed(DatabaseError),
}

/// The task that loads is gone: the host is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nothing is loaded any more because the host is shutting down")]
pub struct LoaderClosed;

/// The front of the task that loads runs (lifetime: the process).
#[derive(Debug, Clone)]
pub struct Loader(mpsc::Sender<Wanted>);

/// A run that is to be loaded.
#[derive(Debug)]
struct Wanted {
    claim: Claim,
    answer: oneshot::Sender<Answer>,
}

/// What the task found, as it came from the server: each run makes values of its own rows, so that many do so at once.
#[derive(Debug)]
enum Answer {
    Found(Row, Stored),
    NotOwner,
    Locked,
    Failed(DatabaseError),
}

impl Wanted {
    /// The run may be gone (it was cancelled): then nobody needs to know.
    fn tell(self, answer: Answer) {
        let _ = self.answer.send(answer);
    }
}

impl Loader {
    /// Opens it: one task with a connection of its own, which ends when the last front is dropped.
    #[must_use]
    pub fn open(database: Database) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(Work::new(database).run(receiver));
        Self(sender)
    }

    /// Counts an attempt of a run and reads what an instance needs. While the database is away, it waits.
    ///
    /// # Errors
    /// When the host is shutting down.
    pub async fn load(&self, claim: &Claim) -> Result<Load, LoaderClosed> {
        let (answer, told) = oneshot::channel();
        self.0.send(Wanted { claim: claim.clone(), answer }).await.map_err(|_| LoaderClosed)?;
        Ok(match told.await.map_err(|_| LoaderClosed)? {
            Answer::Found(row, mut stored) => {
                let attempt = attempt::attempt(&row, stored.inputs.take());
                Load::Ready(Box::new(Loaded { attempt, records: stored.records() }))
            }
            Answer::NotOwner => Load::NotOwner,
            Answer::Locked => Load::Locked,
            Answer::Failed(error) => Load::Failed(error),
        })
    }
}
