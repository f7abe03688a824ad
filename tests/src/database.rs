//! One test's database, and what stands in it about runs.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Mutex, mpsc};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, Row};

use crate::wait::eventually;

/// Parameters of a statement.
pub type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// The transactions by which the rows of a run, `$1`, were written, as `x`; a test adds those of its own tables.
pub const WRITTEN_BY: &str = "
    SELECT xmin::text AS x FROM dbos.workflow_status WHERE workflow_uuid = $1
    UNION ALL SELECT xmin::text FROM dbos.workflow_input WHERE workflow_uuid = $1
    UNION ALL SELECT xmin::text FROM dbos.operation_outputs WHERE workflow_uuid = $1
    UNION ALL SELECT xmin::text FROM dbos_host.operation_digest WHERE workflow_uuid = $1
    UNION ALL SELECT xmin::text FROM dbos.workflow_output WHERE workflow_uuid = $1";

/// A database. Its connection is opened when it is needed, and again when the server was restarted.
#[derive(Debug)]
pub struct Database {
    config: Config,
    url: String,
    client: Mutex<Option<Arc<Client>>>,
}

/// What is recorded of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// `status`.
    pub status: String,
    /// The result, as JSON text.
    pub output: Option<String>,
    /// The failure, as JSON text.
    pub error: Option<String>,
    /// `executor_id`.
    pub executor: Option<String>,
    /// Attempts in a row without a new record.
    pub attempts: i64,
}

impl Run {
    /// True when the run is over.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !matches!(self.status.as_str(), "PENDING" | "ENQUEUED" | "DELAYED")
    }
}

/// What is recorded of a step. Equal steps have equal everything except times.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// `function_id`.
    pub number: i32,
    /// `function_name`.
    pub name: String,
    /// The result, as JSON text.
    pub output: Option<String>,
    /// The failure, as JSON text.
    pub error: Option<String>,
    /// The run that it started or waited for.
    pub child: Option<String>,
    /// The digest of the call, in hexadecimal.
    pub digest: Option<String>,
}

/// What is notified on a channel (lifetime: a connection of its own).
#[derive(Debug)]
pub struct Notices {
    texts: mpsc::UnboundedReceiver<String>,
    _client: Client,
}

impl Notices {
    /// The next text, if one comes within this time.
    pub async fn within(&mut self, time: Duration) -> Option<String> {
        tokio::time::timeout(time, self.texts.recv()).await.ok().flatten()
    }
}

impl Database {
    pub(crate) fn at(config: Config, url: String) -> Self {
        Self { config, url, client: Mutex::default() }
    }

