//! A guest's database transaction: a session on the app's own login, from BEGIN to the last flight.
//!
//! The guest is not trusted. Its login has no rights in the system's schemas, it sends one statement a call by the
//! extended protocol, and statements that end a transaction are refused. After a conflict or a lost connection the
//! attempt is over whatever the guest does; after any other error Postgres has aborted the transaction, so the body may
//! only fail, unless it had set a savepoint. How long all this may take is in [`super::guest_patience`].

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use deadpool_postgres::{Client, Object};
use futures_util::TryStreamExt;
use futures_util::future::join;
use tokio::sync::SetOnce;
use tokio_postgres::Statement;

use super::connection::Database;
use super::error::DatabaseError;
use super::guest_connect;
use super::guest_cursor::Cursors;
use super::guest_patience::{self, AFTER_CANCEL, Backend, Patience};
use super::guest_sql::{
    HostCode, MAX_RESULT_BYTES, Parameter, RowWriter, Severity, SqlFailure, bind, refuse_transaction_control,
};
pub use super::last_flight::SessionEnd;
use super::last_flight::{self, Flight};
use super::url::DatabaseUrl;

/// The attempt is over: another transaction was in the way, or the connection is gone. The guest is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the transaction must be run again")]
pub struct Doomed;

/// Why a transaction cannot go on, whatever the guest does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doom {
    /// Another transaction was in the way.
    Conflict,
    /// The connection is gone.
    ConnectionLost,
    /// The database does not begin a transaction, and says why.
    NotBegun(String),
}

/// The beginning of a transaction, which goes out with its first statement.
#[derive(Debug)]
struct Opening {
    sql: String,
    is_sent: AtomicBool,
    /// Whether the server has begun it, once it has answered.
    is_begun: SetOnce<bool>,
    /// The server's process, if it has begun it.
    backend: OnceLock<Option<Backend>>,
}

/// A transaction (lifetime: one attempt of a step). Dropped before its end, it is rolled back and its connection closed.
#[derive(Debug)]
pub struct GuestSession {
    client: Option<Client>,
    url: Arc<DatabaseUrl>,
    opening: Opening,
    patience: Patience,
    host: Database,
    /// A statement that did not end when it was cancelled.
    stuck: Option<SqlFailure>,
    pub(super) first_failure: Option<SqlFailure>,
    doomed: Option<Doom>,
    /// The guest upset the driver's view of the session, so the connection must not serve anybody else.
    spoiled: bool,
    /// The server was asked to cancel. The request goes its own way and may come late, so whatever runs on this connection
    /// next could be what it ends: that must not be somebody else's statement.
    cancelled: AtomicBool,
    /// Nothing that was put off to the commit stands in its way.
    is_checked: bool,
    /// The statement that ran last. Dropped, it is closed by a message, which goes out together with the next one.
    last: Mutex<Option<Statement>>,
    /// For each open savepoint, the failure that had happened before it: rolling back to it restores that state.
    pub(super) savepoints: Vec<Option<SqlFailure>>,
    pub(super) cursors: Cursors,
}

impl GuestSession {
    /// A transaction that begins, by `sql`, when the guest sends its first statement.
    pub(super) fn new(client: Client, url: Arc<DatabaseUrl>, sql: String, patience: Patience, host: Database) -> Self {
        Self {
            client: Some(client),
            url,
            opening: Opening {
                sql,
                is_sent: AtomicBool::new(false),
                is_begun: SetOnce::new(),
                backend: OnceLock::new(),
            },
            patience,
            host,
            stuck: None,
            first_failure: None,
            doomed: None,
            spoiled: false,
            cancelled: AtomicBool::new(false),
            is_checked: false,
            last: Mutex::new(None),
            savepoints: Vec::new(),
            cursors: Cursors::default(),
        }
    }

    pub(super) fn client(&self) -> &Client {
        self.client.as_ref().expect("the session is used only before its end")
    }

