//! Reading runs for consoles: with all their columns, by the filters that DBOS's own tools have.
//!
//! Unlike the lists for people in `read.rs`, a program may ask for anything here, so what comes back is bounded: a list cuts
//! arguments and results, and a page has an end. This is a read without locks; it disturbs no run.

use super::error::DatabaseError;
use super::undo::{JOIN, UndoRow};
use super::waiting::{COLUMNS, JOINS, waiting};
use crate::workflow::{EpochMs, Status, Waiting, WorkflowId};

/// The most that a list shows of each payload of a run, a step or an event, in characters. With the longest page that is some
/// 100 MB in the worst case, and nobody reads more in a list; a run that is asked for by its id is shown whole.
pub const SHOWN: i32 = 16 * 1024;

/// Which runs are asked for. An empty list of values is no condition.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Of these ids.
    pub ids: Vec<String>,
    /// Whose ids begin with one of these.
    pub id_prefixes: Vec<String>,
    /// In these statuses.
    pub statuses: Vec<Status>,
    /// Of these workflows.
    pub names: Vec<String>,
    /// Of these apps.
    pub apps: Vec<String>,
    /// Of these versions.
    pub versions: Vec<String>,
    /// Of these executors.
    pub executors: Vec<String>,
    /// In these queues.
    pub queues: Vec<String>,
    /// Started by these runs.
    pub parents: Vec<String>,
    /// Forked from these runs.
    pub forked_from: Vec<String>,
    /// Started by these users.
    pub users: Vec<String>,
    /// Created then or later.
    pub created_from: Option<EpochMs>,
    /// Created then or earlier.
    pub created_until: Option<EpochMs>,
    /// Only those that are in a queue, and unless statuses are given, only those that have not ended.
    pub queued: bool,
    /// The newest first, not the oldest.
    pub newest_first: bool,
    /// With their arguments.
    pub with_input: bool,
    /// With their results and errors.
    pub with_output: bool,
    /// At most this many.
    pub limit: i64,
    /// Without the first of them.
    pub offset: i64,
}

/// A run with everything that its row says, payloads as they are stored.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "these are the columns of `dbos.workflow_status` under their own names")]
pub struct RunDetails {
    pub workflow_uuid: String,
    pub status: Option<String>,
    pub name: Option<String>,
    pub class_name: Option<String>,
    pub config_name: Option<String>,
    pub authenticated_user: Option<String>,
    pub assumed_role: Option<String>,
    pub authenticated_roles: Option<String>,
    pub queue_name: Option<String>,
    pub application_name: Option<String>,
    pub application_version: Option<String>,
    pub executor_id: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
    pub completed_at: Option<i64>,
    pub started_at_epoch_ms: Option<i64>,
    pub workflow_timeout_ms: Option<i64>,
    pub workflow_deadline_epoch_ms: Option<i64>,
    pub delay_until_epoch_ms: Option<i64>,
    pub deduplication_id: Option<String>,
    pub priority: i32,
    pub queue_partition_key: Option<String>,
    pub forked_from: Option<String>,
    pub was_forked_from: bool,
    pub parent_workflow_id: Option<String>,
    pub schedule_name: Option<String>,
    pub attributes: Option<String>,
    pub input: Option<String>,
    pub output: Option<String>,
    pub error: Option<String>,
    pub waiting: Option<Waiting>,
    pub undo: Option<UndoRow>,
}

/// A step with everything that its record says.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "these are the columns of `dbos.operation_outputs` under their own names")]
pub struct StepDetails {
    pub function_id: i32,
    pub function_name: String,
    pub output: Option<String>,
    pub error: Option<String>,
    pub child_workflow_id: Option<String>,
    pub started_at_epoch_ms: Option<i64>,
    pub completed_at_epoch_ms: Option<i64>,
}

const RUNS: &str = "
SELECT s.workflow_uuid, s.status, s.name, s.class_name, s.config_name, s.authenticated_user, s.assumed_role,
       s.authenticated_roles, s.queue_name, s.application_name, s.application_version, s.executor_id, s.created_at,
       s.updated_at, s.completed_at, s.started_at_epoch_ms, s.workflow_timeout_ms, s.workflow_deadline_epoch_ms,
       s.delay_until_epoch_ms, s.deduplication_id, s.priority, s.queue_partition_key, s.forked_from, s.was_forked_from,
       s.parent_workflow_id, s.schedule_name, s.attributes::text,
       CASE WHEN $1::int > 0 THEN left(coalesce(i.inputs, s.inputs), $1) END,
       CASE WHEN $2::int > 0 THEN left(coalesce(o.output, s.output), $2) END,
       CASE WHEN $2::int > 0 THEN left(coalesce(o.error, s.error), $2) END, <waiting>, u.workflow_uuid, u.status
  FROM dbos.workflow_status s
  LEFT JOIN dbos.workflow_input i ON i.workflow_uuid = s.workflow_uuid
  LEFT JOIN dbos.workflow_output o ON o.workflow_uuid = s.workflow_uuid <undo> <joins>";

/// The text in front of the conditions.
fn runs() -> String {
    RUNS.replace("<waiting>", COLUMNS).replace("<undo>", JOIN).replace("<joins>", JOINS)
}

