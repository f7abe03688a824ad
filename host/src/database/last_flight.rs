//! The last flight of a transaction step: its record, what goes with it, and COMMIT, sent together.
//!
//! The guest's SQL has run and nothing has taken effect yet. What follows must be all or nothing: the deferred
//! constraints, the fence, what is recorded, the commit. All of it is sent without waiting for answers in between, so the
//! fence cannot say "no" by its result: COMMIT is on its way. It raises, which aborts the transaction, and the COMMIT
//! behind it can only roll back, with an answer that looks like success. Therefore every statement's result is looked
//! at, in order, and COMMIT's answer alone proves nothing.
//!
//! Beside the step's record a flight may carry the run's start, and with it the outcome. With all three, a workflow of one
//! transaction is one commit. A start that is carried is not in the database while the body runs, and must be carried to
//! the end: in a snapshot that is older than its row, no later statement of this transaction could see or lock it.

use std::pin::pin;
use std::sync::OnceLock;

use deadpool_postgres::Client;
use futures_util::TryStreamExt;
use futures_util::future::{OptionFuture, join3};
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::types::Type;

use super::finish::FinalOutcome;
use super::guest_pool::RESET;
use super::guest_sql::{Severity, SqlFailure};
use super::progress::of_end;
use super::record::NewRecord;
use super::start::NewRun;
use crate::failpoint;
use crate::workflow::{RecordedResult, TraceContext};

/// What is committed together with a guest's SQL.
#[derive(Debug)]
pub struct Flight<'a> {
    /// The step's own record, which must be an output: a failed step rolls back and is recorded by the journal.
    pub record: NewRecord,
    /// What else of its run is not in the database yet.
    pub carried: Option<Carried<'a>>,
}

/// The start of a run that a flight carries.
#[derive(Debug)]
pub struct Carried<'a> {
    /// The start.
    pub start: &'a NewRun,
    /// The run's outcome, if it has ended with this step.
    pub outcome: Option<FinalOutcome>,
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionEnd {
    /// The guest's SQL and every entry are durable.
    Committed,
    /// Another transaction was in the way. Nothing has happened: run the body again.
    Retry,
    /// The connection is gone and nobody knows whether the commit landed. Run the body again: if it did land, the key of
    /// the record says so.
    ConnectionLost,
    /// The database is in trouble (out of disk or memory, shutting down). Nothing has happened, and nobody is to blame:
    /// run the body again when it is better. With what the database said.
    Unavailable(String),
    /// The run is not this host's any more. Nothing has happened.
    NotOwner,
    /// The step has a record: an earlier commit, whose answer was lost, did land. Or a start was carried, and a deleted run
    /// of its id has left something behind. Nothing has happened now.
    Exists,
    /// There is another run under the id of the start that the flight carried. Nothing has happened.
    StartExists,
    /// The database refused: a deferred constraint, say. Nothing has happened; it is the step's error.
    Failed(SqlFailure),
}

const END: &str = "SELECT dbos_host.end_transaction($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
     $16, $17, $18, $19)";

/// Deferred constraints first: their errors are the step's. Then settings that any guest may change for its session and
/// that the record must not depend on: a commit that is not on disk, an encoding that is not the driver's, a time limit.
/// Cursors are closed: one WITH HOLD would run the guest's code inside of COMMIT, behind the lock on the run's row.
const CONSTRAINTS_THEN_SETTINGS: &str = "SET CONSTRAINTS ALL IMMEDIATE; CLOSE ALL; SET LOCAL synchronous_commit = on; \
     SET LOCAL client_encoding = 'UTF8'; SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = 0";

/// Sends what a commit could fail by that is the step's own doing. `Committed`: it did not.
pub(super) async fn check(client: &Client) -> SessionEnd {
    match client.batch_execute(CONSTRAINTS_THEN_SETTINGS).await {
        Ok(()) => SessionEnd::Committed,
        Err(error) => of_guest(&error),
    }
}

/// Ends the open transaction of `client` with `flight`. `is_checked`: [`check`] was sent before. `is_reset` is set to
/// whether the session is as if it were new then.
pub(super) async fn send(
    client: &Client,
    flight: Option<&Flight<'_>>,
    is_checked: bool,
    is_reset: &OnceLock<bool>,
) -> SessionEnd {
    failpoint::hit("transaction.before_flight").await;
    let constraints = (!is_checked).then(|| client.batch_execute(CONSTRAINTS_THEN_SETTINGS));
    let recorded = flight.map(|flight| write(client, flight));
    // `join` polls in the order of its arguments, and each of these sends its messages when it is first polled: they go
    // out in this order and the server answers in this order.
    let (constraints, recorded, commit) =
        join3(OptionFuture::from(constraints), OptionFuture::from(recorded), commit_and_reset(client)).await;
    failpoint::hit("transaction.after_flight").await;
    let reset = match &commit {
        Ok(is_reset) => *is_reset,
        // The server has left the transaction, and has passed over what was behind COMMIT.
        Err(_) => client.batch_execute(RESET).await.is_ok(),
    };
    // It is set once, here.
    let _ = is_reset.set(reset);
    if let Some(Err(error)) = constraints {
        return of_guest(&error);
    }
    if let Some(Err(error)) = recorded {
        return of_record(&error);
    }
    match commit {
        Ok(_) => SessionEnd::Committed,
        Err(error) => of_guest(&error),
    }
}

