//! What must be durable before anything leaves an instance.

use std::sync::Arc;

use super::ahead::{Ahead, Committed};
use super::chain::{Chain, Place};
use super::interrupt::Interrupt;
use super::log::GuestLog;
use super::services::Services;
use super::withheld::{Fate, Withheld};
use crate::database::{Claim, FinalOutcome, JournalClosed, Landed, Ticket};

/// What a guest has seen or said that is not known to be durable yet.
#[derive(Debug, Default)]
pub struct Unsettled {
    pub(super) start: Option<Arc<Withheld>>,
    /// Each record behind the one before it, the first one behind the start.
    pub(super) records: Vec<Ticket>,
    /// The place of the last of them.
    pub(super) end: Place,
    pub(super) ahead: Option<Ahead>,
    pub(super) log: Option<GuestLog>,
}

impl Unsettled {
    /// What the next entry of the run was made from: it must not be written without it.
    pub fn last(&self) -> Option<&Ticket> {
        self.records.last().or_else(|| self.start.as_ref()?.ticket())
    }

    /// Whether there is something to wait for.
    pub(super) fn is_open(&self) -> bool {
        self.start.is_some() || self.ahead.is_some() || !self.records.is_empty()
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

    /// Waits until all of it is durable; then what was said is printed.
    ///
    /// # Errors
    /// When something is not: the instance must be given up.
    pub async fn settle(mut self) -> Result<(), Interrupt> {
        if let Some(ahead) = self.ahead.take() {
            ahead.settle().await?;
        }
        if let Some(start) = self.start.take() {
            written(start.write().await)?;
        }
        durable(&self.records).await?;
        if let Some(log) = &self.log {
            log.settled(self.end);
        }
        Ok(())
    }
}

/// What must be durable before anything leaves the instance of a step: a request above all. The step computes meanwhile.
#[derive(Clone)]
pub struct Behind {
    start: Option<Ticket>,
    records: Vec<Ticket>,
    /// The place of the last of them. What siblings of the step add behind it is none of its concern.
    end: Place,
    claim: Claim,
    services: Arc<dyn Services>,
    log: GuestLog,
}

impl std::fmt::Debug for Behind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Behind").field("records", &self.records).finish_non_exhaustive()
    }
}

impl Behind {
    /// What the run has open, if there is anything.
    pub(super) fn of(
        (start, chain): (Option<&Arc<Withheld>>, &Chain),
        claim: &Claim,
        services: &Arc<dyn Services>,
        log: &GuestLog,
    ) -> Option<Self> {
        let start = start.and_then(|start| start.ticket()).filter(|ticket| !ticket.is_written()).cloned();
        let (records, end) = chain.open();
        let (claim, services, log) = (claim.clone(), Arc::clone(services), log.clone());
        (start.is_some() || !records.is_empty()).then_some(Self { start, records, end, claim, services, log })
    }

    /// Waits until all of it is durable and an effect of the run may begin; then what was said is printed.
    ///
    /// # Errors
    /// When something is not: the run is to be given up with the step.
    pub async fn clear(&self) -> Result<(), Interrupt> {
        if let Some(start) = &self.start {
            written(start.durable().await.into())?;
        }
        durable(&self.records).await?;
        self.log.settled(self.end);
        self.services.may_act(&self.claim).await
    }
}

/// Waits until all of these are durable.
///
/// # Errors
/// When one is not: the instance must be given up.
pub(super) async fn durable(tickets: &[Ticket]) -> Result<(), Interrupt> {
    for ticket in tickets {
        check(ticket.durable().await)?;
    }
    Ok(())
}

pub(super) fn check(landed: Result<Landed, JournalClosed>) -> Result<(), Interrupt> {
    match landed {
        Ok(Landed::Written | Landed::Nobody | Landed::Received(_)) => Ok(()),
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
