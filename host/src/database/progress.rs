//! Writing how far runs have come: the results of steps that are no transactions, and outcomes, of many runs at once.
//!
//! One statement does both, because a run's last record and its outcome may come together, and the outcome must not be
//! written if the record is not: a run that another record was found for is replayed, and may end otherwise.

use std::collections::HashSet;

use tokio_postgres::{Client, Error, Statement};

use super::finish::{FinalOutcome, Finish};
use super::journal::Landed;
use super::record::NewRecord;
use crate::workflow::{RecordedResult, Status, WorkflowId};

// Lock and comparison in the statement that writes. Under READ COMMITTED a waiting lock re-reads the row, so a claim
// that another host took in the meantime is seen, and nothing is written. Rows are locked in key order, so that two
// such statements for the same runs (one of them a zombie's) cannot deadlock.
//
// Rows are looked for by their key alone, and compared afterwards. A condition on the status would let the planner use
// an index of what is PENDING, which it takes for small when it looked at a quiet moment, and which has every sleeper.
// `ending` is put together first: joined inside the UPDATE, each row of `final` was compared with each of `fence`.
//
// A record whose key is there already is left alone: the first one wins, and `unwritten` names its run. An outcome is
// written only for a row that is PENDING and still owned: a run that was cancelled or taken in the meantime keeps what is
// recorded. A finished run has no owner, so nothing written for it later passes the fence. The row has one serialization
// for input and outcome: that of the outcome counts from here on, also for a run whose input this host could not read.
const PROGRESS: &str = "
WITH new AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::int4[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int8[],
                         $9::int8[], $10::text[], $11::bytea[])
      AS n (run, token, step, name, output, error, child, started_at, completed_at, app, digest)
), final AS (
    SELECT * FROM unnest($12::text[], $13::text[], $14::text[], $15::text[], $16::text[])
      AS f (run, token, status, output, error)
), locked AS (
    SELECT s.workflow_uuid, s.owner_xid, s.status FROM dbos.workflow_status s
      WHERE s.workflow_uuid = ANY ($1 || $12)
      ORDER BY s.workflow_uuid
      FOR NO KEY UPDATE
), fence AS (
    SELECT workflow_uuid, owner_xid FROM locked WHERE status = 'PENDING'
), record AS (
    INSERT INTO dbos.operation_outputs
        (workflow_uuid, function_id, function_name, output, error, child_workflow_id, started_at_epoch_ms,
         completed_at_epoch_ms, serialization, application_name)
      SELECT n.run, n.step, n.name, n.output, n.error, n.child, n.started_at, n.completed_at, 'portable_json', n.app
        FROM new n JOIN fence ON fence.workflow_uuid = n.run AND fence.owner_xid = n.token
      ON CONFLICT DO NOTHING
      RETURNING workflow_uuid, function_id
), digest AS (
    INSERT INTO dbos_host.operation_digest (workflow_uuid, function_id, digest)
      SELECT n.run, n.step, n.digest FROM new n JOIN record r ON r.workflow_uuid = n.run AND r.function_id = n.step
      ON CONFLICT (workflow_uuid, function_id) DO UPDATE SET digest = EXCLUDED.digest
), unwritten AS (
    SELECT n.run FROM new n
      WHERE NOT EXISTS (SELECT FROM record r WHERE r.workflow_uuid = n.run AND r.function_id = n.step)
), ending AS MATERIALIZED (
    SELECT f.run, f.status FROM final f JOIN fence ON fence.workflow_uuid = f.run AND fence.owner_xid = f.token
     WHERE f.run NOT IN (SELECT run FROM unwritten)
), ended AS (
    UPDATE dbos.workflow_status s
       SET status = e.status, owner_xid = NULL, deduplication_id = NULL, serialization = 'portable_json',
           updated_at = (extract(epoch FROM now()) * 1000)::bigint,
           completed_at = (extract(epoch FROM now()) * 1000)::bigint
      FROM ending e WHERE s.workflow_uuid = e.run
      RETURNING s.workflow_uuid
), output AS (
    INSERT INTO dbos.workflow_output (workflow_uuid, output, error)
      SELECT f.run, f.output, f.error FROM final f JOIN ended ON ended.workflow_uuid = f.run
      ON CONFLICT (workflow_uuid) DO UPDATE SET output = EXCLUDED.output, error = EXCLUDED.error
)
SELECT 'fence', workflow_uuid, owner_xid FROM fence
UNION ALL SELECT 'record', workflow_uuid, function_id::text FROM record
UNION ALL SELECT 'ended', workflow_uuid, '' FROM ended";

