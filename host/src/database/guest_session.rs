//! A guest's database transaction: a session on the app's own login, from BEGIN to the last flight.
//!
//! The guest is not trusted. Its login has no rights in the system's schemas, it sends one statement a call by the
//! extended protocol, and statements that end a transaction are refused. After a conflict or a lost connection the
//! attempt is over whatever the guest does; after any other error Postgres has aborted the transaction, so the body may
//! only fail, unless it had set a savepoint. How long all this may take is in [`super::guest_patience`].

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{Client, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use futures_util::TryStreamExt;
use tokio_postgres::Statement;

use super::app_role::GuestLogin;
use super::connection::Database;
use super::error::DatabaseError;
use super::guest_connect::{self, BoundedConnect};
use super::guest_cursor::Cursors;
use super::guest_patience::{self, AFTER_CANCEL, Backend, Patience};
use super::guest_sql::{
    HostCode, MAX_RESULT_BYTES, Parameter, RowWriter, Severity, SqlFailure, bind, refuse_transaction_control,
};
pub use super::last_flight::SessionEnd;
use super::last_flight::{self, Flight};
use super::url::DatabaseUrl;
use crate::workflow::Isolation;

/// Connections of one app on its own login (lifetime: the process).
#[derive(Clone, Debug)]
pub struct GuestPool {
    pool: Pool,
    url: Arc<DatabaseUrl>,
    patience: Patience,
    host: Database,
}

impl GuestPool {
    /// A pool of at most `size` connections; they are opened when they are needed. A statement may take as long as
    /// `statement`, a whole transaction as long as `transaction`. `host` ends what the login itself can end no more.
    #[must_use]
    pub fn new(
        login: &GuestLogin,
        size: usize,
        (statement, transaction): (Duration, Duration),
        host: Database,
    ) -> Self {
        // `Clean` resets a session before it is used again: settings, temporary tables, cursors, advisory locks. What one
        // guest left behind must not travel to the next.
        let config = ManagerConfig { recycling_method: RecyclingMethod::Clean };
        let url = Arc::new(login.url().clone());
        let manager = Manager::from_connect(url.config().clone(), BoundedConnect::to(&url), config);
        let pool = Pool::builder(manager).max_size(size).runtime(Runtime::Tokio1).build();
        let pool = pool.expect("a pool without time-outs needs nothing that could be missing");
        Self { pool, url, patience: Patience { statement, transaction }, host }
    }

    /// Opens a transaction.
    ///
    /// # Errors
    /// When no connection can be had; the caller tries again.
    pub async fn begin(&self, isolation: Isolation, read_only: bool) -> Result<GuestSession, DatabaseError> {
        let client = match self.pool.get().await {
            Ok(client) => client,
            Err(deadpool_postgres::PoolError::Backend(error)) => return Err(error.into()),
            Err(other) => unreachable!("a pool without time-outs and hooks failed with: {other}"),
        };
        let level = match isolation {
            Isolation::Serializable => "SERIALIZABLE",
            Isolation::RepeatableRead => "REPEATABLE READ",
            Isolation::ReadCommitted => "READ COMMITTED",
        };
        let access = if read_only { "READ ONLY" } else { "READ WRITE" };
        // Types that a rolled-back transaction made are remembered by numbers that may mean others now.
        client.clear_type_cache();
        // The SELECT takes the snapshot: from here on the guest cannot lower the isolation level any more.
        let settings = self.patience.settings();
        let begun = client.simple_query(&format!("BEGIN ISOLATION LEVEL {level} {access}; {settings}")).await?;
        Ok(GuestSession {
            client: Some(client),
            url: Arc::clone(&self.url),
            backend: Backend::of(&begun),
            patience: self.patience,
            host: self.host.clone(),
            stuck: None,
            first_failure: None,
            doomed: None,
            spoiled: false,
            cancelled: AtomicBool::new(false),
            savepoints: Vec::new(),
            cursors: Cursors::default(),
        })
    }
}

/// The attempt is over: another transaction was in the way, or the connection is gone. The guest is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the transaction must be run again")]
pub struct Doomed;

/// An open transaction (lifetime: one attempt of a step). Dropped before its end, it is rolled back and its connection
/// closed.
#[derive(Debug)]
pub struct GuestSession {
    client: Option<Client>,
    url: Arc<DatabaseUrl>,
    backend: Option<Backend>,
    patience: Patience,
    host: Database,
    /// A statement that did not end when it was cancelled.
    stuck: Option<SqlFailure>,
    first_failure: Option<SqlFailure>,
    doomed: Option<Severity>,
    /// The guest upset the driver's view of the session, so the connection must not serve anybody else.
    spoiled: bool,
    /// The server was asked to cancel. The request goes its own way and may come late, so whatever runs on this connection
    /// next could be what it ends: that must not be somebody else's statement.
    cancelled: AtomicBool,
    /// For each open savepoint, the failure that had happened before it: rolling back to it restores that state.
    savepoints: Vec<Option<SqlFailure>>,
    pub(super) cursors: Cursors,
}

/// How many savepoints may be open at once. Each costs the server memory and locks; code nests them by call depth.
const MAX_SAVEPOINTS: usize = 100;

impl GuestSession {
    pub(super) fn client(&self) -> &Client {
        self.client.as_ref().expect("the session is used only before its end")
    }

    /// The first statement that failed and was not undone by a savepoint: the transaction cannot commit.
    #[must_use]
    pub fn first_failure(&self) -> Option<&SqlFailure> {
        self.first_failure.as_ref()
    }

    /// True when the attempt is over without the guest's doing.
    #[must_use]
    pub fn is_doomed(&self) -> bool {
        self.doomed.is_some()
    }

    /// The failure of a statement that did not end when it was cancelled. The session is of no use any more, and running
    /// the body again would come to the same.
    #[must_use]
    pub fn stuck(&self) -> Option<&SqlFailure> {
        self.stuck.as_ref()
    }

    /// Runs a statement and returns its rows as a JSON array of objects.
    ///
    /// # Errors
    /// [`Doomed`] when the attempt is over; inside, the guest's own failure.
    pub async fn query(&mut self, sql: &str, parameters: &str) -> Result<Result<String, SqlFailure>, Doomed> {
        let result = self.in_time(self.try_query(sql, parameters)).await;
        self.settle(result)
    }

    /// Runs a statement and returns how many rows it affected.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn execute(&mut self, sql: &str, parameters: &str) -> Result<Result<u64, SqlFailure>, Doomed> {
        let result = self.in_time(self.try_execute(sql, parameters)).await;
        self.settle(result)
    }

    /// Waits for a statement, and cancels it when it takes too long: the guest may have lifted the server's own limit.
    pub(super) async fn in_time<T>(&self, statement: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
        let mut statement = pin!(statement);
        if let Ok(ended) = tokio::time::timeout(self.patience.of_statement(), &mut statement).await {
            return ended;
        }
        self.cancel().await;
        tokio::time::timeout(AFTER_CANCEL, &mut statement).await.unwrap_or(Err(Failed::Stuck))
    }

    async fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        guest_connect::cancel(&self.url, &self.client().cancel_token()).await;
    }

    async fn try_query(&self, sql: &str, parameters: &str) -> Result<String, Failed> {
        let statement = self.prepare(sql).await?;
        let rows = RowWriter::new(statement.columns(), MAX_RESULT_BYTES)?;
        let values = bind(statement.params(), parameters)?;
        self.collect(&statement, rows, &values).await
    }

    /// Runs a prepared statement and writes its rows.
    pub(super) async fn collect(
        &self,
        statement: &Statement,
        mut rows: RowWriter,
        values: &[Parameter],
    ) -> Result<String, Failed> {
        let stream = self.client().query_raw(statement, values).await;
        let stream = stream.map_err(|error| Failed::of_run(&error, statement))?;
        let mut stream = std::pin::pin!(stream);
        let mut refused = None;
        while let Some(row) = stream.try_next().await? {
            // The rest of the rows is read all the same: the statement has run, and its end tells how.
            if refused.is_none() {
                refused = rows.push(&row).err();
            }
        }
        match refused {
            None => Ok(rows.finish()),
            // The statement has had its effect and the guest does not learn what it was: nothing of it may stay.
            Some(failure) => Err(Failed::Server(Severity::Statement, Box::new(failure))),
        }
    }

    async fn try_execute(&self, sql: &str, parameters: &str) -> Result<u64, Failed> {
        let statement = self.prepare(sql).await?;
        let values = bind(statement.params(), parameters)?;
        let affected = self.client().execute_raw(&statement, &values).await;
        affected.map_err(|error| Failed::of_run(&error, &statement))
    }

    pub(super) async fn prepare(&self, sql: &str) -> Result<Statement, Failed> {
        refuse_transaction_control(sql).map_err(|refused| Failed::Guest(refused.into()))?;
        Ok(self.client().prepare(sql).await?)
    }

    /// Opens a savepoint.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn savepoint(&mut self) -> Result<Result<(), SqlFailure>, Doomed> {
        if self.savepoints.len() >= MAX_SAVEPOINTS {
            return Ok(Err(refused(format!("more than {MAX_SAVEPOINTS} savepoints would be open at once"))));
        }
        let result = self.control(&format!("SAVEPOINT s{}", self.savepoints.len())).await?;
        if result.is_ok() {
            self.savepoints.push(self.first_failure.clone());
        }
        Ok(result)
    }

    /// Closes the newest savepoint and keeps its effects.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn release(&mut self) -> Result<Result<(), SqlFailure>, Doomed> {
        let Some(depth) = self.savepoints.len().checked_sub(1) else {
            return Ok(Err(refused("there is no open savepoint")));
        };
        let result = self.control(&format!("RELEASE SAVEPOINT s{depth}")).await?;
        if result.is_ok() {
            self.savepoints.pop();
            self.cursors.released(depth);
        }
        Ok(result)
    }

    /// Undoes everything since the newest savepoint and closes it.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn rollback_to(&mut self) -> Result<Result<(), SqlFailure>, Doomed> {
        let Some(depth) = self.savepoints.len().checked_sub(1) else {
            return Ok(Err(refused("there is no open savepoint")));
        };
        let result = self.control(&format!("ROLLBACK TO SAVEPOINT s{depth}; RELEASE SAVEPOINT s{depth}")).await?;
        if result.is_ok() {
            self.first_failure = self.savepoints.pop().flatten();
            self.cursors.undone(depth);
        }
        Ok(result)
    }

    /// How many savepoints are open.
    pub(super) fn depth(&self) -> usize {
        self.savepoints.len()
    }

    pub(super) async fn control(&mut self, sql: &str) -> Result<Result<(), SqlFailure>, Doomed> {
        let statement = async { self.client().batch_execute(sql).await.map_err(Failed::from) };
        let result = self.in_time(statement).await;
        self.settle(result)
    }

    /// Remembers what a failure means for the rest of the transaction.
    pub(super) fn settle<T>(&mut self, result: Result<T, Failed>) -> Result<Result<T, SqlFailure>, Doomed> {
        if self.doomed.is_some() || self.stuck.is_some() {
            return Err(Doomed);
        }
        match result {
            Err(Failed::Stuck) => {
                let limit = self.patience.statement;
                let text = format!(
                    "the statement took longer than the limit of {limit:?} and did not let itself be cancelled"
                );
                self.stuck = Some(SqlFailure::host(HostCode::StatementTimeout, text));
                Err(Doomed)
            }
            Ok(value) => Ok(Ok(value)),
            // Found before anything was sent: the transaction is as it was.
            Err(Failed::Guest(failure)) => Ok(Err(failure)),
            Err(Failed::Server(severity @ (Severity::Retry | Severity::ConnectionLost), _)) => {
                self.doomed = Some(severity);
                Err(Doomed)
            }
            Err(Failed::Server(Severity::Statement, failure)) => {
                self.spoiled |= failure.spoils_session();
                if self.first_failure.is_none() {
                    self.first_failure = Some((*failure).clone());
                }
                Ok(Err(*failure))
            }
        }
    }

    /// Ends the transaction with `flight`; see [`SessionEnd`] for what is true then.
    pub async fn commit(mut self, flight: &Flight) -> SessionEnd {
        match self.doomed {
            Some(Severity::ConnectionLost) => return SessionEnd::ConnectionLost,
            Some(_) => return SessionEnd::Retry,
            None => {}
        }
        let end = {
            let mut flight = pin!(last_flight::send(self.client(), flight));
            match tokio::time::timeout(self.patience.of_commit(), &mut flight).await {
                Ok(end) => end,
                // A deferred trigger of the guest, most likely. Whether the commit lands is up to the cancellation.
                Err(_) => {
                    self.cancel().await;
                    tokio::time::timeout(AFTER_CANCEL, &mut flight).await.unwrap_or(SessionEnd::ConnectionLost)
                }
            }
        };
        // After any of these the server has left the transaction, so the connection can serve the next one.
        let spoiled = self.is_spoiled()
            || match &end {
                SessionEnd::Failed(failure) => failure.spoils_session(),
                // Whatever the trouble is, another connection may have less of it.
                SessionEnd::Unavailable(_) => true,
                _ => false,
            };
        if end != SessionEnd::ConnectionLost && !spoiled {
            self.client = None;
        }
        end
    }

    fn is_spoiled(&self) -> bool {
        self.spoiled || self.cancelled.load(Ordering::SeqCst)
    }

    /// Undoes everything. A connection that does not answer is closed, which undoes everything too.
    pub async fn rollback(mut self) {
        if self.stuck.is_some() {
            return;
        }
        let rolled_back = tokio::time::timeout(AFTER_CANCEL, self.client().batch_execute("ROLLBACK")).await;
        if matches!(rolled_back, Ok(Ok(()))) && !self.is_spoiled() {
            self.client = None;
        }
    }
}