    /// Does `work` in the transaction. BEGIN goes out right before the first of it, without a round trip of its own.
    ///
    /// If the server does not begin the transaction, `work` has had no effect: statements of the guest are prepared, and
    /// executed only when the answer to BEGIN is there; see [`Self::prepare`].
    async fn within<T>(&self, work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
        if self.opening.is_sent.swap(true, Ordering::SeqCst) {
            return work.await;
        }
        // `join` polls in the order of its arguments, and each sends its messages when it is first polled.
        let (begun, result) = join(self.begin(), work).await;
        begun?;
        result
    }

    async fn begin(&self) -> Result<(), Failed> {
        let begun = self.client().simple_query(&self.opening.sql).await;
        // As soon as they are known: the first statement waits for the one, and may be what has to be ended by the other.
        // Nobody else sets them.
        if let Ok(answer) = &begun {
            let _ = self.opening.backend.set(Backend::of(answer));
        }
        let _ = self.opening.is_begun.set(begun.is_ok());
        begun.map(|_| ()).map_err(|error| match Severity::of(&error) {
            Severity::ConnectionLost => Failed::from(error),
            _ => Failed::NotBegun(DatabaseError::from(error).to_string()),
        })
    }

    /// The first statement that failed and was not undone by a savepoint: the transaction cannot commit.
    #[must_use]
    pub fn first_failure(&self) -> Option<&SqlFailure> {
        self.first_failure.as_ref()
    }

    /// Why the attempt is over without the guest's doing, if it is.
    #[must_use]
    pub fn doom(&self) -> Option<&Doom> {
        self.doomed.as_ref()
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
        let mut statement = pin!(self.within(statement));
        if let Ok(ended) = tokio::time::timeout(self.patience.of_statement(), &mut statement).await {
            return ended;
        }
        self.cancel().await;
        // A connection that does not even begin a transaction leads nowhere any more, which is not the statement's fault.
        tokio::time::timeout(AFTER_CANCEL, &mut statement).await.unwrap_or_else(|_| match self.opening.is_begun.get() {
            Some(_) => Err(Failed::Stuck),
            None => Err(Failed::NotBegun("the server does not answer".into())),
        })
    }

