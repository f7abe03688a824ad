//! The records of a run that are on their way to the disk: one chain, whoever adds to it.
//!
//! Steps that run beside their workflow hand in their records when they end, and the workflow hands in its own meanwhile.
//! What the guest has seen must be written before what it does next, so all of them stand in one line, in the order in which
//! they were handed in: each entry behind the one before it, the first one behind the run's start, the outcome behind the last.
//! If one is refused, so is everything behind it; the instance is given up then anyway.
//!
//! This module must not know what is in a record.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::interrupt::Interrupt;
use super::unsettled::durable;
use crate::database::{Entry, Journal, NewRecord, Ticket};

/// Records that may be on their way at once, and how much they may hold together, in bytes, before one more is waited for. A
/// run that computes is not to be ahead of a slow disk without end: a commit has not many times as many entries, and all
/// that is on its way is in memory.
const MOST_OPEN: usize = 64;
const MOST_OPEN_BYTES: usize = 1024 * 1024;

/// A place in a chain: how many entries were handed in up to there. What is said now may depend on all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(pub(super) u64);

/// The chain of one run (lifetime: one instance, and the steps that it has started). Clones are of the same chain.
#[derive(Debug, Clone)]
pub(super) struct Chain(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    /// Those that are not known to be durable, with their sizes, each behind the one before it.
    tickets: VecDeque<(Ticket, usize)>,
    bytes: usize,
    /// The newest of all, or the start if the journal has it.
    last: Option<Ticket>,
    end: Place,
}

impl Chain {
    /// An empty chain behind this ticket.
    pub(super) fn behind(start: Option<&Ticket>) -> Self {
        let open = Open { tickets: VecDeque::new(), bytes: 0, last: start.cloned(), end: Place::default() };
        Self(Arc::new(Mutex::new(open)))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing between two changes of it can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a record on its way, and returns its place. Nothing is waited for behind that: whoever is dropped has either
    /// handed it in and returned, or has not.
    ///
    /// # Errors
    /// When the journal is closed.
    pub(super) async fn append(&self, journal: &Journal, record: NewRecord) -> Result<Place, Interrupt> {
        self.append_entry(journal, Entry::Record(Box::new(record))).await.map(|(_, place)| place)
    }

    /// The same for any entry of the run, whose own fate somebody wants to know.
    ///
    /// # Errors
    /// When the journal is closed.
    pub(super) async fn append_entry(&self, journal: &Journal, entry: Entry) -> Result<(Ticket, Place), Interrupt> {
        let bytes = entry.payload_bytes();
        let room = journal.room(entry.locks()).await.map_err(|_closed| Interrupt::ShuttingDown)?;
        let mut open = self.lock();
        // Under the lock: the journal has them in the order of the chain.
        let ticket = room.append_behind(entry, open.last.as_ref());
        open.last = Some(ticket.clone());
        open.tickets.push_back((ticket.clone(), bytes));
        open.bytes = open.bytes.saturating_add(bytes);
        open.end.0 += 1;
        Ok((ticket, open.end))
    }

    /// Forgets what is durable by now. True: that is all of it.
    pub(super) fn forget_written(&self) -> bool {
        let mut open = self.lock();
        // They are written in their order.
        while let Some((_, bytes)) = open.tickets.pop_front_if(|(ticket, _)| ticket.is_written()) {
            open.bytes -= bytes;
        }
        open.tickets.is_empty()
    }

    /// True when one more must wait.
    pub(super) fn is_full(&self) -> bool {
        let open = self.lock();
        open.tickets.len() >= MOST_OPEN || open.bytes > MOST_OPEN_BYTES
    }

    /// What is not known to be durable, in its order, and the place behind it.
    pub(super) fn open(&self) -> (Vec<Ticket>, Place) {
        let open = self.lock();
        let tickets = open.tickets.iter().map(|(ticket, _)| ticket).filter(|ticket| !ticket.is_written());
        (tickets.cloned().collect(), open.end)
    }

    /// Waits until there is room for one more.
    ///
    /// # Errors
    /// When the instance must be given up.
    pub(super) async fn not_full(&self) -> Result<(), Interrupt> {
        if !self.forget_written() && self.is_full() {
            durable(&self.open().0).await?;
            self.forget_written();
        }
        Ok(())
    }
}
