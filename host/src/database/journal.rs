//! The journal: the one way by which records, starts and outcomes reach the database.
//!
//! [`Journal::append`] takes an entry and gives a [`Ticket`], the promise that the entry will be durable; whoever needs
//! to know waits for [`Ticket::durable`]. Between the two the caller may compute, but nothing may leave the instance.
//!
//! What can go wrong is that a commit lands and its answer is lost. The journal then connects anew and sends the same
//! entry again: keys that are unique in the database decide which of the two was first, and an entry that was there
//! already comes back as [`Landed::Exists`] (or `NotOwner`, for an outcome). That an entry cannot be found proves
//! nothing, since the old session may still be committing; so nobody looks, everybody writes again.
//!
//! Each entry is a statement and a commit of its own here. Entries of one run keep their order: they go over one
//! connection, one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Client;

use super::connection::{Backoff, Database};
use super::error::{DatabaseError, is_connection_lost};
use super::finish::{self, Finish};
use super::record::{self, NewRecord};
use super::start::{self, NewRun};
use crate::failpoint;
use crate::workflow::{Code, Failure};

/// Entries that wait to be written. When it is full, `append` waits: a slow database slows the guests down and does not
/// fill the host's memory.
const QUEUE: usize = 4096;

/// How long one statement of the journal may take before it is cancelled and sent again.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Something to be written.
#[derive(Debug)]
pub enum Entry {
    /// A run and its input; for a child, the parent's record too.
    Start(Box<NewRun>),
    /// A step's result.
    Record(Box<NewRecord>),
    /// A run's outcome.
    Finish(Box<Finish>),
}

impl Entry {
    fn point(&self, before: bool) -> &'static str {
        match (self, before) {
            (Self::Start(_), true) => "start.before_commit",
            (Self::Start(_), false) => "start.after_commit",
            (Self::Record(_), true) => "record.before_commit",
            (Self::Record(_), false) => "record.after_commit",
            (Self::Finish(_), true) => "finish.before_commit",
            (Self::Finish(_), false) => "finish.after_commit",
        }
    }
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Landed {
    /// It is durable.
    Written,
    /// Its key was there already while this host owns the run: the first one wins. Drop the instance and replay.
    Exists,
    /// This host does not own the run (any more), or the run has ended. Nothing was written.
    NotOwner,
    /// The database refused it for a reason that the guest must hear.
    Refused(Failure),
}

/// The journal was closed: the host is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal is closed because the host is shutting down")]
pub struct JournalClosed;

/// The promise that an entry will be durable.
#[derive(Debug)]
#[must_use = "nothing is known of an entry whose ticket is dropped"]
pub struct Ticket(oneshot::Receiver<Landed>);

impl Ticket {
    /// Waits until the entry's fate is known. After [`Landed::Written`] no crash undoes it.
    ///
    /// # Errors
    /// When the journal was closed before: the entry may or may not be durable.
    pub async fn durable(self) -> Result<Landed, JournalClosed> {
        self.0.await.map_err(|_| JournalClosed)
    }
}

/// The journal's front (lifetime: the process). Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    sender: mpsc::Sender<Pending>,
    lost_answers: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Pending {
    entry: Arc<Entry>,
    answer: oneshot::Sender<Landed>,
}

impl Journal {
    /// Opens the journal: one task with a connection of its own, which ends when the last front is dropped.
    #[must_use]
    pub fn open(database: Database) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let lost_answers = Arc::new(AtomicBool::new(false));
        tokio::spawn(Writer { database, client: None, lost_answers: Arc::clone(&lost_answers) }.run(receiver));
        Self { sender, lost_answers }
    }

    /// Takes an entry. Entries are written in the order in which they were taken.
    ///
    /// # Errors
    /// When the journal is closed.
    pub async fn append(&self, entry: Entry) -> Result<Ticket, JournalClosed> {
        let (answer, ticket) = oneshot::channel();
        self.sender.send(Pending { entry: Arc::new(entry), answer }).await.map_err(|_| JournalClosed)?;
        Ok(Ticket(ticket))
    }

    /// True once after answers were lost: a child whose start was written twice exists, and nobody may be driving it.
    #[must_use]
    pub fn take_lost_answers(&self) -> bool {
        self.lost_answers.swap(false, Ordering::SeqCst)
    }
}

/// The task behind the journal (lifetime: the process).
struct Writer {
    database: Database,
    client: Option<Client>,
    lost_answers: Arc<AtomicBool>,
}

impl Writer {
    async fn run(mut self, mut entries: mpsc::Receiver<Pending>) {
        while let Some(pending) = entries.recv().await {
            failpoint::hit(pending.entry.point(true)).await;
            let (landed, lost_answer) = self.insist(&pending.entry).await;
            // After the entry's fate is known: whoever looks from now on finds it.
            if lost_answer {
                self.lost_answers.store(true, Ordering::SeqCst);
            }
            failpoint::hit(pending.entry.point(false)).await;
            // Whoever waited may be gone (its instance was dropped); the entry is durable all the same.
            let _ = pending.answer.send(landed);
        }
    }

    /// Writes until the entry's fate is known, and says whether an answer was lost on the way.
    async fn insist(&mut self, entry: &Entry) -> (Landed, bool) {
        let mut backoff = Backoff::new("write the journal");
        let mut lost_answer = false;
        loop {
            let client = match self.client.take() {
                Some(client) if !client.is_closed() => client,
                _ => match self.connect().await {
                    Ok(client) => client,
                    Err(error) => {
                        backoff.wait(&error).await;
                        continue;
                    }
                },
            };
            let Ok(written) = tokio::time::timeout(STATEMENT_TIMEOUT * 2, write(&client, entry)).await else {
                // Neither an answer nor the server's own time limit: the connection leads nowhere.
                tracing::warn!("the database does not answer the journal; it connects anew");
                lost_answer = true;
                continue;
            };
            match written {
                Ok(landed) => {
                    self.client = Some(client);
                    return (landed, lost_answer);
                }
                Err(error) => {
                    let (lost, refused) = (is_connection_lost(&error), is_the_entrys_fault(&error));
                    let shown = DatabaseError::from(error);
                    if refused {
                        self.client = Some(client);
                        let failure = Failure::new("DatabaseError", Code("not_recorded"), shown.to_string());
                        return (Landed::Refused(failure), lost_answer);
                    }
                    if lost {
                        lost_answer = true;
                    } else {
                        self.client = Some(client);
                    }
                    backoff.wait(&shown).await;
                }
            }
        }
    }

    async fn connect(&self) -> Result<Client, DatabaseError> {
        let client = self.database.own_client().await?;
        // A lock that somebody holds for hours must not stop every run of this host in silence: the statement is
        // cancelled, the log says so, and it is sent again.
        // And a commit is a commit only when it is on disk, whatever the role or the database has as its default.
        let timeout = STATEMENT_TIMEOUT.as_millis();
        client.batch_execute(&format!("SET statement_timeout = {timeout}; SET synchronous_commit = on")).await?;
        Ok(client)
    }
}

async fn write(client: &Client, entry: &Entry) -> Result<Landed, tokio_postgres::Error> {
    match entry {
        Entry::Start(new) => start::write(client, new).await,
        Entry::Record(new) => record::write(client, new).await,
        Entry::Finish(new) => finish::write(client, new).await,
    }
}

/// True when the entry itself is what the server cannot take (class 22, data exceptions; 54, program limits): it would
/// never be written, however often it is sent. Everything else is the database's state, which passes.
fn is_the_entrys_fault(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|state| state.code().starts_with("22") || state.code().starts_with("54"))
}
