//! Reading the events of runs, whoever has set them.

use super::error::DatabaseError;
use super::history::result;
use crate::workflow::{Key, RecordedResult, WorkflowId};

impl super::Database {
    /// An event of a run: its value, or that this host cannot read it. `None`: it is not set.
    ///
    /// # Errors
    /// When the database does not answer; the caller tries again.
    pub async fn event(&self, run: &WorkflowId, key: &Key) -> Result<Option<RecordedResult>, DatabaseError> {
        let client = self.client().await?;
        let statement = client
            .prepare_cached(
                "SELECT value, serialization FROM dbos.workflow_events WHERE workflow_uuid = $1 AND key = $2",
            )
            .await?;
        let row = client.query_opt(&statement, &[&run.as_str(), &key.as_str()]).await?;
        Ok(row.map(|row| result(row.get(0), None, row.get(1))))
    }

    /// The events of a run in the order of their keys, as they are stored, each cut to so many characters. `None`: there is no
    /// such run.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn events(
        &self,
        run: &WorkflowId,
        (limit, offset): (i64, i64),
        shown: i32,
    ) -> Result<Option<Vec<(String, String)>>, DatabaseError> {
        let client = self.client().await?;
        let is_there = "SELECT 1 FROM dbos.workflow_status WHERE workflow_uuid = $1";
        if client.query_opt(is_there, &[&run.as_str()]).await?.is_none() {
            return Ok(None);
        }
        let sql = "SELECT key, left(value, $4) FROM dbos.workflow_events WHERE workflow_uuid = $1
                    ORDER BY key COLLATE \"C\" LIMIT $2 OFFSET $3";
        let rows = client.query(sql, &[&run.as_str(), &limit, &offset, &shown]).await?;
        Ok(Some(rows.iter().map(|row| (row.get(0), row.get(1))).collect()))
    }
}
