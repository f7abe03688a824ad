//! What must be durable before anything leaves an instance.

use std::sync::Arc;

use super::ahead::{Ahead, Committed};
use super::interrupt::Interrupt;
use super::log::GuestLog;
use super::withheld::{Fate, Withheld};
use crate::database::{FinalOutcome, JournalClosed, Landed, Ticket};

/// What a guest has seen or said that is not known to be durable yet.
#[derive(Debug, Default)]
pub struct Unsettled {
    pub(super) tickets: Vec<Ticket>,
    pub(super) ahead: Option<Ahead>,
    pub(super) start: Option<Arc<Withheld>>,
    pub(super) log: Option<GuestLog>,
}

impl Unsettled {
    /// The records behind it.
    pub fn tickets(&self) -> &[Ticket] {
        &self.tickets
    }

    /// Whether the run's start may be in a commit that was not ordered yet.
    pub fn carries_start(&self) -> bool {
        self.ahead.is_some() && self.start.is_some()
    }

    /// Commits a transaction whose result the guest has seen, together with the outcome. False: there is no such
    /// transaction, or it was committed before, so that the outcome must be written by itself.
    ///
    /// # Errors
    /// When the instance must be given up, and with it the outcome.
    pub async fn finish(&mut self, outcome: &FinalOutcome) -> Result<bool, Interrupt> {
        match self.ahead.take() {
            Some(ahead) => Ok(ahead.finish(outcome.clone()).await? == Committed::StepAndOutcome),
            None => Ok(false),
        }
    }

    /// Waits until every record is durable; then what was said is printed.
    ///
    /// # Errors
    /// When one is not: the instance must be given up.
    pub async fn settle(mut self) -> Result<(), Interrupt> {
        for ticket in std::mem::take(&mut self.tickets) {
            check(ticket.durable().await)?;
        }
        if let Some(ahead) = self.ahead.take() {
            ahead.settle().await?;
        }
        if let Some(start) = self.start.take() {
            written(start.write().await)?;
        }
        if let Some(log) = &self.log {
            log.settled();
        }
        Ok(())
    }
}

pub(super) fn check(landed: Result<Landed, JournalClosed>) -> Result<(), Interrupt> {
    match landed {
        Ok(Landed::Written) => Ok(()),
        Ok(Landed::Exists) => Err(Interrupt::Reload),
        Ok(Landed::NotOwner) => Err(Interrupt::Lost),
        // The result was shown and cannot be recorded: nobody can go on from here, in this instance or the next.
        Ok(Landed::Refused(failure)) => Err(Interrupt::Forbidden(failure)),
        Err(_closed) => Err(Interrupt::ShuttingDown),
    }
}

/// A start must be written before anything goes on. Whoever waits for it is told why it is not.
fn written(fate: Fate) -> Result<(), Interrupt> {
    match fate {
        Fate::Landed(Landed::Written) => Ok(()),
        Fate::Landed(_) | Fate::Abandoned => Err(Interrupt::Lost),
        Fate::Closed => Err(Interrupt::ShuttingDown),
    }
}
