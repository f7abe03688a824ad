//! Writing how far runs have come: the results of steps that are no transactions, and outcomes, of many runs at once.
//!
//! One statement does both, because a run's last record and its outcome may come together, and the outcome must not be
//! written if the record is not: a run that another record was found for is replayed, and may end otherwise.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Statement};

use super::finish::{FinalOutcome, Finish};
use super::journal::Landed;
use super::ordinality::place;
use super::record::NewRecord;
use crate::workflow::{RecordedResult, Status, WorkflowId};

// Lock and comparison in the statement that writes. Under READ COMMITTED a waiting lock re-reads the row, so a claim
// that another host took in the meantime is seen, and nothing is written. Rows are locked in key order, so that two
// such statements for the same runs (one of them a zombie's) cannot deadlock.
//
// Rows are looked for by their key alone, and compared afterwards. A condition on the status would let the planner use
// an index of what is PENDING, which it takes for small when it looked at a quiet moment, and which has every sleeper.
//
// What was not written is told by its place in the parameters; what is not told, is written. In nearly every commit
// that is nothing, and nobody has to read, send and look up the names of runs.
const RECORDS: &str = "
WITH new AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::int4[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int8[],
                         $9::int8[], $10::text[], $11::bytea[]) WITH ORDINALITY
      AS n (run, token, step, name, output, error, child, started_at, completed_at, app, digest, at)
), locked AS (
    SELECT s.workflow_uuid, s.owner_xid, s.status FROM dbos.workflow_status s
      WHERE s.workflow_uuid = ANY (<runs>) <which of them>
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
      <if the key is there>
      RETURNING workflow_uuid, function_id
), digest AS (
    INSERT INTO dbos_host.operation_digest (workflow_uuid, function_id, digest)
      SELECT n.run, n.step, n.digest FROM new n JOIN record r ON r.workflow_uuid = n.run AND r.function_id = n.step
      <if a digest is there>
), unwritten AS (
    SELECT n.run, n.at, EXISTS (SELECT FROM fence WHERE fence.workflow_uuid = n.run AND fence.owner_xid = n.token) AS owned
      FROM new n WHERE NOT EXISTS (SELECT FROM record r WHERE r.workflow_uuid = n.run AND r.function_id = n.step)
)";

// An outcome is written only for a row that is PENDING and still owned: a run that was cancelled or taken in the
// meantime keeps what is recorded. A finished run has no owner, so nothing written for it later passes the fence. The
// row has one serialization for input and outcome: that of the outcome counts from here on, also for a run whose input
// this host could not read. A run that was resumed has the output of its former end.
// `ending` is put together first: joined inside the UPDATE, each row of `final` was compared with each of `fence`.
const OUTCOMES: &str = ", final AS (
    SELECT * FROM unnest($12::text[], $13::text[], $14::text[], $15::text[], $16::text[]) WITH ORDINALITY
      AS f (run, token, status, output, error, at)
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
SELECT false, at, owned FROM unwritten
UNION ALL
SELECT true, f.at, EXISTS (SELECT FROM fence WHERE fence.workflow_uuid = f.run AND fence.owner_xid = f.token)
  FROM final f WHERE NOT EXISTS (SELECT FROM ended WHERE ended.workflow_uuid = f.run)";

const RECORDS_ALONE: &str = "SELECT false, at, owned FROM unwritten";

/// What is known of the keys of records before they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// None of them should be there: whoever writes has read its run's records. One that is there all the same (a
    /// zombie's, or one that a deleted run has left) is an error of the statement, and nothing is written.
    New,
    /// Some may be. A record that is there already is left alone: the first one wins.
    MaybeThere,
}

impl Keys {
    /// The statement for these keys. To look for each key before it is written, and to mark the row until the last index
    /// has it, is a quarter of what a record costs the database (*measured*); so that is done only where there is a reason.
    fn apply(self, statement: &str) -> String {
        let (record, digest) = match self {
            Self::New => ("", ""),
            Self::MaybeThere => (
                "ON CONFLICT DO NOTHING",
                "ON CONFLICT (workflow_uuid, function_id) DO UPDATE SET digest = EXCLUDED.digest",
            ),
        };
        statement.replace("<if the key is there>", record).replace("<if a digest is there>", digest)
    }
}

