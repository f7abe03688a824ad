//! Reading runs: for those who wait for an outcome, and for people.

use super::error::DatabaseError;
use super::undo::{JOIN, UndoRow};
use super::waiting::{COLUMNS, JOINS, waiting};
use crate::workflow::{Code, EpochMs, Failure, Status, Waiting, WorkflowId};

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// With this JSON text.
    Success(String),
    /// Not with a result: ERROR, CANCELLED or MAX_RECOVERY_ATTEMPTS_EXCEEDED.
    Failed(Status, Failure),
}

/// A run as people see it.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRow {
    /// Its id.
    pub id: String,
    /// Its status.
    pub status: Status,
    /// The workflow's name.
    pub name: String,
    /// The app.
    pub app: Option<String>,
    /// The digest of its component.
    pub version: Option<String>,
    /// The executor that runs it or ran it last.
    pub executor: Option<String>,
    /// Attempts in a row without a new record.
    pub attempts: i64,
    /// The run that started it.
    pub parent: Option<String>,
    /// When it was created.
    pub created_at: EpochMs,
    /// When its row last changed.
    pub updated_at: EpochMs,
    /// When it ended.
    pub completed_at: Option<EpochMs>,
    /// When it is cancelled if it has not ended.
    pub deadline: Option<EpochMs>,
    /// Its arguments, as stored.
    pub input: Option<serde_json::Value>,
    /// Its result.
    pub output: Option<serde_json::Value>,
    /// Its error.
    pub error: Option<serde_json::Value>,
    /// What it waits for, if it is known to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// The run that undoes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<UndoRow>,
}

/// A step as people see it.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepRow {
    /// Its number.
    pub step: i32,
    /// Its name.
    pub name: String,
    /// Its result.
    pub output: Option<serde_json::Value>,
    /// Its error.
    pub error: Option<serde_json::Value>,
    /// The run that it started or waited for.
    pub child: Option<String>,
    /// When it began.
    pub started_at: Option<EpochMs>,
    /// When it ended.
    pub completed_at: Option<EpochMs>,
}

/// Which runs to list: the newest first.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Only this status.
    pub status: Option<Status>,
    /// Only this workflow.
    pub name: Option<String>,
    /// Only this app.
    pub app: Option<String>,
    /// Only those that were created then or later.
    pub since: Option<EpochMs>,
    /// At most this many.
    pub limit: i64,
}

/// The text in front of the conditions.
fn runs() -> String {
    format!(
        "SELECT s.workflow_uuid, s.status, s.name, s.application_name, s.application_version, s.executor_id,
                s.recovery_attempts, s.parent_workflow_id, s.created_at, s.updated_at, s.completed_at,
                coalesce(i.inputs, s.inputs), coalesce(o.output, s.output), coalesce(o.error, s.error),
                s.workflow_deadline_epoch_ms, {COLUMNS}, u.workflow_uuid, u.status
           FROM dbos.workflow_status s
           LEFT JOIN dbos.workflow_input i ON i.workflow_uuid = s.workflow_uuid
           LEFT JOIN dbos.workflow_output o ON o.workflow_uuid = s.workflow_uuid
           {JOIN} {JOINS}"
    )
}

impl super::Database {
    /// How a run ended. `None` inside: it has not. `None` outside: there is no such run.
    ///
    /// # Errors
    /// When the database does not answer; the caller tries again.
    pub async fn outcome(&self, run: &WorkflowId) -> Result<Option<Option<Outcome>>, DatabaseError> {
        let client = self.client().await?;
        let statement = client
            .prepare_cached(
                "SELECT s.status, coalesce(o.output, s.output), coalesce(o.error, s.error), s.serialization,
                        CASE WHEN s.workflow_deadline_epoch_ms <= s.completed_at THEN s.workflow_deadline_epoch_ms END
                   FROM dbos.workflow_status s LEFT JOIN dbos.workflow_output o USING (workflow_uuid)
                  WHERE s.workflow_uuid = $1",
            )
            .await?;
        let row = client.query_opt(&statement, &[&run.as_str()]).await?;
        Ok(row.map(|row| {
            let status = row.get::<_, Option<&str>>(0).and_then(|text| text.parse().ok())?;
            let deadline = row.get::<_, Option<i64>>(4).map(EpochMs);
            outcome(run, (status, deadline), (row.get(1), row.get(2), row.get(3)))
        }))
    }

