//! The journal: the one way by which records, starts and outcomes reach the database.
//!
//! [`Journal::append`] takes an entry and gives a [`Ticket`], the promise that the entry will be durable; whoever needs
//! to know waits for [`Ticket::durable`]. Between the two the caller may compute, but nothing may leave the instance.
//!
//! A commit costs a wait for the disk, whatever is in it, and a database makes a few thousand of them in a second. So the
//! entries of many runs share one: what was handed in while the last commit was under way goes into the next (`writer`).
//! There is no timer that anybody waits for; a lone entry is written at once.
//!
//! What can go wrong is that a commit lands and its answer is lost. The journal then connects anew and sends the same
//! entries again: keys that are unique in the database decide which of the two was first, and an entry that was there
//! already comes back as [`Landed::Exists`] (or `NotOwner`, for an outcome). That an entry cannot be found proves
//! nothing, since the old session may still be committing; so nobody looks, everybody writes again.
//!
//! Entries of one run keep their order. A run may be far ahead of the disk, and each of its entries is handed in behind the
//! one that it was made from: all that come at once, from its start to its outcome, are one commit (`batch`).

mod batch;
mod session;
#[cfg(test)]
mod tests;
mod writer;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{SetOnce, mpsc};

use self::writer::Writer;
use super::connection::Database;
use super::finish::{FinalOutcome, Finish};
use super::message::NewSend;
use super::order::Order;
use super::receive::{NewReceive, Received};
use super::record::{Effect, NewRecord};
use super::start::NewRun;
use crate::workflow::{Failure, Key, Signal, WorkflowId};

/// Entries that wait for one connection. When it is full, `append` waits: a slow database slows the guests down and does not
/// fill the host's memory.
const QUEUE: usize = 4096;

/// How long an entry waits behind somebody else's lock, or after it took the server too long, before it is tried again, at
/// first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Something to be written.
#[derive(Debug)]
pub enum Entry {
    /// A run and its input; for a child, the parent's record too.
    Start(Box<NewRun>),
    /// A step's result.
    Record(Box<NewRecord>),
    /// A run's outcome.
    Finish(Box<Finish>),
    /// A message, and the sender's record of it.
    Send(Box<NewSend>),
    /// A look into a run's mailbox, with the record of what is taken out of it.
    Receive(Box<NewReceive>),
}

impl Entry {
    /// The run that it is about. A message of nobody is about the one that it is for, whose row it keeps.
    fn run(&self) -> &WorkflowId {
        match self {
            Self::Start(new) => new.claim().run(),
            Self::Record(new) => new.claim.run(),
            Self::Finish(new) => new.claim.run(),
            Self::Send(new) => new.record.as_ref().map_or(&new.to, |record| record.claim.run()),
            Self::Receive(new) => new.record.claim.run(),
        }
    }

    /// The run whose row it locks: all that lock one row are written by one connection, so that they keep their order.
    #[must_use]
    pub fn locks(&self) -> &WorkflowId {
        match self {
            Self::Start(new) => new.parent.as_ref().map_or(new.claim(), |record| &record.claim).run(),
            Self::Record(_) | Self::Finish(_) | Self::Send(_) | Self::Receive(_) => self.run(),
        }
    }

