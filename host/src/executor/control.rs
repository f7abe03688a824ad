//! What people do to runs from outside: cancelling, resuming, forking and rewinding them.
//!
//! The row decides, whoever wrote it. What is done here beside writing it is only to act at once: a run that this process
//! drives is dropped wherever it is, computing, in a transaction (which is rolled back), in a request, in a sleep or in a
//! wait, and its slot is free. What another program wrote is found by looking; see `recovery/changes.rs`.

use super::Executor;
use crate::calls::no_such_workflow;
use crate::database::{Cancel, Claim, DatabaseError, HowToCancel, NewFork, Refusal, Resume, Version, until_answered};
use crate::workflow::{AppName, Code, Cut, Failure, StepNumber, WorkflowId};

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
        how: HowToCancel<'_>,
        with_children: bool,
    ) -> Result<Vec<(WorkflowId, Cancel)>, DatabaseError> {
        let runs = std::slice::from_ref(run);
        let ends = match with_children {
            true => self.database.cancel_with_children(runs, how).await?,
            false => self.database.cancel(runs, how).await?,
        };
        let driven = ends.iter().filter_map(|(run, _)| self.runs.claim_of(run)).collect();
        // Whatever comes of this look: the row is written, and the next look is half a second away.
        if let Err(error) = self.give_up_lost(driven).await {
            tracing::debug!("cannot look after a cancelled workflow: {error}");
        }
        // Behind that: what is dropped does nothing more that would have to be undone.
        self.must_undo();
        Ok(ends)
    }

    /// Cancels a run because a guest of the app asks for it. In a task of its own: the guest's run may be among those that are
    /// cancelled, and the others are to be too.
    pub(super) async fn cancel_for_guest(
        &self,
        app: &AppName,
        run: &WorkflowId,
        with_children: bool,
    ) -> Result<(), Failure> {
        let (executor, app, id) = (self.this(), app.clone(), run.clone());
        let cancelled = tokio::spawn(async move {
            until_answered("cancel a workflow", || {
                executor.cancel(&id, HowToCancel { of: Some(&app), without_undo: false }, with_children)
            })
            .await
        });
        match cancelled.await.ok().and_then(|ends| ends.first().map(|(_, end)| *end)) {
            Some(Cancel::Cancelled | Cancel::Already | Cancel::Ended(_)) => Ok(()),
            Some(Cancel::Unknown) | None => Err(no_such_workflow(run.as_str())),
        }
    }

    /// Lets a run go on because a guest of the app asks for it.
    pub(super) async fn resume_for_guest(&self, app: &AppName, run: &WorkflowId) -> Result<(), Failure> {
        match until_answered("resume a workflow", || self.resume(run, Some(app))).await {
            Resume::Resumed | Resume::Ended(_) => Ok(()),
            Resume::Unknown => Err(no_such_workflow(run.as_str())),
            Resume::Undone => {
                let text = format!("the workflow `{run}` is undone, or was, and cannot go on");
                Err(Failure::new("Error", Code("undone"), text))
            }
        }
    }

    /// What the row of a run says, as JSON. `None`: there is no such run.
    pub(super) async fn status_of(&self, run: &WorkflowId) -> Option<String> {
        let status = until_answered("read the status of a workflow", || self.database.status(run)).await?;
        Some(serde_json::to_string(&status).expect("texts, numbers and JSON values always serialize"))
    }

    /// Resumes a run. This host looks at once whether it is one of its own.
    ///
    /// # Errors
    /// When the database does not answer. It may have been resumed.
    pub async fn resume(&self, run: &WorkflowId, of: Option<&AppName>) -> Result<Resume, DatabaseError> {
        let end = self.database.resume(run, of).await?;
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

    /// Cancels the runs of this host's apps whose time is over, wherever they are. True: there were some.
    ///
    /// # Errors
    /// When the database does not answer. What was cancelled stays so.
    pub async fn expire(&self) -> Result<bool, DatabaseError> {
        let apps: Vec<AppName> = self.apps.keys().cloned().collect();
        let mut has_expired = false;
        loop {
            let expired = self.database.expire(&apps, self.clock.now()).await?;
            if expired.is_empty() || self.is_stopping() {
                return Ok(has_expired);
            }
            has_expired = true;
            for run in &expired {
                tracing::info!(workflow = %run, "the workflow's deadline has passed; it is cancelled");
            }
        }
    }

    async fn give_up_lost(&self, mut claims: Vec<Claim>) -> Result<(), DatabaseError> {
        // A run whose start is not written yet has no row that could name another owner.
        let withheld = self.unwritten();
        claims.retain(|claim| !withheld.contains(claim.run()));
        let lost = self.database.lost_claims(claims).await?;
        for claim in &lost {
            if self.runs.give_up(claim) {
                tracing::info!(workflow = %claim.run(), "the workflow was ended or taken away; its instance is dropped");
            }
        }
        // Behind that: what is dropped does nothing more that would have to be undone.
        if !lost.is_empty() {
            self.must_undo();
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
