//! Resuming a run: it goes back into the queue that every host looks at.
//!
//! Problem: who resumes a run need not be a host that could run it (a command, another program), and the run may still have
//! an instance somewhere that has not noticed its cancel. So the row becomes ENQUEUED without an owner, as DBOS does it, and
//! whichever host serves the app makes a claim of its own. The former claim is over for good: its token is in no row.

use super::error::DatabaseError;
use crate::failpoint;
use crate::workflow::{AppName, Status, WorkflowId};

/// The queue in which every DBOS program leaves what is to be run without a queue of the user's.
pub(super) const INTERNAL_QUEUE: &str = "_dbos_internal_queue";

/// What became of the wish to resume a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// It waits for a host that serves its app; its records stand.
    Resumed,
    /// It has ended for good, in this status; nothing was changed.
    Ended(Status),
    /// There is no such run.
    Unknown,
}

// Which rows and which columns: as DBOS. A run that is not finished is taken away from whoever has it and begins anew from
// its records, so one that waits an hour for its next attempt, or in a queue that nobody serves, can be helped on.
const RESUME: &str = "
WITH target AS (
    SELECT workflow_uuid, status FROM dbos.workflow_status
      WHERE workflow_uuid = $1 AND ($3::text IS NULL OR application_name = $3) FOR NO KEY UPDATE
), resumed AS (
    UPDATE dbos.workflow_status s
       SET status = 'ENQUEUED', owner_xid = NULL, queue_name = $2, recovery_attempts = 0,
           workflow_deadline_epoch_ms = NULL, deduplication_id = NULL, started_at_epoch_ms = NULL,
           updated_at = (extract(epoch FROM now()) * 1000)::bigint, completed_at = NULL
      FROM target
     WHERE s.workflow_uuid = target.workflow_uuid AND target.status NOT IN ('SUCCESS', 'ERROR')
)
SELECT status FROM target";

impl super::Database {
    /// Resumes a run. When it returns [`Resume::Resumed`], no earlier claim of the run can write any more. With an app, a run
    /// of another is unknown.
    ///
    /// # Errors
    /// When the database does not answer. It may have been resumed; resuming it again does no harm but beginning it once
    /// more from its records.
    pub async fn resume(&self, run: &WorkflowId, of: Option<&AppName>) -> Result<Resume, DatabaseError> {
        failpoint::hit("resume.before_commit").await;
        let row =
            self.client().await?.query_opt(RESUME, &[&run.as_str(), &INTERNAL_QUEUE, &of.map(AppName::as_str)]).await?;
        failpoint::hit("resume.after_commit").await;
        let status = row.and_then(|row| row.get::<_, Option<&str>>(0).and_then(|status| status.parse().ok()));
        Ok(match status {
            Some(ended @ (Status::Success | Status::Error)) => Resume::Ended(ended),
            Some(
                Status::Pending
                | Status::Enqueued
                | Status::Delayed
                | Status::Cancelled
                | Status::MaxRecoveryAttemptsExceeded,
            ) => Resume::Resumed,
            None => Resume::Unknown,
        })
    }
}
