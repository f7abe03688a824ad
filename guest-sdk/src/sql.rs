//! SQL on the app's own tables, in transactions.
//!
//! ```no_run
//! use dbos_guest::prelude::*;
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct Greeting {
//!     name: String,
//!     note: Option<String>, // for a column that may be NULL
//! }
//!
//! #[transaction(read_only)]
//! fn greetings_of(name: &str) -> Result<Vec<Greeting>> {
//!     sql::query("SELECT name, note FROM greetings WHERE name = $1", params![name])
//! }
//!
//! #[transaction]
//! fn forget(name: &str) -> Result<u64> {
//!     sql::execute("DELETE FROM greetings WHERE name = $1", params![name]) // how many there were
//! }
//! ```
//!
//! The database transaction is opened and committed by the host: a body that returns an error is rolled back. After a
//! statement has failed, the database refuses every other until the transaction ends, so the body may only fail too;
//! [`savepoint`] is the way to catch an error and go on, and [`Failure`] has what the database said.
//!
//! A result is at most 16 MiB of JSON; [`cursor`] reads more, page by page.
//!
//! # Types
//!
//! Parameters and rows cross as JSON. A row is an object by column name, so it is read into anything that implements
//! `Deserialize`. What comes out goes in again and is equal. A parameter has the type that the statement gives it:
//! where `$1` could be anything, write `$1::int8`.
//!
//! | Postgres | JSON | Rust |
//! |---|---|---|
//! | `bool` | `true`, `false` | `bool` |
//! | `int2` | `-32768` | `i16` |
//! | `int4` | `2147483647` | `i32` |
//! | `int8` | `9223372036854775807` | `i64` |
//! | `oid` | `4294967295` | `u32` |
//! | `float4` | `0.1`, `"NaN"` | `f32`; [`Float`] where it may be NaN or infinite |
//! | `float8` | `0.1`, `-2.5e-7`, `"-Infinity"` | `f64`; [`Float`] |
//! | `numeric` | `"12.50"`, `"NaN"` | `String`, or a decimal type that is a string in serde, like that of `rust_decimal`. Going in, also numbers |
//! | `text`, `varchar` | `"Mike"` | `String` |
//! | `varchar(4)` | `"Mike"` | `String`; what is too long is an error |
//! | `char(6)` | `"Mike  "` | `String`, filled up with blanks to the declared length |
//! | `name`, `"char"` | `"M"` | `String` |
//! | `bytea` | `"\\x00ff"` | [`Bytes`] |
//! | `uuid` | `"01890a5d-ac96-774b-bcce-b302099a8057"` | `String`, `uuid::Uuid` |
//! | `json`, `jsonb` | `{"a": [1, null]}`, `"text"` | anything; `Box<RawValue>` for the text as it stands. `null` going in is NULL |
//! | `date` | `"2026-05-01"`, `"infinity"` | `String`, `jiff::civil::Date` |
//! | `time` | `"12:34:56.000000"` | `String`, `jiff::civil::Time` |
//! | `timetz` | `"12:34:56.000000+02:00"` | `String` |
//! | `timestamp` | `"2026-05-01T12:34:56.000000"`, `"-infinity"` | `String`, `jiff::civil::DateTime` |
//! | `timestamptz` | `"2026-05-01T12:34:56.000000Z"`, `"infinity"` | `String`, `jiff::Timestamp`; always in UTC |
//! | `interval` | `"P1Y2M3DT4H5M6.7S"` | `String`, `jiff::Span` |
//! | `inet` | `"10.0.0.1"`, `"10.0.0.1/8"`, `"2001:db8::1"` | `String`, `std::net::IpAddr` for single addresses |
//! | `cidr` | `"10.0.0.0/8"` | `String` |
//! | `int4[]` | `[1,null,3]`, `[[1,2],[3,4]]`, `[]` | `Vec<Option<i32>>`, `Vec<Vec<i32>>`; so for every type here |
//! | NULL | `null` | `Option`; also `()` for `void` |
//!
//! Of types of your own, an enum is its label (a `String`, or a Rust enum whose variants serde writes like the labels),
//! a domain is what the type beneath is. Years before 1 and after 9999 are text as the database writes them,
//! `"0044-03-15 BC"`; date types of Rust do not read those, nor `"infinity"`.
//!
//! Any other type goes in as a string with its text form. Coming out it is an error before the statement runs, which
//! names the column and its type: cast it to text, `SELECT place::text`.

mod cursor;
mod failure;
mod finite;
mod parameters;
mod rows;
mod values;

use serde::de::DeserializeOwned;

pub use self::{
    cursor::Cursor,
    failure::Failure,
    parameters::Parameters,
    values::{Bytes, Float},
};
use crate::{
    Error, Result,
    host::{self, SQL_ERROR},
};

/// The code of the error of [`query_one`] when there is no row; the name that SQL gives it.
const NO_ROWS: &str = "P0002";

/// Runs one statement and returns its rows.
pub fn query<Row: DeserializeOwned>(statement: &str, parameters: Parameters) -> Result<Vec<Row>> {
    rows::read(&host::query(statement, &parameters.into_json()?)?, 0)
}

/// Runs one statement that must return exactly one row.
///
/// ```no_run
/// # use dbos_guest::prelude::*;
/// #[transaction(read_only)]
/// fn how_many() -> Result<i64> {
///     #[derive(Deserialize)]
///     struct Row {
///         count: i64,
///     }
///     let row: Row = sql::query_one("SELECT count(*) FROM greetings", params![])?;
///     Ok(row.count)
/// }
/// ```
pub fn query_one<Row: DeserializeOwned>(statement: &str, parameters: Parameters) -> Result<Row> {
    query_optional(statement, parameters)?.ok_or_else(|| {
        Error::new("the statement returned no row where one was expected").with_name(SQL_ERROR).with_code(NO_ROWS)
    })
}

/// Runs one statement that may return one row, but not more.
pub fn query_optional<Row: DeserializeOwned>(statement: &str, parameters: Parameters) -> Result<Option<Row>> {
    rows::at_most_one(query(statement, parameters)?)
}

/// Runs one statement and returns how many rows it affected.
pub fn execute(statement: &str, parameters: Parameters) -> Result<u64> {
    host::execute(statement, &parameters.into_json()?)
}

/// Opens a cursor on the rows of a statement that reads, for results that are larger than a result may be.
///
/// ```no_run
/// # use dbos_guest::prelude::*;
/// #[derive(Deserialize)]
/// struct Account {
///     id: i64,
///     balance: String,
/// }
///
/// #[transaction(read_only)]
/// fn overdrawn() -> Result<Vec<i64>> {
///     let mut found = Vec::new();
///     for account in sql::cursor::<Account>("SELECT id, balance FROM accounts", params![])? {
///         let account = account?;
///         if account.balance.starts_with('-') {
///             found.push(account.id);
///         }
///     }
///     Ok(found)
/// }
/// ```
///
/// The rows are those that were there when it was opened; what the transaction writes while it reads does not change
/// them. Up to 20 may be open at once. One that is dropped is closed, and all end with the transaction. One that was
/// opened in a [`savepoint`] ends if that is undone; one from before keeps its place.
pub fn cursor<Row: DeserializeOwned>(statement: &str, parameters: Parameters) -> Result<Cursor<Row>> {
    Ok(Cursor::new(host::open_cursor(statement, &parameters.into_json()?)?))
}

/// Runs `body`, and undoes its statements if it fails: the transaction can go on, as if they had never run.
///
/// ```no_run
/// # use dbos_guest::prelude::*;
/// #[transaction]
/// fn reserve(seat: u32) -> Result<bool> {
///     let taken = sql::savepoint(|| sql::execute("INSERT INTO seats VALUES ($1)", params![seat]));
///     match taken {
///         Err(error) if error.code() == Some("23505") => Ok(false),
///         other => other.map(|_| true),
///     }
/// }
/// ```
pub fn savepoint<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    host::savepoint()?;
    match body() {
        Ok(value) => {
            host::release()?;
            Ok(value)
        }
        Err(error) => {
            // If even this fails the transaction cannot go on, and that matters more than why the body failed.
            host::rollback_to().map_err(|worse| worse.context(format!("undo what failed with `{error}`")))?;
            Err(error)
        }
    }
}
