//! What people do to runs from outside: cancelling, resuming, forking and rewinding them.
//!
//! The row decides, whoever wrote it. What is done here beside writing it is only to act at once: a run that this process
//! drives is dropped wherever it is, computing, in a transaction (which is rolled back), in a request, in a sleep or in a
//! wait, and its slot is free. What another program wrote is found by looking; see `recovery/changes.rs`.

use super::Executor;
use crate::database::{Cancel, Claim, DatabaseError, NewFork, Refusal, Resume, Version};
use crate::workflow::{Cut, StepNumber, WorkflowId};

impl Executor {
    /// Cancels a run, with everything that it has started if `with_children`. When it returns [`Cancel::Cancelled`], the
    /// run's instance in this process is gone or about to be dropped, and nothing more of it will be recorded.
    ///
    /// The first of the answers is that of the run itself.
    ///
    /// # Errors
    /// When the database does not answer. It may have been cancelled; doing it again does no harm.
    pub async fn cancel(
        &self,
        run: &WorkflowId,
        with_children: bool,
    ) -> Result<Vec<(WorkflowId, Cancel)>, DatabaseError> {
        let runs = std::slice::from_ref(run);
        let ends = match with_children {
            true => self.database.cancel_with_children(runs).await?,
            false => self.database.cancel(runs).await?,
        };
        let driven = ends.iter().filter_map(|(run, _)| self.runs.claim_of(run)).collect();
        // Whatever comes of this look: the row is written, and the next look is half a second away.
        if let Err(error) = self.give_up_lost(driven).await {
            tracing::debug!("cannot look after a cancelled workflow: {error}");
        }
        Ok(ends)
    }

    /// Resumes a run. This host looks at once whether it is one of its own.
    ///
    /// # Errors
    /// When the database does not answer. It may have been resumed.
    pub async fn resume(&self, run: &WorkflowId) -> Result<Resume, DatabaseError> {
        let end = self.database.resume(run).await?;
        self.changed.notify_one();
        Ok(end)
    }

    /// Forks a run. This host looks at once whether the fork is one of its own.
    ///
    /// # Errors
    /// When the database does not answer. The fork may have been made.
    pub async fn fork(&self, run: &WorkflowId, new: &NewFork) -> Result<Result<StepNumber, Refusal>, DatabaseError> {
        let end = self.database.fork(run, new).await?;
        self.changed.notify_one();
        Ok(end)
    }

    /// Rewinds a run that has ended. This host looks at once whether it is one of its own.
    ///
    /// # Errors
    /// When the database does not answer. It may have been rewound.
    pub async fn rewind(
        &self,
        run: &WorkflowId,
        cut: Cut,
        version: &Version,
    ) -> Result<Result<StepNumber, Refusal>, DatabaseError> {
        let end = self.database.rewind(run, cut, version).await?;
        self.changed.notify_one();
        Ok(end)
    }

    /// Returns when this process has changed a row so that it should look at the rows again.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Drops what this process does for runs that are not its own any more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn give_up_all_lost(&self) -> Result<(), DatabaseError> {
        self.give_up_lost(self.runs.claims()).await
    }

    async fn give_up_lost(&self, mut claims: Vec<Claim>) -> Result<(), DatabaseError> {
        // A run whose start is not written yet has no row that could name another owner.
        let withheld = self.unwritten();
        claims.retain(|claim| !withheld.contains(claim.run()));
        for claim in self.database.lost_claims(claims).await? {
            if self.runs.give_up(&claim) {
                tracing::info!(workflow = %claim.run(), "the workflow was ended or taken away; its instance is dropped");
            }
        }
        Ok(())
    }

    /// True when runs wait here for an instance: whoever has room should take what is left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.slots.is_pressed()
    }

    /// True when effects may begin: nobody else may have taken this host's runs.
    #[must_use]
    pub fn holds_lease(&self) -> bool {
        self.lease.is_held()
    }
}
