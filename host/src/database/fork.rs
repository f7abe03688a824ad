//! Forking a run: another run with the same arguments, which goes on from one of its steps.
//!
//! Problem: the fork must find everything that the steps before the cut have left, and nothing of those behind it: records,
//! with the digests by which a replay is compared; events, as they stood then; what was written into streams; what the
//! origin has drawn. All of it is one statement, so that no fork exists by halves, and none mixes two moments of an origin
//! that is still running. What is below the cut never changes, so the origin is not held up.
//!
//! The fork waits in the internal queue for a host that serves its app, as DBOS's do. The columns are those that DBOS copies:
//! a deadline, a queue and a parent are the origin's alone.

use super::cut::{self, Refusal, Version};
use super::error::DatabaseError;
use super::resume::INTERNAL_QUEUE;
use crate::failpoint;
use crate::workflow::{Cut, StepNumber, WorkflowId};

/// A fork to be made.
#[derive(Debug, Clone)]
pub struct NewFork {
    /// Its id.
    pub id: WorkflowId,
    /// Where it goes on.
    pub cut: Cut,
    /// With which component.
    pub version: Version,
}

// `created_at` is when the row was made, so it is read back: with it the row of `origin` is known to be this fork's. Messages
// are not copied: those that were received are results of steps, and those that were not are not the fork's.
//
// What a run of the same id, deleted since, may have left behind is overwritten or removed.
const FORK: &str = "
WITH origin AS (
    SELECT s.*, coalesce(i.inputs, s.inputs) AS given
      FROM dbos.workflow_status s LEFT JOIN dbos.workflow_input i ON i.workflow_uuid = s.workflow_uuid
     WHERE s.workflow_uuid = $1
), fork AS (
    INSERT INTO dbos.workflow_status
        (workflow_uuid, status, name, class_name, config_name, application_version, application_id, application_name,
         authenticated_user, authenticated_roles, assumed_role, serialization, attributes, queue_name, forked_from)
    SELECT $2, 'ENQUEUED', name, class_name, config_name, coalesce($4, application_version), application_id,
           application_name, authenticated_user, authenticated_roles, assumed_role, serialization, attributes, $5, $1
      FROM origin
    ON CONFLICT (workflow_uuid) DO NOTHING
    RETURNING workflow_uuid, created_at, application_name
), marked AS (
    UPDATE dbos.workflow_status s SET was_forked_from = true
      FROM fork WHERE s.workflow_uuid = $1 AND NOT s.was_forked_from
), input AS (
    INSERT INTO dbos.workflow_input (workflow_uuid, inputs)
    SELECT fork.workflow_uuid, origin.given FROM fork, origin
    ON CONFLICT (workflow_uuid) DO UPDATE SET inputs = EXCLUDED.inputs, retention_timestamp = EXCLUDED.retention_timestamp
), records AS (
    INSERT INTO dbos.operation_outputs
        (workflow_uuid, function_id, function_name, output, error, child_workflow_id, started_at_epoch_ms,
         completed_at_epoch_ms, serialization, application_name)
    SELECT fork.workflow_uuid, o.function_id, o.function_name, o.output, o.error, o.child_workflow_id,
           o.started_at_epoch_ms, o.completed_at_epoch_ms, o.serialization, fork.application_name
      FROM fork, dbos.operation_outputs o WHERE o.workflow_uuid = $1 AND o.function_id < $3
), foreign_digests AS (
    DELETE FROM dbos_host.operation_digest d USING fork
     WHERE d.workflow_uuid = fork.workflow_uuid AND NOT EXISTS (
         SELECT FROM dbos_host.operation_digest o
          WHERE o.workflow_uuid = $1 AND o.function_id = d.function_id AND o.function_id < $3)
), digests AS (
    INSERT INTO dbos_host.operation_digest (workflow_uuid, function_id, digest)
    SELECT fork.workflow_uuid, o.function_id, o.digest
      FROM fork, dbos_host.operation_digest o WHERE o.workflow_uuid = $1 AND o.function_id < $3
    ON CONFLICT (workflow_uuid, function_id) DO UPDATE SET digest = EXCLUDED.digest
), history AS (
    INSERT INTO dbos.workflow_events_history (workflow_uuid, function_id, key, value, serialization)
    SELECT fork.workflow_uuid, e.function_id, e.key, e.value, e.serialization
      FROM fork, dbos.workflow_events_history e WHERE e.workflow_uuid = $1 AND e.function_id < $3
), events AS (
    INSERT INTO dbos.workflow_events (workflow_uuid, key, value, serialization)
    SELECT DISTINCT ON (e.key) fork.workflow_uuid, e.key, e.value, e.serialization
      FROM fork, dbos.workflow_events_history e WHERE e.workflow_uuid = $1 AND e.function_id < $3
     ORDER BY e.key, e.function_id DESC
), streams AS (
    INSERT INTO dbos.streams (workflow_uuid, key, value, \"offset\", function_id, serialization)
    SELECT fork.workflow_uuid, s.key, s.value, row_number() OVER (PARTITION BY s.key ORDER BY s.\"offset\") - 1,
           s.function_id, s.serialization
      FROM fork, dbos.streams s WHERE s.workflow_uuid = $1 AND s.function_id < $3
), attempts AS (
    DELETE FROM dbos_host.attempt a USING fork WHERE a.workflow_uuid = fork.workflow_uuid
), drawn AS (
    INSERT INTO dbos_host.origin
    SELECT o.* FROM fork, LATERAL dbos_host.origin_of(fork.workflow_uuid, $1, fork.created_at, (
        SELECT coalesce(max(function_id), 0) FROM dbos.operation_outputs
         WHERE workflow_uuid = $1 AND function_id < $3)) o
    ON CONFLICT (workflow_uuid) DO UPDATE
       SET forked_from = EXCLUDED.forked_from, created_at = EXCLUDED.created_at, started_at = EXCLUDED.started_at,
           last_steps = EXCLUDED.last_steps, seeds_of = EXCLUDED.seeds_of
)
SELECT EXISTS (SELECT FROM origin), EXISTS (SELECT FROM fork)";

// Whoever starts what undoes the run has its row locked meanwhile.
const LOCK: &str = "SELECT FROM dbos.workflow_status WHERE workflow_uuid = $1 FOR NO KEY UPDATE";

// What was undone, or is about to be, is not what a fork could go on from.
const UNDONE: &str = "
SELECT FROM dbos.workflow_status s
 WHERE s.workflow_uuid = $1
   AND EXISTS (SELECT FROM dbos_host.undo n
                WHERE n.workflow_uuid = s.workflow_uuid AND n.run_created_at = s.created_at AND n.function_id < $2)
   AND (EXISTS (SELECT FROM dbos.workflow_status u
                 WHERE u.workflow_uuid = s.workflow_uuid || '-undo' AND starts_with(u.name, 'undo:')
                   AND u.created_at >= s.created_at)
        OR (s.status IN ('CANCELLED', 'ERROR') AND EXISTS (
            SELECT FROM dbos_host.saga g WHERE g.workflow_uuid = s.workflow_uuid)))";

impl super::Database {
    /// Forks a run. When it returns a step, the fork is there, has what was recorded before that step, and waits for a host
    /// that goes on from it.
    ///
    /// # Errors
    /// When the database does not answer. The fork may have been made; asking again tells, if the id is the same.
    pub async fn fork(&self, run: &WorkflowId, new: &NewFork) -> Result<Result<StepNumber, Refusal>, DatabaseError> {
        let mut client = self.client().await?;
        let target = match cut::look(&**client, run, &new.version, "").await? {
            Ok(target) => target,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if target.undoes {
            return Ok(Err(Refusal::Undoes(run.clone())));
        }
        let step = match cut::step(&**client, run, target.status, new.cut).await? {
            Ok(step) => step,
            Err(refusal) => return Ok(Err(refusal)),
        };
        failpoint::hit("fork.before_commit").await;
        let version = target.version.as_deref();
        let transaction = client.transaction().await?;
        transaction.execute(LOCK, &[&run.as_str()]).await?;
        if transaction.query_opt(UNDONE, &[&run.as_str(), &step.get()]).await?.is_some() {
            return Ok(Err(Refusal::Undone(run.clone())));
        }
        let row = transaction
            .query_one(FORK, &[&run.as_str(), &new.id.as_str(), &step.get(), &version, &INTERNAL_QUEUE])
            .await?;
        transaction.commit().await?;
        failpoint::hit("fork.after_commit").await;
        Ok(match (row.get(0), row.get(1)) {
            (_, true) => Ok(step),
            (true, false) => Err(Refusal::Taken(new.id.clone())),
            (false, false) => Err(Refusal::Unknown(run.clone())),
        })
    }
}