/// Ends the transaction and makes the session as if it were new, by one message: the server answers each message by itself,
/// which wakes both sides once more. Returns whether the session was reset; an error is COMMIT's.
async fn commit_and_reset(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let mut answers = pin!(client.simple_query_raw(&format!("COMMIT; {RESET}")).await?);
    // COMMIT has an answer of its own, which stands whatever becomes of the rest.
    answers.try_next().await?;
    loop {
        match answers.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(true),
            Err(_) => return Ok(false),
        }
    }
}

/// Undoes the transaction. True: the session is as if it were new.
pub(super) async fn roll_back(client: &Client) -> bool {
    client.batch_execute(&format!("ROLLBACK; {RESET}")).await.is_ok()
}

/// The statement is sent with its text and types each time: a statement that was prepared before has a name, and the
/// guest, who shares the session, could put another one under it.
async fn write(client: &Client, flight: &Flight<'_>) -> Result<u64, tokio_postgres::Error> {
    let Flight { record, carried } = flight;
    let RecordedResult::Output(output) = &record.result else {
        unreachable!("a failed transaction is rolled back and recorded by the journal");
    };
    let start = carried.as_ref().map(|carried| carried.start);
    let end = carried.as_ref().and_then(|carried| carried.outcome.as_ref()).map(of_end);
    client
        .execute_typed(
            END,
            &[
                (&record.claim.run().as_str(), Type::TEXT),
                (&record.claim.token(), Type::TEXT),
                (&record.app.as_str(), Type::TEXT),
                (&record.step.get(), Type::INT4),
                (&record.name, Type::TEXT),
                (output, Type::TEXT),
                (&record.started_at.0, Type::INT8),
                (&record.completed_at.0, Type::INT8),
                (&record.digest.as_ref().map(|digest| digest.0.as_slice()), Type::BYTEA),
                (&start.map(|new| new.name.as_str()), Type::TEXT),
                (&start.map(|new| new.executor.as_str()), Type::TEXT),
                (&start.map(|new| new.incarnation().as_str()), Type::TEXT),
                (&start.map(|new| new.version.as_str()), Type::TEXT),
                (&start.map(NewRun::inputs), Type::TEXT),
                (&start.map(|new| new.created_at.0), Type::INT8),
                (&start.and_then(|new| new.trace).map(TraceContext::to_header), Type::TEXT),
                (&end.as_ref().map(|(status, ..)| *status), Type::TEXT),
                (&end.as_ref().and_then(|(_, output, _)| *output), Type::TEXT),
                (&end.as_ref().and_then(|(.., error)| error.as_deref()), Type::TEXT),
            ],
        )
        .await
}

/// What it means that a key is there already, if it is one that the function writes.
fn of_key(error: &DbError) -> Option<SessionEnd> {
    match (error.schema()?, error.table()?) {
        ("dbos", "workflow_status") => Some(SessionEnd::StartExists),
        ("dbos", "operation_outputs" | "workflow_input" | "workflow_output") | ("dbos_host", "operation_digest") => {
            Some(SessionEnd::Exists)
        }
        _ => None,
    }
}

fn of_guest(error: &tokio_postgres::Error) -> SessionEnd {
    match Severity::of(error) {
        Severity::Retry => SessionEnd::Retry,
        Severity::ConnectionLost => SessionEnd::ConnectionLost,
        Severity::Statement if is_trouble(error) => SessionEnd::Unavailable(SqlFailure::from(error).message),
        Severity::Statement => SessionEnd::Failed(SqlFailure::from(error)),
    }
}

/// Classes of errors that are the server's state and nobody's statement: 53 insufficient resources, 57P shutdowns, 58
/// system errors, XX internal errors.
fn is_trouble(error: &tokio_postgres::Error) -> bool {
    let code = error.code().map_or("", SqlState::code);
    ["53", "57P", "58", "XX"].iter().any(|class| code.starts_with(class))
}

/// What the function that records has said. Nothing of a guest runs in it: what was put off to the commit has run before.
fn of_record(error: &tokio_postgres::Error) -> SessionEnd {
    match error.code().map(SqlState::code) {
        Some("DH001") => SessionEnd::NotOwner,
        Some("23505") if let Some(end) = error.as_db_error().and_then(of_key) => end,
        // What the guest brought about: an aborted or read-only transaction, a payload that the server cannot take.
        Some(code) if code.starts_with("25") || code.starts_with("22") || code.starts_with("54") => of_guest(error),
        // Everything else that keeps the host from writing its own record, a lock that somebody holds for long among it,
        // is the database's trouble.
        _ => match of_guest(error) {
            SessionEnd::Failed(failure) => SessionEnd::Unavailable(failure.message),
            end => end,
        },
    }
}
