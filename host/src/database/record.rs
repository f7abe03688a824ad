//! Recording a step that is not a transaction: a communicator's result, a sleep's wake time, a child's outcome.

use tokio_postgres::Client;

use super::claim::Claim;
use super::journal::Landed;
use crate::workflow::{AppName, EpochMs, OperationDigest, RecordedResult, StepNumber, WorkflowId};

/// A record to be written.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// Proof that this host owns the run.
    pub claim: Claim,
    /// The run's app.
    pub app: AppName,
    /// The number of the step.
    pub step: StepNumber,
    /// `function_name`.
    pub name: String,
    /// The digest of the call.
    pub digest: OperationDigest,
    /// How the step ended.
    pub result: RecordedResult,
    /// The run that it waited for or started.
    pub child: Option<WorkflowId>,
    /// When it began.
    pub started_at: EpochMs,
    /// When it ended, or will (a sleep).
    pub completed_at: EpochMs,
}

// Lock and comparison in the statement that writes. Under READ COMMITTED a waiting lock re-reads the row, so a claim
// that another host took in the meantime is seen, and nothing is written.
const RECORD: &str = "
WITH fence AS (
    SELECT workflow_uuid FROM dbos.workflow_status
      WHERE workflow_uuid = $1 AND owner_xid = $2 AND status = 'PENDING'
      FOR NO KEY UPDATE
), record AS (
    INSERT INTO dbos.operation_outputs
        (workflow_uuid, function_id, function_name, output, error, child_workflow_id, started_at_epoch_ms,
         completed_at_epoch_ms, serialization, application_name)
      SELECT workflow_uuid, $3, $4, $5, $6, $7, $8, $9, 'portable_json', $10 FROM fence
      ON CONFLICT DO NOTHING
      RETURNING workflow_uuid
), digest AS (
    INSERT INTO dbos_host.operation_digest (workflow_uuid, function_id, digest)
      SELECT workflow_uuid, $3, $11 FROM record
      ON CONFLICT (workflow_uuid, function_id) DO UPDATE SET digest = EXCLUDED.digest
)
SELECT (SELECT count(*) FROM fence) > 0, (SELECT count(*) FROM record) > 0";

/// Writes a record. When it returns [`Landed::Written`], the step will never run again.
pub(super) async fn write(client: &Client, new: &NewRecord) -> Result<Landed, tokio_postgres::Error> {
    let (output, error) = match &new.result {
        RecordedResult::Output(json) => (Some(json.as_str()), None),
        RecordedResult::Failed(failure) => (None, Some(failure.to_stored())),
    };
    let row = client
        .query_one(
            RECORD,
            &[
                &new.claim.run().as_str(),
                &new.claim.token(),
                &new.step.get(),
                &new.name,
                &output,
                &error,
                &new.child.as_ref().map(WorkflowId::as_str),
                &new.started_at.0,
                &new.completed_at.0,
                &new.app.as_str(),
                &new.digest.0.as_slice(),
            ],
        )
        .await?;
    Ok(match (row.get(0), row.get(1)) {
        (false, _) => Landed::NotOwner,
        (true, true) => Landed::Written,
        (true, false) => Landed::Exists,
    })
}
