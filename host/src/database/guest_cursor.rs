//! Cursors: the rows of a guest's statement, page by page.
//!
//! A result crosses to the guest as one text, which both sides hold in memory, so it has a limit; a program that goes
//! over a table that is larger than that needs its rows in pieces. The server has cursors for it, but a guest that
//! declares them by hand gets the details wrong that are kept here: parameters, names that do not clash, errors that
//! point into its own statement, and an end for each cursor that it forgets.
//!
//! What can go wrong is that this side's idea of what is open differs from the server's, since closing a cursor that is
//! not there is an error, and an error ends the transaction. Hence:
//!
//! * A cursor that the guest drops is only marked. It is closed when the next one is opened, where an error has somebody
//!   to be told, and not from a destructor in the middle of an unwinding.
//! * A rollback to a savepoint closes the cursors that were opened behind it; so each knows how deep it was opened.
//! * A page that failed is lost and the server's cursor may be behind it. The cursor is then closed for the guest: going
//!   on would leave rows out without a word.

use super::guest_session::{Doomed, Failed, GuestSession, refused};
use super::guest_sql::{MAX_RESULT_BYTES, RowWriter, SqlFailure, bind};

/// How many cursors may be open at once. Each costs the server memory and a snapshot; code reads a few side by side.
const MAX_CURSORS: usize = 20;

/// The number of a cursor in its transaction. Numbers are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CursorNumber(pub u32);

impl CursorNumber {
    /// Its name on the server.
    fn name(self) -> String {
        format!("dbos_host_cursor_{}", self.0)
    }
}

/// The cursors that the server holds for a transaction (lifetime: one attempt of a step).
#[derive(Debug, Default)]
pub(super) struct Cursors {
    /// How many were opened so far.
    opened: u32,
    held: Vec<Cursor>,
}

#[derive(Debug)]
struct Cursor {
    number: CursorNumber,
    /// How many savepoints were open when it was opened.
    depth: usize,
    /// The guest may read from it.
    is_open: bool,
}

impl Cursors {
    fn next_number(&mut self) -> CursorNumber {
        self.opened += 1;
        CursorNumber(self.opened)
    }

    fn is_open(&self, number: CursorNumber) -> bool {
        self.held.iter().any(|cursor| cursor.number == number && cursor.is_open)
    }

    fn count_open(&self) -> usize {
        self.held.iter().filter(|cursor| cursor.is_open).count()
    }

    fn abandon(&mut self, number: CursorNumber) {
        self.held.iter_mut().filter(|cursor| cursor.number == number).for_each(|cursor| cursor.is_open = false);
    }

    /// What closes the cursors that nobody reads any more, if there are any.
    fn closing(&self) -> Option<String> {
        let closing = self.held.iter().filter(|cursor| !cursor.is_open);
        let text: String = closing.map(|cursor| format!("CLOSE {};", cursor.number.name())).collect();
        (!text.is_empty()).then_some(text)
    }

    /// The savepoint that was the `depth`-th, counted from 0, was released: what was opened behind it lives on.
    pub(super) fn released(&mut self, depth: usize) {
        self.held.iter_mut().for_each(|cursor| cursor.depth = cursor.depth.min(depth));
    }

    /// The same savepoint was undone, and the server has closed what was opened behind it.
    pub(super) fn undone(&mut self, depth: usize) {
        self.held.retain(|cursor| cursor.depth <= depth);
    }
}

impl GuestSession {
    /// Opens a cursor on the rows of a statement that reads.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn open_cursor(
        &mut self,
        sql: &str,
        parameters: &str,
    ) -> Result<Result<CursorNumber, SqlFailure>, Doomed> {
        if self.cursors.count_open() >= MAX_CURSORS {
            return Ok(Err(refused(format!("more than {MAX_CURSORS} cursors would be open at once"))
                .with_hint("close one first, or read one to its end before the next")));
        }
        if let Some(closing) = self.cursors.closing() {
            match self.control(&closing).await? {
                Ok(()) => self.cursors.held.retain(|cursor| cursor.is_open),
                Err(failure) => return Ok(Err(failure)),
            }
        }
        let number = self.cursors.next_number();
        let result = self.in_time(self.declare(number, sql, parameters)).await;
        let result = self.settle(result)?;
        if result.is_ok() {
            self.cursors.held.push(Cursor { number, depth: self.depth(), is_open: true });
        }
        Ok(result.map(|()| number))
    }

    async fn declare(&self, number: CursorNumber, sql: &str, parameters: &str) -> Result<(), Failed> {
        // Prepared by itself first: so a failure points into what the guest wrote, and columns without JSON are found.
        let statement = self.prepare(sql).await?;
        RowWriter::new(statement.columns(), MAX_RESULT_BYTES)?;
        if statement.columns().is_empty() {
            return Err(Failed::Guest(refused("open a cursor on a statement that returns no rows")));
        }
        // Whatever stands in it, it is one statement: a second one is a syntax error of the extended protocol.
        let declare = format!("DECLARE {} NO SCROLL CURSOR FOR {sql}", number.name());
        let declare = self.client().prepare(&declare).await.map_err(|error| not_declared(&error))?;
        let values = bind(declare.params(), parameters)?;
        let declared = self.client().execute_raw(&declare, &values).await;
        declared.map(|_| ()).map_err(|error| Failed::of_run(&error, &declare))
    }

    /// The next rows of a cursor, at most `most`, as a JSON array of objects. Fewer: these were the last.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn next_rows(&mut self, cursor: CursorNumber, most: u32) -> Result<Result<String, SqlFailure>, Doomed> {
        if !self.cursors.is_open(cursor) {
            return Ok(Err(refused("read from a cursor that was closed by an error or by the end of its savepoint")));
        }
        if most == 0 {
            return Ok(Err(refused("ask for a page of no rows")));
        }
        let result = self.in_time(self.fetch(cursor, most)).await;
        let result = self.settle(result)?;
        if result.is_err() {
            self.cursors.abandon(cursor);
        }
        Ok(result)
    }

    async fn fetch(&self, cursor: CursorNumber, most: u32) -> Result<String, Failed> {
        // The grammar has signed numbers; so many rows do not fit into a result.
        let most = most.min(i32::MAX.cast_unsigned());
        let fetch = self.client().prepare(&format!("FETCH FORWARD {most} FROM {}", cursor.name())).await?;
        let rows = RowWriter::new(fetch.columns(), MAX_RESULT_BYTES)?;
        self.collect(&fetch, rows, &[]).await
    }

    /// The guest has no more use for a cursor.
    pub fn abandon_cursor(&mut self, cursor: CursorNumber) {
        self.cursors.abandon(cursor);
    }
}

/// The statement was right by itself, so what is wrong is that it is no query.
fn not_declared(error: &tokio_postgres::Error) -> Failed {
    match Failed::from(error) {
        Failed::Server(severity, mut failure) => {
            failure.position = None;
            failure.hint.get_or_insert("a cursor reads: SELECT, VALUES, or WITH … SELECT".into());
            Failed::Server(severity, failure)
        }
        other => other,
    }
}
