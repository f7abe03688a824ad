//! Loading what a run has recorded.

use super::error::DatabaseError;
use crate::workflow::{Code, EpochMs, Failure, OperationDigest, Record, RecordedResult, StepNumber, WorkflowId};

const HISTORY: &str = "
SELECT o.function_id, o.function_name, o.output, o.error, o.child_workflow_id, o.started_at_epoch_ms,
       o.completed_at_epoch_ms, o.serialization, d.digest
  FROM dbos.operation_outputs o LEFT JOIN dbos_host.operation_digest d USING (workflow_uuid, function_id)
 WHERE o.workflow_uuid = $1
 ORDER BY o.function_id";

impl super::Database {
    /// All records of a run, in the order of its steps.
    ///
    /// # Errors
    /// When the database does not answer; the caller tries again.
    pub async fn load_history(&self, run: &WorkflowId) -> Result<Vec<Record>, DatabaseError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(HISTORY).await?;
        let rows = client.query(&statement, &[&run.as_str()]).await?;
        Ok(rows.iter().map(record).collect())
    }
}

fn record(row: &tokio_postgres::Row) -> Record {
    let output: Option<String> = row.get(2);
    let error: Option<String> = row.get(3);
    let serialization: Option<String> = row.get(7);
    let started_at = EpochMs(row.get::<_, Option<i64>>(5).unwrap_or(0));
    Record {
        step: StepNumber::stored(row.get(0)),
        name: row.get(1),
        digest: row.get::<_, Option<Vec<u8>>>(8).and_then(|bytes| bytes.try_into().ok()).map(OperationDigest),
        result: result(output, error, serialization.as_deref()),
        child: row.get::<_, Option<&str>>(4).map(WorkflowId::stored),
        started_at,
        completed_at: EpochMs(row.get::<_, Option<i64>>(6).unwrap_or(started_at.0)),
    }
}

/// A record in a serialization that only another SDK reads becomes an error that says so, at the call that gets it.
fn result(output: Option<String>, error: Option<String>, serialization: Option<&str>) -> RecordedResult {
    let readable = matches!(serialization, None | Some("portable_json"));
    match (output, error) {
        (_, Some(error)) => RecordedResult::Failed(Failure::from_stored(&error)),
        (Some(_), None) if !readable => RecordedResult::Failed(Failure::new(
            "Error",
            Code("unreadable_record"),
            format!("the record is stored as `{}`, which this host cannot read", serialization.unwrap_or_default()),
        )),
        (Some(output), None) => RecordedResult::Output(output),
        (None, None) => RecordedResult::Output("null".into()),
    }
}