    /// The size of what a guest or a client put into it.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        match self {
            Self::Start(new) => new.input_bytes(),
            Self::Record(new) => new.payload_bytes(),
            Self::Send(new) => new.message.len(),
            Self::Receive(_) => 0,
            Self::Finish(new) => match &new.outcome {
                FinalOutcome::Success(json) => json.len(),
                FinalOutcome::Error(failure) | FinalOutcome::DeadLetter(failure) => failure.message.len(),
            },
        }
    }

    /// What it does that somebody may wait for, once it has landed.
    fn raises(&self) -> Option<Signal> {
        match self {
            Self::Finish(new) => Some(Signal::Ended(new.claim.run().clone())),
            Self::Record(new) => {
                let run = new.claim.run().clone();
                Some(match new.effect.as_ref()? {
                    Effect::Event { key, .. } => Signal::Event(run, Key::stored(key)),
                    Effect::Stream { key, .. } => Signal::Appended(run, Key::stored(key)),
                })
            }
            Self::Send(new) => Some(Signal::Message(new.to.clone(), new.topic.clone())),
            Self::Start(_) | Self::Receive(_) => None,
        }
    }

    #[cfg(test)]
    fn pending(self) -> Pending {
        Pending { entry: self, behind: None, promise: Promise(Ticket::default()), blocked: None, held: None }
    }

    fn point(&self, before: bool) -> &'static str {
        match (self, before) {
            (Self::Start(_), true) => "start.before_commit",
            (Self::Start(_), false) => "start.after_commit",
            (Self::Record(_), true) => "record.before_commit",
            (Self::Record(_), false) => "record.after_commit",
            (Self::Finish(_), true) => "finish.before_commit",
            (Self::Finish(_), false) => "finish.after_commit",
            (Self::Send(_), true) => "send.before_commit",
            (Self::Send(_), false) => "send.after_commit",
            (Self::Receive(_), true) => "receive.before_commit",
            (Self::Receive(_), false) => "receive.after_commit",
        }
    }
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Landed {
    /// It is durable.
    Written,
    /// Its key was there already while this host owns the run, or that of a record it was handed in behind: the first one
    /// wins. Drop the instance and replay.
    Exists,
    /// This host does not own the run (any more), or the run has ended. Nothing was written.
    NotOwner,
    /// The database refused it for a reason that the guest must hear.
    Refused(Failure),
    /// There is no run that the message could be for. The sender's record, if it has one, says so and is durable.
    Nobody,
    /// A mailbox was looked into. What this says is durable.
    Received(Received),
}

impl Landed {
    /// Whatever has come of it is durable, and what was made from it may be written.
    fn is_durable(&self) -> bool {
        match self {
            Self::Written | Self::Nobody | Self::Received(_) => true,
            Self::Exists | Self::NotOwner | Self::Refused(_) => false,
        }
    }
}

/// The journal was closed: the host is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal is closed because the host is shutting down")]
pub struct JournalClosed;

/// The promise that an entry will be durable. Clones are of the same entry.
#[derive(Debug, Clone, Default)]
pub struct Ticket(Arc<SetOnce<Result<Landed, JournalClosed>>>);

impl Ticket {
    /// Waits until the entry's fate is known. After [`Landed::Written`] no crash undoes it.
    ///
    /// # Errors
    /// When the journal was closed before: the entry may or may not be durable.
    pub async fn durable(&self) -> Result<Landed, JournalClosed> {
        self.0.wait().await.clone()
    }

    /// True when the entry is known to be durable.
    #[must_use]
    pub fn is_written(&self) -> bool {
        matches!(self.0.get(), Some(Ok(landed)) if landed.is_durable())
    }

    /// The entry's fate is known, and it was not written.
    fn is_refused(&self) -> bool {
        matches!(self.0.get(), Some(Ok(landed)) if !landed.is_durable())
    }
}

/// The journal's end of a ticket. However it comes to an end, those who wait are told.
#[derive(Debug)]
struct Promise(Ticket);

impl Promise {
    fn tell(self, landed: Landed) {
        // An entry has one promise, so nothing was told before.
        let _ = self.0.0.set(Ok(landed));
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let _ = self.0.0.set(Err(JournalClosed));
    }
}

/// The journal's front (lifetime: the process). Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    /// The queues of the connections.
    queues: Arc<[mpsc::Sender<Pending>]>,
    lost_answers: Arc<AtomicBool>,
}

/// Room for one entry.
#[derive(Debug)]
pub struct Room<'a>(mpsc::Permit<'a, Pending>);

impl Room<'_> {
    /// Takes the entry: as [`Journal::append`], at once.
    pub fn append(self, entry: Entry) -> Ticket {
        self.append_behind(entry, None)
    }

    /// Takes the entry: as [`Journal::append_behind`], at once.
    pub fn append_behind(self, entry: Entry, behind: Option<&Ticket>) -> Ticket {
        let ticket = Ticket::default();
        let (behind, promise) = (behind.cloned(), Promise(ticket.clone()));
        self.0.send(Pending { entry, behind, promise, blocked: None, held: None });
        ticket
    }
}