impl Drop for GuestSession {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        // The transaction is open, perhaps with a statement running in it. The connection must not serve anybody else;
        // closing it rolls back, and the cancellation ends a statement that would go on for hours and keep its locks.
        let client = Object::take(client);
        let token = client.cancel_token();
        drop(client);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (url, host) = (Arc::clone(&self.url), self.host.clone());
            runtime.spawn(guest_patience::end(token, url, self.backend.take(), host));
        }
    }
}

pub(super) fn refused(reason: impl Into<String>) -> SqlFailure {
    SqlFailure::host(HostCode::StatementRefused, reason)
}

/// A failed statement, before it is known what it means for the transaction.
pub(super) enum Failed {
    /// Found by the host; nothing was sent.
    Guest(SqlFailure),
    /// Said by the server, or by the connection.
    Server(Severity, Box<SqlFailure>),
    /// It takes too long, and goes on although it was cancelled.
    Stuck,
}

impl Failed {
    /// A statement that failed when it ran, with its parameters.
    pub(super) fn of_run(error: &tokio_postgres::Error, statement: &Statement) -> Self {
        Self::Server(Severity::of(error), Box::new(SqlFailure::of_run(error, statement.params())))
    }
}

impl From<SqlFailure> for Failed {
    fn from(failure: SqlFailure) -> Self {
        Self::Guest(failure)
    }
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&tokio_postgres::Error> for Failed {
    fn from(error: &tokio_postgres::Error) -> Self {
        Self::Server(Severity::of(error), Box::new(SqlFailure::from(error)))
    }
}