    async fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        // Where the server cannot be reached, connecting to it would take minutes.
        let _ =
            tokio::time::timeout(AFTER_CANCEL, guest_connect::cancel(&self.url, &self.client().cancel_token())).await;
    }

    async fn try_query(&self, sql: &str, parameters: &str) -> Result<String, Failed> {
        let statement = self.prepare(sql).await?;
        let rows = RowWriter::new(statement.columns(), MAX_RESULT_BYTES)?;
        let values = bind(statement.params(), parameters)?;
        let result = self.collect(&statement, rows, &values).await;
        *self.last() = Some(statement);
        result
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
        let affected = affected.map_err(|error| Failed::of_run(&error, &statement));
        *self.last() = Some(statement);
        affected
    }

    fn last(&self) -> MutexGuard<'_, Option<Statement>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn prepare(&self, sql: &str) -> Result<Statement, Failed> {
        refuse_transaction_control(sql).map_err(|refused| Failed::Guest(refused.into()))?;
        *self.last() = None;
        let statement = self.client().prepare(sql).await?;
        // The answer to BEGIN has come before this one. That a session may only read outside of a transaction is no wall: a
        // DO block may change that there, and commit. `within` knows the reason.
        if *self.opening.is_begun.wait().await { Ok(statement) } else { Err(Failed::NotBegun(String::new())) }
    }

    pub(super) async fn control(&mut self, sql: &str) -> Result<Result<(), SqlFailure>, Doomed> {
        *self.last() = None;
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
            Err(Failed::Server(Severity::Retry, _)) => {
                self.doomed = Some(Doom::Conflict);
                Err(Doomed)
            }
            Err(Failed::Server(Severity::ConnectionLost, _)) => {
                self.doomed = Some(Doom::ConnectionLost);
                Err(Doomed)
            }
            Err(Failed::NotBegun(reason)) => {
                self.doomed = Some(Doom::NotBegun(reason));
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

    /// Finds out whether anything that was put off to the commit stands in its way, so that the commit can only fail by a
    /// conflict or the database's own trouble. The guest can send nothing after it.
    ///
    /// # Errors
    /// How the transaction has ended instead; it is to be rolled back.
    pub async fn check(&mut self) -> Result<(), SessionEnd> {
        let end = self.in_flight(last_flight::check(self.client())).await;
        self.is_checked = true;
        match end {
            SessionEnd::Committed => Ok(()),
            end => Err(end),
        }
    }

    /// Ends the transaction with `flight`, or with nothing but what the guest has done; see [`SessionEnd`] for what is
    /// true then.
    pub async fn commit(mut self, flight: Option<&Flight<'_>>) -> SessionEnd {
        match self.doomed.take() {
            Some(Doom::ConnectionLost) => return SessionEnd::ConnectionLost,
            Some(Doom::Conflict) => return SessionEnd::Retry,
            Some(Doom::NotBegun(reason)) => return SessionEnd::Unavailable(reason),
            None => {}
        }
        if flight.is_none() && !self.is_begun() {
            self.client = None;
            return SessionEnd::Committed;
        }
        let reset = OnceLock::new();
        let end = self.in_flight(last_flight::send(self.client(), flight, self.is_checked, &reset)).await;
        // After any of these the server has left the transaction, so the connection can serve the next one.
        let spoiled = self.is_spoiled()
            || reset.get() != Some(&true)
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

    /// Waits for what ends a transaction, and cancels it when it takes too long: a deferred trigger of the guest, most
    /// likely. Whether a commit lands then is up to the cancellation.
    async fn in_flight(&self, flight: impl Future<Output = SessionEnd>) -> SessionEnd {
        *self.last() = None;
        let flight = self.within(async { Ok(flight.await) });
        let mut flight = pin!(flight);
        let end = match tokio::time::timeout(self.patience.of_commit(), &mut flight).await {
            Ok(end) => end,
            Err(_) => {
                self.cancel().await;
                let end = tokio::time::timeout(AFTER_CANCEL, &mut flight).await;
                end.unwrap_or(Ok(SessionEnd::ConnectionLost))
            }
        };
        match end {
            Ok(end) => end,
            Err(Failed::NotBegun(reason)) => SessionEnd::Unavailable(reason),
            Err(_) => SessionEnd::ConnectionLost,
        }
    }

    fn is_begun(&self) -> bool {
        self.opening.is_sent.load(Ordering::SeqCst)
    }

    fn is_spoiled(&self) -> bool {
        self.spoiled || self.cancelled.load(Ordering::SeqCst)
    }

    /// Undoes everything. A connection that does not answer is closed, which undoes everything too.
    pub async fn rollback(mut self) {
        if self.stuck.is_some() {
            return;
        }
        if self.is_begun() {
            *self.last() = None;
            let rolled_back = last_flight::roll_back(self.client());
            let Ok(true) = tokio::time::timeout(AFTER_CANCEL, rolled_back).await else { return };
        }
        if !self.is_spoiled() {
            self.client = None;
        }
    }
}

impl Drop for GuestSession {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        if !self.is_begun() {
            // Nothing was sent, so there is nothing to undo.
            return;
        }
        // The transaction is open, perhaps with a statement running in it. The connection must not serve anybody else;
        // closing it rolls back, and the cancellation ends a statement that would go on for hours and keep its locks.
        let client = Object::take(client);
        let token = client.cancel_token();
        drop(client);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (url, host) = (Arc::clone(&self.url), self.host.clone());
            let backend = self.opening.backend.take().flatten();
            runtime.spawn(guest_patience::end(token, url, backend, host));
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
    /// The server did not begin the transaction, and said why.
    NotBegun(String),
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