/// The statements, prepared for a connection.
#[derive(Debug)]
pub(super) struct Statements {
    new: Pair,
    maybe_there: Pair,
    begun: Pair,
}

impl Statements {
    pub(super) fn of(&self, keys: Keys) -> &Pair {
        match keys {
            Keys::New => &self.new,
            Keys::MaybeThere => &self.maybe_there,
        }
    }

    /// For runs that the same transaction has begun, before. A run under one of their ids that was there is not looked at,
    /// and not waited for if somebody has locked it.
    pub(super) fn begun(&self) -> &Pair {
        &self.begun
    }
}

/// What this transaction has inserted.
const BEGUN_HERE: &str = "AND s.xmin = pg_current_xact_id()::xid";

/// Records alone do without what outcomes need, which costs a third of the statement even where there is none.
#[derive(Debug)]
pub(super) struct Pair {
    records: Statement,
    with_outcomes: Statement,
}

/// Prepares the statements for a connection.
pub(super) async fn prepare(client: &Client) -> Result<Statements, Error> {
    let pair = async |keys: Keys, which: &str| {
        let records = keys.apply(RECORDS).replace("<which of them>", which);
        let alone = format!("{} {RECORDS_ALONE}", records.replace("<runs>", "$1"));
        let with_outcomes = format!("{}{OUTCOMES}", records.replace("<runs>", "$1 || $12"));
        Ok::<_, Error>(Pair {
            records: client.prepare(&alone).await?,
            with_outcomes: client.prepare(&with_outcomes).await?,
        })
    };
    Ok(Statements {
        new: pair(Keys::New, "").await?,
        maybe_there: pair(Keys::MaybeThere, "").await?,
        begun: pair(Keys::New, BEGUN_HERE).await?,
    })
}

/// What became of records and outcomes, in the order in which they were given.
///
/// A record. [`Landed::Written`]: the step will never run again. [`Landed::Exists`]: another one is there.
///
/// An outcome. [`Landed::Written`]: the run has ended, once and for all. [`Landed::NotOwner`]: it ended or was taken
/// before; so does the answer to a commit that was sent twice look. The caller reads what is recorded.
/// [`Landed::Exists`]: the run goes on, because its last record is another one than the outcome was made from.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) records: Vec<Landed>,
    pub(super) outcomes: Vec<Landed>,
}

impl Progress {
    /// Both, one after the other.
    pub(super) fn into_iters(self) -> (std::vec::IntoIter<Landed>, std::vec::IntoIter<Landed>) {
        (self.records.into_iter(), self.outcomes.into_iter())
    }
}

/// Writes records and outcomes.
pub(super) async fn write(
    client: &Client,
    statements: &Pair,
    (records, outcomes): (&[&NewRecord], &[&Finish]),
) -> Result<Progress, Error> {
    let mut progress =
        Progress { records: vec![Landed::Written; records.len()], outcomes: vec![Landed::Written; outcomes.len()] };
    if records.is_empty() && outcomes.is_empty() {
        return Ok(progress);
    }
    let results: Vec<(Option<&str>, Option<String>)> = records.iter().map(|new| of_result(&new.result)).collect();
    let of_records = [
        &column(records, |new| new.claim.run().as_str()) as &(dyn ToSql + Sync),
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
    ];
    let rows = if outcomes.is_empty() {
        client.query(&statements.records, &of_records).await?
    } else {
        let ends: Vec<(&str, Option<&str>, Option<String>)> = outcomes.iter().map(|new| of_end(&new.outcome)).collect();
        let of_outcomes = [
            &column(outcomes, |new| new.claim.run().as_str()) as &(dyn ToSql + Sync),
            &column(outcomes, |new| new.claim.token()),
            &ends.iter().map(|(status, ..)| *status).collect::<Vec<_>>(),
            &ends.iter().map(|(_, output, _)| *output).collect::<Vec<_>>(),
            &ends.iter().map(|(.., error)| error.as_deref()).collect::<Vec<_>>(),
        ];
        client.query(&statements.with_outcomes, &[&of_records[..], &of_outcomes[..]].concat()).await?
    };
    for row in rows {
        let (is_outcome, owned): (bool, bool) = (row.get(0), row.get(2));
        let told = if is_outcome { &mut progress.outcomes } else { &mut progress.records };
        told[place(&row, 1)] = if owned { Landed::Exists } else { Landed::NotOwner };
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