    /// The connection string for its administrator.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.config.get_dbname().expect("every database of the suite has a name")
    }

    /// A new connection, for a test that needs one of its own.
    pub async fn connect(&self) -> Client {
        self.try_connect().await.expect("a connection to the test's database")
    }

    /// In how many transactions the rows of a run were written.
    pub async fn commits(&self, run: &str) -> i64 {
        self.count(&format!("SELECT count(DISTINCT x) FROM ({WRITTEN_BY}) AS written"), &[&run]).await
    }

    /// Listens to a channel of notifications from now on.
    ///
    /// # Panics
    /// If the server refuses that.
    pub async fn listen(&self, channel: &str) -> Notices {
        let (client, mut connection) = self.config.connect(NoTls).await.expect("a connection to the test's database");
        let (sender, texts) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(notice) = message {
                    // Whoever listened may be gone.
                    let _ = sender.send(notice.payload().to_owned());
                }
            }
        });
        client.batch_execute(&format!("LISTEN {channel}")).await.expect("a channel to listen to");
        Notices { texts, _client: client }
    }

    async fn try_connect(&self) -> Result<Client, Error> {
        let (client, connection) = self.config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn try_client(&self) -> Result<Arc<Client>, Error> {
        let mut kept = self.client.lock().await;
        if let Some(client) = kept.as_ref().filter(|client| !client.is_closed()) {
            return Ok(client.clone());
        }
        let client = Arc::new(self.try_connect().await?);
        *kept = Some(client.clone());
        Ok(client)
    }

    /// Runs a statement and returns its rows. While the server is away it tries again.
    ///
    /// # Panics
    /// If the server refuses the statement.
    pub async fn query(&self, sql: &str, parameters: Parameters<'_>) -> Vec<Row> {
        eventually("the database answers", async || {
            let answer = match self.try_client().await {
                Ok(client) => client.query(sql, parameters).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(rows) => Some(rows),
                // Class 57 is a server that stops or starts; no code at all is a connection that is gone.
                Err(error) if error.code().is_none_or(|code| code.code().starts_with("57P")) => {
                    self.client.lock().await.take();
                    None
                }
                Err(error) => panic!("`{sql}`: {error}: {:?}", error.as_db_error()),
            }
        })
        .await
    }

    /// Runs a statement for its effect and returns how many rows came back.
    ///
    /// # Panics
    /// As [`Self::query`].
    pub async fn execute(&self, sql: &str) -> usize {
        self.query(sql, &[]).await.len()
    }

    /// The one number that a query finds.
    ///
    /// # Panics
    /// As [`Self::query`], and if there is not exactly one row.
    pub async fn count(&self, sql: &str, parameters: Parameters<'_>) -> i64 {
        let rows = self.query(sql, parameters).await;
        assert_eq!(rows.len(), 1, "`{sql}` was to find one row");
        rows[0].get(0)
    }

    /// What is recorded of a run. `None`: there is no such run.
    pub async fn run(&self, id: &str) -> Option<Run> {
        let rows = self
            .query(
                "SELECT s.status, o.output, o.error, s.executor_id, coalesce(s.recovery_attempts, 0)
                   FROM dbos.workflow_status s LEFT JOIN dbos.workflow_output o USING (workflow_uuid)
                  WHERE s.workflow_uuid = $1",
                &[&id],
            )
            .await;
        rows.first().map(|row| Run {
            status: row.get(0),
            output: row.get(1),
            error: row.get(2),
            executor: row.get(3),
            attempts: row.get(4),
        })
    }

    /// The status of a run. `None`: there is no such run.
    pub async fn status(&self, id: &str) -> Option<String> {
        self.run(id).await.map(|run| run.status)
    }

    /// Waits until a run is over.
    ///
    /// # Panics
    /// If it does not end in good time.
    pub async fn wait_for_end(&self, id: &str) -> Run {
        let what = format!("the run `{id}` ends");
        eventually(&what, async || self.run(id).await.filter(Run::has_ended)).await
    }

    /// Waits until a run has at least `n` recorded steps.
    ///
    /// # Panics
    /// If that does not happen in good time.
    pub async fn wait_for_steps(&self, id: &str, n: usize) -> Vec<Step> {
        let what = format!("the run `{id}` has {n} records");
        eventually(&what, async || Some(self.steps(id).await).filter(|steps| steps.len() >= n)).await
    }

    /// What is recorded of a run's steps, in their order.
    pub async fn steps(&self, id: &str) -> Vec<Step> {
        let rows = self
            .query(
                "SELECT function_id, function_name, output, error, child_workflow_id, encode(digest, 'hex')
                   FROM dbos.operation_outputs LEFT JOIN dbos_host.operation_digest USING (workflow_uuid, function_id)
                  WHERE workflow_uuid = $1 ORDER BY function_id",
                &[&id],
            )
            .await;
        let step = |row: &Row| Step {
            number: row.get(0),
            name: row.get(1),
            output: row.get(2),
            error: row.get(3),
            child: row.get(4),
            digest: row.get(5),
        };
        rows.iter().map(step).collect()
    }

    /// The output of a run that ended well, as JSON.
    ///
    /// # Panics
    /// If the run did not end with SUCCESS.
    pub async fn output(&self, id: &str) -> Value {
        let run = self.wait_for_end(id).await;
        assert_eq!(run.status, "SUCCESS", "the run `{id}`: {run:?}");
        serde_json::from_str(&run.output.unwrap_or_default()).expect("an output is JSON")
    }
}
