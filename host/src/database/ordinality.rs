//! Which of its parameters a statement's row is about.
//!
//! Statements about many runs take them as arrays, `unnest` them WITH ORDINALITY, and tell the number instead of a key that
//! would have to be looked up here.

use tokio_postgres::Row;

/// The place in the parameters that a column tells, counted from 0 here and from 1 by SQL.
pub(super) fn place(row: &Row, column: usize) -> usize {
    let place: i64 = row.get(column);
    usize::try_from(place - 1).expect("the statement numbers what it was given")
}
