//! SQL on the app's own tables, in transactions.
//!
//! ```no_run
//! use dbos_guest::prelude::*;
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct Greeting {
//!     name: String,
//!     note: String,
//! }
//!
//! #[transaction(read_only)]
//! fn greetings_of(name: &str) -> Result<Vec<Greeting>> {
//!     sql::query("SELECT name, note FROM greetings WHERE name = $1", params![name])
//! }
//! ```
//!
//! The database transaction is opened and committed by the host: a body that returns an error is rolled back. After a
//! statement has failed, the database refuses every other until the transaction ends, so the body may only fail too;
//! [`savepoint`] is the way to catch an error and go on.
//!
//! Parameters and rows cross as JSON. A row becomes an object by column name, so it fits any type that serde can read;
//! numbers that JSON cannot hold exactly (`numeric`) are text.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Error, Result,
    host::{self, SQL_ERROR},
};

/// The code of the error of [`query_one`] when there is no row; the name that SQL gives it.
const NO_ROWS: &str = "P0002";
/// The code of the error of [`query_one`] and [`query_optional`] when there is more than one row.
const TOO_MANY_ROWS: &str = "P0003";

/// The parameters of a statement, `$1`, `$2`, …; made by [`params!`](crate::params!).
#[derive(Debug, Default)]
pub struct Parameters {
    values: Vec<Value>,
    /// The first parameter that could not be written as JSON. Kept until the statement runs, so that `params!` needs no
    /// `?` of its own.
    failure: Option<Error>,
}

impl Parameters {
    /// No parameters.
    pub fn new() -> Self {
        Parameters::default()
    }

    /// Adds the next one.
    pub fn with(mut self, value: &impl Serialize) -> Self {
        match serde_json::to_value(value) {
            Ok(value) => self.values.push(value),
            Err(error) => {
                let number = self.values.len() + 1;
                let error = Error::new(format!("parameter `${number}` cannot be written as JSON: {error}"));
                self.failure.get_or_insert(error.with_name(SQL_ERROR));
                self.values.push(Value::Null);
            }
        }
        self
    }

    fn into_json(self) -> Result<String> {
        match self.failure {
            None => Ok(Value::Array(self.values).to_string()),
            Some(error) => Err(error),
        }
    }
}

/// The parameters of a statement: `params![name, note]` for `$1` and `$2`. The values are borrowed; each needs
/// `Serialize`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        $crate::sql::Parameters::new()$(.with(&$value))*
    };
}

/// Runs one statement and returns its rows.
pub fn query<Row: DeserializeOwned>(statement: &str, parameters: Parameters) -> Result<Vec<Row>> {
    rows(&host::query(statement, &parameters.into_json()?)?)
}

/// Runs one statement that must return exactly one row.
pub fn query_one<Row: DeserializeOwned>(statement: &str, parameters: Parameters) -> Result<Row> {
    query_optional(statement, parameters)?.ok_or_else(|| {
        Error::new("the statement returned no row where one was expected").with_name(SQL_ERROR).with_code(NO_ROWS)
    })
}

/// Runs one statement that may return one row, but not more.
pub fn query_optional<Row: DeserializeOwned>(statement: &str, parameters: Parameters) -> Result<Option<Row>> {
    at_most_one(query(statement, parameters)?)
}

/// Runs one statement and returns how many rows it affected.
pub fn execute(statement: &str, parameters: Parameters) -> Result<u64> {
    host::execute(statement, &parameters.into_json()?)
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

fn rows<Row: DeserializeOwned>(text: &str) -> Result<Vec<Row>> {
    let rows: Vec<Value> = serde_json::from_str(text)?;
    let read = |(number, row)| {
        serde_json::from_value(row).map_err(|error| {
            let message = format!("row {} does not fit its type: {error}", number + 1);
            Error::new(message).with_name(SQL_ERROR)
        })
    };
    rows.into_iter().enumerate().map(read).collect()
}

fn at_most_one<Row>(mut rows: Vec<Row>) -> Result<Option<Row>> {
    if rows.len() > 1 {
        let message = format!("the statement returned {} rows where at most one was expected", rows.len());
        return Err(Error::new(message).with_name(SQL_ERROR).with_code(TOO_MANY_ROWS));
    }
    Ok(rows.pop())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{at_most_one, rows};

    #[test]
    fn parameters_are_a_json_array() {
        let name = "Mike".to_owned();
        assert_eq!(params![name, 3, None::<bool>, [1, 2]].into_json().unwrap(), r#"["Mike",3,null,[1,2]]"#);
        assert_eq!(params![].into_json().unwrap(), "[]");
        assert_eq!(name, "Mike");
    }

    #[test]
    fn a_parameter_that_is_no_json_fails_by_its_number() {
        let error = params![1, HashMap::from([((1, 2), 3)])].into_json().unwrap_err();
        assert!(error.message().starts_with("parameter `$2` cannot be written as JSON"), "{error}");
    }

    #[test]
    fn rows_are_read_by_column_name() {
        #[derive(serde::Deserialize)]
        struct Greeting {
            name: String,
        }
        let greetings: Vec<Greeting> = rows(r#"[{"name":"Mike","id":1}]"#).unwrap();
        assert_eq!(greetings[0].name, "Mike");
        let error = rows::<Greeting>(r#"[{"name":"Mike"},{"id":1}]"#).err().unwrap();
        assert_eq!(error.message(), "row 2 does not fit its type: missing field `name`");
    }

    #[test]
    fn one_row_or_none() {
        assert_eq!(at_most_one::<u8>(vec![]).unwrap(), None);
        assert_eq!(at_most_one(vec![1]).unwrap(), Some(1));
        assert_eq!(at_most_one(vec![1, 2]).unwrap_err().code(), Some("P0003"));
    }
}
