//! Counting an attempt of a run before its instance is made.
//!
//! Problem: a guest that takes its host down must not do so for ever, and a month-long sleeper must survive any number
//! of deploys. So attempts are counted when an instance is made, not when a run is claimed, and every new record starts
//! the count again. Resetting it with each record would write the status row each time; instead the count is compared
//! with how many records there were when the last attempt was counted.

use super::claim::Claim;
use super::error::DatabaseError;
use crate::workflow::{AppName, ComponentDigest, EpochMs, TraceContext};

/// A counted attempt, and what an instance needs to know of its run.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Attempts in a row without a new record, this one included.
    pub count: u32,
    /// The workflow's name, or `temp:<step>`.
    pub name: String,
    /// The component that started the run.
    pub version: Option<ComponentDigest>,
    /// The app.
    pub app: Option<AppName>,
    /// Stored input, with its serialization.
    pub inputs: Option<String>,
    /// The serialization of the input.
    pub serialization: Option<String>,
    /// Where workflow time starts.
    pub started_at: EpochMs,
    /// The trace that the run belongs to.
    pub trace: Option<TraceContext>,
}

// The row is looked for by its key alone and compared afterwards, as the journal does: an index of what is PENDING has
// every sleeper in it.
const ATTEMPT: &str = "
WITH locked AS (
    SELECT workflow_uuid, owner_xid, status FROM dbos.workflow_status WHERE workflow_uuid = $1 FOR NO KEY UPDATE
), fence AS (
    SELECT workflow_uuid FROM locked WHERE owner_xid = $2 AND status = 'PENDING'
), progress AS (
    SELECT coalesce((SELECT max(function_id) FROM dbos.operation_outputs WHERE workflow_uuid = $1), 0) AS records,
           coalesce((SELECT records FROM dbos_host.attempt WHERE workflow_uuid = $1), 0) AS before
), counted AS (
    UPDATE dbos.workflow_status s
       SET recovery_attempts = CASE WHEN progress.records > progress.before THEN 1
                                    ELSE coalesce(s.recovery_attempts, 0) + 1 END,
           updated_at = (extract(epoch FROM now()) * 1000)::bigint
      FROM fence, progress WHERE s.workflow_uuid = fence.workflow_uuid
      RETURNING s.*, progress.records
), remembered AS (
    INSERT INTO dbos_host.attempt (workflow_uuid, records) SELECT workflow_uuid, records FROM counted
      ON CONFLICT (workflow_uuid) DO UPDATE SET records = EXCLUDED.records
)
SELECT c.recovery_attempts, c.name, c.application_version, c.application_name, coalesce(i.inputs, c.inputs),
       c.serialization, c.created_at, c.attributes->'dbos.otelContext'->>'traceparent'
  FROM counted c LEFT JOIN dbos.workflow_input i USING (workflow_uuid)";

impl super::Database {
    /// Counts an attempt. When it returns, the count is durable: whatever the attempt does to this process, the next
    /// owner sees it. `None`: this host does not own the run any more.
    ///
    /// # Errors
    /// When the database does not answer. The attempt may have been counted; counting it again does no harm.
    pub async fn count_attempt(&self, claim: &Claim) -> Result<Option<Attempt>, DatabaseError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(ATTEMPT).await?;
        let row = client.query_opt(&statement, &[&claim.run().as_str(), &claim.token()]).await?;
        Ok(row.map(|row| Attempt {
            count: u32::try_from(row.get::<_, i64>(0)).unwrap_or(u32::MAX),
            name: row.get::<_, Option<String>>(1).unwrap_or_default(),
            version: row.get::<_, Option<&str>>(2).and_then(ComponentDigest::stored),
            app: row.get::<_, Option<&str>>(3).and_then(|name| AppName::parse(name).ok()),
            inputs: row.get(4),
            serialization: row.get(5),
            started_at: EpochMs(row.get(6)),
            trace: row.get::<_, Option<&str>>(7).and_then(TraceContext::parse),
        }))
    }
}
