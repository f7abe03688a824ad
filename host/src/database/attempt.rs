//! Counting attempts of runs before their instances are made.
//!
//! Problem: a guest that takes its host down must not do so for ever, and a month-long sleeper must survive any number
//! of deploys. So attempts are counted when an instance is made, not when a run is claimed, and every new record starts
//! the count again. Resetting it with each record would write the status row each time; instead the count is compared
//! with how many records there were when the last attempt was counted.
//!
//! Attempts of many runs are counted by one statement, and a row that somebody has locked is not waited for: its run hears
//! that, and the others go on.

use tokio_postgres::{Client, Error, Row, Statement};

use super::claim::Claim;
use super::ordinality::place;
use crate::workflow::{AppName, ComponentDigest, EpochMs, StepNumber, TraceContext, WorkflowId};

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
    /// Where workflow time starts: for a fork, where its origin's did.
    pub started_at: EpochMs,
    /// The runs whose randomness this one repeats, the oldest first, each up to a step: what it was copied from.
    pub draws_as: Vec<(StepNumber, WorkflowId)>,
    /// The trace that the run belongs to.
    pub trace: Option<TraceContext>,
    /// When it is cancelled if it has not ended.
    pub deadline: Option<EpochMs>,
    /// Its steps are undone, or were: it is not to go on.
    pub is_undone: bool,
}

/// Records up to which a run's history is measured while its attempt is counted. Measuring reads their rows, behind the
/// lock: a thousand take some milliseconds. A longer history is large, whatever is in it.
pub(super) const MEASURED_RECORDS: i32 = 1000;

// The row is looked for by its key alone and compared afterwards, as the journal does: an index of what is PENDING has
// every sleeper in it. Rows are locked in key order, and those that somebody else has locked are skipped: they belong to
// no `fence`, but they are there.
//
// Progress is how many records there are. Of a long history it is the highest number: one that fills a gap below it goes
// unnoticed then, which costs a count. From one measure to the other it only grows.
//
// The sizes are those of the payloads as text. The server knows them without unpacking what it keeps packed.
const ATTEMPTS: &str = "
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w (run, token, nr)
), locked AS MATERIALIZED (
    SELECT workflow_uuid, owner_xid, status FROM dbos.workflow_status
     WHERE workflow_uuid = ANY ($1) ORDER BY workflow_uuid FOR NO KEY UPDATE SKIP LOCKED
), fence AS MATERIALIZED (
    SELECT w.run, w.nr, progress.records, progress.before, progress.bytes
      FROM wanted w JOIN locked l ON l.workflow_uuid = w.run AND l.owner_xid = w.token AND l.status = 'PENDING'
      CROSS JOIN LATERAL (
          SELECT CASE WHEN last.step <= $3 THEN measured.records ELSE last.step END AS records,
                 CASE WHEN last.step <= $3 THEN measured.bytes END AS bytes,
                 coalesce((SELECT records FROM dbos_host.attempt WHERE workflow_uuid = w.run), 0) AS before
            FROM (SELECT coalesce(max(function_id), 0) AS step
                    FROM dbos.operation_outputs WHERE workflow_uuid = w.run OFFSET 0) last
            CROSS JOIN LATERAL (
                SELECT count(*)::int4 AS records,
                       coalesce(sum(coalesce(octet_length(o.output), 0) + coalesce(octet_length(o.error), 0)), 0) AS bytes
                  FROM dbos.operation_outputs o WHERE o.workflow_uuid = w.run AND last.step <= $3 OFFSET 0) measured
          OFFSET 0) progress
), counted AS (
    UPDATE dbos.workflow_status s
       SET recovery_attempts = CASE WHEN f.records > f.before THEN 1 ELSE coalesce(s.recovery_attempts, 0) + 1 END,
           updated_at = (extract(epoch FROM now()) * 1000)::bigint
      FROM fence f WHERE s.workflow_uuid = f.run
      RETURNING f.nr, s.workflow_uuid, s.recovery_attempts, s.name, s.application_version, s.application_name,
                s.serialization, s.created_at, s.attributes->'dbos.otelContext'->>'traceparent' AS trace,
                octet_length(s.inputs) AS bytes, s.forked_from, s.workflow_deadline_epoch_ms AS deadline
), remembered AS (
    INSERT INTO dbos_host.attempt (workflow_uuid, records) SELECT run, records FROM fence
      ON CONFLICT (workflow_uuid) DO UPDATE SET records = EXCLUDED.records
)
SELECT w.nr,
       c.nr IS NULL AND NOT EXISTS (SELECT FROM locked l WHERE l.workflow_uuid = w.run)
           AND EXISTS (SELECT FROM dbos.workflow_status s WHERE s.workflow_uuid = w.run) AS is_locked,
       c.recovery_attempts, c.name, c.application_version, c.application_name, c.serialization, c.created_at, c.trace,
       f.records::int4, f.bytes::int8, (coalesce(octet_length(i.inputs), c.bytes, 0))::int8,
       o.started_at, o.last_steps, o.seeds_of, c.deadline,
       EXISTS (SELECT FROM dbos.workflow_status u
                WHERE u.workflow_uuid = c.workflow_uuid || '-undo' AND starts_with(u.name, 'undo:')
                  AND u.created_at >= c.created_at)
  FROM wanted w
  LEFT JOIN counted c ON c.nr = w.nr
  LEFT JOIN fence f ON f.nr = c.nr
  LEFT JOIN dbos.workflow_input i ON i.workflow_uuid = c.workflow_uuid
  LEFT JOIN dbos_host.origin o
         ON o.workflow_uuid = c.workflow_uuid AND o.forked_from = c.forked_from AND o.created_at = c.created_at";

