//! The records of a run that are on their way to the disk.

use crate::database::Ticket;

/// Records that may be on their way at once, and how much they may hold together, in bytes, before one more is waited for. A
/// run that computes is not to be ahead of a slow disk without end: a commit has not many times as many entries, and all
/// that is on its way is in memory.
const MOST_OPEN: usize = 64;
const MOST_OPEN_BYTES: usize = 1024 * 1024;

/// Those that are not known to be durable, each behind the one before it (lifetime: one instance).
#[derive(Debug, Default)]
pub(super) struct Open {
    tickets: Vec<Ticket>,
    bytes: usize,
}

impl Open {
    /// Takes a record in.
    pub(super) fn push(&mut self, ticket: Ticket, bytes: usize) {
        self.tickets.push(ticket);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Forgets what is durable by now. True: that is all of it.
    pub(super) fn forget_written(&mut self) -> bool {
        self.tickets.retain(|ticket| !ticket.is_written());
        if self.tickets.is_empty() {
            self.bytes = 0;
        }
        self.tickets.is_empty()
    }

    /// True when one more must wait.
    pub(super) fn is_full(&self) -> bool {
        self.tickets.len() >= MOST_OPEN || self.bytes > MOST_OPEN_BYTES
    }

    /// The newest.
    pub(super) fn last(&self) -> Option<&Ticket> {
        self.tickets.last()
    }

    /// All of them, in their order.
    pub(super) fn tickets(&self) -> &[Ticket] {
        &self.tickets
    }

    /// Hands them over to whoever waits for them.
    pub(super) fn take(&mut self) -> Vec<Ticket> {
        std::mem::take(self).tickets
    }
}
