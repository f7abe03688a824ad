//! Reading what a run was sent under a key: the settlement of a promise, or what a client sends again, whoever sent it first.

use super::error::DatabaseError;
use super::history::result;
use super::message::message_id;
use crate::workflow::{RecordedResult, Topic, WorkflowId};

impl super::Database {
    /// What was sent to a run with this key, and about what; or that this host cannot read it. `None`: nothing.
    ///
    /// # Errors
    /// When the database does not answer; the caller tries again.
    pub async fn message(&self, to: &WorkflowId, key: &str) -> Result<Option<(Topic, RecordedResult)>, DatabaseError> {
        let client = self.client().await?;
        let statement = "SELECT message, serialization, coalesce(topic, '') FROM dbos.notifications
                          WHERE message_uuid = $1 AND destination_uuid = $2";
        let statement = client.prepare_cached(statement).await?;
        let row = client.query_opt(&statement, &[&message_id(key, to), &to.as_str()]).await?;
        Ok(row.map(|row| (Topic::stored(row.get(2)), result(row.get(0), None, row.get(1)))))
    }
}