#[derive(Debug)]
struct Pending {
    entry: Entry,
    /// The entry that must have been written before it, or be written with it.
    behind: Option<Ticket>,
    promise: Promise,
    /// Somebody else's lock was in the way of it, or of an earlier entry of its run, or it took the server too long.
    blocked: Option<Blocked>,
    /// Its mailbox is too far ahead of the clock until then.
    held: Option<Instant>,
}

/// An entry that waits for somebody else's lock, or for the server to have less to do.
#[derive(Debug, Clone, Copy)]
struct Blocked {
    /// When it is tried again.
    until: Instant,
    /// How long it waited this time.
    pause: Duration,
}

impl Pending {
    /// It waits, longer each time: whoever holds a lock for a second may hold it for an hour.
    fn block(&mut self) {
        let pause = self.blocked.map_or(FIRST_PAUSE, |blocked| (blocked.pause * 2).min(LONGEST_PAUSE));
        self.blocked = Some(Blocked { until: Instant::now() + pause, pause });
    }

    /// It waits for nothing but its turn.
    fn is_ready(&self) -> bool {
        self.blocked.is_none() && self.held.is_none()
    }

    /// When it may be tried again, if that is not now.
    fn blocked_until(&self) -> Option<Instant> {
        self.blocked.map(|blocked| blocked.until).filter(|until| Instant::now() < *until)
    }
}

impl Journal {
    /// Opens the journal: so many tasks with a connection of its own each, which end when the last front is dropped.
    ///
    /// One is best as a rule: what it has to write in one commit grows with the load, and each further commit costs the
    /// database more than what is in it. Where a commit has to travel far (another site's replica must have it), the
    /// disk is idle meanwhile, and more than one are under way at once.
    ///
    /// What was written that somebody may wait for goes to `wrote`, as far as there is room: who waits looks from time to
    /// time as well, and the journal waits for nobody.
    #[must_use]
    pub fn open(database: &Database, connections: NonZeroU32, wrote: &mpsc::Sender<Signal>) -> Self {
        let lost_answers = Arc::new(AtomicBool::new(false));
        let order = Order::default();
        let open = |_| {
            let (sender, receiver) = mpsc::channel(QUEUE);
            let shared = (wrote.clone(), order.clone());
            tokio::spawn(Writer::new(database.clone(), Arc::clone(&lost_answers), shared).run(receiver));
            sender
        };
        Self { queues: (0..connections.get()).map(open).collect(), lost_answers }
    }

    /// The queue of the connection that writes what locks the row of `run`.
    fn queue(&self, run: &WorkflowId) -> &mpsc::Sender<Pending> {
        let mut hash = DefaultHasher::new();
        run.hash(&mut hash);
        let count = u64::try_from(self.queues.len()).expect("a handful");
        &self.queues[usize::try_from(hash.finish() % count).expect("less than their number")]
    }

    /// Takes an entry. Entries of one run are written in the order in which they were taken.
    ///
    /// # Errors
    /// When the journal is closed.
    pub async fn append(&self, entry: Entry) -> Result<Ticket, JournalClosed> {
        self.append_behind(entry, None).await
    }

    /// Takes an entry and waits until its fate is known.
    ///
    /// # Errors
    /// When the journal is closed: the entry may or may not be durable.
    pub async fn write(&self, entry: Entry) -> Result<Landed, JournalClosed> {
        self.append(entry).await?.durable().await
    }

    /// Takes an entry that is written only if the one with the ticket `behind` is, earlier or in the same commit. Otherwise
    /// it comes back as [`Landed::Exists`]: what it was made from is not what is recorded. Both must be of one run.
    ///
    /// # Errors
    /// When the journal is closed.
    pub async fn append_behind(&self, entry: Entry, behind: Option<&Ticket>) -> Result<Ticket, JournalClosed> {
        Ok(self.room(entry.locks()).await?.append_behind(entry, behind))
    }

    /// Waits until there is room for an entry that locks the row of `run`.
    ///
    /// # Errors
    /// When the journal is closed.
    pub async fn room(&self, run: &WorkflowId) -> Result<Room<'_>, JournalClosed> {
        self.queue(run).reserve().await.map(Room).map_err(|_| JournalClosed)
    }

    /// True once after answers were lost: a child whose start was written twice exists, and nobody may be driving it.
    #[must_use]
    pub fn take_lost_answers(&self) -> bool {
        self.lost_answers.swap(false, Ordering::SeqCst)
    }
}
