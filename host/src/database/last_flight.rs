//! The last flight of a transaction step: the record and COMMIT, sent together.
//!
//! The guest's SQL has run and nothing has taken effect yet. What follows must be all or nothing: the deferred
//! constraints, the fence, the records, the commit. All of it is sent without waiting for answers in between, so the
//! fence cannot say "no" by its result: COMMIT is on its way. It raises, which aborts the transaction, and the COMMIT
//! behind it can only roll back, with an answer that looks like success. Therefore every statement's result is looked
//! at, in order, and COMMIT's answer alone proves nothing.

use deadpool_postgres::Client;
use futures_util::future::{join_all, join3};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::guest_sql::{Severity, SqlFailure};
use super::record::NewRecord;
use crate::failpoint;
use crate::workflow::RecordedResult;

/// What is committed together with a guest's SQL.
#[derive(Debug, Default)]
pub struct Flight {
    /// In the order in which they are written.
    pub entries: Vec<FlightEntry>,
}

/// One entry of a last flight.
#[derive(Debug)]
pub enum FlightEntry {
    /// The step's own record, which must be an output: a failed step rolls back and is recorded by the journal.
    Record(Box<NewRecord>),
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
    /// The step has a record: an earlier commit, whose answer was lost, did land. Nothing has happened now.
    Exists,
    /// The database refused: a deferred constraint, say. Nothing has happened; it is the step's error.
    Failed(SqlFailure),
}

const RECORD: &str = "SELECT dbos_host.record_transaction($1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// Deferred constraints first: their errors are the step's. Then settings that any guest may change for its session and
/// that the record must not depend on: a commit that is not on disk, an encoding that is not the driver's, a time limit.
/// Cursors are closed: one WITH HOLD would run the guest's code inside of COMMIT, behind the lock on the run's row.
const CONSTRAINTS_THEN_SETTINGS: &str = "SET CONSTRAINTS ALL IMMEDIATE; CLOSE ALL; SET LOCAL synchronous_commit = on; \
     SET LOCAL client_encoding = 'UTF8'; SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = 0";

/// Ends the open transaction of `client` with `flight`.
pub(super) async fn send(client: &Client, flight: &Flight) -> SessionEnd {
    failpoint::hit("transaction.before_flight").await;
    let constraints = client.batch_execute(CONSTRAINTS_THEN_SETTINGS);
    let records = join_all(flight.entries.iter().map(|FlightEntry::Record(entry)| write(client, entry)));
    let commit = client.batch_execute("COMMIT");
    // `join` polls in the order of its arguments, and each of these sends its messages when it is first polled: they go
    // out in this order and the server answers in this order.
    let (constraints, records, commit) = join3(constraints, records, commit).await;
    failpoint::hit("transaction.after_flight").await;
    if let Err(error) = constraints {
        return of_guest(&error);
    }
    for result in records {
        if let Err(error) = result {
            return of_record(&error);
        }
    }
    match commit {
        Ok(()) => SessionEnd::Committed,
        Err(error) => of_guest(&error),
    }
}

/// The statement is sent with its text and types each time: a statement that was prepared before has a name, and the
/// guest, who shares the session, could put another one under it.
async fn write(client: &Client, entry: &NewRecord) -> Result<u64, tokio_postgres::Error> {
    let RecordedResult::Output(output) = &entry.result else {
        unreachable!("a failed transaction is rolled back and recorded by the journal");
    };
    client
        .execute_typed(
            RECORD,
            &[
                (&entry.claim.run().as_str(), Type::TEXT),
                (&entry.claim.token(), Type::TEXT),
                (&entry.step.get(), Type::INT4),
                (&entry.name, Type::TEXT),
                (output, Type::TEXT),
                (&entry.started_at.0, Type::INT8),
                (&entry.completed_at.0, Type::INT8),
                (&entry.app.as_str(), Type::TEXT),
                (&entry.digest.0.as_slice(), Type::BYTEA),
            ],
        )
        .await
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

/// The two codes are raised by the function of this schema only; a guest that raises them itself does so in a statement
/// of its own, which is judged elsewhere.
fn of_record(error: &tokio_postgres::Error) -> SessionEnd {
    match error.code().map(SqlState::code) {
        Some("DH001") => SessionEnd::NotOwner,
        Some("DH002") => SessionEnd::Exists,
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
