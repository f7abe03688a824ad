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
    /// Its steps are undone, or were: nothing was changed.
    Undone,
    /// There is no such run.
    Unknown,
}

// Which rows and which columns: as DBOS. A run that is not finished is taken away from whoever has it and begins anew from
// its records, so one that waits an hour for its next attempt, or in a queue that nobody serves, can be helped on.
//
// What its steps have registered is to be undone if it fails again, also if it was cancelled without that.
const RESUME: &str = "
WITH target AS (
    SELECT s.workflow_uuid, s.status, s.created_at, EXISTS (
               SELECT FROM dbos.workflow_status u
                WHERE u.workflow_uuid = s.workflow_uuid || '-undo' AND starts_with(u.name, 'undo:')
                  AND u.created_at >= s.created_at) AS is_undone
      FROM dbos.workflow_status s
     WHERE s.workflow_uuid = $1 AND ($3::text IS NULL OR s.application_name = $3) FOR NO KEY UPDATE
), saga AS (
    INSERT INTO dbos_host.saga (workflow_uuid, run_created_at)
      SELECT t.workflow_uuid, t.created_at FROM target t
       WHERE NOT t.is_undone AND t.status NOT IN ('SUCCESS', 'ERROR') AND EXISTS (
             SELECT FROM dbos_host.undo u WHERE u.workflow_uuid = t.workflow_uuid AND u.run_created_at = t.created_at)
      ON CONFLICT (workflow_uuid) DO UPDATE SET run_created_at = EXCLUDED.run_created_at
), resumed AS (
    UPDATE dbos.workflow_status s
       SET status = 'ENQUEUED', owner_xid = NULL, queue_name = $2, recovery_attempts = 0,
           workflow_deadline_epoch_ms = NULL, deduplication_id = NULL, started_at_epoch_ms = NULL,
           updated_at = (extract(epoch FROM now()) * 1000)::bigint, completed_at = NULL
      FROM target
     WHERE s.workflow_uuid = target.workflow_uuid AND target.status NOT IN ('SUCCESS', 'ERROR') AND NOT target.is_undone
       AND ($3::text IS NULL OR target.status IN ('CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED'))
)
SELECT status, is_undone FROM target";

// Whoever starts what undoes a run has its row locked meanwhile, and the statement above looks for that with a snapshot: it is
// sent when the row is locked.
const LOCK: &str = "SELECT FROM dbos.workflow_status WHERE workflow_uuid = $1 FOR NO KEY UPDATE";

impl super::Database {
    /// Resumes a run. When it returns [`Resume::Resumed`], no earlier claim of the run can write any more. With an app, a run
    /// of another is unknown, and one that goes on is left alone: a guest could begin itself anew without end.
    ///
    /// # Errors
    /// When the database does not answer. It may have been resumed; resuming it again does no harm but beginning it once
    /// more from its records.
    pub async fn resume(&self, run: &WorkflowId, of: Option<&AppName>) -> Result<Resume, DatabaseError> {
        failpoint::hit("resume.before_commit").await;
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        transaction.execute(LOCK, &[&run.as_str()]).await?;
        let row = transaction.query_opt(RESUME, &[&run.as_str(), &INTERNAL_QUEUE, &of.map(AppName::as_str)]).await?;
        transaction.commit().await?;
        failpoint::hit("resume.after_commit").await;
        let is_undone = row.as_ref().is_some_and(|row| row.get(1));
        let status = row.and_then(|row| row.get::<_, Option<&str>>(0).and_then(|status| status.parse().ok()));
        Ok(match status {
            Some(ended @ (Status::Success | Status::Error)) => Resume::Ended(ended),
            Some(_) if is_undone => Resume::Undone,
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
