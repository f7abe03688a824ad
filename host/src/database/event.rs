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

    /// Tells processes of DBOS that listen for it that events were set, each by `<run>::<key>`. They look by themselves only
    /// once a minute.
    ///
    /// # Errors
    /// When the database does not answer. Nobody has heard anything then.
    pub async fn tell_of_events(&self, payloads: &[String]) -> Result<(), DatabaseError> {
        let client = self.client().await?;
        let statement = "SELECT pg_notify('dbos_workflow_events_channel', p) FROM unnest($1::text[]) AS p";
        client.execute(statement, &[&payloads]).await?;
        Ok(())
    }
}
