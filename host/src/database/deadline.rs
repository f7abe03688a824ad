//! Cancelling runs whose time is over.
//!
//! Problem: a run with a deadline may be anywhere when its time comes: in an instance, in a sleep of a month, in a queue, on a
//! host that has died. So nobody in particular watches it. Every host asks again and again for runs of its apps that are due,
//! wherever they are, and writes the same as a cancel does; whoever works for such a run finds out by its row.
//!
//! The time is that of the host that asks: a deadline is made of a host's clock, as the end of a sleep is.

use super::error::DatabaseError;
use crate::failpoint;
use crate::workflow::{AppName, EpochMs, WorkflowId};

/// Rows in one statement: thousands that are due at once are cancelled in transactions that hold nobody up for long.
const PAGE: i64 = 1000;

// A look that takes no lock. It is asked all the time, and is one probe of the index that has this condition.
const IS_THERE: &str = "
SELECT EXISTS (
    SELECT 1 FROM dbos.workflow_status
     WHERE status IN ('ENQUEUED', 'PENDING', 'DELAYED') AND workflow_deadline_epoch_ms <= $1
       AND application_name = ANY ($2))";

// As in a cancel, but for the time of the end, which is not before the deadline by whatever clock: by that it is told why the
// run was cancelled. A row that somebody else has locked is left to the next look.
const EXPIRE: &str = "
WITH due AS (
    SELECT workflow_uuid FROM dbos.workflow_status
      WHERE status IN ('ENQUEUED', 'PENDING', 'DELAYED') AND workflow_deadline_epoch_ms <= $1
        AND application_name = ANY ($2)
      ORDER BY workflow_uuid LIMIT $3
      FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE dbos.workflow_status s
   SET status = 'CANCELLED', owner_xid = NULL, queue_name = NULL, deduplication_id = NULL, started_at_epoch_ms = NULL,
       updated_at = (extract(epoch FROM now()) * 1000)::bigint,
       completed_at = greatest((extract(epoch FROM now()) * 1000)::bigint, s.workflow_deadline_epoch_ms)
  FROM due WHERE s.workflow_uuid = due.workflow_uuid
  RETURNING s.workflow_uuid";

impl super::Database {
    /// Cancels runs of these apps whose deadlines are not later than `now`, at most a page of them. An empty page: nothing is
    /// left that others have not locked.
    ///
    /// # Errors
    /// When the database does not answer. Some may have been cancelled.
    pub async fn expire(&self, apps: &[AppName], now: EpochMs) -> Result<Vec<WorkflowId>, DatabaseError> {
        let apps: Vec<&str> = apps.iter().map(AppName::as_str).collect();
        let client = self.client().await?;
        let is_there = client.prepare_cached(IS_THERE).await?;
        if !client.query_one(&is_there, &[&now.0, &apps]).await?.get::<_, bool>(0) {
            return Ok(Vec::new());
        }
        failpoint::hit("deadline.before_page").await;
        let rows = client.query(EXPIRE, &[&now.0, &apps, &PAGE]).await?;
        failpoint::hit("deadline.after_page").await;
        Ok(rows.iter().map(|row| WorkflowId::stored(row.get(0))).collect())
    }
}
