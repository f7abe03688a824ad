//! Reading what the row of a run says, for programs that ask about other runs.
//!
//! A guest may ask in a loop, and what it hears is recorded: so the payloads, which may have megabytes, are left out, and what
//! only concerns those who operate the hosts (who runs it, at which attempt) too.

use super::error::DatabaseError;
use crate::workflow::{EpochMs, Status, WorkflowId};

/// What the row of a run says.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// Its id.
    pub id: String,
    /// Its status.
    pub status: Status,
    /// The workflow's name.
    pub name: String,
    /// The app.
    pub app: Option<String>,
    /// The run that started it.
    pub parent: Option<String>,
    /// When it was created.
    pub created_at: EpochMs,
    /// When it ended.
    pub completed_at: Option<EpochMs>,
    /// When it is cancelled if it has not ended.
    pub deadline: Option<EpochMs>,
    /// What it is to be found by.
    pub attributes: Option<serde_json::Value>,
}

const STATUS: &str = "
SELECT workflow_uuid, status, name, application_name, parent_workflow_id, created_at, completed_at,
       workflow_deadline_epoch_ms, (nullif(attributes, 'null') - 'dbos.otelContext')::text
  FROM dbos.workflow_status WHERE workflow_uuid = $1";

impl super::Database {
    /// What the row of a run says. `None`: there is no such run, or its status is one that this program does not know.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn status(&self, run: &WorkflowId) -> Result<Option<RunStatus>, DatabaseError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(STATUS).await?;
        let row = client.query_opt(&statement, &[&run.as_str()]).await?;
        Ok(row.and_then(|row| {
            let attributes = row.get::<_, Option<&str>>(8).and_then(|text| serde_json::from_str(text).ok());
            Some(RunStatus {
                id: row.get(0),
                status: row.get::<_, Option<&str>>(1)?.parse().ok()?,
                name: row.get::<_, Option<String>>(2).unwrap_or_default(),
                app: row.get(3),
                parent: row.get(4),
                created_at: EpochMs(row.get(5)),
                completed_at: row.get::<_, Option<i64>>(6).map(EpochMs),
                deadline: row.get::<_, Option<i64>>(7).map(EpochMs),
                attributes,
            })
        }))
    }
}