/// What became of counting an attempt.
#[derive(Debug)]
pub(super) enum Counted {
    /// It is durable. The row has what an instance needs, but for the input.
    Done {
        /// For [`attempt`].
        row: Row,
        /// What there is to be read.
        size: Size,
    },
    /// Somebody else has locked the run's row. Nothing was counted.
    Locked,
    /// This host does not own the run any more.
    NotOwner,
}

/// How much has to be read of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// Records, or more: the highest number of one.
    pub(super) records: usize,
    /// Bytes of payload, the input included. `None`: too many records for finding out.
    pub(super) bytes: Option<usize>,
}

/// Prepares the statement for a connection.
pub(super) async fn prepare(client: &Client) -> Result<Statement, Error> {
    client.prepare(ATTEMPTS).await
}

/// Counts an attempt for each claim, no two of which are of one run. When it returns, the counts are durable: whatever the
/// attempts do to this process, the next owner sees them. When it fails they may be counted; counting them again does no
/// harm.
pub(super) async fn count(client: &Client, statement: &Statement, claims: &[&Claim]) -> Result<Vec<Counted>, Error> {
    let runs: Vec<&str> = claims.iter().map(|claim| claim.run().as_str()).collect();
    let tokens: Vec<&str> = claims.iter().map(|claim| claim.token()).collect();
    let rows = client.query(statement, &[&runs, &tokens, &MEASURED_RECORDS]).await?;
    let mut counted: Vec<Counted> = claims.iter().map(|_| Counted::NotOwner).collect();
    for row in rows {
        let of_run = &mut counted[place(&row, 0)];
        if row.try_get::<_, bool>(1)? {
            *of_run = Counted::Locked;
        } else if let Some(records) = row.try_get::<_, Option<i32>>(9)? {
            let input = row.try_get::<_, i64>(11)?;
            let bytes = row.try_get::<_, Option<i64>>(10)?.map(|bytes| bytes.saturating_add(input));
            let size = Size {
                records: usize::try_from(records).unwrap_or(0),
                bytes: bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            };
            *of_run = Counted::Done { row, size };
        }
    }
    Ok(counted)
}

/// Reads what was counted, for a run with this input.
pub(super) fn attempt(row: &Row, inputs: Option<String>) -> Attempt {
    let last_steps = row.get::<_, Option<Vec<i32>>>(13).unwrap_or_default();
    let seeds_of = row.get::<_, Option<Vec<&str>>>(14).unwrap_or_default();
    let seeds = last_steps.into_iter().zip(seeds_of);
    Attempt {
        count: u32::try_from(row.get::<_, i64>(2)).unwrap_or(u32::MAX),
        name: row.get::<_, Option<String>>(3).unwrap_or_default(),
        version: row.get::<_, Option<&str>>(4).and_then(ComponentDigest::stored),
        app: row.get::<_, Option<&str>>(5).and_then(|name| AppName::parse(name).ok()),
        inputs,
        serialization: row.get(6),
        started_at: EpochMs(row.get::<_, Option<i64>>(12).unwrap_or_else(|| row.get(7))),
        draws_as: seeds.map(|(last, run)| (StepNumber::stored(last), WorkflowId::stored(run))).collect(),
        trace: row.get::<_, Option<&str>>(8).and_then(TraceContext::parse),
        deadline: row.get::<_, Option<i64>>(15).map(EpochMs),
        is_undone: row.get(16),
    }
}