    /// One run. `None`: there is no such run.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn run(&self, run: &WorkflowId) -> Result<Option<RunRow>, DatabaseError> {
        let client = self.client().await?;
        let row = client.query_opt(&format!("{} WHERE s.workflow_uuid = $1", runs()), &[&run.as_str()]).await?;
        Ok(row.as_ref().map(run_row))
    }

    /// Runs, the newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_runs(&self, filter: &ListFilter) -> Result<Vec<RunRow>, DatabaseError> {
        let client = self.client().await?;
        let rows = client
            .query(
                &format!(
                    "{} WHERE ($1::text IS NULL OR s.status = $1) AND ($2::text IS NULL OR s.name = $2)
                       AND ($4::text IS NULL OR s.application_name = $4) AND ($5::bigint IS NULL OR s.created_at >= $5)
                     ORDER BY s.created_at DESC, s.workflow_uuid DESC LIMIT $3",
                    runs()
                ),
                &[
                    &filter.status.map(Status::as_str),
                    &filter.name,
                    &filter.limit,
                    &filter.app,
                    &filter.since.map(|since| since.0),
                ],
            )
            .await?;
        Ok(rows.iter().map(run_row).collect())
    }

    /// The steps of a run in their order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn steps(&self, run: &WorkflowId) -> Result<Vec<StepRow>, DatabaseError> {
        let client = self.client().await?;
        let rows = client
            .query(
                "SELECT function_id, function_name, output, error, child_workflow_id, started_at_epoch_ms,
                        completed_at_epoch_ms
                   FROM dbos.operation_outputs WHERE workflow_uuid = $1 ORDER BY function_id",
                &[&run.as_str()],
            )
            .await?;
        Ok(rows
            .iter()
            .map(|row| StepRow {
                step: row.get(0),
                name: row.get(1),
                output: stored_json(row.get(2)),
                error: stored_json(row.get(3)),
                child: row.get(4),
                started_at: row.get::<_, Option<i64>>(5).map(EpochMs),
                completed_at: row.get::<_, Option<i64>>(6).map(EpochMs),
            })
            .collect())
    }
}

fn outcome(
    run: &WorkflowId,
    (status, passed_deadline): (Status, Option<EpochMs>),
    (output, error, serialization): (Option<String>, Option<&str>, Option<&str>),
) -> Option<Outcome> {
    let failure =
        |code: Code, text: String| error.map_or_else(|| Failure::new("Error", code, text), Failure::from_stored);
    match status {
        Status::Pending | Status::Enqueued | Status::Delayed => None,
        Status::Success if serialization.is_some_and(|name| name != "portable_json") => Some(Outcome::Failed(
            status,
            Failure::new(
                "Error",
                Code("unreadable_output"),
                format!("the result is stored as `{}`, which this host cannot read", serialization.unwrap_or_default()),
            ),
        )),
        Status::Success => Some(Outcome::Success(output.unwrap_or_else(|| "null".into()))),
        Status::Error => Some(Outcome::Failed(status, failure(Code("error"), format!("the workflow `{run}` failed")))),
        Status::Cancelled => {
            let why = if passed_deadline.is_some() { ": its deadline has passed" } else { "" };
            let text = format!("the workflow `{run}` was cancelled{why}");
            let data = passed_deadline.map(|deadline| serde_json::json!({ "deadline": deadline }));
            Some(Outcome::Failed(status, Failure { data, ..Failure::new("Cancelled", Code("cancelled"), text) }))
        }
        Status::MaxRecoveryAttemptsExceeded => {
            let text = format!("the workflow `{run}` was stopped after too many attempts");
            Some(Outcome::Failed(status, failure(Code("max_recovery_attempts_exceeded"), text)))
        }
    }
}

fn status_in(row: &tokio_postgres::Row, column: usize) -> Option<Status> {
    row.get::<_, Option<&str>>(column).and_then(|text| text.parse().ok())
}

fn run_row(row: &tokio_postgres::Row) -> RunRow {
    let status = status_in(row, 1);
    RunRow {
        waiting: waiting(row, 15, (status, EpochMs(row.get(9)))),
        id: row.get(0),
        status: status.unwrap_or(Status::Pending),
        name: row.get::<_, Option<String>>(2).unwrap_or_default(),
        app: row.get(3),
        version: row.get(4),
        executor: row.get(5),
        attempts: row.get::<_, Option<i64>>(6).unwrap_or(0),
        parent: row.get(7),
        created_at: EpochMs(row.get(8)),
        updated_at: EpochMs(row.get(9)),
        completed_at: row.get::<_, Option<i64>>(10).map(EpochMs),
        input: stored_json(row.get(11)),
        output: stored_json(row.get(12)),
        error: stored_json(row.get(13)),
        deadline: row.get::<_, Option<i64>>(14).map(EpochMs),
        undo: UndoRow::of(row, 19),
    }
}

/// Stored payloads are JSON; one of another serialization is shown as the text that it is.
#[must_use]
pub fn stored_json(text: Option<String>) -> Option<serde_json::Value> {
    text.map(|text| serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)))
}