// The server sees the values when it plans, so a condition that is not asked for costs nothing.
const CONDITIONS: &str = "
 WHERE ($3::text[] = '{}' OR s.workflow_uuid = ANY ($3))
   AND ($4::text[] = '{}' OR EXISTS (SELECT 1 FROM unnest($4) AS prefix WHERE starts_with(s.workflow_uuid, prefix)))
   AND ($5::text[] = '{}' OR s.status = ANY ($5))
   AND ($6::text[] = '{}' OR s.name = ANY ($6))
   AND ($7::text[] = '{}' OR s.application_name = ANY ($7))
   AND ($8::text[] = '{}' OR s.application_version = ANY ($8))
   AND ($9::text[] = '{}' OR s.executor_id = ANY ($9))
   AND ($10::text[] = '{}' OR s.queue_name = ANY ($10))
   AND ($11::text[] = '{}' OR s.parent_workflow_id = ANY ($11))
   AND ($12::text[] = '{}' OR s.forked_from = ANY ($12))
   AND ($13::text[] = '{}' OR s.authenticated_user = ANY ($13))
   AND ($14::bigint IS NULL OR s.created_at >= $14) AND ($15::bigint IS NULL OR s.created_at <= $15)
   AND (NOT $16 OR s.queue_name IS NOT NULL
        AND ($5::text[] <> '{}' OR s.status IN ('DELAYED', 'ENQUEUED', 'PENDING')))";

impl super::Database {
    /// The runs that are asked for, ordered by the time of their creation; payloads are cut.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn survey(&self, asked: &Survey) -> Result<Vec<RunDetails>, DatabaseError> {
        let order = if asked.newest_first { "DESC" } else { "ASC" };
        let sql = format!(
            "{}{CONDITIONS} ORDER BY s.created_at {order}, s.workflow_uuid {order} LIMIT $17 OFFSET $18",
            runs()
        );
        let statuses: Vec<&str> = asked.statuses.iter().map(|status| status.as_str()).collect();
        let shown = |wanted: bool| if wanted { SHOWN } else { 0 };
        let rows = self
            .client()
            .await?
            .query(
                &sql,
                &[
                    &shown(asked.with_input),
                    &shown(asked.with_output),
                    &asked.ids,
                    &asked.id_prefixes,
                    &statuses,
                    &asked.names,
                    &asked.apps,
                    &asked.versions,
                    &asked.executors,
                    &asked.queues,
                    &asked.parents,
                    &asked.forked_from,
                    &asked.users,
                    &asked.created_from.map(|time| time.0),
                    &asked.created_until.map(|time| time.0),
                    &asked.queued,
                    &asked.limit,
                    &asked.offset,
                ],
            )
            .await?;
        Ok(rows.iter().map(details).collect())
    }

    /// One run with its whole payloads. `None`: there is no such run.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn run_details(&self, run: &WorkflowId) -> Result<Option<RunDetails>, DatabaseError> {
        let sql = format!("{} WHERE s.workflow_uuid = $3", runs());
        let row = self.client().await?.query_opt(&sql, &[&i32::MAX, &i32::MAX, &run.as_str()]).await?;
        Ok(row.as_ref().map(details))
    }

    /// Steps of a run in their order, their payloads cut. `None`: there is no such run.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn step_details(
        &self,
        run: &WorkflowId,
        limit: i64,
        offset: i64,
    ) -> Result<Option<Vec<StepDetails>>, DatabaseError> {
        let client = self.client().await?;
        let is_there = "SELECT 1 FROM dbos.workflow_status WHERE workflow_uuid = $1";
        if client.query_opt(is_there, &[&run.as_str()]).await?.is_none() {
            return Ok(None);
        }
        let sql = "SELECT function_id, function_name, left(output, $4), left(error, $4), child_workflow_id,
                          started_at_epoch_ms, completed_at_epoch_ms
                     FROM dbos.operation_outputs WHERE workflow_uuid = $1 ORDER BY function_id LIMIT $2 OFFSET $3";
        let rows = client.query(sql, &[&run.as_str(), &limit, &offset, &SHOWN]).await?;
        let step = |row: &tokio_postgres::Row| StepDetails {
            function_id: row.get(0),
            function_name: row.get(1),
            output: row.get(2),
            error: row.get(3),
            child_workflow_id: row.get(4),
            started_at_epoch_ms: row.get(5),
            completed_at_epoch_ms: row.get(6),
        };
        Ok(Some(rows.iter().map(step).collect()))
    }

    /// Returns when the database has answered.
    ///
    /// # Errors
    /// When it does not.
    pub async fn answers(&self) -> Result<(), DatabaseError> {
        self.client().await?.query_one("SELECT 1", &[]).await?;
        Ok(())
    }
}

fn details(row: &tokio_postgres::Row) -> RunDetails {
    let status = row.get::<_, Option<&str>>(1).and_then(|text| text.parse().ok());
    RunDetails {
        waiting: waiting(row, 30, (status, EpochMs(row.get(13)))),
        undo: UndoRow::of(row, 34),
        workflow_uuid: row.get(0),
        status: row.get(1),
        name: row.get(2),
        class_name: row.get(3),
        config_name: row.get(4),
        authenticated_user: row.get(5),
        assumed_role: row.get(6),
        authenticated_roles: row.get(7),
        queue_name: row.get(8),
        application_name: row.get(9),
        application_version: row.get(10),
        executor_id: row.get(11),
        created_at: row.get(12),
        updated_at: row.get(13),
        completed_at: row.get(14),
        started_at_epoch_ms: row.get(15),
        workflow_timeout_ms: row.get(16),
        workflow_deadline_epoch_ms: row.get(17),
        delay_until_epoch_ms: row.get(18),
        deduplication_id: row.get(19),
        priority: row.get(20),
        queue_partition_key: row.get(21),
        forked_from: row.get(22),
        was_forked_from: row.get(23),
        parent_workflow_id: row.get(24),
        schedule_name: row.get(25),
        attributes: row.get(26),
        input: row.get(27),
        output: row.get(28),
        error: row.get(29),
    }
}
