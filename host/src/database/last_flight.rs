//! The last flight of a transaction step: the record and COMMIT, sent together.
//!
//! The guest's SQL has run and nothing has taken effect yet. What follows must be all or nothing: the deferred
//! constraints, the fence, the records, the commit. All of it is sent without waiting for answers in between, so the
//! fence cannot say "no" by its result: COMMIT is on its way. It raises, which aborts the transaction, and the COMMIT
//! behind it can only roll back, with an answer that looks like success. Therefore every statement's result is looked
//! at, in order, and COMMIT's answer alone proves nothing.

use deadpool_postgres::Client;
use futures_util::future::{join_all, join3};

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
const CONSTRAINTS_THEN_SETTINGS: &str = "SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL synchronous_commit = on; \
     SET LOCAL client_encoding = 'UTF8'; SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = 0";

/// Prepares what the flight needs, before the transaction begins, so that nothing has to be prepared in it.
pub(super) async fn prepare(client: &Client) -> Result<tokio_postgres::Statement, tokio_postgres::Error> {
    client.prepare_cached(RECORD).await
}

/// Ends the open transaction of `client` with `flight`.
pub(super) async fn send(client: &Client, record: &tokio_postgres::Statement, flight: &Flight) -> SessionEnd {
    failpoint::hit("transaction.before_flight").await;
    let constraints = client.batch_execute(CONSTRAINTS_THEN_SETTINGS);
    let records = join_all(flight.entries.iter().map(|FlightEntry::Record(entry)| write(client, record, entry)));
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

async fn write(
    client: &Client,
    statement: &tokio_postgres::Statement,
    entry: &NewRecord,
) -> Result<u64, tokio_postgres::Error> {
    let RecordedResult::Output(output) = &entry.result else {
        unreachable!("a failed transaction is rolled back and recorded by the journal");
    };
    client
        .execute(
            statement,
            &[
                &entry.claim.run().as_str(),
                &entry.claim.token(),
                &entry.step.get(),
                &entry.name,
                output,
                &entry.started_at.0,
                &entry.completed_at.0,
                &entry.app.as_str(),
                &entry.digest.0.as_slice(),
            ],
        )
        .await
}

fn of_guest(error: &tokio_postgres::Error) -> SessionEnd {
    match Severity::of(error) {
        Severity::Retry => SessionEnd::Retry,
        Severity::ConnectionLost => SessionEnd::ConnectionLost,
        Severity::Statement => SessionEnd::Failed(SqlFailure::from(error)),
    }
}

/// The two codes are raised by the function of this schema only; a guest that raises them itself does so in a statement
/// of its own, which is judged elsewhere.
fn of_record(error: &tokio_postgres::Error) -> SessionEnd {
    match error.code().map(tokio_postgres::error::SqlState::code) {
        Some("DH001") => SessionEnd::NotOwner,
        Some("DH002") => SessionEnd::Exists,
        _ => of_guest(error),
    }
}
