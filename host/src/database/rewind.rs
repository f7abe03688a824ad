//! Rewinding a run: it is done again from one of its steps, under its own id.
//!
//! Problem: everybody who knows the run's id goes on knowing it, so what it has told since the step must be taken back: its
//! records, the events that it has set, its outcome, the end of its streams. And nobody may be at work for it meanwhile. So
//! only a run that has ended is rewound, behind its row's lock, in one transaction.
//!
//! What DBOS's clients do is done here too, column by column: messages that were received behind the step, and those that
//! nobody has received, are gone; values that were written into streams stay, and those of the next time come behind them.
//! But a promise stays settled: it is settled once, whoever has settled it was told so, and cannot do it again.

use tokio_postgres::Transaction;

use super::cut::{self, Refusal, Version};
use super::error::DatabaseError;
use super::resume::INTERNAL_QUEUE;
use crate::failpoint;
use crate::workflow::{Cut, StepNumber, WorkflowId};

// Run and step, one after the other behind the lock: each sees what was committed before it.
const TAKE_BACK: [&str; 8] = [
    // The events as they stood before the step.
    "DELETE FROM dbos.workflow_events e
      WHERE e.workflow_uuid = $1
        AND EXISTS (SELECT FROM dbos.workflow_events_history h
                     WHERE h.workflow_uuid = $1 AND h.key = e.key AND h.function_id >= $2)",
    "INSERT INTO dbos.workflow_events (workflow_uuid, key, value, serialization)
     SELECT DISTINCT ON (key) workflow_uuid, key, value, serialization
       FROM dbos.workflow_events_history WHERE workflow_uuid = $1 AND function_id < $2
      ORDER BY key, function_id DESC
     ON CONFLICT (workflow_uuid, key) DO NOTHING",
    "DELETE FROM dbos.workflow_events_history WHERE workflow_uuid = $1 AND function_id >= $2",
    // The mark that ends a stream, or nothing more could be written into it.
    "DELETE FROM dbos.streams
      WHERE workflow_uuid = $1 AND function_id >= $2
        AND value = '\"__DBOS_STREAM_CLOSED__\"' AND serialization = 'portable_json'",
    "UPDATE dbos.notifications SET consumed = false, consumed_by_function_id = NULL
      WHERE destination_uuid = $1 AND consumed_by_function_id >= $2 AND starts_with(topic, 'dbos-host.promise:')",
    "DELETE FROM dbos.notifications
      WHERE destination_uuid = $1 AND (consumed_by_function_id >= $2 OR NOT consumed)
        AND NOT coalesce(starts_with(topic, 'dbos-host.promise:'), false)",
    "DELETE FROM dbos.operation_outputs WHERE workflow_uuid = $1 AND function_id >= $2",
    "DELETE FROM dbos_host.operation_digest WHERE workflow_uuid = $1 AND function_id >= $2",
];

// How many records there were at the last attempt says nothing any more about how far the run has come.
//
// What its steps have registered is looked at again at its next end, those that are cut off too: what they have done has been
// done, and is undone as what nobody knows the result of, unless the run comes to them again.
const FORGET: [&str; 3] = [
    "INSERT INTO dbos_host.saga (workflow_uuid, run_created_at)
     SELECT s.workflow_uuid, s.created_at FROM dbos.workflow_status s
      WHERE s.workflow_uuid = $1 AND EXISTS (
            SELECT FROM dbos_host.undo u WHERE u.workflow_uuid = s.workflow_uuid AND u.run_created_at = s.created_at)
     ON CONFLICT (workflow_uuid) DO UPDATE SET run_created_at = EXCLUDED.run_created_at",
    "DELETE FROM dbos.workflow_output WHERE workflow_uuid = $1",
    "DELETE FROM dbos_host.attempt WHERE workflow_uuid = $1",
];

const UNDONE: &str =
    "SELECT FROM dbos.workflow_status s JOIN dbos.workflow_status u ON u.workflow_uuid = s.workflow_uuid || '-undo'
      WHERE s.workflow_uuid = $1 AND starts_with(u.name, 'undo:') AND u.created_at >= s.created_at";

const ENQUEUE: &str = "
UPDATE dbos.workflow_status
   SET status = 'ENQUEUED', owner_xid = NULL, application_version = coalesce($2, application_version), queue_name = $3,
       queue_partition_key = NULL, recovery_attempts = 0, workflow_deadline_epoch_ms = NULL, deduplication_id = NULL,
       started_at_epoch_ms = NULL, updated_at = (extract(epoch FROM now()) * 1000)::bigint, completed_at = NULL,
       output = NULL, error = NULL
 WHERE workflow_uuid = $1";

impl super::Database {
    /// Rewinds a run. When it returns a step, what the run had recorded from it on is gone, and the run waits for a host that
    /// goes on from it.
    ///
    /// # Errors
    /// When the database does not answer. The run may have been rewound; then it has not ended any more.
    pub async fn rewind(
        &self,
        run: &WorkflowId,
        cut: Cut,
        version: &Version,
    ) -> Result<Result<StepNumber, Refusal>, DatabaseError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let step = match rewind(&transaction, run, cut, version).await? {
            Ok(step) => step,
            Err(refusal) => return Ok(Err(refusal)),
        };
        failpoint::hit("rewind.before_commit").await;
        transaction.commit().await?;
        failpoint::hit("rewind.after_commit").await;
        Ok(Ok(step))
    }
}

async fn rewind(
    transaction: &Transaction<'_>,
    run: &WorkflowId,
    cut: Cut,
    version: &Version,
) -> Result<Result<StepNumber, Refusal>, DatabaseError> {
    let target = match cut::look(transaction, run, version, "FOR NO KEY UPDATE OF s").await? {
        Ok(target) if target.status.is_terminal() => target,
        Ok(target) => return Ok(Err(Refusal::NotEnded(run.clone(), target.status))),
        Err(refusal) => return Ok(Err(refusal)),
    };
    // Whoever starts what undoes a run has its row locked meanwhile.
    if transaction.query_opt(UNDONE, &[&run.as_str()]).await?.is_some() {
        return Ok(Err(Refusal::Undone(run.clone())));
    }
    let step = match cut::step(transaction, run, target.status, cut).await? {
        Ok(step) => step,
        Err(refusal) => return Ok(Err(refusal)),
    };
    for statement in TAKE_BACK {
        transaction.execute(statement, &[&run.as_str(), &step.get()]).await?;
    }
    for statement in FORGET {
        transaction.execute(statement, &[&run.as_str()]).await?;
    }
    transaction.execute(ENQUEUE, &[&run.as_str(), &target.version, &INTERNAL_QUEUE]).await?;
    Ok(Ok(step))
}
