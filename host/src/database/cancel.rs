//! Cancelling runs.
//!
//! Problem: a run may be anywhere when somebody wants it stopped: in a queue, in a sleep of a month, in the last statement
//! of another host's transaction. So only the row is written, and everybody who works for the run finds out by it: every
//! later write is refused by its fence, which compares status and owner. Whoever commits first wins, and both answers are
//! true: a run whose outcome was there before is not cancelled, and the caller hears so.

use std::collections::HashSet;

use super::error::DatabaseError;
use crate::failpoint;
use crate::workflow::{AppName, Status, WorkflowId};

/// What became of the wish to cancel a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// It is cancelled now. Nothing is recorded for it from here on, until somebody resumes it.
    Cancelled,
    /// It was cancelled before.
    Already,
    /// It has ended, in this status; nothing was changed.
    Ended(Status),
    /// There is no such run.
    Unknown,
}

/// How runs are cancelled.
#[derive(Debug, Clone, Copy, Default)]
pub struct HowToCancel<'a> {
    /// Runs of other apps are unknown.
    pub of: Option<&'a AppName>,
    /// What their steps have done stays done.
    pub without_undo: bool,
}

/// Rows in one statement: a family of any size is cancelled in transactions that hold nobody up for long.
const PAGE: usize = 1000;

// The columns are those that DBOS sets: without a queue and a deduplication key the run is out of every queue, without an
// owner nothing passes the fence. Rows are locked in key order, like everywhere, so that nobody can deadlock.
const CANCEL: &str = "
WITH target AS (
    SELECT workflow_uuid, status FROM dbos.workflow_status
      WHERE workflow_uuid = ANY ($1) AND ($2::text IS NULL OR application_name = $2)
      ORDER BY workflow_uuid FOR NO KEY UPDATE
), cancelled AS (
    UPDATE dbos.workflow_status s
       SET status = 'CANCELLED', owner_xid = NULL, queue_name = NULL, deduplication_id = NULL,
           started_at_epoch_ms = NULL, updated_at = (extract(epoch FROM now()) * 1000)::bigint,
           completed_at = (extract(epoch FROM now()) * 1000)::bigint
      FROM target
     WHERE s.workflow_uuid = target.workflow_uuid AND target.status IN ('PENDING', 'ENQUEUED', 'DELAYED')
), kept AS (
    DELETE FROM dbos_host.saga g USING target
     WHERE $3 AND g.workflow_uuid = target.workflow_uuid AND target.status IN ('PENDING', 'ENQUEUED', 'DELAYED', 'CANCELLED')
)
SELECT workflow_uuid, status FROM target";

const LOCK: &str = "
SELECT FROM dbos.workflow_status WHERE workflow_uuid = ANY ($1) ORDER BY workflow_uuid FOR NO KEY UPDATE";

impl super::Database {
    /// Cancels runs, and says what became of each of them, in the order in which they were given.
    ///
    /// # Errors
    /// When the database does not answer. Some may have been cancelled; cancelling them again does no harm.
    pub async fn cancel(
        &self,
        runs: &[WorkflowId],
        how: HowToCancel<'_>,
    ) -> Result<Vec<(WorkflowId, Cancel)>, DatabaseError> {
        let mut ends = Vec::with_capacity(runs.len());
        for page in runs.chunks(PAGE) {
            let ids: Vec<&str> = page.iter().map(WorkflowId::as_str).collect();
            failpoint::hit("cancel.before_commit").await;
            let mut client = self.client().await?;
            let transaction = client.transaction().await?;
            if how.without_undo {
                // A step may be about to register what undoes it: with the rows locked it has, or never will.
                transaction.execute(LOCK, &[&ids]).await?;
            }
            let of = how.of.map(AppName::as_str);
            let rows = transaction.query(CANCEL, &[&ids, &of, &how.without_undo]).await?;
            transaction.commit().await?;
            failpoint::hit("cancel.after_commit").await;
            let end = |run: &WorkflowId| {
                let row = rows.iter().find(|row| row.get::<_, &str>(0) == run.as_str());
                (run.clone(), row.map_or(Cancel::Unknown, |row| end(row.get(1))))
            };
            ends.extend(page.iter().map(end));
        }
        Ok(ends)
    }

    /// The same with their children, and theirs: first the parents, so that none of them starts another child behind the
    /// look at what they have started. Descendants of a run that has ended are cancelled too, since they outlive it.
    ///
    /// # Errors
    /// As [`Self::cancel`].
    pub async fn cancel_with_children(
        &self,
        runs: &[WorkflowId],
        how: HowToCancel<'_>,
    ) -> Result<Vec<(WorkflowId, Cancel)>, DatabaseError> {
        let mut known: HashSet<WorkflowId> = runs.iter().cloned().collect();
        let mut ends = self.cancel(runs, how).await?;
        let mut parents = runs.to_vec();
        while !parents.is_empty() {
            let children = self.children(&parents).await?;
            // A row that names itself or a descendant as its parent is some other program's mistake, and no reason to go on
            // for ever.
            parents = children.into_iter().filter(|child| known.insert(child.clone())).collect();
            ends.extend(self.cancel(&parents, how).await?);
        }
        Ok(ends)
    }

    async fn children(&self, parents: &[WorkflowId]) -> Result<Vec<WorkflowId>, DatabaseError> {
        let parents: Vec<&str> = parents.iter().map(WorkflowId::as_str).collect();
        // What undoes a run is none of its children: it goes on when they are cancelled with it.
        let children = "SELECT workflow_uuid FROM dbos.workflow_status
                         WHERE parent_workflow_id = ANY ($1) AND NOT starts_with(coalesce(name, ''), 'undo:') ORDER BY 1";
        let rows = self.client().await?.query(children, &[&parents]).await?;
        Ok(rows.iter().map(|row| WorkflowId::stored(row.get(0))).collect())
    }
}

/// What the status that a row had means for the wish to cancel it.
fn end(status: Option<&str>) -> Cancel {
    match status.and_then(|status| status.parse().ok()) {
        Some(Status::Pending | Status::Enqueued | Status::Delayed) => Cancel::Cancelled,
        Some(Status::Cancelled) => Cancel::Already,
        Some(ended @ (Status::Success | Status::Error | Status::MaxRecoveryAttemptsExceeded)) => Cancel::Ended(ended),
        // A status that this program does not know is left alone, as is the run.
        None => Cancel::Unknown,
    }
}
