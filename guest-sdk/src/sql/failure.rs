//! What the database said about a statement that failed.

use serde::Deserialize;

use crate::{Error, host::SQL_ERROR};

/// What is known about a statement that failed. It is a part of the [`Error`], so it is recorded with it and still
/// there in the workflow that called the transaction, now and in every replay.
///
/// ```no_run
/// # use dbos_guest::prelude::*;
/// #[transaction]
/// fn register(email: &str) -> Result<bool> {
///     let added = sql::savepoint(|| sql::execute("INSERT INTO users (email) VALUES ($1)", params![email]));
///     match added.as_ref().err().and_then(sql::Failure::of) {
///         Some(failure) if failure.constraint.as_deref() == Some("users_email_key") => Ok(false),
///         _ => added.map(|_| true),
///     }
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// The SQLSTATE, `23505`; or a word if the statement never got to the database: `parameter_mismatch`.
    #[serde(skip)]
    pub code: String,
    /// More about what happened: `Key (email)=(a@example.com) already exists.`
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// The constraint that was violated.
    pub constraint: Option<String>,
    /// Where in the statement, in characters from 1.
    pub position: Option<u32>,
}

impl Failure {
    /// What is known if `error` is that of a statement.
    pub fn of(error: &Error) -> Option<Self> {
        if error.name() != SQL_ERROR {
            return None;
        }
        let said = error.data().and_then(|data| serde_json::from_value(data).ok());
        Some(Failure { code: error.code().unwrap_or_default().to_owned(), ..said.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;
    use crate::Error;

    #[test]
    fn what_was_said_is_read_from_the_error() {
        let error = Error::new("duplicate key").with_name("SqlError").with_code("23505");
        assert_eq!(Failure::of(&error), Some(Failure { code: "23505".into(), ..Failure::default() }));
        // As a statement's error has it, and as the record of a failed transaction has it.
        for data in [r#"{"constraint":"k","position":3}"#, r#"{"constraint":"k","position":3,"hint":null}"#] {
            let error = error_with(data);
            let failure = Failure::of(&error).unwrap();
            assert_eq!((failure.constraint.as_deref(), failure.position, failure.hint), (Some("k"), Some(3), None));
        }
        assert_eq!(Failure::of(&Error::new("no").with_code("23505")), None);
    }

    fn error_with(data: &str) -> Error {
        Error::from_parts("SqlError".into(), "no".into(), Some("23505".into()), Some(data.into()), true)
    }
}
