//! Writing a run's outcome.

use tokio_postgres::Client;

use super::claim::Claim;
use super::journal::Landed;
use crate::workflow::{Failure, Status};

/// How a run ends.
#[derive(Debug, Clone)]
pub enum FinalOutcome {
    /// SUCCESS with this JSON text.
    Success(String),
    /// ERROR.
    Error(Failure),
    /// MAX_RECOVERY_ATTEMPTS_EXCEEDED: it stops here and can be resumed.
    DeadLetter(Failure),
}

/// An outcome to be written.
#[derive(Debug, Clone)]
pub struct Finish {
    /// Proof that this host owns the run.
    pub claim: Claim,
    /// How it ended.
    pub outcome: FinalOutcome,
}

// Only a row that is PENDING and still owned: a run that was cancelled or taken in the meantime keeps what is recorded.
// A finished run has no owner, so nothing written for it later passes the fence. The row has one serialization for input and
// outcome: that of the outcome counts from here on, also for a run whose input this host could not read.
const FINISH: &str = "
WITH fence AS (
    SELECT workflow_uuid FROM dbos.workflow_status
      WHERE workflow_uuid = $1 AND owner_xid = $2 AND status = 'PENDING'
      FOR NO KEY UPDATE
), ended AS (
    UPDATE dbos.workflow_status s
       SET status = $3, owner_xid = NULL, deduplication_id = NULL, serialization = 'portable_json',
           updated_at = (extract(epoch FROM now()) * 1000)::bigint,
           completed_at = (extract(epoch FROM now()) * 1000)::bigint
      FROM fence WHERE s.workflow_uuid = fence.workflow_uuid
      RETURNING s.workflow_uuid
), output AS (
    INSERT INTO dbos.workflow_output (workflow_uuid, output, error) SELECT workflow_uuid, $4, $5 FROM ended
      ON CONFLICT (workflow_uuid) DO UPDATE SET output = EXCLUDED.output, error = EXCLUDED.error
)
SELECT (SELECT count(*) FROM ended) > 0";

/// Writes an outcome. [`Landed::Written`]: the run has ended, once and for all. [`Landed::NotOwner`]: it ended or was
/// taken before; so does the answer to a commit that was sent twice look. The caller reads what is recorded.
pub(super) async fn write(client: &Client, new: &Finish) -> Result<Landed, tokio_postgres::Error> {
    let (status, output, error) = match &new.outcome {
        FinalOutcome::Success(json) => (Status::Success, Some(json.as_str()), None),
        FinalOutcome::Error(failure) => (Status::Error, None, Some(failure.to_stored())),
        FinalOutcome::DeadLetter(failure) => (Status::MaxRecoveryAttemptsExceeded, None, Some(failure.to_stored())),
    };
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
        [&new.claim.run().as_str(), &new.claim.token(), &status.as_str(), &output, &error];
    let row = client.query_one(FINISH, &parameters).await?;
    Ok(if row.get(0) { Landed::Written } else { Landed::NotOwner })
}
