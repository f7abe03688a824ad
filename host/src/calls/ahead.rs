//! A transaction whose result the guest sees ahead of its commit.
//!
//! Problem: the outcome of a run is known only after the guest has seen the result of its last step, and a commit for the
//! step and another one for the outcome cost twice the wait for the disk. So the guest may see the result of a transaction
//! that can only fail by a conflict or the database's own trouble, and goes on for a moment while the transaction stays
//! open; if it ends meanwhile, its outcome goes into the same commit.
//!
//! The guest may compute with what it has seen and nothing else: the gate settles the commit before anything leaves the
//! instance. A commit that fails throws the instance away.
//!
//! This module must not know sessions: a task of the executor holds the transaction, and waits for what is ordered here.

use tokio::sync::oneshot;

use super::interrupt::Interrupt;
use crate::database::FinalOutcome;

/// What was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The step alone: the outcome came too late.
    Step,
    /// The step with the outcome of its run.
    StepAndOutcome,
}

/// The instance's end of it. Dropped without an order, the transaction is rolled back.
#[derive(Debug)]
pub struct Ahead {
    order: oneshot::Sender<Option<FinalOutcome>>,
    end: oneshot::Receiver<Result<Committed, Interrupt>>,
}

/// The end of whoever holds the transaction.
#[derive(Debug)]
pub struct Orders {
    /// To commit, with the outcome if there is one. An error: the instance is gone.
    pub order: oneshot::Receiver<Option<FinalOutcome>>,
    /// What came of it; an interrupt if the instance must be given up.
    pub end: oneshot::Sender<Result<Committed, Interrupt>>,
}

impl Ahead {
    /// Both ends.
    #[must_use]
    pub fn new() -> (Self, Orders) {
        let ((order, ordered), (ended, end)) = (oneshot::channel(), oneshot::channel());
        (Self { order, end }, Orders { order: ordered, end: ended })
    }

    /// Commits the step.
    ///
    /// # Errors
    /// When the instance must be given up.
    pub async fn settle(self) -> Result<(), Interrupt> {
        self.commit(None).await.map(|_| ())
    }

    /// Commits the step with the outcome of its run, unless the step was committed before.
    ///
    /// # Errors
    /// When the instance must be given up, and with it the outcome.
    pub async fn finish(self, outcome: FinalOutcome) -> Result<Committed, Interrupt> {
        self.commit(Some(outcome)).await
    }

    async fn commit(self, outcome: Option<FinalOutcome>) -> Result<Committed, Interrupt> {
        // Nobody listens any more when the commit is under way already; its end tells what was in it.
        let _ = self.order.send(outcome);
        self.end.await.unwrap_or(Err(Interrupt::Undone))
    }
}
