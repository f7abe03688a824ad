//! The words of guest SQL: which statements a guest may send, how its parameters go in, how its rows come out.
//!
//! The problem: a guest speaks JSON and the server speaks types. A value that goes in must arrive exactly as it was
//! written, and what comes out must go in again and be equal, or money and large numbers are damaged silently. And a
//! guest that is not trusted shares its session with the guest that comes next, so a statement that ends the
//! transaction or confuses the protocol must be stopped before it is sent.
//!
//! The answer in four moves, in the order in which a call makes them:
//!
//! 1. [`refuse_transaction_control`] looks at the statement's first word.
//! 2. [`RowWriter::new`] looks at the columns of the prepared statement, so that a column that cannot be returned is
//!    found before the statement has run.
//! 3. [`bind`] turns the JSON array of parameters into values of the types that the prepared statement asks for.
//! 4. [`RowWriter::push`] writes each row as it arrives and stops at a limit.
//!
//! Everything that fails on the way is a [`SqlFailure`], and [`Severity`] says what the transaction does about it.
//!
//! These modules must not know connections, pools, transactions or WebAssembly: they are pure functions of a
//! statement, JSON text, and what the driver read from the server.

mod array;
mod column;
mod datetime;
mod error;
mod form;
#[cfg(feature = "failpoints")]
pub(crate) mod fuzz;
mod interval;
mod numeric;
mod parameter;
mod reader;
#[cfg(test)]
mod round_trip;
mod statement;
mod value;

pub use column::{MAX_RESULT_BYTES, RowWriter};
pub use error::{HostCode, Severity, SqlFailure};
pub use parameter::{Parameter, bind};
pub use statement::refuse_transaction_control;