/// Prepares the statement for a connection.
pub(super) async fn prepare(client: &Client) -> Result<Statement, Error> {
    client.prepare(PROGRESS).await
}

/// What a statement has written, by run.
#[derive(Debug, Default)]
pub(super) struct Progress {
    owned: HashSet<(String, String)>,
    records: HashSet<(String, String)>,
    ended: HashSet<String>,
}

impl Progress {
    /// What became of a record. [`Landed::Written`]: the step will never run again.
    pub(super) fn of_record(&self, new: &NewRecord) -> Landed {
        let run = new.claim.run().to_string();
        if self.records.contains(&(run.clone(), new.step.get().to_string())) {
            Landed::Written
        } else if self.owned.contains(&(run, new.claim.token().to_owned())) {
            Landed::Exists
        } else {
            Landed::NotOwner
        }
    }

    /// What became of an outcome. [`Landed::Written`]: the run has ended, once and for all. [`Landed::NotOwner`]: it ended
    /// or was taken before; so does the answer to a commit that was sent twice look. The caller reads what is recorded.
    /// [`Landed::Exists`]: the run goes on, because its last record is another one than the outcome was made from.
    pub(super) fn of_outcome(&self, new: &Finish) -> Landed {
        let run = new.claim.run().to_string();
        if self.ended.contains(&run) {
            Landed::Written
        } else if self.owned.contains(&(run, new.claim.token().to_owned())) {
            Landed::Exists
        } else {
            Landed::NotOwner
        }
    }
}

/// Writes records and outcomes.
pub(super) async fn write(
    client: &Client,
    statement: &Statement,
    records: &[&NewRecord],
    outcomes: &[&Finish],
) -> Result<Progress, Error> {
    if records.is_empty() && outcomes.is_empty() {
        return Ok(Progress::default());
    }
    let results: Vec<(Option<&str>, Option<String>)> = records.iter().map(|new| of_result(&new.result)).collect();
    let ends: Vec<(&str, Option<&str>, Option<String>)> = outcomes.iter().map(|new| of_end(&new.outcome)).collect();
    let rows = client
        .query(
            statement,
            &[
                &column(records, |new| new.claim.run().as_str()),
                &column(records, |new| new.claim.token()),
                &column(records, |new| new.step.get()),
                &column(records, |new| new.name.as_str()),
                &results.iter().map(|(output, _)| *output).collect::<Vec<_>>(),
                &results.iter().map(|(_, error)| error.as_deref()).collect::<Vec<_>>(),
                &column(records, |new| new.child.as_ref().map(WorkflowId::as_str)),
                &column(records, |new| new.started_at.0),
                &column(records, |new| new.completed_at.0),
                &column(records, |new| new.app.as_str()),
                &column(records, |new| new.digest.0.as_slice()),
                &column(outcomes, |new| new.claim.run().as_str()),
                &column(outcomes, |new| new.claim.token()),
                &ends.iter().map(|(status, ..)| *status).collect::<Vec<_>>(),
                &ends.iter().map(|(_, output, _)| *output).collect::<Vec<_>>(),
                &ends.iter().map(|(.., error)| error.as_deref()).collect::<Vec<_>>(),
            ],
        )
        .await?;
    let mut progress = Progress::default();
    for row in rows {
        let (what, run, which): (&str, String, Option<String>) = (row.get(0), row.get(1), row.get(2));
        match what {
            "fence" => drop(progress.owned.insert((run, which.unwrap_or_default()))),
            "record" => drop(progress.records.insert((run, which.unwrap_or_default()))),
            _ => drop(progress.ended.insert(run)),
        }
    }
    Ok(progress)
}

/// One column of an array parameter.
pub(super) fn column<'a, N, T>(rows: &[&'a N], of: impl Fn(&'a N) -> T) -> Vec<T> {
    rows.iter().map(|row| of(row)).collect()
}

fn of_result(result: &RecordedResult) -> (Option<&str>, Option<String>) {
    match result {
        RecordedResult::Output(json) => (Some(json), None),
        RecordedResult::Failed(failure) => (None, Some(failure.to_stored())),
    }
}

pub(super) fn of_end(outcome: &FinalOutcome) -> (&'static str, Option<&str>, Option<String>) {
    match outcome {
        FinalOutcome::Success(json) => (Status::Success.as_str(), Some(json), None),
        FinalOutcome::Error(failure) => (Status::Error.as_str(), None, Some(failure.to_stored())),
        FinalOutcome::DeadLetter(failure) => {
            (Status::MaxRecoveryAttemptsExceeded.as_str(), None, Some(failure.to_stored()))
        }
    }
}
