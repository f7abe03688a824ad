//! Notifications for processes of DBOS, in commits of their own.

use super::error::DatabaseError;

/// Where processes of DBOS listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// An event was set.
    Events,
    /// A stream was written to.
    Streams,
}

impl Channel {
    fn as_str(self) -> &'static str {
        match self {
            Self::Events => "dbos_workflow_events_channel",
            Self::Streams => "dbos_streams_channel",
        }
    }
}

impl super::Database {
    /// Tells processes of DBOS that listen for it what was written, each by `<run>::<key>`. They look by themselves only once
    /// a minute.
    ///
    /// # Errors
    /// When the database does not answer. Nobody has heard anything then.
    pub async fn tell(&self, notifications: &[(Channel, String)]) -> Result<(), DatabaseError> {
        let client = self.client().await?;
        let (channels, payloads): (Vec<&str>, Vec<&str>) =
            notifications.iter().map(|(channel, payload)| (channel.as_str(), payload.as_str())).unzip();
        let statement = "SELECT pg_notify(c, p) FROM unnest($1::text[], $2::text[]) AS n (c, p)";
        client.execute(statement, &[&channels, &payloads]).await?;
        Ok(())
    }
}
