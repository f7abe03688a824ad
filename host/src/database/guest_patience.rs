//! How long a guest's transaction may take, and how it is ended when it does not end itself.
//!
//! Problem: a transaction that hangs holds locks that others wait for. The server has time limits for that, which are set
//! at each BEGIN, but they are settings like any other: the guest can change them by `SET`, by `set_config`, in a function,
//! for its role. So they are for those who do not know better, and for the day when this host is cut off from the
//! server. Whoever lifts them meets a clock on this side: first the protocol's cancellation, and if the statement outlives
//! that too (a block of PL/pgSQL can catch it), the end of the connection and of the server's process behind it.
//!
//! That process belongs to the guest's own login, which may end its own processes and nobody else's. So another connection
//! of this login does it, or the host's own login where the guest has locked its role out; it names process and transaction, since the numbers of processes come again.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::{CancelToken, SimpleQueryMessage};

use super::connection::Database;
use super::error::DatabaseError;
use super::guest_connect;
use super::url::DatabaseUrl;

/// How much later than the server this side counts a statement as too long: the server's error is the better one.
const SERVER_FIRST: Duration = Duration::from_secs(1);

/// How long a cancelled statement may take to end. Servers answer within milliseconds.
pub(super) const AFTER_CANCEL: Duration = Duration::from_secs(3);

/// What the host's own part of a commit may take, the guest's deferred constraints aside; see `last_flight`.
const RECORD: Duration = Duration::from_secs(30);

/// How much longer than the whole transaction a session may be idle in it: never, as long as this host lives.
const IDLE: Duration = Duration::from_secs(5);

/// How long ending a session may take, a new connection included.
const END: Duration = Duration::from_secs(10);

/// How long the transactions of an app may take (lifetime: the app).
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// One statement.
    pub(super) statement: Duration,
    /// One run of a body.
    pub(super) transaction: Duration,
}

/// The server's process behind a session, and the transaction that it is in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Backend {
    pid: i32,
    /// In seconds, as the server wrote them. They are `numeric`, whose text does not depend on settings: of a `float8`, a
    /// guest's role may have `extra_float_digits` take the fractions on the way, and no process would be found under it.
    began: String,
}

impl Patience {
    /// What is sent behind BEGIN. Its SELECT takes the snapshot, and returns what [`Backend::of`] reads.
    pub(super) fn settings(self) -> String {
        let (statement, idle) = (self.statement.as_millis(), self.transaction.saturating_add(IDLE).as_millis());
        format!(
            "SELECT pg_catalog.pg_backend_pid(), pg_catalog.\"extract\"('epoch', pg_catalog.now()),
                pg_catalog.set_config('statement_timeout', '{statement}', true),
                pg_catalog.set_config('idle_in_transaction_session_timeout', '{idle}', true)"
        )
    }

    /// How long this side waits for a statement.
    pub(super) fn of_statement(self) -> Duration {
        self.statement.saturating_add(SERVER_FIRST)
    }

    /// How long this side waits for a commit: deferred constraints are statements of the guest.
    pub(super) fn of_commit(self) -> Duration {
        self.of_statement().saturating_add(RECORD)
    }
}

impl Backend {
    /// Reads the answer to [`Patience::settings`].
    pub(super) fn of(answer: &[SimpleQueryMessage]) -> Option<Self> {
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        })?;
        let began = row.try_get(1).ok()??;
        let is_number = began.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        is_number.then_some(Self { pid: row.try_get(0).ok()??.parse().ok()?, began: began.to_owned() })
    }

    /// The statement that ends the process if it is still in that transaction.
    fn termination(&self) -> String {
        format!(
            "SET search_path = pg_catalog; SET statement_timeout = 0; \
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE pid = {} AND extract(epoch FROM xact_start) = {}",
            self.pid, self.began
        )
    }
}

/// Sees to it that a session whose connection was closed ends on the server too, with its locks.
pub(super) async fn end(token: CancelToken, url: Arc<DatabaseUrl>, backend: Option<Backend>, host: Database) {
    let ending = async {
        guest_connect::cancel(&url, &token).await;
        match backend {
            Some(backend) => {
                let ended = async { url.connect().await?.batch_execute(&backend.termination()).await };
                if let Err(error) = ended.await {
                    // The guest may have changed the password of its role. A session that goes on in its commit keeps the
                    // lock of a run's row, for which the journal of all runs has to wait.
                    tracing::debug!(error = %DatabaseError::from(error), "the host's own login ends a transaction");
                    host.own_client().await?.batch_execute(&backend.termination()).await?;
                }
                Ok(())
            }
            None => Ok::<(), DatabaseError>(()),
        }
    };
    match tokio::time::timeout(END, ending).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!("a transaction of an app was given up and may go on at the server for a while: {error}");
        }
        Err(_) => tracing::warn!("a transaction of an app was given up, and the server does not answer"),
    }
}
